"""Batcher's bitonic sorting network, for many lists side by side.

The lists are the columns ("lanes") of an array: to compare two rows is to take minima and maxima of
contiguous memory, in vector instructions, and nothing branches on the data. Sorting 2^w rows takes
w (w + 1) / 2 stages of 2^(w - 1) comparisons (Batcher 1968, "Sorting networks and their
applications"). Other numbers of rows are filled up with the largest key: to a power of two or, in
long lists, to the sum of two. Two things make it fast on CPU:

* two stages, or the three that sort four rows, are one pass over memory; where a merge has an odd
  number of stages left, its last is paired with the first of the next merge;
* blocks that a merge wants in descending order are stored complemented (``~key`` reverses the order
  of integers), so that every stage is the same: compare, and write the minimum first.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int

# Lists up to so many rows are filled up to one power of two: the sum of two takes more passes, and
# so longer to compile.
_SHORT = 4096


@jax.jit  # traced once for all the sorts of a program
def sort_by_network(keys: Int[Array, "*batch n L"]) -> Int[Array, "*batch n L"]:
    """Sort integer keys along the axis before last."""
    *batch, n, lanes = keys.shape
    depth = (n - 1).bit_length()
    rest = n - (1 << depth) // 2
    rest_depth = max(4, (rest - 1).bit_length())
    two_parts = n > _SHORT and rest_depth < depth - 1
    rows = (1 << depth) // 2 + (1 << rest_depth) if two_parts else 1 << depth
    keys = jnp.concatenate([keys, _largest(keys, rows - n)], axis=-2).reshape(-1, rows, lanes)
    if two_parts:
        keys = _sort_two_parts(keys, depth - 1, rest_depth)
    else:
        keys = _sort_blocks(keys, range(1, depth + 1))
    return keys.reshape(*batch, rows, lanes)[..., :n, :]


@jax.jit
def merge_by_network(
    first: Int[Array, "*batch n L"], second: Int[Array, "*batch m L"]
) -> Int[Array, "*batch k L"]:
    """Merge two ascending lists in every lane, k = n + m: only the last level of the network."""
    *batch, n, lanes = first.shape
    total = n + second.shape[-2]
    depth = (total - 1).bit_length()
    top = _largest(first, (1 << depth) - total)
    keys = jnp.concatenate([first, top, jnp.flip(second, axis=-2)], axis=-2)  # up, then down
    keys = _merge(keys.reshape(-1, 1 << depth, lanes), depth)
    return keys.reshape(*batch, 1 << depth, lanes)[..., :total, :]


def _largest(keys: Array, rows: int) -> Array:
    """Rows of the largest key, to fill up with."""
    *batch, _, lanes = keys.shape
    return jnp.full((*batch, rows, lanes), jnp.iinfo(keys.dtype).max, keys.dtype)


def _sort_two_parts(
    keys: Int[Array, "num rows L"], depth: int, rest_depth: int
) -> Int[Array, "num rows L"]:
    """Sort 2^depth rows and, fewer, 2^rest_depth others, and merge the two.

    The levels that both parts have are sorted together. Then the first part is sorted downwards and
    the others stand below it upwards, followed by as many rows of the largest key as a power of two
    would need. These are only thought of: the first stage of the merge compares the rows of the
    second part with as many of the first, and the second stage begins two merges, of 2^depth and of
    2^rest_depth rows.
    """
    keys = _sort_blocks(keys, range(1, rest_depth + 1))
    first, rising = jnp.split(keys, [1 << depth], axis=1)
    falling = ~_sort_blocks(~first, range(rest_depth + 1, depth + 1))
    largest, others = jnp.split(falling, [1 << rest_depth], axis=1)
    low = jnp.concatenate([jnp.minimum(largest, rising), others], axis=1)
    high = jnp.maximum(largest, rising)
    return jnp.concatenate([_merge(low, depth), _merge(high, rest_depth)], axis=1)


def _sort_blocks(keys: Int[Array, "num rows L"], levels: range) -> Int[Array, "num rows L"]:
    """Sort the blocks of the last level, in turns upwards and downwards.

    Level k sorts blocks of 2^k rows by merging the two halves that the level before has sorted in
    opposite directions; the level before the first of `levels` has been done. If the number of all
    stages is odd, the first three (or, further up, the first one) are one pass, so that the others
    come in pairs.
    """
    num, rows, lanes = keys.shape
    if levels == range(1, 2):
        return _merge(keys, 1)
    begun = sum(levels) % 2  # stages of the level that the pass before has done
    if begun and levels[0] == 1:
        levels, begun = levels[1:], 0
    for level in levels:
        block = jnp.arange(num * (rows >> level)) % (rows >> level)
        down = block % 2
        turned = down if level == levels[-1] else down ^ (block // 2 % 2)
        keys = keys.reshape(-1, 1 << level, lanes)
        if level == levels[0]:
            keys = keys ^ _mask(down, keys)
            if level == 2:
                keys = _sort_fours(keys, turned)
                continue
            if begun:
                keys = _merge(keys, 1)
        stages = level - begun
        begun = stages % 2
        keys = _merge(keys, stages - begun, None if begun else turned)
        if begun:
            keys = _last_and_first(keys.reshape(-1, 2 << level, lanes), turned)
    return keys.reshape(num, rows, lanes)


def _mask(down: Array, keys: Array) -> Int[Array, "blocks 1 1"]:
    """Masks for some blocks: exclusive or with -1 is the complement."""
    return -down.astype(keys.dtype)[:, None, None]


def _turn(rows: list[Array], turned: Array | None) -> list[Array]:
    """Complement the blocks that are `turned`."""
    return rows if turned is None else [row ^ _mask(turned, row) for row in rows]


def _sort_fours(keys: Int[Array, "blocks 4 L"], turned: Array | None) -> Int[Array, "blocks 4 L"]:
    """Sort every four rows, by the five comparisons that do it; then turn some blocks around."""
    rows = jnp.split(keys, 4, axis=1)
    for low, high in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        _compare(rows, low, high)
    return _interleave(_turn(rows, turned))


def _merge(
    keys: Int[Array, "blocks rows L"], stages: int, turned: Array | None = None
) -> Int[Array, "blocks rows L"]:
    """The next stages of a merge in every block, of which one half goes up and the other down.

    Every stage compares rows half a block apart and writes what it compared side by side. After
    this perfect shuffle (Stone 1971, "Parallel processing with the perfect shuffle") the rows to be
    compared next are half a block apart again, and after w stages each of the 2^w rows is in its
    place. The last pass complements the blocks that are `turned`.
    """
    while stages:
        strides = (1,) if stages % 2 else (2, 1)
        rows = jnp.split(keys, 2 * len(strides), axis=1)
        for stride in strides:
            _compare_apart(rows, stride)
        stages -= len(strides)
        keys = _interleave(rows if stages else _turn(rows, turned))
    return keys


def _last_and_first(keys: Int[Array, "pairs rows L"], turned: Array) -> Int[Array, "pairs rows L"]:
    """The last stage of two merges, and the first stage of the merge of the two: one pass."""
    rows = jnp.split(keys, 4, axis=1)  # the halves of the one, the halves of the other
    _compare_apart(rows, 1)
    rows = _turn(rows[:2], turned[0::2]) + _turn(rows[2:], turned[1::2])
    _compare_apart(rows, 2)
    return _interleave([rows[0], rows[2], rows[1], rows[3]])


def _compare(rows: list[Array], low: int, high: int) -> None:
    rows[low], rows[high] = lax.min(rows[low], rows[high]), lax.max(rows[low], rows[high])


def _compare_apart(rows: list[Array], stride: int) -> None:
    for i in range(len(rows) - stride):
        if not i & stride:
            _compare(rows, i, i + stride)


def _interleave(strips: list[Int[Array, "blocks rows L"]]) -> Int[Array, "blocks all L"]:
    """Row 0 of every strip, then row 1 of every strip, and so on.

    This is written as a choice and not as `jnp.stack`, for which XLA passes over memory once for
    each strip and repeats the comparisons that they share. Reading four strips also ends the pass
    before: XLA would have to repeat it for each of them. Passes that it joined would be slow, and
    take minutes to compile.
    """
    blocks, rows, lanes = strips[0].shape
    shape = (blocks, rows, len(strips), lanes)
    place = lax.broadcasted_iota(jnp.int32, shape, 2)
    wide = [lax.broadcast_in_dim(strip, shape, (0, 1, 3)) for strip in strips]

    def choose(first: int, last: int) -> Array:
        if last - first == 1:
            return wide[first]
        middle = (first + last) // 2
        return lax.select(place < middle, choose(first, middle), choose(middle, last))

    return choose(0, len(strips)).reshape(blocks, rows * len(strips), lanes)
