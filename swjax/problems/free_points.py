"""Two points that move freely, against two others: minima, saddles and a ridge in closed form."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array
from swjax.exact import sw2_sq_two_points
from swjax.problems._values import Values, float64


@dataclass(frozen=True, eq=False)
class TwoFreePoints:
    """The energy `E(X) = SW_2^2(X, Y)` of two points in `R^d` against two given ones.

    With `a = x_1 - x_2`, `b = y_1 - y_2` its critical points are

    - the minima `X = Y`, in either order;
    - the saddles: equal means, `a` orthogonal to `b`, `|a| = (2/pi) |b|`. In the plane there are
      two, in dimension d a sphere of dimension d - 2. The energy is
      `|b|^2 (1 - 4/pi^2) / (4 d)`; along the flow `X' = -grad E` a deviation of `a` in the
      direction of `b` grows like `e^{t/d}`, and one along `a` decays like `e^{-t/d}`. For two
      points this is `swjax.sliced_flow`, the flow of `E / 2` among measures, and
      `swjax.gradient_flow` of `E` itself;
    - the ridge `a = 0`: Clarke-critical at equal means, with ways down.

    Attributes:
        target: the two points Y, shape (2, d), distinct.

    Raises:
        ValueError: if the target is not two distinct points.

    >>> problem = TwoFreePoints(np.array([[0.0, 1.0], [0.0, -1.0]]))
    >>> problem.saddle([1.0, 0.0]).round(4)  # (2 / pi, 0) and its opposite
    array([[ 0.6366,  0.    ],
           [-0.6366,  0.    ]])
    >>> round(problem.saddle_value, 5)
    0.29736
    """

    target: np.ndarray

    def __post_init__(self) -> None:
        y = float64(self.target)
        if y.ndim != 2 or y.shape[0] != 2 or y.shape[1] < 1 or np.array_equal(y[0], y[1]):
            raise ValueError(f"target must be two distinct points, shape (2, d); got {y.tolist()}.")
        object.__setattr__(self, "target", y)

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.target.shape[1]

    @property
    def difference(self) -> np.ndarray:
        """`b = y_1 - y_2`, shape (d,)."""
        return self.target[0] - self.target[1]

    def population_loss(self, x: ArrayLike) -> Float[Array, ""]:
        """`E(X)`, exact in any dimension, for X of shape (2, d).

        Raises:
            TypeError: if `x` is not of floating point type.
        """
        x = as_real_array("x", x)
        return sw2_sq_two_points(x, jnp.asarray(self.target, x.dtype))

    @property
    def minimizers(self) -> np.ndarray:
        """Both orders of the target, shape (2, 2, d)."""
        return np.stack([self.target, self.target[::-1]])

    def saddle(self, along: Values) -> np.ndarray:
        """The saddle whose difference points along the part of a vector orthogonal to `b`, (2, d).

        Raises:
            ValueError: if the vector is not of shape (d,), or a multiple of `b`.
        """
        vector, b = float64(along), self.difference
        if vector.shape != b.shape:
            raise ValueError(f"along must be a vector of shape {b.shape}, got {vector.shape}.")
        across = vector - (vector @ b) / (b @ b) * b
        length = np.linalg.norm(across)
        if not length > 1e-9 * np.linalg.norm(vector):
            raise ValueError(
                f"along = {vector.tolist()} has no part orthogonal to y_1 - y_2 = {b.tolist()}."
            )
        half = np.linalg.norm(b) / np.pi * across / length
        return self.target.mean(axis=0) + np.stack([half, -half])

    @property
    def saddle_value(self) -> float:
        """`E` at the saddles: `|b|^2 (1 - 4/pi^2) / (4 d)`."""
        b = self.difference
        return float(b @ b * (1 - 4 / np.pi**2) / (4 * self.dim))

    @property
    def escape_rate(self) -> float:
        """The rate `1/d` at which the flow `X' = -grad E` leaves a saddle."""
        return 1 / self.dim
