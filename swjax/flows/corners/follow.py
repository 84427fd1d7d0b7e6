"""Kinks that attract a gradient flow from both sides: where it meets them, and how it goes on."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from swjax.flows._ball import touches_sphere, without_radial_part
from swjax.flows.corners.bundle import bundle_of, extended, is_single, longest, moved_on, shortest
from swjax.flows.corners.search import (
    LEAST_TURN,
    NOISE,
    Meeting,
    Way,
    first_kink,
    least_fall,
    turn_at,
)

# Pieces met in one step, those of a corner met one by one included.
_MAX_MEETINGS = 64


class Passage(NamedTuple):
    """A step along the kinks that it meets.

    Attributes:
        met: scalar bool, whether there was a kink; if not, the rest means nothing.
        point: `(P,)`, where the step ends.
        squares: scalar, the integral of the squared velocity.
        slack: scalar, how far the point may be off: the time by which a kink is not known, or that
            after the last of them, times the change of the velocity in it.
        unresolved: scalar, length of the way made while the velocity was still driven back.
    """

    met: Array
    point: Float[Array, "P"]
    squares: Array
    slack: Array
    unresolved: Array


def no_passage(point: Float[Array, "P"]) -> Passage:
    """The passage of a step that meets no kink."""
    zero = jnp.zeros((), point.dtype)
    return Passage(jnp.zeros((), bool), point, zero, zero, zero)


def is_driven_back(here: Float[Array, "P"], ahead: Float[Array, "P"]) -> Array:
    """Whether the velocities at the two ends of a step drive toward each other across a kink.

    They do if the element of least norm of the segment between them lies inside it, and is
    distinctly shorter than either. Along a smooth descent it does not lie inside; where the
    velocity turns smoothly, it is shorter by the square of the angle.

    Args:
        here: velocity where the step starts.
        ahead: velocity where it would end.

    Returns:
        A scalar bool.
    """
    turn = here - ahead
    fall, square = jnp.vdot(here, turn), jnp.vdot(here, here)
    is_inside = jnp.vdot(ahead, turn) < 0
    is_distinct = fall**2 > LEAST_TURN * square * jnp.vdot(turn, turn)
    noise = NOISE * jnp.finfo(here.dtype).eps * jnp.sqrt(square) * jnp.linalg.norm(ahead)
    return is_inside & is_distinct & (fall > noise)


def follow_kinks(
    velocity: Callable[[Array], Array],
    point: Float[Array, "P"],
    here: Float[Array, "P"],
    ahead: Float[Array, "P"],
    held: Array,
    step: Array,
    opposed: Array,
    radius: Array | None,
) -> Passage:
    """A step of which the end is driven back: to the kink, and on along it.

    Until the step is over: the time is found at which the velocity along the way falls, the point
    moves there, the velocity beyond joins the bundle of those met, and the step goes on with the
    shortest element of their hull. Each meeting shortens it, so it ends, at a corner of any number
    of kinks, with a velocity that no piece ahead drives back. If the velocity turns smoothly, there
    is no kink to meet.

    Args:
        velocity: the function point -> velocity.
        point: where the step starts.
        here: velocity there.
        ahead: velocity at the end, `point + step * slope` with the slope that the ball allows.
        held: scalar bool, whether the sphere takes the radial part of these velocities away.
        step: its length.
        opposed: scalar bool, whether there is anything to do; under `vmap` it may be false.
        radius: of the ball that holds the points; `None` for no ball.

    Returns:
        `Passage(met, point (P,), squares, slack, unresolved)`.
    """

    def advance(state: tuple[Way, Passage, Array]) -> tuple[Way, Passage, Array]:
        way, passage, meetings = state
        kink, is_kink = first_kink(velocity, way, step)

        def passed() -> tuple[Way, Passage]:
            onward = _past(way, kink, is_kink, radius)
            time = way.rest - onward.rest
            width = (kink.high - kink.low) * jnp.linalg.norm(way.slope - onward.slope)
            return _looking_ahead(velocity, onward), passage._replace(
                met=is_kink,
                squares=passage.squares + time * jnp.vdot(way.slope, way.slope),
                slack=jnp.maximum(passage.slack, width),
            )

        way, passage = lax.cond(is_kink, passed, lambda: (way._replace(opposed=is_kink), passage))
        return way, passage, meetings + 1

    def is_open(state: tuple[Way, Passage, Array]) -> Array:
        return state[0].opposed & (state[2] < _MAX_MEETINGS)

    slope = without_radial_part(here, point, held)
    turn = without_radial_part(here - ahead, point + step * slope, held)
    way = Way(
        point=point,
        rest=step,
        bundle=bundle_of(here),
        slope=slope,
        held=held,
        end=ahead,
        fall=jnp.vdot(slope, turn),
        change=jnp.linalg.norm(turn),
        opposed=opposed,
    )
    start = (way, no_passage(point), jnp.zeros((), jnp.int32))
    way, passage, _ = lax.while_loop(is_open, advance, start)
    square = jnp.vdot(way.slope, way.slope)
    return passage._replace(
        point=way.point + way.rest * way.slope,
        squares=passage.squares + way.rest * square,
        slack=jnp.maximum(passage.slack, way.rest * way.change),
        unresolved=jnp.where(way.opposed, way.rest * jnp.sqrt(square), 0),
    )


def _past(way: Way, kink: Meeting, is_kink: Array, radius: Array | None) -> Way:
    """The way on from a kink, if it is one, with the velocity beyond it in the bundle."""
    point = way.point + kink.low * way.slope
    bundle = moved_on(way.bundle, kink.before, kink.low > 0)
    norm = jnp.linalg.norm(point)
    inward = -point * (longest(bundle) / jnp.where(norm > 0, norm, 1))
    bundle = extended(bundle, kink.after, inward, touches_sphere(point, radius), is_kink)
    return way._replace(
        point=point,
        rest=way.rest - kink.low,
        bundle=bundle,
        slope=shortest(bundle),
        held=bundle.weights[-1] > 0,
    )


def _looking_ahead(velocity: Callable[[Array], Array], way: Way) -> Way:
    """The way with what lies at its end."""
    inner = way.point + way.rest * way.slope
    end = velocity(inner)
    turn = turn_at(way, way.rest, end)
    fall = jnp.vdot(way.slope, turn)
    alone = is_driven_back(way.slope, without_radial_part(end, inner, way.held))
    least = least_fall(way, turn, end)
    opposed = jnp.where(is_single(way.bundle), alone, fall > least)
    # Past a jump that does not push on, the flow is no faster than the way.
    change, speed = jnp.linalg.norm(turn), jnp.linalg.norm(way.slope)
    change = jnp.where(fall < -least, change, jnp.minimum(change, speed))
    return way._replace(end=end, fall=fall, change=change, opposed=opposed)
