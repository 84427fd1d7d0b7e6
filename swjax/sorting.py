"""Sort many lists at once: fast on every backend, exact, and with a derivative.

Arrays are ``(..., n, L)``: L lists ("lanes") of n numbers, each sorted along the axis before last,
so that the same entry of neighboring lists lies in neighboring memory.

XLA sorts floating-point keys, and keys that carry a payload, slowly: on CPU it calls a comparison
function for every comparison, and on GPU it leaves its radix sort. Integers without a payload are
sorted fast everywhere. So each number becomes an integer of the same order, and where the sorting
permutation is wanted the number and its row are packed into one 64-bit integer, number first; this
is the stable order, exactly, and it is read off the low half of the sorted keys. On CPU, lists
that lie side by side are sorted faster still by a sorting network: minima and maxima of whole rows.

Order. NaN with a positive sign comes last (the order of ``jnp.sort``); -0.0 equals 0.0; ties keep
their order.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jaxtyping import Float, Int

# On CPU the network beats the integer sort between these sizes (measured with AVX2 and AVX-512).
_MIN_LANES = 8
_MAX_ROWS = 2**14


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


def take_rows(values: Array, order: Int[Array, "*batch n L"]) -> Array:
    """``values[order[k, l], l]`` in every lane l: the gather along a permutation."""
    return jnp.take_along_axis(values, order, axis=-2, mode="promise_in_bounds")


def put_rows(order: Int[Array, "*batch n L"], values: Array) -> Array:
    """The inverse of `take_rows`: row ``order[k, l]`` of lane l becomes ``values[k, l]``."""
    index = jnp.indices(order.shape, sparse=True)
    target = jnp.zeros_like(values).at[(*index[:-2], order, index[-1])]
    return target.set(values, unique_indices=True, mode="promise_in_bounds")


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


def _by_shape(function):
    """Let vmap add leading axes, so that the layout is chosen when all of them are known."""
    batched = custom_vmap(function)
    batched.def_vmap(lambda size, in_batched, values: (batched(values), True))
    return batched


@_by_shape
def _sorted_values(values: Array) -> Array:
    with jax.enable_x64(True):
        return _numbers_of(_sort_keys(_ordered_bits(values)))


@_by_shape
def _sorting_permutation(values: Array) -> Array:
    rows = lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 2)
    if values.dtype == jnp.float64:  # 64 bits leave no room for the row: it travels as a payload
        sort_pairs = partial(lax.sort, num_keys=1, is_stable=True)
        keys = jnp.swapaxes(_ordered_bits(values), -1, -2)
        return jnp.swapaxes(sort_pairs((keys, jnp.swapaxes(rows, -1, -2)))[1], -1, -2)
    with jax.enable_x64(True):  # 64-bit integers inside, whatever the caller has chosen outside
        keys = _sort_keys((_ordered_bits(values).astype(jnp.int64) << 32) | rows)
        return keys.astype(jnp.int32)


def _sort_keys(keys: Array) -> Array:
    """Sort integer keys along the axis before last, by the way that is fastest here."""
    *batch, n, lanes = keys.shape
    if n <= 1 or keys.size == 0:
        return keys
    if lanes < _MIN_LANES and batch:  # few lanes each: a batch of lists is as good as lanes
        keys = jnp.moveaxis(keys, -2, 0)
        return jnp.moveaxis(_sort_keys(keys.reshape(n, -1)).reshape(keys.shape), 0, -2)
    return lax.platform_dependent(
        keys,
        cpu=_sort_by_network if lanes >= _MIN_LANES and n <= _MAX_ROWS else _sort_by_comparison,
        default=_sort_by_comparison,
    )


def _sort_by_comparison(keys: Array) -> Array:
    """XLA's own sort, with the lists in contiguous memory."""
    return jnp.swapaxes(lax.sort(jnp.swapaxes(keys, -1, -2), is_stable=False), -1, -2)


