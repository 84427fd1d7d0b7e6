"""How large a smooth function on a box is at most: branch and bound with a bound on its curvature.

The largest value found on a grid is not an upper bound of the maximum, and a certificate of
optimality needs one. Here every cell of a grid is bounded by a Taylor expansion at its center, the
cells that may still hold the maximum are divided, and what was put aside keeps its bound.
"""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from swjax.flows.particles.products import matmul

# A batch of points (n, d) to values (n,) and gradients (n, d).
ValuesAndGradients = Callable[[Array], tuple[Array, Array]]


class Peak(NamedTuple):
    """The maximum of `|eta|`, enclosed.

    Attributes:
        bound: scalar; no value of `|eta|` in the box is larger.
        attained: scalar; the value of `|eta|` at `position`, so at most `bound`.
        position: `(d,)`.
    """

    bound: Float[Array, ""]
    attained: Float[Array, ""]
    position: Float[Array, "d"]


def largest_magnitude(
    function: ValuesAndGradients,
    lower: Float[Array, "d"],
    upper: Float[Array, "d"],
    curvature: Array | float,
    *,
    num_cells: int,
    num_rounds: int = 40,
) -> Peak:
    """Enclose the maximum of `|eta|` over a box.

    In a cell with center `x` and half widths `h`,

        |eta| <= |eta(x)| + sum_k h_k |d_k eta(x)| + C (sum_k h_k)^2 / 2,

    if `C |e|_1^2` bounds the second derivative of `eta` in every direction `e`. In each round the
    cells of largest bound are divided, into 4 in one dimension and into `2^d` otherwise, as many as
    make a grid again; the largest bound put aside is remembered, so that the result is an upper
    bound in any case, and more cells only make it sharper. Works inside `jit` and `vmap`.

    Args:
        function: points `(n, d)` to values `(n,)` and gradients `(n, d)` of `eta`.
        lower: corner of the box, `(d,)`.
        upper: the opposite corner, `(d,)`.
        curvature: the bound `C` over the box.
        num_cells: number of cells along each axis of the first grid, a multiple of 4 in one
            dimension and of 2 otherwise.
        num_rounds: rounds at most. It ends earlier when the enclosure is as narrow as rounding, or
            when the largest bound is one put aside, however wide the enclosure is then; more cells
            make it narrower.

    Returns:
        The enclosure, a `Peak`.

    Raises:
        ValueError: if the number of cells is not such a multiple.

    >>> import jax.numpy as jnp
    >>> wave = lambda x: (jnp.sin(x[:, 0]), jnp.cos(x))
    >>> peak = largest_magnitude(wave, jnp.zeros(1), jnp.ones(1) * 3, 1.0, num_cells=8)
    >>> bool(1 <= peak.bound <= 1 + 1e-5), round(float(peak.position[0]), 2)
    (True, 1.57)
    """
    dim = lower.shape[0]
    split = 4 if dim == 1 else 2
    if num_cells < split or num_cells % split:
        raise ValueError(f"num_cells must be a positive multiple of {split}; got {num_cells}.")
    kept = (num_cells // split) ** dim
    offsets = jnp.asarray(_centers(split, dim), lower.dtype)  # of the children, in half widths
    eps = jnp.finfo(lower.dtype).eps

    def unfinished(state: tuple) -> Array:
        _, _, within, aside, best, _, rounds = state
        return (within > aside) & (within > best * (1 + 4 * eps)) & (rounds < num_rounds)

    def examine_and_divide(state: tuple) -> tuple:
        points, half, _, aside, best, at, rounds = state
        values, gradients = function(points)
        values = jnp.abs(values)
        bounds = values + matmul(jnp.abs(gradients), half) + 0.5 * curvature * jnp.sum(half) ** 2
        top = jnp.argmax(values)
        better = values[top] > best
        best, at = jnp.where(better, values[top], best), jnp.where(better, points[top], at)
        bounds, index = lax.top_k(bounds, kept + 1)
        children = points[index[:kept], None] + offsets[None] * half[None, None]
        aside = jnp.maximum(aside, bounds[kept])
        return children.reshape(-1, dim), half / split, bounds[0], aside, best, at, rounds + 1

    middle = (lower + upper) / 2
    cells = jnp.asarray(_centers(num_cells, dim), lower.dtype)
    grid = middle[None] + cells * (upper - lower)[None] / 2
    unknown = jnp.asarray(jnp.inf, lower.dtype)
    start = (grid, (upper - lower) / (2 * num_cells), unknown, -unknown, -unknown, middle, 0)
    _, _, within, aside, best, at, _ = lax.while_loop(unfinished, examine_and_divide, start)
    return Peak(jnp.maximum(jnp.maximum(within, aside), best), best, at)


def _centers(num: int, dim: int) -> np.ndarray:
    """Centers of the `num^dim` equal cells of the cube [-1, 1]^dim."""
    axis = (2 * np.arange(num) + 1) / num - 1
    return np.asarray(list(product(axis, repeat=dim)))


def values_and_gradients(function: Callable[[Array], Array]) -> ValuesAndGradients:
    """Values and gradients by differentiation, of a function that treats rows one by one."""

    def both(points: Array) -> tuple[Array, Array]:
        values, pull_back = jax.vjp(function, points)
        return values, pull_back(jnp.ones_like(values))[0]

    return both
