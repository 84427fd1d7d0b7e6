"""The critical sets that the long runs of a study approach, one for each of its arms."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from swjax.experiment.critical_residual import residual_sets
from swjax.experiment.critical_scale import ScaleAnalysis, analyze_scale
from swjax.experiment.critical_set import (
    ON_SPHERE,
    CriticalSet,
    Prediction,
    itself,
    known_set,
    square,
)
from swjax.experiment.errors import StudyError
from swjax.experiment.stationary_checks import asked_parts, noise_pairs
from swjax.losses import SlicedLoss
from swjax.problems import BallConstraint, TranslationProblem


def critical_sets(study: Any, loss: SlicedLoss, start: PyTree, key: Array) -> list[CriticalSet]:
    """The critical sets of a study of kind ``stationarity``, one for each arm.

    Args:
        study: the study.
        loss: its minibatch loss.
        start: one vector of parameters, for their shapes.
        key: randomness of the moments that have no closed form.

    Raises:
        StudyError: the set does not fit the generator, or cannot be computed.
    """
    asked = study.critical_set
    try:
        if asked.kind == "points":
            sets = [_stated(asked.values, start, radius) for radius in _radii(study)]
        elif asked.kind == "residual":
            sets = residual_sets(asked, loss, _radii(study), key)
        elif study.generator.kind == "translation":
            sets = [_translation(scheme, loss) for scheme in study.schemes.values()]
        else:
            analysis = analyze_scale(loss, start, key)
            symmetric = study.generator.kind == "absolute_scale"
            sets = [_scale(scheme, analysis, symmetric) for scheme in study.schemes.values()]
    except ValueError as error:
        raise StudyError(study.name, [f"critical_set: {error}"]) from None
    _refuse_missing_parts(study, sets)
    return sets


def _radii(study: Any) -> list[float | None]:
    return [getattr(scheme, "radius", None) for scheme in study.schemes.values()]


def _refuse_missing_parts(study: Any, sets: list[CriticalSet]) -> None:
    problems: list[str] = []
    by_arm = dict(zip(study.schemes, sets, strict=True))
    for arms in noise_pairs(study) if study.expect.noise_effect is not None else []:
        if not all(by_arm[arm].predictions for arm in arms):
            problems.append(f"expect.noise_effect: no closed form is known for {arms[1]!r}")
    for place, part in asked_parts(study.expect):
        needs_prediction = place.startswith("constants.")
        for arm, found in zip(study.schemes, sets, strict=True):
            if part not in found.parts:
                problems.append(
                    f"expect.{place}: the critical set of {arm!r} has no {part} part (its parts: "
                    f"{', '.join(found.parts)}); it is not on the sphere of the arm's ball, or "
                    "there is one parameter only"
                )
            elif needs_prediction and part not in found.predictions:
                known = ", ".join(found.predictions) or "none"
                problems.append(
                    f"expect.{place}: no closed form is known for the {part} part of {arm!r} "
                    f"(known: {known})"
                )
    if problems:
        raise StudyError(study.name, list(dict.fromkeys(problems)))


# --- known points ---------------------------------------------------------------------------------


def _stated(values: Any, start: PyTree, radius: float | None) -> CriticalSet:
    points = np.asarray(values, np.float64)
    size = ravel_pytree(start)[0].size
    if points.shape[1] != size:
        raise ValueError(f"the points have {points.shape[1]} numbers, the generator {size}")
    far = np.linalg.norm(points, axis=1).max()
    if radius is not None and far > radius * (1 + ON_SPHERE):
        raise ValueError(f"a point of norm {far:.6g} lies outside the ball of radius {radius:g}")
    return known_set(points, radius)


def _translation(scheme: Any, loss: SlicedLoss) -> CriticalSet:
    radius, noise = getattr(scheme, "radius", None), getattr(scheme, "noise_std", 0.0)
    if loss.p != 2:
        return _translation_of_one_point(loss, radius, noise)
    problem = TranslationProblem(
        loss.source,
        loss.target,
        batch_size=loss.batch_size,
        num_directions=loss.num_directions,
        noise_std=noise,
    )
    if radius is None or np.linalg.norm(problem.minimizer) <= radius:
        formula = "alpha (E|zeta|^2 + a^2 d^2/4) / (1 - alpha)"
        if loss.num_directions > 1:
            formula = "the stationary mean square of the linear recursion"
        interior = Prediction(
            "mean square", square, problem.stationary_mean_square_error, True, formula
        )
        return known_set(problem.minimizer[None], radius, {"distance": interior})
    constrained = BallConstraint(problem, radius)
    formula = "alpha r d tr_T Var / (4 |c|)"
    along = Prediction("mean square", square, constrained.tangential_mean_square, False, formula)
    predictions = {"tangential": along} if problem.dim > 1 else {}
    return known_set(constrained.critical_point[None], radius, predictions)


def _translation_of_one_point(loss: SlicedLoss, radius: float | None, noise: float) -> CriticalSet:
    """One atom each: the loss is |theta . e|^p with e = u - c, whatever the batch.

    That E |e|^2 stays the same means, with c_q = E |theta_1|^q,

        2 p c_p E |e|^p - alpha p^2 c_(2p-2) E |e|^(2p-2) = alpha a^2 d    at every step size.
    """
    target = jnp.asarray(loss.target.points[0] - loss.source.points[0])
    minimizer, p = np.asarray(target, np.float64), float(loss.p)
    if radius is not None and np.linalg.norm(minimizer) > radius:
        raise ValueError(f"for p = {p:g} the closed form needs the best shift inside the ball")
    if loss.num_directions > 1 and p != 1:
        raise ValueError(f"for p = {p:g} the closed form is that of one direction per step")
    dim = minimizer.size
    first, second = p * _sphere_moment(dim, p), p**2 * _sphere_moment(dim, 2 * p - 2)
    if p == 1:  # then every gradient has length 1
        quantity = lambda e, _: 2 * first * e
        value = lambda step_size: step_size * (1 + noise**2 * dim)
        name, formula = "2 c_1 times the mean", "alpha (1 + a^2 d)"
    else:
        quantity = lambda e, step_size: 2 * first * e**p - step_size * second * e ** (2 * p - 2)
        value = lambda step_size: step_size * noise**2 * dim
        name = f"balance 2 p c_p E D^{p:g} - alpha p^2 c_(2p-2) E D^{2 * p - 2:g} (p = {p:g})"
        formula = "alpha a^2 d"
    known = noise > 0 or p == 1
    prediction = Prediction(name, quantity, value, True, formula)
    return known_set(minimizer[None], radius, {"distance": prediction} if known else {})


def _sphere_moment(dim: int, power: float) -> float:
    """E |theta_1|^power on the unit sphere."""
    log = math.lgamma(dim / 2) + math.lgamma((power + 1) / 2) - math.lgamma((power + dim) / 2)
    return math.exp(log) / math.sqrt(math.pi)


def _scale(scheme: Any, analysis: ScaleAnalysis, symmetric: bool) -> CriticalSet:
    radius, noise = getattr(scheme, "radius", None), getattr(scheme, "noise_std", 0.0)
    points = analysis.critical_points(radius)
    if len(points) == 0:
        raise ValueError("the expected loss of this scale has no critical point in the ball")
    found = known_set(points[:, None], radius)
    spread = analysis.stationary_moment(noise, radius, symmetric)
    if spread is None:
        return found
    formula = (
        "alpha (Var phi + a^2) / (2 F'' - alpha E f''^2) at the minimizer"
        if spread.moment == 2
        else "alpha (E xi^2 + a^2) / (2 E xi), xi the slope beside the kink"
    )
    name, quantity = ("mean square", square) if spread.moment == 2 else ("mean", itself)
    prediction = Prediction(
        name, quantity, spread.value, spread.is_exact, formula, spread.relative_error
    )
    return CriticalSet(found.observe, found.parts, found.points, {"distance": prediction})
