"""Claims of studies in which mean and mean square of every iterate are known."""

from typing import NamedTuple

import numpy as np
import scipy.special
import xarray as xr

from swjax.convergence import Interval, mean_interval
from swjax.experiment.build import build
from swjax.experiment.cell import flat_rows
from swjax.experiment.closed_form import Moments, moments
from swjax.experiment.results import flow_times
from swjax.experiment.statements import (
    arm_prefix,
    bound_verdict,
    claim,
    left_out,
    measurement,
    undecided,
)
from swjax.experiment.study import FlowStudy
from swjax.plot.results import finite_runs

# Measured and exact deviations agree when they are within this many standard errors of each other,
# and a measurement decides only if its standard error is below this share of it.
_AGREE, _SHARP = 3.0, 0.1
# The bias is small beside the spread of the runs: as a share of its formula it must be 1 +- this.
_BIAS_BAND = 0.3


def closed_form_claims(study: FlowStudy, dataset: xr.Dataset) -> tuple[list[dict], list[dict]]:
    """Compare the mean-square deviation, the bias and the largest distance with what is known.

    The first two with their exact values, each at one time, which the formulas decide: that of the
    largest deviation, and that of the best ratio of bias to spread. The last with its bound.

    Args:
        study: a flow study with a closed form.
        dataset: its complete results.

    Returns:
        Claims and measurements; the latter carry the exact value as ``exact``.
    """
    starts, times = _starts(study, dataset), flow_times(study)
    claims, measurements = [], []
    for arm in study.schemes:
        closed = moments(study, arm)
        if closed is None:
            continue
        of_arm = dataset.sel(arm=arm)
        prefix, note = arm_prefix(study, arm), left_out(dataset, arm)
        spread = closed.fluctuation(starts, times).mean(0)
        squares = [
            _square(closed, of_arm, starts, times, size, int(spread.argmax()))
            for size in study.step_sizes
        ]
        measurements += _rows("mean square deviation / step size", arm, study, squares)
        claims.append(_square_claim(prefix, study, squares, note))
        claims.append(_bound_claim(prefix, study, closed, of_arm, starts, note))
        if "path" in dataset:
            slant = np.sum(closed.bias(starts, times).mean(0) ** 2, -1)
            at = int(np.divide(slant, spread, out=np.zeros_like(slant), where=spread > 0).argmax())
            biases = [_bias(closed, of_arm, starts, times, size, at) for size in study.step_sizes]
            measurements += _rows("bias", arm, study, biases)
            claims.append(_bias_claim(prefix, study, biases, note))
    return claims, measurements


def _starts(study: FlowStudy, dataset: xr.Dataset) -> np.ndarray:
    """The start of every repetition, (R, P): where its flow begins."""
    if "flow_path" not in dataset:
        return np.asarray(flat_rows(build(study).starts), np.float64)
    starts = dataset["flow_path"].isel(time=0).values.astype(np.float64)
    return np.broadcast_to(starts, (study.repetitions, starts.shape[-1]))


class _Compared(NamedTuple):
    """What was measured with its 95 % interval, the exact value, and the flow time."""

    interval: Interval
    exact: float
    time: float


def _square(
    closed: Moments,
    of_arm: xr.Dataset,
    starts: np.ndarray,
    times: np.ndarray,
    size: float,
    at: int,
) -> _Compared:
    exact = closed.mean_square_deviation(size, starts, times[at : at + 1])[:, 0] / size
    distance = finite_runs(of_arm, of_arm["distance"]).sel(step_size=size).isel(time=at)
    return _compared(distance.values.astype(float) ** 2 / size, exact, times[at])


def _bias(
    closed: Moments,
    of_arm: xr.Dataset,
    starts: np.ndarray,
    times: np.ndarray,
    size: float,
    at: int,
) -> _Compared:
    """The deviation of the mean path from the flow, along the exact one."""
    time = times[at : at + 1]
    flow, mean = closed.flow(starts, time)[:, 0], closed.mean_path(size, starts, time)[:, 0]
    exact = (mean - flow).mean(0)
    length = float(np.linalg.norm(exact))
    along = exact / length
    good = finite_runs(of_arm, of_arm["distance"]).sel(step_size=size).notnull().all("time").values
    path = of_arm["path"].sel(step_size=size).isel(time=at).values.astype(float)
    # Only the part around each run's own mean path is random.
    found = np.where(good, (path - mean) @ along + length, np.nan)
    return _compared(found, np.full(len(found), length), times[at])


def _compared(found: np.ndarray, exact: np.ndarray, time: float) -> _Compared:
    """The mean of what was found, and the exact mean over the same runs."""
    good = np.isfinite(found)
    num, num_left_out = int(good.sum()), int((~good).sum())
    if num < 2:
        nothing = Interval(np.nan, np.nan, np.nan, np.nan, num, num_left_out)
        return _Compared(nothing, float(exact.mean()), float(time))
    # The exact value differs from run to run with the start; only the rest is random.
    known, rest = float(exact[good].mean()), mean_interval((found - exact)[good])
    mean, low, high = (known + end for end in (rest.estimate, rest.low, rest.high))
    interval = Interval(mean, low, high, rest.standard_error, num, num_left_out)
    return _Compared(interval, known, float(time))


def _rows(name: str, arm: str, study: FlowStudy, compared: list[_Compared]) -> list[dict]:
    return [
        measurement(name, arm, size, each.interval, exact=each.exact, time=each.time)
        for size, each in zip(study.step_sizes, compared, strict=True)
    ]


