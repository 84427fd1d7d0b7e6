"""Directions with weights that integrate smooth functions over the unit sphere."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from swjax._checks import as_real_array, check_unit_length
from swjax.directions import equispaced_directions

_NUM_ANGLES = 256
_NUM_HEIGHTS = 128


def directions_and_weights(
    dim: int, directions: ArrayLike | None
) -> tuple[Float[Array, "L d"], Float[Array, " L"]]:
    """The directions to average over between two Gaussian laws, with weights.

    Args:
        dim: dimension d.
        directions: unit vectors as rows, `(L, d)`, which get equal weights; `None` for quadrature,
            in dimension 1 to 3: exact to rounding for smooth even functions.

    Returns:
        Unit vectors as rows, `(L, d)`, and weights `(L,)` that sum to 1.
    """
    if directions is not None:
        rows = as_real_array("directions", directions)
        if rows.ndim != 2 or rows.shape[1] != dim or len(rows) == 0:
            raise ValueError(f"directions must have shape (L, {dim}), got {rows.shape}.")
        check_unit_length(rows)
        return rows, jnp.full(len(rows), 1 / len(rows))
    if dim == 1:
        return jnp.ones((1, 1)), jnp.ones(1)
    if dim > 3:
        raise ValueError(
            f"Between two covariance matrices in dimension {dim} a mean over directions is taken: "
            "pass them, for example sample_quasi_directions(key, 4096, dim). If a covariance is a "
            "multiple of the identity, pass the variance as a number instead."
        )
    return _sphere_rule(dim)


def _sphere_rule(dim: int) -> tuple[Float[Array, "L d"], Float[Array, " L"]]:
    """Directions and weights that integrate smooth even functions, in dimension 2 or 3."""
    if dim == 2:
        directions = equispaced_directions(_NUM_ANGLES)
        return directions, jnp.full(_NUM_ANGLES, 1 / _NUM_ANGLES)
    heights, weights = np.polynomial.legendre.leggauss(_NUM_HEIGHTS)
    heights, weights = heights[heights > 0], weights[heights > 0]
    angles = 2 * np.pi * np.arange(_NUM_ANGLES) / _NUM_ANGLES
    across = np.sqrt(1 - heights**2)[:, None] * np.ones_like(angles)[None]
    points = np.stack(
        [
            across * np.cos(angles)[None],
            across * np.sin(angles)[None],
            np.broadcast_to(heights[:, None], across.shape),
        ],
        axis=-1,
    )
    weights = np.repeat(weights / _NUM_ANGLES, _NUM_ANGLES)
    return jnp.asarray(points.reshape(-1, 3), float), jnp.asarray(weights, float)
