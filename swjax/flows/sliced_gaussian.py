"""The sliced-Wasserstein flow of a Gaussian law towards another one, which stays Gaussian.

Along `theta` the optimal map between `N(m, S)` and `N(m_y, S_y)` is affine, with slope
`s_y(theta) / s(theta)`, `s(theta)^2 = theta^T S theta`. So the velocity is affine, the law stays
Gaussian, and with noise of strength lambda

    m' = -E[theta theta^T] (m - m_y),
    S' = -(A S + S A) + 2 lambda I,    A = E_theta[ theta theta^T (1 - s_y(theta) / s(theta)) ].

For all directions `E[theta theta^T] = I / d`. Between isotropic laws, `S = s^2 I`,

    m(t) - m_y = e^{-t/d} (m(0) - m_y),    s' = (s_y - s) / d + lambda / s,

which is `s(t) = s_y + (s(0) - s_y) e^{-t/d}` without noise, and comes to rest at
`s = (s_y + sqrt(s_y^2 + 4 lambda d)) / 2` with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import (
    as_real_array,
    checked_covariance,
    checked_directions,
    is_concrete,
    working_dtype,
)
from swjax.exact.sphere_rule import directions_and_weights
from swjax.flows.parameter import gradient_flow


class GaussianFlow(NamedTuple):
    """The mean and the covariance of a Gaussian law along the sliced-Wasserstein flow.

    Attributes:
        times: `(T,)`, in units of the flow of `SW_2^2 / 2`.
        means: `(T, d)`.
        covariances: `(T, d, d)`.
        error: the largest Euclidean distance, of mean and covariance as one vector, to the
            solution with steps twice as long.
    """

    times: Float[Array, "T"]
    means: Float[Array, "T d"]
    covariances: Float[Array, "T d d"]
    error: Float[Array, ""]


def gaussian_sliced_flow(
    mean_x: ArrayLike,
    covariance_x: ArrayLike,
    mean_y: ArrayLike,
    covariance_y: ArrayLike,
    times: ArrayLike | Sequence[float],
    *,
    entropy: float | int | Array = 0.0,
    directions: ArrayLike | None = None,
    num_steps: int = 256,
) -> GaussianFlow:
    """The flow of `SW_2^2 / 2 + lambda int rho log rho` from one Gaussian law towards another.

    An ordinary differential equation for mean and covariance,

        m' = -E[theta theta^T] (m - m_y),    S' = -(A S + S A) + 2 lambda I,
        A = E_theta[ theta theta^T (1 - sqrt(theta^T S_y theta / theta^T S theta)) ],

    solved by the Runge-Kutta method of order 4. The reference for `sliced_flow` of large clouds.

    Args:
        mean_x: mean at time 0, shape (d,).
        covariance_x: positive definite matrix (d, d) at time 0, or a number, the variance of each
            coordinate.
        mean_y: mean of the target, shape (d,).
        covariance_y: positive semidefinite matrix (d, d), or a number.
        times: increasing, starting at 0, shape (T,).
        entropy: `lambda >= 0`.
        directions: unit vectors as rows, shape (L, d), over which to average: for the flow over
            these, or as quadrature in dimension 4 or more if a covariance is a matrix. By default
            quadrature exact to rounding (as in `swjax.exact.sw2_sq_gaussians`).
        num_steps: number of steps over the whole time.

    Returns:
        `GaussianFlow(times (T,), means (T, d), covariances (T, d, d), error)`.

    Raises:
        TypeError: if an argument is not of floating-point type.
        ValueError: if shapes do not fit, a covariance is not symmetric, that of x is singular,
            `entropy` is negative, directions are missing where they are needed, or times do not
            start at 0 or do not increase.

    Example:
        >>> zero = jnp.zeros(2)
        >>> flow = gaussian_sliced_flow(zero, 4.0, zero, 1.0, [0.0, 1.0])
        >>> round(float(flow.covariances[1, 0, 0]) ** 0.5, 4), round(float(1 + jnp.exp(-0.5)), 4)
        (1.6065, 1.6065)
    """
    means = as_real_array("mean_x", mean_x), as_real_array("mean_y", mean_y)
    if means[0].ndim != 1 or means[0].size == 0 or means[0].shape != means[1].shape:
        raise ValueError(
            "mean_x and mean_y must be vectors of the same shape (d,); "
            f"got {means[0].shape} and {means[1].shape}."
        )
    dim = means[0].size
    given = [
        checked_covariance("covariance_x", covariance_x, dim),
        checked_covariance("covariance_y", covariance_y, dim),
    ]
    if is_concrete(entropy) and not 0 <= float(entropy) < np.inf:
        raise ValueError(f"entropy must be a number >= 0, the weight lambda; got {entropy}.")
    dtype = working_dtype(*means, *given)
    matrix = lambda s: s.astype(dtype) if s.ndim else s.astype(dtype) * jnp.eye(dim, dtype=dtype)
    covariances = [matrix(s) for s in given]
    if is_concrete(covariances[0]):
        smallest = float(np.linalg.eigvalsh(np.asarray(covariances[0], np.float64))[0])
        if not smallest > 0:
            raise ValueError(
                "covariance_x must be positive definite: from a law on a subspace the map to the "
                f"target is not unique. Its smallest eigenvalue is {smallest:.3g}."
            )
    if directions is None and all(s.ndim == 0 for s in given):
        # Isotropic laws stay isotropic, so any directions with E theta theta^T = I / d will do.
        rule = jnp.eye(dim, dtype=dtype), jnp.full(dim, 1 / dim, dtype)
    else:
        rows = None if directions is None else checked_directions(directions, dim)
        rule = tuple(v.astype(dtype) for v in directions_and_weights(dim, rows))
    start = {"mean": means[0].astype(dtype), "covariance": covariances[0]}
    target = {"mean": means[1].astype(dtype), "covariance": covariances[1]}
    slope = Partial(_slope, target, rule, jnp.asarray(entropy, dtype))
    flow = gradient_flow(None, start, times, gradient=slope, num_steps=num_steps)
    return GaussianFlow(flow.times, flow.path["mean"], flow.path["covariance"], flow.error)


def _slope(target: dict, rule: tuple[Array, Array], entropy: Array, law: dict) -> dict:
    """Minus the time derivative of mean and covariance."""
    directions, weights = rule
    mean = lambda values: jnp.einsum(
        "l,li,lj->ij", weights * values, directions, directions, precision="highest"
    )
    variances = lambda s: jnp.einsum("li,ij,lj->l", directions, s, directions, precision="highest")
    ratio = variances(target["covariance"]) / variances(law["covariance"])
    pull = mean(1 - jnp.sqrt(jnp.maximum(ratio, 0)))
    half = jnp.matmul(pull, law["covariance"], precision="highest")
    noise = 2 * entropy * jnp.eye(pull.shape[0], dtype=pull.dtype)
    gap = law["mean"] - target["mean"]
    spread = mean(jnp.ones_like(weights))
    return {
        "mean": jnp.matmul(spread, gap, precision="highest"),
        "covariance": half + half.T - noise,
    }
