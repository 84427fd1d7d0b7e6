"""The curve that the iterates are compared with: the gradient flow from the same start."""

import json
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import PyTree

from swjax.experiment.build import Problem
from swjax.experiment.cell import flat_rows
from swjax.experiment.closed_form import closed_form_flow
from swjax.experiment.errors import StudyError
from swjax.experiment.results import flow_times
from swjax.experiment.study import FlowStudy, plain
from swjax.flows.parameter import gradient_flow
from swjax.population import PopulationLoss


def reference_dataset(problem: Problem) -> xr.Dataset:
    """Compute the reference flow of every arm at the recorded times.

    Args:
        problem: a flow study made runnable.

    Returns:
        ``flow_path`` with dimensions time and parameter, after arm where arms have different balls
        and repetition where the starts differ; ``flow_loss`` alike without parameter;
        ``flow_error``, the error estimate of the integrator (0 for a closed form).

    Raises:
        StudyError: the expected loss of this study is not exact.
    """
    study = problem.study
    radii = [getattr(scheme, "radius", None) for scheme in study.schemes.values()]
    assert isinstance(study, FlowStudy)
    if study.reference.kind == "closed_form":  # that of the free flow: no arm has a ball
        flows = {None: closed_form_flow(problem)}
    else:
        flows = {radius: _population_flow(problem, radius) for radius in dict.fromkeys(radii)}
    whole = len(flows) == 1
    dims = () if whole else ("arm",)
    dims += () if problem.shared_start else ("repetition",)
    data: dict[str, Any] = {}
    for name, tail in (("flow_path", ("time", "parameter")), ("flow_loss", ("time",))):
        parts = [flows[radius][name] for radius in (radii[:1] if whole else radii)]
        if parts[0] is None:
            continue
        stacked = parts[0] if whole else np.stack(parts)
        data[name] = ((*dims, *tail), stacked)
    errors = np.array([flows[radius]["flow_error"] for radius in radii])
    data["flow_error"] = ((), errors[0]) if whole else (("arm",), errors)
    coords: dict[str, Any] = {"time": flow_times(study)}
    if not whole:
        coords["arm"] = list(study.schemes)
    return xr.Dataset(data, coords=coords, attrs={"study": json.dumps(plain(study))})


def flow_of_arm(reference: xr.Dataset | None, arm: str) -> np.ndarray | None:
    """The flow (1 or R, N + 1, P) that an arm is compared with."""
    if reference is None:
        return None
    path = reference["flow_path"]
    if "arm" in path.dims:
        path = path.sel(arm=arm)
    return path.values if "repetition" in path.dims else path.values[None]


def _different_starts(problem: Problem) -> PyTree:
    """The starts with leading axis 1 when shared, else R."""
    if not problem.shared_start:
        return problem.starts
    return jax.tree.map(lambda leaf: leaf[:1], problem.starts)


def _population_flow(problem: Problem, radius: float | None) -> dict[str, Any]:
    study = problem.study
    assert isinstance(study, FlowStudy)
    assert study.reference.kind == "population"
    paths, losses, errors = [], [], []
    starts = _different_starts(problem)
    try:
        loss = PopulationLoss(problem.loss)
        for i in range(len(jax.tree.leaves(starts)[0])):
            start = jax.tree.map(lambda leaf: leaf[i], starts)  # noqa: B023
            flow = gradient_flow(
                loss, start, problem.times, radius=radius, num_steps=study.reference.num_steps
            )
            paths.append(np.asarray(flat_rows(flow.path)))
            losses.append(np.asarray(jax.lax.map(loss, flow.path)))
            errors.append(float(flow.error))
    except (ValueError, FloatingPointError) as error:
        raise StudyError(study.name, [f"reference: {error}"]) from None
    squeeze = (lambda parts: parts[0]) if problem.shared_start else np.stack
    return {
        "flow_path": squeeze(paths),
        "flow_loss": squeeze(losses),
        "flow_error": max(errors),
    }
