"""An estimate of the sliced-Wasserstein distance that draws directions until it is good enough."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from swjax._checks import as_count, check_unit_length, is_concrete
from swjax._types import AnyKey
from swjax.controls import ControlVariate, known_means, num_controls
from swjax.directions import sample_directions
from swjax.estimates import Estimate, fit_moments, of_parts
from swjax.regression import Moments, add_moments, moments_of
from swjax.slicing import Problem, checked_pair

# A round may go beyond `max_directions`, and the count is of 32 bits.
_MOST_DIRECTIONS = 2**30


class Adaptive(NamedTuple):
    """What an adaptive estimate has come to.

    Attributes:
        estimate: The `Estimate`.
        num_directions: The number of directions that were drawn, an integer scalar.
        converged: Whether the tolerance was met, a boolean scalar.
    """

    estimate: Estimate
    num_directions: Int[Array, "*batch"]
    converged: Bool[Array, "*batch"]


def sw2_sq_adaptive(
    x: ArrayLike,
    y: ArrayLike,
    key: AnyKey,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    rtol: float | int,
    max_directions: int = 2**20,
    sample: Callable[[AnyKey], Array] | None = None,
    control_variate: str | None = None,
) -> Adaptive:
    """Add directions until the standard error of SW_2^2 is at most `rtol` times its value.

    Directions come in rounds of 256, or of 16 sets if a set has more than 16; after each, the error
    is that of `sw2_sq_estimate` for all directions so far. The loop runs inside JAX, so the
    function can be compiled and vmapped; it has no reverse-mode derivative.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (m, d).
        key: A JAX random key, for the directions.
        a: Weights of x, shape (n,), nonnegative and of sum 1; None stands for 1/n each.
        b: Weights of y, shape (m,); None stands for 1/m each.
        rtol: The relative standard error to reach, positive.
        max_directions: End with the round in which so many directions are reached; at most 2^30.
        sample: How to draw one set of directions, a function of a key that returns unit vectors
            (L, d), for example ``lambda key: sample_quasi_directions(key, 64, d)``; None stands for
            independent directions. It is compiled once for each function object.
        control_variate: "moments", "gaussian" or None.

    Returns:
        `Adaptive(estimate, num_directions, converged)`.

    Raises:
        TypeError: As `sw2_sq`, and if `max_directions` is not an integer.
        ValueError: As `sw2_sq_estimate`, if `rtol` or `max_directions` is not positive or the
            latter too large, or if `sample` does not return an array (L, d) of unit vectors.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> y = x + jnp.array([[3.0, 4.0]])
        >>> found = sw2_sq_adaptive(x, y, jax.random.key(0), rtol=0.01)
        >>> bool(found.converged), abs(float(found.estimate.value) - 12.5) < 0.5
        (True, True)
    """
    num_controls(control_variate)
    max_directions = as_count("max_directions", max_directions)
    if max_directions > _MOST_DIRECTIONS:
        raise ValueError(
            f"max_directions = {max_directions}; at most {_MOST_DIRECTIONS} (2^30) can be counted."
        )
    if not isinstance(rtol, Real) or not rtol > 0:
        raise ValueError(f"rtol = {rtol!r}; expected a positive number, like 0.01.")
    problem = checked_pair(x, y, a, b)
    dim = problem.x.shape[1]
    if sample is not None:
        shape = jax.eval_shape(sample, key).shape
        if len(shape) != 2 or shape[1] != dim or 0 in shape:
            raise ValueError(f"sample(key) has shape {shape}; expected (L, {dim}).")
        if is_concrete(key):
            check_unit_length(sample(key))
    tolerance = jnp.asarray(rtol, problem.x.dtype)
    return _until_accurate(problem, key, tolerance, sample, control_variate, max_directions)


@partial(jax.jit, static_argnames=("sample", "kind", "max_directions"))
def _until_accurate(
    problem: Problem,
    key: AnyKey,
    rtol: Float[Array, ""],
    sample: Callable[[AnyKey], Array] | None,
    kind: ControlVariate | None,
    max_directions: int,
) -> Adaptive:
    dim, dtype = problem.x.shape[1], problem.x.dtype
    draw = sample or (lambda key: sample_directions(key, 1, dim))
    size = jax.eval_shape(draw, key).shape[0]
    num_parts = max(16, 256 // size)
    known = known_means(lax.stop_gradient(problem), kind)

    def one_round(k: Array) -> Moments:
        directions = jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, k), num_parts))
        directions = directions.reshape(-1, dim).astype(dtype)
        more = problem._replace(directions=directions)
        return moments_of(*of_parts(more, known, 2.0, kind, num_parts))

    def goes_on(state: tuple[Moments, Array]) -> Array:
        fit = fit_moments(state[0], known)  # NaN ends it
        return (fit.error > rtol * jnp.abs(fit.value)) & (state[1] < max_rounds)

    max_rounds = -(-max_directions // (num_parts * size))
    moments, k = lax.while_loop(
        goes_on,
        lambda state: (add_moments(state[0], one_round(state[1])), state[1] + 1),
        (one_round(jnp.int32(0)), jnp.int32(1)),
    )
    found = Estimate(*fit_moments(moments, known))
    converged = found.standard_error <= rtol * jnp.abs(found.value)
    return Adaptive(found, k * (num_parts * size), converged)
