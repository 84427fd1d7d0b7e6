"""Take the rows of many lists in an order of their own, or put them back.

Arrays are ``(..., n, L)``: L lists ("lanes") of n numbers each, and orders hold row numbers for
every lane. Both functions read and write flat memory, which is several times as fast as an index of
rows and lanes.
"""

import math

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int


def take_rows(values: Array, order: Int[Array, "*batch k L"]) -> Array:
    """``values[order[k, l], l]`` in every lane l, as one gather from flat memory."""
    _check_lanes(order, values)
    place = _flat(order, values.shape)
    taken = values.reshape(-1).at[place].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return taken.reshape(order.shape)


def put_rows(order: Int[Array, "*batch n L"], values: Array) -> Array:
    """The inverse of `take_rows` for permutations: row ``order[k, l]`` becomes ``values[k, l]``."""
    _check_lanes(order, values)
    target = jnp.zeros(values.size, values.dtype).at[_flat(order, values.shape)]
    full = target.set(
        values.reshape(-1),
        mode="promise_in_bounds",
        unique_indices=True,
        wrap_negative_indices=False,
    )
    return full.reshape(values.shape)


def _check_lanes(order: Array, values: Array) -> None:
    """Every lane needs rows of its own: an order of one lane does not stand for all."""
    if order.ndim != values.ndim or order.shape[:-2] + order.shape[-1:] != (
        values.shape[:-2] + values.shape[-1:]
    ):
        raise ValueError(
            f"The order {order.shape} and the values {values.shape} may differ only in the number "
            "of rows, the axis before last; broadcast them first."
        )


def _flat(order: Array, shape: tuple[int, ...]) -> Array:
    """Where the rows of every lane stand in an array of that shape, read as one line."""
    *batch, n, lanes = shape
    if math.prod(shape) >= 2**31:
        raise ValueError(f"{shape} is too large to sort at once; use a smaller chunk_size.")
    lane = lax.broadcasted_iota(jnp.int32, order.shape, order.ndim - 1)
    start = jnp.arange(math.prod(batch), dtype=jnp.int32).reshape(*batch, 1, 1) * (n * lanes)
    return (start + order * lanes + lane).reshape(-1)
