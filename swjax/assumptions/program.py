"""Tracing a generator into the program that JAX would run for one latent point."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, PyTree

from swjax._trees import dtype_of, is_kind

# Primitives that call another program, and the parameter that holds it.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_lin": "jaxpr",
}
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
    return Program(
        closed,
        [jnp.asarray(leaf) for leaf in leaves],
        point.shape,
        own_derivatives_in(operations_in(closed.jaxpr)),
    )


def is_real(leaf: Any) -> bool:
    """Whether a leaf of the parameters holds real numbers, which SGD moves; it keeps the others."""
    return is_kind(dtype_of(leaf), jnp.floating)


def with_real(leaves: Sequence[Any], moved: Sequence[Any]) -> list[Any]:
    """The leaves, with others in the places of those that hold real numbers."""
    left = iter(moved)
    return [next(left) if is_real(leaf) else leaf for leaf in leaves]


def own_derivatives_in(operations: set[str]) -> frozenset[str]:
    """Those of the operations that have derivative rules of their own."""
    return frozenset(operations & _OWN_DERIVATIVE)


def operations_in(jaxpr: Any) -> set[str]:
    """The names of all operations of a program and of the programs that it calls."""
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            if hasattr(inner, "eqns"):
                found |= operations_in(getattr(inner, "jaxpr", inner))
    return found
