"""The claim that something shrinks like a power of the step size."""

import xarray as xr

from swjax.convergence import fit_order
from swjax.experiment.statements import claim, left_out, undecided
from swjax.experiment.study import FlowStudy


def order_claim(
    study: FlowStudy,
    dataset: xr.Dataset,
    arm: str,
    values: xr.DataArray,
    *,
    text: str,
    expected: float,
    tolerance: float,
) -> dict:
    """Judge the slope of the log of the mean over runs on the log of the step size.

    Args:
        study: the study.
        dataset: its complete results.
        arm: the scheme.
        values: (step_size, repetition), positive; NaN for runs that diverged.
        text: the claim.
        expected: the order.
        tolerance: half the width of the band around it.
    """
    note = left_out(dataset, arm)
    try:
        order = fit_order(
            study.step_sizes,
            values.values,
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
        note=note,
    )
