"""What POT and OTT test of their sliced and one-dimensional losses, asked of ours.

One test here for each case there that concerns a loss on the line or in space (theirs on the sphere
and the circle are left out), in our words and mostly against a stricter oracle: POT's exact solver.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy import stats

import swjax

pytestmark = pytest.mark.slow

N, M, DIM, NUM = 20, 30, 2, 10


def cloud(n, dim=DIM, seed=0):
    return np.random.default_rng([seed, n, dim]).normal(size=(n, dim))


def weights(n, *empty):
    a = np.random.default_rng(n).uniform(size=n)
    a[list(empty)] = 0
    return a / a.sum()


def directions(num=NUM, dim=DIM, seed=0):
    return swjax.sample_directions(jax.random.key(seed), num, dim)


X, Y, A, B = cloud(N), cloud(M, seed=1), weights(N), weights(M)


def exact(x, y, a=None, b=None, p=2):
    """W_p^p between clouds by linear programming."""
    a = np.full(len(x), 1 / len(x)) if a is None else a
    b = np.full(len(y), 1 / len(y)) if b is None else b
    gaps = np.linalg.norm(np.asarray(x)[:, None] - np.asarray(y)[None], axis=2)
    return ot.emd2(np.asarray(a), np.asarray(b), gaps**p)


# --- POT, sliced distances ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sample",
    [
        lambda key: swjax.sample_directions(key, 50, 1000),
        lambda key: swjax.sample_orthogonal_directions(key, 50, 60),
        lambda key: swjax.sample_fibonacci_directions(key, 50),
        lambda key: swjax.fibonacci_directions(50),
    ],
    ids=["independent", "orthogonal", "turned spiral", "spiral"],
)
def test_directions_lie_on_the_sphere_and_follow_from_their_key(sample):
    rows = sample(jax.random.key(42))
    np.testing.assert_allclose(np.sum(np.square(rows), axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(sample(jax.random.key(42)), rows)


def test_another_key_turns_the_spiral_otherwise():
    one, other = (swjax.sample_fibonacci_directions(jax.random.key(k), 50) for k in (42, 43))
    assert not np.allclose(one, other)


def test_grids_of_the_plane_and_of_space_do_not_fit_other_dimensions():
    for rows, dim in ((swjax.equispaced_directions(8), 3), (swjax.fibonacci_directions(8), 5)):
        with pytest.raises(ValueError, match="dimensions of space"):
            swjax.sw2_sq(cloud(4, dim), cloud(4, dim), rows)


SPIRALS = [directions(), swjax.equispaced_directions(NUM)]


@pytest.mark.parametrize("p", [1, 2])
def test_a_cloud_is_at_distance_zero_from_itself_and_not_from_another(p, x64):
    for theta in SPIRALS:
        assert swjax.sw_distance(X, X, theta, A, A, p=p) == 0
        assert swjax.sw_distance(X, X[::-1], theta, p=p) == 0
        assert swjax.sw_distance(X, Y, theta, A, B, p=p) > 0


def test_clouds_of_different_dimensions_are_refused():
    with pytest.raises(ValueError, match="dimensions of space"):
        swjax.sw_distance(X, cloud(M, 4), directions())
    with pytest.raises(ValueError, match="dimensions of space"):
        swjax.max_sw2_sq(cloud(3), cloud(4, 3), jax.random.key(0))
    with pytest.raises(ValueError, match="dimensions of space"):
        swjax.sliced_plans(X[:, 1:], Y, directions())


def test_the_costs_of_all_directions_can_be_had(x64):
    theta = directions()
    costs = swjax.sw_pow_per_direction(X, Y, theta, A, B, p=1)
    assert costs.shape == (NUM,)
    assert np.all(costs > 0)
    _, log = ot.sliced_wasserstein_distance(
        X, Y, A, B, p=1, projections=np.asarray(theta).T, log=True
    )
    np.testing.assert_allclose(costs, log["projected_emds"], rtol=1e-10)
    np.testing.assert_allclose(np.mean(costs), swjax.sw_distance(X, Y, theta, A, B, p=1))


def test_on_the_line_the_sliced_distance_is_the_exact_one(x64):
    x, y = X[:, :1], Y[:, :1]
    theta = swjax.sample_directions(jax.random.key(42), NUM, 1)
    found = swjax.sw_distance(x, y, theta, A, B)
    np.testing.assert_allclose(found**2, exact(x, y, A, B), rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_pot_for_other_sizes_and_weights(weighted, x64):
    theta = directions()
    a, b = (A, B) if weighted else (None, None)
    expected = ot.sliced_wasserstein_distance(X, Y, a, b, projections=np.asarray(theta).T)
    np.testing.assert_allclose(swjax.sw_distance(X, Y, theta, a, b), expected, rtol=1e-10)
    largest = ot.max_sliced_wasserstein_distance(X, Y, a, b, projections=np.asarray(theta).T)
    costs = swjax.sw2_sq_per_direction(X, Y, theta, a, b)
    np.testing.assert_allclose(np.max(costs) ** 0.5, largest, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_have_the_type_and_the_device_of_the_clouds(dtype, x64):
    device = jax.devices()[-1]
    put = lambda array: jax.device_put(np.asarray(array, dtype), device)
    x, y, theta, a, b = map(put, (X, Y, directions(), A, B))
    key = jax.device_put(jax.random.key(0), device)
    x_1d, y_1d = x[:, 0], y[:, 0]
    for result in (
        swjax.sw_distance(x, y, theta),
        swjax.sw_distance(x, y, theta, a, b),
        swjax.sw2_sq_per_direction(x, y, theta, a, b),
        swjax.max_sw2_sq(x, y, key, num_steps=2).value,
        swjax.wp_pow_1d(x_1d, y_1d, a, b, p=1),
        *swjax.sliced_potentials(x, y, theta, a, b, p=1),
        swjax.sliced_plans(x, y, theta, a, b).masses,
    ):
        assert result.dtype == dtype
        assert result.devices() == {device}


def test_the_largest_slice_of_a_cloud_against_itself_is_zero(x64):
    key = jax.random.key(0)
    assert swjax.max_sw2_sq(X, X, key, num_steps=5, a=A, b=A).value == 0
    found = swjax.max_sw2_sq(X, Y, key, a=A, b=B).value
    assert found >= np.max(swjax.sw2_sq_per_direction(X, Y, directions(500), A, B))


def test_scaled_features_show_what_large_ones_hide():
    """Standardized coordinates are the user's to make, before the call: clouds are arrays."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(1000, 100, 500), rng.normal(0, 1, 500)])
    y = np.column_stack([rng.normal(1000, 100, 500), rng.normal(5, 1, 500)])
    scale = np.concatenate([x, y]).std(axis=0)
    assert swjax.sw_distance(x / scale, y / scale, directions(200)) > 1


