"""The statement of the theorem itself: runs far from the flow become rare as steps shrink."""

import numpy as np
import xarray as xr

from swjax.convergence import exceedance
from swjax.experiment.claims_exceedance import decreasing_claim, rare_claim
from swjax.experiment.distances import compact_distances
from swjax.experiment.statements import arm_prefix, counted_as_farther, measurement
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
    finest, prefix = min(study.step_sizes), arm_prefix(study, arm)
    event = f"the distance d_c to {_whose(study)} exceeds {eta:g}"
    claims = []
    if len(shares) > 1:
        claims.append(
            decreasing_claim(
                f"{prefix}the probability that {event} decreases with the step size",
                study.step_sizes,
                shares,
                counted_as_farther(dataset, arm),
            )
        )
    claims.append(
        rare_claim(
            f"{prefix}at step size {finest:g} {event} with probability at most "
            f"{study.expect.exceedance:.0%}",
            shares[int(np.argmin(study.step_sizes))],
            study.expect.exceedance,
            counted_as_farther(dataset, arm, finest),
        )
    )
    return claims, measurements


def _whose(study: FlowStudy) -> str:
    if study.reference.kind == "solution_set":
        return "the set of solutions"
    return "the flow"
