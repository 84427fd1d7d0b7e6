"""The Wasserstein distance on the line against a slow reference, its derivatives, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from jax import test_util
from scipy import stats

from swjax import wp_pow_1d


def reference(x, y, a, b, p):
    """North-west corner rule in double precision, one pair of lists."""
    x_order, y_order = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    x, y, a, b = x[x_order], y[y_order], a[x_order].copy(), b[y_order].copy()
    i = j = 0
    cost = 0.0
    while i < len(x) and j < len(y):
        mass = min(a[i], b[j])
        cost += mass * abs(x[i] - y[j]) ** p
        a[i] -= mass
        b[j] -= mass
        i, j = i + (a[i] <= 1e-15), j + (b[j] <= 1e-15)
    return cost


def draw(n, m, lanes=6):
    rng = np.random.default_rng([n, m])
    weights = lambda size: rng.exponential(size=size) + 0.01
    a, b = weights(n), weights(m)
    return rng.normal(size=(n, lanes)), rng.normal(size=(m, lanes)) + 0.3, a / a.sum(), b / b.sum()


def uniform(n):
    return np.full(n, 1 / n)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (9, 9), (5, 3), (4, 12), (40, 33)])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_costs_equal_the_reference_for_all_sizes_and_weights(n, m, p):
    x, y, a, b = draw(n, m)
    for weights in [(None, None), (a, b)]:
        given = weights if weights[0] is not None else (uniform(n), uniform(m))
        expected = [reference(x[:, l], y[:, l], *given, p) for l in range(x.shape[1])]
        np.testing.assert_allclose(wp_pow_1d(x, y, *weights, p=p), expected, rtol=2e-5)
        with jax.enable_x64(True):
            np.testing.assert_allclose(wp_pow_1d(x, y, *weights, p=p), expected, rtol=1e-12)


def test_one_sided_and_columnwise_weights():
    x, y, a, b = draw(7, 5)
    one_sided = wp_pow_1d(x, y, a)
    np.testing.assert_allclose(one_sided, wp_pow_1d(x, y, a, uniform(5)), rtol=1e-5)
    columns = np.stack([a] * x.shape[1], axis=1)
    np.testing.assert_allclose(wp_pow_1d(x, y, columns, b), wp_pow_1d(x, y, a, b), rtol=1e-6)


def test_equal_weights_given_or_not_are_the_same():
    x, y, _, _ = draw(9, 9)
    weighted = wp_pow_1d(x, y, uniform(9), uniform(9))
    np.testing.assert_allclose(wp_pow_1d(x, y), weighted, rtol=1e-5)


def test_points_without_weight_do_not_count():
    x, y, _, _ = draw(9, 4)
    a = np.array([0.5, 0.0, 0.25, 0.0, 0.0, 0.125, 0.0, 0.125, 0.0])
    kept = a > 0
    np.testing.assert_allclose(wp_pow_1d(x, y, a), wp_pow_1d(x[kept], y, a[kept]), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(1, 4), (3, 7), (8, 8)])
def test_ties_and_equal_levels_agree_with_the_reference_in_a_thousand_draws(n, m):
    """Points on a lattice and weights in sixteenths, some zero: both tie often."""
    rng = np.random.default_rng([n, m, 5])
    points = lambda size: rng.integers(-2, 3, (1000, size)).astype(np.float32)
    weights = lambda size: rng.multinomial(16, np.full(size, 1 / size), 1000) / 16
    x, y, a, b = points(n), points(m), weights(n), weights(m)
    for p in (1, 2.5):
        cost = lambda *given, p=p: wp_pow_1d(*given, p=p)
        both = jax.jit(jax.vmap(jax.value_and_grad(cost, argnums=(0, 1, 2, 3))))
        found, slopes = both(x, y, jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        expected = [reference(*given, p) for given in zip(x, y, a, b, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert all(np.isfinite(slope).all() for slope in slopes)
        equal = jax.jit(jax.vmap(lambda x, y, p=p: wp_pow_1d(x, y, p=p)))(x, y)
        expected = [reference(u, v, uniform(n), uniform(m), p) for u, v in zip(x, y, strict=True)]
        np.testing.assert_allclose(equal, expected, rtol=1e-5, atol=1e-6)


def test_repeated_points_are_one_point_of_their_weight():
    x, y, _, _ = draw(4, 4)
    np.testing.assert_allclose(wp_pow_1d(np.repeat(x, 3, axis=0), y), wp_pow_1d(x, y), rtol=1e-5)


def test_it_is_symmetric_and_zero_on_itself():
    x, y, a, b = draw(6, 8)
    np.testing.assert_allclose(wp_pow_1d(x, y, a, b), wp_pow_1d(y, x, b, a), rtol=1e-6)
    np.testing.assert_array_equal(wp_pow_1d(x, x[::-1]), 0)


def test_shapes_after_the_first_axis_are_kept():
    x = jnp.arange(24.0).reshape(4, 3, 2)
    assert wp_pow_1d(x, x).shape == (3, 2)
    assert wp_pow_1d(x[:, 0, 0], x[:2, 0, 0]).shape == ()


@pytest.mark.parametrize(
    ("p", "n", "m"),
    [(2, 5, 5)]
    + [
        pytest.param(*rest, marks=pytest.mark.slow)
        for rest in ((2, 5, 3), (2, 3, 5), (1.5, 5, 5), (1.5, 5, 3), (1.5, 3, 5))
    ],
)
def test_derivatives_in_the_points_to_second_order(n, m, p, x64):
    x, y, _, _ = draw(n, m, lanes=2)
    cost = jax.jit(lambda x, y: wp_pow_1d(x, y, p=p))
    test_util.check_grads(cost, (x, y), order=2, eps=1e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_derivatives_in_points_and_weights_together(x64):
    x, y, a, b = draw(4, 5, lanes=2)
    cost = jax.jit(lambda x, y, a, b: wp_pow_1d(x, y, a, b, p=3))
    test_util.check_grads(cost, (x, y, a, b), order=2, eps=1e-6, rtol=1e-5, atol=1e-7)


def test_gradient_in_the_weights_is_the_dual_potential(x64):
    x, y, a, b = draw(6, 5, lanes=1)
    cost = lambda a, b: wp_pow_1d(x, y, a, b)[0]
    f, g = jax.grad(cost, argnums=(0, 1))(a, b)
    value = cost(a, b)
    # Orthogonal to the weights; with the value for a constant, an optimal pair of the dual problem.
    np.testing.assert_allclose([f @ a, g @ b], 0, atol=1e-12)
    slack = (x - y.T) ** 2 - (f[:, None] + g[None] + value)
    assert slack.min() > -1e-12
    assert (slack < 1e-12).sum() == 6 + 5 - 1


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("weighted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_all_derivatives_vanish_where_x_equals_y(p, weighted):
    x = jnp.array([0.5, -1.0, 2.0, 0.5])
    weights = (uniform(4), uniform(4)) if weighted else ()
    cost = lambda x, y: wp_pow_1d(x, y, *weights, p=p)
    np.testing.assert_array_equal(jax.grad(cost)(x, x), 0)
    np.testing.assert_array_equal(jax.jvp(cost, (x, x), (x, jnp.ones(4)))[1], 0)
    assert np.isfinite(jax.hessian(cost)(x, x)).all()


def test_nan_stays_in_its_column():
    x, y, a, b = (jnp.array(t) for t in draw(9, 7, lanes=20))
    bad = x.at[3, 4].set(jnp.nan)
    for cost in (wp_pow_1d(bad, y), wp_pow_1d(bad, y, a, b), wp_pow_1d(bad, x)):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(cost)), [4])
    gradient = jax.grad(lambda x: jnp.nansum(wp_pow_1d(x, y)))(bad)
    assert np.isfinite(np.delete(gradient, 4, axis=1)).all()


def test_peers_agree():
    x, y, a, b = draw(12, 9)
    for p in (1, 2, 3):
        ours = wp_pow_1d(x, y, a, b, p=p)
        np.testing.assert_allclose(ours, ot.wasserstein_1d(x, y, a, b, p=p), rtol=2e-5)
    theirs = [stats.wasserstein_distance(x[:, l], y[:, l], a, b) for l in range(6)]
    np.testing.assert_allclose(wp_pow_1d(x, y, a, b, p=1), theirs, rtol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    x, y = (jnp.array(t, dtype) for t in draw(300, 300)[:2])
    cost = wp_pow_1d(x, y)
    assert cost.dtype == jnp.float32
    np.testing.assert_array_equal(cost, wp_pow_1d(x.astype(jnp.float32), y.astype(jnp.float32)))
    assert jax.grad(lambda x: wp_pow_1d(x, y).sum())(x).dtype == dtype


X = jnp.zeros((3, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(x=jnp.zeros((3, 2), int), y=X), TypeError, "x has dtype int32"),
        (dict(x=X, y=X + 1j), TypeError, "y has dtype complex64"),
        (dict(x=X, y=X[:, :1]), ValueError, "same axes after the first"),
        (dict(x=X[0, 0], y=X[0, 0]), ValueError, "same axes after the first"),
        (dict(x=X[:0], y=X), ValueError, "at least one point"),
        (dict(x=X, y=X, p=0.5), ValueError, "1 <= p < inf"),
        (dict(x=X, y=X, p=float("inf")), ValueError, "1 <= p < inf"),
        (dict(x=X, y=X, a=jnp.ones(2) / 2), ValueError, r"a has shape \(2,\)"),
        (dict(x=X, y=X, a=jnp.ones(3)), ValueError, "a sums to 3"),
        (dict(x=X, y=X, b=jnp.array([1.5, -0.5, 0.0])), ValueError, "b has the entry -0.5"),
        (dict(x=X, y=X, b=jnp.array([jnp.nan, 0.5, 0.5])), ValueError, "b has the entry nan"),
        (dict(x=X, y=X, a=jnp.ones(3, int)), TypeError, "a has dtype int32"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        wp_pow_1d(**arguments)


def test_levels_that_rounding_would_let_descend_are_put_in_order():
    """Sums of many small weights, added up in parallel, may descend; merging forbids that."""
    rng = np.random.default_rng(0)
    n, m = 3000, 2500
    x, y = rng.normal(size=(n, 2)).astype(np.float32), rng.normal(size=(m, 2)).astype(np.float32)
    a, b = rng.exponential(size=n) ** 4, rng.exponential(size=m) ** 4
    a, b = a / a.sum(), b / b.sum()
    expected = [reference(np.float64(x[:, l]), np.float64(y[:, l]), a, b, 2) for l in range(2)]
    found = wp_pow_1d(x, y, a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
