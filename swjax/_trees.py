"""Pytrees: which leaves may be moved, and dataclasses that pass through JAX transformations."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

T = TypeVar("T", bound=type)


def dtype_of(value: Any) -> Any:
    """The dtype of an array or a Python number; `None` for anything else."""
    if isinstance(value, bool | int | float | complex):
        return jnp.result_type(value)
    return getattr(value, "dtype", None)


def is_kind(dtype: Any, kind: Any) -> bool:
    """Whether there is a dtype, and of that kind, such as `jnp.floating`."""
    return dtype is not None and jnp.issubdtype(dtype, kind)


def check_floating_leaves(name: str, tree: Any) -> None:
    """Refuse a tree with a leaf that is no real floating-point array or number.

    Looks at dtypes only, so that it works while JAX traces.

    Args:
        name: what the tree is called in the error.
        tree: a pytree; `None` and empty trees have no leaves.

    Raises:
        TypeError: naming the first such leaf and its dtype.

    >>> check_floating_leaves("params", {"w": jnp.ones(2), "steps": jnp.arange(2)})
    Traceback (most recent call last):
        ...
    TypeError: params['steps'] has dtype int32; every leaf must be a real floating-point array...
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = dtype_of(leaf)
        if not is_kind(dtype, jnp.floating):
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)} has dtype {dtype or type(leaf).__name__}; "
                "every leaf must be a real floating-point array. Keep counters, indices and keys "
                f"out of {name}."
            )


def at_least_float32(leaf: Any) -> jax.Array:
    """The leaf as an array, half precision widened to float32."""
    return jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))


def as_vector(name: str, tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """The tree as one vector of at least float32, and the function that restores it.

    Raises:
        TypeError: as `check_floating_leaves`.
    """
    check_floating_leaves(name, tree)
    return ravel_pytree(jax.tree.map(at_least_float32, tree))


def as_pytree(*leaves: str) -> Callable[[T], T]:
    """Register a dataclass as a pytree with the named fields as leaves and the others static.

    Rebuilding skips the constructor: JAX puts other things than arrays into the leaves, which the
    checks of a constructor would refuse.
    """

    def register(cls: T) -> T:
        static = tuple(f.name for f in dataclasses.fields(cls) if f.name not in leaves)

        def flatten(node: Any) -> tuple[tuple, tuple]:
            data = tuple(getattr(node, name) for name in leaves)
            return data, tuple(getattr(node, name) for name in static)

        def flatten_with_keys(node: Any) -> tuple[tuple, tuple]:
            data, meta = flatten(node)
            keys = tuple(jax.tree_util.GetAttrKey(name) for name in leaves)
            return tuple(zip(keys, data, strict=True)), meta

        def unflatten(meta: tuple, data: Iterable) -> Any:
            node = object.__new__(cls)
            for name, value in zip(leaves + static, tuple(data) + meta, strict=True):
                object.__setattr__(node, name, value)
            return node

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return register
