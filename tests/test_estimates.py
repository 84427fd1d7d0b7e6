"""Estimates over all directions: their error covers as often as it says, for every sampler."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import swjax
from swjax.controls import deviations, known_means, mean_square_difference
from swjax.estimates import Estimate
from swjax.exact import sw2_sq_gaussians, sw_pow_translation
from swjax.regression import add_moments, intercept, moments_of
from swjax.slicing import Problem
from swjax.student import student_quantile


def clouds(n, m, dim, seed=0):
    rng = np.random.default_rng([seed, n, m, dim])
    x = rng.normal(size=(n, dim)) * np.linspace(0.5, 2, dim)
    y = 0.7 * rng.normal(size=(m, dim)) + 0.4
    return x.astype(np.float32), y.astype(np.float32)


def sets(sample, num_sets, num, *dim):
    """Independent sets of directions that depend on each other."""
    return lambda key: jax.vmap(lambda k: sample(k, num, *dim))(jax.random.split(key, num_sets))


def independent(num, dim):
    return lambda key: swjax.sample_directions(key, num, dim)


# --- coverage -------------------------------------------------------------------------------------

# How the directions are drawn, in which dimension, and the control variate.
COVERAGE = {
    "independent, plane": (independent(200, 2), 2, None),
    "independent": (independent(64, 5), 5, None),
    "orthogonal": (sets(swjax.sample_orthogonal_directions, 12, 5, 5), 5, None),
    "quasi, plane": (sets(swjax.sample_quasi_directions, 12, 16, 2), 2, None),
    "quasi": (sets(swjax.sample_quasi_directions, 12, 16, 5), 5, None),
    "turned grid, plane": (sets(swjax.sample_equispaced_directions, 16, 3), 2, None),
    "turned grid, space": (sets(swjax.sample_fibonacci_directions, 16, 5), 3, None),
    "moments, plane": (independent(200, 2), 2, "moments"),
    "moments": (independent(128, 5), 5, "moments"),
    "gaussian, plane": (independent(200, 2), 2, "gaussian"),
    "gaussian": (independent(128, 5), 5, "gaussian"),
    "gaussian, quasi": (sets(swjax.sample_quasi_directions, 12, 16, 5), 5, "gaussian"),
}
ROOTS = ("independent, plane", "quasi", "gaussian")


@functools.cache
def with_truth(dim):
    """Clouds whose sliced distance is known, and the distance.

    They lie in a plane. Of a direction of space the plane sees a uniform one, shorter by an
    independent factor, whose mean square is 2 / dim.
    """
    x, y = clouds(10, 10, 2)
    truth = float(swjax.sw2_sq_exact_2d(x, y)) * 2 / dim
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, 2)))[0].T
    return (x @ plane).astype(np.float32), (y @ plane).astype(np.float32), truth


@functools.cache
def all_estimates():
    """Every case 2000 times, by one compiled function: the estimate and its interval."""
    problems = {dim: with_truth(dim) for _, dim, _ in COVERAGE.values()}

    def once(key):
        found = {}
        for name, (draw, dim, control) in COVERAGE.items():
            x, y, _ = problems[dim]
            arguments = x, y, draw(key)
            estimate = swjax.sw2_sq_estimate(*arguments, control_variate=control)
            found[name] = estimate, estimate.interval()
            if name in ROOTS:
                root = swjax.sw_distance_estimate(*arguments, control_variate=control)
                found[f"root, {name}"] = root.interval()
        return found

    return jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(5), 2000))


def share_covered(interval, truth):
    low, high = interval
    return float(np.mean((np.asarray(low) < truth) & (truth < np.asarray(high))))


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERAGE)
def test_the_interval_covers_as_often_as_it_says(name):
    """95 % intervals hold the exact value in 93 to 97 % of 2000 draws."""
    _, _, truth = with_truth(COVERAGE[name][1])
    assert 0.93 <= share_covered(all_estimates()[name][1], truth) <= 0.97
    if name in ROOTS:
        assert 0.93 <= share_covered(all_estimates()[f"root, {name}"], truth**0.5) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERAGE)
def test_the_standard_error_is_the_deviation_of_the_values(name):
    _, _, truth = with_truth(COVERAGE[name][1])
    value, error = (np.asarray(leaf, np.float64) for leaf in all_estimates()[name][0])
    deviation = value.std()
    # A ratio of deviations from 2000 draws is right to 3 %; the mean square over draws has a tail.
    assert 0.9 < np.mean(error**2) ** 0.5 / deviation < 1.1
    bias = 0.1 * deviation if COVERAGE[name][2] else 0  # of the regression, of order 1 / R
    assert abs(value.mean() - truth) < 4 * deviation / np.sqrt(2000) + bias


@pytest.mark.slow
def test_control_variates_make_the_error_smaller():
    deviation = {name: np.std(all_estimates()[name][0].value) for name in COVERAGE}
    assert deviation["independent, plane"] > 5 * deviation["moments, plane"]
    assert deviation["independent, plane"] > 5 * deviation["gaussian, plane"]
    assert deviation["independent"] > 2 * deviation["moments"]
    assert deviation["independent"] > 2 * deviation["gaussian"]
    assert deviation["quasi"] > 2 * deviation["gaussian, quasi"]


@functools.cache
def adaptive(control=None, quasi=False):
    x, y, truth = with_truth(2)
    sample = (lambda key: swjax.sample_quasi_directions(key, 16, 2)) if quasi else None

    @jax.jit
    @jax.vmap
    def once(key):
        found = swjax.sw2_sq_adaptive(x, y, key, rtol=0.02, sample=sample, control_variate=control)
        return found, found.estimate.interval()

    return once, truth


@pytest.mark.slow
def test_adaptive_estimates_reach_the_tolerance_and_cover():
    once, truth = adaptive()
    found, interval = once(jax.random.split(jax.random.key(6), 2000))
    assert found.converged.all()
    assert np.all(found.estimate.standard_error <= 0.02 * found.estimate.value)
    assert np.all(found.num_directions % 256 == 0)
    assert len(np.unique(found.num_directions)) > 1  # it stops when it is time, not at once
    assert 0.93 <= share_covered(interval, truth) <= 0.97


@pytest.mark.slow
def test_adaptive_estimates_need_fewer_directions_with_better_ones():
    keys = jax.random.split(jax.random.key(7), 4)
    plain, _ = adaptive()[0](keys)
    for settings in ({"control": "gaussian"}, {"quasi": True}):
        once, truth = adaptive(**settings)
        found, _ = once(keys)
        assert found.converged.all()
        assert found.num_directions.mean() < plain.num_directions.mean()
        np.testing.assert_allclose(found.estimate.value, truth, rtol=0.1)


@pytest.mark.slow
def test_adaptive_estimates_end_at_the_limit_and_at_nan(x64):
    x, y, _ = with_truth(2)
    found = swjax.sw2_sq_adaptive(x, y, jax.random.key(0), rtol=1e-9, max_directions=600)
    assert not found.converged
    assert found.num_directions == 768  # the round in which the limit is reached
    assert found.estimate.value.dtype == jnp.float32
    assert found.estimate.degrees_of_freedom == 767
    found = swjax.sw2_sq_adaptive(x * np.nan, y, jax.random.key(0), rtol=1e-9)
    assert not found.converged
    assert found.num_directions == 256
    assert np.isnan(found.estimate.value)


@pytest.mark.parametrize("kind", [None, "moments", "gaussian"])
def test_adaptive_estimates_have_a_forward_derivative(kind):
    x, y = (jax.random.normal(key, (6, 2)) for key in jax.random.split(jax.random.key(0)))
    estimate = lambda x: (
        swjax.sw2_sq_adaptive(x, y, jax.random.key(1), rtol=0.05, control_variate=kind).estimate
    )
    _, slope = jax.jvp(lambda x: estimate(x).value, (x,), (jnp.ones_like(x),))
    assert abs(slope - jnp.sum(x.mean(0) - y.mean(0))) < 0.1  # a common motion moves the means


def test_adaptive_estimates_stop_at_once_where_there_is_nothing_to_estimate():
    x, _, _ = with_truth(2)
    found = swjax.sw2_sq_adaptive(x, x, jax.random.key(0), rtol=0.01)
    value, error = found.estimate
    assert value == error == 0
    assert found.converged
    assert found.num_directions == 256


# --- what the numbers are -------------------------------------------------------------------------

X, Y = clouds(7, 5, 3)
A, B = (np.float32(w / w.sum()) for w in (np.arange(1.0, 8), np.array([1.0, 0.0, 2.0, 2.0, 5.0])))
THETA = np.asarray(swjax.sample_directions(jax.random.key(0), 24, 3))
KINDS = (None, "moments", "gaussian")


def controls_of(kind, x=X, y=Y, theta=THETA, a=None, b=None):
    problem = Problem(*(None if v is None else jnp.asarray(v) for v in (x, y, theta, a, b)))
    known = known_means(problem, kind)
    return deviations(known, problem.directions, kind), known.means


def test_without_control_variates_it_is_the_mean_and_its_standard_error():
    found = swjax.sw_pow_estimate(X, Y, THETA, A, B, p=3)
    values = np.float64(swjax.sw_pow_per_direction(X, Y, THETA, A, B, p=3))
    np.testing.assert_allclose(list(found), [values.mean(), stats.sem(values)], rtol=1e-5)
    interval = stats.t.interval(0.9, 23, values.mean(), stats.sem(values))
    np.testing.assert_allclose(found.interval(0.9), interval, rtol=1e-4)
    in_sets = swjax.sw_pow_estimate(X, Y, THETA.reshape(6, 4, 3), A, B, p=3)
    means = values.reshape(6, 4).mean(axis=1)
    np.testing.assert_allclose(list(in_sets), [values.mean(), stats.sem(means)], rtol=1e-5)
    assert in_sets.degrees_of_freedom == 5


@pytest.mark.parametrize("kind", ["moments", "gaussian"])
def test_with_control_variates_it_is_the_intercept_of_a_regression(kind):
    found = swjax.sw2_sq_estimate(X, Y, THETA, control_variate=kind)
    values = np.float64(swjax.sw2_sq_per_direction(X, Y, THETA))
    design = np.column_stack([np.ones(24), np.float64(controls_of(kind)[0])])
    solution, left, rank, _ = np.linalg.lstsq(design, values)
    covariance = np.linalg.inv(design.T @ design) * left[0] / (24 - rank)
    expected = [solution[0], covariance[0, 0] ** 0.5]
    np.testing.assert_allclose(list(found), expected, rtol=1e-3)
    assert found.degrees_of_freedom == 24 - rank


def test_the_gaussian_control_variate_bounds_the_cost_from_below():
    controls, means = controls_of("gaussian", a=A, b=B)
    costs = swjax.sw_pow_per_direction(X, Y, THETA, A, B, p=2)
    assert np.all(controls[:, 0] + means[0] <= costs * (1 + 1e-5))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moments", "gaussian"])
def test_control_variates_are_functions_of_mean_zero(kind, x64):
    directions = swjax.sample_directions(jax.random.key(1), 200_000, 3)
    values, _ = controls_of(kind, theta=directions, a=A, b=B)
    z = jnp.mean(values, axis=0) / jnp.std(values, axis=0) * 200_000**0.5
    assert np.all(np.abs(z) < 4)


@pytest.mark.parametrize("kind", ["moments", "gaussian"])
def test_nothing_is_left_to_sample_between_a_cloud_and_its_dilation(kind):
    found = swjax.sw2_sq_estimate(X[:5], 3 * X[:5] + 1, THETA, control_variate=kind)
    exact = np.mean((2 * X[:5] + 1) ** 2)
    np.testing.assert_allclose(found.value, exact, rtol=1e-5)
    assert found.standard_error < 1e-3 * exact  # what float32 can tell from the plain one


def test_control_variates_that_do_not_vary_are_left_out():
    """The mean of a quadratic form over an orthonormal basis is its trace, whatever the basis."""
    directions = sets(swjax.sample_orthogonal_directions, 8, 3, 3)(jax.random.key(4))
    plain = swjax.sw2_sq_estimate(X, Y, directions)
    found = swjax.sw2_sq_estimate(X, Y, directions, control_variate="moments")
    np.testing.assert_allclose(list(found), list(plain), rtol=1e-4)
    assert found.degrees_of_freedom == plain.degrees_of_freedom == 7


def test_moments_can_be_added_up():
    rng = np.random.default_rng(0)
    values, controls = rng.normal(size=30), rng.normal(size=(30, 2))
    part = lambda rows: moments_of(jnp.asarray(values[rows]), jnp.asarray(controls[rows]))
    noise = jnp.zeros(2)
    whole = intercept(part(slice(0, 30)), noise)
    added = intercept(add_moments(part(slice(0, 7)), part(slice(7, 30))), noise)
    np.testing.assert_allclose(added, whole, rtol=1e-5)


def test_the_mean_between_gaussians_is_right_in_any_dimension():
    between = jax.jit(jax.vmap(mean_square_difference))
    rng = np.random.default_rng(0)
    some = [m @ m.T + np.eye(3) for m in rng.normal(size=(2, 3, 3))]
    eye, lines = np.eye(3), (np.diag([1.0, 0, 0]), np.diag([0, 4.0, 0]))
    pairs = [some, (4 * eye, eye), (eye, eye), (eye, 0 * eye), (0 * eye, 0 * eye), lines]
    zero = jnp.zeros(3)
    expected = [
        float(sw2_sq_gaussians(zero, jnp.float32(some[0]), zero, jnp.float32(some[1]))),
        *(1, 0, 1, 0),
        # Of two orthogonal lines: E |theta_1 theta_2| = 2 / (3 pi).
        5 / 3 - 8 / (3 * np.pi),
    ]
    firsts, seconds = (jnp.asarray(np.stack(m), jnp.float32) for m in zip(*pairs, strict=True))
    np.testing.assert_allclose(between(firsts, seconds), expected, rtol=2e-6, atol=1e-8)


@pytest.mark.slow
def test_the_mean_between_gaussians_agrees_with_quadrature_and_sampling(x64):
    rng = np.random.default_rng(0)
    for dim in (1, 2, 3, 10, 40):
        first, second = (m @ m.T + np.eye(dim) for m in rng.normal(size=(2, dim, dim)))
        found = mean_square_difference(jnp.asarray(first), jnp.asarray(second))
        if dim <= 3:
            zero = np.zeros(dim)
            expected = sw2_sq_gaussians(zero, first, zero, second)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        theta = swjax.sample_directions(jax.random.key(9), 100_000, dim)
        form = lambda s, theta=theta: np.sqrt(np.einsum("ld,de,le->l", theta, s, theta))
        values = (form(first) - form(second)) ** 2
        error = 4 * values.std() / 100_000**0.5 + 1e-12  # in d = 1 only rounding is left
        assert abs(found - values.mean()) <= error
        scaled = mean_square_difference(jnp.eye(dim) * 9, jnp.eye(dim))
        np.testing.assert_allclose(scaled, 4, rtol=1e-11)


def test_student_quantiles_are_those_of_scipy():
    freedom = np.array([1, 2, 3, 4, 5, 7, 10, 15, 30, 100, 1e4, np.inf])
    levels = (0.5, 0.8, 0.95, 0.999)
    found = jax.jit(lambda n: jnp.stack([student_quantile(level, n) for level in levels]))(freedom)
    expected = [stats.t.ppf((1 + level) / 2, freedom) for level in levels]
    np.testing.assert_allclose(found, expected, rtol=2e-4)


# --- how they behave ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_derivative_is_that_of_the_mean(kind):
    def value(x):
        value, error = swjax.sw2_sq_estimate(x, Y, THETA, control_variate=kind)
        return value + error  # the error has none

    expected = jax.grad(swjax.sw2_sq)(X, Y, THETA)
    np.testing.assert_allclose(jax.grad(value)(X), expected, rtol=1e-5, atol=1e-6)


def test_the_root_has_the_error_of_the_delta_method():
    for p in (1, 3):
        power = swjax.sw_pow_estimate(X, Y, THETA, A, B, p=p)
        root = swjax.sw_distance_estimate(X, Y, THETA, A, B, p=p)
        np.testing.assert_allclose(root.value, power.value ** (1 / p), rtol=1e-6)
        relative = power.standard_error / power.value / p
        np.testing.assert_allclose(root.standard_error / root.value, relative, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_clouds_that_coincide_are_at_distance_zero_without_error(kind):
    def root(x):
        return swjax.sw_distance_estimate(x, X[:5], THETA, control_variate=kind)

    value, error = root(X[:5])
    assert value == error == 0
    assert not jax.grad(lambda x: root(x).value)(X[:5]).any()
    assert np.isnan(list(root(np.where(X[:5] == X[2, 1], np.nan, X[:5])))).all()


@pytest.mark.slow
def test_double_precision_in_gives_double_precision_out(x64):
    for kind in KINDS:
        found = swjax.sw2_sq_estimate(np.float64(X), Y, THETA, control_variate=kind)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float64")}


@pytest.mark.parametrize("p", [2, np.float64(2)])
def test_single_precision_in_gives_single_precision_out(x64, p):
    x, y, theta = (np.asarray(array, np.float32) for array in (X, Y, THETA))
    root = swjax.sw_distance_estimate(x, y, theta, p=p)
    found = (
        root,
        root.interval(),
        swjax.sw_distance(x, y, theta, p=p),
        sw_pow_translation(x[0], p=p),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}


ROWS = np.eye(3, dtype=np.float32)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: swjax.sw2_sq_estimate(X, Y, ROWS[:1]), "1 independent directions give no"),
        (lambda: swjax.sw2_sq_estimate(X, Y, ROWS[None]), "1 independent sets of directions"),
        (lambda: swjax.sw2_sq_estimate(X, Y, ROWS, control_variate="moments"), "pass 5 or more"),
        (lambda: swjax.sw2_sq_estimate(X, Y, ROWS, control_variate="mean"), "'moments', 'gauss"),
        (lambda: swjax.sw2_sq_estimate(X, Y, ROWS[0]), "directions has shape"),
        (lambda: swjax.sw2_sq_estimate(X, Y, np.zeros((2, 0, 3), np.float32)), "has shape"),
        (lambda: swjax.sw2_sq_estimate(X, Y, 2 * ROWS), "has length 2"),
        (lambda: swjax.sw_pow_estimate(X, Y, ROWS, p=0.5), "1 <= p"),
        (lambda: Estimate(jnp.ones(()), jnp.ones(())).interval(95), "between 0 and 1"),
        (lambda: swjax.sw2_sq_adaptive(X, Y, KEY, rtol=0), "rtol"),
        (lambda: swjax.sw2_sq_adaptive(X, Y, KEY, rtol=0.1, max_directions=0), "at least 1"),
        (lambda: swjax.sw2_sq_adaptive(X, Y, KEY, rtol=0.1, max_directions=2**40), "at most 1073"),
        (
            lambda: swjax.sw2_sq_adaptive(X, Y, KEY, rtol=0.1, sample=lambda key: jnp.eye(2)),
            r"expected \(L, 3\)",
        ),
        (lambda: swjax.sw2_sq_adaptive(X[0], Y, KEY, rtol=0.1), "One point is a cloud"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
