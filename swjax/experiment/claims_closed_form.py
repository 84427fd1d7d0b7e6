"""Claims of the translation study, in which mean and mean square of every iterate are known."""

import numpy as np
import xarray as xr

from swjax.convergence import Interval
from swjax.experiment.build import build
from swjax.experiment.cell import flat_rows
from swjax.experiment.closed_form import translation_problem
from swjax.experiment.statements import (
    claim,
    finite_runs,
    left_out,
    measurement,
    several,
    undecided,
)
from swjax.experiment.study import FlowStudy

# Measured and exact values agree when they are within this many standard errors of each other.
_AGREE = 3.0
# A measurement decides only if its standard error is below this share of the exact value.
_SHARP = 0.1


def closed_form_claims(study: FlowStudy, dataset: xr.Dataset) -> tuple[list[dict], list[dict]]:
    """Compare mean-square deviation and bias with their exact values at every step size.

    Both are taken at one time, that of the largest expected deviation at the smallest step.

    Args:
        study: a flow study with a closed form.
        dataset: its complete results.

    Returns:
        Claims and measurements; the latter carry the exact value as ``expected``.
    """
    problem = build(study)
    starts = np.asarray(flat_rows(problem.starts), np.float64)
    claims, measurements = [], []
    for arm in study.schemes:
        closed = translation_problem(study, arm)
        times = problem.times
        smallest = min(study.step_sizes)
        at = int(closed.mean_square_deviation(smallest, starts, times).mean(0).argmax())
        prefix = several(list(study.schemes), arm)
        squares, biases = [], []
        for size in study.step_sizes:
            exact = closed.mean_square_deviation(size, starts, times)[:, at] / size
            distance = finite_runs(dataset, dataset["distance"]).sel(arm=arm, step_size=size)
            found = distance.isel(time=at).values.astype(float) ** 2 / size
            squares.append(_compare(found, exact))
            name = "mean-square deviation / step size"
            measurements.append(_row(name, arm, size, squares[-1], times[at]))
            if "path" in dataset:
                path = dataset["path"].sel(arm=arm, step_size=size).isel(time=at)
                flow = closed.flow(starts, times[at : at + 1])[:, 0]
                mean = closed.mean_path(size, starts, times[at : at + 1])[:, 0]
                good = distance.notnull().all("time").values
                biases.append(_compare_bias(path.values[good], flow[good], mean[good]))
                measurements.append(_row("bias", arm, size, biases[-1], times[at]))
        note = left_out(dataset, arm)
        text = (
            f"{prefix}the mean-square deviation from the flow at time {times[at]:g}, divided by "
            "the step size, is the one of the closed form at every step size (in standard errors)"
        )
        claims.append(_agreement(text, squares, note, sharp=True))
        if biases:
            text = (
                f"{prefix}the mean path deviates from the flow at time {times[at]:g} as the closed "
                "form says at every step size (in standard errors)"
            )
            claims.append(_agreement(text, biases, note, sharp=False))
    return claims, measurements


def _compare(found: np.ndarray, exact: np.ndarray) -> tuple[Interval, float]:
    """Mean of what was found, with an interval of 3 standard errors, and the exact mean."""
    good = np.isfinite(found)
    values, num = found[good], int(good.sum())
    if num < 2:
        return Interval(np.nan, np.nan, np.nan, np.nan, num, len(found) - num), float(exact.mean())
    # The exact value differs from run to run with the start; only the rest is random.
    error = float(np.std(values - exact[good], ddof=1) / np.sqrt(num))
    mean = float(values.mean())
    interval = Interval(
        mean, mean - _AGREE * error, mean + _AGREE * error, error, num, len(found) - num
    )
    return interval, float(exact[good].mean())


def _compare_bias(
    paths: np.ndarray, flows: np.ndarray, means: np.ndarray
) -> tuple[Interval, float]:
    """The deviation of the mean path from the flow, along the exact one, and its exact length."""
    exact = (means - flows).mean(0)
    length = float(np.linalg.norm(exact))
    along = exact / length if length else np.eye(len(exact))[0]
    # Only the part around each run's own mean path is random.
    found = (paths.astype(float) - means) @ along + length
    return _compare(found, np.full(len(found), length))


def _row(name: str, arm: str, size: float, compared: tuple[Interval, float], time: float) -> dict:
    interval, exact = compared
    return measurement(name, arm, size, interval, exact=exact, time=float(time))


def _agreement(
    text: str, compared: list[tuple[Interval, float]], note: str, *, sharp: bool
) -> dict:
    """One claim over all step sizes: the largest discrepancy in standard errors."""
    errors = np.array([interval.standard_error for interval, _ in compared])
    gaps = np.array([interval.estimate - exact for interval, exact in compared])
    exact = np.array([exact for _, exact in compared])
    if not np.isfinite(gaps).all() or not (errors > 0).all():
        return undecided(text, 0.0, _AGREE, f"Too few finite runs. {note}".strip())
    worst = float(np.abs(gaps / errors).max())
    shares = errors / np.abs(exact)
    verdict = "holds" if worst <= _AGREE else "fails"
    if sharp and shares.max() > _SHARP and verdict == "holds":
        verdict = "undecided"
        note = (
            f"A standard error is {shares.max():.0%} of the exact value: more repetitions. {note}"
        )
    if not sharp:
        num = int((np.abs(exact) > _AGREE * errors).sum())
        verdict = verdict if num or verdict == "fails" else "undecided"
        note = (
            f"The bias is larger than 3 standard errors at {num} of {len(exact)} step sizes. {note}"
        )
    return claim(
        text,
        estimate=worst,
        low=0.0,
        high=worst,
        expected=0.0,
        tolerance=_AGREE,
        verdict=verdict,
        note=note.strip(),
    )
