"""Claims of studies that compare interpolated SGD with the gradient flow: order and rarity."""

import numpy as np
import xarray as xr

from swjax.convergence import equivalence_verdict, exceedance, fit_order, mean_interval
from swjax.experiment.claims_closed_form import closed_form_claims
from swjax.experiment.statements import (
    claim,
    finite_runs,
    left_out,
    measurement,
    several,
    undecided,
)
from swjax.experiment.study import FlowStudy

# The reference counts as exact when its error is below this share of the smallest mean distance.
_REFERENCE_SHARE = 0.1


def flow_claims(study: FlowStudy, dataset: xr.Dataset) -> tuple[list[dict], list[dict]]:
    """Judge a flow study.

    Args:
        study: the study.
        dataset: its complete results.

    Returns:
        Claims and measurements.
    """
    claims, measurements = [], []
    distances = finite_runs(dataset, dataset["distance"]).max("time", skipna=False)
    for arm in study.schemes:
        of_arm = distances.sel(arm=arm).transpose("step_size", "repetition")
        claims.append(_order_claim(study, dataset, arm, of_arm))
        if study.expect.eta is not None:
            claims.append(_rarity_claim(study, dataset, arm))
        if study.reference.kind == "population":
            claims.append(_reference_claim(study, dataset, arm, of_arm))
        for size in study.step_sizes:
            values = of_arm.sel(step_size=size).values
            if np.isfinite(values).sum() >= 2:
                name = "largest distance to the flow"
                measurements.append(measurement(name, arm, size, mean_interval(values)))
    if study.reference.kind == "closed_form":
        found = closed_form_claims(study, dataset)
        claims += found[0]
        measurements += found[1]
    return claims, measurements


def _order_claim(study: FlowStudy, dataset: xr.Dataset, arm: str, distances: xr.DataArray) -> dict:
    expected, tolerance = study.expect.order, study.expect.tolerance
    text = (
        f"{several(list(study.schemes), arm)}the distance to the flow, at its largest up to time "
        f"{study.horizon:g}, shrinks like the step size to the power {expected:g}"
    )
    note = left_out(dataset, arm)
    try:
        order = fit_order(
            study.step_sizes,
            distances.values,
            key=study.seed,
            num_resamples=2000,
            paired=study.common_random_numbers,
        )
    except ValueError as error:
        return undecided(text, expected, tolerance, str(error))
    if order.is_curved:
        note = (
            f"{note} The line is bent (curvature {order.curvature:.3f}, interval "
            f"[{order.curvature_low:.3f}, {order.curvature_high:.3f}]): the coarse steps are not "
            "yet in the regime of a single power."
        ).strip()
    return claim(
        text,
        estimate=order.slope,
        low=order.low,
        high=order.high,
        expected=expected,
        tolerance=tolerance,
        verdict=equivalence_verdict(order.low, order.high, expected, tolerance),
        note=note,
    )


def _rarity_claim(study: FlowStudy, dataset: xr.Dataset, arm: str) -> dict:
    eta, rare = study.expect.eta, study.expect.exceedance
    assert eta is not None
    size = min(study.step_sizes)
    raw = dataset["distance"].sel(arm=arm, step_size=size)
    interval = exceedance(raw.max("time", skipna=False).values, eta)
    verdict = "holds" if interval.high <= rare else "fails" if interval.low > rare else "undecided"
    diverged = left_out(dataset, arm, size).replace("and left out", "and counted as farther")
    return claim(
        f"{several(list(study.schemes), arm)}at step size {size:g} at most {rare:.0%} of the runs "
        f"are ever farther than {eta:g} from the flow",
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        expected=0.0,
        tolerance=rare,
        verdict=verdict,
        note=f"Clopper-Pearson interval. {diverged}".strip(),
    )


def _reference_claim(
    study: FlowStudy, dataset: xr.Dataset, arm: str, distances: xr.DataArray
) -> dict:
    error = dataset["flow_error"]
    error = float(error.sel(arm=arm) if "arm" in error.dims else error)
    text = (
        f"{several(list(study.schemes), arm)}the reference flow is exact enough: its error is at "
        f"most {_REFERENCE_SHARE:.0%} of the smallest mean distance"
    )
    means = distances.mean("repetition")
    if not np.isfinite(means).any():
        return undecided(text, 0.0, _REFERENCE_SHARE, "No run stayed finite.")
    share = error / float(means.min())
    return claim(
        text,
        estimate=share,
        low=0.0,
        high=share,
        expected=0.0,
        tolerance=_REFERENCE_SHARE,
        verdict="holds" if share <= _REFERENCE_SHARE else "fails",
        note=f"Error by step halving: {error:.2g}.",
    )
