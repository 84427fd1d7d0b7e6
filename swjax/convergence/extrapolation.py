"""The limit of a measured quantity as the step size tends to zero, from several step sizes.

A closed form often is the first term of an expansion in the step size: then the measured values
agree with it in the limit only, and a comparison at one step size would blame the next term.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from swjax.convergence.intervals import mean_interval


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
        misfit: probability that a polynomial of this degree is missed at least so far by means with
            these errors; near 0 when the degree is too low. NaN where it passes through all.
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
    level: float | int = 0.95,
) -> Extrapolation:
    """Fit a polynomial in the step size to means over repetitions, and read it off at zero.

    Weighted least squares with the inverse variances of the means as weights. The limit is then a
    fixed linear combination over step sizes of the values of each repetition, so that its interval
    is Student's over repetitions; it is right also where repetition `i` uses the same draws at all
    step sizes. With `degree = 0` it is the weighted mean over the step sizes.

    Args:
        step_sizes: `(k,)`, positive and different.
        values: `(k, repetitions)`; a repetition with a value that is not finite is left out.
        degree: degree of the polynomial, less than `k`.
        level: confidence level, in (0, 1).

    Returns:
        `Extrapolation(limit, low, high, ...)`, floats.

    Raises:
        ValueError: if the shapes do not fit, the degree is negative or not below `k`, or fewer than
            two repetitions are finite.

    >>> import numpy as np
    >>> steps = np.array([0.4, 0.2, 0.1])
    >>> noise = np.random.default_rng(0).normal(size=(3, 400))
    >>> found = extrapolate_to_zero(steps, 1 + 0.5 * steps[:, None] + 0.1 * noise)
    >>> bool(found.low < 1 < found.high), bool(found.high - found.low < 0.05)
    (True, True)
    """
    import scipy.special  # here, since it takes half a second to load

    steps, data = np.asarray(step_sizes, np.float64), np.asarray(values, np.float64)
    if steps.ndim != 1 or data.ndim != 2 or len(steps) != len(data):
        raise ValueError(
            "step_sizes must be (k,) and values (k, repetitions); "
            f"got {steps.shape} and {data.shape}."
        )
    if not np.all(steps > 0) or len(np.unique(steps)) < len(steps):
        raise ValueError(f"step_sizes must be positive and different, got {steps}.")
    if not 0 <= degree < len(steps):
        raise ValueError(
            f"A polynomial of degree {degree} needs at least {max(degree, 0) + 1} step sizes and "
            f"degree >= 0; got {len(steps)} step sizes."
        )
    finite = np.isfinite(data).all(axis=0)
    if finite.sum() < 2:
        raise ValueError(
            f"An interval needs two repetitions that are finite at every step size; "
            f"{int(finite.sum())} of {data.shape[1]} are."
        )
    data = data[:, finite]
    num = data.shape[1]
    means, errors = data.mean(axis=1), data.std(axis=1, ddof=1) / np.sqrt(num)
    # A mean without any spread would have infinite weight.
    weights = 1 / np.maximum(errors, 1e-9 * max(float(errors.max()), np.finfo(float).tiny)) ** 2
    powers = np.vander(steps / steps.max(), degree + 1, increasing=True)
    root = np.sqrt(weights / weights.max())
    solve = np.linalg.pinv(powers * root[:, None]) * root[None]
    scaled = solve @ means
    interval = mean_interval(solve[0] @ data, level=level)
    squares = float(np.sum(weights * (means - powers @ scaled) ** 2))
    rest = len(steps) - degree - 1
    misfit = float(scipy.special.chdtrc(rest, squares)) if rest else np.nan
    return Extrapolation(
        float(scaled[0]),
        interval.low,
        interval.high,
        interval.standard_error,
        scaled / steps.max() ** np.arange(degree + 1),
        means,
        errors,
        misfit,
        num,
        int((~finite).sum()),
    )
