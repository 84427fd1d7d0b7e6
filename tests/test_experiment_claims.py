"""Verdicts: by equivalence, with what was left out said, from results whose answer is known."""

import numpy as np
import pytest
import xarray as xr
from experiment_studies import flow, training

from swjax.convergence import exceedance
from swjax.experiment.build import build
from swjax.experiment.cell import flat_rows
from swjax.experiment.claims import summarize
from swjax.experiment.claims_closed_form import _compared, _square_claim, closed_form_claims
from swjax.experiment.claims_exceedance import decreasing_claim
from swjax.experiment.claims_extrapolated import extrapolated_claim
from swjax.experiment.claims_flow import flow_claims
from swjax.experiment.claims_limits import limit_claims
from swjax.experiment.claims_training import (
    _difference_claim,
    final_losses,
    half_times,
    training_claims,
)
from swjax.experiment.closed_form import moments

MLP = ["generator={kind: mlp, features: [2]}", "reference={kind: population}"]
MLP += ["source.num_atoms=4", "target.num_atoms=4"]
STEPS = [0.2, 0.1, 0.05, 0.025]


def flow_results(study, order, *, spread=0.2, num_diverged=0):
    """Distances that grow to alpha**order times a lognormal of mean near 1."""
    rng = np.random.default_rng(0)
    size = np.asarray(study.step_sizes)
    shape = (1, len(size), study.repetitions)
    largest = size[None, :, None] ** order * rng.lognormal(sigma=spread, size=shape)
    distance = largest[..., None] * np.linspace(0, 1, 21)
    diverged_at = np.full(shape, -1)
    diverged_at[:, 0, :num_diverged] = 7
    distance[:, 0, :num_diverged, 10:] = np.nan
    return xr.Dataset(
        {
            "distance": (("arm", "step_size", "repetition", "time"), distance),
            "diverged_at": (("arm", "step_size", "repetition"), diverged_at),
            "num_steps": (("step_size",), np.round(1 / size).astype(int)),
            "flow_error": ((), 1e-4),
        },
        coords={"arm": ["sgd"], "step_size": size, "time": np.linspace(0, 1, 21)},
    )


def claim_about(words, claims):
    (found,) = [c for c in claims if words in c["claim"]]
    return found


@pytest.mark.parametrize(("order", "verdict"), [(0.5, "holds"), (1.0, "fails")])
def test_an_order_is_judged_by_its_interval(order, verdict):
    study = flow(*MLP, f"step_sizes={STEPS}", "repetitions=400")
    claims, measurements = flow_claims(study, flow_results(study, order))
    found = claim_about("shrinks like the step size to the power 0.5", claims)
    assert found["verdict"] == verdict
    assert found["low"] < order < found["high"]
    assert [m["step_size"] for m in measurements] == STEPS


def test_too_few_repetitions_leave_an_order_undecided():
    study = flow(*MLP, "repetitions=12")
    claims, _ = flow_claims(study, flow_results(study, 0.5, spread=0.6))
    assert claim_about("shrinks", claims)["verdict"] == "undecided"


def test_diverged_runs_are_left_out_and_it_is_said():
    study = flow(*MLP, f"step_sizes={STEPS}", "repetitions=400", "expect.eta=0.9")
    dataset = flow_results(study, 0.5, num_diverged=3)
    claims, measurements = flow_claims(study, dataset)
    found = claim_about("shrinks", claims)
    assert found["verdict"] == "holds"
    assert found["note"].startswith("Diverged and left out: 3 of 400 at step size 0.2.")
    largest = [m for m in measurements if m["measurement"] == "largest distance to the flow"]
    assert [m["num_left_out"] for m in largest] == [3, 0, 0, 0]
    assert summarize(study, dataset, "done")["num_diverged"] == {"sgd": {"0.2": 3}}


