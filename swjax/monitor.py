"""Failure signatures in the record of a run: diverged, exploding, stalled, stuck; what to try.

Works on the host, on the recorded sample losses and, where there are, the norms of the gradients.
These are noisy: one minibatch each. So means over stretches of the run are compared, with their
standard errors.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import ArrayLike

Signature = Literal["diverged", "exploding", "stalled", "stuck"]

# A change must exceed this many standard errors. Several windows are looked at, hence not two.
_NUM_ERRORS = 4.0
_NUM_BATCHES = 8
FEWEST_STEPS = 64

_REMEDIES: dict[Signature, str] = {
    "diverged": (
        "Halve the step size until it stays finite. If the smallest step size you can afford "
        "still diverges, keep the parameters in a ball (swjax.keep_params_in_ball), and check that "
        "the data are scaled to order 1. Where nothing grew before (the evidence says so), no step "
        "size helps: look in the generator for a division, a logarithm or a root at zero."
    ),
    "exploding": (
        "Halve the step size until the gradients keep their size, or clip them "
        "(optax.clip_by_global_norm before the learning rate). If they grow at every step size, "
        "keep the parameters in a ball (swjax.keep_params_in_ball) or bound the generator: "
        "bounded activations, or a smooth cut-off (swjax.generators.Cutoff)."
    ),
    "stalled": (
        "Look at the norm of the gradient. Where it is zero, the start is a critical point or an "
        "exact tie, or every ReLU is off: start elsewhere, or add noise "
        "(swjax.add_gaussian_noise). Where it is not, the run is too short for its step size: "
        "raise the step size or the number of steps. If the gradient is small beside its noise, "
        "raise batch_size or num_directions."
    ),
    "stuck": (
        "Start from several other initial parameters: a saddle or a local minimum depends on the "
        "start, a limit of the model does not. Then try a wider generator, a larger radius if the "
        "parameters sit on the sphere of their ball, and noise (swjax.add_gaussian_noise) against "
        "saddles. If the level falls with the step size, it is the noise of SGD: lower the "
        "step size, or raise batch_size or num_directions."
    ),
}


class Diagnosis(NamedTuple):
    """One thing that went wrong in a run.

    Attributes:
        signature: `"diverged"`, `"exploding"`, `"stalled"` or `"stuck"`.
        step: the step from which on it shows.
        evidence: the numbers it rests on, as a sentence.
        remedy: what to try.
    """

    signature: Signature
    step: int
    evidence: str
    remedy: str


def diagnose(
    losses: ArrayLike | Sequence,
    *,
    diverged_at: ArrayLike = -1,
    gradient_norms: ArrayLike | Sequence | None = None,
    target_loss: ArrayLike | None = None,
    growth: float | int = 10.0,
    least_decrease: float | int = 0.01,
    high: float | int = 2.0,
) -> tuple[Diagnosis, ...]:
    """Name what went wrong in a run, from its recorded losses.

    - **diverged**: the iterate or the loss is infinite or NaN, or the mean loss of the last quarter
      is more than `growth` times that of the first steps.
    - **exploding**: all is finite, but the largest gradient of the last quarter is more than
      `growth` times the largest of the first quarter. Needs `gradient_norms`. A gradient that is
      not finite while the iterates are (a step that was skipped) counts as well.
    - **stalled**: no decrease is visible. No initial stretch of the run (the first 1, 2, 4, ...
      steps, up to a quarter) has a mean loss that is above that of the last quarter by more than
      four standard errors and by a share of at least `least_decrease`.
    - **stuck**: the loss decreased, but its mean over the last quarter exceeds `high` times
      `target_loss` (by more than four standard errors), and is level: its drop from the quarter
      before, two standard errors included, is less than a fourth of what is missing to the
      target. Needs `target_loss`.

    Standard errors come from batch means, so they allow for correlation between steps. Fewer than
    64 losses allow only the first diagnosis. A run that has reached `high` times `target_loss` is
    not called stalled, whatever it started from.

    Args:
        losses: `(num_steps,)`, the sample losses of one run, as `Run.losses`.
        diverged_at: `Run.status.diverged_at`, a number; -1 for never.
        gradient_norms: `(num_steps,)`, the norms of the sample gradients of the same steps. None:
            not recorded.
        target_loss: the loss that a good run reaches, a float: for minibatches of `n` points, the
            mean loss between two independent minibatches of the data. None: not known.
        growth: see above, above 1.
        least_decrease: see above, in [0, 1).
        high: see above, at least 1.

    Returns:
        Diagnoses, at most one; an empty tuple if no signature is found.

    Raises:
        ValueError: if `losses` is not a vector with an entry, a threshold is out of range, or
            `target_loss` is not finite.

    >>> import numpy as np
    >>> noise = 1 + 0.1 * np.random.default_rng(0).normal(size=1000)
    >>> [found.signature for found in diagnose(noise)]
    ['stalled']
    >>> diagnose(noise * np.exp(-0.01 * np.arange(1000)))
    ()
    """
    values = np.asarray(losses, np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"losses must be a vector (num_steps,), got shape {values.shape}.")
    if not (growth > 1 and 0 <= least_decrease < 1 and high >= 1):
        raise ValueError(
            "Expected growth > 1, 0 <= least_decrease < 1 and high >= 1; "
            f"got {growth}, {least_decrease} and {high}."
        )
    target = None if target_loss is None else float(np.asarray(target_loss))
    if target is not None and not math.isfinite(target):
        raise ValueError(
            f"target_loss must be finite, got {target}. Pass None where it is not known."
        )
    norms = None
    if gradient_norms is not None:
        norms = np.asarray(gradient_norms, np.float64)
        if norms.shape != values.shape:
            raise ValueError(
                f"gradient_norms must have the shape {values.shape} of losses, got {norms.shape}."
            )
    found = _divergence(values, int(np.asarray(diverged_at)), growth, norms)
    if found is None and norms is not None:
        found = _explosion(norms, growth)
    if found is None and len(values) >= FEWEST_STEPS:
        found = _standstill(values, target, least_decrease, high)
    if found is None:
        return ()
    signature, step, evidence = found
    return (Diagnosis(signature, step, evidence, _REMEDIES[signature]),)


def _divergence(
    values: np.ndarray, diverged_at: int, growth: float, norms: np.ndarray | None
) -> tuple[Signature, int, str] | None:
    bad = np.flatnonzero(~np.isfinite(values))
    before = _before_the_end(values if norms is None else norms, norms is not None, growth)
    if diverged_at >= 0:
        text = f"The iterate is not finite from step {diverged_at} on{before}"
        return "diverged", diverged_at, text
    if bad.size:
        return "diverged", int(bad[0]), f"The loss at step {bad[0]} is {values[bad[0]]}{before}"
    if len(values) < FEWEST_STEPS:
        return None
    first, last = values[: FEWEST_STEPS // 8].mean(), values[-(len(values) // 4) :].mean()
    if first >= 0 and last > growth * first:
        step = int(np.argmax(values > growth * first))
        return "diverged", step, f"The mean loss grew from {first:.3g} to {last:.3g}."
    return None


def _before_the_end(record: np.ndarray, are_gradients: bool, growth: float) -> str:
    """Whether the record grew before it stopped being finite: the end of a sentence."""
    what = "the gradient" if are_gradients else "the loss"
    kept = record[: np.argmin(np.isfinite(record))] if not np.isfinite(record).all() else record
    if not kept.size or not kept[0] > 0:
        return "."
    top = float(kept.max())
    if top > growth * kept[0]:
        return f"; before that, {what} grew from {kept[0]:.3g} to {top:.3g}."
    return f"; before that, {what} did not grow: it was {top:.3g} at most."


def _explosion(norms: np.ndarray, growth: float) -> tuple[Signature, int, str] | None:
    bad = np.flatnonzero(~np.isfinite(norms))
    if bad.size:
        return "exploding", int(bad[0]), f"The gradient at step {bad[0]} has norm {norms[bad[0]]}."
    quarter = len(norms) // 4
    if len(norms) < FEWEST_STEPS:
        return None
    first, last = norms[:quarter].max(), norms[-quarter:].max()
    if not last > growth * first:
        return None
    step = int(np.argmax(norms > growth * first))
    text = (
        f"The largest gradient grew from {first:.3g} in the first quarter to {last:.3g} in the "
        "last one."
    )
    return "exploding", step, text


def _standstill(
    values: np.ndarray, target_loss: float | None, least_decrease: float, high: float
) -> tuple[Signature, int, str] | None:
    quarter = len(values) // 4
    level, error = _batch_mean(values[-quarter:])
    if target_loss is not None and level - _NUM_ERRORS * error <= high * target_loss:
        return None
    if not _decreased(values, quarter, level, error, least_decrease):
        evidence = (
            f"The mean loss of the last quarter, {level:.3g} (standard error {error:.1g}), is not "
            f"below that of any first stretch; over the first quarter it is "
            f"{values[:quarter].mean():.3g}."
        )
        return "stalled", 0, evidence
    before, error_before = _batch_mean(values[-2 * quarter : -quarter])
    if target_loss is None:
        return None
    if before - level + 2 * math.hypot(error, error_before) > (level - target_loss) / 4:
        return None
    evidence = (
        f"The mean losses of the last two quarters, {before:.3g} and {level:.3g} (standard error "
        f"{error:.1g}), are level and more than {high:g} times the target loss {target_loss:.3g}."
    )
    return "stuck", len(values) - 2 * quarter, evidence


def _decreased(
    values: np.ndarray, quarter: int, level: float, error: float, least_decrease: float
) -> bool:
    """Whether some first stretch of the run lies clearly above the level of its end."""
    spread = values[-quarter:].std(ddof=1)
    length = 1
    while length <= quarter:
        stretch = values[:length]
        own = max(spread, stretch.std(ddof=1)) if length >= _NUM_BATCHES else spread
        drop = stretch.mean() - level
        significant = drop > _NUM_ERRORS * math.hypot(own / math.sqrt(length), error)
        if significant and drop > least_decrease * abs(stretch.mean()):
            return True
        length *= 2
    return False


def _batch_mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error from the means of consecutive batches."""
    size = len(values) // _NUM_BATCHES
    batches = values[-size * _NUM_BATCHES :].reshape(_NUM_BATCHES, size).mean(axis=1)
    return float(batches.mean()), float(batches.std(ddof=1) / math.sqrt(_NUM_BATCHES))
