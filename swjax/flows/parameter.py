"""The gradient flow `u' = -grad F(u)` of the parameters: the curve that small steps approach.

Theorem 1 of Tanguy ("Convergence of SGD for training neural networks with sliced Wasserstein
losses", TMLR 2023) compares the interpolated iterates of SGD with the solutions of
`u' in -dF(u)`, where `dF` is the Clarke subdifferential of the population loss; Theorem 2 is about
`u' in -dF(u) - N(u)` with `N(u)` the normal cone of a ball, the flow held inside the ball.
`gradient_flow` solves both, and says how far its solution is from that of twice the step.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import is_concrete
from swjax._trees import as_vector
from swjax.flows._ball import projected_on_ball, touches_sphere, without_radial_part
from swjax.flows.corners import follow_kinks, is_driven_back, no_passage
from swjax.flows.times import checked_times, steps_per_interval
from swjax.losses import SlicedLoss
from swjax.population import PopulationLoss

# Explicit Runge-Kutta methods. The first three stages of each are the velocities where the step
# starts, at the end of an Euler step and in the middle of that. Here are the coefficients of the
# stages after these, and the weights of all.
METHODS: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    "euler": ((), (1.0, 0.0, 0.0)),
    "midpoint": ((), (0.0, 0.0, 1.0)),
    "heun": ((), (0.5, 0.5, 0.0)),
    "rk4": (((0.0, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0)), (1 / 6, 0.0, 1 / 3, 1 / 3, 1 / 6)),
}
# A step is too long to be stable if in its Euler step the velocity changes by more than this times
# itself (Hairer and Wanner 1996, "Solving ordinary differential equations II", section IV.2).
_STABLE = {"euler": 2.0, "midpoint": 2.0, "heun": 2.0, "rk4": 2.785}
# The velocity jumps in a step if it changes by more than this share, all of it in one half of the
# way to this accuracy.
_LEAST_JUMP, _ONE_HALF = 1e-3, 0.1
DEFAULT_NUM_STEPS = 512


class Flow(NamedTuple):
    """A gradient flow at given times.

    Attributes:
        times: `(T,)`, the first is 0.
        path: a tree like the parameters, each leaf with a leading axis of length `T`.
        error: scalar, the largest of `errors`.
        errors: `(T,)`, the distance to the solution with steps twice as long, and what the steps
            that meet a jump of the gradient or are not stable may add to it (see `gradient_flow`).
        dissipation: `(T,)`, the integral of `|u'|^2` from 0; the loss has fallen by as much.
    """

    times: Float[Array, "T"]
    path: PyTree
    error: Float[Array, ""]
    errors: Float[Array, "T"]
    dissipation: Float[Array, "T"]


def gradient_flow(
    loss: SlicedLoss | Callable[[Any], Array] | None,
    params: PyTree,
    times: ArrayLike | Sequence[float],
    *,
    gradient: Callable[[Any], Any] | None = None,
    radius: float | int | Array | None = None,
    num_steps: int | None = None,
    max_step: float | int | None = None,
    method: str = "rk4",
) -> Flow:
    """Solve `u' = -grad F(u)`, optionally held in a ball, with an estimate of the error.

    The equation is solved twice with an explicit Runge-Kutta method of fixed step: once as asked
    for, which is returned, and once with steps twice as long. The distance between the two is the
    error estimate. Where `F` is smooth and the method has order q, the true error is about
    `1 / (2^q - 1)` of it. Where steps are too long to be stable, both solutions may end at one
    wrong point of the sphere; the largest such step, its length times the change of the velocity
    in it, is added to the estimate.

    *Where the gradient jumps* (outputs of the generator that pass each other, kinks of its
    activations, directions of a finite law), the step that crosses the jump is of first order. The
    largest such step, its length times the jump, is added to the estimate. That is of the size of
    the true error, not above it: solve with a step several times smaller than the distances to be
    resolved, and check that the estimate falls with the step.

    *At a kink that attracts from both sides* the solution of `u' in -dF(u)` stops or slides along
    it: its velocity is the element of least norm of `-dF(u)`. A step whose end is driven back is
    cut where the gradient turns, found by bisection to a 65536th of the step, and goes on with the
    element of least norm of the hull of the gradients on the two sides. *At a corner*, where more
    kinks attract at once, they are met one after the other, and the hull is that of all gradients
    met. Steps along kinks are of first order. Of more than eight gradients the hull is replaced by
    a smaller one; where a step is still driven back after 64 meetings, the way it makes is added to
    the estimate. Kinks that shorten the velocity by less than one part in two million are crossed
    to and fro, within `O(step)` of the flow.

    Half precision is computed in float32: the path has that type, and the loss is called with it.

    *In the ball*, the velocity on the sphere loses its outward part, as the normal cone demands,
    and every step ends with the projection on the ball. The order is that of the method as long as
    the flow stays inside or on the sphere, and two at the moments of change.

    Compiled once for each structure of the arguments: another start, other times (as many), another
    step or radius do not compile again, and neither does another loss of the same structure if the
    loss is a pytree, as `PopulationLoss` is. Works under `vmap` and `jit` over `params`, where
    values are not checked.

    Args:
        loss: a function `params -> scalar`; or a `SlicedLoss`, for which the population loss is
            used (it needs discrete laws, and in dimension 3 or more a finite law of the direction;
            for a numerical integral over the direction pass `PopulationLoss(loss, directions)`).
            May be `None` if the gradient is given.
        params: where the flow starts, a pytree of floating-point arrays.
        times: `(T,)`, increasing, starting at 0.
        gradient: a function `params -> tree like params` to follow instead of the gradient of
            `loss`: a hand-written formula, or a choice of subgradient at kinks.
        radius: radius of the closed ball around 0 to which the parameters are confined, as one
            vector; `None` for no ball.
        num_steps: number of steps over the whole time, spread evenly; 512 if nothing is given.
            Every interval between two times has at least two steps.
        max_step: the longest step, instead of `num_steps`.
        method: `"rk4"` (order 4), `"heun"` or `"midpoint"` (2), `"euler"` (1).

    Returns:
        `Flow(times (T,), path, error, errors (T,), dissipation (T,))`; each leaf of `path` has a
        leading axis of length `T`.

    Raises:
        ValueError: if times do not start at 0 or do not increase, a step or radius is not positive,
            the start is outside the ball, both `num_steps` and `max_step` are given, the method is
            unknown, or a `SlicedLoss` has no exact population loss.
        TypeError: if a leaf of `params` is not of floating point type, or neither loss nor gradient
            is given.
        FloatingPointError: if the solution becomes infinite or NaN.

    >>> import jax.numpy as jnp
    >>> flow = gradient_flow(lambda u: jnp.sum(u**2), jnp.array([1.0, 2.0]), [0.0, 0.5, 1.0])
    >>> [[round(float(c), 3) for c in u] for u in flow.path]  # exp(-2 s) (1, 2)
    [[1.0, 2.0], [0.368, 0.736], [0.135, 0.271]]
    >>> bool(flow.error < 1e-5)
    True
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}.")
    if isinstance(loss, SlicedLoss):
        loss = PopulationLoss(loss) if gradient is None else None
    field = loss if gradient is None else gradient
    if field is None:
        raise TypeError("Pass a loss, or the gradient to follow as gradient=.")
    if jax.tree_util.all_leaves([field]):
        field = Partial(field)
    grid = checked_times(times)
    if not jax.tree.leaves(params):
        raise TypeError("params has no arrays in it.")
    start, unravel = as_vector("params", params)
    radius = _checked_radius(radius, start)
    longest = _longest_step(grid[-1], num_steps, max_step)
    # Pairs of steps per interval: the comparison takes one step where the solution takes two.
    pairs = steps_per_interval(grid, 2 * longest)
    lengths = jnp.asarray(np.diff(grid), start.dtype)
    flat, errors, dissipation = _solve(
        field, start, lengths, pairs, radius, (gradient is None, unravel, method)
    )
    if is_concrete(flat) and not bool(jnp.all(jnp.isfinite(flat))):
        bad = int(jnp.argmin(jnp.all(jnp.isfinite(flat), axis=1)))
        raise FloatingPointError(
            f"The flow is infinite or NaN at time {grid[bad]:.6g}. Take more steps "
            f"(the longest was {longest:.3g}), or confine the parameters with radius=."
        )
    path = jax.vmap(unravel)(flat)
    return Flow(jnp.asarray(grid, start.dtype), path, jnp.max(errors), errors, dissipation)


