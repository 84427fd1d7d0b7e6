"""The sliced-Wasserstein flow: velocity, conventions of time and sign, noise, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax.flows import sliced_drift
from swjax.flows.sliced_drift import Target, drift, slices_of

KEY = jax.random.key(0)


def cloud(key, n, dim=2):
    return jax.random.normal(jax.random.fold_in(KEY, key), (n, dim))


@pytest.mark.parametrize(
    ("n", "m", "weighted"),
    [
        (6, 6, False),
        pytest.param(6, 12, False, marks=pytest.mark.slow),
        pytest.param(6, 9, False, marks=pytest.mark.slow),
        pytest.param(9, 6, True, marks=pytest.mark.slow),
    ],
)
def test_velocity_is_the_gradient_of_the_loss_and_value_the_loss(n, m, weighted, x64):
    x, y, theta = cloud(1, n), cloud(2, m), swjax.equispaced_directions(5)
    b = jnp.arange(1.0, m + 1) / (m * (m + 1) / 2) if weighted else None
    value, gradient = jax.value_and_grad(swjax.sw2_sq)(x, y, theta, None, b)
    velocity, found = drift(x, Target(y, b), slices_of(Target(y, b), theta, n))
    np.testing.assert_allclose(velocity, -n / 2 * gradient, atol=1e-13)
    np.testing.assert_allclose(found, value, rtol=1e-13)
    np.testing.assert_allclose(swjax.sliced_velocity(x, y, theta, b), velocity, atol=1e-14)


@pytest.mark.slow
def test_single_precision_keeps_the_velocity_of_many_weighted_points():
    x, y, theta = cloud(1, 2000), cloud(2, 3001), jnp.eye(2)
    b = jnp.full(3001, 1 / 3001)
    single = swjax.sliced_velocity(x, y, theta, b)
    with jax.enable_x64(True):
        double = swjax.sliced_velocity(*(np.asarray(v, np.float64) for v in (x, y, theta, b)))
    assert np.abs(np.asarray(single) - np.asarray(double)).max() < 1e-4


@pytest.mark.parametrize(("m", "weighted"), [(12, False), (9, False), (9, True)])
def test_single_precision_keeps_the_value_of_clouds_far_from_the_origin(m, weighted):
    x, y, theta = 0.1 * cloud(1, 6) + 100, 0.1 * cloud(2, m) + 100, swjax.equispaced_directions(5)
    b = jnp.arange(1.0, m + 1) / (m * (m + 1) / 2) if weighted else None
    flow = swjax.sliced_flow(x, y, [0.0, 40.0], step_size=1.0, directions=theta, b=b)
    doubles = [None if v is None else np.asarray(v, np.float64) for v in (y, theta, None, b)]
    with jax.enable_x64(True):
        weights = None if b is None else doubles[3] / doubles[3].sum()
        for points, value in zip(np.asarray(flow.path, np.float64), flow.values, strict=True):
            expected = swjax.sw2_sq(points, doubles[0], doubles[1], None, weights)
            np.testing.assert_allclose(value, expected, rtol=2e-3)


@pytest.mark.slow
def test_blocks_of_directions_change_nothing(monkeypatch, x64):
    target, x = Target(cloud(2, 6), None), cloud(1, 6)
    theta = swjax.sample_directions(KEY, 50, 2)
    whole = drift(x, target, slices_of(target, theta, 6))
    monkeypatch.setattr(sliced_drift, "default_chunk_size", lambda points: 16)
    slices = slices_of(target, theta, 6)
    assert slices is not None
    assert slices.share.shape == (4, 13)
    for one, other in zip(whole, drift(x, target, slices), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


@pytest.mark.slow
def test_all_directions_are_the_limit_of_many_also_for_clouds_of_different_size(x64):
    x, y = cloud(1, 2), cloud(2, 3)
    many = swjax.sliced_velocity(x, y, swjax.equispaced_directions(20_000))
    np.testing.assert_allclose(swjax.sliced_velocity(x, y), many, atol=1e-3)
    np.testing.assert_allclose(  # on the line there is one direction
        swjax.sliced_velocity(x[:, :1], y[:, :1]),
        swjax.sliced_velocity(x[:, :1], y[:, :1], jnp.ones((1, 1))),
    )


def test_a_translate_is_approached_at_the_rate_of_the_dimension(x64):
    shift, h = jnp.array([[3.0, 4.0]]), 0.125
    y = cloud(1, 6)
    flow = swjax.sliced_flow(
        y + shift, y, [0.0, 0.25, 1.0], step_size=h, directions=swjax.equispaced_directions(5)
    )
    left = (1 - h / 2) ** np.array([0, 2, 8])
    np.testing.assert_allclose(flow.path, y[None] + left[:, None, None] * shift[None], atol=1e-13)
    np.testing.assert_allclose(flow.values, 25 / 2 * left**2, rtol=1e-12)
    np.testing.assert_allclose(flow.residuals, 5 / 2 * left, rtol=1e-12)


def test_the_minus_printed_in_algorithm_1_flees_from_the_target(x64):
    x, y, theta, h = cloud(1, 6) + 1.0, cloud(2, 6), swjax.equispaced_directions(5), 0.1
    gap = lambda x: np.asarray(x).mean(0) - np.asarray(y).mean(0)
    climbing, falling = x, x
    for step in range(1, 6):
        before = swjax.sw2_sq(climbing, y, theta), swjax.sw2_sq(falling, y, theta)
        climbing = climbing - h * swjax.sliced_velocity(climbing, y, theta)
        falling = falling + h * swjax.sliced_velocity(falling, y, theta)
        assert swjax.sw2_sq(climbing, y, theta) > before[0]
        assert swjax.sw2_sq(falling, y, theta) < before[1]
        np.testing.assert_allclose(gap(climbing), gap(x) * (1 + h / 2) ** step, rtol=1e-12)
        np.testing.assert_allclose(gap(falling), gap(x) * (1 - h / 2) ** step, rtol=1e-12)


@pytest.mark.slow
def test_steps_are_those_of_gradient_descent_and_of_the_fixed_point_map(x64):
    x, y, theta = cloud(1, 6), cloud(2, 6), swjax.equispaced_directions(5)
    one_step = lambda h: swjax.sliced_flow(x, y, [0.0, h], step_size=h, directions=theta).path[1]
    descent = x - 0.3 * jax.grad(swjax.sw2_sq)(x, y, theta)
    np.testing.assert_allclose(one_step(2 * 0.3 / 6), descent, atol=1e-14)
    np.testing.assert_allclose(one_step(2.0), swjax.sliced_fixed_point(x, y, theta), atol=1e-14)


@pytest.mark.slow
def test_half_the_squared_distance_falls_at_the_rate_of_the_squared_residual(x64):
    x, y, theta = cloud(1, 6), cloud(2, 6), swjax.equispaced_directions(5)
    times = np.linspace(0, 0.02, 3)
    flow = swjax.sliced_flow(x, y, times, step_size=1e-5, directions=theta)
    rate = (flow.values[2] - flow.values[0]) / 2 / times[2]
    np.testing.assert_allclose(rate, -(flow.residuals[1] ** 2), rtol=1e-3)


@pytest.mark.slow
def test_fresh_directions_follow_the_key_and_vmap_changes_nothing():
    x, y = cloud(1, 6), cloud(2, 6)
    run = lambda key, entropy: swjax.sliced_flow(
        x, y, [0.0, 1.0], step_size=0.25, num_directions=3, entropy=entropy, key=key
    )
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(run)(keys, jnp.array([0.0, 0.1, 0.1]))
    alone = run(keys[1], 0.1)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one[1], other, atol=1e-5)
    assert float(jnp.max(jnp.abs(together.path[2] - together.path[1]))) > 1e-2


@pytest.mark.slow
def test_value_and_residual_can_be_checked_over_other_directions(x64):
    x, y, few = cloud(1, 6), cloud(2, 6), jnp.eye(2)
    many = swjax.equispaced_directions(5)
    flow = swjax.sliced_flow(x, y, [0.0, 0.5], step_size=0.5, directions=few, check_directions=many)
    end = flow.path[1]
    np.testing.assert_allclose(flow.values[1], swjax.sw2_sq(end, y, many), rtol=1e-12)
    rms = jnp.sqrt(jnp.mean(jnp.sum(swjax.sliced_velocity(end, y, many) ** 2, axis=1)))
    np.testing.assert_allclose(flow.residuals[1], rms, rtol=1e-12)
    np.testing.assert_allclose(end, x + 0.5 * swjax.sliced_velocity(x, y, few), atol=1e-14)


@pytest.mark.slow
def test_entropy_spreads_the_cloud_as_the_gaussian_closure_says():
    n, strength, times = 2000, 0.5, [0.0, 4.0]
    quantiles = jax.scipy.special.ndtri((jnp.arange(n) + 0.5) / n)[:, None]
    flow = swjax.sliced_flow(
        quantiles, quantiles, times, step_size=0.05, directions=jnp.ones((1, 1)), entropy=strength,
        key=KEY,
    )  # fmt: skip
    one = jnp.ones((1, 1))
    closure = swjax.gaussian_sliced_flow(
        jnp.zeros(1), one, jnp.zeros(1), one, times, entropy=strength
    )
    found, expected = float(jnp.var(flow.path[1])), float(closure.covariances[1, 0, 0])
    # Steps of 0.05 change the variance by about 2 %; the mean of n squares has 5 x 3 % of error.
    assert abs(found / expected - 1) < 0.02 + 5 * (2 / n) ** 0.5
    assert expected == pytest.approx(1.866, abs=0.01)  # at rest: ((1 + sqrt(3)) / 2)^2
    no_noise = swjax.sliced_flow(
        quantiles, quantiles, times, step_size=0.05, directions=jnp.ones((1, 1))
    )
    np.testing.assert_allclose(no_noise.path[1], quantiles, atol=1e-6)
    assert float(no_noise.residuals[1]) < 1e-6


GOOD = {"x": np.zeros((3, 2)), "y": np.ones((3, 2)), "times": [0.0, 1.0], "step_size": 0.5}
BAD = {
    "an empty cloud": ({"x": np.zeros((0, 2))}, ValueError, "at least one point"),
    "an empty target": ({"y": np.zeros((0, 2))}, ValueError, "at least one point"),
    "other dimensions": ({"y": np.zeros((3, 4))}, ValueError, "same space"),
    "a single point": ({"x": np.zeros(2)}, ValueError, "clouds"),
    "integers": ({"x": np.zeros((3, 2), int)}, TypeError, "floating-point"),
    "negative entropy": ({"entropy": -0.1, "key": KEY}, ValueError, "entropy must be"),
    "infinite entropy": ({"entropy": np.inf, "key": KEY}, ValueError, "entropy must be"),
    "noise without key": ({"entropy": 0.1}, ValueError, "pass key="),
    "fresh without key": ({"num_directions": 2}, ValueError, "pass key="),
    "no directions": ({"num_directions": 0, "key": KEY}, ValueError, "at least 1"),
    "empty directions": ({"directions": np.zeros((0, 2))}, ValueError, "L >= 1"),
    "directions of another space": ({"directions": np.eye(3)}, ValueError, "unit vector"),
    "long directions": ({"directions": 2 * np.eye(2)}, ValueError, "length"),
    "two kinds of directions": (
        {"directions": np.eye(2), "num_directions": 2}, ValueError, "not both",
    ),
    "a horizon of zero": ({"times": [0.0, 0.0]}, ValueError, "times must be"),
    "a negative horizon": ({"times": [0.0, -1.0]}, ValueError, "times must be"),
    "an infinite horizon": ({"times": [0.0, np.inf]}, ValueError, "finite"),
    "a late start": ({"times": [1.0, 2.0]}, ValueError, "times must be"),
    "a step of zero": ({"step_size": 0.0}, ValueError, "step_size must be"),
    "a negative step": ({"step_size": -1.0}, ValueError, "step_size must be"),
    "an endless step": ({"step_size": np.nan}, ValueError, "step_size must be"),
    "wrong weights": ({"b": np.ones(3), "directions": np.eye(2)}, ValueError, "sum to 1"),
    "weights in closed form": ({"b": np.full(3, 1 / 3)}, ValueError, "equal weights"),
    "no closed form": ({"x": np.zeros((3, 3)), "y": np.ones((3, 3))}, ValueError, "dimension 3"),
    "NaN": ({"x": np.full((3, 2), np.nan), "directions": np.eye(2)}, FloatingPointError, "NaN"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_with_the_reason(what):
    change, error, reason = BAD[what]
    with pytest.raises(error, match=reason):
        swjax.sliced_flow(**(GOOD | change))


def test_traced_steps_are_refused():
    run = lambda h: swjax.sliced_flow(GOOD["x"], GOOD["y"], [0.0, 1.0], step_size=h).values
    with pytest.raises(TypeError, match="step_size is being traced"):
        jax.jit(run)(0.5)
