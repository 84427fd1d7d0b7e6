import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from swjax import plot
from swjax.convergence import exceedance, extrapolate_to_zero, fit_order, mean_interval
from swjax.plot import _style

STEPS = np.array([0.2, 0.1, 0.05, 0.025])
TIMES = np.linspace(0.0, 2.0, 9)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def flow_results(diverged=0, arms=("sgd",)):
    """Distances like the root of the step size; some runs diverge at the coarsest."""
    rng = np.random.default_rng(0)
    shape = (len(arms), 4, 32, 9)
    distance = np.sqrt(STEPS[:, None, None] * TIMES) * rng.lognormal(sigma=0.2, size=shape)
    loss = 0.1 + np.exp(-TIMES) * rng.lognormal(sigma=0.1, size=shape)
    path = np.stack([distance, TIMES - distance], axis=-1)
    diverged_at = np.full(shape[:3], -1)
    for values in (distance, loss, path):
        values[:, 0, :diverged, 3:] = np.nan
    diverged_at[:, 0, :diverged] = 7
    return plot.as_results(
        STEPS,
        TIMES,
        arms=arms,
        distance=distance,
        loss=loss,
        path=path,
        diverged_at=diverged_at,
        max_norm=np.maximum.accumulate(distance, axis=-1),
        flow_path=np.stack([0 * TIMES, TIMES], axis=-1),
        flow_loss=0.1 + np.exp(-TIMES),
        flow_error=1e-6,
        num_steps=np.ceil(2 / STEPS).astype(int),
    )


def long_results(diverged=0, arms=("sgd",)):
    """Distances to a critical set that do not change in time, of several kinds."""
    rng = np.random.default_rng(1)
    shape = (len(arms), 4, 32, 9)
    scattered = lambda order: STEPS[:, None, None] ** order * rng.lognormal(sigma=0.5, size=shape)
    values = {"tangential": scattered(0.5), "radial": scattered(1.0), "residual": scattered(0.5)}
    values["critical_distance"] = np.hypot(values["tangential"], values["radial"])
    for each in values.values():
        each[:, 0, :diverged, 3:] = np.nan
    diverged_at = np.full(shape[:3], -1)
    diverged_at[:, 0, :diverged] = 7
    last = np.nan_to_num(0.5 * values["residual"][..., -1], nan=9.0)
    return plot.as_results(
        STEPS, TIMES, arms=arms, goldstein=last, diverged_at=diverged_at, **values
    )


def shares_of_runs(limit=1.0, slope=0.5):
    """Numbers of 64 runs at every step size, their mean limit + slope * step size."""
    noise = np.random.default_rng(2).normal(size=(len(STEPS), 64))
    return limit + slope * STEPS[:, None] + 0.1 * noise


def lines(ax):
    """Lines by label."""
    return {line.get_label(): line for line in ax.get_lines()}


def bars(ax, number=0):
    """Places, heights, lower and upper ends of the error bars drawn in that order."""
    points, _, (sticks,) = ax.containers[number].lines
    ends = np.array([segment[:, 1] for segment in sticks.get_segments()])
    return (*points.get_data(orig=False), *ends.T)


def check_intervals(ax, found, number=0):
    """The bars show these intervals."""
    _, heights, low, high = bars(ax, number)
    np.testing.assert_allclose(np.stack([heights, low, high], 1), [each[:3] for each in found])


