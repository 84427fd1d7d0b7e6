"""One distance for each run of a flow study, as its claims and its figures use it."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from swjax.experiment.closed_form import scale_problem
from swjax.experiment.study import FlowStudy
from swjax.plot.results import finite_runs


class Distances(NamedTuple):
    """A distance of every run to the flow, or to the set of solutions.

    Attributes:
        values: dimensions of the dataset without time; NaN for runs that diverged.
        words: what it is, to stand at the start of a sentence.
        formula: the same for the axis of a figure.
    """

    values: xr.DataArray
    words: str
    formula: str


def run_distances(study: FlowStudy, dataset: xr.Dataset, variable: str = "distance") -> Distances:
    """The distance that the study asks for: the largest or the mean over times, or that to a set.

    Args:
        study: the study.
        dataset: its results.
        variable: ``distance``, or ``constant_distance`` for the piecewise constant interpolation.
    """
    if study.reference.kind == "solution_set":
        values = _to_solutions(study, dataset, "sup")
        words = f"the distance to the set of solutions, up to time {study.horizon:g},"
        return Distances(values, words, r"mean of  $\min_u \max_{s}\,|u_\alpha(s) - u(s)|$")
    first, last = study.expect.from_time, study.horizon
    late = dataset["time"] >= first * (1 - 1e-9)
    chosen = finite_runs(dataset, dataset[variable]).isel(time=np.flatnonzero(late.values))
    if study.expect.distance == "mean":
        values = chosen.mean("time", skipna=False)
        words = f"the mean distance to the flow from time {first:g} to {last:g}"
        return Distances(values, words, r"mean over $s$ of  $|u_\alpha(s) - u(s)|$")
    values = chosen.max("time", skipna=False)
    since = f"from time {first:g} " if first else ""
    words = f"the distance to the flow, at its largest {since}up to time {last:g},"
    formula = r"mean of  $\max_{s \leq S}\,|u_\alpha(s) - u(s)|$"
    if first:
        formula = rf"mean of  $\max_{{s \geq {first:g}}}\,|u_\alpha(s) - u(s)|$"
    return Distances(values, words, formula)


def compact_distances(study: FlowStudy, dataset: xr.Dataset) -> xr.DataArray:
    """The distance of every run in the metric of the theorem, of curves stopped at the horizon.

    d_c(u, v) = sum_k 2^-k min(1, max over [0, k] of |u - v|), over the recorded times. A run that
    diverged has the largest distance, 1.
    """
    if study.reference.kind == "solution_set":
        values = _to_solutions(study, dataset, "compact")
        return values.where(dataset["diverged_at"] < 0, 1.0)
    distance = dataset["distance"].transpose(..., "time")
    gaps = np.where(np.isfinite(distance.values), distance.values, np.inf)
    so_far = np.minimum(np.maximum.accumulate(gaps, axis=-1), 1.0)
    ends = np.arange(1, int(np.ceil(study.horizon - 1e-9)) + 1)
    last = np.searchsorted(dataset["time"].values, ends + 1e-9) - 1
    weights = 0.5**ends
    weights[-1] *= 2  # all later intervals see the stopped curves
    return distance.isel(time=0, drop=True).copy(data=so_far[..., last] @ weights)


def _to_solutions(study: FlowStudy, dataset: xr.Dataset, metric: str) -> xr.DataArray:
    """Distance of the recorded paths to the set of solutions, NaN for runs that diverged."""
    path = finite_runs(dataset, dataset["path"].isel(parameter=0)).transpose(..., "time")
    radius = study.reference.radius if study.reference.kind == "solution_set" else 0.0
    found = scale_problem(study).distance_to_solutions(
        path.values, path["time"].values, radius, metric
    )
    values = path.isel(time=0, drop=True).copy(data=found)
    return values.where(np.isfinite(path.isel(time=-1, drop=True)))
