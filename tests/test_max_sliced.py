"""The max-sliced loss against fine grids and closed forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swjax.directions import equispaced_directions
from swjax.max_sliced import max_sw2_sq
from swjax.sliced import sw2_sq_per_direction

KEY = jax.random.key(0)
GRID = 40_000


def clouds(n, m, dim, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, dim)), rng.normal(size=(m, dim)) @ rng.normal(size=(dim, dim))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@pytest.mark.parametrize("seed", range(6))
def test_no_direction_of_a_fine_grid_of_the_plane_is_better(seed):
    x, y = clouds(6, 6, 2, seed)
    found = max_sw2_sq(x, y, jax.random.fold_in(KEY, seed))
    best = sw2_sq_per_direction(x, y, equispaced_directions(GRID)).max()
    assert float(found.value) >= float(best) * (1 - 1e-5)
    again = sw2_sq_per_direction(x, y, found.direction[None])[0]
    np.testing.assert_allclose(found.value, again, rtol=1e-6)


@pytest.mark.slow
def test_the_grid_is_not_better_with_weights_and_other_sizes():
    x, y = clouds(7, 5, 2)
    a, b = jnp.arange(1.0, 8.0) / 28, jnp.array([0.1, 0.2, 0.3, 0.4, 0.0])
    best = sw2_sq_per_direction(x, y, equispaced_directions(GRID), a, b).max()
    assert float(max_sw2_sq(x, y, KEY, a=a, b=b).value) >= float(best) * (1 - 1e-5)


def test_no_random_direction_in_space_is_better():
    x, y = clouds(8, 8, 3)
    grid = np.random.default_rng(0).normal(size=(100_000, 3))
    grid = jnp.asarray(grid / np.linalg.norm(grid, axis=1, keepdims=True), jnp.float32)
    best = sw2_sq_per_direction(x, y, grid).max()
    assert float(max_sw2_sq(x, y, KEY).value) >= float(best) * (1 - 1e-5)


def test_a_translation_costs_its_squared_length():
    x, _ = clouds(8, 8, 3)
    shift = jnp.array([1.0, -2.0, 2.0])
    value, direction = max_sw2_sq(x, x + shift[None], KEY)
    np.testing.assert_allclose(value, 9.0, rtol=1e-5)
    np.testing.assert_allclose(jnp.abs(direction @ shift), 3.0, rtol=1e-5)


def test_a_dilation_costs_the_largest_eigenvalue_of_the_second_moment():
    # W_2^2(theta) = (1 - c)^2 mean (theta . x)^2 for y = c x.
    x, _ = clouds(8, 8, 3)
    found = max_sw2_sq(x, 3.0 * x, KEY)
    values, vectors = np.linalg.eigh(np.asarray(x.T @ x, np.float64) / 8)
    np.testing.assert_allclose(found.value, 4 * values[-1], rtol=1e-5)
    np.testing.assert_allclose(np.abs(found.direction @ vectors[:, -1]), 1.0, rtol=1e-5)


def test_gaussian_clouds_come_close_to_the_closed_form():
    # W_2^2(theta) = (theta . shift)^2 + (deviation of x - deviation of y)^2: 1 along the shift,
    # 1.5^2 along the axis in which y is wider.
    n, scale = 20_000, jnp.array([[1.0, 1.0, 2.5]])
    x, y = (jax.random.normal(key, (n, 3)) for key in jax.random.split(KEY))
    shift = jnp.array([[1.0, 0.0, 0.0]])
    value, direction = max_sw2_sq(x, scale * y + shift, KEY, num_steps=30, num_starts=4)
    # Means and deviations of n Gaussians have errors of at most 2.5 / sqrt(n) and 1 / sqrt(n), and
    # so has the root of the cost; five standard errors.
    assert abs(float(value) ** 0.5 - 1.5) < 5 * (2.5 + 1) / n**0.5
    assert abs(float(direction[2])) > 0.98


@pytest.mark.slow
def test_the_derivative_is_that_of_the_maximum(x64):
    x, y = (cloud.astype(jnp.float64) for cloud in clouds(8, 6, 2))
    step = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    value = lambda x: max_sw2_sq(x, y, KEY, num_steps=200, num_starts=4).value
    both = jax.jit(jax.value_and_grad(value))
    difference = (both(x + 1e-5 * step)[0] - both(x - 1e-5 * step)[0]) / 2e-5
    np.testing.assert_allclose(jnp.vdot(both(x)[1], step), difference, rtol=1e-3)


def test_forward_and_reverse_mode_agree():
    x, y = clouds(5, 5, 1)
    value = lambda x: max_sw2_sq(x, y, KEY, num_starts=1, num_steps=1).value
    _, change = jax.jvp(value, (x,), (jnp.cos(x),))
    np.testing.assert_allclose(jnp.vdot(jax.grad(value)(x), jnp.cos(x)), change, rtol=1e-5)


def test_equal_clouds_cost_nothing_and_have_no_slope():
    x, _ = clouds(6, 6, 2)
    found, slope = jax.value_and_grad(lambda z: max_sw2_sq(z, x, KEY).value)(x)
    assert float(found) == 0.0
    np.testing.assert_array_equal(slope, 0)


def test_under_jit_and_vmap_the_same_key_gives_the_same_result():
    x, y = (jnp.stack(pair) for pair in zip(clouds(6, 6, 2), clouds(6, 6, 2, 1), strict=True))
    keys = jax.random.split(KEY, 2)
    many = jax.jit(jax.vmap(max_sw2_sq))(x, y, keys)
    for k in range(2):
        alone = max_sw2_sq(x[k], y[k], keys[k])
        np.testing.assert_allclose(many.value[k], alone.value, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(many.direction[k]), 1.0, rtol=1e-6)
        again = max_sw2_sq(x[k], y[k], keys[k])
        np.testing.assert_array_equal(again.direction, alone.direction)


def test_on_the_line_and_from_one_start():
    x, y = clouds(5, 5, 1)
    found = max_sw2_sq(x, y, KEY, num_starts=1, num_steps=1)
    expected = np.mean((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2)
    np.testing.assert_allclose(found.value, expected, rtol=1e-6)


def test_nan_gives_nan_and_tiny_clouds_do_not_underflow():
    x, y = clouds(6, 6, 2)
    assert np.isnan(max_sw2_sq(x.at[0, 0].set(jnp.nan), y, KEY).value)
    small, whole = max_sw2_sq(1e-12 * x, 1e-12 * y, KEY), max_sw2_sq(x, y, KEY)
    np.testing.assert_allclose(1e24 * small.value, whole.value, rtol=1e-4)


def test_wrong_calls_say_what_is_wrong():
    x, y = clouds(5, 5, 2)
    half: Any = 2.5
    with pytest.raises(ValueError, match="num_starts"):
        max_sw2_sq(x, y, KEY, num_starts=0)
    with pytest.raises(TypeError, match="num_steps"):
        max_sw2_sq(x, y, KEY, num_steps=half)
    with pytest.raises(ValueError, match="Expected clouds x"):
        max_sw2_sq(x[0], y, KEY)
    with pytest.raises(ValueError, match="differ"):
        max_sw2_sq(x, y[:, :1], KEY)