def test_even_directions_of_space_err_less_than_independent_ones():
    x, y = cloud(N, 3), cloud(N, 3, seed=1) + 1
    value = jax.jit(functools.partial(swjax.sw_distance, x, y))
    truth = value(swjax.fibonacci_directions(2000))
    keys = jax.random.split(jax.random.key(0), 15)
    error = lambda sample: np.mean([abs(value(sample(key)) - truth) for key in keys])
    independent = error(lambda key: swjax.sample_directions(key, 50, 3))
    assert error(lambda key: swjax.sample_fibonacci_directions(key, 50)) < independent / 5
    assert abs(value(swjax.fibonacci_directions(50)) - truth) < independent / 5


# --- POT, plans -----------------------------------------------------------------------------------


def test_plans_of_the_directions_couple_and_bound_the_distance(x64):
    theta = directions()
    plans = swjax.sliced_plans(X, Y, theta, A, B)
    dense = plans.dense()
    np.testing.assert_allclose(dense.sum(axis=2), np.tile(A, (NUM, 1)), rtol=1e-10)
    np.testing.assert_allclose(dense.sum(axis=1), np.tile(B, (NUM, 1)), rtol=1e-10)
    costs, w2 = plans.costs(X, Y), exact(X, Y, A, B)
    assert w2 <= costs.min() <= 2 * w2
    own = swjax.sliced_plans(X, X, theta, A, A)
    np.testing.assert_allclose(own.costs(X, X), 0, atol=1e-12)

    gaps = np.sum((X[:, None] - Y[None]) ** 2, axis=2)
    mean = swjax.expected_sliced_plan(X, Y, theta, A, B)
    assert w2 <= np.sum(mean * gaps) <= 3 * w2
    np.testing.assert_allclose(np.sum(mean * gaps), np.mean(costs), rtol=1e-10)
    in_parts = swjax.expected_sliced_plan(X, Y, theta, A, B, chunk_size=2)
    np.testing.assert_allclose(in_parts, mean, atol=1e-15)
    cold = plans.mean(jax.nn.softmax(-1000 * costs))
    np.testing.assert_allclose(np.sum(cold * gaps), costs.min(), rtol=1e-3)


