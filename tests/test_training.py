"""Training: which key each step uses, what is recorded, what happens when a run diverges."""

import gc
import weakref
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import swjax
from swjax import training
from swjax.optim import keep_params_in_ball, noised_projected_sgd, projected_sgd
from swjax.training import TrainingState, sgd_step, start, train

KEY = jax.random.key(0)


class Noisy(NamedTuple):
    """|u - target - xi|^2 / 2 with xi ~ N(0, I): gradient u - target - xi."""

    target: jax.Array

    def draw(self, key):
        return jax.random.normal(key, self.target.shape)

    def value_and_grad(self, params, draw):
        return jax.value_and_grad(lambda u: jnp.sum((u - self.target - draw) ** 2) / 2)(params)


class Explosive:
    """u^4: gradient descent from a large start explodes."""

    def draw(self, key):
        return None

    def value_and_grad(self, params, draw):
        return jax.value_and_grad(lambda tree: jnp.sum(tree["u"] ** 4))(params)


LOSS = Noisy(jnp.array([1.0, -2.0]))
SGD = optax.sgd(0.1)
ZERO = jnp.zeros(2)


def translation_loss(batch_size=8):
    points = jax.random.normal(jax.random.key(1), (16, 2))
    target = swjax.Discrete(points + jnp.array([[0.0, 3.0]]))
    apply = lambda shift, x: x + shift[None]
    return swjax.SlicedLoss(apply, swjax.Discrete(points), target, batch_size=batch_size)


def test_the_run_is_the_recursion_with_the_key_of_each_step_folded_in():
    run = train(KEY, LOSS, SGD, ZERO, num_steps=20)
    u, losses = np.zeros(2, np.float32), []
    for step in range(20):
        xi = np.asarray(jax.random.normal(jax.random.fold_in(KEY, step), (2,)))
        residual = u - np.array([1.0, -2.0], np.float32) - xi
        losses.append(residual @ residual / 2)
        np.testing.assert_allclose(run.path[step], u, atol=1e-5)
        u = u - np.float32(0.1) * residual
    np.testing.assert_allclose(run.params, u, atol=1e-5)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-4)
    assert int(run.status.diverged_at) == -1


def test_training_with_a_sliced_loss_finds_the_translation():
    loss = translation_loss()
    run = train(KEY, loss, SGD, ZERO, num_steps=400)
    late = np.asarray(run.path[200:])
    # Stationary E|u - (0, 3)|^2 is about step_size 2 tr Cov(x) / batch_size = 0.05, forgotten in
    # some 10 steps: the mean over 200 steps has a standard error of about 0.07.
    assert np.linalg.norm(late.mean(0) - [0, 3]) < 0.3
    first, last = np.asarray(run.losses[:20]).mean(), np.asarray(run.losses[-100:]).mean()
    assert last < first / 2
    draw = loss.draw(jax.random.fold_in(KEY, 0))
    assert float(run.losses[0]) == pytest.approx(float(loss.value(ZERO, draw)), rel=1e-5)