@pytest.mark.parametrize(
    ("eta", "repetitions", "verdict"),
    [(0.9, 100, "holds"), (0.9, 20, "undecided"), (0.05, 100, "fails")],
)
def test_a_rare_event_is_judged_by_the_exact_binomial_interval(eta, repetitions, verdict):
    study = flow(*MLP, f"repetitions={repetitions}", f"expect.eta={eta}")
    claims, measurements = flow_claims(study, flow_results(study, 0.5))
    assert claim_about("with probability at most 5%", claims)["verdict"] == verdict
    assert sum("probability that d_c" in m["measurement"] for m in measurements) == 3


@pytest.mark.parametrize(
    ("order", "eta", "verdict"),
    [(0.5, 0.25, "holds"), (0.5, 0.9, "undecided"), (-0.5, 5e-1, "fails")],
)
def test_the_probability_to_be_far_has_to_fall_with_the_step_size(order, eta, verdict):
    study = flow(*MLP, f"step_sizes={STEPS}", "repetitions=200", f"expect.eta={eta}")
    dataset = flow_results(study, order)
    dataset["distance"] = dataset["distance"] * (0.2 if order < 0 else 1)
    found = claim_about("decreases with the step size", flow_claims(study, dataset)[0])
    assert found["verdict"] == verdict
    assert found["low"] <= found["estimate"] <= found["high"]


def test_a_diverged_run_counts_as_far_from_the_flow():
    study = flow(*MLP, "step_sizes=[0.1]", "repetitions=100", "expect={eta: 0.9}")
    claims, _ = flow_claims(study, flow_results(study, 0.5, num_diverged=30))
    found = claim_about("with probability at most 5%", claims)
    assert found["estimate"] == 0.3
    assert "counted as farther" in found["note"]


@pytest.mark.parametrize(("error", "verdict"), [(1e-3, "holds"), (0.1, "fails")])
def test_the_error_of_the_reference_is_weighed_against_the_distances(error, verdict):
    study = flow(*MLP)
    dataset = flow_results(study, 0.5).assign(flow_error=error)
    assert claim_about("exact enough", flow_claims(study, dataset)[0])["verdict"] == verdict


# --- the closed form ------------------------------------------------------------------------------


def translation_results(study, stretch=1.0, shift=0.0):
    """Runs of NumPy's own simulation of the linear recursion, at the start and at the horizon."""
    closed = moments(study, "sgd")
    starts = np.asarray(flat_rows(build(study).starts), np.float64)
    rng = np.random.default_rng(1)
    paths = []
    for size in study.step_sizes:
        error = starts - closed.minimizer
        for _ in range(round(study.horizon / size)):
            angle = rng.uniform(0, 2 * np.pi, len(error))
            theta = np.stack([np.cos(angle), np.sin(angle)], 1)
            zeta = rng.multivariate_normal(np.zeros(2), closed.batch_mean_covariance, len(error))
            error = error - 2 * size * theta * np.sum(theta * (error + zeta), 1, keepdims=True)
        end = closed.flow(starts, [study.horizon])[:, 0]
        path = end + stretch * (error + closed.minimizer - end) + shift
        paths.append(np.stack([starts, starts, path], 1))
    path = np.stack(paths)[None]
    distance = np.linalg.norm(path - closed.flow(starts, [0.0, 0.0, study.horizon]), axis=-1)
    return xr.Dataset(
        {
            "distance": (("arm", "step_size", "repetition", "time"), distance),
            "path": (("arm", "step_size", "repetition", "time", "parameter"), path),
            "diverged_at": (("arm", "step_size", "repetition"), np.full(distance.shape[:3], -1)),
        },
        coords={
            "arm": ["sgd"],
            "step_size": list(study.step_sizes),
            "time": np.linspace(0, study.horizon, 3),
        },
    )


# The exact deviation of so short a run is largest at its end.
CLOSED = ["step_sizes=[0.2, 0.1, 0.05]", "repetitions=3000", "record.num_times=2", "horizon=0.4"]


@pytest.mark.parametrize(
    ("changes", "subject", "verdict"),
    [
        ({}, "mean square deviation", "holds"),
        ({}, "mean path", "holds"),
        ({"stretch": 1.2}, "mean square deviation", "fails"),
        ({"shift": 0.1}, "mean path", "fails"),
    ],
)
def test_deviations_are_held_against_the_closed_form(changes, subject, verdict):
    study = flow(*CLOSED)
    claims, measurements = closed_form_claims(study, translation_results(study, **changes))
    assert claim_about(subject, claims)["verdict"] == verdict
    assert all(m["time"] == 0.4 for m in measurements)
    assert all(m["exact"] > 0 for m in measurements)


