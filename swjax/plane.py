"""Arcs of directions in the plane between which the order of projected points does not change.

The direction `theta(f) = (cos f, sin f)` turns from `f = 0` to `pi`, a half circle, as `theta` and
`-theta` agree. Two points project on the same number at the angle orthogonal to their difference,
and change order there. On an arc `[l, h]` between such angles every matching of sorted projections
is constant, and integrals over the direction are those of `theta theta^T`:

    int_l^h theta theta^T df = (h - l)/2 I + (sin(h - l)/2) [[cos s, sin s], [sin s, -cos s]],

with `s = h + l`.
"""

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np


def crossing_angles(difference: Any, xp: ModuleType = jnp) -> Any:
    """The angles at which the direction is orthogonal to a vector.

    The same to the last bit for a vector and its opposite.

    Args:
        difference: vectors, shape (..., 2), of NumPy or JAX.
        xp: `numpy` or `jax.numpy`.

    Returns:
        Angles in [0, pi], shape (...). That of the zero vector is pi, which bounds no arc; its
        derivative is zero.

    Example:
        >>> crossing_angles(np.array([[0.0, 2.0], [1.0, 0.0], [1.0, 1.0]]), np) / np.pi
        array([0.  , 0.5 , 0.75])
    """
    equal = xp.all(difference == 0, axis=-1)
    x, y = xp.where(equal, 0, difference[..., 0]), difference[..., 1]
    across = xp.where(x == 0, xp.abs(y), -xp.sign(x) * y)
    return xp.arctan2(xp.abs(x), xp.where(equal, -1, across))


def arcs(angles: Any, xp: ModuleType = jnp) -> tuple[Any, Any]:
    """Where the arcs between angles begin and end; together they fill [0, pi].

    Args:
        angles: in [0, pi], shape (A,), in any order.
        xp: `numpy` or `jax.numpy`.

    Returns:
        Lower and upper ends, each of shape (A + 1,), ascending; arcs may be empty.

    Example:
        >>> low, high = arcs(np.array([2.0, 1.0]), np)
        >>> low, high.round(3)
        (array([0., 1., 2.]), array([1.   , 2.   , 3.142]))
    """
    breaks = xp.sort(angles)
    ends = xp.asarray([0, np.pi], breaks.dtype)
    return xp.concatenate([ends[:1], breaks]), xp.concatenate([breaks, ends[1:]])


def middle_directions(low: Any, high: Any, xp: ModuleType = jnp) -> Any:
    """The unit vectors in the middle of arcs, shape (..., 2)."""
    middle = (low + high) / 2
    return xp.stack([xp.cos(middle), xp.sin(middle)], axis=-1)


def integrate_over_arcs(low: Any, high: Any, vectors: Any, xp: ModuleType = jnp) -> Any:
    """`int_low^high theta theta^T df` applied to vectors.

    Args:
        low: lower ends, of a shape that broadcasts with the leading axes of the vectors.
        high: upper ends.
        vectors: shape (..., 2).
        xp: `numpy` or `jax.numpy`.

    Returns:
        Vectors, shape (..., 2).

    Example:
        >>> integrate_over_arcs(0.0, np.pi, np.array([[2.0, 0.0]]), np).round(4)  # pi/2 of each
        array([[3.1416, 0.    ]])
    """
    width, total = high - low, high + low
    half_sine = xp.sin(width) / 2
    c, s = xp.cos(total) * half_sine, xp.sin(total) * half_sine
    v, w = vectors[..., 0], vectors[..., 1]
    return xp.stack([(width / 2 + c) * v + s * w, s * v + (width / 2 - c) * w], axis=-1)
