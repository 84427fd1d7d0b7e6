"""Critical points of sliced-Wasserstein energies: descent, saddles, ties, lines, cells."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax.exact import sphere_moment
from swjax.flows import sliced_cells
from swjax.problems import CollinearPoints, TwoFreePoints

KEY = jax.random.key(0)
PAIR = TwoFreePoints(np.array([[0.0, 1.0], [0.0, -1.0]]))
energy = jax.jit(swjax.sw2_sq_exact_2d)
energy_gradient = jax.jit(jax.grad(swjax.sw2_sq_exact_2d))


def clouds(seed, n=5, dim=2):
    keys = jax.random.split(jax.random.fold_in(KEY, seed))
    return (jax.random.normal(key, (n, dim)) for key in keys)


# -- the fixed-point map and its descent -------------------------------------------------------


def test_the_descent_inequality_holds_for_all_directions_of_the_plane(x64):
    n, d = 5, 2
    for seed in range(5):
        x, y = clouds(seed)
        before, gradient = energy(x, y), energy_gradient(x, y)
        moved = swjax.sliced_fixed_point(x, y)
        np.testing.assert_allclose(moved, x - n * d / 2 * gradient, atol=1e-13)
        assert energy(moved, y) <= before - jnp.sum((x - moved) ** 2) / (n * d) + 1e-12
        square = jnp.sum(gradient**2)
        for step in np.array([0.1, 0.5, 1.0, 1.5, 1.9]) * n * d / 2:
            bound = before - step * (1 - step / (n * d)) * square
            assert energy(x - step * gradient, y) <= bound + 1e-12


@pytest.mark.slow
def test_the_descent_inequality_is_sharp_for_a_translate(x64):
    (x, _), n, d = clouds(0), 5, 2
    y = x + jnp.array([[1.0, -2.0]])
    moved = swjax.sliced_fixed_point(x, y)
    np.testing.assert_allclose(moved, y, atol=1e-13)
    left = energy(x, y) - jnp.sum((x - moved) ** 2) / (n * d)
    assert abs(left - energy(moved, y)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("p", [1, 2, 7])
def test_the_descent_inequality_holds_for_few_directions(p, x64):
    for seed in range(5):
        x, y = clouds(seed, dim=3)
        theta = swjax.sample_directions(jax.random.fold_in(KEY, seed), p, 3)
        moved = swjax.sliced_fixed_point(x, y, theta)
        fall = jnp.mean(jnp.sum(((x - moved) @ theta.T) ** 2, axis=0)) / x.shape[0]
        before, after = (swjax.sw2_sq(z, y, theta) for z in (x, moved))
        assert after <= before - fall + 1e-12


@pytest.mark.slow
def test_the_energy_less_a_square_is_concave(x64):
    (x, y), (a, b) = clouds(0), clouds(1)
    concave = lambda x: energy(x, y) - jnp.sum(x**2) / (5 * 2)
    middle = concave((a + b) / 2 + x)
    assert middle >= (concave(a + x) + concave(b + x)) / 2 - 1e-12


# -- two free points ---------------------------------------------------------------------------


def test_the_saddles_of_two_points_have_gradient_zero_and_the_value_of_the_formula(x64):
    saddle = PAIR.saddle([1.0, 0.3])
    np.testing.assert_allclose(saddle, [[2 / np.pi, 0], [-2 / np.pi, 0]], atol=1e-15)
    assert float(jnp.max(jnp.abs(energy_gradient(saddle, PAIR.target)))) < 1e-12
    value = 4 * (1 - 4 / np.pi**2) / 8
    assert float(energy(saddle, PAIR.target)) == pytest.approx(value, abs=1e-12)
    assert PAIR.saddle_value == pytest.approx(value, abs=1e-15)
    for minimizer in PAIR.minimizers:
        assert abs(float(energy(minimizer, PAIR.target))) < 1e-12
        assert float(jnp.max(jnp.abs(energy_gradient(minimizer, PAIR.target)))) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 3, 6])
def test_the_saddles_are_saddles_in_every_dimension(dim, x64):
    rng = np.random.default_rng(dim)
    problem = TwoFreePoints(rng.normal(size=(2, dim)))
    saddle = jnp.asarray(problem.saddle(rng.normal(size=dim)))
    value, gradient = jax.value_and_grad(problem.population_loss)(saddle)
    assert float(jnp.max(jnp.abs(gradient))) < 1e-12
    assert float(value) == pytest.approx(problem.saddle_value, abs=1e-12)
    # The flow of E / 2 is x' = -(n/2) grad E = -grad E: the Hessian has the rates.
    rates = np.linalg.eigvalsh(-jax.hessian(problem.population_loss)(saddle).reshape(2 * dim, -1))
    expected = [-2 / (2 * dim)] * dim + [-1 / dim] + [0.0] * (dim - 2) + [problem.escape_rate]
    np.testing.assert_allclose(rates, np.sort(expected), atol=1e-6)


@pytest.mark.slow
def test_the_flow_leaves_the_saddle_at_the_rate_of_the_formula(x64):
    start = PAIR.saddle([1.0, 0.0]) + 1e-6 * np.array([[0.0, 1.0], [0.0, -1.0]])
    flow = swjax.sliced_flow(start, PAIR.target, [0.0, 8.0], step_size=0.02)
    growth = np.log(flow.path[1, 0, 1] / 1e-6) / 8
    assert growth == pytest.approx(PAIR.escape_rate, rel=0.01)  # Euler: log(1 + h/2) / h


def sgd(start, key, steps=1200, step_size=0.2):
    """SGD with one fresh direction per step: the last cloud and its exact residual."""
    flow = swjax.sliced_flow(
        start, jnp.asarray(PAIR.target), [0.0, steps * step_size], step_size=step_size,
        num_directions=1, key=key,
    )  # fmt: skip
    return flow.path[-1], flow.residuals[-1]


sgd_runs = jax.jit(jax.vmap(sgd, in_axes=(None, 0)))


def reach_target(ends):
    distance = jnp.abs(ends[:, None] - jnp.asarray(PAIR.minimizers)[None]).max((-1, -2)).min(1)
    return int(jnp.sum(distance < 1e-3))


def test_sgd_started_at_the_saddle_reaches_the_target_in_100_of_100_runs(x64):
    keys = jax.random.split(KEY, 100)
    ends, residuals = sgd_runs(jnp.asarray(PAIR.saddle([1.0, 0.0])), keys)
    assert reach_target(ends) == 100
    assert float(residuals.max()) < 1e-3


@pytest.mark.slow
def test_an_exact_tie_is_left_by_stable_sorting_and_kept_by_averaging(x64):
    tie = jnp.asarray(np.array([[0.3, 0.4], [0.3, 0.4]]))
    ends, _ = sgd_runs(tie, jax.random.split(KEY, 100))
    assert reach_target(ends) == 100

    def averaging(x, theta):
        """The loss along one direction by minimum and maximum, whose derivatives share ties."""
        along_x, along_y = x @ theta, jnp.asarray(PAIR.target) @ theta
        gap = jnp.stack([jnp.min(along_x) - along_y.min(), jnp.max(along_x) - along_y.max()])
        return jnp.mean(gap**2)

    def stuck(key):
        step = lambda x, theta: (x - 0.2 * jax.grad(averaging)(x, theta), None)
        return jax.lax.scan(step, tie, swjax.sample_directions(key, 1200, 2))[0]

    ends = jax.jit(jax.vmap(stuck))(jax.random.split(KEY, 100))
    assert bool(jnp.all(ends[:, 0] == ends[:, 1]))
    assert reach_target(ends) == 0
    # Apart by one rounding error, the points part.
    split = tie.at[0, 1].add(1e-15)
    step = lambda x, theta: (x - 0.2 * jax.grad(averaging)(x, theta), None)
    end = jax.lax.scan(step, split, swjax.sample_directions(KEY, 1200, 2))[0]
    assert reach_target(end[None]) == 1


@pytest.mark.parametrize("target", [np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(2)])
def test_two_free_points_need_two_distinct_points(target):
    with pytest.raises(ValueError, match="two distinct points"):
        TwoFreePoints(target)


def test_a_saddle_points_across_the_target():
    with pytest.raises(ValueError, match="no part orthogonal"):
        PAIR.saddle([0.0, 2.0])


# -- points on a line --------------------------------------------------------------------------


def test_collinear_points_have_gradient_zero_and_parting_them_lowers_the_energy(x64):
    for seed in range(4):
        half = np.random.default_rng(seed).normal(size=(5, 2))
        problem = CollinearPoints(np.concatenate([half, half * [1, -1]]))
        points = problem.points
        assert np.abs(energy_gradient(points, problem.target)).max() < 1e-12
        value = energy(points, problem.target)
        for height in (1e-4, 1e-3, 1e-2, 1e-1):
            assert energy(problem.perturbed(height), problem.target) < value - 1e-2 * height**2


@pytest.mark.slow
def test_the_flow_leaves_the_line(x64):
    half = np.random.default_rng(0).normal(size=(5, 2))
    problem = CollinearPoints(np.concatenate([half, half * [1, -1]]))
    start, y = problem.perturbed(1e-3), problem.target
    flow = swjax.sliced_flow(start, y, [0.0, 10.0, 60.0], step_size=0.5)
    assert float(flow.values[2]) < 0.2 * float(flow.values[0])
    stays = swjax.sliced_flow(problem.points, y, [0.0, 10.0, 60.0], step_size=0.5)
    np.testing.assert_allclose(stays.path[1], problem.points, atol=1e-9)


@pytest.mark.slow
def test_many_collinear_points_fill_the_segment_of_the_continuum(x64):
    # 8 rings of 32 points of the law with density (1 - |x|^2)^(-1/2) / (2 pi): its projections are
    # uniform on [-1, 1], so that the segment is uniform on [-4/pi, 4/pi].
    radius = np.sqrt(1 - (1 - (np.arange(8) + 0.5) / 8) ** 2)
    angle = 2 * np.pi * (np.arange(32) + 0.5) / 32
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    half = (radius[:, None, None] * ring[None, :16]).reshape(-1, 2)
    points = CollinearPoints(np.concatenate([half, half * [1, -1]])).points
    uniform = 4 / np.pi * (2 * (np.arange(256) + 0.5) / 256 - 1)
    assert np.abs(points[:, 0] - uniform).max() < 0.03


@pytest.mark.parametrize(
    "target", [np.ones((2, 3)), np.ones((1, 2)), np.array([[0.0, 1.0], [0.0, -2.0]])]
)
def test_collinear_points_need_a_symmetric_target(target):
    with pytest.raises(ValueError, match="target must"):
        CollinearPoints(target)


# -- few directions ----------------------------------------------------------------------------

minimize_cells = jax.jit(jax.vmap(swjax.cell_minimizer, in_axes=(None, None, 0)))


def all_cells(n, p):
    """All p-tuples of permutations of n points up to relabeling: the first is the identity."""
    orders = list(itertools.permutations(range(n)))
    rest = itertools.product(orders, repeat=p - 1)
    return jnp.asarray([(tuple(range(n)), *others) for others in rest])


@pytest.mark.slow
def test_block_descent_ends_in_a_stable_cell_with_gradient_zero(x64):
    theta = swjax.sample_directions(KEY, 6, 2)
    descend = jax.jit(jax.vmap(lambda x, y: swjax.descend_cells(x, y, theta)))
    x, y = (jnp.stack(z) for z in zip(*(clouds(seed) for seed in range(20)), strict=True))
    end = descend(x, y)
    assert bool(jnp.all(end.is_stable))
    assert float(end.residual.max()) < 1e-12
    gradient = jax.vmap(jax.grad(swjax.sw2_sq), in_axes=(0, 0, None))(end.points, y, theta)
    assert float(jnp.max(jnp.abs(gradient))) < 1e-12
    fixed = jax.vmap(swjax.sliced_fixed_point, in_axes=(0, 0, None))(end.points, y, theta)
    np.testing.assert_allclose(fixed, end.points, atol=1e-12)
    # Local minima: no small step from them goes down.
    around = end.points + 1e-6 * jax.random.normal(KEY, end.points.shape)
    higher = jax.vmap(swjax.sw2_sq, in_axes=(0, 0, None))(around, y, theta)
    assert bool(jnp.all(higher > end.value))
    assert int(end.num_steps.max()) > 2


@pytest.mark.slow
def test_the_cell_of_a_minimizer_is_the_cell_it_minimizes(x64):
    x, y = clouds(3)
    theta = swjax.sample_directions(KEY, 6, 2)
    end = swjax.descend_cells(x, y, theta)
    points, value = swjax.cell_minimizer(y, theta, swjax.sliced_cell(end.points, y, theta))
    np.testing.assert_allclose(points, end.points, atol=1e-12)
    np.testing.assert_allclose(value, end.value, atol=1e-14)
    _, larger = swjax.cell_minimizer(y, theta, swjax.sliced_cell(x, y, theta))
    assert larger <= swjax.sw2_sq(x, y, theta)
    assert end.value <= larger


@pytest.mark.slow
def test_descent_stops_after_the_steps_allowed(x64):
    x, y = clouds(3)
    end = swjax.descend_cells(x, y, swjax.sample_directions(KEY, 6, 2), max_steps=1)
    assert int(end.num_steps) == 1
    assert not bool(end.is_stable)


@pytest.mark.parametrize(
    ("p", "dim"), [(2, 2), *(pytest.param(*c, marks=pytest.mark.slow) for c in ((1, 2), (2, 3)))]
)
def test_up_to_d_directions_vanish_at_clouds_other_than_the_target(p, dim, x64):
    _, y = clouds(p, n=3, dim=dim)
    theta = swjax.sample_directions(KEY, p, dim)
    points, values = minimize_cells(y, theta, all_cells(3, p))
    assert float(values.max()) < 1e-24
    far = jnp.abs(points[:, :, None] - y[None, None]).max(-1).min(-1).max(-1)
    assert int(jnp.sum(far > 1e-3)) == 6 ** (p - 1) - (p == dim)  # for p = d the cell of Y gives Y
    for cloud in points[far > 1e-3][:3]:
        assert float(swjax.sw2_sq(cloud, y, theta)) < 1e-24


@pytest.mark.parametrize(
    ("n", "p", "dim"),
    [
        (3, 3, 2),
        *(pytest.param(*c, marks=pytest.mark.slow) for c in ((3, 4, 2), (3, 4, 3), (4, 3, 2))),
    ],
)
def test_more_than_d_directions_vanish_at_the_target_alone(n, p, dim, x64):
    _, y = clouds(p, n=n, dim=dim)
    theta = swjax.sample_directions(KEY, p, dim)
    cells = all_cells(n, p)  # every candidate there is: the least of all cells
    _, values = minimize_cells(y, theta, cells)
    trivial = np.asarray((cells == cells[:, :1]).all((1, 2)))
    assert trivial.sum() == 1
    assert float(values[trivial].max()) < 1e-24
    assert float(values[~trivial].min()) > 1e-9


@pytest.mark.slow
def test_the_fluctuation_of_the_discrete_energy_has_the_variance_of_the_central_limit(x64):
    (x, _), c = clouds(0, n=4, dim=3), jnp.array([1.0, 2.0, -1.0])
    square = float(c @ c)
    # W_2^2 along theta is (theta . c)^2, so its variance over theta has a closed form.
    variance = square**2 * (sphere_moment(3, 4) - sphere_moment(3, 2) ** 2)
    assert variance == pytest.approx(36 * 4 / 45)
    found = []
    for p in (4, 16, 64):
        keys = jax.random.split(jax.random.fold_in(KEY, p), 1000)
        discrete = jax.vmap(
            lambda key, p=p: swjax.sw2_sq(x, x + c[None], swjax.sample_directions(key, p, 3))
        )(keys)
        found.append(p * float(jnp.mean((discrete - square / 3) ** 2)))
    # 5 standard errors of a mean of 1000 squares: 5 sqrt((kurtosis - 1) / 1000)
    np.testing.assert_allclose(found, variance, rtol=5 * (2.5 / 1000) ** 0.5)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda y, t: swjax.descend_cells(y[:2], y, t), "as many points"),
        (lambda y, t: sliced_cells._checked(y, y, None), "finitely many"),
        (lambda y, t: swjax.descend_cells(y, y, t, max_steps=0), "at least 1"),
        (lambda y, t: swjax.sliced_cell(y, y, t[:0]), "L >= 1"),
        (lambda y, t: swjax.cell_minimizer(y, t, jnp.zeros((1, 3), int)), "cell must have"),
        (lambda y, t: swjax.cell_minimizer(y, t[:, :1], jnp.zeros((2, 3), int)), "Expected y"),
        (lambda y, t: swjax.sliced_fixed_point(y[:0], y, t), "at least one point"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, reason):
    with pytest.raises(ValueError, match=reason):
        call(jnp.ones((3, 2)), jnp.eye(2))
