"""Where a straight way first meets a kink that drives it back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from swjax.flows._ball import without_radial_part
from swjax.flows.corners.bundle import Bundle, difference_from_nearest, longest, mean_velocity

# A kink is looked for if it shortens the square of the velocity by more than this share.
LEAST_TURN = 1e-6
# Velocities are told apart down to this many machine epsilons.
NOISE = 8
# The time at which a kink is met is found to this part of the step.
_PART = 2.0**-16
# Found that closely, a turn is a kink if it is this many times what it would be if the velocity
# turned evenly.
_JUMP = 4.0
# An even turn is given up after that many halvings.
_LEVELS = 6


class Way(NamedTuple):
    """The straight rest of a step: from a point for some time along the shortest velocity.

    `held` says that the sphere takes the radial part of velocities away, `end` is the velocity at
    the end, `fall` how much of `|slope|^2` is lost there, `change` by how much the flow may go
    faster or slower there, `opposed` whether it is driven back.
    """

    point: Float[Array, "P"]
    rest: Array
    bundle: Bundle
    slope: Float[Array, "P"]
    held: Array
    end: Float[Array, "P"]
    fall: Array
    change: Array
    opposed: Array


class Meeting(NamedTuple):
    """Two times that bracket a turn of the velocity, the velocities then, and their falls."""

    low: Array
    high: Array
    before: Float[Array, "P"]
    after: Float[Array, "P"]
    fall_before: Array
    fall_after: Array
    trials: Array


def first_kink(velocity: Callable[[Array], Array], way: Way, step: Array) -> tuple[Meeting, Array]:
    """The first kink on the way at which the velocity along it falls, and whether there is one.

    Between the start and the end the time is found at which the velocity along the way falls by
    half of what it falls altogether; then the same before that time, as long as it falls before
    as well. Along the way, not across it: the pieces that the way runs between have the same part
    there.
    """
    finest = _PART * step
    start, zero, none = mean_velocity(way.bundle), jnp.zeros_like(step), jnp.zeros((), jnp.int32)

    def narrowed(end: Meeting) -> tuple[Meeting, Array]:
        def steepness(kink: Meeting) -> Array:
            even = end.fall_before * (kink.high - kink.low) / end.low
            return (kink.fall_after - kink.fall_before) / even

        def halve(kink: Meeting) -> Meeting:
            # On a kink the next step begins at it: the first trial is at the resolution itself.
            time = jnp.where(kink.trials == 0, finest, (kink.low + kink.high) / 2)
            found = velocity(way.point + time * way.slope)
            fall = jnp.vdot(way.slope, turn_at(way, time, found))
            later = kink._replace(low=time, before=found, fall_before=fall)
            sooner = kink._replace(high=time, after=found, fall_after=fall)
            kink = _choose(fall < end.fall_before / 2, later, sooner)
            return kink._replace(trials=kink.trials + 1)

        def is_coarse(kink: Meeting) -> Array:
            is_even = jnp.abs(steepness(kink) - 1) < 0.5
            return (kink.high - kink.low > finest) & ~(is_even & (kink.trials > _LEVELS))

        whole = Meeting(zero, end.low, start, end.before, zero, end.fall_before, none)
        kink = lax.while_loop(is_coarse, halve, whole)
        return kink, steepness(kink) > _JUMP

    def search(state: tuple[Meeting, Meeting, Array, Array]) -> tuple:
        end, kink, is_kink, _ = state
        found, is_steep = narrowed(end)
        least = least_fall(way, found.after - found.before, found.after)
        is_jump = is_steep & (found.fall_after - found.fall_before > least)
        # An even fall is half as deep in the middle. If not, and no jump is here, there are others.
        is_uneven = jnp.abs(found.low / end.low - 0.5) > 0.25
        more = (found.fall_before > least) & (is_jump | is_uneven)
        return found, _choose(is_jump, found, kink), is_kink | is_jump, more

    yes = jnp.ones((), bool)
    end = Meeting(way.rest, way.rest, way.end, way.end, way.fall, way.fall, none)
    _, kink, is_kink, _ = lax.while_loop(lambda state: state[3], search, (end, end, ~yes, yes))
    return kink, is_kink


def turn_at(way: Way, time: Array, found: Float[Array, "P"]) -> Float[Array, "P"]:
    """How a velocity found on the way differs from the slope, as far as the ball lets it.

    All velocities that the slope is a combination of have the same part along it. So the nearest of
    them stands for it, which leaves no rounding of strong kinks where weak ones are sought.
    """
    turn = difference_from_nearest(way.bundle, found)
    return without_radial_part(turn, way.point + time * way.slope, way.held)


def least_fall(way: Way, turn: Array, found: Array) -> Array:
    """The least fall of the velocity along the way that counts, and is not rounding."""
    norm = jnp.linalg.norm(way.slope)
    noise = norm * jnp.linalg.norm(found) + longest(way.bundle) * jnp.linalg.norm(turn)
    return jnp.maximum(LEAST_TURN * norm**2, NOISE * jnp.finfo(found.dtype).eps * noise)


def _choose(condition: Array, first: Any, second: Any) -> Any:
    """The leaves of the first tree where the condition holds, else of the second."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)
