"""Sort many lists at once: fast on every backend, exact, and with a derivative.

Arrays are ``(..., n, L)``: L lists ("lanes") of n numbers, each sorted along the axis before last,
so that the same entry of neighboring lists lies in neighboring memory.

XLA sorts floating-point keys, and keys that carry a payload, slowly: on CPU it calls a comparison
function for every comparison, and on GPU it leaves its radix sort. Integers without a payload are
sorted fast everywhere. So each number becomes an integer of the same order, and where the sorting
permutation is wanted the number and its row are packed into one 64-bit integer, number first; this
is the stable order, exactly, and it is read off the low half of the sorted keys. On CPU, lists
that lie side by side are sorted faster still by a sorting network: minima and maxima of whole rows.
In double precision the row takes the place of the lowest bits of the number; where numbers differ
in those alone, which is seen, pairs are sorted after all.

Order. NaN with a positive sign comes last (the order of ``jnp.sort``); -0.0 equals 0.0; ties keep
their order.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jaxtyping import Float, Int

from swjax.network import merge_by_network, sort_by_network
from swjax.rows import put_rows, take_rows

# On CPU the network beats XLA's integer sort from so many lanes, and up to so many bytes of a list.
_MIN_LANES = 8
_MAX_BYTES = 2**19

# The network passes over memory many times: so many bytes at once stay in the caches.
_CACHED_BYTES = 2**22

# Up to so many numbers, one sort ends before XLA starts the next on CPU: each has both cores. Two
# sorts of more numbers keep the cores busy side by side.
_FEW = 2**15


@jax.custom_jvp
def sort(values: Float[Array, "*batch n L"]) -> Float[Array, "*batch n L"]:
    """Every list in ascending order.

    The derivative moves the tangents along the (stable) sorting permutation, held fixed: forward,
    reverse and higher derivatives of any function of the sorted values follow from this rule.
    A value alone is computed without the permutation.

    Args:
        values: L lists of n numbers each, float32 or float64.

    Returns:
        The sorted lists, of the same shape.

    Example:
        >>> sort(jnp.array([[3.0], [1.0], [2.0]])).ravel().tolist()
        [1.0, 2.0, 3.0]
    """
    return _sorted_values(values)


@sort.defjvp
def _sort_jvp(primals, tangents):
    (values,), (tangent,) = primals, tangents
    order = argsort(values)
    return take_rows(values, order), take_rows(tangent, order)


def argsort(values: Float[Array, "*batch n L"]) -> Int[Array, "*batch n L"]:
    """The stable permutation that sorts every list: row ``order[k]`` holds the k-th number.

    Args:
        values: L lists of n numbers each, float32 or float64.

    Returns:
        int32 row numbers; they carry no derivative.

    Example:
        >>> argsort(jnp.array([[3.0], [1.0], [2.0]])).ravel().tolist()
        [1, 2, 0]
    """
    return _sorting_permutation(lax.stop_gradient(values))


def rearrange(
    values: Float[Array, "*batch n L"], pattern: Float[Array, "*batch n L"]
) -> Float[Array, "*batch n L"]:
    """Every list of values in the order of its pattern: the smallest where that has its smallest.

    This monotone rearrangement is the optimal map on the line, from the pattern to the values
    (Villani 2003, "Topics in optimal transportation", section 2.2): ``put_rows(argsort(pattern),
    sort(values))``, but faster. The derivative moves tangents of the values, with both permutations
    held fixed; the pattern has none.

    Args:
        values: L lists of n numbers each, float32 or float64.
        pattern: As many lists, of the same type.

    Returns:
        The lists of values, each permuted.

    Example:
        >>> column = lambda *numbers: jnp.array(numbers)[:, None]
        >>> rearrange(column(1.0, 2.0, 3.0), pattern=column(0.5, 0.9, 0.1)).ravel().tolist()
        [2.0, 3.0, 1.0]
    """
    return _rearrange(values, lax.stop_gradient(pattern))


@jax.custom_jvp
def _rearrange(values: Array, pattern: Array) -> Array:
    return _rearranged_values(values, pattern)


@_rearrange.defjvp
def _rearrange_jvp(primals, tangents):
    (values, pattern), (tangent, _) = primals, tangents
    match = argmatch(values, pattern)
    return take_rows(values, match), take_rows(tangent, match)


def argmatch(
    values: Float[Array, "*batch n L"], pattern: Float[Array, "*batch n L"]
) -> Int[Array, "*batch n L"]:
    """The permutation by which `rearrange` takes the rows of the values.

    Args:
        values: L lists of n numbers each, float32 or float64.
        pattern: As many lists, of the same type.

    Returns:
        int32 row numbers; they carry no derivative.

    Example:
        >>> column = lambda *numbers: jnp.array(numbers)[:, None]
        >>> argmatch(column(1.0, 2.0, 3.0), pattern=column(0.5, 0.9, 0.1)).ravel().tolist()
        [1, 2, 0]
    """
    return put_rows(argsort(pattern), argsort(values))


def argmerge(
    first: Float[Array, "*batch n L"], second: Float[Array, "*batch m L"]
) -> Int[Array, "*batch k L"]:
    """The stable permutation that sorts two ascending lists written one after the other.

    Args:
        first: L ascending lists of n numbers each.
        second: L ascending lists of m numbers each, of the same type.

    Returns:
        int32 rows of the two lists together, shape (..., n + m, L).

    Example:
        >>> argmerge(jnp.array([[1.0], [3.0]]), jnp.array([[2.0]])).ravel().tolist()
        [0, 2, 1]
    """
    return _merging_permutation(lax.stop_gradient(first), lax.stop_gradient(second))


def _ordered_bits(values: Array) -> Array:
    """Integers in the order of the numbers: sign and magnitude become two's complement."""
    bits = lax.bitcast_convert_type(values, _INTEGER_OF[values.dtype.name])
    return jnp.where(bits < 0, jnp.iinfo(bits.dtype).min - bits, bits)


