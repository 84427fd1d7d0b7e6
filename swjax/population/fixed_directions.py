"""The expected loss of a minibatch along given directions."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from swjax.population.order_statistics import (
    bernstein,
    expected_order_statistics,
    order_weights,
)
from swjax.rows import take_rows
from swjax.sorting import argsort


class Slices(NamedTuple):
    """What the expected loss needs of the target and of the weights, along each direction.

    With `m_k` the expected order statistics of the projected target, the loss along a direction is

        sum_r a_r t_r^2 + sum_s b_s y_s^2 - 2 sum_r beta_r t_(r),
        beta_r = (1/n) sum_k (I_k(A_r) - I_k(A_{r-1})) m_k,

    where `t` are the projected outputs of the generator. If their weights `a` are equal, `beta`
    does not depend on the order and is stored; else the partial sums of `m_k / n` are.

    Attributes:
        directions: `(L, d)`.
        weights: weights `a` of the outputs, `(N,)`.
        target_sq: `sum_s b_s y_s^2`, `(L,)`.
        beta: `(N, L)`, or `None` where the weights differ.
        sums: `(n + 1, L)`, or `None` where the weights are equal.
    """

    directions: Float[Array, "L d"]
    weights: Float[Array, "N"]
    target_sq: Float[Array, "L"]
    beta: Float[Array, "N L"] | None
    sums: Float[Array, "n_plus_1 L"] | None


def prepare_slices(
    source_weights: np.ndarray,
    target_points: np.ndarray,
    target_weights: np.ndarray,
    directions: np.ndarray,
    n: int,
) -> Slices:
    """Compute in float64 what depends on the target only; store it in the default float type."""
    projected = directions @ target_points.T
    expected = expected_order_statistics(projected, projected[..., None], target_weights, n)
    expected = expected[..., 0].T / n
    beta = sums = None
    if np.ptp(source_weights) == 0.0:
        beta = jnp.asarray(order_weights(source_weights, n).T @ expected, float)
    else:
        sums = jnp.asarray(np.cumsum(np.pad(expected, ((1, 0), (0, 0))), axis=0), float)
    return Slices(
        jnp.asarray(directions, float),
        jnp.asarray(source_weights, float),
        jnp.asarray(projected**2 @ target_weights, float),
        beta,
        sums,
    )


def losses_of_projections(slices: Slices, projected: Float[Array, "N L"]) -> Float[Array, "L"]:
    """The expected loss along every direction, differentiable in the projected outputs.

    The derivative holds the sorting permutations fixed: the gradient wherever the projected outputs
    are distinct, and at ties the one of their stable order.
    """
    order = argsort(projected)
    beta = slices.beta
    if beta is None:
        beta = _beta(slices.weights, lax.stop_gradient(order), slices.sums)
    own_sq = jnp.sum(slices.weights[:, None] * projected**2, axis=0)
    mixed = jnp.sum(beta * take_rows(projected, order), axis=0)
    return own_sq + slices.target_sq - 2 * mixed


def _beta(weights: Array, order: Array, sums: Array | None) -> Array:
    """`beta` for weights that differ, from the order of the outputs along each direction."""
    assert sums is not None
    levels = jnp.cumsum(weights[order], axis=0)
    levels = jnp.clip(levels / levels[-1:], 0, 1)
    return jnp.diff(bernstein(sums[:, None], levels), axis=0, prepend=0)
