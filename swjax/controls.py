"""Control variates: functions of the direction whose mean over the sphere is known.

They are made of the means and covariances of the two clouds, with which the projected clouds have,
in direction theta, the means and variances::

    theta . m_x,   theta . m_y,   q_x = theta^T S_x theta,   q_y = theta^T S_y theta.

What W_2^2 has in common with such a function need not be sampled (Nguyen and Ho 2024, "Sliced
Wasserstein estimation with control variates").
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jaxtyping import Float

from swjax.slicing import Problem, project

ControlVariate = Literal["moments", "gaussian"]

# Trapezoidal rules in log r and log t: the steps leave an error of 1e-12, and beyond the ends, e^36
# and e^-37 to e^25, what is left of the integrals is known or below that.
_STEP_R, _REACH_R = 0.6, 60
_STEP_T, _REACH_T = 0.25, (148, 100)


class Known(NamedTuple):
    """Means and covariances of the clouds, and what follows from them for the control variates.

    Attributes:
        gap: The difference of the means of the clouds.
        covariances: The covariances of both clouds.
        means: The means over the sphere of the k control variates.
    """

    gap: Float[Array, "d"]
    covariances: tuple[Float[Array, "d d"], Float[Array, "d d"]]
    means: Float[Array, "k"]


def num_controls(kind: str | None) -> int:
    """How many control variates go by this name."""
    count = {None: 0, "moments": 3, "gaussian": 1}.get(kind)
    if count is None:
        raise ValueError(
            f"control_variate = {kind!r}; expected 'moments', 'gaussian', or None for none."
        )
    return count


def known_means(problem: Problem, kind: ControlVariate | None) -> Known | None:
    """What the control variates of that name need of the clouds."""
    if kind is None:
        return None
    dim = problem.x.shape[1]
    mean_x, covariance_x = _moments(problem.x, problem.a)
    mean_y, covariance_y = _moments(problem.y, problem.b)
    gap = mean_x - mean_y
    of_gap = jnp.sum(gap * gap) / dim
    if kind == "moments":
        means = [of_gap, jnp.trace(covariance_x) / dim, jnp.trace(covariance_y) / dim]
    else:
        means = [of_gap + mean_square_difference(covariance_x, covariance_y)]
    return Known(gap, (covariance_x, covariance_y), jnp.stack(means))


def deviations(
    known: Known, directions: Float[Array, "L d"], kind: ControlVariate
) -> Float[Array, "L k"]:
    """Every control variate in every direction, less its mean over the sphere."""
    sq_gap = jnp.square(project(known.gap[None], directions)[0])
    variances = [_variances(directions, covariance) for covariance in known.covariances]
    if kind == "moments":
        values = [sq_gap, *variances]
    else:
        widths = jnp.sqrt(variances[0]) + jnp.sqrt(variances[1])
        apart = (variances[0] - variances[1]) / jnp.where(widths > 0, widths, 1)
        values = [sq_gap + jnp.square(apart)]
    return jnp.stack(values, axis=1) - known.means[None]


def _moments(
    cloud: Float[Array, "n d"], weights: Float[Array, "n"] | None
) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
    n = cloud.shape[0]
    weights = jnp.full(n, 1 / n, cloud.dtype) if weights is None else weights
    dot = lambda a, b: jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    mean = dot(weights, cloud)
    centered = cloud - mean[None]
    return mean, dot((weights[:, None] * centered).T, centered)


def _variances(
    directions: Float[Array, "L d"], covariance: Float[Array, "d d"]
) -> Float[Array, "L"]:
    turned = project(directions, covariance)  # its rows are its columns
    return jnp.maximum(jnp.sum(turned * directions, axis=1), 0)


@custom_vmap
def mean_square_difference(
    first: Float[Array, "d d"], second: Float[Array, "d d"]
) -> Float[Array, ""]:
    """The mean over the sphere of `(sqrt(theta^T A theta) - sqrt(theta^T B theta))^2`, in any d.

    With `p = theta^T A theta`, `q = theta^T B theta`, it is `(tr A + tr B) / d - 2 E sqrt(p q)`,
    and `sqrt(p q)` is an integral of rational functions, whose means are integrals again::

        sqrt(p q) = (1/pi) int_0^inf r^(-1/2) p q / (p + r q) dr,
        E p q / (p + r q) = (1/d) int_0^inf E[P Q exp(-t (P + r Q))] dt,

    with P and Q for the same forms of a standard Gaussian vector. In the eigenbasis of `A + r B`,
    with eigenvalues l_k and m_k = 1 / (1 + 2 t l_k)::

        E[P Q exp(-t (P + r Q))] = prod_k m_k^(1/2) sum_kl (A_kk B_ll + 2 A_kl B_kl) m_k m_l.

    In log r and log t the trapezoidal rule converges geometrically: to 1e-12 with these steps. The
    tails of the integral over r are those of E q r^(-1/2) and E p r^(-3/2). All is computed in
    double precision, because the two terms nearly cancel for nearly equal matrices.

    Args:
        first: A symmetric positive semidefinite matrix.
        second: Another one.

    Returns:
        A scalar of the same type.
    """
    dtype, dim = first.dtype, first.shape[0]
    with jax.enable_x64(True):
        a, b = (s.astype(jnp.float64) for s in (first, second))
        traces = jnp.trace(a), jnp.trace(b)
        a, b = (s / jnp.where(t > 0, t, 1) for s, t in zip((a, b), traces, strict=True))
        logs = jnp.arange(-_REACH_R, _REACH_R + 1) * _STEP_R
        inner = lax.map(lambda log: _mean_ratio(a, b, jnp.exp(log)), logs)
        mean_root = _STEP_R * jnp.sum(jnp.exp(logs / 2) * inner)
        # Beyond: E q e^(u/2) as u = log r falls, E p e^(-u/2) as it grows, with E p = E q = 1 / d.
        ratio = math.exp(-_STEP_R / 2)
        tail = _STEP_R * ratio ** (_REACH_R + 1) / (1 - ratio) / dim
        mean_root = (mean_root + 2 * tail) / math.pi
        spread = (traces[0] + traces[1]) / dim
        spread -= 2 * jnp.sqrt(traces[0]) * jnp.sqrt(traces[1]) * mean_root
        return jnp.maximum(spread, 0).astype(dtype)


@mean_square_difference.def_vmap
def _(size: int, in_batched: list[bool], *matrices: Array) -> tuple[Array, bool]:
    """One pair of matrices after the other, each in double precision."""
    full = [
        s if mapped else jnp.broadcast_to(s, (size, *s.shape))
        for s, mapped in zip(matrices, in_batched, strict=True)
    ]
    return lax.map(lambda pair: mean_square_difference(*pair), tuple(full)), True


def _mean_ratio(
    a: Float[Array, "d d"], b: Float[Array, "d d"], r: Float[Array, ""]
) -> Float[Array, ""]:
    """The mean over the sphere of p q / (p + r q)."""
    scale = 1 + r
    values, basis = jnp.linalg.eigh((a + r * b) / scale)
    a, b = (basis.T @ s @ basis for s in (a, b))
    pairs = jnp.outer(jnp.diag(a), jnp.diag(b)) + 2 * a * b
    logs = jnp.arange(-_REACH_T[0], _REACH_T[1] + 1) * _STEP_T
    times = jnp.exp(logs)[:, None]
    weights = 1 / (1 + 2 * times * jnp.maximum(values, 0)[None])
    density = jnp.exp(logs + jnp.sum(jnp.log(weights), axis=1) / 2)
    means = jnp.einsum("tk,kl,tl->t", weights, pairs, weights)
    return _STEP_T * jnp.sum(density * means) / (scale * a.shape[0])
