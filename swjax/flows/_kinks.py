"""Kinks that attract a gradient flow from both sides: where it meets them, and how it goes on."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# A turn of the gradient counts as a kink if it leaves less than this share of its length. Where the
# gradient is Lipschitz, the share tends to 1 as the step shrinks.
_LEFT = 0.99
_HALVINGS = 16


def is_attracting(here: Float[Array, "P"], ahead: Float[Array, "P"]) -> Array:
    """Whether the velocities at the two ends of a step drive toward each other across a kink.

    They do if the element of least norm of the segment between them lies inside it, and is
    distinctly shorter than either.

    Args:
        here: velocity where the step starts.
        ahead: velocity where it would end.

    Returns:
        A scalar bool.
    """
    weight = _weight_of_ahead(here, ahead)
    least = here + weight * (ahead - here)
    shorter = jnp.minimum(jnp.vdot(here, here), jnp.vdot(ahead, ahead))
    return (weight > 0) & (weight < 1) & (jnp.vdot(least, least) < _LEFT**2 * shorter)


def slide(
    velocity: Callable[[Array], Array],
    point: Float[Array, "P"],
    here: Float[Array, "P"],
    ahead: Float[Array, "P"],
    step: Array,
) -> tuple[Array, Float[Array, "P"]]:
    """How long the step runs before it meets the kink, and the velocity along the kink after.

    The kink is where the velocity changes sides along the difference of those at the ends.

    Args:
        velocity: the function point -> velocity.
        point: where the step starts.
        here: velocity there.
        ahead: velocity at `point + step * here`.
        step: its length.

    Returns:
        The time before the kink, in `[0, step]`, and the velocity of least norm, `(P,)`.
    """
    normal = here - ahead
    middle = jnp.vdot(normal, here + ahead) / 2

    def halve(_: Any, bracket: tuple) -> tuple:
        low, high, before, after = bracket
        time = (low + high) / 2
        found = velocity(point + time * here)
        is_before = jnp.vdot(normal, found) > middle
        return (
            jnp.where(is_before, time, low),
            jnp.where(is_before, high, time),
            jnp.where(is_before, found, before),
            jnp.where(is_before, after, found),
        )

    bracket = (jnp.zeros_like(step), step, here, ahead)
    low, _, before, after = lax.fori_loop(0, _HALVINGS, halve, bracket)
    weight = jnp.clip(_weight_of_ahead(before, after), 0, 1)
    return low, before + weight * (after - before)


def _weight_of_ahead(here: Array, ahead: Array) -> Array:
    """The weight of `ahead` in the least element of the line through the two; 0 if they agree."""
    difference = here - ahead
    square = jnp.vdot(difference, difference)
    return jnp.where(square > 0, jnp.vdot(here, difference) / jnp.where(square > 0, square, 1), 0)
