"""The claim that shares of what theory says are 1, in the mean or as the step size tends to 0."""

import numpy as np

from swjax.convergence import Extrapolation, equivalence_verdict, extrapolate_to_zero
from swjax.experiment.statements import MISFIT, claim, undecided
from swjax.experiment.study import FlowStudy, StationarityStudy


def extrapolated_claim(
    study: FlowStudy | StationarityStudy,
    text: str,
    shares: np.ndarray,
    *,
    degree: int,
    tolerance: float,
    note: str = "",
    weights: np.ndarray | None = None,
) -> dict:
    """Judge shares by the value at step size zero of a polynomial through their means.

    Where the polynomial misses the means, its value at zero says nothing: undecided.

    Args:
        study: the study.
        text: the claim.
        shares: (step sizes, repetitions), what was measured divided by what theory says; NaN for
            runs that diverged.
        degree: of the polynomial; 0 for what theory says at every step size.
        tolerance: half the width of the band around 1.
        note: what else a reader must know.
        weights: one per step size, see `extrapolate_to_zero`.
    """
    try:
        found = extrapolate_to_zero(
            study.step_sizes, side_by_side(study, shares), degree=degree, weights=weights
        )
    except ValueError as error:
        return undecided(text, 1.0, tolerance, f"{error} {note}".strip())
    verdict = equivalence_verdict(found.low, found.high, 1.0, tolerance)
    missed = ""
    if found.misfit < MISFIT:
        verdict = "undecided"
        missed = (
            f"The step sizes do not agree on {_polynomial(degree)} (probability "
            f"{found.misfit:.1g}): leave out the coarse ones, or allow a higher degree."
        )
    means = f"{_how(found)}; by step size {_listed(study, found)}."
    return claim(
        text,
        estimate=found.limit,
        low=found.low,
        high=found.high,
        expected=1.0,
        tolerance=tolerance,
        verdict=verdict,
        note=" ".join(filter(None, (means, missed, note))),
    )


def side_by_side(study: FlowStudy | StationarityStudy, values: np.ndarray) -> np.ndarray:
    """Repetitions as columns: independent ones of different step sizes in any order, finite first.

    Args:
        study: says whether repetition i is the same draw at all step sizes; then nothing changes.
        values: (step sizes, repetitions), NaN for runs that diverged.
    """
    if study.common_random_numbers:
        return values
    rows = [row[np.isfinite(row)] for row in values]
    num = min(map(len, rows))
    return np.stack([row[:num] for row in rows])


def _polynomial(degree: int) -> str:
    return ("one value", "a line")[degree] if degree < 2 else f"a polynomial of degree {degree}"


def _how(found: Extrapolation) -> str:
    """What was fitted: "Line over step sizes, 0.9992 -0.219 alpha, at 0"."""
    first, *others = found.coefficients
    if not others:
        return "Mean over step sizes"
    terms = [
        f"{factor:+.3g} alpha" + (f"^{power}" if power > 1 else "")
        for power, factor in enumerate(others, start=1)
    ]
    name = "Line" if len(others) == 1 else f"Polynomial of degree {len(others)}"
    return f"{name} over step sizes, {first:.4f} {' '.join(terms)}, at 0"


def _listed(study: FlowStudy | StationarityStudy, found: Extrapolation) -> str:
    return ", ".join(
        f"{mean:.3f} ± {2 * error:.3f} at {size:g}"
        for mean, error, size in zip(found.means, found.errors, study.step_sizes, strict=True)
    )
