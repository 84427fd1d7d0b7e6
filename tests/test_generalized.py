"""Generalized slices contain the linear ones, and differentiate through the feature map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swjax.directions import sample_directions
from swjax.generalized import (
    circular_slices,
    generalized_sw_pow,
    num_monomials,
    polynomial_slices,
)
from swjax.sliced import sw_pow
from swjax.wasserstein1d import wp_pow_1d


def clouds(n=6, m=5, dim=3):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(n, dim))), jnp.asarray(1 + rng.normal(size=(m, dim)))


@pytest.mark.slow
@pytest.mark.parametrize("p", [1, 2.5])
def test_linear_features_give_the_sliced_loss(x64, p):
    x, y = clouds()
    a, directions = jnp.arange(1.0, 7.0) / 21, sample_directions(jax.random.key(0), 7, 3)
    expected = sw_pow(x, y, directions, a, p=p)
    linear = generalized_sw_pow(x, y, lambda cloud: cloud @ directions.T, a, p=p)
    np.testing.assert_allclose(linear, expected, rtol=1e-13)
    polynomial = generalized_sw_pow(x, y, polynomial_slices(directions, 1), a, p=p)
    np.testing.assert_allclose(polynomial, expected, rtol=1e-13)


@pytest.mark.slow
def test_circular_slices_are_distances_and_flatten_as_the_radius_grows(x64):
    x, y = clouds()
    directions = sample_directions(jax.random.key(0), 4, 3)
    radii = jnp.array([0.5, 1.0, 2.0, 3.0])
    expected = [
        wp_pow_1d(*(jnp.linalg.norm(z - (r * theta)[None], axis=1) for z in (x, y)), p=1)
        for r, theta in zip(radii, directions, strict=True)
    ]
    found = generalized_sw_pow(x, y, circular_slices(directions, radii), p=1)
    np.testing.assert_allclose(found, jnp.mean(jnp.array(expected)), rtol=1e-13)
    far = generalized_sw_pow(x, y, circular_slices(directions, 1e7), p=2)
    np.testing.assert_allclose(far, sw_pow(x, y, directions, p=2), rtol=1e-5)


def test_circular_slices_have_a_slope_of_zero_at_their_centers():
    center = jnp.array([[2.0, 0.0]])
    features = circular_slices(jnp.array([[1.0, 0.0]]), 2.0)
    assert float(features(center)[0, 0]) == 0.0
    np.testing.assert_array_equal(jax.grad(lambda x: features(x).sum())(center), 0)


def test_polynomials_are_sums_over_their_monomials(x64):
    x, _ = clouds()
    assert num_monomials(3, 3) == 10
    coefficients = sample_directions(jax.random.key(1), 4, 10)
    i, j, k = np.array([(i, j, k) for i in range(3) for j in range(i, 3) for k in range(j, 3)]).T
    expected = (x[:, i] * x[:, j] * x[:, k]) @ coefficients.T
    np.testing.assert_allclose(polynomial_slices(coefficients, 3)(x), expected, rtol=1e-12)


def test_gradients_go_through_the_map_to_clouds_and_parameters(x64):
    x, y = clouds()
    directions = sample_directions(jax.random.key(0), 4, 3)
    matrix = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5)))

    def loss(x, matrix, radius):
        first = generalized_sw_pow(x, y, lambda cloud: jnp.tanh(cloud @ matrix), p=3)
        return first + generalized_sw_pow(x, y, circular_slices(directions, radius), p=2)

    args = (x, matrix, jnp.asarray(1.3))
    rng = np.random.default_rng(2)
    steps = tuple(jnp.asarray(rng.normal(size=np.shape(arg))) for arg in args)
    moved = lambda t: loss(*(arg + t * step for arg, step in zip(args, steps, strict=True)))
    slopes = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*args)
    slope = sum(jnp.vdot(s, step) for s, step in zip(slopes, steps, strict=True))
    np.testing.assert_allclose(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-7)


def test_images_may_come_in_as_they_are():
    images = jax.random.normal(jax.random.key(0), (5, 4, 4))
    features = lambda cloud: cloud.mean(axis=1)
    assert float(generalized_sw_pow(images, images[::-1], features, p=2)) == 0.0


def test_wrong_calls_say_what_is_wrong():
    x, y = (cloud.astype(jnp.float32) for cloud in clouds())
    with pytest.raises(ValueError, match=r"features\(x\) has shape"):
        generalized_sw_pow(x, y, lambda cloud: cloud.sum(axis=1), p=2)
    with pytest.raises(ValueError, match="one column"):
        generalized_sw_pow(x, y, lambda cloud: cloud[:, : cloud.shape[0] - 4], p=2)
    with pytest.raises(TypeError, match="floating"):
        generalized_sw_pow(x, y, lambda cloud: cloud.astype(int), p=2)
    with pytest.raises(ValueError, match="monomials of degree 3"):
        polynomial_slices(jnp.eye(4), 3)(x)
    with pytest.raises(ValueError, match="radius"):
        circular_slices(jnp.eye(3), jnp.ones(2))
    with pytest.raises(ValueError, match="must have length 1"):
        circular_slices(2 * jnp.eye(3), 1.0)
    for wrong in (x[:, :1], x[:, :2], x[0]):
        with pytest.raises(ValueError, match="directions are of dimension 3, the cloud is"):
            circular_slices(jnp.eye(3), 1.0)(wrong)
    with pytest.raises(ValueError, match="order"):
        generalized_sw_pow(x, y, lambda cloud: cloud, p=0)


def test_features_of_half_precision_do_not_overflow():
    x, y = (300 * cloud.astype(jnp.float16) for cloud in clouds())
    rows = jnp.eye(3, dtype=jnp.float16)
    monomials = jnp.eye(10, dtype=jnp.float16)
    for features in (circular_slices(rows, jnp.float16(1)), polynomial_slices(monomials, 3)):
        wide = generalized_sw_pow(x.astype(jnp.float32), y.astype(jnp.float32), features, p=2)
        assert features(x).dtype == jnp.float32
        np.testing.assert_allclose(generalized_sw_pow(x, y, features, p=2), wide, rtol=1e-6)
