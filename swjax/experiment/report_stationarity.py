"""What the report of a study of long runs shows besides its claims: figures, and their worth."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from swjax import plot
from swjax.convergence import extrapolate_to_zero
from swjax.experiment import report_html as html
from swjax.experiment.build import build
from swjax.experiment.report_html import Column, Html, tag
from swjax.experiment.stationary_statistics import VARIABLE_OF, parts_of, shares_of_prediction
from swjax.experiment.study import StationarityStudy

# Name, title, caption, draw: what `report_figures` makes a drawing of.
Sketch = tuple[str, str, str, Callable[[Axes], object]]


def sketches(study: StationarityStudy, ran: xr.Dataset) -> Iterator[Sketch]:
    """The figures of a study of long runs, arm by arm.

    Args:
        study: the study.
        ran: the results of the step sizes that have run.
    """
    for arm in study.schemes:
        several = len(study.schemes) > 1
        suffix, of_arm = (f"-{arm}", f", {arm}") if several else ("", "")
        yield from _of_arm(study, ran, arm, suffix, of_arm)
    yield from _predictions(study, ran)


def _of_arm(
    study: StationarityStudy, ran: xr.Dataset, arm: str, suffix: str, of_arm: str
) -> Iterator[Sketch]:
    parts, burn_in = parts_of(ran, arm), study.burn_in
    if not parts:
        return
    orders = {VARIABLE_OF[each.part]: each.order for each in study.expect.orders}
    main = "residual" if "residual" in parts else "distance"
    draw = lambda ax: plot.critical_quantiles(ran, ax, arm=arm, burn_in=burn_in, orders=orders)
    yield f"long-run{suffix}", f"The long run against the step size{of_arm}", _QUANTILES, draw
    rare = study.expect.rare
    if main == "residual":
        threshold = rare.eta if rare else None
        draw = lambda ax: plot.residual_distribution(
            ran, ax, arm=arm, burn_in=burn_in, threshold=threshold
        )
        words = f"{_RESIDUAL} {_GOLDSTEIN}" if "goldstein" in ran else _RESIDUAL
        yield f"residual{suffix}", f"How large the residuals are{of_arm}", words, draw
    if rare is not None:
        thresholds = [rare.eta / 2, rare.eta, 2 * rare.eta]
        draw = lambda ax: plot.rarity(
            ran,
            ax,
            thresholds=thresholds,
            arm=arm,
            variable=VARIABLE_OF[rare.part],
            at_most=rare.at_most,
        )
        yield f"rarity{suffix}", f"How few runs are far{of_arm}", _RARITY, draw
    draw = lambda ax: plot.distance_over_time(
        ran, ax, arm=arm, variable=VARIABLE_OF[main], burn_in=burn_in
    )
    yield f"time{suffix}", f"Over flow time{of_arm}", _TIME, draw


def _predictions(study: StationarityStudy, ran: xr.Dataset) -> Iterator[Sketch]:
    """Measured values as shares of their closed forms, all arms in one figure."""
    if study.critical_set.kind != "closed_form":
        return
    with jax.enable_x64(study.precision == "float64"):
        critical = build(study).critical
    lines = []
    for arm, found in zip(study.schemes, critical, strict=True):
        for part, prediction in found.predictions.items():
            shares = shares_of_prediction(study, ran, arm, part, prediction)
            lines.append((arm, ran["step_size"].values, shares, prediction.is_exact))
    if not lines:
        return
    tolerances = [each.tolerance for each in study.expect.constants]

    def draw(ax: Axes) -> None:
        for arm, sizes, shares, is_exact in lines:
            plot.shares_of_prediction(
                sizes,
                shares,
                ax,
                line=_fitted(sizes, shares, is_exact),
                tolerance=min(tolerances) if tolerances else None,
                label=arm if len(lines) > 1 else "",
            )

    yield "shares", "Measured against the closed form", _SHARES, draw


def _fitted(sizes: np.ndarray, shares: np.ndarray, is_exact: bool) -> np.ndarray | None:
    try:
        return extrapolate_to_zero(sizes, shares, degree=0 if is_exact else 1).coefficients
    except ValueError:
        return None


_QUANTILES = (
    "Root mean square over runs and over the time after burn-in; the band reaches from the median "
    "(from the root mean square, where the median is zero) to the 95 % quantile. Broken lines have "
    "the slopes expected. Both axes are logarithmic."
)
_RESIDUAL = (
    "Distribution over runs and over the time after burn-in of the length of a projected gradient "
    "step of the exact expected loss, divided by its size: zero exactly at critical points."
)
_GOLDSTEIN = (
    "Broken: the least norm found in the Goldstein subdifferential at the last iterate of every "
    "run, an upper bound of its distance to zero; a small value certifies, a large one proves "
    "nothing."
)
_RARITY = (
    "Share of runs whose last iterate is farther than a threshold, with Clopper-Pearson intervals; "
    "the dotted line is the share that the claim allows."
)
_TIME = "Root mean square over runs; records inside the shaded burn-in are not used."
_SHARES = (
    "Time averages after burn-in divided by the closed form, with 95 % intervals over runs, and "
    "the fitted line whose value at 0 is judged (a constant where the form is exact)."
)


def sampling_section(summary: dict[str, Any], study: Any) -> Html:
    """The table of autocorrelation times and effective sample sizes; empty for other studies."""
    rows = summary.get("sampling") or []
    if not rows:
        return Html()
    several = len({row["arm"] for row in rows}) > 1
    columns = [Column("scheme", "text")] * several + [Column("squares of", "text")]
    columns += [
        Column(title)
        for title in (
            "step size α",
            "autocorrelation time (flow time)",
            "in steps",
            "records per run",
            "runs",
            "effective samples",
            "drift after burn-in, in %",
        )
    ]
    body = [
        [
            *([row["arm"]] * several),
            row["part"],
            f"{row['step_size']:.10g}",
            _time(row),
            html.number(row["in_steps"]) if row["resolved"] else "–",
            row["records_per_run"],
            row["num_runs"],
            f"{row['effective_sample_size']:.0f}",
            html.with_interval(100 * row["drift"], 100 * row["drift_low"], 100 * row["drift_high"]),
        ]
        for row in rows
    ]
    words = (
        f"Records up to flow time {study.burn_in:g} are left out as burn-in. Intervals are over "
        "runs, which are independent; the records of one run are not. The integrated "
        "autocorrelation time tau, with its standard error, says what they are worth: as many as "
        "(records of all runs) x spacing / tau independent ones. Where it is below the spacing of "
        "the records, these count as independent. Drift is the mean square in the second half of "
        "the time after burn-in minus that in the first half, as a share of it."
    )
    short = [row for row in rows if not row["long_enough"]]
    if short:
        words += (
            f" In {len(short)} of {len(rows)} rows a run is shorter than ten autocorrelation "
            "times, so that the time may be underestimated."
        )
    return html.section(
        "Long runs: what their averages are worth", tag("p", words), html.table(columns, body)
    )


def _time(row: dict[str, Any]) -> str:
    if not row["resolved"]:
        return "below the spacing"
    return f"{html.number(row['autocorrelation_time'])} ± {html.number(row['standard_error'], 1)}"
