"""Fluctuation and bias of small steps against the equations they solve."""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

from swjax.convergence import Interval, equivalence_verdict, extrapolate_to_zero, mean_interval
from swjax.experiment.statements import (
    MISFIT,
    NORMAL_95,
    arm_prefix,
    claim,
    left_out,
    measurement,
    undecided,
)
from swjax.experiment.study import FlowStudy
from swjax.plot.results import finite_runs

# A bias is used for the order if it is this many standard errors away from none.
_CLEAR = 4.0


def limit_claims(study: FlowStudy, dataset: xr.Dataset, arm: str) -> tuple[list[dict], list[dict]]:
    """Judge the limits of the fluctuation and the bias by the step size.

    The fluctuation is taken at the time at which its limit is largest, the bias at that of the best
    ratio of bias to fluctuation.

    Args:
        study: a flow study that expects limits.
        dataset: its complete results, with those of the equations.
        arm: the scheme.

    Returns:
        Claims and measurements.
    """
    asked = study.expect.limits
    assert asked is not None
    prefix, note = arm_prefix(study, arm), left_out(dataset, arm)
    squares = scaled_squares(dataset, arm)
    claims = [
        _limit_claim(
            study,
            squares.shares,
            asked.fluctuation,
            f"{prefix}the mean square deviation from the flow, divided by the step size, tends to "
            "the solution of P' = -HP - PH + Sigma",
            f"As a share of trace P = {squares.limit:.4g} at time {squares.time:g}. {note}",
        )
    ]
    measurements = _rows("mean square deviation / step size, share of limit", arm, study, squares)
    if asked.bias is None and asked.bias_order is None:
        return claims, measurements
    biases = scaled_biases(dataset, arm)
    measurements += _rows("bias / step size, share of limit", arm, study, biases)
    if asked.bias_order is not None:
        claims.append(_bias_order_claim(study, biases, asked.bias_order, prefix, note))
    if asked.bias is not None:
        claims.append(
            _limit_claim(
                study,
                biases.shares,
                asked.bias,
                f"{prefix}the bias of the mean path, divided by the step size, tends to the "
                "solution of b' = -Hb - H grad F / 2 - D^3F[P] / 2",
                f"As a share of |b| = {biases.limit:.4g} at time {biases.time:g}. {note}",
            )
        )
    return claims, measurements


class Shares(NamedTuple):
    """A quantity of every run, divided by the step size and by what that should tend to.

    Attributes:
        shares: (step sizes, repetitions); NaN for runs that diverged.
        limit: what the quantity by the step size should tend to.
        time: the flow time.
    """

    shares: np.ndarray
    limit: float
    time: float


def scaled_squares(dataset: xr.Dataset, arm: str) -> Shares:
    """The squared distance to the flow, at the time at which its limit is largest."""
    spread = dataset["limit_fluctuation"].sel(arm=arm).values
    at = int(spread.argmax())
    distance = finite_runs(dataset, dataset["distance"]).sel(arm=arm).isel(time=at)
    squares = distance.transpose("step_size", "repetition").values.astype(float) ** 2
    sizes = dataset["step_size"].values[:, None]
    limit = float(spread[at])
    return Shares(squares / sizes / limit, limit, float(dataset["time"][at]))


def scaled_biases(dataset: xr.Dataset, arm: str) -> Shares:
    """The deviation from the flow along b, at the time of the best ratio of bias to fluctuation."""
    spread = dataset["limit_fluctuation"].sel(arm=arm).values
    slant = dataset["limit_bias"].sel(arm=arm).values
    squared = np.sum(slant**2, axis=-1)
    ratio = np.divide(squared, spread, out=np.zeros_like(squared), where=spread > 0)
    at = int(ratio.argmax())
    limit = float(np.sqrt(squared[at]))
    good = np.isfinite(finite_runs(dataset, dataset["distance"]).sel(arm=arm).isel(time=at))
    path = dataset["path"].sel(arm=arm).isel(time=at).astype(float)
    flow = dataset["flow_path"].isel(time=at).astype(float)
    along = xr.DataArray(slant[at] / limit, dims="parameter")
    values = ((path - flow) * along).sum("parameter").where(good)
    sizes = dataset["step_size"].values[:, None]
    shares = values.transpose("step_size", "repetition").values / sizes / limit
    return Shares(shares, limit, float(dataset["time"][at]))


