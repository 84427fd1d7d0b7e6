"""Bounds of an expression on an interval, sharp, and such that no narrow peak escapes them.

The interval is covered by cells, on each of which interval arithmetic bounds the values and the
derivatives. Cells on which there is more than one branch, or bounds are not yet sharp, are halved.
"""

from typing import NamedTuple

import numpy as np

from swjax.assumptions.expressions import Expression, Jet, evaluate, sign_changes, variable
from swjax.assumptions.ranges import Range, RangeJet, evaluate_on

# Bounds are sharpened to this share of the largest value seen.
_SHARP = 1e-4
# Of the smaller end of the values not further than to this share of the larger one.
_SMALL = 1e-3
# Cells are halved until they are this narrow (relative to their place, or absolutely around 0), at
# most so many times, and as long as there are not more of them.
_NARROW, _ROUNDS, _MOST_CELLS = 1e-9, 60, 20_000
_NUM_EVEN, _NUM_FINE = 257, 65


class Bounds(NamedTuple):
    """What is known of an expression on an interval.

    Attributes:
        low: lower bound of the values.
        high: upper bound of the values.
        slope: bound of the absolute derivative.
        curvature: bound of the absolute second derivative, away from kinks.
        points: the ends of all cells, in order: they crowd where the expression switches or bends.
        resolved: whether cells with several branches are too narrow to halve, and all bounds are
            finite, except on such cells around which values and derivatives stop growing.
    """

    low: float
    high: float
    slope: float
    curvature: float
    points: np.ndarray
    resolved: bool


def bounds_on(expression: Expression, low: float, high: float) -> Bounds:
    """Bound an expression with one root, and its derivatives, on an interval."""
    (root,) = expression.roots
    edges = _first_edges(low, high)
    cells = Range(edges[:-1], edges[1:])
    best, done = np.array([np.inf, -np.inf, 0.0, 0.0]), []
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            jet, middle = evaluate_on(expression, root, cells)
            best = _best(best, middle)
            table = _table(cells, jet)
            open_ = _is_open(table, best)
            if 2 * open_.sum() > _MOST_CELLS:
                open_[:] = False
            done.append(table[:, ~open_])
            cells = _halves(Range(cells.low[open_], cells.high[open_]))
            if not cells.low.size:
                break
        else:
            done.append(_table(cells, evaluate_on(expression, root, cells)[0]))
        table = _cut(expression, root, np.concatenate(done, axis=1))
        return _concluded(expression, root, table)


def _first_edges(low: float, high: float) -> np.ndarray:
    """Ends of the first cells: even ones, and ones that crowd around zero."""
    reach = max(abs(low), abs(high), 1e-6)
    fine = reach * np.logspace(-8, 0, _NUM_FINE)
    edges = np.concatenate([np.linspace(low, high, _NUM_EVEN), fine, -fine, [0.0]])
    edges = np.unique(edges[(edges >= low) & (edges <= high)])
    return edges if len(edges) > 1 else np.array([low, high])


def _halves(cells: Range) -> Range:
    middle = (cells.low + cells.high) / 2
    return Range(np.concatenate([cells.low, middle]), np.concatenate([middle, cells.high]))


def _best(best: np.ndarray, middle: Jet) -> np.ndarray:
    """The extreme values and largest derivatives at points, updated."""
    value, first, second = (np.asarray(part)[np.isfinite(part)] for part in middle)
    seen = [
        np.min(value, initial=np.inf),
        np.max(value, initial=-np.inf),
        np.max(np.abs(first), initial=0.0),
        np.max(np.abs(second), initial=0.0),
    ]
    return np.array([min(best[0], seen[0]), *np.maximum(best[1:], seen[1:])])


def _table(cells: Range, jet: RangeJet) -> np.ndarray:
    """(7, cells): both ends, bounds of values, slope and curvature, and whether it is smooth."""
    rows = [*cells, *jet.value, jet.first.largest, jet.second.largest, jet.smooth]
    return np.stack([np.broadcast_to(row, cells.low.shape) for row in rows])


def _is_open(table: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Which cells are worth halving: those with several branches or bounds that are not sharp."""
    left, right, low, high, slope, curvature, smooth = table
    ends = np.maximum(np.abs(best[:2]), _SMALL * np.abs(best[:2]).max())
    loose = (low < best[0] - _SHARP * ends[0]) | (high > best[1] + _SHARP * ends[1])
    loose |= (slope > (1 + _SHARP) * best[2]) | (curvature > (1 + _SHARP) * best[3])
    return (loose | (smooth == 0)) & ~_is_narrow(left, right)


def _is_narrow(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return right - left <= _NARROW * np.maximum(1.0, np.maximum(np.abs(left), np.abs(right)))


def _cut(expression: Expression, root: int, table: np.ndarray) -> np.ndarray:
    """The table with narrow cells cut where the expression switches, each side bounded alone."""
    several = (table[6] == 0) & _is_narrow(table[0], table[1])
    if not several.any():
        return table
    left, right = table[:2, several][:, np.argsort(table[0, several])]
    ends = [left, right]
    for switch in expression.switches:
        if switch.roots == {root}:
            ends += sign_changes(switch, root, np.unique(np.concatenate([left, right])))
    points = np.unique(np.concatenate(ends))
    middle, width = (points[1:] + points[:-1]) / 2, np.diff(points)
    cell = np.maximum(np.searchsorted(left, middle) - 1, 0)
    # What lies between neighboring numbers on both sides of a switching point is left out.
    pieces = (middle < right[cell]) & (width > (right - left)[cell] / 1000)
    cells = Range(points[:-1][pieces], points[1:][pieces])
    cut = _table(cells, evaluate_on(expression, root, cells)[0])
    return np.concatenate([table[:, ~several], cut], axis=1)


def _concluded(expression: Expression, root: int, table: np.ndarray) -> Bounds:
    left, right = table[:2]
    known = np.isfinite(table[2:]).all(axis=0)
    used = table[2:6, known] if known.any() else np.zeros((4, 1))
    rest = ~(known & (table[6] > 0))
    resolved = bool(known.any() and _is_narrow(left[rest], right[rest]).all())
    if resolved and not known.all():
        ends = Range(left[~known], right[~known])
        resolved = _stops_growing(expression, root, ends, (left.min(), right.max()))
    return Bounds(
        float(used[0].min()),
        float(used[1].max()),
        float(used[2].max()),
        float(used[3].max()),
        np.unique(np.concatenate([left, right])),
        resolved,
    )


def _stops_growing(
    expression: Expression, root: int, cells: Range, interval: tuple[float, float]
) -> bool:
    """Whether nothing is larger at the ends of narrow cells than a thousand widths away."""
    width = cells.high - cells.low
    steps = [(cells.low, cells.low - 1000 * width), (cells.high, cells.high + 1000 * width)]
    for near, far in steps:
        inside = (far >= interval[0]) & (far <= interval[1])
        at = lambda t, inside=inside: evaluate(expression, {root: variable(t[inside])})
        for close, away in zip(at(near), at(far), strict=True):
            close, away = np.broadcast_arrays(np.abs(close), np.abs(away))
            if not np.all(close <= 1.1 * away + _NARROW * (1 + np.max(away, initial=0.0))):
                return False
    return True
