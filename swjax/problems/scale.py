"""One scale to learn: minibatch bias, a kink at 0, and flows that are not unique."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.special import betainc, ndtr

from swjax._checks import as_real_array
from swjax.losses import SlicedLoss
from swjax.measures import Discrete, Measure, cube, gaussian
from swjax.problems._values import Values, doob_gronwall, float64, knots


@dataclass(frozen=True, eq=False)
class ScaleProblem(ABC):
    """Learn the scale `u` in `T(u, x) = u x`; source and target are one law, even and isotropic.

    With `V` the variance of a projection and `x_(k:n)` the order statistics of `n` projections,

        F(u) = V (u^2 - 2 c |u| + 1),   c = (1/(n V)) sum_k (E x_(k:n))^2 < 1.

    The data have the scale 1, yet `F` is minimal at `|u| = c`: the bias of minibatches. The kink at
    0 points upward: 0 is Clarke critical, a local maximum, and the flow from there is not unique.
    It may wait at 0 for any time and then leave to either side.

    Attributes:
        batch_size: number `n` of points in each minibatch, at least 1.
    """

    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")

    @property
    @abstractmethod
    def law(self) -> Measure:
        """The law of the latent points and of the data."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """The variance `V` of a projection."""

    @property
    @abstractmethod
    def best_scale(self) -> float:
        """The minimizer `c`; the other one is `-c`."""

    @property
    def loss(self) -> SlicedLoss:
        """The sampled loss; its parameter is a scalar."""
        return SlicedLoss(scaled_points, self.law, self.law, batch_size=self.batch_size)

    def population_loss(self, params: ArrayLike) -> Float[Array, "..."]:
        """`F(u) = V (u^2 - 2 c |u| + 1)`, differentiable.

        Raises:
            TypeError: if `params` is not of floating point type.
        """
        u = as_real_array("params", params)
        return self.variance * (u**2 - 2 * self.best_scale * jnp.abs(u) + 1)

    def flow(self, initial: Values, times: Values) -> np.ndarray:
        """The gradient flow from `u_0 != 0`: `|u|(s) = c + (|u_0| - c) exp(-2 V s)`, `(..., T)`.

        Raises:
            ValueError: if a start is 0, where the flow is not unique; see `flow_from_zero`.
        """
        start = float64(initial)[..., None]
        if np.any(start == 0):
            raise ValueError("The flow from 0 is not unique; use flow_from_zero.")
        decay = np.exp(-2 * self.variance * float64(times))
        return np.sign(start) * (self.best_scale + (np.abs(start) - self.best_scale) * decay)

    def flow_from_zero(self, times: Values, wait: Values, sign: int = 1) -> np.ndarray:
        """The solution that waits at 0 until the time `wait` and leaves to the side `sign`.

        A negative `wait` gives a solution that starts near 0 instead of at it.

        Args:
            times: `(T,)`.
            wait: one waiting time, or several `(...)`.
            sign: 1 or -1.

        Returns:
            float64 array `(..., T)`.
        """
        elapsed = np.maximum(float64(times) - float64(wait)[..., None], 0.0)
        return -np.sign(sign) * self.best_scale * np.expm1(-2 * self.variance * elapsed)

    def distance_to_solutions(
        self, paths: Values, times: Values, start_radius: float = 0.0, metric: str = "sup"
    ) -> np.ndarray:
        """Distance of paths to the set of solutions that start in `[-start_radius, start_radius]`.

        Up to the sign these are one curve, shifted in time. The shift is found on a grid of 257,
        and of 33 around the best one; the result is too large by at most `V c` times the last
        spacing.

        Args:
            paths: `(..., T)`, values of the scale at the times.
            times: `(T,)`, increasing from 0.
            start_radius: radius of the set of starts, less than `c`.
            metric: `"sup"`, the largest distance over the times; or `"compact"`, the metric
                `sum_k 2^-k min(1, sup over [0, k])` of `swjax.compact_distance`, for curves that
                stop at the last time; the whole numbers should be among the times.

        Returns:
            float64 array `(...)`.

        Raises:
            ValueError: if `start_radius` is not in `[0, c)`, or the metric is unknown.
        """
        if not 0 <= start_radius < self.best_scale:
            raise ValueError(
                f"start_radius must be in [0, {self.best_scale:.6g}), got {start_radius}."
            )
        if metric not in ("sup", "compact"):
            raise ValueError(f"metric must be 'sup' or 'compact', got {metric!r}.")
        paths, times = float64(paths), float64(times)
        earliest = np.log1p(-start_radius / self.best_scale) / (2 * self.variance)
        coarse = np.linspace(earliest, times[-1], 257)
        least, best = self._search(coarse, paths, times, metric)
        spacing = coarse[1] - coarse[0]
        around = np.linspace(-spacing, spacing, 33).reshape(-1, *(1,) * best.ndim) + best
        refined, _ = self._search(np.maximum(around, earliest), paths, times, metric)
        return np.asarray(np.minimum(least, refined))

    def _search(
        self, waits: np.ndarray, paths: np.ndarray, times: np.ndarray, metric: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The least distance of each path to the solutions with these waits, and its wait."""
        least = np.full(paths.shape[:-1], np.inf)
        best = np.zeros_like(least)
        for wait in waits:
            curve = self.flow_from_zero(times, wait)
            for side in (1, -1):
                distance = _size(paths - side * curve, times, metric)
                best = np.where(distance < least, wait, best)
                least = np.minimum(distance, least)
        return np.asarray(least), np.asarray(best)


