"""Figures over step sizes: order of convergence, fluctuations, paired differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes

from swjax.convergence import (
    Order,
    bootstrap_interval,
    fit_order,
    mean_interval,
    relative_difference,
)
from swjax.plot._bars import error_bars, interval_bars
from swjax.plot._style import (
    BROKEN,
    CATEGORICAL,
    FIT,
    INK,
    MUTED,
    axes_or_new,
    figure_style,
    format_step_sizes,
    legend_below,
    logarithmic_if_positive,
    note_above,
    say_instead,
    step_size_axis,
)
from swjax.plot.results import (
    arm_names,
    at_the_end,
    dataset_of,
    finite_runs,
    need,
    one_arm,
    sorted_by_step,
    sup_distances,
)

_DISTANCE = r"mean of  $\max_{s \leq S}\,|u_\alpha(s) - u(s)|$"
_MOST_DOTS = 128


def order_plot(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    order: Order | None = None,
    expected: float | None = 0.5,
    label: str = _DISTANCE,
) -> Axes:
    r"""Distance to the gradient flow against the step size, with the fitted order of convergence.

    Both axes are logarithmic. Points are means over repetitions of
    :math:`\max_{s\le S}|u_\alpha(s)-u(s)|` with 95 % bootstrap intervals, gray dots single
    repetitions, 128 at most. The solid line is the fit
    :math:`\log m = \text{slope}\cdot\log\alpha + c`, the broken one has the expected slope.
    Diverged repetitions are left out of all of it, and the title says so.

    Args:
        results: a sweep, or a dataset with `distance` (step_size, repetition, time); `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        order: the fit to show; fitted here if not given (three step sizes or more; else no line).
        expected: slope of the broken line; None for no such line.
        label: of the vertical axis.

    Returns:
        The Axes.

    Raises:
        ValueError: the results have no `distance`, or several arms and none is chosen; or, where
            the order is fitted, a distance is not positive.

    >>> import numpy as np
    >>> steps = np.array([0.1, 0.05, 0.025])
    >>> distance = np.sqrt(steps)[:, None] * np.array([[0.9, 1.0, 1.1, 1.0]])
    >>> from swjax.plot import as_results
    >>> ax = order_plot(as_results(steps, distance=distance))
    >>> ax.get_xscale(), ax.get_yscale()
    ('log', 'log')
    """
    with figure_style():
        ax = axes_or_new(ax)
        distances = sup_distances(sorted_by_step(one_arm(dataset_of(results), arm)))
        steps, values = distances["step_size"].values, distances.values
        usable = np.isfinite(values).sum(axis=1) >= 2
        if order is None and usable.sum() >= 3:
            order = fit_order(steps, values)
        _dots(ax, steps, values)
        if usable.any():
            _means(ax, steps[usable], values[usable])
        step_size_axis(ax, steps)
        ax.set_ylabel(label)
        ends = np.array([0.9 * steps.min(), 1.1 * steps.max()])
        if order is not None:
            label = (
                f"fitted order {order.slope:.3f}, 95 % interval [{order.low:.3f}, {order.high:.3f}]"
            )
            ax.plot(ends, order.constant * ends**order.slope, color=FIT, label=label)
        if expected is not None and usable.any():
            # Parallel below the data, so that it hides nothing.
            lowest = np.nanquantile(values[usable], 0.02, axis=1) / steps[usable] ** expected
            line = {"color": INK, "linewidth": 1.1, "linestyle": BROKEN}
            label = f"order {expected:g}, for comparison"
            ax.plot(ends, 0.75 * lowest.min() * ends**expected, label=label, **line)
        logarithmic_if_positive(ax)
        _note_left_out(ax, steps, values)
        legend_below(ax, num_columns=2)
    return ax


def fluctuation_constant(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    time: float | None = None,
    exact: ArrayLike | Sequence[float] | None = None,
    limit: float | None = None,
    measured: ArrayLike | Sequence | None = None,
) -> Axes:
    r"""Mean-square deviation from the flow divided by the step size, against the exact formula.

    Shows :math:`E|u_\alpha(s)-u(s)|^2/\alpha` at one flow time s with three standard errors. As
    :math:`\alpha\to0` it tends to a constant, the trace of the covariance of the Gaussian process
    that the fluctuations around the flow tend to.

    Args:
        results: a sweep, or a dataset with `distance` (step_size, repetition, time); `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        time: the flow time s, or the recorded one nearest to it; the last one by default.
        exact: the exact value at each step size of the results, (S,), in their order.
        limit: the exact limit as the step size goes to 0.
        measured: means with the ends of their 95 % intervals, (S, 3), in the order of the results,
            to show in place of those of the squared distances as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: the results have no `distance`, or several arms and none is chosen.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> distance = np.sqrt([0.1, 0.05])[:, None, None] * np.ones((2, 8, 3))
    >>> ax = fluctuation_constant(as_results([0.1, 0.05], [0, 1, 2], distance=distance), limit=1.0)
    >>> [text.get_text() for text in ax.get_legend().get_texts()][0]
    'limit as $\\alpha \\to 0$'
    """
    with figure_style():
        ax = axes_or_new(ax)
        dataset = one_arm(dataset_of(results), arm)
        need(dataset, "distance")
        distance = finite_runs(dataset, dataset["distance"])
        at = {"time": distance["time"].values[-1] if time is None else time}
        distance = distance.sel(at, method="nearest")
        steps = distance["step_size"].values
        scaled = distance.transpose("step_size", "repetition").values ** 2 / steps[:, None]
        usable = np.isfinite(scaled).sum(axis=1) >= 2
        found = [mean_interval(row) for row in scaled[usable]]
        if exact is not None:
            ascending = np.argsort(steps)
            values = np.asarray(exact)[ascending]
            ax.plot(steps[ascending], values, color=FIT, label="exact, at each step size")
        if limit is not None:
            line = {"color": INK, "linewidth": 1.1, "linestyle": BROKEN}
            ax.axhline(limit, label=r"limit as $\alpha \to 0$", **line)
        if measured is None:
            error_bars(ax, steps[usable], found, label="measured, three standard errors")
        else:
            rows = np.asarray(measured, float)
            words = "95 % interval" if np.isfinite(rows).any() else "no finite run"
            interval_bars(ax, steps, rows, label=f"measured, {words}")
        step_size_axis(ax, steps)
        s = float(distance["time"])
        ax.set_ylabel(rf"mean of  $|u_\alpha(s) - u(s)|^2 / \alpha$   at $s$ = {s:.3g}")
        legend_below(ax, num_columns=3)
    return ax


def paired_differences(
    results: Any,
    ax: Axes | None = None,
    *,
    baseline: str | None = None,
    variable: str = "loss",
    margin: float | None = None,
) -> Axes:
    """Final loss of every arm minus that of the baseline, repetition by repetition: a forest plot.

    One row per arm and step size: the mean difference over the mean of the baseline, with the 95 %
    interval of that ratio (delta method). Pairs of which one diverged are left out. The arms must
    have been run with the same draws.

    Args:
        results: a sweep, or a dataset with several arms; see `as_results`.
        ax: where to draw; a new figure if not given.
        baseline: the arm subtracted; the first by default.
        variable: `"loss"`, taken at the last recorded time, or `"sample_loss"`, averaged over the
            last tenth of the time.
        margin: half width of the band of relative differences that count as none; shaded.

    Returns:
        The Axes.

    Raises:
        ValueError: the results do not hold the variable, there are fewer than two arms, or none of
            the baseline's name.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> loss = 1 + 0.1 * np.random.default_rng(0).normal(size=(2, 1, 8, 1))
    >>> ax = paired_differences(as_results([0.1], [1.0], arms=["plain", "noised"], loss=loss))
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['noised']
    """
    dataset = sorted_by_step(dataset_of(results))
    need(dataset, variable)
    names = arm_names(dataset)
    if len(names) < 2:
        raise ValueError("A paired comparison needs at least two arms.")
    with figure_style():
        num_rows = (len(names) - 1) * dataset.sizes["step_size"]
        ax = axes_or_new(ax, height=1.2 + 0.45 * num_rows)
        first = one_arm(dataset, baseline or names[0])
        base = at_the_end(first, variable).values
        steps = dataset["step_size"].values
        labels = [f",  $\\alpha$ = {s}" if len(steps) > 1 else "" for s in format_step_sizes(steps)]
        rows = []
        for i, name in enumerate(n for n in names if n != str(first["arm"].values)):
            values = at_the_end(one_arm(dataset, name), variable).values
            for j, label in enumerate(labels):
                color = CATEGORICAL[i % len(CATEGORICAL)]
                _forest_row(ax, len(rows), values[j], base[j], color)
                rows.append(name + label)
        if margin is not None:
            ax.axvspan(-100 * margin, 100 * margin, color=MUTED, alpha=0.13, linewidth=0)
        ax.axvline(0, color=INK, linewidth=1.0)
        if not ax.containers:
            say_instead(ax, "No pair of runs stayed finite.")
        ax.set_yticks(range(len(rows)), rows)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(f"final loss: difference to {first['arm'].values!s}, in percent")
    return ax


def _forest_row(ax: Axes, y: int, values: np.ndarray, base: np.ndarray, color: str) -> None:
    """By how much the values exceed the base, in percent, as a point with its interval."""
    text = "no finite pairs"
    if np.isfinite(values + base).sum() >= 2:
        center, low, high = (100 * end for end in relative_difference(values, base)[:3])
        error = [[center - low], [high - center]]
        ax.errorbar(center, y, xerr=error, fmt="o", markersize=5, color=color, linewidth=1.8)
        text = f"{center:+.2g} %  [{low:+.2g}, {high:+.2g}]"
    place = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
    ax.annotate(text, (1.01, y), fontsize=8.5, color=INK, **place)


def _dots(ax: Axes, steps: np.ndarray, values: np.ndarray) -> None:
    """Single repetitions, a little apart so that they can be told from each other."""
    values = values[:, :_MOST_DOTS]
    aside = np.exp(np.linspace(-0.025, 0.025, values.shape[1]))[None] * steps[:, None]
    ax.plot(aside.ravel(), values.ravel(), ".", color=MUTED, markersize=2.5, alpha=0.35, zorder=1)


def _means(ax: Axes, steps: np.ndarray, values: np.ndarray) -> None:
    """Means over the finite repetitions with bootstrap intervals."""
    found = [bootstrap_interval(row, lambda x: x.mean(axis=-1)) for row in values]
    interval_bars(ax, steps, found, zorder=3, label="mean, 95 % interval")


def _note_left_out(ax: Axes, steps: np.ndarray, values: np.ndarray) -> None:
    """Say how many repetitions diverged, and where."""
    bad = (~np.isfinite(values)).sum(axis=1)
    labels = format_step_sizes(steps)
    where = [f"{n} of {values.shape[1]} at {labels[i]}" for i, n in enumerate(bad) if n]
    if where:
        note_above(ax, f"diverged, left out: {', '.join(where)}")
