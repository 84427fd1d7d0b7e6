"""Failure signatures, found in real small runs that fail and not in runs that succeed."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import swjax
from swjax.monitor import diagnose
from swjax.training import train

KEY = jax.random.key(0)
POINTS = jax.random.normal(jax.random.key(1), (32, 2))


def translate(shift, x):
    return x + shift[None]


def translation_loss(apply=translate, offset=(0.0, 3.0), num_directions=1):
    target = swjax.Discrete(POINTS + jnp.array([offset]))
    return swjax.SlicedLoss(
        apply, swjax.Discrete(POINTS), target, batch_size=8, num_directions=num_directions
    )


@jax.jit
def translation_run(step_size, start):
    return train(KEY, translation_loss(), optax.sgd(step_size), start, num_steps=640)


@cache
def loss_between_batches_of_the_data():
    """The mean loss between two independent minibatches of the target."""
    loss = translation_loss()
    values = jax.vmap(lambda key: loss.value(jnp.array([0.0, 3.0]), loss.draw(key)))
    return float(jnp.mean(values(jax.random.split(KEY, 2000))))


def diagnose_run(run, **kwargs):
    return diagnose(run.losses, diverged_at=run.status.diverged_at, **kwargs)


def signatures(run, **kwargs):
    return [found.signature for found in diagnose_run(run, **kwargs)]


@pytest.mark.slow
def test_a_healthy_run_gets_no_diagnosis():
    run = translation_run(0.1, jnp.zeros(2))
    assert signatures(run, target_loss=loss_between_batches_of_the_data()) == []
    assert signatures(run) == []


def test_a_run_started_at_the_solution_is_not_called_stalled_when_the_target_is_known():
    run = translation_run(0.1, jnp.array([0.0, 3.0]))
    assert signatures(run, target_loss=loss_between_batches_of_the_data()) == []
    assert signatures(run) == ["stalled"]


def test_too_large_a_step_diverges():
    # With one direction the second moment grows when the step size exceeds 1.
    run = translation_run(100.0, jnp.zeros(2))
    (found,) = diagnose_run(run)
    assert found.signature == "diverged"
    assert found.step == int(run.status.diverged_at) > 0
    assert "step size" in found.remedy


def test_growth_is_found_before_the_numbers_overflow():
    losses = translation_run(1.5, jnp.zeros(2)).losses[:80]
    assert np.isfinite(losses).all()
    (found,) = diagnose(losses)
    assert found.signature == "diverged"
    assert 0 < found.step < 80
    assert "grew from" in found.evidence


def test_too_small_a_step_stalls():
    assert signatures(translation_run(1e-7, jnp.zeros(2))) == ["stalled"]


def test_a_loss_still_on_its_way_down_gets_no_diagnosis():
    assert signatures(translation_run(0.003, jnp.zeros(2)), target_loss=0.05) == []


def test_a_loss_that_is_not_finite_is_a_divergence_of_its_own():
    losses = np.ones(10)
    losses[4] = np.inf
    (found,) = diagnose(losses)
    assert (found.signature, found.step) == ("diverged", 4)


def test_a_dead_relu_stalls():
    dead = lambda u, x: x + jax.nn.relu(u - 1)[None]
    run = train(KEY, translation_loss(dead), optax.sgd(0.1), jnp.zeros(2), num_steps=600)
    (found,) = diagnose(run.losses, target_loss=1.0)
    assert found.signature == "stalled"
    assert "ReLU" in found.remedy


def test_a_generator_that_cannot_reach_the_data_is_stuck():
    # It moves along the first axis only, and the data lie 3 away along the second.
    half = lambda u, x: x + u[None] * jnp.array([[1.0, 0.0]])
    loss = translation_loss(half, offset=(6.0, 3.0))
    run = train(KEY, loss, optax.sgd(0.1), jnp.zeros(2), num_steps=1000)
    (found,) = diagnose(run.losses, target_loss=loss_between_batches_of_the_data())
    assert found.signature == "stuck"
    assert found.step == 500
    assert "times the target loss" in found.evidence
    assert signatures(run) == []


def test_a_ball_that_is_too_small_is_stuck():
    optimizer = swjax.optim.projected_sgd(0.01, radius=1.0)
    loss = translation_loss(num_directions=16)
    run = train(KEY, loss, optimizer, jnp.zeros(2), num_steps=1000)
    (found,) = diagnose(run.losses, target_loss=loss_between_batches_of_the_data())
    assert found.signature == "stuck"
    assert "radius" in found.remedy


def test_a_loss_that_rises_from_exactly_zero_has_diverged():
    losses = np.concatenate([np.zeros(8), np.linspace(1, 1e6, 392)])
    (found,) = diagnose(losses)
    assert (found.signature, found.step) == ("diverged", 8)
    assert "grew from 0 to" in found.evidence
    assert [found.signature for found in diagnose(np.zeros(400))] == ["stalled"]


def test_pure_noise_is_rarely_taken_for_a_decrease():
    rng = np.random.default_rng(0)
    called_stalled = sum(
        [found.signature for found in diagnose(rng.exponential(size=400))] == ["stalled"]
        for _ in range(200)
    )
    assert called_stalled >= 190


def test_a_divergence_says_whether_something_grew_before():
    growing = np.append(2.0 ** np.arange(20), [np.inf, np.nan])
    (found,) = diagnose(growing, diverged_at=20)
    assert "before that, the loss grew from 1 to 5.24e+05" in found.evidence
    sudden = np.append(np.ones(20), [np.nan])
    (found,) = diagnose(sudden, diverged_at=20, gradient_norms=2 * sudden)
    assert "before that, the gradient did not grow: it was 2 at most" in found.evidence
    assert "a root at zero" in found.remedy


def test_gradients_that_grow_while_all_is_finite_are_exploding():
    norms = np.geomspace(1, 1e3, 100)
    (found,) = diagnose(np.ones(100), gradient_norms=norms)
    assert found.signature == "exploding"
    assert norms[found.step] > 10 * norms[24] >= norms[found.step - 1]
    assert "from 5.34 in the first quarter to 1e+03 in the last one" in found.evidence
    assert "clip" in found.remedy
    # A step that was skipped: the gradient is not finite, the iterates are.
    norms = np.ones(100)
    norms[7] = np.nan
    (found,) = diagnose(np.geomspace(1, 0.01, 100), gradient_norms=norms)
    assert (found.signature, found.step) == ("exploding", 7)
    assert diagnose(np.geomspace(1, 0.01, 100), gradient_norms=np.ones(100)) == ()
    with pytest.raises(ValueError, match="gradient_norms must have the shape"):
        diagnose(np.ones(5), gradient_norms=np.ones(4))


def test_short_records_allow_only_the_first_diagnosis():
    assert diagnose(np.ones(63)) == ()
    assert diagnose(np.ones(64))[0].signature == "stalled"
    assert diagnose([1.0, np.nan])[0].signature == "diverged"


def test_bad_records_and_thresholds_are_refused():
    for wrong in (np.ones((2, 3)), np.ones(0)):
        with pytest.raises(ValueError, match="losses must be a vector"):
            diagnose(wrong)
    with pytest.raises(ValueError, match="Expected growth > 1"):
        diagnose(np.ones(5), growth=1.0)
    for target in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=f"target_loss must be finite, got {target}"):
            diagnose(np.ones(5), target_loss=target)
