"""Plans and potentials of every slice, against POT, OTT and the dual problem."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest

import swjax
from swjax.coupling1d import equal_staircase, inner_levels, weighted_staircase
from swjax.plans import expected_sliced_plan, sliced_plans, sliced_potentials

DIRECTIONS = np.array([[1.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.0, -0.28, 0.96]])


def clouds(n, m, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), 1.5 * rng.normal(size=(m, 3)) + 0.5


def random_weights(n, seed=1):
    weights = np.random.default_rng(seed).uniform(0.1, 1.0, n)
    return weights / weights.sum()


CASES = {
    "equal sizes": (5, 5, None, None),
    "other sizes": (4, 7, None, None),
    "one point": (1, 6, None, None),
    "weights": (5, 6, random_weights(5), random_weights(6, 2)),
    "weights of one": (6, 4, random_weights(6), None),
    "zero weights": (4, 4, np.array([0.0, 0.5, 0.5, 0.0]), np.array([0.25, 0.0, 0.0, 0.75])),
}
case = pytest.mark.parametrize(("n", "m", "a", "b"), CASES.values(), ids=CASES)


def filled(n, m, a, b):
    return np.full(n, 1 / n) if a is None else a, np.full(m, 1 / m) if b is None else b


@case
def test_plans_are_those_of_pot_in_every_direction(x64, n, m, a, b):
    x, y = clouds(n, m)
    plans = sliced_plans(x, y, DIRECTIONS, a, b)
    assert plans.rows.shape == plans.cols.shape == plans.masses.shape == (3, n + m - 1)
    assert plans.rows.dtype == plans.cols.dtype == jnp.int32
    assert np.all(np.asarray(plans.masses) >= 0)
    dense = np.asarray(plans.dense())
    for plan, theta in zip(dense, DIRECTIONS, strict=True):
        expected = ot.emd_1d(x @ theta, y @ theta, *filled(n, m, a, b))
        np.testing.assert_allclose(plan, expected, atol=1e-14)
    np.testing.assert_allclose(plans.mean(), dense.mean(axis=0), atol=1e-15)


def test_the_sparse_array_is_the_dense_one():
    x, y = (cloud.astype(np.float32) for cloud in clouds(5, 7))
    plans = sliced_plans(x, y, DIRECTIONS)
    np.testing.assert_array_equal(plans.to_bcoo().todense(), plans.dense())


def test_costs_and_means_are_those_of_pot_sliced_plans(x64):
    x, y = clouds(5, 5)
    plans = sliced_plans(x, y, DIRECTIONS)
    for p, metric in ((2, "sqeuclidean"), (1, "euclidean")):
        _, costs = ot.sliced.sliced_plans(x, y, metric=metric, projections=DIRECTIONS.T)
        np.testing.assert_allclose(plans.costs(x, y, p=p), costs, rtol=1e-13)
    costs = plans.costs(x, y)
    best, least = ot.min_sliced_transport_plan(x, y, projections=DIRECTIONS.T)
    np.testing.assert_allclose(plans.dense()[costs.argmin()], best, atol=1e-14)
    np.testing.assert_allclose(costs.min(), least, rtol=1e-13)
    for beta in (0.0, 2.0):
        expected, _ = ot.expected_sliced_plan(x, y, projections=DIRECTIONS.T, beta=beta)
        np.testing.assert_allclose(plans.mean(jax.nn.softmax(-beta * costs)), expected, atol=1e-14)


def test_costs_of_weighted_plans_bound_the_distance_between_the_clouds(x64):
    (x, y), a, b = clouds(5, 6), random_weights(5), random_weights(6, 2)
    plans = sliced_plans(x, y, DIRECTIONS, a, b)
    ground = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    np.testing.assert_allclose(
        plans.costs(x, y), jnp.sum(plans.dense() * ground[None], axis=(1, 2)), rtol=1e-13
    )
    assert float(plans.costs(x, y).min()) >= ot.emd2(a, b, ground)


@pytest.mark.slow
def test_plans_and_potentials_are_those_of_ott(x64):
    from ott.tools import sliced

    (x, y), a, b = clouds(5, 6), random_weights(5), random_weights(6, 2)
    theta = jnp.asarray(DIRECTIONS)
    ott = partial(
        sliced.sliced_wasserstein,
        jnp.asarray(x),
        jnp.asarray(y),
        jnp.asarray(a),
        jnp.asarray(b),
        proj_fn=lambda z: z @ theta.T,
    )
    plans = ott(return_transport=True)[1].transport_matrices.todense()
    np.testing.assert_allclose(sliced_plans(x, y, theta, a, b).dense(), plans, atol=1e-14)
    dual = ott(return_dual_variables=True)[1]
    f, g = sliced_potentials(x, y, theta, a, b)
    centered = lambda h: h - h[:, :1]  # potentials are unique up to a constant
    np.testing.assert_allclose(centered(f), centered(dual.dual_a), atol=1e-12)
    np.testing.assert_allclose(centered(g), centered(dual.dual_b), atol=1e-12)


@pytest.mark.parametrize(
    ("n", "m", "a", "b", "p"),
    [(*each, 1.5) for each in CASES.values()] + [(*CASES["weights"], p) for p in (1, 2, 3)],
)
def test_potentials_solve_the_dual_problem_of_every_direction(x64, n, m, a, b, p):
    x, y = clouds(n, m)
    f, g = map(np.asarray, sliced_potentials(x, y, DIRECTIONS, a, b, p=p))
    assert f.shape == (3, n)
    assert g.shape == (3, m)
    cost = np.abs((DIRECTIONS @ x.T)[:, :, None] - (DIRECTIONS @ y.T)[:, None, :]) ** p
    slack = cost - f[:, :, None] - g[:, None, :]
    assert slack.min() > -1e-12
    plans = sliced_plans(x, y, DIRECTIONS, a, b)
    cells = np.arange(3)[:, None], np.asarray(plans.rows), np.asarray(plans.cols)
    np.testing.assert_allclose(slack[cells], 0, atol=1e-12)
    value = np.sum(np.asarray(plans.masses) * cost[cells], axis=1)
    left, right = filled(n, m, a, b)
    np.testing.assert_allclose(f @ left, value / 2, rtol=1e-12)
    np.testing.assert_allclose(g @ right, value / 2, rtol=1e-12)
    np.testing.assert_allclose(value.mean(), swjax.sw_pow(x, y, DIRECTIONS, a, b, p=p), rtol=1e-12)


def test_potentials_are_balanced_where_weights_sum_to_one_only_about():
    x = np.arange(1000.0, dtype=np.float32)[:, None]
    a, b = np.full(1000, 1.00009e-3, np.float32), np.full(1000, 1e-3, np.float32)
    f, g = swjax.sliced_potentials(x, x + 5, jnp.eye(1), a, b)
    np.testing.assert_allclose([f[0].mean(), g[0].mean()], 12.5, rtol=1e-3)


def test_plans_of_many_points_of_equal_weight():
    x, y = np.zeros((2**16, 1), np.float32), np.ones((2**15 + 1, 1), np.float32)
    masses = swjax.sliced_plans(x, y, jnp.eye(1)).masses
    np.testing.assert_allclose(masses.sum(), 1, rtol=1e-5)


def test_the_derivative_of_the_loss_in_the_weights_is_the_potential(x64):
    (x, y), a, b = clouds(5, 6), jnp.asarray(random_weights(5)), jnp.asarray(random_weights(6, 2))
    f, g = sliced_potentials(x, y, DIRECTIONS, a, b, p=1.5)
    slopes = jax.grad(partial(swjax.sw_pow, p=1.5), argnums=(3, 4))(x, y, DIRECTIONS, a, b)
    for slope, potential, weights in zip(slopes, (f, g), (a, b), strict=True):
        mean = potential.mean(axis=0)
        np.testing.assert_allclose(slope, mean - weights @ mean, atol=1e-12)


@pytest.mark.slow
def test_lifted_costs_differentiate_in_the_clouds(x64):
    (x, y), a = clouds(4, 6), random_weights(4)
    plans = sliced_plans(x, y, DIRECTIONS, a)
    cost = jax.jit(lambda x: plans.costs(x, y, p=1.5).sum())
    step = np.random.default_rng(4).normal(size=x.shape)
    slope = (cost(x + 1e-6 * step) - cost(x - 1e-6 * step)) / 2e-6
    np.testing.assert_allclose(jnp.vdot(jax.grad(cost)(jnp.asarray(x)), step), slope, rtol=1e-8)
    same = sliced_plans(x, x, DIRECTIONS)
    np.testing.assert_array_equal(
        jax.grad(lambda z: same.costs(z, x, p=1).sum())(jnp.asarray(x)), 0
    )


def test_masses_differentiate_in_the_weights(x64):
    x, y = clouds(5, 6)
    a, b = jnp.asarray(random_weights(5)), jnp.asarray(random_weights(6, 2))
    values = np.random.default_rng(4).normal(size=(5, 6))
    score = jax.jit(lambda a: jnp.sum(expected_sliced_plan(x, y, DIRECTIONS, a, b) * values))
    step = np.array([1.0, -2.0, 0.5, 1.0, -0.5])
    slope = (score(a + 1e-6 * step) - score(a - 1e-6 * step)) / 2e-6
    np.testing.assert_allclose(jnp.vdot(jax.grad(score)(a), step), slope, rtol=1e-8)


@pytest.mark.slow
def test_the_expected_plan_does_not_depend_on_the_chunks():
    x, y = (cloud.astype(np.float32) for cloud in clouds(5, 7))
    directions = swjax.sample_directions(jax.random.key(0), 10, 3)
    whole = expected_sliced_plan(x, y, directions)
    np.testing.assert_allclose(
        expected_sliced_plan(x, y, directions, chunk_size=3), whole, atol=1e-7
    )
    np.testing.assert_allclose(sliced_plans(x, y, directions).mean(), whole, atol=1e-7)
    np.testing.assert_allclose(whole.sum(axis=1), 1 / 5, rtol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=0), 1 / 7, rtol=1e-6)


@pytest.mark.slow
def test_plans_and_potentials_under_jit_and_vmap():
    x = jax.random.normal(jax.random.key(0), (3, 5, 3))
    y = jax.random.normal(jax.random.key(1), (6, 3))
    directions = DIRECTIONS.astype(np.float32)
    plans = jax.jit(jax.vmap(sliced_plans, in_axes=(0, None, None)))(x, y, directions)
    potentials = jax.vmap(sliced_potentials, in_axes=(0, None, None))(x, y, directions)
    for k in range(3):
        alone = sliced_plans(x[k], y, directions)
        np.testing.assert_array_equal(plans.rows[k], alone.rows)
        np.testing.assert_array_equal(plans.cols[k], alone.cols)
        np.testing.assert_allclose(plans.masses[k], alone.masses, atol=1e-7)
        pair = sliced_potentials(x[k], y, directions)
        np.testing.assert_allclose(potentials.f[k], pair.f, atol=1e-6)
    each = jax.vmap(lambda plans: plans.dense())(plans)
    np.testing.assert_allclose(each[2], alone.dense(), atol=1e-7)


@pytest.mark.parametrize(
    "method",
    [
        lambda plans: plans.dense(),
        lambda plans: plans.mean(),
        lambda plans: plans.to_bcoo(),
        lambda plans: plans.costs(jnp.ones((2, 1)), jnp.ones((2, 1))),
    ],
)
def test_plans_of_many_pairs_are_not_added_up(method):
    x, theta = jnp.array([[[0.0], [1.0]]]), jnp.eye(1)
    plans = jax.vmap(sliced_plans, in_axes=(0, None, None))(x, x[0], theta)
    with pytest.raises(ValueError, match=r"plans of many pairs.*\(1, 1, 3\).*jax.vmap"):
        method(plans)


def test_tied_points_keep_the_order_of_their_rows():
    x = jnp.array([[1.0], [0.0], [1.0], [0.0]])
    plans = sliced_plans(x, x, jnp.eye(1))
    carried = plans.masses[0] > 0
    assert plans.rows[0][carried].tolist() == plans.cols[0][carried].tolist() == [1, 3, 0, 2]


@pytest.mark.slow
def test_levels_of_many_points_ascend_and_keep_below_one():
    weights = jnp.asarray(np.random.default_rng(0).exponential(size=(20_001, 1)), jnp.float32)
    order = jnp.arange(20_001, dtype=jnp.int32)[:, None]
    found = jax.jit(inner_levels)(weights, order)
    assert np.all(np.diff(found, axis=0) >= 0)
    assert float(found[-1, 0]) <= 1.0
    stairs = weighted_staircase(found, found)
    i, j = map(np.asarray, stairs.cells())
    assert np.all(np.asarray(stairs.mass) >= 0)
    # Equal levels pass x first: the mass lies on the diagonal.
    np.testing.assert_array_equal(np.where(stairs.mass > 0, i - j, 0), 0)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (4, 1), (6, 4), (7, 7), (300, 1000)])
def test_the_staircase_of_equal_weights_is_the_exact_one(n, m):
    stairs = equal_staircase(n, m, 1, jnp.dtype(jnp.float32))
    edges = sorted([(k * m, 0) for k in range(1, n)] + [(k * n, 1) for k in range(1, m)])
    path, mass, at, last = [[0, 0]], [], [0, 0], 0
    for level, side in edges:
        at[side] += 1
        path.append(list(at))
        mass.append(level - last)
        last = level
    mass.append(n * m - last)
    i, j = stairs.cells()
    np.testing.assert_array_equal(np.concatenate([i, j], axis=1), path)
    np.testing.assert_allclose(stairs.mass[:, 0], np.array(mass) / (n * m), rtol=1e-6)


def test_wrong_calls_say_what_is_wrong():
    x, y = (cloud.astype(np.float32) for cloud in clouds(4, 4))
    plans = sliced_plans(x, y, jnp.eye(3))
    with pytest.raises(ValueError, match="plans couple"):
        plans.costs(x[:3], y)
    with pytest.raises(ValueError, match="weights has shape"):
        plans.mean(jnp.ones(2) / 2)
    with pytest.raises(ValueError, match="length"):
        sliced_plans(x, y, 2 * jnp.eye(3))
    with pytest.raises(ValueError, match="order"):
        sliced_potentials(x, y, jnp.eye(3), p=0.5)
    with pytest.raises(ValueError, match="chunk_size"):
        expected_sliced_plan(x, y, jnp.eye(3), chunk_size=0)
