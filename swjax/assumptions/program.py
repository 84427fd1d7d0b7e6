"""Tracing a generator into the program that JAX would run for one latent point."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, PyTree

# Operations whose derivative in JAX need not be that of the function.
_OWN_DERIVATIVE = {"stop_gradient", "custom_jvp_call", "custom_vjp_call"}


class Program(NamedTuple):
    """A traced generator for one latent point.

    Attributes:
        jaxpr: the program, from the parameter arrays and a point `(1, d_x)` to `(1, d_y)`.
        leaves: the parameter arrays.
        point_shape: `(1, d_x)`.
        own_derivatives: names of operations in it with derivative rules of their own.
    """

    jaxpr: ClosedJaxpr
    leaves: list[Array]
    point_shape: tuple[int, int]
    own_derivatives: frozenset[str]


def trace(apply: Callable[..., Array], params: PyTree, dim: int) -> Program:
    """Trace `apply(params, x)` for one latent point of the given dimension."""
    leaves, structure = jax.tree.flatten(params)
    point = jax.ShapeDtypeStruct((1, dim), jnp.zeros(()).dtype)
    program = lambda *inputs: apply(jax.tree.unflatten(structure, inputs[:-1]), inputs[-1])
    closed = jax.make_jaxpr(program)(*leaves, point)
    operations: set[str] = set()
    _collect(closed.jaxpr, operations)
    return Program(
        closed,
        [jnp.asarray(leaf) for leaf in leaves],
        point.shape,
        frozenset(operations & _OWN_DERIVATIVE),
    )


def _collect(jaxpr: Any, found: set[str]) -> None:
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            if hasattr(inner, "eqns"):
                _collect(getattr(inner, "jaxpr", inner), found)