@pytest.mark.parametrize("repetitions", [4, 8, 32, 128])
def test_few_runs_seldom_contradict_a_formula_that_is_right(repetitions):
    rng, draws = np.random.default_rng(0), 400
    study = flow("step_sizes=[0.2, 0.1, 0.05]")
    squares = rng.exponential(size=(draws, 3, repetitions))  # of two normal coordinates
    verdicts = []
    for rows in squares:
        compared = [_compared(row, np.ones(repetitions), 1.0) for row in rows]
        verdicts.append(_square_claim("", study, compared, "")["verdict"])
    # Three standard errors at three step sizes: 0.8 %, somewhat more for so skewed a law.
    share = verdicts.count("fails") / draws
    assert share <= 0.02 + 3 * np.sqrt(0.02 / draws)
    assert "holds" not in verdicts or repetitions == 128


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "bend", "verdict"),
    [(1.0, 0.0, "holds"), (1.2, 0.0, "fails"), (1.0, 9.0, "undecided"), (1.2, 9.0, "undecided")],
)
def test_a_polynomial_that_misses_the_means_leaves_its_limit_undecided(limit, bend, verdict):
    study = flow(f"step_sizes={STEPS}")
    size, rng = np.array(STEPS)[:, None], np.random.default_rng(0)
    shares = limit + size + bend * size**2 + 0.1 * rng.normal(size=(4, 400))
    found = extrapolated_claim(study, "text", shares, degree=1, tolerance=0.05, note="Last.")
    assert found["verdict"] == verdict
    assert found["note"].endswith("Last.")
    assert ("do not agree on a line" in found["note"]) == (bend > 0)


def test_independent_runs_that_diverged_cost_no_more_columns_than_they_must():
    shares = 1 + 0.01 * np.random.default_rng(0).normal(size=(4, 40))
    shares[0, :10], shares[1, 10:20], shares[2, 20:30], shares[3, 30:] = (np.nan,) * 4
    judge = lambda study: extrapolated_claim(study, "text", shares, degree=1, tolerance=0.05)
    assert judge(flow(f"step_sizes={STEPS}"))["verdict"] == "holds"
    shared = judge(flow(f"step_sizes={STEPS}", "common_random_numbers=true"))
    assert shared["verdict"] == "undecided"
    assert "0 of 40 are" in shared["note"]


def bias_order(study, paths):
    """The claim about the order of paths (step size, repetition) along one parameter."""
    times = ("arm", "time")
    dataset = xr.Dataset(
        {
            "distance": (
                ("arm", "step_size", "repetition", "time"),
                np.abs(paths)[None, ..., None],
            ),
            "path": (
                ("arm", "step_size", "repetition", "time", "parameter"),
                paths[None, ..., None, None],
            ),
            "diverged_at": (("arm", "step_size", "repetition"), np.full((1, *paths.shape), -1)),
            "flow_path": (("time", "parameter"), np.zeros((1, 1))),
            "limit_fluctuation": (times, np.ones((1, 1))),
            "limit_bias": ((*times, "parameter"), np.ones((1, 1, 1))),
        },
        coords={"arm": ["sgd"], "step_size": list(study.step_sizes), "time": [1.0]},
    )
    return claim_about("bias of order 1", limit_claims(study, dataset, "sgd")[0])


@pytest.mark.parametrize("shared", [False, True])
def test_the_order_of_a_bias_is_covered_with_few_runs(shared):
    study = flow(
        f"step_sizes={STEPS}",
        f"common_random_numbers={str(shared).lower()}",
        "record.path=true",
        "expect={limits: {bias_order: 0.1}}",
    )
    size, rng, num, covered, trials = np.array(STEPS)[:, None], np.random.default_rng(0), 4, 0, 300
    for _ in range(trials):
        noise = rng.normal(size=(1 if shared else 4, num))
        found = bias_order(
            study, size + 0.2 * size * noise + 0.1 * size * rng.normal(size=(4, num))
        )
        covered += found["low"] <= 1 <= found["high"]
    # Four runs: a normal interval would cover 86 % of the time. 3.5 standard errors of a binomial.
    assert abs(covered / trials - 0.95) < 3.5 * (0.05 * 0.95 / trials) ** 0.5


