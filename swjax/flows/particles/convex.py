"""The convex problem that remains when positions are fixed: what particles are compared with."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from swjax._checks import as_count
from swjax.flows.particles.cloud import Particles
from swjax.flows.particles.features import KernelLeastSquares, LeastSquares
from swjax.flows.particles.problem import ParticleProblem, as_units, soft_threshold
from swjax.flows.particles.products import matmul, vdot


def fit_weights(
    problem: ParticleProblem, positions: Float[Array, "m d"], *, num_steps: int = 10_000
) -> Particles:
    """Minimize `J` over all measures on given positions: a lasso, or least squares.

    With penalty by accelerated forward-backward steps (FISTA of Beck and Teboulle 2009, restarted
    whenever a step goes against the momentum, O'Donoghue and Candes 2015); without it by the
    pseudoinverse of the Gram matrix. With `homogeneity=2` positions are scaled to length 1 (one at
    the origin has no direction and gets no mass), and the weights returned are balanced, `|w_i| =
    |theta_i|`, which makes `V` the mass.

    Args:
        problem: one with a square loss (`LeastSquares`, `KernelLeastSquares`).
        positions: `(m, d)`, a grid or random features.
        num_steps: steps of the accelerated method; not used without penalty.

    Returns:
        `Particles` with shares `1 / m`. `duality_gap` compares them with all other measures;
        `problem.optimality(particles, positions)` says how well the weights were fitted.

    Raises:
        ValueError: if there are no positions, or the loss is neither `LeastSquares` nor
            `KernelLeastSquares`.

    >>> import jax.numpy as jnp
    >>> from swjax.particles import spikes_deconvolution, torus_grid
    >>> problem = spikes_deconvolution([1.0], [0.25], order=7)
    >>> on_grid = fit_weights(problem, torus_grid(8))  # 0.25 is on this grid
    >>> round(float(problem.objective(on_grid)), 4)
    0.9667
    """
    if not isinstance(problem.loss, LeastSquares | KernelLeastSquares):
        raise ValueError(
            "fit_weights solves a quadratic problem, and the loss is a "
            f"{type(problem.loss).__name__}. State it as LeastSquares or KernelLeastSquares; for "
            "any other convex loss use particle_flow with small steps of the positions."
        )
    positions = jnp.asarray(positions)
    if positions.ndim != 2 or len(positions) == 0:
        raise ValueError(
            f"positions have shape {positions.shape}; expected (m, d) with m >= 1: a measure on "
            "an empty grid has no mass."
        )
    if problem.homogeneity == 2:
        positions = as_units(positions)
    masses = _fit(problem, positions, as_count("num_steps", num_steps))
    shares = jnp.full_like(masses, 1 / len(masses))
    weights = masses * len(masses)
    if problem.homogeneity == 2:
        root = jnp.sqrt(jnp.abs(weights))
        return Particles(jnp.sign(weights) * root, positions * root[:, None], shares)
    return Particles(weights, positions, shares)


@jax.jit
def _fit(problem: ParticleProblem, positions: Array, num_steps: Array | int) -> Float[Array, "m"]:
    """The best masses."""
    features, loss = problem.features, problem.loss
    nothing = jnp.zeros(len(positions), positions.dtype)
    constant = features.pair(loss.gradient(features.embed(nothing, positions)), positions)
    products = lambda unit: features.pair(features.embed(unit, positions), positions)
    hessian = jax.vmap(products)(jnp.eye(len(positions), dtype=positions.dtype))
    hessian = hessian * (loss.scale if isinstance(loss, LeastSquares) else 1)
    if problem.penalty is None:
        return -matmul(jnp.linalg.pinv(hessian, hermitian=True), constant)
    step = 1 / jnp.maximum(jnp.linalg.norm(hessian, 2), jnp.finfo(constant.dtype).tiny)

    def advance(_: Array, state: tuple) -> tuple:
        masses, ahead, momentum = state
        slope = matmul(hessian, ahead) + constant
        new = soft_threshold(ahead - step * slope, step * problem.penalty)
        against = vdot(ahead - new, new - masses) > 0
        momentum = jnp.where(against, 1.0, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        push = jnp.where(against, 0.0, (momentum - 1) / following)
        return new, new + push * (new - masses), following

    one = jnp.ones((), nothing.dtype)
    return lax.fori_loop(0, num_steps, advance, (nothing, nothing, one))[0]
