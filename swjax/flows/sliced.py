"""The sliced-Wasserstein flow of a point cloud, with or without an entropy term.

The cloud X of n equal particles follows the Wasserstein gradient flow of

    (1/2) SW_2^2(., Y) + lambda int rho log rho,

that is `dX_i = v(X_i) dt + sqrt(2 lambda) dW_i` with the velocity of `sliced_velocity`, each
particle with its own Brownian motion (Bonnotte 2013; Liutkus, Simsekli, Majewski, Durmus and Stoter
2019, "Sliced-Wasserstein flows: nonparametric generative modeling via optimal transport and
diffusions"). It is solved by Euler's method, `X <- X + h v(X) + sqrt(2 lambda h) Z`.

**Which time?** There is no agreement on the factor 1/2, nor on the mass of a particle:

============================================== ==================================================
flow or step                                   here
============================================== ==================================================
flow of `SW_2^2 / 2` to time t                 `sliced_flow(..., times=[0, t])`
flow of `SW_2^2` to time t                     time 2 t
`x' = -grad E`, `E(X) = SW_2^2(X, Y)`          time 2 t / n
`x - alpha * jax.grad(sw2_sq)(x, y, theta)`    one step of size 2 alpha / n
the fixed-point map, block coordinate descent  one step of size d
Algorithm 1 of Liutkus et al., step h          one step of size h, with the sign of the descent:
                                               the minus printed there before the drift is wrong
============================================== ==================================================

With lambda = 0 and all directions, `E` cannot grow for steps below 2 d (see
`swjax.sliced_fixed_point`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from swjax._checks import as_count, is_concrete
from swjax._types import AnyKey
from swjax.directions import (
    equispaced_directions,
    sample_directions,
    sample_orthogonal_directions,
)
from swjax.flows.sliced_drift import Target, checked_clouds, drift, slices_of
from swjax.flows.times import checked_times, steps_per_interval

Sampler = Callable[[AnyKey, int, int], Array]


class SlicedFlow(NamedTuple):
    """The path of a point cloud at given times, and how far it still is from rest.

    Attributes:
        times: `(T,)`, in units of the flow of `SW_2^2 / 2`; the first is 0.
        path: the cloud at these times, `(T, n, d)`.
        values: `SW_2^2` to the target, `(T,)`: the square, without the factor 1/2.
        residuals: root mean square of the velocity `v`, `(T,)`. Zero at critical points of
            `SW_2^2`, and there only; without noise `SW_2^2 / 2` falls at the rate `residuals**2`.
            With noise it tends to the size of the drift that balances the diffusion.
    """

    times: Float[Array, "T"]
    path: Float[Array, "T n d"]
    values: Float[Array, "T"]
    residuals: Float[Array, "T"]


def sliced_flow(
    x: ArrayLike,
    y: ArrayLike,
    times: ArrayLike | Sequence[float],
    *,
    step_size: float | int | Array,
    directions: ArrayLike | None = None,
    num_directions: int | None = None,
    entropy: float | int | Array = 0.0,
    b: ArrayLike | None = None,
    key: AnyKey | None = None,
    sampler: Sampler = sample_directions,
    check_directions: ArrayLike | None = None,
) -> SlicedFlow:
    """Let a point cloud flow to a target down the sliced-Wasserstein distance.

        dX_i = v(X_i) dt + sqrt(2 lambda) dW_i,    v(x_i) = -(n/2) dSW_2^2(X, Y)/dx_i,

    by Euler's method; see `swjax.flows.sliced` for what this time means elsewhere. The mean over
    directions in `v` is one of three:

    - `directions` given: over these, the same in every step. The limits are critical points of
      the discrete loss `E_p`, of which there are more than of `SW_2^2` (`swjax.descend_cells`);
    - `num_directions` given: over as many fresh ones in every step, a stochastic gradient descent;
    - neither: over all directions, in closed form, on the line and in the plane.

    All steps are one compiled scan; `vmap` over clouds, targets, keys and `entropy` works, values
    being unchecked there. For the flow itself rather than its Euler polygon, with an estimate of
    the error, use `gradient_flow(None, x, times, gradient=lambda x: -sliced_velocity(x, y))`.

    Args:
        x: the cloud at time 0, shape (n, d).
        y: target cloud, shape (m, d).
        times: increasing, starting at 0, shape (T,): when to record.
        step_size: the longest step `h`, a number known outside `jit`. Every interval between two
            times is divided evenly into as few steps as that allows.
        directions: unit vectors as rows, shape (L, d), to be used in every step.
        num_directions: how many fresh directions to draw in every step.
        entropy: `lambda >= 0`, the weight of the entropy; the noise of a step has the standard
            deviation `sqrt(2 lambda h)` in every coordinate.
        b: weights of y, shape (m,); None stands for 1/m each.
        key: a JAX random key, for fresh directions and for the noise.
        sampler: what draws fresh directions: a function of key, number and dimension.
        check_directions: unit vectors, shape (K, d), for `values` and `residuals`; by default the
            directions of the velocity and, where these are fresh, 256 equispaced ones in the plane
            and 1024 orthogonal ones in higher dimension.

    Returns:
        `SlicedFlow(times (T,), path (T, n, d), values (T,), residuals (T,))`.

    Raises:
        TypeError: if an array is not of floating-point type, or times or step are traced.
        ValueError: if shapes do not fit together, a cloud is empty, times do not start at 0 or do
            not increase, the step is not positive, `entropy` is negative, both or (in dimension 3
            or more) none of `directions` and `num_directions` are given, or a key is missing.
        FloatingPointError: if the cloud becomes infinite or NaN.

    Example:
        >>> x, shift = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), jnp.array([[3.0, 4.0]])
        >>> flow = sliced_flow(x, x + shift, [0.0, 1.0, 2.0], step_size=0.01)
        >>> [round(float(v), 2) for v in flow.values]  # |shift|^2 e^-t / d, nearly
        [12.5, 4.59, 1.68]
    """
    if directions is not None and num_directions is not None:
        raise ValueError(
            "Give directions (the same in every step) or num_directions (fresh ones), not both."
        )
    fresh = None if num_directions is None else as_count("num_directions", num_directions)
    x, target, known = checked_clouds(x, y, directions, b, drawn=fresh is not None)
    dim = x.shape[1]
    grid = checked_times(times)
    lengths, slots = _steps(grid, step_size)
    if is_concrete(entropy) and not 0 <= float(entropy) < np.inf:
        raise ValueError(f"entropy must be a number >= 0, the weight lambda; got {entropy}.")
    noisy = not is_concrete(entropy) or float(entropy) > 0
    if key is None and (noisy or fresh is not None):
        what = "fresh directions" if fresh is not None else "entropy > 0"
        raise ValueError(f"{what} need randomness: pass key=, for example jax.random.key(0).")
    key = jax.random.key(0) if key is None else key

    if check_directions is not None:
        check = checked_clouds(x, y, check_directions, b)[2]
    else:
        check = None if fresh is None else _default_check(key, dim).astype(x.dtype)
    static = (fresh, sampler, noisy, len(grid))
    path, values, residuals = _run(
        x, target, known, check, key, jnp.asarray(entropy, x.dtype), lengths, slots, static
    )
    if is_concrete(path) and not bool(jnp.all(jnp.isfinite(path))):
        bad = int(jnp.argmin(jnp.all(jnp.isfinite(path), axis=(1, 2))))
        raise FloatingPointError(
            f"The cloud is infinite or NaN at time {grid[bad]:.6g}. Is it finite at time 0? Steps "
            f"must be shorter than 2 d = {2 * dim} for all directions, than 2 for a single one; "
            f"step_size is {step_size}."
        )
    return SlicedFlow(jnp.asarray(grid, x.dtype), path, values, residuals)


def _default_check(key: AnyKey, dim: int) -> Array:
    """Directions to measure value and residual with, where those of the steps change."""
    if dim == 1:
        return jnp.ones((1, 1))
    if dim == 2:
        return equispaced_directions(256)
    return sample_orthogonal_directions(jax.random.fold_in(key, 2**31 - 1), 1024, dim)


def _steps(grid: np.ndarray, step_size: float | int | Array) -> tuple[np.ndarray, np.ndarray]:
    """The length of every step, and the number of the recording it leads to."""
    if not is_concrete(step_size):
        raise TypeError("step_size is being traced; it decides how many steps to take. Fix it.")
    if not 0 < float(step_size) < np.inf:
        raise ValueError(f"step_size must be a positive number, got {step_size}.")
    counts = steps_per_interval(grid, float(step_size))
    return np.repeat(np.diff(grid) / counts, counts), np.repeat(np.arange(1, len(grid)), counts)


@partial(jax.jit, static_argnames="static")
def _run(
    x: Float[Array, "n d"],
    target: Target,
    directions: Float[Array, "L d"] | None,
    check: Float[Array, "K d"] | None,
    key: AnyKey,
    entropy: Float[Array, ""],
    lengths: Float[Array, "steps"],
    slots: Int[Array, "steps"],
    static: tuple[int | None, Sampler, bool, int],
) -> tuple[Float[Array, "T n d"], Float[Array, "T"], Float[Array, "T"]]:
    """All steps, and value and residual of what was recorded."""
    fresh, sampler, noisy, num_times = static
    lengths = jnp.asarray(lengths, x.dtype)
    given = slices_of(target, directions, x.shape[0])
    checked = given if check is None else slices_of(target, check, x.shape[0])

    def step(state: tuple, now: tuple) -> tuple[tuple, None]:
        x, path = state
        number, length, slot = now
        along = given
        direction_key, noise_key = jax.random.split(jax.random.fold_in(key, number))
        if fresh is not None:
            drawn = sampler(direction_key, fresh, x.shape[1]).astype(x.dtype)
            along = slices_of(target, drawn, x.shape[0])
        moved = x + length * drift(x, target, along)[0]
        if noisy:
            noise = jax.random.normal(noise_key, x.shape, x.dtype)
            moved = moved + jnp.sqrt(2 * entropy * length) * noise
        return (moved, path.at[slot].set(moved, mode="promise_in_bounds")), None

    path = jnp.broadcast_to(x, (num_times, *x.shape))
    numbers = jnp.arange(lengths.shape[0])
    (_, path), _ = lax.scan(step, (x, path), (numbers, lengths, slots))
    velocities, values = lax.map(lambda x: drift(x, target, checked), path)
    residuals = jnp.sqrt(jnp.mean(jnp.sum(velocities**2, axis=-1), axis=-1))
    return path, values, residuals
