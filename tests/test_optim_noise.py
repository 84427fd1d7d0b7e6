"""Gaussian noise on the update: its law, its keys, and its place among Optax's transforms."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from flax.training.train_state import TrainState
from script_runs import run_python

from swjax._keys import canonical_key, check_key
from swjax.optim import (
    GaussianNoiseState,
    add_gaussian_noise,
    noised_projected_sgd,
    noised_sgd,
)
from swjax.optim._arguments import check_scalar

KEY = jax.random.key(7)
TREE = {"w": jnp.ones((3, 2)), "b": (jnp.zeros(2), None)}


def first_update(transform, updates, params=None):
    return transform.update(updates, transform.init(updates), params)[0]


def leaves_equal(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_the_noise_is_that_of_optax_draw_for_draw():
    own_key = jax.random.fold_in(KEY, 2**31)
    ours, theirs = add_gaussian_noise(0.3, KEY), optax.add_noise(0.3**2, 0.0, own_key)
    state, their_state = ours.init(TREE), theirs.init(TREE)
    for _ in range(3):
        update, state = ours.update(TREE, state)
        their_update, their_state = theirs.update(TREE, their_state)
        for a, b in zip(jax.tree.leaves(update), jax.tree.leaves(their_update), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_the_noise_has_the_law_of_optax_noise_under_other_keys():
    num, std = 20_000, 0.3
    zeros = {"a": jnp.zeros(num), "b": jnp.zeros(num)}
    transform = add_gaussian_noise(std, jax.random.key(1))
    first, state = transform.update(zeros, transform.init(zeros))
    second, _ = transform.update(zeros, state)
    theirs = first_update(optax.add_noise(std**2, 0.0, jax.random.key(2)), zeros)
    a, b, later, their = (np.float64(x) for x in (first["a"], first["b"], second["a"], theirs["a"]))
    for sample in (a, b, later):
        assert abs(sample.mean()) < 5 * std / num**0.5
        assert abs(sample.var() - std**2) < 5 * std**2 * (2 / num) ** 0.5
        # The fourth moment of N(0, std^2) is 3 std^4, with variance 96 std^8.
        assert abs((sample**4).mean() - 3 * std**4) < 5 * std**4 * (96 / num) ** 0.5
        assert scipy.stats.ks_2samp(sample, their).pvalue > 1e-3
        assert scipy.stats.kstest(sample, scipy.stats.norm(scale=std).cdf).pvalue > 1e-3
    independent_pairs = [(a, b), (a, later), (a[:-1], a[1:]), (a, their)]
    for u, v in independent_pairs:
        assert abs((u * v).mean()) < 5 * std**2 / num**0.5


def test_noise_and_minibatches_of_one_key_share_no_bits():
    key, num = jax.random.key(3), 12
    noise = add_gaussian_noise(1.0, key)
    zeros, state = jnp.zeros((4, 2)), noise.init(jnp.zeros((4, 2)))
    noises, draws = set(), set()
    for step in range(num):
        update, state = noise.update(zeros, state)
        noises |= {tuple(row) for row in update.tolist()}
        step_key = jax.random.fold_in(key, step)
        parts = [key, step_key, *jax.random.split(step_key, 3), *jax.random.split(key, num)]
        for part in parts:
            draws |= {tuple(row) for row in jax.random.normal(part, zeros.shape).tolist()}
    assert len(noises) == 4 * num
    assert not noises & draws


def test_donating_the_state_leaves_the_key_of_the_user():
    key, params = jax.random.key(7), jnp.ones(3)
    optimizer = noised_projected_sgd(0.1, 0.5, 1.0, key)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    ends = [step(params + 0, optimizer.init(params))[0] for _ in range(2)]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not key.is_deleted()


@pytest.mark.parametrize("step_size", [0.5, 0.01])
def test_the_step_size_multiplies_the_noise(step_size):
    gradient = jnp.arange(4.0)
    noise = first_update(add_gaussian_noise(0.3, KEY), gradient) - gradient
    update = first_update(noised_sgd(step_size, 0.3, KEY), gradient)
    np.testing.assert_allclose(update, -step_size * (gradient + noise), rtol=1e-6)


def test_integers_typed_and_raw_keys_are_one_key():
    forms = [3, np.int64(3), jnp.asarray(3), jax.random.key(3), jax.random.PRNGKey(3)]
    updates = [first_update(add_gaussian_noise(1.0, form), jnp.zeros(4)) for form in forms]
    assert all(np.array_equal(updates[0], update) for update in updates)
    assert jnp.issubdtype(canonical_key(np.asarray(forms[-1])).dtype, jax.dtypes.prng_key)


def test_what_is_no_key_is_refused():
    for wrong in (None, "0", 0.5, jnp.zeros(2), True):
        with pytest.raises(TypeError, match=r"Pass jax\.random\.key\(0\)"):
            check_key(wrong)
    for batch in (jax.random.split(KEY, 3), jax.random.split(jax.random.PRNGKey(0), 3)):
        with pytest.raises(ValueError, match="inside the vmapped function"):
            add_gaussian_noise(0.1, batch)


def test_bad_noise_levels_are_refused_when_their_value_is_known():
    for wrong in (-0.1, float("nan"), float("inf"), jnp.asarray(-1.0)):
        with pytest.raises(ValueError, match="std must be at least 0 and finite"):
            add_gaussian_noise(wrong, KEY)
    with pytest.raises(ValueError, match=r"got shape \(2,\)"):
        add_gaussian_noise(jnp.ones(2), KEY)
    for wrong in (True, 1j, "a"):
        with pytest.raises(TypeError, match="std must be a real number or a schedule"):
            check_scalar("std", wrong, allow_zero=True)
    traced = jax.jit(lambda std: first_update(add_gaussian_noise(std, KEY), jnp.zeros(3)))
    assert np.array_equal(traced(-1.0), -traced(1.0))


def test_a_schedule_sees_the_number_of_updates_made():
    transform = add_gaussian_noise(lambda count: 10.0**-count, KEY)
    constant = add_gaussian_noise(1.0, KEY)
    state, plain = transform.init(TREE), constant.init(TREE)
    zeros = jax.tree.map(jnp.zeros_like, TREE)
    for step in range(3):
        update, state = transform.update(zeros, state)
        unscaled, plain = constant.update(zeros, plain)
        np.testing.assert_allclose(update["w"], 10.0**-step * unscaled["w"], rtol=1e-6)
    assert int(state.count) == 3


def test_each_leaf_keeps_its_dtype_and_absent_leaves_stay_absent():
    tree = {
        "half": jnp.zeros(3, jnp.float16),
        "brain": jnp.zeros(3, jnp.bfloat16),
        "single": jnp.zeros(3),
        "none": None,
        "masked": optax.MaskedNode(),
    }
    update = first_update(add_gaussian_noise(jnp.float32(0.1), KEY), tree)
    assert jax.tree.structure(update) == jax.tree.structure(tree)
    assert {name: str(update[name].dtype) for name in ("half", "brain", "single")} == {
        "half": "float16",
        "brain": "bfloat16",
        "single": "float32",
    }
    assert all(bool(jnp.all(leaf != 0)) for leaf in jax.tree.leaves(update))
    assert first_update(add_gaussian_noise(0.1, KEY), {"none": None}) == {"none": None}
    assert first_update(add_gaussian_noise(0.1, KEY), 0.0).shape == ()


def test_double_precision_stays_double(x64):
    tree = {"double": jnp.zeros(3), "single": jnp.zeros(3, jnp.float32)}
    update = first_update(add_gaussian_noise(0.1, jax.random.key(0)), tree)
    assert (update["double"].dtype, update["single"].dtype) == (jnp.float64, jnp.float32)


def test_integer_leaves_are_refused_by_name():
    with pytest.raises(TypeError, match=r"updates\['steps'\] has dtype int32"):
        first_update(add_gaussian_noise(0.1, KEY), {"w": jnp.ones(2), "steps": jnp.arange(3)})


def test_runs_share_the_noise_of_a_key_closed_over_and_not_of_a_key_of_their_own():
    transform = add_gaussian_noise(1.0, KEY)
    zeros = jnp.zeros((2, 3))
    shared, _ = jax.vmap(transform.update)(zeros, jax.vmap(transform.init)(zeros))
    assert np.array_equal(shared[0], shared[1])
    own = jax.vmap(lambda key, u: first_update(add_gaussian_noise(1.0, key), u))
    separate = own(jax.random.split(KEY, 2), zeros)
    assert not np.any(separate[0] == separate[1])


def test_one_compilation_serves_all_levels_and_step_sizes():
    traces = []

    @jax.jit
    def run(step_sizes, stds):
        traces.append(1)
        update = lambda a, s: first_update(noised_sgd(a, s, KEY), jnp.zeros(3))
        return jax.vmap(update)(step_sizes, stds)

    noise = run(jnp.array([1.0, 0.1]), jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(noise[1], 0.2 * noise[0], rtol=1e-6)
    run(jnp.array([0.5, 0.3]), jnp.array([0.0, 2.0]))
    assert len(traces) == 1


def test_injected_hyperparameters_can_be_changed_between_updates():
    factory = optax.inject_hyperparams(noised_sgd, static_args=("key",))
    optimizer = factory(step_size=0.1, noise_std=lambda count: 1.0 / (count + 1), key=KEY)
    zeros = jnp.zeros(3)
    state = optimizer.init(zeros)
    assert set(state.hyperparams) == {"step_size", "noise_std"}
    plain = noised_sgd(0.1, lambda count: 1.0 / (count + 1), KEY)
    plain_state = plain.init(zeros)
    update = jax.jit(optimizer.update)
    for scale in (1.0, 1.0, 5.0):
        state.hyperparams["step_size"] = jnp.float32(0.1 * scale)
        got, state = update(zeros, state, zeros)
        expected, plain_state = plain.update(zeros, plain_state)
        np.testing.assert_allclose(got, scale * expected, rtol=1e-6)


@pytest.mark.parametrize("key", [0, KEY, np.asarray(jax.random.PRNGKey(0))])
def test_a_key_that_became_a_hyperparameter_is_harmless(key):
    optimizer = optax.inject_hyperparams(noised_sgd)(step_size=0.1, noise_std=1.0, key=key)
    zeros = jnp.zeros(3)
    state = optimizer.init(zeros)
    assert "key" in state.hyperparams
    update, _ = jax.jit(optimizer.update)(zeros, state, zeros)
    np.testing.assert_allclose(update, first_update(noised_sgd(0.1, 1.0, key), zeros), rtol=1e-6)


def test_masked_and_partitioned_leaves_are_left_alone():
    zeros = {"a": jnp.zeros(3), "b": jnp.zeros(3)}
    noise = add_gaussian_noise(1.0, KEY)
    masked = first_update(optax.masked(noise, {"a": True, "b": False}), zeros, zeros)
    labels = {"a": "noisy", "b": "quiet"}
    parts = {"noisy": noise, "quiet": optax.identity()}
    partitioned = first_update(optax.partition(parts, labels), zeros, zeros)
    for update in (masked, partitioned):
        assert np.all(update["a"] != 0)
        assert np.all(update["b"] == 0)
    named = optax.named_chain(("noise", noise), ("sgd", optax.sgd(0.1)))
    state = named.init(zeros)
    named.update(zeros, state, zeros, value=1.0, unknown="ignored")
    assert int(optax.tree_utils.tree_get(state, "count")) == 0


def test_accumulated_gradients_get_the_noise_once():
    optimizer = optax.MultiSteps(noised_sgd(0.1, 1.0, KEY), every_k_schedule=3)
    params = jnp.zeros(2)
    state = optimizer.init(params)
    updates = []
    for gradient in (1.0, 2.0, 6.0):
        update, state = optimizer.update(jnp.full(2, gradient), state, params)
        updates.append(update)
    expected = first_update(noised_sgd(0.1, 1.0, KEY), jnp.full(2, 3.0))
    np.testing.assert_array_equal(np.stack(updates[:2]), 0)
    np.testing.assert_allclose(updates[2], expected, rtol=1e-5)


def test_a_skipped_step_does_not_use_up_noise():
    optimizer = optax.apply_if_finite(noised_sgd(0.1, 1.0, KEY), max_consecutive_errors=5)
    params = jnp.zeros(2)
    state = optimizer.init(params)
    skipped, state = optimizer.update(jnp.array([jnp.nan, 1.0]), state, params)
    update, _ = optimizer.update(params, state, params)
    np.testing.assert_array_equal(skipped, 0)
    np.testing.assert_allclose(update, first_update(noised_sgd(0.1, 1.0, KEY), params))


def test_a_flax_train_state_and_a_scan_give_the_same_parameters():
    optimizer = noised_sgd(0.1, 0.5, KEY)
    params = {"w": jnp.ones(3)}
    train_state = TrainState.create(apply_fn=lambda p: p, params=params, tx=optimizer)
    for _ in range(4):
        train_state = train_state.apply_gradients(grads=train_state.params)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(params, state, params)
        return (optax.apply_updates(params, updates), state), None

    (scanned, state), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=4)
    np.testing.assert_allclose(scanned["w"], train_state.params["w"], rtol=1e-6)
    assert int(state[0].count) == 4


def test_a_state_saved_as_plain_arrays_continues_to_the_same_bits(tmp_path):
    transform = add_gaussian_noise(1.0, KEY)
    _, state = transform.update(TREE, transform.init(TREE))
    np.savez(tmp_path / "state.npz", count=state.count, key=jax.random.key_data(state.rng_key))
    with np.load(tmp_path / "state.npz") as saved:
        loaded = GaussianNoiseState(
            jnp.asarray(saved["count"]), jax.random.wrap_key_data(jnp.asarray(saved["key"]))
        )
    (update, after), (expected, expected_after) = (
        transform.update(TREE, s) for s in (loaded, state)
    )
    assert leaves_equal(update, expected)
    assert leaves_equal(
        optax.tree_utils.tree_unwrap_random_key_data(after),
        optax.tree_utils.tree_unwrap_random_key_data(expected_after),
    )


def test_the_state_can_be_searched_and_mapped_by_optax():
    optimizer = optax.chain(add_gaussian_noise(1.0, KEY), optax.trace(0.9))
    state = optimizer.init(TREE)
    key = optax.tree_utils.tree_get(state, "rng_key")
    own_key = jax.random.fold_in(KEY, 2**31)
    assert np.array_equal(jax.random.key_data(key), jax.random.key_data(own_key))
    doubled = optax.tree_utils.tree_map_params(optimizer, lambda leaf: leaf + 1, state)
    assert np.all(doubled[1].trace["w"] == 1)


@pytest.mark.slow
def test_noise_and_projection_do_not_depend_on_the_mesh():
    code = """
import jax, jax.numpy as jnp, numpy as np
from swjax.optim import add_gaussian_noise, noised_projected_sgd
zeros = {"a": jnp.zeros((8, 2)), "b": jnp.zeros(4)}
scheme = noised_projected_sgd(1.0, 1.0, 0.5, jax.random.key(0))
noise = add_gaussian_noise(1.0, jax.random.key(0))

@jax.jit
def moved(tree):
    noisy, _ = noise.update(tree, noise.init(tree))
    projected, _ = scheme.update(tree, scheme.init(tree), tree)
    return noisy, projected

plain = moved(zeros)
for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        sharding = jax.sharding.NamedSharding(mesh, jax.P("x"))
        sharded = moved(jax.device_put(zeros, sharding))
    for name in zeros:
        assert np.array_equal(sharded[0][name], plain[0][name]), (kind, name)
        np.testing.assert_allclose(sharded[1][name], plain[1][name], rtol=1e-6)
        for part in sharded:
            assert part[name].sharding.spec[0] == "x", (kind, part[name].sharding)
print(jax.device_count())
"""
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    assert run_python("-c", code, env=env).strip() == "4"
