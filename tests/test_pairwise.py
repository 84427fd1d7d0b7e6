"""Losses between many clouds at once agree with those between two."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swjax.directions import sample_directions
from swjax.pairwise import batch_sw2_sq, cross_sw2_sq, pairwise_sw2_sq
from swjax.sliced import sw2_sq


def collection(num, n, seed=0, dim=3):
    scale = 1 + np.arange(num)[:, None, None] / num
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=(num, n, dim)))


def random_weights(*shape, seed=0):
    weights = np.random.default_rng(seed).uniform(0.1, 1.0, shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def pair_by_pair(x, y, directions, a=None, b=None):
    rows = lambda w, clouds: [w if w is None or w.ndim == 1 else w[k] for k in range(len(clouds))]
    return jnp.array(
        [
            [sw2_sq(p, q, directions, v, w) for q, w in zip(y, rows(b, y), strict=True)]
            for p, v in zip(x, rows(a, x), strict=True)
        ]
    )


WEIGHTS = {
    "none": (8, 8, None, None),
    "other sizes": (8, 5, None, None),
    "one point": (8, 1, None, None),
    "for each cloud": (6, 5, random_weights(4, 6), random_weights(3, 5)),
    "shared, and only of one": (6, 6, random_weights(6), None),
}


@pytest.mark.parametrize(("n", "m", "a", "b"), WEIGHTS.values(), ids=WEIGHTS)
def test_every_entry_is_the_loss_between_its_two_clouds(x64, n, m, a, b):
    x, y = collection(4, n), collection(3, m, seed=1)
    directions = sample_directions(jax.random.key(0), 11, 3)
    found = cross_sw2_sq(x, y, directions, a, b, chunk_size=4)
    assert found.dtype == jnp.float64
    expected = pair_by_pair(x, y, directions, a, b)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    paired = batch_sw2_sq(x[:3], y, directions, a if a is None or a.ndim == 1 else a[:3], b)
    np.testing.assert_allclose(paired, jnp.diag(expected[:3]), rtol=1e-12)


@pytest.mark.parametrize(("num", "weighted"), [(1, True), (2, False), (5, True), (6, False)])
def test_the_matrix_of_one_collection_is_symmetric_with_zero_diagonal(num, weighted):
    clouds = collection(num, 6).astype(jnp.float32)
    weights = random_weights(num, 6) if weighted else None
    directions = sample_directions(jax.random.key(0), 5, 3)
    found = pairwise_sw2_sq(clouds, directions, weights)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(jnp.diag(found), 0)
    expected = pair_by_pair(clouds, clouds, directions, weights, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_those_of_the_loss_between_two_clouds(x64, weighted):
    x, y = collection(3, 5), collection(2, 4, seed=1)
    directions = sample_directions(jax.random.key(0), 5, 3)
    a = jnp.asarray(random_weights(3, 5)) if weighted else None
    b = jnp.asarray(random_weights(2, 4)) if weighted else None
    factors = jnp.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]])
    which = (0, 1, 2, 3) if weighted else (0, 1, 2)
    args = (x, y, directions, a, b)
    score = lambda losses: lambda *args: jnp.sum(factors * losses(*args))
    found = jax.jit(jax.grad(score(partial(cross_sw2_sq, chunk_size=2)), which))(*args)
    two_loops = jax.vmap(jax.vmap(sw2_sq, (None, 0, None, None, 0)), (0, None, None, 0, None))
    two_loops = (
        two_loops
        if weighted
        else lambda x, y, directions, a, b: jax.vmap(
            jax.vmap(sw2_sq, (None, 0, None)), (0, None, None)
        )(x, y, directions)
    )
    for ours, theirs in zip(found, jax.jit(jax.grad(score(two_loops), which))(*args), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_the_gradient_of_the_symmetric_matrix_counts_every_pair_twice(x64):
    clouds = collection(4, 5)
    directions = sample_directions(jax.random.key(0), 5, 3)
    one = jax.grad(lambda c: pairwise_sw2_sq(c, directions).sum())(clouds)
    two = jax.grad(lambda c: cross_sw2_sq(c, c, directions).sum())(clouds)
    np.testing.assert_allclose(one, two, atol=1e-12)
    same = jnp.stack([clouds[0]] * 3)
    slopes = jax.grad(lambda c: pairwise_sw2_sq(c, directions).sum())(same)
    np.testing.assert_array_equal(slopes, 0)


def test_forward_mode_and_second_derivatives(x64):
    x, y = collection(2, 4), collection(3, 4, seed=1)
    directions = sample_directions(jax.random.key(0), 5, 3)
    losses = jax.jit(lambda x: cross_sw2_sq(x, y, directions, chunk_size=2))
    step = collection(2, 4, seed=2)
    _, change = jax.jvp(losses, (x,), (step,))
    slope = (losses(x + 1e-6 * step) - losses(x - 1e-6 * step)) / 2e-6
    np.testing.assert_allclose(change, slope, rtol=1e-7)
    slopes = jax.jit(jax.grad(lambda x: losses(x).sum()))
    _, curvature = jax.jvp(slopes, (x,), (step,))
    second = (slopes(x + 1e-5 * step) - slopes(x - 1e-5 * step)) / 2e-5
    np.testing.assert_allclose(curvature, second, atol=1e-8)


def test_nan_stays_in_its_row():
    clouds = collection(4, 5).astype(jnp.float32).at[2, 1].set(jnp.nan)
    found = cross_sw2_sq(clouds, clouds[:2], jnp.eye(3))
    np.testing.assert_array_equal(jnp.isnan(found), np.arange(4)[:, None] == [[2, 2]])
    found = batch_sw2_sq(clouds, clouds[::-1], jnp.eye(3))
    assert jnp.isnan(found).tolist() == [False, True, True, False]


@pytest.mark.slow
def test_memory_follows_the_chunk_and_not_the_directions():
    clouds = jax.ShapeDtypeStruct((16, 64, 3), jnp.float32)

    def memory(num):
        directions = jax.ShapeDtypeStruct((num, 3), jnp.float32)
        score = lambda x, y, theta: jnp.sum(cross_sw2_sq(x, y, theta, chunk_size=32) ** 2)
        analysis = jax.jit(jax.grad(score)).lower(clouds, clouds, directions).compile()
        stats = analysis.memory_analysis()
        assert stats is not None
        return stats.temp_size_in_bytes

    small, large = memory(32), memory(1024)
    # A chunk of a collection has 128 KiB; the differences of all pairs would have 2 MiB, and all
    # directions at once 4 MiB.
    assert small < 2**21
    assert large < 2**21


def test_wrong_calls_say_what_is_wrong():
    x, directions = collection(3, 4).astype(jnp.float32), jnp.eye(3)
    with pytest.raises(ValueError, match="number of clouds"):
        pairwise_sw2_sq(x[0], directions)
    with pytest.raises(ValueError, match="Directions are rows"):
        cross_sw2_sq(x, x[..., :2], directions)
    with pytest.raises(ValueError, match="pair up"):
        batch_sw2_sq(x, x[:2], directions)
    with pytest.raises(ValueError, match="length"):
        pairwise_sw2_sq(x, 2 * directions)
    with pytest.raises(ValueError, match="sum to 1"):
        pairwise_sw2_sq(x, directions, jnp.ones((3, 4)))
    with pytest.raises(ValueError, match="weights has shape"):
        pairwise_sw2_sq(x, directions, jnp.ones(3) / 3)
    with pytest.raises(TypeError, match="floating"):
        pairwise_sw2_sq(jnp.ones((3, 4, 3), int), directions)
    with pytest.raises(ValueError, match="chunk_size"):
        pairwise_sw2_sq(x, directions, chunk_size=0)
