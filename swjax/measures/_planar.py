"""The toy data sets of the plane, as laws with compact support and exact moments."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from swjax._checks import as_count
from swjax._trees import as_pytree
from swjax._types import AnyKey
from swjax.measures._base import Measure, at_least_zero
from swjax.measures._solids import Shell

_ROLL_START, _ROLL_END = 1.5 * np.pi, 4.5 * np.pi


@dataclass(frozen=True, eq=False)
class _Noisy(Measure):
    """A curve of the plane plus independent noise, uniform in the disk of radius `noise`."""

    noise: float

    @property
    def dim(self) -> int:
        return 2

    def _curve(self, key: AnyKey, n: int) -> Float[Array, "n 2"]:
        raise NotImplementedError

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n 2"]:
        curve_key, noise_key = jax.random.split(key)
        points = self._curve(curve_key, n)
        if self.noise == 0:
            return points
        return points + Shell(2, 0.0, self.noise).sample(noise_key, n)


def _farthest_on_arc(middle: np.ndarray, low: float, high: float, center: np.ndarray) -> float:
    """The largest distance from a point to an arc of the unit circle around `middle`."""
    away = middle - center
    angle = np.arctan2(away[1], away[0]) % (2 * np.pi)
    if low <= angle <= high:
        return float(np.linalg.norm(away)) + 1
    ends = middle + np.array([[np.cos(t), np.sin(t)] for t in (low, high)])
    return float(np.linalg.norm(ends - center, axis=1).max())


@as_pytree()
@dataclass(frozen=True, eq=False)
class Moons(_Noisy):
    """Two interleaved half circles with noise; made by `moons`.

    Attributes:
        noise: radius of the disk of the noise.
    """

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        center = np.asarray(center, np.float64)
        upper = _farthest_on_arc(np.zeros(2), 0.0, np.pi, center)
        lower = _farthest_on_arc(np.array([1.0, 0.5]), np.pi, 2 * np.pi, center)
        return max(upper, lower) + self.noise

    @property
    def mean(self) -> Float[Array, " 2"]:  # noqa: D102
        return jnp.array([0.5, 0.25])

    @property
    def covariance(self) -> Float[Array, "2 2"]:  # noqa: D102
        gap = np.array([1.0, 0.5 - 4 / np.pi])
        within = np.diag([0.5, 0.5 - 4 / np.pi**2])
        return jnp.asarray(within + np.outer(gap, gap) / 4 + self.noise**2 / 4 * np.eye(2), float)

    def _curve(self, key: AnyKey, n: int) -> Float[Array, "n 2"]:
        angle_key, side_key = jax.random.split(key)
        angle = jax.random.uniform(angle_key, (n,), maxval=jnp.pi)
        lower = jax.random.bernoulli(side_key, shape=(n,))
        x, y = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([jnp.where(lower, 1 - x, x), jnp.where(lower, 0.5 - y, y)], axis=1)


def moons(noise: float | int = 0.1) -> Measure:
    """Two interleaved half circles of radius 1, in the coordinates of scikit-learn's `make_moons`.

    The upper one is `(cos t, sin t)`, the lower one `(1 - cos t, 1/2 - sin t)`, `t` uniform in
    `[0, pi]`, each with probability 1/2. The noise is uniform in a disk, so the support is compact.

    Args:
        noise: radius of the disk of the noise, at least 0.

    Returns:
        A measure in dimension 2.

    Raises:
        ValueError: if `noise` is negative, infinite or NaN.
        TypeError: if `noise` is not a number.

    >>> moons().mean.tolist()
    [0.5, 0.25]
    """
    return Moons(at_least_zero("noise", noise))


@as_pytree()
@dataclass(frozen=True, eq=False)
class SwissRoll(_Noisy):
    """A spiral of one and a half turns with noise; made by `swiss_roll`.

    Attributes:
        noise: radius of the disk of the noise.
    """

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        # On a grid this fine the largest distance to the curve is exact to 1e-8.
        angle = np.linspace(_ROLL_START, _ROLL_END, 100_001)
        curve = angle * np.stack([np.cos(angle), np.sin(angle)]) / _ROLL_END
        offsets = curve - np.asarray(center, np.float64)[:, None]
        return float(np.linalg.norm(offsets, axis=0).max()) + self.noise

    @property
    def _raw_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """First and second moments of the curve, from antiderivatives at the ends."""

        def antiderivatives(t: float) -> np.ndarray:
            s, c, s2, c2 = np.sin(t), np.cos(t), np.sin(2 * t), np.cos(2 * t)
            wave = (t**2 / 4 - 1 / 8) * s2 + t * c2 / 4
            mixed = -(t**2) * c2 / 4 + t * s2 / 4 + c2 / 8
            return np.array([t * s + c, s - t * c, t**3 / 6 + wave, mixed, t**3 / 6 - wave])

        span = _ROLL_END - _ROLL_START
        values = (antiderivatives(_ROLL_END) - antiderivatives(_ROLL_START)) / span
        second = np.array([[values[2], values[3]], [values[3], values[4]]]) / _ROLL_END**2
        return values[:2] / _ROLL_END, second

    @property
    def mean(self) -> Float[Array, " 2"]:  # noqa: D102
        return jnp.asarray(self._raw_moments[0], float)

    @property
    def covariance(self) -> Float[Array, "2 2"]:  # noqa: D102
        first, second = self._raw_moments
        return jnp.asarray(second - np.outer(first, first) + self.noise**2 / 4 * np.eye(2), float)

    def _curve(self, key: AnyKey, n: int) -> Float[Array, "n 2"]:
        angle = jax.random.uniform(key, (n, 1), minval=_ROLL_START, maxval=_ROLL_END)
        return angle * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1) / _ROLL_END


def swiss_roll(noise: float | int = 0.05) -> Measure:
    """A spiral: `t (cos t, sin t) / (4.5 pi)` with `t` uniform in `[1.5 pi, 4.5 pi]`.

    These are the first and the last coordinate of scikit-learn's `make_swiss_roll`, scaled so that
    the curve ends on the unit circle. The noise is uniform in a disk.

    Args:
        noise: radius of the disk of the noise, at least 0.

    Returns:
        A measure in dimension 2.

    Raises:
        ValueError: if `noise` is negative, infinite or NaN.
        TypeError: if `noise` is not a number.

    >>> swiss_roll(noise=0.25).radius
    1.25
    """
    return SwissRoll(at_least_zero("noise", noise))


@as_pytree()
@dataclass(frozen=True, eq=False)
class Checkerboard(Measure):
    """The uniform law on the dark squares of a board; made by `checkerboard`.

    Attributes:
        cells: number of squares along an edge.
    """

    cells: int

    @property
    def dim(self) -> int:  # noqa: D102
        return 2

    @property
    def _centers(self) -> np.ndarray:
        """Centers of the dark squares, shape `(num, 2)`."""
        i, j = np.indices((self.cells, self.cells)).reshape(2, -1)
        dark = (i + j) % 2 == 0
        return (2 * np.stack([i[dark], j[dark]], axis=1) + 1) / self.cells - 1

    def reach(self, center: ArrayLike) -> float:  # noqa: D102
        offsets = np.abs(self._centers - np.asarray(center, np.float64)[None])
        return float(np.linalg.norm(offsets + 1 / self.cells, axis=1).max())

    @property
    def mean(self) -> Float[Array, " 2"]:  # noqa: D102
        return jnp.asarray(self._centers.mean(axis=0), float)

    @property
    def covariance(self) -> Float[Array, "2 2"]:  # noqa: D102
        between = np.cov(self._centers.T, bias=True)
        return jnp.asarray(between + np.eye(2) / (3 * self.cells**2), float)

    def _sample(self, key: AnyKey, n: int) -> Float[Array, "n 2"]:
        square_key, place_key = jax.random.split(key)
        centers = jnp.asarray(self._centers, float)
        square = jax.random.randint(square_key, (n,), 0, len(centers))
        half = 1 / self.cells
        return centers[square] + jax.random.uniform(place_key, (n, 2), minval=-half, maxval=half)


def checkerboard(cells: int = 4) -> Measure:
    """The uniform law on the dark squares of a board on `[-1, 1]^2`.

    Args:
        cells: number of squares along an edge, at least 2; the one at the lower left is dark.

    Returns:
        A measure in dimension 2.

    Raises:
        ValueError: if `cells` is less than 2.
        TypeError: if `cells` is not an integer.

    >>> print(checkerboard(2).covariance.round(4))
    [[0.3333 0.25  ]
     [0.25   0.3333]]
    """
    if as_count("cells", cells) < 2:
        raise ValueError("cells must be at least 2, got 1; the whole square is cube(2).")
    return Checkerboard(int(cells))
