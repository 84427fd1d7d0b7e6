"""The mean of a sample, corrected by linear regression on variables whose means are known.

The sample is summed up by its moments, so that more of it can be added.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float


class Moments(NamedTuple):
    """Moments of a sample of v = (value, control 1, ..., control k).

    Attributes:
        count: The size of the sample.
        mean: The mean of v.
        scatter: The sum of the outer products of v less its mean.
    """

    count: Float[Array, ""]
    mean: Float[Array, "k+1"]
    scatter: Float[Array, "k+1 k+1"]


class Intercept(NamedTuple):
    """The value where all controls are zero, by least squares.

    Attributes:
        value: The intercept; for no controls the mean.
        error: Its standard error.
        freedom: The degrees of freedom of the error.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    freedom: Float[Array, ""]


def moments_of(values: Float[Array, "R"], controls: Float[Array, "R k"]) -> Moments:
    """The moments of a sample."""
    sample = jnp.concatenate([values[:, None], controls], axis=1)
    mean = jnp.mean(sample, axis=0)
    centered = sample - mean[None]
    scatter = jnp.matmul(centered.T, centered, precision=lax.Precision.HIGHEST)
    return Moments(jnp.asarray(len(values), sample.dtype), mean, scatter)


def add_moments(first: Moments, second: Moments) -> Moments:
    """The moments of two samples together (Chan, Golub and LeVeque 1983)."""
    count = first.count + second.count
    step = second.mean - first.mean
    between = jnp.outer(step, step) * (first.count * second.count / count)
    mean = first.mean + step * (second.count / count)
    return Moments(count, mean, first.scatter + second.scatter + between)


def intercept(moments: Moments, noise: Float[Array, "k"]) -> Intercept:
    """Regress the values on the controls; both are taken from the moments.

    The controls are eliminated one after the other. One that varies by no more than its noise, or
    that the others determine, is left out. The residual variation is bounded below by what
    rounding leaves of the variation of the values: in float32 a millionth.

    Args:
        moments: Moments of the sample.
        noise: How much each control varies by rounding alone.

    Returns:
        The intercept, with its error.
    """
    count, mean, scatter = moments
    variation, rounding = jnp.diag(scatter), 8 * jnp.finfo(mean.dtype).eps
    leverage, rank = 1 / count, jnp.zeros_like(count)
    for k in range(1, mean.shape[0]):
        pivot = scatter[k, k]
        usable = (pivot > count * noise[k - 1] ** 2) & (pivot > rounding * variation[k])
        pivot = jnp.where(usable, pivot, 1)
        slopes = jnp.where(usable, scatter[:, k] / pivot, 0)
        leverage += jnp.where(usable, mean[k] ** 2 / pivot, 0)
        mean = mean - slopes * mean[k]
        scatter = scatter - jnp.outer(slopes, scatter[k])
        rank += usable
    left = jnp.maximum(scatter[0, 0], rounding * variation[0] * (rank > 0))
    freedom = count - 1 - rank
    return Intercept(mean[0], jnp.sqrt(left / freedom * leverage), freedom)
