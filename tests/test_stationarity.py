"""Stationarity: residuals on the ball, least elements, Goldstein certificates, known sets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize_scalar, nnls

import swjax
from swjax import counterexamples
from swjax.nonsmooth.goldstein import (
    GoldsteinCertificate,
    _distance_to_normals,
    _reflect_at_sphere,
)
from swjax.nonsmooth.min_norm import MinNormPoint

key = jax.random.key


def nnls_least(rows, ray=None):
    """The least norm of conv(rows) + cone{ray} by non-negative least squares, in NumPy."""
    rows = np.asarray(rows, float)
    heavy = 1e6 * np.abs(rows).max()
    columns = np.vstack([rows.T, np.full((1, len(rows)), heavy)])
    if ray is not None:
        columns = np.column_stack([columns, np.append(np.asarray(ray, float), 0.0)])
    return nnls(columns, np.append(np.zeros(rows.shape[1]), heavy), maxiter=10_000)[1]


# --- the point of least norm --------------------------------------------------------------------


def test_least_point_of_a_hull_agrees_with_nonnegative_least_squares(x64):
    rng = np.random.default_rng(0)
    # Zero outside and inside the hull, rows close together, more rows than entries and fewer.
    cases = [(30, 12, 0.8, 1.0), (30, 12, 0.0, 1.0), (30, 12, 1.0, 1e-3), (12, 30, 0.0, 1.0)]
    for m, d, shift, spread in cases:
        rows = spread * rng.normal(size=(m, d)) + shift
        found = swjax.min_norm_point(rows)
        least = nnls_least(rows)
        assert abs(found.norm - least) < 1e-5 * np.abs(rows).max()
        assert found.lower <= least + 1e-6
        assert found.norm >= least - 1e-6
        assert found.norm - found.lower < 1e-12
        np.testing.assert_allclose(found.weights @ rows, found.point, atol=1e-12)
        assert found.weights.min() >= 0
        np.testing.assert_allclose(found.weights.sum(), 1, atol=1e-12)
    early = swjax.min_norm_point(rows, num_steps=3)
    assert early.lower <= found.lower + 1e-12
    assert early.norm >= found.norm
    assert early.num_steps == 3


def test_least_point_with_a_ray_agrees_with_nonnegative_least_squares(x64):
    rng = np.random.default_rng(2)
    for trial in range(6):
        rows = rng.normal(size=(10, 4)) + 1.0
        ray = rng.normal(size=4) * 10.0 ** (trial - 3) - 0.5 * 10.0 ** (trial - 3)
        found = swjax.min_norm_point(rows, ray)
        assert abs(found.norm - nnls_least(rows, ray / np.linalg.norm(ray))) < 1e-5
        assert found.norm - found.lower < 1e-10
        np.testing.assert_allclose(
            found.weights @ rows + found.multiplier * ray, found.point, atol=1e-11
        )
        assert found.multiplier >= 0


def test_least_point_is_the_midpoint_for_two_opposite_kinks():
    found = swjax.min_norm_point(jnp.array([[-1.0, 2.0], [1.0, 2.0], [0.5, 5.0]]))
    np.testing.assert_allclose(found.point, [0.0, 2.0], atol=1e-3)
    np.testing.assert_allclose(found.weights, [0.5, 0.5, 0.0], atol=1e-3)


def test_least_point_survives_extreme_scales():
    rows = jnp.array([[3.0, 4.0], [3.0, 5.0], [4.0, 4.0]])
    for scale in (1e-30, 1e30):
        found = swjax.min_norm_point(rows * scale)
        np.testing.assert_allclose(found.norm / scale, 5.0, rtol=1e-6)
    assert swjax.min_norm_point(np.zeros((3, 2))).norm == 0


def test_least_points_of_single_and_half_precision_do_not_need_double_turned_off(x64):
    kink = jnp.array([[-1.0, 2.0], [1.0, 2.0], [0.5, 5.0]], jnp.float32)
    for rows in (kink, kink.astype(jnp.bfloat16)):
        found = swjax.min_norm_point(rows)
        assert found.norm.dtype == found.weights.dtype == jnp.float32
        np.testing.assert_allclose(found.point, [0.0, 2.0], atol=1e-3)
    u = jnp.zeros(2, jnp.float32)
    np.testing.assert_allclose(swjax.kkt_residual_of_set(u, kink).norm, 2, rtol=1e-5)
    # 2 u_2 - |u_1|: the set of slopes at 0 is [-1, 1] x {2}.
    slope = lambda u: jnp.stack([-jnp.sign(u[0]), jnp.full_like(u[1], 2)])
    found = swjax.goldstein_certificate(slope, u, 0.1, key(1), num_samples=8)
    np.testing.assert_allclose(found.upper, 2, rtol=1e-5)
    np.testing.assert_allclose(swjax.clarke_residual(slope, u, key(1)).upper, 2, rtol=1e-5)


def test_least_point_can_be_mapped_over_a_batch(x64):
    batch = np.random.default_rng(7).normal(size=(5, 30, 12)) + 0.5
    together = jax.jit(jax.vmap(swjax.min_norm_point))(batch)
    alone = [swjax.min_norm_point(rows).norm for rows in batch]
    np.testing.assert_allclose(together.norm, alone, rtol=1e-11)


def test_least_point_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match=r"\(m, d\)"):
        swjax.min_norm_point(np.zeros(3))
    with pytest.raises(ValueError, match="got shape"):
        swjax.min_norm_point(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="not finite"):
        swjax.min_norm_point(jnp.array([[jnp.nan, 1.0]]))
    with pytest.raises(ValueError, match="ray is zero"):
        swjax.min_norm_point(np.ones((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="like a vector"):
        swjax.min_norm_point(np.ones((2, 3)), np.ones(2))
    with pytest.raises(ValueError, match="num_steps"):
        swjax.min_norm_point(np.ones((2, 3)), num_steps=0)
    with pytest.raises(TypeError, match="int32"):
        swjax.min_norm_point(np.ones((2, 3), jnp.int32))


# --- the residual -------------------------------------------------------------------------------


def test_residual_on_the_sphere_is_the_least_norm_over_the_normal_cone(x64):
    rng = np.random.default_rng(3)
    signs = set()
    for _ in range(8):
        u = rng.normal(size=5)
        g = rng.normal(size=5)
        radius = np.linalg.norm(u)
        brute = minimize_scalar(
            lambda s, g=g, u=u: np.linalg.norm(g + s * u),
            bounds=(0, 10),
            method="bounded",
            options={"xatol": 1e-12},
        )
        residual = swjax.kkt_residual(jnp.array(u), jnp.array(g), radius=radius)
        np.testing.assert_allclose(residual, brute.fun, atol=1e-9)
        signs.add(np.sign(g @ u))
    assert signs == {-1, 1}


def test_residual_is_the_limit_of_the_projected_gradient_step(x64):
    rng = np.random.default_rng(4)
    for scale in (1.0, 0.5):
        u, g = jnp.array(rng.normal(size=4)), jnp.array(rng.normal(size=4))
        radius = np.linalg.norm(u)
        u = u * scale
        residual = swjax.kkt_residual(u, g, radius)
        errors = [abs(swjax.gradient_mapping(u, g, t, radius) - residual) for t in (1e-3, 1e-5)]
        assert errors[1] <= 1e-2 * errors[0] * 1.5 + 1e-12
        assert errors[1] < 1e-4
    np.testing.assert_allclose(swjax.gradient_mapping(u, g, 0.3), np.linalg.norm(g))


def test_residual_takes_the_norm_of_the_whole_tree():
    params = {"w": jnp.array([[0.0, 3.0]]), "b": jnp.array(4.0)}
    gradient = {"w": jnp.array([[1.0, -3.0]]), "b": jnp.array(-4.0)}
    assert swjax.kkt_residual(params, gradient, radius=5.0) == 1
    np.testing.assert_allclose(swjax.kkt_residual(params, gradient, radius=6.0), 26**0.5)
    np.testing.assert_allclose(swjax.kkt_residual(params, gradient), 26**0.5)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_residuals_of_tiny_and_huge_gradients_neither_vanish_nor_overflow(scale):
    u, g = jnp.array([0.0, 0.0, 2.0]), scale * jnp.array([3.0, 4.0, -1.0])
    for radius, expected in ((None, 26**0.5), (3.0, 26**0.5), (2.0, 5.0)):
        np.testing.assert_allclose(swjax.kkt_residual(u, g, radius) / scale, expected, rtol=1e-6)
    np.testing.assert_allclose(swjax.gradient_mapping(u, g, 0.1) / scale, 26**0.5, rtol=1e-6)
    # The step ends at scale * (3, 4) and is projected onto the sphere along that line.
    mapped = swjax.gradient_mapping(0 * u, g.at[2].set(0), 1.0, radius=scale)
    np.testing.assert_allclose(mapped / scale, 1, rtol=1e-6)
    assert swjax.kkt_residual(u, g.at[0].set(jnp.inf)) == jnp.inf


def test_residual_vanishes_at_the_constrained_minimum_of_the_translation_problem(x64):
    # F(u) = |u - c|^2 / d + const with |c| > r: the only stationary point of the ball is r c / |c|.
    c = jnp.array([3.0, -4.0])
    gradient = lambda u: u - c  # d = 2
    residual = jax.vmap(lambda u: swjax.kkt_residual(u, gradient(u), radius=2.0))
    angles = np.linspace(0, 2 * jnp.pi, 41)
    circle = 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert swjax.kkt_residual(0.4 * c, gradient(0.4 * c), radius=2.0) < 1e-14
    away = np.linalg.norm(circle - 0.4 * c[None], axis=1) > 1e-8
    assert np.all(residual(circle)[away] > 0.01)
    # Opposite to the minimum the gradient points inwards along u: descent, not stationarity.
    np.testing.assert_allclose(swjax.kkt_residual(-0.4 * c, gradient(-0.4 * c), radius=2.0), 7)


def test_residual_of_a_set_agrees_with_nonnegative_least_squares(x64):
    rng = np.random.default_rng(5)
    u = {"a": jnp.array(rng.normal(size=2)), "b": jnp.array(rng.normal(size=(1, 2)))}
    flat, _ = ravel_pytree(u)
    stacked = {
        "a": jnp.array(rng.normal(size=(6, 2)) + 1),
        "b": jnp.array(rng.normal(size=(6, 1, 2)) - 1),
    }
    rows = np.concatenate([stacked["a"], stacked["b"].reshape(6, 2)], axis=1)
    radius = np.linalg.norm(flat)
    inside = swjax.kkt_residual_of_set(u, stacked, radius=2 * radius)
    on_sphere = swjax.kkt_residual_of_set(u, stacked, radius=radius)
    np.testing.assert_allclose(inside.norm, nnls_least(rows), atol=1e-5)
    np.testing.assert_allclose(on_sphere.norm, nnls_least(rows, flat), atol=1e-5)
    np.testing.assert_allclose(
        on_sphere.weights @ rows + on_sphere.multiplier * flat, on_sphere.point, atol=1e-10
    )
    assert inside.multiplier == 0


def test_residual_of_one_subgradient_is_the_smooth_residual():
    u, g = jnp.array([1.0, 2.0, 2.0]), jnp.array([1.0, -5.0, 0.5])
    for radius in (None, 3.0, 4.0):
        several = swjax.kkt_residual_of_set(u, g[None], radius=radius)
        np.testing.assert_allclose(several.norm, swjax.kkt_residual(u, g, radius), rtol=1e-5)
        assert isinstance(several, MinNormPoint)


def test_residuals_at_kinks_are_the_closed_forms():
    # F(u) = (1 + |u|)^2 / d: d_C F(0) = [-2/d, 2/d] holds 0, though every gradient is 2/d or more.
    for d in (2, 3):
        kink = jnp.array([[-2 / d], [2 / d]])
        assert swjax.kkt_residual_of_set(jnp.zeros(1), kink).norm < 1e-6
        beside = jnp.array([0.01])
        assert swjax.kkt_residual(beside, 2 / d * (1 + beside)) >= 2 / d
    # A kink across the sphere of radius 2: the hull's least element is (0, h). Outward it is held.
    for height, along, least in ((-3.0, 2.0, 0.0), (3.0, 2.0, 3.0), (-3.0, -2.0, 3.0)):
        rows = jnp.array([[-1.0, height], [1.0, height]])
        found = swjax.kkt_residual_of_set(jnp.array([0.0, along]), rows, radius=2.0)
        np.testing.assert_allclose(found.norm, least, atol=1e-5)
        np.testing.assert_allclose(found.multiplier, 1.5 if least == 0 else 0.0, atol=1e-5)


def test_iterates_that_the_projection_returns_count_as_on_the_sphere():
    points = 10 * jax.random.normal(key(1), (200, 50))
    on_sphere = jax.vmap(lambda p: 3.0 * p / jnp.linalg.norm(p))(points)
    residuals = jax.vmap(lambda u: swjax.kkt_residual(u, -u, radius=3.0))(on_sphere)
    assert np.all(residuals < 1e-5)


def test_residual_refuses_points_outside_the_ball_and_bad_radii():
    u, g = jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0])
    with pytest.raises(ValueError, match="outside the ball of radius 4"):
        swjax.kkt_residual(u, g, radius=4.0)
    with pytest.raises(ValueError, match="positive, got -1"):
        swjax.kkt_residual(u, g, radius=-1.0)
    with pytest.raises(ValueError, match="one number"):
        swjax.kkt_residual(u, g, radius=np.ones(2))
    with pytest.raises(ValueError, match="structure and shapes"):
        swjax.kkt_residual(u, np.ones(3))
    with pytest.raises(ValueError, match="leading axis"):
        swjax.kkt_residual_of_set(u, np.ones((4, 3)))
    with pytest.raises(TypeError, match="dtype int64"):
        swjax.kkt_residual(np.arange(2), np.arange(2))
    with pytest.raises(ValueError, match="step_size"):
        swjax.gradient_mapping(u, g, 0.0)
    assert np.isnan(jax.jit(swjax.kkt_residual)(u, g, 4.0))
    assert np.isnan(jax.jit(swjax.gradient_mapping)(u, g, 0.1, 4.0))


# --- Goldstein certificates ---------------------------------------------------------------------


def scale_gradient(u):
    """Gradient of F(u) = u^2 / 4 - |u| / 8 + 1 / 4, the two-point scale problem."""
    return u / 2 - jnp.sign(u) / 8


def test_certificate_finds_the_ridge_of_the_two_point_problem(x64):
    at_ridge = swjax.goldstein_certificate(
        scale_gradient, jnp.array(0.0), 0.01, key(2), num_samples=64
    )
    assert at_ridge.upper < 1e-12
    # At (u, eps) = (0.05, 0.01) the least element is the gradient at 0.06, of size 0.095.
    beside = swjax.goldstein_certificate(
        scale_gradient, jnp.array(0.05), 0.01, key(2), num_samples=64, smoothness=0.5
    )
    assert 0.095 <= beside.upper < 0.0955
    np.testing.assert_allclose(beside.lower, 0.095, atol=1e-14)
    assert at_ridge.reading(0.01).startswith("(0.01, 0.01)-stationary")
    assert beside.reading(0.01).startswith("not (0.01, 0.01)-stationary")
    without = beside._replace(lower=np.zeros(()))
    assert "proves nothing" in without.reading(0.01)


def test_certificate_sees_an_attracting_kink_where_the_gradient_norm_stays_large(x64):
    # F(u) = (1 + |u|)^2 / d with d = 2: |grad F| >= 1 everywhere, the minimum is the kink at 0.
    gradient = lambda u: (1 + jnp.abs(u)) * jnp.sign(u)
    u = jnp.array(0.003)
    assert abs(gradient(u)) > 1
    certified = swjax.goldstein_certificate(gradient, u, 0.01, key(3), num_samples=64)
    assert certified.upper < 1e-10


def test_certificate_is_sandwiched_where_the_gradient_is_smooth(x64):
    matrix = np.diag(jnp.array([1.0, 3.0]))
    gradient = lambda u: matrix @ u
    u = jnp.array([1.0, 1.0])
    found = swjax.goldstein_certificate(gradient, u, 0.1, key(4), num_samples=64, smoothness=3.0)
    # The set is {A w : |w - u| <= eps}, so its least norm is that of the nearest such point.
    angles = np.linspace(0, 2 * np.pi, 10_001)
    circle = 1 + 0.1 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    true = np.linalg.norm(circle @ np.diag([1.0, 3.0]), axis=1).min()
    assert found.lower <= true <= found.upper
    assert found.upper - true < 0.05


def test_certificate_on_the_sphere_adds_the_normals(x64):
    # The translation problem with the ball active: stationary at r c / |c| only.
    c = jnp.array([3.0, -4.0])
    gradient = lambda u: u - c
    at_minimum = 0.4 * c
    settings = {"epsilon": 1e-3, "key": key(6), "num_samples": 64, "smoothness": 1.0}
    held = swjax.goldstein_certificate(gradient, at_minimum, radius=2.0, **settings)
    assert held.upper < 1e-10
    assert held.lower == 0
    free = swjax.goldstein_certificate(gradient, at_minimum, **settings)
    assert free.upper > 2.9
    # An iterate that hovers just below the sphere is certified as well, unlike by its residual.
    below = 0.4 * (1 - 2e-4) * c
    assert swjax.kkt_residual(below, gradient(below), radius=2.0) > 2.9
    hovering = swjax.goldstein_certificate(gradient, below, radius=2.0, **settings)
    assert hovering.upper < 1e-10
    # Elsewhere on the sphere the lower bound refutes stationarity.
    aside = jnp.array([2.0, 0.0])
    other = swjax.goldstein_certificate(gradient, aside, radius=2.0, **settings)
    residual = swjax.kkt_residual(aside, gradient(aside), radius=2.0)
    assert 0.9 * residual < other.lower <= other.upper < 1.01 * residual


def test_reflected_samples_stay_in_both_balls(x64):
    rng = np.random.default_rng(6)
    for _ in range(20):
        u = rng.normal(size=3)
        u *= min(1.0, rng.uniform(0.5, 1.5)) / np.linalg.norm(u)
        epsilon = rng.uniform(0.01, 1.0)
        steps = rng.normal(size=(500, 3))
        steps *= epsilon * rng.uniform(size=(500, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
        moved = _reflect_at_sphere(jnp.array(u + steps), jnp.array(1.0))
        assert np.linalg.norm(moved, axis=1).max() <= 1 + 1e-12
        assert np.linalg.norm(moved - u[None], axis=1).max() <= epsilon + 1e-12


def test_distance_to_the_normals_within_reach_agrees_with_brute_force(x64):
    rng = np.random.default_rng(7)
    u = np.array([0.0, 0.0, 0.95])
    normals = rng.normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    near = normals[np.linalg.norm(normals - u, axis=1) <= 0.3]
    for _ in range(6):
        vector = rng.normal(size=3)
        along = np.maximum(near @ vector, 0)
        brute = np.linalg.norm(vector - along[:, None] * near, axis=1).min()
        exact = _distance_to_normals(jnp.array(vector), jnp.array(u), jnp.array(1.0), 0.3)
        assert exact <= brute + 1e-12
        assert brute - exact < 0.02
    deep = _distance_to_normals(jnp.array(vector), jnp.array(u) / 2, jnp.array(1.0), 0.3)
    np.testing.assert_allclose(deep, np.linalg.norm(vector))


def test_certificate_works_on_trees_and_under_jit():
    params = {"a": jnp.array([0.1, -0.2]), "b": jnp.array(0.3)}
    loss = lambda p: jnp.abs(p["a"]).sum() + jnp.abs(p["b"] - 0.3)

    @jax.jit
    def certify(params, key):
        return swjax.goldstein_certificate(
            jax.grad(loss), params, 0.5, key, num_samples=64, radius=1.0, batch_size=7
        )

    found = certify(params, key(8))
    assert found.upper < 1e-4
    assert jax.tree.structure(found.point) == jax.tree.structure(params)


def test_certificate_is_refused_where_samples_of_this_precision_fall_on_kinks():
    # A function equal to u - 1000 whose derivative by autodiff is 0 at u = 1000: the slope is 1.
    slope = jax.grad(lambda u: counterexamples.spurious_identity(u - 1000.0).sum())
    arguments = (jnp.array([1000.0]), 1e-3, key(9))
    certify = functools.partial(swjax.goldstein_certificate, slope, num_samples=50)
    with pytest.raises(ValueError, match=r"at least 0\.298; take a larger epsilon"):
        certify(*arguments)
    traced = jax.jit(lambda *arguments: tuple(certify(*arguments)))(*arguments)
    refused = GoldsteinCertificate(*traced)
    assert np.isnan(refused.upper)
    assert "epsilon is too small" in refused.reading(0.1)
    np.testing.assert_allclose(certify(jnp.array([1000.0]), 0.3, key(9)).upper, 1, rtol=1e-6)
    with jax.enable_x64(True):
        fine = certify(jnp.array([1000.0], float), 1e-3, key(9))
        np.testing.assert_allclose(fine.upper, 1, rtol=1e-6)


def test_certificate_says_that_a_gradient_is_not_a_number():
    found = swjax.goldstein_certificate(
        lambda u: u * jnp.nan, jnp.ones(2), 0.1, key(9), num_samples=4, smoothness=1.0
    )
    assert np.isnan(found.upper)
    assert np.isnan(found.lower)
    assert found.reading(0.1).startswith("no statement: the norm found is not a number. A gradient")


def test_certificate_refuses_bad_input():
    arguments = {"key": key(9), "num_samples": 4}
    u = jnp.array([0.5, 0.0])
    identity = lambda u: u
    for epsilon in (0.0, -0.1, jnp.inf):
        with pytest.raises(ValueError, match="epsilon must be positive"):
            swjax.goldstein_certificate(identity, u, epsilon, **arguments)
    with pytest.raises(ValueError, match="exceeds the radius"):
        swjax.goldstein_certificate(identity, u, 2.0, radius=1.0, **arguments)
    with pytest.raises(ValueError, match="outside the ball"):
        swjax.goldstein_certificate(identity, u, 0.1, radius=0.4, **arguments)
    with pytest.raises(ValueError, match="num_samples"):
        swjax.goldstein_certificate(identity, u, 0.1, key(9), num_samples=0)
    with pytest.raises(ValueError, match="smoothness must be at least 0"):
        swjax.goldstein_certificate(identity, u, 0.1, smoothness=-1.0, **arguments)
    with pytest.raises(ValueError, match="1 numbers for 2"):
        swjax.goldstein_certificate(lambda u: u[:1], u, 0.1, **arguments)


# --- known critical sets ------------------------------------------------------------------------


def test_distance_to_points_takes_the_nearest_for_every_iterate():
    critical = {"u": jnp.array([[-0.25, 0.0], [0.25, 0.0]]), "b": jnp.array([0.0, 1.0])}
    path = {
        "u": jax.random.normal(key(10), (3, 4, 2)),
        "b": jax.random.normal(key(11), (3, 4)),
    }
    found = swjax.distance_to_points(path, critical)
    assert found.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        flat = np.append(path["u"][i, j], path["b"][i, j])
        rows = np.column_stack([critical["u"], critical["b"]])
        np.testing.assert_allclose(
            found[i, j], np.linalg.norm(rows - flat, axis=1).min(), rtol=1e-6
        )
    single = swjax.distance_to_points({"u": np.zeros(2), "b": jnp.array(0.0)}, critical)
    assert single.shape == ()
    assert single == 0.25


def test_distance_to_points_refuses_trees_that_do_not_fit():
    with pytest.raises(ValueError, match="does not end in"):
        swjax.distance_to_points(np.zeros((5, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="at least 1"):
        swjax.distance_to_points(np.zeros((5, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="must agree"):
        swjax.distance_to_points(np.zeros((5, 3)), {"u": np.zeros((2, 3))})
    with pytest.raises(ValueError, match="leading axes"):
        swjax.distance_to_points(
            {"a": np.zeros((5, 1)), "b": np.zeros((4, 1))},
            {"a": np.zeros((2, 1)), "b": np.zeros((2, 1))},
        )
