"""The reference gradient flow: closed forms, orders, its error estimate, the ball, the energy."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swjax import measures
from swjax.directions import equispaced_directions
from swjax.flows import energy_residual, gradient_flow
from swjax.losses import SlicedLoss
from swjax.population import PopulationLoss
from swjax.problems import AttractingKink, BallConstraint, TranslationProblem

TIMES = [0.0, 0.3, 1.0, 2.0]


def quartic(u):
    return jnp.sum(u**4) / 4 + jnp.prod(u)


def exact_quartic(start):
    """Diffrax's adaptive eighth-order solution."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, u, args: -jax.grad(quartic)(u)),
        diffrax.Dopri8(),
        t0=0.0,
        t1=TIMES[-1],
        dt0=0.01,
        y0=start,
        saveat=diffrax.SaveAt(ts=jnp.array(TIMES)),
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-13),
    )
    return solution.ys


@pytest.mark.parametrize(
    ("method", "order"),
    [
        ("rk4", 4),
        *(
            pytest.param(*rest, marks=pytest.mark.slow)
            for rest in (("euler", 1), ("midpoint", 2), ("heun", 2))
        ),
    ],
)
def test_methods_have_their_order_and_the_estimate_covers_the_error(x64, method, order):
    start = jnp.array([1.5, -0.7])
    exact = exact_quartic(start)
    errors = []
    for num_steps in (40, 80, 160):
        flow = gradient_flow(quartic, start, TIMES, num_steps=num_steps, method=method)
        distances = jnp.linalg.norm(flow.path - exact, axis=1)
        assert jnp.all(distances <= 1.2 * flow.errors / (2**order - 1) + 1e-12)
        errors.append(float(jnp.max(distances)))
    slopes = -np.diff(np.log2(errors))
    assert np.all(np.abs(slopes - order) < 0.25)


def test_a_translation_decays_exponentially(x64):
    rng = np.random.default_rng(0)
    shift = jnp.array([1.0, -2.0])
    cloud = measures.Discrete(jnp.asarray(rng.normal(size=(9, 2))))
    loss = SlicedLoss(
        lambda u, x: x + u[None],
        cloud,
        measures.translate(cloud, shift),
        batch_size=4,
        directions=equispaced_directions(3),  # with mean(theta theta^T) = I/2, as all directions
    )
    flow = gradient_flow(loss, jnp.array([3.0, 1.0]), TIMES, num_steps=64)
    decay = jnp.exp(-jnp.array(TIMES))[:, None]  # 2/d = 1
    exact = shift[None] + decay * jnp.array([[2.0, 3.0]])
    assert flow.error < 1e-6
    np.testing.assert_allclose(flow.path, exact, atol=float(flow.error))
    assert jnp.max(jnp.abs(energy_residual(loss, flow))) < 1e-6


@pytest.mark.parametrize("start", [0.8, -0.03])
def test_two_points_scaled_approach_a_quarter(x64, start):
    two = measures.Discrete(jnp.array([[-0.5], [0.5]]))
    loss = SlicedLoss(lambda u, x: u * x, two, two, batch_size=2)
    flow = gradient_flow(loss, jnp.asarray(start), TIMES, num_steps=100)
    exact = np.sign(start) * (0.25 + (abs(start) - 0.25) * np.exp(-np.array(TIMES) / 2))
    np.testing.assert_allclose(flow.path, exact, atol=1e-9)
    assert jnp.max(jnp.abs(energy_residual(loss, flow))) < 1e-9


def test_isotropic_gaussians_approach_each_other(x64):
    def loss(u):  # SW_2^2 between N(m, s^2 I) and N(0, I) in dimension 3
        return u["mean"] @ u["mean"] / 3 + (u["std"] - 1) ** 2

    start = {"mean": jnp.array([1.0, 0.0, -1.0]), "std": jnp.asarray(2.5)}
    flow = gradient_flow(loss, start, TIMES, num_steps=100)
    s = np.array(TIMES)
    np.testing.assert_allclose(flow.path["std"], 1 + 1.5 * np.exp(-2 * s), atol=1e-7)
    decay = jnp.exp(-2 / 3 * s)[:, None]
    np.testing.assert_allclose(flow.path["mean"], decay * start["mean"][None], atol=1e-7)


