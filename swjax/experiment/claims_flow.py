"""Claims of studies that compare interpolated SGD with the gradient flow."""

import numpy as np
import xarray as xr

from swjax.convergence import exceedance, mean_interval
from swjax.experiment.claims_closed_form import closed_form_claims
from swjax.experiment.claims_interpolation import interpolation_claims
from swjax.experiment.claims_limits import limit_claims
from swjax.experiment.claims_rarity import rarity_claims
from swjax.experiment.distances import Distances, run_distances
from swjax.experiment.order_claim import order_claim
from swjax.experiment.statements import (
    arm_prefix,
    at_most,
    claim,
    left_out,
    measurement,
    undecided,
)
from swjax.experiment.study import FlowStudy

# The reference counts as exact when its error is below this share of the smallest mean distance.
_REFERENCE_SHARE = 0.1
# Violation of the energy identity that rounding and integration may leave, for a loss up to 1; in
# proportion for a larger one.
_ENERGY = 1e-5
# One side of the kink is as good as the other: half of the runs, up to this.
_SIDE_TOLERANCE = 0.05


def flow_claims(study: FlowStudy, dataset: xr.Dataset) -> tuple[list[dict], list[dict]]:
    """Judge a flow study.

    Args:
        study: the study.
        dataset: its complete results.

    Returns:
        Claims and measurements.
    """
    claims, measurements = [], []
    expect, distances = study.expect, run_distances(study, dataset)
    for arm in study.schemes:
        of_arm = distances.values.sel(arm=arm).transpose("step_size", "repetition")
        if expect.order is not None:
            claims.append(_order_claim(study, dataset, arm, distances))
        if expect.factor is not None:
            claims += _factor_claims(study, dataset, arm, of_arm, distances.words)
        if expect.eta is not None:
            found = rarity_claims(study, dataset, arm)
            claims += found[0]
            measurements += found[1]
        if study.reference.kind == "solution_set":
            claims.append(_one_solution_claim(study, dataset, arm))
        if study.record.piecewise_constant:
            claims += interpolation_claims(study, dataset, arm)
        if expect.limits is not None:
            found = limit_claims(study, dataset, arm)
            claims += found[0]
            measurements += found[1]
        if _of_arm(dataset, "flow_error", arm) > 0:  # else a formula
            claims.append(_reference_claim(study, dataset, arm, of_arm))
        if "flow_energy" in dataset:
            claims.append(_energy_claim(study, dataset, arm))
        name = _NAMES.get(study.expect.distance, "")
        if study.reference.kind == "solution_set":
            name = "distance to the set of solutions"
        for size in study.step_sizes:
            values = of_arm.sel(step_size=size).values
            if np.isfinite(values).sum() >= 2:
                measurements.append(measurement(name, arm, size, mean_interval(values)))
    if study.reference.kind == "closed_form":
        found = closed_form_claims(study, dataset)
        claims += found[0]
        measurements += found[1]
    return claims, measurements


_NAMES = {"largest": "largest distance to the flow", "mean": "mean distance to the flow"}


def _order_claim(study: FlowStudy, dataset: xr.Dataset, arm: str, distances: Distances) -> dict:
    expected, tolerance = study.expect.order, study.expect.tolerance
    assert expected is not None
    assert tolerance is not None
    return order_claim(
        study,
        dataset,
        arm,
        distances.values.sel(arm=arm),
        text=f"{arm_prefix(study, arm)}{distances.words} shrinks like the step size to "
        f"the power {expected:g}",
        expected=expected,
        tolerance=tolerance,
    )


def _factor_claims(
    study: FlowStudy, dataset: xr.Dataset, arm: str, distances: xr.DataArray, words: str
) -> list[dict]:
    """That the mean distance is the stated factor times the power of the step size."""
    expect = study.expect.factor
    assert expect is not None
    order, size = study.expect.order or 0.0, min(study.step_sizes)
    text = (
        f"{arm_prefix(study, arm)}at step size {size:g} {words} is {expect.value:g} "
        f"times the step size{'' if order == 1 else f' to the power {order:g}'}"
    )
    tolerance = expect.value * expect.tolerance
    values = distances.sel(step_size=size).values / size**order
    if np.isfinite(values).sum() < 2:
        return [undecided(text, expect.value, tolerance, "Too few finite runs.")]
    found = mean_interval(values)
    return [
        claim(
            text,
            estimate=found.estimate,
            low=found.low,
            high=found.high,
            expected=expect.value,
            tolerance=tolerance,
            note=left_out(dataset, arm, size),
        )
    ]


def _one_solution_claim(study: FlowStudy, dataset: xr.Dataset, arm: str) -> dict:
    """No single solution attracts: half of the runs end on the other side of the kink."""
    size = min(study.step_sizes)
    end = dataset["flow_path"].isel(time=-1, parameter=0)
    far = float(np.abs(end))  # the other side is twice as far
    distance = dataset["distance"].sel(arm=arm, step_size=size).max("time", skipna=False)
    found = exceedance(distance.values, far)
    return claim(
        f"{arm_prefix(study, arm)}at step size {size:g} half of the runs are farther "
        f"than {far:.3g} from the one solution that leaves 0 at once to the right",
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        expected=0.5,
        tolerance=_SIDE_TOLERANCE,
        note="The theorem is about the set of solutions, and about no single one of them. "
        "Clopper-Pearson interval.",
    )


def _of_arm(dataset: xr.Dataset, name: str, arm: str) -> float:
    if name not in dataset:
        return 0.0
    values = dataset[name]
    return float(values.sel(arm=arm) if "arm" in values.dims else values)


def _reference_claim(
    study: FlowStudy, dataset: xr.Dataset, arm: str, distances: xr.DataArray
) -> dict:
    error = _of_arm(dataset, "flow_error", arm)
    text = (
        f"{arm_prefix(study, arm)}the reference flow is exact enough: its error is at "
        f"most {_REFERENCE_SHARE:.0%} of the smallest mean distance"
    )
    share = error / float(distances.mean("repetition").min())
    how = "Error by step halving"
    if study.reference.kind == "draws":
        how += " and from two halves of the draws"
    return at_most(text, share, _REFERENCE_SHARE, f"{how}: {error:.2g}.")


def _energy_claim(study: FlowStudy, dataset: xr.Dataset, arm: str) -> dict:
    """F(u(0)) - F(u(s)) is the integral of |u'|^2: flow and loss belong together."""
    violation = _of_arm(dataset, "flow_energy", arm)
    tolerance = _ENERGY * max(1.0, float(np.abs(dataset["flow_loss"]).max()))
    return at_most(
        f"{arm_prefix(study, arm)}along the reference flow the loss falls by the "
        "integral of |u'|^2, at every recorded time",
        violation,
        tolerance,
        "The energy identity of gradient flows; the largest violation.",
        nothing="The reference flow did not stay finite.",
    )
