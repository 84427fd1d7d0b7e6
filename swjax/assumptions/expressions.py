"""Elementwise operations kept as expressions in the arrays they start from, with derivatives.

A program such as `where(t >= 0, t, 0.01 t)` is continuous for a reason that no single operation
shows: all of it has to be looked at, as a function of `t`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from swjax.assumptions.elementwise import SMOOTH, Elementwise, integer_power, real_power

# Halvings after which two places are neighboring numbers.
_HALVINGS = 70


class Jet(NamedTuple):
    """Values and two derivatives of a function at some places."""

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
LOGIC: dict[str, Callable] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
}
# Operations that give a number for every element of their operands; the others start a new root.
ELEMENTWISE = (
    set(SMOOTH)
    | set(COMPARISONS)
    | set(LOGIC)
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
            done[id(node)] = apply_to_jets(node, [done[id(e)] for e in node.arguments], roots)
    return done[id(expression)]


def evaluate_known(
    operation: str, arrays: Sequence[np.ndarray], parameter: float | int
) -> np.ndarray:
    """An elementwise operation on known arrays, in float64 and without compiling anything."""
    roots = {k: _flat(np.asarray(array)) for k, array in enumerate(arrays)}
    operands = tuple(Expression("root", (), k) for k in roots)
    return np.asarray(evaluate(Expression(operation, operands, parameter), roots).value)


def apply_to_jets(node: Expression, jets: Sequence[Jet], roots: dict[int, Jet]) -> Jet:
    """One operation on values and derivatives of its operands."""
    name = node.operation
    if name == "root":
        return roots[int(node.parameter)]
    if name == "constant":
        return _flat(np.asarray(node.parameter, float))
    if name in COMPARISONS:
        return _flat(COMPARISONS[name](jets[0].value, jets[1].value))
    if name in LOGIC:
        return _flat(LOGIC[name](*(jet.value.astype(bool) for jet in jets)))
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


def variable(t: np.ndarray) -> Jet:
    """The variable itself at given places."""
    t = np.asarray(t, float)
    return Jet(t, np.ones_like(t), np.zeros_like(t))


def sign_changes(
    expression: Expression, root: int, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The places between points of a grid at which the sign changes, by bisection.

    Args:
        expression: of one variable.
        root: the variable.
        grid: increasing, (n,).

    Returns:
        Neighboring numbers before and after each change, (m,) each.
    """
    sign = lambda t: np.sign(evaluate(expression, {root: variable(t)}).value)
    signs = np.broadcast_to(sign(grid), grid.shape)
    change = np.flatnonzero(signs[1:] != signs[:-1])
    left, right, side = grid[change], grid[change + 1], signs[change]
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        same = sign(middle) == side
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    return left, right
