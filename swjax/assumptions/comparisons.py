"""A generator at a few fixed parameters and points: in a batch and alone, by JAX and by its parts.

Two things that reading the program for one point cannot show: whether points of a batch influence
each other, and whether the derivative that JAX returns is that of the function.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, PyTree

from swjax.assumptions.operations import operations_alone
from swjax.assumptions.program import is_real, trace, with_real

_NUM_POINTS = 8
# Random parameters have these shares of the radius as norm; the first are added to those given.
_SHARES = (0.1, 0.5, 1.0)
# Parts of the derivative below this share of the largest are compared as if they were that large:
# they may be rounding error.
_SMALL = 1e-3


class Comparison(NamedTuple):
    """Relative differences, the largest over all parameters and points tried.

    Attributes:
        batch: between points mapped together and one by one. NaN if no batch could be mapped to
            numbers.
        derivative: between the derivative in the parameters that JAX returns and that of the
            operations, array by array. NaN if one of them does not exist.
        num_params: number of parameters tried.
        num_points: number of points tried.
    """

    batch: float
    derivative: float
    num_params: int
    num_points: int


def compare(
    apply: Callable[..., Array], params: PyTree, source: Any, radius: float | int
) -> Comparison:
    """Map the same points in a batch and alone, and differentiate in two ways.

    Args:
        apply: the generator.
        params: parameters; tried themselves, near them, and at random up to the radius.
        source: law of the latent points, sampled with a fixed key.
        radius: largest norm of the parameters.
    """
    points = source.sample(jax.random.key(0), _NUM_POINTS)
    tried = [jax.tree.map(jnp.asarray, params), *_around(params, float(radius))]
    with jax.default_matmul_precision("highest"), np.errstate(all="ignore"):
        return Comparison(
            _batch_difference(apply, tried, points),
            # Away from the parameters given: there a network may have all its kinks.
            _derivative_difference(apply, tried[1:], points),
            len(tried),
            len(points),
        )


def _around(params: PyTree, radius: float) -> list[PyTree]:
    """Parameters in fixed random directions; arrays that do not hold real numbers stay."""
    rng = np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(params)
    real = [leaf for leaf in leaves if is_real(leaf)]
    found = []
    for k, share in enumerate(_SHARES):
        moves = [rng.normal(size=np.shape(leaf)) for leaf in real]
        length = np.sqrt(sum(np.sum(np.square(move)) for move in moves)) or 1.0
        near = 1.0 if k == 0 else 0.0
        moved = [
            jnp.asarray(near * leaf + share * radius / length * move, jnp.result_type(leaf))
            for leaf, move in zip(real, moves, strict=True)
        ]
        found.append(jax.tree.unflatten(structure, with_real(leaves, moved)))
    return found


def _batch_difference(apply: Callable[..., Array], tried: Sequence[PyTree], points: Array) -> float:
    one_by_one = lambda u, x: jax.lax.map(lambda point: apply(u, point[None])[0], x)
    both_ways = jax.jit(lambda u, x: (apply(u, x), one_by_one(u, x)))
    differences = []
    for params in tried:
        try:
            pair = both_ways(params, points)
        except Exception:  # a generator may be made for one number of points
            return np.nan
        together, alone = (np.asarray(values, np.float64) for values in pair)
        if together.shape != alone.shape:
            return np.inf
        known = np.isfinite(together) & np.isfinite(alone)
        if known.any():
            differences.append(_relative(together[known], alone[known]))
    return max(differences, default=np.nan)


def _relative(first: np.ndarray, second: np.ndarray, floor: float = 0.0) -> float:
    scale = max(float(np.abs(first).max()), float(np.abs(second).max()), floor)
    return float(np.abs(first - second).max()) / scale if scale else 0.0


def _derivative_difference(
    apply: Callable[..., Array], tried: Sequence[PyTree], points: Array
) -> float:
    program = trace(apply, tried[0], points.shape[1])
    if not program.own_derivatives:
        return 0.0
    weights = np.random.default_rng(1).normal(size=(len(points), *program.jaxpr.out_avals[0].shape))
    weights = jnp.asarray(weights, program.jaxpr.out_avals[0].dtype)
    by_jax, by_parts = jaxpr_as_fun(program.jaxpr), operations_alone(program.jaxpr)
    both_ways = jax.jit(
        lambda leaves: [_slopes(f, leaves, points, weights) for f in (by_jax, by_parts)]
    )
    differences = []
    for params in tried:
        try:
            found = both_ways([jnp.asarray(leaf) for leaf in jax.tree.leaves(params)])
        except Exception:  # some loops cannot be differentiated in reverse
            return np.nan
        pairs = [
            (np.asarray(first, np.float64), np.asarray(second, np.float64))
            for first, second in zip(*found, strict=True)
        ]
        for k in range(len(points)):
            differences.append(_largest([(first[k], second[k]) for first, second in pairs]))
    known = [each for each in differences if np.isfinite(each)]
    return max(known) if 2 * len(known) > len(differences) else np.nan


def _slopes(
    function: Callable[..., Sequence[Array]], leaves: list[Array], points: Array, weights: Array
) -> list[Array]:
    """The derivative of a weighted sum of the outputs, in each array of parameters, by point."""
    moving = [leaf for leaf in leaves if is_real(leaf)]

    def total(moving: list[Array], x: Array, weight: Array) -> Array:
        return jnp.sum(weight * function(*with_real(leaves, moving), x[None])[0])

    return jax.lax.map(lambda pair: jax.grad(total)(moving, *pair), (points, weights))


def _largest(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The largest relative difference between arrays that should be equal."""
    pairs = [pair for pair in pairs if pair[0].size]
    if not pairs:
        return 0.0
    scale = max(float(np.abs(part).max()) for pair in pairs for part in pair)
    return max(_relative(first, second, _SMALL * scale) for first, second in pairs)
