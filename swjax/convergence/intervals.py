"""Confidence intervals from repeated runs: means, paired differences, any statistic, probabilities.

On the host and in float64. Repetitions are taken as independent. The key of a bootstrap has a
default: it decides the last digits of an interval and nothing else, and the same data with the same
key give the same interval.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
from jaxtyping import ArrayLike


class Interval(NamedTuple):
    """An estimate with a confidence interval.

    Attributes:
        estimate: the estimate.
        low: lower end of the interval.
        high: upper end of the interval.
        standard_error: standard error of the estimate.
        num: number of repetitions used.
        num_left_out: number of repetitions left out because they were not finite.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    num: int
    num_left_out: int


def mean_interval(samples: ArrayLike | Sequence, *, level: float | int = 0.95) -> Interval:
    """The mean of independent samples with its standard error and Student's t interval.

    Args:
        samples: `(repetitions,)`; those that are not finite are left out and counted.
        level: confidence level, in (0, 1).

    Returns:
        `Interval(estimate, low, high, standard_error, num, num_left_out)`, floats.

    Raises:
        ValueError: if `samples` is not a vector or has fewer than two finite entries.

    >>> interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    >>> round(interval.estimate, 2), round(interval.low, 2), round(interval.high, 2)
    (2.5, 0.45, 4.55)
    """
    values, num_left_out = _finite_samples("samples", samples)
    check_level(level)
    num = len(values)
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(num))
    half = float(scipy.special.stdtrit(num - 1, 0.5 + level / 2)) * error
    return Interval(mean, mean - half, mean + half, error, num, num_left_out)


def paired_difference(
    a: ArrayLike | Sequence, b: ArrayLike | Sequence, *, level: float | int = 0.95
) -> Interval:
    """The mean of `a - b` over repetitions that share their randomness, with a t interval.

    Common random numbers cancel in the differences, which is what makes a small effect visible.

    Args:
        a: `(repetitions,)`, results of the first arm.
        b: `(repetitions,)`, results of the second arm with the same draws in the same order.
        level: confidence level, in (0, 1).

    Returns:
        `Interval` of the mean difference, floats. Pairs of which one is not finite are left out and
        counted.

    Raises:
        ValueError: if the shapes differ, or fewer than two pairs are finite.

    >>> interval = paired_difference([1.0, 2.0, 3.0, 4.0], [0.9, 1.9, 2.8, 3.8])
    >>> round(interval.estimate, 3), interval.low > 0
    (0.15, True)
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"Pairs need two arrays of one shape, got {first.shape}, {second.shape}.")
    with np.errstate(invalid="ignore"):
        return mean_interval(first - second, level=level)


def relative_difference(
    a: ArrayLike | Sequence, b: ArrayLike | Sequence, *, level: float | int = 0.95
) -> Interval:
    """The mean of paired differences `a - b` as a share of the mean of `b`, with its interval.

    The interval is that of the ratio of two means (delta method): the residuals
    `a - (1 + ratio) b` carry its error. The mean of `b` must be many of its standard errors away
    from zero.

    Args:
        a: `(repetitions,)`.
        b: `(repetitions,)`, in the same order; pairs with an entry that is not finite are left out.
        level: confidence level, in (0, 1).

    Returns:
        `Interval` of the ratio, floats.

    Raises:
        ValueError: if the shapes differ, fewer than two pairs are finite, or the mean of `b` is
            zero.

    >>> found = relative_difference([1.1, 2.2, 3.3], [1.0, 2.0, 3.0])
    >>> round(found.estimate, 3)
    0.1
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"Pairs need two arrays of one shape, got {first.shape}, {second.shape}.")
    pairs = np.isfinite(first) & np.isfinite(second)
    if pairs.sum() < 2:
        raise ValueError(
            f"An interval needs at least two pairs that are finite; {int(pairs.sum())} of "
            f"{pairs.size} are."
        )
    first, second = first[pairs], second[pairs]
    mean = second.mean()
    if mean == 0:
        raise ValueError(
            "The mean of b is zero, and nothing is a share of zero: use paired_difference."
        )
    ratio = (first - second).mean() / mean
    spread = mean_interval((first - (1 + ratio) * second) / abs(mean), level=level)
    return Interval(
        float(ratio),
        float(ratio + spread.low),
        float(ratio + spread.high),
        spread.standard_error,
        int(pairs.sum()),
        int((~pairs).sum()),
    )


