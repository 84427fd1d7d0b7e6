"""Training as one scan: a loss that can be drawn, any Optax optimizer, a record of what happened.

Step `t = 0, 1, ...` of a run with key `k` draws its minibatch from the key `fold_in(k, t)` and
moves the parameters by the optimizer's update,

    u^{t+1} = u^t + update(grad f(u^t, draw_t)),

so a run depends on its key alone, and can be continued at any step. `train` is the whole run.
`start` and `sgd_step` are its two parts, for runners that do more between the steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from swjax._checks import as_count
from swjax._keys import canonical_key
from swjax._trees import check_floating_leaves
from swjax.optim import check_ball_is_last, ignore_unknown_arguments

# What JAX says of a place where nothing is traced, neither by jit nor by vmap or grad.
_UNTRACED = get_opaque_trace_state(convention="swjax")


@runtime_checkable
class SampleLoss(Protocol):
    """A loss with fresh randomness at every step, such as `swjax.SlicedLoss`."""

    def draw(self, key: Array) -> Any:
        """Draw everything that is random in one evaluation."""
        ...

    def value_and_grad(self, params: PyTree, draw: Any) -> tuple[Array, PyTree]:
        """The value, a scalar `()`, and the gradient, a tree like `params`."""
        ...


class TrainingState(NamedTuple):
    """What one step hands to the next; a pytree of arrays and keys.

    Attributes:
        params: the iterate `u^t`.
        opt_state: state of the optimizer.
        step: number `t` of steps made, int32 scalar.
        diverged_at: the first `t` at which `u^t` has an entry that is infinite or NaN; -1 while
            there is none. int32 scalar.
    """

    params: PyTree
    opt_state: PyTree
    step: Int[Array, ""]
    diverged_at: Int[Array, ""]


class Status(NamedTuple):
    """How a run went.

    Attributes:
        diverged_at: the first `t` at which the iterate `u^t` has an entry that is infinite or NaN
            (`t` steps had been made by then); -1 if there is none. int32 scalar.
    """

    diverged_at: Int[Array, "*runs"]


class Run(NamedTuple):
    """A training run; under `vmap` every field has the runs as its leading axis.

    Attributes:
        params: the last iterate.
        losses: `(num_steps,)`; entry `t` is the sample loss at `u^t`, before step `t`.
        path: a tree like `params`, each leaf `(1 + num_steps // record_every, ...)`: the iterates
            `u^0, u^m, u^2m, ...` with `m = record_every`.
        status: `Status(diverged_at)`.
    """

    params: PyTree
    losses: Float[Array, "*runs steps"]
    path: PyTree
    status: Status


def _is_finite(tree: PyTree) -> Array:
    finite = jnp.array(True)
    for leaf in jax.tree.leaves(tree):
        finite = finite & jnp.all(jnp.isfinite(leaf))
    return finite


def start(optimizer: optax.GradientTransformation, params: PyTree) -> TrainingState:
    """The state before the first step.

    Args:
        optimizer: any Optax optimizer or chain.
        params: the initial parameters, a tree of real floating point arrays.

    Returns:
        `TrainingState(params, opt_state, step=0, diverged_at=-1)`, with `diverged_at=0` if the
        initial parameters are not finite.

    Raises:
        TypeError: naming the leaf, if one is not of real floating point type.
        ValueError: if `keep_params_in_ball` is not the last of its chain that moves its parameters.
    """
    check_floating_leaves("params", params)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), params)
    check_ball_is_last(optimizer, params)
    opt_state = optimizer.init(params)
    diverged_at = jnp.where(_is_finite(params), -1, 0).astype(jnp.int32)
    return TrainingState(params, opt_state, jnp.zeros((), jnp.int32), diverged_at)


def sgd_step(
    loss: SampleLoss, optimizer: optax.GradientTransformation
) -> Callable[[TrainingState, Array], tuple[TrainingState, Array]]:
    """One training step as a pure function, for `jax.lax.scan` and for runners.

    The step size and the other numbers of the optimizer may be traced: build the optimizer inside
    the traced function, and one compilation serves every step size.

        def run(step_size, key):
            noise_key, data_key = jax.random.split(key)
            optimizer = swjax.optim.noised_projected_sgd(step_size, 0.1, 5.0, noise_key)
            step, first = sgd_step(loss, optimizer), start(optimizer, params)
            return jax.lax.scan(lambda s, _: step(s, data_key), first, length=100)

    The optimizer's `update` also receives `value`, `grad` and `value_fn` (the loss of this draw as
    a function of the parameters), which line searches and plateau detectors ask for, unless it
    neither names them nor accepts any argument, as that of `optax.contrib.sam`. Inside an
    `optax.chain` such a transform fails: Optax asks transforms to ignore what they do not know.

    Args:
        loss: `loss.draw(key)` and `loss.value_and_grad(params, draw)`, pure functions.
        optimizer: any Optax optimizer or chain that asks for no other extra arguments.

    Returns:
        `step(state, key) -> (state, sample_loss)`. `key` is the key `()` of the *run*, the same at
        every step: the step folds its number into it. `sample_loss` is the loss, a scalar `()`, at
        the iterate before the step.
    """
    optimizer = ignore_unknown_arguments(optimizer)

    def step(state: TrainingState, key: Array) -> tuple[TrainingState, Array]:
        draw = loss.draw(jax.random.fold_in(key, state.step))
        value, grad = loss.value_and_grad(state.params, draw)
        updates, opt_state = optimizer.update(
            grad,
            state.opt_state,
            state.params,
            value=value,
            grad=grad,
            value_fn=lambda params: loss.value_and_grad(params, draw)[0],
        )
        params = optax.apply_updates(state.params, updates)
        count = state.step + 1
        is_first = (state.diverged_at < 0) & ~_is_finite(params)
        diverged_at = jnp.where(is_first, count, state.diverged_at)
        return TrainingState(params, opt_state, count, diverged_at), value

    return step


def train(
    key: ArrayLike,
    loss: SampleLoss,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    *,
    num_steps: int,
    record_every: int = 1,
) -> Run:
    """Run an optimizer on a sample loss for a fixed number of steps.

    With `optax.sgd(alpha)` and a `SlicedLoss` this is the scheme of Tanguy (TMLR 2023, equation 7);
    with `swjax.noised_projected_sgd` that of equation 13. Step `t` draws from `fold_in(key, t)`.
    Everything runs in one `jax.lax.scan`; `jax.vmap` over keys, parameters or step sizes gives many
    runs at once.

    The program is compiled once per optimizer, shape of the parameters and structure of the loss,
    if the loss is a pytree of arrays, as `SlicedLoss` is: another loss with the same static parts
    uses it again. A loss with any other leaf, such as a Python number or an object of a class of
    yours, may have changed between two calls, so that every call compiles its own; register the
    class as a pytree to avoid that. As for `jax.jit`, functions (that of a `SlicedLoss`, those of
    the optimizer) must be pure: what they close over must not change.

    A run whose iterate becomes infinite or NaN goes on, so that under `vmap` the others are not
    disturbed; the first such iterate is recorded.

    An optimizer with randomness of its own, such as `add_gaussian_noise`, draws from the key it
    was built with and not from `key`. Under `vmap` over `key` all runs then share that
    noise, unless the optimizer is built inside the vmapped function.

    Args:
        key: the key `()` of the run: typed, raw or an integer.
        loss: `loss.draw(key)` and `loss.value_and_grad(params, draw)`, as `swjax.SlicedLoss` has.
        optimizer: any Optax optimizer or chain; its `update` may ask for the extra arguments
            `value`, `grad` and `value_fn`, see `swjax.training.sgd_step`.
        params: the initial parameters, a tree of real floating point arrays.
        num_steps: number of steps, at least 1.
        record_every: the path holds every `record_every`-th iterate, at least 1. Memory is that of
            `num_steps // record_every` copies of the parameters.

    Returns:
        `Run(params, losses, path, status)`: the last iterate, the sample losses `(num_steps,)`,
        the recorded iterates with leading axis `1 + num_steps // record_every`, and
        `Status(diverged_at)`.

    Raises:
        TypeError: naming the leaf, if a parameter is not of real floating point type; if `key` is
            no key, or a count no integer.
        ValueError: if a count is below 1, or if `keep_params_in_ball` is not the last of its chain
            that moves its parameters.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import swjax
    >>> points = jnp.array([[1.0, 0.0], [3.0, 0.0]])
    >>> source, target = swjax.Discrete(points), swjax.Discrete(points + jnp.array([[0.0, 5.0]]))
    >>> translation = lambda shift, x: x + shift[None]
    >>> loss = swjax.SlicedLoss(translation, source, target, batch_size=8)
    >>> run = train(jax.random.key(0), loss, optax.sgd(0.1), jnp.zeros(2), num_steps=300)
    >>> run.losses.shape, run.path.shape, int(run.status.diverged_at)
    ((300,), (301, 2), -1)
    >>> bool(jnp.linalg.norm(run.params - jnp.array([0.0, 5.0])) < 1)
    True
    """
    num_steps = as_count("num_steps", num_steps)
    record_every = as_count("record_every", record_every)
    key = canonical_key(key)
    check_floating_leaves("params", params)
    # Inside jit, vmap or grad the optimizer may close over tracers, which must not end in a cache.
    if get_opaque_trace_state(convention="swjax") != _UNTRACED:
        return _train(key, loss, optimizer, params, num_steps, record_every)
    arrays, structure = jax.tree.flatten(loss)
    if all(isinstance(leaf, jax.Array | np.ndarray) for leaf in arrays):
        return _train_compiled(key, arrays, params, structure, optimizer, num_steps, record_every)
    run = lambda key, params: _train(key, loss, optimizer, params, num_steps, record_every)
    return jax.jit(run)(key, params)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _train_compiled(
    key: Array,
    arrays: list,
    params: PyTree,
    structure: Any,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    record_every: int,
) -> Run:
    """`_train` with the loss taken apart into arrays, which are traced, and its structure."""
    loss = jax.tree.unflatten(structure, arrays)
    return _train(key, loss, optimizer, params, num_steps, record_every)


def _train(
    key: Array,
    loss: SampleLoss,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    num_steps: int,
    record_every: int,
) -> Run:
    step = sgd_step(loss, optimizer)
    initial = start(optimizer, params)

    def steps(state: TrainingState, length: int) -> tuple[TrainingState, Array]:
        return jax.lax.scan(lambda s, _: step(s, key), state, length=length)

    def steps_to_record(state: TrainingState, _: None) -> tuple[TrainingState, tuple]:
        state, losses = step(state, key) if record_every == 1 else steps(state, record_every)
        return state, (losses, state.params)

    num_records, rest = divmod(num_steps, record_every)
    state, (losses, path) = jax.lax.scan(steps_to_record, initial, length=num_records)
    losses = losses.reshape(num_records * record_every)
    if rest:
        state, last_losses = steps(state, rest)
        losses = jnp.concatenate([losses, last_losses])
    path = jax.tree.map(lambda u, us: jnp.concatenate([u[None], us]), initial.params, path)
    return Run(state.params, losses, path, Status(state.diverged_at))
