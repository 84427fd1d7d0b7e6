"""Which figures a study's results call for, and what each of them shows, in words."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from swjax import plot
from swjax.experiment.report_flow import LOSS_CAPTIONS, flow_sketches, loss_to_show
from swjax.experiment.report_generated import generated_points
from swjax.experiment.report_stationarity import sketches
from swjax.experiment.store import write_atomically
from swjax.experiment.study import FlowStudy, StationarityStudy, Study


class Drawing(NamedTuple):
    """A figure with its name (that of its files), its title and its caption."""

    name: str
    title: str
    caption: str
    figure: Figure


def drawings(study: Study, dataset: xr.Dataset) -> Iterator[Drawing]:
    """The figures that these results allow, the main one first.

    Args:
        study: the study.
        dataset: its results so far; cells that have not run are missing values.

    Yields:
        Drawings, each on a figure of its own.
    """
    ran = dataset.isel(step_size=np.flatnonzero(_has_run(dataset)))
    if ran.sizes["step_size"] == 0:
        return
    if isinstance(study, FlowStudy):
        for name, title, caption, draw in flow_sketches(study, ran):
            yield _draw(name, title, caption, draw)
    elif isinstance(study, StationarityStudy):
        for name, title, caption, draw in sketches(study, ran):
            yield _draw(name, title, caption, draw)
    else:
        yield from _training_drawings(study, ran)
    if study.generator.kind not in ("translation", "scale", "absolute_scale"):
        yield from _generated_drawing(study, ran)


def _training_drawings(study: Study, ran: xr.Dataset) -> Iterator[Drawing]:
    radii = {name: getattr(scheme, "radius", None) for name, scheme in study.schemes.items()}
    if any(radii.values()):
        draw = lambda ax: plot.norms_in_ball(ran, ax, radii=radii)
        yield _draw("norms", "Norms against the radius", _NORMS, draw)
    variable, title = loss_to_show(ran)
    draw = lambda ax: plot.loss_against_time(ran, ax, variable=variable)
    yield _draw("loss", title, LOSS_CAPTIONS[variable], draw)
    if len(study.schemes) > 1:
        margin = study.expect.tolerance if study.kind == "training" and study.expect else None
        draw = lambda ax: plot.paired_differences(ran, ax, variable=variable, margin=margin)
        band = " The shaded band counts as no difference." if margin else ""
        height = 1.2 + 0.45 * (len(study.schemes) - 1) * ran.sizes["step_size"]
        yield _draw("paired", "Differences of the final loss", f"{_PAIRED}{band}", draw, height)


def _generated_drawing(study: Study, ran: xr.Dataset) -> Iterator[Drawing]:
    made = generated_points(study, ran)
    if made is None:
        return
    title = "What the generator makes at the end"
    whose = f"T(u, x) for fresh latent points x, with the last parameters u of {made.whose},"
    if study.target.kind == "digits":
        draw = lambda ax: plot.generated_images(made.points, made.real, ax)
        yield _draw("generated", title, f"{whose} beside real images.", draw, height=3.0)
    else:
        latent = made.latent if made.latent.shape[1] == 2 else None
        draw = lambda ax: plot.clouds(made.real, made.points, latent, ax)
        yield _draw("generated", title, f"{whose} on points of the data law.", draw)


_NORMS = (
    "The largest norm of the parameter vector over all steps so far, all repetitions and all step "
    "sizes, against the radius of the ball (dotted)."
)
_PAIRED = (
    "Difference to the first scheme, repetition by repetition with the same draws, relative to the "
    "first scheme's mean, with 95 % intervals."
)


def _has_run(dataset: xr.Dataset) -> np.ndarray:
    """Which step sizes have run in every arm."""
    if "diverged_at" not in dataset:
        return np.zeros(dataset.sizes["step_size"], bool)
    return (dataset["diverged_at"] > -2).all(["arm", "repetition"]).values


def _draw(
    name: str, title: str, caption: str, draw: Callable[[Axes], object], height: float = 4.1
) -> Drawing:
    with plot.figure_style():
        figure = Figure(figsize=(6.6, height), layout="constrained")
        draw(figure.subplots())
    return Drawing(name, title, caption.strip(), figure)


def save_drawing(drawing: Drawing, folder: Path) -> None:
    """Write a figure as `<name>.svg` and `<name>.png`, the same bytes for the same results."""
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        settings = {"format": kind, "dpi": 160, "metadata": metadata}
        with plt.rc_context({"svg.hashsalt": drawing.name, "svg.fonttype": "path"}):
            write_atomically(
                folder / f"{drawing.name}.{kind}",
                lambda beside: drawing.figure.savefig(beside, **settings),  # noqa: B023
            )
