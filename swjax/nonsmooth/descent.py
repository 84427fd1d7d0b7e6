"""Is there a way down, or a way up, from a kink? Tests that need only limiting gradients.

They serve functions `F` whose kinks point upward (semiconcave ones), such as the sliced-Wasserstein
energy as a function of the points and the population loss of a smooth generator. There the
one-sided derivative is

    F'(u; v) = min { g . v : g in d_C F(u) },

concave in `v`, and an oracle is at hand that takes a direction `v` and returns a `g(v)` in `d_C
F(u)` attaining the minimum (`limiting_gradient`, `population_limiting_gradient`). Two numbers tell
what kind of point `u` is:

    max_{|v| = 1} F'(u; v)+ = dist(0, d_C F(u)),      the Clarke residual: zero if no way goes up,
    min_{|v| = 1} F'(u; v) = -max { |g| : g in d_C F(u) },    zero if no way goes down.

Ridges are Clarke-critical and have a way down. Only at points where `F` is differentiable with
gradient zero is there none.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from swjax.nonsmooth.min_norm import min_norm_point
from swjax.nonsmooth.vectors import flatten, safe

Oracle = Callable[[PyTree], PyTree]


class ClarkeResidual(NamedTuple):
    """Bounds on the distance from zero to the Clarke subdifferential.

    Attributes:
        upper: norm of an element of the subdifferential, an upper bound.
        lower: the one-sided derivative along `ascent`, or 0; a lower bound.
        ascent: a unit vector, a tree like the point: nearly the direction of steepest ascent where
            the residual is not zero.
    """

    upper: Float[Array, ""]
    lower: Float[Array, ""]
    ascent: PyTree


def clarke_residual(
    oracle: Oracle, like: PyTree, key: Array, *, num_steps: int = 50
) -> ClarkeResidual:
    """The distance from zero to the Clarke subdifferential, without listing its vertices.

    Minimizes `|g|` over `d_C F(u)` by the fully corrective conditional gradient method: the point
    `p` of least norm in the hull of the limiting gradients found so far gives the next direction,
    and `g(p)` joins them. For every `p` in the set

        F'(u; p / |p|) = g(p) . p / |p|  <=  max_{|v| = 1} F'(u; v)  =  dist(0, d_C F(u))  <=  |p|,

    so both bounds hold after any number of steps, up to rounding.

    Args:
        oracle: maps a direction (a tree like `like`) to a limiting gradient along it.
        like: a tree of the shapes of the point, for example the point itself.
        key: a JAX random key, for the first direction.
        num_steps: number of limiting gradients used.

    Returns:
        `ClarkeResidual(upper, lower, ascent)`, two scalars and a tree.

    Raises:
        ValueError: if `num_steps` is below 1.

    >>> import jax.numpy as jnp
    >>> upward_kink = lambda v: 1.0 - jnp.sign(v) * 3.0  # F(u) = u - 3 |u|, at 0
    >>> residual = clarke_residual(upward_kink, jnp.zeros(1), jax.random.key(0))
    >>> bool(residual.upper < 1e-3)
    True
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    zero, restore = flatten("like", like)
    limit = _flat_oracle(oracle, zero, restore)
    start = _unit_rows_like(key, 1, zero)[0]

    def add_one(carry, step):
        found, best, ascent = carry
        # Unused rows repeat the first gradient, which does not change the hull.
        used = (jnp.arange(num_steps) < step)[:, None]
        nearest = min_norm_point(jnp.where(used, found, found[:1]))
        way_up = jnp.where(step == 0, start, nearest.point / safe(nearest.norm))
        new = limit(way_up)
        rise = jnp.vdot(new, way_up)
        better = rise > best
        carry = found.at[step].set(new, mode="drop"), jnp.where(better, rise, best)
        return (*carry, jnp.where(better, way_up, ascent)), nearest.norm

    carry = (jnp.zeros((num_steps, zero.size), zero.dtype), jnp.zeros((), zero.dtype), start)
    (_, lower, ascent), norms = jax.lax.scan(add_one, carry, jnp.arange(num_steps + 1))
    upper = norms[-1]
    return ClarkeResidual(upper, jnp.minimum(lower, upper), restore(ascent))


