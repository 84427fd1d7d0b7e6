"""A translation with its best shift outside the ball: the constraint is active."""

from dataclasses import dataclass

import numpy as np
from jax.typing import ArrayLike

from swjax.problems._values import Values, float64
from swjax.problems.translation import TranslationProblem


@dataclass(frozen=True, eq=False)
class BallConstraint:
    """A translation whose best shift `c` lies outside the ball to which the shift is confined.

    The only point of the ball that satisfies the first-order conditions is `u* = r c / |c|`. Noised
    projected SGD settles around it: along the sphere at distance of order `sqrt(alpha)`, because
    `F` restricted to the sphere has curvature there, but within `O(alpha)` of the sphere itself,
    because the gradient presses the iterates against it.

    Attributes:
        problem: the translation, with its noise level.
        radius: radius `r` of the ball around 0, smaller than `|c|`.

    Raises:
        ValueError: if the ball contains `c`, or the radius is not positive.

    >>> import swjax
    >>> free = TranslationProblem.shifted(swjax.measures.ball(2), [2.0, 0.0], batch_size=16)
    >>> problem = BallConstraint(free, radius=1.0)
    >>> problem.critical_point
    array([1., 0.])
    >>> problem.flow([-0.5, 0.0], [0.0, 0.2, 5.0]).round(3)
    array([[-0.5  ,  0.   ],
           [-0.047,  0.   ],
           [ 1.   ,  0.   ]])
    """

    problem: TranslationProblem
    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius must be positive, got {self.radius}.")
        if self._reach <= self.radius:
            raise ValueError(
                f"The best shift has norm {self._reach:.6g} and is inside the ball of radius "
                f"{self.radius:.6g}: the constraint is not active. Take a smaller radius."
            )

    @property
    def critical_point(self) -> np.ndarray:
        """`u* = r c / |c|`, `(d,)`: the critical set of Theorem 2 has this one element."""
        return self.radius * self.problem.minimizer / self._reach

    def tangential_mean_square(self, step_size: float) -> float:
        """`E |tangential part of u - u*|^2` in the long run, to first order in the step size.

        In each direction tangent to the sphere at `u*` the iterates are an autoregressive process
        with rate `2 |c| / (d r)` and the variance of `phi` in that direction; over all of them

            alpha (r d / (4 |c|)) trace_T Var,
            Var = 4 ( ((|c|-r)^2 I + trace(Z) I + 2 Z) / (L d (d+2)) + (1 - 1/L) Z / d^2 ) + a^2 I,

        with `Z` the covariance of `mean X - mean Y` and `trace_T` the trace over tangents.
        """
        problem, d, num = self.problem, self.problem.dim, self.problem.num_directions
        axis = problem.minimizer / self._reach
        z = problem.batch_mean_covariance
        tangential = np.trace(z) - axis @ z @ axis
        gap = (self._reach - self.radius) ** 2
        one = ((d - 1) * (gap + np.trace(z)) + 2 * tangential) / (num * d * (d + 2))
        several = (1 - 1 / num) * tangential / d**2
        variance = 4 * (one + several) + (d - 1) * problem.noise_std**2
        return float(step_size * self.radius * d / (4 * self._reach) * variance)

    def tangential_part(self, params: ArrayLike) -> np.ndarray:
        """The part of `u - u*` tangent to the sphere at `u*`, for `(..., d)`."""
        axis = self.problem.minimizer / self._reach
        difference = float64(params) - self.critical_point
        return difference - (difference @ axis)[..., None] * axis

    def flow(self, initial: Values, times: Values) -> np.ndarray:
        """The gradient flow held inside the ball, in closed form: `(T, d)` for a start `(d,)`.

        Inside, the flow runs straight to `c`; from the moment at which it meets the sphere, its
        angle `psi` with `c` obeys `tan(psi/2) ~ exp(-2 |c| s / (d r))`.

        Raises:
            ValueError: if the start is outside the ball.
        """
        start, times = float64(initial), float64(times)
        radius, center, rate = self.radius, self.problem.minimizer, 2 / self.problem.dim
        if np.linalg.norm(start) > radius * (1 + 1e-6):
            raise ValueError(
                f"The start has norm {np.linalg.norm(start):.6g} and is outside the ball of radius "
                f"{radius:.6g}."
            )
        error = start - center
        square, product = error @ error, error @ center
        gap = self._reach**2 - radius**2
        root = np.sqrt(max(product**2 - square * gap, 0.0))
        contact = max(0.0, -np.log(gap / (root - product)) / rate)
        hit = center + error * np.exp(-rate * contact)
        axis = center / self._reach
        side = hit - (hit @ axis) * axis
        angle = np.arctan2(np.linalg.norm(side), hit @ axis)
        side /= max(np.linalg.norm(side), np.finfo(float).tiny)
        later = np.maximum(times - contact, 0)
        turned = 2 * np.arctan(np.tan(angle / 2) * np.exp(-rate * self._reach / radius * later))
        inside = center + np.exp(-rate * times)[:, None] * error
        sphere = np.cos(turned)[:, None] * axis + np.sin(turned)[:, None] * side
        return np.where((times <= contact)[:, None], inside, radius * sphere)

    @property
    def _reach(self) -> float:
        return float(np.linalg.norm(self.problem.minimizer))