def _limit_claim(
    study: FlowStudy, shares: np.ndarray, tolerance: float, text: str, note: str
) -> dict:
    """That the shares, extrapolated to step size zero, are 1 within the tolerance."""
    asked = study.expect.limits
    assert asked is not None
    if not study.common_random_numbers:
        shares = _paired(shares)
    try:
        found = extrapolate_to_zero(study.step_sizes, shares, degree=asked.degree)
    except ValueError as error:
        return undecided(text, 1.0, tolerance, str(error))
    verdict = equivalence_verdict(found.low, found.high, 1.0, tolerance)
    if found.misfit < MISFIT:
        note = (
            f"{note} A polynomial of degree {asked.degree} misses the measured values (probability "
            f"{found.misfit:.1g}): leave out the coarse steps, or raise expect.limits.degree."
        )
        verdict = "undecided"
    return claim(
        text,
        estimate=found.limit,
        low=found.low,
        high=found.high,
        expected=1.0,
        tolerance=tolerance,
        verdict=verdict,
        note=f"{note} Extrapolated from {len(study.step_sizes)} step sizes, by a polynomial of "
        f"degree {asked.degree}.".strip(),
    )


def _paired(shares: np.ndarray) -> np.ndarray:
    """Independent repetitions of each step size side by side, the finite ones first."""
    rows = [row[np.isfinite(row)] for row in shares]
    num = min(map(len, rows))
    return np.stack([row[:num] for row in rows])


def _bias_order_claim(
    study: FlowStudy, biases: Shares, tolerance: float, prefix: str, note: str
) -> dict:
    """That the bias has order 1, by a line through its logarithms weighted by their precision."""
    text = f"{prefix}the mean path is off the flow by a bias of order 1 in the step size"
    found = _intervals(biases.shares)
    clear = [i is not None and i.estimate > _CLEAR * i.standard_error for i in found]
    unclear = [f"{size:g}" for size, ok in zip(study.step_sizes, clear, strict=True) if not ok]
    if unclear:
        note = f"Not told from none, and not used: step size {', '.join(unclear)}. {note}"
    if sum(clear) < 3:
        return undecided(text, 1.0, tolerance, f"Fewer than three step sizes remain. {note}")
    used = [interval for interval, ok in zip(found, clear, strict=True) if ok and interval]
    logs = np.log(np.asarray(study.step_sizes)[clear])
    means = np.array([interval.estimate for interval in used])
    errors = np.array([interval.standard_error for interval in used]) / means
    weights = errors**-2 / np.sum(errors**-2)
    centered = logs - weights @ logs
    parts = weights * centered / float(weights @ centered**2)
    # The log of the bias itself: that by the step size, times the step size.
    slope = float(parts @ (np.log(means) + logs))
    error = math.sqrt(float(np.sum((parts * errors) ** 2)))
    if study.common_random_numbers:  # each repetition counts as one, over all step sizes
        each = (parts / means) @ biases.shares[clear]
        error = float(np.nanstd(each, ddof=1)) / math.sqrt(np.isfinite(each).sum())
    low, high = slope - NORMAL_95 * error, slope + NORMAL_95 * error
    return claim(
        text,
        estimate=slope,
        low=low,
        high=high,
        expected=1.0,
        tolerance=tolerance,
        note="Slope of the logarithms, weighted by precision, at time "
        f"{biases.time:g}. {note}".strip(),
    )


def _intervals(values: np.ndarray) -> list[Interval | None]:
    return [mean_interval(row) if np.isfinite(row).sum() >= 2 else None for row in values]


def _rows(name: str, arm: str, study: FlowStudy, found: Shares) -> list[dict]:
    return [
        measurement(name, arm, size, interval, limit=found.limit, time=found.time)
        for size, interval in zip(study.step_sizes, _intervals(found.shares), strict=True)
        if interval is not None
    ]