@pytest.mark.parametrize("record_every", [1, 4, 10, 13])
def test_every_mth_iterate_is_recorded_and_the_last_is_always_returned(record_every):
    full = train(KEY, LOSS, SGD, ZERO, num_steps=10)
    run = train(KEY, LOSS, SGD, ZERO, num_steps=10, record_every=record_every)
    assert run.path.shape == (1 + 10 // record_every, 2)
    np.testing.assert_allclose(run.path, full.path[::record_every][: len(run.path)], rtol=1e-6)
    np.testing.assert_allclose(run.losses, full.losses, rtol=1e-6)
    np.testing.assert_allclose(run.params, full.path[-1], rtol=1e-6)


def test_the_path_has_the_tree_and_the_types_of_the_parameters():
    class Tree(Noisy):
        def value_and_grad(self, params, draw):
            return jax.value_and_grad(lambda p: jnp.sum(p["w"] ** 2) + p["b"] ** 2)(params)

    params = {"w": jnp.ones((3, 2), jnp.bfloat16), "b": 1.0, "none": None}
    run = train(KEY, Tree(ZERO), SGD, params, num_steps=6, record_every=2)
    assert run.path["w"].shape == (4, 3, 2)
    assert run.path["w"].dtype == run.params["w"].dtype == jnp.bfloat16
    assert run.path["b"].shape == (4,)
    assert run.path["none"] is None


OPTIMIZERS = {
    "adam": optax.adam(0.1),
    "inject": optax.inject_hyperparams(optax.sgd)(
        learning_rate=optax.linear_schedule(0.1, 0.0, 50)
    ),
    "multi_steps": optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(),
    "apply_if_finite": optax.apply_if_finite(optax.sgd(0.1), 3),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2)),
    "lbfgs": optax.lbfgs(),
    "noised_projected": noised_projected_sgd(0.1, 0.1, 5.0, KEY),
    # Its update refuses arguments that it does not know.
    "sam": optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05)),
}
ASKS_FOR = {"plateau": ("value",), "lbfgs": ("value", "grad", "value_fn")}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optax_optimizer_runs_in_the_scan_as_in_a_plain_loop(name):
    optimizer, num_steps = OPTIMIZERS[name], 50

    def value_fn(params, step):
        residual = params - LOSS.target - jax.random.normal(jax.random.fold_in(KEY, step), (2,))
        return jnp.sum(residual**2) / 2

    @jax.jit
    def move(params, state, step):
        value, grad = jax.value_and_grad(value_fn)(params, step)
        offered = {
            "value": value,
            "grad": grad,
            "value_fn": lambda u: value_fn(u, step),
        }
        extra = {argument: offered[argument] for argument in ASKS_FOR.get(name, ())}
        updates, state = optimizer.update(grad, state, params, **extra)
        return optax.apply_updates(params, updates), state

    path, state = [ZERO], optimizer.init(ZERO)
    for step in range(num_steps):
        params, state = move(path[-1], state, step)
        path.append(params)
    run = train(KEY, LOSS, optimizer, ZERO, num_steps=num_steps)
    np.testing.assert_allclose(run.path, np.stack(path), rtol=1e-4, atol=1e-5)
    assert np.linalg.norm(run.params - LOSS.target) < np.linalg.norm(LOSS.target)
    assert int(run.status.diverged_at) == -1


def test_a_plateau_seen_through_the_value_lowers_the_step():
    optimizer = OPTIMIZERS["plateau"]
    plain = train(KEY, LOSS, SGD, ZERO, num_steps=50)
    run = train(KEY, LOSS, optimizer, ZERO, num_steps=50)
    steps, plain_steps = np.diff(run.path, axis=0), np.diff(plain.path, axis=0)
    np.testing.assert_allclose(steps[0], plain_steps[0], rtol=1e-5)
    assert np.linalg.norm(steps[-10:]) < 0.1 * np.linalg.norm(plain_steps[-10:])


def test_a_diverging_run_is_recorded_with_its_first_bad_iterate_and_the_others_go_on():
    def run(scale):
        return train(KEY, Explosive(), optax.sgd(0.1), {"u": scale[None]}, num_steps=30)

    runs = jax.jit(jax.vmap(run))(jnp.array([1.0, 10.0, 1e9, jnp.nan]))
    diverged_at = np.asarray(runs.status.diverged_at)
    path = np.asarray(runs.path["u"])[..., 0]
    finite = np.isfinite(path)
    assert diverged_at[0] == -1
    assert finite[0].all()
    assert diverged_at[3] == 0
    for i in (1, 2):
        assert finite[i, : diverged_at[i]].all()
        assert not finite[i, diverged_at[i] :].any()
    assert 1 <= diverged_at[2] < diverged_at[1]
    alone = run(jnp.float32(1.0))
    np.testing.assert_allclose(path[0], alone.path["u"][:, 0], rtol=1e-6)


def test_many_keys_compile_once_and_equal_the_runs_one_by_one():
    loss, traces = translation_loss(), []

    @jax.jit
    @chex.assert_max_traces(n=1)
    def runs(keys):
        traces.append(1)
        return jax.vmap(lambda key: train(key, loss, SGD, ZERO, num_steps=8))(keys)

    keys = jax.random.split(KEY, 3)
    together = runs(keys)
    runs(jax.random.split(jax.random.key(9), 3))
    assert len(traces) == 1
    for i in range(3):
        alone = train(keys[i], loss, SGD, ZERO, num_steps=8)
        np.testing.assert_allclose(together.path[i], alone.path, atol=1e-5)
        np.testing.assert_allclose(together.losses[i], alone.losses, rtol=1e-4)