def bootstrap_interval(
    samples: ArrayLike | Sequence,
    statistic: Callable[[np.ndarray], Any],
    *,
    key: ArrayLike = 0,
    num_resamples: int = 1000,
    level: float | int = 0.95,
) -> Interval:
    """Percentile bootstrap interval of any statistic of independent samples.

    Args:
        samples: `(repetitions,)`; those that are not finite are left out and counted.
        statistic: reduces the last axis, `(..., repetitions) -> (...)`, as
            `lambda x: np.median(x, axis=-1)` does.
        key: randomness of the resampling: an integer or a JAX key `()`.
        num_resamples: number of resamples, at least 100.
        level: confidence level, in (0, 1).

    Returns:
        `Interval`, floats; `standard_error` is the standard deviation over the resamples.

    Raises:
        ValueError: if `samples` is not a vector, has fewer than two finite entries, or `statistic`
            does not reduce the last axis.

    >>> import numpy as np
    >>> samples = np.random.default_rng(0).exponential(size=200)
    >>> interval = bootstrap_interval(samples, lambda x: np.median(x, axis=-1))
    >>> bool(interval.low < np.log(2) < interval.high)
    True
    """
    values, num_left_out = _finite_samples("samples", samples)
    num_resamples = check_resampling(num_resamples, level)
    chosen = generator_from(key).integers(0, len(values), (num_resamples, len(values)))
    resampled = np.asarray(statistic(values[chosen]), np.float64)
    if resampled.shape != (num_resamples,):
        raise ValueError(
            "statistic must reduce the last axis only: it mapped shape "
            f"{chosen.shape} to {resampled.shape} instead of {(num_resamples,)}. "
            "Pass, for example, lambda x: np.median(x, axis=-1)."
        )
    low, high = percentiles(resampled, level)
    estimate, error = float(statistic(values)), float(resampled.std(ddof=1))
    return Interval(estimate, low, high, error, len(values), num_left_out)


def exceedance(
    distances: ArrayLike | Sequence, threshold: ArrayLike, *, level: float | int = 0.95
) -> Interval:
    """The probability that a distance exceeds a threshold, with the exact binomial interval.

    The interval is that of Clopper and Pearson (Biometrika 26, 1934): it covers with at least the
    stated probability for every number of repetitions, also where no or every run exceeds. A
    distance that is not finite exceeds every threshold.

    Args:
        distances: `(repetitions,)`, independent.
        threshold: the threshold, a float.
        level: confidence level, in (0, 1).

    Returns:
        `Interval` of the probability, floats; nothing is left out.

    Raises:
        ValueError: if `distances` is not a vector with an entry, or the threshold is not finite.

    >>> interval = exceedance([0.1] * 20, threshold=0.5)
    >>> interval.estimate, round(interval.high, 3)
    (0.0, 0.168)
    """
    values = np.asarray(distances, np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"distances must be a vector (repetitions,), got shape {values.shape}.")
    threshold = float(np.asarray(threshold))
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}.")
    check_level(level)
    num = values.size
    count = int(np.sum(~(values <= threshold)))
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else scipy.special.betaincinv(count, num - count + 1, tail)
    high = 1.0 if count == num else scipy.special.betaincinv(count + 1, num - count, 1 - tail)
    share = count / num
    error = math.sqrt(share * (1 - share) / num)
    return Interval(share, float(low), float(high), error, num, 0)


def generator_from(key: ArrayLike) -> np.random.Generator:
    """A NumPy generator seeded by an integer or by the words of a JAX key."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return np.random.default_rng(np.asarray(key).ravel().astype(np.uint32).tolist())


def percentiles(values: np.ndarray, level: float | int) -> tuple[float, float]:
    """The ends of the central part of the values that has probability `level`."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite_samples(name: str, samples: ArrayLike | Sequence) -> tuple[np.ndarray, int]:
    values = np.asarray(samples, np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a vector (repetitions,), got shape {values.shape}.")
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        raise ValueError(
            f"An interval needs at least two finite repetitions; {name} has {len(finite)} "
            f"of {len(values)}."
        )
    return finite, len(values) - len(finite)


def check_level(level: float | int) -> None:
    """Raise unless the level is a probability strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, as 0.95 does; got {level}.")


def check_resampling(num_resamples: int, level: float | int) -> int:
    """The number of resamples, refused if it is too small for an interval."""
    check_level(level)
    if num_resamples < 100:
        raise ValueError(f"num_resamples must be at least 100, got {num_resamples}.")
    return num_resamples
