"""Conservative SGD on finite sums: unbiased draws, settling values, artificial points avoided."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import swjax
from swjax import counterexamples, kinks

DATA = jnp.array([[0.0, 1.0], [2.0, -1.0], [-1.0, 0.5], [3.0, 2.0], [1.0, 1.0]])
TERMS = lambda w, row: jnp.abs(w @ row - 1) + kinks.relu(w[0] * row[1], 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_minibatches_are_subsets_and_their_gradients_average_to_the_full_one(x64, batch_size):
    loss = swjax.FiniteSum(TERMS, DATA, batch_size)
    params = jnp.array([0.3, -0.7])
    keys = jax.random.split(jax.random.key(0), 4000)
    draws = jax.vmap(loss.draw)(keys)
    assert draws.shape == (4000, batch_size, 2)
    distinct = [len({tuple(row) for row in draw}) for draw in np.asarray(draws[:50])]
    assert set(distinct) == {batch_size}
    gradients = np.asarray(jax.vmap(lambda d: loss.value_and_grad(params, d)[1])(draws))
    full = jax.grad(loss.full_value)(params)
    error = gradients.std(0) / 4000**0.5
    assert (np.abs(gradients.mean(0) - full) <= 5 * error + 1e-12).all()


def test_gradient_descent_meets_the_artificial_point_only_from_multiples_of_the_step():
    # Steps that are powers of two and starts that are dyadic: exact arithmetic.
    step_size = 2.0**-6
    starts = jnp.arange(-64, 257) * (step_size / 4)
    slope = jax.vmap(jax.grad(counterexamples.spurious_identity))
    descend = lambda t, _: (t - step_size * slope(t), None)
    ends = np.asarray(jax.jit(lambda t: jax.lax.scan(descend, t, None, length=500)[0])(starts))
    multiples = np.asarray(starts) / step_size
    caught = (multiples >= 0) & (multiples == np.round(multiples))
    assert caught.sum() == 65
    np.testing.assert_array_equal(ends[caught], 0)
    np.testing.assert_array_equal(ends[~caught], np.asarray(starts)[~caught] - 500 * step_size)


def test_random_starts_never_meet_the_artificial_point(x64):
    key_start, key_step = jax.random.split(jax.random.key(0))
    starts = jax.random.uniform(key_start, (2000,))
    steps = jax.random.uniform(key_step, (2000,), minval=0.01, maxval=0.02)
    slope = jax.vmap(jax.grad(counterexamples.spurious_identity))
    descend = lambda t, _: (t - steps * slope(t), None)
    ends = jax.jit(lambda t: jax.lax.scan(descend, t, None, length=150)[0])(starts)
    assert float(ends.max()) < 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    [
        swjax.optim.power_schedule(1.0, 1.0),
        swjax.optim.power_schedule(0.3, 0.6),
        swjax.optim.inverse_log_schedule(0.5, 3.0),
    ],
    ids=["1/k", "1/k^0.6", "1/log^3"],
)
def test_values_settle_under_vanishing_steps(schedule):
    """The spread of J over k in [K/2, K] shrinks with K, for relu(w.x) networks with kinks."""
    key = jax.random.key(0)
    x = jax.random.normal(key, (40, 2))
    y = jnp.abs(x[:, 0]) - x[:, 1]
    relu = partial(kinks.relu, at_zero=1.0)

    def term(w, row):
        return jnp.abs(relu(w[:4].reshape(2, 2) @ row[:2]) @ w[4:6] + w[6:8] @ row[:2] - row[2])

    loss = swjax.FiniteSum(term, jnp.concatenate([x, y[:, None]], 1), 4)
    start = jax.random.normal(jax.random.key(1), (8,))
    run = swjax.train(key, loss, optax.sgd(schedule), start, num_steps=20_000, record_every=10)
    values = np.asarray(jax.jit(jax.vmap(loss.full_value))(run.path))
    early, late = values[50:100], values[1000:]
    assert np.ptp(late) < 0.5 * np.ptp(early)
    assert late[-1] < values[0]


def test_a_constant_step_does_not_settle():
    loss = swjax.FiniteSum(lambda w, x: jnp.abs(w - x), jnp.array([0.0, 1.0, 5.0]), 1)
    start, key = jnp.zeros(()), jax.random.key(0)
    settle = swjax.optim.power_schedule(0.5, 0.9)
    ends = {
        name: np.asarray(swjax.train(key, loss, optax.sgd(rule), start, num_steps=4000).path[2000:])
        for name, rule in (("constant", 0.5), ("vanishing", settle))
    }
    assert np.ptp(ends["constant"]) >= 1
    assert np.ptp(ends["vanishing"]) < 0.05
    assert abs(ends["vanishing"][-1] - 1) < 0.01  # the median


def test_the_barycenter_on_the_line_is_the_average_of_the_quantiles():
    scales = 1 + 0.2 * jnp.arange(6.0)
    clouds = jax.random.normal(jax.random.key(0), (6, 10, 1)) * scales[:, None, None]
    direction = jnp.ones((1, 1))
    loss = swjax.FiniteSum(lambda x, y: swjax.sw2_sq(x, y, direction), clouds, 2)
    schedule = swjax.optim.power_schedule(5.0, 1.0)  # n d / 2: the average of all that was drawn
    start = jax.random.normal(jax.random.key(1), (10, 1))
    run = swjax.train(
        jax.random.key(2), loss, optax.sgd(schedule), start, num_steps=3000, record_every=3000
    )
    quantiles = jnp.sort(clouds, axis=1)
    # 6000 quantiles drawn without replacement in pairs: below the error of independent draws.
    error = 5 * np.asarray(quantiles.std(0)) / 6000**0.5
    gap = np.abs(np.asarray(jnp.sort(run.params, axis=0) - quantiles.mean(0)))
    assert (gap <= error).all()


@pytest.mark.slow
def test_batched_runs_equal_single_runs():
    loss = swjax.FiniteSum(TERMS, DATA, 2)
    keys = jax.random.split(jax.random.key(3), 3)
    go = lambda key: swjax.train(key, loss, optax.sgd(0.1), jnp.ones(2), num_steps=20).params
    batched = jax.jit(jax.vmap(go))(keys)
    np.testing.assert_allclose(batched[1], go(keys[1]), rtol=1e-5)


def test_wrong_data_and_batch_sizes_are_refused():
    with pytest.raises(ValueError, match="common leading axis"):
        swjax.FiniteSum(TERMS, (DATA, DATA[:2]))
    with pytest.raises(ValueError, match="common leading axis"):
        swjax.FiniteSum(TERMS, jnp.zeros(()))
    with pytest.raises(ValueError, match="between 1 and N = 5"):
        swjax.FiniteSum(TERMS, DATA, 6)
