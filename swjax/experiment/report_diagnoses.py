"""Which runs went wrong and how: the signatures of `swjax.monitor`, counted per cell."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from swjax.monitor import diagnose

# A few runs among many start near the end, or fall no farther than their noise: no failure.
_MOST_BY_CHANCE = 0.5


class CellDiagnosis(NamedTuple):
    """One failure signature at one scheme and step size.

    Attributes:
        arm: the scheme.
        step_size: its step size.
        signature: diverged, stalled or stuck.
        num_runs: how many repetitions show it.
        first_step: the earliest step from which on it shows.
        evidence: what it rests on in the repetition where it shows first.
        remedy: what to try.
    """

    arm: str
    step_size: float
    signature: str
    num_runs: int
    first_step: int
    evidence: str
    remedy: str


def diagnoses(dataset: xr.Dataset) -> list[CellDiagnosis]:
    """Look at the recorded minibatch losses of every run.

    Args:
        dataset: results with `sample_loss` and `diverged_at`; without them nothing is found.

    Returns:
        One entry per scheme, step size and signature found; runs that do not move are listed when
        they are more than half of the repetitions.
    """
    if "sample_loss" not in dataset or "diverged_at" not in dataset:
        return []
    found = []
    for arm in dataset["arm"].values:
        for size in dataset["step_size"].values:
            found += _of_cell(dataset.sel(arm=arm, step_size=size), str(arm), float(size))
    return found


def _of_cell(cell: xr.Dataset, arm: str, step_size: float) -> list[CellDiagnosis]:
    losses = cell["sample_loss"].transpose("repetition", "time").values
    diverged_at = cell["diverged_at"].values
    made_steps = np.isfinite(losses).any(axis=0)  # a coarse step size skips recorded times
    if (diverged_at == -2).any() or not made_steps.any():
        return []
    steps = cell["time"].values[made_steps] / step_size
    by_signature: dict[str, list[tuple[int, str, str]]] = {}
    for row, diverged in zip(losses[:, made_steps], diverged_at, strict=True):
        for d in diagnose(row, diverged_at=int(diverged)):
            at = d.step if diverged >= 0 else int(steps[d.step])
            by_signature.setdefault(d.signature, []).append((at, d.evidence, d.remedy))
    return [
        CellDiagnosis(arm, step_size, signature, len(runs), *min(runs))
        for signature, runs in by_signature.items()
        if signature == "diverged" or len(runs) > _MOST_BY_CHANCE * len(losses)
    ]
