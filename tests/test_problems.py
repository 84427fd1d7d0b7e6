"""The closed forms of the test problems against simulation, the population loss, and each other."""

import math

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from swjax import measures
from swjax.population import PopulationLoss
from swjax.problems import (
    AttractingKink,
    BallConstraint,
    CollinearPoints,
    GaussianScale,
    LinearGaussian,
    TranslationProblem,
    TwoFreePoints,
    TwoPointScale,
    UniformScale,
    gaussian_shrinkage,
)
from swjax.problems.scale import _size
from swjax.trajectories import compact_distance


def simulate(loss, starts, step_size, num_steps, key, noise_std=0.0):
    """Paths `(repetitions, 1 + num_steps, ...)` of SGD with noise, one for every start."""

    @jax.jit
    @jax.vmap
    def run(key, start):
        def step(u, key):
            draw_key, noise_key = jax.random.split(key)
            noise = noise_std * jax.random.normal(noise_key, u.shape)
            u = u - step_size * (loss.grad(u, loss.draw(draw_key)) + noise)
            return u, u

        return jax.lax.scan(step, start, jax.random.split(key, num_steps))[1]

    starts = jnp.asarray(starts)
    paths = run(jax.random.split(key, len(starts)), starts)
    return np.concatenate([starts[:, None], paths], axis=1).astype(np.float64)


def interpolated(paths, step_size, times):
    knots = step_size * np.arange(paths.shape[1])
    return np.array([[np.interp(times, knots, c) for c in path.T] for path in paths]).swapaxes(1, 2)


def within(samples, expected, num_errors=4.5):
    """Whether means over the first axis are the expected ones, up to standard errors."""
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    return np.all(np.abs(np.mean(samples, axis=0) - expected) <= num_errors * error + 1e-6)


# Parameters of every problem


