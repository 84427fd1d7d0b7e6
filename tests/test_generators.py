"""Generators: formulas, initial laws, cut-offs, derivatives, refusals."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import signal

from swjax import measures
from swjax.generators import (
    MLP,
    Affine,
    ConvGenerator,
    Cutoff,
    DenseSkipMLP,
    FreePoints,
    Scale,
    Translation,
    smooth_cutoff,
)

KEY = jax.random.key(0)
RADIUS = 4.0  # the parameters drawn below have about this norm
Z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
MODELS = {
    "translation": Translation(3),
    "scale": Scale(),
    "affine": Affine(2),
    "whole": FreePoints(5, 2, whole=True),
    "mlp": MLP((4, 6), 2, nn.tanh),
    "dense_skip": DenseSkipMLP((4, 6), 2, output_activation=jnp.tanh),
    "cut": DenseSkipMLP((4, 6), 2, nn.softplus, cutoff=Cutoff(RADIUS, 2.0, 1.0)),
    "conv": ConvGenerator((6, 5, 2), features=(4, 3)),
}
DIMS = {"translation": 3, "scale": 3, "conv": 60}
each_model = pytest.mark.parametrize("name", MODELS)


def numpy_tree(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])


@functools.cache
def all_params():
    """Parameters of the shapes that `init` gives, filled by NumPy: its random numbers are quick."""
    rng = np.random.default_rng(1)
    shapes = {name: jax.eval_shape(model.init, KEY, Z) for name, model in MODELS.items()}
    assert all(type(tree) is dict for tree in shapes.values())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    fill = lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype)
    return jax.tree.map(fill, shapes)


@functools.cache
def trials():
    """Outputs of every model, alone and under vmap, by one compiled function."""

    def try_all(trees):
        found = {}
        for name, model in MODELS.items():
            params = trees[name]
            batch = jax.tree.map(lambda leaf: jnp.stack([0 * leaf, leaf]), params)
            outputs = jax.vmap(lambda u, m=model: m.apply(u, Z))(batch)
            alone = None if name == "whole" else model.apply(params, Z[2:3])
            found[name] = model.apply(params, Z), outputs, alone
        return found

    return jax.jit(try_all)(all_params())


def draw_params(name):
    return all_params()[name]


@each_model
def test_outputs_are_points(name):
    x, _, _ = trials()[name]
    assert x.shape == (5, DIMS.get(name, 2))
    assert x.dtype == jnp.float32
    assert bool(jnp.all(jnp.isfinite(x)))


@each_model
def test_generators_run_under_vmap_over_parameters(name):
    x, outputs, _ = trials()[name]
    np.testing.assert_allclose(outputs[1], x, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@each_model
def test_each_output_depends_on_its_own_latent_point_only(name):
    x, _, alone = trials()[name]
    if name != "whole":
        np.testing.assert_allclose(alone[0], x[2], rtol=1e-5, atol=1e-6)


def test_gradients_agree_with_finite_differences(x64):
    z = jnp.asarray(Z, float)
    flats = {name: ravel_pytree(draw_params(name)) for name in MODELS}
    starts = {name: flat.astype(float) for name, (flat, _) in flats.items()}
    steps = {name: np.cos(np.arange(flat.size)) for name, flat in starts.items()}

    def total(points):
        outputs = [m.apply(flats[name][1](points[name]), z) for name, m in MODELS.items()]
        return jnp.stack([jnp.sum(jnp.sin(x)) for x in outputs])

    def probe(h):
        return total({name: u + h * steps[name] for name, u in starts.items()})

    gradients = jax.grad(lambda points: jnp.sum(total(points)))
    values, found = jax.jit(lambda: (jax.vmap(probe)(np.array([-1e-6, 1e-6])), gradients(starts)))()
    expected = (values[1] - values[0]) / 2e-6
    slopes = [found[name] @ steps[name] for name in MODELS]
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


def test_parameters_and_outputs_are_double_when_doubles_are_on(x64):
    z, doubles = jnp.asarray(Z, float), []
    for model in MODELS.values():
        x, params = jax.eval_shape(
            lambda key, m=model: m.init_with_output(key, z), jax.random.key(0)
        )
        doubles += [leaf.dtype == jnp.float64 for leaf in jax.tree.leaves((x, params))]
    assert all(doubles)


def test_simple_generators_follow_their_formulas():
    formulas = {
        "translation": lambda u, z: z + u["shift"],
        "scale": lambda u, z: u["scale"] * z,
        "affine": lambda u, z: z @ u["affine"]["kernel"] + u["affine"]["bias"],
    }
    for name, formula in formulas.items():
        params = draw_params(name)
        expected = formula(numpy_tree(params), np.asarray(Z, np.float64))
        np.testing.assert_allclose(trials()[name][0], expected, rtol=1e-5, atol=1e-6)


def test_a_perceptron_follows_its_formula():
    params = draw_params("mlp")
    u, h = numpy_tree(params), np.asarray(Z, np.float64)
    for k in range(2):
        h = np.tanh(h @ u[f"layer_{k}"]["kernel"] + u[f"layer_{k}"]["bias"])
    expected = h @ u["output"]["kernel"] + u["output"]["bias"]
    np.testing.assert_allclose(trials()["mlp"][0], expected, rtol=1e-5, atol=1e-6)


def paper_network(u, x, widths, activations):
    """`h_n = a_n(sum_{i < n} A_{n,i} h_i + B_n u)`, one matrix at a time."""
    h = [x]
    for (name, width), activation in zip(widths.items(), activations, strict=True):
        kernel, row, total = u[name]["kernel"], 0, np.tile(u[name]["bias"], (len(x), 1))
        for earlier in h:
            total = total + earlier @ kernel[row : row + earlier.shape[1]]
            row += earlier.shape[1]
        assert row == kernel.shape[0]
        assert total.shape[1] == width
        h.append(activation(total))
    return h[-1]


def numpy_cutoff(norm, radius, width):
    f = lambda s: math.exp(-1 / s) if s > 0 else 0.0
    s = ((radius + width) ** 2 - norm**2) / (4 * radius * width)
    return f(s) / (f(s) + f(1 - s))


def test_the_dense_network_is_the_one_of_the_paper():
    widths = {"layer_0": 4, "layer_1": 6, "output": 2}
    params, relu = draw_params("dense_skip"), lambda t: np.maximum(t, 0)
    expected = paper_network(numpy_tree(params), np.asarray(Z), widths, (relu, relu, np.tanh))
    np.testing.assert_allclose(trials()["dense_skip"][0], expected, rtol=1e-5, atol=1e-6)


def test_the_cut_off_network_is_the_one_of_the_paper():
    u, x = numpy_tree(draw_params("cut")), np.asarray(Z, np.float64)
    softplus, identity = (lambda t: np.logaddexp(t, 0)), (lambda t: t)
    widths = {"layer_0": 4, "layer_1": 6, "output": 2}
    network = paper_network(u, x, widths, (softplus, softplus, identity))
    norm = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(u)))
    by_params = numpy_cutoff(norm, RADIUS, 1.0)
    by_input = np.array([numpy_cutoff(np.linalg.norm(row), 2.0, 1.0) for row in x])
    # The factors must do something here: some strictly between 0 and 1.
    assert 0.01 < by_params < 0.99
    assert np.any((by_input > 0.01) & (by_input < 0.99))
    expected = network * by_params * by_input[:, None]
    np.testing.assert_allclose(trials()["cut"][0], expected, rtol=1e-4, atol=1e-6)


def test_the_cut_off_is_one_inside_zero_outside_and_the_formula_between(x64):
    norms = np.linspace(0, 5, 101)
    values = np.asarray(smooth_cutoff(norms**2, 2.0, 0.5))
    assert np.all(values[norms <= 1.5] == 1)
    assert np.all(values[norms >= 2.5] == 0)
    expected = [numpy_cutoff(norm, 2.0, 0.5) for norm in norms]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-300)
    assert np.all(np.diff(values) <= 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cut_off_is_smooth_across_its_edges(dtype, x64):
    """Derivatives of order 1 to 3 are finite everywhere and vanish at and beyond both edges."""
    value = lambda t: smooth_cutoff(t**2, 2.0, 0.5)
    first = jax.grad(value)
    second, third = jax.grad(first), jax.jacfwd(jax.grad(first))
    edges = np.array([1.5, 2.5])
    points = np.concatenate([edges + s * 10.0**-k for k in range(2, 16) for s in (-1, 0, 1)])
    derivatives = jax.jit(jax.vmap(lambda t: jnp.stack([first(t), second(t), third(t)])))
    slopes = np.asarray(derivatives(jnp.asarray(points, dtype)))
    assert np.all(np.isfinite(slopes))
    # exp(-1/s) with s <= about 1e-2 beats every power of 1/s that appears.
    assert np.all(np.abs(slopes) < 1e-15)


def test_the_derivative_of_the_cut_off_is_the_one_of_its_values(x64):
    along = lambda t: smooth_cutoff(t**2, 2.0, 0.5)
    t = np.linspace(1.55, 2.45, 31)
    slopes = jax.vmap(jax.grad(along))(jnp.asarray(t))
    np.testing.assert_allclose(slopes, (along(t + 1e-6) - along(t - 1e-6)) / 2e-6, atol=1e-8)


def test_a_cut_off_network_vanishes_far_away_and_is_globally_lipschitz():
    cut, plain = (DenseSkipMLP((6, 6), 2, cutoff=c) for c in (Cutoff(4.0, 2.0, 0.5), None))
    shapes = jax.eval_shape(cut.init, KEY, Z)
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f4"), shapes))

    def derivative(model):
        output = lambda u, z: model.apply(unravel(u), z[None])[0]
        both = lambda u, z: jnp.concatenate(jax.jacfwd(output, (0, 1))(u, z), axis=1)
        return jax.jit(jax.vmap(both))

    derivatives = {model: derivative(model) for model in (cut, plain)}
    rng = np.random.default_rng(3)

    def slopes(model, params_norm, input_norm):
        """Of the map of parameters and latent point, at 400 random places of these norms."""
        u = rng.normal(size=(400, flat.size))
        z = rng.normal(size=(400, 3))
        u *= params_norm / np.linalg.norm(u, axis=1, keepdims=True)
        z *= input_norm / np.linalg.norm(z, axis=1, keepdims=True)
        places = jnp.asarray(u, jnp.float32), jnp.asarray(z, jnp.float32)
        return np.linalg.norm(np.asarray(derivatives[model](*places)), ord=2, axis=(1, 2))

    near = [slopes(cut, a, b).max() for a in (1.0, 3.4, 4.0, 4.3) for b in (1.0, 1.4, 2.0, 2.3)]
    for far in ((4.5001, 1.0), (1.0, 2.5001), (1e3, 1e3)):
        assert slopes(cut, *far).max() == 0
    # Without the cut-off the slope grows without bound, everywhere far away and not in one place.
    assert slopes(plain, 1e3, 1.0).min() > 10 * max(near)
    assert slopes(plain, 4.0, 1e3).min() > 10 * max(near)


def test_a_point_cloud_is_looked_up_by_number():
    model, source = FreePoints(7, 2), measures.indices(7)
    z = source.sample(KEY, 20)
    points = jnp.arange(14.0).reshape(7, 2)
    params = {"params": {"points": points}}
    assert jax.eval_shape(model.init, KEY, z) == jax.eval_shape(lambda: params)
    np.testing.assert_array_equal(model.apply(params, z), points[z[:, 0].astype(int)])
    odd = model.apply(params, jnp.array([[-1.0], [7.0], [0.5], [6.0]]))
    assert np.all(np.isnan(odd[:3]))
    np.testing.assert_array_equal(odd[3], points[6])
    counts = jax.grad(lambda u: jnp.sum(model.apply(u, z)))(params)["params"]["points"]
    np.testing.assert_array_equal(counts[:, 0], np.bincount(z[:, 0].astype(int), minlength=7))


def test_a_whole_point_cloud_ignores_the_latent_points():
    params = draw_params("whole")
    np.testing.assert_array_equal(trials()["whole"][0], params["params"]["points"])


def transposed_convolution(image, kernel, bias):
    """Stride 2: spread the pixels, convolve (as Flax does, without flipping), keep the middle."""
    rows, columns, _ = image.shape
    out = np.zeros((2 * rows, 2 * columns, kernel.shape[3]))
    spread = np.zeros((2 * rows - 1, 2 * columns - 1, image.shape[2]))
    spread[::2, ::2] = image
    for o in range(kernel.shape[3]):
        for c in range(image.shape[2]):
            full = signal.correlate2d(np.pad(spread[:, :, c], 2), kernel[:, :, c, o], mode="valid")
            out[:, :, o] += full[: 2 * rows, : 2 * columns]
    return out + bias


def test_the_image_generator_follows_its_formula():
    params = draw_params("conv")
    u, x = numpy_tree(params), np.asarray(trials()["conv"][0])
    seeds = np.asarray(Z) @ u["seed"]["kernel"] + u["seed"]["bias"]
    for row, seed in enumerate(seeds):
        image = seed.reshape(2, 2, 4)
        for k in range(2):
            layer = u[f"double_{k}"]
            image = transposed_convolution(np.maximum(image, 0), layer["kernel"], layer["bias"])
        assert image.shape == (8, 8, 2)
        np.testing.assert_allclose(x[row], np.tanh(image[:6, :5]).ravel(), rtol=1e-4, atol=1e-5)


def test_initial_parameters_have_the_documented_variances():
    model = DenseSkipMLP((300, 400), 100)
    u = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 200)))["params"]
    variance = lambda a: float(jnp.var(a))
    assert variance(u["layer_0"]["kernel"]) == pytest.approx(2 / 200, rel=0.03)
    assert variance(u["layer_1"]["kernel"]) == pytest.approx(2 / 500, rel=0.03)
    assert variance(u["output"]["kernel"]) == pytest.approx(1 / 900, rel=0.03)
    assert variance(u["layer_1"]["bias"]) == pytest.approx(0.01, rel=5 * math.sqrt(2 / 400))


@pytest.mark.parametrize(
    ("model", "z", "match"),
    [
        (Translation(2), jnp.zeros((4, 3)), r"use a source of dimension 2 or Translation\(dim=3\)"),
        (Translation(0), jnp.zeros((4, 3)), "dim must be at least 1, got 0"),
        (Affine(2), jnp.zeros(3), r"needs z\[None, :\]"),
        (Scale(), jnp.zeros((2, 2, 2)), "jax.vmap"),
        (FreePoints(5, 2), jnp.zeros((4, 2)), "numbers of points"),
        (FreePoints(5, 2, whole=True), jnp.zeros((4, 1)), "returns all its 5 points"),
        (MLP((4, 0), 2), jnp.zeros((4, 3)), r"features\[1\] must be at least 1, got 0"),
        (MLP((4,), -1), jnp.zeros((4, 3)), "dim must be at least 1, got -1"),
        (DenseSkipMLP((-4,), 2), jnp.zeros((4, 3)), r"features\[0\] must be at least 1, got -4"),
        (ConvGenerator((8, 8, 1), features=()), jnp.zeros((4, 3)), "at least one number"),
        (ConvGenerator((8, 0, 1)), jnp.zeros((4, 3)), r"shape\[1\] must be at least 1, got 0"),
    ],
)
def test_a_model_that_cannot_work_says_why(model, z, match):
    with pytest.raises(ValueError, match=match):
        model.init(jax.random.key(0), z)


@pytest.fixture
def as_users_run_it():
    """Without the checks of annotations that the tests switch on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_sizes_may_be_integers_of_numpy_and_nothing_else(as_users_run_it):
    four, two = np.int64(4), np.int32(2)
    shapes_of = lambda model: jax.eval_shape(model.init, KEY, Z)
    pairs = [
        (MLP([four], two), MLP((4,), 2)),
        (DenseSkipMLP((four, four), two), DenseSkipMLP((4, 4), 2)),
        (Affine(two), Affine(2)),
        (FreePoints(np.int64(5), two, whole=True), FreePoints(5, 2, whole=True)),
        (ConvGenerator((four, four, two), (four,)), ConvGenerator((4, 4, 2), (4,))),
    ]
    for ours, plain in pairs:
        assert shapes_of(ours) == shapes_of(plain)
    for wrong, match in [
        (MLP((4.0,), 2), r"features\[0\] must be a Python integer"),
        (MLP((4,), True), "dim must be a Python integer"),
        (MLP(4, 2), "features must be a sequence of integers such as"),
        (ConvGenerator((4, 4, 1), "ab"), "features must be a sequence of integers such as"),
    ]:
        with pytest.raises(TypeError, match=match):
            shapes_of(wrong)


@pytest.mark.parametrize("numbers", [(0.0, 1.0, 0.1), (1.0, 1.0, 1.5), (1.0, 1.0, 0.0)])
def test_a_cut_off_needs_radii_larger_than_its_width(numbers):
    with pytest.raises(ValueError, match="0 < width <= radius"):
        Cutoff(*numbers)


def test_integer_latent_points_are_refused():
    with pytest.raises(TypeError, match="int32"):
        Scale().init(jax.random.key(0), jnp.zeros((2, 2), int))
