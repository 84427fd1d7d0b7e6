"""Reading a generator: follow its JAX program operation by operation, without running it.

The program of `apply(params, x)` for one latent point is traced once. A second interpretation then
replaces every array by what is known about it (`Value`): how smooth it is in the parameters and in
the point, and bounds of its values, Lipschitz constants and second derivatives. No class or name of
a layer is looked at, only the operations; one that has no rule makes the verdict "unknown".
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from swjax._trees import dtype_of, is_kind
from swjax.assumptions.bounds import (
    Value,
    broadcast,
    joined,
    of_constant,
    rearranged,
    unknown,
)
from swjax.assumptions.examination import examined
from swjax.assumptions.expressions import ELEMENTWISE, LOGIC, Expression, evaluate_known
from swjax.assumptions.program import CALLS, Program
from swjax.assumptions.rules import IDENTITIES, RULES, elementwise
from swjax.assumptions.softmax import recognized, remember

# Elementwise operations that JAX spells differently from the table.
_SPELLING = {"pow": "power", "add_any": "add"}
_LONGEST_LOOP = 2000
_LARGEST_EXPRESSION = 400


def read(program: Program, radius: float, point_radius: float) -> Value:
    """What is known about the output for all parameters and points in two balls.

    Args:
        program: from `trace`.
        radius: largest norm of the parameters, `inf` allowed.
        point_radius: largest norm of the latent point, `inf` allowed.
    """
    inputs, floating = _parameters(program, radius)
    inputs.append(Value(program.point_shape, norm=point_radius, dx=1.0, uses_x=True))
    return _Reader(floating, 0.0, radius).output(program.jaxpr, inputs)


def vanishes(program: Program, norm: float, point_radius: float) -> bool:
    """Whether the output is known to be zero for all parameters of at least the given norm."""
    inputs, floating = _parameters(program, math.inf)
    inputs.append(Value(program.point_shape, norm=point_radius, dx=1.0, uses_x=True))
    reader = _Reader(floating, norm, math.inf, examines=False)
    output = reader.output(program.jaxpr, inputs)
    return output.low == output.high == 0


def _parameters(program: Program, radius: float) -> tuple[list[Value], frozenset[int]]:
    """The parameter arrays of norm up to `radius`, and the numbers of those that can move."""
    inputs = []
    for number, leaf in enumerate(program.leaves):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            entries = frozenset([number])
            inputs.append(Value(leaf.shape, norm=radius, du=1.0, uses_u=True, entries=entries))
        else:
            inputs.append(of_constant(leaf))
    return inputs, frozenset(n for n, v in enumerate(inputs) if v.uses_u)


def read_at(program: Program, point_radius: float) -> Value:
    """The same for the given parameters, as a function of the latent point alone."""
    point = Value(program.point_shape, norm=point_radius, dx=1.0, uses_x=True)
    inputs = [*map(of_constant, program.leaves), point]
    return _Reader(frozenset(), 0.0, math.inf).output(program.jaxpr, inputs)


class _Reader:
    """The interpreter: keeps the arrays from which elementwise expressions start."""

    def __init__(
        self,
        leaves: frozenset[int],
        norm_at_least: float,
        radius: float,
        *,
        examines: bool = True,
    ):
        self._examines = examines
        self._leaves = leaves
        self._squared_norm = norm_at_least**2, radius**2
        self._roots: dict[int, Value] = {}
        # By identity of the value, which is kept alive here.
        self._rooted_values: dict[int, tuple[Value, Value]] = {}

    def output(self, closed: ClosedJaxpr, inputs: Sequence[Value]) -> Value:
        (value,) = self._run(closed.jaxpr, closed.consts, inputs)
        return self._settled(value)

    def _run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
        known: dict[Any, Value] = {}
        known.update(zip(jaxpr.constvars, map(of_constant, consts), strict=True))
        known.update(zip(jaxpr.invars, inputs, strict=True))
        value_of = lambda v: of_constant(v.val) if isinstance(v, Literal) else known[v]
        for equation in jaxpr.eqns:
            parts = [value_of(v) for v in equation.invars]
            results = self._apply(equation, parts)
            known.update(zip(equation.outvars, map(self._bounded_norm, results), strict=True))
        return [value_of(v) for v in jaxpr.outvars]

    def _apply(self, equation: Any, parts: list[Value]) -> list[Value]:
        name, params = equation.primitive.name, equation.params
        shapes = [v.aval.shape for v in equation.outvars]
        if name in CALLS and CALLS[name] in params:
            return self._call(params[CALLS[name]], parts)
        reason = None if _are_known(parts) else _beyond_the_rules(equation)
        if reason is not None:
            return [unknown(shape, [self._settled(v) for v in parts], reason) for shape in shapes]
        if name in ("scan", "while", "cond"):
            return getattr(self, f"_{name}")(params, parts, shapes)
        converts_to = _whole_numbers_made(equation)
        if name in IDENTITIES and parts[0].constant is None and converts_to is None:
            return [parts[0]]
        if name == "convert_element_type" and _is_number(parts[0].constant):
            dtype = equation.params["new_dtype"]
            return [of_constant(np.asarray(parts[0].constant).astype(dtype))]
        if _are_known(parts) or name == "iota":
            return self._evaluate(equation, parts)
        if converts_to is not None:
            return [self._converted(parts[0], converts_to)]
        if name == "clamp":
            low, value, high = (self._broadcast(v, shapes[0]) for v in parts)
            return [self._elementwise("min", [self._elementwise("max", [value, low]), high])]
        name = _SPELLING.get(name, name)
        if name in ELEMENTWISE or name == "add_any":
            softmax = recognized(name, parts)
            if softmax is not None:
                return [softmax]
            result = self._spelled(name, [self._broadcast(v, shapes[0]) for v in parts], params)
            return [remember(name, parts, params, result)]
        parts = [self._settled(v) for v in parts]
        if name in RULES:
            results = [RULES[name](parts, params, shape) for shape in shapes]
            return [remember(name, parts, params, result) for result in results]
        return [
            unknown(shape, parts, f"the operation {name}, which has no rule") for shape in shapes
        ]

    def _evaluate(self, equation: Any, parts: list[Value]) -> list[Value]:
        """Run an operation whose operands are all known."""
        name = _SPELLING.get(equation.primitive.name, equation.primitive.name)
        floating = jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating)
        if name in ELEMENTWISE and floating and all(_is_number(v.constant) for v in parts):
            arrays = [np.asarray(v.constant) for v in parts]
            parameter = float(equation.params.get("y", 0))
            if name != "power":
                result = evaluate_known(name, arrays, parameter)
                return [of_constant(result.astype(equation.outvars[0].aval.dtype))]
        results = equation.primitive.bind(*(v.constant for v in parts), **equation.params)
        return [
            of_constant(r) for r in (results if equation.primitive.multiple_results else [results])
        ]

    def _call(self, inner: Any, parts: Sequence[Value]) -> list[Value]:
        if isinstance(inner, ClosedJaxpr):
            return self._run(inner.jaxpr, inner.consts, parts)
        return self._run(inner, (), parts)

    # --- elementwise operations -----------------------------------------------------------------

    def _converted(self, value: Value, dtype: np.dtype) -> Value:
        """The value as truth values or as integers of some type."""
        if is_kind(dtype, jnp.bool_):
            return self._elementwise("ne", [value, of_constant(np.zeros(value.shape))])
        value = RULES["round"]([self._settled(value)], {}, value.shape)
        limits = jnp.iinfo(dtype)
        fits = limits.min <= value.low and value.high <= limits.max
        return value if fits else value.with_(low=-math.inf, high=math.inf, norm=math.inf)

    def _spelled(self, name: str, parts: list[Value], params: dict[str, Any]) -> Value:
        """An elementwise primitive, with the exponent of a power taken from where JAX keeps it."""
        parameter = float(params.get("y", 0))
        if name == "power":
            exponent = parts.pop()
            if exponent.constant is None or exponent.low != exponent.high:
                return unknown(
                    parts[0].shape, [*parts, exponent], "a power with a varying exponent"
                )
            parameter = exponent.low
            if not math.isfinite(parameter):
                return unknown(parts[0].shape, parts, "a power with an infinite exponent")
            if parameter == int(parameter):
                name = "integer_pow"
        return self._elementwise(name, parts, parameter)

    def _elementwise(self, name: str, parts: list[Value], parameter: float = 0.0) -> Value:
        parts = [self._rooted(v) for v in parts]
        roots = frozenset().union(*(_expression_of(v).roots for v in parts))
        if len(roots) > 1 and name in ("add", "sub"):
            # A sum of different arrays is a new variable for what follows, such as an activation.
            return elementwise(name, [self._settled(v) for v in parts], parameter)
        value = elementwise(name, parts, parameter)
        if value.constant is not None or any(value is v for v in parts):
            return value
        expression = Expression(name, tuple(_expression_of(v) for v in parts), parameter)
        if expression.size > _LARGEST_EXPRESSION:
            value = self._settled(value.with_(expression=expression)).with_(expression=None)
            return value
        return value.with_(expression=expression)

    def _broadcast(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The value with every entry repeated as an elementwise operation on arrays needs it."""
        if value.shape == shape:
            return value
        if value.constant is not None:
            return of_constant(np.broadcast_to(np.asarray(value.constant), shape))
        return broadcast(shape, self._settled(value))

    def _rooted(self, value: Value) -> Value:
        """The value with an expression: a new variable if it was not made elementwise."""
        if value.expression is not None:
            return value
        if id(value) not in self._rooted_values:
            number = len(self._roots)
            self._roots[number] = value
            rooted = value.with_(expression=Expression("root", (), number))
            self._rooted_values[id(value)] = value, rooted
        return self._rooted_values[id(value)][1]

    def _settled(self, value: Value) -> Value:
        """The value after its expression, if it has branches or products, has been examined."""
        expression = value.expression
        if expression is None or not expression.roots or expression.operation == "root":
            return value.with_(expression=None)
        value = value.with_(expression=None)
        if not self._examines:
            return value
        roots = {number: self._roots[number] for number in expression.roots}
        return examined(value, expression, roots)

    def _bounded_norm(self, value: Value) -> Value:
        """Use the bounds of the norm of all parameters, where a number is their sum of squares."""
        if value.size == 1 and value.squares is not None and value.squares == self._leaves:
            low, high = self._squared_norm
            return value.with_(
                low=max(value.low, low), high=min(value.high, high), norm=high, expression=None
            )
        return value

    # --- control flow ---------------------------------------------------------------------------

    def _scan(self, params: dict, parts: list[Value], shapes: list) -> list[Value]:
        body, length = params["jaxpr"], params["length"]
        if "ft_in" in params:  # JAX 0.11 and later
            num_consts, num_carry = (len(tuple(tree)) for tree in params["ft_in"].unpack()[:2])
        else:
            num_consts, num_carry = params["num_consts"], params["num_carry"]
        split = num_consts, num_consts + num_carry
        consts, carry, stacked = parts[: split[0]], parts[split[0] : split[1]], parts[split[1] :]
        parts = [self._settled(v) for v in parts]
        if length > _LONGEST_LOOP:
            return [unknown(shape, parts, "a long loop") for shape in shapes]
        collected: list[list[Value]] = []
        steps = range(length)
        for step in reversed(steps) if params["reverse"] else steps:
            slices = [_entry(self._settled(v), step) for v in stacked]
            results = self._call(body, [*consts, *carry, *slices])
            carry = [self._settled(v) for v in results[: len(carry)]]
            collected.append([self._settled(v) for v in results[len(carry) :]])
        outputs = [
            joined(shape, [row[i] for row in collected]).with_(entries=None, squares=None)
            for i, shape in enumerate(shapes[len(carry) :])
        ]
        return [*carry, *outputs]

    def _while(self, params: dict, parts: list[Value], shapes: list) -> list[Value]:
        first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        parts = [self._settled(v) for v in parts]
        test_consts, body_consts, carry = parts[:first], parts[first:second], parts[second:]
        for _ in range(_LONGEST_LOOP):
            (goes_on,) = self._call(params["cond_jaxpr"], [*test_consts, *carry])
            if goes_on.constant is None:
                break
            if not bool(np.asarray(goes_on.constant)):
                return carry
            results = self._call(params["body_jaxpr"], [*body_consts, *carry])
            carry = [self._settled(v) for v in results]
        return [unknown(shape, parts, "a loop of unknown length") for shape in shapes]

    def _cond(self, params: dict, parts: list[Value], shapes: list) -> list[Value]:
        index, *operands = parts
        if index.low == index.high:
            branch = params["branches"][int(index.low)]
            return self._call(branch, operands)
        settled = [self._settled(v) for v in parts]
        return [unknown(shape, settled, "a branch that depends on the input") for shape in shapes]


