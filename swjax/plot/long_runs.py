"""Figures of long runs: distances to the critical set against the step size, and their spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from swjax.convergence import exceedance
from swjax.plot._bars import interval_bars
from swjax.plot._style import (
    BROKEN,
    CATEGORICAL,
    INK,
    MUTED,
    NO_RUN,
    axes_or_new,
    figure_style,
    format_step_sizes,
    legend_below,
    legend_outside,
    logarithmic_if_positive,
    say_instead,
    sequential_colors,
    step_size_axis,
)
from swjax.plot.results import dataset_of, finite_runs, need, one_arm, sorted_by_step

_LABEL = {
    "critical_distance": "distance to the critical set",
    "tangential": "distance along the sphere",
    "radial": "distance to the sphere",
    "residual": r"residual $|u - \pi_r(u - t\,\nabla F(u))|\,/\,t$",
}


def critical_quantiles(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    variables: Sequence[str] | None = None,
    burn_in: float = 0.0,
    orders: Mapping[str, float] | None = None,
) -> Axes:
    r"""Distances to the critical set in the long run against the step size, on logarithmic axes.

    Markers are root mean squares over runs and times after burn-in, the band reaches from the
    median (from the root mean square, where the median is zero) to the 95 % quantile. Broken
    lines have the slopes that are expected. Diverged runs are left out.

    Args:
        results: a sweep, or a dataset with `critical_distance`, `tangential`, `radial` or
            `residual` (step_size, repetition, time); see `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        variables: which of the four; by default `tangential` and `radial` where they are there,
            else the one that is there.
        burn_in: flow time whose records are not used.
        orders: slopes of the broken lines by variable; none by default.

    Returns:
        The Axes.

    Raises:
        ValueError: the results hold none of the variables, or several arms and none is chosen.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> distance = np.sqrt([0.1, 0.05])[:, None, None] * np.ones((2, 8, 3))
    >>> results = as_results([0.1, 0.05], [0, 1, 2], critical_distance=distance)
    >>> ax = critical_quantiles(results, orders={"critical_distance": 0.5})
    >>> ax.get_xscale(), ax.get_yscale()
    ('log', 'log')
    """
    dataset = sorted_by_step(one_arm(dataset_of(results), arm))
    names = list(variables) if variables is not None else _shown(dataset)
    need(dataset, *names)
    steps = dataset["step_size"].values
    with figure_style():
        ax = axes_or_new(ax)
        ends = np.array([0.9 * steps.min(), 1.1 * steps.max()])
        for name, color in zip(names, CATEGORICAL, strict=False):
            values = _late(dataset, name, burn_in)
            rows = [row[np.isfinite(row)] for row in values.reshape(len(steps), -1)]
            usable = np.array([row.size > 0 for row in rows])
            if not usable.any():
                continue
            kept = [row for row in rows if row.size]
            rms = np.array([np.sqrt(np.mean(np.square(row, dtype=float))) for row in kept])
            half, most = np.array([np.quantile(row, [0.5, 0.95]) for row in kept]).T
            least = np.where(half > 0.01 * rms, half, rms)  # half of the runs may be on the sphere
            ax.fill_between(steps[usable], least, most, color=color, alpha=0.16, linewidth=0)
            ax.plot(steps[usable], rms, "o-", color=color, markersize=4.5, label=_LABEL[name])
            order = (orders or {}).get(name)
            if order is not None:
                # Parallel below the data, from the smallest step size on.
                factor = 0.6 * rms[-1] / steps[usable][-1] ** order
                line = {"color": color, "linewidth": 1.1, "linestyle": BROKEN}
                ax.plot(ends, factor * ends**order, label=f"slope {order:.3g}", **line)
        step_size_axis(ax, steps)
        logarithmic_if_positive(ax)
        ax.set_ylabel("root mean square; band: 50 % to 95 %")
        legend_below(ax, num_columns=2)
    return ax


def rarity(
    results: Any,
    ax: Axes | None = None,
    *,
    thresholds: Sequence[float],
    arm: str | None = None,
    variable: str | None = None,
    at_most: float | None = None,
) -> Axes:
    """The share of runs that end farther than a threshold, with Clopper-Pearson intervals.

    Args:
        results: a sweep, or a dataset as in `critical_quantiles`.
        ax: where to draw; a new figure if not given.
        thresholds: distances, one line each.
        arm: which scheme, when the results compare several.
        variable: which distance; by default the first that is there.
        at_most: a share to mark by a dotted line.

    Returns:
        The Axes.

    Raises:
        ValueError: the results do not hold such a distance, or several arms and none is chosen.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> distance = np.sqrt([0.1, 0.05])[:, None, None] * np.ones((2, 8, 1))
    >>> results = as_results([0.1, 0.05], [1.0], critical_distance=distance)
    >>> len(rarity(results, thresholds=[0.2, 0.3]).get_legend().get_texts())
    2
    """
    dataset = sorted_by_step(one_arm(dataset_of(results), arm))
    name = variable or _shown(dataset, first_only=True)[0]
    need(dataset, name)
    steps = dataset["step_size"].values
    last = dataset[name].isel(time=-1).transpose("step_size", "repetition").values
    with figure_style():
        ax = axes_or_new(ax)
        for i, threshold in enumerate(thresholds):
            found = [exceedance(row, threshold) for row in last]
            aside = steps * np.exp(0.02 * (i - (len(thresholds) - 1) / 2))
            label = f"farther than {threshold:.3g}"
            color = CATEGORICAL[i % len(CATEGORICAL)]
            interval_bars(ax, aside, found, fmt="o-", linewidth=1.2, color=color, label=label)
        if at_most is not None:
            ax.axhline(at_most, color=INK, linewidth=1.0, linestyle=":")
        step_size_axis(ax, steps)
        ax.set_ylim(-0.02, 1.02)
        ax.set_ylabel("share of runs at the end")
        legend_below(ax, num_columns=len(thresholds))
    return ax


def residual_distribution(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    variable: str = "residual",
    burn_in: float = 0.0,
    threshold: float | None = None,
) -> Axes:
    """The distribution function of the residual in the long run, one line per step size.

    Where the results hold Goldstein certificates of the last iterates, their distribution is
    drawn as broken lines.

    Args:
        results: a sweep, or a dataset with `residual` (step_size, repetition, time), and
            `goldstein` (step_size, repetition) if there is one; see `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        variable: `"residual"` or one of the distances.
        burn_in: flow time whose records are not used.
        threshold: a residual to mark by a dotted line.

    Returns:
        The Axes.

    Raises:
        ValueError: the results do not hold the variable, or several arms and none is chosen.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> residual = np.abs(np.random.default_rng(0).normal(size=(2, 8, 3)))
    >>> ax = residual_distribution(as_results([0.1, 0.05], [0, 1, 2], residual=residual))
    >>> ax.get_xscale()
    'log'
    """
    dataset = sorted_by_step(one_arm(dataset_of(results), arm))
    need(dataset, variable)
    steps = dataset["step_size"].values
    values = _late(dataset, variable, burn_in)
    with figure_style():
        ax = axes_or_new(ax)
        labels, colors = format_step_sizes(steps), sequential_colors(len(steps))
        for row, label, color in zip(values, labels, colors, strict=True):
            _steps_up(ax, row.ravel(), color=color, label=label)
        if "goldstein" in dataset:
            good = finite_runs(dataset, dataset["goldstein"])
            rows = good.transpose("step_size", "repetition").values
            for row, color in zip(rows, colors, strict=True):
                _steps_up(ax, row, color=color, linestyle=BROKEN, linewidth=1.1)
            ax.plot([], [], color=MUTED, linestyle=BROKEN, label="Goldstein, at the end")
        if threshold is not None:
            ax.axvline(threshold, color=INK, linewidth=1.0, linestyle=":")
        if not np.isfinite(values).any():
            say_instead(ax, NO_RUN)
        ax.set_xscale("log")
        ax.set_ylim(0, 1.01)
        ax.set_xlabel(_LABEL.get(variable, variable))
        ax.set_ylabel("share of runs and times below")
        legend_outside(ax, title=r"step size $\alpha$")
    return ax


def distance_over_time(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    variable: str | None = None,
    burn_in: float | None = None,
) -> Axes:
    """Root mean square over runs of the distance to the critical set, over flow time.

    Args:
        results: a sweep, or a dataset as in `critical_quantiles`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        variable: which distance; by default the first that is there.
        burn_in: flow time before which the background is shaded.

    Returns:
        The Axes.

    Raises:
        ValueError: the results do not hold such a distance, or several arms and none is chosen.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> distance = np.exp(-np.arange(4.0)) * np.ones((2, 8, 4))
    >>> ax = distance_over_time(as_results([0.1, 0.05], range(4), critical_distance=distance))
    >>> ax.get_yscale()
    'log'
    """
    dataset = sorted_by_step(one_arm(dataset_of(results), arm))
    name = variable or _shown(dataset, first_only=True)[0]
    need(dataset, name)
    values = dataset[name]
    if "diverged_at" in dataset:
        values = values.where(dataset["diverged_at"] < 0)
    values = values.isel(time=np.flatnonzero(values.notnull().any(["step_size", "repetition"])))
    squares = (values.astype(float) ** 2).mean("repetition")
    with figure_style():
        ax = axes_or_new(ax)
        steps = dataset["step_size"].values
        for size, label, color in zip(
            steps, format_step_sizes(steps), sequential_colors(len(steps)), strict=True
        ):
            line = squares.sel(step_size=size)
            rms = np.sqrt(line.values)
            ax.plot(line["time"].values, rms, color=color, label=label, linewidth=1.2)
        if burn_in:
            ax.axvspan(0, burn_in, color=MUTED, alpha=0.13, linewidth=0)
            place = {"xycoords": ("data", "axes fraction"), "va": "top", "ha": "left"}
            ax.annotate(" burn-in", (0, 0.99), color=MUTED, fontsize=8.5, **place)
        logarithmic_if_positive(ax)
        ax.set_xlim(0, float(dataset["time"][-1]))
        ax.set_xlabel("flow time $s$")
        ax.set_ylabel(f"rms {_LABEL[name]}")
        legend_outside(ax, title=r"step size $\alpha$")
    return ax


def _shown(dataset: xr.Dataset, *, first_only: bool = False) -> list[str]:
    held = [name for name in _LABEL if name in dataset and bool(dataset[name].notnull().any())]
    if not held:
        raise ValueError(
            f"the results have none of {', '.join(_LABEL)}; they hold "
            f"{', '.join(map(str, dataset)) or 'nothing'}"
        )
    if not first_only and "radial" in held:
        return [name for name in held if name != "critical_distance"]
    return held[:1]


def _late(dataset: xr.Dataset, name: str, burn_in: float) -> np.ndarray:
    """Records after burn-in (step_size, repetition, time), NaN for runs that diverged."""
    values = finite_runs(dataset, dataset[name])
    values = values.isel(time=np.flatnonzero(values["time"].values >= burn_in * (1 - 1e-9)))
    return values.transpose("step_size", "repetition", "time").values


def _steps_up(ax: Axes, values: np.ndarray, **style: Any) -> None:
    values = np.sort(values[np.isfinite(values)])
    if not values.size:
        return
    if values.size > 2000:  # as many points as a figure can show
        values = np.quantile(values, np.linspace(0, 1, 2001))
    share = np.arange(1, values.size + 1) / values.size
    ax.step(values, share, where="post", **style)
