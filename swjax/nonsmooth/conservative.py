"""Is what automatic differentiation returns a conservative field of the loss?

A set-valued map D is a conservative field of f when the chain rule holds along every absolutely
continuous curve g: (f(g(s)))' = v . g'(s) for all v in D(g(s)) and almost every s (Bolte and
Pauwels, 2021). So an oracle v can be tested by integrating it along curves:

    r(g) = f(g(1)) - f(g(0)) - integral over [0, 1] of v(g(s)) . g'(s) ds

vanishes for every curve. Random curves meet kinks only at isolated instants, where the value of the
oracle does not matter; curves that *run inside* the kink set (two points that move together, a
ReLU unit held at zero) are the ones that tell a conservative selection from an arbitrary one.

The integral is computed with the composite midpoint rule. If the derivative h of f along a segment
has bounded variation, the rule with N nodes errs by at most TV(h) / (2 N): each kink that is
crossed costs O(1/N), smooth pieces O(1/N^2). The observed variation gives the bound against which a
residual is judged, so that "does not vanish" has a meaning at a finite resolution.

    >>> import jax, jax.numpy as jnp
    >>> import swjax
    >>> loss = lambda u: jnp.abs(u).sum()
    >>> path = swjax.sample_polygon(jax.random.key(0), jnp.zeros(3), 17)
    >>> swjax.check_conservative(loss, jax.grad(loss), path).verdict
    'conservative'
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from scipy import special

from swjax.nonsmooth.paths import (
    Curve,
    as_curve,
    check_closed,
    integrate,
    map_nodes,
    midpoints,
    polygon,
    scalar,
    speeds_along,
)


class PathIntegral(NamedTuple):
    """The two sides of the chain rule along one path, and their difference.

    Attributes:
        residual: `increment - integral`, a scalar: 0 for a conservative oracle, up to the bound.
        increment: f at the end of the path minus f at its start.
        integral: the integral of the oracle along the path.
        segment_residuals: the residual of each segment, `(segments,)`.
        segment_bounds: `(segments,)`; what the midpoint rule may err by on each segment, the
            observed total variation of the oracle along it divided by twice the number of nodes.
    """

    residual: Array
    increment: Array
    integral: Array
    segment_residuals: Array
    segment_bounds: Array


class Conservativity(NamedTuple):
    """What the path integrals say about an oracle, at the resolution that was used.

    Attributes:
        verdict: `"conservative"` if every segment's residual is within twice its bound (plus
            rounding) at the finest resolution; `"not conservative"` if some residual exceeds it and
            does not shrink as nodes are added, or is not finite; `"undecided"` if one exceeds it
            but still shrinks (add nodes).
        num_nodes: nodes per segment, from coarse to fine, `(levels,)`.
        residual_rms: root mean square over the segments of the residual, `(levels,)`.
        order: slope of log residual_rms on log num_nodes (-1 where kinks are crossed, -2 on smooth
            pieces, 0 where the residual does not vanish); NaN when fewer than three levels stand
            above rounding, that is when the residual is zero.
        order_low: lower end of the 95 % interval of the order (jackknife over segments).
        order_high: upper end of that interval.
        worst_segment: index of the segment whose residual exceeds its bound most.
        worst_residual: the residual of that segment, finest resolution.
        worst_bound: the bound of that segment, rounding included.
        worst_start: the parameters at the start of that segment.
        worst_end: the parameters at its end.
    """

    verdict: str
    num_nodes: np.ndarray
    residual_rms: np.ndarray
    order: float
    order_low: float
    order_high: float
    worst_segment: int
    worst_residual: float
    worst_bound: float
    worst_start: PyTree
    worst_end: PyTree

    def __str__(self) -> str:
        """The verdict in words."""
        order = (
            "residual at the level of rounding"
            if math.isnan(self.order)
            else f"order {self.order:.2f} in the number of nodes, 95 % interval "
            f"[{self.order_low:.2f}, {self.order_high:.2f}]"
        )
        return (
            f"{self.verdict} with {self.num_nodes[-1]} nodes a segment: residual "
            f"{self.residual_rms[-1]:.2g} (RMS over segments), {order}; worst segment "
            f"{self.worst_segment}: residual {self.worst_residual:.2g}, "
            f"bound {self.worst_bound:.2g}"
        )


def path_integral_residual(
    f: Callable[[PyTree], Array],
    oracle: Callable[[PyTree], PyTree],
    path: PyTree | Curve,
    *,
    num_nodes: int = 256,
    num_segments: int = 16,
    chunk_size: int | None = 256,
) -> PathIntegral:
    """The residual f(end) - f(start) - integral of the oracle along a path.

    Works under `jit` and `vmap`, and with any pytree of floating-point parameters. Every call
    traces and compiles `f` and `oracle` anew and keeps nothing for the next; for many polygons of
    one shape compile once, with `jax.jit(lambda path: path_integral_residual(f, oracle, path))`.

    Args:
        f: the loss, parameters to a scalar.
        oracle: parameters to a pytree of the same shapes, for instance `jax.grad(f)`. It is
            evaluated under `vmap`.
        path: a polygon, that is a pytree shaped like the parameters with a leading axis of at least
            two vertices; or a function from [0, 1] to parameters, differentiable in forward mode.
        num_nodes: midpoints per segment.
        num_segments: number of equal pieces into which a path given as a function is cut; a
            polygon's segments are its edges.
        chunk_size: nodes evaluated at a time (memory); None for all at once.

    Returns:
        A `PathIntegral`.

    Raises:
        ValueError: if a polygon has fewer than two vertices, or the oracle's output does not have
            the shapes of the parameters.
        TypeError: if the parameters are not floating-point arrays.

    Reference:
        Bolte and Pauwels, "Conservative set valued fields, automatic differentiation, stochastic
        gradient methods and deep learning", Mathematical Programming 188 (2021).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> f = lambda u: jnp.abs(u[0]) + u[1] ** 2
        >>> path = jnp.array([[-1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
        >>> out = path_integral_residual(f, jax.grad(f), path)
        >>> round(float(out.increment), 3), abs(float(out.residual)) < 0.01
        (8.0, True)
    """
    curve, ends, num_segments = as_curve(path, num_segments)
    nodes = midpoints(num_nodes)

    @jax.jit
    def compute():
        values = map_nodes(lambda s: scalar(f(curve(*s))), ends, chunk_size)
        speeds = speeds_along(oracle, curve, num_segments, nodes, chunk_size)
        increments = values[1:] - values[:-1]
        integrals, bounds, _ = integrate(speeds)
        residuals = increments - integrals
        increment = values[-1] - values[0]
        return PathIntegral(residuals.sum(), increment, integrals.sum(), residuals, bounds)

    return compute()


def circulation(
    oracle: Callable[[PyTree], PyTree],
    loop: PyTree | Curve,
    *,
    num_nodes: int = 256,
    num_segments: int = 16,
    chunk_size: int | None = 256,
) -> Array:
    """The integral of the oracle around a closed loop: zero if it is a conservative field.

    It needs no loss: useful where the loss itself jumps, as behind a linear-program layer. Like
    `path_integral_residual` it compiles at every call outside `jit`.

    Args:
        oracle: parameters to a pytree of the same shapes.
        loop: a polygon (pytree with a leading axis of vertices), which is closed by the edge from
            its last vertex to its first; or a function g from [0, 1] to parameters with
            g(0) = g(1).
        num_nodes: midpoints per segment.
        num_segments: number of equal pieces into which a loop given as a function is cut.
        chunk_size: nodes evaluated at a time (memory); None for all at once.

    Returns:
        A scalar.

    Raises:
        ValueError: if a loop given as a function does not close, or the oracle's output does not
            have the shapes of the parameters.

    Example:
        A rotation is not a gradient: its circulation is twice the area.

        >>> import jax.numpy as jnp
        >>> rotate = lambda u: jnp.stack([-u[1], u[0]])
        >>> square = jnp.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> round(float(circulation(rotate, square)), 4)
        2.0
    """
    if callable(loop):
        check_closed(loop)
    else:
        loop = jax.tree.map(lambda v: jnp.concatenate([v, v[:1]]), polygon(loop))
    curve, _, num_segments = as_curve(loop, num_segments)
    nodes = midpoints(num_nodes)
    speeds = lambda: speeds_along(oracle, curve, num_segments, nodes, chunk_size)
    return jax.jit(lambda: integrate(speeds())[0].sum())()


def check_conservative(
    f: Callable[[PyTree], Array],
    oracle: Callable[[PyTree], PyTree],
    path: PyTree | Curve,
    *,
    num_nodes: Sequence[int] = (32, 64, 128, 256, 512, 1024),
    num_segments: int = 16,
    chunk_size: int | None = 256,
) -> Conservativity:
    """Judge an oracle by its path integrals at several resolutions.

    A host-level function (its verdict is a string): call it outside `jit`. Every call traces and
    compiles `f` and `oracle` once, for all resolutions together, and keeps nothing for the next.
    One polygon of many segments is cheaper than many paths.

    Args:
        f: the loss, parameters to a scalar.
        oracle: parameters to a pytree of the same shapes, for instance `jax.grad(f)`.
        path: a polygon or a function on [0, 1], as in `path_integral_residual`;
            `sample_polygon` draws one. Give also paths that run inside the kink set of f.
        num_nodes: increasing numbers of midpoints per segment, at least three.
        num_segments: number of equal pieces into which a path given as a function is cut.
        chunk_size: nodes evaluated at a time (memory); None for all at once.

    Returns:
        A `Conservativity`; `print` it for a sentence.

    Raises:
        ValueError: if `num_nodes` is not increasing or has fewer than three entries.

    Example:
        Setting the whole derivative to zero at a kink of max(u_1, 0) + u_2 is not conservative,
        and only a path inside the kink set {u_1 = 0} can tell.

        >>> import jax, jax.numpy as jnp
        >>> f = lambda u: jnp.maximum(u[0], 0.0) + u[1]
        >>> zero_at_kink = lambda u: jnp.where(u[0] == 0.0, jnp.zeros(2), jax.grad(f)(u))
        >>> across = jnp.array([[-1.0, 0.0], [1.0, 1.0]])
        >>> inside = jnp.array([[0.0, 0.0], [0.0, 1.0]])
        >>> check_conservative(f, zero_at_kink, across).verdict
        'conservative'
        >>> check_conservative(f, zero_at_kink, inside).verdict
        'not conservative'
    """
    levels = np.asarray(num_nodes)
    if levels.ndim != 1 or len(levels) < 3 or (np.diff(levels) <= 0).any() or levels[0] < 1:
        raise ValueError(
            f"num_nodes must be at least three increasing positive integers, found {num_nodes}"
        )
    curve, ends, num_segments = as_curve(path, num_segments)
    nodes = np.concatenate([midpoints(int(n)) for n in levels])
    # One evaluation serves all levels; the levels are cut apart afterwards.

    @jax.jit
    def evaluate(ends):
        values = map_nodes(lambda s: scalar(f(curve(*s))), ends, chunk_size)
        speeds = speeds_along(oracle, curve, num_segments, nodes, chunk_size)
        return values, speeds, jax.vmap(lambda s: curve(*s))(ends)

    values, speeds, vertices = jax.tree.map(np.asarray, evaluate(ends))
    eps = float(np.finfo(values.dtype).eps)
    values, speeds = values.astype(np.float64), speeds.astype(np.float64)
    increments = np.diff(values)
    residuals, bounds, size = [], [], np.zeros(num_segments)
    for block in np.split(speeds[:, 1:-1], np.cumsum(levels)[:-1], axis=1):
        ended = np.concatenate([speeds[:, :1], block, speeds[:, -1:]], axis=1)
        integrals, bound, size = integrate(ended)
        residuals.append(increments - integrals)
        bounds.append(bound)
    rounding = _ROUNDING_ULPS * eps * (np.abs(values[1:]) + np.abs(values[:-1]) + size)
    return _judge(levels, np.stack(residuals), bounds[-1], rounding, vertices)


# A residual within this many units in the last place of the numbers it is the difference of counts
# as rounding. Losses of a few thousand terms stay well below it in both precisions.
_ROUNDING_ULPS = 64


def _judge(
    levels: np.ndarray,
    residuals: np.ndarray,
    bound: np.ndarray,
    rounding: np.ndarray,
    vertices: PyTree,
) -> Conservativity:
    allowed = 2 * bound + rounding
    finest, coarser = np.abs(residuals[-1]), np.abs(residuals[:-1]).max(0)
    finite = np.isfinite(residuals).all(0)
    excess = np.where(finite, finest / np.maximum(allowed, np.finfo(float).tiny), np.inf)
    worst = int(np.argmax(excess))
    # A residual that tends to zero loses at least its first order over the levels; half of the
    # largest one seen is generous to it.
    persists = (excess > 1) & ~(finest < 0.5 * coarser)
    if persists.any():
        verdict = "not conservative"
        worst = int(np.argmax(np.where(persists, excess, 0)))
    else:
        verdict = "undecided" if (excess > 1).any() else "conservative"
    rms = np.sqrt((residuals**2).mean(1))
    order, low, high = _fit_order(levels, residuals, np.sqrt((rounding**2).mean()))
    return Conservativity(
        verdict,
        levels,
        rms,
        order,
        low,
        high,
        worst,
        float(residuals[-1, worst]),
        float(allowed[worst]),
        jax.tree.map(lambda v: v[worst], vertices),
        jax.tree.map(lambda v: v[worst + 1], vertices),
    )


def _fit_order(levels: np.ndarray, residuals: np.ndarray, rounding: float):
    """Slope of log RMS on log nodes over the levels above rounding, with a jackknife interval."""
    squares = residuals**2
    used = np.sqrt(squares.mean(1)) > rounding
    if used.sum() < 3 or not np.isfinite(squares).all():
        return math.nan, math.nan, math.nan
    x = np.log(levels[used])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    squares = squares[used]
    slope = lambda mean_squares: 0.5 * (x @ np.log(np.maximum(mean_squares, 1e-300)))
    total, n = squares.sum(1), squares.shape[1]
    order = float(slope(total))
    if n < 2:
        return order, -math.inf, math.inf
    left_out = np.array([slope(total - squares[:, j]) for j in range(n)])
    error = math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    width = float(special.stdtrit(n - 1, 0.975)) * error
    return order, order - width, order + width
