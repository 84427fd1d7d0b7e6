"""Figures with flow time on the horizontal axis: distance to the flow, loss, norms."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from swjax.plot._style import (
    CATEGORICAL,
    INK,
    LINE_STYLES,
    MUTED,
    axes_or_new,
    figure_style,
    format_step_sizes,
    legend_outside,
    logarithmic_if_positive,
    note_above,
    sequential_colors,
)
from swjax.plot.results import (
    arm_names,
    dataset_of,
    finite_runs,
    need,
    one_arm,
    sorted_by_step,
)

_FEW_TIMES = 30
TIME = r"flow time $s = \alpha t$"


def paths_against_flow(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    quantiles: tuple[float, float] = (0.25, 0.75),
) -> Axes:
    r"""Distance of the interpolated iterates to the gradient flow over flow time.

    One line per step size: the mean over repetitions of :math:`|u_\alpha(s) - u(s)|`, on a
    logarithmic axis, in a band between two quantiles of the repetitions. Runs that diverged are
    left out.

    Args:
        results: a sweep, or a dataset with `distance` (step_size, repetition, time); `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        quantiles: lower and upper edge of the band.

    Returns:
        The Axes.

    Raises:
        ValueError: the results have no `distance`, or several arms and none is chosen.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> distance = np.ones((2, 8, 3)) * np.array([0.0, 1.0, 0.5])
    >>> ax = paths_against_flow(as_results([0.1, 0.05], [0, 1, 2], distance=distance))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['0.1', '0.05']
    """
    with figure_style():
        ax = axes_or_new(ax)
        dataset = sorted_by_step(one_arm(dataset_of(results), arm))
        need(dataset, "distance")
        distance = finite_runs(dataset, dataset["distance"])
        later = distance["time"].values > 0  # all paths start on the flow: log 0
        _bands_per_step_size(ax, distance.isel(time=later), quantiles)
        logarithmic_if_positive(ax)
        ax.set(xlabel=TIME, ylabel=r"distance to the flow  $|u_\alpha(s) - u(s)|$")
        _line_of_flow_error(ax, dataset)
        legend_outside(ax, r"step size $\alpha$")
    return ax


def loss_against_time(
    results: Any,
    ax: Axes | None = None,
    *,
    arm: str | None = None,
    step_size: float | None = None,
    variable: str = "loss",
    quantiles: tuple[float, float] = (0.25, 0.75),
) -> Axes:
    r"""Loss over flow time, with the loss of the gradient flow where it is known.

    With one arm (or one chosen), a line per step size; with several arms, a line per arm at one
    step size. Lines are means over the repetitions that did not diverge. Around the expected loss
    bands lie between two quantiles; single minibatches scatter too much for that.

    Args:
        results: a sweep, or a dataset with `loss` (arm, step_size, repetition, time) and perhaps
            `flow_loss` (time,); see `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme; all of them by default.
        step_size: which step size when several arms are shown; the smallest by default.
        variable: `"loss"` for the expected loss, `"sample_loss"` for that of the minibatches.
        quantiles: lower and upper edge of the band.

    Returns:
        The Axes.

    Raises:
        ValueError: the results do not hold the variable, or not the arm or step size asked for.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> loss = np.ones((2, 8, 3)) * np.array([1.0, 0.3, 0.01])
    >>> ax = loss_against_time(as_results([0.1, 0.05], [0, 1, 2], loss=loss))
    >>> ax.get_yscale()
    'log'
    """
    band = quantiles if variable == "loss" else None
    with figure_style():
        ax = axes_or_new(ax)
        dataset = dataset_of(results)
        need(dataset, variable)
        if arm is not None or len(arm_names(dataset)) == 1:
            dataset = sorted_by_step(one_arm(dataset, arm))
            _bands_per_step_size(ax, finite_runs(dataset, dataset[variable]), band)
            title = r"step size $\alpha$"
        else:
            dataset = _at_step_size(dataset, step_size)
            values = finite_runs(dataset, dataset[variable])
            for i, name in enumerate(arm_names(dataset)):
                style = {"color": CATEGORICAL[i % 6], "linestyle": LINE_STYLES[i % 6]}
                _band(ax, values.isel(arm=i), band, label=name, **style)
            title = r"$\alpha =$ " + format_step_sizes([float(dataset["step_size"])])[0]
        if "flow_loss" in dataset:
            flow = dataset["flow_loss"]
            others = [d for d in flow.dims if d != "time"]  # one flow per repetition: their mean
            line = {"color": INK, "linewidth": 1.3, "linestyle": "--", "label": "gradient flow"}
            halo = [withStroke(linewidth=3.0, foreground="white")]
            ax.plot(flow["time"], flow.mean(others), path_effects=halo, **line)
        label = _loss_label(dataset) if variable == "loss" else "mean minibatch loss"
        ax.set(xlabel=TIME, ylabel=label)
        _logarithmic_if_it_spans(ax, dataset[variable].values)
        legend_outside(ax, title)
    return ax


def _loss_label(dataset: xr.Dataset) -> str:
    """The axis of the expected loss; the results say where it is not F itself."""
    symbol = dataset["loss"].attrs.get("symbol", r"F(u_\alpha(s))")
    return f"loss  ${symbol}$"


def norms_in_ball(
    results: Any,
    ax: Axes | None = None,
    *,
    radii: Mapping[str, float | None] | None = None,
    step_size: float | None = None,
) -> Axes:
    r"""Largest parameter norm so far, over all steps and runs, against the radius of the ball.

    Runs that diverged are drawn, and may leave the axis, which is made for the others.

    Args:
        results: a sweep, or a dataset with `max_norm` (arm, step_size, repetition, time), the
            largest :math:`|u^t|` over *all* steps up to that time; see `as_results`.
        ax: where to draw; a new figure if not given.
        radii: radius of the ball each arm is projected on; None for an arm without projection. By
            default those that the results name.
        step_size: which step size; the largest norm over all of them by default.

    Returns:
        The Axes.

    Raises:
        ValueError: the results have no `max_norm` or not the step size, or `radii` misses an arm.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> norm = np.ones((1, 8, 3)) * np.array([0.0, 1.0, 2.0])
    >>> results = as_results([0.1], [0, 1, 2], max_norm=norm)
    >>> ax = norms_in_ball(results, radii={"sgd": 2.0})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['sgd\n$\\max|u|/r$ = 1.0000000']
    """
    with figure_style():
        ax = axes_or_new(ax)
        dataset = dataset_of(results)
        need(dataset, "max_norm")
        if step_size is not None:
            dataset = _at_step_size(dataset, step_size)
        names = arm_names(dataset)
        radii = _named_radii(dataset) if radii is None else radii
        missing = [name for name in names if name not in radii]
        if missing:
            raise ValueError(f"radii has no entry for {', '.join(missing)}; None means no ball")
        for i, name in enumerate(names):
            arm = dataset["max_norm"].isel(arm=i) if "arm" in dataset.dims else dataset["max_norm"]
            largest = arm.max([d for d in arm.dims if d != "time"], skipna=True)
            ratio = _share_of_radius(float(largest[-1]), radii[name])
            style = {"color": CATEGORICAL[i % 6], "linestyle": LINE_STYLES[i % 6]}
            ax.plot(largest["time"], largest, label=f"{name}{ratio}", **style)
        for radius in sorted({r for r in radii.values() if r is not None}):
            mine = [i for i, name in enumerate(names) if radii[name] == radius]
            _line_of_radius(ax, radius, CATEGORICAL[mine[0] % 6] if len(mine) == 1 else INK)
        ax.margins(y=0.1)
        top = _top_of_finite_runs(dataset, radii)
        ax.set_ylim(0, top)
        if top is not None:
            note_above(ax, "runs that diverged may leave the axis")
        ax.set(xlabel=TIME, ylabel=r"largest norm so far  $\max_{t\alpha \leq s} |u^t|$")
        legend_outside(ax, "scheme")
    return ax


def _named_radii(dataset: xr.Dataset) -> dict[str, float | None]:
    """The radii that a sweep notes with its results, by arm; no ball where it notes none."""
    names = arm_names(dataset)
    noted = json.loads(dataset.attrs.get("radius", "[]")) or [None] * len(names)
    if len(noted) != len(names):
        raise ValueError(f"the results note {len(noted)} radii for {len(names)} arms; give radii")
    return dict(zip(names, noted, strict=True))


def _share_of_radius(norm: float, radius: float | None) -> str:
    if radius is None or not np.isfinite(norm):
        return ""
    return f"\n$\\max|u|/r$ = {norm / radius:.7f}"


def _top_of_finite_runs(dataset: xr.Dataset, radii: Mapping[str, float | None]) -> float | None:
    """Where the vertical axis ends so that it shows every run that stayed finite, and every ball.

    None, for the end that suits all that is drawn, if no run diverged or none stayed finite.
    """
    kept = finite_runs(dataset, dataset["max_norm"]).values
    if np.isfinite(kept).all() or not np.isfinite(kept).any():
        return None
    return 1.1 * max([float(np.nanmax(kept)), *(r for r in radii.values() if r is not None)])


def _line_of_radius(ax: Axes, radius: float, color: str) -> None:
    ax.axhline(radius, linestyle=":", linewidth=1.2, color=color)
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
    ax.annotate(f"$r$ = {radius:g}", (1, radius), (-2, 3), color=color, fontsize=8.5, **place)


def _at_step_size(dataset: xr.Dataset, step_size: float | None) -> xr.Dataset:
    """The results at one step size, the smallest by default."""
    if "step_size" not in dataset.dims:
        return dataset
    steps = dataset["step_size"].values
    wanted = float(steps.min()) if step_size is None else step_size
    index = int(np.argmin(np.abs(steps - wanted)))
    if not np.isclose(steps[index], wanted, rtol=1e-6, atol=0):
        raise ValueError(f"no step size {wanted:g} in the results; there are {steps.tolist()}")
    return dataset.isel(step_size=index)


def _bands_per_step_size(
    ax: Axes, values: xr.DataArray, quantiles: tuple[float, float] | None
) -> None:
    steps = values["step_size"].values
    labels = format_step_sizes(steps.tolist())
    for i, color in enumerate(sequential_colors(len(steps))):
        _band(ax, values.isel(step_size=i), quantiles, color=color, label=labels[i])


def _band(
    ax: Axes, values: xr.DataArray, quantiles: tuple[float, float] | None, label: str, **style
) -> None:
    """Mean over the runs that did not diverge, with a band; none left is said in the legend."""
    runs = values.transpose("repetition", "time").values
    runs = runs[np.isfinite(runs).any(axis=1)]
    recorded = np.isfinite(runs).all(axis=0)
    if len(runs) == 0 or not recorded.any():
        ax.plot([], [], label=f"{label} (no finite run)", **style)
        return
    times, runs = values["time"].values[recorded], runs[:, recorded]
    if quantiles is not None:
        low, high = np.quantile(runs, quantiles, axis=0)
        ax.fill_between(times, low, high, color=style["color"], alpha=0.15, linewidth=0)
    marker = "o" if len(times) <= _FEW_TIMES else ""  # straight pieces between them mean nothing
    ax.plot(times, runs.mean(axis=0), label=label, marker=marker, markersize=3, **style)


def _line_of_flow_error(ax: Axes, dataset: xr.Dataset) -> None:
    """Where the reference itself is uncertain, if that is anywhere near the distances shown."""
    error = float(dataset["flow_error"]) if "flow_error" in dataset else 0.0
    bottom = ax.get_ylim()[0]
    if ax.get_yscale() == "log" and np.isfinite(error) and error > bottom / 3:
        ax.axhline(error, color=MUTED, linestyle=":", label="error of the\nreference flow")


def _logarithmic_if_it_spans(ax: Axes, values, ratio: float = 15.0) -> None:
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > ratio * finite.min():
        ax.set_yscale("log")
