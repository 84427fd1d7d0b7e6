"""Random keys in the three forms that JAX knows, made one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swjax._trees import dtype_of, is_kind


def canonical_key(key: Any) -> jax.Array:
    """A typed key from an integer, a typed key or a raw `jax.random.PRNGKey`.

    Raises:
        ValueError: if it is an array of keys.
        TypeError: if it is no key.
    """
    check_key(key)
    if is_kind(dtype_of(key), jax.dtypes.prng_key):
        return key
    return jax.random.key(key) if np.ndim(key) == 0 else jax.random.wrap_key_data(jnp.asarray(key))


def check_key(key: Any) -> None:
    """Raise unless the key has one of the three forms; looks at dtype and shape only."""
    dtype, shape = dtype_of(key), np.shape(key)
    typed = is_kind(dtype, jax.dtypes.prng_key)
    words = dtype == jnp.uint32 and len(shape) > 0
    if shape != () and (typed or (words and len(shape) > 1)):
        raise ValueError(
            f"key must be a single key, got an array of keys of shape {shape}. "
            "For one key per run, build the transform inside the vmapped function."
        )
    if not (typed or words or (is_kind(dtype, jnp.integer) and shape == ())):
        raise TypeError(
            f"key must be a JAX random key, got {key!r}. "
            "Pass jax.random.key(0), jax.random.PRNGKey(0) or an integer."
        )
