"""Activations that choose between branches: where they bend, and whether they jump.

A program such as `where(t >= 0, t, 0.01 t)` is continuous for a reason that no single operation
shows. Elementwise operations are therefore kept as expressions in the arrays they start from. As a
function of one variable an expression is examined numerically, in float64: its switching points
are located, both sides compared, and its derivatives bounded on a grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from swjax.assumptions.elementwise import SMOOTH, Elementwise, integer_power, real_power

# The grid on which an expression is examined, and the largest argument looked at.
_GRID_SIZE = 4001
FARTHEST = 1e3
# How far from a switching point both sides are compared, and the differences of values and of
# derivatives that count.
_NEAR, _JUMP, _BEND = 1e-9, 1e-6, 1e-4


class Jet(NamedTuple):
    """Values and two derivatives of a function on a grid."""

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray


@dataclass(frozen=True, eq=False)
class Expression:
    """An elementwise expression: an operation on other expressions.

    Attributes:
        operation: name of a JAX primitive, or "root" (a variable) or "constant".
        arguments: its operands.
        parameter: what else the operation needs: the exponent of a power, the number of a root,
            the value of a constant.
    """

    operation: str
    arguments: tuple["Expression", ...] = ()
    parameter: float | int = 0
    size: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "size", 1 + sum(e.size for e in self.arguments))

    @cached_property
    def nodes(self) -> list["Expression"]:
        """All expressions in it, operands first, each once."""
        seen: dict[int, Expression] = {}
        for argument in self.arguments:
            seen |= {id(node): node for node in argument.nodes}
        return [*seen.values(), self]

    @cached_property
    def roots(self) -> frozenset[int]:
        """The variables in it."""
        return frozenset(int(n.parameter) for n in self.nodes if n.operation == "root")

    @cached_property
    def switches(self) -> list["Expression"]:
        """The differences whose sign decides between branches."""
        found = []
        for node in self.nodes:
            if node.operation in COMPARISONS or node.operation in ("max", "min"):
                found.append(Expression("sub", node.arguments[:2]))
            elif node.operation in ("abs", "sign"):
                found.append(node.arguments[0])
        return found


COMPARISONS: dict[str, Callable] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
_LOGIC: dict[str, Callable] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
}
# Operations that give a number for every element of their operands; the others start a new root.
ELEMENTWISE = (
    set(SMOOTH)
    | set(COMPARISONS)
    | set(_LOGIC)
    | {"add", "sub", "mul", "div", "max", "min", "abs", "sign", "select_n", "square", "power"}
    | {"integer_pow"}
)


def function_of(expression: Expression) -> Elementwise | None:
    """The table entry of an operation on one number, or `None`."""
    name, parameter = expression.operation, expression.parameter
    if name in ("integer_pow", "square"):
        return integer_power(2 if name == "square" else int(parameter))
    if name == "power":
        return real_power(float(parameter))
    return SMOOTH.get(name)


def evaluate(expression: Expression, roots: dict[int, Jet]) -> Jet:
    """The expression and its derivatives along whatever the roots are functions of."""
    done: dict[int, Jet] = {}
    with np.errstate(all="ignore"):
        for node in expression.nodes:
            done[id(node)] = _apply(node, [done[id(e)] for e in node.arguments], roots)
    return done[id(expression)]


def evaluate_known(
    operation: str, arrays: Sequence[np.ndarray], parameter: float | int
) -> np.ndarray:
    """An elementwise operation on known arrays, in float64 and without compiling anything."""
    roots = {k: _flat(np.asarray(array)) for k, array in enumerate(arrays)}
    operands = tuple(Expression("root", (), k) for k in roots)
    return np.asarray(evaluate(Expression(operation, operands, parameter), roots).value)


def _apply(node: Expression, jets: Sequence[Jet], roots: dict[int, Jet]) -> Jet:
    name = node.operation
    if name == "root":
        return roots[int(node.parameter)]
    if name == "constant":
        return _flat(np.asarray(node.parameter, float))
    if name in COMPARISONS:
        return _flat(COMPARISONS[name](jets[0].value, jets[1].value))
    if name in _LOGIC:
        return _flat(_LOGIC[name](*(jet.value.astype(bool) for jet in jets)))
    if name in ("add", "sub"):
        sign = 1 if name == "add" else -1
        return Jet(*(p + sign * q for p, q in zip(*jets, strict=True)))
    if name == "mul":
        return _product(*jets)
    if name == "div":
        return _product(jets[0], _chain(integer_power(-1), jets[1]))
    if name in ("max", "min"):
        p, q = jets
        first = p.value >= q.value if name == "max" else p.value <= q.value
        return Jet(*(np.where(first, i, j) for i, j in zip(p, q, strict=True)))
    if name == "abs":
        sign = np.sign(jets[0].value)
        return Jet(*(sign * part for part in jets[0]))
    if name == "sign":
        return _flat(np.sign(jets[0].value))
    if name == "select_n":
        which, *cases = jets
        parts = [np.broadcast_arrays(which.value, *parts) for parts in zip(*cases, strict=True)]
        return Jet(*(np.choose(index.astype(int), branches) for index, *branches in parts))
    function = function_of(node)
    assert function is not None, name
    return _chain(function, jets[0])


def _flat(value: np.ndarray) -> Jet:
    zero = np.zeros(np.shape(value))
    return Jet(value, zero, zero)


def _product(p: Jet, q: Jet) -> Jet:
    first = p.first * q.value + p.value * q.first
    second = p.second * q.value + 2 * p.first * q.first + p.value * q.second
    return Jet(p.value * q.value, first, second)


def _chain(function: Elementwise, jet: Jet) -> Jet:
    slope = function.first(jet.value)
    second = function.second(jet.value) * jet.first**2 + slope * jet.second
    return Jet(function.value(jet.value), slope * jet.first, second)


class Shape(NamedTuple):
    """What an expression looks like as a function of one variable, on an interval.

    Attributes:
        low: smallest value found.
        high: largest value found.
        slope: largest absolute derivative found.
        curvature: largest absolute second derivative found, away from kinks.
        jumps: places at which both sides disagree.
        kinks: places at which the first or second derivative has two sides.
        resolved: whether all values and derivatives away from the switching points are numbers,
            and the derivative changes little between neighbors on the grid: no pole was missed.
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
    low, high = max(low, -FARTHEST), min(high, FARTHEST)
    grid = _grid(low, high)
    at = lambda t: evaluate(expression, {root: _variable(t)})
    places = switching_points(expression, root, grid)
    sides = [p + s * _NEAR * max(1.0, abs(p)) for p in places for s in (-1, 1)]
    grid = np.concatenate([grid[~np.isin(grid, places)], sides])
    grid = np.sort(grid[(grid >= low) & (grid <= high)])
    jet = Jet(*(np.broadcast_to(part, grid.shape) for part in at(grid)))
    jumps, kinks = [], []
    for place in places:
        step = _NEAR * max(1.0, abs(place))
        if not low < place - step < place + step < high:
            continue
        two_sides = at(np.array([place - step, place + step]))
        around = [np.broadcast_to(np.asarray(part, float), 2) for part in two_sides]
        if abs(around[0][1] - around[0][0]) > _JUMP * (1 + abs(around[0][0])):
            jumps.append(place)
        elif any(abs(q - p) > _BEND * (1 + abs(p)) for p, q in around[1:]):
            kinks.append(place)
    return Shape(
        float(np.min(jet.value)),
        float(np.max(jet.value)),
        float(np.max(np.abs(jet.first))),
        float(np.max(np.abs(jet.second))),
        tuple(jumps),
        tuple(kinks),
        _is_resolved(grid, jet),
    )


