"""Which optimizers of Optax a study may name, and with which arguments."""

import difflib
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import optax

# Brings a random key of its own, which all repetitions would share; `noised_sgd` is the same with
# one key each.
_LEFT_OUT = {"noisy_sgd"}


@functools.cache
def optax_optimizers() -> dict[str, Callable]:
    """Optimizers by name: functions that take a learning rate and return a transformation."""
    found = {}
    for name, value in vars(optax).items():
        if name.startswith(("_", "scale_by")) or name in _LEFT_OUT:
            continue
        if not isinstance(value, types.FunctionType | functools.partial):
            continue
        signature = inspect.signature(value)
        returns = getattr(signature.return_annotation, "__name__", str(signature.return_annotation))
        if "learning_rate" in signature.parameters and "GradientTransformation" in returns:
            found[name] = value
    return found


def check_optax_arguments(
    name: str, args: Mapping[str, Any], known: tuple[str, ...] = ()
) -> str | None:
    """Say what is wrong with an optimizer's name or arguments, or return None.

    Args:
        name: the optimizer.
        args: its arguments besides the learning rate.
        known: further names to propose when `name` is unknown.
    """
    optimizers = optax_optimizers()
    if name not in optimizers:
        names = [*known, *(n for n in optimizers if n not in known)]
        close = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"unknown scheme {name!r}{hint} (known: {', '.join(names)})"
    parameters = inspect.signature(optimizers[name]).parameters
    allowed = [p for p in parameters if p != "learning_rate"]
    for argument in args:
        if argument not in allowed:
            close = difflib.get_close_matches(argument, allowed, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            return f"optax.{name} has no argument {argument!r}{hint} (known: {', '.join(allowed)})"
    return None
