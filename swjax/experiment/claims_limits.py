"""Fluctuation and bias of small steps against the equations they solve."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from swjax.convergence import Interval, mean_interval
from swjax.experiment.claims_extrapolated import extrapolated_claim, side_by_side
from swjax.experiment.statements import arm_prefix, claim, left_out, measurement, undecided
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
        extrapolated_claim(
            study,
            f"{prefix}the mean square deviation from the flow, divided by the step size, tends to "
            "the solution of P' = -HP - PH + Sigma",
            squares.shares,
            degree=asked.degree,
            tolerance=asked.fluctuation,
            note=f"As a share of trace P = {squares.limit:.4g} at time {squares.time:g}. "
            f"{note}".strip(),
            weights=squares.weights,
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
            extrapolated_claim(
                study,
                f"{prefix}the bias of the mean path, divided by the step size, tends to the "
                "solution of b' = -Hb - H grad F / 2 - D^3F[P] / 2",
                biases.shares,
                degree=asked.degree,
                tolerance=asked.bias,
                note=f"As a share of |b| = {biases.limit:.4g} at time {biases.time:g}. "
                f"{note}".strip(),
                weights=biases.weights,
            )
        )
    return claims, measurements


class Shares(NamedTuple):
    """A quantity of every run, divided by the step size and by what that should tend to.

    Attributes:
        shares: (step sizes, repetitions); NaN for runs that diverged.
        limit: what the quantity by the step size should tend to.
        time: the flow time.
        weights: (step sizes,), inverse variances of the shares by theory, up to a factor. The
            deviation from the flow is of the order of the root of the step size: its square by the
            step size spreads equally at all of them, itself by the step size more at fine ones.
    """

    shares: np.ndarray
    limit: float
    time: float
    weights: np.ndarray


def scaled_squares(dataset: xr.Dataset, arm: str) -> Shares:
    """The squared distance to the flow, at the time at which its limit is largest."""
    spread = dataset["limit_fluctuation"].sel(arm=arm).values
    at = int(spread.argmax())
    distance = finite_runs(dataset, dataset["distance"]).sel(arm=arm).isel(time=at)
    squares = distance.transpose("step_size", "repetition").values.astype(float) ** 2
    sizes = dataset["step_size"].values[:, None]
    limit, time = float(spread[at]), float(dataset["time"][at])
    return Shares(squares / sizes / limit, limit, time, np.ones(len(sizes)))


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
    sizes = dataset["step_size"].values
    shares = values.transpose("step_size", "repetition").values / sizes[:, None] / limit
    return Shares(shares, limit, float(dataset["time"][at]), sizes)


def _bias_order_claim(
    study: FlowStudy, biases: Shares, tolerance: float, prefix: str, note: str
) -> dict:
    """That the bias has order 1, by a line through the logarithms of its means."""
    text = f"{prefix}the mean path is off the flow by a bias of order 1 in the step size"
    clear = np.array(
        [i is not None and i.estimate > _CLEAR * i.standard_error for i in _intervals(biases)]
    )
    unclear = [f"{size:g}" for size, ok in zip(study.step_sizes, clear, strict=True) if not ok]
    if unclear:
        note = f"Not told from none, and not used: step size {', '.join(unclear)}. {note}"
    if clear.sum() < 3:
        return undecided(text, 1.0, tolerance, f"Fewer than three step sizes remain. {note}")
    used = side_by_side(study, biases.shares[clear])
    used = used[:, np.isfinite(used).all(axis=0)]
    means = used.mean(axis=1) if used.shape[1] > 1 else np.zeros(len(used))
    if not np.all(means > 0):
        reason = "Too few repetitions stayed finite at all step sizes used."
        return undecided(text, 1.0, tolerance, f"{reason} {note}".strip())
    weights = biases.weights[clear] / biases.weights[clear].sum()
    logs = np.log(np.asarray(study.step_sizes)[clear])
    centered = logs - weights @ logs
    parts = weights * centered / float(weights @ centered**2)
    # The log of the bias itself: that by the step size, times the step size.
    slope = float(parts @ (np.log(means) + logs))
    # The log of a mean moves by the relative change of the mean, to first order.
    around = mean_interval((parts / means) @ used - parts.sum())
    return claim(
        text,
        estimate=slope,
        low=slope + around.low,
        high=slope + around.high,
        expected=1.0,
        tolerance=tolerance,
        note=f"Slope of the logarithms, weighted by the step size, at time {biases.time:g}. "
        f"{note}".strip(),
    )


def _intervals(found: Shares) -> list[Interval | None]:
    return [mean_interval(row) if np.isfinite(row).sum() >= 2 else None for row in found.shares]


def _rows(name: str, arm: str, study: FlowStudy, found: Shares) -> list[dict]:
    return [
        measurement(name, arm, size, interval, limit=found.limit, time=found.time)
        for size, interval in zip(study.step_sizes, _intervals(found), strict=True)
        if interval is not None
    ]
