"""The population loss against enumeration, sampling, finite differences and closed forms."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betainc

from swjax import measures
from swjax.directions import equispaced_directions, sample_directions
from swjax.losses import SlicedLoss
from swjax.population import PopulationLoss, population_loss, sample_population_loss
from swjax.population.order_statistics import bernstein, order_weights
from swjax.problems import TwoPointScale, UniformScale
from swjax.sliced import sw2_sq


def translated(u, x):
    return x + u[None]


def scaled(u, x):
    return u * x


# Compiled once for each kind of loss: the tests share sizes.
value_and_grad = jax.jit(lambda function, t: jax.value_and_grad(function.of_outputs)(t))
hessian = jax.jit(lambda function, t: jax.hessian(function.of_outputs)(t))


def random_law(rng, num, dim, weighted):
    weights = rng.dirichlet(np.full(num, 2.0)) if weighted else None
    return measures.Discrete(
        jnp.asarray(rng.normal(size=(num, dim))), None if weights is None else jnp.asarray(weights)
    )


def random_units(rng, num, dim):
    rows = rng.normal(size=(num, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_loss(rng, dim=2, sizes=(3, 4), weighted=(False, False), n=3, apply=translated, **kwargs):
    laws = [random_law(rng, num, dim, flag) for num, flag in zip(sizes, weighted, strict=True)]
    return SlicedLoss(apply, *laws, batch_size=n, **kwargs)


def enumerated(outputs, loss, directions):
    """The mean over all minibatches, written out."""
    total = 0.0
    n, y = loss.batch_size, np.asarray(loss.target.points)
    a, b = np.asarray(loss.source.weights), np.asarray(loss.target.weights)
    for theta in directions:
        t, s = outputs @ theta, y @ theta
        for i in itertools.product(range(len(a)), repeat=n):
            for j in itertools.product(range(len(b)), repeat=n):
                i_, j_ = list(i), list(j)
                cost = np.mean((np.sort(t[i_]) - np.sort(s[j_])) ** 2)
                total += np.prod(a[i_]) * np.prod(b[j_]) * cost
    return total / len(directions)


@pytest.mark.parametrize("weighted", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_all_minibatches_written_out_have_the_same_mean(x64, dim, weighted):
    rng = np.random.default_rng(dim)
    directions = random_units(rng, 2, dim)
    loss = make_loss(rng, dim, weighted=weighted, directions=directions)
    shift = rng.normal(size=dim)
    reference = enumerated(np.asarray(loss.source.points) + shift[None], loss, directions)
    value = population_loss(loss, jnp.asarray(shift))
    assert abs(value - reference) < 1e-12 * max(1, reference)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_batches_of_one_and_many_agree_with_enumeration(x64, n):
    rng = np.random.default_rng(n)
    loss = make_loss(rng, 1, sizes=(2, 2), weighted=(True, False), n=n)
    reference = enumerated(np.asarray(loss.source.points), loss, np.ones((1, 1)))
    assert abs(population_loss(loss, jnp.zeros(1)) - reference) < 1e-12


def test_repeated_atoms_count_like_their_total_weight(x64):
    rng = np.random.default_rng(0)
    loss = make_loss(rng, 2, weighted=(True, True), n=5)
    x = loss.source
    halves = jnp.array([0.3, 0.7])[:, None] * x.weights[None]
    twice = measures.Discrete(jnp.concatenate([x.points, x.points]), halves.ravel())
    split = SlicedLoss(translated, twice, loss.target, batch_size=5)
    u = jnp.array([0.2, -0.4])
    assert abs(population_loss(loss, u) - population_loss(split, u)) < 1e-13


@pytest.mark.parametrize("weighted", [False, True])
def test_the_plane_is_integrated_exactly(x64, weighted):
    loss = make_loss(np.random.default_rng(3), 2, (4, 5), (weighted, True))
    outputs = loss.source.points
    value, gradient = value_and_grad(PopulationLoss(loss), outputs)
    fine = value_and_grad(PopulationLoss(loss, equispaced_directions(20000)), outputs)
    assert abs(value - fine[0]) < 1e-8  # the rule errs by O(20000^-2)
    assert jnp.max(jnp.abs(gradient - fine[1])) < 1e-4  # and its gradient by O(20000^-1)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_and_hessian_in_the_plane_are_those_of_the_value(x64, weighted):
    loss = make_loss(np.random.default_rng(4), 2, (4, 5), (weighted, False))
    function, outputs, step = PopulationLoss(loss), loss.source.points, 1e-5
    moves = step * np.eye(8).reshape(8, 4, 2)
    plus = [value_and_grad(function, outputs + move) for move in moves]
    minus = [value_and_grad(function, outputs - move) for move in moves]
    gradient = value_and_grad(function, outputs)[1]
    slopes = [(p[0] - m[0]) / (2 * step) for p, m in zip(plus, minus, strict=True)]
    np.testing.assert_allclose(gradient.ravel(), slopes, atol=1e-9)
    slopes = [(p[1] - m[1]) / (2 * step) for p, m in zip(plus, minus, strict=True)]
    np.testing.assert_allclose(hessian(function, outputs).reshape(8, 4, 2), slopes, atol=1e-8)


@pytest.mark.parametrize("dim", [1, 3])
def test_gradient_through_a_generator_matches_finite_differences(x64, dim):
    def network(u, x):
        return jnp.tanh(x @ u["w"]) + u["b"][None]

    rng = np.random.default_rng(5)
    loss = make_loss(rng, dim, (6, 5), (True, False), n=4, apply=network)
    function = PopulationLoss(loss, None if dim == 1 else random_units(rng, 7, dim))
    params = {"w": jnp.asarray(rng.normal(size=(dim, dim))), "b": jnp.zeros(dim)}
    move = {"w": jnp.asarray(rng.normal(size=(dim, dim))), "b": jnp.ones(dim)}
    along = jax.jit(lambda s: function(jax.tree.map(lambda p, m: p + s * m, params, move)))
    slope = jax.jit(jax.grad(along))(0.0)
    assert abs(slope - (along(1e-6) - along(-1e-6)) / 2e-6) < 1e-8


def test_sampled_losses_and_gradients_average_to_it(x64):
    rng = np.random.default_rng(6)
    loss = make_loss(rng, 2, (4, 5), (False, True))
    u, exact = jnp.array([0.5, -0.2]), PopulationLoss(loss)
    sampled = sample_population_loss(jax.random.key(0), loss, 20480)
    estimate, gradient_error = sampled.estimate(u), sampled.gradient_error(u)
    (value, error), freedom = estimate, estimate.degrees_of_freedom
    assert freedom == 20480 - 1
    assert abs(value - exact(u)) < 4 * error
    assert error < 0.03
    _, by_outputs = value_and_grad(exact, translated(u, loss.source.points))
    deviation = jnp.linalg.norm(jax.grad(sampled)(u) - by_outputs.sum(axis=0))
    assert deviation < 4 * gradient_error
    assert gradient_error < 0.05


def test_directions_have_an_error_estimate_that_covers_the_error(x64):
    rng = np.random.default_rng(7)
    loss = make_loss(rng, 2, (8, 9), n=5, apply=lambda u, x: x @ u)
    exact, u = PopulationLoss(loss), jnp.array([[1.0, 0.5], [0.2, 0.4]])
    value, gradient = jax.value_and_grad(exact)(u)

    @jax.jit
    def standardized_errors(rough):
        estimate, slope = rough.estimate(u), jax.grad(rough)(u)
        deviation = jnp.linalg.norm(slope - gradient)
        return (
            (estimate.value - value) / estimate.standard_error,
            deviation / rough.gradient_error(u),
        )

    keys = jax.random.split(jax.random.key(1), 40)
    rules = [PopulationLoss(loss, sample_directions(key, 64, 2)) for key in keys]
    scores, gradient_scores = zip(*map(standardized_errors, rules), strict=True)
    # Root mean squares of 40 standardized errors: 1, give or take 1/sqrt(80) each.
    assert abs(np.sqrt(np.mean(np.square(scores))) - 1) < 0.45
    assert abs(np.sqrt(np.mean(np.square(gradient_scores))) - 1) < 0.45


def test_the_interval_of_two_directions_is_that_of_student(x64):
    loss = make_loss(np.random.default_rng(7), 2, (8, 9), n=5, apply=lambda u, x: x @ u)
    estimate = PopulationLoss(loss, jnp.eye(2)).estimate(jnp.array([[1.0, 0.5], [0.2, 0.4]]))
    width = math.tan(0.95 * math.pi / 2) * estimate.standard_error  # Student's law of 1 degree
    np.testing.assert_allclose(estimate.interval()[1] - estimate.value, width, rtol=1e-6)


def test_exact_averages_report_no_error():
    function = PopulationLoss(make_loss(np.random.default_rng(8), 2, (4, 5)))
    assert function.is_exact
    assert function.estimate(jnp.zeros(2)).standard_error == 0
    assert function.gradient_error(jnp.zeros(2)) == 0


def test_a_translation_costs_its_squared_length_over_dim_with_any_directions(x64):
    rng = np.random.default_rng(9)
    cloud = random_law(rng, 6, 4, True)
    loss = SlicedLoss(translated, cloud, cloud, batch_size=3)
    function = PopulationLoss(loss, random_units(rng, 5, 4))
    u = jnp.asarray(rng.normal(size=4))
    assert abs(function(u) - function(jnp.zeros(4)) - u @ u / 4) < 1e-13
    np.testing.assert_allclose(jax.grad(function)(u), u / 2, atol=1e-13)


def test_two_points_scaled_have_the_parabola_with_a_kink(x64):
    two = measures.Discrete(jnp.array([[-0.5], [0.5]]))
    function = PopulationLoss(SlicedLoss(scaled, two, two, batch_size=2))
    u = jnp.linspace(-1.0, 1.0, 9)
    np.testing.assert_allclose(jax.vmap(function)(u), u**2 / 4 - jnp.abs(u) / 8 + 0.25, rtol=1e-14)


def test_it_is_not_the_distance_between_the_laws(x64):
    two = measures.Discrete(jnp.array([[-0.5], [0.5]]))
    ones = jnp.ones((1, 1))
    distance = lambda u: sw2_sq(u * two.points, two.points, ones)  # (|u| - 1)^2 / 4
    for n, best in ((2, 0.25), (3, 0.375), (1, 0.0)):
        function = PopulationLoss(SlicedLoss(scaled, two, two, batch_size=n))
        # The laws agree at u = 1, where the loss is neither zero nor stationary; it is at `best`.
        assert distance(1.0) == 0
        assert function(1.0) >= 2 * 0.25 * (1 - best) - 1e-12
        assert jax.grad(function)(1.0) > 0.3
        assert abs(jax.grad(function)(best + 1e-9)) < 1e-6


def test_the_bias_of_minibatches_where_the_laws_agree_vanishes_at_known_rates():
    n = np.array([64, 256, 1024])
    excess = lambda problem: [1 - problem(int(k)).best_scale for k in n]
    slope = lambda values: np.diff(np.log(values)) / np.diff(np.log(n))
    assert np.all(np.abs(slope(excess(TwoPointScale)) + 0.5) < 0.02)  # common atoms
    assert np.all(np.abs(slope(excess(UniformScale)) + 1) < 0.02)  # a continuous law


def test_the_bias_of_minibatches_vanishes_fast_where_cumulative_weights_never_agree(x64):
    x = measures.Discrete(jnp.array([[0.0], [1.0]]), jnp.array([0.5, 0.5]))
    y = measures.Discrete(jnp.array([[0.0], [2.0]]), jnp.array([0.9, 0.1]))
    limit = 0.1 * 1 + 0.4 * 1  # the monotone plan: 0.1 from 1 to 2, 0.4 from 1 to 0
    gaps = [
        population_loss(SlicedLoss(scaled, x, y, batch_size=n), jnp.asarray(1.0)) - limit
        for n in (20, 40, 80)
    ]
    assert gaps[0] > 0
    rates = np.log(np.array(gaps[:-1]) / np.array(gaps[1:])) / np.array([20, 40])
    assert np.all(rates > 0.05)
    assert gaps[2] < 1e-3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_best_scale_of_a_uniform_law_is_n_minus_1_over_n_plus_1(x64, n):
    num = 2000
    atoms = measures.Discrete(((2 * jnp.arange(num) + 1) / num - 1)[:, None])
    function = PopulationLoss(SlicedLoss(scaled, atoms, atoms, batch_size=n))
    u = jnp.array([0.3, 0.8])
    expected = (u**2 - 2 * u * (n - 1) / (n + 1) + 1) / 3
    np.testing.assert_allclose(jax.vmap(function)(u), expected, atol=2 / num**2)


def test_single_points_collapse_to_the_mean(x64):
    rng = np.random.default_rng(10)
    loss = make_loss(rng, 2, (4, 5), (True, True), n=1)
    outputs = translated(jnp.array([1.0, 2.0]), loss.source.points)
    _, gradient = value_and_grad(PopulationLoss(loss), outputs)
    mean = loss.target.weights @ loss.target.points
    expected = loss.source.weights[:, None] * (outputs - mean[None])
    np.testing.assert_allclose(gradient, expected, atol=1e-13)


def test_coinciding_outputs_give_finite_derivatives():
    function = PopulationLoss(make_loss(np.random.default_rng(11), 2, (4, 5)))
    outputs = jnp.zeros((4, 2))
    value, gradient = value_and_grad(function, outputs)
    for part in (value, gradient, hessian(function, outputs)):
        assert jnp.all(jnp.isfinite(part))


def test_float32_agrees_with_float64_far_from_the_origin():
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(5, 2)) + 100.0

    def evaluate():
        laws = measures.Discrete(jnp.asarray(x)), measures.Discrete(jnp.asarray(y))
        function = PopulationLoss(SlicedLoss(translated, *laws, batch_size=3))
        value, _ = value_and_grad(function, laws[0].points + 100.0)
        return np.asarray(value, np.float64)

    single = evaluate()
    with jax.enable_x64(True):
        double = evaluate()
    assert abs(single - double) < 1e-4 * double


def test_it_can_be_traced_vmapped_and_passed_as_an_argument():
    loss = make_loss(np.random.default_rng(13), 2, (4, 5))
    function = PopulationLoss(loss)
    u = jnp.array([[0.1, 0.2], [0.3, 0.4]])
    by_argument = jax.jit(lambda f, u: jax.vmap(f)(u))(function, u)
    np.testing.assert_allclose(by_argument, [population_loss(loss, v) for v in u], rtol=1e-5)


def test_order_weights_are_the_law_of_each_order_statistic():
    weights = np.array([0.2, 0.0, 0.5, 0.3])
    law = order_weights(weights, 6)
    np.testing.assert_allclose(law.sum(1), 1, rtol=1e-13)
    np.testing.assert_allclose(law.sum(0), 6 * weights, atol=1e-13)


@pytest.mark.parametrize("n", [1, 6, 300])
def test_bernstein_sums_are_incomplete_beta_sums(x64, n):
    rng = np.random.default_rng(n)
    values, p = rng.normal(size=n), np.r_[0, 1, 1e-12, 1 - 1e-12, rng.random(50)]
    k = np.arange(1, n + 1)[:, None]
    expected = (values[:, None] * betainc(k, n - k + 1, p[None])).sum(0)
    sums = jnp.asarray(np.r_[0, np.cumsum(values)])
    np.testing.assert_allclose(bernstein(sums[:, None], jnp.asarray(p)), expected, atol=1e-13 * n)


def test_laws_that_are_not_discrete_are_refused_with_the_fix():
    ball, atoms = measures.ball(2), measures.Discrete(jnp.eye(2))
    for source, target, name in ((ball, atoms, "source"), (atoms, ball, "target")):
        loss = SlicedLoss(translated, source, target, batch_size=2)
        with pytest.raises(ValueError, match=f"{name} .* not discrete.*discretize"):
            PopulationLoss(loss)


def test_other_orders_and_unclear_directions_are_refused():
    cloud = measures.Discrete(jnp.eye(3))
    with pytest.raises(ValueError, match="p = 2 only"):
        PopulationLoss(SlicedLoss(translated, cloud, cloud, batch_size=2, p=1), jnp.eye(3))
    with pytest.raises(ValueError, match="pass directions="):
        PopulationLoss(SlicedLoss(translated, cloud, cloud, batch_size=2))
    own = SlicedLoss(translated, cloud, cloud, batch_size=2, directions=jnp.eye(3))
    with pytest.raises(ValueError, match="of its own"):
        PopulationLoss(own, jnp.eye(3))
    with pytest.raises(ValueError, match="at least 2"):
        sample_population_loss(jax.random.key(0), own, 1)


def test_draws_come_from_keys_of_every_kind():
    cloud = measures.Discrete(jnp.eye(2))
    loss = SlicedLoss(translated, cloud, cloud, batch_size=2)
    typed, raw, number = (
        sample_population_loss(key, loss, 16)(jnp.ones(2))
        for key in (jax.random.key(3), jax.random.PRNGKey(3), 3)
    )
    assert typed == raw == number > 0


def test_a_traced_law_is_refused():
    cloud = measures.Discrete(jnp.eye(2))
    loss = SlicedLoss(translated, cloud, cloud, batch_size=2)
    with pytest.raises(TypeError, match="being traced"):
        jax.jit(lambda loss: PopulationLoss(loss)(jnp.zeros(2)))(loss)


def test_a_target_too_large_for_the_plane_is_refused():
    cloud = measures.Discrete(jnp.zeros((2000, 2)))
    with pytest.raises(ValueError, match="equispaced_directions"):
        PopulationLoss(SlicedLoss(translated, cloud, cloud, batch_size=64))
