"""That it does not matter how the iterates are joined: by segments, or by steps."""

import numpy as np
import xarray as xr

from swjax.experiment.distances import run_distances
from swjax.experiment.order_claim import order_claim
from swjax.experiment.statements import arm_prefix, at_most
from swjax.experiment.study import FlowStudy
from swjax.plot.results import finite_runs

# The distance between the two interpolations is the longest step, of order 1 in the step size.
_STEP_ORDER, _STEP_TOLERANCE = 1.0, 0.1
_ROUNDING = 1e-4


def interpolation_claims(study: FlowStudy, dataset: xr.Dataset, arm: str) -> list[dict]:
    """Judge the piecewise constant interpolation beside the piecewise affine one.

    Args:
        study: a flow study that records both.
        dataset: its complete results.
        arm: the scheme.

    Returns:
        That the largest distance between them, the longest step, has order 1; that their distances
        to the flow differ by no more; and, where an order is expected, that both have it.
    """
    prefix = arm_prefix(study, arm)
    longest = finite_runs(dataset, dataset["max_step"]).sel(arm=arm).isel(time=-1)
    claims = [
        order_claim(
            study,
            dataset,
            arm,
            longest,
            text=f"{prefix}the longest step, which is the largest distance between the piecewise "
            "affine and the piecewise constant interpolation, shrinks like the step size",
            expected=_STEP_ORDER,
            tolerance=_STEP_TOLERANCE,
        ),
        _bound_claim(prefix, dataset, arm),
    ]
    if study.expect.order is not None:
        found = run_distances(study, dataset, "constant_distance")
        claims.append(
            order_claim(
                study,
                dataset,
                arm,
                found.values.sel(arm=arm),
                text=f"{prefix}for the piecewise constant interpolation, {found.words} shrinks "
                f"like the step size to the power {study.expect.order:g} as well",
                expected=study.expect.order,
                tolerance=study.expect.tolerance or np.nan,
            )
        )
    return claims


def _bound_claim(prefix: str, dataset: xr.Dataset, arm: str) -> dict:
    """The two distances to the flow differ by at most the longest step so far, in every run."""
    of_arm = dataset.sel(arm=arm)
    good = of_arm["diverged_at"] < 0
    difference = of_arm["distance"] - of_arm["constant_distance"]
    gap = difference.copy(data=np.abs(difference.values)).where(good)
    # The step that a time lies on may be longer than those before: compare with all of the run.
    longest = of_arm["max_step"].isel(time=-1)
    share = float((gap.max("time") / longest).max())
    return at_most(
        f"{prefix}at no recorded time of any run do the distances of the two interpolations to "
        "the flow differ by more than its longest step",
        share,
        1 + _ROUNDING,
        "The largest difference as a share of the longest step, over all runs and times.",
    )
