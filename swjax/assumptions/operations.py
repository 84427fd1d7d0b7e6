"""The operations of a program alone: without the derivative rules that its functions bring along.

Where a function has a derivative rule of its own (`jax.custom_jvp`, `jax.custom_vjp`), or a value
is kept out of derivatives (`stop_gradient`), what JAX returns is the derivative of something else,
unless rule and function agree. Differentiating the operations that the function is made of tells.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal

from swjax.assumptions.program import CALLS, operations_in, own_derivatives_in


def operations_alone(program: ClosedJaxpr) -> Callable[..., list[Any]]:
    """The function of a program, differentiated through its operations.

    Args:
        program: a traced function.

    Returns:
        A function of the inputs of the program with its values.
    """
    return lambda *inputs: _run(program.jaxpr, program.consts, inputs)


def _run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    known: dict[Any, Any] = {}
    known.update(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))
    value_of = lambda v: v.val if isinstance(v, Literal) else known[v]
    for equation in jaxpr.eqns:
        results = _apply(equation, [value_of(v) for v in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [value_of(v) for v in jaxpr.outvars]


def _apply(equation: Any, parts: list[Any]) -> Sequence[Any]:
    primitive, params = equation.primitive, equation.params
    if primitive.name == "stop_gradient":
        return parts
    if primitive.name in CALLS and CALLS[primitive.name] in params:
        inner = params[CALLS[primitive.name]]
        if isinstance(inner, ClosedJaxpr):
            return _run(inner.jaxpr, inner.consts, parts)
        return _run(inner, (), parts)
    params = {name: _without_rules(value) for name, value in params.items()}
    results = primitive.bind(*parts, **params)
    return results if primitive.multiple_results else [results]


def _without_rules(parameter: Any) -> Any:
    """The bodies of loops and branches with their operations alone; all else as it is."""
    if isinstance(parameter, tuple) and any(isinstance(each, ClosedJaxpr) for each in parameter):
        return tuple(_without_rules(each) for each in parameter)
    if isinstance(parameter, ClosedJaxpr) and own_derivatives_in(operations_in(parameter.jaxpr)):
        return jax.make_jaxpr(operations_alone(parameter))(*parameter.in_avals)
    return parameter
