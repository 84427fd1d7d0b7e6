"""Gathers: how often they take an entry, and what they put where there is none to take."""

import math
from typing import Any

import numpy as np
from jax.lax import GatherScatterMode

from swjax.assumptions.bounds import Value, joined, of_constant, repeated, unknown


def gathered(shape: tuple[int, ...], table: Value, indices: Value, params: dict[str, Any]) -> Value:
    """Slices of a table, as a function of the table.

    Args:
        shape: of all slices together.
        table: from which they are taken.
        indices: where they start.
        params: of the primitive `gather`.
    """
    axes, sizes = params["dimension_numbers"].start_index_map, params["slice_sizes"]
    last = np.array([table.shape[axis] - sizes[axis] for axis in axes], np.int64)
    starts = None
    if indices.constant is not None:
        starts = np.asarray(indices.constant).reshape(math.prod(indices.shape[:-1]), len(axes))
    times_each = math.prod(shape) / max(math.prod(sizes), 1)
    if starts is not None and len(axes) and all(sizes[axis] == 1 for axis in axes):
        times_each = _most_repeated(np.clip(starts, 0, last))
    value = repeated(shape, table, times_each)
    if params["mode"] != GatherScatterMode.FILL_OR_DROP or _are_inside(starts, indices, last):
        return value
    fill = float(params["fill_value"])
    if not math.isnan(fill):
        return joined(shape, [value, of_constant(np.full(shape, fill))])
    # Where the indices are not known, NaN is no value that has to be within the bounds.
    return value if starts is None else unknown(shape, [table], "an index out of range")


def _most_repeated(starts: np.ndarray) -> int:
    """How often the most frequent row occurs."""
    return int(np.unique(starts, axis=0, return_counts=True)[1].max(initial=0))


def _are_inside(starts: np.ndarray | None, indices: Value, last: np.ndarray) -> bool:
    """Whether all slices are known to lie in the table."""
    if starts is None:
        return indices.low >= 0 and indices.high <= min(last.tolist(), default=math.inf)
    return bool(np.all((starts >= 0) & (starts <= last)))
