"""Points with error bars: intervals as they are, or so many standard errors of a mean."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes

from swjax.convergence import Interval
from swjax.plot._style import CATEGORICAL

Row = np.ndarray  # estimate, lower end, upper end

_STYLE: dict[str, Any] = {"fmt": "o", "markersize": 4.5, "color": CATEGORICAL[0]}


def interval_bars(
    ax: Axes, places: ArrayLike | Sequence[float], found: Iterable[Interval | Row], **style: Any
) -> None:
    """Estimates at the places, with bars from the lower to the upper ends of their intervals."""
    estimate, low, high = np.array([each[:3] for each in found]).reshape(-1, 3).T
    errors = np.maximum([estimate - low, high - estimate], 0)  # rounding may put an end inside
    ax.errorbar(places, estimate, errors, **(_STYLE | style))


def error_bars(
    ax: Axes,
    places: ArrayLike | Sequence[float],
    found: Iterable[Interval],
    *,
    num_errors: float = 3.0,
    **style: Any,
) -> None:
    """Estimates at the places, with bars of so many standard errors to either side."""
    found = list(found)
    errors = [num_errors * each.standard_error for each in found]
    ax.errorbar(places, [each.estimate for each in found], errors, **(_STYLE | style))
