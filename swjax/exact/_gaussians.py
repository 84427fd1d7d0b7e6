"""SW_2^2 between Gaussian laws."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array, checked_covariance, working_dtype
from swjax.exact.sphere_rule import directions_and_weights


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
