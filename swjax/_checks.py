"""Checks that several modules need: what is known while JAX traces, and which types come in."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def is_concrete(*arrays: Any) -> bool:
    """Whether all values are known now: no array is being traced by jit, grad, vmap or scan.

    Shapes and types are checked always, values (unit directions, weights) only when this is true.
    """
    return not any(isinstance(array, jax.core.Tracer) for array in arrays)


def as_real_array(name: str, value: ArrayLike) -> Array:
    """The value as a floating-point array; integers and complex numbers are refused.

    Integer clouds are refused rather than converted: their derivatives do not exist, and libraries
    that keep integer arithmetic return wrong distances without a word.
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {array.dtype}; a floating-point array is expected. "
            f"Convert it first, for example with {name}.astype(float)."
        )
    return array


def working_dtype(*arrays: Array) -> jnp.dtype:
    """The type all arrays are computed in: the common one, but never less than float32."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
