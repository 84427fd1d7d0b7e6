"""The convex problem over measures that particles solve, and its optimality function.

With `f = int phi dnu` for a signed measure `nu` on positions `theta`,

    J(nu) = R(f) + lambda |nu|(Theta),

`R` convex, is minimized over all measures by moving particles `u_i = (w_i, theta_i)` with shares
`c_i`, that is by the Wasserstein gradient flow of

    F(mu) = R(sum_i c_i Phi(u_i)) + lambda sum_i c_i V(u_i),    Phi(w, theta) = w phi(theta).

Its velocity at `u` is `-grad F'(mu)(u)` with `F'(mu)(u) = <R'(f), Phi(u)> + lambda V(u)`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from swjax._checks import is_concrete
from swjax._trees import as_pytree
from swjax.flows.particles.cloud import Particles, check_finite
from swjax.flows.particles.features import ConvexLoss, PointwiseFeatures


@as_pytree("features", "loss", "penalty")
@dataclass(frozen=True, eq=False)
class ParticleProblem:
    """Minimize `R(int phi dnu) + lambda |nu|` over signed measures, by particles.

    Two lifts of Chizat and Bach ("On the global convergence of gradient descent for
    over-parameterized models using optimal transport", NeurIPS 2018) are covered:

    * `homogeneity=1`, partially 1-homogeneous: `Phi = w phi(theta)` and `V = |w|`, for any smooth
      `phi` (spikes seen through a filter, sigmoid neurons);
    * `homogeneity=2`: `Phi = w phi(theta)` with `phi` positively 1-homogeneous (ReLU neurons) and
      `V = (w^2 + |theta|^2) / 2`. The measure then lives on the unit sphere, `(w, theta)` standing
      for the mass `w |theta|` at `theta / |theta|`, and `V >= |w| |theta|`.

    Attributes:
        features: `phi`: an object such as `FourierFeatures`, or a function of one position `(d,)`.
        loss: `R`: an object such as `LeastSquares`, or a function of `f` (convex, nonnegative).
        penalty: `lambda`, a positive number; `None` for no penalty at all.
        homogeneity: 1 or 2.

    Raises:
        ValueError: if the penalty is not positive, the homogeneity is neither 1 nor 2, or it is 2
            and the features have a box.

    >>> import jax.numpy as jnp
    >>> from swjax.particles import LeastSquares, as_particles
    >>> wave = lambda theta: jnp.array([jnp.cos(theta[0]), jnp.sin(theta[0])])
    >>> problem = ParticleProblem(wave, LeastSquares(jnp.array([2.0, 0.0])), penalty=0.5)
    >>> cloud = as_particles(jnp.array([1.5, 1.5]), jnp.array([0.0, 0.0]))
    >>> round(float(problem.objective(cloud)), 3)  # 0.5^2 / 2 + 0.5 * 1.5
    0.875
    >>> round(float(problem.residual(cloud)), 6)
    0.0
    """

    features: Any
    loss: Any
    penalty: Any = None
    homogeneity: int = 1

    def __post_init__(self) -> None:
        if not hasattr(self.features, "embed"):
            object.__setattr__(self, "features", PointwiseFeatures(self.features))
        if not hasattr(self.loss, "dual"):
            object.__setattr__(self, "loss", ConvexLoss(self.loss, 0.0))
        if self.homogeneity not in (1, 2):
            raise ValueError(
                f"homogeneity is {self.homogeneity!r}; it must be 1 (V = |w|, any features) or 2 "
                "(V = (w^2 + |theta|^2) / 2, features positively homogeneous of degree 1)."
            )
        boxed = isinstance(self.features, PointwiseFeatures) and self.features.curvature is not None
        if self.homogeneity == 2 and boxed:
            raise ValueError(
                "homogeneity=2 moves positions on the unit sphere, and the features have a box of "
                "other positions, which would certify nothing there. Leave out curvature=, lower= "
                "and upper=; without a bound on the sphere there is no certificate."
            )
        if self.penalty is not None:
            check_positive("penalty", self.penalty, "Use penalty=None for no penalty at all.")

    def element(self, particles: Particles) -> Any:
        """`f = sum_i c_i w_i phi(theta_i)`."""
        return self.features.embed(particles.masses, particles.positions)

    def slope(self, particles: Particles) -> Any:
        """`R'(f)`, to be paired with features."""
        return self.loss.gradient(self.element(particles))

    def regularizer(self, particles: Particles) -> Float[Array, "m"]:
        """`V(u_i)` of every particle, without `lambda`."""
        weights, positions, _ = particles
        if self.homogeneity == 1:
            return jnp.abs(weights)
        return (weights**2 + jnp.sum(positions**2, axis=-1)) / 2

    def total_variation(self, particles: Particles) -> Float[Array, ""]:
        """`|nu|`, counting particles at the same place one by one."""
        weights, positions, shares = particles
        sizes = 1 if self.homogeneity == 1 else jnp.linalg.norm(positions, axis=-1)
        return jnp.sum(shares * jnp.abs(weights) * sizes)

    def objective(self, particles: Particles) -> Float[Array, ""]:
        """`F(mu)`, at least `J` of the signed measure of the particles."""
        penalty = 0.0 if self.penalty is None else self.penalty
        total = jnp.sum(particles.shares * self.regularizer(particles))
        return self.loss(self.element(particles)) + penalty * total

    def potential(self, particles: Particles, at: Particles) -> Float[Array, "n"]:
        """The first variation `F'(mu)(u) = <R'(f), Phi(u)> + lambda V(u)` at other particles `u`.

        The measure minimizes `F` if and only if it is nonnegative everywhere and 0 on the support.
        """
        penalty = 0.0 if self.penalty is None else self.penalty
        pairing = self.features.pair(self.slope(particles), at.positions)
        return at.weights * pairing + penalty * self.regularizer(at)

    def optimality(self, particles: Particles, positions: Float[Array, "n d"]) -> Float[Array, "n"]:
        """`lambda - |<R'(f), phi(theta)>|` at given positions: negative where mass is missing.

        The smaller value of `F'(mu)(w, theta)` over `w = 1` and `w = -1`, with `homogeneity=1`; for
        2 the positions are scaled to length 1, and it is the smallest value over `|w| = |theta| =
        1` (at the origin, which has no direction, `lambda`). Its minimum over a grid never proves
        optimality; `duality_gap` does.
        """
        if self.homogeneity == 2:
            positions = as_units(positions)
        penalty = 0.0 if self.penalty is None else self.penalty
        return penalty - jnp.abs(self.features.pair(self.slope(particles), positions))

    def velocity(self, particles: Particles) -> Particles:
        """`-grad F'(mu)(u_i)`, in the fields `weights` and `positions`; absent particles rest.

        Where `|w|` has its kink, at `w = 0`, this is the subgradient of smallest norm: the weight
        rests unless `|<R'(f), phi>|` exceeds the penalty, and then leaves at the speed of the
        excess.
        """
        weights, positions, shares = particles
        pairing, pairing_slope = self.pairing_and_slope(particles)
        down = -pairing
        along = -weights[:, None] * pairing_slope
        if self.penalty is not None and self.homogeneity == 1:
            leaving = soft_threshold(down, self.penalty)
            down = jnp.where(weights == 0, leaving, down - self.penalty * jnp.sign(weights))
        elif self.penalty is not None:
            down, along = down - self.penalty * weights, along - self.penalty * positions
        present = shares > 0
        down = jnp.where(present, down, 0)
        return Particles(down, jnp.where(present[:, None], along, 0), shares)

    def pairing_and_slope(
        self, particles: Particles, slope: Any = None
    ) -> tuple[Float[Array, "m"], Float[Array, "m d"]]:
        """`<R'(f), phi(theta_i)>` and its gradient in `theta_i`, of every particle.

        Another element may be given as `slope` in place of `R'(f)`.
        """
        slope = self.slope(particles) if slope is None else slope
        pair = lambda positions: self.features.pair(slope, positions)
        pairing, pull_back = jax.vjp(pair, particles.positions)
        return pairing, pull_back(jnp.ones_like(pairing))[0]

    def residual(self, particles: Particles) -> Float[Array, ""]:
        """`sqrt(sum_i c_i |v_i|^2)` of the velocities: zero where the flow rests.

        Along the flow `d F / d t = -residual^2`. A vanishing residual says nothing about *global*
        optimality.
        """
        velocity = self.velocity(particles)
        squares = velocity.weights**2 + jnp.sum(velocity.positions**2, axis=-1)
        return jnp.sqrt(jnp.sum(particles.shares * squares))

    def check(self, particles: Particles) -> None:
        """Refuse particles of no use here, and features that are not as homogeneous as declared.

        Raises:
            ValueError: if there are no particles, shapes do not fit, values are not finite, or the
                homogeneity is wrong.
        """
        shapes = [jnp.shape(part) for part in particles]
        if len(shapes[1]) != 2 or shapes[0] != shapes[1][:1] or shapes[2] != shapes[0]:
            raise ValueError(
                f"weights, positions and shares have shapes {shapes}; expected (m,), (m, d), (m,). "
                "Use as_particles; for a batch of clouds use jax.vmap."
            )
        if shapes[0] == (0,):
            raise ValueError("There are no particles (m = 0); an empty measure cannot move.")
        check_finite(particles.weights, particles.positions)
        if is_concrete(*jax.tree.leaves((self, particles))):
            self._check_homogeneity(particles)

    def _check_homogeneity(self, particles: Particles) -> None:
        """Compare `phi(2 theta)` with `2 phi(theta)` near the particles."""
        positions = particles.positions[:8] + 0.37
        probe = self.features.embed(jnp.ones_like(positions[:, 0]), positions)
        once, twice = (np.asarray(self.features.pair(probe, c * positions)) for c in (1, 2))
        size = np.abs(once).max() + np.abs(twice).max()
        doubles = bool(np.abs(twice - 2 * once).max() <= 1e-4 * size)
        if self.homogeneity == 2 and not doubles:
            raise ValueError(
                "homogeneity=2 needs phi(s theta) = s phi(theta) for s > 0, but phi(2 theta) is "
                f"not 2 phi(theta): off by {np.abs(twice - 2 * once).max() / size:.2g} of its "
                "size. Use homogeneity=1, which allows any features."
            )
        if self.homogeneity == 1 and self.penalty is not None and doubles and size > 0:
            raise ValueError(
                "phi is positively homogeneous, so that lambda |w| can be made as small as one "
                "likes by a longer theta and a smaller w, and there is no minimizer. "
                "Use homogeneity=2."
            )


def as_units(positions: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Positions scaled to length 1; the origin, which has no direction, stays."""
    lengths = jnp.linalg.norm(positions, axis=-1, keepdims=True)
    return positions / jnp.where(lengths > 0, lengths, 1)


def soft_threshold(values: Array, threshold: Any) -> Array:
    """The proximity operator of `threshold |w|`."""
    return jnp.sign(values) * jnp.maximum(jnp.abs(values) - threshold, 0)


def check_positive(name: str, value: Any, fix: str) -> None:
    """Refuse a number that is known and not positive and finite."""
    if is_concrete(value) and not (np.all(np.isfinite(value)) and np.all(np.asarray(value) > 0)):
        raise ValueError(f"{name} must be a positive finite number; got {value}. {fix}")
