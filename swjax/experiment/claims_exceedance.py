"""Claims about the share of runs that end far away: it falls with the step size, and is small."""

from collections.abc import Sequence

from swjax.convergence import Interval, Verdict
from swjax.experiment.statements import bound_verdict, claim


def decreasing_claim(
    text: str, step_sizes: Sequence[float], shares: Sequence[Interval], note: str
) -> dict:
    """That no smaller step size has the larger share, and the smallest a smaller one.

    Both are judged beyond the intervals of the shares.

    Args:
        text: the claim, a sentence.
        step_sizes: at least two, in any order.
        shares: the share of the runs at each of them, with its interval.
        note: what else a reader must know.
    """
    order = sorted(range(len(step_sizes)), key=lambda i: -step_sizes[i])
    ordered = [shares[i] for i in order]
    coarsest, finest = ordered[0], ordered[-1]
    rises = [
        fine.low > coarse.high for i, coarse in enumerate(ordered) for fine in ordered[i + 1 :]
    ]
    falls = finest.high < coarsest.low
    verdict: Verdict = "fails" if any(rises) else "holds" if falls else "undecided"
    listed = ", ".join(f"{shares[i].estimate:.3g} at {step_sizes[i]:g}" for i in order)
    return claim(
        text,
        estimate=coarsest.estimate - finest.estimate,
        low=coarsest.low - finest.high,
        high=coarsest.high - finest.low,
        expected=0.5,
        tolerance=0.5,
        verdict=verdict,
        note="The fall from the largest to the smallest step size. It holds if that fall is "
        "positive and no two step sizes contradict it, beyond Clopper-Pearson intervals. "
        f"The shares: {listed}. {note}".strip(),
    )


def rare_claim(text: str, share: Interval, at_most: float, note: str) -> dict:
    """That a share is at most the bound, by its interval."""
    return claim(
        text,
        estimate=share.estimate,
        low=share.low,
        high=share.high,
        expected=0.0,
        tolerance=at_most,
        verdict=bound_verdict(share.low, share.high, at_most),
        note=f"Clopper-Pearson interval. {note}".strip(),
    )