def jumps_between_roots(
    expression: Expression, intervals: dict[int, tuple[float, float]]
) -> bool | None:
    """Whether an expression of several roots jumps, tried at random values of the other roots.

    Returns:
        `None` if a choice between branches depends on more than one root: nothing is known then.
    """
    rng = np.random.default_rng(0)
    bounded = {r: (max(l, -FARTHEST), min(h, FARTHEST)) for r, (l, h) in intervals.items()}
    for switch in expression.switches:
        if not switch.roots:
            continue
        if len(switch.roots) > 1:
            return None
        (root,) = switch.roots
        for place in switching_points(switch, root, _grid(*bounded[root]), [switch]):
            others = {
                r: _flat(rng.uniform(*bounded[r], size=64)) for r in expression.roots - {root}
            }
            step = _NEAR * max(1.0, abs(place))
            left, right = (
                evaluate(expression, others | {root: _flat(np.full(64, place + s * step))}).value
                for s in (-1, 1)
            )
            if not np.all(np.abs(right - left) <= _JUMP * (1 + np.abs(left))):
                return True
    return False


def switching_points(
    expression: Expression,
    root: int,
    grid: np.ndarray,
    switches: Sequence[Expression] | None = None,
) -> list[float]:
    """The places on a grid at which a switch changes sign, by bisection."""
    found: set[float] = set()
    for switch in expression.switches if switches is None else switches:
        if switch.roots != {root}:
            continue
        at = lambda t, switch=switch: np.sign(evaluate(switch, {root: _variable(t)}).value)
        signs = np.broadcast_to(at(grid), grid.shape)
        found |= {float(t) for t in grid[signs == 0]} if np.mean(signs == 0) < 0.1 else set()
        change = np.flatnonzero(signs[1:] * signs[:-1] < 0)
        left, right, side = grid[change], grid[change + 1], signs[change]
        for _ in range(70):
            middle = (left + right) / 2
            same = at(middle) == side
            left, right = np.where(same, middle, left), np.where(same, right, middle)
        found |= {float(t) for t in right}
    return sorted(found)


def _variable(t: np.ndarray) -> Jet:
    t = np.asarray(t, float)
    return Jet(t, np.ones_like(t), np.zeros_like(t))


def _grid(low: float, high: float) -> np.ndarray:
    """Points of an interval: even ones, and ones that crowd around zero."""
    even = np.linspace(low, high, _GRID_SIZE)
    reach = max(abs(low), abs(high), 1e-6)
    fine = reach * np.logspace(-8, 0, 400)
    points = np.concatenate([even, fine, -fine, [0.0]])
    return np.unique(points[(points >= low) & (points <= high)])


def _is_resolved(grid: np.ndarray, jet: Jet) -> bool:
    if not all(np.isfinite(np.asarray(part, float)).all() for part in jet):
        return False
    gaps = np.diff(grid)
    change = gaps * np.maximum(np.abs(jet.second[1:]), np.abs(jet.second[:-1]))
    return bool(np.max(change) <= 1 + np.max(np.abs(jet.first)))
