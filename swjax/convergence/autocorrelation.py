"""How much a correlated series of records is worth: autocorrelation time, effective sample size.

Records of one long run are correlated, those of different runs are not. An interval over runs is
right whatever the correlation; the numbers here say how long a run must be, and how many
independent draws its average is worth.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike

# Oscillations that are looked for, from none to one in two records, and the standard errors by
# which they must stand out.
_FREQUENCIES, _SURE = 129, 3.0


class AutocorrelationTime(NamedTuple):
    """The integrated autocorrelation time of a stationary series, from several runs of it.

    Attributes:
        time: the estimate, in records: 1 for independent ones.
        standard_error: its standard error.
        window: number of lags summed.
        effective_sample_size: records of all runs together, divided by `time`.
        num: number of runs used.
        length: number of records of each.
        num_left_out: number of runs left out because a record was not finite.
    """

    time: float
    standard_error: float
    window: int
    effective_sample_size: float
    num: int
    length: int
    num_left_out: int

    @property
    def is_reliable(self) -> bool:
        """Whether each run is ten times as long as the time found in it, and twice the window."""
        return self.length >= max(10 * self.time, 2 * self.window)


def integrated_autocorrelation_time(
    series: ArrayLike | Sequence, *, window: float | int = 5.0
) -> AutocorrelationTime:
    """Estimate the integrated autocorrelation time of a stationary series.

        tau = 1 + 2 sum_{k >= 1} rho_k,    rho_k the autocorrelation at lag k.

    The mean over `N` records of one run has the variance of the mean over `N / tau` independent
    ones. The autocorrelations are averaged over the runs, and taken around the mean of all runs
    together: runs that sit at different levels and do not mix are seen as correlated. The sum is
    cut at the smallest lag `M >= window * max(1, tau(M))`: later lags would add noise only (Sokal,
    "Monte Carlo methods in statistical mechanics", 1996). Correlations that alternate or oscillate
    cancel in `tau` long before they die out; so `M` must also reach that far beyond the time of
    every oscillation that stands out of the noise, `1 + 2 sum_k rho_k cos(omega k)`.

    The standard error is that of a sum of estimated autocorrelations (Bartlett's formula), with `N`
    records of all runs and the mean over all frequencies::

        sqrt((2 / N) mean_omega (D(omega) f(omega))^2),  D = sum_{|k| <= M} cos(omega k)

    and `f` the same sum with `rho_k`. Where `f` is flat, it is Sokal's `tau sqrt((4 M + 2) / N)`.

    For the autoregressive process `x' = r x + noise` the time is `(1 + r) / (1 - r)`.

    Args:
        series: `(runs, length)`, or `(length,)` for one run: equally spaced records, after burn-in.
            A run with a record that is not finite is left out and counted.
        window: how many times `tau` the sum reaches, at least 1; larger ones trade bias for noise.

    Returns:
        `AutocorrelationTime(time, standard_error, window, effective_sample_size, ...)`, floats. For
        a series without any variation the time is 1.

    Raises:
        ValueError: if `series` is not `(runs, length)` with 4 records or more, or no run is finite.

    >>> import numpy as np
    >>> rng, x = np.random.default_rng(0), np.zeros((64, 2000))
    >>> for t in range(1, 2000):
    ...     x[:, t] = 0.5 * x[:, t - 1] + rng.normal(size=64)
    >>> found = integrated_autocorrelation_time(x)
    >>> round(found.time, 1)
    3.0
    """
    values = np.asarray(series, np.float64)
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] < 4:
        raise ValueError(
            "series must be (runs, length) with at least 4 records in each run, got shape "
            f"{np.shape(series)}."
        )
    if not window >= 1:
        raise ValueError(f"window must be at least 1, got {window}.")
    finite = np.isfinite(values).all(axis=1)
    if not finite.any():
        raise ValueError(f"Each of the {len(values)} runs has a record that is not finite.")
    num_left_out = int((~finite).sum())
    values = values[finite]
    num, length = values.shape
    deviations = values - values.mean()
    if np.abs(deviations).max() <= 1e-12 * np.abs(values).max():  # rounding
        deviations = np.zeros_like(deviations)
    correlation = _autocorrelation(deviations)
    inside = np.flatnonzero(np.arange(length) >= window * _longest_time(correlation, num * length))
    last = int(inside[0]) if inside.size else length - 1
    # Strongly alternating records can sum to nothing; a time of 1 / length is the least there is.
    time = max(float(2 * correlation[: last + 1].sum() - 1), 1 / length)
    error = _standard_error(correlation[: last + 1], num * length)
    return AutocorrelationTime(time, error, last, num * length / time, num, length, num_left_out)


def _autocorrelation(deviations: np.ndarray) -> np.ndarray:
    """The autocorrelation at lags 0, 1, ..., averaged over the runs; 0 after lag 0 if constant."""
    num, length = deviations.shape
    padded = 2 ** math.ceil(math.log2(2 * length))
    power = np.abs(np.fft.rfft(deviations, padded, axis=1)) ** 2
    sums = np.fft.irfft(power.mean(axis=0), padded)[:length]
    covariance = sums / np.arange(length, 0, -1)
    if not covariance[0] > 0:
        return np.eye(1, length)[0]
    return covariance / covariance[0]


def _longest_time(correlation: np.ndarray, num_records: int) -> np.ndarray:
    """The longest time, at least 1, among all oscillations, of the lags up to each.

    That of no oscillation counts as it is, others by what they surely are.
    """
    lags = np.arange(len(correlation))
    sure = np.maximum(0, 1 - _SURE * np.sqrt((4 * lags + 2) / num_records))
    longest = np.maximum(1, 2 * np.cumsum(correlation) - 1)
    for frequency in np.linspace(0, np.pi, _FREQUENCIES)[1:]:
        times = 2 * np.cumsum(correlation * np.cos(frequency * lags)) - 1
        longest = np.maximum(longest, sure * times)
    return longest


def _standard_error(correlation: np.ndarray, num_records: int) -> float:
    """Of the integrated time, from the autocorrelations that are summed."""
    points = 4 * len(correlation)  # so many make the mean over the frequencies exact
    both_sides = lambda lags: 2 * np.fft.fft(lags, points).real - lags[0]
    product = both_sides(np.ones_like(correlation)) * both_sides(correlation)
    return math.sqrt(2 * np.mean(product**2) / num_records)
