"""Arcs of directions in the plane on which the order of all projections is constant."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def arcs_of_the_plane(
    x: Float[Array, "n 2"], v: Float[Array, "n 2"], y: Float[Array, "m 2"]
) -> tuple[Float[Array, "arcs 2"], Float[Array, "arcs 2 2"]]:
    """The direction in the middle of each arc, and the mean of `theta theta^T` restricted to it.

    Two points change order at the angle orthogonal to their difference; coinciding points of `x`
    are ordered by `v`, and do so at the angle orthogonal to the difference of their `v`. Angles run
    over `[0, pi]`, a half circle, as `theta` and `-theta` agree. On an arc `[l, h]`

        (1/pi) int_l^h theta theta^T dphi
            = [[w + s, c], [c, w - s]] / (2 pi),
        w = h - l,   s = cos(h + l) sin(h - l),   c = sin(h + l) sin(h - l).

    Returns:
        Directions `(J, 2)` and matrices `(J, 2, 2)` that sum to half the identity, with
        `J = n (n - 1) / 2 + m (m - 1) / 2 + 1`.
    """
    i, j = np.triu_indices(x.shape[0], 1)
    apart = x[i] - x[j]
    tied = jnp.all(apart == 0, axis=1, keepdims=True)
    apart = jnp.where(tied, v[i] - v[j], apart)
    k, l = np.triu_indices(y.shape[0], 1)
    breaks = jnp.sort(jnp.concatenate([_orthogonal_angle(apart), _orthogonal_angle(y[k] - y[l])]))
    ends = jnp.array([0, np.pi], x.dtype)
    low = jnp.concatenate([ends[:1], breaks])
    high = jnp.concatenate([breaks, ends[1:]])
    middle, width = (low + high) / 2, high - low
    directions = jnp.stack([jnp.cos(middle), jnp.sin(middle)], axis=1)
    s, c = jnp.cos(low + high) * jnp.sin(width), jnp.sin(low + high) * jnp.sin(width)
    matrices = jnp.stack([width + s, c, c, width - s], axis=1).reshape(-1, 2, 2) / (2 * np.pi)
    return directions, matrices


def _orthogonal_angle(difference: Array) -> Array:
    """The angle in [0, pi] orthogonal to a vector; that of zero bounds no arc, and is any."""
    angle = jnp.arctan2(difference[:, 1], difference[:, 0]) + np.pi / 2
    return jnp.clip(angle % np.pi, 0, np.pi)
