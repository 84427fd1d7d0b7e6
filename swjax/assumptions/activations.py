"""Activations that choose between branches: where they bend, and whether they jump.

As a function of one variable an expression is examined numerically, in float64: its values and
derivatives are bounded on cells that cover an interval, and both sides of its switching points are
compared. No proof: places at which it switches back within a cell too narrow to halve are missed.
Far from zero there is only a look at whether anything could switch or become infinite.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swjax.assumptions.cells import bounds_on
from swjax.assumptions.expressions import Expression, Jet, evaluate, sign_changes, variable
from swjax.assumptions.ranges import Range, evaluate_on

# The largest argument examined; from there on, up to which it is asked whether anything can happen,
# and on how many cells for each power of ten.
FARTHEST, _VERY_FAR, _CELLS_PER_DECADE = 1e3, 1e12, 100
# How far from a switching point both sides are compared, and the differences of values and of
# derivatives that count.
_NEAR, _JUMP, _BEND = 1e-9, 1e-6, 1e-4
# At a switching point of one variable so many values of the others are tried that are spread
# evenly, and as many of all sizes, down to this share of the largest.
_NUM_TRIED, _SMALLEST = 512, 1e-6


class Shape(NamedTuple):
    """What an expression looks like as a function of one variable, on an interval.

    Attributes:
        low: lower bound of the values.
        high: upper bound of the values.
        slope: bound of the absolute derivative.
        curvature: bound of the absolute second derivative, away from kinks.
        jumps: places at which both sides disagree.
        kinks: places at which the first or second derivative has two sides.
        resolved: whether the bounds are finite, and nothing can happen where it was not examined;
            else there may be a pole or a jump.
    """

    low: float
    high: float
    slope: float
    curvature: float
    jumps: tuple[float, ...]
    kinks: tuple[float, ...]
    resolved: bool


def examine(expression: Expression, low: float, high: float) -> Shape:
    """Examine an expression with one root on an interval (at most up to 1000 from zero)."""
    (root,) = expression.roots
    if not _is_tame_far_out(expression, low, high):
        return Shape(-np.inf, np.inf, np.inf, np.inf, (), (), False)
    low, high = _within_reach(low, high)
    bounds = bounds_on(expression, low, high)
    places = switching_points(expression, root, bounds.points)
    steps = _NEAR * np.maximum(1.0, np.abs(places))
    inside = (low < places - steps) & (places + steps < high)
    places, steps = places[inside], steps[inside]
    before, there, after = (_at(expression, root, places + side * steps) for side in (-1, 0, 1))
    # Along a steep but continuous function the values differ by the slope times the distance.
    rise = 2 * steps * (np.abs(before.first) + np.abs(after.first))
    allowed = _JUMP * (1 + np.abs(before.value)) + rise
    jumps = ~(np.abs(after.value - before.value) <= allowed)
    jumps |= ~(np.abs(there.value - before.value) <= allowed)
    bends = lambda one, other: ~(np.abs(other - one) <= _BEND * (1 + np.abs(one)))
    kinks = ~jumps & (bends(before.first, after.first) | bends(before.second, after.second))
    return Shape(
        float(np.min(there.value, initial=bounds.low)),
        float(np.max(there.value, initial=bounds.high)),
        bounds.slope,
        bounds.curvature,
        tuple(places[jumps].tolist()),
        tuple(places[kinks].tolist()),
        bounds.resolved,
    )


def jumps_between_roots(
    expression: Expression, intervals: dict[int, tuple[float, float]]
) -> bool | None:
    """Whether an expression of several roots jumps, tried at random values of the other roots.

    Returns:
        `None` if a choice between branches depends on more than one root, or can change where it
        is not examined: nothing is known then.
    """
    rng = np.random.default_rng(0)
    bounded = {r: _within_reach(*interval) for r, interval in intervals.items()}
    if any(low > high for low, high in bounded.values()):
        return None
    for switch in expression.switches:
        if not switch.roots:
            continue
        if len(switch.roots) > 1:
            return None
        (root,) = switch.roots
        sign = Expression("sign", (switch,))
        if not _is_tame_far_out(sign, *intervals[root]):
            return None
        grid = bounds_on(sign, *bounded[root]).points
        for place in switching_points(switch, root, grid, [switch]):
            others = {r: _tried(rng, *bounded[r]) for r in expression.roots - {root}}
            if _jumps_at(expression, root, place, others):
                return True
    return False


def _tried(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Values in an interval, of all sizes: what decays with a variable shows only near its zero."""
    even = rng.uniform(low, high, size=_NUM_TRIED)
    sizes = max(abs(low), abs(high)) * _SMALLEST ** rng.uniform(size=_NUM_TRIED)
    sizes[0] = 0.0
    signs = rng.choice([-1.0, 1.0], size=_NUM_TRIED)
    return np.concatenate([even, np.clip(signs * sizes, low, high)])


def _jumps_at(
    expression: Expression, root: int, place: float, others: dict[int, np.ndarray]
) -> bool:
    """Whether both sides of a place of one root disagree for some values of the other roots."""
    step = _NEAR * max(1.0, abs(place))
    fixed = {r: variable(t) for r, t in others.items()}
    moved = (variable(np.full(2 * _NUM_TRIED, place + side * step)) for side in (-1, 0, 1))
    left, there, right = (evaluate(expression, fixed | {root: jet}).value for jet in moved)
    with np.errstate(invalid="ignore"):  # infinite values disagree
        apart = np.maximum(np.abs(right - left), np.abs(there - left))
    return not np.all(apart <= _JUMP * (1 + np.abs(left)))


def switching_points(
    expression: Expression,
    root: int,
    grid: np.ndarray,
    switches: Sequence[Expression] | None = None,
) -> np.ndarray:
    """The places between points of a grid at which a switch changes sign, by bisection.

    Args:
        expression: of which the switches are taken, where none are given.
        root: the variable.
        grid: increasing, (n,).
        switches: expressions; those that do not depend on the root alone are left out.

    Returns:
        Increasing, (m,); of places within rounding of each other the first.
    """
    found = [np.empty(0)]
    for switch in expression.switches if switches is None else switches:
        if switch.roots == {root}:
            found.append(sign_changes(switch, root, grid)[1])
    places = np.unique(np.concatenate(found))
    apart = np.diff(places, prepend=-np.inf) > _NEAR * np.maximum(1.0, np.abs(places)) / 10
    return places[apart]


def _at(expression: Expression, root: int, t: np.ndarray) -> Jet:
    """The expression at given places, every part in full."""
    jet = evaluate(expression, {root: variable(t)})
    return Jet(*(np.broadcast_to(np.asarray(part, float), t.shape) for part in jet))


def _is_tame_far_out(expression: Expression, low: float, high: float) -> bool:
    """Whether nothing switches and no value is infinite where an interval is out of reach."""
    near, far = _within_reach(low, high)
    if near > far:
        return False
    (root,) = expression.roots
    for side, end in ((1.0, high), (-1.0, -low)):
        if end <= FARTHEST:
            continue
        last = min(end, _VERY_FAR)
        num = int(_CELLS_PER_DECADE * np.log10(last / FARTHEST)) + 2
        edges = np.sort(side * np.geomspace(FARTHEST, last, num))
        with np.errstate(all="ignore"):
            jet, _ = evaluate_on(expression, root, Range(edges[:-1], edges[1:]))
        if not np.all(jet.smooth & np.isfinite(jet.value.largest)):
            return False
    return True


def _within_reach(low: float, high: float) -> tuple[float, float]:
    return max(low, -FARTHEST), min(high, FARTHEST)
