"""Runs of particles: recorded paths, runs until a gap is reached, continuous time, and orders."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from swjax._checks import as_count, is_concrete
from swjax._types import AnyKey
from swjax.flows.parameter import Flow, gradient_flow
from swjax.flows.particles.cloud import Particles
from swjax.flows.particles.gap import Gap, check_inside, duality_gap, gap_or_infinity
from swjax.flows.particles.minibatches import as_sampler
from swjax.flows.particles.problem import ParticleProblem
from swjax.flows.particles.schemes import Scheme


class ParticleFlow(NamedTuple):
    """A run of particles.

    Attributes:
        particles: where it ended.
        path: the particles at the recorded steps, each field with a leading axis of length `T`.
        steps: `(T,)`, the recorded steps: 0, then about evenly spread in the logarithm.
        objectives: `(T,)`, `F(mu)` there.
        residuals: `(T,)`, `problem.residual` there; 0 where the flow rests.
        gap: the certificate at the end; infinite where the problem offers none, or where particles
            have left the box of their features.
    """

    particles: Particles
    path: Particles
    steps: Int[Array, "T"]
    objectives: Float[Array, "T"]
    residuals: Float[Array, "T"]
    gap: Gap


class ParticleSolution(NamedTuple):
    """Particles that were moved until their gap was small, or steps ran out.

    Attributes:
        particles: where the run ended.
        gap: the certificate there: whether it was reached is for the reader to see.
        residual: scalar, `problem.residual` there.
        num_steps: scalar, the steps made.
    """

    particles: Particles
    gap: Gap
    residual: Float[Array, ""]
    num_steps: Int[Array, ""]


def particle_flow(
    problem: ParticleProblem,
    particles: Particles,
    scheme: Scheme,
    *,
    num_steps: int,
    num_records: int = 64,
    sample: Callable[[AnyKey], ParticleProblem] | None = None,
    key: AnyKey | None = None,
) -> ParticleFlow:
    """Move particles by `num_steps` steps, and bound how far from the minimum they end.

    Compiled once for all runs of one structure and one number of records, also with minibatches of
    `functools.partial(network.sample, batch_size=...)`, made anew or not; for another function
    `sample` it compiles again, so make that one once. Works under `jax.vmap`
    over particles (several starts; several numbers of particles by `stack_particles`), over scheme
    and problem (step sizes, penalties, noise).

    Args:
        problem: what is minimized, and what objective, residual and gap refer to.
        particles: the start, `m` of them in dimension `d`.
        scheme: `ForwardBackward`, `GradientDescent` or `ConicDescent`, with its step sizes.
        num_steps: number of steps, at least 1.
        num_records: about how many steps are recorded.
        sample: for stochastic steps: a function of a key to the problem of one minibatch, of the
            same kind of features each time. Step `t` uses `jax.random.fold_in(key, t)`.
        key: with `sample` only.

    Returns:
        `ParticleFlow(particles, path, steps (T,), objectives (T,), residuals (T,), gap)`.

    Raises:
        ValueError: if there are no particles, a count is below 1, the features are not as
            homogeneous as declared, the scheme cannot serve the start, or only one of `sample` and
            `key` is given.
        FloatingPointError: if the particles become infinite or NaN.

    >>> import jax
    >>> from swjax.particles import ForwardBackward, spikes_deconvolution, uniform_grid
    >>> problem = spikes_deconvolution([1.0, -1.0], [0.2, 0.6], order=4)
    >>> scheme = ForwardBackward(0.05, 1e-4)
    >>> flow = particle_flow(problem, uniform_grid(6), scheme, num_steps=3000)
    >>> bool(flow.objectives[-1] < flow.objectives[0]), bool(flow.gap.gap < 1e-3)
    (True, True)
    """
    problem.check(particles)
    scheme.check(problem, particles)
    if (sample is None) != (key is None):
        raise ValueError("Stochastic steps need both sample= and key=; other steps neither.")
    steps = _recorded_steps(as_count("num_steps", num_steps), as_count("num_records", num_records))
    counts = jnp.asarray(np.diff(steps), jnp.int32)
    sampler = as_sampler(sample) if sample is not None else None
    end, path, objectives, residuals = _run(problem, particles, scheme, counts, sampler, key)
    gap = gap_or_infinity(problem, end)
    if _is_broken(end):
        finite = np.asarray(jnp.isfinite(objectives))
        raise _explosion(steps[-1 if finite.all() else int(np.argmin(finite))])
    return ParticleFlow(end, path, jnp.asarray(steps), objectives, residuals, gap)


def solve_to_gap(
    problem: ParticleProblem,
    particles: Particles,
    scheme: Scheme,
    *,
    tolerance: float,
    max_steps: int,
    check_every: int = 1000,
) -> ParticleSolution:
    """Move particles until the duality gap is at most `tolerance`, or the steps run out.

    Args:
        problem: one whose gap can be certified, see `duality_gap`.
        particles: the start, `m` of them in dimension `d`.
        scheme: the method with its step sizes.
        tolerance: the gap to reach; positive.
        max_steps: steps at most.
        check_every: steps between two certificates; the last ones may be fewer.

    Returns:
        `ParticleSolution(particles, gap, residual, num_steps)`; under `vmap` every run stops by
        itself.

    Raises:
        ValueError: as `particle_flow` and `duality_gap`, also if particles leave the box of their
            features on the way; or if the tolerance is not positive.
        FloatingPointError: if the particles or their gap become infinite or NaN.

    >>> from swjax.particles import ForwardBackward, spikes_deconvolution, uniform_grid
    >>> problem = spikes_deconvolution([1.0, -1.0], [0.2, 0.6], order=4)
    >>> scheme = ForwardBackward(0.05, 1e-4)
    >>> solution = solve_to_gap(problem, uniform_grid(6), scheme, tolerance=1e-3, max_steps=20_000)
    >>> bool(solution.gap.gap <= 1e-3)
    True
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}: rounding leaves a gap.")
    every, most = as_count("check_every", check_every), as_count("max_steps", max_steps)
    scheme.check(problem, particles)
    duality_gap(problem, particles)  # refuses what cannot be certified
    solution = _solve(problem, particles, scheme, tolerance, most, every)
    if not _is_broken(solution.particles):
        check_inside(problem, solution.particles)
    if _is_broken((solution.particles, solution.gap.gap)):
        raise _explosion(solution.num_steps)
    return solution


