"""The order of convergence in the step size, and the verdict whether it is the predicted one.

On the host and in float64; the repetitions at one step size are taken as independent.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from swjax.convergence.extrapolation import ROUNDING
from swjax.convergence.intervals import check_resampling, generator_from, percentiles

Verdict = Literal["holds", "fails", "undecided"]


class Order(NamedTuple):
    """The order of convergence in the step size: `distance ~ constant * step_size**slope`.

    Attributes:
        slope: the fitted order.
        low: lower end of its confidence interval.
        high: upper end of its confidence interval.
        constant: the factor in front of the power.
        curvature: coefficient of `log(step_size)**2` in a quadratic fit. The local slope changes by
            twice this amount per unit of `log(step_size)`.
        curvature_low: lower end of its confidence interval.
        curvature_high: upper end of its confidence interval.
        step_sizes: `(k,)`, the step sizes used, increasing.
        means: `(k,)`, the mean distance at each.
        num_left_out: number of repetitions left out because they were not finite.
        note: what was left out, in words; empty if nothing was.
    """

    slope: float
    low: float
    high: float
    constant: float
    curvature: float
    curvature_low: float
    curvature_high: float
    step_sizes: Float[np.ndarray, " k"]
    means: Float[np.ndarray, " k"]
    num_left_out: int
    note: str

    @property
    def is_curved(self) -> bool:
        """Whether the interval of the curvature excludes 0, so that one power does not fit.

        The coarse step sizes are then pre-asymptotic as a rule: leave them out, or add finer ones.
        """
        return self.curvature_low > 0 or self.curvature_high < 0


def fit_order(
    step_sizes: ArrayLike | Sequence,
    distances: ArrayLike | Sequence,
    *,
    key: ArrayLike = 0,
    num_resamples: int = 1000,
    level: float | int = 0.95,
    paired: bool = False,
) -> Order:
    """Fit the order at which a distance vanishes with the step size, with a bootstrap interval.

    Ordinary least squares of `log(mean distance)` on `log(step size)`; the mean is over the
    repetitions at one step size. The interval is the percentile bootstrap over the
    repetitions inside each step size, independently at each, or, with `paired=True`, the same
    resampled repetitions at all of them (for runs that share their draws across step sizes). Of few
    repetitions it is too short. On lognormal distances at six step sizes the 95 % interval covers,
    over 4000 trials each (standard errors below 0.7 %), with

    - 4 repetitions 88 % of the time, paired 80 %;
    - 16 repetitions 93 %, paired 91 %;
    - 64 repetitions 94 %, paired 94 %.

    It speaks of the slope over *these* step sizes; whether a finite-step correction bends the line
    is what `curvature` and its interval report.

    A repetition that is not finite is left out; so is a step size with fewer than two finite
    repetitions. What was left out is in `num_left_out` and, in words, in `note`. A mean over the
    repetitions that stayed finite flatters a step size at which some did not.

    Args:
        step_sizes: `(k,)`, positive and different, in any order.
        distances: `(k, repetitions)`, positive.
        key: randomness of the resampling: an integer or a JAX key `()`.
        num_resamples: number of bootstrap resamples, at least 100.
        level: confidence level, in (0, 1).
        paired: whether repetition `i` is the same experiment at every step size.

    Returns:
        `Order(slope, low, high, constant, ...)`, floats.

    Raises:
        ValueError: if shapes differ, a step size or a finite distance is not positive, step sizes
            repeat, or fewer than three step sizes can be used: the message says which and why.

    >>> import numpy as np
    >>> step_sizes = 2.0 ** -np.arange(1, 7)
    >>> noise = np.random.default_rng(0).lognormal(sigma=0.3, size=(6, 64))
    >>> order = fit_order(step_sizes, 3 * step_sizes[:, None] ** 0.5 * noise)
    >>> round(order.slope, 2), order.low < 0.5 < order.high, order.is_curved
    (0.51, True, False)
    """
    steps, values = np.asarray(step_sizes, np.float64), np.asarray(distances, np.float64)
    _check_measurements(steps, values)
    num_resamples = check_resampling(num_resamples, level)
    ascending = np.argsort(steps)
    steps, values = steps[ascending], values[ascending]
    finite = np.isfinite(values)
    usable = finite.sum(axis=1) >= 2
    note = _what_was_left_out(steps, finite, usable)
    if usable.sum() < 3:
        raise ValueError(
            f"An order needs at least three step sizes with two finite repetitions each; "
            f"{usable.sum()} of {len(steps)} remain. {note}".strip()
        )
    num_left_out = int((~finite).sum())
    steps, values, finite = steps[usable], values[usable], finite[usable]
    means = np.array([row[keep].mean() for row, keep in zip(values, finite, strict=True)])
    resampled = _resampled_means(generator_from(key), values, finite, num_resamples, paired)

    line, parabola = (np.linalg.pinv(np.vander(np.log(steps), n))[:2] for n in (2, 3))
    slope, intercept = line @ np.log(means)
    low, high = percentiles(line[0] @ np.log(resampled), level)
    curvature = _curvatures(parabola[0], means)
    curvature_low, curvature_high = percentiles(_curvatures(parabola[0], resampled), level)
    return Order(
        slope=float(slope),
        low=low,
        high=high,
        constant=math.exp(intercept),
        curvature=float(curvature),
        curvature_low=curvature_low,
        curvature_high=curvature_high,
        step_sizes=steps,
        means=means,
        num_left_out=num_left_out,
        note=note,
    )


def equivalence_verdict(
    low: ArrayLike, high: ArrayLike, expected: ArrayLike, tolerance: ArrayLike
) -> Verdict:
    """Decide by equivalence: is the whole interval inside the band `expected +- tolerance`?

    Containing the expected value is not asked for: a wide interval would pass that test, and a
    sharp one fail it because of a finite-step correction.

    Args:
        low: lower end of a confidence interval, a number or scalar array.
        high: upper end, a number or scalar array.
        expected: the value that theory predicts, a number or scalar array.
        tolerance: half the width of the band, a positive number or scalar array.

    Returns:
        `"holds"` if the interval lies inside the band, `"fails"` if it lies outside, `"undecided"`
        if it straddles an end of the band or is NaN.

    Raises:
        ValueError: if `low > high` or the tolerance is not positive.

    >>> equivalence_verdict(0.48, 0.52, expected=0.5, tolerance=0.05)
    'holds'
    >>> equivalence_verdict(0.48, 0.58, expected=0.5, tolerance=0.05)
    'undecided'
    >>> equivalence_verdict(0.90, 1.02, expected=0.5, tolerance=0.05)
    'fails'
    """
    low, high = float(np.asarray(low)), float(np.asarray(high))
    expected, tolerance = float(np.asarray(expected)), float(np.asarray(tolerance))
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}.")
    if low > high:
        raise ValueError(f"The interval ends are swapped: low {low} is above high {high}.")
    if expected - tolerance <= low and high <= expected + tolerance:
        return "holds"
    if high < expected - tolerance or low > expected + tolerance:
        return "fails"
    return "undecided"


def _curvatures(weights: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Weighted sums of logarithms over the first axis; what is rounding error is made 0."""
    logs = np.log(means)
    curvatures = weights @ logs
    return np.where(
        np.abs(curvatures) <= ROUNDING * (np.abs(weights) @ (1 + np.abs(logs))), 0.0, curvatures
    )


