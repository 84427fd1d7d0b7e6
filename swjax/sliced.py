"""Sliced-Wasserstein losses and distances between point clouds.

Two clouds are projected on L directions; each pair of projected clouds has a Wasserstein distance on
the line, known in closed form; the loss is the mean over the directions.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from swjax._checks import as_real_array, is_concrete, working_dtype
from swjax.wasserstein1d import lane_costs


def sw2_sq(x: ArrayLike, y: ArrayLike, directions: ArrayLike) -> Array:
    """The squared sliced-Wasserstein distance of order 2, averaged over the directions.

    With theta_l the rows of `directions`, and both projected clouds in ascending order::

        SW_2^2 = (1/L) sum_l (1/n) sum_k ((theta_l . x)_(k) - (theta_l . y)_(k))^2.

    This is the loss f of Tanguy (2023), "Convergence of SGD for training neural networks with
    sliced Wasserstein losses", for L directions. It is differentiable in the clouds and the
    directions, to any order, by the almost-everywhere gradient: the sorting permutations are held
    fixed, ties keep their order, and the gradient is zero at x = y.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (n, d).
        directions: Unit vectors as rows, shape (L, d), for example from `sample_directions`.

    Returns:
        A scalar, not a root, in float64 if an input is, else in float32.

    Raises:
        TypeError: If an input is not a floating-point array.
        ValueError: If shapes do not fit together, a cloud or the directions are empty, or a row of
            `directions` is not of unit length (checked where values are known: not in `jit`).

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> float(sw2_sq(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2)))
        12.5
    """
    return _mean_cost(*_checked(x, y, directions), 2.0)


def sw2_sq_per_direction(x: ArrayLike, y: ArrayLike, directions: ArrayLike) -> Array:
    """W_2^2 between the projected clouds, for every direction; their mean is `sw2_sq`.

    Args:
        x: First cloud, shape (n, d).
        y: Second cloud, shape (n, d).
        directions: Unit vectors as rows, shape (L, d).

    Returns:
        Shape (L,).

    Raises:
        TypeError: As `sw2_sq`.
        ValueError: As `sw2_sq`.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
        >>> sw2_sq_per_direction(x, x + jnp.array([[3.0, 4.0]]), jnp.eye(2)).tolist()
        [9.0, 16.0]
    """
    return _costs(*_checked(x, y, directions), 2.0)


@partial(jax.jit, static_argnums=3)
def _mean_cost(x: Array, y: Array, directions: Array, p: float) -> Float[Array, ""]:
    return jnp.mean(_costs(x, y, directions, p))


@partial(jax.jit, static_argnums=3)
def _costs(
    x: Float[Array, "n d"], y: Float[Array, "n d"], directions: Float[Array, "L d"], p: float
) -> Float[Array, "L"]:
    return lane_costs(_project(x, directions), _project(y, directions), p)


def _project(cloud: Float[Array, "n d"], directions: Float[Array, "L d"]) -> Float[Array, "n L"]:
    """Scalar products in full precision: rounding to TensorFloat-32 would change the ranks."""
    return jnp.matmul(cloud, directions.T, precision=lax.Precision.HIGHEST)


def _checked(x: ArrayLike, y: ArrayLike, directions: ArrayLike) -> tuple[Array, Array, Array]:
    """The inputs in the type to compute in, or an error that says what is wrong with them."""
    x, y = as_real_array("x", x), as_real_array("y", y)
    directions = as_real_array("directions", directions)
    for name, array in (("x", x), ("y", y), ("directions", directions)):
        if array.ndim != 2 or array.size == 0:
            wanted = "(L, d) with L >= 1 unit vectors as rows" if name == "directions" else "(n, d)"
            raise ValueError(f"{name} has shape {array.shape}; expected {wanted}, not empty.")
    if not x.shape[1] == y.shape[1] == directions.shape[1]:
        raise ValueError(
            f"x {x.shape}, y {y.shape} and directions {directions.shape} must agree in their last "
            "axis, the dimension of space."
        )
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"x has {x.shape[0]} points and y has {y.shape[0]}; they must be as many.")
    if is_concrete(directions):
        _check_unit_length(directions)
    dtype = working_dtype(x, y, directions)
    return x.astype(dtype), y.astype(dtype), directions.astype(dtype)


def _check_unit_length(directions: Array) -> None:
    lengths = np.linalg.norm(np.asarray(directions, np.float64), axis=1)
    tolerance = 4 * float(jnp.finfo(directions.dtype).eps) * max(8, directions.shape[1] ** 0.5)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= tolerance))
    if wrong.size:
        raise ValueError(
            f"directions[{wrong[0]}] has length {lengths[wrong[0]]:.6g}; every row must have "
            "length 1. Normalize them: directions / jnp.linalg.norm(directions, axis=1, keepdims=True)."
        )
