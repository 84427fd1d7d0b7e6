"""The quantile of Student's law, in JAX, for any number of degrees of freedom."""

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike


def student_quantile(level: float, freedom: ArrayLike) -> Array:
    """The number t with P(|T| < t) = level, for T of Student's law.

    Hill 1970, "Algorithm 396: Student's t-quantiles", Communications of the ACM 13: an expansion
    about the normal quantile, and one for the tails; exact for 1 and 2 degrees of freedom. For
    levels from 0.5 to 0.999 the relative error is below 1e-4.

    Args:
        level: The probability, a number between 0 and 1.
        freedom: Degrees of freedom, at least 1, of any shape; infinite for the normal law.

    Returns:
        The quantiles, of the shape of `freedom`.

    Example:
        >>> quantiles = student_quantile(0.95, jnp.array([1.0, 2.0, 10.0, jnp.inf]))
        >>> [round(float(quantile), 3) for quantile in quantiles]
        [12.706, 4.303, 2.228, 1.96]
    """
    tail = 1 - level
    n = jnp.minimum(jnp.asarray(freedom, float), 1e6)
    safe = jnp.maximum(n, 3)
    a = 1 / (safe - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * jnp.sqrt(a * jnp.pi / 2) * safe
    y = (d * tail) ** (2 / safe)

    x = ndtri(tail / 2)
    c = c + jnp.where(safe < 5, 0.3 * (safe - 4.5) * (x + 0.6), 0)
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    z = x * x
    z = (((((0.4 * z + 6.3) * z + 36) * z + 94.5) / c - z - 3) / b + 1) * x
    about_normal = jnp.expm1(a * z * z)

    far = 1 / (((safe + 6) / (safe * y) - 0.089 * d - 0.822) * (safe + 2) * 3) + 0.5 / (safe + 4)
    in_the_tail = (far * y - 1) * (safe + 1) / (safe + 2) + 1 / y
    quantile = jnp.sqrt(safe * jnp.where(y > 0.05 + a, about_normal, in_the_tail))
    quantile = jnp.where(n < 3, jnp.sqrt(2 / (tail * (2 - tail)) - 2), quantile)
    return jnp.where(n < 2, 1 / jnp.tan(tail * jnp.pi / 2), quantile)
