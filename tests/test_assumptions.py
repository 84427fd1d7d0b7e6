"""Which assumptions hold: the reading of programs, its bounds, and the verdicts."""

import json
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax import measures
from swjax.assumptions import check
from swjax.assumptions.activations import examine, jumps_between_roots
from swjax.assumptions.bounds import Kind
from swjax.assumptions.cells import bounds_on
from swjax.assumptions.elementwise import SMOOTH, integer_power, real_power
from swjax.assumptions.evidence import sample_jump
from swjax.assumptions.expressions import Expression, evaluate, variable
from swjax.assumptions.inspection import read, read_at, vanishes
from swjax.assumptions.program import trace

key = jax.random.key

BALL = measures.ball(2)
ATOMS = swjax.Discrete(np.array([[0.0, 0.6], [0.5, -0.3], [-0.7, 0.1]], np.float32))


def small_net(activation):
    """A network of one hidden layer, written out."""
    return lambda u, x: activation(x @ u["A"] + u["b"][None]) @ u["C"]


def small_params(scale=0.5, width=3):
    """Parameters of that network, of norm about `scale`."""
    rng = np.random.default_rng(0)
    shapes = {"A": (2, width), "b": (width,), "C": (width, 2)}
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    norm = math.sqrt(sum(np.sum(p**2) for p in params.values()))
    return {name: jnp.asarray(scale * p / norm) for name, p in params.items()}


# --- functions of one variable ------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SMOOTH, "t^0", "t^1", "t^2", "t^3", "t^-1", "t^-2", "t^2.5"])
def test_bounds_of_elementwise_functions_are_bounds_and_sharp(name):
    power = float(name[2:]) if name.startswith("t^") else 0.0
    if not name.startswith("t^"):
        function = SMOOTH[name]
    elif power == int(power):
        function = integer_power(int(power))
    else:
        function = real_power(power)
    rng = np.random.default_rng(0)
    shift = {"all": -2.0, "nonnegative": 0.01, "positive": 0.1}[function.domain]
    for low, high in np.sort(shift + 4 * rng.uniform(size=(20, 2)), axis=1):
        t = np.linspace(low, high, 2001)
        value, first, second = function.value(t), function.first(t), function.second(t)
        assert function.range(low, high)[0] <= value.min() + 1e-12
        assert function.range(low, high)[1] >= value.max() - 1e-12
        assert function.slope(low, high) >= np.abs(first).max() - 1e-12
        assert function.curvature(low, high) >= np.abs(second).max() - 1e-12
        if function.positive:
            assert value.min() > 0
        inner, step = t[1:-1], 1e-5
        quotient = (function.value(inner + step) - function.value(inner - step)) / (2 * step)
        np.testing.assert_allclose(quotient, first[1:-1], rtol=1e-5, atol=1e-7)
        quotient = (function.first(inner + step) - function.first(inner - step)) / (2 * step)
        np.testing.assert_allclose(quotient, second[1:-1], rtol=1e-5, atol=1e-6)
    # On a wide interval the bounds of slope and curvature are attained, up to the two waves.
    low, high = (-3.0, 3.0) if function.domain == "all" else (0.5, 3.0)
    t = np.linspace(low, high, 20001)
    assert function.slope(low, high) <= np.abs(function.first(t)).max() * (1 + 1e-6)
    assert function.curvature(low, high) <= np.abs(function.second(t)).max() * (1 + 1e-6)


def test_bounds_at_infinity_are_infinite_or_limits():
    inf = math.inf
    assert SMOOTH["tanh"].range(-inf, inf) == (-1, 1)
    assert SMOOTH["exp"].range(-inf, 0.0) == (0, 1)
    assert SMOOTH["exp"].range(-inf, 1e4) == (0, inf)
    assert integer_power(2).range(-inf, inf) == (0, inf)
    assert integer_power(1).slope(-inf, inf) == 1
    assert integer_power(1).curvature(-inf, inf) == 0
    assert integer_power(3).range(-inf, 2.0) == (-inf, 8)
    assert integer_power(-1).slope(0.0, 1.0) == inf
    assert SMOOTH["rsqrt"].range(4.0, inf) == (0, 0.5)


ROOT = Expression("root", (), 0)


def constant(value):
    return Expression("constant", (), value)


def test_examination_of_an_activation_finds_its_kinks_and_constants():
    leaky = Expression(
        "select_n",
        (
            Expression("gt", (ROOT, constant(0.0))),
            Expression("mul", (constant(0.1), ROOT)),
            ROOT,
        ),
    )
    shape = examine(leaky, -2.0, 3.0)
    np.testing.assert_allclose(shape[:4], (-0.2, 3.0, 1.0, 0.0), atol=1e-12)
    assert shape.kinks == (0.0,)
    assert shape.jumps == ()
    assert shape.resolved
    swish = Expression("mul", (ROOT, Expression("logistic", (ROOT,))))
    shape = examine(swish, -20.0, 20.0)
    np.testing.assert_allclose(shape.slope, 1.09984, rtol=2e-4)
    np.testing.assert_allclose(shape.curvature, 0.5, rtol=2e-4)
    assert shape.kinks == ()
    step = Expression(
        "select_n", (Expression("gt", (ROOT, constant(0.3))), constant(0.0), constant(1.0))
    )
    np.testing.assert_allclose(examine(step, -2.0, 2.0).jumps, [0.3])


