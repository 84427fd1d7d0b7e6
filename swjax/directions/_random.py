"""Independent directions, and orthonormal frames."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from swjax._checks import as_count
from swjax._types import AnyKey


def unit_rows(x: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
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
    num, dim = as_count("num", num), as_count("dim", dim)
    if dim == 1:
        return jax.random.rademacher(key, (num, 1), dtype=jnp.result_type(float))
    return unit_rows(jax.random.normal(key, (num, dim)))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _frames(key: AnyKey, num: int, dim: int) -> Float[Array, "num dim"]:
    """Blocks of orthonormal rows by Gram and Schmidt's method, each projection done twice.

    LAPACK's QR would do, but on a CPU two batched calls of it in one program can wait for each
    other's threads for ever (jaxlib 0.10.2 with two cores).
    """
    num_blocks, size = -(-num // dim), min(num, dim)
    gaussian = jax.random.normal(key, (num_blocks, size, dim))
    dot = functools.partial(jnp.einsum, precision="highest")

    def add_row(k: Array, rows: Array) -> Array:
        row = gaussian[:, k]
        for _ in range(2):
            row = row - dot("bs,bsd->bd", dot("bsd,bd->bs", rows, row), rows)
        return rows.at[:, k].set(unit_rows(row))

    rows = jax.lax.fori_loop(0, size, add_row, jnp.zeros_like(gaussian))
    return rows.reshape(num_blocks * size, dim)[:num]


def sample_orthogonal_directions(key: AnyKey, num: int, dim: int) -> Float[Array, "{num} {dim}"]:
    """Draw directions in blocks of `dim` that are orthonormal bases.

    Each block is a random orthogonal matrix of Haar's law on O(dim): Gaussian rows made orthonormal
    one after the other, which is a QR factorization with positive diagonal (Mezzadri, "How to
    generate random matrices from the classical compact groups", Notices of the AMS 54, 2007).
    Blocks are independent, the last one is cut. Each row is uniform on the sphere, so means stay
    unbiased; within a block the squares of the coordinates along any axis sum to 1, which removes
    the variance of quadratic functions of the direction (Rowland et al., "Orthogonal estimation of
    Wasserstein distances", AISTATS 2019).

    Args:
        key: a JAX random key.
        num: number of directions, at least 1.
        dim: dimension of the space, at least 1.

    Returns:
        Array `(num, dim)` with rows of length 1; rows `k dim, ..., (k + 1) dim - 1` are orthogonal.

    Raises:
        ValueError: if `num` or `dim` is below 1.
        TypeError: if one of them is not a Python integer (inside `jit`, make them static).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> directions = sample_orthogonal_directions(jax.random.key(0), num=3, dim=3)
    >>> bool(jnp.allclose(directions @ directions.T, jnp.eye(3), atol=1e-5))
    True
    """
    num, dim = as_count("num", num), as_count("dim", dim)
    return sample_directions(key, num, 1) if dim == 1 else _frames(key, num, dim)
