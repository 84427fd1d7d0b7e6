"""Keep the parameters in a ball: the projection of the whole tree, alone or in an Optax chain."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from swjax._trees import at_least_float32, check_floating_leaves
from swjax.optim._arguments import ScalarOrSchedule, check_scalar, value_at

# The text of optax._src.base.NO_PARAMS_MSG, which Optax does not export.
_NO_PARAMS = (
    "You are using a transformation that requires the current value of parameters, but you are "
    "not passing `params` when calling `update`."
)


# What every ball returned since a record was begun in this thread; None while there is no record.
_RECORD: ContextVar[list[PyTree] | None] = ContextVar("record", default=None)


@contextmanager
def recorded_balls() -> Iterator[list[PyTree]]:
    """Within it, the updates that every ball returns are added to the list that it gives."""
    record: list[PyTree] = []
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


class BallState(NamedTuple):
    """State of `keep_params_in_ball`: the number of updates made, int32 scalar."""

    count: jax.Array


def _is_hidden(node: Any) -> bool:
    return node is None or isinstance(node, optax.MaskedNode)


def _center_like(center: PyTree | None, params: PyTree) -> PyTree | None:
    """The center's leaves where the parameters have one; hidden and absent ones are dropped."""
    if center is None:
        return None
    try:
        center = jax.tree.map(
            lambda p, c: p if _is_hidden(p) else at_least_float32(c),
            params,
            center,
            is_leaf=_is_hidden,
        )
        same = jax.tree.structure(center) == jax.tree.structure(params)
    except ValueError:
        same = False
    if not same:
        raise ValueError(
            "center must be a tree like the parameters; got "
            f"{jax.tree.structure(center)} for parameters {jax.tree.structure(params)}."
        )
    for (path, c), p in zip(
        jax.tree_util.tree_leaves_with_path(center), jax.tree.leaves(params), strict=True
    ):
        if jnp.shape(c) != jnp.shape(p):
            raise ValueError(
                f"center{jax.tree_util.keystr(path)} has shape {jnp.shape(c)}, "
                f"the parameter {jnp.shape(p)}."
            )
    return center


def _check_like_params(updates: PyTree, params: PyTree) -> None:
    """Refuse updates with leaves where the parameters have none, or the other way round."""
    of_updates, of_params = jax.tree.structure(updates), jax.tree.structure(params)
    if of_updates != of_params:
        raise ValueError(
            f"updates must be a tree like the parameters; got {of_updates} for parameters "
            f"{of_params}. Pass zeros for what shall not move, or hide it with optax.masked."
        )


def _to_ball(tree: PyTree, radius: Any, center: PyTree | None) -> tuple[jax.Array, PyTree]:
    """Whether a tree of at least float32 lies in the ball; and, if it does not, its projection.

    The entries are divided by the largest one before they are squared, so that nothing overflows;
    as the result does not depend on that divisor, no derivative is taken of it. For a tree inside
    the second value is meaningless but finite, also in its derivatives. Non-finite entries give
    `False` and NaN.
    """
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(tree))
    radius = jnp.asarray(radius, dtype)
    # A traced radius cannot be refused; a negative one would flip signs, so it gives NaN instead.
    radius = jnp.where(radius >= 0, radius, jnp.nan)
    offset = tree if center is None else jax.tree.map(jnp.subtract, tree, center)
    largest = jnp.zeros((), dtype)
    for leaf in jax.tree.leaves(offset):
        largest = jnp.maximum(largest, jnp.max(jnp.abs(leaf), initial=0).astype(dtype))
    # Bounded so that neither it nor its inverse, by which XLA may multiply, is subnormal.
    least = 64 * float(jnp.finfo(dtype).tiny)
    largest = jax.lax.stop_gradient(jnp.clip(largest, least, 1 / least))
    scaled = jax.tree.map(lambda o: o / largest.astype(o.dtype), offset)
    total = jnp.zeros((), dtype)
    for leaf in jax.tree.leaves(scaled):
        total = total + jnp.sum(leaf * leaf).astype(dtype)
    total = jnp.where(jnp.isfinite(total), total, jnp.nan)
    inside = jax.lax.stop_gradient(jnp.sqrt(total)) <= radius / largest
    factor = jnp.where(inside, 1, radius) / jnp.sqrt(jnp.where(inside, 1, total))
    projected = jax.tree.map(lambda o: o * factor.astype(o.dtype), scaled)
    return inside, projected if center is None else jax.tree.map(jnp.add, center, projected)