@pytest.mark.slow
def test_the_energy_identity_holds_for_a_network(x64):
    rng = np.random.default_rng(1)
    x, y = (measures.Discrete(jnp.asarray(rng.normal(size=(n, 2)))) for n in (10, 12))

    def network(u, x):
        return jax.nn.tanh(x @ u["a"]) @ u["b"]

    loss = PopulationLoss(SlicedLoss(network, x, y, batch_size=6))
    start = {"a": jnp.asarray(rng.normal(size=(2, 4))), "b": jnp.asarray(rng.normal(size=(4, 2)))}
    flow = gradient_flow(loss, start, [0.0, 1.0, 2.0], num_steps=100)
    assert flow.path["a"].shape == (3, 2, 4)
    assert jnp.max(jnp.abs(energy_residual(loss, flow))) < 1e-5
    assert flow.dissipation[-1] > 0.1


@pytest.mark.parametrize(("start", "radius"), [(0.7, None), (-0.7, None), (0.7, 0.7)])
def test_at_an_attracting_kink_the_flow_stops(x64, start, radius):
    problem, times = AttractingKink(2), np.linspace(0.0, 2.0, 9)
    loss = problem.population_loss
    flow = gradient_flow(loss, jnp.asarray(start), times, num_steps=200, radius=radius)
    np.testing.assert_allclose(flow.path, problem.flow(start, times), atol=1e-6)
    assert flow.error < 1e-5
    assert jnp.max(jnp.abs(energy_residual(loss, flow))) < 1e-4  # the step that meets it is Euler's


def test_along_an_attracting_kink_the_flow_slides(x64):
    # The valley u_1 = 0.3 u_2 of |u_1 - 0.3 u_2| + |u|^2/2 is met and followed: there u' = -u.
    def loss(u):
        return jnp.abs(u[0] - 0.3 * u[1]) + jnp.sum(u**2) / 2

    times = np.array([0.0, 2.0, 3.0])
    errors = []
    for num_steps in (150, 600):
        flow = gradient_flow(loss, jnp.ones(2), times, num_steps=num_steps)
        before, after = flow.path[1], flow.path[2]
        np.testing.assert_allclose(before[0], 0.3 * before[1], atol=6 / num_steps**2)
        errors.append(float(jnp.linalg.norm(after - before * np.exp(-1))))
        assert abs(energy_residual(loss, flow)[-1]) < 1 / num_steps
    assert errors[1] < errors[0] / 3 < 1e-3  # of first order


def test_where_the_gradient_jumps_the_estimate_falls_with_the_step(x64):
    # The slope falls from 3 to 1 at 1/3: the flow crosses, and the step that does is of order one.
    loss = lambda u: jnp.where(u > 1 / 3, 3 * (u - 1 / 3), u - 1 / 3)
    for num_steps in (60, 600):
        flow = gradient_flow(loss, jnp.asarray(1.0), [0.0, 0.5], num_steps=num_steps)
        exact = 1 / 3 - (0.5 - 2 / 9)
        assert abs(flow.path[-1] - exact) < 1 / num_steps
        assert flow.error < 2 / num_steps


def test_in_a_ball_the_flow_slides_along_the_sphere(x64):
    free = TranslationProblem.shifted(measures.ball(2), [2.0, 1.0], batch_size=1)
    problem, initial = BallConstraint(free, radius=1.0), jnp.array([-0.2, 0.6])
    times = np.array([0.0, 0.2, 0.5, 1.0, 3.0])
    exact = problem.flow(initial, times)
    assert np.all(np.linalg.norm(exact[3:], axis=1) > 1 - 1e-12)  # it has met the sphere
    for num_steps, tolerance in ((100, 4e-4), (800, 4e-6)):  # of order two there
        flow = gradient_flow(free.excess_loss, initial, times, num_steps=num_steps, radius=1.0)
        assert jnp.all(jnp.linalg.norm(flow.path, axis=1) <= 1 + 1e-12)
        np.testing.assert_allclose(flow.path, exact, atol=tolerance)
    assert abs(energy_residual(free.excess_loss, flow)[-1]) < 0.005


@pytest.mark.parametrize(("method", "num_steps"), [("rk4", 512), ("heun", 512), ("euler", 800)])
def test_a_ball_does_not_hide_steps_too_long_to_be_stable(x64, method, num_steps):
    loss = lambda u: 25 * u[0] ** 2 + u[1] ** 2 / 2  # the flow ends at 0
    start, times = jnp.array([0.1, 0.2]), [0.0, 20.0, 40.0]
    settings = {"radius": 1.0, "method": method}
    flow = gradient_flow(loss, start, times, num_steps=num_steps, **settings)
    assert float(jnp.linalg.norm(flow.path[-1])) == pytest.approx(1.0)
    assert float(flow.errors[-1]) > 1
    fine = gradient_flow(loss, start, times, num_steps=4000, **settings)
    assert float(jnp.linalg.norm(fine.path[-1])) < 1e-9
    assert float(fine.errors[-1]) < 1e-9


