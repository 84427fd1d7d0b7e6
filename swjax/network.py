"""Batcher's bitonic sorting network, for many lists side by side.

The lists are the columns ("lanes") of an array: to compare two rows is to take minima and maxima of
contiguous memory, in vector instructions, and nothing branches on the data. Sorting 2^w rows takes
w (w + 1) / 2 stages of 2^(w - 1) comparisons (Batcher 1968, "Sorting networks and their
applications"); other numbers of rows are filled up with the largest key. Two things make it fast on
CPU:

* two stages, or the three that sort four rows, are one pass over memory; where a merge has an odd
  number of stages left, its last is paired with the first of the next merge;
* blocks that a merge wants in descending order are stored complemented (``~key`` reverses the order
  of integers), so that every stage is the same: compare, and write the minimum first.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int


@jax.jit  # traced once for all the sorts of a program
def sort_by_network(keys: Int[Array, "*batch n L"]) -> Int[Array, "*batch n L"]:
    """Sort integer keys along the axis before last."""
    *batch, n, lanes = keys.shape
    depth = (n - 1).bit_length()
    keys = jnp.concatenate([keys, _largest(keys, (1 << depth) - n)], axis=-2)
    keys = _sort_blocks(keys.reshape(-1, 1 << depth, lanes), depth)
    return keys.reshape(*batch, 1 << depth, lanes)[..., :n, :]


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


def _sort_blocks(keys: Int[Array, "blocks rows L"], depth: int) -> Int[Array, "blocks rows L"]:
    """Sort the 2^depth rows of every block.

    Level k sorts blocks of 2^k rows, upwards and downwards in turns, by merging the two halves that
    the level before has sorted in opposite directions. The last level sorts upwards. If the number
    of all stages is odd, the first three are one pass, so that the others come in pairs.
    """
    if depth < 2:
        return _merge(keys, depth)
    num, _, lanes = keys.shape

    def down(level: int, block: Array) -> Array:
        return block % 2 if level < depth else jnp.zeros_like(block)

    lowest = 1 + depth * (depth + 1) // 2 % 2
    begun = 0  # stages of the level that the pass before has done
    for level in range(lowest, depth + 1):
        block = jnp.arange(num << (depth - level))
        keys = keys.reshape(-1, 1 << level, lanes)
        turned = down(level, block) ^ down(level + 1, block // 2)
        if level == lowest:
            keys = keys ^ _mask(down(level, block), keys)
            if level == 2:
                keys = _sort_fours(keys, turned)
                continue
        stages = level - begun
        begun = stages % 2
        keys = _merge(keys, stages - begun, None if begun else turned)
        if begun:
            keys = _last_and_first(keys.reshape(-1, 2 << level, lanes), turned)
    return keys


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
    return jnp.concatenate(_turn(rows, turned), axis=1)


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