# --- comparing schemes ----------------------------------------------------------------------------


def training_results(study, *, gap=0.0, largest=1.9, num_diverged=0):
    rng = np.random.default_rng(0)
    runs, sizes = study.repetitions, len(study.step_sizes)
    times = np.linspace(0, 1, 11)
    level = 1 + 0.1 * rng.normal(size=(1, sizes, runs, 1))
    loss = level * (0.2 + np.exp(-3 * times))
    loss = np.concatenate([loss, loss * (1 + gap) + 0.001 * rng.normal(size=loss.shape)])
    diverged_at = np.full((2, sizes, runs), -1)
    diverged_at[1, :, :num_diverged] = 3
    norms = np.broadcast_to(np.linspace(1, largest, 11), loss.shape).astype(np.float32)
    dims = ("arm", "step_size", "repetition", "time")
    return xr.Dataset(
        {
            "loss": (dims, loss),
            "sample_loss": (dims, loss),
            "norm": (dims, norms),
            "max_norm": (dims, norms),
            "diverged_at": (dims[:3], diverged_at),
            "num_steps": (("step_size",), [5, 10]),
        },
        coords={"arm": list(study.schemes), "step_size": list(study.step_sizes), "time": times},
    )


EXPECT = "expect={relative_difference: 0.0, tolerance: 0.05}"


@pytest.mark.parametrize(
    ("gap", "verdict"), [(0.0, "holds"), (0.05, "undecided"), (0.2, "fails"), (-0.2, "fails")]
)
def test_a_difference_between_arms_is_judged_in_pairs(gap, verdict):
    study = training(EXPECT, "repetitions=64")
    claims, measurements = training_claims(study, training_results(study, gap=gap))
    found = claim_about("noised against plain at step size 0.1", claims)
    assert found["verdict"] == verdict
    # Pairs share their level: the interval is far narrower than the 10 % spread of the runs.
    assert found["high"] - found["low"] < 0.01
    (paired,) = [
        m
        for m in measurements
        if m["measurement"] == "final loss, paired difference to plain" and m["step_size"] == 0.1
    ]
    assert paired["num"] == 64


def test_the_ball_holds_up_to_rounding_and_not_beyond():
    study = training("repetitions=8")
    eps = float(np.finfo(np.float32).eps)
    for largest, verdict in ((2 * (1 + 3 * eps), "holds"), (2 * (1 + 8 * eps), "fails")):
        claims, _ = training_claims(study, training_results(study, largest=largest))
        assert claim_about("stay in the ball", claims)["verdict"] == verdict


def test_diverged_runs_are_left_out_of_pairs():
    study = training(EXPECT, "repetitions=16")
    dataset = training_results(study, num_diverged=2)
    claims, measurements = training_claims(study, dataset)
    note = claim_about("noised against plain at step size 0.1", claims)["note"]
    assert "2 of 16 at step size 0.1" in note
    (paired,) = [
        m
        for m in measurements
        if m["measurement"] == "final loss, paired difference to plain" and m["step_size"] == 0.1
    ]
    assert (paired["num"], paired["num_left_out"]) == (14, 2)


def test_the_time_to_half_the_fall_is_read_off_the_losses():
    study = training("repetitions=8")
    dataset = training_results(study)
    times = half_times(dataset, "plain", 0.1)
    # 0.2 + exp(-3 s) falls from 1.2 to 0.25; half of it, 0.725, is reached at 0.21, recorded at 0.3
    assert times is not None
    assert abs(float(times.sel(arm="plain").mean()) - 0.3) < 0.08
    flat = dataset.assign(loss=dataset["loss"] * 0 + 1)
    assert half_times(flat, "plain", 0.1) is None


