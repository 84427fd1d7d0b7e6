"""The figures of a flow study, and what each of them shows, in words."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import xarray as xr

from swjax import plot
from swjax.convergence import Order
from swjax.experiment.claims_closed_form import closed_form_claims
from swjax.experiment.claims_extrapolated import side_by_side
from swjax.experiment.claims_limits import scaled_biases, scaled_squares
from swjax.experiment.closed_form import is_above_minimum, moments, scale_problem
from swjax.experiment.distances import compact_distances, run_distances
from swjax.experiment.order_claim import judged_order
from swjax.experiment.report_html import number
from swjax.experiment.report_sketch import Sketch, by_arm, loss_sketch
from swjax.experiment.study import FlowStudy
from swjax.plot.results import finite_runs

# The measurement that the figure of the fluctuation shows, by its name in the summary.
SQUARES = "mean square deviation / step size"
_MOST_PATHS = 40


def flow_sketches(study: FlowStudy, ran: xr.Dataset) -> Iterator[Sketch]:
    """The figures of a flow study, arm by arm, the main one first.

    Args:
        study: the study.
        ran: the results of the step sizes that have run.
    """
    return by_arm(study.schemes, lambda arm: _of_arm(study, ran, arm))


def _of_arm(study: FlowStudy, ran: xr.Dataset, arm: str) -> Iterator[Sketch]:
    if study.expect.order is not None:
        yield _order(study, ran, arm)
    if study.expect.eta is not None:
        yield _rarity(study, ran, arm)
    if study.record.piecewise_constant and ran.sizes["step_size"] > 2:
        yield _interpolations(study, ran, arm)
    if study.expect.limits is not None and ran.sizes["step_size"] > 2:
        yield from _limits(study, ran, arm)
    if study.reference.kind == "solution_set":
        yield _solutions(study, ran, arm)
    else:
        yield Sketch(
            "paths",
            "Distance to the flow over flow time",
            f"{_PATHS} {_words_of_flow_error(ran)}",
            partial(plot.paths_against_flow, ran, arm=arm),
        )
    if "path" in ran and "flow_path" in ran and ran.sizes["parameter"] == 2:
        draw = partial(plot.paths_in_plane, ran, arm=arm)
        yield Sketch("plane", "The paths themselves", _PLANE, draw)
    if study.reference.kind == "closed_form" and moments(study, arm) is not None:
        yield _fluctuation(study, ran, arm)
    yield loss_sketch(ran, partial(plot.loss_against_time, _same_loss(study, ran), arm=arm))


def _order(study: FlowStudy, ran: xr.Dataset, arm: str) -> Sketch:
    distances = run_distances(study, ran)
    one_time = ran.drop_vars("distance").assign(distance=distances.values)
    order, what = _order_of_arm(study, ran, arm), distances.words.rstrip(",")
    return Sketch(
        "order",
        "Order of convergence",
        f"Mean over repetitions of {what}, {_ORDER} {_words_of_order(order)}",
        partial(
            plot.order_plot,
            one_time,
            arm=arm,
            order=order,
            expected=study.expect.order,
            label=distances.formula,
        ),
    )


def _rarity(study: FlowStudy, ran: xr.Dataset, arm: str) -> Sketch:
    eta, rare = study.expect.eta or np.nan, study.expect.exceedance
    values = compact_distances(study, ran).sel(arm=arm).transpose("step_size", "repetition")
    sizes = ran["step_size"].values
    return Sketch(
        "exceedance",
        "How often a run is far from the flow",
        f"Share of the repetitions whose distance d_c exceeds {eta:g}, with exact binomial "
        "intervals. d_c adds up the largest distances over [0, 1], [0, 2], ..., at most 1 each, "
        "with weights 1/2, 1/4, ...: the metric in which the theorem states convergence.",
        partial(plot.exceedance_probability, sizes, values.values, eta, rare=rare),
    )


def _interpolations(study: FlowStudy, ran: xr.Dataset, arm: str) -> Sketch:
    rows = {
        "piecewise affine": run_distances(study, ran).values,
        "piecewise constant": run_distances(study, ran, "constant_distance").values,
        "longest step": finite_runs(ran, ran["max_step"]).isel(time=-1),
    }
    rows = {k: v.sel(arm=arm).transpose("step_size", "repetition").values for k, v in rows.items()}
    sizes = ran["step_size"].values
    return Sketch(
        "interpolations",
        "The two interpolations",
        "Distance to the flow of the iterates joined by segments and by steps, and the longest "
        "step, which is the largest distance between the two. Means with 95 % intervals.",
        partial(plot.several_orders, sizes, rows, label="mean over runs of the largest distance"),
    )


def _limits(study: FlowStudy, ran: xr.Dataset, arm: str) -> Iterator[Sketch]:
    asked = study.expect.limits
    assert asked is not None
    sizes = ran["step_size"].values
    squares = scaled_squares(ran, arm)
    yield Sketch(
        "limit-fluctuation",
        "Fluctuation as steps shrink",
        f"{_LIMIT} Here the mean square deviation from the flow by the step size, as a share of "
        f"trace P({squares.time:g}) = {squares.limit:.4g}.",
        partial(
            plot.limit_as_steps_vanish,
            sizes,
            side_by_side(study, squares.shares),
            tolerance=asked.fluctuation,
            degree=asked.degree,
            weights=squares.weights,
            label=r"mean of  $|u_\alpha(s) - u(s)|^2 / \alpha$, share of trace P(s)",
        ),
    )
    if asked.bias is None and asked.bias_order is None:
        return
    biases = scaled_biases(ran, arm)
    yield Sketch(
        "limit-bias",
        "Bias as steps shrink",
        f"{_LIMIT} Here the mean deviation from the flow by the step size, along b, as a share of "
        f"|b({biases.time:g})| = {biases.limit:.4g}.",
        partial(
            plot.limit_as_steps_vanish,
            sizes,
            side_by_side(study, biases.shares),
            tolerance=asked.bias,
            degree=asked.degree,
            weights=biases.weights,
            label=r"mean of  $u_\alpha(s) - u(s)$ by $\alpha$, share of b(s)",
        ),
    )


def _solutions(study: FlowStudy, ran: xr.Dataset, arm: str) -> Sketch:
    finest = ran.isel(step_size=int(np.argmin(ran["step_size"].values))).sel(arm=arm)
    paths = finest["path"].isel(parameter=0).transpose("repetition", "time").values[:_MOST_PATHS]
    times, problem = ran["time"].values, scale_problem(study)
    waits = np.linspace(0, study.horizon, 9)
    curves = [side * problem.flow_from_zero(times, wait) for wait in waits for side in (1, -1)]
    return Sketch(
        "solutions",
        "Runs and the set of solutions",
        f"Runs of SGD at step size {float(finest['step_size']):g} from beside the kink at 0, over "
        "some of the solutions that start there: they wait for any time and leave to either side.",
        partial(plot.paths_and_solutions, times, paths, np.stack(curves)),
    )


def _fluctuation(study: FlowStudy, ran: xr.Dataset, arm: str) -> Sketch:
    """The mean-square deviation as it is judged, against the closed form."""
    problem = moments(study, arm)
    assert problem is not None
    so_far = study.model_copy(update={"step_sizes": tuple(ran["step_size"].values.tolist())})
    rows = [
        row
        for row in closed_form_claims(so_far, ran)[1]
        if row["measurement"] == SQUARES and row["arm"] == arm
    ]
    time = rows[0]["time"]
    starts = ran["flow_path"].isel(time=0).values
    draw = partial(
        plot.fluctuation_constant,
        ran,
        arm=arm,
        time=time,
        exact=[row["exact"] for row in rows],
        limit=float(np.mean(problem.fluctuation(starts, [time]))),
        measured=[[row["estimate"], row["low"], row["high"]] for row in rows],
    )
    return Sketch("fluctuation", "Fluctuation around the flow", _FLUCTUATION, draw)


def _same_loss(study: FlowStudy, ran: xr.Dataset) -> xr.Dataset:
    """The results without the loss of the flow where the recorded loss differs by a constant."""
    differs = is_above_minimum(study) and study.reference.kind != "closed_form"
    return ran.drop_vars("flow_loss") if differs else ran


def _order_of_arm(study: FlowStudy, ran: xr.Dataset, arm: str) -> Order | None:
    """The order as it is judged; None with fewer than three usable step sizes."""
    try:
        return judged_order(study, run_distances(study, ran).values.sel(arm=arm))
    except ValueError:
        return None


def _words_of_order(order: Order | None) -> str:
    if order is None:
        return "Three step sizes with two finite repetitions each are needed for a fit."
    bent = " The points bend: no single power fits all of them." if order.is_curved else ""
    return f"{bent} {order.note}".strip()


def _words_of_flow_error(dataset: xr.Dataset) -> str:
    if "flow_error" not in dataset:
        return ""
    error = float(dataset["flow_error"].max())
    return (
        f" The flow itself is known to {number(error, 2)}."
        if error
        else " The flow is known exactly."
    )


_ORDER = (
    "against the step size; both axes logarithmic. Gray dots are single repetitions, at most 128 "
    "for each step size; short bars are 95 % bootstrap intervals of the mean."
)
_PATHS = (
    "Mean over repetitions, in a band that holds the middle half of them. Lines equally far apart "
    "for step sizes of equal ratio are what a power of the step size looks like."
)
_PLANE = "A few repetitions of every step size, and the gradient flow from the same start."
_FLUCTUATION = (
    "Mean over repetitions of the squared distance to the flow at one time, divided by the step "
    "size, with 95 % intervals, against the closed form at every step size and its limit."
)
_LIMIT = (
    "Means over repetitions with three standard errors, and the curve through them, read off at "
    "step size zero with its 95 % interval; the band is what counts as equal."
)