def draw_all(results, long, arms):
    """Every figure, by name."""
    rng = np.random.default_rng(0)
    first = arms[0]
    shares = shares_of_runs()
    distances = np.abs(shares)
    orders = {"critical_distance": 0.5, "tangential": 0.5, "radial": 1.0}
    return {
        "critical_quantiles": plot.critical_quantiles(long, arm=first, orders=orders),
        "rarity": plot.rarity(long, arm=first, thresholds=[0.1, 0.2, 0.4], at_most=0.05),
        "residual_distribution": plot.residual_distribution(long, arm=first, threshold=0.1),
        "distance_over_time": plot.distance_over_time(long, arm=first, burn_in=0.5),
        "exceedance_probability": plot.exceedance_probability(STEPS, distances, 1.1, rare=0.05),
        "limit_as_steps_vanish": plot.limit_as_steps_vanish(STEPS, shares, tolerance=0.03),
        "several_orders": plot.several_orders(STEPS, {"first": distances, "second": 2 * distances}),
        "shares_of_prediction": plot.shares_of_prediction(STEPS, shares, tolerance=0.03),
        "paths_and_solutions": plot.paths_and_solutions(TIMES, np.ones((3, 9)), np.eye(4, 9)),
        "order_plot": plot.order_plot(results, arm=first),
        "paths_against_flow": plot.paths_against_flow(results, arm=first),
        "paths_in_plane": plot.paths_in_plane(results, arm=first),
        "loss_against_time": plot.loss_against_time(results),
        "norms_in_ball": plot.norms_in_ball(results, radii={arm: 1.0 for arm in arms}),
        "paired_differences": plot.paired_differences(results, margin=0.1),
        "fluctuation_constant": plot.fluctuation_constant(results, arm=first, limit=2.0),
        "clouds": plot.clouds(rng.normal(size=(9, 2)), rng.normal(size=(5, 2))),
        "generated_images": plot.generated_images(rng.normal(size=(9, 64)), np.zeros((5, 64))),
    }


def test_legends_and_labels_cover_no_data_and_global_settings_stay():
    before = dict(mpl.rcParams)
    arms = ("plain", "noised")
    axes = draw_all(flow_results(arms=arms), long_results(arms=arms), arms)
    public = {name for name in dir(plot) if name[0] != "_" and callable(getattr(plot, name))}
    assert axes.keys() == public - {
        "as_results",
        "axes_or_new",
        "figure_style",
        "sequential_colors",
    }
    for name, ax in axes.items():
        ax.figure.canvas.draw()
        inside = ax.get_window_extent()
        legend = ax.get_legend()
        if legend is not None:
            box = legend.get_window_extent()
            outside = box.x0 >= inside.x1 or box.y1 <= inside.y0
            assert outside, f"the legend of {name} lies over the data"
            canvas = ax.figure.bbox
            assert canvas.x0 <= box.x0, name
            assert box.x1 <= canvas.x1, name
            assert canvas.y0 <= box.y0, name
    assert dict(mpl.rcParams) == before


def test_a_figure_is_drawn_on_the_given_axes_and_returned():
    _, (left, right) = plt.subplots(1, 2)
    assert plot.order_plot(flow_results(), left) is left
    assert plot.paths_against_flow(flow_results(), right) is right
    assert len(plt.get_fignums()) == 1


def test_results_may_come_inside_of_a_sweep():
    class Sweep:
        dataset = flow_results()

    assert lines(plot.order_plot(Sweep())).keys() == lines(plot.order_plot(Sweep.dataset)).keys()


def test_order_plot_draws_the_fit_the_comparison_and_the_means():
    results = flow_results()
    ax = plot.order_plot(results, expected=0.5)
    drawn = lines(ax)
    (fit,) = [line for label, line in drawn.items() if label.startswith("fitted order")]
    slope = np.diff(np.log(fit.get_ydata())) / np.diff(np.log(fit.get_xdata()))
    sup = results["distance"].values[0].max(axis=-1)
    expected = np.polyfit(np.log(STEPS), np.log(sup.mean(axis=1)), 1)
    np.testing.assert_allclose(slope, expected[0], rtol=1e-9)
    np.testing.assert_allclose(
        fit.get_ydata(), np.exp(np.polyval(expected, np.log(fit.get_xdata()))), rtol=1e-9
    )
    assert f"{expected[0]:.3f}" in fit.get_label()
    reference = drawn["order 0.5, for comparison"]
    np.testing.assert_allclose(
        np.diff(np.log(reference.get_ydata())) / np.diff(np.log(reference.get_xdata())), 0.5
    )
    assert (reference.get_ydata()[0] / STEPS.min() ** 0.5) < sup[-1].min() / STEPS.min() ** 0.5
    (container,) = ax.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(orig=False), sup.mean(axis=1))
    segments = container.lines[2][0].get_segments()
    for row, segment in zip(sup, segments, strict=True):
        low, high = segment[:, 1]
        error = row.std(ddof=1) / np.sqrt(32)
        assert low < row.mean() < high
        assert 2 * error < high - low < 6 * error  # a 95 % interval is about 4 standard errors