# --- POT, on the line -----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_on_the_line_values_are_those_of_the_linear_program(weighted, x64):
    x, y = X[:, 0], Y[:, 0]
    a, b = (A, B) if weighted else (None, None)
    for p in (1, 2):
        found = swjax.wp_pow_1d(x, y, a, b, p=p)
        np.testing.assert_allclose(found, exact(X[:, :1], Y[:, :1], a, b, p), rtol=1e-10)
    by_scipy = stats.wasserstein_distance(x, y, a, b)
    np.testing.assert_allclose(swjax.wp_pow_1d(x, y, a, b, p=1), by_scipy, rtol=1e-10)
    plan = swjax.sliced_plans(X[:, :1], Y[:, :1], np.ones((1, 1)), a, b).dense()[0]
    gaps = (x[:, None] - y[None]) ** 2
    expected = ot.emd(A if weighted else [], B if weighted else [], gaps)
    np.testing.assert_allclose(plan, expected, atol=1e-14)


def test_moving_the_support_by_one_costs_one(x64):
    x = np.linspace(0, 5, N)
    np.testing.assert_allclose(swjax.wp_pow_1d(x, x + 1), 1, rtol=1e-12)


def test_columns_are_measures_of_their_own(x64):
    x = np.linspace(0, 5, N)
    columns = np.stack([x, 10 * x], axis=1)
    b = weights(N + 1)[:N] / weights(N + 1)[:N].sum()
    costs = swjax.wp_pow_1d(columns, columns, A, b)
    np.testing.assert_allclose(100 * costs[0], costs[1], rtol=1e-12)
    np.testing.assert_allclose(
        swjax.wp_pow_1d(x, x, A, b, p=1), stats.wasserstein_distance(x, x, A, b)
    )


def test_potentials_add_up_to_the_cost(x64):
    for p in (1, 2):
        f, g = swjax.sliced_potentials(X, Y, directions(), A, B, p=p)
        costs = swjax.sw_pow_per_direction(X, Y, directions(), A, B, p=p)
        np.testing.assert_allclose(f @ A + g @ B, costs, rtol=1e-10)


# --- OTT, sliced ----------------------------------------------------------------------------------


def squared_features(x):
    return (x @ np.random.default_rng(3).uniform(size=(DIM, 13))) ** 2


@pytest.mark.parametrize("linear", [True, False])
def test_directions_may_have_weights_and_features_any_form(linear, x64):
    w = np.random.default_rng(4).uniform(size=13)
    if linear:
        theta = directions(13)
        costs = swjax.sw_pow_per_direction(X, Y, theta, A, B, p=1.3)
        value = swjax.sw_pow(X, Y, theta, A, B, p=1.3)
        features = lambda x: x @ theta.T
    else:
        features = squared_features
        costs = swjax.wp_pow_1d(features(X), features(Y), A, B, p=1.3)
        value = swjax.generalized_sw_pow(X, Y, features, A, B, p=1.3)
    np.testing.assert_allclose(value, np.mean(costs), rtol=1e-12)
    from ott.geometry.costs import PNormP
    from ott.tools import sliced

    arrays = map(jnp.asarray, (X, Y, A, B))
    theirs, out = sliced.sliced_wasserstein(
        *arrays, cost_fn=PNormP(1.3), proj_fn=features, weights=jnp.asarray(w)
    )
    np.testing.assert_allclose(costs / 1.3, out.ot_costs, rtol=1e-8)
    np.testing.assert_allclose(jnp.average(costs, weights=w) / 1.3, theirs, rtol=1e-8)


def test_with_the_axes_for_directions_it_is_the_mean_over_coordinates(x64):
    found = swjax.sw2_sq(X, Y, np.eye(DIM))
    np.testing.assert_allclose(found, np.mean(swjax.wp_pow_1d(X, Y)), rtol=1e-12)
    found = swjax.generalized_sw_pow(X, Y, lambda cloud: cloud, p=2)
    np.testing.assert_allclose(found, np.mean(swjax.wp_pow_1d(X, Y)), rtol=1e-12)


