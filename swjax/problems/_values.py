"""What the closed forms share: they compute in double precision, with NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

Values = ArrayLike | Sequence[Any]


def float64(values: Any) -> np.ndarray:
    """The values as a double-precision NumPy array."""
    return np.asarray(values, np.float64)


def knots(step_size: float, times: Values) -> tuple[np.ndarray, np.ndarray]:
    """The number of steps made before each time, and the share of the next one."""
    position = float64(times) / step_size
    step = np.floor(position + 1e-9)
    return step, np.maximum(position - step, 0.0)


def doob_gronwall(
    lipschitz: float, noise: Values, slope: Values, step_size: float, horizon: float
) -> np.ndarray:
    """`exp(L T) (2 sigma sqrt(alpha T) + alpha L T (G + sigma) / 2)`."""
    noise, slope = float64(noise), float64(slope)
    martingale = 2 * noise * np.sqrt(step_size * horizon)
    discretization = step_size * lipschitz * horizon * (slope + noise) / 2
    return np.asarray(np.exp(lipschitz * horizon) * (martingale + discretization))
