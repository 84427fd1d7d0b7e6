"""Fluctuation and bias of small steps: closed forms, an exact enumeration of paths, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swjax import measures
from swjax.flows.fluctuation import fluctuations, sample_gradient_covariance
from swjax.population import PopulationLoss
from swjax.problems import TranslationProblem, TwoPointScale

TIMES = [0.0, 0.5, 2.0]


def test_translations_have_the_covariance_and_bias_of_their_formulas(x64):
    cloud = measures.Discrete(jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 3.0]]))
    problem = TranslationProblem.shifted(cloud, [1.0, -1.0], batch_size=4)
    z, c = jnp.asarray(problem.batch_mean_covariance), jnp.asarray(problem.minimizer)

    def covariance(u):  # of 2 theta theta^T (e + zeta), by the moments of theta
        e = u - c
        second = jnp.outer(e, e) + z
        return 4 * ((jnp.trace(second) * jnp.eye(2) + 2 * second) / 8 - jnp.outer(e, e) / 4)

    start = jnp.array([-1.0, 2.0])
    found = fluctuations(problem.excess_loss, covariance, start, TIMES)
    np.testing.assert_allclose(found.path, problem.flow(start, TIMES), atol=1e-7)
    traces = np.trace(found.covariance, axis1=1, axis2=2)
    np.testing.assert_allclose(traces, problem.fluctuation(start, TIMES), atol=3e-6)
    np.testing.assert_allclose(found.bias, problem.bias(start, TIMES), atol=3e-6)


def test_the_scale_of_two_points_has_those_of_its_formulas(x64):
    problem, start = TwoPointScale(2), jnp.asarray(2.0)
    spread = sample_gradient_covariance(jax.random.key(0), problem.loss, 40_000)
    exact = problem.gradient_variance
    assert exact == 7 / 64
    assert abs(spread(start)[0, 0] - exact) < 4 * exact * (2 / 40_000) ** 0.5
    loss = PopulationLoss(problem.loss)
    found = fluctuations(loss, lambda u: jnp.full((1, 1), exact), start, TIMES)
    np.testing.assert_allclose(
        found.covariance[:, 0, 0], problem.fluctuation(2.0, TIMES), atol=1e-7
    )
    np.testing.assert_allclose(found.bias[:, 0], problem.bias(2.0, TIMES), atol=1e-7)


def test_a_curved_gradient_biases_by_its_own_curvature(x64):
    # u+ = u - alpha (F'(u) + xi), xi = +-1, all paths written out; F''' and F'' F' both matter.
    value = lambda u: u**3 / 3 + jnp.cos(u)
    slope = jax.jit(jax.vmap(jax.grad(value)))
    start, horizon = 1.5, 0.5
    found = fluctuations(value, lambda u: jnp.ones((1, 1)), jnp.asarray(start), [0.0, horizon])
    scaled_bias, scaled_variance = [], []
    for num_steps in (5, 10):
        alpha, paths = horizon / num_steps, np.full(1, start)
        for _ in range(num_steps):
            moved = paths - alpha * np.asarray(slope(jnp.asarray(paths)))
            paths = np.concatenate([moved - alpha, moved + alpha])
        scaled_bias.append((paths.mean() - float(found.path[1, 0])) / alpha)
        scaled_variance.append(paths.var() / alpha)
    # Extrapolated from two step sizes; what is left is of order alpha^2.
    bias, variance = (2 * fine - coarse for coarse, fine in (scaled_bias, scaled_variance))
    assert abs(found.bias[1, 0]) > 0.1
    assert abs(bias - found.bias[1, 0]) < 0.03 * abs(found.bias[1, 0])
    assert abs(variance - found.covariance[1, 0, 0]) < 0.03 * found.covariance[1, 0, 0]


def test_half_precision_is_computed_in_float32():
    value, covariance = lambda u: jnp.sum(u**2) / 2, lambda u: jnp.eye(2, dtype=u.dtype)
    found = fluctuations(value, covariance, jnp.array([1.0, 2.0], jnp.bfloat16), [0.0, 1.0])
    assert {leaf.dtype for leaf in found} == {jnp.dtype("float32")}
    decay = np.exp(-1)
    np.testing.assert_allclose(found.path[1], [decay, 2 * decay], rtol=1e-5)
    np.testing.assert_allclose(found.covariance[1], (1 - decay**2) / 2 * np.eye(2), atol=1e-5)
    np.testing.assert_allclose(found.bias[1], -decay / 2 * np.array([1, 2]), rtol=1e-5)


def test_a_sampled_loss_stands_for_its_population_loss(x64):
    problem, start = TwoPointScale(2), jnp.asarray(2.0)
    covariance = lambda u: jnp.full((1, 1), problem.gradient_variance)
    found = fluctuations(problem.loss, covariance, start, TIMES)
    np.testing.assert_allclose(found.path[:, 0], problem.flow(2.0, TIMES), atol=1e-7)
    np.testing.assert_allclose(found.bias[:, 0], problem.bias(2.0, TIMES), atol=1e-7)


def test_a_covariance_of_another_shape_is_refused():
    for wrong in (lambda u: 1.0, lambda u: jnp.ones(2), lambda u: jnp.ones((1, 2)), lambda u: u):
        with pytest.raises(ValueError, match=r"gradient_covariance must return .* \(2, 2\)"):
            fluctuations(lambda u: jnp.sum(u["a"] ** 2), wrong, {"a": jnp.ones(2)}, TIMES)


def test_parameters_that_cannot_move_are_refused():
    value, covariance = lambda u: jnp.sum(u**2), lambda u: jnp.eye(2)
    with pytest.raises(TypeError, match="params has dtype int32; every leaf must be a real"):
        fluctuations(value, covariance, jnp.array([1, 2]), TIMES)
    with pytest.raises(TypeError, match="params has no arrays in it"):
        fluctuations(value, covariance, {}, TIMES)


def test_what_is_not_finite_is_an_error_that_says_when():
    times, covariance = [0.0, 0.01, 1.0, 2.0], lambda u: jnp.ones((1, 1))
    with pytest.raises(FloatingPointError, match=r"infinite or NaN at time 1\. .*longest was 0\.0"):
        fluctuations(lambda u: -(u**4), covariance, jnp.asarray(2.0), times)
    # The flow stays at the kink, where there are no second derivatives.
    with pytest.raises(FloatingPointError, match=r"infinite or NaN at time 0\.01"):
        fluctuations(lambda u: u * jnp.sqrt(u), covariance, jnp.asarray(0.0), times)
    batched = jax.vmap(lambda u: fluctuations(lambda u: -(u**4), covariance, u, times).path[:, 0])
    assert np.isfinite(batched(jnp.array([0.0, 2.0]))).all(axis=1).tolist() == [True, False]


def test_bad_arguments_are_refused():
    flat = lambda u: jnp.zeros((1, 1))
    with pytest.raises(ValueError, match="the first of them 0"):
        fluctuations(jnp.sin, flat, jnp.asarray(1.0), [0.5, 1.0])
    with pytest.raises(ValueError, match="must be finite"):
        fluctuations(jnp.sin, flat, jnp.asarray(1.0), [0.0, 1.0, np.inf])
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        fluctuations(jnp.sin, flat, jnp.asarray(1.0), [0.0, 1.0], num_steps=0)
    with pytest.raises(ValueError, match="num_draws must be at least 2"):
        sample_gradient_covariance(jax.random.key(0), TwoPointScale(2).loss, 1)


def test_draws_come_from_keys_of_every_kind():
    loss, start = TwoPointScale(2).loss, jnp.asarray(1.0)
    typed, raw, number = (
        sample_gradient_covariance(key, loss, 16)(start)
        for key in (jax.random.key(3), jax.random.PRNGKey(3), 3)
    )
    assert typed == raw == number > 0
