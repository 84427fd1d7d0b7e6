"""The closed form behind a study of translations."""

from typing import Any

import numpy as np

from swjax.experiment.build import Problem, build_laws
from swjax.experiment.cell import flat_rows
from swjax.experiment.study import FlowStudy
from swjax.problems import TranslationProblem


def translation_problem(study: FlowStudy, arm: str) -> TranslationProblem:
    """The problem of a study whose reference is ``closed_form``, with the noise of one arm."""
    source, target = build_laws(study)
    return TranslationProblem(
        source,
        target,
        batch_size=study.loss.batch_size,
        num_directions=study.loss.num_directions,
        noise_std=getattr(study.schemes[arm], "noise_std", 0.0),
    )


def closed_form_flow(problem: Problem) -> dict[str, Any]:
    """The flow from every start, or from the one they share, at the recorded times.

    The loss along it is given where the study records the loss above its minimum, which is what is
    known of it; the minimum itself is not.
    """
    study = problem.study
    assert isinstance(study, FlowStudy)
    starts = flat_rows(problem.starts)
    closed = translation_problem(study, next(iter(study.schemes)))
    path = closed.flow(starts[0] if problem.shared_start else starts, problem.times)
    record = study.record.loss
    loss = None
    if record is not None and record.kind == "closed_form":
        loss = np.sum((path - closed.minimizer) ** 2, axis=-1) / closed.dim
    return {"flow_path": path.astype(starts.dtype), "flow_loss": loss, "flow_error": 0.0}
