"""Results as labeled data: one dataset per cell, and all cells of a study as one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from swjax.experiment.cell import place_times
from swjax.experiment.closed_form import loss_attributes
from swjax.experiment.errors import RunFolderError
from swjax.experiment.same_study import refuse_foreign
from swjax.experiment.store import RunFolder, read_attributes, read_dataset
from swjax.experiment.study import Study, plain

# Names, dimensions of a cell, and what the numbers are.
VARIABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "distance": (("repetition", "time"), "|u_alpha(s) - flow(s)|"),
    "loss": (("repetition", "time"), "expected loss, or its estimate over fixed draws"),
    "sample_loss": (("repetition", "time"), "mean minibatch loss since the previous time"),
    "norm": (("repetition", "time"), "|u_alpha(s)|"),
    "max_norm": (("repetition", "time"), "largest norm of an iterate so far, over all steps"),
    "critical_distance": (("repetition", "time"), "distance to the critical set"),
    "tangential": (("repetition", "time"), "part of it along the sphere of the ball"),
    "radial": (("repetition", "time"), "part of it across the sphere: radius minus norm"),
    "residual": (
        ("repetition", "time"),
        "projected gradient |u - pi_r(u - t grad F(u))| / t of the expected loss F",
    ),
    "goldstein": (
        ("repetition",),
        "norm of an element of the Goldstein subdifferential at the end",
    ),
    "gradient_error": (
        ("repetition",),
        "standard error over the draws of the averaged gradient at the end",
    ),
    "constant_distance": (("repetition", "time"), "|iterate at or before s - flow(s)|"),
    "max_step": (("repetition", "time"), "longest step |u^{k+1} - u^k| so far"),
    "diverged_at": (("repetition",), "first step whose iterate is not finite, or -1"),
    "path": (("repetition", "time", "parameter"), "u_alpha(s)"),
}


def flow_times(study: Study) -> np.ndarray:
    """The recorded flow times (N + 1,), from 0 to the horizon."""
    return np.linspace(0.0, study.horizon, study.record.num_times + 1)


def cell_dataset(
    study: Study, arm: str, step_size: float, records: dict[str, np.ndarray]
) -> xr.Dataset:
    """Label what a cell recorded.

    Args:
        study: the study.
        arm: name of the scheme.
        step_size: its step size.
        records: arrays by name, (R, N + 1, ...), and ``diverged_at`` (R,).

    Returns:
        A dataset with dimensions repetition, time (and parameter), and the study as an attribute.
    """
    data = {
        name: xr.Variable(VARIABLES[name][0], values, _attributes(study, name))
        for name, values in sorted(records.items())
    }
    num_steps = place_times(flow_times(study), step_size).num_steps
    return xr.Dataset(
        data,
        coords={
            "repetition": np.arange(study.repetitions),
            "time": ("time", flow_times(study), {"long_name": "flow time"}),
        },
        attrs={
            "study": json.dumps(plain(study)),
            "arm": arm,
            "step_size": step_size,
            "num_steps": num_steps,
            "batch_width": study.repetitions,
        },
    )


def _attributes(study: Study, name: str) -> dict[str, str]:
    """What the numbers of a variable are."""
    return loss_attributes(study) if name == "loss" else {"long_name": VARIABLES[name][1]}


def refuse_foreign_results(folder: RunFolder, study: Study) -> None:
    """Refuse a folder in which a file of results is not of this study.

    Raises:
        RunFolderError: there is such a file; what differs, and what to do.
    """
    for path, place in _result_files(folder, study):
        refuse_foreign(path, read_attributes(path), study, **place)


def read_results(path: Path, study: Study, **place: Any) -> xr.Dataset:
    """Read a file of results that must be of this study, and of `place` in it."""
    dataset = read_dataset(path)
    refuse_foreign(path, dataset.attrs, study, **place)
    return dataset


def _result_files(folder: RunFolder, study: Study) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files of results that are there, with their places in the study."""
    if folder.reference_path.exists():
        yield folder.reference_path, {}
    for arm in study.schemes:
        for step_size in study.step_sizes:
            path = folder.cell_path(arm, step_size)
            if path.exists():
                yield path, {"arm": arm, "step_size": step_size}


def combine(folder: RunFolder, study: Study) -> xr.Dataset:
    """All finished cells of a run as one labeled dataset; cells not there yet are missing values.

    Returns:
        Dimensions arm, step_size, repetition, time (and parameter). Besides the variables of the
        cells: ``num_steps`` (step_size) and, for a study with a reference, ``flow_path``,
        ``flow_loss``, ``flow_error``.

    Raises:
        RunFolderError: a file is of another study, or the flow is missing that cells refer to.
    """
    arms = list(study.schemes)
    shape = (len(arms), len(study.step_sizes))
    stacked: dict[str, np.ndarray] = {}
    dims: dict[str, tuple] = {}
    reference: xr.Dataset | None = None
    for path, place in _result_files(folder, study):
        cell = read_results(path, study, **place)
        if not place:
            reference = cell
            continue
        at = arms.index(place["arm"]), study.step_sizes.index(place["step_size"])
        for name, values in cell.data_vars.items():
            name = str(name)
            if name not in stacked:
                missing = -2 if values.dtype.kind == "i" else np.nan
                stacked[name] = np.full(shape + values.shape, missing, values.dtype)
                dims[name] = ("arm", "step_size", *values.dims)
            stacked[name][at] = values.values
    if stacked and reference is None and study.kind == "flow":
        raise RunFolderError(f"{folder.reference_path} is missing. Resume: it is made again.")
    data: dict[str, Any] = {
        name: (dims[name], values, _attributes(study, name)) for name, values in stacked.items()
    }
    times = flow_times(study)
    steps = [place_times(times, step_size).num_steps for step_size in study.step_sizes]
    data["num_steps"] = (("step_size",), np.array(steps, np.int64))
    radii = [getattr(scheme, "radius", None) for scheme in study.schemes.values()]
    dataset = xr.Dataset(
        data,
        coords={
            "arm": arms,
            "step_size": ("step_size", list(study.step_sizes), {"long_name": "step size"}),
            "repetition": np.arange(study.repetitions),
            "time": ("time", times, {"long_name": "flow time"}),
        },
        attrs={
            "study": json.dumps(plain(study)),
            "name": study.name,
            "kind": study.kind,
            "batch_width": study.repetitions,
            "radius": json.dumps(radii),
        },
    )
    return dataset if reference is None else dataset.merge(reference)
