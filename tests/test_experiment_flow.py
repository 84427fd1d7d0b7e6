"""Flow studies beyond the plainest: references of every kind, limits, sets, both interpolations."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from experiment_studies import flow, training

from swjax import compact_distance
from swjax.experiment.build import build
from swjax.experiment.chunks import ArmProgram
from swjax.experiment.claims_flow import flow_claims
from swjax.experiment.claims_limits import limit_claims
from swjax.experiment.distances import compact_distances, run_distances
from swjax.experiment.errors import StudyError
from swjax.experiment.hypotheses import hypotheses
from swjax.experiment.reference import flow_of_arm, reference_dataset
from swjax.experiment.study import read_study
from swjax.problems import AttractingKink, LinearGaussian, TwoPointScale, UniformScale

CONFIGS = Path(__file__).parent.parent / "configs"
TWO = "{kind: discrete, points: [[-0.5], [0.5]]}"
SCALE = [f"source={TWO}", f"target={TWO}", "generator={kind: scale}", "loss.batch_size=2"]
ONE = ["initial={kind: fixed, values: [1.0]}"]
EXACT = ["source.num_atoms=4", "target.num_atoms=4", "reference={kind: population}"]
NOTHING_ELSE = ["expect.order=null", "expect.tolerance=null"]


def problems(*overrides):
    with pytest.raises(StudyError) as caught:
        build(flow(*overrides))
    return caught.value.problems


def claim_about(words, claims):
    (found,) = [c for c in claims if words in c["claim"]]
    return found


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["step_sizes=[0.2, 0.1]"], "expect.order: needs at least 3 step sizes, and there are 2"),
        (["expect.tolerance=null"], "give `order` and `tolerance` together"),
        (NOTHING_ELSE, "name what is expected: an `order`, an `eta`, or `limits`"),
        (["expect.from_time=1.0"], "1 is not before the horizon 1"),
        (["expect.eta=1.5"], "expect.eta: input should be less than 1"),
        (
            [*NOTHING_ELSE, "expect.eta=0.1", "expect.factor={value: 1, tolerance: 0.1}"],
            "needs the `order`",
        ),
        (["expect.limits={bias: 0.1}"], "set `record.path: true`"),
        (["step_sizes=[0.2, 0.1]", "expect.limits={}"], "expect.limits: needs at least 3"),
        (["expect.limits={degree: 2}"], "needs at least four step sizes"),
        (
            ["reference={kind: draws, num: 8}", "expect.limits={}"],
            "need the expected loss, exactly",
        ),
        ([*EXACT, "expect.limits={}"], "one start, with initial.shared"),
        (
            ["reference={kind: solution_set}"],
            "known for the generator 'scale', not for 'translation'",
        ),
        ([*SCALE, "reference={kind: solution_set}"], "needs `record.path: true`"),
        ([*SCALE, "source.points=[[-1], [1]]"], "the closed form of a scale is known for one law"),
        (["generator={kind: affine}"], "needs `bias: false`, the source {kind: gaussian"),
        (
            ["source={kind: discrete, points: [[1, 0], [1]]}"],
            "source: points must be a list of points",
        ),
        (
            ["source={kind: discrete, points: [[1, 0]], weights: [0.5]}"],
            "source: weights must sum to 1",
        ),
        (["initial.center=[1.0]"], "initial.center: 1 numbers for 2 parameters"),
        ([*EXACT, "scheme={kind: projected_sgd, radius: 0.5}"], "0.5 excludes the start"),
        (["horizon=0.1"], "horizon: 0.1 is shorter than the largest step size 0.2"),
        (
            ["reference={kind: population}"],
            "needs discrete laws; give source and target `num_atoms",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(overrides, message):
    assert any(message in line for line in problems(*overrides)), problems(*overrides)


def test_interpolations_are_compared_where_there_is_a_flow():
    with pytest.raises(StudyError, match="in a study of kind 'flow' only"):
        training("record.piecewise_constant=true")


# --- references -----------------------------------------------------------------------------------


def test_the_flow_of_two_points_is_the_same_by_formula_and_by_the_expected_loss():
    study = flow(*SCALE, *ONE)
    closed = reference_dataset(build(study))
    exact = reference_dataset(build(flow(*SCALE, *ONE, "reference={kind: population}")))
    expected = TwoPointScale(2).flow(1.0, closed["time"].values)
    np.testing.assert_allclose(closed["flow_path"][:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(exact["flow_path"][:, 0], expected, rtol=1e-6)
    assert closed["flow_error"] == 0
    assert exact["flow_energy"] < 1e-5


def test_the_flow_reaches_the_attracting_kink_and_stays():
    study = flow(
        "source={kind: discrete, points: [[1, 0]]}",
        "target={kind: discrete, points: [[-1, 0]]}",
        "generator={kind: absolute_scale}",
        "loss.batch_size=1",
        "initial={kind: fixed, values: [0.5]}",
        "reference={kind: population, num_steps: 400}",
    )
    found = reference_dataset(build(study))
    expected = AttractingKink(2).flow(0.5, found["time"].values)
    assert (expected[-5:] == 0).all()
    np.testing.assert_allclose(found["flow_path"][:, 0], expected, atol=1e-5)


@pytest.mark.slow
def test_uniform_and_gaussian_scales_and_linear_maps_have_their_closed_forms():
    cube = "{kind: cube, dim: 1}"
    study = flow(f"source={cube}", f"target={cube}", "generator={kind: scale}", *ONE)
    found = reference_dataset(build(study))
    expected = UniformScale(8).flow(1.0, found["time"].values)
    np.testing.assert_allclose(found["flow_path"][:, 0], expected, rtol=1e-6)
    law = "{kind: gaussian, dim: 2, covariance: [[2.0, 0.5], [0.5, 1.0]]}"
    study = flow(
        "source={kind: gaussian, dim: 2}",
        f"target={law}",
        "generator={kind: affine, bias: false}",
        "initial={kind: fixed, values: [1.0, 0.5, 0.0, 1.0]}",
        "horizon=20.0",
    )
    found = reference_dataset(build(study))
    end = found["flow_path"][-1].values.reshape(2, 2).T  # the kernel multiplies from the right
    problem = LinearGaussian(jnp.array([[2.0, 0.5], [0.5, 1.0]]), 8)
    assert problem.distance_to_minimizers(end) < 1e-2
    assert found["flow_energy"] < 1e-5


@pytest.mark.slow
def test_a_flow_from_draws_knows_what_the_draws_leave_unknown():
    # For a translation the flow is known: the error must cover the distance to it.
    errors, distances = [], []
    for seed in range(4):
        changes = (
            f"seed={seed}",
            "initial={kind: fixed, values: [1.0, -1.0]}",
            "record.num_times=4",
        )
        exact = reference_dataset(build(flow(*changes)))
        reference = "reference={kind: draws, num: 512, num_directions: 4, num_steps: 16}"
        found = reference_dataset(build(flow(*changes, reference)))
        away = np.linalg.norm(found["flow_path"] - exact["flow_path"], axis=1)
        distances.append(away.max())
        errors.append(float(found["flow_error"]))
    ratio = np.sqrt(np.mean(np.square(distances)) / np.mean(np.square(errors)))
    assert 1 / 3 < ratio < 3


@pytest.mark.slow
def test_the_limits_are_those_of_the_equations():
    changes = [*SCALE, *ONE, "record.path=true", "expect.limits={bias: 0.1, num_draws: 20000}"]
    closed = reference_dataset(build(flow(*changes)))
    solved = reference_dataset(build(flow(*changes, "reference={kind: population}")))
    for name, tolerance in (("limit_fluctuation", 0.06), ("limit_bias", 1e-3)):
        assert closed[name].sizes["arm"] == 1
        np.testing.assert_allclose(solved[name], closed[name], rtol=tolerance, atol=1e-6)


# --- claims ---------------------------------------------------------------------------------------


def results(study, distance, **more):
    """A dataset of the given distances (step size, repetition, time)."""
    shape = (1, *distance.shape[:2])
    dims = ("arm", "step_size", "repetition", "time")
    times = np.linspace(0, study.horizon, distance.shape[2])
    data = {
        "distance": (dims, distance[None]),
        "diverged_at": (dims[:3], np.full(shape, -1)),
        "flow_error": ((), 0.0),
    }
    coords = {"arm": ["sgd"], "step_size": list(study.step_sizes), "time": times}
    return xr.Dataset(data | more, coords=coords)


def test_the_compact_distance_is_that_of_the_trajectories():
    study = flow("horizon=2.5", "expect.eta=0.5")
    times = np.linspace(0, 2.5, 26)
    rng = np.random.default_rng(0)
    gap = np.cumsum(rng.normal(size=(3, 4, 26)), axis=-1) * 0.1
    found = compact_distances(study, results(study, np.abs(gap))).values[0]
    for i, j in ((0, 0), (2, 3)):
        expected = compact_distance(times, jnp.asarray(gap[i, j]), jnp.zeros(26))
        assert abs(found[i, j] - expected) < 1e-6


def test_a_distance_may_be_the_mean_after_some_time_with_its_factor():
    study = flow(
        *EXACT,
        "step_sizes=[0.4, 0.2, 0.1]",
        "expect={order: 1, tolerance: 0.1, distance: mean, from_time: 0.5, "
        "factor: {value: 0.7, tolerance: 0.02}}",
    )
    noise = np.random.default_rng(0).uniform(0.9, 1.1, (3, 400, 1))
    late = np.linspace(0, 1, 11) >= 0.5
    distance = np.where(late, 0.7 * np.array(study.step_sizes)[:, None, None], 9.0) * noise
    claims, _ = flow_claims(study, results(study, distance))
    assert (
        claim_about("mean distance to the flow from time 0.5 to 1 shrinks", claims)["verdict"]
        == "holds"
    )
    assert claim_about("is 0.7 times the step size", claims)["verdict"] == "holds"
    claims, _ = flow_claims(study, results(study, 1.1 * distance))
    assert claim_about("is 0.7 times the step size", claims)["verdict"] == "fails"


@pytest.mark.parametrize(
    ("spread", "shift", "verdicts"),
    [(1.0, 1.0, ("holds", "holds")), (1.2, 1.5, ("fails", "fails")), (1.0, 0.0, ("holds", None))],
)
def test_fluctuation_and_bias_are_extrapolated_to_their_limits(spread, shift, verdicts):
    study = flow(
        "step_sizes=[0.2, 0.1, 0.05, 0.025]",
        "record.path=true",
        "expect={limits: {bias: 0.2, bias_order: 0.1}}",
    )
    size, rng = np.array(study.step_sizes)[:, None], np.random.default_rng(0)
    bias, fluctuation, num = np.array([3.0, 4.0]), 2.0, 100_000
    off = spread * np.sqrt(size[..., None] * fluctuation / 2) * rng.normal(size=(4, num, 2))
    off = off - off.mean(1, keepdims=True) + shift * size[..., None] * bias
    squares = spread**2 * size * fluctuation * (1 + size) * rng.exponential(size=(4, num))
    both = lambda values: np.stack([0 * values, values], axis=2)
    dataset = results(
        study,
        both(np.sqrt(squares)),
        path=(("arm", "step_size", "repetition", "time", "parameter"), both(off)[None]),
        flow_path=(("time", "parameter"), np.zeros((2, 2))),
        limit_fluctuation=(("arm", "time"), np.array([[0.0, fluctuation]])),
        limit_bias=(("arm", "time", "parameter"), np.array([[[0.0, 0.0], bias]])),
    )
    claims, measurements = limit_claims(study, dataset, "sgd")
    found = claim_about("P' = -HP - PH + Sigma", claims)
    assert found["verdict"] == verdicts[0]
    assert abs(found["estimate"] - spread**2) < 0.03
    if verdicts[1] is None:
        assert claim_about("bias of order 1", claims)["verdict"] == "undecided"
    else:
        assert claim_about("bias of order 1", claims)["verdict"] == "holds"
        assert claim_about("b' = -Hb", claims)["verdict"] == verdicts[1]
    assert len(measurements) == 8


def test_both_interpolations_are_recorded_and_judged():
    study = flow("record={num_times: 30, piecewise_constant: true}")
    problem = build(study)
    reference = reference_dataset(problem)
    path = flow_of_arm(reference, "sgd")
    program = ArmProgram(problem, 0, path)
    cells = [program.run(step) for step in range(3)]
    dims = ("arm", "step_size", "repetition", "time")
    data = {
        name: (dims[: cells[0][name].ndim + 2], np.stack([c[name] for c in cells])[None])
        for name in cells[0]
    }
    coords = {"arm": ["sgd"], "step_size": list(study.step_sizes), "time": problem.times}
    dataset = xr.Dataset(data, coords=coords).merge(reference)
    claims, _ = flow_claims(study, dataset)
    assert claim_about("differ by more than its longest step", claims)["verdict"] == "holds"
    assert 0.7 < claim_about("the longest step, which", claims)["estimate"] < 1.2
    assert claim_about("for the piecewise constant interpolation", claims)["estimate"] > 0.2
    constant = run_distances(study, dataset, "constant_distance").values
    assert constant.mean() > run_distances(study, dataset).values.mean()
    # On the coarsest grid, 6 times fall on every step: the constant path waits, then jumps.
    assert np.all(dataset["max_step"].diff("time") >= 0)


def test_runs_approach_the_set_of_solutions_and_no_single_one():
    study = flow(
        *SCALE,
        "horizon=4.0",
        "step_sizes=[0.1, 0.05, 0.025]",
        "initial={kind: uniform_ball, radius: 0.001}",
        "reference={kind: solution_set, radius: 0.001}",
        "record={num_times: 40, path: true}",
    )
    rng, times = np.random.default_rng(0), np.linspace(0, 4, 41)
    problem, size = TwoPointScale(2), np.array([0.1, 0.05, 0.025])
    sides, waits = rng.choice([-1, 1], (3, 600)), rng.uniform(0, 0.2, (3, 600))
    path = sides[..., None] * problem.flow_from_zero(times, waits)
    path = path + (0.3 * size**0.5)[:, None, None] * rng.uniform(0.9, 1.1, (3, 600, 1)) * (
        times > 3
    )
    one = problem.flow_from_zero(times, 0.0)
    dataset = results(
        study,
        np.abs(path - one),
        path=(("arm", "step_size", "repetition", "time", "parameter"), path[None, ..., None]),
        flow_path=(("time", "parameter"), one[:, None]),
    )
    claims, _ = flow_claims(study, dataset)
    assert claim_about("the distance to the set of solutions", claims)["verdict"] == "holds"
    found = claim_about("half of the runs are farther", claims)
    assert abs(found["estimate"] - 0.5) < 0.1
    mended = dataset.assign(distance=0 * dataset["distance"])
    assert claim_about("half of the runs", flow_claims(study, mended)[0])["verdict"] == "fails"


# --- hypotheses -----------------------------------------------------------------------------------


def test_the_theorem_that_applies_is_named_with_its_assumptions():
    found = hypotheses(build(flow()))
    assert [row["assumption"] for row in found["assumptions"]] == [f"A{i}" for i in range(1, 8)]
    (theorem,) = found["theorems"]
    assert (theorem["theorem"], theorem["verdict"]) == ("Theorem 1", "applies")
    assert "step sizes not below it: 0.2" in theorem["reason"]
    (theorem,) = hypotheses(build(flow("initial={kind: fixed, values: [0.0, 0.0]}")))["theorems"]
    assert "here all runs share one start" in theorem["reason"]


def test_every_scheme_has_the_theorem_about_it():
    arms = {
        "plain": "{kind: sgd}",
        "noised": "{kind: noised_projected_sgd, noise_std: 0.1, radius: 2.0}",
        "adam": "{kind: adam}",
        "projected": "{kind: projected_sgd, radius: 2.0}",
    }
    listed = ", ".join(f"{name}: {scheme}" for name, scheme in arms.items())
    changes = ["generator={kind: translation}", "initial={kind: uniform_ball, radius: 1.0}"]
    study = training(
        *changes,
        "target={kind: ball, dim: 2, num_atoms: 4}",
        f"arms={{{listed}}}",
        "record.loss=null",
    )
    plain, noised, adam, projected = hypotheses(build(study))["theorems"]
    assert (plain["scheme"], plain["theorem"]) == ("plain", "Theorem 1")
    assert (noised["theorem"], noised["verdict"]) == ("Theorem 2", "applies")
    assert adam["verdict"] == projected["verdict"] == "does not apply"


def test_a_generator_that_cannot_be_examined_is_reported_as_that():
    study = flow(
        "source={kind: indices, num: 3}",
        "target.num_atoms=3",
        "generator={kind: free_points, num: 3, whole: true}",
        "loss={batch_size: 3}",
        "reference={kind: draws, num: 4}",
        "initial={kind: network}",
    )
    found = hypotheses(build(study))
    assert "could not be examined" in found["assumptions"][0]["reason"]
    assert found["theorems"] == []


# --- the studies themselves -----------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_at_hand_is_valid(path):
    assert read_study(path).name


def test_the_studies_of_the_first_theorem_state_their_time_and_have_names_of_their_own():
    paths = sorted(CONFIGS.glob("theorem1/*.yaml"))
    assert len({read_study(path).name for path in paths}) == len(paths)
    for path in paths:
        comment = path.read_text().split("\nname:")[0]
        assert "on 2 cores" in comment, path.name
