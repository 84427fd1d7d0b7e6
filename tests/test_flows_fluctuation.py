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
