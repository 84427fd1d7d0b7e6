"""Claims about long runs: orders and constants of the distance to the critical set, rarity."""

import jax
import numpy as np
import xarray as xr

from swjax.convergence import exceedance, mean_interval
from swjax.experiment.build import build
from swjax.experiment.claims_exceedance import decreasing_claim, rare_claim
from swjax.experiment.claims_extrapolated import extrapolated_claim
from swjax.experiment.critical_set import CriticalSet
from swjax.experiment.order_claim import order_claim
from swjax.experiment.statements import (
    arm_prefix,
    at_most,
    counted_as_farther,
    left_out,
    measurement,
)
from swjax.experiment.stationary_checks import noise_pairs
from swjax.experiment.stationary_pieces import OrderExpectation
from swjax.experiment.stationary_statistics import (
    PHRASE_OF,
    QUANTILE,
    VARIABLE_OF,
    after_burn_in,
    parts_arms,
    parts_of,
    per_run,
    shares_of_prediction,
)
from swjax.experiment.study import StationarityStudy

# The averaged gradient is exact enough below this share of the residual, which it changes by half
# the square of that.
_GRADIENT_SHARE = 0.1
_STATISTIC = {
    "rms": "root mean square",
    "mean": "mean",
    "quantile": f"{QUANTILE:.0%} quantile",
}


def stationarity_claims(
    study: StationarityStudy, dataset: xr.Dataset
) -> tuple[list[dict], list[dict]]:
    """Judge a study of long runs. Runs are independent; records of one run are averaged first.

    Args:
        study: the study.
        dataset: its complete results.

    Returns:
        Claims and measurements.
    """
    expect, claims = study.expect, []
    sets: dict[str, CriticalSet] = {}
    if study.critical_set.kind == "closed_form":
        with jax.enable_x64(study.precision == "float64"):
            sets = dict(zip(study.schemes, build(study).critical, strict=True))
    measurements = _measurements(study, dataset, sets)
    for arm in study.schemes:
        claims += [_order_claim(study, dataset, arm, each) for each in expect.orders]
        for each in expect.constants:
            claims.append(
                _constant_claim(study, dataset, arm, each.part, each.tolerance, sets[arm])
            )
        if expect.rare is not None:
            claims += _rarity_claims(study, dataset, arm)
        if "gradient_error" in dataset:
            claims.append(_gradient_claim(study, dataset, arm))
    if expect.noise_effect is not None:
        for less, more in noise_pairs(study):
            claims.append(_noise_claim(study, dataset, less, more, sets))
    return claims, measurements


def _measurements(
    study: StationarityStudy, dataset: xr.Dataset, sets: dict[str, CriticalSet]
) -> list[dict]:
    found = []
    for part in parts_of(dataset):
        values = after_burn_in(study, dataset, part)
        for name, statistic in (
            ("mean square", "rms"),
            ("mean", "mean"),
            (_STATISTIC["quantile"], "quantile"),
        ):
            runs = per_run(values, statistic)
            for arm in parts_arms(dataset, part):
                prediction = sets[arm].predictions.get(part) if sets else None
                for size in study.step_sizes:
                    numbers = runs.sel(arm=arm, step_size=size).values
                    if np.isfinite(numbers).sum() < 2:
                        continue
                    more = {}
                    if prediction and name == prediction.name:
                        more = {"exact": prediction.value(size), "is_exact": prediction.is_exact}
                    text = f"{name} of the {PHRASE_OF[part]}"
                    found.append(measurement(text, arm, size, mean_interval(numbers), **more))
    if "goldstein" in dataset:
        good = dataset["goldstein"].where(dataset["diverged_at"] < 0)
        for arm in study.schemes:
            for size in study.step_sizes:
                numbers = good.sel(arm=arm, step_size=size).values
                if np.isfinite(numbers).sum() >= 2:
                    text = "norm found in the Goldstein subdifferential at the end"
                    found.append(measurement(text, arm, size, mean_interval(numbers)))
    return found


def _order_claim(
    study: StationarityStudy, dataset: xr.Dataset, arm: str, asked: OrderExpectation
) -> dict:
    text = (
        f"{arm_prefix(study, arm)}in the long run the {PHRASE_OF[asked.part]} "
        f"({_STATISTIC[asked.statistic]}) shrinks like the step size to the power {asked.order:.3g}"
    )
    values = after_burn_in(study, dataset, asked.part).sel(arm=[arm])
    return order_claim(
        study,
        dataset,
        arm,
        per_run(values, asked.statistic).sel(arm=arm),
        text=text,
        expected=asked.order,
        tolerance=asked.tolerance,
        power=0.5 if asked.statistic == "rms" else 1.0,  # of the mean of squares
    )


