"""Directions to project on: unit vectors, random or fixed.

Every function returns a matrix of shape `(num, dim)` whose **rows** have length 1, in the default
float type. A slice depends on a direction only up to its sign, so a set of directions stands for
the set of its lines.

Functions called `sample_*` take a key, and each of their rows is uniform on the sphere: the mean
over the rows of any function of the direction is unbiased. They differ in how the rows depend on
each other, hence in the variance of that mean:

- `sample_directions`: independent rows. The only one whose standard error follows from a single
  set of directions.
- `sample_orthogonal_directions`: orthonormal blocks of `dim` rows; pays in high dimension.
- `sample_quasi_directions`: randomized quasi-Monte Carlo in any dimension; pays when `num` is much
  larger than `dim`.
- `sample_equispaced_directions`, `sample_fibonacci_directions`: a fixed grid of the plane or of
  space, turned at random; the best ones there.

The fixed grids themselves are `equispaced_directions` and `fibonacci_directions`.
"""

import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

AnyKey = Key[Array, ""] | UInt32[Array, " words"]


def _at_least_one(name: str, value: int) -> int:
    """The value as an int, or the reason why it cannot be a count."""
    try:
        value = operator.index(value)
    except (TypeError, jax.errors.TracerIntegerConversionError) as error:
        raise TypeError(
            f"{name} must be a Python integer, since it decides a shape; got {value!r}. "
            "Inside jit, mark it as a static argument."
        ) from error
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")
    return value


def _unit_rows(x: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
    """Divide each row by its length; a zero row becomes the first basis vector."""
    sq_norms = jnp.sum(x * x, axis=-1, keepdims=True)
    first = jnp.zeros_like(x).at[..., 0].set(1)
    scaled = x / jnp.sqrt(jnp.where(sq_norms > 0, sq_norms, 1))
    return jnp.where(sq_norms > 0, scaled, first)


def sample_directions(key: AnyKey, num: int, dim: int) -> Float[Array, "{num} {dim}"]:
    """Draw independent directions, uniform on the unit sphere.

    Each row is a standard Gaussian vector divided by its length. In dimension 1 it is a random
    sign.

    Args:
        key: a JAX random key.
        num: number of directions, at least 1.
        dim: dimension of the space, at least 1.

    Returns:
        Array `(num, dim)` with rows of length 1.

    Raises:
        ValueError: if `num` or `dim` is below 1.
        TypeError: if one of them is not a Python integer (inside `jit`, make them static).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> directions = sample_directions(jax.random.key(0), num=5, dim=3)
    >>> directions.shape
    (5, 3)
    >>> bool(jnp.allclose(jnp.sum(directions**2, axis=1), 1))
    True
    """
    num, dim = _at_least_one("num", num), _at_least_one("dim", dim)
    if dim == 1:
        return jax.random.rademacher(key, (num, 1), dtype=jnp.zeros(()).dtype)
    return _unit_rows(jax.random.normal(key, (num, dim)))


def equispaced_directions(num: int) -> Float[Array, "{num} 2"]:
    """Directions of the plane at equal angles: `(k + 1/2) pi / num` for `k = 0, ..., num - 1`.

    They cover the half circle, which is every line once. The mean over them is the midpoint rule
    on a periodic function of the angle: exact for trigonometric polynomials in twice the angle of
    degree below `num` (so `mean(theta theta^T) = I / 2` from two directions on), of spectral
    accuracy for smooth integrands, and of error `O(num**-2)` for the sliced-Wasserstein value of
    two point clouds.

    Args:
        num: number of directions, at least 1.

    Returns:
        Array `(num, 2)` with rows of length 1.

    Raises:
        ValueError: if `num` is below 1.
        TypeError: if it is not a Python integer.

    >>> print(equispaced_directions(2).round(3))
    [[ 0.707  0.707]
     [-0.707  0.707]]
    """
    num = _at_least_one("num", num)
    angles = (jnp.arange(num) + 0.5) * (jnp.pi / num)
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
