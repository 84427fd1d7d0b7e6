"""One claim, one measurement: the dicts that ``summary.json`` is made of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from swjax.convergence import Interval, Verdict, equivalence_verdict
from swjax.experiment.study import Study

# Below this probability of so bad a fit, an expansion in the step size is not believed.
MISFIT = 1e-3


def claim(
    text: str,
    *,
    estimate: float,
    low: float,
    high: float,
    expected: float,
    tolerance: float,
    verdict: Verdict | None = None,
    note: str = "",
) -> dict[str, Any]:
    """A claim with its verdict.

    Args:
        text: the claim, a sentence.
        estimate: what was measured.
        low: lower end of its 95 % interval.
        high: upper end.
        expected: what the claim says.
        tolerance: half the width of the band around it that counts as equal.
        verdict: holds, fails or undecided; by default that of the interval against the band.
        note: what a reader must know: runs left out, why undecided.
    """
    if verdict is None:
        verdict = equivalence_verdict(low, high, expected, tolerance)
    return {
        "claim": text,
        "estimate": float(estimate),
        "low": float(low),
        "high": float(high),
        "expected": float(expected),
        "tolerance": float(tolerance),
        "verdict": verdict,
        "note": note,
    }


def undecided(text: str, expected: float, tolerance: float, note: str) -> dict[str, Any]:
    """A claim that nothing can be said about, and why."""
    return claim(
        text,
        estimate=np.nan,
        low=np.nan,
        high=np.nan,
        expected=expected,
        tolerance=tolerance,
        verdict="undecided",
        note=note,
    )


def bound_verdict(low: float, high: float, bound: float) -> Verdict:
    """Whether an interval lies below a bound (holds), above it (fails), or across it."""
    return "holds" if high <= bound else "fails" if low > bound else "undecided"


def band(
    expected: float, tolerance: float, center: Callable[[float], str], width: Callable[[float], str]
) -> str:
    """What was expected, in words: from 0 on where nothing but a positive number was."""
    if expected == tolerance:
        return f"0 to {center(2 * expected)}"
    return f"{center(expected)} ± {width(tolerance)}"


def at_most(
    text: str, value: float, bound: float, note: str = "", nothing: str = "No run stayed finite."
) -> dict:
    """The claim that a known number, such as the largest seen, lies between 0 and a bound.

    Args:
        text: the claim, a sentence.
        value: the number; NaN where there was nothing finite to measure: then it is undecided.
        bound: what it may be at most.
        note: what a reader must know of the number.
        nothing: why there is none, in place of the note.
    """
    if np.isnan(value):
        return undecided(text, 0.0, bound, nothing)
    return claim(
        text,
        estimate=value,
        low=0.0,
        high=value,
        expected=0.0,
        tolerance=bound,
        verdict="holds" if value <= bound else "fails",
        note=note,
    )


def measurement(name: str, arm: str, step_size: float, interval: Interval, **more: Any) -> dict:
    """A measured number with its 95 % interval."""
    return {
        "measurement": name,
        "arm": arm,
        "step_size": float(step_size),
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "num": interval.num,
        "num_left_out": interval.num_left_out,
        **more,
    }


def left_out(dataset: xr.Dataset, arm: str, step_size: float | None = None) -> str:
    """In words, how many runs of an arm diverged; empty if none did."""
    return _diverged(dataset, arm, step_size, "left out")


def counted_as_farther(dataset: xr.Dataset, arm: str, step_size: float | None = None) -> str:
    """The same where a run that diverged counts as one that ends far away."""
    return _diverged(dataset, arm, step_size, "counted as farther")


def _diverged(dataset: xr.Dataset, arm: str, step_size: float | None, fate: str) -> str:
    diverged = dataset["diverged_at"].sel(arm=arm) >= 0
    if step_size is not None:
        diverged = diverged.sel(step_size=[step_size])
    parts = [
        f"{int(num)} of {diverged.sizes['repetition']} at step size {size:g}"
        for size, num in zip(
            diverged["step_size"].values, diverged.sum("repetition").values, strict=True
        )
        if num
    ]
    return f"Diverged and {fate}: {', '.join(parts)}." if parts else ""


def arm_prefix(study: Study, arm: str) -> str:
    """The arm's name as the beginning of a claim, where the study has more than one."""
    return f"{arm}: " if len(study.schemes) > 1 else ""
