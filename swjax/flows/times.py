"""The times at which a flow is wanted, and the steps between them."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from swjax._checks import is_concrete


def checked_times(times: ArrayLike | Sequence[float]) -> np.ndarray:
    """The times of a flow, which begin at 0 and increase, or an error that says what is wrong."""
    if not is_concrete(times):
        raise TypeError("times are being traced; they decide how many steps to take. Fix them.")
    grid = np.asarray(times, np.float64)
    if grid.ndim != 1 or grid.size < 2 or grid[0] != 0 or not np.all(np.diff(grid) > 0):
        raise ValueError(
            "times must be at least two increasing numbers, the first of them 0; got "
            f"{grid if grid.size < 8 else f'{grid.shape} from {grid.flat[0]} to {grid.flat[-1]}'}."
        )
    if not np.isfinite(grid[-1]):
        raise ValueError(f"times must be finite; the last is {grid[-1]}.")
    return grid


def steps_per_interval(grid: np.ndarray, longest: float) -> np.ndarray:
    """The least numbers of equal steps, at least 1, of at most that length.

    A billionth of a step more is let through: a length that divides the interval is meant to.
    """
    return np.maximum(1, np.ceil(np.diff(grid) / longest - 1e-9)).astype(np.int32)
