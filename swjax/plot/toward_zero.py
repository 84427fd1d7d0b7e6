"""Figures of what small steps do: rare events, limits by the step size, several orders at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes

from swjax.convergence import exceedance, extrapolate_to_zero, fit_order, mean_interval
from swjax.plot._bars import error_bars, interval_bars
from swjax.plot._style import (
    BROKEN,
    CATEGORICAL,
    FIT,
    INK,
    MUTED,
    axes_or_new,
    figure_style,
    legend_below,
    step_size_axis,
)

_MARKERS = "osD^v"


def exceedance_probability(
    step_sizes: ArrayLike | Sequence[float],
    distances: ArrayLike | Sequence,
    threshold: float | int,
    ax: Axes | None = None,
    *,
    rare: float | None = None,
) -> Axes:
    """How often a distance exceeds a threshold, with exact binomial intervals, by step size.

    Args:
        step_sizes: (k,), positive.
        distances: (k, R), one for every run; one that is not finite exceeds.
        threshold: what it is compared with.
        ax: where to draw; a new figure if not given.
        rare: a probability to mark.

    Returns:
        The Axes.

    Raises:
        ValueError: a row of distances is empty, or the threshold is not finite.

    >>> import numpy as np
    >>> distances = np.outer([1.0, 0.5], np.linspace(0, 1, 40))
    >>> ax = exceedance_probability([0.1, 0.05], distances, 0.4, rare=0.05)
    >>> ax.get_ylabel()
    'probability that the distance exceeds 0.4'
    """
    steps, values = np.asarray(step_sizes, float), np.asarray(distances, float)
    with figure_style():
        ax = axes_or_new(ax)
        found = [exceedance(row, threshold) for row in values]
        words = "share of the runs, 95 % Clopper-Pearson interval"
        interval_bars(ax, steps, found, fmt="o-", label=words)
        if rare is not None:
            line = {"color": INK, "linewidth": 1.1, "linestyle": BROKEN}
            ax.axhline(rare, label=f"{100 * rare:g} %", **line)
        step_size_axis(ax, steps)
        ax.set_ylim(-0.03, 1.03)
        ax.set_ylabel(f"probability that the distance exceeds {threshold:g}")
        legend_below(ax, num_columns=2)
    return ax


def limit_as_steps_vanish(
    step_sizes: ArrayLike | Sequence[float],
    shares: ArrayLike | Sequence,
    ax: Axes | None = None,
    *,
    tolerance: float | None = None,
    degree: int = 1,
    weights: ArrayLike | Sequence | None = None,
    label: str = "share of the limit",
) -> Axes:
    """A quantity as a share of its predicted limit, by step size, and its extrapolation to zero.

    Args:
        step_sizes: (k,), positive.
        shares: (k, R), one for every run; those that are not finite are left out.
        ax: where to draw; a new figure if not given.
        tolerance: half the width of a band around 1; shaded.
        degree: of the polynomial in the step size that is fitted.
        weights: (k,), of the step sizes in the fit, see `convergence.extrapolate_to_zero`.
        label: of the vertical axis.

    Returns:
        The Axes.

    Raises:
        ValueError: fewer than two runs are finite at a step size; or, where a curve is fitted, two
            step sizes are equal or one is not positive.

    >>> import numpy as np
    >>> steps = np.array([0.4, 0.2, 0.1])
    >>> shares = 1 + 0.5 * steps[:, None] + 0.1 * np.random.default_rng(0).normal(size=(3, 99))
    >>> ax = limit_as_steps_vanish(steps, shares, tolerance=0.03)
    >>> bool(ax.get_xlim()[0] < 0)
    True
    """
    steps, values = np.asarray(step_sizes, float), np.asarray(shares, float)
    with figure_style():
        ax = axes_or_new(ax)
        means = [mean_interval(row) for row in values]
        if tolerance is not None:
            band = {"color": MUTED, "alpha": 0.15, "linewidth": 0}
            ax.axhspan(1 - tolerance, 1 + tolerance, label=f"1 ± {tolerance:g}", **band)
        error_bars(ax, steps, means, label="measured, three standard errors")
        if len(steps) > degree + 1:
            found = extrapolate_to_zero(steps, values, degree=degree, weights=weights)
            along = np.linspace(0.0, 1.05 * steps.max(), 50)
            line = np.polynomial.polynomial.polyval(along, found.coefficients)
            words = f"curve through them, at zero {found.limit:.4f} [{found.low:.4f}, "
            ax.plot(along, line, color=FIT, label=f"{words}{found.high:.4f}]")
            half = [[found.limit - found.low], [found.high - found.limit]]
            ax.errorbar(0, found.limit, half, fmt="s", color=FIT, markersize=4.5)
        ax.set_xlim(-0.04 * steps.max(), 1.08 * steps.max())
        ax.set(xlabel=r"step size $\alpha$", ylabel=label)
        legend_below(ax, num_columns=2)
    return ax


def shares_of_prediction(
    step_sizes: ArrayLike | Sequence[float],
    shares: ArrayLike,
    ax: Axes | None = None,
    *,
    line: ArrayLike | Sequence[float] | None = None,
    tolerance: float | None = None,
    label: str = "",
) -> Axes:
    """Measured values as shares of what a closed form says, against the step size.

    Args:
        step_sizes: the step sizes, (S,).
        shares: measured divided by predicted, (S, R), one row per step size.
        ax: where to draw; a new figure if not given. May hold other lines already.
        line: coefficients of a fitted polynomial in the step size, the constant first.
        tolerance: half width of a band around 1 to shade.
        label: name in the legend.

    Returns:
        The Axes.

    >>> import numpy as np
    >>> ax = shares_of_prediction([0.1, 0.05], np.ones((2, 4)), tolerance=0.03)
    >>> ax.get_ylabel()
    'measured / predicted'
    """
    steps, rows = np.asarray(step_sizes, float), np.asarray(shares, float)
    with figure_style():
        ax = axes_or_new(ax)
        color = CATEGORICAL[len(ax.containers) % len(CATEGORICAL)]
        usable = np.isfinite(rows).sum(axis=1) >= 2
        found = [mean_interval(row) for row in rows[usable]]
        interval_bars(ax, steps[usable], found, color=color, label=label or "mean, 95 % interval")
        if line is not None:
            x = np.linspace(0, 1.03 * steps.max(), 50)
            y = np.polynomial.polynomial.polyval(x, np.asarray(line, float))
            ax.plot(x, y, color=color if label else FIT, linewidth=1.2)
        if tolerance is not None and not ax.patches:
            ax.axhspan(1 - tolerance, 1 + tolerance, color=MUTED, alpha=0.13, linewidth=0)
        ax.axhline(1, color=INK, linewidth=1.0, linestyle=BROKEN)
        ax.set_xlim(0, 1.05 * max(steps.max(), ax.get_xlim()[1] / 1.05))
        ax.set_xlabel(r"step size $\alpha$")
        ax.set_ylabel("measured / predicted")
        legend_below(ax, num_columns=2)
    return ax


def several_orders(
    step_sizes: ArrayLike | Sequence[float],
    distances: Mapping[str, ArrayLike],
    ax: Axes | None = None,
    *,
    label: str = "mean over runs",
) -> Axes:
    """Several quantities against the step size, each with its fitted order; logarithmic axes.

    Args:
        step_sizes: (k,), positive, at least three.
        distances: by name, (k, R), positive; those that are not finite are left out.
        ax: where to draw; a new figure if not given.
        label: of the vertical axis.

    Returns:
        The Axes.

    Raises:
        ValueError: there are not three step sizes with two finite runs each, or a step size or a
            distance is not positive.

    >>> import numpy as np
    >>> steps, runs = np.array([[0.1], [0.05], [0.025]]), np.array([[0.9, 1.0, 1.1]])
    >>> ax = several_orders(steps[:, 0], {"half": steps**0.5 * runs, "one": steps * runs})
    >>> [text.get_text()[:4] for text in ax.get_legend().get_texts()]
    ['half', 'one:']
    """
    steps = np.asarray(step_sizes, float)
    with figure_style():
        ax = axes_or_new(ax)
        for i, (name, values) in enumerate(distances.items()):
            rows = np.asarray(values, float)
            order, color = fit_order(steps, rows), CATEGORICAL[i % len(CATEGORICAL)]
            ends = np.array([0.9 * steps.min(), 1.1 * steps.max()])
            ax.plot(ends, order.constant * ends**order.slope, color=color, linewidth=1.2)
            error_bars(
                ax,
                steps,
                [mean_interval(row) for row in rows],
                num_errors=1.96,
                fmt=_MARKERS[i % len(_MARKERS)],
                color=color,
                label=f"{name}: order {order.slope:.3f} [{order.low:.3f}, {order.high:.3f}]",
            )
        step_size_axis(ax, steps)
        ax.set_yscale("log")
        ax.set_ylabel(label)
        legend_below(ax)
    return ax


def paths_and_solutions(
    times: ArrayLike | Sequence[float],
    paths: ArrayLike | Sequence,
    solutions: ArrayLike | Sequence,
    ax: Axes | None = None,
    *,
    label: str = r"$u_\alpha(s)$",
) -> Axes:
    """Paths of one number over flow time, over a set of solutions of the gradient inclusion.

    Args:
        times: (T,).
        paths: (R, T), paths of SGD.
        solutions: (S, T), some of the solutions.
        ax: where to draw; a new figure if not given.
        label: of the vertical axis.

    Returns:
        The Axes.

    >>> import numpy as np
    >>> times = np.linspace(0, 1, 5)
    >>> ax = paths_and_solutions(times, np.zeros((2, 5)), np.stack([times, -times]))
    >>> len(ax.get_lines())
    4
    """
    at = np.asarray(times, float)
    with figure_style():
        ax = axes_or_new(ax)
        for i, row in enumerate(np.asarray(solutions, float)):
            name = "solutions of the inclusion" if i == 0 else None
            style = {"linewidth": 0.9, "linestyle": BROKEN, "alpha": 0.7, "zorder": 3}
            ax.plot(at, row, color=INK, label=name, **style)
        for i, row in enumerate(np.asarray(paths, float)):
            name = "runs of SGD" if i == 0 else None
            ax.plot(at, row, color=CATEGORICAL[0], linewidth=0.8, alpha=0.6, label=name)
        ax.set(xlabel=r"flow time $s = \alpha t$", ylabel=label)
        legend_below(ax, num_columns=2)
    return ax
