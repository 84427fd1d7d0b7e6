"""The max-sliced Wasserstein distance: the direction in which two clouds differ most.

With W_2^2(theta) for the cost between the clouds projected on the unit vector theta, this is the
maximum over the sphere (Deshpande et al. 2019, "Max-sliced Wasserstein distance and its use for
GANs"), where `sw2_sq` is the mean.

W_2^2(theta) is the least, over all couplings pi, of the quadratic forms::

    theta^T A(pi) theta,    A(pi) = sum_ij pi_ij (x_i - y_j) (x_i - y_j)^T;

so it is not concave, it has several local maxima, and these often lie on kinks, where two couplings
cost the same. Hence many starts, and steps whose length does not depend on that of the gradient:
every start moves along great circles, in the direction of the tangential gradient, by angles that
decrease geometrically. Near a sharp maximum this converges linearly (Davis, Drusvyatskiy, MacPhee
and Paquette 2018, "Subgradient methods for sharp weakly convex functions"); the gradient step of
constant size does not converge there, and the backtracked one gets stuck on ridges.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import as_count
from swjax._types import AnyKey
from swjax.directions import sample_directions
from swjax.slicing import Problem, checked_pair, costs, zero_like

# The angle of the first and of the last step, in radians.
_FIRST_ANGLE = 0.5
_LAST_ANGLE = 1e-5
# Random directions to choose every start from.
_CANDIDATES_PER_START = 4


class MaxSliced(NamedTuple):
    """The largest cost found over all directions.

    Attributes:
        value: W_2^2 between the clouds projected on `direction`.
        direction: A unit vector, shape (d,); its sign has no meaning.
    """

    value: Float[Array, ""]
    direction: Float[Array, "d"]


def max_sw2_sq(
    x: ArrayLike,
    y: ArrayLike,
    key: AnyKey,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    num_steps: int = 100,
    num_starts: int = 16,
) -> MaxSliced:
    """The maximum of W_2^2 over the directions, by gradient ascent on the sphere.

    The starts are the best of a pool: the direction between the two means, and four random
    directions for every start. The result is the best point that any start has visited, hence a
    lower bound of the maximum; more steps and starts bring it closer. It takes
    ``num_steps * num_starts`` sorts of both clouds.

    With default settings it fell short of the best of long searches, for random clouds, by less
    than 1e-5 of the maximum in the plane, 1e-4 in dimension 3, and, from 300 points on, up to
    dimension 50. For 5 points in dimension 10 the shortfall reached 0.3 %.

    The derivative in the clouds and the weights is that of W_2^2 with the direction held fixed,
    which is right at a maximum (Danskin's theorem). The direction itself carries no derivative.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        key: A JAX random key, for the starts.
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        num_steps: Steps of ascent from every start, at least 1.
        num_starts: Starts, which move side by side, at least 1.

    Returns:
        `MaxSliced`: the value, a scalar, and the direction, shape (d,).

    Raises:
        TypeError: If an input is not a floating-point array, or a number is not a Python integer.
        ValueError: As `sw2_sq`, and if `num_steps` or `num_starts` is below 1.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> result = max_sw2_sq(x, x + jnp.array([[3.0, 4.0]]), jax.random.key(0))
        >>> round(float(result.value), 3), abs(result.direction).round(3).tolist()
        (25.0, [0.6000000238418579, 0.800000011920929])
    """
    num_steps = as_count("num_steps", num_steps)
    num_starts = as_count("num_starts", num_starts)
    problem = checked_pair(x, y, a, b)
    direction = _search(lax.stop_gradient(problem), key, num_steps, num_starts)
    direction = lax.stop_gradient(direction)
    return MaxSliced(costs(problem._replace(directions=direction[None]), 2.0)[0], direction)


@partial(jax.jit, static_argnames=("num_steps", "num_starts"))
def _search(problem: Problem, key: AnyKey, num_steps: int, num_starts: int) -> Float[Array, "d"]:
    ratio = (_LAST_ANGLE / _FIRST_ANGLE) ** (1 / max(num_steps - 1, 1))
    angles = _FIRST_ANGLE * ratio ** np.arange(num_steps + 1)

    def visit(state: tuple[Array, Array, Array], angle: Array) -> tuple[tuple, None]:
        points, best_values, best_points = state
        values, slopes = _values_and_slopes(problem, points)
        better = values > best_values
        best_points = jnp.where(better[:, None], points, best_points)
        moved = jnp.cos(angle) * points + jnp.sin(angle) * _unit_rows(slopes)
        return (
            _unit_rows(moved, points),
            jnp.where(better, values, best_values),
            best_points,
        ), None

    points = _starts(problem, key, num_starts) + zero_like(problem)
    nothing = jnp.full(num_starts, zero_like(problem) - jnp.inf)
    angles = jnp.asarray(angles, points.dtype)  # the last visit makes a step that nobody sees
    (_, values, points), _ = lax.scan(visit, (points, nothing, points), angles)
    return points[jnp.argmax(values)]


def _starts(problem: Problem, key: AnyKey, num: int) -> Float[Array, "S d"]:
    """The best of many random directions and of the direction between the means."""
    x, y, _, a, b = problem
    pool = sample_directions(key, _CANDIDATES_PER_START * num, x.shape[1]).astype(x.dtype)
    mean = lambda points, weights: jnp.average(points, axis=0, weights=weights)
    shift = _unit_rows((mean(y, b) - mean(x, a))[None], pool[:1])
    pool = jnp.concatenate([shift, pool])
    values = costs(problem._replace(directions=pool), 2.0)
    return pool[lax.top_k(values, num)[1]]


def _values_and_slopes(
    problem: Problem, points: Float[Array, "S d"]
) -> tuple[Float[Array, "S"], Float[Array, "S d"]]:
    """W_2^2 in every direction, and its gradient along the sphere."""
    values, pull = jax.vjp(lambda rows: costs(problem._replace(directions=rows), 2.0), points)
    (slopes,) = pull(jnp.ones_like(values))
    return values, slopes - jnp.sum(slopes * points, axis=1, keepdims=True) * points


def _unit_rows(rows: Float[Array, "S d"], otherwise: Float[Array, "S d"] | None = None) -> Array:
    """Rows of length 1; a zero row becomes that of `otherwise`, or stays zero."""
    scale = jnp.max(jnp.abs(rows), axis=1, keepdims=True)  # squares must not underflow
    rows = rows / jnp.where(scale > 0, scale, 1)
    length = jnp.sqrt(jnp.sum(jnp.square(rows), axis=1, keepdims=True))
    fallback = jnp.zeros_like(rows) if otherwise is None else otherwise
    return jnp.where(length > 0, rows / jnp.where(length > 0, length, 1), fallback)
