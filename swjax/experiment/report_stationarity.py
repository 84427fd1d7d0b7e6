"""The figures of a study of long runs, and what each of them shows, in words."""

from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from swjax import plot
from swjax.convergence import extrapolate_to_zero
from swjax.experiment.build import build
from swjax.experiment.report_sketch import Sketch, by_arm
from swjax.experiment.stationary_statistics import VARIABLE_OF, parts_of, shares_of_prediction
from swjax.experiment.study import StationarityStudy


def stationarity_sketches(study: StationarityStudy, ran: xr.Dataset) -> Iterator[Sketch]:
    """The figures of a study of long runs, arm by arm.

    Args:
        study: the study.
        ran: the results of the step sizes that have run.
    """
    yield from by_arm(study.schemes, lambda arm: _of_arm(study, ran, arm))
    yield from _predictions(study, ran)


def _of_arm(study: StationarityStudy, ran: xr.Dataset, arm: str) -> Iterator[Sketch]:
    parts, burn_in = parts_of(ran, arm), study.burn_in
    if not parts:
        return
    orders = {VARIABLE_OF[each.part]: each.order for each in study.expect.orders}
    main = "residual" if "residual" in parts else "distance"
    draw = partial(plot.critical_quantiles, ran, arm=arm, burn_in=burn_in, orders=orders)
    yield Sketch("long-run", "The long run against the step size", _QUANTILES, draw)
    rare = study.expect.rare
    if main == "residual":
        threshold = rare.eta if rare else None
        draw = partial(
            plot.residual_distribution, ran, arm=arm, burn_in=burn_in, threshold=threshold
        )
        words = f"{_RESIDUAL} {_GOLDSTEIN}" if "goldstein" in ran else _RESIDUAL
        yield Sketch("residual", "How large the residuals are", words, draw)
    if rare is not None:
        thresholds = [rare.eta / 2, rare.eta, 2 * rare.eta]
        draw = partial(
            plot.rarity,
            ran,
            thresholds=thresholds,
            arm=arm,
            variable=VARIABLE_OF[rare.part],
            at_most=rare.at_most,
        )
        yield Sketch("rarity", "How few runs are far", _RARITY, draw)
    draw = partial(
        plot.distance_over_time, ran, arm=arm, variable=VARIABLE_OF[main], burn_in=burn_in
    )
    yield Sketch("time", "Over flow time", _TIME, draw)


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

    def draw(ax: Axes) -> Axes:
        for arm, sizes, shares, is_exact in lines:
            plot.shares_of_prediction(
                sizes,
                shares,
                ax,
                line=_fitted(sizes, shares, is_exact),
                tolerance=min(tolerances) if tolerances else None,
                label=arm if len(lines) > 1 else "",
            )
        return ax

    yield Sketch("shares", "Measured against the closed form", _SHARES, draw)


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