class DescentTest(NamedTuple):
    """The steepest way down that was found.

    Attributes:
        slope: the smallest one-sided derivative found over unit vectors, an upper bound of the
            minimum; negative if there is a way down.
        direction: the unit vector, a tree like the point, that has it.
        kink: the largest `-F'(u; v) - F'(u; -v)` over the random starts, the width of the
            subdifferential along `v`: zero where `F` is differentiable, and positive with
            probability one where it is not.
    """

    slope: Float[Array, ""]
    direction: PyTree
    kink: Float[Array, ""]

    def reading(self, tolerance: float) -> str:
        """What the numbers say, in words, with values up to `tolerance` taken for zero."""
        slope, kink = float(self.slope), float(self.kink)
        where = "a kink" if kink > tolerance else "a differentiable point"
        if slope < -tolerance:
            return f"{where} with a way down: one-sided derivative {slope:.3g}"
        return f"{where} with no way down to first order"


def descent_test(
    oracle: Oracle, like: PyTree, key: Array, *, num_starts: int = 8, num_steps: int = 30
) -> DescentTest:
    """Look for a direction along which the function decreases to first order.

    The minimum of the concave function `v -> F'(u; v)` over unit vectors equals `-max |g|` over the
    Clarke subdifferential. From random starts, `v <- -g(v) / |g(v)|` is repeated: every step
    satisfies `F'(u; v_new) <= -|g(v)| <= F'(u; v)`, so the slope never increases, and it ends in a
    local minimum. A negative slope is a proof of descent. That there is none is established with
    probability one: unless the subdifferential is the single point zero, almost every `v` has
    `F'(u; v) < 0` or `F'(u; -v) < 0`.

    Args:
        oracle: maps a direction (a tree like `like`) to a limiting gradient along it.
        like: a tree of the shapes of the point, for example the point itself.
        key: a JAX random key, for the starts.
        num_starts: number of random directions; each is used together with its opposite.
        num_steps: number of steps from each.

    Returns:
        `DescentTest(slope, direction, kink)`; `.reading(tolerance)` puts it in words.

    Raises:
        ValueError: if `num_starts` or `num_steps` is below 1.

    >>> import jax.numpy as jnp
    >>> upward_kink = lambda v: 1.0 - jnp.sign(v) * 3.0  # F(u) = u - 3 |u|, at 0
    >>> print(descent_test(upward_kink, jnp.zeros(1), jax.random.key(0)).reading(1e-6))
    a kink with a way down: one-sided derivative -4
    """
    if num_starts < 1 or num_steps < 1:
        raise ValueError(
            f"num_starts and num_steps must be at least 1, got {num_starts} and {num_steps}."
        )
    zero, restore = flatten("like", like)
    limit = _flat_oracle(oracle, zero, restore)
    starts = _unit_rows_like(key, num_starts, zero)

    def go_down(v: Array) -> tuple[Array, Array]:
        def step(v: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
            gradient = limit(v)
            size = jnp.linalg.norm(gradient)
            new = jnp.where(size > 0, -gradient / safe(size), v)
            return new, (jnp.vdot(gradient, v), v)

        return jax.lax.scan(step, v, None, length=num_steps + 1)[1]

    slopes, visited = jax.lax.map(go_down, jnp.concatenate([starts, -starts]))
    kink = jnp.max(-slopes[:num_starts, 0] - slopes[num_starts:, 0])
    best = jnp.argmin(slopes)
    direction = visited.reshape(-1, zero.size)[best]
    return DescentTest(slopes.ravel()[best], restore(direction), kink)


def _flat_oracle(
    oracle: Oracle, zero: Array, restore: Callable[[Array], PyTree]
) -> Callable[[Array], Array]:
    def limit(v: Array) -> Array:
        gradient, _ = flatten("oracle(v)", oracle(restore(v)))
        if gradient.shape != zero.shape:
            raise ValueError(
                f"The oracle returns {gradient.size} numbers for {zero.size}; it must return a "
                "tree like the direction."
            )
        return gradient.astype(zero.dtype)

    return limit


def _unit_rows_like(key: Array, num: int, zero: Array) -> Array:
    rows = jax.random.normal(key, (num, zero.size), zero.dtype)
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
