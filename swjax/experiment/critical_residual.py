"""Critical sets that are not known: the residual of the gradient in the ball stands in for them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

from swjax.directions import sample_directions
from swjax.experiment.critical_set import CriticalSet
from swjax.losses import SlicedLoss
from swjax.nonsmooth.goldstein import goldstein_certificate
from swjax.nonsmooth.stationarity import gradient_mapping
from swjax.population import AveragedLoss, PopulationLoss, sample_population_loss

_Expected = PopulationLoss | AveragedLoss


def residual_sets(
    asked: Any, loss: SlicedLoss, radii: list[float | None], key: Array
) -> list[CriticalSet]:
    """What is measured in place of the distance to an unknown critical set, for every ball.

    Args:
        asked: the piece ``critical_set`` of kind ``residual``.
        loss: the minibatch loss of the study.
        radii: radii of the balls, None where there is none.
        key: randomness of the draws or directions that stand in for all.

    Raises:
        ValueError: the ball of the Goldstein certificate is larger than a ball.
    """
    expected = _expected_loss(asked, loss, key)
    sets = []
    for radius in radii:
        bound = None if radius is None else jnp.asarray(radius, jnp.result_type(float))
        conclusions: list[Callable[[PyTree, Array], dict[str, Array]]] = []
        if asked.goldstein is not None:
            if radius is not None and asked.goldstein.epsilon > radius:
                raise ValueError(
                    f"goldstein.epsilon {asked.goldstein.epsilon:g} exceeds the radius {radius:g}"
                )
            bounded = partial(_certificate, num_samples=asked.goldstein.num_samples)
            conclusions.append(Partial(bounded, expected, asked.goldstein.epsilon, bound))
        if isinstance(expected, AveragedLoss):
            conclusions.append(Partial(_gradient_error, expected))
        observe = Partial(_residual, expected, jnp.asarray(asked.scale), bound)
        conclude = Partial(_all_of, conclusions) if conclusions else None
        sets.append(CriticalSet(observe, ("residual",), conclude=conclude))
    return sets


def _expected_loss(asked: Any, loss: SlicedLoss, key: Array) -> _Expected:
    """The function whose critical points are asked for."""
    if asked.draws is not None:
        loss = replace(loss, num_directions=asked.draws.num_directions)
        return sample_population_loss(key, loss, asked.draws.num)
    directions = None
    if asked.num_directions is not None:
        directions = sample_directions(key, asked.num_directions, loss.target.dim)
    return PopulationLoss(loss, directions)


def _residual(
    expected: _Expected, scale: Array, radius: Array | None, params: PyTree
) -> dict[str, Float[Array, ""]]:
    gradient = jax.grad(expected)(params)
    return {"residual": gradient_mapping(params, gradient, scale, radius)}


def _all_of(conclusions: list[Any], params: PyTree, key: Array) -> dict[str, Float[Array, ""]]:
    found = {}
    for conclude in conclusions:
        found |= conclude(params, key)
    return found


def _certificate(
    expected: _Expected,
    epsilon: Array,
    radius: Array | None,
    params: PyTree,
    key: Array,
    *,
    num_samples: int,
) -> dict[str, Float[Array, ""]]:
    certificate = goldstein_certificate(
        jax.grad(expected), params, epsilon, key, num_samples=num_samples, radius=radius
    )
    return {"goldstein": certificate.upper}


def _gradient_error(
    expected: AveragedLoss, params: PyTree, _: Array
) -> dict[str, Float[Array, ""]]:
    return {"gradient_error": expected.gradient_error(params)}
