"""On an accelerator: the same values, gradients and orders, in full float32 precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax import sorting

pytestmark = pytest.mark.gpu


def problem(n, m, dim, num):
    rng = np.random.default_rng([n, m, dim, num])
    x, y = rng.normal(size=(n, dim)), 0.5 * rng.normal(size=(m, dim)) + 0.3
    theta = rng.normal(size=(num, dim))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    return tuple(np.float32(v) for v in (x, y, theta))


def reference(x, y, theta):
    """Value and gradient in x in float64, for clouds of the same size."""
    x, y, theta = (np.float64(v) for v in (x, y, theta))
    n, value, gradient = len(x), 0.0, np.zeros_like(x)
    for t in theta:
        px, py = x @ t, y @ t
        gap = np.empty(n)
        gap[np.argsort(px)] = np.sort(px) - np.sort(py)
        value += np.mean(gap**2) / len(theta)
        gradient += 2 / n * np.outer(gap, t) / len(theta)
    return value, gradient


@pytest.mark.parametrize(
    ("n", "dim", "num"),
    [
        (1, 2, 3),
        (100, 3, 1),
        (1000, 784, 16),
        (4097, 64, 100),
        (100_000, 3, 8),
        (100_000, 3, 64),  # in several chunks
    ],
)
def test_value_and_gradient_have_the_precision_of_float32(n, dim, num):
    """TensorFloat-32, the default of matrix products there, would leave errors of 1e-3."""
    x, y, theta = problem(n, n, dim, num)
    value, gradient = jax.value_and_grad(swjax.sw2_sq)(*map(jnp.asarray, (x, y, theta)))
    assert all(device.platform != "cpu" for device in value.devices())
    expected, slope = reference(x, y, theta)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.linalg.norm(gradient - slope) < 1e-4 * np.linalg.norm(slope)


@pytest.mark.parametrize(("n", "lanes"), [(5, 1), (1000, 7), (1000, 64), (70_000, 16)])
def test_orders_are_stable_and_exact(n, lanes):
    lists = np.random.default_rng(0).integers(-50, 50, (n, lanes)).astype(np.float32)
    order = np.argsort(lists, axis=0, kind="stable")
    np.testing.assert_array_equal(jax.jit(sorting.argsort)(lists), order)
    np.testing.assert_array_equal(jax.jit(sorting.sort)(lists), np.sort(lists, axis=0))


def test_special_numbers_have_their_places():
    tiny = float(jnp.finfo(jnp.float32).smallest_subnormal)
    column = np.float32([np.nan, 1, -0.0, -np.inf, tiny, 0, np.inf, -tiny, -3e38, 3e38])
    lists = jnp.tile(jnp.asarray(column)[:, None], (1, 16))
    assert jax.jit(sorting.argsort)(lists)[:, 0].tolist() == [3, 8, 7, 2, 5, 4, 1, 9, 6, 0]


def test_weights_sizes_and_orders_agree_with_the_cpu():
    x, y, theta = problem(300, 200, 5, 40)
    a, b = (np.full(len(v), 1 / len(v), np.float32) for v in (x, y))
    a[:100], a[100:200] = 1.5 / 300, 0.5 / 300
    for p in (1, 1.5, 2):
        loss = jax.value_and_grad(swjax.sw_pow, argnums=(0, 1, 3, 4))
        here = jax.jit(lambda *given, p=p, loss=loss: loss(*given, p=p))(x, y, theta, a, b)
        with jax.default_device(jax.devices("cpu")[0]):
            there = jax.jit(lambda *given, p=p, loss=loss: loss(*given, p=p))(x, y, theta, a, b)
        for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
            np.testing.assert_allclose(one, np.asarray(other), rtol=1e-4, atol=1e-5)


def test_the_same_call_gives_the_same_bits():
    arrays = [jnp.asarray(v) for v in problem(5000, 5000, 10, 64)]
    job = jax.jit(jax.value_and_grad(swjax.sw2_sq))
    for one, other in zip(job(*arrays), job(*arrays), strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_follows_the_chunk():
    cloud = jax.ShapeDtypeStruct((100_000, 3), jnp.float32)
    theta = jax.ShapeDtypeStruct((1000, 3), jnp.float32)
    compiled = jax.jit(jax.value_and_grad(swjax.sw2_sq)).lower(cloud, cloud, theta).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 300e6


def test_half_and_double_precision(x64):
    x, y, theta = problem(500, 500, 8, 32)
    half = [jnp.asarray(v, jnp.bfloat16) for v in (x, y)]
    rounded = [np.float32(v) for v in half]
    np.testing.assert_allclose(swjax.sw2_sq(*half, theta), reference(*rounded, theta)[0], rtol=1e-5)
    double = [jnp.asarray(v, jnp.float64) for v in (x, y, theta)]
    np.testing.assert_allclose(swjax.sw2_sq(*double), reference(*double)[0], rtol=1e-12)
