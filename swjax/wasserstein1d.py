"""The Wasserstein distance between measures on the line, for many pairs at once.

On the line the optimal plan matches both measures in ascending order, whatever the order p >= 1.
For n points each, of equal weight, this is::

    W_p^p = (1/n) sum_k |x_(k) - y_(k)|^p;

in general it is the integral of |F^-1(t) - G^-1(t)|^p over t in (0, 1), where F and G are the two
distribution functions: a sum over at most n + m - 1 intervals on which both quantile functions are
constant (Peyre and Cuturi 2019, "Computational optimal transport", section 2.6).

The derivative, wherever it exists, is the one with this matching held fixed. For n points each::

    dW_p^p/dx_k = (p/n) sign(D_k) |D_k|^(p-1),    D_k = x_k - y_sigma(k),

where sigma(k) is the row of the y matched with x_k. At ties the stable order decides, and where x
equals y the derivative is zero. The derivative in the weights is the Kantorovich potential, with
the constant that makes it orthogonal to the weights: measures are normalized to mass one.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from swjax._checks import as_order, as_real_array, check_weights, working_dtype
from swjax.coupling1d import inner_levels, weighted_staircase
from swjax.rows import take_rows
from swjax.sorting import argsort, rearrange, sort


def wp_pow_1d(
    x: ArrayLike,
    y: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    p: float | int = 2,
) -> Array:
    """W_p^p between measures on the line, one pair for each column.

    Args:
        x: Points of the first measures, shape (n, ...): every column is one measure.
        y: Points of the second measures, shape (m, ...), with the same trailing axes.
        a: Weights of x, shape (n,) for all columns or (n, ...); nonnegative, of sum 1 over the
            first axis. None stands for 1/n each.
        b: Weights of y, shape (m,) or (m, ...), likewise.
        p: The order, at least 1; the cost of a unit of mass is |x - y|^p.

    Returns:
        W_p^p of every pair of columns, shape (...), float64 if an input is, else float32. NaN in a
        column makes the result of that column NaN, and no other.

    Raises:
        TypeError: If an input is not a floating-point array.
        ValueError: If shapes do not fit together, p < 1, or (where values are known: not in `jit`)
            weights are negative or do not sum to 1.

    Example:
        >>> x, y = jnp.array([0.0, 1.0, 2.0]), jnp.array([5.0, 3.0, 4.0])
        >>> print(wp_pow_1d(x, y), wp_pow_1d(x, y, p=1))
        9.0 3.0
        >>> print(wp_pow_1d(x, y, jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])))
        9.0
    """
    p = as_order(p)
    x, y = as_real_array("x", x), as_real_array("y", y)
    if x.ndim == 0 or y.ndim == 0 or x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"x {x.shape} and y {y.shape} must have shapes (n, ...) and (m, ...) with the same "
            "axes after the first."
        )
    if 0 in (x.shape[0], y.shape[0]):
        raise ValueError(f"A measure needs at least one point; x is {x.shape}, y is {y.shape}.")
    a = check_weights("a", a, "x", x.shape[:1], x.shape)
    b = check_weights("b", b, "y", y.shape[:1], y.shape)
    dtype = working_dtype(x, y, a, b)
    lanes = lambda t: None if t is None else t.astype(dtype).reshape(t.shape[0], -1)
    return _costs(lanes(x), lanes(y), lanes(a), lanes(b), p).reshape(x.shape[1:])


def lane_costs(
    x: Float[Array, "n L"],
    y: Float[Array, "m L"],
    a: Float[Array, "n #L"] | None,
    b: Float[Array, "m #L"] | None,
    p: float,
) -> Float[Array, "L"]:
    """W_p^p in every lane; None stands for equal weights."""
    if a is None and b is None:
        if x.shape == y.shape:
            return _matched_costs(x, y, p)
        return _split_costs(x, y, p) if x.shape[0] > y.shape[0] else _split_costs(y, x, p)
    return _merged_costs(x, y, _or_equal(a, x), _or_equal(b, y), p)


_costs = jax.jit(lane_costs, static_argnums=4)


def _or_equal(weights: Array | None, points: Array) -> Array:
    n = points.shape[0]
    return jnp.full((n, 1), 1 / n, points.dtype) if weights is None else weights


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _matched_costs(x: Float[Array, "n L"], y: Float[Array, "n L"], p: float) -> Float[Array, "L"]:
    """As many x as y, of equal weight: the k-th smallest go together."""
    return jnp.mean(_power(sort(x) - sort(y), p), axis=0)


@partial(_matched_costs.defjvp, symbolic_zeros=True)
def _matched_costs_jvp(p, primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    if isinstance(dx, SymbolicZero):
        (x, y), (dx, dy) = (y, x), (dy, dx)
    costs = lambda x, y: jnp.mean(_power(x - rearrange(y, pattern=x), p), axis=0)
    if isinstance(dy, SymbolicZero):  # the values of y are enough, not its permutation
        return jax.jvp(lambda x: costs(x, y), (x,), (dx,))
    return jax.jvp(costs, (x, y), (dx, dy))


def _split_costs(x: Float[Array, "n L"], y: Float[Array, "m L"], p: float) -> Float[Array, "L"]:
    """More x than y, of equal weight: each x goes to one y or to two neighbors."""
    n, m = x.shape[0], y.shape[0]
    with jax.enable_x64(True):  # exact in units of 1 / (n m)
        start = lax.iota(jnp.int64, n) * m
        first = start // n
        split = jnp.minimum((first + 1) * n, start + m)
        mass = jnp.stack([split - start, start + m - split]).astype(x.dtype)[..., None]
        first = first.astype(jnp.int32)
    x, y = sort(x), sort(y)
    second = jnp.minimum(first + 1, m - 1)
    near, far = (_power(x - _take_shared_rows(y, row), p) for row in (first, second))
    return jnp.sum(mass[0] * near + mass[1] * far, axis=0) / float(n * m)  # no int32


def _take_shared_rows(values: Float[Array, "m L"], rows: Int[Array, "n"]) -> Float[Array, "n L"]:
    """The same ascending rows in every lane."""
    return values.at[rows].get(mode="promise_in_bounds", indices_are_sorted=True)


def _merged_costs(
    x: Float[Array, "n L"],
    y: Float[Array, "m L"],
    a: Float[Array, "n #L"],
    b: Float[Array, "m #L"],
    p: float,
) -> Float[Array, "L"]:
    """Weighted points: the mass of every cell of the staircase, times its cost."""
    x_order, y_order = argsort(x), argsort(y)
    stairs = weighted_staircase(inner_levels(a, x_order), inner_levels(b, y_order))
    i, j = stairs.cells()
    gap = take_rows(x, take_rows(x_order, i)) - take_rows(y, take_rows(y_order, j))
    return jnp.sum(stairs.mass * _power(gap, p), axis=0)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _power(gap: Array, p: float) -> Array:
    """|gap|^p, with all derivatives zero at zero."""
    if p == 2:
        return jnp.square(gap)
    if p == 1:
        return jnp.abs(gap)
    return jnp.where(gap == 0, 0, jnp.abs(jnp.where(gap == 0, 1, gap)) ** p)


@_power.defjvp
def _power_jvp(p, primals, tangents):
    (gap,), (change,) = primals, tangents
    slope = 2 * gap if p == 2 else p * jnp.sign(gap) * (1 if p == 1 else _power(gap, p - 1))
    return _power(gap, p), slope * change
