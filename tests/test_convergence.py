"""Orders, intervals and verdicts: closed forms, coverage, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from swjax.convergence import (
    bootstrap_interval,
    equivalence_verdict,
    exceedance,
    fit_order,
    mean_interval,
    paired_difference,
    relative_difference,
)

STEPS = 2.0 ** -np.arange(1, 7)


def measurements(seed, repetitions=64, order=0.5, constant=3.0, sigma=0.3, bend=0.0):
    """Lognormal distances of mean constant step**order exp(bend log(step)**2)."""
    noise = np.random.default_rng(seed).lognormal(-(sigma**2) / 2, sigma, (6, repetitions))
    means = constant * STEPS**order * np.exp(bend * np.log(STEPS) ** 2)
    return means[:, None] * noise


# The order


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_an_exact_power_is_found_exactly(order):
    distances = np.broadcast_to(3 * STEPS[:, None] ** order, (6, 4))
    fit = fit_order(STEPS, distances)
    np.testing.assert_allclose([fit.slope, fit.low, fit.high], order, rtol=1e-12)
    assert fit.constant == pytest.approx(3)
    np.testing.assert_allclose(
        [fit.curvature, fit.curvature_low, fit.curvature_high], 0, atol=1e-12
    )
    assert not fit.is_curved
    np.testing.assert_allclose(fit.means, distances[::-1, 0])
    np.testing.assert_array_equal(fit.step_sizes, STEPS[::-1])
    assert (fit.num_left_out, fit.note) == (0, "")


@pytest.mark.parametrize(
    "steps", [STEPS, STEPS[:3], 1e-4 * STEPS, np.linspace(0.1, 0.2, 4), [1e-3, 0.5, 0.51]]
)
@pytest.mark.parametrize("power", [0.5, 4.0])
def test_rounding_is_no_curvature_and_what_exceeds_it_is(steps, power):
    logs, ones = np.log(steps)[:, None], np.ones((1, 5))
    for constant in (3.0, 1e-20):
        exact = constant * np.exp(power * logs) * ones
        assert not fit_order(steps, exact).is_curved
        assert not fit_order(steps, exact, paired=True).is_curved
    bend = 1e-6 / np.ptp(logs) ** 2
    assert fit_order(steps, np.exp(power * logs + bend * logs**2) * ones).is_curved
    assert fit_order(steps, np.exp(power * logs - bend * logs**2) * ones).is_curved


def test_the_slope_is_that_of_least_squares_on_the_log_means():
    distances = measurements(0)
    fit = fit_order(STEPS, distances)
    line = np.polyfit(np.log(STEPS), np.log(distances.mean(1)), 1)
    parabola = np.polyfit(np.log(STEPS), np.log(distances.mean(1)), 2)
    np.testing.assert_allclose([fit.slope, np.log(fit.constant)], line, rtol=1e-10)
    np.testing.assert_allclose(fit.curvature, parabola[0], rtol=1e-8)


@pytest.mark.parametrize("paired", [False, True])
def test_the_interval_covers_the_true_order_as_often_as_it_says(paired):
    trials, covered, curved = 400, 0, 0
    for trial in range(trials):
        distances = measurements(trial)
        if paired:
            distances = distances * measurements(10_000 + trial)[:1]
        fit = fit_order(STEPS, distances, num_resamples=300, key=trial, paired=paired)
        covered += fit.low <= 0.5 <= fit.high
        curved += fit.is_curved
    # 3.5 standard errors of a binomial, and 1 % for the bias of the percentile bootstrap.
    slack = 3.5 * (0.05 * 0.95 / trials) ** 0.5 + 0.01
    assert abs(covered / trials - 0.95) < slack
    assert abs(curved / trials - 0.05) < slack


def test_shared_draws_make_the_paired_interval_shorter():
    shared = np.random.default_rng(0).lognormal(0, 1, (1, 64))
    distances = STEPS[:, None] ** 0.5 * shared * measurements(0, order=0.0, sigma=0.05)
    apart, together = fit_order(STEPS, distances), fit_order(STEPS, distances, paired=True)
    assert apart.slope == together.slope
    assert together.high - together.low < (apart.high - apart.low) / 3


def test_a_bent_line_is_reported_as_curved():
    fit = fit_order(STEPS, measurements(0, bend=0.1))
    assert fit.is_curved
    assert fit.curvature_low < 0.1 < fit.curvature_high
    assert not fit_order(STEPS, measurements(0)).is_curved


def test_the_order_of_the_step_sizes_does_not_matter():
    distances, shuffled = measurements(0), [3, 0, 5, 1, 4, 2]
    assert (
        fit_order(STEPS[shuffled], distances[shuffled]).slope == fit_order(STEPS, distances).slope
    )


def test_the_same_key_gives_the_same_interval():
    distances = measurements(0)
    first, again = fit_order(STEPS, distances), fit_order(jnp.asarray(STEPS), distances, key=0)
    assert (first.low, first.high) == (again.low, again.high)
    assert fit_order(STEPS, distances, key=1).low != first.low
    keys = (jax.random.key(5), jax.random.PRNGKey(5))
    typed, raw = (fit_order(STEPS, distances, key=key) for key in keys)
    assert typed.low == raw.low


@pytest.mark.parametrize("paired", [False, True])
def test_diverged_repetitions_are_left_out_and_named(paired):
    distances = measurements(0)
    distances[0, :3] = np.nan
    distances[1, 5] = np.inf
    fit = fit_order(STEPS, distances, paired=paired)
    assert fit.num_left_out == 4
    assert (
        fit.note
        == "Left out, not finite: 1 at step size 0.25, 3 at step size 0.5, of 64 repetitions each."
    )
    np.testing.assert_allclose(fit.means[-1], distances[0, 3:].mean())
    distances[0, 1:] = np.nan
    fit = fit_order(STEPS, distances, paired=paired)
    assert len(fit.step_sizes) == 5
    assert "Step sizes not used at all: 0.5." in fit.note


def test_a_paired_resample_without_a_finite_repetition_is_drawn_again():
    distances = measurements(0, repetitions=4)
    distances[0, 2:] = np.nan
    fit = fit_order(STEPS, distances, paired=True)
    assert np.isfinite([fit.low, fit.high]).all()


def test_an_order_that_cannot_be_fitted_is_refused_with_the_reason():
    distances = measurements(0)
    with pytest.raises(ValueError, match="at least three step sizes, got 2"):
        fit_order(STEPS[:2], distances[:2])
    with pytest.raises(ValueError, match=r"got \(5,\) and \(6, 64\)"):
        fit_order(STEPS[:5], distances)
    with pytest.raises(ValueError, match="step_sizes must be positive"):
        fit_order(-STEPS, distances)
    with pytest.raises(ValueError, match="must differ from each other"):
        fit_order([0.1, 0.1, 0.2, 0.3, 0.4, 0.5], distances)
    wrong = distances.copy()
    wrong[2, 7] = 0.0
    with pytest.raises(ValueError, match=r"repetition 7 at step size 0\.125 is 0\."):
        fit_order(STEPS, wrong)
    wrong[:4] = np.nan
    with pytest.raises(ValueError, match=r"2 of 6 remain\. Left out, not finite: 64 at step size"):
        fit_order(STEPS, wrong)
    with pytest.raises(ValueError, match="two finite repetitions each; 0 of 6"):
        fit_order(STEPS, distances[:, :1])
    with pytest.raises(ValueError, match="num_resamples must be at least 100"):
        fit_order(STEPS, distances, num_resamples=10)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        fit_order(STEPS, distances, level=95)


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.46, 0.54, "holds"),
        (0.45, 0.55, "holds"),
        (0.51, 0.52, "holds"),
        (0.44, 0.50, "undecided"),
        (0.40, 0.60, "undecided"),
        (0.551, 0.7, "fails"),
        (0.1, 0.449, "fails"),
        (float("nan"), float("nan"), "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_inside_or_outside_the_band(low, high, verdict):
    assert equivalence_verdict(low, high, 0.5, 0.05000000001) == verdict


def test_verdicts_refuse_swapped_ends_and_empty_bands():
    with pytest.raises(ValueError, match="swapped"):
        equivalence_verdict(0.6, 0.4, 0.5, 0.1)
    for tolerance in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="tolerance must be positive"):
            equivalence_verdict(0.4, 0.6, 0.5, tolerance)


# Intervals


def test_the_mean_interval_is_that_of_student():
    samples = np.random.default_rng(0).normal(3, 2, 17)
    interval = mean_interval(np.append(samples, [np.nan, np.inf]))
    expected = scipy.stats.t.interval(0.95, 16, samples.mean(), scipy.stats.sem(samples))
    np.testing.assert_allclose((interval.low, interval.high), expected, rtol=1e-12)
    assert interval.standard_error == pytest.approx(scipy.stats.sem(samples))
    assert (interval.num, interval.num_left_out) == (17, 2)


def test_pairs_cancel_what_they_share():
    rng = np.random.default_rng(0)
    shared, effect = rng.normal(0, 10, 50), 0.1 + rng.normal(0, 0.1, 50)
    interval = paired_difference(shared + effect, shared)
    np.testing.assert_allclose(interval.estimate, effect.mean(), atol=1e-12)
    assert interval.low > 0
    one_missing = paired_difference(np.append(shared, np.inf), np.append(shared, np.inf))
    assert (one_missing.num, one_missing.num_left_out) == (50, 1)
    with pytest.raises(ValueError, match=r"got \(3,\), \(2,\)"):
        paired_difference(np.ones(3), np.ones(2))


def test_the_relative_difference_has_the_interval_of_a_ratio():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        base = 1 + 0.3 * rng.normal(size=50)
        interval = relative_difference(1.1 * base + 0.1 * rng.normal(size=50), base)
        covered += interval.low <= 0.1 <= interval.high
    # 95 % of 400, within 4 standard errors (4.4 each)
    assert 362 <= covered <= 397
    with pytest.raises(ValueError, match=r"got \(3,\), \(2,\)"):
        relative_difference(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"mean of b is zero.*paired_difference"):
        relative_difference([1.0, 2.0], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"two pairs that are finite; 1 of 2"):
        relative_difference([1.0, np.nan], [1.0, 1.0])


def test_the_bootstrap_interval_of_a_mean_approaches_the_normal_one():
    samples = np.random.default_rng(0).normal(size=400)
    boot = bootstrap_interval(samples, lambda x: x.mean(axis=-1), num_resamples=4000)
    student = mean_interval(samples)
    # The standard error of a bootstrap percentile here is about 2.4 % of the interval's half width.
    width = student.high - student.low
    assert abs(boot.low - student.low) < 0.06 * width
    assert abs(boot.high - student.high) < 0.06 * width
    assert boot.standard_error == pytest.approx(student.standard_error, rel=0.05)
    again = bootstrap_interval(samples, lambda x: x.mean(axis=-1), num_resamples=4000)
    assert boot == again


def test_bootstrap_intervals_of_a_median_cover():
    covered = 0
    for trial in range(300):
        samples = np.random.default_rng(trial).exponential(size=60)
        interval = bootstrap_interval(samples, lambda x: np.median(x, axis=-1), num_resamples=200)
        covered += interval.low <= np.log(2) <= interval.high
    assert abs(covered / 300 - 0.95) < 3.5 * (0.05 * 0.95 / 300) ** 0.5 + 0.01


def test_a_statistic_that_reduces_too_much_is_refused():
    with pytest.raises(ValueError, match="statistic must reduce the last axis only"):
        bootstrap_interval(np.ones(5), np.median)


@pytest.mark.parametrize("count", [0, 1, 7, 19, 20])
def test_exceedance_is_the_interval_of_clopper_and_pearson(count):
    distances = np.where(np.arange(20) < count, 2.0, 0.5)
    interval = exceedance(distances, 1.0)
    expected = scipy.stats.binomtest(count, 20).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose((interval.low, interval.high), expected, atol=1e-12)
    assert interval.estimate == count / 20


def test_a_diverged_run_exceeds_every_threshold():
    assert exceedance([0.1, np.nan, np.inf, 0.2], 1.0).estimate == 0.5
    assert exceedance([1.0], 1.0).estimate == 0.0


def test_intervals_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match="samples has 1 of 3"):
        mean_interval([1.0, np.nan, np.inf])
    with pytest.raises(ValueError, match=r"samples must be a vector .* got shape \(2, 2\)"):
        bootstrap_interval(np.ones((2, 2)), np.mean)
    with pytest.raises(ValueError, match=r"distances must be a vector .* got shape \(0,\)"):
        exceedance([], 1.0)
    with pytest.raises(ValueError, match="threshold must be finite"):
        exceedance([1.0], float("nan"))
    for call in (
        lambda: mean_interval(np.ones(3), level=1.0),
        lambda: exceedance([1.0], 1.0, level=0.0),
    ):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            call()
