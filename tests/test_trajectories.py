"""Curves through iterates, and distances between curves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swjax.trajectories import compact_distance, interpolate, sup_distance


def tree_path(length, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "w": jnp.asarray(rng.normal(size=(length, 2, 3)), jnp.float32),
        "b": (jnp.asarray(rng.normal(size=(length,)), jnp.float32),),
    }


def flat(tree):
    return np.concatenate(
        [np.asarray(leaf, np.float64).reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)],
        axis=1,
    )


def test_interpolation_agrees_with_numpy_in_every_coordinate():
    path, step = tree_path(9), 0.3
    times = np.linspace(0, 8 * step, 41)
    expected = np.stack([np.interp(times, step * np.arange(9), c) for c in flat(path).T], axis=1)
    np.testing.assert_allclose(flat(interpolate(path, step, times)), expected, atol=1e-6)
    traced = jax.jit(interpolate)(path, step, times)
    np.testing.assert_allclose(flat(traced), expected, atol=1e-5)


def test_interpolation_passes_through_the_iterates_exactly():
    path = tree_path(6)
    for step in (0.1, 1 / 3, 2.0**-12):
        at_knots = interpolate(path, step, step * np.arange(6))
        np.testing.assert_allclose(flat(at_knots), flat(path), rtol=1e-6)


def test_interpolation_keeps_the_shape_of_the_times_and_the_dtype():
    path = {"a": jnp.ones((4, 5), jnp.float16), "b": jnp.zeros((4,))}
    out = interpolate(path, 1.0, np.ones((2, 3)))
    assert out["a"].shape == (2, 3, 5)
    assert out["a"].dtype == jnp.float16
    assert out["b"].shape == (2, 3)
    assert interpolate(path, 1.0, 0.5)["a"].shape == (5,)


def test_a_path_of_one_iterate_is_its_own_curve():
    np.testing.assert_array_equal(interpolate(jnp.array([[1.0, 2.0]]), 0.1, 0.0), [1.0, 2.0])
    with pytest.raises(ValueError, match="span of a path of 1 iterates"):
        interpolate(jnp.array([[1.0, 2.0]]), 0.1, 0.2)


def test_a_diverged_path_is_finite_up_to_its_last_finite_iterate():
    path = jnp.array([0.0, 1.0, 2.0, jnp.inf])
    values = interpolate(path, 0.5, np.array([0.0, 0.75, 1.0, 1.25, 1.5]))
    np.testing.assert_array_equal(values, [0.0, 1.5, 2.0, np.inf, np.inf])


@pytest.mark.parametrize("step", [0.1, 0.05, 0.003, 1 / 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_comes_after_a_knot_does_not_count_there(step, dtype, compiled):
    # At every knot, whichever way its rounded time was found, the next iterate is infinite.
    at_knot = jax.jit(interpolate) if compiled else interpolate
    num = 2000
    even, odd = (
        jnp.where(jnp.arange(num) % 2 == k, jnp.arange(num) * 1.0, jnp.inf) for k in (0, 1)
    )
    for times in (np.arange(num) * step, np.arange(num, dtype=dtype) * np.dtype(dtype).type(step)):
        times = times.astype(dtype)
        for first, path in enumerate((even, odd)):
            values = at_knot(path, step, times[first::2])
            np.testing.assert_array_equal(values, np.arange(first, num, 2))


def test_near_a_knot_the_curve_is_still_followed():
    path = jnp.array([0.0, 1.0, 0.0])
    for close in (1e-5, -1e-5):
        expected = 1 - abs(close)
        for curve in (interpolate, jax.jit(interpolate)):
            assert abs(float(curve(path, 1.0, jnp.float32(1 + close))) - expected) < 2e-7
    slopes = jax.jit(jax.jacobian(lambda path: interpolate(path, 0.1, jnp.array([0.1, 0.125]))))
    np.testing.assert_allclose(slopes(path), [[0, 1, 0], [0, 0.75, 0.25]], atol=1e-6)


def test_the_last_time_may_be_off_by_rounding_only():
    path = jnp.arange(101.0)
    step = jnp.float32(0.01)
    assert float(interpolate(path, step, np.float32(1.0))) == pytest.approx(100, abs=1e-3)
    assert float(interpolate(path, 0.01, 100 * np.float32(0.01))) == 100
    with pytest.raises(ValueError, match="cut the times"):
        interpolate(path, 0.01, 1.01)
    with pytest.raises(ValueError, match="cut the times"):
        interpolate(path, 0.01, np.array([-0.01, 0.5]))
    with pytest.raises(ValueError, match="cut the times"):
        interpolate(path, 0.01, np.nan)


@pytest.mark.parametrize("step_size", [0.0, -0.1, np.nan, np.inf])
def test_a_step_size_must_be_positive(step_size):
    with pytest.raises(ValueError, match="step_size must be a positive number"):
        interpolate(jnp.zeros(3), step_size, 0.0)


def test_interpolation_refuses_what_is_no_path():
    with pytest.raises(ValueError, match="scalar, got shape"):
        interpolate(jnp.zeros(3), jnp.ones(2), 0.0)
    with pytest.raises(ValueError, match="no arrays"):
        interpolate({}, 0.1, 0.0)
    with pytest.raises(ValueError, match="differ in the length"):
        interpolate({"a": jnp.zeros(3), "b": jnp.zeros((4, 2))}, 0.1, 0.0)
    with pytest.raises(ValueError, match=r"path\['a'\] is a scalar"):
        interpolate({"a": jnp.zeros(())}, 0.1, 0.0)
    with pytest.raises(ValueError, match="length 0"):
        interpolate(jnp.zeros((0, 2)), 0.1, 0.0)
    with pytest.raises(TypeError, match="int32"):
        interpolate(jnp.arange(3), 0.1, 0.0)


def test_interpolation_runs_under_vmap_over_repetitions():
    paths = jnp.stack([jnp.arange(5.0), -jnp.arange(5.0)])
    times = jnp.array([0.25, 1.0])
    out = jax.vmap(lambda p: interpolate(p, 0.5, times))(paths)
    np.testing.assert_allclose(out, [[0.5, 2.0], [-0.5, -2.0]])


def test_sup_distance_is_the_largest_norm_of_the_whole_tree():
    a, b = tree_path(7, 1), tree_path(7, 2)
    expected = np.linalg.norm(flat(a) - flat(b), axis=1).max()
    assert float(sup_distance(a, b)) == pytest.approx(expected, rel=1e-6)
    assert float(sup_distance(b, a)) == pytest.approx(expected, rel=1e-6)


def test_sup_distance_has_a_finite_gradient_where_the_paths_agree():
    path = tree_path(3)
    gradient = jax.grad(lambda p: sup_distance(p, path))(path)
    assert float(sup_distance(path, path)) == 0
    assert all(bool(jnp.all(leaf == 0)) for leaf in jax.tree.leaves(gradient))


def test_sup_distance_of_curves_is_the_one_of_their_knots():
    """Between common knots the distance of two affine curves is convex."""
    a, b = tree_path(6, 3), tree_path(6, 4)
    fine = np.linspace(0, 5, 501)
    between = sup_distance(interpolate(a, 1.0, fine), interpolate(b, 1.0, fine))
    assert float(between) == pytest.approx(float(sup_distance(a, b)), rel=1e-6)


def test_sup_distance_shows_nan():
    assert np.isnan(float(sup_distance(jnp.array([0.0, jnp.nan]), jnp.zeros(2))))


def test_sup_distance_of_half_precision_is_computed_in_float32():
    a = jnp.full((2, 300), 20.0, jnp.float16)
    assert float(sup_distance(a, 0 * a)) == pytest.approx(20 * np.sqrt(300), rel=1e-6)


def test_distances_refuse_paths_that_do_not_match():
    with pytest.raises(ValueError, match="different trees"):
        sup_distance({"a": jnp.zeros(3)}, {"b": jnp.zeros(3)})
    with pytest.raises(ValueError, match="different shapes"):
        sup_distance(jnp.zeros((3, 2)), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="different shapes"):
        sup_distance(jnp.zeros(3), jnp.zeros(4))
    with pytest.raises(TypeError, match="floating"):
        sup_distance(jnp.zeros(3, int), jnp.zeros(3))


compiled = jax.jit(compact_distance)


def slow_compact_distance(times, gaps, horizon, terms=60):
    """The defining sum, on a fine grid of the distance as a function of time."""
    total = 0.0
    for k in range(1, terms + 1):
        total += 2.0**-k * min(1.0, gaps[times <= min(k, horizon) + 1e-12].max())
    return total


@pytest.mark.parametrize("horizon", [0.5, 3.0, 4.7])
def test_compact_distance_is_the_defining_sum_of_the_stopped_paths(horizon, x64):
    rng = np.random.default_rng(5)
    times = np.sort(np.r_[0.0, horizon, rng.uniform(0, horizon, 12)])
    a = {"u": jnp.asarray(0.05 * np.cumsum(rng.normal(size=(14, 3)), axis=0))}
    b = {"u": jnp.asarray(0.05 * np.cumsum(rng.normal(size=(14, 3)), axis=0))}
    fine = np.unique(np.r_[np.linspace(0, horizon, 200_001), times, np.arange(int(horizon) + 1)])
    difference = flat(a) - flat(b)
    curve = np.stack([np.interp(fine, times, c) for c in difference.T], axis=1)
    expected = slow_compact_distance(fine, np.linalg.norm(curve, axis=1), horizon)
    assert float(compiled(times, a, b)) == pytest.approx(expected, rel=1e-9)


def test_compact_distance_bounds_every_continuation():
    times = np.linspace(0, 6, 61)
    a, b = 0.1 * np.sin(times), 0.05 * times
    full = float(compiled(times, a, b))
    for cut in (10, 35):
        value = float(compiled(times[: cut + 1], a[: cut + 1], b[: cut + 1]))
        largest = min(1.0, np.abs(a - b)[: cut + 1].max())
        bound = 2.0 ** -np.floor(times[cut]) * (1 - largest)
        assert value - 1e-6 <= full <= value + bound + 1e-6


def test_compact_distance_is_a_metric_bounded_by_one():
    times = np.linspace(0, 3, 7)
    a, b, c = (np.random.default_rng(s).normal(size=(7, 2)).astype(np.float32) for s in range(3))
    d = lambda u, v: float(compiled(times, u, v))
    assert d(a, a) == 0
    assert d(a, b) == d(b, a)
    assert d(a, c) <= d(a, b) + d(b, c) + 1e-6
    assert d(a, a + 100) == pytest.approx(1, abs=1e-6)


def test_compact_distance_runs_under_vmap():
    times = np.linspace(0, 3, 7)
    paths = np.random.default_rng(0).normal(size=(3, 7, 2)).astype(np.float32)
    zero = np.zeros((7, 2), np.float32)
    batched = jax.jit(jax.vmap(lambda p: compact_distance(times, p, zero)))(paths)
    np.testing.assert_allclose(batched, [compiled(times, p, zero) for p in paths], rtol=1e-6)


def test_compact_distance_refuses_bad_times():
    path = jnp.zeros((3, 2))
    with pytest.raises(ValueError, match="one for each entry"):
        compact_distance(np.arange(4.0), path, path)
    with pytest.raises(ValueError, match="increase from 0"):
        compact_distance(np.array([0.5, 1.0, 2.0]), path, path)
    with pytest.raises(ValueError, match="increase from 0"):
        compact_distance(np.array([0.0, 2.0, 1.0]), path, path)
    with pytest.raises(ValueError, match="increase from 0"):
        compact_distance(np.array([0.0, 1.0, np.nan]), path, path)
