"""One rule per JAX primitive: from what is known of the operands to what is known of the result."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from swjax.assumptions.bounds import (
    Kind,
    Value,
    added,
    broadcast,
    chosen,
    combined,
    composed,
    contracted,
    joined,
    linear,
    multiplied,
    of_constant,
    rearranged,
    unknown,
)
from swjax.assumptions.elementwise import SMOOTH, integer_power, real_power
from swjax.assumptions.expressions import COMPARISONS
from swjax.assumptions.lookups import gathered

Shape = tuple[int, ...]

# Operations that leave values as they are. What reverse mode makes of them does not matter here.
IDENTITIES = {
    "copy",
    "copy_p",
    "convert_element_type",
    "reduce_precision",
    "stop_gradient",
    "optimization_barrier",
    "real",
    "name",
    "sharding_constraint",
    "device_put",
}


def elementwise(name: str, parts: list[Value], parameter: float) -> Value:
    """The rule of an elementwise primitive on operands of one shape."""
    first = parts[0]
    if name in ("add", "sub", "add_any"):
        return added(parts[0], parts[1], -1 if name == "sub" else 1)
    if name == "mul":
        return _product(*parts)
    if name == "div":
        return _quotient(*parts)
    if name in ("max", "min"):
        return _extreme(name, *parts)
    if name == "abs":
        if first.low >= 0:
            return first
        low = 0.0 if first.high >= 0 else -first.high
        return linear(first.shape, first, 1.0, Kind.KINKED, low=low, high=first.largest)
    if name == "sign":
        if first.low > 0 or first.high < 0:
            return of_constant(np.full(first.shape, np.sign(first.low)))
        return _step(parts, -1.0, 1.0)
    if name in ("square", "integer_pow"):
        exponent = 2 if name == "square" else int(parameter)
        value = composed(integer_power(exponent), first, f"a power {exponent}")
        return value.with_(squares=first.entries) if exponent == 2 else value
    if name == "power":
        return composed(real_power(parameter), first, f"a power {parameter}")
    if name in SMOOTH:
        return composed(SMOOTH[name], first, name)
    if name in COMPARISONS:
        return _comparison(name, *parts)
    if name in ("and", "or", "not", "xor"):
        return _logic(name, parts)
    if name == "select_n":
        return _selection(parts)
    raise KeyError(f"No rule for the elementwise operation {name}.")


def _product(p: Value, q: Value) -> Value:
    value = multiplied(p, q)
    if p.entries is not None and p.entries == q.entries and p.expression is q.expression:
        return value.with_(low=0.0, squares=p.entries)
    if p.expression is not None and p.expression is q.expression:
        return value.with_(low=max(value.low, 0.0))
    return value


def _quotient(p: Value, q: Value) -> Value:
    if q.constant is not None and np.all(np.asarray(q.constant) != 0):
        return multiplied(p, of_constant(1 / np.asarray(q.constant, np.float64)))
    if q.high < 0:
        p, q = (linear(v.shape, v, low=-v.high, high=-v.low) for v in (p, q))
    if not q.is_positive:
        return unknown(p.shape, [p, q], "a division by values not bounded away from zero")
    return multiplied(p, composed(integer_power(-1), q, "a division"))


def _extreme(name: str, p: Value, q: Value) -> Value:
    pick = max if name == "max" else min
    for one, other in ((p, q), (q, p)):
        wins = one.low >= other.high if name == "max" else one.high <= other.low
        if wins:
            return one
    either = p.is_positive or q.is_positive if name == "max" else p.is_positive and q.is_positive
    low, high = pick(p.low, q.low), pick(p.high, q.high)
    return chosen([p, q], Kind.KINKED, low, high, positive=either)


def _comparison(name: str, p: Value, q: Value) -> Value:
    less, more = p.high < q.low, p.low > q.high
    certain = {"lt": less, "le": p.high <= q.low, "gt": more, "ge": p.low >= q.high}
    never = {"lt": p.low >= q.high, "le": more, "gt": p.high <= q.low, "ge": less}
    same = p.expression is not None and p.expression is q.expression
    certain |= {"eq": same, "ne": less or more}
    never |= {"eq": less or more, "ne": same}
    if certain[name] or never[name]:
        return of_constant(np.full(p.shape, bool(certain[name])))
    return _step([p, q], 0.0, 1.0)


def _step(parts: list[Value], low: float, high: float, shape: Shape | None = None) -> Value:
    """Piecewise constant, of the shape of the first operand unless another is given."""
    shape = parts[0].shape if shape is None else shape
    return combined(shape, parts, Kind.JUMPING, low=low, high=high, du=0.0, dx=0.0, duu=0.0)


def _logic(name: str, parts: list[Value]) -> Value:
    low, high = [v.low for v in parts], [v.high for v in parts]
    bounds = {
        "and": (min(low), min(high)),
        "or": (max(low), max(high)),
        "not": (1 - high[0], 1 - low[0]),
        "xor": (0.0, 1.0),
    }[name]
    if bounds[0] == bounds[1]:
        return of_constant(np.full(parts[0].shape, bool(bounds[0])))
    return _step(parts, *bounds)


def _selection(parts: list[Value]) -> Value:
    which, *cases = parts
    if which.low == which.high:
        return cases[int(which.low)]
    cases = cases[int(max(which.low, 0)) : int(min(which.high, len(cases) - 1)) + 1]
    low, high = min(v.low for v in cases), max(v.high for v in cases)
    if low == high:
        return of_constant(np.full(which.shape, low))
    decides = which.uses_u or which.uses_x
    own = Kind.JUMPING if decides else Kind.SMOOTH
    value = chosen(cases, own, low, high, positive=all(v.is_positive for v in cases))
    if not decides:
        return value
    uses_u, uses_x = value.uses_u or which.uses_u, value.uses_x or which.uses_x
    return value.with_(
        uses_u=uses_u,
        uses_x=uses_x,
        kind_u=max(value.kind_u, which.kind_u, own) if uses_u else Kind.SMOOTH,
        kind_x=max(value.kind_x, which.kind_x, own) if uses_x else Kind.SMOOTH,
        reasons=value.reasons | which.reasons | {"a choice between branches"},
    )


# --- primitives that are not elementwise ----------------------------------------------------------

Rule = Callable[[list[Value], dict[str, Any], Shape], Value]
RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


@_rule("reshape", "transpose", "squeeze", "expand_dims", "slice", "rev", "split")
def _rearrange(parts: list[Value], params: dict, shape: Shape) -> Value:
    return rearranged(shape, parts[0])


@_rule("broadcast_in_dim", "broadcast", "tile")
def _repeat(parts: list[Value], params: dict, shape: Shape) -> Value:
    return broadcast(shape, parts[0])


@_rule("concatenate")
def _concatenate(parts: list[Value], params: dict, shape: Shape) -> Value:
    return joined(shape, parts)


@_rule("pad")
def _pad(parts: list[Value], params: dict, shape: Shape) -> Value:
    value, padding = parts
    kept = tuple(
        _count_within(low + (1 + between) * np.arange(old), new)
        for (low, _, between), old, new in zip(
            params["padding_config"], value.shape, shape, strict=True
        )
    )
    rest = math.prod(shape) - math.prod(kept)
    inside = rearranged(kept, value)
    return joined(shape, [inside, broadcast((rest,), padding)] if rest else [inside])


def _count_within(places: np.ndarray, size: int) -> int:
    return int(np.count_nonzero((places >= 0) & (places < size)))


@_rule("dynamic_slice")
def _dynamic_slice(parts: list[Value], params: dict, shape: Shape) -> Value:
    return _indexed(rearranged(shape, parts[0]), parts[1:])


@_rule("dynamic_update_slice")
def _dynamic_update(parts: list[Value], params: dict, shape: Shape) -> Value:
    return _indexed(joined(shape, parts[:2]), parts[2:])


@_rule("gather")
def _gather(parts: list[Value], params: dict, shape: Shape) -> Value:
    table, indices = parts
    return _indexed(gathered(shape, table, indices, params), [indices])


def _indexed(value: Value, indices: list[Value]) -> Value:
    """A lookup: as good as the table in what the indices do not depend on, a jump in the rest."""
    uses_u, uses_x = (any(getattr(i, name) for i in indices) for name in ("uses_u", "uses_x"))
    parts = [value, *indices]
    reasons = frozenset().union(*(v.reasons for v in parts))
    if uses_u or uses_x:
        reasons |= {"an index computed from the input"}
    jumping = lambda name: max([Kind.JUMPING, *(getattr(v, name) for v in parts)])
    return value.with_(
        uses_u=value.uses_u or uses_u,
        uses_x=value.uses_x or uses_x,
        kind_u=jumping("kind_u") if uses_u else value.kind_u,
        kind_x=jumping("kind_x") if uses_x else value.kind_x,
        numerical=frozenset().union(*(v.numerical for v in parts)),
        reasons=reasons,
        entries=None,
        squares=None,
    )


@_rule("reduce_sum")
def _reduce_sum(parts: list[Value], params: dict, shape: Shape) -> Value:
    value = parts[0]
    count = value.size // max(math.prod(shape), 1)
    return linear(
        shape,
        value,
        math.sqrt(count),
        low=count * value.low if value.low else 0.0,
        high=count * value.high if value.high else 0.0,
        positive=value.is_positive,
        squares=value.squares,
    )


@_rule("reduce_window_sum", "cumsum")
def _window_sum(parts: list[Value], params: dict, shape: Shape) -> Value:
    # Every entry enters at most `count` sums of at most `count` entries.
    value = parts[0]
    if "window_dimensions" in params:
        count = math.prod(params["window_dimensions"])
    else:
        count = value.shape[params["axis"]]
    return linear(shape, value, count, positive=value.is_positive and "axis" in params)


@_rule("reduce_max", "reduce_min")
def _reduce_extreme(parts: list[Value], params: dict, shape: Shape) -> Value:
    value = parts[0]
    if value.size == math.prod(shape):
        return rearranged(shape, value)
    known = {"low": value.low, "high": value.high, "positive": value.positive}
    return linear(shape, value, 1.0, Kind.KINKED, **known)


@_rule("cummax", "cummin")
def _running_extreme(parts: list[Value], params: dict, shape: Shape) -> Value:
    # An entry can win at every place along the axis.
    value = parts[0]
    count = value.shape[params["axis"]]
    if count <= 1:
        return rearranged(shape, value)
    known = {"low": value.low, "high": value.high, "positive": value.positive}
    return linear(shape, value, math.sqrt(count), Kind.KINKED, **known)


@_rule("reduce_window_max", "reduce_window_min")
def _window_extreme(parts: list[Value], params: dict, shape: Shape) -> Value:
    # An entry can win in every window that it belongs to.
    factor = math.sqrt(math.prod(params["window_dimensions"]))
    return linear(shape, parts[0], factor, Kind.KINKED)


@_rule("sort")
def _sort(parts: list[Value], params: dict, shape: Shape) -> Value:
    value = parts[0]
    if len(parts) > 1:
        return unknown(shape, parts, "a sort of several arrays by one of them")
    known = {"low": value.low, "high": value.high, "positive": value.positive}
    return linear(shape, value, 1.0, Kind.KINKED, **known)


@_rule("dot_general")
def _dot(parts: list[Value], params: dict, shape: Shape) -> Value:
    (contract, batch) = params["dimension_numbers"]
    norms = [_spectral_norm(v, contract[side], batch[side]) for side, v in enumerate(parts[:2])]
    return contracted(shape, parts[0], parts[1], norms=tuple(norms))


def _spectral_norm(value: Value, contract: tuple, batch: tuple) -> float | None:
    """The largest singular value of a known matrix, as a map on what it is contracted with."""
    if value.constant is None:
        return None
    array = np.asarray(value.constant, np.float64)
    free = [i for i in range(array.ndim) if i not in (*contract, *batch)]
    array = array.transpose([*batch, *free, *contract])
    sizes = [
        array.shape[len(batch) + len(free) :],
        array.shape[len(batch) : len(batch) + len(free)],
    ]
    matrices = array.reshape(-1, math.prod(sizes[1]), math.prod(sizes[0]))
    return float(np.linalg.norm(matrices, ord=2, axis=(1, 2)).max())


@_rule("conv_general_dilated")
def _convolution(parts: list[Value], params: dict, shape: Shape) -> Value:
    # Young's inequality for each pair of channels: |x * w|_2 <= |x|_2 |w|_1 <= sqrt(k) |x|_2 |w|_2.
    numbers = params["dimension_numbers"]
    area = math.prod(parts[1].shape[axis] for axis in numbers.rhs_spec[2:])
    return contracted(shape, parts[0], parts[1], math.sqrt(area))


@_rule("floor", "ceil", "round")
def _round(parts: list[Value], params: dict, shape: Shape) -> Value:
    step = _step(parts, parts[0].low - 1, parts[0].high + 1)
    return step.with_(reasons=step.reasons | {"rounding to whole numbers"})


@_rule("argmax", "argmin")
def _where_extreme(parts: list[Value], params: dict, shape: Shape) -> Value:
    step = _step(parts, 0.0, float(parts[0].size), shape)
    return step.with_(reasons=step.reasons | {"the place of the largest entry"})


@_rule("is_finite")
def _is_finite(parts: list[Value], params: dict, shape: Shape) -> Value:
    return of_constant(np.ones(shape, bool))
