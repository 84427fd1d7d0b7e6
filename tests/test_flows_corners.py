"""Gradient flows at corners, where several kinks attract at once, against flows known exactly."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from swjax import SlicedLoss, measures
from swjax.flows import energy_residual, gradient_flow
from swjax.flows.corners import is_driven_back
from swjax.flows.corners.nearest import shortest_weights


def least_element(vectors):
    """The point of least norm of the hull of the rows, by least squares under constraints."""
    scale = 1e4 * np.abs(vectors).max()  # a point of the hull: weights >= 0 that sum to 1
    matrix = np.vstack([vectors.T, scale * np.ones(len(vectors))])
    weights, _ = nnls(matrix, np.append(np.zeros(vectors.shape[1]), scale))
    return weights @ vectors / weights.sum()


def flow_of_maximum(slopes, offsets, start, times):
    """The exact flow of `max_i (a_i . u + b_i)`, from one change of its pieces to the next."""
    point, now, path, fallen = np.array(start), 0.0, [np.array(start)], [0.0]
    for time in times[1:]:
        total = fallen[-1]
        while now < time:
            values = slopes @ point + offsets
            active = values > values.max() - 1e-9
            velocity = -least_element(slopes[active])
            # An inactive piece catches up with the maximum, which falls by |velocity|^2 per time.
            gain = slopes @ velocity + velocity @ velocity
            gaps = (values.max() - values)[~active & (gain > 1e-9)]
            step = min(time - now, (gaps / gain[~active & (gain > 1e-9)]).min(initial=np.inf))
            point, now = point + step * velocity, now + step
            total += step * velocity @ velocity
        path.append(point)
        fallen.append(total)
    return np.stack(path), np.array(fallen)


def test_kinks_that_cross_at_right_angles_are_met_each_at_its_time(x64):
    # Of |u_0| + 1.3 |u_1| + u_2 / 2 every coordinate goes its own way, and two of them stop.
    slopes, start = np.array([1.0, 1.3, 0.5]), np.array([0.31, 0.4, 1.0])
    times = np.linspace(0, 4, 9)
    loss = lambda u: jnp.abs(u[0]) + 1.3 * jnp.abs(u[1]) + u[2] / 2
    flow = gradient_flow(loss, jnp.asarray(start), times, num_steps=100)
    exact = start - np.outer(times, slopes)
    exact[:, :2] = np.maximum(exact[:, :2], 0)
    np.testing.assert_allclose(flow.path, exact, atol=1e-6)
    np.testing.assert_allclose(flow.dissipation, (start - exact) @ slopes, atol=1e-6)
    assert jnp.max(jnp.abs(energy_residual(loss, flow))) < 1e-6
    assert np.max(np.abs(flow.path - exact)) <= flow.error < 1e-5


def test_a_corner_is_reached_for_good(x64):
    loss = lambda u: jnp.abs(u) @ jnp.array([1.0, 2.0, 3.0])
    start = jnp.array([0.3, -0.5, 0.7])
    flow = gradient_flow(loss, start, [0.0, 1.0, 10.0, 1000.0], num_steps=1000)
    np.testing.assert_allclose(flow.path[1:], 0, atol=1e-4)
    # However long the flow rests there, nothing more is counted.
    np.testing.assert_allclose(flow.dissipation[1:], loss(start), atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_flow_at_rest_is_known_as_well_as_it_came_there(x64, dtype):
    loss = lambda u: jnp.abs(u[0]) + 2 * jnp.abs(u[1]) + jnp.sum(u**2) / 2
    flow = gradient_flow(loss, jnp.array([1.0, -0.5], dtype), [0.0, 0.1, 0.8, 2.0], num_steps=200)
    decay = np.exp(-0.1)  # (1, 0.5) + (1, 2) shrinks until the first coordinate is zero at log 2
    np.testing.assert_allclose(flow.path[1], [2 * decay - 1, 2 - 2.5 * decay], atol=1e-5)
    np.testing.assert_allclose(flow.path[2:], 0, atol=1e-6)
    assert flow.error < 1e-3


def test_oblique_kinks_are_followed_until_they_meet(x64):
    # |u_0| + |u_0 - 2 u_1| with u' = -dF: first one kink, along it to the corner, and rest.
    loss = lambda u: jnp.abs(u[0]) + jnp.abs(u[0] - 2 * u[1]) + jnp.sum(u**2) / 2
    flow = gradient_flow(loss, jnp.array([1.0, 1.2]), np.linspace(0, 3, 7), num_steps=3000)
    np.testing.assert_allclose(flow.path[-1], 0, atol=1e-5)
    assert jnp.max(jnp.abs(energy_residual(loss, flow))) < 2e-3  # sliding is of first order


@pytest.mark.parametrize("seed", range(4))
def test_the_flow_of_a_maximum_is_the_exact_one(x64, seed):
    rng = np.random.default_rng(seed)
    slopes, offsets, start = rng.normal(size=(30, 4)), rng.normal(size=30), 3 * rng.normal(size=4)
    times = np.linspace(0, 6, 13)
    exact, fallen = flow_of_maximum(slopes, offsets, start, times)
    loss = lambda u: jnp.max(jnp.asarray(slopes) @ u + jnp.asarray(offsets))
    distances = []
    for num_steps in (256, 4096):
        flow = gradient_flow(loss, jnp.asarray(start), times, num_steps=num_steps)
        distances.append(np.linalg.norm(flow.path - exact, axis=1).max())
        assert distances[-1] < 5 * flow.error  # the estimate has the size of the error
        np.testing.assert_allclose(flow.dissipation, fallen, atol=10 * float(flow.error) + 1e-6)
    assert distances[1] < max(distances[0] / 4, 1e-5)


def test_points_that_fold_stop_where_all_their_kinks_meet(x64):
    # u -> |u| towards (-1, -1, -1), directions e_1, e_2, e_3: F = sum (|u_i| + 1)^2 / 3. Away from
    # the kinks u_i' = -2 (|u_i| + 1) sign(u_i) / 3.
    origin = measures.Discrete(jnp.zeros((1, 3)))
    target = measures.Discrete(-jnp.ones((1, 3)))
    loss = SlicedLoss(
        lambda u, x: x + jnp.abs(u)[None], origin, target, batch_size=1, directions=jnp.eye(3)
    )
    start, times = np.array([0.2, -0.9, 0.5]), np.linspace(0, 3, 13)
    flow = gradient_flow(loss, jnp.asarray(start), times, num_steps=300)
    sizes = np.maximum((np.abs(start) + 1) * np.exp(-2 / 3 * times)[:, None] - 1, 0)
    exact = np.sign(start) * sizes
    assert np.linalg.norm(flow.path - exact, axis=1).max() < 2 * flow.error < 0.04
    energy = ((np.abs(start) + 1) ** 2).sum() / 3 - ((sizes + 1) ** 2).sum(1) / 3
    np.testing.assert_allclose(flow.dissipation, energy, atol=0.02)
    finer = gradient_flow(loss, jnp.asarray(start), times, num_steps=3000)
    np.testing.assert_allclose(finer.path, exact, atol=0.002)


@pytest.mark.parametrize("num_kinks", [1, 2])
def test_a_corner_of_kinks_and_sphere_is_reached_and_held(x64, num_kinks):
    # Of sum_i |u_i| - u_n in the unit ball the minimizer is e_n, on the sphere and all kinks.
    loss = lambda u: jnp.sum(jnp.abs(u[:-1])) - u[-1]
    start = jnp.array([0.5, -0.3][:num_kinks] + [0.1])
    flow = gradient_flow(loss, start, [0.0, 2.0, 6.0, 12.0], num_steps=1200, radius=1.0)
    assert jnp.all(jnp.linalg.norm(flow.path, axis=1) <= 1 + 1e-12)
    np.testing.assert_allclose(flow.path[-1], np.eye(num_kinks + 1)[-1], atol=1e-4)
    assert abs(energy_residual(loss, flow)[-1]) < 0.01


def test_steps_too_long_for_a_smooth_loss_are_not_taken_for_kinks(x64):
    # Beyond h L = 1 a step ends with the opposite slope; it is a step of Runge and Kutta still.
    curvature, step, num_steps = 50.0, 0.03, 20
    loss = lambda u: curvature * u**2 / 2
    flow = gradient_flow(loss, jnp.asarray(1.0), [0.0, step * num_steps], num_steps=num_steps)
    z = -curvature * step
    factor = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    assert z < -1
    np.testing.assert_allclose(flow.path[-1], factor**num_steps, rtol=1e-10)


def test_starts_that_meet_different_corners_are_solved_together():
    loss = lambda u: jnp.abs(u) @ jnp.array([1.0, 2.0, 3.0])
    starts = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    solve = lambda u: gradient_flow(loss, u, [0.0, 0.2, 1.0], num_steps=50)
    together = jax.vmap(solve)(starts)
    for i, start in enumerate(starts):
        np.testing.assert_allclose(together.path[i], solve(start).path, atol=1e-5)
        exact = np.sign(start) * np.maximum(np.abs(start) - np.array([1.0, 2.0, 3.0]), 0)
        np.testing.assert_allclose(together.path[i, -1], exact, atol=1e-4)


def test_what_drives_back_and_what_does_not():
    here = jnp.array([1.0, 0.0])
    assert is_driven_back(here, jnp.array([-0.5, 0.0]))
    assert is_driven_back(here, jnp.array([-0.5, 2.0]))
    assert not is_driven_back(here, jnp.array([0.5, 0.0]))  # slower, the same way
    assert not is_driven_back(here, jnp.array([2.0, 0.0]))
    assert not is_driven_back(here, here)
    assert not is_driven_back(jnp.zeros(2), here)


@pytest.mark.parametrize("dim", [2, 3, 6])
@pytest.mark.parametrize("with_normal", [False, True])
def test_the_shortest_element_is_that_of_all_faces(x64, dim, with_normal):
    rng, solve = np.random.default_rng(dim), jax.jit(shortest_weights)
    for _ in range(20):
        rows = rng.normal(size=(6, dim)) + rng.normal(size=dim)
        rows[4] = rows[3]  # twice the same
        used = np.array([True] * 5 + [with_normal])
        rows[~used] = 0
        start = jnp.eye(6)[0]
        weights = solve(jnp.asarray(rows), jnp.asarray(used), start, start > 0, jnp.zeros((), bool))
        assert jnp.all(weights >= 0)
        np.testing.assert_allclose(jnp.sum(weights[:5]), 1, rtol=1e-12)
        found = np.linalg.norm(weights @ rows)
        np.testing.assert_allclose(found, shortest_over_faces(rows, with_normal), atol=1e-9)


def shortest_over_faces(rows, with_normal):
    """The least norm over `conv(rows but the last) + cone(last)`, face by face."""
    norms = []
    for size in range(1, 6):
        for face in itertools.combinations(range(5), size):
            for ray in ((), (5,)) if with_normal else ((),):
                chosen = rows[[*face, *ray]]
                # Move along the face from its first corner; least squares over the differences.
                directions = np.vstack([chosen[1:size] - chosen[0], chosen[size:]])
                steps = np.linalg.lstsq(directions.T, -chosen[0], rcond=None)[0]
                shares = steps[: size - 1]
                if (steps >= -1e-12).all() and shares.sum() <= 1 + 1e-12:
                    norms.append(np.linalg.norm(chosen[0] + steps @ directions))
    return min(norms)