def test_the_estimate_is_infinite_where_the_comparison_explodes(x64):
    flow = gradient_flow(
        lambda u: 25 * jnp.sum(u**2), jnp.ones(1), [0.0, 40.0, 80.0], num_steps=2000
    )
    assert float(jnp.abs(flow.path[-1])[0]) < 1e-9
    assert np.asarray(flow.errors[1:]).tolist() == [np.inf, np.inf]


def test_a_flow_that_starts_on_the_sphere_may_leave_it(x64):
    loss = lambda u: jnp.sum((u - 0.25) ** 2)
    start = jnp.array([1.0, 0.0])
    flow = gradient_flow(loss, start, [0.0, 1.0, 8.0], radius=1.0, num_steps=200)
    free = gradient_flow(loss, start, [0.0, 1.0, 8.0], num_steps=200)
    np.testing.assert_allclose(flow.path, free.path, atol=1e-12)


def test_a_given_gradient_is_followed(x64):
    flow = gradient_flow(None, jnp.ones(2), TIMES, gradient=lambda u: 3 * u, num_steps=100)
    exact = np.exp(-3 * np.array(TIMES))[:, None] * np.ones((1, 2))
    np.testing.assert_allclose(flow.path, exact, atol=1e-6)


def test_many_starts_are_solved_together_with_one_compilation():
    traces = []

    def loss(u):
        traces.append(None)
        return jnp.sum(u**2)

    starts = jnp.arange(6.0).reshape(3, 2)
    together = jax.vmap(lambda u: gradient_flow(loss, u, TIMES, num_steps=32, radius=6.0))(starts)
    count = len(traces)
    again = jax.vmap(lambda u: gradient_flow(loss, u, TIMES, num_steps=64, radius=7.0))(starts)
    assert len(traces) == count
    single = gradient_flow(loss, starts[1], TIMES, num_steps=32)
    np.testing.assert_allclose(together.path[1], single.path, rtol=1e-5)
    np.testing.assert_allclose(together.path, again.path, rtol=1e-3)


def square(u):
    return jnp.sum(u**2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"times": [0.1, 1.0]}, ValueError, "the first of them 0"),
        ({"times": [0.0, 1.0, 1.0]}, ValueError, "increasing"),
        ({"times": [0.0]}, ValueError, "at least two"),
        ({"times": [0.0, np.inf]}, ValueError, "finite"),
        ({"num_steps": 3, "max_step": 0.1}, ValueError, "not both"),
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1"),
        ({"max_step": -0.1}, ValueError, "max_step must be positive"),
        ({"method": "rk5"}, ValueError, "euler, midpoint, heun, rk4"),
        ({"radius": 1.0}, ValueError, "outside the ball of radius 1"),
        ({"radius": 0.0}, ValueError, "radius must be positive"),
        ({"params": {"w": jnp.ones(2, int)}}, TypeError, "floating"),
        ({"params": {}}, TypeError, "no arrays"),
        ({"loss": None}, TypeError, "gradient="),
    ],
)
def test_bad_arguments_are_refused(settings, error, message):
    arguments = {"loss": square, "params": jnp.ones(2), "times": [0.0, 1.0]} | settings
    with pytest.raises(error, match=message):
        gradient_flow(
            arguments.pop("loss"), arguments.pop("params"), arguments.pop("times"), **arguments
        )


def test_an_explosion_is_reported_with_its_time():
    with pytest.raises(FloatingPointError, match="infinite or NaN at time 2"):
        gradient_flow(lambda u: -jnp.sum(u**4), jnp.ones(2), [0.0, 0.01, 2.0, 3.0], num_steps=50)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_single_precision(dtype):
    flow = gradient_flow(lambda u: jnp.sum(u**2) / 2, jnp.array([1.0, 2.0], dtype), [0.0, 4.0])
    assert flow.path.dtype == jnp.float32
    np.testing.assert_allclose(flow.path[1], np.exp(-4) * np.array([1, 2]), rtol=1e-5)
    assert 0 < flow.error < 1e-5