def _constant_claim(
    study: StationarityStudy,
    dataset: xr.Dataset,
    arm: str,
    part: str,
    tolerance: float,
    critical: CriticalSet,
) -> dict:
    prediction = critical.predictions[part]
    regime = "at every step size" if prediction.is_exact else "as the step size tends to 0"
    text = (
        f"{arm_prefix(study, arm)}in the long run the {prediction.name} of the "
        f"{PHRASE_OF[part]} is {prediction.formula} {regime}, as a share of it"
    )
    shares = shares_of_prediction(study, dataset, arm, part, prediction)
    note = left_out(dataset, arm)
    if prediction.error:
        note = f"The closed form is known to {prediction.error:.1%}. {note}".strip()
    degree = 0 if prediction.is_exact else 1
    return extrapolated_claim(study, text, shares, degree=degree, tolerance=tolerance, note=note)


def _gradient_claim(study: StationarityStudy, dataset: xr.Dataset, arm: str) -> dict:
    """That the draws behind the averaged gradient are enough for the smallest residuals."""
    text = (
        f"{arm_prefix(study, arm)}the averaged gradient is exact enough: its error at the last "
        f"iterates is at most {_GRADIENT_SHARE:.0%} of the residual, at every step size"
    )
    finite = dataset["diverged_at"].sel(arm=arm) < 0
    errors = dataset["gradient_error"].sel(arm=arm).where(finite).astype(float)
    residuals = per_run(after_burn_in(study, dataset, "residual").sel(arm=arm), "rms")
    shares = np.sqrt((errors**2).mean("repetition") / residuals.mean("repetition"))
    note = "Root mean squares over the runs; the error is the standard error over the draws."
    return at_most(text, float(shares.max()), _GRADIENT_SHARE, note)


def _noise_claim(
    study: StationarityStudy,
    dataset: xr.Dataset,
    less: str,
    more: str,
    sets: dict[str, CriticalSet],
) -> dict:
    part = next(iter(sets[more].predictions))
    low, high = sets[less].predictions[part], sets[more].predictions[part]
    values = [
        np.array([[each.value(size)] for size in study.step_sizes])
        * shares_of_prediction(study, dataset, arm, part, each)
        for arm, each in ((more, high), (less, low))
    ]
    text = (
        f"{more} against {less}: the noise adds to the {high.name} of the {PHRASE_OF[part]} what "
        "the closed form says, as a share of it"
    )
    note = " ".join(filter(None, (left_out(dataset, arm) for arm in (less, more))))
    degree = 0 if high.is_exact else 1
    expect = study.expect.noise_effect
    assert expect is not None
    exact = np.array([high.value(size) - low.value(size) for size in study.step_sizes])
    shares = (values[0] - values[1]) / exact[:, None]
    return extrapolated_claim(
        study, text, shares, degree=degree, tolerance=expect.tolerance, note=note
    )


def _rarity_claims(study: StationarityStudy, dataset: xr.Dataset, arm: str) -> list[dict]:
    """At the horizon few runs are far at the smallest step size, and more at the larger ones."""
    asked = study.expect.rare
    assert asked is not None
    prefix, finest = arm_prefix(study, arm), min(study.step_sizes)
    last = dataset[VARIABLE_OF[asked.part]].sel(arm=arm).isel(time=-1)
    shares = [exceedance(last.sel(step_size=size).values, asked.eta) for size in study.step_sizes]
    far = f"end with a {PHRASE_OF[asked.part]} above {asked.eta:g}"
    claims = [
        rare_claim(
            f"{prefix}at step size {finest:g} at most {asked.at_most:.0%} of the runs {far}",
            shares[int(np.argmin(study.step_sizes))],
            asked.at_most,
            counted_as_farther(dataset, arm, finest),
        )
    ]
    if len(shares) > 1:
        claims.append(
            decreasing_claim(
                f"{prefix}the share of runs that {far} decreases with the step size",
                study.step_sizes,
                shares,
                counted_as_farther(dataset, arm),
            )
        )
    return claims
