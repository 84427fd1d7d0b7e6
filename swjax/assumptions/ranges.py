"""Interval arithmetic for expressions in one variable and their first two derivatives.

Intervals take the place of numbers (Moore, "Interval Analysis", 1966). Where the expression is
smooth on a cell, the mean value theorem around its middle sharpens the result. All of this is done
in float64, without outward rounding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swjax.assumptions.elementwise import Elementwise, integer_power
from swjax.assumptions.expressions import (
    COMPARISONS,
    LOGIC,
    Expression,
    Jet,
    apply_to_jets,
    function_of,
    variable,
)


class Range(NamedTuple):
    """Lower and upper bounds, one for each cell."""

    low: np.ndarray
    high: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """Bounds of the absolute values."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


class RangeJet(NamedTuple):
    """Ranges of values and two derivatives, and whether there is only one branch on the cell."""

    value: Range
    first: Range
    second: Range
    smooth: np.ndarray


def evaluate_on(expression: Expression, root: int, cells: Range) -> tuple[RangeJet, Jet]:
    """The expression on cells, and at their middles."""
    middle, radius = (cells.low + cells.high) / 2, (cells.high - cells.low) / 2
    one, zero = np.ones_like(middle), np.zeros_like(middle)
    start = RangeJet(cells, Range(one, one), Range(zero, zero), np.ones(middle.shape, bool))
    points, ranges = {root: variable(middle)}, {root: start}
    at: dict[int, Jet] = {}
    on: dict[int, RangeJet] = {}
    for node in expression.nodes:
        jet = apply_to_jets(node, [at[id(e)] for e in node.arguments], points)
        at[id(node)] = Jet(*(np.broadcast_to(part, middle.shape) for part in jet))
        operands = [on[id(e)] for e in node.arguments]
        jet = _apply(node, operands, [at[id(e)].value for e in node.arguments], ranges)
        on[id(node)] = _around_middle(jet, at[id(node)], radius)
    return on[id(expression)], at[id(expression)]


def _around_middle(jet: RangeJet, middle: Jet, radius: np.ndarray) -> RangeJet:
    """Sharper ranges where there is one branch: the middle, and the next derivative from there."""
    first = _near(jet.first, middle.first, jet.second.largest * radius, jet.smooth)
    value = _near(jet.value, middle.value, first.largest * radius, jet.smooth)
    return RangeJet(value, first, jet.second, jet.smooth)


def _near(known: Range, center: np.ndarray, reach: np.ndarray, where: np.ndarray) -> Range:
    low, high = np.maximum(known.low, center - reach), np.minimum(known.high, center + reach)
    sharper = where & (low <= high)  # not where anything is NaN
    return Range(np.where(sharper, low, known.low), np.where(sharper, high, known.high))


def _apply(
    node: Expression,
    jets: Sequence[RangeJet],
    middles: Sequence[np.ndarray],
    roots: dict[int, RangeJet],
) -> RangeJet:
    """One operation on ranges of its operands, of which the values at the middles are known."""
    name, (variable_, *_) = node.operation, roots.values()
    number = lambda value: _flat(Range(*(np.full(variable_.smooth.shape, value, float),) * 2))
    if name == "root":
        return roots[int(node.parameter)]
    if name == "constant":
        return number(node.parameter)
    if name in COMPARISONS:
        return _flat(_compared(name, jets, middles))
    if name in LOGIC:
        return _flat(_connected(name, [jet.value for jet in jets]))
    if name in ("add", "sub"):
        return _sum(*jets, sign=1 if name == "add" else -1)
    if name == "mul":
        return _product(*jets)
    if name == "div":
        return _product(jets[0], _chain(integer_power(-1), jets[1]))
    if name in ("max", "min"):
        return _extreme(name, jets, middles)
    if name == "abs":
        sides = [jets[0], _sum(number(0), jets[0], sign=-1)]
        either = _extreme("max", sides, [middles[0], -middles[0]])
        return either._replace(value=Range(np.maximum(either.value.low, 0), either.value.high))
    if name == "sign":
        zero, at_zero = number(0), 0 * middles[0]
        above = _compared("gt", [jets[0], zero], [middles[0], at_zero])
        below = _compared("lt", [jets[0], zero], [middles[0], at_zero])
        return _flat(Range(above.low - below.high, above.high - below.low))
    if name == "select_n":
        return _chosen(jets[0].value, jets[1:])
    function = function_of(node)
    assert function is not None, name
    return _chain(function, jets[0])


def _flat(value: Range) -> RangeJet:
    """A piecewise constant: of one branch where it is one number."""
    zero = np.zeros(np.shape(value.low))
    return RangeJet(value, Range(zero, zero), Range(zero, zero), value.low == value.high)


def _sum(p: RangeJet, q: RangeJet, sign: int) -> RangeJet:
    if sign < 0:
        q = RangeJet(_negative(q.value), _negative(q.first), _negative(q.second), q.smooth)
    return RangeJet(
        _plus(p.value, q.value),
        _plus(p.first, q.first),
        _plus(p.second, q.second),
        p.smooth & q.smooth,
    )


def _negative(p: Range) -> Range:
    return Range(-p.high, -p.low)


