"""Implicit derivatives: right off ties, conservative across them, refused where singular."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import swjax
from swjax import counterexamples, implicit

UNCHECKED = "ignore:implicit_root. the invertibility condition cannot be checked"


def central_difference(function, at, step=1e-3):
    """Fourth order: error of step^4 and of rounding / step."""
    first = (function(at + step) - function(at - step)) / (2 * step)
    second = (function(at + 2 * step) - function(at - 2 * step)) / (4 * step)
    return np.asarray((4 * first - second) / 3)


def lasso_problem(num=30, dim=8, seed=0):
    generator = np.random.default_rng(seed)
    design = generator.normal(size=(num, dim)) * (1 + np.arange(dim)) / dim
    response = design[:, ::2].sum(1) + generator.normal(size=num)
    return jnp.asarray(design), jnp.asarray(response)


def layer(key, width=6):
    a, b, c = jax.random.split(key, 3)
    return {
        "factor": jax.random.normal(a, (width, width)) / width**0.5,
        "skew": jax.random.normal(b, (width, width)) / width**0.5,
        "bias": jax.random.normal(c, (width,)),
    }


def equilibrium(params, **options):
    matrix = implicit.monotone_matrix(params["factor"], params["skew"], 0.3)
    return implicit.relu_equilibrium(matrix, params["bias"], **options)


# ---------------------------------------------------------------- implicit_root


def cubic_solve(x):
    newton = lambda _, y: y - (y**3 + y - x**2) / (3 * y**2 + 1)
    return jax.lax.fori_loop(0, 60, newton, x)


cubic = implicit.implicit_root(lambda y, x: y**3 + y - x**2, cubic_solve)


@pytest.mark.slow
def test_first_and_second_derivatives_of_a_cubic_root(x64):
    slope = jax.grad(cubic)
    for x in (0.5, 2.0):
        y = float(cubic(x))
        expected = 2 * x / (3 * y**2 + 1)
        assert float(slope(x)) == pytest.approx(expected, rel=1e-13)
        assert float(jax.jvp(cubic, (x,), (1.0,))[1]) == pytest.approx(expected, rel=1e-13)
        second = (2 - 6 * y * expected**2) / (3 * y**2 + 1)
        assert float(jax.grad(slope)(x)) == pytest.approx(second, rel=1e-12)


@pytest.mark.filterwarnings(UNCHECKED)
def test_jit_and_vmap_give_the_same_derivatives(x64):
    points = jnp.array([0.5, 1.0, 2.0])
    one_by_one = [float(jax.grad(cubic)(x)) for x in points]
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(cubic)))(points), one_by_one, rtol=1e-13)
    both = jax.jit(jax.vmap(lambda x: jax.jvp(cubic, (x,), (1.0,))[1]))(points)
    np.testing.assert_allclose(both, one_by_one, rtol=1e-13)


def test_any_solver_serves_even_scipy(x64):
    solve = lambda x: jnp.asarray(optimize.brentq(lambda y: y**3 + y - float(x) ** 2, -9, 9))
    root = implicit.implicit_root(lambda y, x: y**3 + y - x**2, solve)
    assert float(jax.grad(root)(2.0)) == pytest.approx(float(jax.grad(cubic)(2.0)), rel=1e-9)


def test_variables_in_the_closure_are_differentiated_and_solutions_may_be_pytrees(x64):
    def value(scale):
        residual = lambda y, x: {"a": y["a"] ** 3 - scale * x, "b": y["b"] + y["a"] - scale}
        solve = lambda x: {"a": (scale * x) ** (1 / 3), "b": scale - (scale * x) ** (1 / 3)}
        y = implicit.implicit_root(residual, solve)(8.0)
        return y["a"] + 3 * y["b"]

    expected = 3 - 2 * 8 ** (1 / 3) / 3  # 3 scale - 2 (8 scale)^(1/3) at scale = 1
    assert float(jax.grad(value)(1.0)) == pytest.approx(expected, rel=1e-12)


def test_integer_arguments_pass_through(x64):
    root = implicit.implicit_root(lambda y, x, n: y - n * x, lambda x, n: jnp.asarray(n * x, float))
    assert float(jax.grad(root)(2.0, 3)) == 3.0


@pytest.mark.slow
def test_solvers_of_linear_systems_agree(x64):
    lineax = pytest.importorskip("lineax")

    def with_lineax(matvec, rhs):
        operator = lineax.FunctionLinearOperator(matvec, jax.eval_shape(lambda: rhs))
        return lineax.linear_solve(operator, rhs, lineax.LU()).value

    params = layer(jax.random.key(0))
    slopes = [
        jax.jit(jax.grad(lambda p, s=s: (equilibrium(p, linear_solve=s, check=False) ** 2).sum()))(
            params
        )
        for s in (implicit.dense_solve, implicit.krylov_solve, with_lineax)
    ]
    for other in slopes[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), slopes[0], other)


@pytest.mark.slow
def test_linear_solvers_give_nan_where_the_system_is_singular(x64):
    singular = jnp.array([[1.0, 2.0], [2.0, 4.0]])
    for solve in (implicit.dense_solve, implicit.krylov_solve):
        assert np.isnan(solve(lambda v: singular @ v, jnp.array([1.0, 0.0]))).all()
        regular = solve(lambda v: singular.at[0, 0].set(3.0) @ v, jnp.array([1.0, 0.0]))
        np.testing.assert_allclose(regular, [0.5, -0.25], atol=1e-12)
    assert np.isnan(implicit.dense_solve(lambda v: singular @ v, jnp.zeros(2))).all()


@pytest.mark.slow
def test_a_singular_equation_is_refused_and_gives_nan_where_it_cannot_be_checked(x64):
    quartic = lambda **options: implicit.implicit_root(
        lambda w, x: 4 * ((w - x) @ (w - x)) * (w - x), lambda x: x, **options
    )
    point = jnp.array([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Jacobian at the solution is singular"):
        jax.jvp(quartic(), (point,), (point,))
    with pytest.warns(implicit.RegularityWarning, match="cannot be checked while JAX traces"):
        slope = jax.jit(jax.jacfwd(quartic()))(point)
    assert np.isnan(slope).all()
    # A least-squares solver hides the singularity: derivative zero, the Lorenz counterexample.
    pinv = lambda matvec, rhs: jnp.linalg.pinv(jax.jacfwd(matvec)(rhs)) @ rhs
    hidden = quartic(linear_solve=pinv, check=False)
    zero = lambda x: counterexamples.lorenz_field(hidden(x)) @ (x - hidden(x))
    np.testing.assert_array_equal(
        jax.grad(zero)(point), jax.grad(counterexamples.lorenz_zero)(point)
    )


def test_the_hull_is_checked_not_only_the_jacobian_at_hand(x64):
    # y + 2|y| = x has no solution for x < 0: slopes 3 and -1, both invertible.
    root = implicit.implicit_root(lambda y, x: y + 2 * jnp.abs(y) - x, lambda x: x / 3)
    with pytest.warns(implicit.RegularityWarning, match="convex combination is singular"):
        slope = jax.grad(root)(0.0)
    assert float(slope) == pytest.approx(1 / 3)  # jnp.abs has derivative 1 at 0


def test_wide_systems_and_bad_solvers_are_warned_about(x64):
    wide = implicit.implicit_root(lambda y, x: y - x, lambda x: x)
    with pytest.warns(implicit.RegularityWarning, match="not checked for 200 unknowns"):
        jax.jvp(wide, (jnp.ones(200),), (jnp.ones(200),))
    bad = implicit.implicit_root(lambda y, x: y - x, lambda x: x + 0.1)
    with pytest.warns(implicit.RegularityWarning, match="leaves a residual of 0.1"):
        jax.grad(bad)(1.0)
    with pytest.raises(ValueError, match="as many numbers"):
        implicit.check_regularity(lambda y, x: jnp.stack([y, y]), 1.0, 1.0)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_solver_is_judged_by_how_far_it_is_from_a_solution_not_by_the_residual(x64, scale):
    root = lambda gap: implicit.implicit_root(lambda y, x: scale * (y - x), lambda x: x + gap)
    with pytest.warns(implicit.RegularityWarning, match="about 0.1 from a solution"):
        jax.grad(root(0.1))(1.0)
    assert float(jax.grad(root(1e-7))(1.0)) == pytest.approx(1)  # warnings are errors


def test_no_warning_where_all_is_well_or_nothing_is_differentiated(x64):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(cubic)(1.0)
        jax.grad(cubic)(1.0)
        quiet = implicit.implicit_root(lambda y, x: y - x, lambda x: x, check=False)
        jax.jit(jax.grad(quiet))(1.0)


# ---------------------------------------------------------------- regularity


def kinked(first, second):
    """An equation whose Jacobians around 0 are the two matrices, chosen by the sign of x."""
    residual = lambda y, x: jnp.where(x > 0, first, second) @ y
    return implicit.check_regularity(residual, jnp.zeros(2), jnp.zeros(()))


def rotation(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return jnp.array([[c, -s], [s, c]])


def test_regularity_is_proved_or_disproved(x64):
    identity = jnp.eye(2)
    opposite = kinked(identity, -identity)
    assert opposite.verdict == "singular"
    np.testing.assert_allclose(opposite.weights, [0.5, 0.5])
    # (1 - t) I + t R is a rotation times a positive number unless R turns by 180 degrees.
    assert kinked(identity, rotation(170)).verdict == "regular"
    assert kinked(identity, jnp.array([[1.0, 5.0], [0.0, 2.0]])).verdict == "regular"
    assert kinked(identity, jnp.zeros((2, 2))).verdict == "singular"
    assert "regular" in str(kinked(identity, identity))


@pytest.mark.parametrize(
    ("dtype", "scale", "kink"), [("float32", 5e-3, 0), ("float32", 1e-5, 0), (float, 1e-8, 1)]
)
def test_kinks_of_an_equation_do_not_hide_behind_one_of_larger_scale(x64, dtype, scale, kink):
    # The second slope is 3 or -1 times the scale: 0 is between them. The first is positive.
    def residual(y, x):
        first, second = 2 * y[0] + kink * jnp.abs(y[0]), y[1] + 2 * jnp.abs(y[1])
        return jnp.stack([first, jnp.asarray(scale, dtype) * second]) - x

    report = implicit.check_regularity(residual, jnp.zeros(2, dtype), jnp.zeros(2, dtype))
    assert report.verdict == "singular"
    np.testing.assert_allclose((report.weights @ report.jacobians[:, 1, 1]) / scale, 0, atol=1e-6)


def test_three_rotations_around_the_circle_are_not_called_regular(x64):
    # Their mean is zero, though no two of them have a singular combination.
    turns = jnp.stack([rotation(a) for a in (0, 120, 240)])
    residual = lambda y, x: turns[jnp.where(x[0] > 0, 0, jnp.where(x[1] > 0, 1, 2))] @ y
    report = implicit.check_regularity(residual, jnp.zeros(2), jnp.zeros(2))
    assert report.num_jacobians == 3
    assert report.verdict == "undecided"
    assert report.smallest_singular_value < 1  # each alone has 1: smaller inside


def test_not_finite_jacobians_are_singular(x64):
    report = implicit.check_regularity(lambda y, x: jnp.sqrt(y) - x, jnp.zeros(()), jnp.zeros(()))
    assert report.verdict == "singular"


def test_all_diagonal_selections_of_a_monotone_layer_are_regular(x64):
    # At bias = 0 the equilibrium is 0 and all six units stand at their kink.
    params = layer(jax.random.key(3), 3)
    matrix = implicit.monotone_matrix(params["factor"], params["skew"], 0.3)
    residual = lambda z, bias: z - jax.nn.relu(matrix @ z + bias)
    report = implicit.check_regularity(residual, jnp.zeros(3), jnp.zeros(3))
    assert report.verdict == "regular"
    assert report.num_jacobians > 4


# ---------------------------------------------------------------- lasso


def test_lasso_derivative_equals_the_closed_form_and_finite_differences(x64):
    design, response = lasso_problem()
    for log_penalty, num_active in ((0.5, 5), (2.0, 2), (3.0, 1)):
        solution = lambda t: implicit.lasso(design, response, t)
        b = np.asarray(solution(log_penalty))
        support = np.flatnonzero(b)
        assert len(support) == num_active
        active = np.asarray(design)[:, support]
        expected = np.zeros(8)
        expected[support] = -np.exp(log_penalty) * np.linalg.solve(
            active.T @ active, np.sign(b[support])
        )
        forward = jax.jvp(solution, (log_penalty,), (1.0,))[1]
        np.testing.assert_allclose(forward, expected, atol=2e-11)
        np.testing.assert_allclose(central_difference(solution, log_penalty), forward, atol=2e-11)


def test_lasso_satisfies_its_optimality_conditions_and_agrees_with_scikit_learn(x64):
    from sklearn import linear_model

    design, response = lasso_problem()
    path = implicit.lasso_path(design, response, jnp.array([-1.0, 1.0, 2.0, 3.0, 4.5]))
    for log_penalty, b in zip((-1.0, 1.0, 2.0, 3.0, 4.5), np.asarray(path), strict=True):
        penalty = np.exp(log_penalty)
        correlation = np.asarray(design.T @ (response - design @ b))
        assert np.abs(correlation).max() <= penalty * (1 + 1e-12)
        np.testing.assert_allclose(correlation[b != 0], penalty * np.sign(b[b != 0]), rtol=1e-12)
        model = linear_model.Lasso(penalty / 30, fit_intercept=False, tol=1e-14, max_iter=100_000)
        np.testing.assert_allclose(b, model.fit(design, response).coef_, atol=1e-7)


@pytest.mark.slow
def test_lasso_derivatives_in_the_data_match_finite_differences(x64):
    design, response = lasso_problem()
    weights = jnp.arange(1.0, 9.0)
    value = jax.jit(lambda d, r: weights @ implicit.lasso(d, r, 2.0, check=False))
    in_design, in_response = jax.jit(jax.grad(value, (0, 1)))(design, response)
    for i, j in ((0, 0), (3, 4), (7, 7)):
        along = lambda t, i=i, j=j: value(design.at[i, j].add(t), response)
        assert float(in_design[i, j]) == pytest.approx(
            float(central_difference(along, 0.0, 1e-4)), abs=1e-8
        )
        along = lambda t, i=i: value(design, response.at[i].add(t))
        assert float(in_response[i]) == pytest.approx(
            float(central_difference(along, 0.0, 1e-4)), abs=1e-8
        )


def test_the_lasso_path_integrates_to_the_right_increment_across_ties(x64):
    design, response = lasso_problem()
    weights = jnp.arange(1.0, 9.0)
    value = lambda t: weights @ implicit.lasso(design, response, t, check=False)
    path = jnp.array([-6.0, 1.0, 2.0, 3.5, 5.0])  # from the full support to none
    supports = (np.asarray(implicit.lasso_path(design, response, path)) != 0).sum(1)
    assert supports[0] == 8
    assert supports[-1] == 0
    report = swjax.check_conservative(value, jax.grad(value), path, num_nodes=(32, 64, 128, 256))
    assert report.verdict == "conservative"
    assert report.order <= -0.8


def test_a_lasso_with_a_repeated_column_is_refused(x64):
    design, response = lasso_problem(dim=3)
    twice = jnp.concatenate([design, design[:, -1:]], 1)
    # Filterwarnings turn the warning about the hull (one copy active, the other tied) into an
    # error; with both copies active the Jacobian itself is singular.
    with pytest.raises((ValueError, implicit.RegularityWarning), match="singular"):
        jax.jvp(lambda t: implicit.lasso(twice, response, t), (1.0,), (1.0,))

    def residual(b, t):
        forward = b - 0.01 * (twice.T @ (twice @ b - response))
        return b - implicit.soft_threshold(forward, 0.01 * jnp.exp(t))

    def solve(t):
        b = implicit.lasso(design, response, t)
        return jnp.append(b.at[-1].mul(0.5), b[-1] / 2)

    both = implicit.implicit_root(residual, solve)
    with pytest.raises(ValueError, match="singular"):
        jax.jvp(both, (1.0,), (1.0,))
    quiet = implicit.implicit_root(residual, solve, check=False)
    assert np.isnan(jax.jit(lambda t: jax.jvp(quiet, (t,), (1.0,))[1])(1.0)).all()


def test_a_lasso_that_has_not_converged_is_warned_about():
    # Columns that are nearly one: coordinate descent is slow, and its steps soon are small.
    generator = np.random.default_rng(0)
    design = jnp.asarray(generator.normal(size=(20, 1)) + 0.1 * generator.normal(size=(20, 8)))
    response = design @ generator.normal(size=8) + 0.3 * generator.normal(size=20)
    slope = lambda n: jax.jvp(
        lambda t: implicit.lasso(design, response, t, max_sweeps=n), (0.0,), (1.0,)
    )
    for max_sweeps in (1, 5, 20):
        with pytest.warns(implicit.RegularityWarning, match="from a solution"):
            slope(max_sweeps)
    slope(10_000)  # warnings are errors


@pytest.mark.parametrize("ratio", [1e-2, 1e-3])
def test_a_lasso_with_columns_of_different_scales_is_regular(ratio):
    generator = np.random.default_rng(1)
    scales = np.geomspace(1, ratio, 4)
    design = generator.normal(size=(30, 4)) * scales
    response = design @ (np.array([1.0, -1.0, 1.0, -1.0]) / scales)
    active = np.asarray(design, np.float32).astype(float)
    penalty = 0.1 * ratio
    expected = -penalty * np.linalg.solve(active.T @ active, np.array([1.0, -1.0, 1.0, -1.0]))
    solve = lambda t: implicit.lasso(jnp.asarray(design), jnp.asarray(response), t)
    slope = jax.jvp(solve, (float(np.log(penalty)),), (1.0,))[1]  # warnings are errors
    np.testing.assert_allclose(slope * scales, expected * scales, rtol=1e-2, atol=1e-6)


def test_a_lasso_takes_whole_numbers():
    # Orthogonal columns of lengths 1 and 2: b_j = S(z_j, e^(1/2)) / |design_j|^2, z = (3, -4).
    solve = lambda t: implicit.lasso(jnp.array([[1, 0], [0, 2]]), jnp.array([3, -2]), t)
    found, slope = jax.jvp(solve, (0.5,), (1.0,))
    np.testing.assert_allclose(found, [3 - np.exp(0.5), (np.exp(0.5) - 4) / 4], rtol=1e-6)
    np.testing.assert_allclose(slope, [-np.exp(0.5), np.exp(0.5) / 4], rtol=1e-6)


# ---------------------------------------------------------------- quadratic programs


def quadratic_problem(seed=0, dim=5, num=7):
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(dim, dim))
    return (
        jnp.asarray(root @ root.T + np.eye(dim)),
        jnp.asarray(4 * generator.normal(size=dim)),
        jnp.asarray(generator.normal(size=(num, dim))),
        jnp.asarray(generator.uniform(0.1, 1, num)),
    )


@pytest.mark.slow
def test_quadratic_programs_satisfy_their_conditions_and_finite_differences(x64):
    quadratic, linear, inequalities, bounds = quadratic_problem()
    y, z = implicit.quadratic_program(quadratic, linear, inequalities, bounds)
    slack = np.asarray(bounds - inequalities @ y)
    assert slack.min() > -1e-12
    assert float(z.min()) >= 0
    assert 0 < int((z > 0).sum()) < 5
    np.testing.assert_allclose(quadratic @ y + linear + inequalities.T @ z, 0, atol=1e-12)
    np.testing.assert_allclose(z * slack, 0, atol=1e-12)

    weights = jnp.arange(1.0, 6.0)
    value = jax.jit(lambda *data: weights @ implicit.quadratic_program(*data, check=False).primal)
    data = (quadratic, linear, inequalities, bounds)
    slopes = jax.jit(jax.grad(value, (0, 1, 2, 3)))(*data)
    generator = np.random.default_rng(1)
    for i, slope in enumerate(slopes):
        direction = jnp.asarray(generator.normal(size=slope.shape))
        along = lambda t, i=i, v=direction: value(*data[:i], data[i] + t * v, *data[i + 1 :])
        measured = float(central_difference(along, 0.0, 1e-4))
        assert float(jnp.vdot(slope, direction)) == pytest.approx(measured, abs=1e-6)


@pytest.mark.slow
def test_projection_onto_a_polyhedron_is_conservative_also_along_its_faces(x64):
    inequalities = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
    bounds = jnp.array([1.0, 1.5, 0.5])
    project = lambda x: (
        implicit.quadratic_program(jnp.eye(2), -x, inequalities, bounds, check=False).primal
    )
    value = lambda x: project(x) @ jnp.array([1.0, -2.0])
    # The third edge runs along the face x_1 = 1, where the first multiplier is zero.
    path = jnp.array([[0.0, 0.0], [2.0, 1.0], [1.0, 0.4], [1.0, -0.3], [-1.0, -2.0], [2.0, -2.0]])
    report = swjax.check_conservative(value, jax.grad(value), path, num_nodes=(32, 64, 128, 256))
    assert report.verdict == "conservative"
    assert report.order <= -0.8


def test_a_repeated_active_constraint_is_refused(x64):
    rows = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    solve = lambda x: implicit.quadratic_program(jnp.eye(2), -x, rows, jnp.ones(2)).primal
    with pytest.raises((ValueError, implicit.RegularityWarning), match="singular"):
        jax.jvp(solve, (jnp.array([3.0, 0.0]),), (jnp.ones(2),))


@pytest.mark.parametrize("curvature", [1.0, 30.0, 1000.0])
def test_a_repeated_weakly_active_constraint_is_refused_at_any_scale(curvature):
    rows = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    solve = lambda c: (
        implicit.quadratic_program(curvature * jnp.eye(2), c, rows, jnp.zeros(2)).primal
    )
    with pytest.raises(implicit.RegularityWarning, match="singular"):
        jax.jvp(solve, (jnp.zeros(2),), (jnp.ones(2),))


def test_the_lp_layer_has_the_formal_gradient_of_the_counterexample(x64):
    # argmax of c.s over a box: s = clip(s + c); on the line h = 0 nothing is determined.
    upper = jnp.array([3.0, 5.0])
    layer = implicit.implicit_root(
        lambda s, c: s - jnp.clip(s + c, 0.0, upper), lambda c: jnp.where(c > 0, upper, 0.0)
    )

    def objective(point):
        s = layer(counterexamples.lp_margin(point) * jnp.ones(2))
        return (point[0] - s[0]) ** 2 + 4 * (point[1] - s[1]) ** 2

    for point in (jnp.array([1.0, 3.0]), jnp.array([3.0, 1.0])):
        np.testing.assert_allclose(
            jax.grad(objective)(point), jax.grad(counterexamples.lp_objective)(point)
        )
    with pytest.raises((ValueError, implicit.RegularityWarning), match="singular"):
        jax.grad(objective)(jnp.array([1.0, 1.0]))


# ---------------------------------------------------------------- equilibrium layers


@pytest.mark.slow
def test_equilibria_are_fixed_points_with_the_derivative_of_finite_differences(x64):
    params = layer(jax.random.key(0))
    matrix = implicit.monotone_matrix(params["factor"], params["skew"], 0.3)
    z = equilibrium(params)
    np.testing.assert_allclose(z, jax.nn.relu(matrix @ z + params["bias"]), atol=1e-13)
    assert 0 < int((z > 0).sum()) < 6
    loss = jax.jit(lambda p: (equilibrium(p, check=False) ** 3).sum())
    slope = jax.jit(jax.grad(loss))(params)
    generator = np.random.default_rng(0)
    for name, value in params.items():
        direction = jnp.asarray(generator.normal(size=value.shape))
        along = lambda t, n=name, v=direction: loss({**params, n: params[n] + t * v})
        measured = float(central_difference(along, 0.0, 1e-4))
        assert float(jnp.vdot(slope[name], direction)) == pytest.approx(measured, abs=1e-8)


@pytest.mark.slow
def test_a_loss_behind_an_equilibrium_layer_is_conservative(x64):
    params = layer(jax.random.key(0), 3)
    loss = lambda p: (equilibrium(p, check=False) ** 2).sum()
    path = swjax.sample_polygon(jax.random.key(1), params, 9, radius=4.0)
    report = swjax.check_conservative(loss, jax.grad(loss), path, num_nodes=(32, 64, 128, 256))
    assert report.verdict == "conservative"
    assert report.order <= -0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_derivatives_agree_with_jaxopt_and_optimistix_off_ties(x64):
    implicit_diff = pytest.importorskip("jaxopt.implicit_diff")
    optimistix = pytest.importorskip("optimistix")
    params = layer(jax.random.key(0))
    matrix = implicit.monotone_matrix(params["factor"], params["skew"], 0.3)
    residual = lambda z, bias: z - jax.nn.relu(matrix @ z + bias)
    solve = lambda bias: implicit.relu_equilibrium(matrix, bias, check=False)
    ours = jax.jit(jax.jacrev(solve))(params["bias"])

    wrapped = implicit_diff.custom_root(residual)(lambda init, bias: solve(bias))
    theirs = jax.jit(jax.jacrev(lambda bias: wrapped(None, bias)))(params["bias"])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)  # jaxopt solves iteratively

    newton = optimistix.Newton(rtol=1e-12, atol=1e-12)
    found = lambda bias: optimistix.root_find(residual, newton, solve(bias), bias).value
    np.testing.assert_allclose(ours, jax.jit(jax.jacrev(found))(params["bias"]), atol=1e-10)


def test_margins_must_be_positive():
    with pytest.raises(ValueError, match="margin must be positive"):
        implicit.monotone_matrix(jnp.eye(2), jnp.eye(2), 0.0)