class TwoPointScale(ScaleProblem):
    """`ScaleProblem` on the line for the uniform law on `{-1/2, 1/2}`; everything is explicit.

    With two points, `F(u) = u^2/4 - |u|/8 + 1/4`: the data have the scale 1, and `F` is minimal at
    1/4. As long as `u` keeps its sign, SGD is an autoregressive process: its step is
    `|u| <- (1 - alpha/2) |u| + alpha (1/2 - D/n)`, where `D` is by how much the numbers of
    positive points in the two minibatches differ.

    Attributes:
        batch_size: number `n` of points in each minibatch, at least 1.

    >>> problem = TwoPointScale(2)
    >>> problem.best_scale, round(problem.gradient_variance * 64, 9)
    (0.25, 7.0)
    >>> problem.flow(1.0, [0.0, 2.0]).round(4)
    array([1.    , 0.5259])
    >>> problem.flow_from_zero([0.0, 1.0, 3.0], wait=1.0, sign=-1).round(4)
    array([-0.   , -0.   , -0.158])
    """

    @cached_property
    def law(self) -> Measure:
        """Uniform on `{-1/2, 1/2}`."""
        return Discrete(jnp.array([[-0.5], [0.5]]))

    @property
    def variance(self) -> float:
        """1/4."""
        return 0.25

    @cached_property
    def best_scale(self) -> float:
        """`(4/n) sum_k (P(Bin(n, 1/2) >= k) - 1/2)^2`; 1/4 for two points."""
        k = np.arange(1, self.batch_size + 1)
        at_least = betainc(k, self.batch_size - k + 1, 0.5)
        return float(4 * np.mean((at_least - 0.5) ** 2))

    @cached_property
    def gradient_variance(self) -> float:
        """The variance of the sampled gradient, `Var |D| / n^2`, the same at every `u != 0`.

        As `D + n` is binomial with `2n` trials, `E D^2 = n/2` and `E |D| = n C(2n, n) / 4^n`.
        """
        n = int(self.batch_size)
        # A quotient of whole numbers, since either of them alone may exceed every float.
        mean = n * (math.comb(2 * n, n) / 4**n)
        return (n / 2 - mean**2) / n**2

    def fluctuation(self, initial: Values, times: Values) -> np.ndarray:
        """`lim Var u_alpha(s) / alpha` as the step size tends to 0, off the kink: `(..., T)`.

        It solves `P' = -P + gradient_variance` from 0, the same for every start.
        """
        limit = -self.gradient_variance * np.expm1(-float64(times))
        return np.broadcast_to(limit, (*np.shape(initial), *limit.shape)).copy()

    def mean_path(self, step_size: float, initial: Values, times: Values) -> np.ndarray:
        """`E u_alpha(s)` of the piecewise affine interpolation, if no path meets 0: `(..., T)`."""
        step, weight = knots(step_size, times)
        factor = (1 - step_size / 2) ** step * (1 - weight * step_size / 2)
        start = float64(initial)
        gap = np.multiply.outer(np.abs(start) - self.best_scale, factor)
        return np.sign(start)[..., None] * (self.best_scale + gap)

    def mean_square_deviation(self, step_size: float, initial: Values, times: Values) -> np.ndarray:
        """`E |u_alpha(s) - flow(s)|^2` if no path meets 0, exact for every step: `(..., T)`."""
        step, weight = knots(step_size, times)
        rho, limit = 1 - step_size / 2, self.stationary_variance(step_size)
        now, after = (limit * (1 - rho ** (2 * t)) for t in (step, step + 1))
        variance = (1 - weight) ** 2 * now + weight**2 * after
        variance = variance + 2 * weight * (1 - weight) * rho * now
        return (
            self.mean_path(step_size, initial, times) - self.flow(initial, times)
        ) ** 2 + variance

    def bias(self, initial: Values, times: Values) -> np.ndarray:
        """`lim (E u_alpha(s) - flow(s)) / alpha`: `-(s/8) exp(-s/2) (|u_0| - c)`, `(..., T)`."""
        start, times = float64(initial), float64(times)
        gap = np.sign(start) * (np.abs(start) - self.best_scale)
        return np.multiply.outer(gap, -(times / 8) * np.exp(-times / 2))

    def deviation_bound(self, step_size: float, initial: Values, horizon: float) -> np.ndarray:
        """A bound of `E max_s |u_alpha(s) - flow(s)|` up to the horizon, off the kink: `(...)`.

        That of Gronwall and Doob, as `TranslationProblem.deviation_bound`, with `L = 1/2`.
        """
        gap = np.abs(np.abs(float64(initial)) - self.best_scale)
        steepest = np.sqrt(gap**2 + self.stationary_variance(step_size)) / 2
        noise = np.sqrt(self.gradient_variance)
        return doob_gronwall(0.5, noise, steepest, step_size, horizon)

    def stationary_variance(self, step_size: float) -> float:
        """The variance of `|u|` in the long run, `alpha gradient_variance / (1 - alpha/4)`.

        Exact if no path meets 0, which becomes rare, like `exp(-const / alpha)`, as steps shrink.
        """
        return step_size * self.gradient_variance / (1 - step_size / 4)


