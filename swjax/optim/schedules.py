"""Vanishing step sizes: the two families that the theory of nonsmooth SGD speaks about."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from swjax.optim._arguments import check_scalar


def power_schedule(scale: ArrayLike, power: ArrayLike = 1.0) -> optax.Schedule:
    """Step sizes that decay like a power: `scale / (count + 1)**power`.

    With `count = k - 1` at the k-th step this is `c / k**q`. For `0 < q <= 1` the sum of the steps
    is infinite and they are `o(1 / log k)`, which is what SGD with automatic differentiation of a
    nonsmooth loss needs to converge on bounded runs (Bolte and Pauwels, "Conservative set valued
    fields, automatic differentiation, stochastic gradient methods and deep learning", Mathematical
    Programming 188, 2021). For `q > 1/2` the sum of their squares is finite as well (Robbins and
    Monro). For `q > 1` the sum of the steps is finite: the iterates may stop before they arrive.

    Args:
        scale: the first step size, a positive scalar `()`.
        power: the exponent, a positive scalar `()`.

    Returns:
        An Optax schedule: takes the number of updates made so far, gives a scalar `()` in the
        default float type.

    Raises:
        ValueError: if a number is not positive and finite (checked when concrete) or not a scalar.
        TypeError: if it is not a real number.

    >>> schedule = power_schedule(0.5, 0.5)
    >>> [round(float(schedule(count)), 3) for count in (0, 3, 99)]
    [0.5, 0.25, 0.05]
    """
    _check("scale", scale)
    _check("power", power)

    def schedule(count: ArrayLike) -> Float[Array, ""]:
        return _as_float(scale) / (_as_float(count) + 1) ** power

    return schedule


def inverse_log_schedule(scale: ArrayLike, power: ArrayLike = 2.0) -> optax.Schedule:
    """Step sizes that decay like a power of the logarithm: `scale / log(count + e)**power`.

    For `power > 1` they are `o(1 / log k)` with an infinite sum: the slowest decay, of this form,
    under which the convergence theorem of Bolte and Pauwels (Mathematical Programming 188, 2021)
    holds. `power = 1`, that is `c / log k`, is the border that the theorem leaves out.

    Args:
        scale: the first step size, a positive scalar `()`.
        power: the exponent of the logarithm, a positive scalar `()`.

    Returns:
        An Optax schedule: takes the number of updates made so far, gives a scalar `()` in the
        default float type.

    Raises:
        ValueError: if a number is not positive and finite (checked when concrete) or not a scalar.
        TypeError: if it is not a real number.

    >>> schedule = inverse_log_schedule(0.5)
    >>> [round(float(schedule(count)), 4) for count in (0, 1000, 10**6)]
    [0.5, 0.0105, 0.0026]
    """
    _check("scale", scale)
    _check("power", power)

    def schedule(count: ArrayLike) -> Float[Array, ""]:
        return _as_float(scale) / jnp.log(_as_float(count) + jnp.e) ** power

    return schedule


def _as_float(count: ArrayLike) -> Float[Array, ""]:
    return jnp.asarray(count, jnp.zeros(()).dtype)


def _check(name: str, value: ArrayLike) -> None:
    if callable(value):
        raise TypeError(f"{name} must be a number, got the function {value!r}.")
    check_scalar(name, value, allow_zero=False)
