"""The closed form behind a study: from its generator and laws to one of ``swjax.problems``."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

from swjax.experiment.build_laws import build_laws
from swjax.experiment.study import Study
from swjax.problems import (
    GaussianScale,
    LinearGaussian,
    TranslationProblem,
    TwoPointScale,
    UniformScale,
)
from swjax.problems.scale import ScaleProblem


@dataclass(frozen=True)
class ScaleMoments:
    """The scale of two points, its one parameter as a vector: the methods of translations.

    Attributes:
        problem: the scale problem.
    """

    problem: TwoPointScale

    def flow(self, starts: np.ndarray, times: Any) -> np.ndarray:
        """The gradient flow, (..., T, 1)."""
        return self.problem.flow(starts[..., 0], times)[..., None]

    def mean_path(self, step_size: float, starts: np.ndarray, times: Any) -> np.ndarray:
        """The mean of the interpolated iterates, (..., T, 1)."""
        return self.problem.mean_path(step_size, starts[..., 0], times)[..., None]

    def mean_square_deviation(self, step_size: float, starts: np.ndarray, times: Any) -> np.ndarray:
        """Mean square of their distance to the flow, (..., T)."""
        return self.problem.mean_square_deviation(step_size, starts[..., 0], times)

    def fluctuation(self, starts: np.ndarray, times: Any) -> np.ndarray:
        """The limit of that by the step size, (..., T)."""
        return self.problem.fluctuation(starts[..., 0], times)

    def bias(self, starts: np.ndarray, times: Any) -> np.ndarray:
        """The limit of mean path minus flow by the step size, (..., T, 1)."""
        return self.problem.bias(starts[..., 0], times)[..., None]

    def deviation_bound(self, step_size: float, starts: np.ndarray, horizon: float) -> np.ndarray:
        """A bound of the mean of the largest distance up to the horizon, (...)."""
        return self.problem.deviation_bound(step_size, starts[..., 0], horizon)


Moments = TranslationProblem | ScaleMoments


def moments(study: Study, arm: str) -> Moments | None:
    """Mean and mean square of every iterate, where they are known; with the noise of one arm."""
    if study.generator.kind == "translation":
        source, target = build_laws(study)
        return TranslationProblem(
            source,
            target,
            batch_size=study.loss.batch_size,
            num_directions=study.loss.num_directions,
            noise_std=getattr(study.schemes[arm], "noise_std", 0.0),
        )
    is_noised = getattr(study.schemes[arm], "noise_std", 0.0) > 0
    if study.generator.kind == "scale" and study.source.kind == "discrete" and not is_noised:
        return ScaleMoments(TwoPointScale(study.loss.batch_size))
    return None


def scale_problem(study: Study) -> ScaleProblem:
    """The problem of a study of one scale between two copies of a law."""
    law: Any = study.source
    if law.kind == "discrete":
        return TwoPointScale(study.loss.batch_size)
    if law.kind == "cube":
        return UniformScale(study.loss.batch_size)
    return GaussianScale(study.loss.batch_size, law.dim, law.std)


def linear_problem(study: Study) -> LinearGaussian:
    """The problem of a study of a linear generator between Gaussians."""
    source, target = build_laws(study)
    return LinearGaussian(target.covariance, study.loss.batch_size, latent_dim=source.dim)


def closed_form_loss(study: Study) -> Partial:
    """The expected loss by its formula, params -> scalar; of a translation above its minimum."""
    if study.generator.kind == "translation":
        source, target = build_laws(study)
        return Partial(_excess_loss, target.mean - source.mean)
    if study.generator.kind == "scale":
        scale = scale_problem(study)
        return Partial(lambda params: scale.population_loss(ravel_pytree(params)[0][0]))
    linear = linear_problem(study)
    # The kernel of a dense layer, its only parameter, multiplies points from the right.
    return Partial(lambda params: linear.population_loss(jax.tree.leaves(params)[0].T))


def is_above_minimum(study: Study) -> bool:
    """Whether the loss of the records is F minus its minimum, which is not known."""
    record = study.record.loss
    is_formula = record is not None and record.kind == "closed_form"
    return is_formula and study.generator.kind == "translation"


def loss_attributes(study: Study) -> dict[str, str]:
    """What the expected loss of the records is: ``long_name``, and ``symbol`` for axes."""
    if is_above_minimum(study):
        words, symbol = "F(u) - min F, the expected loss above its minimum", r" - \min F"
    else:
        words, symbol = "F(u), the expected loss, or its estimate over fixed draws", ""
    return {"long_name": words, "symbol": rf"F(u_\alpha(s)){symbol}"}


def _excess_loss(minimizer: Array, params: PyTree) -> Array:
    error = ravel_pytree(params)[0] - minimizer
    return jnp.sum(error**2) / error.size
