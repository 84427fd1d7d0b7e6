"""The sliced losses against a slow float64 reference, finite differences, POT and OTT."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy import stats

import swjax
from swjax import slicing

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def problem(n, m, d, num, dtype="float64", seed=0):
    """Two clouds and unit directions, drawn in float64 and rounded to the type asked for."""
    rng = np.random.default_rng([seed, n, m, d, num])
    x, y = rng.normal(size=(n, d)), 0.5 * rng.normal(size=(m, d)) + 0.3
    theta = rng.normal(size=(num, d))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    return tuple(np.asarray(v, dtype) for v in (x, y, theta))


def weights(n, seed=0):
    a = np.random.default_rng([seed, n]).exponential(size=n)
    return a / a.sum()


def reference_1d(x, y, a, b, p):
    """W_p^p on the line in float64, by walking through both lists: quantile by quantile."""
    i, j = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    x, a, y, b = x[i], a[i], y[j], b[j]
    levels = np.unique(np.concatenate([np.cumsum(a), np.cumsum(b)]))
    levels = np.concatenate([[0.0], np.minimum(levels, 1.0)])
    middle = (levels[1:] + levels[:-1]) / 2
    row = np.minimum(np.searchsorted(np.cumsum(a), middle), len(a) - 1)
    col = np.minimum(np.searchsorted(np.cumsum(b), middle), len(b) - 1)
    return np.sum(np.diff(levels) * np.abs(x[row] - y[col]) ** p)


def reference(x, y, theta, a=None, b=None, p=2):
    x, y, theta = (np.asarray(v, np.float64) for v in (x, y, theta))
    if a is None and b is None and len(x) == len(y):
        gaps = np.sort(x @ theta.T, axis=0) - np.sort(y @ theta.T, axis=0)
        return np.mean(np.abs(gaps) ** p)
    a = np.full(len(x), 1 / len(x)) if a is None else a
    b = np.full(len(y), 1 / len(y)) if b is None else b
    return np.mean([reference_1d(x @ t, y @ t, a, b, p) for t in theta])


# Powers of two and not, one point, and the sizes where the way of sorting changes.
SHAPES = [
    (1, 1, 4),
    (2, 3, 16),
    (3, 784, 8),
    (5, 2, 1),
    (16, 1, 2),
    (17, 64, 16),
    (100, 3, 3),
    (128, 2, 16),
    (129, 7, 16),
    (1000, 2, 16),
    (1024, 784, 8),
    (3001, 3, 9),
    (5000, 10, 8),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "d", "num"), SHAPES)
def test_equal_sizes_agree_with_sorting_in_float64(n, d, num, dtype, x64):
    x, y, theta = problem(n, n, d, num, dtype)
    value = swjax.sw2_sq(x, y, theta)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, reference(x, y, theta), rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (25, 40), (1, 40), (40, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_sizes_weights_and_orders_agree_with_the_quantile_formula(n, m, p, weighted, x64):
    x, y, theta = problem(n, m, 3, 4)
    a, b = (weights(n), weights(m, 1)) if weighted else (None, None)
    value = swjax.sw_pow(x, y, theta, a, b, p=p)
    np.testing.assert_allclose(value, reference(x, y, theta, a, b, p), rtol=1e-12)
    root = swjax.sw_distance(x, y, theta, a, b, p=p)
    np.testing.assert_allclose(root, reference(x, y, theta, a, b, p) ** (1 / p), rtol=1e-12)


def test_float32_weights_agree_with_the_quantile_formula():
    x, y, theta = problem(300, 200, 3, 16, "float32")
    a, b = weights(300), weights(200, 1)
    value = swjax.sw2_sq(x, y, theta, jnp.asarray(a, float), jnp.asarray(b, float))
    np.testing.assert_allclose(value, reference(x, y, theta, a, b), rtol=2e-5)


def finite_difference(function, point, direction, step=1e-6):
    return (function(point + step * direction) - function(point - step * direction)) / (2 * step)


def projected_on_the_simplex_plane(change):
    return change - change.mean()


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize(("n", "m", "weighted"), [(20, 20, False), (20, 13, False), (20, 13, True)])
def test_first_derivatives_agree_with_finite_differences(n, m, weighted, p, x64):
    x, y, theta = problem(n, m, 3, 4)
    a, b = (weights(n), weights(m, 1)) if weighted else (None, None)
    loss = functools.partial(swjax.sw_pow, p=p)
    arguments = [x, y, theta, a, b] if weighted else [x, y, theta]
    rng = np.random.default_rng(7)
    gradients = jax.grad(loss, argnums=tuple(range(len(arguments))))(*arguments)
    for place, gradient in enumerate(gradients):
        if place == 2:
            continue  # finite steps would leave the sphere of directions
        change = rng.normal(size=arguments[place].shape)
        if place > 2:
            change = projected_on_the_simplex_plane(change) * 1e-2

        def along(value, place=place):
            return loss(*arguments[:place], value, *arguments[place + 1 :])

        expected = finite_difference(along, arguments[place], change)
        forward = jax.jvp(along, (jnp.asarray(arguments[place]),), (jnp.asarray(change),))[1]
        np.testing.assert_allclose(np.sum(gradient * change), expected, rtol=1e-6, atol=1e-10)
        np.testing.assert_allclose(forward, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("p", [2, 3])
def test_second_derivatives_agree_with_differences_of_the_gradient(p, x64):
    x, y, theta = problem(12, 12, 3, 4)
    gradient = jax.grad(lambda x: swjax.sw_pow(x, y, theta, p=p))
    change = np.random.default_rng(3).normal(size=x.shape)
    expected = finite_difference(gradient, x, change)
    forward_over_reverse = jax.jvp(gradient, (jnp.asarray(x),), (jnp.asarray(change),))[1]
    reverse_over_reverse = jax.grad(lambda x: jnp.sum(gradient(x) * change))(jnp.asarray(x))
    np.testing.assert_allclose(forward_over_reverse, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(reverse_over_reverse, expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_is_the_formula_of_the_paper(x64):
    """Block k is (2/n) times the mean over theta of theta theta^T (x_k - y_sigma(k))."""
    x, y, theta = problem(30, 30, 4, 8)
    expected = np.zeros_like(x)
    for t in theta:
        match = np.empty(30, int)
        match[np.argsort(x @ t)] = np.argsort(y @ t)
        expected += (2 / 30) * np.outer((x - y[match]) @ t, t) / len(theta)
    np.testing.assert_allclose(jax.grad(swjax.sw2_sq)(x, y, theta), expected, rtol=1e-12)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_gradients_are_zero_where_the_clouds_coincide(p):
    x, _, theta = problem(9, 9, 3, 8, "float32")
    for y in (x, x[::-1].copy()):
        for loss in (swjax.sw_pow, swjax.sw_distance):
            gradients = jax.grad(loss, argnums=(0, 1))(x, y, theta, p=p)
            assert all(not np.any(g) for g in gradients)


def test_equals_pot_on_the_same_directions(x64):
    x, y, theta = problem(50, 30, 4, 20)
    a, b = weights(50), weights(30, 1)
    for p in (1, 2, 3):
        peer = ot.sliced_wasserstein_distance(x, y, a, b, p=p, projections=theta.T)
        np.testing.assert_allclose(swjax.sw_distance(x, y, theta, a, b, p=p), peer, rtol=1e-10)
    peer = ot.sliced_wasserstein_distance(x[:30], y, projections=theta.T, p=2)
    np.testing.assert_allclose(swjax.sw_distance(x[:30], y, theta), peer, rtol=1e-10)


def test_equals_ott_on_the_same_directions(x64):
    from ott.tools import sliced

    x, y, theta = (jnp.asarray(v) for v in problem(40, 40, 4, 20))
    a, b = jnp.asarray(weights(40)), jnp.asarray(weights(40, 1))
    project = lambda points: points @ theta.T
    loss = lambda x: sliced.sliced_wasserstein(x, y, proj_fn=project)[0]
    np.testing.assert_allclose(swjax.sw2_sq(x, y, theta), loss(x), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(swjax.sw2_sq)(x, y, theta), jax.grad(loss)(x), rtol=1e-10)
    weighted = sliced.sliced_wasserstein(x, y, a, b, proj_fn=project)
    np.testing.assert_allclose(swjax.sw2_sq(x, y, theta, a, b), weighted[0], rtol=1e-10)


def test_on_the_line_one_direction_is_the_whole_distance(x64):
    x, y, _ = problem(30, 20, 1, 1)
    expected = stats.wasserstein_distance(x[:, 0], y[:, 0])
    np.testing.assert_allclose(swjax.sw_pow(x, y, np.ones((1, 1)), p=1), expected, rtol=1e-12)
    np.testing.assert_allclose(swjax.wp_pow_1d(x[:, 0], y[:, 0], p=1), expected, rtol=1e-12)


def test_a_translation_costs_its_squared_length_over_the_dimension(x64):
    """Exact for equispaced directions of the plane: their mean of theta theta^T is I/2."""
    x, _, _ = problem(50, 50, 2, 1)
    shift = np.array([[3.0, 4.0]])
    theta = swjax.equispaced_directions(8)
    np.testing.assert_allclose(swjax.sw2_sq(x, x + shift, theta), 25 / 2, rtol=1e-12)


def test_does_not_see_the_order_of_points_nor_a_common_motion(x64):
    x, y, theta = problem(33, 33, 3, 8)
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    value = swjax.sw2_sq(x, y, theta)
    moved = [cloud @ rotation.T + 1.5 for cloud in (rng.permutation(x), y)]
    np.testing.assert_allclose(swjax.sw2_sq(*moved, theta @ rotation.T), value, rtol=1e-12)
    np.testing.assert_allclose(swjax.sw2_sq(y, x, theta), value, rtol=1e-14)


def test_weights_that_repeat_points_equal_repeated_points(x64):
    x, y, theta = problem(4, 6, 2, 8)
    counts = np.array([1, 2, 2, 1])
    value = swjax.sw2_sq(x, y, theta, counts / 6)
    np.testing.assert_allclose(value, swjax.sw2_sq(np.repeat(x, counts, axis=0), y, theta), 1e-12)


def test_points_of_weight_zero_count_for_nothing():
    rng = np.random.default_rng(1000)
    x, y, theta = problem(1000, 900, 2, 16, "float32")
    a = np.append(weights(1000), np.zeros(300)).astype(np.float32)
    among = rng.permutation(1300)  # heaps of points without weight, far away, anywhere in the list
    far = np.concatenate([x, np.full((300, 2), 1e4, np.float32)])[among]
    losses = lambda x, a: swjax.sw2_sq(x, y, theta, a)
    value, (slope, _) = jax.value_and_grad(losses, argnums=(0, 1))(far, a[among])
    np.testing.assert_allclose(value, reference(x, y, theta, a[:1000]), rtol=1e-4)
    np.testing.assert_array_equal(slope[a[among] == 0], 0)


def test_the_product_of_the_sizes_may_exceed_an_int32():
    x, y = np.zeros((2**16, 1), np.float32), np.ones((2**15 + 1, 1), np.float32)
    np.testing.assert_allclose(swjax.sw2_sq(x, y, np.ones((1, 1), np.float32)), 1, rtol=1e-6)


# --- transformations ------------------------------------------------------------------------------


def test_every_transformation_gives_the_same_value_and_gradient():
    x, y, theta = problem(32, 32, 3, 1, "float32")
    plain = jax.value_and_grad(swjax.sw2_sq)
    value, gradient = plain(x, y, theta)
    batch = jnp.stack([x + 0.1 * i for i in range(32)])
    for transformed in (
        jax.jit(plain),
        lambda *args: jax.value_and_grad(jax.checkpoint(swjax.sw2_sq))(*args),
        lambda x, y, t: jax.lax.scan(lambda c, _: (c, plain(x, y, t)), 0, length=1)[1],
    ):
        found = jax.tree.map(jnp.squeeze, transformed(x, y, theta))
        np.testing.assert_allclose(found[0], value, rtol=1e-6)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-5, atol=1e-7)
    values, gradients = jax.vmap(plain, in_axes=(0, None, None))(batch, y, theta)
    for i in (0, 7, 31):
        expected = plain(batch[i], y, theta)
        np.testing.assert_allclose(values[i], expected[0], rtol=1e-6)
        np.testing.assert_allclose(gradients[i], expected[1], rtol=1e-5, atol=1e-6)


def test_vmap_reaches_weights_and_directions():
    x, y, theta = problem(10, 10, 2, 4, "float32")
    a = jnp.stack([jnp.asarray(weights(10, seed), float) for seed in range(3)])
    values = jax.vmap(lambda a, t: swjax.sw2_sq(x, y, t[None], a))(a, theta[:3])
    expected = [swjax.sw2_sq(x, y, theta[i][None], a[i]) for i in range(3)]
    np.testing.assert_allclose(values, jnp.stack(expected), rtol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 16])
@pytest.mark.parametrize("weighted", [False, True])
def test_devices_may_share_a_batch_by_shard_map(weighted, chunk_size):
    x, y, theta = problem(40, 40, 2, 32, "float32")
    a = weights(40).astype(np.float32) if weighted else None
    loss = jax.value_and_grad(lambda x: swjax.sw2_sq(x, y, theta, a, chunk_size=chunk_size))
    mesh = jax.make_mesh((1,), ("clouds",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("clouds")
    batch = lambda clouds: jax.lax.map(loss, clouds)
    shared = jax.jit(jax.shard_map(batch, mesh=mesh, in_specs=spec, out_specs=spec))
    for found, expected in zip(shared(x[None]), loss(x), strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-9)


def test_double_precision_inside_leaves_single_precision_outside():
    x, y, theta = problem(32, 32, 3, 8, "float32")
    with jax.enable_x64(False):
        value, gradient = jax.jit(jax.value_and_grad(swjax.sw2_sq))(x, y, theta)
        assert value.dtype == gradient.dtype == jnp.float32
        assert (jnp.ones(()) + value).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_single_precision(dtype):
    x, y, theta = (jnp.asarray(v, dtype) for v in problem(200, 200, 3, 8))
    single = [v.astype(jnp.float32) for v in (x, y, theta)]
    value, gradient = jax.value_and_grad(swjax.sw2_sq)(x, y, theta)
    assert value.dtype == jnp.float32
    assert gradient.dtype == dtype
    np.testing.assert_allclose(value, swjax.sw2_sq(*single[:2], theta), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_change_nothing_but_rounding(weighted, x64):
    x, y, theta = problem(30, 20 if weighted else 30, 3, 37)
    a = weights(30) if weighted else None
    whole = jax.value_and_grad(functools.partial(swjax.sw2_sq, chunk_size=37))(x, y, theta, a)
    for size in (1, 5, 16, 36):
        parts = jax.value_and_grad(functools.partial(swjax.sw2_sq, chunk_size=size))(x, y, theta, a)
        np.testing.assert_allclose(parts[0], whole[0], rtol=1e-13)
        np.testing.assert_allclose(parts[1], whole[1], rtol=1e-10, atol=1e-14)


def test_a_hundred_thousand_points_and_a_thousand_directions_need_under_300_mb():
    cloud = jax.ShapeDtypeStruct((100_000, 3), jnp.float32)
    theta = jax.ShapeDtypeStruct((1000, 3), jnp.float32)
    compiled = jax.jit(jax.value_and_grad(swjax.sw2_sq)).lower(cloud, cloud, theta).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 300e6


@pytest.mark.slow
def test_a_million_points_and_a_hundred_directions_run_in_a_gigabyte():
    x = jax.random.normal(jax.random.key(0), (1_000_000, 3))
    shift = jnp.array([[0.5, -1.0, 0.25]])
    theta = swjax.sample_directions(jax.random.key(1), 100, 3)
    compiled = jax.jit(jax.value_and_grad(swjax.sw2_sq)).lower(x, x, theta).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1e9
    value, gradient = compiled(x, x + shift, theta)
    along = theta @ shift[0]
    np.testing.assert_allclose(value, jnp.mean(along**2), rtol=1e-4)
    expected = -2e-6 * jnp.mean(along[:, None] * theta, axis=0)
    np.testing.assert_allclose(jnp.mean(gradient, axis=0), expected, rtol=1e-4)


def test_compiles_once_for_one_shape():
    x, y, theta = problem(11, 11, 2, 3, "float32")
    traces = []

    @jax.jit
    def loss(x, y, theta):
        traces.append(1)
        return swjax.sw2_sq(x, y, theta)

    for i in range(3):
        loss(x + i, y, theta)
    assert len(traces) == 1


def test_cpu_sorts_integers_without_a_payload():
    """The fast ways of XLA: a value alone, and the gradient, never sort floats or pairs."""
    x, y, theta = problem(64, 64, 2, 4, "float32")
    for function in (swjax.sw2_sq, jax.grad(swjax.sw2_sq)):
        text = jax.jit(function).lower(x, y, theta).compile().as_text()
        for line in text.splitlines():
            if " sort(" in line:
                result = line.split("=")[1].strip()
                assert result.startswith(("s32[", "s64[")), line


def test_a_value_alone_computes_no_permutation():
    """No row is packed into the keys, so none has 64 bits, unless a gradient is asked for."""
    clouds = [jax.ShapeDtypeStruct((64, 2), jnp.float32)] * 2
    theta = jax.ShapeDtypeStruct((16, 2), jnp.float32)
    lowered = lambda loss: jax.jit(loss).lower(*clouds, theta).as_text()
    assert "x16xi64>" not in lowered(lambda *given: swjax.sw2_sq(*given))
    assert "x16xi64>" in lowered(jax.grad(swjax.sw2_sq))


# --- values that need care ------------------------------------------------------------------------


def test_a_nan_direction_spoils_its_own_entry_only():
    x, y, theta = problem(8, 8, 2, 4, "float32")
    theta[1] = np.nan
    values = jax.jit(swjax.sw2_sq_per_direction)(x, y, theta)
    assert np.isnan(values).tolist() == [False, True, False, False]


def test_a_nan_point_makes_the_loss_nan():
    x, y, theta = problem(8, 8, 2, 4, "float32")
    x[3, 0] = np.nan
    assert np.isnan(swjax.sw2_sq(x, y, theta))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_of_both_signs_subnormals_and_infinities_are_in_order(dtype, x64):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, tiny, -tiny, 1.0, -np.inf, np.inf, -3.0], dtype)
    for lanes in (1, 16):  # by comparison, and by the network
        columns = np.repeat(x[:, None], lanes, axis=1)
        from swjax.sorting import argsort, sort

        np.testing.assert_array_equal(sort(jnp.asarray(columns)), np.sort(columns, axis=0))
        order = np.argsort(columns, axis=0, kind="stable")
        np.testing.assert_array_equal(argsort(jnp.asarray(columns)), order)


@pytest.mark.slow
def test_common_offsets_and_extreme_scales_do_what_the_module_says():
    x, y, theta = problem(60, 40, 3, 16, "float32")
    exact = reference(x, y, theta)
    shifted = [np.float32(1e6) + cloud for cloud in (x, y)]
    kept = [cloud - np.float32(1e6) for cloud in shifted]  # what rounding has left of them
    assert 1e-5 < abs(swjax.sw2_sq(*shifted, theta) / reference(*shifted, theta) - 1) < 0.1
    np.testing.assert_allclose(swjax.sw2_sq(*kept, theta), reference(*kept, theta), rtol=1e-5)
    root = lambda scale: swjax.sw_distance(*(np.float32(scale) * v for v in (x, y)), theta)
    for scale in (1e-16, 1e16):
        np.testing.assert_allclose(root(scale), scale * exact**0.5, rtol=1e-5)
    assert root(1e-22) == 0
    assert not np.isfinite(root(1e20))
    assert swjax.sw_pow(-0.0 * x, 0.0 * x, theta, p=1) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_infinite_or_nan_coordinate_leaves_no_number(value):
    x, y, theta = problem(8, 5, 2, 4, "float32")
    x[3, 0] = value
    for other, a in ((y, None), (x, None), (y, np.full(8, 1 / 8, np.float32))):
        assert not np.isfinite(swjax.sw2_sq(x, other, theta, a))


def test_duplicates_and_all_equal_clouds_have_finite_gradients():
    theta = swjax.equispaced_directions(8)
    x = jnp.ones((6, 2))
    y = jnp.zeros((6, 2))
    np.testing.assert_allclose(swjax.sw2_sq(x, y, theta), 1.0, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(swjax.sw2_sq)(x, y, theta), np.full((6, 2), 1 / 6), 1e-5)


# --- input that is refused ------------------------------------------------------------------------

UNIT = np.array([[1.0, 0.0]], np.float32)
CLOUD = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("error", "words", "arguments", "options"),
    [
        (ValueError, "dimensions of space", (np.zeros((4, 3), np.float32), CLOUD, UNIT), {}),
        (ValueError, "One point is a cloud", (CLOUD[0], CLOUD, UNIT), {}),
        (ValueError, "must not be empty", (CLOUD, CLOUD, UNIT[:0]), {}),
        (ValueError, "must not be empty", (CLOUD[:0], CLOUD, UNIT), {}),
        (ValueError, "length", (CLOUD, CLOUD, 2 * UNIT), {}),
        (ValueError, "Directions are rows", (np.zeros((4, 3), np.float32),) * 2 + (UNIT.T,), {}),
        (TypeError, "floating", (CLOUD.astype(int), CLOUD, UNIT), {}),
        (ValueError, "sum", (CLOUD, CLOUD, UNIT, np.full(4, 0.5, np.float32)), {}),
        (ValueError, "must be >= 0", (CLOUD, CLOUD, UNIT, np.array([2, -1, 0, 0], np.float32)), {}),
        (ValueError, "shape", (CLOUD, CLOUD, UNIT, np.full(3, 1 / 3, np.float32)), {}),
        (ValueError, "chunk_size", (CLOUD, CLOUD, UNIT), {"chunk_size": 0}),
    ],
)
def test_bad_input_is_refused_with_the_reason(error, words, arguments, options):
    with pytest.raises(error, match=words):
        swjax.sw2_sq(*arguments, **options)


@pytest.mark.parametrize("p", [0.5, 0, -1, np.nan, np.inf, "2"])
def test_orders_below_one_are_refused(p):
    with pytest.raises((ValueError, TypeError), match="p"):
        swjax.sw_pow(CLOUD, CLOUD, UNIT, p=p)


def test_the_program_does_not_grow_with_the_number_of_chunks(monkeypatch):
    monkeypatch.setattr(slicing, "default_chunk_size", lambda points: 16)
    x, y, theta = problem(5, 5, 2, 640, "float32")

    def size(num):
        jax.clear_caches()
        program = jax.make_jaxpr(swjax.sw2_sq_per_direction)(x, y, theta[:num])
        return str(program).count("\n")

    assert size(640) == size(48)
    found = swjax.sw2_sq_per_direction(x, y, theta[:50])
    monkeypatch.undo()
    jax.clear_caches()
    np.testing.assert_allclose(found, swjax.sw2_sq_per_direction(x, y, theta[:50]), rtol=1e-5)