def test_calling_train_again_with_the_same_parts_does_not_trace_again():
    traces = []

    class Counting(Noisy):
        def draw(self, key):
            traces.append(1)
            return super().draw(key)

    loss = Counting(ZERO)
    train(KEY, loss, SGD, ZERO, num_steps=5)
    once = len(traces)
    train(jax.random.key(1), loss, SGD, ZERO + 1, num_steps=5)
    train(1, Counting(ZERO + 3), SGD, ZERO, num_steps=5)
    assert len(traces) == once
    train(KEY, loss, optax.sgd(0.2), ZERO, num_steps=5)
    assert len(traces) == 2 * once


class Mutable:
    """|u - c|^2 / 2 with a number that the user may change; no pytree."""

    def __init__(self, c):
        self.c = c

    def draw(self, key):
        return None

    def value_and_grad(self, params, draw):
        return jax.value_and_grad(lambda u: jnp.sum((u - self.c) ** 2) / 2)(params)


def test_a_loss_that_the_user_changes_between_two_runs_is_seen_as_it_is():
    loss = Mutable(1.0)
    for c in (1.0, 5.0):
        loss.c = c
        run = train(KEY, loss, SGD, ZERO, num_steps=200)
        np.testing.assert_allclose(run.params, c, rtol=1e-5)

    class Scaled(NamedTuple):
        c: float
        draw = Mutable.draw
        value_and_grad = Mutable.value_and_grad

    ends = [train(KEY, Scaled(c), SGD, ZERO, num_steps=200).params[0] for c in (2, 2.5, True)]
    np.testing.assert_allclose(ends, [2, 2.5, 1], rtol=1e-5)


def test_a_loss_that_is_no_pytree_is_not_kept_after_its_run():
    loss = Mutable(1.0)
    left = weakref.ref(loss)
    train(KEY, loss, SGD, ZERO, num_steps=2)
    del loss
    gc.collect()
    assert left() is None


def test_one_compilation_serves_every_step_size_of_a_sweep():
    traces = []

    @jax.jit
    def sweep(step_sizes, keys):
        traces.append(1)

        def run(step_size, key):
            optimizer = noised_projected_sgd(step_size, 0.1, 5.0, jax.random.fold_in(key, 10**6))
            return train(key, LOSS, optimizer, ZERO, num_steps=10)

        return jax.vmap(jax.vmap(run, (None, 0)), (0, None))(step_sizes, keys)

    keys = jax.random.split(KEY, 2)
    runs = sweep(jnp.array([0.1, 0.01]), keys)
    sweep(jnp.array([0.3, 0.2]), keys)
    assert len(traces) == 1
    optimizer = noised_projected_sgd(0.01, 0.1, 5.0, jax.random.fold_in(keys[1], 10**6))
    alone = train(keys[1], LOSS, optimizer, ZERO, num_steps=10)
    np.testing.assert_allclose(runs.path[1, 1], alone.path, atol=1e-6)


def test_a_traced_step_size_alone_is_enough():
    end = lambda a: train(KEY, LOSS, optax.sgd(a), ZERO, num_steps=5).params
    expected = train(KEY, LOSS, SGD, ZERO, num_steps=5).params
    known = training._train_compiled._cache_size()
    with jax.checking_leaks():
        np.testing.assert_allclose(jax.jit(end)(0.1), expected, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(end)(jnp.array([0.1, 0.2]))[0], expected, rtol=1e-6)
        assert jax.jacfwd(end)(0.1).shape == expected.shape
    assert training._train_compiled._cache_size() == known


