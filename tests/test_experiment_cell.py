"""The inner program: recorded times, one compilation, the same bits whatever happens around it."""

import dataclasses
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from experiment_studies import flow, training
from numpy.testing import assert_allclose, assert_array_equal
from script_runs import run_python

import swjax
from swjax.experiment.build import build
from swjax.experiment.cell import place_times, row_norms
from swjax.experiment.chunks import ArmProgram, Interrupted
from swjax.experiment.errors import StudyError
from swjax.training import train


@pytest.fixture(scope="module")
def arms():
    """The problem of a training study, and the programs of its two arms."""
    problem = build(training())
    return problem, [ArmProgram(problem, i, None) for i in range(2)]


def test_times_fall_on_the_segment_that_ends_at_the_next_iterate():
    grid = place_times(np.array([0.0, 0.1, 0.25, 0.5]), 0.2)
    assert grid.num_steps == 3
    assert grid.targets.tolist() == [1, 1, 2, 3]
    assert_allclose(grid.fractions, [0.0, 0.5, 0.25, 0.5])


@pytest.mark.parametrize(("horizon", "size", "steps"), [(0.6, 0.2, 3), (2.1, 0.3, 7), (4, 0.1, 40)])
def test_a_horizon_of_whole_steps_needs_no_further_step(horizon, size, steps):
    grid = place_times(np.linspace(0, horizon, 11), size)
    assert grid.num_steps == steps
    assert grid.targets[-1] == steps
    assert grid.fractions[-1] == 1.0


def test_a_step_longer_than_a_recorded_interval_is_read_several_times():
    grid = place_times(np.linspace(0, 1, 11), 0.4)
    assert grid.targets.tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]


def test_norms_keep_full_precision_in_long_rows():
    rows = np.random.default_rng(0).normal(size=(4, 10_001)).astype(np.float32)
    exact = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert_allclose(row_norms(jnp.asarray(rows)), exact, rtol=2.4e-7)


@pytest.mark.parametrize("step", [0, 1])
def test_a_cell_is_the_interpolated_run_of_train(arms, step):
    problem, programs = arms
    study = problem.study
    records = programs[0].run(step)
    size = study.step_sizes[step]
    keys, _ = problem.keys(0, step)
    for i in (0, 3):
        start = jax.tree.map(lambda leaf: leaf[i], problem.starts)  # noqa: B023
        run = train(keys[i], problem.loss, optax.sgd(size), start, num_steps=round(1 / size))
        path = swjax.interpolate(run.path, size, problem.times)
        rows = jax.vmap(lambda u: jax.flatten_util.ravel_pytree(u)[0])(path)
        assert_allclose(records["path"][i], rows, rtol=2e-4, atol=2e-5)
        assert_allclose(records["norm"][i], jnp.linalg.norm(rows, axis=1), rtol=1e-4)
        # The mean over the steps since the recorded time before; none made, none recorded.
        ends = [0, *place_times(problem.times, size).targets]
        steps = [
            np.asarray(run.losses[low:high]) for low, high in zip(ends, ends[1:], strict=False)
        ]
        means = [part.mean() if part.size else np.nan for part in steps]
        assert_allclose(records["sample_loss"][i], means, rtol=1e-4)


def test_the_largest_norm_counts_every_iterate(arms):
    problem, programs = arms
    records = programs[0].run(1)
    keys, _ = problem.keys(0, 1)
    start = jax.tree.map(lambda leaf: leaf[2], problem.starts)
    run = train(keys[2], problem.loss, optax.sgd(0.1), start, num_steps=10)
    rows = jax.vmap(lambda u: jax.flatten_util.ravel_pytree(u)[0])(run.path)
    assert_allclose(records["max_norm"][2, -1], jnp.linalg.norm(rows, axis=1).max(), rtol=1e-5)


def test_the_population_loss_is_recorded_where_asked(arms):
    problem, programs = arms
    records = programs[1].run(0)
    assert np.isfinite(records["loss"]).sum(axis=0).tolist() == [6, 0, 0, 0, 0, 6, 0, 0, 0, 0, 6]
    flat = records["path"][1, 5]
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: leaf[0], problem.starts))
    assert_allclose(records["loss"][1, 5], problem.evaluate(unravel(flat)), rtol=1e-5)


def test_one_compilation_serves_all_step_sizes_repetitions_and_chunks():
    problem = build(flow("record.num_times=250", "step_sizes=[0.2, 0.1, 0.05, 0.03]"))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    program = ArmProgram(problem, 0, None)
    assert program.chunk > 1
    program.run(0)
    before = len(compiled)
    for step in (1, 2, 3):
        program.run(step)
    assert before > 0
    assert len(compiled) == before


