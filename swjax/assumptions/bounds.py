"""What is known about an array inside a program, and how it passes through sums and products.

Norms are Euclidean, over all entries of the array; `u` are the parameters, as one vector, and `x`
is one latent point. Bounds hold for all `u` and `x` in the balls under consideration.
"""

import dataclasses
import enum
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swjax.assumptions.elementwise import Elementwise
from swjax.assumptions.expressions import Expression


class Kind(enum.IntEnum):
    """How an array depends on its inputs; each word includes the ones before."""

    SMOOTH = 0
    KINKED = 1  # piecewise smooth and locally Lipschitz
    JUMPING = 2  # piecewise smooth
    UNKNOWN = 3


@dataclass(frozen=True, eq=False)
class Value:
    """What is known about one array.

    Attributes:
        shape: its shape.
        low: lower bound of all entries.
        high: upper bound of all entries.
        norm: bound of its norm.
        du: Lipschitz constant in `u`.
        dx: Lipschitz constant in `x`.
        duu: bound of its second derivative in `u`, away from kinks.
        kind_u: how it depends on `u`.
        kind_x: how it depends on `x`.
        uses_u: whether it depends on `u` at all.
        uses_x: whether it depends on `x` at all.
        positive: whether all entries are positive (they may come close to zero).
        constant: the array itself, where it depends on neither.
        expression: how it was made from others by elementwise operations, if so.
        entries: numbers of the parameter arrays of which it holds every entry once.
        squares: numbers of the parameter arrays whose sum of squares is the sum of its entries.
        numerical: what rests on a numerical examination of an activation, besides proofs: its
            "kind", its "bounds".
        reasons: what made the kinds worse than piecewise smooth.
        token: a number that tells arrays apart: `with_` keeps it, every other array has its own.
        reduced: the array of which it is a maximum or sum, see `softmax.Reduced`.
        shifted: the array, less its maximum over some axes, that it is.
        exponential_of: the array whose exponential it is.
    """

    shape: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    norm: float = math.inf
    du: float = 0.0
    dx: float = 0.0
    duu: float = 0.0
    kind_u: Kind = Kind.SMOOTH
    kind_x: Kind = Kind.SMOOTH
    uses_u: bool = False
    uses_x: bool = False
    positive: bool = False
    constant: Any = None
    expression: Expression | None = None
    entries: frozenset[int] | None = None
    squares: frozenset[int] | None = None
    numerical: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    token: int = field(default_factory=itertools.count().__next__)
    reduced: Any = None
    shifted: "tuple[Value, tuple[int, ...]] | None" = None
    exponential_of: "Value | None" = None

    def __post_init__(self):
        # A norm bounds every entry, and bounds of the entries bound the norm.
        low, high = max(self.low, -self.norm), min(self.high, self.norm)
        norm = min(self.norm, times(math.sqrt(self.size), max(abs(low), abs(high), 0.0)))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        object.__setattr__(self, "norm", norm)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def largest(self) -> float:
        """Bound of the absolute values of the entries."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_positive(self) -> bool:
        """Whether all entries are known to be positive."""
        return self.positive or self.low > 0

    def with_(self, **changes: Any) -> "Value":
        """The same array, of which something else is known: it keeps its token and its origins.

        Another array, even one of the same entries, is not the same: build a new value for it.
        """
        return dataclasses.replace(self, **changes)


def times(*factors: float | int) -> float:
    """The product, where zero times infinity is zero: a bound times a factor that vanishes."""
    return 0.0 if 0.0 in factors else float(math.prod(factors))


def root_sum(terms: Sequence[float]) -> float:
    """The root of the sum of squares."""
    return math.hypot(*terms)


def of_constant(array: Any) -> Value:
    """All there is to know about a known array."""
    if jnp.issubdtype(jnp.result_type(array), jax.dtypes.extended):  # random keys
        return Value(np.shape(array), constant=array)
    numbers = np.asarray(array).real.astype(np.float64)
    if numbers.size == 0:
        return Value(numbers.shape, 0.0, 0.0, 0.0, constant=array)
    low, high = float(numbers.min()), float(numbers.max())
    expression = Expression("constant", (), low) if low == high else None
    norm = math.inf if math.isnan(low) else float(np.linalg.norm(numbers))
    return Value(
        numbers.shape, low, high, norm, positive=low > 0, constant=array, expression=expression
    )


def combined(shape: tuple[int, ...], parts: Sequence[Value], own: Kind, **known: Any) -> Value:
    """A result of an operation of some kind: it depends on what its operands depend on."""
    uses_u, uses_x = any(v.uses_u for v in parts), any(v.uses_x for v in parts)
    known = dict[str, Any](du=math.inf, dx=math.inf, duu=math.inf) | known
    for name, used in (("du", uses_u), ("dx", uses_x), ("duu", uses_u)):
        known[name] = known[name] if used else 0.0
    reasons = frozenset().union(*(v.reasons for v in parts)) | known.pop("reasons", frozenset())
    return Value(
        shape,
        kind_u=max([v.kind_u for v in parts] + [own]) if uses_u else Kind.SMOOTH,
        kind_x=max([v.kind_x for v in parts] + [own]) if uses_x else Kind.SMOOTH,
        uses_u=uses_u,
        uses_x=uses_x,
        numerical=frozenset().union(*(v.numerical for v in parts)),
        reasons=reasons if uses_u or uses_x else frozenset(),
        **known,
    )


def unknown(shape: tuple[int, ...], parts: Sequence[Value], reason: str) -> Value:
    """A result about which nothing is known."""
    return combined(shape, parts, Kind.UNKNOWN, reasons=frozenset([reason]))


def linear(
    shape: tuple[int, ...],
    value: Value,
    factor: float | int = 1.0,
    own: Kind = Kind.SMOOTH,
    **known: Any,
) -> Value:
    """A map whose norm and Lipschitz constant are at most `factor`."""
    bounds = {name: times(factor, getattr(value, name)) for name in ("norm", "du", "dx", "duu")}
    return combined(shape, [value], own, **(bounds | known))


def rearranged(shape: tuple[int, ...], value: Value) -> Value:
    """The same entries, each once or never, in another shape."""
    known = dict[str, Any](low=value.low, high=value.high, positive=value.positive)
    if math.prod(shape) == value.size:
        known |= {"entries": value.entries, "squares": value.squares}
    return linear(shape, value, 1.0, **known)


def broadcast(shape: tuple[int, ...], value: Value) -> Value:
    """The array repeated along axes: the array itself where that changes nothing."""
    if value.shape == shape:
        return value
    if math.prod(shape) == value.size:
        return rearranged(shape, value)
    return repeated(shape, value, math.prod(shape) / max(value.size, 1))


def repeated(shape: tuple[int, ...], value: Value, times_each: float | int) -> Value:
    """Another array of the same entries, each up to `times_each` times, or never."""
    known = {"low": value.low, "high": value.high, "positive": value.positive}
    return linear(shape, value, math.sqrt(max(times_each, 1.0)), **known)


def joined(shape: tuple[int, ...], parts: Sequence[Value]) -> Value:
    """Arrays side by side."""
    bounds = {
        name: root_sum([getattr(v, name) for v in parts]) for name in ("norm", "du", "dx", "duu")
    }
    return combined(
        shape,
        parts,
        Kind.SMOOTH,
        low=min((v.low for v in parts), default=0.0),
        high=max((v.high for v in parts), default=0.0),
        positive=all(v.is_positive for v in parts),
        entries=_union([v.entries for v in parts]),
        squares=_union([v.squares for v in parts]),
        **bounds,
    )


def _union(sets: Sequence[frozenset[int] | None]) -> frozenset[int] | None:
    """The union of disjoint sets; `None` if one is unknown or they overlap."""
    known = [s for s in sets if s is not None]
    whole = frozenset().union(*known)
    return whole if len(known) == len(sets) and sum(map(len, known)) == len(whole) else None


def added(p: Value, q: Value, sign: int = 1) -> Value:
    """The sum or difference of two arrays of one shape."""
    low, high = (q.low, q.high) if sign > 0 else (-q.high, -q.low)
    bounds = {name: getattr(p, name) + getattr(q, name) for name in ("norm", "du", "dx", "duu")}
    positive = sign > 0 and (
        (p.is_positive and q.low >= 0) or (q.is_positive and p.low >= 0) or p.low + q.low > 0
    )
    zero = [v.low == v.high == 0 for v in (p, q)]
    squares = q.squares if zero[0] else p.squares if zero[1] else _union([p.squares, q.squares])
    return combined(
        p.shape,
        [p, q],
        Kind.SMOOTH,
        low=_sum(p.low, low),
        high=_sum(p.high, high),
        positive=positive,
        squares=squares if sign > 0 else None,
        **bounds,
    )


def _sum(p: float, q: float) -> float:
    total = p + q
    return 0.0 if math.isnan(total) else total


def multiplied(p: Value, q: Value) -> Value:
    """The product, entry by entry, of two arrays of one shape."""
    products = [times(i, j) for i in (p.low, p.high) for j in (q.low, q.high)]
    return combined(
        p.shape,
        [p, q],
        Kind.SMOOTH,
        low=min(products),
        high=max(products),
        norm=min(times(p.norm, q.largest), times(p.largest, q.norm)),
        du=times(p.du, q.largest) + times(p.largest, q.du),
        dx=times(p.dx, q.largest) + times(p.largest, q.dx),
        duu=times(p.duu, q.largest) + 2 * times(p.du, q.du) + times(p.largest, q.duu),
        positive=p.is_positive and q.is_positive,
    )


def contracted(
    shape: tuple[int, ...],
    p: Value,
    q: Value,
    factor: float | int = 1.0,
    norms: tuple = (None, None),
) -> Value:
    """A bilinear map with `|B(p, q)| <= factor |p| |q|`, such as a matrix product.

    `norms` are sharper replacements of `factor * |p|` and `factor * |q|` as operators.
    """
    by_p = times(factor, p.norm) if norms[0] is None else norms[0]
    by_q = times(factor, q.norm) if norms[1] is None else norms[1]
    norm = min(times(by_p, q.norm), times(p.norm, by_q))
    return combined(
        shape,
        [p, q],
        Kind.SMOOTH,
        norm=norm,
        low=0.0 if p.low >= 0 and q.low >= 0 else -norm,
        du=times(p.du, by_q) + times(by_p, q.du),
        dx=times(p.dx, by_q) + times(by_p, q.dx),
        duu=times(p.duu, by_q) + 2 * times(factor, p.du, q.du) + times(by_p, q.duu),
        positive=p.is_positive and q.is_positive,
    )


def composed(function: Elementwise, value: Value, name: str) -> Value:
    """An elementwise function of an array."""
    inside = {
        "all": True,
        "positive": value.is_positive,
        "nonnegative": value.low >= 0,
    }[function.domain]
    if not inside:
        return unknown(value.shape, [value], f"{name} of values not bounded away from zero")
    low, high = function.range(value.low, value.high)
    slope = function.slope(value.low, value.high)
    curvature = function.curvature(value.low, value.high)
    norm = times(math.sqrt(value.size), max(abs(low), abs(high)))
    if value.low <= 0 <= value.high and function.domain != "positive":
        at_zero = abs(float(function.value(np.zeros(()))))
        norm = min(norm, math.sqrt(value.size) * at_zero + times(slope, value.norm))
    return combined(
        value.shape,
        [value],
        Kind.SMOOTH,
        low=low,
        high=high,
        norm=norm,
        du=times(slope, value.du),
        dx=times(slope, value.dx),
        duu=times(slope, value.duu) + times(curvature, value.du, value.du),
        positive=function.positive,
    )


def chosen(parts: Sequence[Value], own: Kind, low: float, high: float, **known: Any) -> Value:
    """An array each of whose entries is one of those of several arrays."""
    bounds = {
        name: root_sum([getattr(v, name) for v in parts]) for name in ("norm", "du", "dx", "duu")
    }
    return combined(parts[0].shape, parts, own, low=low, high=high, **(bounds | known))
