"""Claims about the share of runs that end far away: it falls with the step size, and is small."""

import itertools
from collections.abc import Sequence
from typing import Any

from swjax.convergence import Interval, Verdict
from swjax.experiment.statements import bound_verdict, claim


def decreasing_claim(
    text: str, step_sizes: Sequence[float], shares: Sequence[Interval], note: str
) -> dict:
    """That no smaller step size has the larger share, and the smallest a smaller one.

    Both are judged beyond the intervals of the shares. The note names the two step sizes that
    contradict it most.

    Args:
        text: the claim, a sentence.
        step_sizes: at least two, in any order.
        shares: the share of the runs at each of them, with its interval.
        note: what else a reader must know.
    """
    order = sorted(range(len(step_sizes)), key=lambda i: -step_sizes[i])
    coarsest, finest = shares[order[0]], shares[order[-1]]
    rise, coarse, fine = max(
        (shares[j].low - shares[i].high, i, j) for i, j in itertools.combinations(order, 2)
    )
    rises, falls = rise > 0, finest.high < coarsest.low
    verdict: Verdict = "fails" if rises else "holds" if falls else "undecided"
    shown = [f"{shares[i].estimate:.3g} at {step_sizes[i]:g}" for i in range(len(shares))]
    listed = ", ".join(shown[i] for i in order) + "."
    if rises:
        listed += f" {shown[fine]} is above {shown[coarse]}."
    return _of_exceedances(
        text,
        estimate=coarsest.estimate - finest.estimate,
        low=coarsest.low - finest.high,
        high=coarsest.high - finest.low,
        expected=0.5,
        tolerance=0.5,
        verdict=verdict,
        note="The fall from the largest to the smallest step size. It holds if that fall is "
        "positive and no two step sizes contradict it, beyond Clopper-Pearson intervals. "
        f"The shares: {listed} {note}".strip(),
    )


def rare_claim(text: str, share: Interval, at_most: float, note: str) -> dict:
    """That a share is at most the bound, by its interval."""
    return _of_exceedances(
        text,
        estimate=share.estimate,
        low=share.low,
        high=share.high,
        expected=0.0,
        tolerance=at_most,
        verdict=bound_verdict(share.low, share.high, at_most),
        note=f"Clopper-Pearson interval. {note}".strip(),
    )


def _of_exceedances(text: str, **rest: Any) -> dict:
    """A claim that says of itself that it is about shares.

    The width of the interval of a share near 0 or 1 does not fall like the root of the number of
    runs, which the report would otherwise conclude from.
    """
    return claim(text, **rest) | {"is_share": True}