def _numbers_of(keys: Array) -> Array:
    """The inverse of `_ordered_bits`."""
    bits = jnp.where(keys < 0, jnp.iinfo(keys.dtype).min - keys, keys)
    return lax.bitcast_convert_type(bits, _NUMBER_OF[keys.dtype.name])


_INTEGER_OF = {"float32": jnp.int32, "float64": jnp.int64}
_NUMBER_OF = {"int32": jnp.float32, "int64": jnp.float64}


def _by_shape(function: Callable[..., Array]) -> Callable[..., Array]:
    """Let vmap add leading axes, so that the layout is chosen when all of them are known."""
    batched = custom_vmap(function)

    @batched.def_vmap
    def _(size, in_batched, *arrays):
        full = [
            array if mapped else jnp.broadcast_to(array, (size, *array.shape))
            for array, mapped in zip(arrays, in_batched, strict=True)
        ]
        return batched(*full), True

    return batched


@_by_shape
def _sorted_values(values: Array) -> Array:
    with jax.enable_x64(True):
        few = values.size <= _FEW
        keys = _apart(_sorted_keys, values) if few else _sorted_keys(values)
        return lax.optimization_barrier(_numbers_of(keys))


@_by_shape
def _sorting_permutation(values: Array) -> Array:
    with jax.enable_x64(True):  # 64-bit integers inside, whatever the caller has chosen outside
        return lax.optimization_barrier(_apart(_argsort, values))


@_by_shape
def _rearranged_values(values: Array, pattern: Array) -> Array:
    with jax.enable_x64(True):
        if values.size <= _FEW:
            keys, order = _apart(_sorted_keys, values), _apart(_argsort, pattern)
        else:
            both = lambda values, pattern: (_sorted_keys(values), _argsort(pattern))
            keys, order = _apart(both, values, pattern)
        return lax.optimization_barrier(put_rows(order, _numbers_of(keys)))


@_by_shape
def _merging_permutation(first: Array, second: Array) -> Array:
    with jax.enable_x64(True):
        if first.dtype == jnp.float64:
            both = jnp.concatenate([first, second], axis=-2)
            return lax.optimization_barrier(_argsort_double(both))
        keys = _pack(first), _pack(second, first_row=first.shape[-2])
        return lax.optimization_barrier(_merge_keys(*keys).astype(jnp.int32))


def _apart(function: Callable[..., Any], *arrays: Array) -> Any:
    """Apply the function; on CPU, keep XLA from joining it with the work before and after it.

    Sorted rows are mostly read as one line of memory, by a gather or a scatter. XLA would join the
    last pass of the network to that, which then goes number by number and not in vectors; and it
    shares what it has joined among threads when that costs more than it saves. It joins nothing
    across the branches of a conditional; the one here is always true, unseen by XLA. Lists that the
    network does not sort, because they are few or long, need none of this.
    """
    if _are_few(arrays[0]) or not _are_short(arrays[0], itemsize=8):
        return function(*arrays)

    def held(*arrays):
        first = arrays[0][(0,) * arrays[0].ndim]
        last_bit = _ordered_bits(first) & 1
        shapes = jax.eval_shape(function, *arrays)
        # Made of the input, so that under shard_map it varies over the devices as the result does.
        filled = lambda shape: jnp.broadcast_to(last_bit.astype(shape.dtype), shape.shape)
        never = lambda *_: jax.tree.map(filled, shapes)
        return lax.cond(last_bit < 2, function, never, *arrays)

    return lax.platform_dependent(*arrays, cpu=held, default=function)


