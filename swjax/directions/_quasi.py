"""Randomized quasi-Monte Carlo on the sphere: a scrambled Sobol sequence, mapped.

The generator matrices are SciPy's (Joe and Kuo, "Constructing Sobol sequences with better
two-dimensional projections", SIAM J. Sci. Comput. 30, 2008). They enter as constants; scrambling
and mapping are JAX code of a key.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erfinv
from jaxtyping import Array, Float, UInt32

from swjax._checks import as_count
from swjax._types import AnyKey
from swjax.directions._random import sample_directions, unit_rows

_BITS = 32
_LARGEST_DIM = 21201


@functools.lru_cache(maxsize=32)
def _generators(dim: int, num_digits: int) -> np.ndarray:
    """Generator integers `(num_digits, dim)`: point `i` is the XOR of the rows at the bits of `i`.

    SciPy steps through the points in Gray code order, so row `k` is the difference between its
    points `2^k - 1` and `2^k`.
    """
    from scipy.stats import qmc  # takes a second to import, and most users never need it

    engine = qmc.Sobol(dim, scramble=False, bits=_BITS)
    before, after = engine.random(2)
    rows = [before + after]
    for k in range(1, num_digits):
        if k > 1:
            if k > 2:
                engine.fast_forward(2 ** (k - 1) - 2)
            after = engine.random(1)[0]
        before, after = after, engine.random(1)[0]
        digits = [(point * 2.0**_BITS).astype(np.uint64) for point in (before, after)]
        rows.append((digits[0] ^ digits[1]) / 2.0**_BITS)
    return (np.stack(rows) * 2.0**_BITS).astype(np.uint32)


def _xor(terms: UInt32[Array, "terms *rest"]) -> UInt32[Array, "*rest"]:
    return lax.reduce(terms, np.uint32(0), lax.bitwise_xor, (0,))


def scrambled_sobol(key: AnyKey, num: int, dim: int) -> UInt32[Array, "num dim"]:
    """The first `num` points of a Sobol sequence, scrambled; integers over 2^32.

    Each coordinate's digits are multiplied by a random lower triangular binary matrix and shifted
    by random digits (Matousek, "On the L2-discrepancy for anchored boxes", J. Complexity 14, 1998).
    Every point is uniform on the grid of spacing 2^-32, and `num = 2^m` points keep the balance of
    the sequence: each coordinate has exactly one point in every interval of length 2^-m.
    """
    matrix_key, shift_key = jax.random.split(key)
    num_digits = max(1, (num - 1).bit_length())
    generators = jnp.asarray(_generators(dim, num_digits))
    place = np.arange(_BITS - 1, -1, -1, dtype=np.uint32)[:, None]
    unit = np.uint32(1) << place
    columns = unit | (jax.random.bits(matrix_key, (_BITS, dim), jnp.uint32) & (unit - np.uint32(1)))
    digit_set = (generators[None] >> place[:, :, None]) & 1 == 1
    generators = _xor(jnp.where(digit_set, columns[:, None], jnp.uint32(0)))
    row = jnp.arange(num, dtype=jnp.uint32)[None, :, None]
    digit = jnp.arange(num_digits, dtype=jnp.uint32)[:, None, None]
    points = _xor(jnp.where((row >> digit) & 1 == 1, generators[:, None], jnp.uint32(0)))
    return points ^ jax.random.bits(shift_key, (1, dim), jnp.uint32)


def _to_unit_interval(points: UInt32[Array, "num dim"]) -> Float[Array, "num dim"]:
    """Midpoints of the cells, strictly between 0 and 1, as fine as the float type allows."""
    dtype = jnp.result_type(float)
    digits = min(_BITS, jnp.finfo(dtype).nmant)
    return ((points >> (_BITS - digits)).astype(dtype) + 0.5) * 2.0**-digits


@functools.partial(jax.jit, static_argnums=(1, 2))
def _mapped_sobol(key: AnyKey, num: int, dim: int) -> Float[Array, "num dim"]:
    points_key, sign_key = jax.random.split(key)
    sign = jax.random.rademacher(sign_key, (1, 1), dtype=jnp.result_type(float))
    if dim == 1:
        return sample_directions(key, num, 1)
    if dim <= 3:
        u = _to_unit_interval(scrambled_sobol(points_key, num, dim - 1))
        turn = jnp.pi * u[:, :1] if dim == 2 else 2 * jnp.pi * u[:, :1]
        rows = jnp.concatenate([jnp.cos(turn), jnp.sin(turn)], axis=1)
        if dim == 3:
            height = u[:, 1:]
            rows = jnp.concatenate([jnp.sqrt(1 - height**2) * rows, height], axis=1)
        return sign * rows
    u = _to_unit_interval(scrambled_sobol(points_key, num, dim))
    quantiles = erfinv(jnp.concatenate([u[:, :1], 2 * u[:, 1:] - 1], axis=1))
    return sign * unit_rows(math.sqrt(2) * quantiles)


def sample_quasi_directions(key: AnyKey, num: int, dim: int) -> Float[Array, "{num} {dim}"]:
    """Draw directions that fill the sphere more evenly than independent ones.

    A scrambled Sobol sequence is mapped to the half sphere, that is to every line once: by the
    angle in the plane, by height and angle in space (equal areas), and from dimension 4 on by
    Gaussian quantiles divided by the length of the vector. A common random sign makes each row
    uniform on the sphere (up to the grid of 2^-23, in float64 2^-32, of the sequence), so means
    over the rows are unbiased. Their error falls nearly like `1 / num` for `num` many times `dim`;
    powers of two are best. In dimension 1 the rows are random signs. (Randomized quasi-Monte Carlo
    for slices: Nguyen, Bariletto and Ho, "Quasi-Monte Carlo for 3D sliced Wasserstein", ICLR 2024.)

    The rows depend on each other: their spread does not tell the error of their mean. Repeat with
    several keys for that.

    Args:
        key: a JAX random key.
        num: number of directions, from 1 to 2^31.
        dim: dimension of the space, from 1 to 21201.

    Returns:
        Array `(num, dim)` with rows of length 1.

    Raises:
        ValueError: if `num` or `dim` is out of range.
        TypeError: if one of them is not a Python integer (inside `jit`, make them static).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> directions = sample_quasi_directions(jax.random.key(0), num=256, dim=8)
    >>> directions.shape
    (256, 8)
    >>> bool(jnp.allclose(directions.T @ directions / 256, jnp.eye(8) / 8, atol=0.02))
    True
    """
    num, dim = as_count("num", num), as_count("dim", dim)
    if dim > _LARGEST_DIM:
        raise ValueError(
            f"dim must be at most {_LARGEST_DIM}, the dimensions of the Sobol tables, got {dim}; "
            "use sample_orthogonal_directions in higher dimension."
        )
    if num > 2**31:
        raise ValueError(f"num must be at most 2^31, got {num}.")
    return _mapped_sobol(key, num, dim)
