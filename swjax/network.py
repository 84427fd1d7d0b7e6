"""Batcher's bitonic sorting network, for many lists side by side.

The lists are the columns ("lanes") of an array: to compare two rows is to take minima and maxima of
contiguous memory, in vector instructions, and nothing branches on the data. Sorting n rows takes
about log2(n)^2 / 2 stages of n / 2 comparisons (Batcher 1968, "Sorting networks and their
applications"). Three things make it fast on CPU:

* two stages, or the three that sort four rows, are one pass over memory;
* blocks that a later merge wants in descending order are stored complemented (``~key`` reverses the
  order of integers), so that all comparisons are between rows a fixed stride apart, and the rows
  within a stride count as more lanes;
* n is not padded to a power of two but to m <= 7 pieces that are one, so by less than a quarter;
  the comparisons with pieces beyond m, which would hold the largest keys, are left out.
"""

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
    down = _directions(pieces)
    keys = _sort_pieces(keys.reshape(-1, 1 << depth, lanes), depth, down[0])
    for level in range(1, len(down)):
        each = lambda level: np.repeat(down[level], 1 << level)[:pieces]
        turned = each(level - 1) != each(level)
        keys = _merge_pieces(keys.reshape(-1, pieces, lanes << depth), 1 << level, turned)
        keys = _merge(keys.reshape(-1, 1 << depth, lanes), depth)
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
    """The number of pieces, odd and below 8, and the depth w of pieces of 2^w rows."""
    depth = max(0, (n - 1).bit_length() - 3)
    pieces = -(-n >> depth)
    while pieces % 2 == 0:
        pieces, depth = pieces // 2, depth + 1
    return pieces, depth


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
    keys: Int[Array, "pieces rows L"], depth: int, down: Bool[np.ndarray, "m"]
) -> Int[Array, "blocks height L"]:
    """Sort 2^depth rows in every piece, in its direction (repeated over a batch)."""
    num, rows, lanes = keys.shape
    down = np.tile(down, num // down.size)
    # Before the last level, blocks go up and down in turns.
    direction = lambda level: (
        down if level == depth else jnp.arange(keys.size // lanes >> level) % 2
    )
    if depth >= 2:
        keys = _sort_fours(keys.reshape(-1, 4, lanes), direction(2))
        for level in range(3, depth + 1):
            keys = _merge(keys.reshape(-1, 1 << level, lanes), level, direction(level))
    else:
        keys = keys ^ _complement(down, keys)[..., None]
        keys = _merge(keys, depth)
    return keys


def _complement(down: np.ndarray | Array, keys: Array) -> Array:
    """Masks, one for each block: the complement of a key is its exclusive or with -1."""
    return -jnp.asarray(down).astype(keys.dtype)[:, None]


def _compare(rows: list[Array], low: int, high: int) -> None:
    rows[low], rows[high] = (
        lax.min(rows[low], rows[high]),
        lax.max(rows[low], rows[high]),
    )


def _sort_fours(
    keys: Int[Array, "blocks 4 L"], down: np.ndarray | Array
) -> Int[Array, "blocks 4 L"]:
    """Sort every four rows, by the five comparisons that do it."""
    mask = _complement(down, keys)
    rows = [row ^ mask for row in jnp.unstack(keys, axis=1)]
    for low, high in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        _compare(rows, low, high)
    return jnp.stack(rows, axis=1)


def _merge(
    keys: Int[Array, "blocks rows L"], depth: int, down: np.ndarray | Array | None = None
) -> Array:
    """Sort the 2^depth rows of every block, whose halves are sorted in opposite directions.

    Without `down` the second halves are stored complemented already, or go down as they are; with it
    they are complemented here, as are all rows of blocks that are to go down.
    """
    lanes = keys.shape[-1]
    while depth:
        stages = 2 - depth % 2
        strips = keys.reshape(-1, 1 << stages, lanes << (depth - stages))
        rows = list(jnp.unstack(strips, axis=1))
        if down is not None:
            mask = _complement(down, keys)
            half = len(rows) // 2
            rows = [row ^ mask for row in rows[:half]] + [row ^ ~mask for row in rows[half:]]
            down = None
        stride = len(rows) // 2
        while stride:
            for i in range(len(rows)):
                if not i & stride:
                    _compare(rows, i, i + stride)
            stride //= 2
        keys = jnp.stack(rows, axis=1)
        depth -= stages
    return keys


def _merge_pieces(
    keys: Int[Array, "batch pieces L"], size: int, turned: Bool[np.ndarray, "pieces"]
) -> Int[Array, "batch pieces L"]:
    """The comparisons between whole pieces in a merge of every `size` of them."""
    pieces = [~p if t else p for p, t in zip(jnp.unstack(keys, axis=1), turned, strict=True)]
    stride = size // 2
    while stride:
        for i in range(len(pieces) - stride):
            if not i & stride:
                _compare(pieces, i, i + stride)
        stride //= 2
    return jnp.stack(pieces, axis=1)
