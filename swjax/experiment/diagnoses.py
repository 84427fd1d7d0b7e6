"""Which runs went wrong and how: the signatures of `swjax.monitor`, counted per cell."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from swjax.experiment.build import Problem
from swjax.monitor import FEWEST_STEPS, diagnose

_NUM_DRAWS = 256
# These are failures in every single run.
_BROKEN = ("diverged", "exploding")
# What counts as a failure of a run that stays finite, by kind of study. A level loss is none where
# the flow says where a run should be. The long run may start below its level and rise to it.
_WHERE_FINITE = {
    "flow": _BROKEN,
    "stationarity": (),
    "training": ("diverged", "exploding", "stalled", "stuck"),
}
# A few runs among many start near the end, or fall no farther than their noise: no failure.
_MOST_BY_CHANCE = 0.5


class CellDiagnosis(NamedTuple):
    """One failure signature at one scheme and step size.

    Attributes:
        arm: the scheme.
        step_size: its step size.
        signature: diverged, exploding, stalled or stuck.
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


def target_loss(problem: Problem) -> float | None:
    """The loss that a good run reaches: the mean loss between two minibatches of the data.

    Args:
        problem: the study made runnable.

    Returns:
        The loss; None for studies that do not ask whether runs reach it.
    """
    if problem.study.kind != "training":
        return None
    loss = problem.loss
    same = dataclasses.replace(loss, apply=lambda params, x: x, source=loss.target)
    keys = jax.random.split(jax.random.key(problem.study.seed), _NUM_DRAWS)
    return float(jax.jit(jax.vmap(lambda key: same.value(None, same.draw(key))))(keys).mean())


def diagnoses(dataset: xr.Dataset, target_loss: float | None = None) -> list[CellDiagnosis]:
    """Look at the recorded minibatch losses, and gradients, of every run.

    Args:
        dataset: results with `sample_loss` and `diverged_at`, without which nothing is found, and
            with `max_step` where it was recorded.
        target_loss: the loss that a good run reaches; None where that is not the question, and no
            run is called stuck.

    Returns:
        One entry per scheme, step size and signature found; runs that do not move are listed when
        they are more than half of the repetitions.
    """
    if "sample_loss" not in dataset or "diverged_at" not in dataset:
        return []
    kind = dataset.attrs.get("kind", "training")
    found: list[CellDiagnosis] = []
    for arm in dataset["arm"].values:
        for size in dataset["step_size"].values:
            cell = dataset.sel(arm=arm, step_size=size)
            found += diagnoses_of_cell(cell, str(arm), float(size), target_loss, kind=kind)
    return found


def diagnoses_of_cell(
    cell: xr.Dataset,
    arm: str,
    step_size: float,
    target_loss: float | None = None,
    *,
    kind: str = "training",
) -> list[CellDiagnosis]:
    """The same for one scheme and step size of a study of some kind; see `diagnoses`."""
    losses = cell["sample_loss"].transpose("repetition", "time").values
    diverged_at = cell["diverged_at"].values
    made_steps = np.isfinite(losses).any(axis=0)  # a coarse step size skips recorded times
    if (diverged_at == -2).any() or not made_steps.any():
        return []
    if made_steps.sum() < FEWEST_STEPS:  # too few to see more than numbers that are not finite
        broken = (diverged_at >= 0) | ~np.isfinite(losses[:, made_steps]).all(axis=1)
        if "max_step" in cell:
            longest = cell["max_step"].transpose("repetition", "time").values
            broken |= ~np.isfinite(longest).all(axis=1)
        if not broken.any():
            return []
    steps = cell["time"].values[made_steps] / step_size
    gradients = [None] * len(losses)
    if "max_step" in cell:  # steps of SGD, divided by the step size, are gradients
        longest = cell["max_step"].transpose("repetition", "time").values / step_size
        gradients = list(longest[:, made_steps])
    is_finite = np.isfinite(losses[:, made_steps]).all(axis=1) & (diverged_at < 0)
    by_signature: dict[str, list[tuple[int, str, str]]] = {}
    for row, norms, diverged, finite in zip(
        losses[:, made_steps], gradients, diverged_at, is_finite, strict=True
    ):
        for d in diagnose(
            row, diverged_at=int(diverged), gradient_norms=norms, target_loss=target_loss
        ):
            if finite and d.signature not in _WHERE_FINITE[kind]:
                continue
            at = d.step if diverged >= 0 else int(steps[d.step])
            by_signature.setdefault(d.signature, []).append((at, d.evidence, d.remedy))
    return [
        CellDiagnosis(arm, step_size, signature, len(runs), *min(runs))
        for signature, runs in by_signature.items()
        if signature in _BROKEN or len(runs) > _MOST_BY_CHANCE * len(losses)
    ]