def test_diverged_runs_are_left_out_and_said():
    results = flow_results(diverged=3)
    ax = plot.order_plot(results)
    assert ax.get_title(loc="left") == "diverged, left out: 3 of 32 at 0.2"
    mean = results["distance"].values[0, 0, 3:].max(axis=-1).mean()
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata()[0], mean)
    drawn = lines(plot.paths_against_flow(results))
    expected = results["distance"].values[0, 0, 3:, 1:].mean(axis=0)
    np.testing.assert_allclose(drawn["0.2"].get_ydata(), expected)


def test_two_step_sizes_are_shown_without_a_fit():
    ax = plot.order_plot(flow_results().isel(step_size=[0, 1]), expected=None)
    assert not [label for label in lines(ax) if label.startswith(("fitted", "order"))]


def test_a_step_size_where_every_run_diverged_is_named_in_the_legend():
    ax = plot.paths_against_flow(flow_results(diverged=32))
    assert "0.2 (no finite run)" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_loss_shows_the_mean_the_band_and_the_flow_and_skips_times_without_a_record():
    results = flow_results()
    results["loss"][..., 1::2] = np.nan
    ax = plot.loss_against_time(results, quantiles=(0.1, 0.9))
    runs = results["loss"].values[0, 0, :, ::2]
    line = lines(ax)["0.2"]
    np.testing.assert_allclose(line.get_xdata(), TIMES[::2])
    np.testing.assert_allclose(line.get_ydata(), runs.mean(axis=0))
    edges = ax.collections[0].get_paths()[0].vertices
    for quantile in (0.1, 0.9):
        want = np.quantile(runs, quantile, axis=0)
        assert np.isclose(edges[:, 1][:, None], want[None]).any(axis=0).all()
    np.testing.assert_allclose(lines(ax)["gradient flow"].get_ydata(), 0.1 + np.exp(-TIMES))


def test_several_arms_are_compared_at_one_step_size():
    results = flow_results(arms=("plain", "noised"))
    ax = plot.loss_against_time(results, step_size=0.1)
    assert {"plain", "noised"} <= lines(ax).keys()
    np.testing.assert_allclose(
        lines(ax)["noised"].get_ydata(), results["loss"].values[1, 1].mean(axis=0)
    )
    with pytest.raises(ValueError, match=r"no step size 0\.3 in the results"):
        plot.loss_against_time(results, step_size=0.3)
    with pytest.raises(ValueError, match="choose one of plain, noised"):
        plot.order_plot(results)
    with pytest.raises(ValueError, match="no arm 'other'"):
        plot.order_plot(results, arm="other")


def test_norms_are_the_largest_over_runs_with_a_line_at_the_radius():
    results = flow_results(arms=("small", "free"))
    ax = plot.norms_in_ball(results, radii={"small": 1.5, "free": None})
    drawn = lines(ax)
    (small,) = [line for label, line in drawn.items() if label.startswith("small")]
    np.testing.assert_allclose(small.get_ydata(), results["max_norm"].values[0].max(axis=(0, 1)))
    assert any(np.allclose(line.get_ydata(), 1.5) for line in ax.get_lines())
    assert "free" in drawn
    with pytest.raises(ValueError, match="no entry for free"):
        plot.norms_in_ball(results, radii={"small": 1.5})


def test_paired_differences_are_relative_to_the_baseline_with_a_calibrated_interval():
    rng = np.random.default_rng(1)
    base = rng.lognormal(sigma=0.3, size=(1, 400))
    loss = np.stack([base, 1.02 * base + 0.01 * rng.normal(size=base.shape)])[..., None]
    ax = plot.paired_differences(plot.as_results([0.1], [1.0], arms=["a", "b"], loss=loss))
    center = ax.containers[0].lines[0].get_xdata(orig=False)[0]
    low, high = np.array(ax.containers[0].lines[2][0].get_segments())[0][:, 0]
    change = (loss[1] - loss[0]).mean() / loss[0].mean()
    np.testing.assert_allclose(center, 100 * change, rtol=1e-9)
    # The common part cancels: the noise 0.01 alone is left, not the spread 0.3 of the baseline.
    error = 100 * 0.01 / np.sqrt(400) / base.mean()
    assert 3.2 * error < high - low < 4.8 * error
    assert low < 2 < high
    with pytest.raises(ValueError, match="at least two arms"):
        plot.paired_differences(flow_results())


