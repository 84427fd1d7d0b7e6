"""Long runs: what correlated records are worth, and limits read off from several step sizes."""

import numpy as np
import pytest

from swjax.convergence import extrapolate_to_zero, integrated_autocorrelation_time


def autoregressive(r, runs, length, seed=0, burn_in=200):
    """Runs (runs, length) of x' = r x + noise, in its stationary law."""
    rng = np.random.default_rng(seed)
    x = np.zeros(runs)
    kept = np.empty((runs, length))
    for t in range(-burn_in, length):
        x = r * x + rng.normal(size=runs)
        if t >= 0:
            kept[:, t] = x
    return kept


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9, -0.5])
def test_the_time_of_an_autoregressive_process_is_the_closed_form(r):
    series = autoregressive(r, runs=200, length=1000)
    found = integrated_autocorrelation_time(series)
    exact = (1 + r) / (1 - r)
    missed = 2 * abs(r) ** (found.window + 1) / (1 - abs(r))
    assert missed < 0.1
    assert abs(found.time - exact) < 4 * found.standard_error + missed
    assert found.standard_error < 0.05 * exact
    assert found.effective_sample_size == pytest.approx(200_000 / found.time)
    assert found.is_reliable
    # What the time is for: the variance of the mean of one run.
    spread = series.mean(axis=1).var() * 1000 / series.var()
    assert abs(spread / found.time - 1) < 4 * np.sqrt(2 / 200)


def test_squares_of_an_autoregressive_process_decorrelate_twice_as_fast():
    r = 0.8
    found = integrated_autocorrelation_time(autoregressive(r, runs=200, length=2000) ** 2)
    assert abs(found.time - (1 + r**2) / (1 - r**2)) < 4 * found.standard_error


def test_the_standard_error_of_the_time_is_about_right():
    times = [
        integrated_autocorrelation_time(autoregressive(0.5, runs=8, length=500, seed=s))
        for s in range(60)
    ]
    spread = np.std([t.time for t in times], ddof=1)
    assert 0.6 < spread / np.mean([t.standard_error for t in times]) < 1.6


def test_runs_at_different_levels_are_seen_as_not_mixing():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(16, 400)) + np.repeat([-5.0, 5.0], 8)[:, None]
    found = integrated_autocorrelation_time(series)
    assert found.effective_sample_size < 40
    assert not found.is_reliable


def test_one_run_constant_runs_and_runs_that_diverged():
    rng = np.random.default_rng(0)
    alone = integrated_autocorrelation_time(rng.normal(size=5000))
    assert abs(alone.time - 1) < 4 * alone.standard_error
    constant = integrated_autocorrelation_time(np.full((3, 50), 0.1))
    assert (constant.time, constant.effective_sample_size) == (1.0, 150.0)
    series = rng.normal(size=(5, 100))
    series[2, 7] = np.nan
    found = integrated_autocorrelation_time(series)
    assert (found.num, found.num_left_out) == (4, 1)


def test_series_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match=r"\(runs, length\)"):
        integrated_autocorrelation_time(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="not finite"):
        integrated_autocorrelation_time(np.full((2, 30), np.nan))
    with pytest.raises(ValueError, match="window"):
        integrated_autocorrelation_time(np.zeros((2, 30)), window=0.5)


# --- limits ---------------------------------------------------------------------------------------

STEPS = np.array([0.4, 0.2, 0.1, 0.05])


def test_a_polynomial_is_read_off_at_zero_exactly():
    values = (2 - 3 * STEPS + STEPS**2)[:, None] + 1e-3 * np.array([[-1.0, 1.0]])
    found = extrapolate_to_zero(STEPS, values, degree=2)
    assert found.limit == pytest.approx(2, abs=1e-12)
    np.testing.assert_allclose(found.coefficients, [2, -3, 1], atol=1e-10)
    assert found.misfit > 0.99


@pytest.mark.parametrize("shared", [False, True])
def test_the_interval_of_a_limit_covers_as_often_as_it_says(shared):
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        noise = rng.normal(size=(1 if shared else 4, 40)) * np.array([[1], [2], [1], [3]])
        found = extrapolate_to_zero(STEPS, 1 + 2 * STEPS[:, None] + noise)
        covered += found.low <= 1 <= found.high
    # 95 % of 400 within 4 standard errors
    assert 362 <= covered <= 397


def test_degree_zero_is_the_mean_weighted_by_precision():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(4, 50)) * np.array([[1], [2], [3], [4]])
    found = extrapolate_to_zero(STEPS, values, degree=0)
    weights = 1 / values.var(axis=1, ddof=1)
    assert found.limit == pytest.approx(np.average(values.mean(axis=1), weights=weights))


def test_a_degree_that_is_too_low_is_seen():
    noise = 0.01 * np.random.default_rng(3).normal(size=(4, 100))
    bent = 1 + STEPS[:, None] + 10 * STEPS[:, None] ** 2 + noise
    assert extrapolate_to_zero(STEPS, bent).misfit < 1e-6
    assert extrapolate_to_zero(STEPS, bent, degree=2).misfit > 0.01


def test_limits_refuse_what_they_cannot_use():
    values = np.ones((4, 3))
    with pytest.raises(ValueError, match="degree 4 needs at least 5"):
        extrapolate_to_zero(STEPS, values, degree=4)
    with pytest.raises(ValueError, match="positive and different"):
        extrapolate_to_zero([0.1, 0.1, 0.2, 0.3], values)
    with pytest.raises(ValueError, match="got"):
        extrapolate_to_zero(STEPS, np.ones(4))
    values = np.where(np.eye(4)[:, :3] > 0, np.nan, values)
    with pytest.raises(ValueError, match="0 of 3 are"):
        extrapolate_to_zero(STEPS, values)
