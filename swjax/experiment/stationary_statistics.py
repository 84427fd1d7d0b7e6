"""Averages over the time after burn-in, run by run, and what they are worth."""

from typing import Any

import numpy as np
import xarray as xr

from swjax.convergence import integrated_autocorrelation_time, mean_interval
from swjax.experiment.critical_set import Prediction
from swjax.experiment.study import StationarityStudy

# The variable in the results of each part.
VARIABLE_OF = {
    "distance": "critical_distance",
    "tangential": "tangential",
    "radial": "radial",
    "residual": "residual",
}
PHRASE_OF = {
    "distance": "distance to the critical set",
    "tangential": "distance to the critical point along the sphere",
    "radial": "distance to the sphere",
    "residual": "residual of the full gradient in the ball",
}
QUANTILE = 0.95


def parts_of(dataset: xr.Dataset, arm: str | None = None) -> list[str]:
    """The parts that the results hold, or that one arm has."""
    held = [part for part, name in VARIABLE_OF.items() if name in dataset]
    if arm is None:
        return held
    has = lambda part: bool(dataset[VARIABLE_OF[part]].sel(arm=arm).notnull().any())
    return [part for part in held if has(part)]


def after_burn_in(study: StationarityStudy, dataset: xr.Dataset, part: str) -> xr.DataArray:
    """The records of a part after burn-in, NaN for diverged runs.

    Returns:
        (arm, step_size, repetition, time), the times at which the part was recorded.
    """
    values = dataset[VARIABLE_OF[part]]
    values = values.isel(time=np.flatnonzero(values["time"] >= study.burn_in * (1 - 1e-9)))
    recorded = values.notnull().any(["arm", "step_size", "repetition"])
    values = values.isel(time=np.flatnonzero(recorded))
    order = ("arm", "step_size", "repetition", "time")
    return values.where(dataset["diverged_at"] < 0).transpose(*order)


def per_run(values: xr.DataArray, statistic: str) -> xr.DataArray:
    """One number per run: the time average of the squares (rms) or values, or their quantile.

    The root of the mean square is taken after the average over runs.
    """
    if statistic == "rms":
        return (values.astype(float) ** 2).mean("time", skipna=False)
    if statistic == "mean":
        return values.astype(float).mean("time", skipna=False)
    return values.astype(float).quantile(QUANTILE, "time", skipna=False).drop_vars("quantile")


def shares_of_prediction(
    study: StationarityStudy, dataset: xr.Dataset, arm: str, part: str, prediction: Prediction
) -> np.ndarray:
    """What was measured in each run, divided by what theory says: (step sizes, repetitions)."""
    values = after_burn_in(study, dataset, part).sel(arm=arm).values.astype(float)
    sizes = [float(size) for size in dataset["step_size"].values]
    return np.stack(
        [
            prediction.quantity(rows, size).mean(axis=1) / prediction.value(size)
            for rows, size in zip(values, sizes, strict=True)
        ]
    )


def sampling(study: StationarityStudy, dataset: xr.Dataset) -> list[dict[str, Any]]:
    """What the averages are worth: autocorrelation, effective samples, drift after burn-in.

    Args:
        study: the study.
        dataset: its complete results.

    Returns:
        One dict per arm, step size and part, all about the squares of the part:
        ``autocorrelation_time`` (flow time) with its standard error, the same ``in_steps``,
        ``effective_sample_size`` of all runs together, ``resolved`` (whether records are close
        enough for the time to be seen), ``drift`` (second half of the time minus first half, as a
        share of the mean) with its interval.
    """
    found = []
    for part in parts_of(dataset):
        squares = after_burn_in(study, dataset, part).astype(float) ** 2
        if squares.sizes["time"] < 4:
            continue
        times = squares["time"].values
        spacing = float(times[1] - times[0])
        for arm in parts_arms(dataset, part):
            for size in study.step_sizes:
                rows = squares.sel(arm=arm, step_size=size).values
                if np.isfinite(rows).all(axis=1).sum() >= 2:
                    row = {"arm": arm, "step_size": float(size), "part": part}
                    found.append(row | _worth(rows, spacing, size))
    return found


def parts_arms(dataset: xr.Dataset, part: str) -> list[str]:
    """The arms that have a part."""
    return [str(arm) for arm in dataset["arm"].values if part in parts_of(dataset, str(arm))]


def _worth(rows: np.ndarray, spacing: float, step_size: float) -> dict[str, Any]:
    found = integrated_autocorrelation_time(rows)
    rows = rows[np.isfinite(rows).all(axis=1)]
    half = rows.shape[1] // 2
    level = rows.mean()
    change = (rows[:, -half:].mean(axis=1) - rows[:, :half].mean(axis=1)) / (level or 1.0)
    drift = mean_interval(change)
    return {
        "autocorrelation_time": found.time * spacing,
        "standard_error": found.standard_error * spacing,
        "in_steps": found.time * spacing / step_size,
        "resolved": bool(found.time > 1.5),
        "long_enough": found.is_reliable,
        "effective_sample_size": found.effective_sample_size,
        "records_per_run": found.length,
        "num_runs": found.num,
        "num_left_out": found.num_left_out,
        "drift": drift.estimate,
        "drift_low": drift.low,
        "drift_high": drift.high,
    }
