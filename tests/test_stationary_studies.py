"""Studies of long runs: what is refused, what a critical set is, what is recorded and concluded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import swjax
from swjax import experiment
from swjax.experiment import critical_scale
from swjax.experiment.build import build
from swjax.experiment.cell import iterates_only, place_times
from swjax.experiment.claims_stationarity import stationarity_claims
from swjax.experiment.errors import StudyError
from swjax.experiment.stationary_checks import noise_pairs
from swjax.experiment.stationary_statistics import after_burn_in, per_run, sampling
from swjax.experiment.strict_yaml import apply_overrides, parse_yaml
from swjax.experiment.study import parse_study, plain
from swjax.population import PopulationLoss
from swjax.problems import AttractingKink, BallConstraint, TranslationProblem, TwoPointScale

TRANSLATION = """
name: long
question: Where do they settle?
kind: stationarity
seed: 0
repetitions: 16
horizon: 12.0
burn_in: 4.0
step_sizes: [0.2, 0.1, 0.05]
source: {kind: ball, dim: 2, num_atoms: 8}
target: {kind: ball, dim: 2, num_atoms: 8, shift: [2, 0]}
generator: {kind: translation}
loss: {batch_size: 4}
scheme: {kind: noised_projected_sgd, radius: 1.0, noise_std: 0.5}
initial: {kind: uniform_ball, radius: 1.0}
critical_set: {kind: closed_form}
record: {num_times: 24}
"""
RESIDUAL = """
name: unknown
question: Is it critical?
kind: stationarity
seed: 0
repetitions: 2
horizon: 2.0
burn_in: 0.0
step_sizes: [0.1]
source: {kind: ball, dim: 1, num_atoms: 3}
target: {kind: ball, dim: 1, num_atoms: 3}
generator: {kind: mlp, features: [2], activation: tanh}
loss: {batch_size: 2}
scheme: {kind: noised_projected_sgd, radius: 2.0, noise_std: 0.1}
initial: {kind: network, radius: 2.0}
critical_set: {kind: residual, every: 5, goldstein: {epsilon: 0.05, num_samples: 16}}
record: {num_times: 10, path: true}
"""
SCALE = ["generator={kind: scale}", "loss.batch_size=2", "initial={kind: fixed, values: [0.1]}"]
SCALE += [f"{law}={{kind: discrete, points: [[-0.5], [0.5]]}}" for law in ("source", "target")]
KINK = ["generator={kind: absolute_scale}", "loss.batch_size=1", SCALE[2]]
KINK += ["source={kind: discrete, points: [[1, 0]]}", "target={kind: discrete, points: [[-1, 0]]}"]
ARMS = ["arms={less: {kind: noised_sgd, noise_std: 0.1}, more: {kind: noised_sgd, noise_std: 0.5}}"]


def study(*overrides, text=TRANSLATION, drop=()):
    data = {k: v for k, v in parse_yaml(text).items() if k not in drop}
    return parse_study(apply_overrides(data, list(overrides)))


def dims(values):
    return ("arm", "step_size", "repetition", "time")[: np.ndim(values)], values


def results(asked, **variables):
    """A complete dataset with the given variables (arm, step_size, repetition, time)."""
    first = next(iter(variables.values()))
    times = np.linspace(0, asked.horizon, first.shape[-1])
    diverged = np.full(first.shape[:3], -1)
    coords = {"arm": list(asked.schemes), "step_size": list(asked.step_sizes), "time": times}
    data = {name: dims(values) for name, values in variables.items()}
    return xr.Dataset(data | {"diverged_at": dims(diverged)}, coords=coords)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["burn_in=12"], "burn_in: 12 is not before the horizon 12"),
        (["burn_in=9"], "only 7 recorded times lie after burn_in; at least 10"),
        (["scheme={kind: sgd, momentum: 0.5}"], "scheme: momentum changes the law in the long run"),
        (["scheme={kind: adam}"], "scheme: 'adam' changes the law in the long run"),
        (
            ["generator={kind: mlp, features: [2]}"],
            "critical_set: the critical set of the generator 'mlp' is not known; known are those "
            "of translation, scale, absolute_scale. State it with {kind: points",
        ),
        (["loss.p=3"], "critical_set: the closed form is that of p = 2, not 3"),
        (
            ["loss.directions={kind: fixed, num: 4}"],
            "the closed form of translations needs uniform directions",
        ),
        (
            ["critical_set={kind: residual}", "source={kind: ball, dim: 2}"],
            "critical_set: the exact expected loss needs discrete laws; give source `num_atoms: "
            "...`, or take the mean over draws: {kind: residual, draws: {num: 4096}}",
        ),
        (
            ["critical_set={kind: residual, num_directions: 8, draws: {num: 16}}"],
            "critical_set: `num_directions` belongs to the exact expected loss, `draws` to the",
        ),
        (["critical_set={kind: points, values: []}"], "got 0 of lengths []"),
        (["critical_set={kind: points, values: [[1], [1, 2]]}"], "of one length"),
        (
            ["critical_set={kind: residual, scale: 0}"],
            "critical_set.scale: input should be greater",
        ),
        (
            ["expect={orders: [{order: 0.5, tolerance: 0.1}]}", "step_sizes=[0.2, 0.1]"],
            "expect.orders: an order needs at least three step sizes, got 2",
        ),
        (
            ["expect={constants: [{tolerance: 0.1}]}", "step_sizes=[0.2, 0.1]"],
            "expect.constants: the limit of small steps needs at least three step sizes",
        ),
        (
            [
                "expect={constants: [{tolerance: 0.1}]}",
                "critical_set={kind: points, values: [[1]]}",
            ],
            "known for critical_set {kind: closed_form} only, not 'points'",
        ),
        (
            ["expect={noise_effect: {tolerance: 0.1}}"],
            "expect.noise_effect: needs two `arms` that differ in nothing but `noise_std`",
        ),
        (
            ["expect={rare: {part: residual, eta: 0.1}}"],
            "the critical set is known, so this study measures distance, tangential, radial, not",
        ),
        (
            ["expect={rare: {eta: 0.1}}", "critical_set={kind: residual}"],
            "expect.rare.part: the critical set is not known, so this study measures residual",
        ),
        (["expect={orders: [{part: along, order: 1, tolerance: 0.1}]}"], "expect.orders.0.part"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(overrides, message):
    with pytest.raises(StudyError) as caught:
        study(*overrides)
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["critical_set={kind: points, values: [[1.0]]}"],
            "the points have 1 numbers, the generator 2",
        ),
        (["critical_set={kind: points, values: [[2.0, 0]]}"], "of norm 2 lies outside the ball"),
        (["initial.radius=1.5"], "scheme.radius: 1 excludes the start"),
        (
            [
                "scheme.radius=5",
                "expect={orders: [{part: tangential, order: 0.5, tolerance: 0.1}]}",
            ],
            "expect.orders.0: the critical set of 'noised_projected_sgd' has no tangential part",
        ),
        (
            ["expect={constants: [{part: radial, tolerance: 0.1}]}"],
            "no closed form is known for the radial part of 'noised_projected_sgd' (known: tang",
        ),
        (
            ["critical_set={kind: residual, goldstein: {epsilon: 2, num_samples: 4}}"],
            "goldstein.epsilon 2 exceeds the radius 1",
        ),
        (
            [
                "critical_set={kind: residual}",
                "source.dim=3",
                "target.dim=3",
                "target.shift=[2, 0, 0]",
            ],
            "In dimension 3 the integral over the direction is numerical",
        ),
    ],
)
def test_what_does_not_fit_the_laws_or_the_ball_is_refused(overrides, message):
    with pytest.raises(StudyError) as caught:
        build(study(*overrides))
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_a_study_written_out_is_the_same_study():
    asked = study("expect={orders: [{order: 0.5, tolerance: 0.1}], rare: {eta: 0.3}}")
    assert parse_study(json.loads(json.dumps(plain(asked)))) == asked
    assert asked.expect.rare.at_most == 0.05


def test_arms_that_differ_in_noise_alone_are_paired():
    asked = study(*ARMS, drop=("scheme",))
    assert noise_pairs(asked) == [("less", "more")]
    assert noise_pairs(study()) == []


# --- critical sets --------------------------------------------------------------------------------


def gradient_at(problem, point):
    """The gradient of the exact expected loss at a vector of parameters."""
    params = jax.tree.map(lambda leaf: leaf[0], problem.starts)
    vector, restore = jax.flatten_util.ravel_pytree(params)
    at = restore(jnp.asarray(point, vector.dtype).reshape(vector.shape))
    return at, jax.grad(PopulationLoss(problem.loss))(at)


@pytest.mark.slow
@pytest.mark.parametrize("radius", [1.0, 5.0])
def test_the_critical_point_of_a_translation_is_stationary_in_its_ball(radius):
    problem = build(study(f"scheme.radius={radius}"))
    (found,) = problem.critical
    at, gradient = gradient_at(problem, found.points[0])
    assert swjax.kkt_residual(at, gradient, radius) < 1e-5
    off, gradient = gradient_at(problem, 0.9 * found.points[0])
    assert swjax.gradient_mapping(off, gradient, 0.01, radius) > 0.1
    assert found.parts == (("distance", "tangential", "radial") if radius == 1 else ("distance",))


def test_predictions_of_translations_are_those_of_the_problems():
    (interior,) = build(study("scheme.radius=5")).critical
    problem = build(study())
    loss, (boundary,) = problem.loss, problem.critical
    closed = TranslationProblem(loss.source, loss.target, batch_size=4, noise_std=0.5)
    exact, first = interior.predictions["distance"], boundary.predictions["tangential"]
    assert exact.value(0.1) == pytest.approx(closed.stationary_mean_square_error(0.1))
    assert (exact.is_exact, first.is_exact) == (True, False)
    constrained = BallConstraint(closed, 1.0)
    assert first.value(0.1) == pytest.approx(constrained.tangential_mean_square(0.1))


def test_distances_have_parts_along_and_across_the_sphere():
    (found,) = build(study()).critical
    rng, (point,) = np.random.default_rng(0), found.points
    for vector in rng.uniform(-0.6, 0.6, (5, 2)):
        seen = found.observe({"params": {"shift": jnp.asarray(vector, jnp.float32)}})
        axis = point / np.linalg.norm(point)
        along = vector - point - ((vector - point) @ axis) * axis
        assert seen["critical_distance"] == pytest.approx(np.linalg.norm(vector - point), rel=1e-5)
        assert seen["tangential"] == pytest.approx(np.linalg.norm(along), rel=1e-5)
        assert seen["radial"] == pytest.approx(1 - np.linalg.norm(vector), rel=1e-5)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(critical_scale, "_NUM_DRAWS", 2**13)


@pytest.mark.slow
def test_two_points_have_three_critical_scales_and_the_known_spread(few_draws):
    problem = build(study(*SCALE))
    (found,) = problem.critical
    np.testing.assert_allclose(found.points[:, 0], [-0.25, 0, 0.25], atol=1e-6)
    prediction = found.predictions["distance"]
    exact = TwoPointScale(2).stationary_variance(0.1) * (7 / 64 + 0.25) / (7 / 64)
    assert abs(prediction.value(0.1) / exact - 1) < 4 * prediction.error < 0.1
    # Every one of them is critical, the middle one only because the kink points upward.
    for point in found.points[:, 0]:
        at, gradient = gradient_at(problem, point)
        slopes = [
            swjax.clarke.population_limiting_gradient(problem.loss, at, jax.tree.map(f, at))
            for f in (jnp.ones_like, lambda leaf: -jnp.ones_like(leaf))
        ]
        rows = jax.tree.map(lambda *leaves: jnp.stack(leaves), *slopes)
        least = swjax.kkt_residual_of_set(at, rows, 1.0)
        assert least.norm < 1e-5
        assert (abs(jax.tree.leaves(slopes[0])[0]) > 0.1) == (abs(point) < 1e-6)


@pytest.mark.slow
def test_a_ball_that_cuts_off_the_minimizers_has_its_ends_instead(few_draws):
    (found,) = build(study(*SCALE, "scheme.radius=0.2")).critical
    np.testing.assert_allclose(found.points[:, 0], [-0.2, 0, 0.2], atol=1e-6)
    assert found.predictions == {}


def test_the_attracting_kink_is_the_only_critical_point_and_has_the_known_spread(few_draws):
    (found,) = build(study(*KINK)).critical
    np.testing.assert_allclose(found.points, [[0.0]])
    prediction = found.predictions["distance"]
    exact = AttractingKink(2, noise_std=0.5).stationary_mean_distance(0.01)
    assert abs(prediction.value(0.01) / exact - 1) < 4 * prediction.error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_the_balance_of_other_orders_holds_in_a_simulation(p):
    laws = [f"{law}={{kind: discrete, points: [[{x}, 0]]}}" for law, x in
            (("source", 0), ("target", 0.5))]  # fmt: skip
    (found,) = build(study(*laws, f"loss.p={p}", "loss.batch_size=1", "scheme.radius=9")).critical
    prediction, alpha, rng = found.predictions["distance"], 0.05, np.random.default_rng(0)
    error, shares = 0.3 * rng.normal(size=(4000, 2)), []
    for step in range(600):
        angle = rng.uniform(0, 2 * np.pi, 4000)
        theta = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        along = np.sum(theta * error, axis=1, keepdims=True)
        slope = p * np.abs(along) ** (p - 1) * np.sign(along) * theta
        error = error - alpha * slope + 0.5 * alpha * rng.normal(size=(4000, 2))
        if step >= 300:
            distances = np.linalg.norm(error, axis=1)
            shares.append(prediction.quantity(distances, alpha) / prediction.value(alpha))
    per_chain = np.mean(shares, axis=0)
    assert abs(per_chain.mean() - 1) < 4 * per_chain.std() / np.sqrt(4000)


# --- runs -----------------------------------------------------------------------------------------


def test_records_are_iterates():
    grid = iterates_only(place_times(np.array([0.0, 0.1, 0.4, 0.5]), 0.2))
    assert grid.fractions.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert grid.targets.tolist() == [1, 1, 3, 3]


def test_a_long_run_ends_with_verdicts_and_what_its_averages_are_worth(tmp_path):
    expect = "expect={orders: [{part: tangential, order: 0.5, tolerance: 0.3}], constants: "
    expect += "[{part: tangential, tolerance: 0.5}], rare: {eta: 0.9, at_most: 0.3}}"
    sweep = experiment.run(study(expect), output=tmp_path / "run")
    dataset, summary = sweep.dataset, sweep.summary
    assert dict(dataset["tangential"].sizes) == {
        "arm": 1, "step_size": 3, "repetition": 16, "time": 25,
    }  # fmt: skip
    point = np.array(build(sweep.study).critical[0].points[0])
    assert np.all(dataset["radial"] >= 0)
    parts = np.hypot(dataset["tangential"], np.linalg.norm(point) - 0 * dataset["radial"])
    assert np.all(dataset["critical_distance"] <= parts + 2)
    assert len(summary["claims"]) == 4
    assert {row["part"] for row in summary["sampling"]} == {"distance", "tangential", "radial"}
    assert all(row["effective_sample_size"] > 0 for row in summary["sampling"])
    assert summary["diagnoses"] == []
    page = (sweep.folder / "report.html").read_text()
    expected = [
        "Long runs: what their averages are worth",
        "autocorrelation time",
        "The long run against the step size",
        "How few runs are far",
        "Measured against the closed form",
        "flow time 4 are left out as burn-in",
    ]
    for words in expected:
        assert words in page
    assert sweep.plot().get_xscale() == "log"


@pytest.mark.slow
def test_a_residual_is_that_of_the_exact_gradient_at_the_iterate(tmp_path):
    asked = study(text=RESIDUAL)
    sweep = experiment.run(asked, output=tmp_path / "run")
    seen = sweep.dataset.isel(arm=0, step_size=0)
    recorded = np.isfinite(seen["residual"]).all("repetition").values
    assert recorded.tolist() == [True, *[False] * 4, True, *[False] * 4, True]
    problem = build(asked)
    _, noise_keys = problem.keys(0, 0)
    oracle = jax.grad(PopulationLoss(problem.loss))
    for repetition in range(2):
        vector = seen["path"].values[repetition, -1]
        at, gradient = gradient_at(problem, vector)
        exact = swjax.gradient_mapping(at, gradient, 0.1, 2.0)
        assert seen["residual"].values[repetition, -1] == pytest.approx(float(exact), rel=1e-3)
        # The directions of the certificate come from the key of the noise of the run.
        near = {"num_samples": 16, "radius": 2.0}
        bound = swjax.goldstein_certificate(oracle, at, 0.05, noise_keys[repetition], **near).upper
        assert seen["goldstein"].values[repetition] == pytest.approx(float(bound), rel=1e-3)


@pytest.mark.slow
def test_the_mean_over_draws_gives_the_exact_residual_within_its_error():
    draws = "critical_set={kind: residual, draws: {num: 4096, num_directions: 4}}"
    problems = build(study(text=RESIDUAL)), build(study(draws, text=RESIDUAL))
    (exact,), (averaged,) = (problem.critical for problem in problems)
    start = jax.tree.map(lambda leaf: leaf[0], problems[0].starts)
    error = float(averaged.conclude(start, jax.random.key(0))["gradient_error"])
    residuals = [float(found.observe(start)["residual"]) for found in (exact, averaged)]
    assert 0 < error < 0.1 * residuals[0]
    assert abs(residuals[0] - residuals[1]) < 4 * error
    assert averaged.observe(start).keys() == {"residual"}


def test_an_averaged_gradient_must_be_exact_enough():
    asked = study("critical_set={kind: residual, draws: {num: 16}}", "source={kind: ball, dim: 2}")
    shape = (1, 3, asked.repetitions)
    found = results(asked, residual=np.full((*shape, 101), 0.2))
    for share, verdict in ((0.05, "holds"), (0.5, "fails")):
        found["gradient_error"] = dims(np.full(shape, 0.2 * share))
        (judged,), _ = stationarity_claims(asked, found)
        assert judged["verdict"] == verdict
        assert judged["estimate"] == pytest.approx(share)
        assert "averaged gradient is exact enough" in judged["claim"]


# --- conclusions ----------------------------------------------------------------------------------


def long_results(asked, order, *, level=1.0, spread=0.3, times=101):
    """Distances whose squares have the mean level * alpha**(2 order), independent records."""
    rng = np.random.default_rng(0)
    size = np.asarray(asked.step_sizes)[None, :, None, None]
    shape = (len(asked.schemes), len(asked.step_sizes), asked.repetitions, times)
    noise = rng.lognormal(-(spread**2), spread, shape)
    return results(asked, critical_distance=np.sqrt(level) * size**order * noise)


STATED = ["critical_set={kind: points, values: [[0.5, 0]]}", "repetitions=64"]


@pytest.mark.parametrize("statistic", ["rms", "mean", "quantile"])
@pytest.mark.parametrize(("order", "verdict"), [(0.5, "holds"), (1.0, "fails")])
def test_the_order_of_every_statistic_is_found(order, verdict, statistic):
    asked = study(
        *STATED, f"expect={{orders: [{{statistic: {statistic}, order: 0.5, tolerance: 0.05}}]}}"
    )
    (found,), measured = stationarity_claims(asked, long_results(asked, order))
    assert found["verdict"] == verdict
    assert found["low"] <= order <= found["high"]
    assert {m["measurement"].split(" of the")[0] for m in measured} == {
        "mean square", "mean", "95% quantile",
    }  # fmt: skip


def test_records_before_burn_in_and_diverged_runs_do_not_count():
    asked = study(*STATED)
    dataset = long_results(asked, 0.5)
    early = dataset["time"] < asked.burn_in
    dataset["critical_distance"] = dataset["critical_distance"].where(~early, 1e6)
    dataset["diverged_at"][0, 0, :3] = 5
    values = after_burn_in(asked, dataset, "distance")
    assert float(values["time"][0]) == pytest.approx(4.08)
    assert float(values.max()) < 10
    squares = per_run(values, "rms")
    assert np.isnan(squares.values[0, 0, :3]).all()
    assert np.isfinite(squares.values[0, 0, 3:]).all()
    rows = sampling(asked, dataset)
    assert [row["num_left_out"] for row in rows] == [3, 0, 0]
    # Independent records are 0.12 apart, and each is worth one.
    errors = [abs(row["autocorrelation_time"] - 0.12) / row["standard_error"] for row in rows]
    assert max(errors) < 5
    assert not any(row["resolved"] for row in rows)


def test_a_drift_after_burn_in_is_seen():
    asked = study(*STATED)
    dataset = long_results(asked, 0.5)
    dataset["critical_distance"] = dataset["critical_distance"] * (1 + dataset["time"] / 12)
    assert all(row["drift_low"] > 0.1 for row in sampling(asked, dataset))


CONSTANT = ["expect={constants: [{tolerance: 0.03}]}", "scheme.radius=5", "repetitions=400"]


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (lambda a: 1.0, "holds"),
        (lambda a: 1.1, "fails"),
        (lambda a: 1 + 5 * (a - 0.1) * (a - 0.05), "undecided"),  # not one value
    ],
)
def test_a_constant_is_held_against_the_closed_form(factor, verdict):
    asked = study(*CONSTANT)
    exact = build(asked).critical[0].predictions["distance"].value
    dataset = long_results(asked, 0.0, spread=0.1)
    levels = [exact(a) * factor(a) for a in asked.step_sizes]
    dataset["critical_distance"] *= xr.DataArray(np.sqrt(levels), dims="step_size")
    claims, measured = stationarity_claims(asked, dataset)
    assert claims[0]["verdict"] == verdict
    if verdict == "undecided":
        assert "do not agree on one value" in claims[0]["note"]
    given = [m["exact"] for m in measured if m.get("exact")]
    np.testing.assert_allclose(given, [exact(a) for a in asked.step_sizes])


def test_noise_adds_what_the_closed_form_says():
    asked = study(
        *ARMS, "expect={noise_effect: {tolerance: 0.05}}", "repetitions=400", drop=("scheme",)
    )
    dataset = long_results(asked, 0.0, spread=0.1)
    exact = [[c.predictions["distance"].value(a) for a in asked.step_sizes]
             for c in build(asked).critical]  # fmt: skip
    levels = xr.DataArray(np.sqrt(exact), dims=("arm", "step_size"))
    dataset["critical_distance"] = dataset["critical_distance"] * levels
    (found,), _ = stationarity_claims(asked, dataset)
    assert found["claim"].startswith("more against less: the noise adds to the mean square")
    assert found["verdict"] == "holds"


@pytest.mark.parametrize(
    ("distances", "rare", "monotone"),
    [
        ([1.0, 0.5, 0.1], "holds", "holds"),
        ([0.1, 0.1, 0.1], "holds", "undecided"),  # never far, at no step size: nothing falls
        ([1.0, 0.1, 1.0], "fails", "fails"),
        ([0.1, 0.5, 1.0], "fails", "fails"),
    ],
)
def test_rarity_is_judged_at_the_horizon(distances, rare, monotone):
    asked = study(*STATED, "expect={rare: {eta: 0.7, at_most: 0.1}}")
    dataset = long_results(asked, 0.0, spread=1e-3)
    dataset["critical_distance"] *= xr.DataArray(distances, dims="step_size")
    (at_the_end, falling), _ = stationarity_claims(asked, dataset)
    assert (at_the_end["verdict"], falling["verdict"]) == (rare, monotone)
    assert "Clopper-Pearson" in at_the_end["note"]


def test_a_diverged_run_ends_far_from_the_critical_set():
    asked = study(*STATED, "expect={rare: {eta: 0.7, at_most: 0.1}}", "repetitions=20")
    dataset = long_results(asked, 0.5)
    dataset["diverged_at"][0, 2, :10] = 5
    dataset["critical_distance"][0, 2, :10] = np.nan
    (found, _), _ = stationarity_claims(asked, dataset)
    assert (found["estimate"], found["verdict"]) == (0.5, "fails")
    assert "counted as farther" in found["note"]
