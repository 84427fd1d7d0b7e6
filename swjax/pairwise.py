"""Sliced-Wasserstein losses between many clouds at once.

Every cloud is projected and sorted once, not once for each pair, and only then are the pairs
compared. All clouds of a collection have the same number of points; pad a smaller one with points
of weight zero.

Memory is proportional to all points of all clouds times the directions of one chunk, for the value
and the gradient, whose way back sorts again.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import (
    as_real_array,
    check_chunk_size,
    check_unit_length,
    check_weights,
    working_dtype,
)
from swjax.coupling1d import equal_staircase, inner_levels, weighted_staircase
from swjax.rows import take_rows
from swjax.slicing import default_chunk_size, project
from swjax.sorting import argsort, sort


def pairwise_sw2_sq(
    clouds: ArrayLike,
    directions: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    chunk_size: int | None = None,
) -> Float[Array, "K K"]:
    """`sw2_sq` between any two clouds of a collection.

    Each of the K (K - 1) / 2 pairs is compared once: the matrix is exactly symmetric, and zero on
    the diagonal.

    Args:
        clouds: K clouds, shape (K, n, d).
        directions: Unit vectors as rows, shape (L, d), the same for all pairs.
        weights: Weights of the points, shape (n,) for all clouds or (K, n); nonnegative, of sum 1
            over each cloud. None stands for 1/n each.
        chunk_size: How many directions to hold in memory at a time; by default as many as the
            caches take, but at least 8. Working memory is proportional to K n chunk_size.

    Returns:
        Shape (K, K). NaN in a cloud makes its row and column NaN, but for the diagonal.

    Raises:
        TypeError: If an input is not a floating-point array.
        ValueError: If shapes do not fit together, a collection, the clouds or the directions are
            empty, or `chunk_size` < 1; and, where values are known (not inside `jit`), if a
            direction is not of unit length or weights are negative or do not sum to 1.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> clouds = jnp.stack([x, x + jnp.array([[3.0, 4.0]]), 2 * x])
        >>> pairwise_sw2_sq(clouds, jnp.eye(2)).tolist()
        [[0.0, 12.5, 0.25], [12.5, 0.0, 11.25], [0.25, 11.25, 0.0]]
    """
    check_chunk_size(chunk_size)
    clouds, weights = _collection("clouds", clouds, "weights", weights)
    args = _in_one_type(directions, clouds, weights)
    return _mean_over_blocks(*args, None, None, _each_pair_once, chunk_size)


def cross_sw2_sq(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    chunk_size: int | None = None,
) -> Float[Array, "K M"]:
    """`sw2_sq` between every cloud of one collection and every cloud of another.

    Args:
        x: K clouds, shape (K, n, d).
        y: M clouds, shape (M, m, d).
        directions: Unit vectors as rows, shape (L, d), the same for all pairs.
        a: Weights of the points of x, shape (n,) or (K, n); None stands for 1/n each.
        b: Weights of the points of y, shape (m,) or (M, m); None stands for 1/m each.
        chunk_size: How many directions to hold in memory at a time, as in `pairwise_sw2_sq`.

    Returns:
        Shape (K, M). NaN in a cloud makes its row or column NaN, and no other entry.

    Raises:
        TypeError: As `pairwise_sw2_sq`.
        ValueError: As `pairwise_sw2_sq`.

    Example:
        >>> x = jnp.array([[[0.0, 0.0], [1.0, 0.0]]])
        >>> y = jnp.array([[[3.0, 4.0]], [[0.5, 0.0]]])
        >>> cross_sw2_sq(x, y, jnp.eye(2)).tolist()
        [[11.25, 0.125]]
    """
    check_chunk_size(chunk_size)
    x, a = _collection("x", x, "a", a)
    y, b = _collection("y", y, "b", b)
    args = _in_one_type(directions, x, a, y, b)
    return _mean_over_blocks(*args, _all_with_all, chunk_size)


def batch_sw2_sq(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    chunk_size: int | None = None,
) -> Float[Array, "B"]:
    """`sw2_sq` between the k-th cloud of one collection and the k-th of another.

    For other directions in every pair, use ``jax.vmap(sw2_sq)``.

    Args:
        x: B clouds, shape (B, n, d).
        y: B clouds, shape (B, m, d).
        directions: Unit vectors as rows, shape (L, d), the same for all pairs.
        a: Weights of the points of x, shape (n,) or (B, n); None stands for 1/n each.
        b: Weights of the points of y, shape (m,) or (B, m); None stands for 1/m each.
        chunk_size: How many directions to hold in memory at a time, as in `pairwise_sw2_sq`.

    Returns:
        Shape (B,). NaN in a cloud makes its entry NaN, and no other.

    Raises:
        TypeError: As `pairwise_sw2_sq`.
        ValueError: As `pairwise_sw2_sq`, and if there are not as many x as y.

    Example:
        >>> x = jnp.array([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]])
        >>> batch_sw2_sq(x, x + jnp.array([[[3.0, 4.0]], [[1.0, 0.0]]]), jnp.eye(2)).tolist()
        [12.5, 0.5]
    """
    check_chunk_size(chunk_size)
    x, a = _collection("x", x, "a", a)
    y, b = _collection("y", y, "b", b)
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"x has {x.shape[0]} clouds and y {y.shape[0]}; they must pair up.")
    args = _in_one_type(directions, x, a, y, b)
    return _mean_over_blocks(*args, _one_to_one, chunk_size)


class _Weighted(NamedTuple):
    """Projected clouds in ascending order, and the inner levels of their distribution functions."""

    values: Float[Array, "*batch n C"]
    levels: Float[Array, "*batch r C"]


Slices = TypeVar("Slices", Array, _Weighted)
Compare = Callable[[Slices, Slices], Float[Array, ""]]


@partial(jax.jit, static_argnames=("pairs", "chunk_size"))
def _mean_over_blocks(
    directions: Float[Array, "L d"],
    x: Float[Array, "K n d"],
    a: Float[Array, "K n"] | None,
    y: Float[Array, "M m d"] | None,
    b: Float[Array, "M m"] | None,
    pairs: Callable[..., Array],
    chunk_size: int | None,
) -> Array:
    """The mean over the directions of what `pairs` makes of the costs; without y, x with itself."""
    num, dim = directions.shape
    points = sum(clouds.shape[0] * clouds.shape[1] for clouds in (x, y) if clouds is not None)
    num_blocks = -(-num // (chunk_size or default_chunk_size(points)))
    size = -(-num // num_blocks)
    # Directions of length zero fill the last block: they project everything to the same point.
    filled = jnp.concatenate([directions, jnp.zeros((num_blocks * size - num, dim), x.dtype)])

    @partial(jax.checkpoint, prevent_cse=False)
    def block_sum(block: Float[Array, "C d"]) -> Array:
        if a is not None:
            weighted_x = _sort_weighted(x, a, block)
            weighted_y = weighted_x if y is None or b is None else _sort_weighted(y, b, block)
            return pairs(_weighted_cost, weighted_x, weighted_y)
        sorted_x = sort(project(x, block))
        sorted_y = sorted_x if y is None else sort(project(y, block))
        n, m = sorted_x.shape[1], sorted_y.shape[1]
        if n == m:
            return pairs(_matched_cost, sorted_x, sorted_y) / n
        stairs = equal_staircase(n, m, 1, x.dtype)
        i, j = (place[:, 0] for place in stairs.cells())
        return pairs(partial(_cell_cost, stairs.mass), sorted_x[:, i], sorted_y[:, j])

    blocks = filled.reshape(num_blocks, size, dim)
    add = lambda total, block: (total + block_sum(block), None)
    zero = jnp.zeros_like(jax.eval_shape(block_sum, blocks[0]))
    return lax.scan(add, zero, blocks)[0] / num


def _sort_weighted(
    clouds: Float[Array, "K n d"], weights: Float[Array, "K n"], block: Float[Array, "C d"]
) -> _Weighted:
    values = project(clouds, block)
    order = argsort(values)
    return _Weighted(take_rows(values, order), inner_levels(weights[:, :, None], order))


def _matched_cost(x: Float[Array, "n C"], y: Float[Array, "n C"]) -> Float[Array, ""]:
    return jnp.sum(jnp.square(x - y))


def _cell_cost(
    mass: Float[Array, "cells 1"], x: Float[Array, "cells C"], y: Float[Array, "cells C"]
) -> Float[Array, ""]:
    return jnp.sum(mass * jnp.square(x - y))


def _weighted_cost(x: _Weighted, y: _Weighted) -> Float[Array, ""]:
    stairs = weighted_staircase(x.levels, y.levels)
    i, j = stairs.cells()
    return jnp.sum(stairs.mass * jnp.square(take_rows(x.values, i) - take_rows(y.values, j)))


def _one_to_one(compare: Compare, x: Slices, y: Slices) -> Float[Array, "B"]:
    return jax.vmap(compare)(x, y)


def _all_with_all(compare: Compare, x: Slices, y: Slices) -> Float[Array, "K M"]:
    row = jax.checkpoint(lambda one: jax.vmap(compare, in_axes=(None, 0))(one, y))
    return lax.map(row, x)


def _each_pair_once(compare: Compare, x: Slices, y: Slices) -> Float[Array, "K K"]:
    """The k-th cloud with those that follow it on a circle, half way around."""
    num = jax.tree.leaves(x)[0].shape[0]

    @jax.checkpoint
    def diagonal(shift: Array) -> Float[Array, "K"]:
        others = jax.tree.map(lambda array: jnp.roll(array, -shift, axis=0), y)
        return jax.vmap(compare)(x, others)

    diagonals = lax.map(diagonal, jnp.arange(1, num // 2 + 1))
    zero = jnp.zeros((1, num), diagonals.dtype)
    row, column = np.indices((num, num))
    shift = (column - row) % num
    ahead = shift <= num // 2
    first = np.where(ahead, row, column)
    return jnp.concatenate([zero, diagonals])[np.where(ahead, shift, num - shift), first]


def _collection(
    name: str, clouds: ArrayLike, weights_name: str, weights: ArrayLike | None
) -> tuple[Array, Array | None]:
    """Clouds and one row of weights for each, or an error that says what is wrong with them."""
    clouds = as_real_array(name, clouds)
    if clouds.ndim != 3 or 0 in clouds.shape:
        raise ValueError(
            f"{name} has shape {clouds.shape}; expected (number of clouds, points, d), none of "
            f"them zero. One cloud is a collection {name}[None]."
        )
    num, n, _ = clouds.shape
    if weights is None:
        return clouds, None
    weights = as_real_array(weights_name, weights)
    if weights.shape not in ((n,), (num, n)):
        raise ValueError(
            f"{weights_name} has shape {weights.shape}; expected {(n,)} or {(num, n)}, one weight "
            f"for each point of {name}."
        )
    check_weights(weights_name, weights.T, name, weights.T.shape)
    return clouds, jnp.broadcast_to(weights, (num, n))


def _in_one_type(
    directions: ArrayLike, x: Array, a: Array | None, y: Array | None = None, b: Array | None = None
) -> tuple[Array | None, ...]:
    """Directions, clouds and weights in the type to compute in; weights for both or for none."""
    directions = as_real_array("directions", directions)
    clouds = {"clouds": x} if y is None else {"x": x, "y": y}
    fits = directions.ndim == 2 and 0 not in directions.shape
    if not fits or {directions.shape[1]} != {cloud.shape[2] for cloud in clouds.values()}:
        shapes = " and ".join(f"{name} {cloud.shape}" for name, cloud in clouds.items())
        raise ValueError(
            f"directions has shape {directions.shape}; expected (L, d), with the d of {shapes}. "
            "Directions are rows."
        )
    check_unit_length(directions)
    if y is not None and not (a is None and b is None):
        equal = lambda cloud: jnp.full(cloud.shape[:2], 1 / cloud.shape[1], jnp.float32)
        a, b = equal(x) if a is None else a, equal(y) if b is None else b
    dtype = working_dtype(directions, x, a, y, b)
    arrays = (directions, x, a) if y is None else (directions, x, a, y, b)
    return tuple(None if array is None else array.astype(dtype) for array in arrays)
