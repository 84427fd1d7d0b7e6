"""What an examination of the expression that made an array adds to what is known about it."""

import math
from collections.abc import Mapping

from swjax.assumptions.activations import FARTHEST, examine, jumps_between_roots
from swjax.assumptions.bounds import Kind, Value
from swjax.assumptions.expressions import Expression


def examined(value: Value, expression: Expression, roots: Mapping[int, Value]) -> Value:
    """The value after the expression, if it has branches or products, has been examined.

    Args:
        value: what the rules say of the array.
        expression: how it was made.
        roots: the arrays that it was made of, by their numbers in the expression.
    """
    jumping = max(value.kind_u, value.kind_x) >= Kind.JUMPING
    if jumping and any(max(r.kind_u, r.kind_x) >= Kind.JUMPING for r in roots.values()):
        return value
    if len(roots) == 1:
        ((_, root),) = roots.items()
        times_used = sum(n.arguments.count(m) for n in expression.nodes for m in _roots_in(n))
        return _of_one_array(value, expression, root) if jumping or times_used > 1 else value
    if jumping and max(value.kind_u, value.kind_x) < Kind.UNKNOWN:
        return _of_several_arrays(value, expression, roots)
    return value


def _roots_in(node: Expression) -> list[Expression]:
    return [e for e in set(node.arguments) if e.operation == "root"]


def _of_several_arrays(value: Value, expression: Expression, roots: Mapping[int, Value]) -> Value:
    """A value that jumps by the rules, unless its expression does not where it was tried."""
    intervals = {number: (root.low, root.high) for number, root in roots.items()}
    found = jumps_between_roots(expression, intervals)
    if found is None:
        return _as_kind(value, Kind.UNKNOWN, value.reasons)
    if found:
        return value
    kinds = [kind for root in roots.values() for kind in (root.kind_u, root.kind_x)]
    reasons = frozenset().union(*(root.reasons for root in roots.values()))
    return _as_kind(value, max([Kind.KINKED, *kinds]), reasons, {"kind"})


def _of_one_array(value: Value, expression: Expression, root: Value) -> Value:
    """The value, made of one array by an expression, with what the examination of it adds."""
    shape = examine(expression, root.low, root.high)
    proven = max(value.kind_u, value.kind_x) < Kind.JUMPING
    if not shape.resolved:
        reason = "an activation whose values or derivatives could not be followed"
        return value if proven else _as_kind(value, Kind.UNKNOWN, value.reasons | {reason})
    if shape.jumps:
        places = ", ".join(f"{place:.4g}" for place in shape.jumps[:3])
        reasons = root.reasons | {f"an activation that jumps at {places}"}
        return _as_kind(value, Kind.JUMPING, reasons)
    own = Kind.KINKED if shape.kinks else Kind.SMOOTH
    if not proven or own < max(value.kind_u, value.kind_x):
        value = value.with_(
            kind_u=max(root.kind_u, own) if value.uses_u else Kind.SMOOTH,
            kind_x=max(root.kind_x, own) if value.uses_x else Kind.SMOOTH,
            numerical=value.numerical | {"kind"},
            reasons=root.reasons,
        )
    if not root.largest < FARTHEST:
        return value
    size = math.sqrt(value.size)
    return value.with_(
        low=max(value.low, shape.low),
        high=min(value.high, shape.high),
        norm=min(value.norm, size * max(abs(shape.low), abs(shape.high))),
        du=min(value.du, shape.slope * root.du),
        dx=min(value.dx, shape.slope * root.dx),
        duu=min(value.duu, shape.slope * root.duu + shape.curvature * root.du**2),
        numerical=value.numerical | {"bounds"},
    )


def _as_kind(
    value: Value, kind: Kind, reasons: frozenset[str], numerical: set[str] | None = None
) -> Value:
    return value.with_(
        kind_u=kind if value.uses_u else Kind.SMOOTH,
        kind_x=kind if value.uses_x else Kind.SMOOTH,
        reasons=reasons,
        numerical=value.numerical | (numerical or set()),
    )
