"""What the closed forms take as numbers: they compute in double precision, with NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

Values = ArrayLike | Sequence[Any]


def float64(values: Any) -> np.ndarray:
    """The values as a double-precision NumPy array."""
    return np.asarray(values, np.float64)
