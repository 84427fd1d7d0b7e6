"""The sampled loss of a generator: its draws, its value and gradient, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import swjax
from swjax import measures
from swjax.losses import SlicedLoss

CLOUD = measures.Discrete(jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))


def translated(u, x):
    return x + u[None]


def make(**kwargs):
    settings = {"batch_size": 4} | kwargs
    return SlicedLoss(translated, CLOUD, CLOUD, **settings)


def test_a_draw_holds_two_independent_minibatches_and_one_direction():
    draw = jax.jit(make().draw)(jax.random.key(0))
    assert draw.x.shape == draw.y.shape == (4, 2)
    assert draw.directions.shape == (1, 2)
    assert not jnp.array_equal(draw.x, draw.y)
    np.testing.assert_allclose(jnp.linalg.norm(draw.directions, axis=1), 1, rtol=1e-6)


def test_draws_are_with_replacement_and_uniform():
    loss = make(batch_size=5)  # more points than atoms
    draws = jax.jit(jax.vmap(loss.draw))(jax.random.split(jax.random.key(1), 4000))
    share = np.mean(np.all(np.asarray(draws.y) == np.asarray(CLOUD.points[1]), axis=-1))
    assert abs(share - 1 / 3) < 5 * np.sqrt(2 / 9 / 20000)


def test_own_directions_are_drawn_uniformly():
    angles = jnp.array([0.0, 1.0, 2.0])
    rows = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    loss = make(directions=rows, num_directions=2)
    draw = jax.jit(jax.vmap(loss.draw))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(2), 3000)).directions)
    counts = [np.sum(np.all(np.abs(drawn - np.asarray(row)) < 1e-6, axis=-1)) for row in rows]
    assert sum(counts) == 6000
    assert max(abs(c - 2000) for c in counts) < 5 * np.sqrt(6000 * 2 / 9)


@pytest.mark.parametrize("p", [1, 2, 3.0])
def test_the_value_is_the_mean_cost_of_sorted_projections(x64, p):
    loss = make(p=p, num_directions=3)
    draw = jax.jit(loss.draw)(jax.random.key(3))
    u = jnp.array([0.3, -0.7])
    projected = [np.asarray(cloud @ draw.directions.T) for cloud in (draw.x + u[None], draw.y)]
    difference = np.abs(np.sort(projected[0], axis=0) - np.sort(projected[1], axis=0))
    assert abs(loss.value(u, draw) - np.mean(difference**p)) < 1e-12


def test_the_gradient_is_the_formula_of_the_paper(x64):
    loss = make()
    draw = jax.jit(loss.draw)(jax.random.key(4))
    u, (theta,) = jnp.array([0.3, -0.7]), np.asarray(draw.directions)
    value, gradient = loss.value_and_grad(u, draw)
    # phi = (2/n) sum_k theta theta^T (T(u, x_k) - y_sigma(k)); here the order drops out of the sum.
    expected = 2 * theta * (theta @ np.mean(draw.x + u[None] - draw.y, axis=0))
    np.testing.assert_allclose(gradient, expected, atol=1e-14)
    np.testing.assert_allclose(loss.grad(u, draw), gradient)
    np.testing.assert_allclose(value, loss.value(u, draw))


def test_repetitions_of_a_scan_compile_once_and_agree_with_single_runs():
    loss, traces = make(), []

    def run(key, u):
        def step(u, key):
            traces.append(None)
            return u - 0.1 * loss.grad(u, loss.draw(key)), None

        return jax.lax.scan(step, u, jax.random.split(key, 20))[0]

    keys = jax.random.split(jax.random.key(5), 8)
    together = jax.jit(jax.vmap(run, in_axes=(0, None)))(keys, jnp.ones(2))
    assert len(traces) == 1
    alone = jax.jit(run)(keys[3], jnp.ones(2))
    np.testing.assert_allclose(together[3], alone, rtol=1e-5)


def test_a_loss_passes_through_jit_as_an_argument():
    loss = make(directions=jnp.eye(2))
    evaluate = jax.jit(lambda loss, key: loss.value(jnp.zeros(2), loss.draw(key)))
    key = jax.random.key(6)
    closed_over = jax.jit(lambda key: loss.value(jnp.zeros(2), loss.draw(key)))
    np.testing.assert_allclose(evaluate(loss, key), closed_over(key), rtol=1e-6)
    assert isinstance(hash(loss), int)


def test_a_generator_of_another_dimension_is_refused():
    narrow = SlicedLoss(lambda u, x: x[:, :1], CLOUD, CLOUD, batch_size=4)
    with pytest.raises(ValueError, match=r"to \(4, 1\); the target needs \(4, 2\)"):
        narrow.value(0.0, narrow.draw(jax.random.key(0)))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"num_directions": 0}, ValueError, "num_directions must be at least 1"),
        ({"batch_size": 2.5}, TypeError, "batch_size"),
        ({"p": 0.5}, ValueError, "1 <= p < inf"),
        ({"p": float("inf")}, ValueError, "1 <= p < inf"),
        ({"p": True}, ValueError, "1 <= p < inf"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"directions": jnp.eye(3)}, ValueError, r"\(L, 2\)"),
        ({"directions": jnp.zeros((0, 2))}, ValueError, "L >= 1"),
        ({"directions": 2 * jnp.eye(2)}, ValueError, "must have length 1"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        make(**settings)


def test_what_is_not_a_law_or_a_function_is_refused():
    with pytest.raises(TypeError, match="swjax.Discrete"):
        SlicedLoss(translated, CLOUD.points, CLOUD, batch_size=2)
    with pytest.raises(TypeError, match="apply"):
        SlicedLoss(None, CLOUD, CLOUD, batch_size=2)

    class Model:
        def apply(self, u, x):
            return x

        __call__ = apply

    with pytest.raises(TypeError, match="pass its function model.apply"):
        SlicedLoss(Model(), CLOUD, CLOUD, batch_size=2)


def test_an_nnx_module_is_refused_with_the_way_to_take_it_apart():
    from flax import nnx

    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    for apply in (model, model.__call__):
        with pytest.raises(TypeError, match="the NNX module Linear or a method of it") as error:
            SlicedLoss(apply, CLOUD, CLOUD, batch_size=4)
    # The two lines of the message, as a user would paste them.
    names = {"nnx": nnx, "model": model}
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    exec("\n".join(lines), names)
    loss = SlicedLoss(names["apply"], CLOUD, CLOUD, batch_size=4)
    run = swjax.train(0, loss, optax.sgd(0.1), names["params"], num_steps=2)
    assert jax.tree.structure(run.params) == jax.tree.structure(names["params"])
    assert not np.array_equal(run.path["kernel"][0], run.params["kernel"])