def made(operation, *arguments):
    """An expression of others and of numbers."""
    of = lambda a: a if isinstance(a, Expression) else constant(a)
    return Expression(operation, tuple(map(of, arguments)))


def power(argument, exponent):
    return Expression("integer_pow", (argument,), exponent)


@pytest.mark.parametrize("name", [*SMOOTH, "t^0", "t^1", "t^2", "t^3", "t^-1", "t^-2", "t^2.5"])
def test_ranges_of_single_functions_are_ranges_and_sharp(name):
    exponent = float(name[2:]) if name.startswith("t^") else 0.0
    if not name.startswith("t^"):
        expression, function = Expression(name, (ROOT,)), SMOOTH[name]
    elif exponent == int(exponent):
        expression, function = power(ROOT, exponent), integer_power(int(exponent))
    else:
        expression, function = Expression("power", (ROOT,), exponent), real_power(exponent)
    rng = np.random.default_rng(0)
    shift = {"all": -2.0, "nonnegative": 0.01, "positive": 0.1}[function.domain]
    for low, high in np.sort(shift + 4 * rng.uniform(size=(5, 2)), axis=1):
        t = np.linspace(low, high, 20001)
        value, first, second = function.value(t), function.first(t), function.second(t)
        found = bounds_on(expression, low, high)
        assert found.resolved
        check_bounds(found, value, first, second)


def check_bounds(found, value, first, second):
    """Bounds hold at samples, and are sharp up to 0.1 % of the largest."""
    size = max(abs(value.min()), abs(value.max()))
    assert value.min() - 1e-3 * size <= found.low <= value.min() + 1e-12 * size
    assert value.max() - 1e-12 * size <= found.high <= value.max() + 1e-3 * size
    for bound, values in ((found.slope, first), (found.curvature, second)):
        largest = np.abs(values).max()
        assert largest * (1 - 1e-12) <= bound <= largest * (1 + 1e-3) + 1e-12