def difference(function, point, change, step=1e-6):
    return (function(point + step * change) - function(point - step * change)) / (2 * step)


@pytest.mark.parametrize("features", [None, squared_features])
def test_gradients_agree_with_differences(features, x64):
    theta = directions()
    if features is None:
        loss = jax.jit(lambda x: swjax.sw2_sq(x, Y, theta))
    else:
        loss = jax.jit(lambda x: swjax.generalized_sw_pow(x, Y, features, p=2))
    change = cloud(N, seed=5)
    found = np.sum(jax.jit(jax.grad(loss))(X) * change)
    np.testing.assert_allclose(found, difference(loss, X, change), rtol=1e-7)


# --- OTT, on the line -----------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 1.5, 2, 2.2])
def test_the_three_ways_to_a_value_agree(p, x64):
    """Equal sizes by sorting alone, by weights, and by points that stand twice."""
    x, y = X, cloud(N, seed=2) + 1
    sorting = swjax.wp_pow_1d(x, y, p=p)
    merging = swjax.wp_pow_1d(x, y, np.full(N, 1 / N), np.full(N, 1 / N), p=p)
    splitting = swjax.wp_pow_1d(np.repeat(x, 2, axis=0), y, p=p)
    np.testing.assert_allclose(merging, sorting, rtol=1e-12)
    np.testing.assert_allclose(splitting, sorting, rtol=1e-12)


# Points of weight zero: they must not count, and their derivatives in the weights must be right.
A0, B0 = weights(N, 0, 7), weights(M, 3)


def test_points_without_weight_do_not_matter(x64):
    for p in (1, 1.8, 2):
        costs = swjax.sw_pow_per_direction(X, Y, np.eye(DIM), A0, B0, p=p)
        expected = [exact(X[:, [k]], Y[:, [k]], A0, B0, p) for k in range(DIM)]
        np.testing.assert_allclose(costs, expected, rtol=1e-9)
    plans = swjax.sliced_plans(X, Y, np.eye(DIM), A0, B0)
    np.testing.assert_allclose(plans.mean().sum(axis=1), A0, atol=1e-15)
    np.testing.assert_allclose(plans.mean().sum(axis=0), B0, atol=1e-15)
    for k in range(DIM):
        expected = ot.emd(A0, B0, (X[:, k, None] - Y[None, :, k]) ** 2)
        np.testing.assert_allclose(plans.dense()[k], expected, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_on_the_line_agree_with_differences_in_points_and_weights(weighted, x64):
    x, y = X[:, 1], Y[:, 1]
    given = (x, y, A0, B0) if weighted else (x, y)
    cost = jax.jit(swjax.wp_pow_1d)
    gradients = jax.jit(jax.grad(swjax.wp_pow_1d, argnums=tuple(range(len(given)))))(*given)
    for place, gradient in enumerate(gradients):
        change = np.random.default_rng(place).normal(size=len(given[place]))
        if place > 1:  # moves mass between points that have some
            change = np.where(given[place] > 0, change, 0)
            change -= np.where(given[place] > 0, change.sum() / np.sum(given[place] > 0), 0)
            change *= 1e-2
        along = lambda value, k=place: cost(*given[:k], value, *given[k + 1 :])
        expected = difference(along, given[place], change)
        np.testing.assert_allclose(gradient @ change, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("p", [1.1, 2])
@pytest.mark.parametrize(("y", "b"), [(Y, B0), (cloud(N, seed=2), weights(N, 1))])
def test_potentials_are_feasible_and_optimal(p, y, b, x64):
    for a in (np.full(N, 1 / N), A0):
        f, g = swjax.sliced_potentials(X, y, np.eye(DIM), a, b, p=p)
        costs = swjax.sw_pow_per_direction(X, y, np.eye(DIM), a, b, p=p)
        np.testing.assert_allclose(f @ a + g @ b, costs, rtol=1e-9)
        gaps = np.abs(X.T[:, :, None] - y.T[:, None, :]) ** p
        slack = gaps - f[:, :, None] - g[:, None, :]
        assert slack.min() > -1e-12
