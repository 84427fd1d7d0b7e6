"""The velocity of a point cloud in the sliced-Wasserstein flow.

Along a direction `theta` the points of the cloud X, in ascending order, are matched with equal
shares of the target: the k-th smallest with the mean `q_k(theta)` of the target's quantile function
over `[(k - 1)/n, k/n]`, for n target points of equal weight the k-th smallest of them. A point is
drawn towards what it is matched with,

    v(x_i) = E_theta[ theta (q_k(theta) - theta . x_i) ],    k the rank of x_i along theta,

which is `-(n/2)` times the gradient of `E(X) = SW_2^2(X, Y)` in `x_i`, and the velocity field of
the Wasserstein gradient flow of `SW_2^2 / 2` at the empirical measure of X (Bonnotte 2013,
"Unidimensional and evolution methods for optimal transportation", chapter 5).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array, check_weights, checked_directions, working_dtype
from swjax.coupling1d import equal_staircase, inner_levels, weighted_staircase
from swjax.exact import sw2_sq_exact_2d
from swjax.rows import put_rows, take_rows
from swjax.slicing import default_chunk_size, project
from swjax.sorting import argsort, sort


class Target(NamedTuple):
    """A target cloud; weights of None are equal ones."""

    points: Float[Array, "m d"]
    weights: Float[Array, "m"] | None


class Slices(NamedTuple):
    """What a cloud of n points needs to know of its target, along blocks of directions.

    Attributes:
        directions: unit vectors, `(blocks, C, d)`.
        share: the weight of each direction, `(blocks, C)`, of sum 1; zero for padding.
        quantiles: what the k-th smallest point is matched with, `(blocks, n, C)`.
        rest: the mean over the directions of the target's variance within the n shares, a scalar:
            what is left of `SW_2^2` when every point is where it is drawn to.
    """

    directions: Float[Array, "blocks C d"]
    share: Float[Array, "blocks C"]
    quantiles: Float[Array, "blocks n C"]
    rest: Float[Array, ""]


def sliced_velocity(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> Float[Array, "n d"]:
    """The velocity of every point of a cloud in the sliced-Wasserstein flow towards a target.

        v(x_i) = E_theta[ theta (q_k(theta) - theta . x_i) ] = -(n/2) dSW_2^2(X, Y)/dx_i,

    `k` the rank of `x_i` along `theta` and `q_k` the k-th of n quantiles of the target. It points
    downhill: a step is `x + step_size * v`. (Liutkus, Simsekli, Majewski, Durmus and Stoter 2019,
    "Sliced-Wasserstein flows", define their drift with this sign too, but print a minus before it
    in Algorithm 1; that step climbs, and flees from the target.)

    Args:
        x: cloud, shape (n, d).
        y: target cloud, shape (m, d).
        directions: unit vectors as rows, shape (L, d), each of weight 1/L; None for all directions
            of the line or, in closed form, of the plane (equal weights only; time and memory grow
            with the square of the least common multiple of n and m).
        b: weights of y, shape (m,); None stands for 1/m each.

    Returns:
        Array (n, d), with the stable order of indices where points of x have the same projection.

    Raises:
        TypeError: if an array is not of floating-point type.
        ValueError: if shapes do not fit together, a cloud is empty, directions are missing in
            dimension 3 or more or not of unit length, or weights are no weights.

    Example:
        >>> x, shift = jnp.array([[0.0, 0.0], [1.0, 0.0]]), jnp.array([[2.0, 4.0]])
        >>> print(jnp.rint(sliced_velocity(x, x + shift)))  # towards a translate: the shift over d
        [[1. 2.]
         [1. 2.]]
    """
    return velocity_over(*checked_clouds(x, y, directions, b))


@jax.jit
def velocity_over(
    x: Float[Array, "n d"], target: Target, directions: Float[Array, "L d"] | None
) -> Float[Array, "n d"]:
    """The velocity over given directions, or over all."""
    return drift(x, target, slices_of(target, directions, x.shape[0]))[0]


def checked_clouds(
    x: ArrayLike,
    y: ArrayLike,
    directions: ArrayLike | None,
    b: ArrayLike | None,
    *,
    drawn: bool = False,
) -> tuple[Float[Array, "n d"], Target, Float[Array, "L d"] | None]:
    """Cloud, target and directions in one type, or the reason why they do not fit together.

    No directions stand for all of them, or, if these are `drawn`, for none yet.
    """
    x, y = as_real_array("x", x), as_real_array("y", y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in x.shape + y.shape:
        raise ValueError(
            "x and y must be clouds (n, d) and (m, d) of at least one point each in the same "
            f"space; got {x.shape} and {y.shape}. Many clouds are a jax.vmap."
        )
    b = check_weights("b", b, "y", y.shape[:1])
    dim = x.shape[1]
    if directions is None and not drawn:
        directions = _all_directions(dim, b, x.dtype)
    given = None if directions is None else as_real_array("directions", directions)
    dtype = working_dtype(x, y, given, b)
    rows = None if given is None else checked_directions(given, dim).astype(dtype)
    weights = None if b is None else b.astype(dtype)
    return x.astype(dtype), Target(y.astype(dtype), weights), rows


def _all_directions(dim: int, b: Array | None, dtype: jnp.dtype) -> Array | None:
    """That of the line; None in the plane, where a closed form needs none; else an error."""
    if dim == 2 and b is not None:
        raise ValueError(
            "The closed form in the plane is for equal weights; with weights b pass directions, "
            "for example equispaced_directions(256)."
        )
    if dim > 2:
        raise ValueError(
            f"In dimension {dim} there is no closed form of the mean over all directions; pass "
            f"directions (L, {dim}), for example sample_orthogonal_directions(key, 256, {dim})."
        )
    return jnp.ones((1, 1), dtype) if dim == 1 else None


def slices_of(
    target: Target, directions: Float[Array, "L d"] | None, num_points: int
) -> Slices | None:
    """Sort the target along given directions once; None where all directions are meant."""
    if directions is None:
        return None
    y, b = target
    num, dim = directions.shape
    num_blocks = -(-num // default_chunk_size(num_points + y.shape[0]))
    size = -(-num // num_blocks)
    padding = num_blocks * size - num
    blocks = jnp.pad(directions, ((0, padding), (0, 0)), mode="edge")
    blocks = blocks.reshape(num_blocks, size, dim)
    share = jnp.pad(jnp.full(num, 1 / num, y.dtype), (0, padding)).reshape(num_blocks, size)

    def along(block: Array, share: Array) -> tuple[Array, Array]:
        quantiles, variances = _quantile_means(project(y, block), b, num_points)
        return quantiles, jnp.sum(share * variances)

    quantiles, rests = lax.map(lambda block: along(*block), (blocks, share))
    return Slices(blocks, share, quantiles, jnp.sum(rests))


def drift(
    x: Float[Array, "n d"], target: Target, slices: Slices | None
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    """The velocity of every point, and SW_2^2 to the target, over the same directions."""
    if slices is None:
        return _planar_drift(x, target.points)
    if slices.share.shape[0] == 1:
        velocity, square = _block_drift(x, *(part[0] for part in slices[:3]))
        return velocity, square + slices.rest

    def add(total: tuple, block: tuple) -> tuple[tuple, None]:
        return jax.tree.map(jnp.add, total, _block_drift(x, *block)), None

    velocity, square = lax.scan(add, (jnp.zeros_like(x), slices.rest), slices[:3])[0]
    return velocity, square


def _block_drift(
    x: Float[Array, "n d"],
    directions: Float[Array, "C d"],
    share: Float[Array, "C"],
    quantiles: Float[Array, "n C"],
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    """What one block of directions adds to the velocity and to the squared distance."""
    projected = project(x, directions)
    gap = put_rows(argsort(projected), quantiles) - projected
    velocity = jnp.matmul(gap * share[None], directions, precision=lax.Precision.HIGHEST)
    return velocity, jnp.sum(share * jnp.mean(gap**2, axis=0))


def _planar_drift(
    x: Float[Array, "n 2"], y: Float[Array, "m 2"]
) -> tuple[Float[Array, "n 2"], Float[Array, ""]]:
    """The mean over all directions of the plane, for equal weights."""
    n, m = x.shape[0], y.shape[0]
    common = math.lcm(n, m)
    every = lambda x: sw2_sq_exact_2d(
        jnp.repeat(x, common // n, axis=0), jnp.repeat(y, common // m, axis=0)
    )
    value, gradient = jax.value_and_grad(every)(x)
    return -n / 2 * gradient, value


def _quantile_means(
    projected: Float[Array, "m C"], b: Float[Array, "m"] | None, num: int
) -> tuple[Float[Array, "n C"], Float[Array, "C"]]:
    """In every lane, the means of the quantile function over the n equal parts of [0, 1].

    And the mean over all of [0, 1] of its squared distance to these. As a difference of two mean
    squares that would be lost in rounding where a cloud is far from the origin.
    """
    m, lanes = projected.shape
    if b is None:
        ordered = sort(projected)
        if m % num == 0:
            parts = ordered.reshape(num, m // num, lanes)
            means = jnp.mean(parts, axis=1)
            return means, jnp.mean((parts - means[:, None]) ** 2, axis=(0, 1))
        stairs = equal_staircase(num, m, 1, projected.dtype)
        i, j = (side[:, 0] for side in stairs.cells())
        total = jnp.zeros((num, lanes), projected.dtype)
        means = num * total.at[i].add(stairs.mass * ordered[j])
        return means, jnp.sum(stairs.mass * (ordered[j] - means[i]) ** 2, axis=0)
    order = argsort(projected)
    levels = jnp.arange(1, num, dtype=projected.dtype)[:, None] / num
    levels = jnp.broadcast_to(levels, (num - 1, lanes))
    stairs = weighted_staircase(levels, inner_levels(b[:, None], order))
    i, j = stairs.cells()
    lane = lax.broadcasted_iota(jnp.int32, i.shape, 1)
    add_up = lambda mass: jnp.zeros((num, lanes), mass.dtype).at[i, lane].add(mass)
    values = take_rows(take_rows(projected, order), j)
    mass = add_up(stairs.mass)
    means = add_up(stairs.mass * values) / jnp.where(mass > 0, mass, 1)
    return means, jnp.sum(stairs.mass * (values - means[i, lane]) ** 2, axis=0)
