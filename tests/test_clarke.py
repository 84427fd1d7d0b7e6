"""Generalized derivatives at coinciding points, against enumeration, limits and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

import swjax
from swjax import clarke, clarke_residual, descent_test
from swjax.nonsmooth.clarke import zonoid_limiting_gradient, zonoid_support
from swjax.nonsmooth.lexicographic import arcs_of_the_plane

key = jax.random.key


def slow_line_loss(t, y, a=None, b=None):
    """W_2^2 on the line by merging the two lists of cumulative weights, in NumPy."""
    t, y = np.asarray(t, float), np.asarray(y, float)
    a = np.full(t.size, 1 / t.size) if a is None else np.asarray(a, float)
    b = np.full(y.size, 1 / y.size) if b is None else np.asarray(b, float)
    t, a = t[np.argsort(t, kind="stable")], a[np.argsort(t, kind="stable")]
    y, b = y[np.argsort(y, kind="stable")], b[np.argsort(y, kind="stable")]
    i = j = 0
    total, left, right = 0.0, a[0], b[0]
    while i < t.size and j < y.size:
        mass = min(left, right)
        total += mass * (t[i] - y[j]) ** 2
        left, right = left - mass, right - mass
        if left <= 1e-15:
            i += 1
            left = a[i] if i < t.size else 0.0
        if right <= 1e-15:
            j += 1
            right = b[j] if j < y.size else 0.0
    return total


def slow_minibatch_loss(t, y, a, b, n):
    """The expected loss of a minibatch on the line, from the laws of its order statistics."""

    def law(points, weights):
        order = np.argsort(points, kind="stable")
        levels = np.append(0, np.cumsum(np.asarray(weights)[order]))
        tails = np.array([binom.sf(k - 1, n, np.clip(levels, 0, 1)) for k in range(1, n + 1)])
        return np.asarray(points)[order], np.diff(tails, axis=1)

    (t, p), (y, q) = law(t, a), law(y, b)
    plan = p.T @ q / n
    return np.sum(plan * (t[:, None] - y[None]) ** 2)


def slow_loss(x, y, directions, a=None, b=None, n=None):
    """The mean over directions of the loss on the line, in NumPy."""
    if n is None:
        return np.mean([slow_line_loss(x @ th, y @ th, a, b) for th in directions])
    return np.mean([slow_minibatch_loss(x @ th, y @ th, a, b, n) for th in directions])


def cloud_with_ties():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2))
    x[3] = x[1]
    x[4] = x[1]
    x[5] = x[0]
    return x, rng.normal(size=(6, 2)), rng.normal(size=(6, 2))


def planar_energy(x, y):
    """E(X) in the plane by adaptive quadrature between the angles where an order changes."""
    breaks = [0.0, np.pi]
    for z in (x, y):
        for p, q in itertools.combinations(z, 2):
            if np.any(p != q):
                breaks.append((np.arctan2(*(p - q)[::-1]) + np.pi / 2) % np.pi)
    breaks = np.sort(breaks)
    along = lambda f: slow_line_loss(
        x @ [np.cos(f), np.sin(f)],
        y @ [np.cos(f), np.sin(f)],
    )
    pieces = [quad(along, l, h, epsabs=1e-13)[0] for l, h in itertools.pairwise(breaks) if h > l]
    return sum(pieces) / np.pi


# --- one-sided derivatives ----------------------------------------------------------------------


def test_one_sided_derivative_in_the_plane_is_the_limit_of_difference_quotients(x64):
    x, y, v = cloud_with_ties()
    found = clarke.directional_derivative(x, y, v)
    at = planar_energy(x, y)
    # On a short segment the energy is quadratic up to O(t^3): two quotients are extrapolated.
    quotient = lambda t: (planar_energy(x + t * v, y) - at) / t
    limit = 2 * quotient(1e-4) - quotient(2e-4)
    np.testing.assert_allclose(found, limit, atol=1e-6)
    # The two sides differ: this is a kink, and it points upward.
    assert found + clarke.directional_derivative(x, y, -v) < -0.05


@pytest.mark.slow
def test_one_sided_derivative_along_directions_is_the_limit_of_difference_quotients(x64):
    x, y, v = cloud_with_ties()
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(7, 2))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    a, b = rng.dirichlet(np.ones(6), size=2)
    t = 1e-6  # the loss is quadratic on a short segment: the error is t times its curvature
    equal = np.full(6, 1 / 6)
    cases = [(y, None, None, None), (y, a, b, None), (y, a, b, 5), (y, equal, equal, 5)]
    for target, wa, wb, n in cases:
        weights = (None, None) if wa is None else (jnp.array(wa), jnp.array(wb))
        found = clarke.directional_derivative(x, target, v, directions, *weights, batch_size=n)
        quotient = (
            slow_loss(x + t * v, target, directions, wa, wb, n)
            - slow_loss(x, target, directions, wa, wb, n)
        ) / t
        np.testing.assert_allclose(found, quotient, atol=2e-5)


def test_the_derivative_along_one_direction_sorts_lexicographically_at_projected_ties(x64):
    # Distinct points with equal projections on the first axis.
    x = jnp.array([[1.0, 0.0], [1.0, 5.0], [1.0, -2.0]])
    y = jnp.array([[0.0, 0.0], [2.0, 1.0], [7.0, 0.0]])
    v = jnp.array([[0.3, 0.0], [-1.0, 0.0], [0.5, 0.0]])
    found = clarke.directional_derivative(x, y, v, jnp.array([[1.0, 0.0]]))
    # Order 1, 0, 2 is paired with 0, 2, 7.
    by_hand = 2 / 3 * (-1.0 * (1 - 0) + 0.3 * (1 - 2) + 0.5 * (1 - 7))
    np.testing.assert_allclose(found, by_hand, rtol=1e-14)


def test_where_points_are_distinct_the_limiting_gradient_is_the_gradient(x64):
    rng = np.random.default_rng(2)
    x, y, v = rng.normal(size=(3, 6, 2))
    found = clarke.limiting_gradient(x, y, v)
    np.testing.assert_allclose(found, clarke.limiting_gradient(x, y, -v), atol=1e-14)
    step = 1e-4
    for k, axis in [(0, 0), (3, 1)]:
        move = np.zeros_like(x)
        move[k, axis] = step
        slope = (planar_energy(x + move, y) - planar_energy(x - move, y)) / (2 * step)
        np.testing.assert_allclose(found[k, axis], slope, atol=1e-7)


def test_limiting_gradient_is_the_limit_of_gradients(x64):
    x, y, v = cloud_with_ties()
    limit = clarke.limiting_gradient(x, y, v)
    errors = []
    for t in (1e-3, 1e-4):
        near = clarke.limiting_gradient(x + t * v, y, v)
        errors.append(np.abs(near - limit).max())
    assert errors[0] < 1e-2
    assert errors[1] < 0.2 * errors[0]
    np.testing.assert_allclose(
        np.vdot(limit, v), clarke.directional_derivative(x, y, v), rtol=1e-14
    )


def test_the_one_sided_derivative_is_concave_and_the_clarke_derivative_is_its_mirror(x64):
    x, y, v = cloud_with_ties()
    w = np.random.default_rng(3).normal(size=v.shape)
    slope = lambda v: float(clarke.directional_derivative(x, y, v))
    assert slope(v + w) >= slope(v) + slope(w) - 1e-13
    np.testing.assert_allclose(slope(3 * v), 3 * slope(v), rtol=1e-13)
    np.testing.assert_allclose(clarke.clarke_derivative(x, y, v), -slope(-v), rtol=1e-14)
    # It bounds every limiting gradient, as a support function does.
    for other in (v, w, -v, v - w):
        gradient = clarke.limiting_gradient(x, y, other)
        assert np.vdot(gradient, v) <= clarke.clarke_derivative(x, y, v) + 1e-13


@pytest.mark.slow
def test_equal_points_stay_tied_when_projections_are_rounded():
    # A projection of equal rows must not differ, whatever their place in the matrix product.
    x = jnp.tile(jax.random.normal(key(0), (1, 3)), (37, 1))
    y = jax.random.normal(key(1), (37, 3))
    v = jax.random.normal(key(2), (37, 3))
    directions = swjax.sample_directions(key(3), 64, 3)
    slope = clarke.directional_derivative(x, y, v, directions)
    exact = np.asarray(y, float), np.asarray(v, float), np.asarray(directions, float)
    by_hand = np.mean(
        [
            2 * np.mean((v @ th) * (np.asarray(x[0], float) @ th))
            - 2 * np.mean(np.sort(v @ th) * np.sort(y @ th))
            for y, v in [exact[:2]]
            for th in exact[2]
        ]
    )
    np.testing.assert_allclose(slope, by_hand, rtol=2e-5)


def test_arcs_cover_the_half_circle():
    x, v, y = jax.random.normal(key(4), (3, 4, 2))
    directions, matrices = arcs_of_the_plane(x, v, y)
    assert directions.shape == (13, 2)
    np.testing.assert_allclose(matrices.sum(axis=0), np.eye(2) / 2, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-6)


# --- vertices on the line -----------------------------------------------------------------------


@pytest.mark.slow
def test_sampled_gradients_near_a_tie_are_exactly_the_vertices(x64):
    rng = np.random.default_rng(4)
    t = jnp.array([0.3, 0.3, -1.0, 0.3, 2.0, 2.0])
    y = jnp.array(rng.normal(size=6))
    a, b = jnp.array(rng.dirichlet(np.ones(6), size=2))
    for p, q, n in [(None, None, None), (a, b, 4)]:
        vertices = clarke.clarke_vertices(t, y, p, q, batch_size=n)
        assert vertices.shape == (12, 6)
        near = t[None] + 1e-9 * rng.normal(size=(300, 6))
        gradient = lambda t, p=p, q=q, n=n: clarke.limiting_gradient(
            t[:, None], y[:, None], np.zeros((6, 1)), None, p, q, batch_size=n
        )[:, 0]
        sampled = jax.jit(jax.vmap(gradient))(near)
        distances = np.abs(sampled[:, None] - vertices[None]).max(axis=2)
        assert distances.min(axis=1).max() < 1e-7  # every sampled gradient is a vertex
        assert distances.min(axis=0).max() < 1e-7  # every vertex is met


def test_vertices_of_equal_weights_are_permutations_of_the_paired_targets(x64):
    y = jnp.array([4.0, -1.0, 2.5])
    vertices = clarke.clarke_vertices(np.full(3, 0.5), y)
    expected = [2 / 3 * (0.5 - np.array(p)) for p in itertools.permutations([-1.0, 2.5, 4.0])]
    found = sorted(map(tuple, np.asarray(vertices).round(12)))
    np.testing.assert_allclose(found, sorted(map(tuple, np.array(expected).round(12))))


def test_vertices_support_the_generalized_derivative(x64):
    t, y = jnp.array([1.0, 1.0, 1.0, 0.0]), jnp.array([0.0, 1.0, 5.0, -3.0])
    vertices = clarke.clarke_vertices(t, y)
    for v in np.random.default_rng(7).normal(size=(4, 4)):
        slope = clarke.directional_derivative(t[:, None], y[:, None], v[:, None])
        bound = clarke.clarke_derivative(t[:, None], y[:, None], v[:, None])
        np.testing.assert_allclose(slope, (vertices @ v).min(), rtol=1e-13)
        np.testing.assert_allclose(bound, (vertices @ v).max(), rtol=1e-13)


def test_too_many_orders_are_refused():
    with pytest.raises(ValueError, match="40320 ways"):
        clarke.clarke_vertices(np.zeros(8), np.arange(8.0))
    with pytest.raises(TypeError, match="traced"):
        jax.jit(clarke.clarke_vertices)(np.zeros(2), np.arange(2.0))
    with pytest.raises(ValueError, match=r"\(n,\)"):
        clarke.clarke_vertices(np.zeros((2, 1)), np.arange(2.0))


# --- the two-point zonoid -----------------------------------------------------------------------


def test_two_coinciding_points_have_the_zonoid_of_the_closed_form(x64):
    rng = np.random.default_rng(5)
    y = rng.normal(size=(2, 2))
    x = np.tile(rng.normal(size=2), (2, 1))
    drift = x[0] - y.mean(axis=0)
    for _ in range(5):
        v = rng.normal(size=(2, 2))
        apart = v[0] - v[1]
        slope = clarke.directional_derivative(x, y, v)
        expected = drift @ v.sum(axis=0) / 2 - zonoid_support(y[0] - y[1], apart)
        np.testing.assert_allclose(slope, expected, atol=1e-14)
        gradient = clarke.limiting_gradient(x, y, v)
        extreme = zonoid_limiting_gradient(y[0] - y[1], apart)
        np.testing.assert_allclose(gradient[0], drift / 2 + extreme, atol=1e-14)
        np.testing.assert_allclose(gradient[1], drift / 2 - extreme, atol=1e-14)


@pytest.mark.slow
def test_the_zonoid_in_three_dimensions_agrees_with_many_directions(x64):
    y = jnp.array([[0.0, 0.0, 1.0], [0.5, -1.0, 0.0]])
    v = jnp.array([[1.0, 2.0, -1.0], [0.0, 1.0, 1.0]])
    directions = swjax.sample_directions(key(6), 40_000, 3)
    slope = clarke.directional_derivative(np.zeros((2, 3)), y, v, directions)
    b, apart = y[0] - y[1], v[0] - v[1]
    exact = -y.mean(axis=0) @ v.sum(axis=0) / 3 - zonoid_support(b, apart)
    projected = 2 * (y @ directions.T)
    deviation = jnp.std(projected) * np.linalg.norm(v) / 200
    assert abs(slope - exact) < 5 * deviation
    # The support function is the largest inner product with a point of the zonoid.
    others = jax.random.normal(key(7), (500, 3))
    points = jax.jit(jax.vmap(lambda w: zonoid_limiting_gradient(b, w)))(others)
    assert (points @ apart).max() <= zonoid_support(b, apart) + 1e-12
    np.testing.assert_allclose(
        zonoid_limiting_gradient(b, -apart) @ apart, zonoid_support(b, apart), rtol=1e-12
    )


def test_zonoid_functions_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(d,\)"):
        zonoid_support(np.ones(2), np.ones(3))
    assert zonoid_support(np.zeros(2), np.ones(2)) == 0
    np.testing.assert_allclose(zonoid_limiting_gradient(np.zeros(2), np.ones(2)), 0)


# --- way up, way down ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_clarke_residual_is_the_largest_one_sided_derivative(x64):
    x, y, _ = (jnp.array(z) for z in cloud_with_ties())
    oracle = lambda v: clarke.limiting_gradient(x, y, v)
    found = clarke_residual(oracle, x, key(8), num_steps=40)
    assert found.upper > 0.1
    assert found.upper - found.lower < 1e-6
    np.testing.assert_allclose(np.linalg.norm(found.ascent), 1, rtol=1e-12)
    slope = clarke.directional_derivative(x, y, found.ascent)
    np.testing.assert_allclose(slope, found.lower, rtol=1e-12)
    # Nothing near the direction found rises faster, and nothing far from it: E' is concave.
    rng = np.random.default_rng(8)
    for size in (0.01, 0.1, 1.0) * 10:
        other = np.asarray(found.ascent) + size * rng.normal(size=x.shape)
        other /= np.linalg.norm(other)
        assert clarke.directional_derivative(x, y, other) <= found.upper + 1e-12


@pytest.mark.slow
def test_on_the_line_the_clarke_residual_is_the_least_combination_of_vertices(x64):
    t, y = jnp.array([1.0, 1.0, 1.0, 0.0]), jnp.array([3.0, 1.0, 5.0, 0.5])
    least = swjax.min_norm_point(clarke.clarke_vertices(t, y))
    oracle = lambda v: clarke.limiting_gradient(t[:, None], y[:, None], v[:, None])[:, 0]
    found = clarke_residual(oracle, t, key(10), num_steps=12)
    np.testing.assert_allclose(found.upper, least.norm, atol=1e-10)
    np.testing.assert_allclose(found.lower, least.norm, atol=1e-10)


@pytest.mark.slow
def test_a_ridge_is_clarke_critical_and_has_a_way_down(x64):
    # Both points at the middle of the two targets: the local maximum in the difference.
    y = jnp.array([[0.0, 1.0], [0.0, -1.0]])
    oracle = lambda v: clarke.limiting_gradient(jnp.zeros((2, 2)), y, v)
    residual = clarke_residual(oracle, np.zeros((2, 2)), key(11), num_steps=40)
    assert residual.upper < 1e-3
    assert residual.lower == 0
    test = descent_test(oracle, np.zeros((2, 2)), key(12))
    # The steepest way down parts the points along the targets: the longest point of the zonoid is
    # |b| / (2 d) = 1/2, twice in the pair (z, -z).
    np.testing.assert_allclose(test.slope, -np.sqrt(0.5), rtol=1e-9)
    np.testing.assert_allclose(np.abs(test.direction[:, 1]), np.sqrt(0.5), rtol=1e-5)
    assert test.kink > 0.1
    assert test.reading(1e-8).startswith("a kink with a way down")


def test_saddles_of_two_free_particles_have_no_way_down_to_first_order(x64):
    # Points at (+-2/pi, 0) against (0, +-1): gradient zero, a saddle.
    x = jnp.array([[2 / jnp.pi, 0.0], [-2 / jnp.pi, 0.0]])
    y = jnp.array([[0.0, 1.0], [0.0, -1.0]])
    for v in np.random.default_rng(9).normal(size=(5, 2, 2)):
        assert np.abs(clarke.limiting_gradient(x, y, v)).max() < 1e-15
    test = descent_test(lambda v: jnp.zeros_like(v), x, key(13))
    assert test.slope == 0
    assert test.reading(1e-12) == "a differentiable point with no way down to first order"
    assert planar_energy(np.asarray(x), np.asarray(y)) == pytest.approx(
        4 * (1 - 4 / np.pi**2) / 8, abs=1e-12
    )


def test_points_on_the_common_quantiles_are_critical(x64):
    # Y symmetric about the first axis: placing x_k at (2/pi) int cos(f) q_k(f) df on the axis gives
    # a zero gradient, q_k being the k-th smallest projection at the angle f.
    y = np.array([[1, 0.5], [1, -0.5], [-0.3, 1], [-0.3, -1], [2, 0.2], [2, -0.2]])
    breaks = [-np.pi / 2, np.pi / 2]
    for p, q in itertools.combinations(y, 2):
        breaks.append((np.arctan2(*(p - q)[::-1]) + np.pi / 2 + np.pi / 2) % np.pi - np.pi / 2)
    breaks = np.sort(breaks)
    quantile = lambda f, k: np.cos(f) * np.sort(y @ [np.cos(f), np.sin(f)])[k]
    place = lambda k: (
        (2 / np.pi)
        * sum(
            quad(quantile, l, h, args=(k,), epsabs=1e-14)[0] for l, h in itertools.pairwise(breaks)
        )
    )
    x = np.array([[place(k), 0.0] for k in range(6)])
    gradient = clarke.limiting_gradient(x, y, np.ones((6, 2)))
    np.testing.assert_allclose(gradient, 0, atol=1e-13)
    # Moving the points alternately off the axis lowers the energy.
    shaken = x + 0.05 * np.array([[0, 1], [0, -1]] * 3)
    assert planar_energy(shaken, y) < planar_energy(x, y) - 1e-5


# --- through a generator ------------------------------------------------------------------------


def test_population_gradients_of_the_two_point_problem_bound_its_subdifferential(x64):
    # F(u) = u^2 / 4 - |u| / 8 + 1 / 4: d_C F(0) = [-1/8, 1/8], and F'(u) away from 0.
    two = swjax.Discrete(jnp.array([[-0.5], [0.5]]))
    loss = swjax.SlicedLoss(lambda u, x: u * x, two, two, batch_size=2)
    gradient = lambda u, v: clarke.population_limiting_gradient(loss, u, v)
    np.testing.assert_allclose(gradient(0.0, 1.0), -0.125, rtol=1e-14)
    np.testing.assert_allclose(gradient(0.0, -1.0), 0.125, rtol=1e-14)
    np.testing.assert_allclose(gradient(0.7, -1.0), 0.35 - 0.125, rtol=1e-14)
    both = np.stack([gradient(0.0, v) for v in (1.0, -1.0)])
    assert swjax.kkt_residual_of_set(jnp.array(0.0), both).norm < 1e-15


@pytest.mark.slow
def test_population_derivative_is_the_slope_of_the_population_loss(x64):
    rng = np.random.default_rng(6)
    source = swjax.Discrete(jnp.array(rng.normal(size=(5, 2))))
    target = swjax.Discrete(jnp.array(rng.normal(size=(4, 2))), jnp.array([0.1, 0.2, 0.3, 0.4]))
    # With W = 0 all outputs coincide with b: a kink of F in W, which the tanh leaves in place.
    apply = lambda u, x: jnp.tanh(x @ u["W"]) + u["b"][None]
    loss = swjax.SlicedLoss(apply, source, target, batch_size=3)
    params = {"W": np.zeros((2, 2)), "b": jnp.array([0.1, -0.2])}
    v = {"W": jnp.array(rng.normal(size=(2, 2))), "b": jnp.array(rng.normal(size=2))}
    gradient = clarke.population_limiting_gradient(loss, params, v)
    slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, v)))
    F = jax.jit(swjax.PopulationLoss(loss))
    at = lambda t: F(jax.tree.map(lambda p, q: p + t * q, params, v))
    quotient = lambda t: (at(t) - at(0.0)) / t
    np.testing.assert_allclose(slope, 2 * quotient(1e-5) - quotient(2e-5), atol=1e-8)
    opposite = jax.tree.map(jnp.negative, v)
    other = clarke.population_limiting_gradient(loss, params, opposite)
    back = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, other, opposite)))
    assert slope + back < -0.01
    # Away from ties the limiting gradient is the gradient.
    moved = jax.tree.map(lambda p, q: p + 0.3 * q, params, v)
    jax.tree.map(
        lambda p, q: np.testing.assert_allclose(p, q, atol=1e-12),
        clarke.population_limiting_gradient(loss, moved, v),
        jax.grad(F)(moved),
    )


def test_ties_that_no_parameter_parts_are_no_kinks(x64):
    # The same latent point twice: T(u, x_1) = T(u, x_2) for all u, and F is smooth in u.
    source = swjax.Discrete(jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    target = swjax.Discrete(jnp.array([[1.0, 1.0], [-1.0, 0.5], [0.0, -2.0]]))
    loss = swjax.SlicedLoss(lambda u, x: x @ u, source, target, batch_size=3)
    u = jnp.array([[0.3, 1.0], [-0.4, 0.2]])
    one = clarke.population_limiting_gradient(loss, u, np.ones((2, 2)))
    other = clarke.population_limiting_gradient(loss, u, -np.ones((2, 2)))
    np.testing.assert_allclose(one, other, atol=1e-15)


# --- bad input ----------------------------------------------------------------------------------


def test_bad_input_is_refused():
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="needs directions"):
        clarke.limiting_gradient(np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="shape"):
        clarke.limiting_gradient(x, x, np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        clarke.directional_derivative(x, np.zeros((3, 1)), x)
    with pytest.raises(ValueError, match="sum to 1"):
        clarke.limiting_gradient(x, x, x, None, np.ones(3))
    with pytest.raises(ValueError, match="one weight for each point of y"):
        clarke.limiting_gradient(x, x, x, None, None, np.ones(2) / 2)
    with pytest.raises(ValueError, match="must have length 1"):
        clarke.limiting_gradient(x, x, x, np.ones((4, 2)))
    with pytest.raises(ValueError, match="batch_size"):
        clarke.limiting_gradient(x, x, x, batch_size=0)
    with pytest.raises(TypeError, match="int32"):
        clarke.limiting_gradient(np.zeros((3, 2), int), x, x)
    ball = swjax.measures.ball(2)
    loss = swjax.SlicedLoss(lambda u, x: x + u[None], ball, ball, batch_size=2)
    with pytest.raises(ValueError, match="not discrete"):
        clarke.population_limiting_gradient(loss, np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="num_steps"):
        clarke_residual(lambda v: v, x, key(0), num_steps=0)
    with pytest.raises(ValueError, match="num_starts"):
        descent_test(lambda v: v, x, key(0), num_starts=0)
    with pytest.raises(ValueError, match="1 numbers for 6"):
        descent_test(lambda v: v[0, 0], x, key(0))


def test_limiting_gradient_can_be_mapped_and_jitted(x64):
    x, y, v = cloud_with_ties()
    slope = jax.jit(jax.vmap(lambda v: clarke.directional_derivative(x, y, v)))
    alone = [clarke.directional_derivative(x, y, w) for w in (v, -v)]
    np.testing.assert_allclose(slope(np.stack([v, -v])), alone, rtol=1e-12)
