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
from swjax.convergence import Order, fit_order
from swjax.experiment.closed_form import translation_problem
from swjax.experiment.report_generated import generated_points
from swjax.experiment.report_html import number
from swjax.experiment.statements import finite_runs
from swjax.experiment.store import write_atomically
from swjax.experiment.study import FlowStudy, Study


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
        for arm in study.schemes:
            yield from _flow_drawings(study, ran, arm)
    else:
        yield from _training_drawings(study, ran)
    if study.generator.kind not in ("translation", "scale"):
        yield from _generated_drawing(study, ran)


def _flow_drawings(study: FlowStudy, ran: xr.Dataset, arm: str) -> Iterator[Drawing]:
    several = len(study.schemes) > 1
    suffix, of_arm = (f"-{arm}", f", {arm}") if several else ("", "")
    order = order_of_arm(study, ran, arm)
    yield _draw(
        f"order{suffix}",
        f"Order of convergence{of_arm}",
        f"{_ORDER} {_words_of_order(order)}",
        lambda ax: plot.order_plot(ran, ax, arm=arm, order=order, expected=study.expect.order),
    )
    yield _draw(
        f"paths{suffix}",
        f"Distance to the flow over flow time{of_arm}",
        f"{_PATHS} {_words_of_flow_error(ran)}",
        lambda ax: plot.paths_against_flow(ran, ax, arm=arm),
    )
    if "path" in ran and "flow_path" in ran and ran.sizes["parameter"] == 2:
        draw = lambda ax: plot.paths_in_plane(ran, ax, arm=arm)
        yield _draw(f"plane{suffix}", f"The paths themselves{of_arm}", _PLANE, draw)
    if study.reference.kind == "closed_form":
        yield _fluctuation_drawing(study, ran, arm, suffix, of_arm)
    variable, title = _loss_to_show(ran)
    draw = lambda ax: plot.loss_against_time(ran, ax, arm=arm, variable=variable)
    yield _draw(f"loss{suffix}", f"{title}{of_arm}", _LOSS[variable], draw)


def _fluctuation_drawing(
    study: FlowStudy, ran: xr.Dataset, arm: str, suffix: str, of_arm: str
) -> Drawing:
    """The mean-square deviation where it is largest, against the closed form."""
    problem = translation_problem(study, arm)
    starts = ran["flow_path"].isel(time=0).values
    squares = problem.mean_square_deviation(min(study.step_sizes), starts, ran["time"].values)
    time = float(ran["time"][squares.reshape(-1, squares.shape[-1]).mean(axis=0).argmax()])
    exact = [
        float(np.mean(problem.mean_square_deviation(float(size), starts, [time])) / size)
        for size in ran["step_size"].values
    ]
    limit = float(np.mean(problem.fluctuation(starts, [time])))
    return _draw(
        f"fluctuation{suffix}",
        f"Fluctuation around the flow{of_arm}",
        _FLUCTUATION,
        lambda ax: plot.fluctuation_constant(ran, ax, arm=arm, time=time, exact=exact, limit=limit),
    )


def _training_drawings(study: Study, ran: xr.Dataset) -> Iterator[Drawing]:
    radii = {name: getattr(scheme, "radius", None) for name, scheme in study.schemes.items()}
    if any(radii.values()):
        draw = lambda ax: plot.norms_in_ball(ran, ax, radii=radii)
        yield _draw("norms", "Norms against the radius", _NORMS, draw)
    variable, title = _loss_to_show(ran)
    draw = lambda ax: plot.loss_against_time(ran, ax, variable=variable)
    yield _draw("loss", title, _LOSS[variable], draw)
    if len(study.schemes) > 1:
        margin = study.expect.tolerance if study.kind == "training" and study.expect else None
        draw = lambda ax: plot.paired_differences(ran, ax, variable=variable, margin=margin)
        band = " The shaded band counts as no difference." if margin else ""
        height = 1.2 + 0.45 * (len(study.schemes) - 1) * ran.sizes["step_size"]
        yield _draw("paired", "Differences of the final loss", f"{_PAIRED}{band}", draw, height)


def _loss_to_show(ran: xr.Dataset) -> tuple[str, str]:
    """The expected loss where it was recorded, else that of the minibatches; with a title."""
    if "loss" in ran:
        return "loss", "Loss over flow time"
    return "sample_loss", "Mean minibatch loss over flow time"


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


_ORDER = (
    "Mean over repetitions of the largest distance between the interpolated iterates and the "
    "gradient flow, against the step size; both axes logarithmic. Gray dots are single "
    "repetitions, short bars 95 % bootstrap intervals of the mean."
)
_PATHS = (
    "Mean over repetitions, in a band that holds the middle half of them. Lines equally far apart "
    "for step sizes of equal ratio are what a power of the step size looks like."
)
_PLANE = "A few repetitions of every step size, and the gradient flow from the same start."
_FLUCTUATION = (
    "Mean over repetitions of the squared distance to the flow at one time, divided by the step "
    "size, with three standard errors, against the closed form at every step size and its limit."
)
_LOSS = {
    "loss": "Mean over repetitions, in a band that holds the middle half of them.",
    "sample_loss": "Mean over repetitions.",
}
_NORMS = (
    "The largest norm of the parameter vector over all steps so far, all repetitions and all step "
    "sizes, against the radius of the ball (dotted)."
)
_PAIRED = (
    "Difference to the first scheme, repetition by repetition with the same draws, relative to the "
    "first scheme's mean, with 95 % intervals."
)


def order_of_arm(study: Study, dataset: xr.Dataset, arm: str) -> Order | None:
    """The order fitted as for the verdict; None with fewer than three usable step sizes."""
    of_arm = dataset.sel(arm=arm)
    distances = finite_runs(of_arm, of_arm["distance"]).max("time", skipna=False)
    try:
        return fit_order(
            dataset["step_size"].values,
            distances.transpose("step_size", "repetition").values,
            key=study.seed,
            num_resamples=2000,
            paired=study.common_random_numbers,
        )
    except ValueError:
        return None


def _words_of_order(order: Order | None) -> str:
    if order is None:
        return "Three step sizes with two finite repetitions each are needed for a fit."
    bent = " The points bend: no single power fits all of them." if order.is_curved else ""
    return f"{bent} {order.note}".strip()


def _words_of_flow_error(dataset: xr.Dataset) -> str:
    if "flow_error" not in dataset:
        return ""
    error = float(dataset["flow_error"].max())
    return (
        f" The flow itself is known to {number(error, 2)}."
        if error
        else " The flow is known exactly."
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