class UniformScale(ScaleProblem):
    """`ScaleProblem` on the line for the uniform law on `[-1, 1]`; the best scale is `(n-1)/(n+1)`.

    Attributes:
        batch_size: number `n` of points in each minibatch, at least 1.

    >>> UniformScale(9).best_scale
    0.8
    """

    @cached_property
    def law(self) -> Measure:
        """Uniform on `[-1, 1]`."""
        return cube(1)

    @property
    def variance(self) -> float:
        """1/3."""
        return 1 / 3

    @property
    def best_scale(self) -> float:
        """`(n - 1) / (n + 1)`."""
        return (self.batch_size - 1) / (self.batch_size + 1)


@dataclass(frozen=True, eq=False)
class GaussianScale(ScaleProblem):
    """`ScaleProblem` for `N(0, std^2 I)` in any dimension; the support is not compact.

    Attributes:
        batch_size: number `n` of points in each minibatch, at least 1.
        dim: dimension of the points; `F` does not depend on it.
        std: standard deviation of a coordinate.

    >>> round(GaussianScale(2).best_scale * 3.14159265, 6)
    1.0
    """

    dim: int = 1
    std: float = 1.0

    @cached_property
    def law(self) -> Measure:
        """`N(0, std^2 I)`."""
        return gaussian(self.dim, self.std)

    @property
    def variance(self) -> float:
        """`std^2`."""
        return self.std**2

    @cached_property
    def best_scale(self) -> float:
        """`gaussian_shrinkage(n)`: the mean square of expected Gaussian order statistics."""
        return gaussian_shrinkage(self.batch_size)


def gaussian_shrinkage(n: int) -> float:
    """`c_n = (1/n) sum_k (E g_(k:n))^2` for `n` independent standard Gaussian numbers.

    By how much minibatches of size `n` shrink the best scale of a Gaussian generator: `c_1 = 0`,
    `c_2 = 1/pi`, and `c_n` tends to 1.

    Args:
        n: number of points, at least 1.

    Returns:
        A float, to about 1e-12.

    >>> round(gaussian_shrinkage(2), 6)
    0.31831
    """
    # E X = int (1/2 - P(X <= g)) dg over [-m, m], up to the tails. The integrand is analytic, and
    # flat at both ends: the trapezoidal rule is accurate to rounding.
    g = np.linspace(-12.0, 12.0, 2001)
    k = np.arange(1, n + 1)[:, None]
    means = np.trapezoid(0.5 - betainc(k, n - k + 1, ndtr(g)), g, axis=1)
    return float(np.mean(means**2))


def scaled_points(params: Array, x: Array) -> Array:
    """The generator `T(u, x) = u x`, for a scalar `u`."""
    return params * x


def _size(difference: np.ndarray, times: np.ndarray, metric: str) -> np.ndarray:
    """The sup norm over the last axis, or the metric of convergence on compact sets."""
    largest = np.maximum.accumulate(np.abs(difference), axis=-1)
    if metric == "sup":
        return np.asarray(largest[..., -1])
    whole = int(np.ceil(times[-1]))
    last = np.searchsorted(times, np.arange(1, whole + 1) + 1e-9) - 1
    weights = 0.5 ** np.arange(1, whole + 1)
    weights[-1] *= 2
    return np.asarray(np.minimum(largest[..., last], 1.0) @ weights)
