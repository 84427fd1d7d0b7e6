"""Closed forms against quadrature, peers, finite differences and sampled directions."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy import integrate, special

import swjax
from swjax import exact
from swjax.exact import sw2_sq_exact_2d, sw2_sq_gaussians, sw2_sq_two_points

two_points = jax.jit(jax.value_and_grad(sw2_sq_two_points))
value_and_gradients = jax.jit(jax.value_and_grad(sw2_sq_exact_2d, argnums=(0, 1)))


def angle_rule(num):
    angles = (np.arange(num) + 0.5) * np.pi / num
    return np.stack([np.cos(angles), np.sin(angles)])


def quadrature(x, y, num=100_000):
    """SW_2^2 in the plane by the midpoint rule in the angle; its error is O(num^-2)."""
    total = 0.0
    for theta in np.array_split(angle_rule(num), num // 2000, axis=1):
        total += np.sum(np.mean((np.sort(x @ theta, 0) - np.sort(y @ theta, 0)) ** 2, axis=0))
    return total / num


def arc_by_arc(x, y):
    """Value and gradient of x by the sum over all arcs, sorting anew on each."""
    n, breaks = len(x), [0.0, np.pi]
    for z in (x, y):
        i, j = np.triu_indices(n, 1)
        gap = z[i] - z[j]
        breaks += list((np.arctan2(gap[:, 1], gap[:, 0]) + np.pi / 2) % np.pi)
    breaks = np.sort(breaks)
    value, gradient = 0.0, np.zeros_like(x)
    for low, high in zip(breaks[:-1], breaks[1:], strict=True):
        middle = (low + high) / 2
        theta = np.array([np.cos(middle), np.sin(middle)])
        order_x, order_y = np.argsort(x @ theta), np.argsort(y @ theta)
        s = (np.sin(2 * high) - np.sin(2 * low)) / 4
        c = (np.cos(2 * low) - np.cos(2 * high)) / 4
        moment = np.array([[(high - low) / 2 + s, c], [c, (high - low) / 2 - s]])
        gap = x[order_x] - y[order_y]
        value += np.sum(gap * (gap @ moment))
        gradient[order_x] += 2 * gap @ moment
    return value / (n * np.pi), gradient / (n * np.pi)


def clouds(n, seed=0, dim=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), rng.normal(size=(n, dim)) + 0.3


@pytest.mark.parametrize("n", [1, 13])
def test_the_planar_value_and_gradient_are_the_sum_over_the_arcs(n, x64):
    x, y = clouds(n)
    value, gradient = arc_by_arc(x, y)
    ours, (by_x, _) = value_and_gradients(x, y)
    assert float(ours) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(by_x, gradient, atol=1e-13)


def test_the_planar_gradients_agree_with_finite_differences(x64):
    x, y = clouds(13)
    _, gradients = value_and_gradients(x, y)
    rng = np.random.default_rng(1)
    dx, dy = rng.normal(size=(2, 13, 2))
    move = lambda h: float(value_and_gradients(x + h * dx, y + h * dy)[0])
    expected = (move(1e-6) - move(-1e-6)) / 2e-6
    slope = np.sum(gradients[0] * dx) + np.sum(gradients[1] * dy)
    assert slope == pytest.approx(expected, rel=1e-7)


def test_the_planar_second_derivatives_agree_with_finite_differences(x64):
    """They include the motion of the breakpoints."""
    x, y = clouds(13)
    gradient = lambda u: value_and_gradients(u, y)[1][0]
    step = np.random.default_rng(2).normal(size=(13, 2))
    expected = (gradient(x + 1e-6 * step) - gradient(x - 1e-6 * step)) / 2e-6
    # Forward over reverse, and forward mode alone beside it.
    push = lambda f, u: jax.jvp(lambda v: f(v, y), (u,), (step,))[1]
    both = jax.jit(lambda u: (push(jax.grad(sw2_sq_exact_2d), u), push(sw2_sq_exact_2d, u)))
    second, slope = both(x)
    np.testing.assert_allclose(second, expected, atol=1e-7)
    assert float(slope) == pytest.approx(float(np.sum(gradient(x) * step)))


@pytest.mark.slow
def test_the_planar_value_is_the_quadrature_for_500_points_in_single_precision():
    x, y = clouds(500, seed=4)
    value, (by_x, by_y) = value_and_gradients(x.astype(np.float32), y.astype(np.float32))
    assert value.dtype == by_x.dtype == jnp.float32
    # The rule's error: half a cell at each of 2 * 124750 breakpoints, of random sign.
    assert float(value) == pytest.approx(quadrature(x, y, 4000), rel=1e-5)
    theta = angle_rule(2000)
    order_x, order_y = np.argsort(x @ theta, axis=0), np.argsort(y @ theta, axis=0)
    gaps = np.take_along_axis(x @ theta, order_x, 0) - np.take_along_axis(y @ theta, order_y, 0)
    rough = np.zeros((500, 2))
    for column in range(2000):
        rough[order_x[:, column]] += 2 / 500 / 2000 * gaps[:, column, None] * theta[:, column]
    np.testing.assert_allclose(by_x, rough, atol=2e-5)
    # Moving both clouds by the same vector changes nothing.
    np.testing.assert_allclose(np.sum(by_x, 0), -np.sum(by_y, 0), atol=1e-6)


@pytest.mark.slow
def test_many_points_in_single_precision_have_the_value_and_gradient_of_double_precision():
    x, y = np.random.default_rng(0).normal(size=(2, 2500, 2)).astype(np.float32)
    found = jax.value_and_grad(sw2_sq_exact_2d)(x, y)
    with jax.enable_x64(True):
        exact = jax.value_and_grad(sw2_sq_exact_2d)(x.astype(float), y.astype(float))
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-5)
    error = np.linalg.norm(np.asarray(found[1]) - np.asarray(exact[1]))
    assert error < 1e-5 * np.linalg.norm(np.asarray(exact[1]))


def lattice():
    return np.stack(np.meshgrid(0.1 * np.arange(5), 0.3 * np.arange(5)), -1).reshape(-1, 2)


def on_a_line():
    return np.outer(np.linspace(-1, 1, 25), [0.3, 0.1])


def on_axes():
    t = np.r_[np.linspace(-1, 1, 13), np.linspace(-2, 2, 12)]
    return np.stack([np.where(np.arange(25) < 13, t, 0), np.where(np.arange(25) < 13, 0, t)], 1)


def with_repeats():
    return np.repeat(np.random.default_rng(5).normal(size=(5, 2)), 5, axis=0)


def on_a_circle():
    return np.array(
        [[math.cos(2 * math.pi * k / 25), math.sin(2 * math.pi * k / 25)] for k in range(25)]
    )


@functools.cache
def special_pairs():
    special = [lattice(), on_a_line(), on_axes(), with_repeats(), on_a_circle()]
    pairs = [(x, y) for x in special for y in [*special, clouds(25)[1]]]
    return [(x, y, quadrature(x, y, 10_000)) for x, y in pairs]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_simultaneous_crossings_do_no_harm(dtype, x64):
    """Collinear, repeated and symmetric points: many orders change at the same angle."""
    for x, y, expected in special_pairs():
        value, gradients = value_and_gradients(x.astype(dtype), y.astype(dtype))
        assert float(value) == pytest.approx(expected, abs=5e-6)
        assert np.all(np.isfinite(gradients))


def test_half_turns_and_mirrors_do_no_harm(x64):
    """Angles near 0 and pi are the same line: clouds turned by tiny angles about the axes."""
    x, y = lattice(), clouds(25)[1]
    expected = quadrature(x, y)
    for angle in (0.0, 1e-17, 1e-12, -1e-12, np.pi / 2, np.pi / 2 + 1e-15, np.pi, -1e-16):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        value = value_and_gradients(jnp.asarray(x @ turn.T), jnp.asarray(y @ turn.T))[0]
        assert float(value) == pytest.approx(expected, abs=1e-6)


def test_a_cloud_is_at_distance_zero_from_itself_with_gradient_zero():
    x = np.asarray(clouds(25)[0], np.float32)
    shuffled = x[np.random.default_rng(0).permutation(25)]
    value, gradients = value_and_gradients(x, shuffled)
    assert float(value) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(gradients, np.zeros((2, 25, 2)), atol=1e-7)


def test_planar_values_run_under_vmap():
    x, y = (np.stack([clouds(13, s)[c] for s in range(3)]).astype(np.float32) for c in (0, 1))
    batch = jax.jit(jax.vmap(sw2_sq_exact_2d))(x, y)
    np.testing.assert_allclose(
        batch, [quadrature(a, b, 20_000) for a, b in zip(x, y, strict=True)], rtol=1e-5
    )


def test_the_planar_value_agrees_with_pot_also_for_unequal_clouds_of_repeated_points(x64):
    y, rows = clouds(25)[1], angle_rule(4000)
    for x in (clouds(25)[0], clouds(5)[0]):
        ours = value_and_gradients(np.repeat(x, 25 // len(x), axis=0), y)[0]
        theirs = ot.sliced_wasserstein_distance(x, y, projections=rows) ** 2
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@functools.cache
def sampled(dim, num=20_000):
    rows = np.random.default_rng(dim).normal(size=(num, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


per_direction = jax.jit(swjax.sw2_sq_per_direction)


def check_sampled(x, y, expected):
    """The mean over sampled directions is within five standard errors of the exact value."""
    x, y, rows = (np.asarray(v, np.float32) for v in (x, y, sampled(x.shape[1])))
    values = np.asarray(per_direction(x, y, rows), np.float64)
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - float(expected)) <= 5 * error + 1e-5


@pytest.mark.slow
def test_sampled_values_agree_with_the_exact_ones():
    x, y = clouds(13)
    check_sampled(x, y, value_and_gradients(x, y)[0])
    for dim in (2, 5):
        x, y = clouds(2, dim=dim)
        check_sampled(x, y, sw2_sq_two_points(x, y))
        check_sampled(x, 2.5 * x + 0.5, exact.sw2_sq_homothety(x, 2.5, np.full(dim, 0.5)))
        check_sampled(x, x - 0.5, exact.sw_pow_translation(np.full(dim, 0.5)))


@pytest.mark.slow
def test_two_points_in_the_plane_are_a_planar_case(x64):
    for seed in range(5):
        x, y = clouds(2, seed)
        assert float(sw2_sq_two_points(x, y)) == pytest.approx(
            float(sw2_sq_exact_2d(x, y)), rel=1e-12
        )
        ours = jax.grad(sw2_sq_two_points)(x, y)
        np.testing.assert_allclose(ours, jax.grad(sw2_sq_exact_2d)(x, y), atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_two_point_gradient_has_its_closed_form(dim, x64):
    x, y = clouds(2, 7, dim)
    a, b, gap = x[0] - x[1], y[0] - y[1], x.mean(0) - y.mean(0)
    norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)
    rho = np.clip(a @ b / (norm_a * norm_b), -1, 1)
    bend = np.sqrt(1 - rho**2) * a / norm_a + np.arcsin(rho) * b / norm_b
    by_a = (a - 2 / np.pi * norm_b * bend) / (2 * dim)
    ours = two_points(x, y)[1]
    np.testing.assert_allclose(ours, [gap / dim + by_a, gap / dim - by_a], atol=1e-13)


def test_two_points_at_their_singular_configurations(x64):
    x = jnp.array([[0.0, 1.0], [0.0, -1.0]])
    gradient = lambda x, y: two_points(x, y)[1]
    for y in (x, -x, 2 * x, 0 * x, x.at[0].add(1e-9)):
        assert float(two_points(x, y)[0]) == pytest.approx(quadrature(x, y, 20_000), abs=1e-8)
        assert bool(jnp.all(jnp.isfinite(gradient(x, y))))
    np.testing.assert_allclose(gradient(x, x), 0, atol=1e-15)
    # At a double point the value has a kink, and the mean slope is that of the smooth part.
    np.testing.assert_allclose(gradient(0 * x + 1, x), 0.5, atol=1e-15)
    # The saddle of the two-point energy: orthogonal to the target, length 2/pi of it.
    saddle = jnp.array([[2 / jnp.pi, 0.0], [-2 / jnp.pi, 0.0]])
    np.testing.assert_allclose(gradient(saddle, x), 0, atol=1e-15)


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3])
def test_sphere_moments_are_their_integrals(p):
    assert exact.sphere_moment(1, p) == pytest.approx(1, rel=1e-12)
    for dim in (2, 3, 8):
        density = lambda t, d=dim: np.sin(t) ** (d - 2)
        top = integrate.quad(
            lambda t, f=density: np.abs(np.cos(t)) ** p * f(t), 0, np.pi, points=[np.pi / 2]
        )[0]
        expected = top / integrate.quad(density, 0, np.pi)[0]
        assert exact.sphere_moment(dim, p) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_translations_cost_a_sphere_moment_for_every_order(p):
    x = jnp.asarray(clouds(20, dim=3)[0], jnp.float32)
    shift = jnp.array([0.3, -1.0, 0.5])
    values = jax.vmap(lambda row: swjax.wp_pow_1d(x @ row, (x + shift[None]) @ row, p=p))(
        sampled(3)
    )
    error = float(jnp.std(values)) / math.sqrt(len(values))
    exact_value = float(exact.sw_pow_translation(shift, p=p))
    assert abs(float(jnp.mean(values)) - exact_value) <= 5 * error + 1e-5


def test_a_translation_by_zero_has_gradient_zero():
    for p in (1, 1.5, 2):
        gradient = jax.grad(lambda s, p=p: exact.sw_pow_translation(s, p=p))(jnp.zeros(3))
        np.testing.assert_array_equal(gradient, np.zeros(3))


def test_homotheties_agree_with_the_planar_value(x64):
    x = clouds(13)[0]
    for scale in (0.0, 0.5, 3.0):
        shift = np.array([0.2, -1.0])
        ours = float(exact.sw2_sq_homothety(x, scale, shift))
        assert ours == pytest.approx(float(value_and_gradients(x, scale * x + shift)[0]), rel=1e-12)


def random_covariance(dim, seed, smallest=0.2):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    values = np.linspace(smallest, 2.0, dim)
    return turn @ np.diag(values) @ turn.T


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gaussians_agree_with_a_mean_over_many_directions(dim, x64):
    mean_x, mean_y = np.linspace(0, 1, dim), np.full(dim, 0.4)
    first, second = random_covariance(dim, 1), random_covariance(dim, 2)
    value = float(sw2_sq_gaussians(mean_x, first, mean_y, second))
    rows = np.asarray(sampled(dim, 20_000), np.float64)
    roots = [np.sqrt(np.einsum("ld,de,le->l", rows, s, rows)) for s in (first, second)]
    values = (rows @ (mean_x - mean_y)) ** 2 + (roots[0] - roots[1]) ** 2
    assert abs(values.mean() - value) <= 5 * values.std() / math.sqrt(len(rows)) + 1e-9


def test_isotropic_gaussians_have_their_closed_form_in_every_form(x64):
    for dim in (1, 3, 7):
        mean_x, mean_y = np.linspace(0, 1, dim), np.full(dim, 0.4)
        expected = np.sum((mean_x - mean_y) ** 2) / dim + (1.5 - 0.5) ** 2
        value = functools.partial(sw2_sq_gaussians, mean_x, mean_y=mean_y)
        assert float(value(2.25, covariance_y=0.25)) == pytest.approx(expected, rel=1e-14)
        matrix = 2.25 * np.eye(dim)
        assert float(value(matrix, covariance_y=0.25)) == pytest.approx(expected, rel=1e-13)
        if dim <= 3:
            both = value(matrix, covariance_y=0.25 * np.eye(dim))
            assert float(both) == pytest.approx(expected, rel=1e-13)


def test_planar_gaussians_agree_with_the_elliptic_integral(x64):
    for largest, smallest in ((4.0, 1.0), (3.0, 0.06), (2.0, 0.0)):
        covariance = np.diag([largest, smallest])
        mean = 2 / np.pi * math.sqrt(largest) * special.ellipe(1 - smallest / largest)
        expected = (largest + smallest) / 2 + 0.49 - 2 * 0.7 * mean
        ours = sw2_sq_gaussians(np.zeros(2), covariance, np.zeros(2), 0.49)
        assert float(ours) == pytest.approx(expected, rel=1e-12)
        matrices = sw2_sq_gaussians(np.zeros(2), covariance, np.zeros(2), 0.49 * np.eye(2))
        assert float(matrices) == pytest.approx(expected, rel=1e-12 if smallest else 1e-4)


def test_quadrature_in_space_agrees_with_the_integral_for_a_multiple_of_the_identity(x64):
    covariance = random_covariance(3, 5, smallest=0.04)
    zero = np.zeros(3)
    by_integral = float(sw2_sq_gaussians(zero, covariance, zero, 0.81))
    by_quadrature = float(sw2_sq_gaussians(zero, covariance, zero, 0.81 * np.eye(3)))
    assert by_quadrature == pytest.approx(by_integral, rel=1e-11)


def test_gaussians_in_high_dimension_take_directions(x64):
    dim = 6
    zero, first, second = np.zeros(dim), random_covariance(dim, 1), random_covariance(dim, 2)
    rows = np.asarray(sampled(dim), np.float64)
    roots = [np.sqrt(np.einsum("ld,de,le->l", rows, s, rows)) for s in (first, second)]
    expected = np.mean((roots[0] - roots[1]) ** 2)
    ours = sw2_sq_gaussians(zero, first, zero, second, directions=rows)
    assert float(ours) == pytest.approx(expected, rel=1e-12)


def test_the_gaussian_value_is_differentiable_in_all_four(x64):
    args = (
        np.array([0.1, 0.2, 0.3]),
        random_covariance(3, 1),
        np.zeros(3),
        random_covariance(3, 2),
    )
    value = jax.jit(jax.value_and_grad(sw2_sq_gaussians, argnums=(0, 1, 2, 3)))
    _, gradients = value(*args)
    rng = np.random.default_rng(0)
    steps = [rng.normal(size=a.shape) for a in args]
    steps = [s + s.T if s.ndim == 2 else s for s in steps]
    move = lambda h: float(value(*[a + h * s for a, s in zip(args, steps, strict=True)])[0])
    slope = sum(float(np.sum(g * s)) for g, s in zip(gradients, steps, strict=True))
    assert slope == pytest.approx((move(1e-6) - move(-1e-6)) / 2e-6, rel=1e-7)
    integral = jax.jit(jax.value_and_grad(lambda s: sw2_sq_gaussians(args[0], s, args[2], 0.5)))
    move = lambda h: float(integral(args[1] + h * steps[1])[0])
    slope = float(np.sum(integral(args[1])[1] * steps[1]))
    assert slope == pytest.approx((move(1e-6) - move(-1e-6)) / 2e-6, rel=1e-7)


def test_large_gaussian_samples_come_close_to_the_law(x64):
    """The standard deviation of the value is at most 2 sqrt(value / n) times the larger width."""
    rng, covariance = np.random.default_rng(0), np.array([[1.0, 0.4], [0.4, 0.5]])
    x = rng.multivariate_normal(np.zeros(2), covariance, size=4000)
    ours = quadrature(x, 0.5 * rng.normal(size=(4000, 2)) + 1, 2000)
    law = float(sw2_sq_gaussians(np.zeros(2), covariance, np.ones(2), 0.25))
    assert ours == pytest.approx(law, abs=5 * 2 * math.sqrt(law / 4000))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sw2_sq_exact_2d(jnp.zeros((3, 3)), jnp.zeros((3, 3))), r"shape \(n, 2\)"),
        (lambda: sw2_sq_exact_2d(jnp.zeros((3, 2)), jnp.zeros((4, 2))), "least common multiple"),
        (lambda: sw2_sq_exact_2d(jnp.zeros((0, 2)), jnp.zeros((0, 2))), r"shape \(n, 2\)"),
        (lambda: sw2_sq_two_points(jnp.zeros((3, 2)), jnp.zeros((3, 2))), r"shape \(2, d\)"),
        (lambda: sw2_sq_two_points(jnp.zeros((2, 2)), jnp.zeros((2, 3))), r"shape \(2, d\)"),
        (lambda: exact.sphere_moment(0, 2), "dim must be at least 1"),
        (lambda: exact.sphere_moment(2, -1), "p must be a number of at least 0"),
        (lambda: exact.sw_pow_translation(jnp.zeros((2, 2))), "must be a vector"),
        (lambda: exact.sw_pow_translation(jnp.zeros(2), p=0.5), "order"),
        (lambda: exact.sw2_sq_homothety(jnp.zeros((3, 2)), -1.0, jnp.zeros(2)), "not be negative"),
        (lambda: exact.sw2_sq_homothety(jnp.zeros((3, 2)), 1.0, jnp.zeros(3)), r"shape \(2,\)"),
        (lambda: exact.sw2_sq_homothety(jnp.zeros(3), 1.0, jnp.zeros(3)), r"shape \(n, d\)"),
        (lambda: sw2_sq_gaussians(jnp.zeros(2), 1.0, jnp.zeros(3), 1.0), "same shape"),
        (lambda: sw2_sq_gaussians(jnp.zeros(2), jnp.eye(3), jnp.zeros(2), 1.0), r"\(2, 2\)"),
        (
            lambda: sw2_sq_gaussians(jnp.zeros(2), -1.0, jnp.zeros(2), 1.0),
            "smallest eigenvalue is -1",
        ),
        (
            lambda: sw2_sq_gaussians(
                jnp.zeros(2), jnp.array([[1.0, 5.0], [5.0, 1.0]]), jnp.zeros(2), 1.0
            ),
            "smallest eigenvalue is -4",
        ),
        (
            lambda: sw2_sq_gaussians(jnp.zeros(2), jnp.tri(2), jnp.zeros(2), 1.0),
            "covariance_x must be symmetric",
        ),
        (
            lambda: sw2_sq_gaussians(jnp.zeros(4), jnp.eye(4), jnp.zeros(4), jnp.eye(4)),
            "sample_quasi_directions",
        ),
        (
            lambda: sw2_sq_gaussians(jnp.zeros(2), 1.0, jnp.zeros(2), 1.0, directions=jnp.eye(2)),
            "of no use here",
        ),
        (
            lambda: sw2_sq_gaussians(
                jnp.zeros(2), jnp.eye(2), jnp.zeros(2), jnp.eye(2), directions=jnp.eye(3)
            ),
            r"shape \(L, 2\)",
        ),
        (
            lambda: sw2_sq_gaussians(
                jnp.zeros(2), jnp.eye(2), jnp.zeros(2), jnp.eye(2), directions=2 * jnp.eye(2)
            ),
            "must have length 1",
        ),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_python_integer_is_a_number():
    assert sw2_sq_gaussians(jnp.zeros(2), 4, jnp.zeros(2), 1) == 1


def test_integer_clouds_are_refused():
    with pytest.raises(TypeError, match="int32"):
        sw2_sq_exact_2d(jnp.zeros((2, 2), int), jnp.zeros((2, 2)))
