"""The complete schemes, and step sizes that vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from swjax.optim import (
    add_gaussian_noise,
    inverse_log_schedule,
    noised_projected_sgd,
    noised_sgd,
    power_schedule,
    project_onto_ball,
    projected_sgd,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("radius", [0.5, 100.0])
def test_the_scheme_is_the_formula(radius):
    alpha, level = 0.1, 2.0
    params, gradient = (
        {"w": jnp.ones(3), "b": jnp.zeros(2)},
        {"w": jnp.arange(3.0), "b": jnp.ones(2)},
    )
    noise = add_gaussian_noise(1.0, KEY)
    zeros = jax.tree.map(jnp.zeros_like, params)
    eps, _ = noise.update(zeros, noise.init(zeros))
    # -eps has the law of eps: Optax subtracts the whole of gradient and noise.
    free = jax.tree.map(lambda u, g, e: u - alpha * g - alpha * level * e, params, gradient, eps)
    optimizer = noised_projected_sgd(alpha, level, radius, KEY)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    got, expected = optax.apply_updates(params, updates), project_onto_ball(free, radius)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_without_noise_or_ball_the_scheme_is_plain_sgd():
    params, gradient = jnp.ones(3), jnp.arange(3.0)
    plain = optax.sgd(0.1)
    expected, _ = plain.update(gradient, plain.init(params), params)
    for optimizer in (
        noised_projected_sgd(0.1, 0.0, jnp.inf, KEY),
        projected_sgd(0.1, jnp.inf),
        noised_sgd(0.1, 0.0, KEY),
    ):
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        assert np.array_equal(updates, expected)


def test_stationary_variance_is_that_of_a_linear_recursion_with_noise_times_alpha():
    # u+ = (1 - alpha) u + alpha a eps has variance alpha^2 a^2 / (1 - (1 - alpha)^2).
    alpha, level, num = 0.2, 1.5, 20_000
    optimizer = noised_sgd(alpha, level, KEY)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(params, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = jnp.zeros(num)
    (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=60)
    expected = (alpha * level) ** 2 / (1 - (1 - alpha) ** 2)
    assert abs(float(jnp.var(params)) / expected - 1) < 5 * (2 / num) ** 0.5


@pytest.mark.parametrize("wrong", [0.0, -0.1, float("nan"), float("inf")])
def test_step_sizes_must_be_positive(wrong):
    for make in (
        lambda a: projected_sgd(a, 1.0),
        lambda a: noised_sgd(a, 1.0, KEY),
        lambda a: noised_projected_sgd(a, 1.0, 1.0, KEY),
    ):
        with pytest.raises(ValueError, match="step_size must be positive and finite"):
            make(wrong)


def test_a_step_size_schedule_multiplies_the_noise_too():
    schedule = power_schedule(1.0)
    optimizer, noise = noised_sgd(schedule, 1.0, KEY), add_gaussian_noise(1.0, KEY)
    zeros = jnp.zeros(3)
    state, noise_state = optimizer.init(zeros), noise.init(zeros)
    for k in (1, 2, 3):
        update, state = optimizer.update(zeros, state, zeros)
        eps, noise_state = noise.update(zeros, noise_state)
        np.testing.assert_allclose(update, -eps / k, rtol=1e-6)


# Schedules


def test_power_schedule_is_the_power():
    counts = np.array([0, 1, 9, 10**6])
    for power in (0.5, 0.75, 1.0):
        got = [float(power_schedule(0.3, power)(count)) for count in counts]
        np.testing.assert_allclose(got, 0.3 / (counts + 1.0) ** power, rtol=1e-6)


def test_inverse_log_schedule_vanishes_faster_than_one_over_log():
    counts = np.array([0, 10, 10**3, 10**6, 2 * 10**9])
    schedule = inverse_log_schedule(0.3)
    steps = np.array([float(schedule(jnp.int32(count))) for count in counts])
    np.testing.assert_allclose(steps, 0.3 / np.log(counts + np.e) ** 2, rtol=1e-5)
    # o(1 / log k): the product with log k goes to zero; at the border power it does not.
    product = steps[1:] * np.log(counts[1:])
    assert np.all(np.diff(product) < 0)
    assert product[-1] < 0.05 * 0.3
    border = float(inverse_log_schedule(0.3, 1.0)(counts[-1])) * np.log(counts[-1])
    assert abs(border - 0.3) < 1e-5


def test_the_largest_count_gives_a_finite_step():
    # Optax's counter stays at the largest int32.
    last = jnp.int32(2**31 - 1)
    assert float(power_schedule(1.0)(last)) == pytest.approx(2.0**-31)
    assert 0 < float(inverse_log_schedule(1.0)(last)) < 1


def test_schedules_trace_and_differentiate_in_their_numbers():
    @jax.jit
    def step(scale, power, count):
        return power_schedule(scale, power)(count) + inverse_log_schedule(scale, power)(count)

    expected = 0.5 / 4**0.5 + 0.5 / np.log(3 + np.e) ** 0.5
    assert float(step(0.5, 0.5, 3)) == pytest.approx(expected, rel=1e-6)
    assert float(jax.grad(lambda s: power_schedule(s, 0.5)(3))(0.5)) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", [power_schedule, inverse_log_schedule])
def test_schedules_refuse_what_is_not_positive(schedule):
    for name, arguments in {"scale": (0.0, 1.0), "power": (1.0, -1.0)}.items():
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            schedule(*arguments)
