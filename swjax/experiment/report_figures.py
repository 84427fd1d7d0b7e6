"""The figures that a study's results call for, drawn and saved."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
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


def drawings(study: Study, dataset: xr.Dataset) -> Iterator[Drawing]:
    """The figures that these results allow, the main one first.

    Args:
        study: the study.
        dataset: its results so far; cells that have not run are missing values.

    Yields:
        Drawings, each on a figure of its own.
    """
    ran = dataset.isel(step_size=np.flatnonzero(_has_run(dataset)))
    if ran.sizes["step_size"]:
        for sketch in chain(_sketches(study, ran), generated_sketches(study, ran)):
            yield _draw(sketch)


def _sketches(study: Study, ran: xr.Dataset) -> Iterator[Sketch]:
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