def continuous_particle_flow(
    problem: ParticleProblem,
    particles: Particles,
    times: ArrayLike | Sequence[float],
    *,
    num_steps: int | None = None,
    method: str = "rk4",
) -> Flow:
    """The gradient flow `u_i' = -grad F'(mu)(u_i)` in continuous time, with its error.

    `swjax.gradient_flow` for `sqrt(c_i) u_i`: of these it is the gradient flow of the objective in
    the Euclidean metric, whatever the shares, so that `energy_residual(problem.objective, flow)`
    vanishes. With `homogeneity=1` the velocity jumps where a weight comes to 0. A step that meets
    such a kink is cut there, and is of first order; the weight rests at 0, or passes, as the
    element of least norm says.

    Args:
        problem: what is minimized.
        particles: the start, `m` of them in dimension `d`.
        times: `(T,)`, increasing, starting at 0.
        num_steps: number of steps over the whole time; 512 if not given.
        method: `"rk4"`, `"heun"`, `"midpoint"` or `"euler"`, see `swjax.gradient_flow`.

    Returns:
        `Flow(times (T,), path, error, errors (T,), dissipation (T,))`, `path` being `Particles`
        with a leading axis, `error` the distance to the solution of twice the step, and
        `dissipation` the integral of `problem.residual^2`. The distance is the root of the sum of
        squares over shares.

    Raises:
        ValueError: as `swjax.gradient_flow`, or if there are no particles.

    >>> import jax.numpy as jnp
    >>> from swjax.particles import as_particles, spikes_deconvolution
    >>> problem = spikes_deconvolution([1.0], [0.2], order=2)
    >>> start = as_particles(jnp.array([0.1, 0.2]), jnp.array([0.15, 0.3]))
    >>> flow = continuous_particle_flow(problem, start, [0.0, 0.05])
    >>> bool(flow.error < 1e-4)
    True
    """
    problem.check(particles)
    start = _times_roots(particles)
    uphill = Partial(_uphill, problem)
    flow = gradient_flow(None, start, times, gradient=uphill, num_steps=num_steps, method=method)
    return flow._replace(path=_over_roots(flow.path))


class StepOrder(NamedTuple):
    """How a method approaches its limit as its step is halved.

    Attributes:
        step_sizes: `(3,)`: `h, h / 2, h / 4`.
        distances: `(2,)`: between the ends at consecutive step sizes.
        order: scalar, `log2` of the ratio of the distances: 1 for the methods here.
    """

    step_sizes: Float[Array, "3"]
    distances: Float[Array, "2"]
    order: Float[Array, ""]


def step_order(
    problem: ParticleProblem,
    particles: Particles,
    scheme: Callable[[float], Scheme],
    *,
    time: float,
    step_size: float,
) -> StepOrder:
    """The observed order of a method in its step size, at a fixed time.

    All of them follow the gradient flow (of their metric) to first order.

    Args:
        problem: what is minimized.
        particles: the start, `m` of them in dimension `d`.
        scheme: a step size to a method, such as `ForwardBackward`, or a function that sets both
            steps.
        time: the time at which the ends are compared; a multiple of the step size.
        step_size: the coarsest of the three step sizes.

    Returns:
        `StepOrder(step_sizes (3,), distances (2,), order)`; the distance is the root of the sum of
        squares over shares.

    Raises:
        ValueError: if the time is not a positive multiple of the step size.

    >>> import jax.numpy as jnp
    >>> from swjax.particles import ConicDescent, as_particles, spikes_deconvolution
    >>> problem = spikes_deconvolution([1.0], [0.2], order=2)
    >>> start = as_particles(jnp.array([0.5, 0.2]), jnp.array([0.15, 0.3]))
    >>> order = step_order(problem, start, ConicDescent, time=0.01, step_size=0.001)
    >>> 0.8 < float(order.order) < 1.2
    True
    """
    num_steps = round(time / step_size)
    if num_steps < 1 or abs(num_steps * step_size - time) > 1e-6 * time:
        raise ValueError(
            f"time = {time} must be a positive multiple of step_size = {step_size}, so that all "
            "three runs end at the same time."
        )
    sizes = [step_size / 2**k for k in range(3)]
    ends = [
        particle_flow(
            problem, particles, scheme(size), num_steps=num_steps * 2**k, num_records=1
        ).particles
        for k, size in enumerate(sizes)
    ]
    distances = jnp.stack([_distance(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)])
    return StepOrder(jnp.asarray(sizes), distances, jnp.log2(distances[0] / distances[1]))


