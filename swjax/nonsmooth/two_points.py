"""Two coinciding points against two others: the Clarke subdifferential in closed form.

For two points each, `E(X)` splits into the difference of the means and the difference `a = x_1 -
x_2`. At `a = 0`, with `b = y_1 - y_2`, its Clarke subdifferential in the variable `a` is a zonoid,

    Z = { -(1/2) E_theta[ theta |theta . b| s(theta) ] : |s| <= 1 },

symmetric about zero. In terms of the two points it consists of the pairs `(z, -z)`, next to the
gradient `(D, D) / d` of the part with the means, `D = mean(x) - mean(y)`.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array


def zonoid_support(b: ArrayLike, v: ArrayLike) -> Float[Array, ""]:
    """The support function of the zonoid, `max { z . v : z in Z }`.

        (|b| |v| / (pi d)) (sqrt(1 - rho^2) + rho arcsin(rho)),    rho = b . v / (|b| |v|)

    Args:
        b: difference `(d,)` of the two target points.
        v: direction `(d,)`.

    Returns:
        A scalar, minus the one-sided derivative of `E` at `a = 0` along `v`.

    Raises:
        ValueError: if the shapes differ or are not `(d,)`.

    >>> import jax.numpy as jnp
    >>> round(float(zonoid_support(jnp.array([0.0, 2.0]), jnp.array([0.0, 1.0]))), 4)  # 1/2
    0.5
    """
    return _support(*_pair(b, v))


def zonoid_limiting_gradient(b: ArrayLike, v: ArrayLike) -> Float[Array, " d"]:
    """The limit of the gradient in `a` at `a = t v` as `t` decreases to zero.

        -(|b| / (pi d)) (sqrt(1 - rho^2) v / |v| + arcsin(rho) b / |b|),    rho = b.v / (|b| |v|)

    The point of the zonoid that is extreme in the direction `-v`.

    Args:
        b: difference `(d,)` of the two target points.
        v: direction `(d,)`, not zero.

    Returns:
        Array `(d,)`.

    Raises:
        ValueError: if the shapes differ or are not `(d,)`.

    >>> import jax.numpy as jnp
    >>> print(zonoid_limiting_gradient(jnp.array([0.0, 2.0]), jnp.array([0.0, 3.0])))
    [-0.  -0.5]
    """
    return _limiting_gradient(*_pair(b, v))


@jax.jit
def _support(b: Array, v: Array) -> Array:
    rho, size, length = _cosine(b, v)
    return size * length / (jnp.pi * b.size) * (jnp.sqrt(1 - rho**2) + rho * jnp.arcsin(rho))


@jax.jit
def _limiting_gradient(b: Array, v: Array) -> Array:
    rho, size, length = _cosine(b, v)
    across = jnp.sqrt(1 - rho**2) * v / length
    along = jnp.arcsin(rho) * b / jnp.where(size > 0, size, 1)
    return -size / (jnp.pi * b.size) * (across + along)


def _pair(b: ArrayLike, v: ArrayLike) -> tuple[Array, Array]:
    b, v = as_real_array("b", b), as_real_array("v", v)
    if b.ndim != 1 or b.shape != v.shape or b.size == 0:
        raise ValueError(f"b and v must be vectors (d,), got shapes {b.shape} and {v.shape}.")
    return b, v


def _cosine(b: Array, v: Array) -> tuple[Array, Array, Array]:
    """The cosine of the angle between two vectors, and their lengths."""
    size, length = jnp.linalg.norm(b), jnp.linalg.norm(v)
    product = size * length
    rho = jnp.vdot(b, v) / jnp.where(product > 0, product, 1)
    return jnp.clip(rho, -1, 1), size, length
