"""The figures of a training study, and what each of them shows, in words."""

from collections.abc import Iterator
from functools import partial

import xarray as xr

from swjax import plot
from swjax.experiment.report_sketch import Sketch, loss_sketch, loss_to_show
from swjax.experiment.study import TrainingStudy


def training_sketches(study: TrainingStudy, ran: xr.Dataset) -> Iterator[Sketch]:
    """The figures of a training study: norms, losses, differences between the arms.

    Args:
        study: the study.
        ran: the results of the step sizes that have run.
    """
    radii = {name: getattr(scheme, "radius", None) for name, scheme in study.schemes.items()}
    if any(radii.values()):
        draw = partial(plot.norms_in_ball, ran, radii=radii)
        yield Sketch("norms", "Norms against the radius", _NORMS, draw)
    yield loss_sketch(ran, partial(plot.loss_against_time, ran))
    if len(study.schemes) > 1:
        margin = study.expect.tolerance if study.expect else None
        variable = loss_to_show(ran)
        draw = partial(plot.paired_differences, ran, variable=variable, margin=margin)
        band = " The shaded band counts as no difference." if margin else ""
        height = 1.2 + 0.45 * (len(study.schemes) - 1) * ran.sizes["step_size"]
        yield Sketch("paired", "Differences of the final loss", f"{_PAIRED}{band}", draw, height)


_NORMS = (
    "The largest norm of the parameter vector over all steps so far, all repetitions and all step "
    "sizes, against the radius of the ball (dotted)."
)
_PAIRED = (
    "Difference to the first scheme, repetition by repetition with the same draws, relative to the "
    "first scheme's mean, with 95 % intervals."
)
