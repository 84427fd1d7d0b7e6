"""Derivatives of the sliced losses in all arguments: every mode, twice, by every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_sliced_values import problem, weights

import swjax

slow = pytest.mark.slow
P = (1, 1.5, 2, 3)
# Sizes n and m, which weights, the order, and the size of the chunks (of 5 directions).
CASES = [(7, 7, "", p, chunk) for p in P for chunk in (None, 3)]
CASES += [(7, 5, which, p, None) for which in ("", "ab") for p in P]
CASES += [(4, 9, "ab", 1.5, 3), (4, 9, "ab", 2, 2), (7, 7, "a", 1.5, None), (4, 9, "b", 3, 1)]


def arguments(n, m, which, dtype="float64", num=5):
    """Clouds, directions and some weights, by name."""
    named = dict(zip(("x", "y", "directions"), problem(n, m, 3, num, dtype), strict=True))
    named |= {"a": weights(n).astype(dtype)} if "a" in which else {}
    named |= {"b": weights(m, 1).astype(dtype)} if "b" in which else {}
    return {name: jnp.asarray(value) for name, value in named.items()}


def changes(named):
    """A direction to move in; weights keep their sum."""
    rng = np.random.default_rng(7)
    found = {name: rng.normal(size=value.shape) for name, value in named.items()}
    return {
        name: jnp.asarray(0.01 * (step - step.mean()) if name in "ab" else step)
        for name, step in found.items()
    }


def dot(slopes, steps):
    return sum(jnp.vdot(slopes[name], steps[name]) for name in steps)


@pytest.mark.parametrize(
    ("n", "m", "which", "p", "chunk"),
    [case if case == (7, 7, "", 2, None) else pytest.param(*case, marks=slow) for case in CASES],
)
def test_every_mode_agrees_with_differences_once_and_twice(n, m, which, p, chunk, x64):
    """In the clouds, the directions (off the sphere, as nothing holds them inside jit) and weights.

    Near a gap of zero the curvature of |gap|^1.5 is large and differences are rough.
    """
    at = arguments(n, m, which)
    step = changes(at)
    loss = lambda named: swjax.sw_pow(**named, p=p, chunk_size=chunk)
    slope = lambda named: jax.jvp(loss, (named,), (step,))[1]

    @jax.jit
    def derivatives(named):
        second = {
            "forward over reverse": jax.jvp(jax.grad(loss), (named,), (step,))[1],
            "reverse over reverse": jax.grad(lambda v: dot(jax.grad(loss)(v), step))(named),
            "reverse over forward": jax.grad(slope)(named),
        }
        return slope(named), jax.jvp(slope, (named,), (step,))[1], second

    forward, twice_forward, second = derivatives(at)
    both = jax.jit(jax.value_and_grad(loss))
    size = 1e-7 if p == 1.5 else 1e-6
    moved = [both({k: v + sign * size * step[k] for k, v in at.items()}) for sign in (1, -1)]
    by_difference = jax.tree.map(lambda plus, minus: (plus - minus) / (2 * size), *moved)
    first, of_gradient = by_difference
    near = functools.partial(np.testing.assert_allclose, rtol=1e-3 if p == 1.5 else 1e-6)
    near(forward, first, atol=1e-8)
    near(dot(both(at)[1], step), first, atol=1e-8)
    near(twice_forward, dot(of_gradient, step), atol=1e-5)
    for found in second.values():
        for name, value in found.items():
            near(value, of_gradient[name], atol=1e-5)


@slow
@pytest.mark.parametrize(("n", "m", "which"), [(13, 13, ""), (13, 8, ""), (13, 8, "ab")])
@pytest.mark.parametrize("p", [1.5, 2])
def test_no_chunk_size_changes_the_value_or_a_gradient(n, m, which, p, x64):
    at = arguments(n, m, which, num=11)
    by_chunk = lambda size: jax.value_and_grad(
        lambda named: swjax.sw_pow(**named, p=p, chunk_size=size)
    )(at)
    whole = jax.tree.leaves(by_chunk(None))
    for size in (1, 3, 5, 10, 11, 1000):
        for part, other in zip(jax.tree.leaves(by_chunk(size)), whole, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-10, atol=1e-14)


@slow
def test_transformations_reach_all_five_arguments():
    at = arguments(9, 7, "ab", "float32")
    both = jax.value_and_grad(lambda named: swjax.sw_pow(**named, p=1.5, chunk_size=4))
    expected = both(at)
    saved = jax.checkpoint(lambda named: swjax.sw_pow(**named, p=1.5, chunk_size=4))
    scanned = lambda named: jax.lax.scan(lambda c, _: (c, both(named)), 0, length=2)[1]
    other = {name: value[::-1] for name, value in at.items()}
    batch = jax.tree.map(lambda *values: jnp.stack(values), at, other)
    found = {
        "jit": jax.jit(both)(at),
        "checkpoint": jax.jit(jax.value_and_grad(saved))(at),
        "scan": jax.tree.map(lambda value: value[1], jax.jit(scanned)(at)),
        "vmap": jax.tree.map(lambda value: value[0], jax.jit(jax.vmap(both))(batch)),
    }
    for result in found.values():
        for one, another in zip(*map(jax.tree.leaves, (result, expected)), strict=True):
            np.testing.assert_allclose(one, another, rtol=1e-5, atol=1e-6)


@slow
@pytest.mark.parametrize("p", P)
@pytest.mark.parametrize("which", ["", "ab"])
def test_all_derivatives_of_the_root_are_finite_where_the_clouds_coincide(p, which):
    x, _, theta = problem(9, 9, 3, 8, "float32")
    a = (jnp.asarray(weights(9), jnp.float32),) * 2 if which else ()
    for loss in (swjax.sw_pow, swjax.sw_distance):
        value = lambda x, y, loss=loss: loss(x, y, theta, *a, p=p)
        here = x, x[::-1] if not which else x
        assert not any(map(np.any, jax.grad(value, argnums=(0, 1))(*here)))
        assert jax.jvp(value, here, (jnp.cos(x), jnp.ones_like(x)))[1] == 0
        assert all(
            np.isfinite(block).all() for block in jax.hessian(value, argnums=(0, 1))(*here)[0]
        )
