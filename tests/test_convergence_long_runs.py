"""Long runs: what correlated records are worth, and limits read off from several step sizes."""

import numpy as np
import pytest
import scipy.stats

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


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9, -0.5, -0.8, -0.9])
def test_the_time_of_an_autoregressive_process_is_the_closed_form(r):
    series = autoregressive(r, runs=200, length=1000)
    found = integrated_autocorrelation_time(series)
    exact = (1 + r) / (1 - r)
    missed = 2 * abs(r) ** (found.window + 1) / (1 - abs(r))
    assert missed < 0.1
    assert abs(found.time - exact) < 4 * found.standard_error + missed
    assert found.standard_error < (0.05 if r >= 0 else 0.2) * exact
    assert found.effective_sample_size == pytest.approx(200_000 / found.time)
    assert found.is_reliable
    # What the time is for: the variance of the mean of one run.
    spread = series.mean(axis=1).var() * 1000 / series.var()
    assert abs(spread / found.time - 1) < 4 * np.hypot(
        np.sqrt(2 / 200), found.standard_error / exact
    )


def test_the_time_of_an_oscillation_that_dies_out_slowly_is_the_closed_form():
    # x'' = 2 r cos(w) x' - r^2 x + noise: the spectrum at 0 over its mean.
    r, w = 0.95, np.pi / 4
    step, back = 2 * r * np.cos(w), -(r**2)
    rng, x = np.random.default_rng(0), np.zeros((3, 100))
    kept = []
    for _ in range(2300):
        x = np.stack([step * x[0] + back * x[1] + rng.normal(size=100), x[0], x[1]])
        kept.append(x[0])
    found = integrated_autocorrelation_time(np.stack(kept[300:], axis=1))
    frequencies = np.exp(-1j * np.linspace(0, 2 * np.pi, 10_000, endpoint=False))
    spectrum = 1 / np.abs(1 - step * frequencies - back * frequencies**2) ** 2
    exact = spectrum[0] / spectrum.mean()
    assert exact < 0.3
    assert abs(found.time - exact) < 4 * found.standard_error
    assert found.standard_error < 0.1 * exact


def test_squares_of_an_autoregressive_process_decorrelate_twice_as_fast():
    r = 0.8
    found = integrated_autocorrelation_time(autoregressive(r, runs=200, length=2000) ** 2)
    assert abs(found.time - (1 + r**2) / (1 - r**2)) < 4 * found.standard_error


