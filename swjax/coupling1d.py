"""The optimal coupling of two measures on the line: a staircase through their points in order.

Both measures are walked through in ascending order. Between two neighboring levels of the two
distribution functions, mass goes from one point of x to one point of y; passing a level of x leads
to the next point of x, passing a level of y to the next point of y. So the coupling of n with m
points is a path of n + m - 1 cells from the first pair of points to the last (the north-west corner
rule; Peyre and Cuturi 2019, "Computational optimal transport", sections 2.6 and 3.4.2), and it is
optimal for every cost |x - y|^p with p >= 1.

Cells may carry no mass. Where two levels are equal, the one of x is passed first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from swjax.rows import put_rows, take_rows
from swjax.sorting import argmerge


class Staircase(NamedTuple):
    """A monotone path through the sorted points of x and y, in every lane.

    Attributes:
        order: The levels of x and y in ascending order: rows of the inner levels of x (all but the
            last, which is 1), followed by those of y.
        mass: The mass of every cell: the gap between its two levels.
        size: The number n of points of x.
    """

    order: Int[Array, "*batch k C"]
    mass: Float[Array, "*batch cells C"]
    size: int

    def cells(self) -> tuple[Int[Array, "*batch cells C"], Int[Array, "*batch cells C"]]:
        """The places i and j, in ascending order, of the two points that every cell couples."""
        inner, last = self.size - 1, self.order.shape[-2]
        place = lax.broadcasted_iota(jnp.int32, self.order.shape, self.order.ndim - 2)
        of_x = self.order < inner
        # The cell below the r-th level of one measure has r levels of it below, and place - r of
        # the other.
        i = jnp.where(of_x, self.order, place - (self.order - inner))
        end = jnp.full_like(i[..., :1, :], inner, shape=(*i.shape[:-2], 1, i.shape[-1]))
        i = jnp.concatenate([i, end], axis=-2)
        place = lax.broadcasted_iota(jnp.int32, i.shape, i.ndim - 2)
        return i, jnp.where(place == last, last - inner, place - i)

    def crossings(self) -> tuple[Int[Array, "*batch r C"], Int[Array, "*batch s C"]]:
        """The place of y beside which x moves on, for every inner level of x, and conversely."""
        place = lax.broadcasted_iota(jnp.int32, self.order.shape, self.order.ndim - 2)
        place = put_rows(self.order, place)
        sides = place[..., : self.size - 1, :], place[..., self.size - 1 :, :]
        own = lambda side: lax.broadcasted_iota(jnp.int32, side.shape, side.ndim - 2)
        x_side, y_side = (side - own(side) for side in sides)
        return x_side, y_side


def inner_levels(
    weights: Float[Array, "*batch n #C"], order: Int[Array, "*batch n C"]
) -> Float[Array, "*batch r C"]:
    """The distribution function at all points in ascending order but the last, where it is 1."""
    ordered = take_rows(jnp.broadcast_to(weights, order.shape), order)
    sums = _ascending(jnp.cumsum(ordered, axis=-2), ordered > 0)
    return sums[..., :-1, :] / sums[..., -1:, :]


@jax.custom_jvp
def _ascending(sums: Array, has_mass: Array) -> Array:
    """Undo the rounding of sums that are added up in parallel.

    They may descend, and move where a weight is zero: a point without mass would get some.
    """
    counted = jnp.where(has_mass | jnp.isnan(sums), sums, 0)
    return lax.cummax(counted, axis=sums.ndim - 2)


@_ascending.defjvp
def _ascending_jvp(primals, tangents):
    return _ascending(*primals), tangents[0]


def weighted_staircase(
    x_levels: Float[Array, "*batch r C"], y_levels: Float[Array, "*batch s C"]
) -> Staircase:
    """The coupling of weighted points, from their `inner_levels`; differentiable in them."""
    both = jnp.concatenate([x_levels, y_levels], axis=-2)
    if 0 in (x_levels.shape[-2], y_levels.shape[-2]):
        order = lax.broadcasted_iota(jnp.int32, both.shape, both.ndim - 2)
    else:
        order = argmerge(x_levels, y_levels)
    return Staircase(order, _gaps(take_rows(both, order), 1), x_levels.shape[-2] + 1)


def equal_staircase(n: int, m: int, lanes: int, dtype: jnp.dtype) -> Staircase:
    """The coupling of n with m points of equal weight, in exact order and the same in all lanes."""
    with jax.enable_x64(True):  # levels in units of 1 / (n m)
        x_levels, y_levels = jnp.arange(1, n) * m, jnp.arange(1, m) * n
        both = jnp.concatenate([x_levels, y_levels])[:, None]
        order = jnp.argsort(both, axis=0, stable=True)
        gaps = _gaps(take_rows(both, order), n * m)
        order, mass = order.astype(jnp.int32), gaps.astype(dtype)
    in_lanes = lambda column: jnp.broadcast_to(column, (column.shape[0], lanes))
    return Staircase(in_lanes(order), in_lanes(mass / float(n * m)), n)


def _gaps(levels: Array, total: int) -> Array:
    edge = (*levels.shape[:-2], 1, levels.shape[-1])
    first, last = jnp.zeros(edge, levels.dtype), jnp.full(edge, total, levels.dtype)
    return jnp.diff(jnp.concatenate([first, levels, last], axis=-2), axis=-2)
