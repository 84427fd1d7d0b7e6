"""The figures that a study's results call for, drawn and saved."""

from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from swjax import plot
from swjax.experiment.report_flow import flow_sketches
from swjax.experiment.report_generated import generated_sketches
from swjax.experiment.report_sketch import Sketch
from swjax.experiment.report_stationarity import stationarity_sketches
from swjax.experiment.report_training import training_sketches
from swjax.experiment.store import write_atomically
from swjax.experiment.study import FlowStudy, StationarityStudy, Study


class Drawing(NamedTuple):
    """A figure with its name (that of its files), its title and its caption."""

    name: str
    title: str
    caption: str
    figure: Figure


class Failure(NamedTuple):
    """What could not be drawn, and why."""

    title: str
    reason: str


def drawings(study: Study, dataset: xr.Dataset) -> Iterator[Drawing | Failure]:
    """The figures that these results allow, the main one first.

    Args:
        study: the study.
        dataset: its results so far; cells that have not run are missing values.

    Yields:
        Drawings, each on a figure of its own, or what stands in their place.
    """
    for sketches in _sketches(study, _that_ran(dataset)):
        yield from _drawn(sketches)


def draw_figure(
    study: Study,
    dataset: xr.Dataset,
    name: str | None = None,
    arm: str | None = None,
    **options: Any,
) -> Axes:
    """Draw one figure as the report shows it, or another one of ``swjax.plot``.

    Args:
        study: the study.
        dataset: its results so far.
        name: of the figure in the report, or of the function of ``swjax.plot`` that draws it; by
            default the main figure.
        arm: which scheme; the first where a figure shows one of several.
        **options: of that function, in place of those that the report uses; ``ax`` among them.

    Returns:
        The Axes.

    Raises:
        ValueError: there is no such figure or arm, or nothing has run that it could show.
    """
    ran = _that_ran(dataset)
    if not ran.sizes["step_size"]:
        raise ValueError("no step size has run in every arm yet: there is nothing to draw")
    if arm is not None and arm not in study.schemes:
        raise ValueError(f"no arm {arm!r} in the study; there are {', '.join(study.schemes)}")
    of_results = _functions_of_results()
    known, sought = [], _sketches(study, ran)
    for sketch in chain(*(sought[:1] if name in of_results else sought)):
        names = _names_of(sketch)
        known.append(names[0])
        if (name is None or name in names) and sketch.arm in ("", arm or sketch.arm):
            return _draw_alone(sketch, arm, options)
    if name in of_results:
        function = of_results[name]
        if "arm" in signature(function).parameters:
            options["arm"] = arm or next(iter(study.schemes))
        return function(ran, **options)
    raise ValueError(
        f"there is no figure {name!r}; this study has {', '.join(known)}, and swjax.plot has "
        f"{', '.join(of_results)}"
    )


def _names_of(sketch: Sketch) -> list[str]:
    """What a sketch may be called: its name, that without the arm, that of the function."""
    names = [sketch.name, sketch.name.removesuffix(f"-{sketch.arm}")]
    return [*names, sketch.draw.func.__name__] if isinstance(sketch.draw, partial) else names


def _draw_alone(sketch: Sketch, arm: str | None, options: dict[str, Any]) -> Axes:
    """Draw a sketch on the Axes of the options, or on a new figure."""
    if arm is not None and not sketch.arm:
        options["arm"] = arm
    ax = options.pop("ax", None)
    with plot.figure_style():
        if ax is None:
            ax = plot.axes_or_new(None, height=sketch.height)
        return sketch.draw(ax, **options)


def _functions_of_results() -> dict[str, Callable[..., Axes]]:
    """The functions of ``swjax.plot`` that draw the results of a sweep."""
    found = {name: getattr(plot, name) for name in dir(plot) if name[0] != "_"}
    takes = lambda function: callable(function) and next(iter(signature(function).parameters), "")
    return {name: function for name, function in found.items() if takes(function) == "results"}


def _that_ran(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(step_size=np.flatnonzero(_has_run(dataset)))


def _drawn(sketches: Iterator[Sketch]) -> Iterator[Drawing | Failure]:
    """Draw one after the other; a figure that fails costs no other, and no report."""
    try:
        for sketch in sketches:
            try:
                yield _draw(sketch)
            except Exception as error:
                yield Failure(sketch.title, _reason(error))
    except Exception as error:  # while a sketch was made: there are no further ones
        yield Failure("What would follow here", _reason(error))


def _reason(error: Exception) -> str:
    return f"{error or type(error).__name__}"


def _sketches(study: Study, ran: xr.Dataset) -> list[Iterator[Sketch]]:
    """The figures of the claims, the main one first, and those of what the generator makes."""
    if not ran.sizes["step_size"]:
        return []
    return [_of_claims(study, ran), generated_sketches(study, ran)]


def _of_claims(study: Study, ran: xr.Dataset) -> Iterator[Sketch]:
    if isinstance(study, FlowStudy):
        return flow_sketches(study, ran)
    if isinstance(study, StationarityStudy):
        return stationarity_sketches(study, ran)
    return training_sketches(study, ran)


def _has_run(dataset: xr.Dataset) -> np.ndarray:
    """Which step sizes have run in every arm."""
    if "diverged_at" not in dataset:
        return np.zeros(dataset.sizes["step_size"], bool)
    return (dataset["diverged_at"] > -2).all(["arm", "repetition"]).values


def _draw(sketch: Sketch) -> Drawing:
    with plot.figure_style():
        figure = Figure(figsize=(6.6, sketch.height), layout="constrained")
        sketch.draw(figure.subplots())
        figure.draw_without_rendering()  # what is wrong with an axis shows here
    return Drawing(sketch.name, sketch.title, sketch.caption.strip(), figure)


def save_drawing(drawing: Drawing, folder: Path) -> None:
    """Write a figure as `<name>.svg` and `<name>.png`, the same bytes for the same results."""
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        settings = {"format": kind, "dpi": 160, "metadata": metadata}
        with plt.rc_context({"svg.hashsalt": drawing.name, "svg.fonttype": "path"}):
            write_atomically(
                folder / f"{drawing.name}.{kind}",
                lambda beside: drawing.figure.savefig(beside, **settings),  # noqa: B023
            )
