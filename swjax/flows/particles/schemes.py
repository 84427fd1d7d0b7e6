"""Steps of particles: explicit, forward-backward, and conic ones that keep signs."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array

from swjax._checks import is_concrete
from swjax._trees import as_pytree
from swjax.flows.particles.cloud import Particles
from swjax.flows.particles.features import LeastSquares
from swjax.flows.particles.problem import ParticleProblem, check_positive, soft_threshold


@runtime_checkable
class Scheme(Protocol):
    """One step of a method, and a check made before the first."""

    def step(self, problem: ParticleProblem, particles: Particles) -> Particles:
        """The particles after one step."""
        ...

    def check(self, problem: ParticleProblem, particles: Particles) -> None:
        """Refuse a start or a problem that the method cannot serve."""
        ...


@dataclass(frozen=True, eq=False)
class _TwoSteps:
    """Step sizes of weights and positions, the second as the first if it is not given."""

    step_size: Any
    position_step: Any = None

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size, "It is a length of time.")
        if self.position_step is not None:
            check_positive("position_step", self.position_step, "It is a length of time.")

    @property
    def step_sizes(self) -> tuple[Any, Any]:
        """Of weights and of positions."""
        same = self.position_step is None
        return self.step_size, self.step_size if same else self.position_step


@as_pytree("step_size", "position_step")
@dataclass(frozen=True, eq=False)
class GradientDescent(_TwoSteps):
    """`u_i <- u_i - tau grad F'(mu)(u_i)`: `tau m` times the objective's gradient if `c = 1/m`.

    The explicit Euler method for the gradient flow of particles. With `homogeneity=1` it is a
    subgradient method, whose weights oscillate about 0 by `tau lambda`; `ForwardBackward` stops
    them there.

    Attributes:
        step_size: `tau`, of the weights.
        position_step: of the positions; the same if not given. Another one changes the metric of
            the flow, not its points of rest.

    Raises:
        ValueError: if a step size is not positive.
    """

    def step(self, problem: ParticleProblem, particles: Particles) -> Particles:
        """The particles after one step."""
        tau, position_tau = self.step_sizes
        velocity = problem.velocity(particles)
        return particles._replace(
            weights=particles.weights + tau * velocity.weights,
            positions=particles.positions + position_tau * velocity.positions,
        )

    def check(self, problem: ParticleProblem, particles: Particles) -> None:
        """Every start will do."""


@as_pytree("step_size", "position_step")
@dataclass(frozen=True, eq=False)
class ForwardBackward(_TwoSteps):
    """An explicit step for `R` followed by the proximity operator of `tau lambda V`.

    With `homogeneity=1`, where `s` is soft thresholding,

        w_i     <- s(w_i - tau <R'(f), phi(theta_i)>, tau lambda),
        theta_i <- theta_i - tau' w_i grad <R'(f), phi(theta_i)>,

    so that weights reach 0 exactly and stay there while the pairing is below `lambda`. With
    `homogeneity=2` the proximity operator divides by `1 + tau lambda`.

    Attributes:
        step_size: `tau`, of the weights.
        position_step: `tau'`; `tau` if not given.

    Raises:
        ValueError: if a step size is not positive.
    """

    def step(self, problem: ParticleProblem, particles: Particles) -> Particles:
        """The particles after one step."""
        tau, position_tau = self.step_sizes
        weights, positions, shares = particles
        pairing, slope = problem.pairing_and_slope(particles)
        new_weights = weights - tau * pairing
        new_positions = positions - position_tau * weights[:, None] * slope
        if problem.penalty is not None and problem.homogeneity == 1:
            new_weights = soft_threshold(new_weights, tau * problem.penalty)
        elif problem.penalty is not None:
            new_weights = new_weights / (1 + tau * problem.penalty)
            new_positions = new_positions / (1 + position_tau * problem.penalty)
        present = shares > 0
        return Particles(
            jnp.where(present, new_weights, weights),
            jnp.where(present[:, None], new_positions, positions),
            shares,
        )

    def check(self, problem: ParticleProblem, particles: Particles) -> None:
        """Every start will do."""


@as_pytree()
@dataclass(frozen=True)
class MonotoneForwardBackward:
    """Forward-backward steps with sizes of their own: the objective never rises.

    For `R(f) = (s / 2) |f - y|^2`, and bounds `b_0, b_1, b_2` of `phi` and its two derivatives, one
    line after the other,

        w_i     <- soft(w_i - tau <R'(f), phi(theta_i)>, tau lambda),
        theta_i <- theta_i - sign(w_i) grad <R'(f), phi(theta_i)> / (s b_1^2 |nu| + b_2 |R'(f)|).

    With `tau = 1 / (s b_0^2)` each line minimizes an upper bound of the objective that touches it,
    whatever the shares and the number of particles. That is slow for many particles, since `b_0^2`
    is the curvature if all are at one place; so `tau` is first taken from the curvature along the
    safe step, and kept if the change `d f` it makes proves it short enough, `s |d f|^2 <=
    sum_i c_i (d w_i)^2 / tau`. As in `ConicDescent` the motion of positions does not slow down
    where weights are small; as in `ForwardBackward` weights may start from 0 and return to it.
    Positions take a step up to 100 times as long where the loss is seen to fall by no less than the
    bound promises of the step above.

    Raises:
        ValueError: at the start of a run, if the features have no `bounds` (those of
            `FourierFeatures` do), the loss is not `LeastSquares`, or `homogeneity` is 2.
    """

    def step(self, problem: ParticleProblem, particles: Particles) -> Particles:
        """The particles after one step."""
        element, particles = self._move_weights(problem, particles)
        return self._move_positions(problem, element, particles)

    def _move_weights(
        self, problem: ParticleProblem, particles: Particles
    ) -> tuple[Array, Particles]:
        """The element and the particles after the step of the weights."""
        weights, positions, shares = particles
        scale, penalty = problem.loss.scale, problem.penalty
        element = problem.element(particles)
        pairing = problem.features.pair(problem.loss.gradient(element), positions)

        def change(tau: Array | float) -> tuple[Array, Array, Array, Array]:
            """New weights, change of the element, and the two sides of the proof."""
            moved = weights - tau * pairing
            moved = moved if penalty is None else soft_threshold(moved, tau * penalty)
            moved = jnp.where(shares > 0, moved, weights)
            step = problem.features.embed(shares * (moved - weights), positions)
            return moved, step, scale * jnp.sum(step**2), jnp.sum(shares * (moved - weights) ** 2)

        safe = 1 / (scale * problem.features.bounds.value**2)
        short, short_step, curved, square = change(safe)
        longer = jnp.where(curved > 0, square / jnp.where(curved > 0, curved, 1), safe)
        long, long_step, curved, square = change(longer)
        proven = curved * longer <= square
        element = element + jnp.where(proven, long_step, short_step)
        return element, particles._replace(weights=jnp.where(proven, long, short))

    def _move_positions(
        self, problem: ParticleProblem, element: Array, particles: Particles
    ) -> Particles:
        """The particles after the step of the positions."""
        bounds, scale = problem.features.bounds, problem.loss.scale
        gradient, tiny = problem.loss.gradient(element), jnp.finfo(element.dtype).tiny
        _, slope = problem.pairing_and_slope(particles, gradient)
        sign = jnp.where(particles.shares > 0, jnp.sign(particles.weights), 0)
        square = jnp.sum(jnp.abs(particles.masses)[:, None] * slope**2)

        def change(beta: Array) -> tuple[Array, Array]:
            """New positions, and the change of the loss."""
            moved = particles.positions - beta * sign[:, None] * slope
            step = problem.features.embed(particles.masses, moved) - element
            return moved, jnp.sum(gradient * step) + scale / 2 * jnp.sum(step**2)

        steepest = scale * bounds.slope**2 * problem.total_variation(particles)
        steepest = steepest + bounds.curvature * jnp.sqrt(jnp.sum(gradient**2))
        safe = 1 / jnp.maximum(steepest, tiny)
        short, fall = change(safe)
        curved = 2 * (fall + safe * square) / safe**2
        longer = jnp.clip(square / jnp.maximum(curved, tiny), safe, 100 * safe)
        long, fall = change(longer)
        # Near the minimum the falls drown in rounding and prove nothing: then the safe step.
        noise = jnp.finfo(element.dtype).eps * scale * jnp.sum(element**2)
        proven = (fall <= -safe * square / 2) & (safe * square > 1e4 * noise)
        return particles._replace(positions=jnp.where(proven, long, short))

    def check(self, problem: ParticleProblem, particles: Particles) -> None:
        """Refuse problems of which the bounds are not known."""
        known = hasattr(problem.features, "bounds") and isinstance(problem.loss, LeastSquares)
        if not known or problem.homogeneity != 1:
            raise ValueError(
                "MonotoneForwardBackward needs features with known bounds (FourierFeatures), the "
                "loss LeastSquares and homogeneity=1. Use ForwardBackward with step sizes of yours."
            )


@as_pytree("step_size", "position_step")
@dataclass(frozen=True, eq=False)
class ConicDescent(_TwoSteps):
    """Multiplicative steps of `|w|` and plain steps of positions; signs never change.

    Gradient descent of Chizat ("Sparse optimization on measures with over-parameterized gradient
    descent", Mathematical Programming 2022) in the cone metric of `w_i = s_i r_i^2`, `s_i = +-1`:
    with `e_i = s_i <R'(f), phi(theta_i)> + lambda`,

        r_i     <- r_i exp(-2 alpha e_i)    (or r_i (1 - 2 alpha e_i) with mirror=False),
        theta_i <- theta_i - beta s_i grad <R'(f), phi(theta_i)>.

    The motion of positions does not slow down where weights are small. Particles of both signs must
    be there from the start, and no weight may be 0, for it would remain so.

    Attributes:
        step_size: `alpha`.
        position_step: `beta`; `alpha` if not given.
        mirror: whether the retraction is the exponential (mirror descent) or the linear one.

    Raises:
        ValueError: if a step size is not positive, a weight is 0 at the start, or the problem has
            `homogeneity=2`, where the weight is not the mass.
    """

    mirror: bool = True

    def step(self, problem: ParticleProblem, particles: Particles) -> Particles:
        """The particles after one step."""
        alpha, beta = self.step_sizes
        weights, positions, shares = particles
        pairing, slope = problem.pairing_and_slope(particles)
        sign = jnp.where(shares > 0, jnp.sign(weights), 0)
        excess = sign * pairing + (0.0 if problem.penalty is None else problem.penalty)
        rate = jnp.where(sign == 0, 0, 2 * alpha * excess)
        factor = jnp.exp(-rate) if self.mirror else 1 - rate
        return particles._replace(
            weights=weights * factor**2, positions=positions - beta * sign[:, None] * slope
        )

    def check(self, problem: ParticleProblem, particles: Particles) -> None:
        """Refuse what multiplicative steps cannot serve."""
        if problem.homogeneity != 1:
            raise ValueError(
                "ConicDescent is for homogeneity=1, where the weight is the mass. "
                "Use GradientDescent for homogeneity=2."
            )
        if is_concrete(particles.weights, particles.shares):
            stuck = _num_stuck(particles.weights, particles.shares)
            if stuck:
                raise ValueError(
                    f"{stuck} of {len(particles.weights)} weights are 0, and multiplicative steps "
                    "never leave 0. Start from small weights of both signs, or use ForwardBackward."
                )


def _num_stuck(weights: Array, shares: Array) -> int:
    return int(jnp.sum((weights == 0) & (shares > 0)))