def test_the_final_minibatch_loss_is_that_of_the_last_tenth_of_the_time():
    times = np.linspace(0, 1, 21)
    losses = np.ones((2, 1, 4, 21)) * np.array([1.0, 2.0])[:, None, None, None]
    losses[..., :19] = 100.0  # up to time 0.9
    results = plot.as_results([0.1], times, arms=["a", "b"], sample_loss=losses)
    ax = plot.paired_differences(results, variable="sample_loss")
    np.testing.assert_allclose(ax.containers[0].lines[0].get_xdata(orig=False), [100.0])


def test_fluctuation_constant_is_the_mean_square_over_the_step_size():
    results = flow_results()
    ax = plot.fluctuation_constant(results, time=1.04, exact=STEPS, limit=0.3)
    measured = (results["distance"].values[0, :, :, 4] ** 2).mean(axis=1) / STEPS
    (container,) = ax.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(orig=False), measured)
    assert "$s$ = 1" in ax.get_ylabel()
    np.testing.assert_allclose(lines(ax)["exact, at each step size"].get_ydata(), np.sort(STEPS))


# --- long runs ------------------------------------------------------------------------------------


def test_quantiles_show_the_root_mean_square_the_band_and_the_expected_slope():
    results = long_results(diverged=3)
    ax = plot.critical_quantiles(results, burn_in=0.5, orders={"tangential": 0.5})
    late = TIMES >= 0.5
    for name, label in {
        "tangential": "distance along the sphere",
        "radial": "distance to the sphere",
    }.items():
        rows = [values[~np.isnan(values).any(axis=1)] for values in results[name].values[0]]
        rows = [values[:, late].ravel() for values in rows]
        assert [len(row) for row in rows] == [29 * late.sum(), *[32 * late.sum()] * 3]
        drawn = lines(ax)[label]
        np.testing.assert_allclose(drawn.get_xdata(), STEPS)
        np.testing.assert_allclose(drawn.get_ydata(), [np.sqrt(np.mean(row**2)) for row in rows])
        edges = np.concatenate([c.get_paths()[0].vertices[:, 1] for c in ax.collections])
        for quantile in (0.5, 0.95):
            want = np.array([np.quantile(row, quantile) for row in rows])
            assert np.isclose(edges[:, None], want[None], rtol=1e-6).any(axis=0).all()
    expected = lines(ax)["slope 0.5"]
    np.testing.assert_allclose(
        np.diff(np.log(expected.get_ydata())) / np.diff(np.log(expected.get_xdata())), 0.5
    )
    with pytest.raises(ValueError, match="none of critical_distance, tangential"):
        plot.critical_quantiles(flow_results())


def test_rarity_is_the_share_of_runs_that_end_beyond_each_threshold():
    results = long_results(diverged=3)
    ax = plot.rarity(results, thresholds=[0.1, 0.3], variable="residual", at_most=0.05)
    last = results["residual"].values[0, :, :, -1]
    for i, threshold in enumerate([0.1, 0.3]):
        check_intervals(ax, [exceedance(row, threshold) for row in last], i)
        np.testing.assert_allclose(bars(ax, i)[0], STEPS, rtol=0.011)
    beyond = np.mean(~(last <= 0.1), axis=1)  # those that diverged are beyond all
    np.testing.assert_allclose(bars(ax)[1], beyond)
    assert any(np.allclose(line.get_ydata(), 0.05) for line in ax.get_lines())


def test_residuals_are_drawn_as_distribution_functions_beside_the_certificates():
    results = long_results(diverged=3)
    ax = plot.residual_distribution(results, burn_in=0.5, threshold=0.07)
    drawn = lines(ax)
    values = results["residual"].values[0, 0, 3:, TIMES >= 0.5].ravel()
    shares = np.arange(1, 1 + values.size) / values.size
    np.testing.assert_allclose(drawn["0.2"].get_xdata(), np.sort(values))
    np.testing.assert_allclose(drawn["0.2"].get_ydata(), shares)
    broken = [line for line in ax.get_lines() if len(line.get_xdata()) in (29, 32)]
    certificates = results["goldstein"].values[0]
    for line, row in zip(broken, [certificates[0, 3:], *certificates[1:]], strict=True):
        np.testing.assert_allclose(line.get_xdata(), np.sort(row))
        np.testing.assert_allclose(line.get_ydata()[-1], 1)
    assert any(np.allclose(line.get_xdata(), 0.07) for line in ax.get_lines())


