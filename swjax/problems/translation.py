"""Translations: the problem in which everything about SGD is known in closed form."""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array
from swjax.losses import SlicedLoss
from swjax.measures import Measure, translate
from swjax.problems._values import Values, doob_gronwall, float64, knots


@dataclass(frozen=True, eq=False)
class TranslationProblem:
    """Learn the shift `u` of `T(u, x) = x + u` by SGD on the sliced-Wasserstein loss.

    The order of the projected points drops out of the gradient. With `n` points, `L` directions,
    `c = E y - E x`, the error `e = u - c` and `M = (1/L) sum_l theta_l theta_l^T`,

        phi = 2 M (e + zeta),   zeta = (mean X - E x) - (mean Y - E y),   E zeta zeta^T = Z,

    with `Z = (Cov x + Cov y) / n`, so that one step `u - alpha phi + alpha a eps` is a linear map
    of `e`, whose moments follow from `E M = I/d` and `E M^2 = kappa I` with
    `kappa = 1/(L d) + (1 - 1/L)/d^2`. For data that are a shifted copy of the source, as in
    `TranslationProblem.shifted`, the population loss is minimal where the laws agree.

    All figures are computed in double precision with NumPy. `initial` is the start `(d,)`, or
    starts `(..., d)`, one for each repetition; the leading axes come first in the results.

    Attributes:
        source: law of the latent points, with known mean and covariance.
        target: law of the data, in the same dimension.
        batch_size: number `n` of points in each minibatch.
        num_directions: number `L` of independent uniform directions per step.
        noise_std: level `a` of the Gaussian noise of noised SGD.

    Raises:
        ValueError: if the dimensions differ, or a number is out of its range.

    >>> import jax.numpy as jnp
    >>> import swjax
    >>> problem = TranslationProblem.shifted(swjax.measures.ball(2), [1.0, 0.0], batch_size=32)
    >>> problem.flow([3.0, 0.0], [0.0, 1.0]).round(3)
    array([[3.   , 0.   ],
           [1.736, 0.   ]])
    >>> round(float(problem.mean_square_deviation(0.1, [3.0, 0.0], [1.0])[0]), 4)
    0.068
    """

    source: Measure
    target: Measure
    batch_size: int
    num_directions: int = 1
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        if self.source.dim != self.target.dim:
            raise ValueError(
                f"source and target must have one dimension; got {self.source.dim} and "
                f"{self.target.dim}."
            )
        if self.batch_size < 1 or self.num_directions < 1 or not self.noise_std >= 0:
            raise ValueError(
                "batch_size and num_directions must be at least 1 and noise_std at least 0; got "
                f"{self.batch_size}, {self.num_directions} and {self.noise_std}."
            )

    @classmethod
    def shifted(
        cls,
        source: Measure,
        shift: Values,
        *,
        batch_size: int,
        num_directions: int = 1,
        noise_std: float = 0.0,
    ) -> "TranslationProblem":
        """The problem whose target is the source moved by `shift`, a vector `(d,)`."""
        target = translate(source, jnp.asarray(shift, float))
        return cls(source, target, batch_size, num_directions, noise_std)

    @property
    def dim(self) -> int:
        """Dimension `d` of the points, and number of parameters."""
        return self.source.dim

    @property
    def loss(self) -> SlicedLoss:
        """The sampled loss; its parameters are an array `(d,)`."""
        return SlicedLoss(
            shifted_points,
            self.source,
            self.target,
            batch_size=self.batch_size,
            num_directions=self.num_directions,
        )

    @cached_property
    def minimizer(self) -> np.ndarray:
        """The best shift `c = E y - E x`, `(d,)`."""
        with jax.ensure_compile_time_eval():
            return float64(self.target.mean) - float64(self.source.mean)

    def excess_loss(self, params: ArrayLike) -> Float[Array, "..."]:
        """`F(u) - F(c) = |u - c|^2 / d`, for `params` of shape `(..., d)`.

        Raises:
            TypeError: if `params` is not of floating point type.
        """
        params = as_real_array("params", params)
        error = params - jnp.asarray(self.minimizer, params.dtype)
        return jnp.sum(error**2, axis=-1) / self.dim

    def flow(self, initial: Values, times: Values) -> np.ndarray:
        """The gradient flow `c + exp(-2s/d) (u_0 - c)` at the given times, `(..., T, d)`."""
        decay = np.exp(-2 * float64(times) / self.dim)[:, None]
        return self.minimizer + decay * self._error(initial)[..., None, :]

    @property
    def largest_step(self) -> float:
        """SGD is stable in mean square for steps below `1 / (d kappa)`; 1 for one direction."""
        return 1 / (self.dim * self._kappa)

    @property
    def step_bound_of_the_paper(self) -> float:
        """`alpha_0 = 1 / (2 d (d^2 + 2 R))` of Tanguy's Proposition 4, `R` the target's radius.

        Below it, the steps map laws with a density to laws with a density. It is sufficient only.
        """
        return 1 / (2 * self.dim * (self.dim**2 + 2 * self.target.radius))

    def mean_error(self, step_size: float, initial: Values, steps: Values) -> np.ndarray:
        """`E u^t - c = (1 - 2 alpha / d)^t (u_0 - c)` after `t` steps, `(..., *steps.shape, d)`."""
        error = self._error(initial)
        factor = (1 - 2 * step_size / self.dim) ** float64(steps)
        return factor[..., None] * np.expand_dims(error, tuple(range(-factor.ndim - 1, -1)))

    def mean_square_error(self, step_size: float, initial: Values, steps: Values) -> np.ndarray:
        """`E |u^t - c|^2` after `t` steps, exact: `(..., *steps.shape)`.

        It obeys `m_{t+1} = q m_t + v`, with `q = 1 - 4 alpha/d + 4 alpha^2 kappa` and
        `v = 4 alpha^2 kappa trace(Z) + alpha^2 a^2 d`.
        """
        q, v = self._recursion(step_size)
        power = q ** float64(steps)
        total = float64(steps) if q == 1 else (1 - power) / (1 - q)
        start = np.sum(self._error(initial) ** 2, axis=-1)
        return np.asarray(np.multiply.outer(start, power) + v * total)

    def stationary_mean_square_error(self, step_size: float) -> float:
        """The limit of `E |u^t - c|^2`; `alpha (trace Z + a^2 d^2/4) / (1 - alpha)` for `L = 1`.

        Raises:
            ValueError: if the step size is not below `largest_step`, where there is no limit.
        """
        if not 0 < step_size < self.largest_step:
            raise ValueError(
                f"step_size must be between 0 and {self.largest_step:.6g}; got {step_size}."
            )
        q, v = self._recursion(step_size)
        return float(v / (1 - q))

    def mean_path(self, step_size: float, initial: Values, times: Values) -> np.ndarray:
        """`E u_alpha(s)` of the piecewise affine interpolation, exact: `(..., T, d)`."""
        step, weight = knots(step_size, times)
        factor = (1 - 2 * step_size / self.dim) ** step * (1 - 2 * weight * step_size / self.dim)
        return self.minimizer + factor[:, None] * self._error(initial)[..., None, :]

    def mean_square_deviation(self, step_size: float, initial: Values, times: Values) -> np.ndarray:
        """`E |u_alpha(s) - flow(s)|^2`, exact for every step size and time: `(..., T)`.

        Its quotient by the step size tends to `fluctuation` as the step size tends to 0.
        """
        step, weight = knots(step_size, times)
        rho = 1 - 2 * step_size / self.dim
        start = np.sum(self._error(initial) ** 2, axis=-1)[..., None]
        now = self.mean_square_error(step_size, initial, step)
        after = self.mean_square_error(step_size, initial, step + 1)
        flow = np.exp(-2 * float64(times) / self.dim)
        mean = rho**step * (1 - weight + weight * rho)
        square = (1 - weight) ** 2 * now + weight**2 * after + 2 * weight * (1 - weight) * rho * now
        return square - 2 * mean * flow * start + flow**2 * start

    def fluctuation(self, initial: Values, times: Values) -> np.ndarray:
        """`P(s) = lim E |u_alpha(s) - flow(s)|^2 / alpha` as the step size tends to 0: `(..., T)`.

        It solves `P' = -(4/d) P + trace Cov(phi) + a^2 d` along the flow, from `P(0) = 0`.
        """
        d, times = self.dim, float64(times)
        decay = np.exp(-4 * times / d)
        start = np.sum(self._error(initial) ** 2, axis=-1)
        spread = 4 * (self._kappa - 1 / d**2) * np.multiply.outer(start, times * decay)
        constant = 4 * self._kappa * self._trace_z + self.noise_std**2 * d
        return spread - constant * (d / 4) * np.expm1(-4 * times / d)

    def bias(self, initial: Values, times: Values) -> np.ndarray:
        """`lim (E u_alpha(s) - flow(s)) / alpha = -(2s/d^2) exp(-2s/d) e_0`: `(..., T, d)`."""
        times = float64(times)
        factor = -(2 * times / self.dim**2) * np.exp(-2 * times / self.dim)
        return factor[:, None] * self._error(initial)[..., None, :]

    def deviation_bound(self, step_size: float, initial: Values, horizon: float) -> np.ndarray:
        """A bound of `E max_s |u_alpha(s) - flow(s)|` up to the horizon `T`: `(...)`.

        With the Lipschitz constant `L = 2/d` of the gradient, `sigma^2` the largest of
        `E trace Cov(phi)` over the steps and `G` that of `(E |grad F|^2)^(1/2)`,

            exp(L T) (2 sigma sqrt(alpha T) + alpha L T (G + sigma) / 2),

        by Doob's inequality for the martingale of the sampling errors and Gronwall's for the rest.
        """
        d, steps = self.dim, np.arange(np.ceil(horizon / step_size - 1e-9))
        largest = self.mean_square_error(step_size, initial, steps).max(axis=-1)
        constant = 4 * self._kappa * self._trace_z + self.noise_std**2 * d
        noise = np.sqrt(4 * (self._kappa - 1 / d**2) * largest + constant)
        return doob_gronwall(2 / d, noise, 2 / d * np.sqrt(largest), step_size, horizon)

    @property
    def _kappa(self) -> float:
        d, num = self.dim, self.num_directions
        return 1 / (num * d) + (1 - 1 / num) / d**2

    @cached_property
    def batch_mean_covariance(self) -> np.ndarray:
        """`Z = (Cov x + Cov y) / n`, the covariance of `mean X - mean Y`: `(d, d)`."""
        with jax.ensure_compile_time_eval():
            total = float64(self.source.covariance) + float64(self.target.covariance)
        return total / self.batch_size

    @property
    def _trace_z(self) -> float:
        return float(np.trace(self.batch_mean_covariance))

    def _recursion(self, step_size: float) -> tuple[float, float]:
        q = 1 - 4 * step_size / self.dim + 4 * step_size**2 * self._kappa
        noise = 4 * self._kappa * self._trace_z + self.noise_std**2 * self.dim
        return q, step_size**2 * noise

    def _error(self, initial: Values) -> np.ndarray:
        return float64(initial) - self.minimizer


def shifted_points(params: Array, x: Array) -> Array:
    """The generator `T(u, x) = x + u`, for an array `u` of shape `(d,)`."""
    return x + params[None]
