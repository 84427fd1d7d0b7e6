"""Unit vectors: uniform in law, unbiased means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from swjax.directions import equispaced_directions, sample_directions


@pytest.mark.parametrize(("num", "dim"), [(1, 1), (7, 1), (1, 2), (50, 3), (20, 784)])
def test_rows_have_unit_length_and_the_default_dtype(num, dim):
    directions = sample_directions(jax.random.key(1), num, dim)
    assert directions.shape == (num, dim)
    assert directions.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=3e-7)


def test_rows_are_double_when_doubles_are_on(x64):
    directions = sample_directions(jax.random.key(1), 10, 5)
    assert directions.dtype == jnp.float64
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-15)
    assert equispaced_directions(3).dtype == jnp.float64


def check_uniform(directions):
    """A coordinate of a uniform direction is 2 B - 1 with B ~ Beta((d-1)/2, (d-1)/2)."""
    dim = directions.shape[1]
    law = stats.beta((dim - 1) / 2, (dim - 1) / 2, loc=-1, scale=2)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, dim)))[0]
    for column in (np.asarray(directions) @ turn).T[:3]:
        assert stats.kstest(column, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_independent_directions_are_uniform(dim):
    check_uniform(sample_directions(jax.random.key(dim), 20_000, dim))


def test_directions_on_the_line_are_fair_signs():
    signs = np.asarray(sample_directions(jax.random.key(0), 10_000, 1))
    assert set(signs.ravel()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 5 / np.sqrt(10_000)


def test_sampling_runs_under_vmap_and_jit_with_both_kinds_of_key():
    keys = jax.random.split(jax.random.key(0), 3)
    batch = jax.jit(jax.vmap(lambda key: sample_directions(key, 4, 2)))(keys)
    np.testing.assert_allclose(batch[1], sample_directions(keys[1], 4, 2), rtol=1e-6)
    old = sample_directions(jax.random.PRNGKey(0), 4, 2)
    np.testing.assert_array_equal(old, sample_directions(jax.random.key(0), 4, 2))


def test_equispaced_directions_cover_the_half_circle_evenly():
    directions = np.asarray(equispaced_directions(8), np.float64)
    angles = np.arctan2(directions[:, 1], directions[:, 0])
    np.testing.assert_allclose(angles, (np.arange(8) + 0.5) * np.pi / 8, rtol=1e-6)


def test_equispaced_directions_integrate_low_degrees_exactly(x64):
    for num in (2, 3, 5):
        theta = np.asarray(equispaced_directions(num))
        angles = 2 * np.arctan2(theta[:, 1], theta[:, 0])
        for degree in range(1, num):
            assert abs(np.mean(np.exp(1j * degree * angles))) < 1e-14


@pytest.mark.parametrize("num", [0, -3])
def test_a_count_below_one_is_refused(num):
    with pytest.raises(ValueError, match=f"num must be at least 1, got {num}"):
        sample_directions(jax.random.key(0), num, 2)
    with pytest.raises(ValueError, match="dim must be at least 1"):
        sample_directions(jax.random.key(0), 2, num)
    with pytest.raises(ValueError, match="num must be at least 1"):
        equispaced_directions(num)