@pytest.mark.parametrize("r", [0.5, -0.8])
def test_the_standard_error_of_the_time_is_about_right(r):
    times = [
        integrated_autocorrelation_time(autoregressive(r, runs=8, length=500, seed=s))
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


def exponential(rng, repetitions):
    """As skewed as the square of a distance in the plane, independent over step sizes."""
    return rng.exponential(size=(6, repetitions))


def shared_draws(rng, repetitions):
    """Common random numbers: what the step sizes share is a hundred times what they do not."""
    return 1 + rng.normal(size=(1, repetitions)) + 0.01 * rng.normal(size=(6, repetitions))


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("repetitions", [8, 16, 64])
@pytest.mark.parametrize("draw", [exponential, shared_draws])
def test_skewed_and_shared_values_are_covered_and_misfits_are_rare(draw, repetitions, degree):
    rng, trials, covered, missed = np.random.default_rng(5), 400, 0, 0
    steps = 2.0 ** -np.arange(1, 7)
    for _ in range(trials):
        found = extrapolate_to_zero(steps, draw(rng, repetitions), degree=degree)
        covered += found.low <= 1 <= found.high
        missed += found.misfit < 0.05
    # 3.5 standard errors of a binomial; and Student's law and that of Hotelling are those of
    # normal values: exponential ones cost both up to 2 %, over 10000 trials.
    slack = 3.5 * (0.05 * 0.95 / trials) ** 0.5
    skewness = 0.02 if draw is exponential else 0.0
    assert 0.95 - slack - skewness < covered / trials < 0.95 + slack
    assert 0.05 - slack < missed / trials < 0.05 + slack + skewness


def test_a_trend_that_shared_draws_show_is_a_misfit_of_the_mean():
    steps, rng = 2.0 ** -np.arange(1, 7), np.random.default_rng(0)
    together = (1 + 0.3 * steps)[:, None] + shared_draws(rng, 200)
    assert extrapolate_to_zero(steps, together, degree=0).misfit < 1e-12
    assert extrapolate_to_zero(steps, together, degree=1).misfit > 0.01
    # The same trend below independent noise of the same size cannot be seen.
    apart = (1 + 0.3 * steps)[:, None] + rng.normal(size=(6, 200))
    assert extrapolate_to_zero(steps, apart, degree=0).misfit > 0.01


def test_a_misfit_is_found_as_often_as_the_noncentral_law_says():
    rng, trials, num, noise = np.random.default_rng(6), 400, 30, 0.2
    bend = 4.0 * STEPS**2
    found = [
        extrapolate_to_zero(STEPS, (1 + STEPS + bend)[:, None] + noise * rng.normal(size=(4, num)))
        for _ in range(trials)
    ]
    line = np.polynomial.polynomial.polyfit(STEPS, bend, 1)
    rest = bend - np.polynomial.polynomial.polyval(STEPS, line)
    noncentral = scipy.stats.ncf(2, num - 2, num * np.sum(rest**2) / noise**2)
    power = noncentral.sf(scipy.stats.f(2, num - 2).ppf(0.95))
    assert 0.3 < power < 0.9
    share = np.mean([each.misfit < 0.05 for each in found])
    assert abs(share - power) < 4 * (power * (1 - power) / trials) ** 0.5


def test_with_few_repetitions_the_next_power_is_tested():
    bent = 1 + STEPS[:, None] ** 2 + 1e-4 * np.random.default_rng(7).normal(size=(4, 3))
    assert extrapolate_to_zero(STEPS, bent).misfit < 0.01
    cubic = STEPS[:, None] ** 3 - np.mean(STEPS**3) + 1e-4 * np.array([[-1.0, 1.0]])
    assert 0 <= extrapolate_to_zero(STEPS, cubic).misfit <= 1


def test_weights_are_those_given_and_equal_by_default():
    values = np.random.default_rng(2).normal(size=(4, 50))
    means = values.mean(axis=1)
    assert extrapolate_to_zero(STEPS, values, degree=0).limit == pytest.approx(means.mean())
    weighted = extrapolate_to_zero(STEPS, values, degree=0, weights=3 * STEPS)
    assert weighted.limit == pytest.approx(np.average(means, weights=STEPS))
    line = extrapolate_to_zero(STEPS, values, weights=STEPS)
    # NumPy's weights multiply the residuals.
    expected = np.polynomial.polynomial.polyfit(STEPS, means, 1, w=np.sqrt(STEPS))
    np.testing.assert_allclose(line.coefficients, expected, rtol=1e-9)


@pytest.mark.parametrize("num", [2, 3, 5])
def test_values_without_spread_have_a_limit_without_an_interval(num):
    found = extrapolate_to_zero(STEPS, np.ones((4, num)))
    assert (found.limit, found.standard_error) == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    assert found.misfit == 1
    curved = extrapolate_to_zero(STEPS, np.repeat(STEPS[:, None] ** 2, num, axis=1))
    assert curved.misfit == 0
    whole = extrapolate_to_zero(STEPS, np.ones((4, num)), degree=3)
    assert np.isnan(whole.misfit)


def test_a_degree_that_is_too_low_is_seen():
    noise = 0.01 * np.random.default_rng(3).normal(size=(4, 100))
    bent = 1 + STEPS[:, None] + 10 * STEPS[:, None] ** 2 + noise
    assert extrapolate_to_zero(STEPS, bent).misfit < 1e-6
    assert extrapolate_to_zero(STEPS, bent, degree=2).misfit > 0.01


def test_limits_refuse_what_they_cannot_use():
    values = np.ones((4, 3))
    with pytest.raises(ValueError, match="degree 4 needs at least 5"):
        extrapolate_to_zero(STEPS, values, degree=4)
    for steps in ([0.1, 0.1, 0.2, 0.3], [0.1, np.inf, 0.2, 0.3], [0.1, np.nan, 0.2, 0.3]):
        with pytest.raises(ValueError, match="positive, finite and different"):
            extrapolate_to_zero(steps, values)
    with pytest.raises(ValueError, match="got"):
        extrapolate_to_zero(STEPS, np.ones(4))
    for weights in (np.ones(3), [1.0, 1.0, 0.0, 1.0], [1.0, np.nan, 1.0, 1.0]):
        with pytest.raises(ValueError, match="one positive number per step size"):
            extrapolate_to_zero(STEPS, values, weights=weights)
    values = np.where(np.eye(4)[:, :3] > 0, np.nan, values)
    with pytest.raises(ValueError, match="0 of 3 are"):
        extrapolate_to_zero(STEPS, values)
