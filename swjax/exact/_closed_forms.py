"""Closed forms in any dimension: moments of the sphere, translations, dilations, two points."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_count, as_order, as_real_array, is_concrete, working_dtype


def sphere_moment(dim: int, p: float | int) -> float:
    """The mean of `|theta_1|^p` over the unit sphere.

        c_{d,p} = E |theta . e|^p = Gamma(d/2) Gamma((p+1)/2) / (sqrt(pi) Gamma((p+d)/2))

    for any unit vector `e`; `1 / d` for `p = 2`.

    Args:
        dim: dimension `d` of the space, at least 1.
        p: order, at least 0.

    Returns:
        A float.

    Raises:
        ValueError: if `dim < 1`, or `p` is negative, infinite or NaN.
        TypeError: if `dim` is not an integer or `p` not a number.

    >>> round(sphere_moment(3, 1), 6), round(sphere_moment(5, 2), 6)
    (0.5, 0.2)
    """
    dim = as_count("dim", dim)
    if not 0 <= p < math.inf:
        raise ValueError(f"p must be a number of at least 0, got {p}.")
    logs = math.lgamma(dim / 2) + math.lgamma((p + 1) / 2) - math.lgamma((p + dim) / 2)
    return math.exp(logs) / math.sqrt(math.pi)


def _norm(v: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """Euclidean norm with derivative 0 at 0."""
    sq_norm = jnp.sum(v * v, axis=-1)
    return jnp.where(sq_norm == 0, 0, jnp.sqrt(jnp.where(sq_norm == 0, 1, sq_norm)))


def sw_pow_translation(shift: ArrayLike, *, p: float | int = 2) -> Float[Array, ""]:
    """SW_p^p between any measure and its translate: `c_{d,p} |shift|^p`.

    On each line the translation is the optimal transport. With two Diracs, this is the value for
    `shift = y - x`; `|shift|^2 / d` for `p = 2`.

    Args:
        shift: vector of shape `(d,)`.
        p: order, at least 1.

    Returns:
        Scalar; its gradient at `shift = 0` is 0.

    Raises:
        ValueError: if the shift is not a vector, or `p < 1`.
        TypeError: if it is not of floating point type.

    >>> import jax.numpy as jnp
    >>> float(sw_pow_translation(jnp.array([3.0, 4.0])))
    12.5
    """
    p = as_order(p)
    shift = as_real_array("shift", shift)
    if shift.ndim != 1 or shift.size == 0:
        raise ValueError(f"shift must be a vector of shape (d,), got {shift.shape}.")
    shift = shift.astype(working_dtype(shift))
    return sphere_moment(len(shift), p) * _norm(shift) ** p


def sw2_sq_homothety(x: ArrayLike, scale: ArrayLike, shift: ArrayLike) -> Float[Array, ""]:
    """SW_2^2 between a cloud and its image under `x -> scale x + shift`, `scale >= 0`.

    A homothety with a factor that is not negative keeps the order of the projections in every
    direction, so the points stay matched to their images:

        SW_2^2 = (1/d) (1/n) sum_k |x_k - (scale x_k + shift)|^2.

    Args:
        x: cloud of shape `(n, d)`, equal weights.
        scale: scalar, not negative.
        shift: vector of shape `(d,)`.

    Returns:
        Scalar.

    Raises:
        ValueError: if a shape is wrong, or the scale is negative (checked outside `jit`).
        TypeError: if the cloud is not of floating point type.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> float(sw2_sq_homothety(x, 3.0, jnp.zeros(2)))
    2.0
    """
    x, shift, scale = as_real_array("x", x), jnp.asarray(shift), jnp.asarray(scale)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x must have shape (n, d), at least one point; got {x.shape}.")
    if shift.shape != x.shape[1:] or scale.ndim != 0:
        raise ValueError(
            f"scale must be a scalar and shift a vector of shape {x.shape[1:]}; got shapes "
            f"{scale.shape} and {shift.shape}."
        )
    if is_concrete(scale) and not scale >= 0:
        raise ValueError(f"scale must not be negative, got {scale}; a reflection reverses orders.")
    x = x.astype(working_dtype(x))
    gap = (1 - scale) * x - shift[None]
    return jnp.mean(gap * gap)


@jax.custom_jvp
def _h(rho: Float[Array, ""]) -> Float[Array, ""]:
    """`sqrt(1 - rho^2) + rho asin(rho)`, with the derivative `asin(rho)` up to the ends."""
    rho = jnp.clip(rho, -1, 1)
    return jnp.sqrt(1 - rho * rho) + rho * jnp.arcsin(rho)


_h.defjvps(lambda tangent, _, rho: tangent * jnp.arcsin(jnp.clip(rho, -1, 1)))


def sw2_sq_two_points(x: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
    """SW_2^2 between two clouds of two points each, in any dimension.

    With `a = x_1 - x_2`, `b = y_1 - y_2`, `D` the difference of the means and
    `rho = a . b / (|a| |b|)`,

        SW_2^2 = |D|^2 / d + (|a|^2 + |b|^2 - (4/pi) |a| |b| h(rho)) / (4 d),
        h(rho) = sqrt(1 - rho^2) + rho asin(rho),

    by `E |theta . a| |theta . b| = (2 / (pi d)) |a| |b| h(rho)`.

    Args:
        x: cloud of shape `(2, d)`, equal weights.
        y: cloud of shape `(2, d)`.

    Returns:
        Scalar. Where the two points of a cloud coincide there is a kink; the derivative there is
        the mean over the directions of approach.

    Raises:
        ValueError: if the shapes are not both `(2, d)`.
        TypeError: if a cloud is not of floating point type.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [0.0, -1.0]])
    >>> y = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> round(float(sw2_sq_two_points(x, y)), 6), round(float(1 - 2 / jnp.pi), 6)
    (0.36338, 0.36338)
    """
    x, y = as_real_array("x", x), as_real_array("y", y)
    if x.ndim != 2 or x.shape[0] != 2 or x.shape[1] == 0 or x.shape != y.shape:
        raise ValueError(f"x and y must have the same shape (2, d); got {x.shape} and {y.shape}.")
    dtype = working_dtype(x, y)
    x, y = x.astype(dtype), y.astype(dtype)
    dim = x.shape[1]
    a, b = x[0] - x[1], y[0] - y[1]
    gap = jnp.mean(x, axis=0) - jnp.mean(y, axis=0)
    product = _norm(a) * _norm(b)
    rho = jnp.sum(a * b) / jnp.where(product == 0, 1, product)
    cross = jnp.where(product == 0, 0, product * _h(rho))
    spread = jnp.sum(a * a) + jnp.sum(b * b) - 4 / jnp.pi * cross
    return jnp.sum(gap * gap) / dim + spread / (4 * dim)
