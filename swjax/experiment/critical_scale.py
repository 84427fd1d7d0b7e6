"""Critical points and spread of a generator with one number, T(u, x) = u x or |u| x, exactly.

For ``p = 2`` and discrete laws the expected loss is quadratic on each side of 0, and so is every
sample of it: its gradient at u > 0 is H_s u + b_s with random H_s and b_s. Hence the critical
points follow from four gradients of the expected loss, and the spread of long runs from two
moments, which are averages over many draws.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from swjax.losses import SlicedLoss
from swjax.population import PopulationLoss

_NUM_DRAWS = 2**17
# Minimizers count as equally good places to settle when their spreads differ by less than this.
_SAME = 0.01
# Slopes below this share of the curvature are rounding.
_ROUNDING = 1e-5


class StationaryMoment(NamedTuple):
    """E |u - u*|^moment in the long run, as a function of the step size.

    Attributes:
        moment: 2 at a smooth minimizer, 1 at a kink that attracts.
        numerator: see `value`.
        curvature: see `value`.
        square: see `value`.
        is_exact: at every step size, as long as runs stay on one side of 0; else to first order.
        relative_error: standard error of the numerator, as a share of it.
    """

    moment: int
    numerator: float
    curvature: float
    square: float
    is_exact: bool
    relative_error: float

    def value(self, step_size: float) -> float:
        """``step_size * numerator / (2 * curvature - step_size * square)``."""
        return step_size * self.numerator / (2 * self.curvature - step_size * self.square)


@dataclass(frozen=True)
class ScaleAnalysis:
    """The expected loss of a scale, H u^2 / 2 + b u on either side, and moments of its samples.

    Attributes:
        curvature: H, the same on both sides.
        slopes: b on the side u > 0, and on the side u < 0.
        sample_curvatures: H_s of the draws, (N,).
        sample_slopes: b_s of the draws on the two sides, (2, N).
    """

    curvature: float
    slopes: tuple[float, float]
    sample_curvatures: np.ndarray
    sample_slopes: np.ndarray

    def critical_points(self, radius: float | None = None) -> np.ndarray:
        """All u with 0 in d_C F(u) + N_r(u), in increasing order."""
        bound = np.inf if radius is None else radius
        above, below = self.slopes
        found = [vertex for vertex, _ in self._vertices() if abs(vertex) < bound]
        if min(above, below) <= _ROUNDING * self.curvature and (
            max(above, below) >= -_ROUNDING * self.curvature
        ):
            found.append(0.0)
        if radius is not None:
            found += [radius] if self.curvature * radius + above <= 0 else []
            found += [-radius] if -self.curvature * radius + below >= 0 else []
        return np.unique(found)

    def _vertices(self) -> list[tuple[float, int]]:
        """The smooth critical points with their side, 0 for u > 0 and 1 for u < 0."""
        sides = ((-b / self.curvature, i) for i, b in enumerate(self.slopes))
        least = _ROUNDING
        return [(v, i) for v, i in sides if (v > least if i == 0 else v < -least)]

    def stationary_moment(
        self, noise_std: float, radius: float | None, symmetric: bool
    ) -> StationaryMoment | None:
        """The spread in the long run; None where it is not known.

        Around a smooth minimizer in the interior the recursion is linear, and the mean square is
        exact. At a kink that attracts and has the same law on both sides, stationarity of the mean
        square gives the mean distance to first order.

        Args:
            noise_std: level of the noise.
            radius: of the ball, or None.
            symmetric: whether the samples have one law on both sides of 0.
        """
        bound = np.inf if radius is None else radius
        found = [self._at_vertex(v, i, noise_std) for v, i in self._vertices() if abs(v) < bound]
        above, below = self.slopes
        if above > 0 > below:
            if not symmetric or found:
                return None
            return self._at_kink(noise_std)
        at_the_sphere = len(found) < len(self._vertices())
        if not found or at_the_sphere:
            return None
        values = [moment.numerator / moment.curvature for moment in found]
        return found[0] if max(values) <= (1 + _SAME) * min(values) else None

    def _at_vertex(self, vertex: float, side: int, noise_std: float) -> StationaryMoment:
        squares = (self.sample_curvatures * vertex + self.sample_slopes[side]) ** 2
        numerator = float(squares.mean()) + noise_std**2
        error = float(squares.std() / np.sqrt(squares.size)) / numerator if numerator else 0.0
        square = float(np.mean(self.sample_curvatures**2))
        return StationaryMoment(2, numerator, self.curvature, square, True, error)

    def _at_kink(self, noise_std: float) -> StationaryMoment:
        squares = self.sample_slopes[0] ** 2
        numerator = float(squares.mean()) + noise_std**2
        error = float(squares.std() / np.sqrt(squares.size)) / numerator
        return StationaryMoment(1, numerator, self.slopes[0], 0.0, False, error)


def analyze_scale(loss: SlicedLoss, start: PyTree, key: Array) -> ScaleAnalysis:
    """Analyze a generator with one number.

    Args:
        loss: the minibatch loss, with p = 2 and discrete laws.
        start: the parameters, for their tree.
        key: randomness of the draws.

    Raises:
        ValueError: the generator has more than one parameter, or the expected loss is not exact.
    """
    flat, unravel = ravel_pytree(start)
    if flat.size != 1:
        raise ValueError(f"expected a generator with one parameter, got {flat.size}")
    places = jnp.array([1.0, 2.0, -1.0, -2.0], flat.dtype)
    population = PopulationLoss(loss)

    def slopes_at_places(value) -> Array:
        slope = lambda u: ravel_pytree(jax.grad(value)(unravel(u[None])))[0][0]
        return jnp.stack([slope(u) for u in places])

    one = np.asarray(jax.jit(slopes_at_places)(population), np.float64)
    sample = lambda key: slopes_at_places(lambda params: loss.value(params, loss.draw(key)))
    keys = jax.random.split(key, _NUM_DRAWS)
    draws = np.asarray(jax.jit(lambda k: jax.lax.map(sample, k, batch_size=4096))(keys), np.float64)
    curvature = float(one[1] - one[0])
    slopes = float(one[0]) - curvature, float(one[2]) + curvature
    # On both sides the sample's curvature is one; its slope at 0 is read off at 1 and at -1.
    own = draws[:, 1] - draws[:, 0]
    return ScaleAnalysis(curvature, slopes, own, np.stack([draws[:, 0] - own, draws[:, 2] + own]))
