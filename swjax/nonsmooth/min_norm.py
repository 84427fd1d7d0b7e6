"""The point of least norm in a convex hull, the small quadratic program behind every certificate.

The distance from zero to a set of subgradients is the norm of that point. The solver returns a
point of the hull together with a proof of how far from optimal it can be, so that a residual
computed from it can be trusted without trusting the solver.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax.projections import projection_simplex

from swjax._checks import as_real_array, is_concrete, working_dtype
from swjax.nonsmooth.vectors import euclidean_norm, safe


class MinNormPoint(NamedTuple):
    """A point of `conv{v_i} + cone{w}` of nearly least norm, with a bound on what is missing.

    Attributes:
        point: the point `(d,)`.
        norm: its Euclidean norm, never less than the least norm.
        lower: a lower bound of the least norm: `lower <= least norm <= norm`.
        weights: its coefficients `(m,)` in the simplex; an entry is zero where unused.
        multiplier: its coefficient `s >= 0` of the ray (0 without a ray).
        num_steps: number of iterations made.
    """

    point: Float[Array, " d"]
    norm: Float[Array, ""]
    lower: Float[Array, ""]
    weights: Float[Array, " m"]
    multiplier: Float[Array, ""]
    num_steps: Int[Array, ""]


def min_norm_point(
    vectors: ArrayLike,
    ray: ArrayLike | None = None,
    *,
    tolerance: float | None = None,
    num_steps: int = 5000,
) -> MinNormPoint:
    """Find the point of least norm in a convex hull, or in a hull plus a half-line.

    Solves, over `l` in the simplex and `s >= 0`,

        min | sum_i l_i v_i + s w |

    by accelerated projected gradient steps with restarts. The variable `s` is eliminated exactly:
    the best one is `max(0, -w . z) / |w|^2` for `z = sum_i l_i v_i`. For the current point `p`
    every `q` of the set satisfies `q . p >= min_i v_i . p`, hence the two bounds

        min_i (v_i . p) / |p|  <=  least norm  <=  |p|,

    which hold after any number of iterations (up to rounding). Works under `jit` and `vmap`.

    Args:
        vectors: `(m, d)`, the vectors `v_i` as rows, `m >= 1`.
        ray: `(d,)`, the direction `w` of the half-line, not zero; `None` for the hull alone.
        tolerance: the iterations stop once the two bounds differ by at most this times
            `max_i |v_i|`. By default 32 times the machine epsilon.
        num_steps: the largest number of iterations.

    Returns:
        `MinNormPoint(point (d,), norm, lower, weights (m,), multiplier, num_steps)`.

    Raises:
        ValueError: if the shapes do not fit or, where values are known, an entry is not finite or
            the ray is zero.
        TypeError: if an array is not of floating-point type.

    >>> import jax.numpy as jnp
    >>> nearest = min_norm_point(jnp.array([[2.0, 0.0], [0.0, 2.0]]))
    >>> print(nearest.point.round(3), round(float(nearest.norm), 3))
    [1. 1.] 1.414
    >>> float(min_norm_point(jnp.array([[2.0, 0.0]]), ray=jnp.array([-1.0, 0.0])).norm)
    0.0
    """
    vectors = as_real_array("vectors", vectors)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(f"vectors must be (m, d) with m, d >= 1, got shape {vectors.shape}.")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    direction = None if ray is None else as_real_array("ray", ray)
    if direction is not None and direction.shape != vectors.shape[1:]:
        raise ValueError(f"ray must be {vectors.shape[1:]} like a vector, got {direction.shape}.")
    for name, values in (("vectors", vectors), ("ray", direction)):
        if values is not None and is_concrete(values) and not np.isfinite(values).all():
            raise ValueError(f"{name} has entries that are not finite.")
    if direction is not None and is_concrete(direction) and not np.any(direction):
        raise ValueError("ray is zero; pass None where there is no half-line to add.")
    dtype = working_dtype(vectors)
    if direction is None:
        direction = jnp.zeros(vectors.shape[1:], dtype)
    if tolerance is None:
        tolerance = 32 * float(jnp.finfo(dtype).eps)
    return solve(vectors.astype(dtype), direction.astype(dtype), tolerance, num_steps)


@jax.jit
def solve(
    vectors: Float[Array, "m d"],
    ray: Float[Array, " d"],
    tolerance: ArrayLike,
    num_steps: ArrayLike,
) -> MinNormPoint:
    """`min_norm_point` without checks; a ray of zeros is none."""
    scale = safe(jnp.max(jnp.abs(vectors)))
    rows = vectors / scale
    length = euclidean_norm(ray)
    outward = ray / safe(length)
    largest = jnp.sqrt(jnp.max(jnp.sum(rows**2, axis=1)))
    # The gradient of |sum l_i v_i|^2 / 2 in l is Lipschitz with the largest eigenvalue of V V^T. On
    # the simplex only differences of rows count, which makes long steps for rows close together.
    dot = lambda p, q: jnp.matmul(p, q, precision="highest")
    spread = rows - jnp.mean(rows, axis=0)[None]
    gram = dot(spread, spread.T) if rows.shape[0] <= rows.shape[1] else dot(spread.T, spread)
    curvature = safe(1.01 * jnp.linalg.eigvalsh(gram)[-1])

    def point_of(weights: Array) -> tuple[Array, Array]:
        hull = dot(weights, rows)
        multiplier = jnp.maximum(-dot(hull, outward), 0)
        return hull + multiplier * outward, multiplier

    def gap_of(weights: Array) -> Array:
        point, _ = point_of(weights)
        norm = euclidean_norm(point)
        return norm - jnp.maximum(jnp.min(dot(rows, point)) / safe(norm), 0)

    def unfinished(carry):
        step, *_, gap = carry
        return (step < num_steps) & (gap > tolerance * largest)

    def advance(carry):
        step, weights, ahead, momentum, best, best_gap = carry
        slope = dot(rows, point_of(ahead)[0])
        # With x64 on, the projection of float32 comes in float64.
        new = projection_simplex(ahead - slope / curvature).astype(rows.dtype)
        # O'Donoghue and Candes (2015): drop the momentum when it points uphill.
        uphill = dot(ahead - new, new - weights) > 0
        momentum = jnp.where(uphill, 1, momentum)
        next_momentum = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        push = jnp.where(uphill, 0, (momentum - 1) / next_momentum)
        gap = gap_of(new)
        better = gap < best_gap
        best = jnp.where(better, new, best)
        ahead = new + push * (new - weights)
        return step + 1, new, ahead, next_momentum, best, jnp.where(better, gap, best_gap)

    num = rows.shape[0]
    start = jnp.full(num, 1 / num, rows.dtype)
    one = jnp.ones((), rows.dtype)
    carry = (jnp.zeros((), jnp.int32), start, start, one, start, gap_of(start))
    steps, _, _, _, weights, _ = jax.lax.while_loop(unfinished, advance, carry)
    point, multiplier = point_of(weights)
    norm = euclidean_norm(point)
    lower = jnp.clip(jnp.min(dot(rows, point)) / safe(norm), 0, norm)
    multiplier = multiplier * scale / safe(length)
    return MinNormPoint(point * scale, norm * scale, lower * scale, weights, multiplier, steps)


def min_norm_with_normal(
    rows: Array, u: Array, near_sphere: Array | bool, outside: Array | bool
) -> MinNormPoint:
    """The least element of `conv(rows) + cone{u}`, or of `conv(rows)` away from the sphere."""
    ray = jnp.where(near_sphere, u, jnp.zeros_like(u)).astype(rows.dtype)
    nearest = solve(rows, ray, 32 * float(jnp.finfo(rows.dtype).eps), 5000)
    invalid = lambda bound: jnp.where(outside, jnp.nan, bound)
    return nearest._replace(norm=invalid(nearest.norm), lower=invalid(nearest.lower))