def _pack(values: Array, first_row: int = 0) -> Array:
    """The number and its row in one integer: sorted by number, equal numbers by row."""
    rows = first_row + lax.broadcasted_iota(jnp.int64, values.shape, values.ndim - 2)
    return (_ordered_bits(values).astype(jnp.int64) << 32) | rows


def _sorted_keys(values: Array) -> Array:
    return _sort_keys(_ordered_bits(values))


def _argsort(values: Array) -> Array:
    if values.dtype == jnp.float64:
        return _argsort_double(values)
    return _sort_keys(_pack(values)).astype(jnp.int32)


def _argsort_double(values: Array) -> Array:
    """The permutation in double precision, where 64 bits have no room for a row beside the number.

    The row takes the place of the lowest bits of the number. Only numbers that differ in those bits
    alone can then stand in the wrong order; if any do, pairs are sorted instead.
    """
    keys = _ordered_bits(values)
    room = (values.shape[-2] - 1).bit_length()
    rows = lax.broadcasted_iota(jnp.int64, values.shape, values.ndim - 2)
    packed = _sort_keys((keys >> room << room) | rows)
    order = (packed & ((1 << room) - 1)).astype(jnp.int32)
    found = take_rows(keys, order)
    in_order = jnp.all(found[..., 1:, :] >= found[..., :-1, :])
    return lax.cond(in_order, lambda: order, lambda: _argsort_pairs(keys))


def _argsort_pairs(keys: Array) -> Array:
    """The stable permutation of keys with their rows as a payload: exact and slow."""
    keys = jnp.swapaxes(keys, -1, -2)
    rows = lax.broadcasted_iota(jnp.int32, keys.shape, keys.ndim - 1)
    return jnp.swapaxes(lax.sort((keys, rows), num_keys=1, is_stable=True)[1], -1, -2)


def _are_few(lists: Array) -> bool:
    """Whether the lists, in all lanes and members of the batch, are too few for the network."""
    return math.prod(lists.shape[:-2]) * lists.shape[-1] < _MIN_LANES


def _are_short(lists: Array, itemsize: int) -> bool:
    """Whether the network is faster for lists of that length, with so many bytes for each key."""
    return lists.shape[-2] * itemsize <= _MAX_BYTES


def _sort_keys(keys: Array) -> Array:
    if not _are_short(keys, keys.dtype.itemsize):
        return _sort_by_comparison(keys)
    return _by_lanes(_sort_in_blocks, _sort_by_comparison, keys)


def _merge_keys(first: Array, second: Array) -> Array:
    sort_both = lambda *keys: _sort_by_comparison(jnp.concatenate(keys, axis=-2))
    return _by_lanes(merge_by_network, sort_both, first, second)


def _by_lanes(
    network: Callable[..., Array], otherwise: Callable[..., Array], *keys: Array
) -> Array:
    """Apply the network on CPU, where there are lanes enough, otherwise XLA's own sort."""
    *batch, _, lanes = keys[0].shape
    if lanes >= _MIN_LANES:
        fill = [(0, 0)] * (len(batch) + 1) + [(0, max(-lanes % 8, 16 - lanes))]
        padded = lambda *keys: network(*(jnp.pad(array, fill) for array in keys))[..., :lanes]
        return lax.platform_dependent(*keys, cpu=padded, default=otherwise)
    if _are_few(keys[0]):
        return otherwise(*keys)
    to_lanes = lambda array: jnp.moveaxis(array, -2, 0).reshape(array.shape[-2], -1)
    result = _by_lanes(network, otherwise, *map(to_lanes, keys))
    return jnp.moveaxis(result.reshape(-1, *batch, lanes), 0, -2)


def _sort_in_blocks(keys: Array) -> Array:
    """The network, on no more of a batch at a time than the caches hold."""
    *batch, n, lanes = keys.shape
    num, wanted = math.prod(batch), keys.size * keys.dtype.itemsize // _CACHED_BYTES
    if num == 1 or wanted < 2:
        return sort_by_network(keys)
    held = max(size for size in range(1, max(1, num // wanted) + 1) if num % size == 0)
    blocks = keys.reshape(num // held, held, n, lanes)
    return lax.map(sort_by_network, blocks).reshape(keys.shape)


def _sort_by_comparison(keys: Array) -> Array:
    """XLA's own sort, with the lists in contiguous memory."""
    return jnp.swapaxes(lax.sort(jnp.swapaxes(keys, -1, -2), is_stable=False), -1, -2)
