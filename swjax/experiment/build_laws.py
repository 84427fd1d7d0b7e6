"""The laws of a study, and the keys that everything random in it comes from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from swjax import measures
from swjax.experiment.data_files import refuse_other_content
from swjax.experiment.errors import StudyError
from swjax.experiment.study import Study
from swjax.measures import Measure

# One stream of randomness per purpose; the numbers are part of what a seed means.
SOURCE, TARGET, DIRECTIONS, START, RUNS, EVALUATION, REFERENCE, CRITICAL = range(8)


def purpose(study: Study, number: int) -> Array:
    """The key of one purpose."""
    return jax.random.fold_in(jax.random.key(study.seed), number)


def build_laws(study: Study) -> tuple[Measure, Measure]:
    """The source and the target law of a study.

    Raises:
        StudyError: a law cannot be built: a file cannot be read, a shift does not fit.
    """
    return _law(study, "source", SOURCE), _law(study, "target", TARGET)


def _law(study: Study, place: str, number: int) -> Measure:
    law: Any = getattr(study, place)
    settings = law.model_dump(exclude={"kind", "shift", "num_atoms", "sha256"}, exclude_none=True)
    if law.kind == "file":
        refuse_other_content(study, place, law)
    if "covariance" in settings:
        settings["covariance"] = np.asarray(settings["covariance"])
    makers = {"file": measures.from_file, "discrete": _atoms}
    try:
        make = makers.get(law.kind) or getattr(measures, law.kind)
        measure = make(**settings)
        if law.num_atoms:
            measure = measures.discretize(measure, purpose(study, number), law.num_atoms)
        if law.shift is not None:
            measure = measures.translate(measure, jnp.asarray(law.shift))
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise StudyError(study.name, [f"{place}: {error}"]) from None
    return measure


def _atoms(points: tuple, weights: tuple | None = None) -> Measure:
    lengths = sorted({len(point) for point in points})
    if len(lengths) != 1 or lengths == [0]:
        raise ValueError(
            f"points must be a list of points with as many numbers each, such as [[0, 1], [1, 0]]; "
            f"got {len(points)} of lengths {lengths}"
        )
    float_type = jnp.result_type(float)
    shares = None if weights is None else jnp.asarray(weights, float_type)
    return measures.Discrete(jnp.asarray(points, float_type), shares)
