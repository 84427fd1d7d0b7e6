"""Programs whose formal derivative goes wrong, with everything about them in closed form.

Each is a small function on which automatic or implicit differentiation returns something that is
not a gradient: artificial critical points of the identity, a zero function with derivative one, a
linear-program layer on whose formal gradient descent settles in a limit cycle, and a zero function
whose gradient ascent is the Lorenz system. They serve as tests of `check_conservative`,
`circulation` and `implicit_root`, and as figures.

Sources: Bolte and Pauwels, "A mathematical model for automatic differentiation in machine
learning", NeurIPS 2020 (the spurious ReLU programs); Bolte, Le, Pauwels and Silveti-Falls,
"Nonsmooth implicit differentiation for machine learning and optimization", NeurIPS 2021 (failures
of implicit differentiation without invertibility).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float


def spurious_identity(t: ArrayLike, relu: Callable[[Array], Array] = jax.nn.relu) -> Array:
    """The identity written as relu(t) - relu(-t): its AD derivative at 0 is 2 relu'(0).

    With relu'(0) = 0, JAX's choice, gradient descent sees a critical point at t = 0 that the
    identity does not have. It is met only if t_0 is an exact multiple of the step size.

    Args:
        t: numbers, any shape.
        relu: the activation, for instance `functools.partial(swjax.kinks.relu, at_zero=0.5)`.

    Returns:
        The same numbers, with a derivative that is wrong at 0 unless relu'(0) = 1/2.

    Example:
        >>> float(spurious_identity(2.0)), float(jax.grad(spurious_identity)(0.0))
        (2.0, 0.0)
    """
    t = jnp.asarray(t)
    return relu(t) - relu(-t)


def spurious_zero(t: ArrayLike, relu: Callable[[Array], Array] = jax.nn.relu) -> Array:
    """The zero function written as (relu(-t) + t) - relu(t): AD derivative 1 - 2 relu'(0) at 0.

    Args:
        t: numbers, any shape.
        relu: the activation.

    Returns:
        Zeros of the same shape, with a derivative that is 1 at 0 in JAX, where relu'(0) = 0.

    Example:
        >>> float(spurious_zero(2.0)), float(jax.grad(spurious_zero)(0.0))
        (0.0, 1.0)
    """
    t = jnp.asarray(t)
    return (relu(-t) + t) - relu(t)


def lp_margin(point: Float[Array, "2"]) -> Float[Array, ""]:
    """h(x, y) = -3x + y + 2, whose sign decides the solution of the linear program.

    Args:
        point: (x, y), shape `(2,)`.

    Returns:
        Scalar.
    """
    return -3 * point[0] + point[1] + 2


def lp_solution(point: Float[Array, "2"]) -> Float[Array, "2"]:
    """s(x, y) = argmax of (a + b) h(x, y) over the box [0, 3] x [0, 5].

    It is (3, 5) where h > 0 and (0, 0) where h <= 0 (on the line h = 0 every point of the box
    solves it). Locally constant: its formal derivative is 0 wherever one exists.

    Args:
        point: (x, y), shape `(2,)`.

    Returns:
        The solution, `(2,)`.
    """
    return jnp.where(lp_margin(point) > 0, 1.0, 0.0) * jnp.array([3.0, 5.0], point.dtype)


def lp_objective(point: Float[Array, "2"]) -> Float[Array, ""]:
    """(x - s_1)^2 + 4 (y - s_2)^2 with s = `lp_solution`: a quadratic loss behind an LP layer.

    Its formal gradient (2 (x - s_1), 8 (y - s_2)) is what an LP layer differentiates to. Both
    targets lie on the wrong side of the line h = 0, so gradient descent never settles: it is
    attracted by a limit cycle of points none of which is critical (`lp_cycle`).

    Args:
        point: (x, y), shape `(2,)`.

    Returns:
        A scalar, discontinuous across the line h = 0.

    Example:
        >>> [round(float(g), 3) for g in jax.grad(lp_objective)(jnp.array([1.0, 3.0]))]
        [-4.0, -16.0]
    """
    gap = point - lp_solution(point)
    return gap[0] ** 2 + 4 * gap[1] ** 2


class LPCycle(NamedTuple):
    """The limit cycle of the formal gradient flow of `lp_objective`.

    Attributes:
        period: time of one round.
        up_crossing: where it crosses the line h = 0 upward, (x, y).
        down_crossing: where it crosses downward: the reflection of the former in (1.5, 2.5).
        circulation: integral of the formal gradient over one round, minus the integral over time
            of its squared norm.
        curve: [0, 1] to points of the cycle, `(2,)`, starting at the upward crossing, uniform in
            time; the downward crossing is at 1/2.
    """

    period: float
    up_crossing: tuple[float, float]
    down_crossing: tuple[float, float]
    circulation: float
    curve: Callable[[Array], Array]


def lp_cycle() -> LPCycle:
    """The limit cycle of `lp_objective` in closed form, up to one scalar equation.

    On h > 0 the flow is x(t) = 3 + (x - 3) e^(-2t), y(t) = 5 + (y - 5) e^(-8t). The field is
    symmetric about (1.5, 2.5), so half a round takes the upward crossing (x, 3x - 2) to
    (3 - x, 7 - 3x). With q = e^(-2 tau), tau the half period, this says q = x / (3 - x) and

        (x / (3 - x))^4 = (3x - 2) / (7 - 3x),

    which has one root in (2/3, 16/18); the period is log((3 - x) / x).

    Returns:
        An `LPCycle`.

    Example:
        >>> cycle = lp_cycle()
        >>> round(cycle.period, 6), round(cycle.circulation, 1)
        (1.229582, -207.0)
    """
    crossing = lambda x: (x / (3 - x)) ** 4 - (3 * x - 2) / (7 - 3 * x)
    below, x = 2 / 3, 16 / 18
    for _ in range(60):  # bisection: the left side is larger at 2/3, smaller at 16/18
        middle = (below + x) / 2
        below, x = (middle, x) if crossing(middle) > 0 else (below, middle)
    q = x / (3 - x)
    dissipated = 2 * ((3 - x) ** 2 * (1 - q**2) + 4 * (7 - 3 * x) ** 2 * (1 - q**8))

    def curve(s):
        second = s >= 0.5
        time = jnp.where(second, 2 * s - 1, 2 * s) * (-math.log(q) / 2)
        gap = jnp.stack([(x - 3) * jnp.exp(-2 * time), (3 * x - 7) * jnp.exp(-8 * time)])
        point = jnp.array([3.0, 5.0]) + gap
        return jnp.where(second, jnp.array([3.0, 5.0]) - point, point)

    return LPCycle(-math.log(q), (x, 3 * x - 2), (3 - x, 7 - 3 * x), -dissipated, curve)


def lorenz_field(point: Float[Array, "3"]) -> Float[Array, "3"]:
    """The Lorenz vector field (10 (y - x), x (28 - z) - y, x y - 8 z / 3).

    Args:
        point: (x, y, z), shape `(3,)`.

    Returns:
        The velocity, `(3,)`.
    """
    x, y, z = point
    return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 * z / 3])


def lorenz_zero(point: Float[Array, "3"]) -> Float[Array, ""]:
    """A function that is zero everywhere and whose formal gradient is the Lorenz field.

    l(x) = V(w(x)) . (x - w(x)) with w(x) = argmin over w of |w - x|^4, that is w(x) = x. The
    optimality condition of w has a zero Jacobian at the solution, so an implicit derivative by
    least squares (a pseudo-inverse) is zero: the layer stops the gradient without saying so, and
    the formal gradient of l at x is V(x), here the Lorenz field. Gradient *ascent* on this zero
    function with a small step is a chaotic system. `implicit_root` refuses the singular system.

    Args:
        point: (x, y, z), shape `(3,)`.

    Returns:
        0, a scalar.

    Example:
        >>> point = jnp.array([1.0, 2.0, 3.0])
        >>> float(lorenz_zero(point)), [round(float(g), 3) for g in jax.grad(lorenz_zero)(point)]
        (0.0, [10.0, 23.0, -6.0])
    """
    solution = jax.lax.stop_gradient(point)
    return lorenz_field(solution) @ (point - solution)