def test_common_random_numbers_are_common_to_arms_and_step_sizes():
    problem = build(training())
    other = build(training("common_random_numbers=false"))
    first = jax.random.key_data(problem.keys(0, 0)[0])
    for arm, step in ((0, 1), (1, 0), (1, 1)):
        assert_array_equal(first, jax.random.key_data(problem.keys(arm, step)[0]))
        assert (jax.random.key_data(other.keys(arm, step)[0]) != first).any()
    assert len(np.unique(np.asarray(first), axis=0)) == 6


def test_equal_schemes_with_common_random_numbers_give_equal_runs(arms):
    _, programs = arms
    same = build(training("arms.noised={kind: sgd}"))
    assert_array_equal(ArmProgram(same, 1, None).run(0)["path"], programs[0].run(0)["path"])


def test_a_diverged_run_is_recorded_and_the_others_go_on(arms):
    problem, programs = arms
    usual = programs[0].run(1)
    blown = lambda leaf: leaf.at[2].multiply(1e12)
    broken = dataclasses.replace(problem, starts=jax.tree.map(blown, problem.starts))
    records = ArmProgram(broken, 0, None).run(1)
    assert records["diverged_at"][2] >= 1
    assert not np.isfinite(records["norm"][2, -1])
    others = [0, 1, 3, 4, 5]
    assert (records["diverged_at"][others] == -1).all()
    assert_array_equal(records["path"][others], usual["path"][others])


def test_a_cell_interrupted_inside_continues_to_the_same_bits(arms, tmp_path):
    _, programs = arms
    whole = programs[1].run(1)  # the noised arm: its state holds a key
    place = tmp_path / "checkpoint.npz"
    for stop_after in (2, 3, 4):
        answers = iter([False] * (stop_after - 1) + [True])
        with pytest.raises(Interrupted):
            programs[1].run(1, place=place, should_stop=answers.__next__)
        assert place.exists()
    continued = programs[1].run(1, place=place)
    assert whole.keys() == continued.keys()
    for name in whole:
        assert_array_equal(whole[name], continued[name], err_msg=name)


@pytest.mark.slow
def test_results_are_the_same_bits_for_any_number_of_devices():
    here = Path(__file__).parent
    code = (
        f"import sys, json, hashlib; sys.path.insert(0, {str(here)!r})\n"
        "from experiment_studies import training\n"
        "from swjax.experiment.build import build\n"
        "from swjax.experiment.chunks import ArmProgram\n"
        "import jax\n"
        "assert len(jax.local_devices()) == 2\n"
        "problem = build(training('record.loss=null', 'generator={kind: translation}',"
        "    'initial={kind: uniform_ball, radius: 1.0}', 'arms.noised={kind: adam}'))\n"
        "digests = []\n"
        "for num in (1, 2):\n"
        "    program = ArmProgram(problem, 1, None, max_devices=num)\n"
        "    records = program.run(0)\n"
        "    both = b''.join(records[k].tobytes() for k in sorted(records))\n"
        "    digests.append(hashlib.sha256(both).hexdigest())\n"
        "print(json.dumps(digests))\n"
    )
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    printed = run_python("-c", code, env=env, cwd=here.parent)
    assert len(set(json.loads(printed))) == 1


# --- what a study alone does not show ------------------------------------------------------------


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (flow, "generator: 'translation' needs source and target of one dimension"),
        (training, "arms.noised.radius: 2 excludes the start"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(study, message):
    if study is flow:
        asked = flow(
            "source.dim=3", "source.num_atoms=5", "target.num_atoms=5",
            "reference={kind: population}",
        )  # fmt: skip
    else:
        asked = training("initial={kind: uniform_ball, radius: 9.0}")
    with pytest.raises(StudyError) as caught:
        build(asked)
    assert any(message in line for line in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("target={kind: file, path: nowhere.npy}", "target.path: there is no file"),
        ("target.shift=[1.0]", "target: shift must have shape (2,)"),
        ("initial={kind: fixed, values: [1.0]}", "initial.values: 1 numbers for 22 parameters"),
        ("generator={kind: free_points, num: 3}", "generator: FreePoints needs the numbers"),
        ("arms.plain={kind: adafactor, args: {min_dim_size_to_factor: no}}", "cannot be used here"),
        ("loss.directions={kind: fixed, num: 0}", "loss.directions.num"),
    ],
)
def test_a_study_that_cannot_be_built_says_why(override, message):
    with pytest.raises(StudyError) as caught:
        build(training(override))
    assert any(message in line for line in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    "kind", ["adam", "rmsprop", "adagrad", "lion", "nadam", "lbfgs", "sign_sgd", "adafactor"]
)
def test_optimizers_of_optax_run_under_their_names(kind):
    problem = build(training(f"arms.plain={{kind: {kind}}}", "record.loss=null", "repetitions=2"))
    assert problem.num_parameters == 22
