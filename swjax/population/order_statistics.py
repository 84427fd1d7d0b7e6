"""Expected order statistics of a minibatch from a discrete law on the line.

Draw `n` points independently from atoms `t_1, ..., t_N` with weights `a`. Written in ascending
order, the k-th smallest point has the expectation

    E[t_(k:n)] = sum_r (I_k(A_r) - I_k(A_{r-1})) t_(r),    I_k(p) = P(Bin(n, p) >= k),

where `t_(r)` are the sorted atoms and `A_r` the cumulative sums of their weights: `I_k(A_r)` is the
probability that at least k of the points are among the r smallest atoms. `I_k(p)` is the
regularized incomplete beta function with parameters `k` and `n - k + 1`.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.special import betainc


def cumulative(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums along the last axis, scaled to end in exactly 1."""
    sums = np.cumsum(np.asarray(weights, np.float64), axis=-1)
    return np.clip(sums / sums[..., -1:], 0.0, 1.0)


def order_weights(weights: np.ndarray, n: int) -> np.ndarray:
    """The law of every order statistic: `P(k-th smallest of n points is the r-th smallest atom)`.

    Args:
        weights: `(..., N)`, of the atoms in ascending order of the atoms, summing to 1.
        n: number of points drawn.

    Returns:
        float64 array `(..., n, N)`; rows sum to 1 and columns to `n * weights`.
    """
    k = np.arange(1, n + 1)[:, None]
    tails = betainc(k, n - k + 1, cumulative(weights)[..., None, :])
    return np.diff(tails, axis=-1, prepend=0.0)


def expected_order_statistics(
    keys: np.ndarray, points: np.ndarray, weights: np.ndarray, n: int
) -> np.ndarray:
    """Expected order statistics of weighted points, for several orders of them.

    Args:
        keys: `(M, N)`, M lists of numbers, each of which puts the points in an order.
        points: the points that are ordered; broadcasts to `(M, N, c)`.
        weights: `(N,)`, of the unsorted points, summing to 1.
        n: number of points drawn.

    Returns:
        float64 array `(M, n, c)`: the expectation of the k-th of the n points, for each order.
    """
    weights = np.asarray(weights, np.float64)
    points = np.broadcast_to(points, (*keys.shape, points.shape[-1]))
    equal = np.ptp(weights) == 0.0
    expected = np.empty((keys.shape[0], n, points.shape[-1]))
    step = max(1, 2**22 // (keys.shape[1] * (points.shape[-1] if equal else n)))
    fixed = order_weights(weights, n)
    for start in range(0, keys.shape[0], step):
        part = slice(start, start + step)
        order = np.argsort(keys[part], axis=-1)
        law = fixed if equal else order_weights(weights[order], n)
        expected[part] = law @ np.take_along_axis(points[part], order[..., None], axis=1)
    return expected


def bernstein(coefficients: Float[Array, "n_plus_1 *rest"], p: Array) -> Array:
    """Evaluate `sum_j coefficients[j] C(n, j) p^j (1 - p)^(n - j)`, in n convex combinations.

    With `coefficients[j] = c_1 + ... + c_j` this is `sum_k I_k(p) c_k`, so that the weights of a
    traced order of atoms need no incomplete beta function. Every step is a convex combination,
    which keeps the rounding error at that of the coefficients (Wozny and Chudy, "Linear-time
    geometric algorithm for evaluating Bezier curves", Computer-Aided Design 118, 2020).

    Args:
        coefficients: `(n + 1, ...)`; the trailing shape broadcasts against `p`.
        p: probabilities in [0, 1].

    Returns:
        Array of the broadcast shape of `coefficients[0]` and `p`.
    """
    n = coefficients.shape[0] - 1
    shape = jnp.broadcast_shapes(coefficients.shape[1:], p.shape)

    def step(carry, inputs):
        ratio, value = carry
        k, coefficient = inputs
        odds = p * ratio * (n - k + 1)
        ratio = odds / (k * (1 - p) + odds)
        return (ratio, (1 - ratio) * value + ratio * coefficient), None

    start = (jnp.ones_like(p), jnp.broadcast_to(coefficients[0], shape))
    steps = jnp.arange(1, n + 1, dtype=p.dtype)
    (_, value), _ = lax.scan(step, start, (steps, coefficients[1:]))
    return value
