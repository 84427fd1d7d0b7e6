"""Batcher's bitonic sorting network, for many lists side by side.

The lists are the columns ("lanes") of an array: to compare two rows is to take minima and maxima of
contiguous memory, in vector instructions, and nothing branches on the data. Sorting n rows takes
about log2(n)^2 / 2 stages of n / 2 comparisons (Batcher 1968, "Sorting networks and their
applications"). Three things make it fast on CPU:

* two stages, or the three that sort four rows, are one pass over memory; where a merge has an odd
  number of stages, its last is paired with the first of the next merge;
* blocks that a merge wants in descending order are stored complemented (``~key`` reverses the order
  of integers), so that every stage is the same: compare, and write the minimum first;
* n is not padded to a power of two but to m <= 7 pieces that are one, so by less than a quarter;
  the comparisons with pieces beyond m, which would hold the largest keys, are left out.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Int


def sort_by_network(keys: Int[Array, "*batch n L"]) -> Int[Array, "*batch n L"]:
    """Sort integer keys along the axis before last."""
    *batch, n, lanes = keys.shape
    pieces, depth = _split(n)
    rows = pieces << depth
    keys = jnp.concatenate([keys, _largest(keys, rows - n)], axis=-2)
    keys = keys.reshape(-1, 1 << depth, lanes)
    each = lambda blocks, size: np.tile(np.repeat(blocks, size)[:pieces], len(keys) // pieces)
    down = [each(blocks, 1 << level) for level, blocks in enumerate(_directions(pieces))]
    turned = [now ^ then for now, then in itertools.pairwise([*down, down[-1]])]
    keys = _sort_pieces(keys, depth, down[0], turned[0])
    for level in range(1, len(down)):
        keys = _merge_pieces(keys.reshape(-1, pieces, 1 << depth, lanes), 1 << level)
        keys = _merge(keys.reshape(-1, 1 << depth, lanes), depth, turned[level])
    return keys.reshape(*batch, rows, lanes)[..., :n, :]


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


def _split(n: int) -> tuple[int, int]:
    """The number of pieces, 1 or 5 to 7 (less for n < 8), and the depth w of pieces of 2^w rows."""
    depth = max(0, (n - 1).bit_length() - 3)
    pieces = -(-n >> depth)
    return (1, depth + 3) if pieces == 8 else (pieces, depth)


def _largest(keys: Array, rows: int) -> Array:
    """Rows of the largest key, to fill up with."""
    *batch, _, lanes = keys.shape
    return jnp.full((*batch, rows, lanes), jnp.iinfo(keys.dtype).max, keys.dtype)


def _directions(pieces: int) -> list[Bool[np.ndarray, "blocks"]]:
    """Which blocks of 1, 2, 4, ... pieces are sorted downwards on the way to all upwards.

    Halves to be merged go down and then up, or up and then down for a block that goes down. A block
    without a second half has nothing to merge, so its first half takes its direction. Thus the
    last block goes up, and the missing largest keys would be in their place.
    """
    down = [np.zeros(1, bool)]
    for level in reversed(range((pieces - 1).bit_length())):
        block = np.arange(-(-pieces >> level))
        opposed = (block % 2 == 0) & (block + 1 < block.size)
        down.insert(0, down[0][block // 2] ^ opposed)
    return down


def _sort_pieces(
    keys: Int[Array, "pieces rows L"],
    depth: int,
    down: Bool[np.ndarray, "pieces"],
    turned: Bool[np.ndarray, "pieces"],
) -> Int[Array, "pieces rows L"]:
    """Sort the 2^depth rows of every piece in its direction; then turn some pieces around."""
    if depth < 2:
        return _merge(keys ^ _mask(down, keys), depth, turned)
    num, _, lanes = keys.shape

    def direction(level: int, block: Array) -> Array:
        """Blocks go up and down in turns, those of the last level as told."""
        return block % 2 if level < depth else jnp.asarray(down, block.dtype)[block]

    begun = 0  # stages of the level that the pass before has done
    for level in range(2, depth + 1):
        block = jnp.arange(num << (depth - level))
        keys = keys.reshape(-1, 1 << level, lanes)
        turn = turned
        if level < depth:
            turn = direction(level, block) ^ direction(level + 1, block // 2)
        if level == 2:
            keys = _sort_fours(keys ^ _mask(direction(2, block), keys), turn)
            continue
        stages = level - begun
        begun = stages % 2 if level < depth else 0
        keys = _merge(keys, stages - begun, None if begun else turn)
        if begun:
            keys = _last_and_first(keys.reshape(-1, 2 << level, lanes), turn)
    return keys


def _mask(down: np.ndarray | Array, keys: Array) -> Int[Array, "blocks 1 1"]:
    """Masks for some blocks: exclusive or with -1 is the complement."""
    return -jnp.asarray(down).astype(keys.dtype)[:, None, None]


def _sort_fours(
    keys: Int[Array, "blocks 4 L"], turned: np.ndarray | Array
) -> Int[Array, "blocks 4 L"]:
    """Sort every four rows, by the five comparisons that do it; then turn some blocks around."""
    rows = jnp.split(keys, 4, axis=1)
    for low, high in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        _compare(rows, low, high)
    return jnp.concatenate([row ^ _mask(turned, keys) for row in rows], axis=1)


def _merge(
    keys: Int[Array, "blocks rows L"], stages: int, turned: np.ndarray | Array | None = None
) -> Int[Array, "blocks rows L"]:
    """The next stages of a merge in every block, of which one half goes up and the other down.

    Every stage compares rows half a block apart and writes what it compared side by side. After
    this perfect shuffle (Stone 1971, "Parallel processing with the perfect shuffle") the rows to be
    compared next are half a block apart again, and after w stages each of the 2^w rows is in its
    place. The last pass complements the blocks that are `turned`.
    """
    if stages == 0 and turned is not None:
        return keys ^ _mask(turned, keys)
    while stages:
        rows = jnp.split(keys, min(4, keys.shape[1]), axis=1)
        if stages % 2:  # one stage, in strips as many as for two
            _compare_apart(rows, len(rows) // 2)
            done, groups = 1, len(rows) // 2
        else:
            _compare_down_from(rows, 2)
            done, groups = 2, 1
        stages -= done
        if stages == 0 and turned is not None:
            rows = [row ^ _mask(turned, keys) for row in rows]
        keys = _interleave(rows, groups)
    return keys


def _last_and_first(
    keys: Int[Array, "pairs rows L"], turned: np.ndarray | Array
) -> Int[Array, "pairs rows L"]:
    """The last stage of two merges and the first stage of the merge of the two, in one pass."""
    rows = jnp.split(keys, 4, axis=1)  # the halves of the one, the halves of the other
    _compare_apart(rows, 1)
    turns = [_mask(turned[first::2], keys) for first in (0, 0, 1, 1)]
    rows = [row ^ turn for row, turn in zip(rows, turns, strict=True)]
    _compare_apart(rows, 2)
    return _interleave([rows[0], rows[2], rows[1], rows[3]])


def _compare(rows: list[Array], low: int, high: int) -> None:
    rows[low], rows[high] = lax.min(rows[low], rows[high]), lax.max(rows[low], rows[high])


def _compare_apart(rows: list[Array], stride: int) -> None:
    for i in range(len(rows) - stride):
        if not i & stride:
            _compare(rows, i, i + stride)


def _compare_down_from(rows: list[Array], stride: int) -> None:
    """Compare rows `stride` apart, then half of it, down to neighbors."""
    while stride:
        _compare_apart(rows, stride)
        stride //= 2


def _interleave(
    strips: list[Int[Array, "blocks rows L"]], groups: int = 1
) -> Int[Array, "blocks all L"]:
    """Row 0 of every strip, then row 1 of every strip, and so on, in every group of strips.

    A group is every `groups`-th strip. This is written as a choice and not as `jnp.stack`, for
    which XLA passes over memory once for each strip and repeats the comparisons that they share.
    Reading four strips also ends the pass before: XLA would have to repeat it for each of them.
    Passes that it joined would be slow, and take minutes to compile.
    """
    blocks, rows, lanes = strips[0].shape
    shape = (1, groups, 1, len(strips) // groups, 1)
    place = lax.broadcasted_iota(jnp.int32, shape, 3) * groups
    place += lax.broadcasted_iota(jnp.int32, shape, 1)

    def choose(first: int, last: int) -> Array:
        if last - first == 1:
            return strips[first][:, None, :, None]
        middle = (first + last) // 2
        return jnp.where(place < middle, choose(first, middle), choose(middle, last))

    return choose(0, len(strips)).reshape(blocks, rows * len(strips), lanes)


def _merge_pieces(
    keys: Int[Array, "batch pieces rows L"], size: int
) -> Int[Array, "batch pieces rows L"]:
    """The comparisons between whole pieces in a merge of every `size` of them."""
    pieces = jnp.split(keys, keys.shape[1], axis=1)
    _compare_down_from(pieces, size // 2)
    return jnp.concatenate(pieces, axis=1)