@jax.jit
def _run(
    problem: ParticleProblem,
    particles: Particles,
    scheme: Scheme,
    counts: Int[Array, "T"],
    sample: Callable[[AnyKey], ParticleProblem] | None,
    key: AnyKey | None,
) -> tuple[Particles, Particles, Array, Array]:
    """End, path, objectives and residuals."""

    def advance(step: Array, particles: Particles) -> Particles:
        if sample is None or key is None:
            return scheme.step(problem, particles)
        return scheme.step(sample(jax.random.fold_in(key, step)), particles)

    def measured(particles: Particles) -> tuple:
        return particles, problem.objective(particles), problem.residual(particles)

    def stretch(state: tuple, count: Array) -> tuple[tuple, tuple]:
        particles, done = state
        particles = lax.fori_loop(done, done + count, advance, particles)
        return (particles, done + count), measured(particles)

    (end, _), later = lax.scan(stretch, (particles, jnp.int32(0)), counts)
    join = lambda first, rest: jnp.concatenate([first[None], rest])
    path, objectives, residuals = jax.tree.map(join, measured(particles), later)
    return end, path, objectives, residuals


@jax.jit
def _solve(
    problem: ParticleProblem,
    particles: Particles,
    scheme: Scheme,
    tolerance: Array | float,
    most: Array | int,
    every: Array | int,
) -> ParticleSolution:
    """The steps of `solve_to_gap`, `every` of them between two certificates, `most` in all."""

    def unfinished(state: tuple) -> Array:
        _, gap, done = state
        return (gap.gap > tolerance) & (done < most)

    def advance(state: tuple) -> tuple:
        particles, _, done = state
        step = lambda _, particles: scheme.step(problem, particles)
        num = jnp.minimum(every, most - done)
        particles = lax.fori_loop(0, num, step, particles)
        return particles, gap_or_infinity(problem, particles), done + num

    start = (particles, gap_or_infinity(problem, particles), jnp.int32(0))
    end, gap, done = lax.while_loop(unfinished, advance, start)
    return ParticleSolution(end, gap, problem.residual(end), done)


def _is_broken(tree: Any) -> bool:
    """Whether a number is known to be infinite or NaN."""
    leaves = jax.tree.leaves(tree)
    return is_concrete(*leaves) and not all(bool(jnp.all(jnp.isfinite(part))) for part in leaves)


def _explosion(step: Any) -> FloatingPointError:
    return FloatingPointError(
        f"The particles are infinite or NaN at step {step}. Take smaller steps; those of "
        "positions must shrink as the weights and the order of the features grow."
    )


def _uphill(problem: ParticleProblem, scaled: Particles) -> Particles:
    """The gradient of the objective in `sqrt(c_i) u_i`, given these."""
    weights, positions, shares = _times_roots(problem.velocity(_over_roots(scaled)))
    return Particles(-weights, -positions, jnp.zeros_like(shares))


def _times_roots(particles: Particles) -> Particles:
    """`sqrt(c_i) u_i`; absent particles, which rest, as they are."""
    roots = _share_roots(particles.shares)
    return particles._replace(
        weights=particles.weights * roots, positions=particles.positions * roots[..., None]
    )


def _over_roots(scaled: Particles) -> Particles:
    """The particles again."""
    roots = _share_roots(scaled.shares)
    return scaled._replace(
        weights=scaled.weights / roots, positions=scaled.positions / roots[..., None]
    )


def _share_roots(shares: Float[Array, "*b m"]) -> Float[Array, "*b m"]:
    return jnp.sqrt(jnp.where(shares > 0, shares, 1))


def _distance(a: Particles, b: Particles) -> Array:
    squares = (a.weights - b.weights) ** 2 + jnp.sum((a.positions - b.positions) ** 2, axis=-1)
    return jnp.sqrt(jnp.sum(a.shares * squares))


def _recorded_steps(num_steps: int, num_records: int) -> np.ndarray:
    """0, and up to `num_records` steps evenly spread in the logarithm, the last one included."""
    spread = np.unique(np.round(np.geomspace(1, num_steps, num_records)).astype(int))
    return np.concatenate([[0], spread]) if num_records > 1 else np.array([0, num_steps])
