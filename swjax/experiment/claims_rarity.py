"""The statement of the theorem itself: runs far from the flow become rare as steps shrink."""

import numpy as np
import xarray as xr

from swjax.convergence import Interval, Verdict, exceedance
from swjax.experiment.distances import compact_distances
from swjax.experiment.statements import (
    arm_prefix,
    bound_verdict,
    claim,
    counted_as_farther,
    measurement,
)
from swjax.experiment.study import FlowStudy


def rarity_claims(study: FlowStudy, dataset: xr.Dataset, arm: str) -> tuple[list[dict], list[dict]]:
    """Judge the probability that the distance d_c exceeds the study's eta, at every step size.

    Args:
        study: a flow study with an `eta`.
        dataset: its complete results.
        arm: the scheme.

    Returns:
        Two claims, that this probability decreases with the step size and that it is small at the
        smallest; and the probabilities as measurements.
    """
    eta = study.expect.eta
    assert eta is not None
    values = compact_distances(study, dataset).sel(arm=arm).transpose("step_size", "repetition")
    shares = [exceedance(row, eta) for row in values.values]
    name = f"probability that d_c exceeds {eta:g}"
    measurements = [
        measurement(name, arm, size, share)
        for size, share in zip(study.step_sizes, shares, strict=True)
    ]
    claims = []
    if len(shares) > 1:
        claims.append(_decreasing_claim(study, dataset, arm, shares))
    return [*claims, _rare_claim(study, dataset, arm, shares)], measurements


def _whose(study: FlowStudy) -> str:
    if study.reference.kind == "solution_set":
        return "the set of solutions"
    return "the flow"


def _decreasing_claim(
    study: FlowStudy, dataset: xr.Dataset, arm: str, shares: list[Interval]
) -> dict:
    """That no finer step exceeds more often, and the finest less often, beyond the intervals."""
    sizes = np.asarray(study.step_sizes)
    ordered = [shares[i] for i in np.argsort(-sizes)]
    rises = [
        fine.low > coarse.high for i, coarse in enumerate(ordered) for fine in ordered[i + 1 :]
    ]
    falls = ordered[-1].high < ordered[0].low
    verdict: Verdict = "fails" if any(rises) else "holds" if falls else "undecided"
    listed = ", ".join(
        f"{share.estimate:.3g} at {size:g}"
        for size, share in zip(sorted(sizes, reverse=True), ordered, strict=True)
    )
    fall = ordered[0].estimate - ordered[-1].estimate
    return claim(
        f"{arm_prefix(study, arm)}the probability that the distance d_c to "
        f"{_whose(study)} exceeds {study.expect.eta:g} decreases with the step size",
        estimate=fall,
        low=ordered[0].low - ordered[-1].high,
        high=ordered[0].high - ordered[-1].low,
        expected=0.5,
        tolerance=0.5,
        verdict=verdict,
        note="The fall from the largest to the smallest step size. It holds if that fall is "
        "positive and no two step sizes contradict it, beyond Clopper-Pearson intervals. "
        f"The probabilities: {listed}. {counted_as_farther(dataset, arm)}".strip(),
    )


def _rare_claim(study: FlowStudy, dataset: xr.Dataset, arm: str, shares: list[Interval]) -> dict:
    rare, size = study.expect.exceedance, min(study.step_sizes)
    interval = shares[int(np.argmin(study.step_sizes))]
    return claim(
        f"{arm_prefix(study, arm)}at step size {size:g} the distance d_c to "
        f"{_whose(study)} exceeds {study.expect.eta:g} with probability at most {rare:.0%}",
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        expected=0.0,
        tolerance=rare,
        verdict=bound_verdict(interval.low, interval.high, rare),
        note=f"Clopper-Pearson interval. {counted_as_farther(dataset, arm, size)}".strip(),
    )
