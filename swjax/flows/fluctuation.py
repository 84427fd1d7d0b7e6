"""How SGD with a small step strays from the gradient flow: covariance and bias, to first order.

Where the expected loss is smooth along the flow, the interpolated iterates at the flow time `s` are
about Gaussian around it: the covariance is `alpha P(s)` and the mean is off by `alpha b(s)`, with

    P' = -H P - P H + Sigma,                          P(0) = 0,
    b' = -H b - (1/2) H grad F - (1/2) D^3 F [P],     b(0) = 0,

`H` the Hessian of `F` at `u(s)` and `Sigma` the covariance of the sampled gradient there. The first
is the linear noise approximation; the terms of the second come from the discretization in time (an
Euler scheme) and from averaging a curved gradient over the fluctuations.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from swjax._checks import as_count, is_concrete
from swjax._keys import canonical_key
from swjax._trees import as_vector
from swjax.flows.times import checked_times, steps_per_interval
from swjax.losses import Draw, SlicedLoss
from swjax.population import PopulationLoss


class Fluctuations(NamedTuple):
    """First-order covariance and bias of SGD around its gradient flow.

    The parameters are one vector, in the order of `jax.flatten_util.ravel_pytree`.

    Attributes:
        times: `(T,)`, the first is 0.
        path: `(T, P)`, the flow.
        covariance: `(T, P, P)`, the limit of `Cov u_alpha(s) / alpha`.
        bias: `(T, P)`, the limit of `(E u_alpha(s) - u(s)) / alpha`.
    """

    times: Float[Array, "T"]
    path: Float[Array, "T P"]
    covariance: Float[Array, "T P P"]
    bias: Float[Array, "T P"]


@jax.tree_util.register_pytree_node_class
class GradientCovariance:
    """The covariance of the sampled gradient over fixed draws, `Sigma(u)`.

    Args:
        loss: the sampled loss.
        draws: draws stacked along a leading axis; see `sample_gradient_covariance`.
    """

    def __init__(self, loss: SlicedLoss, draws: Draw):
        self._loss = loss
        self._draws = draws

    def __call__(self, params: PyTree) -> Float[Array, "P P"]:
        """The sample covariance of the gradient at the parameters, as one vector."""
        flat_gradient = lambda draw: ravel_pytree(self._loss.grad(params, draw))[0]
        rows = lax.map(flat_gradient, self._draws, batch_size=4096)
        centered = rows - jnp.mean(rows, axis=0)[None]
        return jnp.dot(centered.T, centered, precision="highest") / (rows.shape[0] - 1)

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """Split into arrays and the (empty) static rest."""
        return (self._loss, self._draws), ()

    @classmethod
    def tree_unflatten(cls, static: tuple, leaves: tuple) -> "GradientCovariance":
        """Put the parts together again."""
        return cls(*leaves)


def sample_gradient_covariance(
    key: ArrayLike, loss: SlicedLoss, num_draws: int
) -> GradientCovariance:
    """Draw minibatches and directions once, for the covariance of the sampled gradient.

    Args:
        key: a random key `()`: typed, raw or an integer.
        loss: the sampled loss.
        num_draws: number of draws, at least 2. The entries are known to about `(2 / num_draws)^0.5`
            of the variances.

    Returns:
        A function of the parameters (any pytree) that gives the covariance `(P, P)`.

    Raises:
        ValueError: if `num_draws` is below 2.
        TypeError: if `key` is no key, or `num_draws` no integer.

    >>> import swjax
    >>> two = swjax.Discrete(jnp.array([[-0.5], [0.5]]))
    >>> loss = swjax.SlicedLoss(lambda u, x: u * x, two, two, batch_size=2)
    >>> Sigma = sample_gradient_covariance(jax.random.key(0), loss, 20000)
    >>> bool(abs(Sigma(jnp.asarray(1.0))[0, 0] - 7 / 64) < 0.01)
    True
    """
    key = canonical_key(key)
    if as_count("num_draws", num_draws) < 2:
        raise ValueError(f"num_draws must be at least 2, for a covariance; got {num_draws}.")
    return GradientCovariance(loss, jax.jit(jax.vmap(loss.draw))(jax.random.split(key, num_draws)))


def fluctuations(
    loss: SlicedLoss | Callable[[Any], Array],
    gradient_covariance: Callable[[Any], Array],
    params: PyTree,
    times: ArrayLike | Sequence[float],
    *,
    num_steps: int = 64,
) -> Fluctuations:
    """Solve the equations of the covariance and the bias along the gradient flow.

    With Runge-Kutta steps of order 4. The loss must be three times differentiable along the flow,
    and its derivatives those of the program: true for closed forms and for `PopulationLoss` on the
    line and in the plane (away from ties), but not for its mean over directions, whose gradient
    jumps (see there). Half precision is computed in float32: the functions are called with it.

    Args:
        loss: the expected loss, `params -> scalar`; or a `SlicedLoss`, for which the population
            loss is used, as in `gradient_flow`.
        gradient_covariance: the covariance of the sampled gradient, `params -> (P, P)`.
        params: where the flow starts, a pytree of floating-point arrays.
        times: `(T,)`, increasing, starting at 0.
        num_steps: number of steps over the whole time; at least one in every interval.

    Returns:
        `Fluctuations(times (T,), path (T, P), covariance (T, P, P), bias (T, P))`.

    Raises:
        ValueError: if times do not increase from 0 or are not finite, `num_steps` is below 1, the
            covariance has another shape, or a `SlicedLoss` has no exact population loss.
        TypeError: if there are no parameters, or a leaf is not of floating point type.
        FloatingPointError: if a result is infinite or NaN; not checked under `vmap` and `jit`.

    >>> F = lambda u: u**2 / 2  # an Ornstein-Uhlenbeck process: P = (1 - exp(-2 s)) / 2
    >>> found = fluctuations(F, lambda u: jnp.ones((1, 1)), jnp.asarray(3.0), [0.0, 1.0])
    >>> round(float(found.covariance[1, 0, 0]), 4)
    0.4323
    """
    grid = checked_times(times)
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    if not jax.tree.leaves(params):
        raise TypeError("params has no arrays in it.")
    start, unravel = as_vector("params", params)
    if isinstance(loss, SlicedLoss):
        loss = PopulationLoss(loss)
    _check_covariance(gradient_covariance, unravel(start), start.size)
    counts = steps_per_interval(grid, grid[-1] / num_steps)
    # Plain functions become part of the compiled program, pytrees are its arguments.
    functions = [
        Partial(f) if jax.tree_util.all_leaves([f]) else f for f in (loss, gradient_covariance)
    ]
    lengths = jnp.asarray(np.diff(grid), start.dtype)
    path, spread, bias = _solve(*functions, start, lengths, counts, unravel)
    finite = jnp.isfinite(path) & jnp.isfinite(bias) & jnp.isfinite(spread).all(axis=2)
    if is_concrete(finite) and not bool(finite.all()):
        bad, longest = int(finite.all(axis=1).argmin()), float(np.max(np.diff(grid) / counts))
        raise FloatingPointError(
            f"The fluctuations are infinite or NaN at time {grid[bad]:.6g}. Take more steps (the "
            f"longest was {longest:.3g}), end earlier, or check that the loss has three "
            "derivatives along the flow."
        )
    return Fluctuations(jnp.asarray(grid, start.dtype), path, spread, bias)


def _check_covariance(
    gradient_covariance: Callable[[Any], Array], params: PyTree, size: int
) -> None:
    """Refuse a covariance of another shape, which the matrices of the equations would take up."""
    found = jax.eval_shape(gradient_covariance, params)
    shape = getattr(found, "shape", None)
    if shape != (size, size):
        raise ValueError(
            f"gradient_covariance must return a matrix ({size}, {size}), one row for each of the "
            f"parameters as one vector; got {found if shape is None else f'shape {shape}'}."
        )


@partial(jax.jit, static_argnums=5)
def _solve(
    loss: Any,
    gradient_covariance: Any,
    start: Array,
    lengths: Array,
    counts: ArrayLike,
    unravel: Callable[[Array], Any],
) -> tuple[Array, Array, Array]:
    """The state at all times: the flow, the covariance, the bias."""
    value = lambda flat: loss(unravel(flat))
    hessian = jax.hessian(value)

    def velocity(state: tuple) -> tuple:
        flat, spread, bias = state
        gradient, h = jax.grad(value)(flat), hessian(flat)
        curved = jax.grad(lambda u: jnp.vdot(hessian(u), spread))(flat)
        noise = jnp.asarray(gradient_covariance(unravel(flat)), flat.dtype)
        growth = noise - h @ spread - spread @ h
        return -gradient, growth, -h @ bias - h @ gradient / 2 - curved / 2

    def step(length: Array, state: tuple) -> tuple:
        moved = lambda share, slope: jax.tree.map(lambda s, k: s + share * length * k, state, slope)
        first = velocity(state)
        second = velocity(moved(0.5, first))
        third = velocity(moved(0.5, second))
        fourth = velocity(moved(1.0, third))
        mean = jax.tree.map(
            lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, first, second, third, fourth
        )
        return moved(1.0, mean)

    def interval(state: tuple, piece: tuple) -> tuple[tuple, tuple]:
        length, count = piece
        state = lax.fori_loop(0, count, lambda _, s: step(length / count, s), state)
        return state, state

    size = start.size
    initial = (start, jnp.zeros((size, size), start.dtype), jnp.zeros_like(start))
    _, later = lax.scan(interval, initial, (lengths, jnp.asarray(counts)))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), initial, later)
