"""Points on a line that feel no force out of it: unstable critical points of every size."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array
from swjax.exact import sw2_sq_exact_2d
from swjax.plane import arcs, crossing_angles, integrate_over_arcs, middle_directions
from swjax.problems._values import float64


@dataclass(frozen=True, eq=False)
class CollinearPoints:
    """A critical point of `E(X) = SW_2^2(X, Y)` in the plane whose points lie on the first axis.

    For a target symmetric about that axis and X on it, the vertical part of the gradient vanishes
    by symmetry. With `q_k(f)` the k-th smallest of the projections of Y on `(cos f, sin f)`,

        x_k = (2/pi) int_{-pi/2}^{pi/2} cos(f) q_k(f) df

    makes the horizontal part vanish too. For a law with the same quantile function `Q` along every
    direction, and many points, this is the segment `(4/pi) Q`. Moving the points up and down in
    turn lowers `E`: the critical point is no minimum (Vauthier, Merigot and Korba 2025,
    "Properties of Wasserstein gradient flows for the sliced-Wasserstein distance").

    Attributes:
        target: the points Y, shape (n, 2), symmetric about the first axis.

    Raises:
        ValueError: if the target is not of shape (n, 2), n >= 2, or not symmetric.

    >>> problem = CollinearPoints(np.array([[0.0, 1.0], [0.0, -1.0]]))
    >>> problem.points.round(4)  # the saddle of two free points
    array([[-0.6366,  0.    ],
           [ 0.6366,  0.    ]])
    >>> problem.perturbed(0.1).round(4)
    array([[-0.6366,  0.1   ],
           [ 0.6366, -0.1   ]])
    """

    target: np.ndarray

    def __post_init__(self) -> None:
        y = float64(self.target)
        if y.ndim != 2 or y.shape[1] != 2 or y.shape[0] < 2:
            raise ValueError(f"target must have shape (n, 2) with n >= 2, got {y.shape}.")
        mirrored = y * np.array([1.0, -1.0])
        if not np.array_equal(_in_order(y), _in_order(mirrored)):
            raise ValueError(
                "target must be symmetric about the first axis: with each point (a, b) there must "
                "be (a, -b), as often. Use np.concatenate([half, half * [1, -1]])."
            )
        object.__setattr__(self, "target", y)

    @property
    def points(self) -> np.ndarray:
        """The critical point, shape (n, 2), from left to right; exact up to rounding."""
        y = self.target
        # Turned by a right angle, the half circle to be integrated over is that of the arcs.
        turned = np.stack([-y[:, 1], y[:, 0]], axis=1)
        i, j = np.triu_indices(len(y), 1)
        low, high = arcs(crossing_angles(turned[i] - turned[j], np), np)
        ranked = turned[np.argsort(middle_directions(low, high, np) @ turned.T, axis=1)]
        moments = integrate_over_arcs(low[:, None], high[:, None], ranked, np).sum(axis=0)
        return np.stack([2 / np.pi * moments[:, 1], np.zeros(len(y))], axis=1)

    def perturbed(self, height: float | int) -> np.ndarray:
        """The critical point, its points moved up and down in turn by `height`, shape (n, 2)."""
        points = self.points
        points[::2, 1], points[1::2, 1] = height, -height
        return points

    def population_loss(self, x: ArrayLike) -> Float[Array, ""]:
        """`E(X)`, exact, for X of shape (n, 2).

        Raises:
            TypeError: if `x` is not of floating point type.
        """
        x = as_real_array("x", x)
        return sw2_sq_exact_2d(x, jnp.asarray(self.target, x.dtype))


def _in_order(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T)]