def project_onto_ball(params: PyTree, radius: Any, center: PyTree | None = None) -> PyTree:
    """Project a tree of arrays, taken as one vector, onto a closed Euclidean ball.

        argmin_v |v - params|    subject to    |v - center| <= radius

    that is `center + min(1, radius / |params - center|) (params - center)`, with the norm of the
    whole tree. It is computed at least in float32, does not overflow for large entries, has
    derivatives everywhere (the identity inside and on the sphere), and returns the parameters
    unchanged, bit for bit, when they already lie in the ball. If an entry is NaN or infinite,
    every entry of the result is NaN.

    Args:
        params: a scalar, array or tree of floating point arrays; `None` leaves stay.
        radius: scalar `()`, at least 0; infinity is no constraint.
        center: a tree like `params`; the origin by default.

    Returns:
        The same tree, in the same dtypes.

    Raises:
        ValueError: if `radius` is negative (checked when concrete; a traced negative radius gives
            NaN) or not a scalar, or if `center` differs in structure or shapes.
        TypeError: if a leaf is not of real floating point type.

    >>> import jax.numpy as jnp
    >>> print(project_onto_ball({"w": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}, 1.0))
    {'b': Array(0.8, dtype=float32), 'w': Array([0.6, 0. ], dtype=float32)}
    """
    if callable(radius):
        raise TypeError("radius must be a number here; keep_params_in_ball accepts a schedule.")
    check_scalar("radius", radius, allow_zero=True, allow_inf=True)
    check_floating_leaves("params", params)
    wide = jax.tree.map(at_least_float32, params)
    inside, projected = _to_ball(wide, radius, _center_like(center, params))
    return jax.tree.map(
        lambda p, v: jnp.where(inside, jnp.asarray(p), v.astype(jnp.result_type(p))),
        params,
        projected,
    )


def keep_params_in_ball(
    radius: ScalarOrSchedule, center: PyTree | None = None
) -> optax.GradientTransformationExtraArgs:
    """Keep the parameters in a closed Euclidean ball, as the **last** transform of a chain.

    The update `u` becomes `pi(p + u) - p`, with `pi` the projection of the whole tree, taken as one
    vector, onto the ball (`project_onto_ball`). Hence `optax.apply_updates(p, updates)` is the
    projected iterate of Tanguy (TMLR 2023, equation 13): one ball for all parameters, not one per
    array. Updates that stay in the ball pass unchanged, bit for bit.

    **Order.** A transform after this one moves the iterate off the projected point:
    `chain(keep_params_in_ball(r), sgd(alpha))` takes the projected *direction* for a gradient and
    leaves the ball. `check_ball_is_last` finds this, and `swjax.train` calls it. Around this
    transform, `optax.MultiSteps`, `optax.apply_if_finite` and `optax.inject_hyperparams` are fine;
    `optax.lookahead`, `optax.apply_every` and averages of iterates built after it are not. Under
    `optax.masked` and `optax.partition` the ball is that of the visible group of parameters alone,
    and only what moves that group must not come after it.

    **Rounding.** `p + u` is rounded to the dtype of the parameters. If `p` lies in the ball,
    the new parameters satisfy `|p| <= radius (1 + 4 eps)` with `eps` the machine epsilon of the
    coarsest dtype among parameters and updates (bfloat16: 0.0078); about half of the projected
    points lie outside by rounding. With a center, add `2 eps |center|`. Parameters that start
    far outside are brought to the ball by the first update up to `eps` times their norm.

    Args:
        radius: radius of the ball, at least 0: a float, a scalar array `()` (traced or not), or a
            schedule that takes the number of updates made so far and gives one.
        center: a tree like the parameters; the origin by default.

    Returns:
        An Optax transform with state `BallState(count)`; its `update` needs `params`.

    Raises:
        ValueError: if `radius` is negative or NaN (checked when concrete; a traced negative one
            gives NaN) or not a scalar; at an update, if `params` is missing, the updates are
            another tree, or `center` differs from it in structure or shapes.
        TypeError: if `radius` is no number; at an update, if a leaf is not of real floating
            point type.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> optimizer = optax.chain(optax.sgd(1.0), keep_params_in_ball(1.0))
    >>> params = jnp.array([0.6, 0.0])
    >>> updates, _ = optimizer.update(jnp.array([-5.4, -8.0]), optimizer.init(params), params)
    >>> print(optax.apply_updates(params, updates))
    [0.6 0.8]
    """
    check_scalar("radius", radius, allow_zero=True, allow_inf=True)

    def init(params: Any) -> BallState:
        del params
        return BallState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any):
        del extra_args
        if params is None:
            raise ValueError(_NO_PARAMS)
        check_floating_leaves("updates", updates)
        check_floating_leaves("params", params)
        _check_like_params(updates, params)
        moved = jax.tree.map(lambda p, u: at_least_float32(p) + u, params, updates)
        at_center = _center_like(center, params)
        inside, projected = _to_ball(moved, value_at(radius, state.count), at_center)

        def to_update(p: Any, u: Any, v: jax.Array) -> jax.Array:
            return jnp.where(inside, u, (v - jnp.asarray(p, v.dtype)).astype(jnp.result_type(u)))

        updates = jax.tree.map(to_update, params, updates, projected)
        record = _RECORD.get()
        if record is not None:
            record.append(updates)
        return updates, BallState(jnp.asarray(optax.safe_increment(state.count)))

    return optax.GradientTransformationExtraArgs(init, update)
