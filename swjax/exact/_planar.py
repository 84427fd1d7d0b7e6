"""SW_2^2 of two point clouds in the plane, without sampling directions.

Let `theta(f) = (cos f, sin f)` turn from `f = 0` to `pi`. The order of the projections of a cloud
changes only where two of its points project on the same number, so its k-th smallest point is
piecewise constant in `f`. Merging the breakpoints of the k-th points of both clouds gives at most
`2 n^2` pieces in all, on each of which the k-th point of `x` is some `x_i` and that of `y` some
`y_j`. A piece `[l, h]` contributes the integral of `(theta . D)^2`, `D = x_i - y_j`, which is
`D^T M D` with `M = int_l^h theta theta^T df`. Finding the pieces costs three sorts of `n^2` or
`2 n^2` numbers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from swjax._checks import as_real_array, working_dtype
from swjax.plane import crossing_angles, integrate_over_arcs

# Angles that differ by less are the same but for rounding.
_SIMULTANEOUS = 32 * float(jnp.finfo(jnp.float64).eps)


class _Levels(NamedTuple):
    """For each point (row), the intervals of the angle on which its rank is constant."""

    start: Float[Array, "n n"]
    place: Float[Array, "n n"]  # the start in double precision, without derivative
    rank: Int[Array, "n n"]  # n for an interval of length zero


class _Pieces(NamedTuple):
    """Intervals of the angle with the points of `x` and `y` that are matched there."""

    low: Float[Array, " pieces"]
    high: Float[Array, " pieces"]
    i: Int[Array, " pieces"]
    j: Int[Array, " pieces"]


def _levels(z: Float[Array, "n 2"]) -> _Levels:
    """Follow the rank of every point while the direction turns."""
    n = len(z)
    difference = z[:, None] - z[None]
    dx, dy = difference[..., 0], difference[..., 1]
    same = (dx == 0) & (dy == 0)
    place, angle = _crossings(z)
    # There, point i passes below point j if it began above it, and above if it began below.
    above = jnp.where(dx == 0, dy < 0, dx > 0)
    sign = jnp.where(same, 0, jnp.where(above, -1, 1))
    index = jnp.arange(n)
    first_rank = jnp.sum(above | (same & (index[None, :] < index[:, None])), axis=1)

    # Crossings closer than rounding may come out in an impossible order (three points on a line).
    # They are made simultaneous: each takes the angle of the first of its group, 0 being one too.
    with jax.enable_x64(True):
        ordered, where = lax.sort((place.reshape(-1), lax.iota(jnp.int32, n * n)), num_keys=1)
        ordered = jnp.concatenate([jnp.zeros(1, ordered.dtype), ordered])
        begins = jnp.diff(ordered) > _SIMULTANEOUS
    leader = lax.cummax(jnp.where(begins, jnp.arange(1, n * n + 1), 0))
    group = jnp.zeros(n * n, int).at[where].set(leader).reshape(n, n)

    # Rank of each point after each of its crossings: one integer sort per row.
    keys = jnp.sort(4 * group + sign + 1, axis=1)
    group, sign = keys // 4, keys % 4 - 1
    begin = jnp.concatenate([jnp.zeros((n, 1), int), group[:, :-1]], axis=1)
    change = jnp.concatenate([first_rank[:, None], sign[:, :-1]], axis=1)
    rank = jnp.where(begin == group, n, jnp.cumsum(change, axis=1))
    angles = jnp.concatenate([jnp.zeros(1, z.dtype), angle.reshape(-1)[where]])
    with jax.enable_x64(True):
        place = ordered[begin]
    return _Levels(angles[begin], place, rank)


def _crossings(z: Float[Array, "n 2"]) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """The angles at which two points project on the same number.

    In double precision, which their order needs: among n^2 / 2 of them many are closer than the
    rounding of float32; and in the type of the points, with derivatives.
    """
    with jax.enable_x64(True):
        exact = lax.stop_gradient(z).astype(jnp.float64)
        place = crossing_angles(exact[:, None] - exact[None])
        rounded = place.astype(z.dtype)
    angle = crossing_angles(z[:, None] - z[None])
    return place, angle + lax.stop_gradient(rounded - angle)


def _pieces(x: Float[Array, "n 2"], y: Float[Array, "n 2"]) -> _Pieces:
    """Merge the intervals of both clouds, rank by rank; surplus pieces have length zero."""
    n = len(x)
    levels = jax.vmap(_levels)(jnp.stack([x, y]))
    start = levels.start.reshape(-1)
    with jax.enable_x64(True):
        entry = lax.iota(jnp.int32, 2 * n * n)
        keys = levels.rank.reshape(-1), levels.place.reshape(-1), entry
        rank, _, entry = lax.sort(keys, num_keys=2, is_stable=True)
    cloud, point = entry // (n * n), entry % (n * n) // n
    step = jnp.arange(2 * n * n)
    newest = lax.cummax(jnp.where(cloud[None] == jnp.arange(2)[:, None], step[None], 0), axis=1)
    low = start[entry]
    last = jnp.concatenate([rank[1:] != rank[:-1], jnp.ones(1, bool)])
    high = jnp.where(last, jnp.asarray(jnp.pi, low.dtype), jnp.roll(low, -1))
    high = jnp.where(rank == n, low, high)
    return _Pieces(low, high, point[newest[0]], point[newest[1]])


def _turned(pieces: _Pieces, gap: Float[Array, "pieces 2"]) -> Float[Array, "pieces 2"]:
    """`M D` for each piece."""
    return integrate_over_arcs(pieces.low, pieces.high, gap)


@jax.custom_jvp
def _exact(x: Float[Array, "n 2"], y: Float[Array, "n 2"]) -> Float[Array, ""]:
    pieces = _pieces(x, y)
    gap = x[pieces.i] - y[pieces.j]
    return jnp.sum(gap * _turned(pieces, gap)) / (len(x) * jnp.pi)


@_exact.defjvp
def _exact_jvp(primals, tangents):
    # The breakpoints move too, but to first order without effect: the matched points exchange
    # there at equal projections. Second derivatives see them, through the angles in `pieces`.
    (x, y), (tangent_x, tangent_y) = primals, tangents
    pieces = _pieces(x, y)
    gap = x[pieces.i] - y[pieces.j]
    turned = _turned(pieces, gap)
    change = tangent_x[pieces.i] - tangent_y[pieces.j]
    scale = len(x) * jnp.pi
    return jnp.sum(gap * turned) / scale, 2 * jnp.sum(turned * change) / scale


_compiled = jax.jit(_exact)


def sw2_sq_exact_2d(x: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
    """The sliced-Wasserstein distance SW_2^2 of two clouds in the plane, exactly.

        SW_2^2 = (1/pi) int_0^pi (1/n) sum_k ((theta . x)_(k) - (theta . y)_(k))^2 df,
        theta = (cos f, sin f),

    integrated in closed form on each of the at most `2 n^2` pieces on which the matching of the
    sorted projections is constant. No directions are sampled: the error is that of rounding. The
    gradient is exact as well,

        d SW_2^2 / d x_k = (2 / (n pi)) sum_pieces M D    over the pieces that match x_k,

    and second derivatives are right where the points of each cloud differ. Where points of a cloud
    coincide the value is not differentiable in general; the derivative is then the one for the
    order of their indices.

    Time grows as `n^2 log n` and memory as `n^2`: about half a second and 30 MB at n = 500 on a
    CPU, in float32, with the gradient.

    Args:
        x: cloud of shape `(n, 2)`, equal weights.
        y: cloud of shape `(n, 2)`.

    Returns:
        Scalar, in float32 at least.

    Raises:
        ValueError: if the shapes are not both `(n, 2)` with `n >= 1`.
        TypeError: if a cloud is not of floating point type.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> round(float(sw2_sq_exact_2d(x, x + jnp.array([[3.0, 4.0]]))), 5)
    12.5
    >>> print(jax.grad(sw2_sq_exact_2d)(x, x + jnp.array([[3.0, 4.0]])).round(4)[0])
    [-1.     -1.3333]
    """
    x, y = as_real_array("x", x), as_real_array("y", y)
    if x.ndim != 2 or x.shape[1] != 2 or x.shape[0] == 0 or x.shape != y.shape:
        raise ValueError(
            "x and y must have the same shape (n, 2), points of the plane as rows; "
            f"got {x.shape} and {y.shape}. For clouds of n and m points, repeat every point of "
            "each until both have the least common multiple of n and m."
        )
    dtype = working_dtype(x, y)
    return _compiled(x.astype(dtype), y.astype(dtype))