def test_the_distance_over_time_is_the_root_mean_square_over_runs():
    results = long_results(diverged=3)
    ax = plot.distance_over_time(results, burn_in=0.5)
    values = results["critical_distance"].values[0]
    for i, rows in enumerate([values[0, 3:], *values[1:]]):
        drawn = lines(ax)[f"{STEPS[i]:g}"]
        np.testing.assert_allclose(drawn.get_xdata(), TIMES)
        np.testing.assert_allclose(drawn.get_ydata(), np.sqrt(np.mean(rows**2, axis=0)))
    (shaded,) = ax.patches
    assert (shaded.get_x(), shaded.get_width()) == (0, 0.5)


# --- small steps ----------------------------------------------------------------------------------


def test_the_probability_of_a_large_distance_has_its_binomial_interval():
    distances = shares_of_runs()
    distances[0, :5] = np.nan  # diverged: these exceed
    ax = plot.exceedance_probability(STEPS, distances, 1.1, rare=0.05)
    check_intervals(ax, [exceedance(row, 1.1) for row in distances])
    np.testing.assert_allclose(bars(ax)[:2], [STEPS, np.mean(~(distances <= 1.1), axis=1)])
    np.testing.assert_allclose(lines(ax)["5 %"].get_ydata(), 0.05)


def test_a_limit_is_drawn_with_the_line_that_leads_to_it():
    shares = shares_of_runs(limit=1.2)
    ax = plot.limit_as_steps_vanish(STEPS, shares, tolerance=0.03)
    places, means, low, high = bars(ax)
    errors = 3 * shares.std(axis=1, ddof=1) / 8
    np.testing.assert_allclose(places, STEPS)
    np.testing.assert_allclose([means, low, high], shares.mean(1) + np.outer([0, -1, 1], errors))
    found = extrapolate_to_zero(STEPS, shares)
    (line,) = [line for label, line in lines(ax).items() if label.startswith("curve")]
    np.testing.assert_allclose(
        line.get_ydata(), found.coefficients[0] + found.coefficients[1] * line.get_xdata()
    )
    assert f"at zero {found.limit:.4f}" in line.get_label()
    np.testing.assert_allclose(np.ravel(bars(ax, 1)), [0, found.limit, found.low, found.high])
    assert abs(found.limit - 1.2) < 0.1
    (band,) = ax.patches
    np.testing.assert_allclose([band.get_y(), band.get_height()], [0.97, 0.06])
    assert len(plot.limit_as_steps_vanish(STEPS[:2], shares[:2]).containers) == 1  # no curve


def test_several_orders_show_each_its_fit_and_its_means():
    rng = np.random.default_rng(3)
    runs = {order: STEPS[:, None] ** order * rng.lognormal(size=(4, 64)) for order in (0.5, 1.0)}
    ax = plot.several_orders(STEPS, {f"of order {order}": rows for order, rows in runs.items()})
    fitted = [line for line in ax.get_lines() if len(line.get_xdata()) == 2]
    for i, (order, rows) in enumerate(runs.items()):
        found = fit_order(STEPS, rows)
        ends = fitted[i].get_xdata()
        np.testing.assert_allclose(fitted[i].get_ydata(), found.constant * ends**found.slope)
        places, means, low, high = bars(ax, i)
        np.testing.assert_allclose([places, means], [STEPS, rows.mean(axis=1)])
        np.testing.assert_allclose(high - low, 2 * 1.96 * rows.std(axis=1, ddof=1) / 8)
        assert ax.containers[i].get_label().startswith(f"of order {order}: order {found.slope:.3f}")


def test_shares_of_a_prediction_have_their_intervals_band_and_line():
    shares = shares_of_runs()
    shares[0, 1:] = np.nan  # one run gives no interval
    ax = plot.shares_of_prediction(STEPS, shares, tolerance=0.04, line=[1.0, 0.5])
    check_intervals(ax, [mean_interval(row) for row in shares[1:]])
    np.testing.assert_allclose(bars(ax)[0], STEPS[1:])
    (line,) = [line for line in ax.get_lines() if len(line.get_xdata()) == 50]
    np.testing.assert_allclose(line.get_ydata(), 1 + 0.5 * line.get_xdata())
    (band,) = ax.patches
    np.testing.assert_allclose([band.get_y(), band.get_height()], [0.96, 0.08])
    assert plot.shares_of_prediction(STEPS, 2 * shares, ax, label="others") is ax
    check_intervals(ax, [mean_interval(row) for row in 2 * shares[1:]], 1)


