"""Path integrals: zero for AD oracles on any curve, not for arbitrary selections at kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax.nonsmooth import counterexamples
from swjax.nonsmooth.paths import integrate

CIRCLE = lambda s: jnp.stack([jnp.cos(2 * jnp.pi * s), jnp.sin(2 * jnp.pi * s)])


def sliced_loss(target, directions):
    """SW2^2 over given directions of free points against a fixed cloud, by jnp.sort."""

    def loss(points):
        gap = jnp.sort(directions @ points.T, axis=1) - jnp.sort(directions @ target.T, axis=1)
        return (gap**2).mean()

    return loss


def relu_network(params, x):
    hidden = jax.nn.relu(params["w"] @ x + params["b"][:, None])
    return jnp.mean((params["v"] @ jax.nn.relu(hidden) - x.sum(0)) ** 2)


def network_params(key, width=6):
    w, b, v = jax.random.split(key, 3)
    return {
        "w": jax.random.normal(w, (width, 2)),
        "b": jax.random.normal(b, (width,)),
        "v": jax.random.normal(v, (width,)),
    }


def losses_and_centers():
    key = jax.random.key(1)
    x = jax.random.normal(key, (2, 20))
    target = jax.random.normal(key, (5, 2))
    directions = swjax.sample_directions(key, 8, 2)
    weights = jnp.arange(6.0)
    return {
        "abs": (lambda u: jnp.abs(u).sum() + u[0] * u[1], jnp.zeros(3)),
        "max": (lambda u: jnp.max(u) + jnp.maximum(u[0], u[1] ** 2), jnp.zeros(4)),
        "sort": (lambda u: jnp.vdot(weights, jnp.sort(u)), jnp.zeros(6)),
        "network": (lambda p: relu_network(p, x), network_params(key)),
        "sliced": (sliced_loss(target, directions), jnp.zeros((5, 2))),
        "library": (lambda p: swjax.sw2_sq(p, target, directions), jnp.zeros((5, 2))),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["abs", "max", "sort", "network", "sliced", "library"])
def test_ad_is_conservative_on_random_polygons_with_order_one(x64, name):
    loss, center = losses_and_centers()[name]
    path = swjax.sample_polygon(jax.random.key(2), center, 65, radius=3.0)
    report = swjax.check_conservative(loss, jax.grad(loss), path)
    assert report.verdict == "conservative"
    assert report.order <= -0.8
    assert report.order_low <= report.order <= report.order_high
    assert abs(report.worst_residual) <= report.worst_bound


def test_smooth_losses_reach_order_two(x64):
    loss = lambda u: jnp.sum(jnp.cos(u)) + jnp.prod(u)
    path = swjax.sample_polygon(jax.random.key(0), jnp.zeros(3), 17)
    report = swjax.check_conservative(loss, jax.grad(loss), path)
    assert report.verdict == "conservative"
    assert report.order == pytest.approx(-2, abs=0.01)


@pytest.mark.slow
def test_a_conservative_oracle_in_single_precision_stops_at_rounding_and_is_not_blamed():
    loss, center = losses_and_centers()["network"]
    path = swjax.sample_polygon(jax.random.key(2), center, 33)
    report = swjax.check_conservative(loss, jax.grad(loss), path, num_nodes=(256, 1024, 4096))
    assert report.verdict == "conservative"


def together(s):
    """Points 1 and 2 of five move together along a parabola; the others stay."""
    common = jnp.stack([2 * s - 1, (2 * s - 1) ** 2 - 0.3])
    rest = jnp.array([[0.7, -1.0], [-0.4, 0.9], [1.3, 0.2]])
    return jnp.concatenate([jnp.stack([common, common]), rest])


def zero_at_ties(loss):
    """The gradient, with the rows of points that coincide with another set to zero."""

    def oracle(points):
        same = (points[:, None] == points[None]).all(-1) & ~jnp.eye(len(points), dtype=bool)
        return jnp.where(same.any(1)[:, None], 0.0, jax.grad(loss)(points))

    return oracle


@pytest.mark.parametrize("name", ["sliced", "library"])
def test_two_points_moving_together_see_the_true_increment(x64, name):
    loss, _ = losses_and_centers()[name]
    report = swjax.check_conservative(loss, jax.grad(loss), together)
    assert report.verdict == "conservative"
    assert report.order <= -0.8
    fine = swjax.path_integral_residual(loss, jax.grad(loss), together, num_nodes=2048)
    assert abs(float(fine.increment)) > 0.1
    assert abs(float(fine.residual)) <= float(2 * fine.segment_bounds.sum())
    assert abs(float(fine.residual)) <= 1e-4


def test_a_pair_that_moves_together_meets_no_other_kink_and_integrates_to_eight_digits(x64):
    target = jnp.array([[1.0, 0.5], [-0.3, 2.0]])
    loss = sliced_loss(target, swjax.equispaced_directions(16))
    pair = lambda s: together(s)[:2]
    out = swjax.path_integral_residual(loss, jax.grad(loss), pair, num_nodes=1024)
    assert abs(float(out.increment)) > 0.1
    assert abs(float(out.residual)) <= 2e-8


@pytest.mark.slow
def test_zero_at_ties_misses_the_motion_of_two_points_together(x64):
    loss, _ = losses_and_centers()["sliced"]
    oracle = zero_at_ties(loss)
    report = swjax.check_conservative(loss, oracle, together)
    assert report.verdict == "not conservative"
    assert report.order == pytest.approx(0, abs=0.05)
    out = swjax.path_integral_residual(loss, oracle, together)
    assert float(out.integral) == 0.0
    assert float(out.residual) == float(out.increment)
    # On curves that cross the ties nothing shows: the kink set is met at isolated instants.
    path = swjax.sample_polygon(jax.random.key(3), jnp.zeros((5, 2)), 33)
    assert swjax.check_conservative(loss, oracle, path).verdict == "conservative"


def test_the_stable_order_of_a_sort_is_conservative_and_its_reverse_too(x64):
    weights = jnp.array([1.0, -2.0, 0.5])
    loss = lambda u: jnp.vdot(weights, jnp.sort(u))
    reverse = lambda u: jax.grad(loss)(u[::-1])[::-1]
    inside = jnp.array([[0.0, 0.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 3.0, 3.0]])
    for oracle in (jax.grad(loss), reverse):
        assert swjax.check_conservative(loss, oracle, inside).verdict == "conservative"


def test_zero_where_the_generator_has_a_kink_is_not_conservative(x64):
    # T(u, x) = relu(u_1) + u_2 with dT/du := 0 at u_1 = 0, along g(s) = (0, s).
    loss = lambda u: jax.nn.relu(u[0]) + u[1]
    oracle = lambda u: jnp.where(u[0] == 0, 0.0, jax.grad(loss)(u))
    inside = jnp.array([[0.0, 0.0], [0.0, 1.0]])
    report = swjax.check_conservative(loss, oracle, inside)
    assert report.verdict == "not conservative"
    assert report.worst_residual == 1.0
    assert "not conservative" in str(report)
    assert swjax.check_conservative(loss, jax.grad(loss), inside).verdict == "conservative"


def test_a_constant_value_at_an_isolated_kink_is_conservative_whatever_it_is(x64):
    loss = lambda t: jnp.abs(t)
    oracle = lambda t: jnp.where(t == 0, 17.0, jnp.sign(t))
    path = jnp.array([-1.0, 0.0, 0.0, 1.0, -2.0])
    assert swjax.check_conservative(loss, oracle, path).verdict == "conservative"


def test_the_worst_segment_is_named(x64):
    loss = lambda u: u[0] ** 2 + u[1]
    wrong = lambda u: jax.grad(loss)(u) + jnp.where(u[0] > 2, jnp.array([0.0, 1e-3]), 0.0)
    path = jnp.array([[0.0, 0.0], [1.0, 1.0], [3.0, 0.0], [3.0, 2.0], [0.0, 2.0]])
    report = swjax.check_conservative(loss, wrong, path)
    assert report.verdict == "not conservative"
    assert report.worst_segment == 2
    np.testing.assert_allclose(report.worst_start, [3, 0])
    np.testing.assert_allclose(report.worst_end, [3, 2])
    assert report.worst_residual == pytest.approx(-2e-3)


def test_an_oracle_that_returns_nan_is_not_conservative(x64):
    path = jnp.array([[-1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    report = swjax.check_conservative(jnp.linalg.norm, jax.grad(jnp.linalg.norm), path[:2])
    assert (
        report.verdict == "conservative"
    )  # NaN only at the end point, where nothing is integrated
    loss = lambda u: jnp.sqrt(u[0] ** 2) + u[1]
    assert swjax.check_conservative(loss, jax.grad(loss), path[1:]).verdict == "not conservative"


@pytest.mark.slow
def test_the_residual_stays_below_the_variation_bound_at_every_resolution(x64):
    key = jax.random.key(5)
    weights, centers = jax.random.normal(key, (2, 30))
    loss = lambda t: jnp.vdot(weights, jnp.abs(t - centers))
    path = jnp.array([-3.0, 3.0])
    residual = jax.jit(
        lambda n: swjax.path_integral_residual(loss, jax.grad(loss), path, num_nodes=n),
        static_argnums=0,
    )
    for num_nodes in (50, 111, 200, 500, 1000):
        out = residual(num_nodes)
        assert abs(float(out.residual)) <= float(out.segment_bounds[0])


def test_midpoint_rule_bound_equals_the_worst_case_of_one_jump():
    # h jumps by 1 just after the midpoint of a cell: error 1/(2N), the bound.
    speeds = np.array([[0.0, 0, 0, 1, 1, 1]])
    integral, bound, size = integrate(speeds)
    assert (integral[0], bound[0], size[0]) == (0.5, 1 / 8, 0.5)


def test_circulation_of_the_lp_cycle_is_minus_207(x64):
    cycle = counterexamples.lp_cycle()
    assert cycle.period == pytest.approx(1.229582, abs=5e-7)
    np.testing.assert_allclose(cycle.up_crossing, (0.678764, 0.036291), atol=5e-7)
    np.testing.assert_allclose(cycle.down_crossing, (2.321236, 4.963709), atol=5e-7)
    assert cycle.circulation == pytest.approx(-207.0, abs=0.05)
    oracle = jax.grad(counterexamples.lp_objective)
    around = swjax.circulation(oracle, cycle.curve, num_segments=32)
    assert float(around) == pytest.approx(cycle.circulation, rel=1e-5)
    ends = jax.vmap(cycle.curve)(jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(
        ends, [cycle.up_crossing, cycle.down_crossing, cycle.up_crossing], atol=1e-12
    )


def test_gradient_descent_with_small_steps_follows_the_lp_cycle(x64):
    # Explicit Euler of step 1e-4 is 1e-3 away from the flow at most over a few rounds (measured
    # 3e-4); the field pushes at up to 40 a unit of time, so crossings are located to 1e-2.
    step_size, num_steps = 1e-4, 60_000
    cycle = counterexamples.lp_cycle()
    gradient = jax.grad(counterexamples.lp_objective)

    @jax.jit
    @jax.vmap
    def descend(start):
        step = lambda p, _: (p - step_size * gradient(p), p)
        return jax.lax.scan(step, start, None, length=num_steps)[1]

    for path in np.asarray(descend(jnp.array([[0.0, 0.5], [4.0, -3.0], [1.2, 2.1]]))):
        margin = -3 * path[:, 0] + path[:, 1] + 2
        up = np.flatnonzero((margin[:-1] <= 0) & (margin[1:] > 0))
        down = np.flatnonzero((margin[:-1] > 0) & (margin[1:] <= 0))
        assert np.diff(up[-3:]) * step_size == pytest.approx(cycle.period, abs=1e-3)
        np.testing.assert_allclose(path[up[-1]], cycle.up_crossing, atol=5e-3)
        np.testing.assert_allclose(path[down[-1]], cycle.down_crossing, atol=5e-3)


def test_the_lp_layer_is_not_conservative(x64):
    loss = counterexamples.lp_objective
    path = swjax.sample_polygon(jax.random.key(0), jnp.array([1.5, 2.5]), 9, radius=3.0)
    assert swjax.check_conservative(loss, jax.grad(loss), path).verdict == "not conservative"


def test_ascent_on_a_zero_function_is_the_lorenz_system(x64):
    step_size = 1e-3
    ascend = lambda p, _: (p + step_size * jax.grad(counterexamples.lorenz_zero)(p), None)
    start = jnp.array([1.0, 1.0, 1.0])
    end = jax.jit(lambda p: jax.lax.scan(ascend, p, None, length=3000)[0])(start)
    x, y, z = 1.0, 1.0, 1.0
    for _ in range(3000):
        x, y, z = (
            x + step_size * 10 * (y - x),
            y + step_size * (x * (28 - z) - y),
            z + step_size * (x * y - 8 * z / 3),
        )
    # Rounding grows like e^(0.9 t) over three units of time: far below the tolerance.
    np.testing.assert_allclose(end, [x, y, z], rtol=1e-9)
    assert float(counterexamples.lorenz_zero(end)) == 0
    path = swjax.sample_polygon(jax.random.key(0), start, 9)
    zero = counterexamples.lorenz_zero
    assert swjax.check_conservative(zero, jax.grad(zero), path).verdict == "not conservative"


def test_circulation_of_a_rotation_is_twice_the_area(x64):
    rotate = lambda u: jnp.stack([-u[1], u[0]])
    assert float(swjax.circulation(rotate, CIRCLE)) == pytest.approx(2 * np.pi, rel=1e-6)
    triangle = jnp.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    assert float(swjax.circulation(rotate, triangle)) == pytest.approx(6.0)
    closed = jnp.concatenate([triangle, triangle[:1]])
    assert float(swjax.circulation(rotate, closed)) == pytest.approx(6.0)
    assert float(swjax.circulation(jax.grad(jnp.linalg.norm), triangle + 1)) == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.slow
def test_runs_under_jit_and_vmap_with_pytrees(x64):
    loss, center = losses_and_centers()["network"]
    keys = jax.random.split(jax.random.key(0), 3)
    sample = jax.vmap(lambda key: swjax.sample_polygon(key, center, 5))
    paths = sample(keys)
    assert paths["w"].shape == (3, 5, 6, 2)
    residual = lambda path: swjax.path_integral_residual(loss, jax.grad(loss), path, num_nodes=64)
    batched = jax.jit(jax.vmap(residual))(paths)
    assert batched.segment_residuals.shape == (3, 4)
    one = residual(jax.tree.map(lambda v: v[1], paths))
    np.testing.assert_allclose(batched.residual[1], one.residual, atol=1e-12)
    np.testing.assert_allclose(batched.residual, batched.increment - batched.integral, atol=1e-12)


@pytest.mark.slow
def test_chunks_do_not_change_the_result(x64):
    loss, center = losses_and_centers()["sliced"]
    path = swjax.sample_polygon(jax.random.key(1), center, 4)
    whole, small = (
        swjax.path_integral_residual(loss, jax.grad(loss), path, chunk_size=c) for c in (None, 7)
    )
    np.testing.assert_allclose(whole.segment_residuals, small.segment_residuals, atol=1e-13)


def test_vertices_of_a_polygon_lie_in_the_ball():
    path = swjax.sample_polygon(jax.random.key(0), jnp.ones((2, 2)), 1000, radius=0.5)
    distance = np.sqrt(((np.asarray(path) - 1) ** 2).sum((1, 2)))
    assert distance.max() <= 0.5 * (1 + 1e-5)
    # Uniform in dimension 4: P(distance <= 0.25) = 1/16, standard error 0.0077.
    assert abs((distance <= 0.25).mean() - 1 / 16) < 5 * 0.0077


def test_wrong_input_is_refused_with_the_reason():
    loss, grad = jnp.sum, jax.grad(jnp.sum)
    ok = jnp.zeros((3, 2))
    with pytest.raises(ValueError, match="at least two vertices"):
        swjax.path_integral_residual(loss, grad, jnp.zeros((1, 2)))
    with pytest.raises(TypeError, match="floating-point"):
        swjax.path_integral_residual(loss, grad, jnp.zeros((3, 2), int))
    with pytest.raises(ValueError, match="must return a scalar"):
        swjax.path_integral_residual(lambda u: u, grad, ok)
    with pytest.raises(ValueError, match="parameters' shapes"):
        swjax.path_integral_residual(loss, lambda u: u[:1], ok)
    with pytest.raises(ValueError, match="pytree like the parameters"):
        swjax.path_integral_residual(loss, lambda u: (u, u), ok)
    with pytest.raises(ValueError, match="num_nodes must be at least 1"):
        swjax.path_integral_residual(loss, grad, ok, num_nodes=0)
    with pytest.raises(ValueError, match="num_segments"):
        swjax.path_integral_residual(loss, grad, CIRCLE, num_segments=0)
    with pytest.raises(ValueError, match="does not close"):
        swjax.circulation(grad, lambda s: jnp.stack([s, s]))
    with pytest.raises(ValueError, match="increasing"):
        swjax.check_conservative(loss, grad, ok, num_nodes=(64, 32, 16))
    with pytest.raises(ValueError, match="at least two vertices"):
        swjax.sample_polygon(jax.random.key(0), jnp.zeros(2), 1)
    with pytest.raises(TypeError, match="floating-point"):
        swjax.sample_polygon(jax.random.key(0), jnp.zeros(2, int), 3)
