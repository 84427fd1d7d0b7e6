"""200 random calls that are wrong in one argument: none returns a number.

And those that look odd but are documented as valid: each returns the right one.
"""

import inspect
import re

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import swjax
from swjax import exact


@pytest.fixture(autouse=True)
def as_users_run_it():
    """Without the checks of annotations that the tests switch on: the errors must be our own."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def cloud(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def rows(rng, num, dim):
    theta = cloud(rng, num, dim)
    return theta / np.linalg.norm(theta, axis=1, keepdims=True)


def shares(rng, n):
    a = rng.uniform(0.1, 1, n).astype(np.float32)
    return a / a.sum()


# --- the functions, each with the kinds of its arguments ----------------------------------------

CLOUDS = {"x": "cloud", "y": "cloud"}
WEIGHTS = {"a": "weights", "b": "weights"}
SLICED = {**CLOUDS, "directions": "directions", **WEIGHTS}
KEY = jax.random.key(0)

FUNCTIONS = {
    swjax.sw2_sq: {**SLICED, "chunk_size": "count"},
    swjax.sw_pow: {**SLICED, "p": "order", "chunk_size": "count"},
    swjax.sw_distance: {**SLICED, "p": "order", "chunk_size": "count"},
    swjax.sw2_sq_per_direction: SLICED,
    swjax.sw_pow_per_direction: {**SLICED, "p": "order"},
    swjax.sw2_sq_estimate: {**SLICED, "control_variate": "name"},
    swjax.sw_pow_estimate: {**SLICED, "p": "order", "control_variate": "name"},
    swjax.sw_distance_estimate: {**SLICED, "p": "order"},
    swjax.sw2_sq_adaptive: {**CLOUDS, **WEIGHTS, "rtol": "tolerance", "max_directions": "count"},
    swjax.max_sw2_sq: {**CLOUDS, **WEIGHTS, "num_steps": "count", "num_starts": "count"},
    swjax.sliced_plans: SLICED,
    swjax.expected_sliced_plan: {**SLICED, "chunk_size": "count"},
    swjax.sliced_potentials: {**SLICED, "p": "order"},
    swjax.wp_pow_1d: {"x": "line", "y": "line", **WEIGHTS, "p": "order"},
    swjax.generalized_sw_pow: {
        "x": "form",
        "y": "form",
        "features": "features",
        **WEIGHTS,
        "p": "order",
    },
    swjax.pairwise_sw2_sq: {"clouds": "clouds", "directions": "directions", "chunk_size": "count"},
    swjax.cross_sw2_sq: {"x": "clouds", "y": "clouds", "directions": "directions", **WEIGHTS},
    swjax.batch_sw2_sq: {"x": "clouds", "y": "clouds", "directions": "directions", **WEIGHTS},
    swjax.sw2_sq_exact_2d: {"x": "plane", "y": "plane"},
    exact.sw2_sq_two_points: {"x": "pair", "y": "pair"},
    exact.sw_pow_translation: {"shift": "vector", "p": "order"},
    swjax.sample_directions: {"num": "count", "dim": "count"},
    swjax.sample_orthogonal_directions: {"num": "count", "dim": "count"},
    swjax.sample_quasi_directions: {"num": "count", "dim": "count"},
    swjax.equispaced_directions: {"num": "count"},
    swjax.fibonacci_directions: {"num": "count"},
}


def good_arguments(function, rng):
    """Random arguments that are right."""
    n, m, dim, num = rng.integers(2, 6, 4) + np.array([0, 0, 1, 4])
    sizes = {"x": n, "y": m, "a": n, "b": m}
    make = {
        "cloud": lambda name: cloud(rng, sizes[name], dim),
        "form": lambda name: cloud(rng, sizes[name], dim),
        "line": lambda name: cloud(rng, sizes[name], 3),
        "clouds": lambda name: cloud(rng, 2, sizes.get(name, n), dim),
        "plane": lambda name: cloud(rng, n, 2),
        "pair": lambda name: cloud(rng, 2, dim),
        "vector": lambda name: cloud(rng, dim),
        "weights": lambda name: shares(rng, sizes[name]),
        "directions": lambda name: rows(rng, num, dim),
        "order": lambda name: float(rng.uniform(1, 3)),
        "count": lambda name: int(rng.integers(1, 4)),
        "name": lambda name: None,
        "tolerance": lambda name: 0.1,
        "features": lambda name: lambda x: x[:, :1],
    }
    arguments = {name: make[kind](name) for name, kind in FUNCTIONS[function].items()}
    if "key" in inspect.signature(function).parameters:
        arguments["key"] = KEY
    return arguments


# --- what can be wrong with an argument of each kind ----------------------------------------------


def an_entry(value, rng, new):
    value = np.array(value)
    value[tuple(rng.integers(0, size) for size in value.shape)] = new
    return value


ANY_ARRAY = {
    "integers": lambda v, rng: np.round(10 * v).astype(int),
    "booleans": lambda v, rng: v > 0,
    "complex numbers": lambda v, rng: v + 1j,
    "words": lambda v, rng: np.full(v.shape, "one"),
    "nothing": lambda v, rng: None,
    "objects": lambda v, rng: v.astype(object),
    "no point": lambda v, rng: v[:0],
}
ARRAYS_OF_POINTS = {
    **ANY_ARRAY,
    "one axis more": lambda v, rng: v[None],
    "one axis less": lambda v, rng: v[0],
    "a number": lambda v, rng: float(rng.normal()),
    "no coordinate": lambda v, rng: v[..., :0],
    "one coordinate more": lambda v, rng: np.concatenate([v, v[..., :1]], axis=-1),
}
ON_THE_LINE = {
    k: v for k, v in ARRAYS_OF_POINTS.items() if k not in ("one axis more", "no coordinate")
}
SPOILERS = {
    "cloud": ARRAYS_OF_POINTS,
    "plane": ARRAYS_OF_POINTS,
    "pair": ARRAYS_OF_POINTS,
    "line": ON_THE_LINE,
    "clouds": ARRAYS_OF_POINTS,
    "form": ANY_ARRAY,
    "vector": {**ANY_ARRAY, "a number": lambda v, rng: float(rng.normal())},
    "directions": {
        **ARRAYS_OF_POINTS,
        "columns": lambda v, rng: v.T,
        "too long": lambda v, rng: v * rng.uniform(1.01, 3),
        "too short": lambda v, rng: v * rng.uniform(0, 0.99),
        "zeros": lambda v, rng: 0 * v,
        "NaN": lambda v, rng: an_entry(v, rng, np.nan),
        "infinite": lambda v, rng: an_entry(v, rng, np.inf),
    },
    "weights": {
        **{flaw: spoil for flaw, spoil in ANY_ARRAY.items() if flaw != "nothing"},
        "one too many": lambda v, rng: np.append(v, 0).astype(np.float32),
        "one too few": lambda v, rng: v[:-1] / v[:-1].sum(),
        "a negative one": lambda v, rng: an_entry(v, rng, -rng.uniform(0.01, 1)),
        "NaN": lambda v, rng: an_entry(v, rng, np.nan),
        "infinite": lambda v, rng: an_entry(v, rng, np.inf),
        "not of sum one": lambda v, rng: v * rng.uniform(1.01, 3),
        "too small": lambda v, rng: v * rng.uniform(0, 0.99),
        "one axis less": lambda v, rng: v[0],
    },
    "order": {
        "below one": lambda v, rng: float(rng.uniform(0, 0.999)),
        "negative": lambda v, rng: -float(rng.uniform(0, 3)),
        "NaN": lambda v, rng: np.nan,
        "infinite": lambda v, rng: np.inf,
        "a word": lambda v, rng: "2",
        "nothing": lambda v, rng: None,
        "a truth value": lambda v, rng: True,
        "complex": lambda v, rng: 2 + 1j,
        "an array": lambda v, rng: jnp.array(2.0),
    },
    "count": {
        "zero": lambda v, rng: 0,
        "negative": lambda v, rng: -int(rng.integers(1, 9)),
        "a fraction": lambda v, rng: float(rng.uniform(1, 9)),
        "a word": lambda v, rng: "8",
        "an array": lambda v, rng: np.array([1, 2]),
    },
    "name": {"unknown": lambda v, rng: "mean", "a truth value": lambda v, rng: True},
    "tolerance": {
        "zero": lambda v, rng: 0.0,
        "negative": lambda v, rng: -0.1,
        "NaN": lambda v, rng: np.nan,
        "a word": lambda v, rng: "0.1",
    },
    "features": {
        "one axis": lambda v, rng: lambda x: x[:, 0],
        "too few rows": lambda v, rng: lambda x: x[1:],
        "integers": lambda v, rng: lambda x: jnp.round(x).astype(int),
        "no column": lambda v, rng: lambda x: x[:, :0],
        "a number": lambda v, rng: lambda x: 1.0,
    },
}


def bad_calls(num):
    """Function, argument and what is wrong with it: each at most once, in random order."""
    everything = [
        (function, name, flaw)
        for function, kinds in FUNCTIONS.items()
        for name, kind in kinds.items()
        for flaw in SPOILERS[kind]
    ]
    chosen = np.random.default_rng(2026).permutation(len(everything))[:num]
    return [everything[k] for k in chosen]


CALLS = bad_calls(200)
NAMES = [f"{function.__name__}-{name}-{flaw}" for function, name, flaw in CALLS]


@pytest.mark.parametrize(("number", "call"), list(enumerate(CALLS)), ids=NAMES)
def test_a_bad_call_is_refused(number, call):
    function, name, flaw = call
    rng = np.random.default_rng([2026, number])
    arguments = good_arguments(function, rng)
    arguments[name] = SPOILERS[FUNCTIONS[function][name]][flaw](arguments[name], rng)
    with pytest.raises((ValueError, TypeError)) as caught:
        function(**arguments)
    words = str(caught.value)
    assert len(words) > 20
    if flaw not in ("words", "nothing", "objects"):  # those JAX itself refuses to make arrays of
        assert re.search(rf"\b{name}\b", words), words


@pytest.mark.slow
def test_all_of_these_calls_would_be_fine_but_for_the_flaw():
    """One call of every function with good arguments."""
    for number, function in enumerate(FUNCTIONS):
        found = function(**good_arguments(function, np.random.default_rng([1, number])))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


LINE = swjax.problems.TwoPointScale(2).loss
DRAWN = (swjax.sample_population_loss, swjax.flows.sample_gradient_covariance)


@pytest.mark.parametrize("draw", DRAWN, ids=["population", "covariance"])
@pytest.mark.parametrize("num", [16.5, 16.0, True, "16"])
def test_draws_are_counted_in_whole_numbers_from_a_key(draw, num):
    with pytest.raises(TypeError, match=f"num_draws must be a Python integer.*{num}"):
        draw(KEY, LINE, num)
    with pytest.raises(TypeError, match="key must be a JAX random key.*an integer"):
        draw(0.5, LINE, 16)


@pytest.mark.parametrize("degree", [1.5, 1.0, True, "1"])
def test_a_degree_is_a_whole_number(degree):
    with pytest.raises(TypeError, match=f"degree must be an integer >= 0.*{degree}"):
        swjax.convergence.extrapolate_to_zero([0.1, 0.2, 0.3], np.ones((3, 4)), degree=degree)


# --- odd, but documented as valid -----------------------------------------------------------------

RNG = np.random.default_rng(0)
X, Y, THETA = cloud(RNG, 6, 3), cloud(RNG, 4, 3), rows(RNG, 5, 3)


def reference(x, y, theta):
    """W_2^2 for equal weights of 6 and 4 points: every point 2 and 3 times."""
    x, y, theta = (np.asarray(v, np.float64) for v in (x, y, theta))
    x, y = np.repeat(x, 12 // len(x), axis=0), np.repeat(y, 12 // len(y), axis=0)
    return np.mean((np.sort(x @ theta.T, axis=0) - np.sort(y @ theta.T, axis=0)) ** 2)


@pytest.mark.parametrize(
    ("x", "y", "theta", "options"),
    [
        (X.tolist(), Y.tolist(), THETA.tolist(), {}),
        (X.astype(np.float64), Y, THETA, {}),
        (X.astype(np.float16), Y, THETA, {}),
        (jnp.asarray(X, jnp.bfloat16), Y, THETA, {}),
        (X, Y, -THETA, {}),
        (X, Y, THETA * np.float32(1 + 5e-5), {}),
        (X, Y, THETA, {"chunk_size": 1000}),
        (X, Y, THETA, {"a": [1 / 6] * 6, "b": [0.25] * 4}),
        (X, Y, THETA, {"b": np.full(4, 0.25, np.float16)}),
        (X[::-1], Y, THETA[::-1], {}),
        (X[:1], Y, THETA[:1], {}),
        (X + 1000, Y + 1000, THETA, {}),
        (X * 1e-20, Y * 1e-20, THETA, {}),
    ],
    ids=[
        "lists",
        "float64 while it is off",
        "float16",
        "bfloat16",
        "other signs",
        "rounded directions",
        "a chunk larger than needed",
        "lists of weights",
        "weights in half precision",
        "views backwards",
        "one point, one direction",
        "far from the origin",
        "squares that underflow",
    ],
)
def test_an_odd_call_gives_the_right_number(x, y, theta, options):
    found = swjax.sw2_sq(x, y, theta, **options)
    np.testing.assert_allclose(found, reference(x, y, theta), rtol=2e-4, atol=1e-38)


def test_nan_and_infinite_points_are_passed_on():
    for value in (np.nan, np.inf, -np.inf):
        bad = an_entry(X, np.random.default_rng(1), value)
        for loss in (swjax.sw2_sq, swjax.sw_distance):
            assert not np.isfinite(loss(bad, Y, THETA))
        batch = swjax.batch_sw2_sq(np.stack([X, bad]), np.stack([Y, Y]), THETA)
        assert np.isfinite(batch).tolist() == [True, False]