def _resampled_means(
    generator: np.random.Generator,
    values: np.ndarray,
    finite: np.ndarray,
    num_resamples: int,
    paired: bool,
) -> np.ndarray:
    """Means of resampled repetitions, `(step sizes, resamples)`."""
    if not paired:
        rows = [row[keep] for row, keep in zip(values, finite, strict=True)]
        return np.stack(
            [
                row[generator.integers(0, len(row), (num_resamples, len(row)))].mean(1)
                for row in rows
            ]
        )
    # A repetition missing at some step size still counts at the others; a resample in which some
    # step size has no finite repetition at all is drawn again, as it has no mean.
    num = values.shape[1]
    filled = np.where(finite, values, 0.0)
    means: list[np.ndarray] = []
    while sum(map(len, means)) < num_resamples:
        chosen = generator.integers(0, num, (num_resamples, num))
        counts = np.stack([keep[chosen].sum(1) for keep in finite])
        sums = np.stack([row[chosen].sum(1) for row in filled])
        complete = (counts > 0).all(0)
        means.append((sums[:, complete] / counts[:, complete]).T)
    return np.concatenate(means)[:num_resamples].T


def _what_was_left_out(steps: np.ndarray, finite: np.ndarray, usable: np.ndarray) -> str:
    missing = {step: int((~row).sum()) for step, row in zip(steps, finite, strict=True)}
    parts = [f"{count} at step size {step:g}" for step, count in missing.items() if count]
    if not parts:
        return ""
    note = f"Left out, not finite: {', '.join(parts)}, of {finite.shape[1]} repetitions each."
    dropped = [f"{step:g}" for step in steps[~usable]]
    return note + (f" Step sizes not used at all: {', '.join(dropped)}." if dropped else "")


def _check_measurements(steps: np.ndarray, values: np.ndarray) -> None:
    if steps.ndim != 1 or values.ndim != 2 or len(steps) != len(values):
        raise ValueError(
            "step_sizes must be (k,) and distances (k, repetitions); "
            f"got {steps.shape} and {values.shape}."
        )
    if not np.all((steps > 0) & np.isfinite(steps)):
        raise ValueError(f"step_sizes must be positive and finite, got {steps}.")
    if len(np.unique(steps)) != len(steps):
        raise ValueError(f"step_sizes must differ from each other, got {steps}.")
    if len(steps) < 3:
        raise ValueError(
            f"An order needs at least three step sizes, got {len(steps)}: through two points a "
            "line always fits."
        )
    if np.any(values <= 0):
        where = np.argwhere(values <= 0)[0]
        raise ValueError(
            f"distances must be positive, since their logarithm is fitted; repetition {where[1]} "
            f"at step size {steps[where[0]]:g} is {values[tuple(where)]:g}. "
            "A distance of exactly 0 means that a path was compared with itself."
        )
