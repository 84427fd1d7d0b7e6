"""From results to verdicts: claims with estimate, interval, expectation and one of three words.

A claim ``holds`` when its whole interval lies inside the band of what is expected, ``fails`` when
it lies outside, and is ``undecided`` otherwise. Diverged runs are left out, and it is said how
many.
"""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from swjax.experiment.claims_flow import flow_claims
from swjax.experiment.claims_stationarity import stationarity_claims
from swjax.experiment.claims_training import training_claims
from swjax.experiment.diagnoses import diagnoses
from swjax.experiment.stationary_statistics import sampling
from swjax.experiment.study import FlowStudy, StationarityStudy, Study, TrainingStudy


def summarize(
    study: Study, dataset: xr.Dataset, status: str, target_loss: float | None = None
) -> dict[str, Any]:
    """The content of ``summary.json``.

    Args:
        study: the study.
        dataset: its results so far.
        status: of the run; see `RunFolder.status`.
        target_loss: the loss that a good run of a training study reaches; see `diagnoses`.

    Returns:
        A dict with ``claims`` (claim, estimate, low, high, expected, tolerance, verdict, note),
        ``diagnoses`` (what went wrong in which runs, with the remedy to try),
        ``measurements``, for long runs ``sampling`` (what their averages are worth),
        ``num_diverged`` by arm and step size, and what was run.
    """
    complete = "diverged_at" in dataset and bool((dataset["diverged_at"] > -2).all())
    claims: list[dict] = []
    measurements: list[dict] = []
    more: dict[str, Any] = {}
    if isinstance(study, TrainingStudy):
        more["target_loss"] = target_loss
    more["diagnoses"] = [each._asdict() for each in diagnoses(dataset, target_loss)]
    if complete:
        if isinstance(study, FlowStudy):
            claims, measurements = flow_claims(study, dataset)
        elif isinstance(study, StationarityStudy):
            claims, measurements = stationarity_claims(study, dataset)
            more["sampling"] = sampling(study, dataset)
        else:
            claims, measurements = training_claims(study, dataset)
    verdicts = [claim["verdict"] for claim in claims]
    return {
        "study": study.name,
        "kind": study.kind,
        "question": study.question,
        "status": status,
        "verdicts": {word: verdicts.count(word) for word in ("holds", "fails", "undecided")},
        "claims": claims,
        "measurements": measurements,
        **more,
        "num_diverged": diverged_counts(dataset),
        "repetitions": study.repetitions,
        "num_steps": dict(
            zip(step_size_keys(study.step_sizes), dataset["num_steps"].values.tolist(), strict=True)
        ),
    }


def diverged_counts(dataset: xr.Dataset) -> dict[str, dict[str, int]]:
    """How many runs diverged, by arm and step size; only where some did."""
    if "diverged_at" not in dataset:
        return {}
    counts = (dataset["diverged_at"] >= 0).sum("repetition")
    found: dict[str, dict[str, int]] = {}
    sizes = dataset["step_size"].values.tolist()
    for arm in dataset["arm"].values:
        for size, key in zip(sizes, step_size_keys(sizes), strict=True):
            num = int(counts.sel(arm=arm, step_size=size))
            if num:
                found.setdefault(str(arm), {})[key] = num
    return found


def step_size_keys(sizes: Sequence[float]) -> list[str]:
    """Step sizes as keys: to six digits where these tell them apart, else to as many as do."""
    for digits in (6, 10, 17):
        keys = [f"{size:.{digits}g}" for size in sizes]
        if len(set(keys)) == len(keys):
            break
    return keys
