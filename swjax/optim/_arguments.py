"""What the transforms accept: numbers that may be schedules or traced."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from swjax._trees import dtype_of, is_kind

ScalarOrSchedule = ArrayLike | Callable[..., Any]


def check_scalar(name: str, value: Any, *, allow_zero: bool, allow_inf: bool = False) -> None:
    """Raise unless the value is a schedule or one real, positive number.

    The number itself is looked at only when it is concrete: inside `jit` and in a sweep over step
    sizes it is a tracer.
    """
    if callable(value):
        return
    if np.ndim(value) != 0:
        raise ValueError(
            f"{name} must be one number or a schedule, got shape {np.shape(value)}. "
            "For a sweep, build the transform inside the vmapped function."
        )
    dtype = dtype_of(value)
    if not (is_kind(dtype, jnp.floating) or is_kind(dtype, jnp.integer)):
        raise TypeError(f"{name} must be a real number or a schedule, got {value!r}.")
    if isinstance(value, jax.core.Tracer):
        return
    value = float(value)
    large_enough = value >= 0 if allow_zero else value > 0
    if not (large_enough and (allow_inf or value < float("inf"))):
        least = "at least 0" if allow_zero else "positive"
        raise ValueError(
            f"{name} must be {least}{'' if allow_inf else ' and finite'}, got {value}."
        )


def value_at(scalar_or_schedule: ScalarOrSchedule, count: Any) -> Any:
    """The number itself, or the schedule's number at this count."""
    return scalar_or_schedule(count) if callable(scalar_or_schedule) else scalar_or_schedule
