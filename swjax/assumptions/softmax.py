"""Recognizing a softmax in a program: `exp(z - max z) / sum exp(z - max z)`.

Its parts alone are known badly: the maximum has kinks, and an exponential divided by a sum of them
has no useful bound. The whole is smooth in `z`, has values in [0, 1], derivative of norm at most
1/2, and second derivative at most 1, since `|D^2 s(z)[h, h]|` is at most twice the variance of `h`
under the weights `s(z)`, and that is at most `|h|^2 / 2`.
"""

import math
from typing import Any, NamedTuple

from swjax.assumptions.bounds import Kind, Value, combined


class Reduced(NamedTuple):
    """What an array reduced over some axes came from.

    Attributes:
        operation: "max" or "sum".
        token: the reduced array.
        axes: the axes reduced.
        shape: the shape of that array.
        aligned: whether the result has been given back its axes, each in its old place.
    """

    operation: str
    token: int
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    aligned: bool


def remember(name: str, parts: list[Value], params: dict[str, Any], result: Value) -> Value:
    """The result of an operation, marked if it is a step on the way to a softmax."""
    first = parts[0]
    if name in ("reduce_max", "reduce_sum"):
        made_of = Reduced(name[7:], first.token, tuple(params["axes"]), first.shape, False)
        return result.with_(reduced=made_of)
    if name in ("broadcast_in_dim", "reshape") and first.reduced is not None:
        return result.with_(reduced=_moved(first.reduced, params, result.shape))
    by = parts[1].reduced if name == "sub" else None
    if by is not None and by.operation == "max" and by.aligned and by.token == first.token:
        return result.with_(shifted=(first, by.axes))
    if name == "exp":
        return result.with_(exponential_of=first)
    return result


def _moved(reduced: Reduced, params: dict[str, Any], shape: tuple[int, ...]) -> Reduced | None:
    kept = [i for i in range(len(reduced.shape)) if i not in reduced.axes]
    with_ones = [1 if i in reduced.axes else n for i, n in enumerate(reduced.shape)]
    if "broadcast_dimensions" in params:
        dims = list(params["broadcast_dimensions"])
        wanted = list(range(len(shape))) if reduced.aligned else kept
        fits = dims == wanted and all(
            n in (m, 1) for n, m in zip(shape, reduced.shape, strict=False)
        )
    else:
        fits = list(shape) == with_ones
    if not fits or len(shape) != len(reduced.shape):
        return None
    return reduced._replace(aligned=True)


def recognized(name: str, parts: list[Value]) -> Value | None:
    """The softmax, if this operation completes one."""
    if name != "div":
        return None
    top, bottom = parts[0], parts[1].reduced
    if bottom is None or bottom.operation != "sum" or not bottom.aligned:
        return None
    if bottom.token != top.token or top.exponential_of is None:
        return None
    z = top.exponential_of
    if z.shifted is not None and z.shifted[1] == bottom.axes:
        z = z.shifted[0]
    num_groups = top.size / math.prod(top.shape[axis] for axis in bottom.axes)
    return combined(
        top.shape,
        [z],
        Kind.SMOOTH,
        low=0.0,
        high=1.0,
        norm=math.sqrt(num_groups),
        du=z.du / 2,
        dx=z.dx / 2,
        duu=z.duu / 2 + z.du**2,
        positive=True,
    )
