"""Activations that choose between branches: where they bend, and whether they jump.

As a function of one variable an expression is examined numerically, in float64: its values and
derivatives are bounded on cells that cover an interval, and both sides of its switching points are
compared. No proof: places at which it switches back within a cell too narrow to halve are missed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swjax.assumptions.cells import bounds_on
from swjax.assumptions.expressions import Expression, Jet, evaluate, sign_changes, variable

# The largest argument looked at.
FARTHEST = 1e3
# How far from a switching point both sides are compared, and the differences of values and of
# derivatives that count.
_NEAR, _JUMP, _BEND = 1e-9, 1e-6, 1e-4
# How many values of the other variables are tried at a switching point of one.
_NUM_TRIED = 64


class Shape(NamedTuple):
    """What an expression looks like as a function of one variable, on an interval.

    Attributes:
        low: lower bound of the values.
        high: upper bound of the values.
        slope: bound of the absolute derivative.
        curvature: bound of the absolute second derivative, away from kinks.
        jumps: places at which both sides disagree.
        kinks: places at which the first or second derivative has two sides.
        resolved: whether the bounds are finite and hold on the whole interval; else there may be a
            pole.
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
        `None` if a choice between branches depends on more than one root: nothing is known then.
    """
    rng = np.random.default_rng(0)
    bounded = {r: _within_reach(*interval) for r, interval in intervals.items()}
    for switch in expression.switches:
        if not switch.roots:
            continue
        if len(switch.roots) > 1:
            return None
        (root,) = switch.roots
        grid = bounds_on(Expression("sign", (switch,)), *bounded[root]).points
        for place in switching_points(switch, root, grid, [switch]):
            others = {
                r: rng.uniform(*bounded[r], size=_NUM_TRIED) for r in expression.roots - {root}
            }
            step = _NEAR * max(1.0, abs(place))
            left, there, right = (
                evaluate(
                    expression,
                    {r: variable(t) for r, t in others.items()}
                    | {root: variable(np.full(_NUM_TRIED, place + side * step))},
                ).value
                for side in (-1, 0, 1)
            )
            allowed = _JUMP * (1 + np.abs(left))
            if not np.all(np.maximum(np.abs(right - left), np.abs(there - left)) <= allowed):
                return True
    return False


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


def _within_reach(low: float, high: float) -> tuple[float, float]:
    return max(low, -FARTHEST), min(high, FARTHEST)
