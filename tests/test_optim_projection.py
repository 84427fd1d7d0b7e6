"""The ball: the projection as a function and as the last transform of a chain."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState
from jax.test_util import check_grads
from optax._src.base import NO_PARAMS_MSG

from swjax.optim import (
    check_ball_is_last,
    ignore_unknown_arguments,
    keep_params_in_ball,
    project_onto_ball,
    projected_sgd,
)

project = jax.jit(project_onto_ball)
TREE = {"w": jnp.array([[3.0, 0.0]]), "b": (jnp.array(4.0), None)}


def norm(tree):
    """Euclidean norm of the whole tree in double precision."""
    return np.sqrt(sum(np.sum(np.float64(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


def random_tree(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = {"w": (7, 5), "b": (5,), "c": ()}
    return {name: jnp.float32(scale * rng.normal(size=shape)) for name, shape in shapes.items()}


def pairs(a, b):
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def leaves_equal(a, b):
    return all(np.array_equal(u, v) for u, v in pairs(a, b))


@partial(jax.jit, static_argnums=0)
def moved(transform, params, updates):
    updates, _ = transform.update(updates, transform.init(params), params)
    return optax.apply_updates(params, updates)


# The projection


def test_the_ball_is_that_of_the_whole_tree():
    projected = project(TREE, 1.0)
    np.testing.assert_allclose(projected["w"], [[0.6, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(projected["b"][0], 0.8, rtol=1e-6)
    assert projected["b"][1] is None


@pytest.mark.parametrize("radius", [0.3, 2.0, 5.5])
def test_the_projection_agrees_with_optax_and_is_idempotent(radius):
    tree = random_tree(0)
    projected = project(tree, radius)
    for a, b in pairs(projected, jax.jit(optax.projections.projection_l2_ball)(tree, radius)):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    twice = project(projected, radius)
    for a, b in pairs(twice, projected):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_the_projection_is_the_nearest_point_of_the_ball():
    # pi(v) is characterized by (v - pi(v)).(w - pi(v)) <= 0 for every w in the ball.
    rng = np.random.default_rng(0)
    center = jnp.float32(rng.normal(size=8))
    for _ in range(5):
        v = jnp.float32(3 * rng.normal(size=8))
        nearest = project(v, 1.5, center)
        others = rng.normal(size=(200, 8))
        others *= 1.5 * rng.uniform(size=(200, 1)) / np.linalg.norm(others, axis=1, keepdims=True)
        others += np.asarray(center)
        assert np.max((others - np.asarray(nearest)) @ np.asarray(v - nearest)) < 1e-5


def test_points_of_the_ball_do_not_move_by_a_bit():
    tree = random_tree(1)
    assert leaves_equal(project(tree, 10.0), tree)
    assert leaves_equal(project(tree, jnp.inf), tree)
    assert leaves_equal(project(tree, 1.0, tree), tree)
    assert leaves_equal(project({"a": jnp.zeros(3)}, 0.0), {"a": jnp.zeros(3)})
    assert float(norm(project(tree, 0.0))) == 0


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e30), ("float32", 3e38), ("float16", 6e4), ("float32", 1e-30)]
)
def test_extreme_sizes_neither_overflow_nor_vanish(dtype, size):
    x = jnp.full(16, size, dtype)
    projected = project(x, 1e-32)
    radius = 1e-32 if dtype == "float32" else 0.0
    np.testing.assert_allclose(np.float64(projected), radius / 4, rtol=1e-5)
    quarter = project(x, size)
    np.testing.assert_allclose(np.float64(quarter), size / 4, rtol=1e-3)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_point_that_is_not_finite_stays_visible(bad):
    for radius in (0.0, 1.0, jnp.inf):
        projected = project({"a": jnp.array([1.0, bad]), "b": jnp.ones(2)}, radius)
        assert not any(np.isfinite(leaf).any() for leaf in jax.tree.leaves(projected))


def test_derivatives_agree_with_finite_differences(x64):
    rng = np.random.default_rng(0)
    x, center = jnp.asarray(rng.normal(size=6)), jnp.asarray(rng.normal(size=6))
    split = lambda v: {"a": v[:2], "b": v[2:]}

    @jax.jit
    def projected(x, radius, center):
        tree = project_onto_ball(split(x), radius, split(center))
        return jnp.concatenate(jax.tree.leaves(tree))

    for radius in (0.7, 50.0):
        check_grads(projected, (x, jnp.asarray(radius), center), order=1, rtol=1e-6)
    jacobian = jax.jit(jax.jacobian(project_onto_ball))
    second = jax.jit(jax.jacobian(jax.jacobian(project_onto_ball)))
    outside = jacobian(x, 0.7)
    unit = np.asarray(x) / np.linalg.norm(x)
    expected = 0.7 / np.linalg.norm(x) * (np.eye(6) - np.outer(unit, unit))
    np.testing.assert_allclose(outside, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jacobian(x, 50.0), np.eye(6))
    along = 1e-5 * np.asarray(center)
    difference = (jacobian(x + along, 0.7) - jacobian(x - along, 0.7)) / 2e-5
    np.testing.assert_allclose(second(x, 0.7) @ center, difference, atol=1e-8)


def test_derivatives_are_finite_at_the_special_points():
    zero, unit = jnp.zeros(3), jnp.array([1.0, 0.0, 0.0])
    jacobians = jax.jit(jax.jacobian(project_onto_ball, argnums=(0, 1)))
    for point, radius in [(zero, 1.0), (zero, 0.0), (unit, 1.0), (unit, 0.0), (unit, jnp.inf)]:
        by_point, by_radius = jacobians(point, radius)
        assert np.isfinite(by_point).all()
        assert np.isfinite(by_radius).all()
        if radius == 1:
            np.testing.assert_allclose(by_point, np.eye(3))


def test_bad_radii_are_refused_when_their_value_is_known():
    for make in (lambda r: project_onto_ball(jnp.ones(2), r), keep_params_in_ball):
        for wrong in (-1.0, jnp.nan, jnp.asarray(-0.5)):
            with pytest.raises(ValueError, match="radius must be at least 0, got"):
                make(wrong)
        with pytest.raises(ValueError, match=r"radius must be one number .* got shape \(2,\)"):
            make(jnp.ones(2))
    with pytest.raises(TypeError, match="keep_params_in_ball accepts a schedule"):
        project_onto_ball(jnp.ones(2), lambda count: 1.0)
    assert np.isnan(jax.jit(project_onto_ball)(jnp.ones(2), -1.0)).all()


def test_leaves_that_cannot_move_are_refused_by_name():
    with pytest.raises(TypeError, match=r"params\['steps'\] has dtype int32"):
        project_onto_ball({"steps": jnp.arange(3), "w": jnp.ones(2)}, 1.0)
    with pytest.raises(TypeError, match=r"params\['name'\] has dtype str"):
        project_onto_ball({"name": "w", "w": jnp.ones(2)}, 1.0)


# The transform


@pytest.mark.parametrize(
    ("params_dtype", "updates_dtype", "eps_dtype"),
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "bfloat16", "bfloat16"),
        ("float16", "float16", "float16"),
        ("bfloat16", "float32", "bfloat16"),
        ("float32", "bfloat16", "bfloat16"),
    ],
)
def test_the_iterates_stay_in_the_ball_up_to_four_roundings(params_dtype, updates_dtype, eps_dtype):
    eps = float(jnp.finfo(eps_dtype).eps)

    @jax.jit
    def path_norms(radius, keys):
        transform = keep_params_in_ball(radius)

        def step(params, key):
            updates = (jax.random.normal(key, (300,)) * radius).astype(updates_dtype)
            updates, _ = transform.update(updates, transform.init(params), params)
            assert updates.dtype == updates_dtype
            params = optax.apply_updates(params, updates)
            return params, params

        return jax.lax.scan(step, jnp.zeros(300, params_dtype), keys)[1]

    for radius in (1.0, 7.3):
        path = path_norms(radius, jax.random.split(jax.random.key(0), 300))
        assert path.dtype == params_dtype
        norms = np.linalg.norm(np.float64(path), axis=1)
        assert norms.max() <= radius * (1 + 4 * eps)
        assert norms.min() >= radius * (1 - 4 * eps)


def test_the_bound_holds_in_double_precision_and_for_a_million_parameters(x64):
    for dtype, num in (("float64", 1000), ("float32", 10**6)):
        rng = np.random.default_rng(0)
        params = {"a": jnp.asarray(rng.normal(size=num), dtype), "b": jnp.ones(3, dtype)}
        params = project_onto_ball(params, 2.0)
        updates = {"a": jnp.asarray(rng.normal(size=num), dtype), "b": jnp.ones(3, dtype)}
        after = moved(keep_params_in_ball(2.0), params, updates)
        assert abs(norm(after) / 2 - 1) <= 4 * float(jnp.finfo(dtype).eps)


def test_a_start_far_outside_is_brought_to_the_ball_at_once():
    params = jnp.array([3e4, -4e4])
    after = moved(keep_params_in_ball(1.0), params, jnp.zeros(2))
    np.testing.assert_allclose(after, [0.6, -0.8], atol=5e4 * np.finfo(np.float32).eps)


def test_updates_that_stay_inside_pass_unchanged():
    params, updates = random_tree(0, 0.1), random_tree(1, 0.1)
    transform = keep_params_in_ball(10.0)
    passed, _ = transform.update(updates, transform.init(params), params)
    assert leaves_equal(passed, updates)


def test_the_step_is_the_projection_of_the_moved_parameters():
    params, updates = random_tree(0), random_tree(1)
    after = moved(keep_params_in_ball(2.0), params, updates)
    expected = project_onto_ball(jax.tree.map(jnp.add, params, updates), 2.0)
    for a, b in pairs(after, expected):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_missing_params_raise_with_the_message_of_optax():
    transform = keep_params_in_ball(1.0)
    with pytest.raises(ValueError, match=r"You are using a transformation") as error:
        transform.update(TREE, transform.init(TREE))
    assert str(error.value) == NO_PARAMS_MSG


def test_a_centered_ball_follows_its_center():
    params, updates, center = random_tree(0), random_tree(1), random_tree(2, 3.0)
    after = moved(keep_params_in_ball(0.5, center), params, updates)
    offset = jax.tree.map(jnp.subtract, after, center)
    eps = float(jnp.finfo(jnp.float32).eps)
    assert norm(offset) <= 0.5 * (1 + 4 * eps) + 2 * eps * norm(center)
    expected = project_onto_ball(jax.tree.map(jnp.add, params, updates), 0.5, center)
    for a, b in pairs(after, expected):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_a_center_that_does_not_fit_is_refused():
    params = {"a": jnp.ones(2), "b": None}
    for wrong in (jnp.ones(2), {"a": jnp.ones(2), "c": jnp.ones(2)}, {"a": None, "b": None}):
        with pytest.raises(ValueError, match="center must be a tree like the parameters"):
            moved(keep_params_in_ball(1.0, wrong), params, params)
    with pytest.raises(ValueError, match=r"center\['a'\] has shape \(1,\), the parameter \(2,\)"):
        project_onto_ball(params, 1.0, {"a": jnp.ones(1), "b": None})


def test_updates_that_are_another_tree_are_refused():
    transform, ones = keep_params_in_ball(1.0), jnp.ones(2)
    params = {"a": ones, "b": ones}
    for wrong in ({"a": None, "b": ones}, {"a": ones}, ones, {"a": (ones,), "b": ones}):
        with pytest.raises(ValueError, match="updates must be a tree like the parameters"):
            transform.update(wrong, transform.init(params), params)


def test_the_radius_can_be_a_schedule_a_tracer_or_an_injected_number():
    params, updates = jnp.zeros(2), jnp.array([3.0, 4.0])
    transform = keep_params_in_ball(lambda count: 1.0 / (count + 1))
    state = transform.init(params)
    for count in range(3):
        passed, state = transform.update(updates, state, params)
        np.testing.assert_allclose(norm(passed), 1 / (count + 1), rtol=1e-6)
    radii = jnp.array([0.5, 2.0, 100.0])
    sizes = jax.vmap(lambda r: jnp.linalg.norm(moved(keep_params_in_ball(r), params, updates)))
    np.testing.assert_allclose(sizes(radii), [0.5, 2.0, 5.0], rtol=1e-6)
    injected = optax.inject_hyperparams(projected_sgd)(step_size=1.0, radius=1.0)
    state = injected.init(params)
    state.hyperparams["radius"] = jnp.float32(2.5)
    passed, _ = jax.jit(injected.update)(-updates, state, params)
    np.testing.assert_allclose(passed, [1.5, 2.0], rtol=1e-6)


def test_masks_and_partitions_give_each_group_a_ball_of_its_own():
    params = {"a": jnp.zeros(2), "b": jnp.zeros(2), "c": None}
    updates = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([6.0, 8.0]), "c": None}
    ball = keep_params_in_ball(1.0)
    masked = moved(optax.masked(ball, {"a": True, "b": False, "c": False}), params, updates)
    np.testing.assert_allclose(masked["a"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(masked["b"], [6.0, 8.0], rtol=1e-6)
    parts = {"one": ball, "two": keep_params_in_ball(2.0, params)}
    split = moved(optax.partition(parts, {"a": "one", "b": "two", "c": "two"}), params, updates)
    np.testing.assert_allclose(split["a"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(split["b"], [1.2, 1.6], rtol=1e-6)


def test_wrappers_around_the_chain_keep_the_ball():
    params = {"w": jnp.array([0.6, 0.0])}
    gradient = {"w": jnp.array([-5.4, -8.0])}
    chain = projected_sgd(1.0, 1.0)
    wrapped = {
        "named": optax.named_chain(("sgd", optax.sgd(1.0)), ("ball", keep_params_in_ball(1.0))),
        "finite": optax.apply_if_finite(chain, max_consecutive_errors=3),
        "accumulated": optax.MultiSteps(chain, 1).gradient_transformation(),
    }
    for name, optimizer in wrapped.items():
        after = moved(optimizer, params, gradient)
        np.testing.assert_allclose(after["w"], [0.6, 0.8], rtol=1e-6, err_msg=name)
    train_state = TrainState.create(apply_fn=lambda p: p, params=params, tx=chain)
    after = train_state.apply_gradients(grads=gradient)
    np.testing.assert_allclose(after.params["w"], [0.6, 0.8], rtol=1e-6)
    mapped = optax.tree_utils.tree_map_params(chain, lambda leaf: leaf, chain.init(params))
    assert jax.tree.structure(mapped) == jax.tree.structure(chain.init(params))


def test_a_ball_before_the_learning_rate_does_not_hold_the_parameters():
    # The transform says "go back to the sphere", and the learning rate turns that around.
    gradient = jnp.array([0.3, 0.4])
    ball, sgd = keep_params_in_ball(1.0), optax.sgd(0.1)
    radii = []
    for optimizer in (optax.chain(ball, sgd), optax.chain(sgd, ball)):

        def step(carry, _, optimizer=optimizer):
            params, state = carry
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = jnp.zeros(2)
        (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=50)
        radii.append(norm(params))
    wrong, right = radii
    assert wrong > 2
    np.testing.assert_allclose(right, 1, rtol=4e-7)


def test_a_ball_that_is_not_last_is_found_wherever_it_hides():
    ball, sgd, params = keep_params_in_ball(1.0), optax.sgd(0.1), {"a": jnp.zeros(2)}
    injected = optax.inject_hyperparams(lambda r: optax.chain(keep_params_in_ball(r), sgd))
    wrong = [
        optax.chain(ball, sgd),
        optax.named_chain(("ball", ball), ("a_step", sgd)),
        optax.chain(optax.masked(ball, {"a": True}), sgd),
        optax.chain(sgd, optax.chain(ball, sgd)),
        optax.partition({"x": optax.chain(ball, sgd)}, {"a": "x"}),
        injected(1.0),
        optax.MultiSteps(optax.chain(ball, sgd), 2).gradient_transformation(),
        optax.apply_if_finite(optax.chain(ball, sgd), 2),
    ]
    for optimizer in wrong:
        with pytest.raises(ValueError, match="keep_params_in_ball is number 1 of 2"):
            check_ball_is_last(optimizer, params)
    right = [
        optax.chain(sgd, ball),
        optax.named_chain(("z", sgd), ("ball", ball)),
        optax.chain(sgd, optax.masked(ball, {"a": True})),
        optax.partition({"x": projected_sgd(0.1, 1.0), "y": sgd}, {"a": "x"}),
        optax.MultiSteps(projected_sgd(0.1, 1.0), 2).gradient_transformation(),
        optax.adam(0.1),
    ]
    for optimizer in right:
        check_ball_is_last(optimizer, params)


def test_a_transform_after_the_ball_is_refused_only_if_it_moves_its_parameters():
    params = {"in": jnp.ones(2), "free": jnp.ones(3)}
    inside, free = {"in": True, "free": False}, {"in": False, "free": True}
    ball, adam = projected_sgd(0.1, 0.5), optax.adam(0.1)
    plateau = optax.contrib.reduce_on_plateau()  # asks for the value
    masked = lambda transform: optax.chain(
        optax.masked(ball, inside), optax.masked(transform, free)
    )
    right = [
        optax.chain(ball, optax.identity()),
        optax.named_chain(("ball", ball), ("rest", optax.chain(optax.identity()))),
        optax.inject_hyperparams(lambda a: masked(optax.sgd(a)))(0.1),
        *map(masked, (adam, plateau, optax.set_to_zero(), ball)),
    ]
    for optimizer in right:
        check_ball_is_last(optimizer, params)
        jax.jit(jax.vmap(lambda u, o=optimizer: check_ball_is_last(o, u) or u))(
            jax.tree.map(lambda leaf: leaf[None], params)
        )
    wrong = [
        optax.chain(ball, optax.scale(1.0)),
        optax.chain(ball, plateau),
        optax.chain(ball, optax.masked(optax.set_to_zero(), free)),
        optax.chain(optax.masked(ball, inside), optax.masked(adam, inside)),
        masked(optax.chain(ball, adam)),
        optax.apply_if_finite(optax.chain(ball, adam), 2),
    ]
    for optimizer in wrong:
        with pytest.raises(ValueError, match="keep_params_in_ball is number 1 of 2"):
            check_ball_is_last(optimizer, params)


def test_arguments_that_an_optimizer_does_not_name_are_dropped():
    params = jnp.ones(2)
    sam = optax.contrib.sam(optax.sgd(1.0), optax.sgd(0.5))
    for optimizer in (optax.sgd(1.0), sam, optax.adam(1.0)):
        update = ignore_unknown_arguments(optimizer).update
        updates, _ = update(params, optimizer.init(params), params, value=1.0, grad=params)
        assert updates.shape == (2,)


def test_updates_that_cannot_move_are_refused_by_name():
    transform = keep_params_in_ball(1.0)
    state = transform.init(None)
    ones, counter = {"w": jnp.ones(2)}, {"w": jnp.arange(2)}
    with pytest.raises(TypeError, match=r"updates\['w'\] has dtype int32"):
        transform.update(counter, state, ones)
    with pytest.raises(TypeError, match=r"params\['w'\] has dtype int32"):
        transform.update(ones, state, counter)