def _are_known(parts: Sequence[Value]) -> bool:
    return bool(parts) and all(v.constant is not None for v in parts)


def _beyond_the_rules(equation: Any) -> str | None:
    """Why the rules for real numbers say nothing about an operation, where they do not."""
    name, made = equation.primitive.name, _dtypes(equation.outvars)
    if any(is_kind(dtype, jnp.complexfloating) for dtype in _dtypes(equation.invars) + made):
        return "complex numbers"
    if any(is_kind(dtype, jnp.integer) for dtype in made):
        if name in LOGIC:
            return "an operation on the bits of integers"
        if name == "div":
            return "a division of integers"
    return None


def _dtypes(variables: Sequence[Any]) -> list[Any]:
    return [dtype_of(v.aval) for v in variables]


def _whole_numbers_made(equation: Any) -> np.dtype | None:
    """The type of integers or truth values that an operation converts to, if it does."""
    if equation.primitive.name != "convert_element_type":
        return None
    (to,) = _dtypes(equation.outvars)
    return to if is_kind(to, jnp.bool_) or is_kind(to, jnp.integer) else None


def _is_number(constant: Any) -> bool:
    if constant is None or jnp.issubdtype(jnp.result_type(constant), jax.dtypes.extended):
        return False
    return np.asarray(constant).dtype.kind in "biuf"


def _expression_of(value: Value) -> Expression:
    assert value.expression is not None
    return value.expression


def _entry(value: Value, step: int) -> Value:
    """One entry along the leading axis."""
    if value.constant is not None:
        return of_constant(np.asarray(value.constant)[step])
    return rearranged(value.shape[1:], value).with_(entries=None, squares=None)
