"""Chosen derivatives at kinks, and the derivatives this version of JAX chooses itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import swjax
from swjax import counterexamples, kinks

POINTS = jnp.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])

# function with a choice, its JAX namesake, its kinks, the value JAX chooses there
PAIRS = {
    "relu": (kinks.relu, jax.nn.relu, (0.0,), 0.0),
    "leaky_relu": (lambda t, s: kinks.leaky_relu(t, 0.01, s), jax.nn.leaky_relu, (0.0,), 1.0),
    "absolute": (kinks.absolute, jnp.abs, (0.0,), 1.0),
    "maximum": (lambda t, s: kinks.maximum(t, 0.5, s), lambda t: jnp.maximum(t, 0.5), (0.5,), 0.5),
    "minimum": (lambda t, s: kinks.minimum(t, 0.5, s), lambda t: jnp.minimum(t, 0.5), (0.5,), 0.5),
    "clip": (lambda t, s: kinks.clip(t, -1, 1, s), lambda t: jnp.clip(t, -1, 1), (-1.0, 1.0), 0.5),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_derivatives_are_those_of_jax_except_at_the_kink(name):
    function, namesake, points, jax_choice = PAIRS[name]
    np.testing.assert_array_equal(function(POINTS, 0.3), namesake(POINTS))
    at_kink = np.isin(POINTS, points)
    for choice in (0.0, 0.25, jax_choice):
        slopes = jax.vmap(jax.grad(function), (0, None))(POINTS, choice)
        forward = jax.jvp(lambda t, c=choice: function(t, c), (POINTS,), (jnp.ones(7),))[1]
        expected = np.where(at_kink, choice, jax.vmap(jax.grad(namesake))(POINTS))
        np.testing.assert_array_equal(slopes, expected)
        np.testing.assert_array_equal(forward, expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_dtypes_are_kept(dtype, x64):
    t = jnp.zeros(3, dtype)
    for function in (kinks.relu, kinks.absolute, partial(kinks.clip, lower=0, upper=1)):
        assert function(t).dtype == dtype
        assert jax.grad(lambda v, f=function: f(v).sum())(t).dtype == dtype


def test_integers_become_floats_and_nan_stays():
    assert float(kinks.relu(3)) == 3.0
    assert float(kinks.maximum(2, 1.5)) == 2.0
    assert np.isnan(kinks.relu(jnp.nan))


def test_shares_at_a_tie_add_up_to_one():
    for share in (0.0, 0.2, 1.0, 3.0):
        for function in (kinks.maximum, kinks.minimum):
            both = jax.grad(lambda x, y, s=share, f=function: f(x, y, s), (0, 1))(1.0, 1.0)
            assert sum(map(float, both)) == pytest.approx(1.0)
            assert float(both[0]) == pytest.approx(share)


def test_second_derivatives_are_those_of_the_pieces():
    square = lambda t, s: kinks.relu(t, s) ** 2 + kinks.absolute(t) ** 3
    second = jax.vmap(jax.grad(jax.grad(square)), (0, None))(POINTS, 0.5)
    expected = np.where(POINTS > 0, 2.0, np.where(POINTS == 0, 2 * 0.5**2, 0)) + 6 * np.abs(POINTS)
    np.testing.assert_allclose(second, expected, rtol=1e-6)


def test_the_choice_can_be_traced_and_batched():
    slopes = jax.jit(jax.vmap(jax.grad(kinks.relu), (None, 0)))(0.0, jnp.array([0.0, 0.4, 1.0]))
    np.testing.assert_allclose(slopes, [0.0, 0.4, 1.0])
    assert kinks.maximum(jnp.zeros((2, 3)), 0.0).shape == (2, 3)


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0, -3.0])
def test_every_choice_is_conservative_even_on_paths_inside_the_kinks(at_zero, x64):
    relu = partial(kinks.relu, at_zero=at_zero)
    x = jnp.array([1.0, -0.5])
    loss = lambda u: (relu(u[:2] @ x) + relu(u[2]) * u[3] - relu(-u[2])) ** 2 + u[3]
    # Along the path u[2] = 0 throughout, and u[:2] @ x = 0 on the second edge.
    inside = jnp.array([[1.0, 0, 0, 0], [0, 0, 0, 1], [1, 2, 0, 2], [-1, 1, 0, 1]])
    report = swjax.check_conservative(loss, jax.grad(loss), inside)
    assert report.verdict == "conservative"


@pytest.mark.parametrize("at_zero", [0.0, 0.25, 0.5, 1.0])
def test_spurious_programs_have_the_predicted_derivatives(at_zero):
    relu = partial(kinks.relu, at_zero=at_zero)
    identity = partial(counterexamples.spurious_identity, relu=relu)
    zero = partial(counterexamples.spurious_zero, relu=relu)
    np.testing.assert_array_equal(identity(POINTS), POINTS)
    np.testing.assert_array_equal(zero(POINTS), jnp.zeros(7))
    assert float(jax.grad(identity)(0.0)) == 2 * at_zero
    assert float(jax.grad(zero)(0.0)) == 1 - 2 * at_zero
    assert float(jax.grad(lambda t: relu(-t) + t)(0.0)) == 1 - at_zero


def test_jax_itself_has_the_artificial_critical_point_and_the_spurious_slope():
    assert float(jax.grad(counterexamples.spurious_identity)(0.0)) == 0.0
    assert float(jax.grad(counterexamples.spurious_zero)(0.0)) == 1.0
    maximum = lambda t: jnp.maximum(t, 0.0)
    assert float(jax.grad(counterexamples.spurious_identity)(0.0, maximum)) == 1.0
    assert float(jax.grad(counterexamples.spurious_zero)(0.0, maximum)) == 0.0


def test_what_jax_returns_at_kinks_has_not_changed():
    # If this fails, JAX has changed a convention: note it in the guide on kinks.
    expected = {
        ("jax.nn.relu(t)", 0.0): 0.0,
        ("jnp.maximum(t, 0)", 0.0): 0.5,
        ("jnp.minimum(t, 0)", 0.0): 0.5,
        ("jnp.where(t > 0, t, 0)", 0.0): 0.0,
        ("jnp.abs(t)", 0.0): 1.0,
        ("jax.nn.leaky_relu(t)", 0.0): 1.0,
        ("jax.nn.relu6(t)", 0.0): 0.0,
        ("jax.nn.relu6(t)", 6.0): 0.0,
        ("jax.nn.hard_tanh(t)", -1.0): 1.0,
        ("jax.nn.hard_tanh(t)", 1.0): 1.0,
        ("jnp.clip(t, 0, 1)", 0.0): 0.5,
        ("jnp.clip(t, 0, 1)", 1.0): 0.5,
        ("jnp.max([t, 0])", 0.0): 0.5,
        ("jnp.max([t, 0, 0])", 0.0): 1 / 3,
        ("jnp.sort([t, 0])[0]", 0.0): 1.0,
        ("jnp.sort([0, t])[0]", 0.0): 0.0,
        ("lax.top_k([0, t], 1)", 0.0): 0.0,
        ("jnp.median([0, t, 0])", 0.0): 1.0,
        ("lax.cummax([0, t])[1]", 0.0): 0.5,
        ("jnp.sign(t)", 0.0): 0.0,
        ("jnp.floor(t)", 0.0): 0.0,
        ("jnp.sqrt(t)", 0.0): np.inf,
        ("jnp.sqrt(t ** 2)", 0.0): np.nan,
        ("jnp.linalg.norm([t, 0])", 0.0): np.nan,
    }
    found = {(c.name, c.point): c for c in kinks.conventions()}
    assert found.keys() == expected.keys()
    for key, convention in found.items():
        both = (convention.forward, convention.reverse)
        np.testing.assert_allclose(both, expected[key], rtol=1e-6, err_msg=str(key))


@pytest.mark.slow
def test_values_outside_the_clarke_interval_are_marked():
    odd = {c.name for c in kinks.conventions() if not c.is_clarke}
    assert odd == {"jnp.median([0, t, 0])", "jnp.sqrt(t ** 2)", "jnp.linalg.norm([t, 0])"}
    assert len(kinks.report().splitlines()) == 1 + len(kinks.conventions())


def test_ties_and_kinks_are_counted():
    assert int(kinks.count_ties(jnp.array([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0]]))) == 3
    assert int(kinks.count_ties(jnp.arange(5.0))) == 0
    assert int(kinks.count_kinks(jnp.array([0.0, -0.0, 1e-30, 2.0]))) == 2
    # Rounded to half precision a thousand normal samples have about 55 ties:
    # n^2/2 times the integral of density^2 x spacing, Poisson with a standard deviation of 7.
    sample = jax.random.normal(jax.random.key(0), (1000,))
    assert int(kinks.count_ties(sample)) == 0
    assert 55 - 5 * 7 < int(kinks.count_ties(sample.astype(jnp.float16))) < 55 + 5 * 7
    # Drawn in half precision they have many more: JAX maps 2^10 equispaced uniforms.
    drawn = jax.random.normal(jax.random.key(0), (1000,), jnp.float16)
    assert int(kinks.count_ties(drawn)) > 300
