"""Even grids of directions in the plane and in space, fixed or turned at random."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from swjax._checks import as_count
from swjax._types import AnyKey
from swjax.directions._random import sample_orthogonal_directions


def _on_circle(angles: Float[Array, " num"]) -> Float[Array, "num 2"]:
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)


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
    num = as_count("num", num)
    return _on_circle((jnp.arange(num) + 0.5) * (jnp.pi / num))


def sample_equispaced_directions(key: AnyKey, num: int) -> Float[Array, "{num} 2"]:
    """Directions of the plane at equal angles, turned together by a random angle.

    Each row is uniform on the circle, so means are unbiased; the error is that of
    `equispaced_directions`.

    Args:
        key: a JAX random key.
        num: number of directions, at least 1.

    Returns:
        Array `(num, 2)` with rows of length 1, at angles `a + k pi / num`, `a` uniform.

    Raises:
        ValueError: if `num` is below 1.
        TypeError: if it is not a Python integer.

    >>> import jax
    >>> sample_equispaced_directions(jax.random.key(0), 4).shape
    (4, 2)
    """
    num = as_count("num", num)
    turn = jax.random.uniform(key, maxval=2 * jnp.pi)
    return _on_circle(turn + jnp.arange(num) * (jnp.pi / num))


def fibonacci_directions(num: int) -> Float[Array, "{num} 3"]:
    """Directions of space on a Fibonacci spiral: evenly spread, without axes or rings.

    Row `k` has height `z = 1 - (2 k + 1) / num` and the angle `k` times the golden angle
    `pi (3 - sqrt(5))` around the axis.

    Args:
        num: number of directions, at least 1.

    Returns:
        Array `(num, 3)` with rows of length 1.

    Raises:
        ValueError: if `num` is below 1.
        TypeError: if it is not a Python integer.

    >>> print(fibonacci_directions(5)[:, 2].round(3))
    [ 0.8  0.4  0.  -0.4 -0.8]
    """
    num = as_count("num", num)
    step = np.arange(num)
    height = 1 - (2 * step + 1) / num
    angle = step * (np.pi * (3 - np.sqrt(5)))
    across = np.sqrt(1 - height**2)
    rows = np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)
    return jnp.asarray(rows, float)


def sample_fibonacci_directions(key: AnyKey, num: int) -> Float[Array, "{num} 3"]:
    """Directions of space on a Fibonacci spiral, turned by a random orthogonal matrix.

    Each row is uniform on the sphere, so means are unbiased.

    Args:
        key: a JAX random key.
        num: number of directions, at least 1.

    Returns:
        Array `(num, 3)` with rows of length 1.

    Raises:
        ValueError: if `num` is below 1.
        TypeError: if it is not a Python integer.

    >>> import jax
    >>> sample_fibonacci_directions(jax.random.key(0), 10).shape
    (10, 3)
    """
    turn = sample_orthogonal_directions(key, 3, 3)
    return jnp.dot(fibonacci_directions(num), turn, precision="highest")