def test_paths_are_drawn_over_the_solutions():
    paths, solutions = np.random.default_rng(4).normal(size=(2, 3, 9))
    ax = plot.paths_and_solutions(TIMES, paths, solutions[:2])
    drawn = [line.get_ydata() for line in ax.get_lines()]
    np.testing.assert_allclose(drawn, [*solutions[:2], *paths])
    assert all((line.get_xdata() == TIMES).all() for line in ax.get_lines())
    assert {"solutions of the inclusion", "runs of SGD"} <= lines(ax).keys()


# --- pictures -------------------------------------------------------------------------------------


def test_paths_in_the_plane_are_those_of_the_results():
    results = flow_results(diverged=2)
    ax = plot.paths_in_plane(results, num_paths=1)
    path = results["path"].values[0, 1, 2]  # the first repetition that is finite everywhere
    np.testing.assert_allclose(np.stack(lines(ax)["0.1"].get_data(), axis=-1), path)
    with pytest.raises(ValueError, match="has 1 entries"):
        plot.paths_in_plane(results.isel(parameter=[0]))


def test_paths_from_different_starts_are_drawn_with_their_own_flows():
    results = flow_results()
    starts = np.arange(32.0)[:, None, None]
    own = results["flow_path"].values[None] + starts
    results["flow_path"] = (("repetition", "time", "parameter"), own)
    results["flow_loss"] = (("repetition", "time"), np.ones((32, 9)))
    ax = plot.paths_in_plane(results, num_paths=2)
    flows = [line for line in ax.get_lines() if line.get_linewidth() > 2]
    np.testing.assert_allclose([flow.get_xdata()[0] for flow in flows], [0.0, 1.0])
    assert "gradient flow" in lines(plot.loss_against_time(results))


def test_generated_images_stand_beside_real_ones_pixel_by_pixel():
    rng = np.random.default_rng(0)
    generated, real = rng.uniform(-1, 1, (2, 6, 12))
    ax = plot.generated_images(generated, real, image_shape=(4, 3), rows=2, columns=3)
    mosaic = np.asarray(ax.get_images()[0].get_array())
    np.testing.assert_allclose(mosaic[:4, :3], generated[0].reshape(4, 3))
    np.testing.assert_allclose(mosaic[5:9, 4:7], generated[4].reshape(4, 3))
    np.testing.assert_allclose(mosaic[-4:, -3:], real[5].reshape(4, 3))
    with pytest.raises(ValueError, match=r"expected \(number of images, 64\)"):
        plot.generated_images(generated, real)
    with pytest.raises(ValueError, match=r"generated has shape \(6, 12\); expected \(number of po"):
        plot.clouds(real[:, :2], generated)


def test_results_of_another_form_are_refused_with_what_is_missing():
    with pytest.raises(TypeError, match="plain arrays become one by swjax.plot.as_results"):
        plot.order_plot(np.ones((3, 4)))
    with pytest.raises(ValueError, match="no distance; they hold loss"):
        plot.order_plot(plot.as_results([0.1], [0.0], loss=np.ones((1, 2, 1))))
    with pytest.raises(ValueError, match="unknown variable 'los'"):
        plot.as_results([0.1], los=np.ones(1))
    with pytest.raises(ValueError, match=r"shape \(3,\); expected the axes \(arm, step_size, rep"):
        plot.as_results([0.1], distance=np.ones(3))


def test_step_sizes_that_are_powers_of_two_are_written_as_such():
    assert _style.format_step_sizes([0.5, 0.125]) == ["$2^{-1}$", "$2^{-3}$"]
    assert _style.format_step_sizes([0.2, 0.00625]) == ["0.2", "0.00625"]