AWAY = made("sub", ROOT, 0.3123)
RELU = made("max", ROOT, 0.0)
STEEP = {
    "t tanh(1e6 (t - c))": made("mul", ROOT, made("tanh", made("mul", 1e6, AWAY))),
    "t sigmoid(1e3 (t - c))": made("mul", ROOT, made("logistic", made("mul", 1e3, AWAY))),
    "a bump": made("mul", ROOT, made("exp", made("neg", power(made("mul", 1e5, AWAY), 2)))),
    "gelu": made(
        "mul", ROOT, made("erfc", made("mul", -math.sqrt(0.5), ROOT))
    ),
    "softplus": made("add", RELU, made("log1p", made("exp", made("neg", made("abs", ROOT))))),
    "elu": made("select_n", made("gt", ROOT, 0.0), made("expm1", made("min", ROOT, 0.0)), ROOT),
    "steep behind a switch": made(
        "select_n", made("gt", AWAY, 0.0), 0.0, made("tanh", made("mul", 1e6, AWAY))
    ),
    "hard swish": made(
        "mul", ROOT, made("min", made("max", made("add", ROOT, 2.0), 0.0), 4.0)
    ),
    "waves": made("mul", ROOT, made("sin", made("mul", 30.0, ROOT))),
    "sign times": made("mul", made("sign", AWAY), AWAY),
    "quotient": made("div", made("atan", ROOT), made("add", power(ROOT, 2), 0.01)),
    "window": made(
        "select_n",
        made("and", made("ge", ROOT, -1.0), made("not", made("le", 1.0, ROOT))),
        ROOT,
        made("mul", 3.0, ROOT),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEEP)
def test_no_narrow_peak_escapes_the_bounds_of_an_activation(name):
    shape = examine(STEEP[name], -3.0, 3.0)
    assert shape.resolved
    # Samples crowd around the steep place and around the switches.
    near = np.concatenate([[0.0], np.logspace(-13, 0.5, 30_001)])
    t = np.concatenate([c + s * near for c in (0.3123, 0.0, -1.0, 1.0, 2.0, -2.0) for s in (-1, 1)])
    t = t[(np.abs(t) <= 3) & (np.abs(t[:, None] - [0.3123, 0, -1, 1, 2, -2]).min(axis=1) > 0)]
    jet = evaluate(STEEP[name], {0: variable(t)})
    check_bounds(shape, *(np.broadcast_to(part, t.shape) for part in jet))


def test_a_window_narrower_than_any_grid_is_found():
    inside = made("lt", made("abs", made("sub", ROOT, 0.37)), 1e-6)
    shape = examine(made("select_n", inside, ROOT, 5.0), -3.0, 3.0)
    np.testing.assert_allclose(shape.jumps, [0.37 - 1e-6, 0.37 + 1e-6], rtol=1e-9)
    assert shape.high == 5
    narrow = made("mul", made("gt", made("abs", AWAY), 1e-6), ROOT)
    other = Expression("root", (), 1)
    intervals = {0: (-3.0, 3.0), 1: (-1.0, 1.0)}
    assert jumps_between_roots(made("select_n", narrow.arguments[0], other, ROOT), intervals)


def test_a_single_value_off_the_rest_is_a_jump():
    at_one_place = lambda value: made("select_n", made("eq", AWAY, 0.0), ROOT, value)
    shape = examine(at_one_place(9.0), -1.0, 1.0)
    assert (shape.jumps, shape.high) == ((0.3123,), 9)
    assert examine(at_one_place(0.3123), -1.0, 1.0).jumps == ()
    other = Expression("root", (), 1)
    product = made("select_n", made("eq", AWAY, 0.0), made("mul", ROOT, other), 9.0)
    assert jumps_between_roots(product, {0: (-1.0, 1.0), 1: (-1.0, 1.0)})


def test_equality_of_what_is_always_equal_is_not_taken_for_touching():
    nothing = power(made("sub", ROOT, ROOT), 2)
    chosen = made("select_n", made("gt", nothing, 0.0), ROOT, made("mul", 7.0, ROOT))
    assert examine(chosen, 0.0, 1.0).slope >= 1
    at_most = made("select_n", made("le", nothing, 0.0), made("mul", 7.0, ROOT), ROOT)
    assert examine(at_most, 0.0, 1.0).slope >= 1


def test_what_switches_everywhere_or_overflows_is_not_resolved():
    assert not examine(made("max", ROOT, made("add", ROOT, 0.0)), -3.0, 3.0).resolved
    flat = made("mul", made("exp", ROOT), made("exp", made("neg", ROOT)))
    assert not examine(flat, -1000.0, 1000.0).resolved
    assert examine(flat, -3.0, 3.0).resolved
    root = made("sqrt", made("abs", ROOT))
    assert not examine(root, -1.0, 1.0).resolved
    assert not examine(made("mul", ROOT, made("log", made("abs", ROOT))), -1.0, 1.0).resolved


def test_examination_does_not_miss_poles():
    for place in (0.0, 0.1234567, -1.9):
        pole = Expression("div", (constant(1.0), Expression("sub", (ROOT, constant(place)))))
        assert not examine(pole, -2.0, 2.0).resolved
    tame = Expression("div", (constant(1.0), Expression("add", (ROOT, constant(3.0)))))
    assert examine(tame, -2.0, 2.0).resolved


def test_choices_among_several_arrays_are_tried_at_the_switching_point():
    other = Expression("root", (), 1)
    positive = Expression("gt", (ROOT, constant(0.0)))
    intervals = {0: (-1.0, 1.0), 1: (-1.0, 1.0)}
    slope = Expression("select_n", (positive, Expression("mul", (ROOT, other)), ROOT))
    assert jumps_between_roots(slope, intervals) is False
    jump = Expression("select_n", (positive, other, ROOT))
    assert jumps_between_roots(jump, intervals) is True
    mixed = Expression("select_n", (Expression("gt", (ROOT, other)), ROOT, other))
    assert jumps_between_roots(mixed, intervals) is None


# --- how programs depend on their inputs --------------------------------------------------------

ACTIVATIONS = {
    "tanh": (jnp.tanh, Kind.SMOOTH),
    "gelu": (nn.gelu, Kind.SMOOTH),
    "gelu by erf": (lambda t: nn.gelu(t, approximate=False), Kind.SMOOTH),
    "silu": (nn.silu, Kind.SMOOTH),
    "softplus": (nn.softplus, Kind.SMOOTH),
    "sin": (jnp.sin, Kind.SMOOTH),
    "cubed": (lambda t: t**3, Kind.SMOOTH),
    "relu": (nn.relu, Kind.KINKED),
    "leaky relu": (nn.leaky_relu, Kind.KINKED),
    "elu": (nn.elu, Kind.KINKED),
    "selu": (nn.selu, Kind.KINKED),
    "hard tanh": (nn.hard_tanh, Kind.KINKED),
    "hard swish": (nn.hard_swish, Kind.KINKED),
    "abs": (jnp.abs, Kind.KINKED),
    "squared relu": (lambda t: nn.relu(t) ** 2, Kind.KINKED),
    "sign times": (lambda t: jnp.sign(t) * t, Kind.KINKED),
    "sign": (jnp.sign, Kind.JUMPING),
    "step": (lambda t: jnp.where(t > 0, 1.0, 0.0), Kind.JUMPING),
    "shifted step": (lambda t: jnp.where(t > 0.5, t, t - 1), Kind.JUMPING),
    "floor": (jnp.floor, Kind.JUMPING),
    "log of positive": (lambda t: jnp.log(1 + t**2), Kind.SMOOTH),
    "log": (jnp.log, Kind.UNKNOWN),
    "one over": (lambda t: 1 / t, Kind.UNKNOWN),
    "square root": (lambda t: jnp.sqrt(jnp.abs(t)), Kind.UNKNOWN),
    "no rule": (jax.scipy.special.digamma, Kind.UNKNOWN),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_read_for_what_they_are(name):
    activation, kind = ACTIVATIONS[name]
    program = trace(small_net(activation), small_params(), 2)
    for radius in (2.0, math.inf):
        value = read(program, radius, 1.0)
        assert value.kind_u == kind
        assert value.kind_x == kind
        assert bool(value.reasons) == (kind >= Kind.JUMPING)


class LayerNormNet(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.Dense(2)(nn.LayerNorm()(nn.Dense(3)(z)))


class AttentionNet(nn.Module):
    @nn.compact
    def __call__(self, z):
        h = nn.Dense(4)(z).reshape(z.shape[0], 2, 2)
        h = nn.MultiHeadDotProductAttention(num_heads=1)(h)
        return nn.Dense(2)(h.reshape(z.shape[0], -1))


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, z):
        h = nn.Dense(16)(z).reshape(z.shape[0], 4, 4, 1)
        h = nn.max_pool(nn.relu(nn.Conv(2, (3, 3))(h)), (2, 2), (2, 2))
        return nn.Dense(2)(h.reshape(z.shape[0], -1))


class SlopeNet(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.Dense(2)(nn.PReLU()(nn.Dense(3)(z)))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (LayerNormNet(), Kind.KINKED),  # its variance is max(0, .)
        (AttentionNet(), Kind.SMOOTH),
        (ConvNet(), Kind.KINKED),
        (SlopeNet(), Kind.KINKED),
        (swjax.generators.ConvGenerator((4, 4, 1), (2,), activation=jnp.tanh), Kind.SMOOTH),
    ],
    ids=lambda p: type(p).__name__,
)
def test_common_layers_are_recognized(model, kind):
    shapes = jax.eval_shape(model.init, key(0), np.ones((1, 2)))
    params = jax.tree.map(lambda s: np.full(s.shape, 0.1, s.dtype), shapes)
    program = trace(model.apply, params, 2)
    for radius in (2.0, math.inf):
        value = read(program, radius, 1.0)
        assert (value.kind_u, value.kind_x) == (kind, kind)
        assert not value.reasons
    assert read(program, 2.0, 1.0).norm < math.inf


def test_a_softmax_over_other_axes_than_its_sum_is_not_taken_for_one():
    def twisted(u, x):
        h = jnp.exp((x @ u).reshape(3, 3))
        return (h / h.sum(axis=1)[None]).reshape(1, 9)

    def straight(u, x):
        h = jnp.exp((x @ u).reshape(3, 3))
        return (h / h.sum(axis=1)[:, None]).reshape(1, 9)

    u = np.full((2, 9), 0.1, np.float32)
    assert read(trace(straight, u, 2), 2.0, 1.0).high == 1
    assert read(trace(twisted, u, 2), 2.0, 1.0).high > 10


def test_a_fixed_mask_is_no_choice_between_branches():
    mask = np.array([[True, False, True]])
    apply = lambda u, x: jnp.where(mask, jnp.tanh(x @ u), x @ u)
    value = read(trace(apply, np.ones((2, 3), np.float32), 2), 2.0, 1.0)
    assert (value.kind_u, value.kind_x) == (Kind.SMOOTH, Kind.SMOOTH)
    assert not value.reasons


def test_random_numbers_and_recomputation_inside_a_generator_are_read():
    def noisy(u, x):
        return jax.checkpoint(jnp.sin)(x * u[None]) + jax.random.normal(key(0), (1, 2))

    value = read(trace(noisy, np.ones(2, np.float32), 2), 2.0, 1.0)
    assert (value.kind_u, value.du, value.dx) == (Kind.SMOOTH, 1, 2)


def test_a_lookup_by_the_latent_number_is_smooth_in_the_parameters():
    model = swjax.generators.FreePoints(5, 2)
    params = {"params": {"points": np.ones((5, 2), np.float32)}}
    value = read(trace(model.apply, params, 1), 3.0, 4.0)
    assert value.kind_u == Kind.SMOOTH
    assert value.kind_x == Kind.JUMPING
    assert (value.norm, value.du, value.duu) == (3, 1, 0)


# --- bounds ---------------------------------------------------------------------------------------


def loop(u, x):
    body = lambda h, _: (jnp.tanh(h @ u["A"][:, :2] + x), h)
    last, all_h = jax.lax.scan(body, x, None, length=3)
    return last + all_h.sum(axis=0)


def counted_loop(u, x):
    return jax.lax.fori_loop(0, 2, lambda i, h: jnp.sin(h @ u["A"][:, :2]) + i, x)


def branching(u, x):
    return jax.lax.cond(u["A"].shape[0] > 1, lambda h: h @ u["A"], lambda h: -h @ u["A"], x)


def windows(u, x):
    image = (x @ u["A"]).reshape(1, 3, 1, 1)
    pooled = jax.lax.reduce_window(image, -jnp.inf, jax.lax.max, (1, 2, 1, 1), (1,) * 4, "SAME")
    summed = jax.lax.reduce_window(image, 0.0, jax.lax.add, (1, 2, 1, 1), (1,) * 4, "SAME")
    kernel = u["C"].reshape(3, 2, 1, 1)
    mixed = jax.lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.concatenate([p.reshape(1, 3) for p in (pooled, summed, mixed)], axis=1)


def shuffled(u, x):
    h = jnp.sort(x @ u["A"], axis=1)
    h = jnp.cumsum(h, axis=1) + jnp.flip(h, axis=1)
    h = jnp.pad(h, ((0, 0), (1, 1)), constant_values=0.5)
    h = jax.lax.dynamic_slice(h, (0, 1), (1, 3)) * h[:, jnp.array([2, 0, 0])]
    return jnp.concatenate([h, jnp.max(h, axis=1, keepdims=True)], axis=1) - h.mean()


def rational(u, x):
    h = x @ u["A"]
    return jnp.concatenate([h / (1 + jnp.sum(h**2)), jax.nn.softmax(3 * h, axis=1)], axis=1)


PROGRAMS = {
    "leaky": small_net(nn.leaky_relu),
    "gelu": small_net(nn.gelu),
    "softplus": small_net(nn.softplus),
    "elu": small_net(nn.elu),
    "exp": small_net(lambda t: jnp.exp(-t) + jnp.arctan(t) * jnp.square(t)),
    "loop": loop,
    "counted loop": counted_loop,
    "branching": branching,
    "windows": windows,
    "shuffled": shuffled,
    "rational": rational,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_sample_exceeds_the_bounds(name, x64):
    apply, radius = PROGRAMS[name], 2.0
    params = jax.tree.map(lambda p: jnp.asarray(p, float), small_params())
    value = read(trace(apply, params, 2), radius, 1.0)
    assert max(value.norm, value.du, value.dx, value.duu) < 1e3
    flat, restore = jax.flatten_util.ravel_pytree(params)
    rng = np.random.default_rng(1)

    def unit(*shape):
        rows = rng.normal(size=shape)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    @jax.jit
    @jax.vmap
    def sample(u, x, v, w):
        at = lambda u, x: apply(restore(u), x[None])[0]
        along_u = lambda u: jax.jvp(lambda u: at(u, x), (u,), (v,))[1]
        value, by_x = jax.jvp(lambda x: at(u, x), (x,), (w,))
        by_u, second = jax.jvp(along_u, (u,), (v,))
        norms = [jnp.linalg.norm(part) for part in (value, by_u, by_x, second)]
        return (*norms, value.min(), value.max())

    num = 400
    u = radius * unit(num, flat.size) * rng.choice([1.0, 0.5], size=(num, 1))
    norm, du, dx, duu, low, high = (
        np.asarray(p) for p in sample(u, unit(num, 2), unit(num, flat.size), unit(num, 2))
    )
    assert norm.max() <= value.norm * (1 + 1e-9)
    assert du.max() <= value.du * (1 + 1e-9)
    assert dx.max() <= value.dx * (1 + 1e-9)
    assert duu.max() <= value.duu * (1 + 1e-6) + 1e-12
    assert low.min() >= value.low - 1e-9
    assert high.max() <= value.high + 1e-9


def test_bounds_of_simple_generators_are_exact():
    shift = read(trace(lambda u, x: x + u[None], np.zeros(2, np.float32), 2), math.inf, 1.0)
    assert (shift.du, shift.dx, shift.duu) == (1, 1, 0)
    scale = read(trace(lambda u, x: u * x, np.float32(1.0), 1), 3.0, 0.5)
    assert (scale.norm, scale.du, scale.dx, scale.duu) == (1.5, 0.5, 3, 0)
    matrix = np.diag([3.0, 4.0]).astype(np.float32)
    fixed = read_at(trace(lambda u, x: x @ u, matrix, 2), 1.0)
    assert fixed.dx == 4  # the spectral norm, not the Frobenius norm 5


def test_loops_of_unknown_length_and_branches_on_parameters_are_unknown():
    program = lambda u, x: jax.lax.while_loop(lambda h: jnp.sum(h) < u, lambda h: 2 * h, x)
    value = read(trace(program, np.float32(1.0), 2), 2.0, 1.0)
    assert value.kind_u == Kind.UNKNOWN
    assert value.reasons == {"a loop of unknown length"}
    program = lambda u, x: jax.lax.cond(u > 0, lambda x: x, lambda x: -x, x)
    value = read(trace(program, np.float32(1.0), 2), 2.0, 1.0)
    assert value.kind_u == Kind.UNKNOWN
    assert "a branch that depends on the input" in value.reasons


# --- the cut-off ----------------------------------------------------------------------------------


def paper_cutoff(sq_norm, radius, width):
    f = lambda s: jnp.where(s > 0, jnp.exp(-1 / jnp.where(s > 0, s, 1.0)), 0.0)
    s = ((radius + width) ** 2 - sq_norm) / (4 * radius * width)
    return f(s) / (f(s) + f(1 - s))


@pytest.mark.slow
def test_a_smooth_cutoff_is_recognized_however_it_is_written():
    def by_hand(u, x):
        sq_norm = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(u))
        return paper_cutoff(sq_norm, 3.0, 0.5) * small_net(nn.relu)(u, x)

    program = trace(by_hand, small_params(), 2)
    assert vanishes(program, 3.51, 1.0)
    assert not vanishes(program, 3.49, 1.0)
    assert read(program, math.inf, 1.0).kind_u == Kind.KINKED
    report = check(by_hand, small_params(), BALL, ATOMS)
    assert [report[name].verdict for name in ("A1", "A2", "A4", "A5", "A7")] == ["holds"] * 5
    np.testing.assert_allclose(report.numbers["cutoff_radius"], 3.5, rtol=2e-3)
    assert report.theorems[0].verdict == "applies"


@pytest.mark.slow
def test_the_cutoff_of_the_paper_makes_both_theorems_apply():
    cutoff = swjax.generators.Cutoff(4.0, 2.0, 1.0)
    model = swjax.generators.DenseSkipMLP((3,), 2, activation=jnp.tanh, cutoff=cutoff)
    shapes = jax.eval_shape(model.init, key(0), np.ones((1, 2)))
    params = jax.tree.map(lambda s: np.full(s.shape, 0.1, s.dtype), shapes)
    report = check(model, params, ATOMS, ATOMS)
    assert {a.verdict for a in report.assumptions} == {"holds"}
    assert [t.verdict for t in report.theorems] == ["applies", "applies"]
    # In float32 the cut-off rounds to zero a little inside the ball of radius 4 + 1.
    np.testing.assert_allclose(report.numbers["cutoff_radius"], 5.0, rtol=5e-3)
    without = swjax.generators.DenseSkipMLP((3,), 2, activation=jnp.tanh)
    report = check(without, params, ATOMS, ATOMS)
    assert report["A2"].verdict == "holds only with the cut-off"
    assert [t.verdict for t in report.theorems] == ["applies with the cut-off"] * 2


def test_a_factor_that_ignores_some_parameters_is_no_cutoff():
    def partial(u, x):
        return paper_cutoff(jnp.sum(u["A"] ** 2), 3.0, 0.5) * small_net(nn.relu)(u, x)

    assert not vanishes(trace(partial, small_params(), 2), 1e12, 1.0)


# --- verdicts -------------------------------------------------------------------------------------


def verdicts(report):
    return [a.verdict for a in report.assumptions]


def test_the_translation_problem_satisfies_theorem_one_with_the_constants_of_the_paper():
    target = measures.translate(BALL, jnp.array([0.5, 0.0]))
    apply = lambda u, x: x + u[None]
    report = check(apply, np.zeros(2), BALL, target, key=key(0), num_samples=4)
    assert verdicts(report) == ["holds"] * 5 + ["fails", "holds"]
    assert [t.verdict for t in report.theorems] == ["applies", "does not apply"]
    numbers = report.numbers
    assert numbers["lipschitz_u_bound"] == numbers["lipschitz_x_bound"] == 1
    assert numbers["M_bound"] == 2
    # alpha_0 = 1 / (2 d (d^2 + 2 R_y)) for the translation generator.
    np.testing.assert_allclose(numbers["alpha_0"], 1 / (2 * 2 * (4 + 2 * 1.5)), rtol=1e-6)
    np.testing.assert_allclose(numbers["M_sampled"], 2, rtol=1e-6)
    np.testing.assert_allclose(numbers["lipschitz_sampled"], math.sqrt(2), rtol=1e-5)
    assert report.notes == (
        "Compared at 8 points for 4 choices of the parameters, not proved: points map in a batch "
        "as they do alone.",
        "No ball was given; numbers without another range are for |u| <= 2.",
    )


def test_a_network_on_a_ball_satisfies_theorem_two_between_discrete_laws():
    apply = small_net(nn.relu)
    on_ball = check(apply, small_params(), ATOMS, ATOMS, radius=2.0)
    local = "holds on the ball"
    assert verdicts(on_ball) == ["holds", local, "holds", local, local, "holds", "holds"]
    assert [t.verdict for t in on_ball.theorems] == ["applies with the cut-off", "applies"]
    continuous = check(apply, small_params(), BALL, ATOMS, radius=2.0)
    assert continuous["A6"].verdict == "fails"
    assert "source is not discrete" in continuous["A6"].reason
    assert [t.verdict for t in continuous.theorems][1] == "does not apply"
    free = check(apply, small_params(), ATOMS, ATOMS)
    assert free["A2"].verdict == "holds only with the cut-off"
    assert "Give the radius" in free.theorems[1].reason


def test_unbounded_laws_fail_compactness():
    gaussian = measures.gaussian(2)
    report = check(small_net(jnp.tanh), small_params(), gaussian, ATOMS, radius=2.0)
    assert report["A3"].verdict == "fails"
    assert report["A2"].verdict == "holds only with the cut-off"
    assert report.theorems[0].verdict == "does not apply"
    assert "source_radius" not in report.numbers
    shift = check(lambda u, x: x + u[None], jnp.zeros(2), gaussian, gaussian)
    assert shift["A2"].verdict == "holds"
    assert "alpha_0" not in shift.numbers


def test_a_bounded_output_satisfies_the_growth_condition_alone():
    apply = lambda u, x: jnp.tanh(small_net(jnp.tanh)(u, x))
    report = check(apply, small_params(), BALL, ATOMS)
    assert report["A4"].verdict == "holds"
    assert report["A2"].verdict == "holds only with the cut-off"


@pytest.mark.slow
def test_jumps_fail_and_what_cannot_be_read_is_unknown():
    step = small_net(lambda t: jnp.where(t > 0, 1.0, 0.0))
    report = check(step, small_params(), ATOMS, ATOMS, radius=2.0, key=key(0), num_samples=4)
    assert [report[name].verdict for name in ("A1", "A2", "A7")] == ["holds", "fails", "fails"]
    assert "jumps at 0" in report["A7"].reason
    assert [t.verdict for t in report.theorems] == ["does not apply"] * 2
    inspected = check(step, small_params(), ATOMS, ATOMS, radius=2.0)
    assert [inspected[name].verdict for name in ("A2", "A7")] == ["unknown", "unknown"]
    strange = small_net(jax.scipy.special.digamma)
    report = check(strange, small_params(), ATOMS, ATOMS, radius=2.0)
    assert [report[name].verdict for name in ("A1", "A2", "A5", "A7")] == ["unknown"] * 4
    assert "digamma" in report["A1"].reason
    assert [t.verdict for t in report.theorems] == ["unknown", "unknown"]


def test_a_steep_slope_is_no_jump():
    steep = small_net(lambda t: jnp.tanh(30 * t))
    assert sample_jump(key(1), steep, small_params(), ATOMS, 2.0) == 0


def test_other_orders_leave_theorem_two_open():
    report = check(small_net(nn.relu), small_params(), ATOMS, ATOMS, radius=2.0, p=3)
    assert report.theorems[1].verdict == "unknown"
    assert "path differentiable" in report.theorems[1].reason
    assert "sketches" in report.theorems[0].reason
    shift = check(lambda u, x: x + u[None], jnp.zeros(2), BALL, BALL, p=3)
    assert shift["A4"].verdict == "holds only with the cut-off"


# --- samples --------------------------------------------------------------------------------------


def test_samples_stay_below_the_bounds_and_show_no_alarm():
    report = check(
        small_net(nn.relu), small_params(), ATOMS, ATOMS, radius=2.0, key=key(2), num_samples=16
    )
    numbers = report.numbers
    assert 0 < numbers["M_sampled"] <= numbers["M_bound"]
    assert 0 < numbers["output_sampled"] <= numbers["output_bound"]
    jointly = math.hypot(numbers["lipschitz_u_bound"], numbers["lipschitz_x_bound"])
    assert 0 < numbers["lipschitz_sampled"] <= jointly
    assert numbers["alpha_0"] <= numbers["alpha_0_sampled"]
    (note,) = report.notes
    assert "derivative rules of the program's own agree" in note


# --- batches and derivatives ----------------------------------------------------------------------


def batch_normalized(u, x):
    return u[None] * (x - x.mean(axis=0, keepdims=True))


ABOUT_T = ("A1", "A2", "A4", "A5", "A7")


@pytest.mark.parametrize("u", [np.ones(2, np.float32), np.zeros(2, np.float32)])
@pytest.mark.parametrize("law", [ATOMS, BALL])
def test_a_generator_that_mixes_the_batch_has_no_assumption_without_a_key(law, u):
    report = check(batch_normalized, u, law, ATOMS, radius=3.0)
    for name in ABOUT_T:
        assert report[name].verdict == "fails"
        assert report[name].basis == "points mapped together and one by one"
    assert report["A3"].verdict == "holds"
    assert [t.verdict for t in report.theorems] == ["does not apply"] * 2
    assert all("influence each other" in t.reason for t in report.theorems)
    assert any("mapped together differ" in note for note in report.notes)
    assert not {"M_bound", "alpha_0", "lipschitz_u_bound"} & set(report.numbers)


@pytest.mark.parametrize(
    "apply",
    [
        lambda u, x: x.reshape(1, 2) * u[None],  # no batches
        lambda u, x: x * jnp.log(u - jnp.inf)[None],  # no numbers
    ],
)
def test_what_could_not_be_compared_is_not_called_proved(apply):
    report = check(apply, np.ones(2, np.float32), ATOMS, ATOMS, radius=3.0)
    assert not any("proved" in a.basis for a in report.assumptions)
    assert [t.verdict for t in report.theorems] == ["unknown"] * 2
    assert "could not be compared" in report.theorems[0].reason


def stopped(u, x):
    return jax.lax.stop_gradient(u)[None] + x


def stopped_in_part(u, x):
    kept = jnp.array([True, False])
    return x + jnp.where(kept, u, jax.lax.stop_gradient(u))[None]


def straight_through(u, x):
    return jnp.tanh(x * u[None]) + jax.lax.stop_gradient(x - jnp.tanh(x * u[None]))


def stopped_in_a_loop(u, x):
    body = lambda h, _: (jnp.tanh(h) * jax.lax.stop_gradient(u)[None], None)
    return jax.lax.scan(body, x, None, length=2)[0]


def stopped_in_a_branch(u, x):
    step = lambda h: h * jax.lax.stop_gradient(u)[None]
    return jax.lax.cond(jnp.sum(u) < 100, step, step, x)


@jax.custom_vjp
def wrong_sine(u):
    return jnp.sin(u)


wrong_sine.defvjp(lambda u: (jnp.sin(u), u), lambda u, g: (g,))


@jax.custom_jvp
def wrong_cosine(u):
    return jnp.cos(u)


wrong_cosine.defjvp(lambda u, du: (jnp.cos(*u), *du))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(
    "apply",
    [
        stopped,
        stopped_in_part,
        straight_through,
        stopped_in_a_loop,
        stopped_in_a_branch,
        lambda u, x: x + wrong_sine(u)[None],
        lambda u, x: x + wrong_cosine(u)[None],
    ],
)
def test_no_theorem_is_about_a_derivative_that_is_none(apply, sampled):
    more = {"key": key(3), "num_samples": 4} if sampled else {}
    report = check(apply, np.ones(2, np.float32), ATOMS, ATOMS, radius=2.0, **more)
    assert [t.verdict for t in report.theorems] == ["does not apply"] * 2
    assert "not that of T" in report.theorems[0].reason
    assert "The program contains" in report.theorems[0].reason
    assert any("differs from that of the operations" in note for note in report.notes)


@pytest.mark.parametrize(
    "activation",
    [
        nn.relu,
        nn.softplus,
        lambda t: nn.softmax(t, axis=1),
        lambda t: t - nn.logsumexp(t, axis=1, keepdims=True),
        lambda t: jax.lax.stop_gradient(3.0) * jnp.tanh(t),
    ],
)
def test_derivative_rules_that_agree_with_their_functions_are_no_obstacle(activation):
    # At zero the network has all its kinks: the rule for ReLU and its operations differ there.
    for params in (small_params(), jax.tree.map(jnp.zeros_like, small_params())):
        report = check(small_net(activation), params, ATOMS, ATOMS, radius=2.0)
        assert all(t.verdict.startswith("applies") for t in report.theorems)
        assert "agree with its operations" in report.notes[0]


def test_a_derivative_that_cannot_be_taken_is_unknown():
    def counted(u, x):
        relu_of = lambda h: jax.lax.while_loop(lambda h: jnp.sum(h) < 0, nn.relu, h)
        return jax.vmap(relu_of)(x * u[None])

    report = check(counted, np.ones(2, np.float32), ATOMS, ATOMS, radius=2.0)
    assert [t.verdict for t in report.theorems] == ["unknown"] * 2
    assert "not settled" in report.theorems[0].reason


def test_difference_quotients_that_disagree_leave_the_theorems_open():
    # Without a rule of its own the derivative is right; the function only bends too fast for them.
    report = check(
        lambda u, x: x + jnp.sin(1e6 * u)[None], np.ones(2), ATOMS, ATOMS, radius=2.0, key=key(0)
    )  # fmt: skip
    assert [t.verdict for t in report.theorems] == ["unknown"] * 2
    assert any("difference quotients" in note for note in report.notes)
    fast = check(
        lambda u, x: x + jnp.sin(100 * u)[None], np.ones(2), ATOMS, ATOMS, radius=2.0, key=key(0)
    )  # fmt: skip
    assert [t.verdict for t in fast.theorems] == ["applies"] * 2


def test_numbers_that_rest_on_an_examination_are_called_about():
    steep = check(
        lambda u, x: (lambda t: t * jnp.tanh(1e6 * (t - 0.3123)))(x + u[None]),
        jnp.ones(2),
        BALL,
        BALL,
        radius=2.0,
    )
    assert "at most about 3.123e+05 in u" in steep["A2"].reason
    assert steep["A2"].basis.endswith("examined numerically")
    assert steep["A5"].reason.startswith("M = about")
    assert "about" not in check(small_net(nn.relu), small_params(), ATOMS, ATOMS)["A2"].reason


# --- the report -----------------------------------------------------------------------------------


def test_the_report_can_be_read_and_stored():
    report = check(small_net(nn.relu), small_params(), ATOMS, ATOMS, radius=2.0)
    text = str(report)
    assert "A2: holds on the ball" in text
    assert "Theorem 2: applies" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    stored = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert stored["assumptions"]["A6"]["verdict"] == "holds"
    assert stored["assumptions"]["A2"]["statement"] == "T is Lipschitz in (u, x)"
    assert stored["theorems"]["Theorem 2"]["verdict"] == "applies"
    assert stored["numbers"]["num_params"] == 15
    with pytest.raises(KeyError, match="A1, A2"):
        report["A8"]


def test_bad_input_is_refused():
    apply, params = small_net(nn.relu), small_params(scale=0.5)
    with pytest.raises(ValueError, match="norm 0.5"):
        check(apply, params, ATOMS, ATOMS, radius=0.4)
    with pytest.raises(ValueError, match="positive"):
        check(apply, params, ATOMS, ATOMS, radius=-1.0)
    with pytest.raises(ValueError, match="order p"):
        check(apply, params, ATOMS, ATOMS, p=0.5)
    with pytest.raises(TypeError, match="function"):
        check(3, params, ATOMS, ATOMS)
    line = swjax.Discrete(np.ones((2, 1)))
    with pytest.raises(ValueError, match="dimension 1"):
        check(apply, params, ATOMS, line)
    whole = swjax.generators.FreePoints(5, 2, whole=True)
    points = {"params": {"points": np.ones((5, 2), np.float32)}}
    with pytest.raises(ValueError, match="one latent point"):
        check(whole, points, ATOMS, ATOMS)
