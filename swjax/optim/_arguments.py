"""What the transforms accept: numbers that may be schedules or traced, keys in three forms."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

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
    dtype = _dtype_of(value)
    if not (_is_kind(dtype, jnp.floating) or _is_kind(dtype, jnp.integer)):
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


def canonical_key(key: Any) -> jax.Array:
    """A typed key from an integer, a typed key or a raw `jax.random.PRNGKey`."""
    check_key(key)
    if _is_kind(_dtype_of(key), jax.dtypes.prng_key):
        return key
    return jax.random.key(key) if np.ndim(key) == 0 else jax.random.wrap_key_data(jnp.asarray(key))


def check_key(key: Any) -> None:
    """Raise unless the key has one of the three forms; looks at dtype and shape only."""
    dtype, shape = _dtype_of(key), np.shape(key)
    typed = _is_kind(dtype, jax.dtypes.prng_key)
    words = dtype == jnp.uint32 and len(shape) > 0
    if shape != () and (typed or (words and len(shape) > 1)):
        raise ValueError(
            f"key must be a single key, got an array of keys of shape {shape}. "
            "For one key per run, build the transform inside the vmapped function."
        )
    if not (typed or words or (_is_kind(dtype, jnp.integer) and shape == ())):
        raise TypeError(
            f"key must be a JAX random key, got {key!r}. "
            "Pass jax.random.key(0), jax.random.PRNGKey(0) or an integer."
        )


def check_leaves_can_move(name: str, tree: Any) -> None:
    """Raise, naming the leaf, unless every leaf is a real floating point array or number."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = _dtype_of(leaf)
        if not _is_kind(dtype, jnp.floating):
            found = dtype or type(leaf).__name__
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)} has dtype {found}; only real floating point "
                "leaves can be moved. Keep counters, indices and keys out of the parameters."
            )


def _dtype_of(value: Any) -> Any:
    """The dtype of an array or a Python number; None for anything else."""
    if isinstance(value, bool | int | float | complex):
        return jnp.result_type(value)
    return getattr(value, "dtype", None)


def _is_kind(dtype: Any, kind: Any) -> bool:
    return dtype is not None and jnp.issubdtype(dtype, kind)
