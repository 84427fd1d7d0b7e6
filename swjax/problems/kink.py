"""A generator with a kink that attracts: order 1 instead of 1/2."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array
from swjax.losses import SlicedLoss
from swjax.measures import Discrete
from swjax.problems._values import Values, float64


@dataclass(frozen=True, eq=False)
class AttractingKink:
    """Fit `T(u, x) = |u| e_1` to the point `-e_1`, with minibatches of one point.

    The population loss `F(u) = (1 + |u|)^2 / d` has a kink at its minimizer 0, where the Clarke
    subdifferential is `[-2/d, 2/d]`. The flow reaches 0 in finite time and stays there. SGD crosses
    it over and over, `|u|` shrinking by `2 alpha theta_1^2 (1 + |u|)` until it passes 0, so that
    it stays within `O(alpha)`, although the gradients never become small.

    Attributes:
        dim: dimension `d` of the data.
        num_directions: number `L` of directions per step.
        noise_std: level `a` of the Gaussian noise of noised SGD.

    Raises:
        ValueError: if a count is below 1, or the noise level negative.

    >>> problem = AttractingKink(2)
    >>> round(problem.hitting_time(1.0), 4)
    0.6931
    >>> problem.flow(1.0, [0.0, 0.5, 1.0]).round(4)
    array([1.    , 0.2131, 0.    ])
    >>> problem.stationary_mean_distance(0.01)
    0.0075
    """

    dim: int
    num_directions: int = 1
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        if self.dim < 1 or self.num_directions < 1 or not self.noise_std >= 0:
            raise ValueError(
                "dim and num_directions must be at least 1 and noise_std at least 0; got "
                f"{self.dim}, {self.num_directions} and {self.noise_std}."
            )

    @property
    def loss(self) -> SlicedLoss:
        """The sampled loss; its parameter is a scalar."""
        first = jnp.zeros((1, self.dim)).at[0, 0].set(1)
        return SlicedLoss(
            _on_the_first_axis,
            Discrete(jnp.zeros_like(first)),
            Discrete(-first),
            batch_size=1,
            num_directions=self.num_directions,
        )

    def population_loss(self, params: ArrayLike) -> Float[Array, "..."]:
        """`F(u) = (1 + |u|)^2 / d`.

        Raises:
            TypeError: if `params` is not of floating point type.
        """
        return (1 + jnp.abs(as_real_array("params", params))) ** 2 / self.dim

    def hitting_time(self, initial: float | int) -> float:
        """When the flow reaches 0: `(d/2) log(1 + |u_0|)`."""
        return self.dim / 2 * float(np.log1p(abs(initial)))

    def flow(self, initial: float | int, times: Values) -> np.ndarray:
        """The solution of the differential inclusion, `(T,)`; it stays at 0 once there."""
        decay = np.exp(-2 * float64(times) / self.dim)
        return np.sign(initial) * np.maximum((1 + abs(initial)) * decay - 1, 0.0)

    def stationary_mean_distance(self, step_size: float) -> float:
        """`E |u|` in the long run, to first order in the step: `3 alpha / (d + 2)` for `L = 1`.

        Near 0 a step is `u - alpha sign(u) xi + alpha a eps` with `xi = 2 mean_l theta_{l,1}^2`.
        That the mean square stays the same gives `E |u| = alpha (E xi^2 + a^2) / (2 E xi)`; without
        noise it is the mean overshoot of a renewal process.
        """
        d, num = self.dim, self.num_directions
        without = 3 / (num * (d + 2)) + (1 - 1 / num) / d
        return step_size * (without + d * self.noise_std**2 / 4)


def _on_the_first_axis(params: Array, x: Array) -> Array:
    return jnp.zeros_like(x).at[:, 0].set(jnp.abs(params))
