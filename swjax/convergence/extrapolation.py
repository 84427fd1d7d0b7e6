"""The limit of a measured quantity as the step size tends to zero, from several step sizes.

A closed form often is the first term of an expansion in the step size: then the measured values
agree with it in the limit only, and a comparison at one step size would blame the next term.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import ArrayLike, Bool, Float

from swjax.convergence.intervals import mean_interval

# What is smaller than this share of the largest value is rounding error.
ROUNDING = 1e-12


class Extrapolation(NamedTuple):
    """The value at step size zero of a polynomial fitted to means over repetitions.

    Attributes:
        limit: the value at step size zero.
        low: lower end of its confidence interval.
        high: upper end of its confidence interval.
        standard_error: its standard error.
        coefficients: `(degree + 1,)`, the fitted polynomial, the constant first.
        means: `(k,)`, the mean at each step size, in the order given.
        errors: `(k,)`, their standard errors.
        misfit: probability that means of values around a polynomial of this degree miss every such
            polynomial at least so far; near 0 when the degree is too low. NaN where a polynomial
            passes through all means.
        num: number of repetitions used.
        num_left_out: number of repetitions left out because some value was not finite.
    """

    limit: float
    low: float
    high: float
    standard_error: float
    coefficients: Float[np.ndarray, " c"]
    means: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]
    misfit: float
    num: int
    num_left_out: int


def extrapolate_to_zero(
    step_sizes: ArrayLike | Sequence,
    values: ArrayLike | Sequence,
    *,
    degree: int = 1,
    weights: ArrayLike | Sequence | None = None,
    level: float | int = 0.95,
) -> Extrapolation:
    """Fit a polynomial in the step size to means over repetitions, and read it off at zero.

    Least squares with weights that are known beforehand. The limit is then a fixed linear
    combination over step sizes of the values of each repetition, and its interval is Student's over
    repetitions: exact for normal values, close for others, whatever the repetitions share between
    step sizes. Weights that were estimated from the same values would break this: where values are
    skewed, as squares are, a small mean comes with a small variance and would weigh most.

    The misfit is Hotelling's test (Annals of Mathematical Statistics 2, 1931) that what is left of
    every repetition after a polynomial has mean zero. It knows from the repetitions how the step
    sizes vary together. Repetition `i` must therefore be one draw at all step sizes: with common
    random numbers it is, and independent repetitions may be put side by side in any order. It
    looks at the next `min(k - degree - 1, repetitions // 2)` powers of the step size.

    Args:
        step_sizes: `(k,)`, positive and different.
        values: `(k, repetitions)`; a repetition with a value that is not finite is left out.
        degree: degree of the polynomial, less than `k`.
        weights: `(k,)`, positive, up to a factor; best are the inverse variances of the values, by
            a model of them. Equal by default, as for a quantity that was divided by the power of
            the step size that it is of.
        level: confidence level, in (0, 1).

    Returns:
        `Extrapolation(limit, low, high, ...)`, floats.

    Raises:
        ValueError: if the shapes do not fit, a step size is not positive and finite or there twice,
            the degree is negative or not below `k`, a weight is not positive, or fewer than two
            repetitions are finite.
        TypeError: if the degree is no integer.

    >>> import numpy as np
    >>> steps = np.array([0.4, 0.2, 0.1])
    >>> noise = np.random.default_rng(0).normal(size=(3, 400))
    >>> found = extrapolate_to_zero(steps, 1 + 0.5 * steps[:, None] + 0.1 * noise)
    >>> bool(found.low < 1 < found.high), bool(found.high - found.low < 0.05)
    (True, True)
    """
    steps, data = np.asarray(step_sizes, np.float64), np.asarray(values, np.float64)
    weight = np.ones(steps.shape) if weights is None else np.asarray(weights, np.float64)
    finite = _checked(steps, data, weight, degree)
    data = data[:, finite]
    num = data.shape[1]
    scale = steps.max()
    powers = np.vander(steps / scale, len(steps), increasing=True)
    root = np.sqrt(weight / weight.max())
    solve = np.linalg.pinv(powers[:, : degree + 1] * root[:, None]) * root[None]
    means, errors = data.mean(axis=1), data.std(axis=1, ddof=1) / np.sqrt(num)
    interval = mean_interval(solve[0] @ data, level=level)
    basis = np.linalg.qr(powers)[0]
    rest = basis[:, degree + 1 :][:, : num // 2]
    return Extrapolation(
        interval.estimate,
        interval.low,
        interval.high,
        interval.standard_error,
        solve @ means / scale ** np.arange(degree + 1),
        means,
        errors,
        _probability_of_mean_zero(rest.T @ data, ROUNDING * float(np.abs(data).max())),
        num,
        int((~finite).sum()),
    )


def _checked(
    steps: np.ndarray, data: np.ndarray, weight: np.ndarray, degree: int
) -> Bool[np.ndarray, " repetitions"]:
    """Which repetitions are finite at every step size, or the reason why there is no limit."""
    if steps.ndim != 1 or data.ndim != 2 or len(steps) != len(data):
        raise ValueError(
            "step_sizes must be (k,) and values (k, repetitions); "
            f"got {steps.shape} and {data.shape}."
        )
    if not np.all((steps > 0) & np.isfinite(steps)) or len(np.unique(steps)) < len(steps):
        raise ValueError(f"step_sizes must be positive, finite and different, got {steps}.")
    if isinstance(degree, bool) or not isinstance(degree, int | np.integer):
        raise TypeError(f"degree must be an integer >= 0, got {degree!r}.")
    if not 0 <= degree < len(steps):
        raise ValueError(
            f"A polynomial of degree {degree} needs at least {max(degree, 0) + 1} step sizes and "
            f"degree >= 0; got {len(steps)} step sizes."
        )
    if weight.shape != steps.shape or not (np.isfinite(weight).all() and np.all(weight > 0)):
        raise ValueError(f"weights must be one positive number per step size, got {weight}.")
    finite = np.asarray(np.isfinite(data).all(axis=0))
    if finite.sum() < 2:
        raise ValueError(
            f"An interval needs two repetitions that are finite at every step size; "
            f"{int(finite.sum())} of {data.shape[1]} are."
        )
    return finite


def _probability_of_mean_zero(vectors: np.ndarray, rounding: float) -> float:
    """Hotelling's test: how likely a mean at least so far from zero is, if the true one is zero.

    Args:
        vectors: `(q, repetitions)`, with fewer rows than columns.
        rounding: lengths below this count as zero.

    Returns:
        A probability; NaN for `q = 0`. In directions without any spread a mean that is not zero is
        impossible, and one that is zero says nothing.
    """
    if not len(vectors):
        return np.nan
    num = vectors.shape[1]
    mean = vectors.mean(axis=1)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(vectors)))
    along = axes.T @ mean
    spread = variances > rounding**2
    if np.any(np.abs(along[~spread]) > rounding):
        return 0.0
    if not spread.any():
        return 1.0
    rank = int(spread.sum())
    squares = num * float(np.sum(along[spread] ** 2 / variances[spread]))
    ratio = squares * (num - rank) / (rank * (num - 1))
    return float(scipy.special.fdtrc(rank, num - rank, ratio))