def _product(p: RangeJet, q: RangeJet) -> RangeJet:
    first = _plus(_times(p.first, q.value), _times(p.value, q.first))
    mixed = _times(p.first, q.first)
    second = _plus(_times(p.second, q.value), _times(p.value, q.second))
    second = _plus(second, Range(2 * mixed.low, 2 * mixed.high))
    return RangeJet(_times(p.value, q.value), first, second, p.smooth & q.smooth)


def _chain(function: Elementwise, jet: RangeJet) -> RangeJet:
    value, slope, bend = (_image(function, k, jet.value) for k in range(3))
    square = _image(integer_power(2), 0, jet.first)
    second = _plus(_times(bend, square), _times(slope, jet.second))
    return RangeJet(value, _times(slope, jet.first), second, jet.smooth)


def _image(function: Elementwise, derivative: int, of: Range) -> Range:
    """The range of a function of the table, or of one of its derivatives, on ranges."""
    at = (function.value, function.first, function.second)[derivative]
    low, high = of.low + 0.0, of.high + 0.0  # no negative zeros
    places = [low, high]
    for turn in function.turns[derivative]:
        places.append(np.clip(turn, low, high))
    if function.is_wave:
        quarter = np.pi / 2
        turns = np.ceil(low / quarter)
        places += [np.clip((turns + k) * quarter, low, high) for k in range(5)]
    values = np.stack(np.broadcast_arrays(*(at(np.asarray(t, float)) for t in places)))
    found = _known(values.min(axis=0), values.max(axis=0))
    if function.domain != "positive":
        return found
    outside = (low < 0) & (high >= 0)  # a pole, or no value
    return Range(np.where(outside, -np.inf, found.low), np.where(outside, np.inf, found.high))


def _known(low: np.ndarray, high: np.ndarray) -> Range:
    """A range without NaN: where an end is none, nothing is known."""
    none = np.isnan(low) | np.isnan(high)
    return Range(np.where(none, -np.inf, low), np.where(none, np.inf, high))


def _plus(p: Range, q: Range) -> Range:
    return _known(p.low + q.low, p.high + q.high)


def _times(p: Range, q: Range) -> Range:
    """The range of products. Zero times infinity is zero: infinite ends are not attained."""
    products = np.stack(np.broadcast_arrays(*(i * j for i in p for j in q)))
    products = np.where(np.isnan(products), 0.0, products)
    return Range(products.min(axis=0), products.max(axis=0))


def _compared(name: str, jets: Sequence[RangeJet], middles: Sequence[np.ndarray]) -> Range:
    """A comparison as a range of 0 and 1, up to places without length.

    Where ranges only touch and there is one branch, both sides are equal at single places, unless
    they always are: then the comparison of the middles is not the strict one.
    """
    (p, _, _, p_smooth), (q, _, _, q_smooth) = jets
    same = (p.low == p.high) & (q.low == q.high) & (p.low == q.low)
    touching = p_smooth & q_smooth & ~same
    less = (p.high < q.low) | (touching & (p.high <= q.low) & (middles[0] < middles[1]))
    more = (p.low > q.high) | (touching & (p.low >= q.high) & (middles[0] > middles[1]))
    surely = {
        "lt": less,
        "le": less | (p.high <= q.low),
        "gt": more,
        "ge": more | (p.low >= q.high),
        "eq": same,
        "ne": less | more,
    }
    opposite = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}[name]
    return Range(surely[name].astype(float), 1.0 - surely[opposite])


def _extreme(name: str, jets: Sequence[RangeJet], middles: Sequence[np.ndarray]) -> RangeJet:
    """The maximum or minimum."""
    p, q = jets
    either = _chosen(_compared("ge" if name == "max" else "le", jets, middles), [q, p])
    pick = np.maximum if name == "max" else np.minimum
    value = Range(pick(p.value.low, q.value.low), pick(p.value.high, q.value.high))
    return either._replace(value=value)


def _connected(name: str, parts: Sequence[Range]) -> Range:
    if name == "not":
        return Range(1 - parts[0].high, 1 - parts[0].low)
    p, q = parts
    if name == "xor":
        sure = (p.low == p.high) & (q.low == q.high)
        return Range(
            np.where(sure, np.abs(p.low - q.low), 0.0), np.where(sure, np.abs(p.low - q.low), 1.0)
        )
    pick = np.minimum if name == "and" else np.maximum
    return Range(pick(p.low, q.low), pick(p.high, q.high))


def _chosen(which: Range, cases: Sequence[RangeJet]) -> RangeJet:
    """The case of the number `which`; the hull of all cases that it can be."""
    possible = [(which.low <= k) & (k <= which.high) for k in range(len(cases))]
    smooth = [~ok | case.smooth for ok, case in zip(possible, cases, strict=True)]
    return RangeJet(
        _hull(possible, [case.value for case in cases]),
        _hull(possible, [case.first for case in cases]),
        _hull(possible, [case.second for case in cases]),
        np.logical_and.reduce(smooth) & (which.low == which.high),
    )


def _hull(possible: Sequence[np.ndarray], ranges: Sequence[Range]) -> Range:
    pairs = list(zip(possible, ranges, strict=True))
    low = [np.where(ok, part.low, np.inf) for ok, part in pairs]
    high = [np.where(ok, part.high, -np.inf) for ok, part in pairs]
    return Range(np.minimum.reduce(low), np.maximum.reduce(high))
