"""From a study to what runs: laws, loss, starts, optimizers, keys.

Everything random is a function of the study's seed: one key per purpose, then one per arm, step
size and repetition. With common random numbers the arm and the step size are left out, so that
repetition i meets the same draws everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from swjax import generators, optim
from swjax.directions import sample_directions
from swjax.experiment import pieces
from swjax.experiment.build_laws import (
    CRITICAL,
    DIRECTIONS,
    EVALUATION,
    RUNS,
    START,
    build_laws,
    purpose,
)
from swjax.experiment.cell import MakeOptimizer, flat_rows
from swjax.experiment.closed_form import closed_form_loss
from swjax.experiment.critical_set import CriticalSet
from swjax.experiment.critical_sets import critical_sets
from swjax.experiment.errors import StudyError
from swjax.experiment.optax_names import optax_optimizers
from swjax.experiment.study import StationarityStudy, Study
from swjax.losses import SlicedLoss
from swjax.measures import Measure
from swjax.population import PopulationLoss, sample_population_loss


@dataclass(frozen=True)
class Problem:
    """A study made runnable.

    Attributes:
        study: what was asked for.
        loss: the minibatch loss.
        starts: initial parameters; leaves have the leading axis R, the repetitions.
        shared_start: whether all repetitions start at the same parameters.
        num_parameters: length of the parameter vector.
        evaluate: the loss to record as a function of the parameters, or None.
        times: recorded flow times, (N + 1,), from 0 to the horizon, float64.
        critical: the critical set of every arm; empty for studies that are not about it.
    """

    study: Study
    loss: SlicedLoss
    starts: PyTree
    shared_start: bool
    num_parameters: int
    evaluate: Callable[[PyTree], Array] | None
    times: np.ndarray
    critical: tuple[CriticalSet, ...] = ()

    def keys(self, arm: int, step: int) -> tuple[Array, Array]:
        """Keys (R,) of the draws and (R,) of the noise, for an arm and a step size by position."""
        key = purpose(self.study, RUNS)
        if not self.study.common_random_numbers:
            key = jax.random.fold_in(jax.random.fold_in(key, arm), step)
        return _data_and_noise_keys(key, self.study.repetitions)


def _data_and_noise_keys(key: Array, repetitions: int) -> tuple[Array, Array]:
    each = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(jnp.arange(repetitions))
    return each[:, 0], each[:, 1]


def build(study: Study) -> Problem:
    """Make a study runnable.

    Args:
        study: the validated study.

    Returns:
        The problem.

    Raises:
        StudyError: what a study alone does not show: a file that cannot be read, dimensions that do
            not fit, a start outside of an arm's ball, a scheme that cannot be built.
    """
    source, target = build_laws(study)
    model = _generator(study, source.dim, target.dim)
    directions = None
    if study.loss.directions.kind == "fixed":
        key = purpose(study, DIRECTIONS)
        directions = sample_directions(key, study.loss.directions.num, target.dim)
    loss = SlicedLoss(
        model.apply,
        source,
        target,
        batch_size=study.loss.batch_size,
        num_directions=study.loss.num_directions,
        p=study.loss.p,
        directions=directions,
    )
    starts, shared = _starts(study, model, source)
    one = jax.tree.map(lambda leaf: leaf[0], starts)
    _refuse_misfit(study, loss, one)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(one))
    _refuse_start_outside(study, starts)
    _refuse_large_paths(study, num_parameters)
    evaluate = _evaluation(study, loss)
    times = np.linspace(0.0, study.horizon, study.record.num_times + 1)
    critical: tuple[CriticalSet, ...] = ()
    if isinstance(study, StationarityStudy):
        critical = tuple(critical_sets(study, loss, one, purpose(study, CRITICAL)))
    return Problem(study, loss, starts, shared, num_parameters, evaluate, times, critical)


_MODELS = {
    "translation": generators.Translation,
    "scale": generators.Scale,
    "absolute_scale": generators.AbsoluteScale,
    "affine": generators.Affine,
    "free_points": generators.FreePoints,
    "mlp": generators.MLP,
    "dense_skip_mlp": generators.DenseSkipMLP,
    "conv": generators.ConvGenerator,
}


def _generator(study: Study, source_dim: int, target_dim: int) -> Any:
    asked = study.generator
    if asked.kind in ("translation", "scale", "absolute_scale") and source_dim != target_dim:
        raise StudyError(
            study.name,
            [
                f"generator: {asked.kind!r} needs source and target of one dimension; "
                f"they have {source_dim} and {target_dim}"
            ],
        )
    settings = asked.model_dump(exclude={"kind"}, exclude_none=True)
    for name in ("activation", "output_activation"):
        if name in settings:
            settings[name] = getattr(nn, settings[name])
    try:
        if "cutoff" in settings:
            settings["cutoff"] = generators.Cutoff(**settings["cutoff"])
        if asked.kind not in ("scale", "absolute_scale", "conv"):
            settings["dim"] = target_dim
        return _MODELS[asked.kind](**settings)
    except ValueError as error:
        raise StudyError(study.name, [f"generator: {error}"]) from None


def _starts(study: Study, model: Any, source: Measure) -> tuple[PyTree, bool]:
    """Initial parameters with leading axis R, the same for all arms and step sizes."""
    asked = study.initial
    key = purpose(study, START)
    latents = jnp.zeros((study.loss.batch_size, source.dim))
    try:
        template = model.init(key, latents)
    except ValueError as error:
        raise StudyError(study.name, [f"generator: {error}"]) from None
    flat, unravel = ravel_pytree(template)
    if asked.kind == "fixed":
        if len(asked.values) != flat.size:
            raise StudyError(
                study.name,
                [f"initial.values: {len(asked.values)} numbers for {flat.size} parameters"],
            )
        rows = jnp.broadcast_to(
            jnp.asarray(asked.values, flat.dtype), (study.repetitions, flat.size)
        )
        return jax.vmap(unravel)(rows), True

    if asked.kind == "uniform_ball" and asked.center is not None and len(asked.center) != flat.size:
        raise StudyError(
            study.name,
            [f"initial.center: {len(asked.center)} numbers for {flat.size} parameters"],
        )

    def draw(key: Array) -> Array:
        if asked.kind == "uniform_ball":
            inside = jnp.asarray(jax.random.ball(key, flat.size, dtype=flat.dtype))
            scaled = jnp.asarray(asked.radius, flat.dtype) * inside
            return scaled if asked.center is None else jnp.asarray(asked.center) + scaled
        vector = ravel_pytree(model.init(key, latents))[0]
        if asked.radius is None:
            return vector
        return vector * jnp.minimum(1, asked.radius / jnp.linalg.norm(vector))

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(study.repetitions))
    if asked.shared:
        rows = jnp.broadcast_to(draw(keys[0]), (study.repetitions, flat.size))
    else:
        rows = jax.lax.map(draw, keys)
    return jax.vmap(unravel)(rows), asked.shared


def _refuse_misfit(study: Study, loss: SlicedLoss, params: PyTree) -> None:
    """Trace one loss and one step of every arm: what does not fit is said before anything runs."""
    try:
        jax.eval_shape(lambda: loss.value(params, loss.draw(jax.random.key(0))))
    except (ValueError, TypeError) as error:
        raise StudyError(study.name, [f"generator: {error}"]) from None
    problems = []
    for place, scheme in study.scheme_places.items():
        try:
            jax.eval_shape(lambda: _one_update(optimizer_maker(scheme), params))  # noqa: B023
        except Exception as error:  # whatever an optimizer raises, it is this study's scheme
            reason = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            problems.append(f"{place}: {scheme.kind!r} cannot be used here: {reason}")
    if problems:
        raise StudyError(study.name, problems)


def _one_update(make: MakeOptimizer, params: PyTree) -> PyTree:
    optimizer = optax.with_extra_args_support(make(jnp.asarray(0.1), jax.random.key(0)))
    value_fn = lambda u: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(u))
    value, grad = jax.value_and_grad(value_fn)(params)
    updates, _ = optimizer.update(
        grad, optimizer.init(params), params, value=value, grad=grad, value_fn=value_fn
    )
    return optax.apply_updates(params, updates)


def optimizer_maker(scheme: Any) -> MakeOptimizer:
    """The function (step size, key of the noise) -> Optax transformation of a scheme."""
    if isinstance(scheme, pieces.SGDScheme):
        return lambda step_size, key: optax.sgd(
            jnp.asarray(step_size), momentum=scheme.momentum or None
        )
    if isinstance(scheme, pieces.NoisedSGDScheme):
        return lambda step_size, key: optim.noised_sgd(step_size, scheme.noise_std, key)
    if isinstance(scheme, pieces.ProjectedSGDScheme):
        return lambda step_size, key: optim.projected_sgd(step_size, scheme.radius)
    if isinstance(scheme, pieces.NoisedProjectedSGDScheme):
        return lambda step_size, key: optim.noised_projected_sgd(
            step_size, scheme.noise_std, scheme.radius, key
        )
    make = optax_optimizers()[scheme.kind]
    return lambda step_size, key: make(learning_rate=step_size, **scheme.args)


def _refuse_start_outside(study: Study, starts: PyTree) -> None:
    norms = np.linalg.norm(np.asarray(flat_rows(starts), np.float64), axis=1)
    largest = float(norms.max())
    problems = [
        f"{place}.radius: {scheme.radius:g} excludes the start, whose norm goes up to "
        f"{largest:.4g}; give `initial` a smaller radius or the ball a larger one"
        for place, scheme in study.scheme_places.items()
        if getattr(scheme, "radius", np.inf) * (1 + 1e-6) < largest
    ]
    if problems:
        raise StudyError(study.name, problems)


def _refuse_large_paths(study: Study, num_parameters: int) -> None:
    numbers = study.repetitions * (study.record.num_times + 1) * num_parameters
    if study.record.path and numbers > 2**27:
        raise StudyError(
            study.name,
            [
                f"record.path: {study.repetitions} runs x {study.record.num_times + 1} times x "
                f"{num_parameters} parameters are too many numbers to keep; set it to false"
            ],
        )


def _evaluation(study: Study, loss: SlicedLoss) -> Callable[[PyTree], Array] | None:
    asked = study.record.loss
    if asked is None:
        return None
    key = purpose(study, EVALUATION)
    if asked.kind == "draws":
        return sample_population_loss(key, loss, asked.num)
    if asked.kind == "closed_form":
        return closed_form_loss(study)
    directions = None
    if asked.num_directions is not None:
        directions = sample_directions(key, asked.num_directions, loss.target.dim)
    try:
        return PopulationLoss(loss, directions)
    except ValueError as error:
        raise StudyError(study.name, [f"record.loss: {error}"]) from None
