"""Piecewise-linear functions with a chosen derivative at their kinks, and what JAX chooses.

`relu`, `leaky_relu`, `absolute`, `maximum`, `minimum` and `clip` have the values of their JAX
namesakes and take the derivative at the kink as an argument. Everywhere else the derivative is the
usual one, in forward and reverse mode; second derivatives are zero. Any value is allowed: a
function of one variable has a conservative field whatever finite set is put at an isolated kink
(along a curve that stays there, g' = 0), so every choice gives a conservative oracle by
composition, and almost every choice can create artificial critical points (see
`swjax.counterexamples`).

    >>> import jax
    >>> from functools import partial
    >>> from swjax import kinks
    >>> activation = partial(kinks.relu, at_zero=0.5)
    >>> float(jax.grad(activation)(0.0)), float(jax.grad(jax.nn.relu)(0.0))
    (0.5, 0.0)

`conventions()` lists what this version of JAX returns at kinks, and `report()` prints it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Int


@jax.custom_jvp
def _with_slopes(value: Array, slopes: tuple[Array, ...], inputs: tuple[Array, ...]) -> Array:
    """`value`, whose derivative in each input is the given slope."""
    return value


@_with_slopes.defjvp
def _with_slopes_jvp(primals, tangents):
    _, slopes, _ = primals
    terms = [slope * tangent for slope, tangent in zip(slopes, tangents[2], strict=True)]
    return _with_slopes(*primals), sum(terms[1:], terms[0])


def _floating(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def _piecewise(x: Array, kink: ArrayLike, below, above, at_kink) -> Array:
    """Slope `below` left of the kink, `above` right of it, `at_kink` on it, in the dtype of x."""
    slopes = (jnp.asarray(s, x.dtype) for s in (at_kink, below, above))
    on, left, right = (jnp.broadcast_to(s, x.shape) for s in slopes)
    return jnp.where(x == kink, on, jnp.where(x > kink, right, left))


def relu(x: ArrayLike, at_zero: ArrayLike = 0.0) -> Array:
    """max(x, 0), with derivative `at_zero` at 0.

    Args:
        x: numbers of any shape, `(...)`.
        at_zero: the derivative at 0, a scalar (JAX, PyTorch and TensorFlow use 0).

    Returns:
        An array of the shape and dtype of x.

    Reference:
        Bertoin, Bolte, Gerchinovitz and Pauwels, "Numerical influence of ReLU'(0) on
        backpropagation", NeurIPS 2021.

    Example:
        >>> [float(jax.grad(relu)(0.0, s)) for s in (0.0, 0.5, 1.0)]
        [0.0, 0.5, 1.0]
    """
    x = _floating(x)
    return _with_slopes(jax.nn.relu(x), (_piecewise(x, 0, 0, 1, at_zero),), (x,))


def leaky_relu(x: ArrayLike, negative_slope: ArrayLike = 0.01, at_zero: ArrayLike = 1.0) -> Array:
    """Identity where x >= 0, `negative_slope` x elsewhere, with derivative `at_zero` at 0.

    Args:
        x: numbers of any shape, `(...)`.
        negative_slope: slope left of 0, a scalar.
        at_zero: the derivative at 0, a scalar (JAX uses 1).

    Returns:
        An array of the shape and dtype of x.
    """
    x = _floating(x)
    slope = _piecewise(x, 0, negative_slope, 1, at_zero)
    return _with_slopes(jax.nn.leaky_relu(x, negative_slope), (slope,), (x,))


def absolute(x: ArrayLike, at_zero: ArrayLike = 1.0) -> Array:
    """|x|, with derivative `at_zero` at 0.

    Args:
        x: numbers of any shape, `(...)`.
        at_zero: the derivative at 0, a scalar (JAX uses 1, PyTorch 0).

    Returns:
        An array of the shape and dtype of x.
    """
    x = _floating(x)
    return _with_slopes(jnp.abs(x), (_piecewise(x, 0, -1, 1, at_zero),), (x,))


def maximum(x: ArrayLike, y: ArrayLike, at_tie: ArrayLike = 0.5) -> Array:
    """The larger of x and y; where they are equal, x gets the share `at_tie` of the derivative.

    The shares of x and y add up to one: that keeps the choice conservative along curves on which
    x = y.

    Args:
        x: numbers, `(...)`.
        y: numbers, a scalar or of the same shape.
        at_tie: derivative in x where x = y, a scalar; y gets 1 - at_tie (JAX: 1/2).

    Returns:
        An array of their common shape.
    """
    x, y = _common(x, y)
    share = _piecewise(x, y, 0, 1, at_tie)
    return _with_slopes(jnp.maximum(x, y), (share, 1 - share), (x, y))


def minimum(x: ArrayLike, y: ArrayLike, at_tie: ArrayLike = 0.5) -> Array:
    """The smaller of x and y; where they are equal, x gets the share `at_tie` of the derivative.

    Args:
        x: numbers, `(...)`.
        y: numbers, a scalar or of the same shape.
        at_tie: derivative in x where x = y, a scalar; y gets 1 - at_tie (JAX: 1/2).

    Returns:
        An array of their common shape.
    """
    x, y = _common(x, y)
    share = _piecewise(x, y, 1, 0, at_tie)
    return _with_slopes(jnp.minimum(x, y), (share, 1 - share), (x, y))


def clip(x: ArrayLike, lower: ArrayLike, upper: ArrayLike, at_bounds: ArrayLike = 0.5) -> Array:
    """Limit x to [lower, upper], with derivative `at_bounds` in x where x is a bound.

    The bound that is met gets the rest of the derivative.

    Args:
        x: numbers, `(...)`.
        lower: lower bound, a scalar or of the shape of x; at most `upper`.
        upper: upper bound, likewise.
        at_bounds: derivative in x where x equals a bound, a scalar (JAX: 1/2).

    Returns:
        An array of the shape of x.

    Example:
        >>> slope = jax.vmap(jax.grad(lambda x: clip(x, -1.0, 1.0, at_bounds=1.0)))
        >>> [float(s) for s in slope(jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0]))]
        [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    return minimum(maximum(x, lower, at_bounds), upper, at_bounds)


def _common(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = jnp.asarray(x), jnp.asarray(y)
    dtype = jnp.result_type(x, y)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else float
    shape = jnp.broadcast_shapes(x.shape, y.shape)
    return jnp.broadcast_to(x, shape).astype(dtype), jnp.broadcast_to(y, shape).astype(dtype)


def count_ties(values: ArrayLike) -> Int[Array, ""]:
    """How many exactly equal neighbors the sorted values have along the last axis.

    Sampled from a density, values have ties only because floating-point numbers are finitely many:
    about n^2/2 times the integral of (density squared x spacing of the numbers).

    Args:
        values: numbers, `(..., n)`.

    Returns:
        A scalar count, summed over the leading axes; n - 1 for n equal values.

    Example:
        >>> int(count_ties(jnp.array([3.0, 1.0, 3.0, 2.0, 3.0])))
        2
    """
    ordered = jnp.sort(jnp.asarray(values), axis=-1)
    return (ordered[..., 1:] == ordered[..., :-1]).sum()


def count_kinks(values: ArrayLike, kink: ArrayLike = 0.0) -> Int[Array, ""]:
    """How many values, for instance pre-activations of a network, stand exactly at the kink.

    Args:
        values: numbers, `(...)`.
        kink: the kink, a scalar.

    Returns:
        A scalar count.
    """
    return (jnp.asarray(values) == kink).sum()


class Convention(NamedTuple):
    """What JAX returns at one kink.

    Attributes:
        name: the function, as a Python expression in t.
        point: where the kink is.
        forward: the derivative by forward mode.
        reverse: the derivative by reverse mode.
        left: the one-sided derivative from the left.
        right: the one-sided derivative from the right.
    """

    name: str
    point: float
    forward: float
    reverse: float
    left: float
    right: float

    @property
    def is_clarke(self) -> bool:
        """Whether the returned value lies between the one-sided derivatives."""
        low, high = sorted((self.left, self.right))
        return low <= self.reverse <= high and self.forward == self.reverse


_INF = float("inf")
_FIRST_OF_SORT = lambda *v: jnp.sort(jnp.stack(v))[0]

# name, function, kink, one-sided derivatives
_KINKS: tuple[tuple[str, Callable[[Array], Array], float, float, float], ...] = (
    ("jax.nn.relu(t)", jax.nn.relu, 0.0, 0.0, 1.0),
    ("jnp.maximum(t, 0)", lambda t: jnp.maximum(t, 0.0), 0.0, 0.0, 1.0),
    ("jnp.minimum(t, 0)", lambda t: jnp.minimum(t, 0.0), 0.0, 1.0, 0.0),
    ("jnp.where(t > 0, t, 0)", lambda t: jnp.where(t > 0, t, 0.0), 0.0, 0.0, 1.0),
    ("jnp.abs(t)", jnp.abs, 0.0, -1.0, 1.0),
    ("jax.nn.leaky_relu(t)", jax.nn.leaky_relu, 0.0, 0.01, 1.0),
    ("jax.nn.relu6(t)", jax.nn.relu6, 0.0, 0.0, 1.0),
    ("jax.nn.relu6(t)", jax.nn.relu6, 6.0, 1.0, 0.0),
    ("jax.nn.hard_tanh(t)", jax.nn.hard_tanh, -1.0, 0.0, 1.0),
    ("jax.nn.hard_tanh(t)", jax.nn.hard_tanh, 1.0, 1.0, 0.0),
    ("jnp.clip(t, 0, 1)", lambda t: jnp.clip(t, 0.0, 1.0), 0.0, 0.0, 1.0),
    ("jnp.clip(t, 0, 1)", lambda t: jnp.clip(t, 0.0, 1.0), 1.0, 1.0, 0.0),
    ("jnp.max([t, 0])", lambda t: jnp.max(jnp.stack([t, 0 * t])), 0.0, 0.0, 1.0),
    ("jnp.max([t, 0, 0])", lambda t: jnp.max(jnp.stack([t, 0 * t, 0 * t])), 0.0, 0.0, 1.0),
    ("jnp.sort([t, 0])[0]", lambda t: _FIRST_OF_SORT(t, jnp.zeros(())), 0.0, 1.0, 0.0),
    ("jnp.sort([0, t])[0]", lambda t: _FIRST_OF_SORT(jnp.zeros(()), t), 0.0, 1.0, 0.0),
    (
        "lax.top_k([0, t], 1)",
        lambda t: jax.lax.top_k(jnp.stack([0 * t, t]), 1)[0][0],
        0.0,
        0.0,
        1.0,
    ),
    ("jnp.median([0, t, 0])", lambda t: jnp.median(jnp.stack([0 * t, t, 0 * t])), 0.0, 0.0, 0.0),
    ("lax.cummax([0, t])[1]", lambda t: jax.lax.cummax(jnp.stack([0 * t, t]))[1], 0.0, 0.0, 1.0),
    ("jnp.sign(t)", jnp.sign, 0.0, 0.0, 0.0),
    ("jnp.floor(t)", jnp.floor, 0.0, 0.0, 0.0),
    ("jnp.sqrt(t)", jnp.sqrt, 0.0, _INF, _INF),
    ("jnp.sqrt(t ** 2)", lambda t: jnp.sqrt(t**2), 0.0, -1.0, 1.0),
    ("jnp.linalg.norm([t, 0])", lambda t: jnp.linalg.norm(jnp.stack([t, 0 * t])), 0.0, -1.0, 1.0),
)


def conventions() -> tuple[Convention, ...]:
    """What the installed version of JAX returns at kinks, forward and reverse, computed now.

    Returns:
        One `Convention` (floats) for each kink of `relu`, `maximum`, `abs`, `clip`, `sort`, ...

    Example:
        >>> [c.reverse for c in conventions() if c.name == "jnp.maximum(t, 0)"]
        [0.5]
    """
    points = [jnp.asarray(row[2], float) for row in _KINKS]

    @jax.jit
    def derivatives(points):
        functions = [row[1] for row in _KINKS]
        forward = [
            jax.jvp(f, (t,), (jnp.ones_like(t),))[1] for f, t in zip(functions, points, strict=True)
        ]
        return forward, [jax.grad(f)(t) for f, t in zip(functions, points, strict=True)]

    rows = zip(_KINKS, *derivatives(points), strict=True)
    return tuple(
        Convention(name, point, float(forward), float(reverse), left, right)
        for (name, _, point, left, right), forward, reverse in rows
    )


def report() -> str:
    """The conventions of the installed version of JAX as a text table.

    Returns:
        One line for each kink: expression, point, derivatives returned, one-sided derivatives.

    Example:
        >>> print(report().splitlines()[1])
        jax.nn.relu(t)               0        0        0        0        1  yes
    """
    head = ("function of t", "at", "forward", "reverse", "left", "right", "between")
    row = "{:<25}{:>5}{:>9}{:>9}{:>9}{:>9}  {}"
    lines: list[str] = [row.format(*head)]
    for c in conventions():
        numbers = (f"{v:.4g}" for v in c[1:])
        lines.append(row.format(c.name, *numbers, "yes" if c.is_clarke else "no"))
    return "\n".join(lines)