def _shares(compared: list[_Compared]) -> tuple[np.ndarray, np.ndarray]:
    """What was measured, and its standard errors, as shares of the exact values."""
    exact = np.array([each.exact for each in compared])
    ratios = np.array([each.interval.estimate for each in compared]) / exact
    return ratios, np.array([each.interval.standard_error for each in compared]) / exact


def _square_claim(prefix: str, study: FlowStudy, compared: list[_Compared], note: str) -> dict:
    text = (
        f"{prefix}the mean square deviation from the flow, divided by the step size, agrees with "
        f"its exact formula within {_AGREE:g} standard errors at every step size"
    )
    ratios, errors = _shares(compared)
    if not np.isfinite(ratios).all() or not (errors > 0).all():
        return undecided(text, 1.0, _AGREE * _SHARP, f"Too few finite runs. {note}".strip())
    # Squares are skewed: a mean that came out small has a small standard error as well. The
    # logarithm has neither fault, and Student's law allows for the error of the standard error.
    errors = errors / ratios
    freedom = np.array([each.interval.num for each in compared]) - 1
    allowed = scipy.special.stdtrit(freedom, scipy.special.ndtr(_AGREE))
    scores = np.log(ratios) / errors
    worst = int((np.abs(scores) / allowed).argmax())
    verdict = "holds" if abs(scores[worst]) <= allowed[worst] else "fails"
    if verdict == "holds" and errors.max() > _SHARP:
        verdict = "undecided"
        note = f"A standard error is {errors.max():.0%} of the mean: more repetitions. {note}"
    listed = ", ".join(
        f"{score:+.1f} at {size:g}" for score, size in zip(scores, study.step_sizes, strict=True)
    )
    ratio, half = ratios[worst], scipy.special.stdtrit(freedom, 0.975)[worst] * errors[worst]
    edge = np.exp(np.copysign(allowed[worst] * errors[worst], scores[worst]))
    return claim(
        text,
        estimate=ratio,
        low=ratio * np.exp(-half),
        high=ratio * np.exp(half),
        expected=1.0,
        tolerance=abs(edge - 1),
        verdict=verdict,
        note=f"As a share of the formula, at time {compared[worst].time:g} and the step size that "
        f"agrees least, {study.step_sizes[worst]:g}. In standard errors of its logarithm: "
        f"{listed}; for {freedom[worst] + 1} runs Student's law allows {allowed[worst]:.1f}. "
        f"{note}".strip(),
    )


def _bound_claim(
    prefix: str,
    study: FlowStudy,
    closed: Moments,
    of_arm: xr.Dataset,
    starts: np.ndarray,
    note: str,
) -> dict:
    """The mean of the largest distance lies below the bound that proves order 1/2."""
    text = (
        f"{prefix}the mean of the largest distance to the flow is below the bound of Gronwall and "
        "Doob, exp(LT) (2 sigma sqrt(alpha T) + alpha L T (G + sigma) / 2), at every step size"
    )
    largest = finite_runs(of_arm, of_arm["distance"]).max("time", skipna=False)
    shares = []
    for size in study.step_sizes:
        values = largest.sel(step_size=size).values
        bound = float(np.mean(closed.deviation_bound(size, starts, study.horizon)))
        if np.isfinite(values).sum() < 2:
            return undecided(text, 0.0, 1.0, f"Too few finite runs. {note}".strip())
        found = mean_interval(values)
        shares.append((found.high / bound, found.estimate / bound, found.low / bound, size))
    high, estimate, low, size = max(shares)
    return claim(
        text,
        estimate=estimate,
        low=low,
        high=high,
        expected=0.0,
        tolerance=1.0,
        verdict=bound_verdict(low, high, 1.0),
        note=f"As a share of the bound, at step size {size:g}, where it is largest. {note}".strip(),
    )


def _bias_claim(prefix: str, study: FlowStudy, compared: list[_Compared], note: str) -> dict:
    text = f"{prefix}the mean path is off the flow by the bias of its exact formula"
    ratios, errors = _shares(compared)
    if not np.isfinite(ratios).all() or not (errors > 0).all():
        return undecided(text, 1.0, _BIAS_BAND, f"Too few finite runs. {note}".strip())
    # Weights of what is known: the variance of a run is about in proportion to its step size.
    # Weights from estimated variances would make the interval too short.
    num = np.array([each.interval.num for each in compared])
    weights = np.array([each.exact for each in compared]) ** 2 * num / np.asarray(study.step_sizes)
    if study.common_random_numbers:  # then the step sizes are not independent: take the best one
        weights = (np.arange(len(weights)) == weights.argmax()).astype(float)
    weights /= weights.sum()
    ratio, parts = float(weights @ ratios), (weights * errors) ** 2
    # Student's interval for a sum of means of unlike variances (Welch 1947).
    freedom = parts.sum() ** 2 / np.sum(parts**2 / (num - 1))
    half = float(scipy.special.stdtrit(freedom, 0.975) * np.sqrt(parts.sum()))
    low, high = ratio - half, ratio + half
    return claim(
        text,
        estimate=ratio,
        low=low,
        high=high,
        expected=1.0,
        tolerance=_BIAS_BAND,
        note="As a share of the formula, mean over step sizes weighted by their precision in "
        f"theory, at time {compared[0].time:g}. {note}".strip(),
    )
