"""Particles: problems, steps and runs against closed forms, finite differences and direct sums."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from particle_reference import dirichlet

import swjax
from swjax import particles as P
from swjax.flows.particles.run import _run

STEPS = [P.GradientDescent, P.ForwardBackward, P.ConicDescent]
PROBLEM_ARGUMENTS = ([1.0, -0.7], [0.2, 0.55])


def cloud(key, num, dim=1, scale=1.0):
    weight_key, key = jax.random.split(jax.random.key(key))
    weights = scale * jax.random.normal(weight_key, (num,))
    return P.as_particles(weights, jax.random.uniform(key, (num, dim)))


def relu_problem(penalty=0.3, dim=2):
    weights, positions = P.sample_teacher(jax.random.key(5), 3, dim)
    return P.two_layer_network(weights, positions, penalty=penalty).population


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_spike_is_seen_as_a_product_of_dirichlet_kernels(x64, dim):
    features = P.FourierFeatures(order=4, dim=dim)
    a, b = (cloud(seed, 5, dim) for seed in (0, 1))
    found = features.pair(features.embed(a.weights, a.positions), b.positions)
    apart = np.asarray(b.positions)[:, None] - np.asarray(a.positions)[None]
    np.testing.assert_allclose(
        found, dirichlet(4, apart).prod(-1) @ np.asarray(a.weights), atol=1e-12
    )


def test_the_derivative_of_the_monomials_is_their_rotation(x64):
    features = P.FourierFeatures(order=3, dim=2)
    a, b = (cloud(seed, 4, 2) for seed in (0, 1))
    element = features.embed(a.weights, a.positions)
    pair = jax.jit(lambda t: features.pair(element, jnp.asarray(t)))
    check_grads(pair, (b.positions,), 1, ["fwd", "rev"])


def gaussian_mean(function, a, b, num=4000):
    """E over a standard Gaussian in the plane of a product that depends on it by angle only."""
    angles = 2 * np.pi * (np.arange(num) + 0.5) / num
    units = np.stack([np.cos(angles), np.sin(angles)])
    return (function(a @ units)[:, None] * function(b @ units)[None]).mean(-1)


def test_the_relu_kernel_is_the_gaussian_expectation_also_at_parallel_vectors(x64):
    a = np.array([[1.0, 0.5], [-2.0, -1.0], [0.3, -0.7]])
    b = np.array([[2.0, 1.0], [0.1, 0.9]])
    relu = lambda t: np.maximum(t, 0)
    expected = 2 * gaussian_mean(relu, a, b, 200_000)  # E |x|^2 = 2
    np.testing.assert_allclose(P.relu_kernel(jnp.asarray(a), jnp.asarray(b)), expected, atol=1e-9)
    total = jax.jit(lambda a, b: jnp.sum(P.relu_kernel(jnp.asarray(a), jnp.asarray(b)) ** 2))
    check_grads(total, (jnp.asarray(a), jnp.asarray(b)), 1, ["fwd", "rev"], eps=1e-5)


@pytest.mark.parametrize(("ratio", "mixed"), [(2.0, 0.5), (-2.0, 0.0)])
def test_second_derivatives_of_the_relu_kernel_at_parallel_vectors(x64, ratio, mixed):
    kernel = lambda a, b: P.relu_kernel(a[None], b[None])[0, 0]
    a = jnp.array([0.0, 1.5])
    (a_a, a_b), (_, b_b) = jax.hessian(kernel, (0, 1))(a, ratio * a)
    np.testing.assert_allclose(a_a, np.zeros((2, 2)), atol=1e-7)  # |b| sin t / (pi |a|) across a
    np.testing.assert_allclose(b_b, np.zeros((2, 2)), atol=1e-7)
    np.testing.assert_allclose(a_b, mixed * np.eye(2), atol=1e-7)  # (pi - t) / (2 pi)


@pytest.mark.slow
def test_the_probit_kernel_is_the_gaussian_expectation(x64):
    from scipy.stats import norm

    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    x = np.stack([g.ravel() for g in np.meshgrid(nodes, nodes)])
    w = np.outer(weights, weights).ravel() / weights.sum() ** 2
    a, b = np.array([[1.0, 0.5], [-1.2, 0.4]]), np.array([[0.3, -0.8], [1.0, 1.0]])
    expected = (norm.cdf(a @ x) * w) @ norm.cdf(b @ x).T
    np.testing.assert_allclose(P.probit_kernel(jnp.asarray(a), jnp.asarray(b)), expected, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("homogeneity", [1, 2])
def test_velocity_is_minus_the_gradient_of_the_objective_over_the_share(x64, homogeneity):
    spikes = P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=3, penalty=0.5)
    problem = spikes if homogeneity == 1 else relu_problem()
    u = cloud(2, 5, homogeneity)
    u = u._replace(shares=jnp.array([0.1, 0.2, 0.3, 0.4, 0.0]))
    gradient = jax.grad(lambda w, t: problem.objective(P.Particles(w, t, u.shares)), (0, 1))
    by_weight, by_position = gradient(u.weights, u.positions)
    velocity = problem.velocity(u)
    np.testing.assert_allclose(u.shares * velocity.weights, -by_weight, atol=1e-10)
    np.testing.assert_allclose(u.shares[:, None] * velocity.positions, -by_position, atol=1e-10)
    assert not velocity.weights[-1]
    assert not jnp.any(velocity.positions[-1])  # an absent particle rests


@pytest.mark.slow
def test_the_first_variation_is_homogeneous_as_declared(x64):
    for problem, degree in (
        (P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=3), 1),
        (relu_problem(), 2),
    ):
        u, v = cloud(2, 4, degree), cloud(3, 6, degree)
        scaled = v._replace(weights=2 * v.weights, positions=v.positions * degree)
        np.testing.assert_allclose(
            problem.potential(u, scaled), 2**degree * problem.potential(u, v), rtol=1e-10
        )
        # Euler: the derivative along the scaling is the degree times the value.
        at_itself, velocity = problem.potential(u, u), problem.velocity(u)
        along = velocity.weights * u.weights
        if degree == 2:
            along = along + jnp.sum(velocity.positions * u.positions, axis=1)
        np.testing.assert_allclose(-along, degree * at_itself, atol=1e-9)


def test_the_objective_is_the_formula_in_kernels(x64):
    problem = P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=7, penalty=0.4)
    u = cloud(0, 6)
    a, t = np.asarray(u.masses), np.asarray(u.positions)[:, 0]
    b, s = map(np.asarray, PROBLEM_ARGUMENTS)
    gram = lambda p, q: dirichlet(7, p[:, None] - q[None])
    square = a @ gram(t, t) @ a - 2 * a @ gram(t, s) @ b + b @ gram(s, s) @ b
    expected = square / 2 + 0.4 * np.abs(a).sum()
    np.testing.assert_allclose(problem.objective(u), expected, rtol=1e-12)


@pytest.mark.slow
def test_the_kernel_problem_is_the_limit_of_the_one_on_many_inputs():
    weights, positions = P.sample_teacher(jax.random.key(5), 3, 2)
    network = P.two_layer_network(weights, positions)
    u = network.initial(jax.random.key(1), 6, size=1.0)
    draws = jax.random.split(jax.random.key(2), 400)
    risks = jax.jit(jax.vmap(lambda key: network.sample(key, 50).objective(u)))(draws)
    error = risks.std() / np.sqrt(len(risks))
    assert abs(risks.mean() - network.population.objective(u)) < 4 * error


@pytest.mark.slow
def test_stochastic_velocities_are_unbiased():
    weights, positions = P.sample_teacher(jax.random.key(5), 3, 2)
    for activation in ("relu", "probit"):
        network = P.two_layer_network(weights, positions, activation=activation, penalty=0.1)
        u = network.initial(jax.random.key(1), 3, size=1.0)
        u = u._replace(weights=jnp.array([1.0, -1.0, 0.5]))
        draws = jax.random.split(jax.random.key(2), 400)
        velocity = lambda key, network=network, u=u: network.sample(key, 20).velocity(u)[:2]
        exact = network.population.velocity(u)[:2]
        for found, expected in zip(jax.jit(jax.vmap(velocity))(draws), exact, strict=True):
            error = found.std(axis=0) / np.sqrt(len(draws))
            assert bool(jnp.all(jnp.abs(found.mean(axis=0) - expected) < 4.5 * error))


def test_one_step_of_each_method_is_its_formula(x64):
    problem = P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=3, penalty=0.5)
    u = cloud(4, 5)
    b, s = map(np.asarray, PROBLEM_ARGUMENTS)
    w, t, a = np.asarray(u.weights), np.asarray(u.positions)[:, 0], np.asarray(u.masses)

    def pairing(x):
        return dirichlet(3, x[:, None] - t[None]) @ a - dirichlet(3, x[:, None] - s[None]) @ b

    eta, slope = pairing(t), (pairing(t + 1e-6) - pairing(t - 1e-6)) / 2e-6
    tau, beta = 0.01, 0.002
    shrunk = np.sign(w - tau * eta) * np.maximum(np.abs(w - tau * eta) - tau * 0.5, 0)
    excess, sign = np.sign(w) * eta + 0.5, np.sign(w)
    expected = {
        P.GradientDescent: (w - tau * (eta + 0.5 * sign), t - beta * w * slope),
        P.ForwardBackward: (shrunk, t - beta * w * slope),
        P.ConicDescent: (w * np.exp(-4 * tau * excess), t - beta * sign * slope),
    }
    for scheme, (weights, positions) in expected.items():
        found = scheme(tau, beta).step(problem, u)
        np.testing.assert_allclose(found.weights, weights, rtol=1e-10)
        np.testing.assert_allclose(found.positions[:, 0], positions, atol=1e-8)
    linear = P.ConicDescent(tau, beta, mirror=False).step(problem, u)
    np.testing.assert_allclose(linear.weights, w * (1 - 2 * tau * excess) ** 2, rtol=1e-10)


@pytest.mark.slow
def test_weights_at_zero_leave_it_only_where_the_pairing_exceeds_the_penalty(x64):
    problem = P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=7)
    start = P.uniform_grid(20)
    eta = problem.features.pair(problem.slope(start), start.positions)
    leaving = P.ForwardBackward(1e-3).step(problem, start).weights
    np.testing.assert_array_equal(leaving != 0, jnp.abs(eta) > 1.0)
    np.testing.assert_allclose(leaving, 1e-3 * problem.velocity(start).weights, atol=1e-15)


@pytest.fixture(scope="module")
def ordinary():
    """One problem and start for runs, in double precision, off every kink."""
    with jax.enable_x64(True):
        problem = P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=3, penalty=0.5)
        weights = jnp.array([0.5, -0.4, 0.6, -0.5])
        return problem, P.as_particles(weights, jnp.array([0.1, 0.45, 0.3, 0.7]))


@pytest.mark.parametrize("scheme", STEPS)
def test_every_method_follows_its_flow_to_first_order_and_descends(x64, ordinary, scheme):
    problem, start = ordinary
    order = P.step_order(problem, start, scheme, time=0.016, step_size=0.001)
    assert abs(order.order - 1) < 0.15
    flow = P.particle_flow(problem, start, scheme(0.001), num_steps=400, num_records=30)
    assert bool(jnp.all(jnp.diff(flow.objectives) < 0))
    assert flow.gap.gap >= 0
    assert bool(jnp.all(flow.residuals > 0))


@pytest.mark.slow
def test_the_continuous_flow_is_of_fourth_order_and_dissipates_its_residual(x64, ordinary):
    problem, start = ordinary
    times = [0.0, 0.008, 0.016]
    coarse, fine = (
        P.continuous_particle_flow(problem, start, times, num_steps=n) for n in (16, 32)
    )
    assert 12 < coarse.error / fine.error < 22  # 2^4
    euler = P.particle_flow(
        problem, start, P.GradientDescent(1e-5), num_steps=1600, num_records=1
    ).particles
    np.testing.assert_allclose(euler.positions, fine.path.positions[-1], atol=1e-4)
    # dF/dt = -residual^2, by a central difference over the flow.
    values = [problem.objective(jax.tree.map(lambda c, k=k: c[k], fine.path)) for k in range(3)]
    middle = jax.tree.map(lambda c: c[1], fine.path)
    times = np.array([0.0, 1e-5])
    ahead = P.continuous_particle_flow(problem, middle, times, num_steps=16).path
    change = problem.objective(jax.tree.map(lambda c: c[-1], ahead)) - values[1]
    np.testing.assert_allclose(change / 1e-5, -(problem.residual(middle) ** 2), rtol=2e-3)
    assert values[2] < values[1] < values[0]


def test_the_continuous_flow_loses_what_it_dissipates_whatever_the_shares(x64, ordinary):
    problem, start = ordinary
    start = start._replace(shares=jnp.array([0.1, 0.6, 0.3, 0.0]))
    flow = P.continuous_particle_flow(problem, start, [0.0, 0.004, 0.008], num_steps=32)
    assert flow.dissipation[-1] > 0.1
    np.testing.assert_allclose(swjax.energy_residual(problem.objective, flow), 0, atol=1e-6)
    np.testing.assert_array_equal(flow.path.positions[:, 3], jnp.full((3, 1), 0.7))
    np.testing.assert_array_equal(flow.path.shares, jnp.tile(start.shares, (3, 1)))
    coarse = P.continuous_particle_flow(problem, start, [0.0, 0.004, 0.008], num_steps=16)
    between = jax.tree.map(lambda a, b: (a - b)[-1], coarse.path, flow.path)
    squares = between.weights**2 + between.positions[:, 0] ** 2
    np.testing.assert_allclose(
        flow.errors[-1], jnp.sqrt(start.shares @ squares), rtol=1e-9, atol=1e-12
    )


def test_the_continuous_flow_rests_where_a_weight_reaches_zero(x64):
    constant = lambda theta: 1 + 0 * theta
    problem = P.ParticleProblem(constant, P.LeastSquares(jnp.array([0.1])), 0.5)
    start = P.as_particles(jnp.array([1.0]), jnp.array([0.0]))
    times = np.array([0.0, 1.0, 3.0, 6.0])
    flow = P.continuous_particle_flow(problem, start, times, num_steps=100)
    exact = np.maximum(1.4 * np.exp(-times) - 0.4, 0)  # w' = -(w - 0.1) - 0.5 until w = 0
    np.testing.assert_allclose(flow.path.weights[:, 0], exact, atol=1e-6)


@pytest.mark.slow
def test_conic_steps_keep_signs_and_one_spike_is_found_in_closed_form(x64):
    spike, place, penalty = 1.3, 0.37, 0.8
    problem = P.spikes_deconvolution([spike], [place], order=5, penalty=penalty)
    start = P.as_particles(jnp.array([0.5, -0.5, 0.5]), jnp.array([0.33, 0.7, 0.4]))
    flow = P.particle_flow(problem, start, P.ConicDescent(0.01, 2e-4), num_steps=20_000)
    assert bool(jnp.all(flow.path.weights * jnp.sign(start.weights)[None] >= 0))
    best = penalty * spike - penalty**2 / (2 * 11)  # K(0) = 2 N + 1
    np.testing.assert_allclose(flow.objectives[-1], best, atol=1e-9)
    assert 0 <= flow.gap.gap < 1e-8


@pytest.mark.slow
def test_starts_and_numbers_of_particles_run_side_by_side(x64):
    problem = P.spikes_deconvolution(*PROBLEM_ARGUMENTS, order=3, penalty=0.5)
    scheme = P.ForwardBackward(0.02, 1e-3)
    run = lambda u: P.particle_flow(problem, u, scheme, num_steps=200, num_records=5)
    clouds = [P.uniform_grid(num) for num in (2, 3, 5)]
    together = jax.vmap(run)(P.stack_particles(clouds))
    for i, single in enumerate(clouds):
        alone = run(single)
        np.testing.assert_allclose(together.objectives[i], alone.objectives, rtol=1e-10)
        np.testing.assert_allclose(together.gap.gap[i], alone.gap.gap, rtol=1e-6)


@pytest.mark.slow
def test_a_stochastic_run_lowers_the_population_risk_and_repeats_bit_by_bit():
    weights, positions = P.sample_teacher(jax.random.key(5), 3, 2)
    network = P.two_layer_network(weights, positions)
    start = network.initial(jax.random.key(1), 12)

    def run():
        sample = jax.tree_util.Partial(P.TwoLayerNetwork.sample, network, batch_size=32)
        return P.particle_flow(
            network.population,
            start,
            P.GradientDescent(0.2),
            num_steps=500,
            num_records=4,
            sample=sample,
            key=jax.random.key(0),
        )

    first, second = run(), run()
    assert first.objectives[-1] < 0.1 * first.objectives[0]
    np.testing.assert_array_equal(first.particles.positions, second.particles.positions)
    assert first.gap.gap == first.objectives[-1]  # without penalty the risk is the gap


def test_minibatches_of_another_partial_or_teacher_are_not_compiled_again():
    start = P.as_particles(jnp.ones(3), jnp.ones((3, 2)))

    def run(seed, batch_size, plain=False):
        weights, positions = P.sample_teacher(jax.random.key(seed), 2, 2)
        network = P.two_layer_network(weights, positions)
        sample = functools.partial(network.sample, batch_size=batch_size)
        sample = (lambda key: network.sample(key, batch_size)) if plain else sample
        return P.particle_flow(
            network.population, start, P.GradientDescent(0.1), num_steps=2, sample=sample,
            key=jax.random.key(0),
        ).particles.positions  # fmt: skip

    first, num_compiled = run(5, 8), _run._cache_size()
    np.testing.assert_array_equal(run(5, 8), first)
    other = run(6, 8)
    assert _run._cache_size() == num_compiled
    np.testing.assert_allclose(other, run(6, 8, plain=True), rtol=1e-5)
    assert bool(jnp.any(run(6, 9) != other))  # another size is another program


BAD_CALLS = {
    "no particles": (lambda: P.uniform_grid(0), "num must be at least 1"),
    "an empty cloud": (
        lambda: P.as_particles(jnp.zeros(0), jnp.zeros((0, 1))),
        "There are no particles",
    ),
    "weights that do not fit": (
        lambda: P.as_particles(jnp.zeros(3), jnp.zeros((2, 1))),
        "one weight for each position",
    ),
    "no particles to move": (
        lambda: P.particle_flow(
            P.spikes_deconvolution([1.0], [0.5]),
            P.Particles(jnp.zeros(0), jnp.zeros((0, 1)), jnp.zeros(0)),
            P.ForwardBackward(0.1),
            num_steps=1,
        ),
        "no particles \\(m = 0\\)",
    ),
    "more spikes than weights": (
        lambda: P.spikes_deconvolution(jnp.zeros(3), jnp.zeros(2)),
        "one weight for each position",
    ),
    "a teacher on the line without a second axis": (
        lambda: P.two_layer_network(jnp.zeros(3), jnp.zeros(3)),
        "one weight for each position",
    ),
    "a penalty of zero for neurons": (
        lambda: P.two_layer_network([1.0], jnp.ones((1, 2)), penalty=0.0),
        "penalty must be a positive finite number",
    ),
    "infinite positions": (
        lambda: P.as_particles(jnp.zeros(1), jnp.array([jnp.inf])),
        "positions must be finite",
    ),
    "shares": (
        lambda: P.as_particles(jnp.zeros(2), jnp.zeros(2), jnp.array([0.5, 0.6])),
        "sum 1",
    ),
    "weights that are not finite at the start": (
        lambda: P.duality_gap(
            relu_problem(), P.Particles(jnp.array([jnp.nan]), jnp.ones((1, 2)), jnp.ones(1))
        ),
        "weights must be finite",
    ),
    "positions that are not finite at the start": (
        lambda: P.particle_flow(
            relu_problem(),
            P.Particles(jnp.ones(1), jnp.array([[jnp.inf, 0.0]]), jnp.ones(1)),
            P.GradientDescent(0.1),
            num_steps=1,
        ),
        "positions must be finite",
    ),
    "clouds of two dimensions": (
        lambda: P.stack_particles([P.uniform_grid(2), P.uniform_grid(2, 2)]),
        r"dimensions \[1, 2\]; clouds of one dimension",
    ),
    "no penalty": (
        lambda: P.spikes_deconvolution([1.0], [0.5], penalty=0.0),
        "penalty must be a positive finite number",
    ),
    "a negative penalty": (
        lambda: P.ParticleProblem(P.FourierFeatures(2), P.LeastSquares(jnp.zeros(5)), -1.0),
        "penalty must be a positive finite number",
    ),
    "negative noise": (
        lambda: P.spikes_deconvolution([1.0], [0.5], noise=-1.0, key=jax.random.key(0)),
        "noise is a standard deviation",
    ),
    "noise without a key": (
        lambda: P.spikes_deconvolution([1.0], [0.5], noise=0.1),
        "pass key=",
    ),
    "no spikes": (lambda: P.spikes_deconvolution(jnp.zeros(0), jnp.zeros(0)), "no spikes"),
    "order zero": (lambda: P.spikes_deconvolution([1.0], [0.5], order=0), "order must be"),
    "spikes that do not fit": (
        lambda: P.sample_spikes(jax.random.key(0), 5, separation=0.2),
        "may not fit on the torus",
    ),
    "mass on an empty grid": (
        lambda: P.fit_weights(P.spikes_deconvolution([1.0], [0.5]), jnp.zeros((0, 1))),
        "a measure on an empty grid has no mass",
    ),
    "homogeneity three": (
        lambda: P.ParticleProblem(P.FourierFeatures(2), P.LeastSquares(jnp.zeros(5)), 1.0, 3),
        "homogeneity is 3",
    ),
    "spikes called 2-homogeneous": (
        lambda: P.duality_gap(
            P.ParticleProblem(P.FourierFeatures(2), P.LeastSquares(jnp.ones(5)), 1.0, 2),
            P.uniform_grid(3),
        ),
        "homogeneity=2 needs phi",
    ),
    "relu called 1-homogeneous": (
        lambda: P.duality_gap(
            P.ParticleProblem(lambda t: jax.nn.relu(t), P.LeastSquares(jnp.ones(1)), 1.0),
            P.as_particles(jnp.ones(2), jnp.array([0.5, 1.0])),
        ),
        "Use homogeneity=2",
    ),
    "the wrong torus": (
        lambda: P.duality_gap(P.spikes_deconvolution([1.0], [0.5]), P.uniform_grid(2, 2)),
        "torus of dimension 1",
    ),
    "a step of zero": (lambda: P.ForwardBackward(0.0), "step_size must be a positive"),
    "conic steps from zero": (
        lambda: P.particle_flow(
            P.spikes_deconvolution([1.0], [0.5]),
            P.uniform_grid(4),
            P.ConicDescent(0.1),
            num_steps=1,
        ),
        "never leave 0",
    ),
    "a sample without a key": (
        lambda: P.particle_flow(
            P.spikes_deconvolution([1.0], [0.5]),
            P.uniform_grid(4),
            P.ForwardBackward(0.1),
            num_steps=1,
            sample=lambda key: None,
        ),
        "both sample= and key=",
    ),
    "no certificate": (
        lambda: P.duality_gap(relu_problem(dim=3), P.as_particles(jnp.ones(1), jnp.ones((1, 3)))),
        "No rigorous upper bound",
    ),
    "tolerance zero": (
        lambda: P.solve_to_gap(
            P.spikes_deconvolution([1.0], [0.5]),
            P.uniform_grid(4),
            P.ForwardBackward(0.1),
            tolerance=0.0,
            max_steps=1,
        ),
        "tolerance must be positive",
    ),
    "an unknown activation": (
        lambda: P.two_layer_network([1.0], jnp.ones((1, 2)), activation="tanh"),
        "choose one of relu, sigmoid, probit",
    ),
    "no teacher": (lambda: P.two_layer_network(jnp.zeros(0), jnp.zeros((0, 2))), "no neurons"),
    "no closed form": (
        lambda: P.two_layer_network([1.0], jnp.ones((1, 2)), activation="sigmoid").population,
        "no closed form",
    ),
}


@pytest.mark.parametrize("what", BAD_CALLS)
def test_bad_input_is_refused_with_the_reason(what):
    call, reason = BAD_CALLS[what]
    with pytest.raises(ValueError, match=reason):
        call()


@pytest.mark.slow
def test_a_run_that_explodes_says_when_and_what_to_do(x64):
    problem = P.spikes_deconvolution([1.0], [0.5])
    start = P.as_particles(jnp.array([1.0]), jnp.array([0.4]))
    with pytest.raises(FloatingPointError, match="Take smaller steps"):
        P.particle_flow(problem, start, P.GradientDescent(10.0), num_steps=400)
