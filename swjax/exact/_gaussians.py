"""SW_2^2 between Gaussian laws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array, check_unit_length, is_concrete, working_dtype
from swjax.directions import equispaced_directions

_NUM_ANGLES = 256
_NUM_HEIGHTS = 128


def _mean_root(covariance: Float[Array, "d d"]) -> Float[Array, ""]:
    """`E sqrt(theta^T S theta)` over the sphere, for any dimension, by one integral.

    For a standard Gaussian `g`, `Q = g^T S g` and `E exp(-t Q) = prod_i (1 + 2 t l_i)^(-1/2)`, so

        E sqrt(Q) = (1 / (2 sqrt(pi))) int_0^inf (1 - E exp(-t Q)) t^(-3/2) dt,

    and dividing by `E |g|` passes to the sphere. In `log t` the trapezoidal rule with step 1/2
    is exact to 1e-16: the integrand decays at both ends and is analytic in a strip of width pi.
    """
    dim = len(covariance)
    values = jnp.maximum(jnp.linalg.eigvalsh(covariance), 0)
    scale = jnp.sum(values)
    values = values / jnp.where(scale > 0, scale, 1)
    logs = jnp.arange(-76.0, 76.0, 0.5, dtype=values.dtype)
    decay = jnp.sum(jnp.log1p(2 * jnp.exp(logs)[:, None] * values[None]), axis=1)
    integral = 0.5 * jnp.sum(-jnp.expm1(-decay / 2) * jnp.exp(-logs / 2))
    mean_norm = math.sqrt(2) * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    root = jnp.where(scale > 0, jnp.sqrt(jnp.where(scale > 0, scale, 1)), 0)
    return root * integral / (2 * math.sqrt(math.pi) * mean_norm)


def _sphere_rule(dim: int) -> tuple[Float[Array, "L d"], Float[Array, " L"]]:
    """Directions and weights that integrate smooth even functions, in dimension 2 or 3."""
    if dim == 2:
        directions = equispaced_directions(_NUM_ANGLES)
        return directions, jnp.full(_NUM_ANGLES, 1 / _NUM_ANGLES)
    heights, weights = np.polynomial.legendre.leggauss(_NUM_HEIGHTS)
    heights, weights = heights[heights > 0], weights[heights > 0]
    angles = 2 * np.pi * np.arange(_NUM_ANGLES) / _NUM_ANGLES
    across = np.sqrt(1 - heights**2)[:, None] * np.ones_like(angles)[None]
    points = np.stack(
        [
            across * np.cos(angles)[None],
            across * np.sin(angles)[None],
            np.broadcast_to(heights[:, None], across.shape),
        ],
        axis=-1,
    )
    weights = np.repeat(weights / _NUM_ANGLES, _NUM_ANGLES)
    return jnp.asarray(points.reshape(-1, 3), float), jnp.asarray(weights, float)


def _safe_root(values: Array) -> Array:
    return jnp.where(values > 0, jnp.sqrt(jnp.where(values > 0, values, 1)), 0)


@jax.jit
def _value(
    gap: Float[Array, " d"],
    covariances: tuple[Array, Array],
    rule: tuple[Float[Array, "L d"], Float[Array, " L"]] | None,
) -> Float[Array, ""]:
    """SW_2^2 for a difference of means, two variances or matrices, and a rule on the sphere."""
    dim = len(gap)
    matrices = [s for s in covariances if s.ndim == 2]
    numbers = [s for s in covariances if s.ndim == 0]
    if rule is not None:
        directions, weights = rule
        widths = [
            _safe_root(jnp.einsum("ld,de,le->l", directions, s, directions, precision="highest"))
            for s in matrices
        ]
        spread = jnp.sum(weights * (widths[0] - widths[1]) ** 2)
    elif matrices:
        cross = _safe_root(numbers[0]) * _mean_root(matrices[0])
        spread = jnp.trace(matrices[0]) / dim + numbers[0] - 2 * cross
    else:
        spread = (_safe_root(numbers[0]) - _safe_root(numbers[1])) ** 2
    return jnp.sum(gap * gap) / dim + spread


def sw2_sq_gaussians(
    mean_x: ArrayLike,
    covariance_x: ArrayLike,
    mean_y: ArrayLike,
    covariance_y: ArrayLike,
    *,
    directions: ArrayLike | None = None,
) -> Float[Array, ""]:
    """SW_2^2 between two Gaussian laws.

        SW_2^2 = |m_x - m_y|^2 / d + E (sqrt(theta^T S_x theta) - sqrt(theta^T S_y theta))^2,

    the mean over the unit sphere. A covariance may be given as a matrix or, for a multiple
    `s^2 I` of the identity, as the number `s^2`. How the mean is computed depends on that:

    - two numbers: it is `(s_x - s_y)^2`, in any dimension;
    - a number and a matrix: one smooth integral, exact to rounding in any dimension;
    - two matrices: quadrature over the sphere, exact to rounding in dimension 1, 2 (256
      equispaced angles) and 3 (a product rule), provided the ratio of the largest to the smallest
      eigenvalue of each matrix is at most about 50 (singular matrices leave an error of 1e-4). In
      higher dimension pass directions: their mean is taken, with their sampling error.

    Args:
        mean_x: vector of shape `(d,)`.
        covariance_x: positive semidefinite matrix `(d, d)`, or a number, the variance of each
            coordinate.
        mean_y: vector of shape `(d,)`.
        covariance_y: like `covariance_x`.
        directions: unit vectors as rows, shape `(L, d)`, for two matrices in dimension 4 or more;
            used for any two matrices if given.

    Returns:
        Scalar, differentiable in all four; twice in a matrix beside a number only where the
        eigenvalues of the matrix differ.

    Raises:
        ValueError: if shapes do not fit, a covariance is not symmetric or not positive
            semidefinite, directions are not of unit length (both checked outside `jit`), are
            missing where they are needed, or are given where nothing is averaged.
        TypeError: if an argument is not of floating point type.

    >>> import jax.numpy as jnp
    >>> zero, one = jnp.zeros(2), jnp.ones(2)
    >>> float(sw2_sq_gaussians(zero, 4.0, one, 1.0))
    2.0
    >>> round(float(sw2_sq_gaussians(zero, jnp.diag(jnp.array([4.0, 1.0])), zero, 1.0)), 5)
    0.41607
    """
    means = as_real_array("mean_x", mean_x), as_real_array("mean_y", mean_y)
    if means[0].ndim != 1 or means[0].size == 0 or means[0].shape != means[1].shape:
        raise ValueError(
            "mean_x and mean_y must be vectors of the same shape (d,); "
            f"got {means[0].shape} and {means[1].shape}."
        )
    dim = len(means[0])
    covariances = (
        checked_covariance("covariance_x", covariance_x, dim),
        checked_covariance("covariance_y", covariance_y, dim),
    )
    dtype = working_dtype(*means, *covariances)
    means, covariances = (tuple(v.astype(dtype) for v in pair) for pair in (means, covariances))
    both = all(s.ndim == 2 for s in covariances)
    if directions is not None and not both:
        raise ValueError(
            "directions are of no use here: with a covariance given as a number no mean over "
            "directions is taken. Leave them out."
        )
    rule = tuple(v.astype(dtype) for v in directions_and_weights(dim, directions)) if both else None
    return _value(means[0] - means[1], covariances, rule)


def directions_and_weights(
    dim: int, directions: ArrayLike | None
) -> tuple[Float[Array, "L d"], Float[Array, " L"]]:
    """The directions to average over, with weights."""
    if directions is not None:
        rows = as_real_array("directions", directions)
        if rows.ndim != 2 or rows.shape[1] != dim or len(rows) == 0:
            raise ValueError(f"directions must have shape (L, {dim}), got {rows.shape}.")
        check_unit_length(rows)
        return rows, jnp.full(len(rows), 1 / len(rows))
    if dim == 1:
        return jnp.ones((1, 1)), jnp.ones(1)
    if dim > 3:
        raise ValueError(
            f"Between two covariance matrices in dimension {dim} a mean over directions is taken: "
            "pass them, for example sample_quasi_directions(key, 4096, dim). If a covariance is a "
            "multiple of the identity, pass the variance as a number instead."
        )
    return _sphere_rule(dim)


def checked_covariance(name: str, value: ArrayLike, dim: int) -> Array:
    """A scalar variance or a covariance matrix, or an error that says why it is neither."""
    covariance = as_real_array(name, value)
    if covariance.shape not in ((), (dim, dim)):
        raise ValueError(
            f"{name} must be a number or a matrix of shape ({dim}, {dim}), got {covariance.shape}."
        )
    if is_concrete(covariance):
        values = np.atleast_2d(np.asarray(covariance, np.float64))
        if not np.abs(values - values.T).max() <= 1e-5 * np.abs(values).max():
            raise ValueError(f"{name} must be symmetric and finite.")
        least = np.linalg.eigvalsh(values)[0]
        if not least >= -1e-5 * np.abs(values).max():
            raise ValueError(
                f"{name} must be positive semidefinite; its smallest eigenvalue is {least:.6g}."
            )
    return covariance
