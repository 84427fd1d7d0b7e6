"""Claims of studies that compare schemes: who stays in the ball, who ends lower, who is faster."""

import numpy as np
import xarray as xr

from swjax.convergence import mean_interval, paired_difference, relative_difference
from swjax.experiment.closed_form import is_above_minimum
from swjax.experiment.statements import claim, left_out, measurement, undecided
from swjax.experiment.study import TrainingStudy
from swjax.plot.results import at_the_end, finite_runs

_HALF_TIME = "time to half the fall of the loss"


def training_claims(study: TrainingStudy, dataset: xr.Dataset) -> tuple[list[dict], list[dict]]:
    """Judge a training study.

    Args:
        study: the study.
        dataset: its complete results.

    Returns:
        Claims and measurements.
    """
    arms = list(study.schemes)
    claims = [_ball_claim(study, dataset, arm) for arm in arms if _radius(study, arm) is not None]
    measurements = []
    final, what = final_losses(dataset)
    for arm in arms:
        for size in study.step_sizes:
            norms = finite_runs(dataset, dataset["max_norm"]).sel(arm=arm, step_size=size)
            measurements += _measured("largest norm", arm, size, norms.isel(time=-1))
            measurements += _measured(what, arm, size, final.sel(arm=arm, step_size=size))
            times = half_times(dataset, arms[0], size)
            if times is not None:
                measurements += _measured(_HALF_TIME, arm, size, times.sel(arm=arm))
    for arm in arms[1:]:
        for size in study.step_sizes:
            claims += _difference_claim(study, dataset, arms[0], arm, size)
            measurements += _differences(dataset, final, what, arms[0], arm, size)
    return claims, measurements


def final_losses(dataset: xr.Dataset) -> tuple[xr.DataArray, str]:
    """The loss at the horizon (arm, step_size, repetition), NaN where a run diverged, and its name.

    Without a recorded loss, the minibatch loss takes its place.
    """
    if "loss" in dataset:
        return at_the_end(dataset, "loss"), "final loss"
    return at_the_end(dataset, "sample_loss"), "final minibatch loss"


def half_times(dataset: xr.Dataset, baseline: str, step_size: float) -> xr.DataArray | None:
    """When each run's loss first falls half of the way that the baseline's mean loss falls.

    Returns:
        Flow times (arm, repetition), the horizon where it never does, NaN where a run diverged;
        None when no loss is recorded or the baseline's mean loss does not fall.
    """
    if "loss" not in dataset:
        return None
    here = dataset.sel(step_size=step_size)
    loss = finite_runs(here, here["loss"])
    loss = loss.isel(time=np.flatnonzero(loss.notnull().any(["arm", "repetition"])))
    mean = loss.sel(arm=baseline).mean("repetition")
    first, last = float(mean[0]), float(mean[-1])
    if not last < first:
        return None
    below = loss <= (first + last) / 2
    times = loss["time"].where(below, float(dataset["time"][-1])).min("time")
    return times.where(loss.notnull().any("time"))


def _radius(study: TrainingStudy, arm: str) -> float | None:
    return getattr(study.schemes[arm], "radius", None)


def _ball_claim(study: TrainingStudy, dataset: xr.Dataset, arm: str) -> dict:
    radius = _radius(study, arm)
    assert radius is not None
    norms = dataset["max_norm"].sel(arm=arm)
    eps = float(np.finfo(norms.dtype).eps)
    norms = finite_runs(dataset.sel(arm=arm), norms).isel(time=-1)
    text = f"{arm}: the parameters stay in the ball of radius {radius:g} at every step"
    note = left_out(dataset, arm)
    if not np.isfinite(norms).any():
        return undecided(text, radius, 4 * eps * radius, f"No run stayed finite. {note}".strip())
    largest = float(norms.max())
    allowed = radius * (1 + 4 * eps)
    touched = int((norms >= radius * (1 - 1e-4)).sum())
    steps = ", ".join(str(int(n)) for n in dataset["num_steps"].values)
    return claim(
        text,
        estimate=largest,
        low=largest,
        high=largest,
        expected=radius,
        tolerance=4 * eps * radius,
        verdict="holds" if largest <= allowed else "fails",
        note=f"Largest norm over {steps} steps of {study.repetitions} runs each; {touched} of "
        f"{norms.size} runs reached the sphere. {note}".strip(),
    )


def _difference_claim(
    study: TrainingStudy, dataset: xr.Dataset, baseline: str, arm: str, size: float
) -> list[dict]:
    if study.expect is None:
        return []
    expected, tolerance = study.expect.relative_difference, study.expect.tolerance
    final, _ = final_losses(dataset)
    loss = "final loss above its minimum" if is_above_minimum(study) else "final loss"
    text = (
        f"{arm} against {baseline} at step size {size:g}: relative difference of the {loss} "
        f"is {expected:g} within {tolerance:g}"
    )
    note = " ".join(filter(None, (left_out(dataset, a, size) for a in (baseline, arm))))
    try:
        interval = relative_difference(
            final.sel(arm=arm, step_size=size).values,
            final.sel(arm=baseline, step_size=size).values,
        )
    except ValueError as error:
        return [undecided(text, expected, tolerance, f"{error} {note}".strip())]
    return [
        claim(
            text,
            estimate=interval.estimate,
            low=interval.low,
            high=interval.high,
            expected=expected,
            tolerance=tolerance,
            note=note,
        )
    ]


def _differences(
    dataset: xr.Dataset, final: xr.DataArray, what: str, baseline: str, arm: str, size: float
) -> list[dict]:
    found = []
    chosen = final.sel(step_size=size)
    times = half_times(dataset, baseline, size)
    pairs = [(f"{what}, paired difference to {baseline}", chosen)]
    if times is not None:
        pairs.append((f"{_HALF_TIME}, paired difference to {baseline}", times))
    for name, values in pairs:
        try:
            interval = paired_difference(
                values.sel(arm=arm).values, values.sel(arm=baseline).values
            )
        except ValueError:
            continue
        found.append(measurement(name, arm, size, interval))
    return found


def _measured(name: str, arm: str, size: float, values: xr.DataArray) -> list[dict]:
    try:
        return [measurement(name, arm, size, mean_interval(values.values))]
    except ValueError:
        return []
