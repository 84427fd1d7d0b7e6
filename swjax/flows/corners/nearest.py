"""The point of least norm of a small polytope with a half-line, exact up to rounding."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def shortest_weights(
    rows: Float[Array, "rows P"],
    used: Bool[Array, "rows"],
    start: Float[Array, "rows"],
    enters: Bool[Array, "rows"],
    is_known: Array,
) -> Float[Array, "rows"]:
    """Weights of the point of least norm in `conv{rows but the last} + cone{last row}`.

    Wolfe's method (1976, "Finding the nearest point in a polytope"), exact up to rounding: of the
    rows that take part, the nearest point of the affine hull; the row whose weight turns negative
    on the way there leaves, and the row that points back the most enters. Least squares are solved
    by orthogonalization, not by the matrix of inner products, which would lose weak
    kinks beside strong ones.

    Args:
        rows: the vectors; unused ones are zero.
        used: which of them count.
        start: weights of a point of the set, the shortest so far.
        enters: the row to try first.
        is_known: scalar bool, whether the start is already what is sought.

    Returns:
        Weights `>= 0`, zero where unused; those of all rows but the last sum to 1.
    """
    num, eps = len(rows), jnp.finfo(rows.dtype).eps
    norms = jnp.sqrt(jnp.sum(rows**2, axis=1))
    scale = jnp.max(norms)
    columns = (rows / jnp.where(scale > 0, scale, 1)).T
    unit = (jnp.arange(num) < num - 1).astype(rows.dtype)

    def nearest_of_affine_hull(corral: Array) -> Array:
        # Up to a factor, the minimizer of |sum x_i v_i|^2 + (sum over vertices x_i - 1)^2.
        members = corral.astype(rows.dtype)
        matrix = jnp.concatenate([columns * members[None], (unit * members)[None]])
        target = jnp.zeros(len(matrix), rows.dtype).at[-1].set(1)
        solution = _least_squares(matrix, target)
        return jnp.where(corral, solution / jnp.vdot(solution, unit * members), 0)

    def improve(state: tuple) -> tuple:
        weights, corral, _, step = state
        aim = nearest_of_affine_hull(corral)
        negative = corral & (aim <= 0)
        length = jnp.where(negative & (weights > aim), weights - aim, 1)
        share = jnp.where(negative, weights / length, jnp.inf)
        part = jnp.minimum(jnp.min(share), 1)
        leaves = negative & (share <= part)
        weights = jnp.where(corral & ~leaves, jnp.maximum(weights + part * (aim - weights), 0), 0)
        inside = ~jnp.any(negative)

        point = jnp.sum(columns * aim[None], axis=1)
        products = jnp.sum(point[:, None] * columns, axis=0)
        excess = jnp.where(used & ~corral, products - unit * jnp.vdot(point, point), jnp.inf)
        worst = jnp.argmin(excess)
        enters = inside & (excess[worst] < -8 * eps * jnp.linalg.norm(point))
        corral = (corral & ~leaves) | (enters & (jnp.arange(num) == worst))
        return weights, corral, inside & ~enters, step + 1

    def unfinished(state: tuple) -> Array:
        return ~state[2] & (state[3] < 2 * num)

    state = (start, (start > 0) | enters, is_known, jnp.zeros((), jnp.int32))
    return lax.while_loop(unfinished, improve, state)[0]


def _least_squares(
    matrix: Float[Array, "equations unknowns"], target: Float[Array, "equations"]
) -> Float[Array, "unknowns"]:
    """The minimizer of `|matrix x - target|`; entries of columns that depend on others are 0.

    The modified method of Gram and Schmidt, with each combination of columns written below it.
    """
    num, unknowns = matrix.shape
    both = jnp.column_stack([matrix, target])
    least = (8 * jnp.finfo(both.dtype).eps) ** 2 * jnp.max(jnp.sum(both**2, axis=0))

    def eliminate(i: Array, work: Array) -> Array:
        column = work[:, i]
        square = jnp.sum(column[:num] ** 2)
        products = jnp.sum(column[:num, None] * work[:num], axis=0)
        parts = products / jnp.where(square > least, square, jnp.inf)
        return work - column[:, None] * jnp.where(jnp.arange(unknowns + 1) > i, parts, 0)[None]

    names = jnp.eye(unknowns, unknowns + 1, dtype=both.dtype)
    return -lax.fori_loop(0, unknowns, eliminate, jnp.concatenate([both, names]))[num:, -1]
