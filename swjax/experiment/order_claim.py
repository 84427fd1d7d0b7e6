"""The claim that something shrinks like a power of the step size."""

import xarray as xr

from swjax.convergence import Order, fit_order
from swjax.experiment.statements import claim, left_out, undecided
from swjax.experiment.study import FlowStudy, StationarityStudy


def judged_order(study: FlowStudy | StationarityStudy, values: xr.DataArray) -> Order:
    """The order in the step size of the mean over runs, fitted as for every verdict.

    Args:
        study: the study.
        values: dimensions step_size and repetition, positive; NaN for runs that diverged.

    Raises:
        ValueError: fewer than three step sizes can be used.
    """
    rows = values.transpose("step_size", "repetition")
    return fit_order(
        rows["step_size"].values,
        rows.values,
        key=study.seed,
        num_resamples=2000,
        paired=study.common_random_numbers,
    )


def order_claim(
    study: FlowStudy | StationarityStudy,
    dataset: xr.Dataset,
    arm: str,
    values: xr.DataArray,
    *,
    text: str,
    expected: float,
    tolerance: float,
    power: float = 1.0,
) -> dict:
    """Judge the slope of the log of the mean over runs on the log of the step size.

    Args:
        study: the study.
        dataset: its complete results.
        arm: the scheme.
        values: as in `judged_order`.
        text: the claim.
        expected: the order.
        tolerance: half the width of the band around it.
        power: the claim is about this power of the mean: 0.5 for a root mean square, of which
            `values` are the squares.
    """
    note = left_out(dataset, arm)
    try:
        order = judged_order(study, values)
    except ValueError as error:
        return undecided(text, expected, tolerance, str(error))
    if order.is_curved:
        note = (
            f"{note} The line is bent (curvature {power * order.curvature:.3f}, interval "
            f"[{power * order.curvature_low:.3f}, {power * order.curvature_high:.3f}]): the coarse "
            "steps are not yet in the regime of a single power."
        ).strip()
    return claim(
        text,
        estimate=power * order.slope,
        low=power * order.low,
        high=power * order.high,
        expected=expected,
        tolerance=tolerance,
        note=note,
    )
