"""The inner program of a sweep: all repetitions of one scheme, between recorded times.

The iterates are joined by segments, u_alpha(s) = u^k + (s / alpha - k) (u^{k+1} - u^k), and read
off at a fixed grid of flow times. The step size and the step counts are arguments of the compiled
function, not constants of it: one compilation serves every step size, every repetition and every
chunk of times.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from swjax.losses import SlicedLoss
from swjax.training import TrainingState, sgd_step, start


class Grid(NamedTuple):
    """Where recorded flow times fall among the iterates of one step size.

    Attributes:
        num_steps: steps to the horizon, K = ceil(T / alpha).
        targets: iterate k + 1 that ends the segment of each time, (N + 1,) int32, at most K.
        fractions: where on that segment the time lies, (N + 1,), in [0, 1].
    """

    num_steps: int
    targets: np.ndarray
    fractions: np.ndarray


def place_times(times: np.ndarray, step_size: float) -> Grid:
    """Find each time's segment, in double precision; a ratio within rounding of an integer is it.

    Args:
        times: (N + 1,), increasing from 0 to the horizon.
        step_size: alpha.

    Example:
        >>> place_times(np.array([0.0, 0.25, 0.6]), 0.2)
        Grid(num_steps=3, targets=array([1, 2, 3], dtype=int32), fractions=array([0.  , 0.25, 1.
        ]))
    """
    position = np.asarray(times, np.float64) / step_size
    nearest = np.round(position)
    position = np.where(
        np.abs(position - nearest) <= 1e-9 * np.maximum(nearest, 1), nearest, position
    )
    num_steps = max(1, math.ceil(position[-1]))
    before = np.minimum(np.floor(position), num_steps - 1)
    return Grid(num_steps, (before + 1).astype(np.int32), position - before)


def iterates_only(grid: Grid) -> Grid:
    """The same grid with every time moved to the iterate at or after it: no points in between."""
    return grid._replace(fractions=np.ceil(grid.fractions))


class Carry(NamedTuple):
    """All repetitions between two recorded times; leading axis R everywhere but in `step`.

    Attributes:
        before: the iterate before the present one (u^0 at the start).
        state: the present iterate with the optimizer's state.
        step: number of updates made, int32 scalar, the same for all repetitions.
        max_norm: the largest norm of an iterate so far, (R,).
        max_step: the longest step so far, (R,).
    """

    before: PyTree
    state: TrainingState
    step: Int[Array, ""]
    max_norm: Float[Array, " R"]
    max_step: Float[Array, " R"]


class Inputs(NamedTuple):
    """What a chunk of C recorded times needs besides the carry.

    Attributes:
        targets: iterate that ends each time's segment, (C,) int32.
        fractions: place on the segment, (C,).
        evaluate: whether the loss is evaluated there, (C,) bool.
        observe: whether further numbers are recorded there, (C,) bool.
        flow: the reference flow at these times, (R or 1, C, P); (1, C, 0) where there is none.
    """

    targets: Array | np.ndarray
    fractions: Array | np.ndarray
    evaluate: Array | np.ndarray
    observe: Array | np.ndarray
    flow: Array | np.ndarray


def flat_rows(tree: PyTree) -> Float[Array, "R P"]:
    """One parameter vector per repetition from a tree whose leaves have the leading axis R."""
    return jax.vmap(lambda one: ravel_pytree(one)[0])(tree)


def row_norms(rows: Float[Array, "R P"]) -> Float[Array, " R"]:
    """Euclidean norm of every row, summed pairwise: rounding grows with log P, not with P."""
    squares = rows * rows
    while squares.shape[1] > 1:
        half = -(-squares.shape[1] // 2)
        rest = jnp.pad(squares[:, half:], ((0, 0), (0, 2 * half - squares.shape[1])))
        squares = squares[:, :half] + rest
    return jnp.sqrt(squares[:, 0])


MakeOptimizer = Callable[[ArrayLike, ArrayLike], optax.GradientTransformation]


def make_start(make_optimizer: MakeOptimizer) -> Callable:
    """The function (params, noise_keys, step_size) -> Carry at the first iterate."""

    def begin(params: PyTree, noise_keys: Key[Array, " R"], step_size: Float[Array, ""]) -> Carry:
        state = jax.vmap(lambda u, key: start(make_optimizer(step_size, key), u))(
            params, noise_keys
        )
        norms = row_norms(flat_rows(params))
        return Carry(params, state, jnp.zeros((), jnp.int32), norms, jnp.zeros_like(norms))

    return begin


class Losses(NamedTuple):
    """The losses of a study, handed to the compiled function as data.

    Attributes:
        sample: the minibatch loss.
        evaluate: params -> loss to record at the flagged times, or None.
        observe: params -> further numbers to record, by name, at the watched times, or None.
    """

    sample: SlicedLoss
    evaluate: Callable[[PyTree], Array] | None
    observe: Callable[[PyTree], dict[str, Array]] | None = None


def make_advance(
    make_optimizer: MakeOptimizer, *, keep_path: bool, both_interpolations: bool = False
) -> Callable:
    """The function (carry, losses, data_keys, noise_keys, step_size, inputs) -> (carry, records).

    Args:
        make_optimizer: (step size, key of the noise) -> Optax transformation.
        keep_path: record the parameters themselves.
        both_interpolations: record the piecewise constant interpolation, too.

    Returns:
        A function to be compiled. Its steps are those of ``swjax.train`` with the repetition's data
        key. The records are arrays with leading axes (C, R): ``norm``, ``max_norm`` (over all
        iterates so far), ``max_step`` (the longest step so far), ``sample_loss`` (mean since the
        previous time; NaN where no step was made) and, where they apply, ``distance``, ``loss``,
        ``path``, ``constant_distance`` and what `observe` names.
    """

    def advance(
        carry: Carry, losses: Losses, data_keys, noise_keys, step_size, inputs: Inputs
    ) -> tuple[Carry, dict[str, Array]]:
        def one_step(state: TrainingState, data_key, noise_key):
            return sgd_step(losses.sample, make_optimizer(step_size, noise_key))(state, data_key)

        all_steps = jax.vmap(one_step)

        def update(_, moving):
            now, loss_sum = moving
            state, value = all_steps(now.state, data_keys, noise_keys)
            rows = flat_rows(state.params)
            norms = jnp.maximum(now.max_norm, row_norms(rows))
            longest = jnp.maximum(now.max_step, row_norms(rows - flat_rows(now.state.params)))
            moved = Carry(now.state.params, state, now.step + 1, norms, longest)
            return moved, loss_sum + value

        def record(now: Carry, at):
            target, fraction, flagged, watched, flow = at
            num = target - now.step
            zeros = jnp.zeros_like(now.max_norm)
            now, loss_sum = jax.lax.fori_loop(0, num, update, (now, zeros))
            params = jax.tree.map(
                lambda a, b: _between(a, b, fraction), now.before, now.state.params
            )
            rows = flat_rows(params)
            seen = {
                "norm": row_norms(rows),
                "max_norm": now.max_norm,
                "sample_loss": jnp.where(num > 0, loss_sum / jnp.maximum(num, 1), jnp.nan),
                "max_step": now.max_step,
            }
            if flow.shape[1]:
                seen["distance"] = row_norms(rows - flow)
            if both_interpolations and flow.shape[1]:
                kept = jax.tree.map(
                    lambda a, b: jnp.where(fraction < 1, a, b), now.before, now.state.params
                )
                seen["constant_distance"] = row_norms(flat_rows(kept) - flow)
            if losses.evaluate is not None:
                # One run at a time: under vmap the last bits would depend on how many there are.
                everyone = lambda p: jax.lax.map(losses.evaluate, p)
                skipped = lambda p: jnp.full_like(zeros, jnp.nan)
                seen["loss"] = jax.lax.cond(flagged, everyone, skipped, params)
            if losses.observe is not None:
                look = lambda p: jax.lax.map(losses.observe, p)
                form = jax.eval_shape(look, params)
                blank = lambda p: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), form)
                seen |= jax.lax.cond(watched, look, blank, params)
            if keep_path:
                seen["path"] = rows
            return now, seen

        per_time = (
            inputs.targets,
            inputs.fractions,
            inputs.evaluate,
            inputs.observe,
            jnp.swapaxes(inputs.flow, 0, 1),
        )
        return jax.lax.scan(record, carry, per_time)

    return advance


def _between(before: Array, after: Array, fraction: Array) -> Array:
    """The point of the segment; at 0 and 1 the very end, whatever the other end is."""
    weight = fraction.astype(before.dtype)
    inside = (1 - weight) * before + weight * after
    return jnp.where(weight == 0, before, jnp.where(weight == 1, after, inside))
