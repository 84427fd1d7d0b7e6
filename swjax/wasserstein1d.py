"""The Wasserstein distance between measures on the line, for many pairs at once.

On the line the optimal plan matches the numbers in ascending order, whatever the order p >= 1::

    W_p^p = (1/n) sum_k |x_(k) - y_(k)|^p.

Its derivative, wherever it exists, is the one with this matching held fixed::

    dW_p^p/dx_k = (p/n) sign(D_k) |D_k|^(p-1),    D_k = x_k - y_sigma(k),

where sigma(k) is the row of the y matched with x_k; at ties the stable order decides, and the
derivative is zero where x equals y. One rule states it, in terms that can be differentiated again.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import as_real_array, working_dtype
from swjax.sorting import argsort, put_rows, sort, take_rows


def wp_pow_1d(x: ArrayLike, y: ArrayLike, *, p: float | int = 2) -> Array:
    """W_p^p between uniform measures on the line, one for each column.

    Args:
        x: Points of the first measures, shape (n, ...): every column is one measure.
        y: Points of the second measures, shape (n, ...), with the same trailing axes.
        p: The order, at least 1; the cost of a unit of mass is |x - y|^p.

    Returns:
        W_p^p of every pair of columns, shape (...), in float32 or float64. A NaN in a column makes
        the result of that column NaN, and no other.

    Raises:
        TypeError: If x or y are not floating-point arrays.
        ValueError: If shapes do not fit together, or if p < 1.

    Example:
        >>> x, y = jnp.array([0.0, 1.0, 2.0]), jnp.array([5.0, 3.0, 4.0])
        >>> print(wp_pow_1d(x, y), wp_pow_1d(x, y, p=1))
        9.0 3.0
    """
    x, y = as_real_array("x", x), as_real_array("y", y)
    check_order(p)
    if x.ndim == 0 or y.ndim == 0 or x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"x {x.shape} and y {y.shape} must have shapes (n, ...) and (m, ...) with the same "
            "axes after the first."
        )
    if 0 in (x.shape[0], y.shape[0]):
        raise ValueError(f"A measure needs at least one point; x is {x.shape}, y is {y.shape}.")
    dtype = working_dtype(x, y)
    columns = lambda points: points.astype(dtype).reshape(points.shape[0], -1)
    return lane_costs(columns(x), columns(y), float(p)).reshape(x.shape[1:])


def check_order(p: float | int) -> None:
    """Refuse an order p for which W_p is not a distance."""
    if not p >= 1 or p == float("inf"):
        raise ValueError(f"p = {p}, but the order must be a number with 1 <= p < inf.")


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def lane_costs(x: Float[Array, "n L"], y: Float[Array, "n L"], p: float) -> Float[Array, "L"]:
    """W_p^p in every lane, for as many x as y."""
    return jnp.mean(_power(sort(x) - sort(y), p), axis=0)


@partial(lane_costs.defjvp, symbolic_zeros=True)
def _lane_costs_jvp(p, primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    if isinstance(dx, SymbolicZero):
        if isinstance(dy, SymbolicZero):
            return lane_costs(x, y, p), jnp.zeros(x.shape[1:], x.dtype)
        (x, y), (dx, dy) = (y, x), (dy, dx)
    if isinstance(dy, SymbolicZero):
        gap = x - put_rows(argsort(x), sort(y))
        change = dx
    else:
        matched = put_rows(argsort(x), argsort(y))
        gap = x - take_rows(y, matched)
        change = dx - take_rows(dy, matched)
    return jnp.mean(_power(gap, p), axis=0), jnp.mean(_slope(gap, p) * change, axis=0)


def _power(gap: Array, p: float) -> Array:
    """|gap|^p."""
    if p == 1:
        return jnp.abs(gap)
    return jnp.square(gap) if p == 2 else jnp.abs(gap) ** p


def _slope(gap: Array, p: float) -> Array:
    """The derivative of |gap|^p: p sign(gap) |gap|^(p-1), zero at zero."""
    if p == 1:
        return jnp.sign(gap)
    return 2 * gap if p == 2 else p * jnp.sign(gap) * jnp.abs(gap) ** (p - 1)
