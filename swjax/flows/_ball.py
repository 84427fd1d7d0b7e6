"""A flow held in a ball: which velocities the sphere lets through, and the way back onto it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Rounding leaves points of the sphere this many machine epsilons, relative to the radius, inside.
_SLACK = 8


def touches_sphere(point: Float[Array, "P"], radius: Array | None) -> Array:
    """Whether a point lies on the sphere around 0 or outside it; without a radius, never."""
    if radius is None:
        return jnp.zeros((), bool)
    slack = _SLACK * jnp.finfo(point.dtype).eps
    return jnp.linalg.norm(point) >= radius * (1 - slack)


def without_radial_part(
    slope: Float[Array, "P"], point: Float[Array, "P"], flag: Array
) -> Float[Array, "P"]:
    """The part of the slope tangent to the sphere through the point, where the flag is set."""
    sq_norm = jnp.vdot(point, point)
    radial = jnp.vdot(slope, point) / jnp.where(sq_norm > 0, sq_norm, 1)
    return jnp.where(flag, slope - radial * point, slope)


def projected_on_ball(point: Float[Array, "P"], radius: Array | None) -> Float[Array, "P"]:
    """The nearest point of the ball; without a radius, the point itself."""
    if radius is None:
        return point
    norm = jnp.linalg.norm(point)
    return jnp.where(norm > radius, point * (radius / jnp.maximum(norm, radius)), point)
