"""Elementwise functions with two derivatives, in NumPy, and bounds of these on intervals.

The table names the primitives of JAX. Each entry knows its values and derivatives, so that an
activation built of several primitives can be followed as a function of one variable, and proven
bounds of its derivatives on an interval, which the chain rule turns into bounds for a network.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, erfc, expit

Number = Callable[[np.ndarray], np.ndarray]
OnInterval = Callable[[float, float], float]


@dataclass(frozen=True)
class Elementwise:
    """A function of one variable, smooth on its domain.

    Attributes:
        value: the function.
        first: its derivative.
        second: its second derivative.
        range: smallest and largest value on an interval.
        slope: largest absolute value of the derivative on an interval.
        curvature: largest absolute value of the second derivative on an interval.
        domain: where it is smooth: "all", "nonnegative" or "positive" arguments.
        positive: whether all values are positive.
        turns: where the function, its derivative and its second derivative have extreme values.
        is_wave: whether they have them at all multiples of a quarter turn.
    """

    value: Number
    first: Number
    second: Number
    range: Callable[[float, float], tuple[float, float]]
    slope: OnInterval
    curvature: OnInterval
    domain: str = "all"
    positive: bool = False
    turns: tuple[tuple[float, ...], ...] = ((), (), ())
    is_wave: bool = False


def _guarded(function: Callable[[float], float]) -> Callable[[float], float]:
    """The function with its limits at infinity and infinity where it overflows."""

    def guarded(t: float) -> float:
        try:
            return float(function(t))
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan

    return guarded


def _monotone(
    function: Callable[[float], float], at_minus: float, at_plus: float
) -> Callable[[float, float], tuple[float, float]]:
    value = _guarded(function)

    def at(t: float) -> float:
        if math.isinf(t):
            return at_plus if t > 0 else at_minus
        return value(t)

    return lambda low, high: (min(at(low), at(high)), max(at(low), at(high)))


def _largest(low: float, high: float) -> float:
    return max(abs(low), abs(high))


def _constant(bound: float | int) -> OnInterval:
    return lambda low, high: bound


def _bounded(
    value: Number, first: Number, second: Number, bounds: tuple, turn: float | None = None
) -> Elementwise:
    """A function with bounded slope and curvature on the whole line.

    If it has a `turn`, its slope is largest at 0 and its curvature there and at the opposite.
    """
    at_minus, at_plus, slope, curvature = bounds[:4]
    function = lambda t: float(value(np.asarray(t, float)))
    return Elementwise(
        value,
        first,
        second,
        _monotone(function, at_minus, at_plus),
        _constant(slope),
        _constant(curvature),
        positive=len(bounds) > 4,
        turns=((), (), ()) if turn is None else ((), (0.0,), (-turn, turn)),
    )


_exp = _guarded(math.exp)
_sech_sq = lambda t: 1 - np.tanh(t) ** 2
_bell = lambda t: 2 / math.sqrt(math.pi) * np.exp(-(t**2))
_erf_bounds = (2 / math.sqrt(math.pi), 4 / math.sqrt(2 * math.pi * math.e))
_wave_range = lambda low, high: (-1.0, 1.0)
_sigmoid_first = lambda t: expit(t) * expit(-t)
_over = lambda power, factor: lambda low, high: factor * low**power if low > 0 else math.inf
_cosh_range = lambda low, high: (
    1.0 if low <= 0 <= high else _guarded(math.cosh)(min(abs(low), abs(high))),
    math.inf if math.isinf(_largest(low, high)) else _guarded(math.cosh)(_largest(low, high)),
)
_largest_cosh = lambda low, high: _cosh_range(low, high)[1]
_largest_sinh = lambda low, high: (
    math.inf if math.isinf(_largest(low, high)) else _guarded(math.sinh)(_largest(low, high))
)

SMOOTH: dict[str, Elementwise] = {
    "tanh": _bounded(
        np.tanh,
        _sech_sq,
        lambda t: -2 * np.tanh(t) * _sech_sq(t),
        (-1.0, 1.0, 1.0, 4 / (3 * math.sqrt(3))),
        turn=math.atanh(1 / math.sqrt(3)),
    ),
    "logistic": _bounded(
        expit,
        _sigmoid_first,
        lambda t: _sigmoid_first(t) * (1 - 2 * expit(t)),
        (0.0, 1.0, 0.25, 1 / (6 * math.sqrt(3)), "positive"),
        turn=math.log(2 + math.sqrt(3)),
    ),
    "erf": _bounded(
        erf,
        _bell,
        lambda t: -2 * t * _bell(t),
        (-1.0, 1.0, *_erf_bounds),
        turn=math.sqrt(0.5),
    ),
    "erfc": _bounded(
        erfc,
        lambda t: -_bell(t),
        lambda t: 2 * t * _bell(t),
        (2.0, 0.0, *_erf_bounds, "positive"),
        turn=math.sqrt(0.5),
    ),
    "atan": _bounded(
        np.arctan,
        lambda t: 1 / (1 + t**2),
        lambda t: -2 * t / (1 + t**2) ** 2,
        (-math.pi / 2, math.pi / 2, 1.0, 3 * math.sqrt(3) / 8),
        turn=1 / math.sqrt(3),
    ),
    "asinh": _bounded(
        np.arcsinh,
        lambda t: 1 / np.sqrt(1 + t**2),
        lambda t: -t / (1 + t**2) ** 1.5,
        (-math.inf, math.inf, 1.0, 2 / (3 * math.sqrt(3))),
        turn=math.sqrt(0.5),
    ),
    "neg": _bounded(
        np.negative, lambda t: -np.ones_like(t), np.zeros_like, (math.inf, -math.inf, 1.0, 0.0)
    ),
    "sin": Elementwise(
        np.sin,
        np.cos,
        lambda t: -np.sin(t),
        _wave_range,
        _constant(1.0),
        _constant(1.0),
        is_wave=True,
    ),
    "cos": Elementwise(
        np.cos,
        lambda t: -np.sin(t),
        lambda t: -np.cos(t),
        _wave_range,
        _constant(1.0),
        _constant(1.0),
        is_wave=True,
    ),
    "exp": Elementwise(
        np.exp,
        np.exp,
        np.exp,
        _monotone(math.exp, 0.0, math.inf),
        lambda low, high: _exp(high),
        lambda low, high: _exp(high),
        positive=True,
    ),
    "exp2": Elementwise(
        np.exp2,
        lambda t: math.log(2) * np.exp2(t),
        lambda t: math.log(2) ** 2 * np.exp2(t),
        _monotone(lambda t: 2.0**t, 0.0, math.inf),
        lambda low, high: math.log(2) * _exp(high * math.log(2)),
        lambda low, high: math.log(2) ** 2 * _exp(high * math.log(2)),
        positive=True,
    ),
    "expm1": Elementwise(
        np.expm1,
        np.exp,
        np.exp,
        _monotone(math.expm1, -1.0, math.inf),
        lambda low, high: _exp(high),
        lambda low, high: _exp(high),
    ),
    "sinh": Elementwise(
        np.sinh,
        np.cosh,
        np.sinh,
        _monotone(math.sinh, -math.inf, math.inf),
        _largest_cosh,
        _largest_sinh,
        turns=((), (0.0,), ()),
    ),
    "cosh": Elementwise(
        np.cosh,
        np.sinh,
        np.cosh,
        _cosh_range,
        _largest_sinh,
        _largest_cosh,
        positive=True,
        turns=((0.0,), (), (0.0,)),
    ),
    "log": Elementwise(
        np.log,
        lambda t: 1 / t,
        lambda t: -1 / t**2,
        _monotone(lambda t: math.log(t) if t > 0 else -math.inf, -math.inf, math.inf),
        _over(-1, 1.0),
        _over(-2, 1.0),
        domain="positive",
    ),
    "log1p": Elementwise(
        np.log1p,
        lambda t: 1 / (1 + t),
        lambda t: -1 / (1 + t) ** 2,
        _monotone(lambda t: math.log1p(t) if t > -1 else -math.inf, -math.inf, math.inf),
        lambda low, high: _over(-1, 1.0)(1 + low, 1 + high),
        lambda low, high: _over(-2, 1.0)(1 + low, 1 + high),
        domain="nonnegative",
    ),
    "sqrt": Elementwise(
        np.sqrt,
        lambda t: 0.5 / np.sqrt(t),
        lambda t: -0.25 * t**-1.5,
        _monotone(lambda t: math.sqrt(max(t, 0)), 0.0, math.inf),
        _over(-0.5, 0.5),
        _over(-1.5, 0.25),
        domain="positive",
        positive=True,
    ),
    "rsqrt": Elementwise(
        lambda t: 1 / np.sqrt(t),
        lambda t: -0.5 * t**-1.5,
        lambda t: 0.75 * t**-2.5,
        _monotone(lambda t: t**-0.5 if t > 0 else math.inf, math.inf, 0.0),
        _over(-1.5, 0.5),
        _over(-2.5, 0.75),
        domain="positive",
        positive=True,
    ),
}


def integer_power(exponent: int) -> Elementwise:
    """`t^n` for an integer; for a negative one the argument must be positive."""
    n = exponent
    power = lambda k: (
        lambda low, high: (
            math.inf
            if math.isinf(_largest(low, high)) and k
            else _guarded(lambda t: t**k)(_largest(low, high))
        )
    )
    if n < 0:
        return Elementwise(
            lambda t: t**n,
            lambda t: n * t ** (n - 1.0),
            lambda t: n * (n - 1) * t ** (n - 2.0),
            _monotone(lambda t: t**n if t > 0 else math.inf, math.inf, 0.0),
            _over(n - 1, abs(n)),
            _over(n - 2, n * (n - 1)),
            domain="positive",
            positive=True,
        )
    zero_times = lambda factor, bound: (
        _constant(0.0) if factor == 0 else (lambda low, high: factor * bound(low, high))
    )

    def value_range(low: float, high: float) -> tuple[float, float]:
        ends = [power(n)(t, t) * (-1 if t < 0 and n % 2 else 1) for t in (low, high)]
        inside = [0.0] if low <= 0 <= high and n > 0 else []
        return min(ends + inside), max(ends + inside)

    return Elementwise(
        lambda t: t**n,
        lambda t: n * t ** max(n - 1, 0),
        lambda t: n * (n - 1) * t ** max(n - 2, 0),
        value_range,
        zero_times(n, power(max(n - 1, 0))),
        zero_times(n * (n - 1), power(max(n - 2, 0))),
        turns=((0.0,),) * 3,
    )


def real_power(exponent: float) -> Elementwise:
    """`t^p` for a real exponent and positive arguments."""
    p = exponent
    ends = (0.0, math.inf) if p > 0 else (math.inf, 0.0)
    largest = lambda q, factor: (
        lambda low, high: (
            factor * (_guarded(lambda t: t**q)(high) if q >= 0 else _over(q, 1.0)(low, high))
        )
    )
    return Elementwise(
        lambda t: t**p,
        lambda t: p * t ** (p - 1),
        lambda t: p * (p - 1) * t ** (p - 2),
        _monotone(lambda t: max(t, 0) ** p, *ends),
        largest(p - 1, abs(p)),
        largest(p - 2, abs(p * (p - 1))),
        domain="positive",
        positive=True,
    )