def test_without_a_recorded_loss_the_late_minibatch_losses_stand_in():
    study = training("repetitions=8")
    dataset = training_results(study).drop_vars("loss")
    final, name = final_losses(dataset)
    assert name == "final minibatch loss"
    assert dict(final.sizes) == {"arm": 2, "step_size": 2, "repetition": 8}


def test_an_unfinished_study_is_not_judged():
    study = training("repetitions=8")
    dataset = training_results(study)
    dataset["diverged_at"][1, 1] = -2
    summary = summarize(study, dataset, "interrupted")
    assert summary["claims"] == []
    assert summary["status"] == "interrupted"


def test_a_loss_known_above_its_minimum_is_called_that():
    shares = np.random.default_rng(0).uniform(1, 1.1, size=(2, 1, 11, 6))
    dims = ("arm", "step_size", "time", "repetition")
    never = np.full((2, 1, 6), -1)
    variables = {"loss": (dims, shares), "diverged_at": (("arm", "step_size", "repetition"), never)}
    dataset = xr.Dataset(variables, coords={"arm": ["plain", "noised"]})
    dataset = dataset.assign_coords(step_size=[0.1], time=np.linspace(0, 1, 11))
    expect = ("expect={relative_difference: 0.0, tolerance: 0.5}", "step_sizes=[0.1]")
    formula = (
        "generator={kind: translation}",
        "record.loss={kind: closed_form}",
        "loss={batch_size: 8}",
    )
    start = "initial={kind: uniform_ball, radius: 1.9}"
    for study, words in (
        (training(*expect), "difference of the final loss is 0"),
        (training(*expect, *formula, start), "difference of the final loss above its minimum is 0"),
    ):
        (claim,) = _difference_claim(study, dataset, "plain", "noised", 0.1)
        assert words in claim["claim"]
        assert claim["verdict"] == "holds"


# --- runs and flows that did not stay finite ------------------------------------------------------


@pytest.mark.parametrize("broken", [np.inf, 1e30, np.nan])
def test_a_diverged_run_of_the_baseline_changes_no_time_of_the_others(broken):
    dataset = training_results(training("repetitions=8"))
    expected = half_times(dataset.isel(repetition=slice(1, None)), "plain", 0.1)
    dataset["diverged_at"][0, :, 0] = 3
    dataset["loss"][0, :, 0, 4:] = broken
    times = half_times(dataset, "plain", 0.1)
    assert times is not None
    assert expected is not None
    assert np.isnan(times.sel(arm="plain")[0])
    np.testing.assert_array_equal(times[:, 1:], expected)


def test_what_was_never_finite_is_undecided_and_it_is_said():
    study = flow(*MLP, "record.piecewise_constant=true")
    dataset = flow_results(study, 0.5).assign(flow_energy=np.nan, flow_loss=("time", [np.nan] * 21))
    dataset["constant_distance"] = dataset["max_step"] = dataset["distance"]
    dataset["diverged_at"][:] = 7
    claims, _ = flow_claims(study, dataset)
    for words, reason in (
        ("differ by more than its longest step", "No run stayed finite."),
        ("exact enough", "No run stayed finite."),
        ("along the reference flow", "The reference flow did not stay finite."),
    ):
        found = claim_about(words, claims)
        assert (found["verdict"], found["note"]) == ("undecided", reason)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            (50, 90, 0),
            "The shares: 0.5 at 0.1, 0.9 at 0.05, 0 at 0.025. 0.9 at 0.05 is above 0.5 at 0.1.",
        ),
        ((0, 40, 99), "0.99 at 0.025 is above 0 at 0.1."),
        ((30, 31, 32), "The shares: 0.3 at 0.1, 0.31 at 0.05, 0.32 at 0.025."),
    ],
)
def test_the_step_sizes_that_contradict_a_fall_are_named(counts, said):
    shares = [exceedance(np.arange(100) < count, 0.5) for count in counts]
    found = decreasing_claim("falls", [0.1, 0.05, 0.025], shares, "")
    assert found["note"].endswith(said)
    assert found["verdict"] == ("fails" if "above" in said else "undecided")