# Machado, Oliveira, Fernandes (IEEE TVCG 2009), severity 1, on linear RGB.
_SIMULATIONS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(color, simulation=np.eye(3)):  # noqa: B008
    """CIELAB coordinates of a color, as seen through a simulated deficiency."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(simulation) @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    ratio = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", _SIMULATIONS)
def test_colors_of_arms_are_told_apart_under_color_blindness(deficiency):
    seen = [lab(color, _SIMULATIONS[deficiency]) for color in _style.CATEGORICAL]
    for i, a in enumerate(seen):
        for b in seen[:i]:
            assert np.linalg.norm(a - b) > 10  # about four just noticeable differences


@pytest.mark.parametrize("deficiency", _SIMULATIONS)
def test_colors_of_step_sizes_darken_steadily_for_everybody(deficiency):
    colors = _style.sequential_colors(7)
    lightness = [lab(color, _SIMULATIONS[deficiency])[0] for color in colors]
    assert (np.diff(lightness) < -3).all()


# --- runs that diverged ---------------------------------------------------------------------------


def diverged_results(arms=("sgd",)):
    """Results in which no run stayed finite."""
    values = np.full((len(arms), 4, 32, 9), np.nan)
    values[..., 0], values[..., 1] = 0.0, 1e9
    names = ("distance", "loss", "sample_loss", "max_norm", "residual", "critical_distance")
    return plot.as_results(
        STEPS,
        TIMES,
        arms=arms,
        **dict.fromkeys(names, values),
        goldstein=values[..., 2],
        path=np.stack([values, values], axis=-1),
        diverged_at=np.full(values.shape[:3], 7),
        flow_path=np.stack([0 * TIMES, TIMES], axis=-1),
        flow_loss=np.exp(-TIMES),
        flow_error=1e-6,
    )


@pytest.mark.parametrize(
    "draw",
    [
        plot.order_plot,
        plot.paths_against_flow,
        plot.paths_in_plane,
        plot.loss_against_time,
        plot.fluctuation_constant,
        plot.norms_in_ball,
        plot.critical_quantiles,
        plot.residual_distribution,
        plot.distance_over_time,
    ],
)
def test_results_in_which_every_run_diverged_are_drawn_too(draw):
    ax = draw(diverged_results())
    ax.figure.draw_without_rendering()


def test_a_figure_without_anything_to_show_says_so():
    results = diverged_results(("plain", "noised"))
    for draw in (plot.order_plot, plot.critical_quantiles, plot.distance_over_time):
        (said,) = draw(results, arm="plain").texts
        assert said.get_text() == "No run stayed finite."
    said = [text.get_text() for text in plot.paired_differences(results).texts]
    assert "No pair of runs stayed finite." in said
    assert said.count("no finite pairs") == 4


def test_diverged_runs_do_not_stretch_the_axis_of_the_norms():
    results = flow_results(diverged=3, arms=("small", "free"))
    results["max_norm"][1, 0, :3, 2] = 1e9
    ax = plot.norms_in_ball(results, radii={"small": 1.5, "free": None})
    finite = results["max_norm"].where(results["diverged_at"] < 0)
    np.testing.assert_allclose(ax.get_ylim(), (0, 1.1 * max(1.5, float(finite.max()))))
    assert ax.get_title(loc="left") == "runs that diverged may leave the axis"
    assert max(np.max(line.get_ydata()) for line in ax.get_lines()) == 1e9


def test_radii_are_those_that_the_results_name():
    results = flow_results(arms=("small", "free"))
    results.attrs["radius"] = "[1.5, null]"
    named = plot.norms_in_ball(results)
    given = plot.norms_in_ball(results, radii={"small": 1.5, "free": None})
    assert lines(named).keys() == lines(given).keys()
    results.attrs["radius"] = "[1.5]"
    with pytest.raises(ValueError, match="note 1 radii for 2 arms"):
        plot.norms_in_ball(results)


def test_means_that_are_known_better_are_drawn_as_they_are_given():
    rows = np.array([[0.3, 0.2, 0.4], [0.5, 0.4, 0.7], [0.1, 0.0, 0.2], [0.6, 0.5, 0.7]])
    ax = plot.fluctuation_constant(flow_results(), measured=rows)
    np.testing.assert_allclose(bars(ax), [STEPS, *rows.T])


def test_the_axis_of_the_loss_says_what_the_results_say_it_is():
    results = flow_results()
    assert plot.loss_against_time(results).get_ylabel() == r"loss  $F(u_\alpha(s))$"
    results["loss"].attrs["symbol"] = r"F(u) - \min F"
    assert plot.loss_against_time(results).get_ylabel() == r"loss  $F(u) - \min F$"
