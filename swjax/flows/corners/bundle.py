"""The velocities on the pieces that meet at a corner of the loss, and the shortest of their hull.

At a point where pieces `f_1, f_2, ...` of the loss meet, the gradient flow `u' in -dF(u)` goes on
with the element of least norm of `conv{-grad f_i}`; on the sphere that holds the parameters, of
that hull minus the half-line of the outward normal. The pieces are found one after the other, so
the hull is kept as a bundle of a few velocities (Lemarechal 1975; Wolfe 1975, "A method of
conjugate subgradients for minimizing nondifferentiable functions").
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from swjax.flows.corners.nearest import shortest_weights

# Velocities kept at a time. The shortest element needs one more than there are attracting kinks at
# the corner; of a bundle that is full, two make room for the shortest element and the new one.
SIZE = 8
# A shortest element below this many machine epsilons of the longest velocity is rounding.
_NOTHING = 32


class Bundle(NamedTuple):
    """Velocities met at a corner, and their shortest convex combination.

    Attributes:
        rows: `(SIZE + 1, P)`; the last is the inward normal of the sphere. Unused rows are zero.
        used: `(SIZE + 1,)`, which rows count.
        weights: `(SIZE + 1,)`, of the shortest element; those of the velocities sum to 1.
    """

    rows: Float[Array, "rows P"]
    used: Bool[Array, "rows"]
    weights: Float[Array, "rows"]


def bundle_of(slope: Float[Array, "P"]) -> Bundle:
    """The bundle of one velocity."""
    first = jnp.arange(SIZE + 1) == 0
    rows = jnp.where(first[:, None], slope[None], 0)
    return Bundle(rows, first, first.astype(slope.dtype))


def is_single(bundle: Bundle) -> Array:
    """Whether one velocity alone is the shortest element, as inside a smooth piece."""
    return jnp.sum(bundle.weights[:SIZE] > 0) == 1


def longest(bundle: Bundle) -> Array:
    """The norm of the longest velocity."""
    return jnp.sqrt(jnp.max(jnp.sum(bundle.rows[:SIZE] ** 2, axis=1)))


def mean_velocity(bundle: Bundle) -> Float[Array, "P"]:
    """The convex combination of the velocities, without the part of the normal."""
    return jnp.sum(bundle.weights[:SIZE, None] * bundle.rows[:SIZE], axis=0)


def difference_from_nearest(bundle: Bundle, slope: Float[Array, "P"]) -> Float[Array, "P"]:
    """The nearest of the velocities that make up the shortest element, minus the one given."""
    turns = bundle.rows[:SIZE] - slope[None]
    squares = jnp.where(bundle.weights[:SIZE] > 0, jnp.sum(turns**2, axis=1), jnp.inf)
    is_nearest = jnp.arange(SIZE) == jnp.argmin(squares)
    return jnp.sum(jnp.where(is_nearest[:, None], turns, 0), axis=0)


def moved_on(bundle: Bundle, slope: Float[Array, "P"], flag: Array) -> Bundle:
    """The bundle some way ahead: the pieces that took no part are left behind.

    Args:
        bundle: the bundle.
        slope: the velocity there, which replaces that of a single piece.
        flag: scalar bool, whether the point has moved at all.

    Returns:
        The bundle, its weights unchanged.
    """
    used = bundle.used & ((bundle.weights > 0) | ~flag)
    only = flag & is_single(bundle) & used & (jnp.arange(SIZE + 1) < SIZE)
    rows = jnp.where(only[:, None], slope[None], bundle.rows)
    return bundle._replace(rows=jnp.where(used[:, None], rows, 0), used=used)


def extended(
    bundle: Bundle,
    slope: Float[Array, "P"],
    inward: Float[Array, "P"],
    on_sphere: Array,
    is_wanted: Array,
) -> Bundle:
    """The bundle with another velocity, and with the normal of the sphere where it is touched.

    Args:
        bundle: the bundle.
        slope: the velocity to add.
        inward: the direction of the inward normal of the sphere.
        on_sphere: scalar bool, whether the normal counts.
        is_wanted: scalar bool; where it is false, as under `vmap`, the weights may be any.

    Returns:
        The bundle with the weights of its shortest element.
    """
    places = jnp.arange(SIZE + 1)
    taken = jnp.where(bundle.used, bundle.weights, -1).at[SIZE].set(jnp.inf)
    is_new = places == jnp.argmin(taken)
    is_full = jnp.min(taken) > 0
    merged = is_full & (places == jnp.argmin(jnp.where(is_new, jnp.inf, taken)))
    rows = jnp.where(merged[:, None], mean_velocity(bundle)[None], bundle.rows)
    rows = jnp.where(is_new[:, None], slope[None], rows)
    normal = jnp.where(on_sphere, inward, 0)
    rows = jnp.where((places == SIZE)[:, None], normal[None], rows)
    used = jnp.where(places == SIZE, on_sphere, bundle.used | is_new)
    start = jnp.where(is_full, merged, jnp.where(places == SIZE, 0, bundle.weights))
    pair = _weights_of_pair(rows, used & ~is_new, is_new)
    is_pair = (jnp.sum(used) == 2) & ~on_sphere
    start = jnp.where(is_pair, pair, start)
    return Bundle(rows, used, shortest_weights(rows, used, start, is_new, is_pair | ~is_wanted))


def shortest(bundle: Bundle) -> Float[Array, "P"]:
    """The element of least norm; zero where only rounding is left of it."""
    least = jnp.sum(bundle.weights[:, None] * bundle.rows, axis=0)
    rounding = _NOTHING * jnp.finfo(least.dtype).eps * longest(bundle)
    return jnp.where(jnp.linalg.norm(least) <= rounding, 0, least)


def _weights_of_pair(
    rows: Float[Array, "rows P"], first: Bool[Array, "rows"], second: Bool[Array, "rows"]
) -> Float[Array, "rows"]:
    """Weights of the point of least norm between two rows, which are marked."""
    here = jnp.sum(jnp.where(first[:, None], rows, 0), axis=0)
    turn = here - jnp.sum(jnp.where(second[:, None], rows, 0), axis=0)
    square = jnp.vdot(turn, turn)
    part = jnp.clip(jnp.vdot(here, turn) / jnp.where(square > 0, square, 1), 0, 1)
    return jnp.where(first, 1 - part, 0) + jnp.where(second, part, 0)
