"""Gradients of the sliced-Wasserstein energy in a given order of tied points.

Along a direction `theta` the points of `X` are sorted by `theta . x_k` and, where two of them
coincide, by `theta . v_k` for a velocity `V`: the order that `X + t V` has for all small `t > 0`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from swjax.plane import arcs, crossing_angles, integrate_over_arcs, middle_directions
from swjax.population.order_statistics import bernstein

# Numbers kept at a time while directions are summed over.
_CHUNK = 2**20


def paired_target(
    order: Array, by_target: Array, y: Array, a: Array, b: Array, batch_size: int | None
) -> Float[Array, "n d"]:
    """`sum_s P_ks y_s` for every `k`, with `P` the (expected) monotone plan of two given orders.

    The first `r` points in order hold the mass `A_r`; what they are paired with is a function of
    `A_r` alone, and the row of a single point is a difference of two values of that function.
    """
    levels = jnp.cumsum(a[order])
    levels = jnp.clip(levels / levels[-1], 0, 1)
    sorted_y, masses = y[by_target], b[by_target]
    zero = jnp.zeros((1, y.shape[1]), y.dtype)
    if batch_size is None:
        knots = jnp.concatenate([jnp.zeros(1, masses.dtype), jnp.cumsum(masses)])
        sums = jnp.concatenate([zero, jnp.cumsum(masses[:, None] * sorted_y, axis=0)])
        knots = jnp.clip(knots / knots[-1], 0, 1)
        column = lambda values: jnp.interp(levels, knots, values)
        totals = jax.vmap(column, in_axes=1, out_axes=1)(sums)
    else:
        steps = jnp.arange(batch_size + 1)[:, None] > jnp.arange(batch_size)[None]
        target_levels = jnp.cumsum(masses)
        target_levels = jnp.clip(target_levels / target_levels[-1], 0, 1)
        tails = bernstein(steps.astype(y.dtype)[:, None], target_levels[:, None])
        law = jnp.diff(tails, axis=0, prepend=0)  # (m, batch): P(k-th smallest is this atom)
        expected = jnp.matmul(law.T, sorted_y, precision="highest") / batch_size
        sums = jnp.concatenate([zero, jnp.cumsum(expected, axis=0)])
        totals = bernstein(sums[:, None], levels[:, None])
    paired = jnp.diff(totals, axis=0, prepend=zero)
    return jnp.zeros_like(paired).at[order].set(paired, unique_indices=True)


def _lexicographic_order(x: Array, v: Array, same: Array, theta: Array) -> Array:
    """Indices that sort by `theta . x`, and equal points of `x` by `theta . v`."""
    dot = partial(jnp.matmul, precision="highest")
    # Equal points take the projection of the first of them: it must not differ by rounding.
    along_x = dot(x, theta)[same]
    return jnp.lexsort((dot(v, theta), along_x))


def _first_equal(x: Array) -> Array:
    """For every row the index of the first row equal to it."""
    return jnp.argmax(jnp.all(x[:, None] == x[None], axis=-1), axis=1)


@partial(jax.jit, static_argnames="batch_size")
def mean_gradient(x, y, v, a, b, thetas, matrices, batch_size):
    """Sum over directions of `2 M (a_k x_k - sum_s P_ks y_s)`, `M` the weight of a direction.

    `matrices (J, d, d)` are the `M`; without them each direction has `theta theta^T / J`.
    """
    same = _first_equal(x)
    a, b = a / jnp.sum(a), b / jnp.sum(b)
    weighted = a[:, None] * x

    def along(theta: Array, matrix: Array | None) -> Array:
        order = _lexicographic_order(x, v, same, theta)
        by_target = jnp.argsort(jnp.matmul(y, theta, precision="highest"))
        blocks = 2 * (weighted - paired_target(order, by_target, y, a, b, batch_size))
        if matrix is not None:
            return jnp.matmul(blocks, matrix, precision="highest")
        return jnp.matmul(blocks, theta, precision="highest")[:, None] * theta[None]

    num = thetas.shape[0]
    size = max(1, min(num, _CHUNK // (x.size + y.size)))
    # Padding repeats a direction with weight zero.
    share = jnp.full(num, 1 / num if matrices is None else 1, x.dtype)
    padding = -num % size
    pad = lambda rows: jnp.pad(rows, [(0, padding)] + [(0, 0)] * (rows.ndim - 1), mode="edge")
    share = jnp.pad(share, (0, padding))
    lanes = (pad(thetas), None if matrices is None else pad(matrices), share)
    chunks = jax.tree.map(lambda rows: rows.reshape(-1, size, *rows.shape[1:]), lanes)

    def add_chunk(total: Array, chunk: tuple) -> tuple[Array, None]:
        thetas, matrices, share = chunk
        blocks = jax.vmap(along, in_axes=(0, None if matrices is None else 0))(thetas, matrices)
        return total + jnp.tensordot(share, blocks, axes=1, precision="highest"), None

    return jax.lax.scan(add_chunk, jnp.zeros_like(x), chunks)[0]


def arcs_of_the_plane(
    x: Float[Array, "n 2"], v: Float[Array, "n 2"], y: Float[Array, "m 2"]
) -> tuple[Float[Array, "arcs 2"], Float[Array, "arcs 2 2"]]:
    """The middle direction of every arc of constant orders, and the mean of `theta theta^T` on it.

    Coinciding points of `x`, ordered by `v`, change order at the angle orthogonal to the difference
    of their `v`. The matrices sum to half the identity.
    """
    i, j = np.triu_indices(x.shape[0], 1)
    apart = x[i] - x[j]
    tied = jnp.all(apart == 0, axis=1, keepdims=True)
    k, l = np.triu_indices(y.shape[0], 1)
    differences = jnp.concatenate([jnp.where(tied, v[i] - v[j], apart), y[k] - y[l]])
    low, high = arcs(crossing_angles(differences))
    identity = jnp.eye(2, dtype=x.dtype)[None]
    matrices = integrate_over_arcs(low[:, None], high[:, None], identity) / np.pi
    return middle_directions(low, high), matrices


@partial(jax.jit, static_argnames="batch_size")
def planar_gradient(x, y, v, a, b, batch_size):
    """The mean over all directions of the plane, exact: the orders are constant on arcs."""
    thetas, matrices = arcs_of_the_plane(x, v, y)
    return mean_gradient(x, y, v, a, b, thetas, matrices, batch_size)


@partial(jax.jit, static_argnames="batch_size")
def line_gradients(x, y, a, b, orders, batch_size):
    """On the line, `2 (a_k x_k - sum_s P_ks y_s)` for each of several orders `(num, n)` of `x`."""
    a, b = a / jnp.sum(a), b / jnp.sum(b)
    by_target = jnp.argsort(y[:, 0])
    paired = lambda order: paired_target(order, by_target, y, a, b, batch_size)[:, 0]
    return 2 * ((a * x[:, 0])[None] - jax.vmap(paired)(orders))
