"""Sparse spikes deconvolution on the torus: find spikes behind a low-pass filter."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_count, is_concrete
from swjax._types import AnyKey
from swjax.flows.particles.cloud import weights_and_positions
from swjax.flows.particles.features import LeastSquares
from swjax.flows.particles.fourier import FourierFeatures
from swjax.flows.particles.problem import ParticleProblem, check_positive


def spikes_deconvolution(
    weights: ArrayLike | Sequence,
    positions: ArrayLike | Sequence,
    *,
    order: int = 7,
    penalty: float | int | Array = 1.0,
    noise: float | int | Array = 0.0,
    key: AnyKey | None = None,
) -> ParticleProblem:
    """Recover spikes on the torus from noisy observations through an ideal low-pass filter.

    With the Dirichlet kernel `K(t) = 1 + 2 sum_(k <= N) cos 2 pi k t` (a product over coordinates)
    the observation is `y = sum_j weights_j K(. - positions_j) + noise`, and

        J(nu) = |K * nu - y|^2 / 2 + lambda |nu|(torus),

    the norm being that of `L2` of the torus: the first experiment of Chizat and Bach (2018), who
    divide by `lambda`. The noise is white noise seen through the same filter: independent
    Gaussians in every orthonormal coefficient. The observation is `problem.loss.target`.

    Args:
        weights: of the spikes, `(n,)`, any signs.
        positions: `(n, d)`, or `(n,)` on the circle; taken modulo 1.
        order: `N`, the largest frequency that passes.
        penalty: `lambda > 0`.
        noise: standard deviation of every coefficient.
        key: needed if there is noise.

    Returns:
        A `ParticleProblem` with `homogeneity=1`; its gap can be certified.

    Raises:
        ValueError: if there are no spikes, shapes do not fit, the penalty is not positive, the
            noise is negative, or there is noise without a key.

    >>> import jax.numpy as jnp
    >>> from swjax.particles import as_particles, duality_gap
    >>> problem = spikes_deconvolution([1.0], [0.25], order=7)
    >>> best = as_particles(jnp.array([1 - 1 / 15]), jnp.array([0.25]))  # K(0) = 15, lambda = 1
    >>> round(float(problem.objective(best)), 4)  # 1 - 1 / 30
    0.9667
    """
    weights, positions = weights_and_positions(weights, positions)
    if positions.size == 0:
        raise ValueError("There are no spikes to recover; pass at least one weight and position.")
    check_positive("penalty", penalty, "Without a penalty the spikes are not determined.")
    if is_concrete(noise) and not (np.all(np.asarray(noise) >= 0) and np.all(np.isfinite(noise))):
        raise ValueError(f"noise is a standard deviation and must not be negative; got {noise}.")
    features = FourierFeatures(as_count("order", order), positions.shape[1])
    observed = features.embed(weights, positions)
    if key is None and not (is_concrete(noise) and np.all(np.asarray(noise) == 0)):
        raise ValueError(f"noise is {noise}; pass key=, a JAX random key, to draw it.")
    if key is not None:
        observed = observed + noise * jax.random.normal(key, observed.shape, observed.dtype)
    return ParticleProblem(features, LeastSquares(observed), penalty)


def sample_spikes(
    key: AnyKey, num: int, dim: int = 1, *, separation: float | int = 0.1
) -> tuple[Float[Array, "n"], Float[Array, "n d"]]:
    """Random spikes: weights of size uniform in [0.5, 1.5] and random sign, positions apart.

    Positions are drawn one after another, uniformly among those that keep the distance.

    Args:
        key: a random key.
        num: number `n` of spikes.
        dim: dimension `d` of the torus.
        separation: the smallest distance of two positions, in the largest coordinate, around the
            torus.

    Returns:
        Weights `(n,)` and positions `(n, d)`.

    Raises:
        ValueError: if a count is below 1 or the separation is so large that the spikes may not fit:
            `(num - 1) (2 separation)^dim` must be below 1.

    >>> import jax
    >>> weights, positions = sample_spikes(jax.random.key(0), 5)
    >>> weights.shape, positions.shape
    ((5,), (5, 1))
    """
    num, dim = as_count("num", num), as_count("dim", dim)
    if not separation >= 0 or not (num - 1) * (2 * separation) ** dim < 1:
        raise ValueError(
            f"{num} spikes at distance {separation} may not fit on the torus of dimension {dim}: "
            f"(num - 1) (2 separation)^dim must be below 1. Take a separation in [0, "
            f"{0.5 * max(num - 1, 1) ** (-1 / dim):.3g})."
        )
    sign_key, size_key, place_key = jax.random.split(key, 3)
    signs = jax.random.rademacher(sign_key, (num,), jnp.result_type(float))
    sizes = jax.random.uniform(size_key, (num,), minval=0.5, maxval=1.5)
    present = jnp.arange(num)

    def place(positions: Array, pair: tuple) -> tuple[Array, None]:
        index, key = pair

        def too_close(state: tuple) -> Array:
            point, _ = state
            apart = jnp.abs(positions - point[None])
            distance = jnp.max(jnp.minimum(apart, 1 - apart), axis=1)
            return jnp.any((distance < separation) & (present < index))

        def redraw(state: tuple) -> tuple:
            draw_key, next_key = jax.random.split(state[1])
            return jax.random.uniform(draw_key, (dim,)), next_key

        point, _ = lax.while_loop(too_close, redraw, redraw((jnp.zeros(dim), key)))
        return positions.at[index].set(point), None

    keys = jax.random.split(place_key, num)
    positions, _ = lax.scan(place, jnp.zeros((num, dim)), (present, keys))
    return signs * sizes, positions