def energy_residual(loss: SlicedLoss | Callable[[Any], Array], flow: Flow) -> Float[Array, "T"]:
    """How well a flow obeys the energy identity: `F(u(0)) - F(u(s)) - int_0^s |u'|^2`.

    Zero along the true flow wherever `F` is path differentiable, inside a ball as well; so this
    checks solution and loss against each other, and that no kink was passed wrongly.

    Args:
        loss: as given to `gradient_flow`.
        flow: as returned by it.

    Returns:
        `(T,)`, zero at time 0.

    >>> import jax.numpy as jnp
    >>> F = lambda u: jnp.sum(u**2)
    >>> flow = gradient_flow(F, jnp.ones(3), [0.0, 1.0])
    >>> bool(jnp.max(jnp.abs(energy_residual(F, flow))) < 1e-5)
    True
    """
    function = PopulationLoss(loss) if isinstance(loss, SlicedLoss) else loss
    values = lax.map(function, flow.path)
    return values[0] - values - flow.dissipation


class _State(NamedTuple):
    """Where the solution has come to, and what has been added up on the way."""

    point: Float[Array, "P"]
    dissipation: Array
    slack: Array
    unresolved: Array


@partial(jax.jit, static_argnums=5)
def _solve(
    field: Any,
    start: Float[Array, "P"],
    lengths: Float[Array, "intervals"],
    pairs: ArrayLike,
    radius: Array | None,
    static: tuple[bool, Callable[[Array], Any], str],
) -> tuple[Float[Array, "T P"], Float[Array, "T"], Float[Array, "T"]]:
    """The path as flat vectors, the estimates of its error, and the dissipation."""
    is_loss, unravel, method = static

    def velocity(flat: Array) -> Array:
        gradient = (jax.grad(field) if is_loss else field)(unravel(flat))
        return -ravel_pytree(gradient)[0].astype(start.dtype)

    def solution(steps: Array) -> _State:
        def interval(state: _State, piece: tuple) -> tuple[_State, _State]:
            length, count = piece
            step = length / count
            advance = lambda _, state: _step(velocity, state, step, radius, method)
            state = lax.fori_loop(0, count, advance, state)
            return state, state

        zero = jnp.zeros((), start.dtype)
        state = _State(start, zero, zero, zero)
        _, later = lax.scan(interval, state, (lengths, steps))
        return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state, later)

    pairs = jnp.asarray(pairs)
    both = lax.map(solution, jnp.stack([pairs, 2 * pairs]))
    distances = jnp.linalg.norm(both.point[1] - both.point[0], axis=1)
    distances = jnp.where(jnp.isnan(distances), jnp.inf, distances)
    errors = distances + both.slack[1] + both.unresolved[1]
    return both.point[1], errors, both.dissipation[1]


