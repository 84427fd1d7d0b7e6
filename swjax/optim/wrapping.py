"""Optimizers of any kind behind one call: extra arguments, and what may follow the ball."""

import inspect
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from swjax.optim.projection import BallState, recorded_balls


def ignore_unknown_arguments(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, with an `update` that drops the extra arguments it does not name.

    Optax asks transforms that take extra arguments to ignore those they do not know. Some do not,
    such as `optax.contrib.sam`. Inside an `optax.chain` nothing can be done about them.

    Args:
        optimizer: any Optax optimizer or chain.

    Returns:
        An optimizer with the same state, whose `update` accepts every keyword argument.

    >>> import optax
    >>> sgd = ignore_unknown_arguments(optax.sgd(0.5))
    >>> print(sgd.update(jnp.ones(2), sgd.init(jnp.ones(2)), value=3.0)[0])
    [-0.5 -0.5]
    """
    inner = optax.with_extra_args_support(optimizer)
    parameters = inspect.signature(inner.update).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return inner
    known = {parameter.name for parameter in parameters}

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any):
        named = {name: value for name, value in extra_args.items() if name in known}
        return inner.update(updates, state, params, **named)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def check_ball_is_last(optimizer: optax.GradientTransformation, params: PyTree) -> None:
    """Raise if, in some chain of an optimizer, `keep_params_in_ball` is followed by other moves.

    A transform may come after the ball if it leaves the parameters of that ball alone, such as
    `optax.identity()`, or one that `optax.masked` restricts to other parameters. That is seen by
    tracing one update. Inside a wrapper that computes with the updates of such a chain
    (`optax.MultiSteps`, `optax.apply_if_finite`) it cannot be seen, and the chain is refused.

    Args:
        optimizer: any Optax optimizer or chain.
        params: the parameters, a tree of real floating-point arrays; only shapes and types matter.

    Raises:
        ValueError: naming the position of the misplaced projection.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> from swjax.optim import keep_params_in_ball
    >>> check_ball_is_last(optax.chain(keep_params_in_ball(1.0), optax.sgd(0.1)), jnp.zeros(2))
    Traceback (most recent call last):
        ...
    ValueError: keep_params_in_ball is number 1 of 2 in its chain, ...
    """
    state = jax.eval_shape(optimizer.init, params)
    place = _place_before_others(state)
    if place is None or _balls_stay(optimizer, params, state):
        return
    raise ValueError(
        f"keep_params_in_ball is number {place[0]} of {place[1]} in its chain, and a later "
        "transform moves the iterate off the ball. Put it last: optax.chain(..., "
        "optax.scale_by_learning_rate(step_size), keep_params_in_ball(radius)). For a ball of some "
        "of the parameters use optax.partition, with one chain for each group."
    )


def _is_ball(node: Any) -> bool:
    return isinstance(node, BallState)


def _balls(state: Any) -> list[Any]:
    return [node for node in jax.tree.leaves(state, is_leaf=_is_ball) if _is_ball(node)]


def _place_before_others(state: Any) -> tuple[int, int] | None:
    """Where a transform with a ball has others after it: its number, and the length of the chain.

    The state of `optax.chain` is a tuple and that of `optax.named_chain` an ordered dictionary, one
    entry per transform in their order; they are searched at every depth.
    """
    if _is_ball(state) or not isinstance(state, dict | tuple | list):
        return None
    parts = list(state.values()) if isinstance(state, dict) else list(state)
    if type(state) in (tuple, OrderedDict):
        for number, part in enumerate(parts[:-1], start=1):
            if _balls(part):
                return number, len(parts)
    return next((place for part in parts if (place := _place_before_others(part))), None)


def _balls_stay(optimizer: optax.GradientTransformation, params: PyTree, state: PyTree) -> bool:
    """Whether all that the balls return is in the update of the optimizer, untouched."""
    update = ignore_unknown_arguments(optimizer).update
    stay = []

    def trace(grad: PyTree, state: PyTree, params: PyTree) -> PyTree:
        zero = jnp.zeros(())
        extra = {"value": zero, "grad": grad, "value_fn": lambda _: zero}
        with recorded_balls() as returned:
            updates, _ = update(grad, state, params, **extra)
        kept = {id(leaf) for leaf in jax.tree.leaves(updates)}
        untouched = all(id(leaf) in kept for leaf in jax.tree.leaves(returned))
        stay.append(untouched and len(returned) == len(_balls(state)))
        return updates

    jax.eval_shape(trace, params, state, params)
    return stay[0]