def test_a_run_continued_from_its_state_is_the_undisturbed_run():
    optimizer = noised_projected_sgd(0.1, 0.5, 5.0, KEY)
    step = sgd_step(LOSS, optimizer)

    @jax.jit
    def ten_steps(state):
        return jax.lax.scan(lambda s, _: step(s, KEY), state, length=10)

    state = start(optimizer, ZERO)
    assert isinstance(state, TrainingState)
    state, first = ten_steps(state)
    leaves, structure = jax.tree.flatten(optax.tree_utils.tree_unwrap_random_key_data(state))
    restored = [jnp.asarray(np.asarray(leaf)) for leaf in leaves]
    restored = jax.tree.unflatten(structure, restored)
    noise = restored.opt_state[0]._replace(
        rng_key=jax.random.wrap_key_data(restored.opt_state[0].rng_key)
    )
    restored = restored._replace(opt_state=(noise, *restored.opt_state[1:]))
    state, second = ten_steps(restored)
    whole = train(KEY, LOSS, optimizer, ZERO, num_steps=20)
    assert int(state.step) == 20
    np.testing.assert_array_equal(state.params, whole.params)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole.losses)


def test_the_iterates_of_the_projected_scheme_stay_in_the_ball():
    radius = 1.5
    optimizer = noised_projected_sgd(0.2, 0.5, radius, jax.random.key(5))
    run = train(KEY, LOSS, optimizer, ZERO, num_steps=200)
    norms = np.linalg.norm(np.float64(run.path), axis=1)
    assert norms.max() <= radius * (1 + 4 * np.finfo(np.float32).eps)
    assert np.mean(norms > radius * (1 - 1e-6)) > 0.3


def test_parameters_that_are_not_real_are_refused_by_name():
    params = {"w": jnp.ones(2), "layers": [jnp.ones(1), jnp.arange(2)]}
    for act in (lambda: train(KEY, LOSS, SGD, params, num_steps=1), lambda: start(SGD, params)):
        with pytest.raises(TypeError, match=r"params\['layers'\]\[1\] has dtype int32"):
            act()
    with pytest.raises(TypeError, match="dtype complex64"):
        train(KEY, LOSS, SGD, jnp.ones(2, complex), num_steps=1)


def test_a_misplaced_ball_and_bad_counts_are_refused():
    wrong = optax.chain(keep_params_in_ball(1.0), SGD)
    with pytest.raises(ValueError, match="keep_params_in_ball is number 1 of 2"):
        train(KEY, LOSS, wrong, ZERO, num_steps=1)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        train(KEY, LOSS, SGD, ZERO, num_steps=0)
    with pytest.raises(ValueError, match="record_every must be at least 1, got -2"):
        train(KEY, LOSS, SGD, ZERO, num_steps=3, record_every=-2)
    with pytest.raises(TypeError, match="num_steps must be a Python integer"):
        train(KEY, LOSS, SGD, ZERO, num_steps=True)


def test_a_ball_of_some_parameters_may_be_followed_by_moves_of_the_others():
    class Tree(Noisy):
        def value_and_grad(self, params, draw):
            value = lambda p: jnp.sum((p["in"] - 3) ** 2) + jnp.sum((p["free"] - 3) ** 2)
            return jax.value_and_grad(value)(params)

    ball, free = {"in": True, "free": False}, {"in": False, "free": True}
    optimizer = optax.chain(
        optax.masked(projected_sgd(0.1, 0.5), ball), optax.masked(optax.adam(0.1), free)
    )
    params = {"in": ZERO, "free": ZERO}
    run = train(KEY, Tree(ZERO), optimizer, params, num_steps=200)
    np.testing.assert_allclose(np.linalg.norm(run.params["in"]), 0.5, rtol=1e-6)
    np.testing.assert_allclose(run.params["free"], 3, atol=0.01)


def test_keys_of_every_form_give_the_same_run():
    runs = [train(k, LOSS, SGD, ZERO, num_steps=5) for k in (0, KEY, jax.random.PRNGKey(0))]
    assert all(np.array_equal(runs[0].path, run.path) for run in runs)


def test_a_run_in_double_precision_stays_double(x64):
    run = train(jax.random.key(0), Noisy(jnp.zeros(2)), optax.sgd(0.1), jnp.ones(2), num_steps=3)
    assert run.path.dtype == run.losses.dtype == jnp.float64