@pytest.fixture
def as_users_run_it():
    """Without the checks of annotations that the tests switch on: lists come in as well."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


ATOM = measures.Discrete(jnp.zeros((1, 2)))
SHIFTED = TranslationProblem.shifted(ATOM, [0.5, 0.25], batch_size=1)
CORNERS = np.array([[0.25, 0.5], [0.25, -0.5]])
# Two points 2 apart and two 1 apart, at right angles: |difference of the means|^2 / 2 + a rest.
CROSSED = 0.25**2 / 2 + (2**2 + 1**2) / 8 - 1 / np.pi


@pytest.mark.parametrize(
    ("loss", "integers", "expected"),
    [
        (SHIFTED.excess_loss, [1, 0], (0.5**2 + 0.25**2) / 2),
        (LinearGaussian(np.diag([1.5, 1.5]), 1).population_loss, [[1, 0], [0, 1]], 2.5),
        (TwoFreePoints(CORNERS).population_loss, [[1, 0], [-1, 0]], CROSSED),
        (CollinearPoints(CORNERS).population_loss, [[1, 0], [-1, 0]], CROSSED),
        (AttractingKink(2).population_loss, [3], [8.0]),
        (TwoPointScale(2).population_loss, [2], [1.0]),
    ],
    ids=["translation", "linear", "two points", "collinear", "kink", "scale"],
)
def test_losses_take_lists_of_floats_and_refuse_integers(loss, integers, expected, as_users_run_it):
    floats = np.array(integers, float)
    for params in (floats, floats.tolist()):
        np.testing.assert_allclose(loss(params), expected, rtol=1e-6)
    for params in (np.array(integers), np.array(integers, np.int8), integers):
        with pytest.raises(TypeError, match="dtype .*; a floating-point array is expected"):
            loss(params)


# Translations


def make_translation(**settings):
    atoms = measures.Discrete(jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 3.0]]))
    settings = {"batch_size": 4} | settings
    return TranslationProblem(measures.ball(2), atoms, **settings)


@pytest.mark.parametrize(("num_directions", "noise_std"), [(1, 0.0), (3, 0.7)])
def test_moments_of_sgd_on_a_translation_match_simulation(num_directions, noise_std):
    problem = make_translation(num_directions=num_directions, noise_std=noise_std)
    start, step_size, num_steps = np.array([-1.0, 2.0]), 0.2, 20
    starts = np.tile(start, (2000, 1)).astype(np.float32)
    paths = simulate(problem.loss, starts, step_size, num_steps, jax.random.key(1), noise_std)
    error = paths - problem.minimizer
    steps = np.arange(num_steps + 1)
    assert within(error, problem.mean_error(step_size, start, steps))
    assert within((error**2).sum(-1), problem.mean_square_error(step_size, start, steps))
    times = np.array([0.0, 0.13, 0.4, 1.1, 3.9])
    curve = interpolated(paths, step_size, times)
    assert within(curve, problem.mean_path(step_size, start, times))
    square = ((curve - problem.flow(start, times)) ** 2).sum(-1)
    assert within(square, problem.mean_square_deviation(step_size, start, times))


def test_the_deviation_divided_by_the_step_tends_to_the_fluctuation():
    problem = make_translation(num_directions=2, noise_std=0.3)
    start, times = [-1.0, 2.0], np.linspace(0.1, 4.0, 9)
    for step_size in (1e-2, 1e-3):
        # At knots: between them the affine interpolation is smoother than the iterates.
        steps = np.round(times / step_size)
        deviation = problem.mean_square_deviation(step_size, start, steps * step_size)
        ratio = deviation / step_size / problem.fluctuation(start, steps * step_size)
        assert np.all(np.abs(ratio - 1) < 3 * step_size)


def test_the_fluctuation_solves_its_equation():
    problem = make_translation(noise_std=0.5)
    start, s, h = np.array([-1.0, 2.0]), np.array([0.3, 1.0, 2.0]), 1e-5
    slope = (problem.fluctuation(start, s + h) - problem.fluctuation(start, s - h)) / (2 * h)
    d, e_sq = 2, np.exp(-2 * s) * np.sum((start - problem.minimizer) ** 2)
    z = np.trace(problem.batch_mean_covariance)
    covariance = 4 * (1 / d) * (e_sq + z) - 4 * e_sq / d**2 + 0.25 * d
    np.testing.assert_allclose(
        slope, -4 / d * problem.fluctuation(start, s) + covariance, rtol=1e-7
    )
    assert problem.fluctuation(start, [0.0]) == 0


def test_the_mean_path_is_off_the_flow_by_the_bias():
    problem, start, times = make_translation(), [3.0, 1.0], np.array([0.5, 1.0, 2.5])
    for step_size in (1e-2, 1e-3):
        steps = np.round(times / step_size) * step_size
        shift = problem.mean_path(step_size, start, steps) - problem.flow(start, steps)
        expected = step_size * problem.bias(start, steps)
        assert np.max(np.abs(shift - expected)) < 3 * step_size * np.max(np.abs(expected))


def test_clouds_equal_up_to_translation_leave_only_the_noise_of_directions():
    point = measures.Discrete(jnp.zeros((1, 3)))
    problem = TranslationProblem.shifted(point, [1.0, 0.0, 0.0], batch_size=2)
    s, e_sq = np.array([0.5, 2.0]), 4.0
    expected = s * 4 * 2 / 9 * np.exp(-4 * s / 3) * e_sq
    np.testing.assert_allclose(problem.fluctuation([3.0, 0.0, 0.0], s), expected, rtol=1e-6)
    assert problem.stationary_mean_square_error(0.3) == 0


def test_the_stationary_error_is_the_limit_of_the_recursion_and_of_the_paper_form():
    problem = make_translation(noise_std=0.5)
    alpha, z = 0.1, np.trace(problem.batch_mean_covariance)
    stationary = problem.stationary_mean_square_error(alpha)
    assert abs(stationary - alpha * (z + 0.25 * 4 / 4) / (1 - alpha)) < 1e-12
    assert abs(problem.mean_square_error(alpha, [5.0, 5.0], 2000) - stationary) < 1e-12
    assert problem.largest_step == 1
    with pytest.raises(ValueError, match="between 0 and 1"):
        problem.stationary_mean_square_error(1.0)


def test_the_population_loss_of_a_translation_is_the_squared_distance_over_dim(x64):
    cloud = measures.Discrete(jnp.array([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]))
    problem = TranslationProblem.shifted(cloud, [1.0, -1.0], batch_size=3)
    function = PopulationLoss(problem.loss)
    u = jnp.array([0.5, 2.0])
    gap = function(u) - function(jnp.asarray(problem.minimizer))
    assert abs(gap - problem.excess_loss(u)) < 1e-12
    assert abs(problem.step_bound_of_the_paper - 1 / (4 * (4 + 2 * problem.target.radius))) < 1e-12


def test_many_starts_give_many_results():
    problem, starts = make_translation(), np.ones((5, 2)) * np.arange(5)[:, None]
    times = [0.0, 1.0, 2.0]
    assert problem.flow(starts, times).shape == (5, 3, 2)
    assert problem.mean_path(0.1, starts, times).shape == (5, 3, 2)
    assert problem.bias(starts, times).shape == (5, 3, 2)
    for result in (
        problem.mean_square_deviation(0.1, starts, times),
        problem.fluctuation(starts, times),
        problem.mean_square_error(0.1, starts, [0, 10, 20]),
    ):
        assert result.shape == (5, 3)
    np.testing.assert_allclose(
        problem.mean_error(0.1, starts, [0, 10])[3], problem.mean_error(0.1, starts[3], [0, 10])
    )


# Scales


@pytest.mark.parametrize("n", [1, 2, 5])
def test_two_points_have_the_population_loss_of_the_enumeration(x64, n):
    problem = TwoPointScale(n)
    u = jnp.array([-1.0, 0.0, 0.2, 1.0])
    np.testing.assert_allclose(
        problem.population_loss(u), jax.vmap(PopulationLoss(problem.loss))(u), atol=1e-14
    )


@pytest.mark.parametrize(
    ("problem", "draw"),
    [
        (UniformScale(4), lambda rng, size: rng.uniform(-1, 1, size)),
        (GaussianScale(3, dim=5, std=2.0), lambda rng, size: rng.normal(0, 2, size)),
        (TwoPointScale(6), lambda rng, size: rng.choice([-0.5, 0.5], size)),
    ],
)
def test_population_losses_of_scales_match_sampled_projections(problem, draw):
    rng = np.random.default_rng(0)
    x, y = np.sort(draw(rng, (2, 40000, problem.batch_size)), axis=-1)
    for u in (0.4, 1.0):
        assert within(np.mean((u * x - y) ** 2, axis=1), float(problem.population_loss(u)))
    assert problem.loss.target.dim == getattr(problem, "dim", 1)


def test_best_scales_are_the_known_ones():
    assert TwoPointScale(2).best_scale == 0.25
    assert UniformScale(9).best_scale == 0.8
    assert abs(gaussian_shrinkage(1)) < 1e-13
    assert abs(gaussian_shrinkage(2) - 1 / np.pi) < 1e-12
    assert abs(gaussian_shrinkage(3) - 3 / (2 * np.pi)) < 1e-12  # E g_(3:3) = 3 / (2 sqrt(pi))
    for problem in (TwoPointScale(3), UniformScale(3), GaussianScale(3)):
        assert abs(jax.grad(problem.population_loss)(problem.best_scale)) < 1e-6


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_gradient_of_two_points_has_the_variance_of_the_enumeration(n):
    law = np.array([math.comb(n, k) for k in range(n + 1)]) / 2**n
    difference = np.abs(np.subtract.outer(np.arange(n + 1), np.arange(n + 1)))
    variance = law @ difference**2 @ law - (law @ difference @ law) ** 2
    assert abs(TwoPointScale(n).gradient_variance - variance / n**2) < 1e-14


@pytest.mark.parametrize("n", [1023, 1024, 5000, np.int64(5000)])
def test_the_variance_of_large_minibatches_is_that_of_their_normal_law(n, as_users_run_it):
    # Var |D| = n (1/2 - 1/pi) + 1/(4 pi) + O(1/n), by Stirling's formula.
    expected = (1 / 2 - 1 / np.pi) / n + 1 / (4 * np.pi * n**2)
    assert abs(TwoPointScale(n).gradient_variance / expected - 1) < 1 / n**2


def test_sgd_on_two_points_fluctuates_as_predicted():
    problem, step_size, num_steps = TwoPointScale(2), 0.1, 40
    paths = simulate(
        problem.loss, np.ones(2000, np.float32), step_size, num_steps, jax.random.key(2)
    )
    steps = np.arange(num_steps + 1)
    deviation = (paths - problem.flow(1.0, steps * step_size)) ** 2
    times = steps * step_size
    assert within(deviation, problem.mean_square_deviation(step_size, 1.0, times))
    assert within(paths, problem.mean_path(step_size, 1.0, times))
    # Between the steps as well: half of each.
    middle = (paths[:, 1:] + paths[:, :-1]) / 2 - problem.flow(1.0, times[1:] - step_size / 2)
    exact = problem.mean_square_deviation(step_size, 1.0, times[1:] - step_size / 2)
    assert within(middle**2, exact)
    farthest = np.abs(paths - problem.flow(1.0, times)).max(axis=1).mean()
    assert farthest < problem.deviation_bound(step_size, 1.0, times[-1])


def test_fluctuations_of_two_points_are_limits_of_exact_ones():
    problem, alpha, times = TwoPointScale(2), 1e-4, np.array([0.5, 1.0, 4.0])
    exact = problem.mean_square_deviation(alpha, 1.0, times) / alpha
    np.testing.assert_allclose(exact, problem.fluctuation(1.0, times), rtol=1e-3)
    off = (problem.mean_path(alpha, -1.0, times) - problem.flow(-1.0, times)) / alpha
    np.testing.assert_allclose(off, problem.bias(-1.0, times), rtol=1e-3)
    assert abs(problem.stationary_variance(alpha) / alpha - 7 / 64) < 1e-5


def test_paths_from_the_ridge_approach_the_set_of_solutions_but_no_single_one():
    problem, times = TwoPointScale(2), np.linspace(0, 8, 65)
    starts = np.linspace(-1e-3, 1e-3, 60).astype(np.float32)
    to_set, to_one = [], []
    for step_size in (2**-4, 2**-8):
        num_steps = int(8 / step_size)
        paths = simulate(problem.loss, starts, step_size, num_steps, jax.random.key(3))
        paths = paths[:, :: num_steps // 64]
        to_set.append(problem.distance_to_solutions(paths, times, 1e-3).mean())
        to_one.append(np.abs(paths - problem.flow_from_zero(times, 0.0)).max(axis=1).mean())
    assert to_set[1] < 0.4 * to_set[0]  # about (2^-4)^(1/2) = 0.25
    assert min(to_one) > 0.2


@pytest.mark.parametrize("metric", ["sup", "compact"])
def test_solutions_have_no_distance_to_the_set_of_solutions(metric):
    problem, times = TwoPointScale(2), np.linspace(0, 6, 61)
    paths = np.stack(
        [
            problem.flow_from_zero(times, 2.3, -1),
            problem.flow_from_zero(times, 99.0),
            problem.flow(5e-4, times),
        ]
    )
    distances = problem.distance_to_solutions(paths, times, 1e-3, metric)
    assert np.all(distances < problem.variance * problem.best_scale * 6 / 256 / 16)
    shifted = problem.distance_to_solutions(problem.flow(1.0, times), times, 1e-3, metric)
    assert abs(shifted - 1) < 0.01


def test_the_compact_metric_is_that_of_trajectories(x64):
    times = np.linspace(0, 4.5, 46)
    difference = np.sin(3 * times) * times / 3
    expected = compact_distance(times, jnp.asarray(difference), jnp.zeros(46))
    assert abs(_size(difference, times, "compact") - expected) < 1e-12


def test_scales_refuse_what_has_no_meaning():
    with pytest.raises(ValueError, match="at least 1"):
        UniformScale(0)
    with pytest.raises(ValueError, match="not unique"):
        UniformScale(3).flow([0.5, 0.0], [1.0])
    with pytest.raises(ValueError, match="start_radius"):
        TwoPointScale(2).distance_to_solutions(np.zeros(3), [0, 1, 2], 0.3)
    with pytest.raises(ValueError, match="metric"):
        TwoPointScale(2).distance_to_solutions(np.zeros(3), [0, 1, 2], metric="l2")


# Linear generators, the attracting kink, the ball


def test_the_loss_of_linear_gaussians_matches_sampled_projections():
    rng = np.random.default_rng(1)
    s, n = np.array([[2.0, 0.5], [0.5, 1.0]]), 3
    problem = LinearGaussian(jnp.asarray(s), n, latent_dim=3)
    a = rng.normal(size=(2, 3))
    angles = rng.uniform(0, np.pi, 40000)
    theta = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    output = np.linalg.norm(theta @ a, axis=1)[:, None] * rng.normal(size=(40000, n))
    data = np.sqrt(np.sum((theta @ s) * theta, axis=1))[:, None] * rng.normal(size=(40000, n))
    losses = np.mean((np.sort(output, axis=1) - np.sort(data, axis=1)) ** 2, axis=1)
    assert within(losses, float(problem.population_loss(jnp.asarray(a))))


def test_minimizers_of_linear_gaussians_are_shrunk_square_roots(x64):
    problem = LinearGaussian(jnp.array([[2.0, 0.5], [0.5, 1.0]]), 3, latent_dim=3)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    best = problem.minimizer @ rotation
    expected = problem.shrinkage**2 * np.asarray(problem.covariance)
    np.testing.assert_allclose(best @ best.T, expected, atol=1e-14)
    assert problem.distance_to_minimizers(best) < 1e-13
    assert jnp.max(jnp.abs(jax.grad(problem.population_loss)(jnp.asarray(best)))) < 1e-12
    rng = np.random.default_rng(3)
    off = best + 0.01 * rng.normal(size=(50, 2, 3))
    assert np.all(problem.distance_to_minimizers(off) <= np.linalg.norm(off - best, axis=(1, 2)))


def test_in_one_dimension_the_linear_problem_is_the_scale_problem(x64):
    linear = LinearGaussian(jnp.array([[4.0]]), 5)
    scale = GaussianScale(5, std=2.0)
    u = jnp.asarray(0.7)
    # A = 2u turns N(0, 1) into the scaled N(0, 4).
    assert abs(linear.population_loss(2 * u[None, None]) - scale.population_loss(u)) < 1e-12


def test_linear_gaussians_refuse_what_has_no_meaning():
    with pytest.raises(ValueError, match="positive definite"):
        LinearGaussian(jnp.diag(jnp.array([1.0, 0.0])), 2)
    with pytest.raises(ValueError, match="latent_dim"):
        LinearGaussian(jnp.eye(2), 2, latent_dim=1)
    with pytest.raises(ValueError, match="pass directions="):
        LinearGaussian(jnp.eye(3), 2)


def test_the_gradient_at_the_attracting_kink_is_that_of_the_formula(x64):
    problem = AttractingKink(3, num_directions=2)
    draw = jax.jit(problem.loss.draw)(jax.random.key(4))
    weight = 2 * np.mean(np.asarray(draw.directions)[:, 0] ** 2)
    value, slope = problem.loss.value_and_grad(jnp.asarray(-0.5), draw)
    assert abs(value - weight / 2 * 1.5**2) < 1e-12
    assert abs(slope + weight * 1.5) < 1e-12
    assert abs(problem.population_loss(-0.5) - 1.5**2 / 3) < 1e-6


@pytest.mark.parametrize(("dim", "num_directions"), [(2, 1), (3, 2)])
def test_sgd_stays_at_the_attracting_kink_to_first_order(dim, num_directions):
    problem, alpha = AttractingKink(dim, num_directions), 2e-3
    rng = np.random.default_rng(5)
    u, distances = rng.uniform(-0.01, 0.01, 4000), []
    for t in range(800):
        theta = rng.normal(size=(4000, num_directions, dim))
        weight = 2 * np.mean(theta[..., 0] ** 2 / np.sum(theta**2, axis=-1), axis=1)
        u = u - alpha * weight * (1 + np.abs(u)) * np.sign(u)
        if t >= 100:
            distances.append(np.abs(u).mean())
    assert abs(np.mean(distances) / problem.stationary_mean_distance(alpha) - 1) < 0.02


def test_the_flow_reaches_the_attracting_kink_and_stays():
    problem = AttractingKink(2)
    hit = problem.hitting_time(-1.5)
    flow = problem.flow(-1.5, [0.0, hit / 2, hit * (1 + 1e-9), 5.0])
    assert flow[0] == -1.5
    assert flow[1] < 0
    assert np.all(np.abs(flow[2:]) < 1e-8)
    slope = (problem.flow(-1.5, [1e-6]) - flow[0]) / 1e-6
    assert abs(slope - 2.5) < 1e-4  # -F' = (2/d)(1 + |u|), toward 0


def make_ball(noise_std=0.3):
    source = measures.gaussian(3, covariance=jnp.diag(jnp.array([1.0, 2.0, 4.0])))
    free = TranslationProblem.shifted(
        source, [0.0, 0.0, 2.0], batch_size=10, num_directions=2, noise_std=noise_std
    )
    return BallConstraint(free, radius=1.0)


def test_noised_projected_sgd_spreads_along_the_sphere_as_predicted():
    problem, alpha = make_ball(), 5e-3
    rng, free = np.random.default_rng(6), make_ball().problem
    num = 1500
    u = np.tile(problem.critical_point, (num, 1))
    root = np.linalg.cholesky(free.batch_mean_covariance)
    squares, gaps = [], []
    for t in range(1600):
        theta = rng.normal(size=(num, 2, 3))
        theta /= np.linalg.norm(theta, axis=-1, keepdims=True)
        error = u - free.minimizer + rng.normal(size=(num, 3)) @ root.T
        phi = 2 * np.einsum("kli,klj,kj->ki", theta, theta, error) / 2
        u = u - alpha * phi + alpha * free.noise_std * rng.normal(size=(num, 3))
        u *= np.minimum(1, 1 / np.linalg.norm(u, axis=1))[:, None]
        if t >= 600 and t % 10 == 0:
            squares.append(np.sum(problem.tangential_part(u) ** 2, axis=1).mean())
            gaps.append(1 - np.linalg.norm(u, axis=1).mean())
    assert abs(np.mean(squares) / problem.tangential_mean_square(alpha) - 1) < 0.03
    assert np.mean(gaps) < 2 * alpha


def test_the_flow_in_the_ball_ends_at_the_critical_point():
    problem = make_ball()
    start, times = np.array([0.3, -0.2, -0.5]), np.array([0.0, 0.1, 30.0])
    flow = problem.flow(start, times)
    np.testing.assert_allclose(flow[0], start)
    np.testing.assert_allclose(flow[1], problem.problem.flow(start, times)[1])
    np.testing.assert_allclose(flow[2], problem.critical_point, atol=1e-8)
    np.testing.assert_allclose(problem.tangential_part(flow[0]), [0.3, -0.2, 0.0])


def test_a_ball_that_is_not_active_is_refused():
    free = make_ball().problem
    with pytest.raises(ValueError, match="not active"):
        BallConstraint(free, radius=2.5)
    with pytest.raises(ValueError, match="outside the ball"):
        make_ball().flow([0.0, 0.0, 1.5], [0.0, 1.0])