def _sort_by_network(keys: Array) -> Array:
    """Batcher's bitonic network: minima and maxima of whole rows, two stages in one pass.

    The rows are 4 < m <= 8 pieces of a power of two. Pieces are sorted side by side, then merged;
    rows beyond the last piece would only hold the largest key, so their comparisons are left out.
    """
    *batch, n, lanes = keys.shape
    width = 1 << max(0, (n - 1).bit_length() - 3)
    missing = -n % width
    if missing:
        top = jnp.full((*batch, missing, lanes), jnp.iinfo(keys.dtype).max, keys.dtype)
        keys = jnp.concatenate([keys, top], axis=-2)
    pieces = (n + missing) // width

    rows = keys.reshape(-1, 1, lanes)  # (number of blocks, rows in a block, lanes)
    size = 2
    while size <= width:
        rows = _merge(rows, size)
        size *= 2
    keys = rows.reshape(-1, pieces, width, lanes)
    size = 2
    while size < 2 * pieces:
        keys = _merge_pieces(keys, size)
        rows = _halve(keys.reshape(-1, 1, lanes), width // 2)
        keys = rows.reshape(-1, pieces, width, lanes)
        size *= 2
    return keys.reshape(*batch, n + missing, lanes)[..., :n, :]


def _merge(rows: Array, size: int) -> Array:
    """Merge neighboring sorted halves of every `size` rows."""
    lanes = rows.shape[-1]
    if size == 2:
        first, last = jnp.unstack(rows.reshape(-1, 2, lanes), axis=1)
        return jnp.stack([jnp.minimum(first, last), jnp.maximum(first, last)], axis=1)
    a, b, c, d = jnp.unstack(rows.reshape(-1, 4, size // 4, lanes), axis=1)
    c, d = c[:, ::-1], d[:, ::-1]  # compare row i with row size - 1 - i
    a, d = jnp.minimum(a, d), jnp.maximum(a, d)
    b, c = jnp.minimum(b, c), jnp.maximum(b, c)
    a, b = jnp.minimum(a, b), jnp.maximum(a, b)
    c, d = jnp.minimum(c, d), jnp.maximum(c, d)
    return _halve(jnp.stack([a, b, c[:, ::-1], d[:, ::-1]], axis=1), size // 8)


def _halve(rows: Array, stride: int) -> Array:
    """Compare rows `stride` apart, then half of it, down to neighbors."""
    lanes = rows.shape[-1]
    while stride > 1:
        a, b, c, d = jnp.unstack(rows.reshape(-1, 4, stride // 2, lanes), axis=1)
        a, c = jnp.minimum(a, c), jnp.maximum(a, c)
        b, d = jnp.minimum(b, d), jnp.maximum(b, d)
        a, b = jnp.minimum(a, b), jnp.maximum(a, b)
        c, d = jnp.minimum(c, d), jnp.maximum(c, d)
        rows = jnp.stack([a, b, c, d], axis=1)
        stride //= 4
    if stride == 1:
        first, last = jnp.unstack(rows.reshape(-1, 2, lanes), axis=1)
        rows = jnp.stack([jnp.minimum(first, last), jnp.maximum(first, last)], axis=1)
    return rows


def _merge_pieces(keys: Array, size: int) -> Array:
    """The comparisons between whole pieces in the merge of every `size` pieces."""
    pieces = list(jnp.unstack(keys, axis=1))

    def compare(i: int, j: int, flip: bool = False) -> None:
        if j < len(pieces):
            other = pieces[j][:, ::-1] if flip else pieces[j]
            low, high = jnp.minimum(pieces[i], other), jnp.maximum(pieces[i], other)
            pieces[i], pieces[j] = low, high[:, ::-1] if flip else high

    for start in range(0, len(pieces), size):
        for i in range(size // 2):
            compare(start + i, start + size - 1 - i, flip=True)
    stride = size // 4
    while stride:
        for i in range(len(pieces)):
            if not i & stride:
                compare(i, i + stride)
        stride //= 2
    return jnp.stack(pieces, axis=1)