def _step(
    velocity: Callable[[Array], Array],
    state: _State,
    step: Array,
    radius: Array | None,
    method: str,
) -> _State:
    """One step, which runs along the kinks that drive it back."""
    point = state.point
    here = velocity(point)
    held = touches_sphere(point, radius) & (jnp.vdot(here, point) > 0)
    slopes, ahead = _slopes(velocity, point, here, held, step, method)
    opposed = is_driven_back(slopes[0], slopes[1])
    passage = lax.cond(
        opposed,
        lambda: follow_kinks(velocity, point, here, ahead, held, step, opposed, radius),
        lambda: no_passage(point),
    )
    weights = jnp.asarray(METHODS[method][1], point.dtype)
    across = passage._replace(
        point=point + step * jnp.sum(weights[:, None] * slopes, axis=0),
        squares=step * jnp.sum(weights * jnp.sum(slopes**2, axis=1)),
        slack=step * _unfollowed_change(slopes, method),
    )
    passage = jax.tree.map(partial(jnp.where, passage.met), passage, across)
    return _State(
        projected_on_ball(passage.point, radius),
        state.dissipation + passage.squares,
        jnp.maximum(state.slack, passage.slack),
        state.unresolved + passage.unresolved,
    )


def _slopes(
    velocity: Callable[[Array], Array],
    point: Float[Array, "P"],
    here: Float[Array, "P"],
    held: Array,
    step: Array,
    method: str,
) -> tuple[Float[Array, "stages P"], Float[Array, "P"]]:
    """The stages of a step, and the velocity at the end of an Euler step as it is off the ball."""
    rows = ((), (1.0,), (0.5,), *METHODS[method][0])
    table = np.zeros((len(rows), len(rows)))
    for row, coefficients in zip(table, rows, strict=True):
        row[: len(coefficients)] = coefficients
    table = jnp.asarray(table, point.dtype)

    def add(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        slopes, ahead = state
        inner = point + step * jnp.sum(table[i][:, None] * slopes, axis=0)
        found = velocity(inner)
        slopes = slopes.at[i].set(without_radial_part(found, inner, held))
        return slopes, jnp.where(i == 1, found, ahead)

    slopes = jnp.zeros((len(rows), point.size), point.dtype)
    slopes = slopes.at[0].set(without_radial_part(here, point, held))
    return lax.fori_loop(1, len(rows), add, (slopes, here))


def _unfollowed_change(slopes: Float[Array, "stages P"], method: str) -> Array:
    """The change of the velocity in an Euler step, where it jumps or is not stable; else 0."""
    first, ahead, middle = slopes[:3]
    size, change = jnp.linalg.norm(first), jnp.linalg.norm(ahead - first)
    bend = jnp.linalg.norm(first - 2 * middle + ahead)
    jumps = (change > _LEAST_JUMP * size) & (jnp.abs(bend - change) < _ONE_HALF * change)
    return jnp.where(jumps | (change > _STABLE[method] * size), change, 0)


def _checked_radius(radius: float | int | Array | None, start: Array) -> Array | None:
    if radius is None:
        return None
    if is_concrete(radius, start):
        norm = float(jnp.linalg.norm(start))
        if not float(radius) > 0:
            raise ValueError(f"radius must be positive, got {radius}.")
        if norm > float(radius) * (1 + 8 * float(jnp.finfo(start.dtype).eps)):
            raise ValueError(
                f"The flow starts at norm {norm:.6g}, outside the ball of radius "
                f"{float(radius):.6g}. Scale the initial parameters, or take a larger radius."
            )
    return jnp.asarray(radius, start.dtype)


def _longest_step(horizon: float, num_steps: int | None, max_step: float | int | None) -> float:
    if num_steps is not None and max_step is not None:
        raise ValueError("Give num_steps or max_step, not both.")
    if max_step is not None:
        if not 0 < max_step < np.inf:
            raise ValueError(f"max_step must be positive, got {max_step}.")
        return float(max_step)
    if num_steps is None:
        num_steps = DEFAULT_NUM_STEPS
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    return float(horizon) / num_steps
