"""The curve that the iterates are compared with: the gradient flow from the same start."""

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from swjax.experiment.build import Problem
from swjax.experiment.build_laws import REFERENCE, purpose
from swjax.experiment.cell import flat_rows
from swjax.experiment.closed_form import closed_form_loss, moments, scale_problem
from swjax.experiment.errors import StudyError
from swjax.experiment.results import flow_times
from swjax.experiment.study import FlowStudy, plain
from swjax.flows import gradient_flow
from swjax.flows.fluctuation import fluctuations, sample_gradient_covariance
from swjax.population import PopulationLoss, sample_population_loss


def reference_dataset(problem: Problem) -> xr.Dataset:
    """Compute the reference flow of every arm at the recorded times.

    Args:
        problem: a flow study made runnable.

    Returns:
        ``flow_path`` with dimensions time and parameter, after arm where arms have different balls
        and repetition where the starts differ; ``flow_loss`` alike without parameter;
        ``flow_error``, the error estimate of the integrator (0 for a closed form), and
        ``flow_energy``, by how much the energy identity is violated at most. Where the study
        expects limits, ``limit_fluctuation`` (arm, time) and ``limit_bias`` (arm, time, parameter).

    Raises:
        StudyError: the expected loss of this study is not exact.
    """
    study = problem.study
    radii = [getattr(scheme, "radius", None) for scheme in study.schemes.values()]
    assert isinstance(study, FlowStudy)
    try:
        flows = {radius: _flow(problem, radius) for radius in dict.fromkeys(radii)}
        limits = _limits(problem) if study.expect.limits is not None else {}
    except (ValueError, FloatingPointError) as error:
        raise StudyError(study.name, [f"reference: {error}"]) from None
    whole = len(flows) == 1
    lead = () if whole else ("arm",)
    data: dict[str, Any] = {}
    for name, tail in _TAILS.items():
        parts = [flows[radius][name] for radius in (radii[:1] if whole else radii)]
        if parts[0] is None:
            continue
        values = parts[0] if whole else np.stack(parts)
        own = ("repetition",) if np.ndim(parts[0]) > len(tail) else ()
        data[name] = ((*lead, *own, *tail), values)
    coords: dict[str, Any] = {"time": flow_times(study)}
    if not whole or limits:
        coords["arm"] = list(study.schemes)
    study_text = json.dumps(plain(study))
    return xr.Dataset(data | limits, coords=coords, attrs={"study": study_text})


_TAILS: dict[str, tuple[str, ...]] = {
    "flow_path": ("time", "parameter"),
    "flow_loss": ("time",),
    "flow_error": (),
    "flow_energy": (),
}


def flow_of_arm(reference: xr.Dataset | None, arm: str) -> np.ndarray | None:
    """The flow (1 or R, N + 1, P) that an arm is compared with."""
    if reference is None:
        return None
    path = reference["flow_path"]
    if "arm" in path.dims:
        path = path.sel(arm=arm)
    return path.values if "repetition" in path.dims else path.values[None]


def _flow(problem: Problem, radius: float | None) -> dict[str, Any]:
    study = problem.study
    assert isinstance(study, FlowStudy)
    asked = study.reference
    if asked.kind == "solution_set":
        one = scale_problem(study).flow_from_zero(problem.times, 0.0)
        path = one[:, None].astype(jnp.result_type(float))
        return {"flow_path": path, "flow_loss": None, "flow_error": 0.0, "flow_energy": None}
    if asked.kind == "closed_form":
        return _closed_form_flow(problem)
    if asked.kind == "population":
        return _integrated(problem, PopulationLoss(problem.loss), radius, asked.num_steps)
    loss = replace(problem.loss, num_directions=asked.num_directions)
    mean = sample_population_loss(purpose(study, REFERENCE), loss, asked.num)
    found = _integrated(problem, mean, radius, asked.num_steps)
    first, second = (
        _integrated(problem, half, radius, asked.num_steps)["flow_path"] for half in mean.halves()
    )
    found["flow_error"] += float(np.linalg.norm(first - second, axis=-1).max()) / 2
    return found


def _closed_form_flow(problem: Problem) -> dict[str, Any]:
    """The flow from every start, or from the one they share."""
    study = problem.study
    assert isinstance(study, FlowStudy)
    starts = np.asarray(flat_rows(problem.starts))
    if study.generator.kind == "translation":
        closed = moments(study, next(iter(study.schemes)))
        assert closed is not None
        path = closed.flow(starts[0] if problem.shared_start else starts, problem.times)
    elif study.generator.kind == "scale":
        scale = scale_problem(study)
        path = scale.flow(starts[0, 0] if problem.shared_start else starts[:, 0], problem.times)
        path = path[..., None]
    else:
        return _integrated(problem, closed_form_loss(study), None, None)
    record, values = study.record.loss, None
    path = path.astype(starts.dtype)
    if record is not None and record.kind == "closed_form":
        rows = jnp.asarray(path.reshape(-1, path.shape[-1]))
        values = np.asarray(jax.vmap(closed_form_loss(study))(rows)).reshape(path.shape[:-1])
    return {"flow_path": path, "flow_loss": values, "flow_error": 0.0, "flow_energy": None}


def _integrated(
    problem: Problem, loss: Any, radius: float | None, num_steps: int | None
) -> dict[str, Any]:
    """The gradient flow of a function from every start, or from the one they share."""
    paths, losses, errors, energies = [], [], [], []
    starts, num = problem.starts, len(jax.tree.leaves(problem.starts)[0])
    for i in range(1 if problem.shared_start else num):
        start = jax.tree.map(lambda leaf: leaf[i], starts)  # noqa: B023
        flow = gradient_flow(loss, start, problem.times, radius=radius, num_steps=num_steps)
        paths.append(np.asarray(flat_rows(flow.path)))
        losses.append(np.asarray(_along(loss, flow.path)))
        errors.append(float(flow.error))
        residual = losses[-1][0] - losses[-1] - np.asarray(flow.dissipation)
        energies.append(float(np.abs(residual).max()))
    squeeze = (lambda parts: parts[0]) if problem.shared_start else np.stack
    return {
        "flow_path": squeeze(paths),
        "flow_loss": squeeze(losses),
        "flow_error": max(errors),
        "flow_energy": max(energies),
    }


@jax.jit
def _along(loss: Any, path: Any) -> jax.Array:
    return jax.lax.map(loss, path)


def _limits(problem: Problem) -> dict[str, Any]:
    """What fluctuation and bias by the step size tend to: trace P(s) and b(s), mean over starts."""
    study = problem.study
    assert isinstance(study, FlowStudy)
    asked = study.expect.limits
    assert asked is not None
    if study.reference.kind == "closed_form":
        starts = np.asarray(flat_rows(problem.starts), np.float64)
        if problem.shared_start:
            starts = starts[:1]
        closed = [moments(study, arm) for arm in study.schemes]
        traces = [c.fluctuation(starts, problem.times).mean(0) for c in closed if c is not None]
        biases = [c.bias(starts, problem.times).mean(0) for c in closed if c is not None]
    else:
        start = jax.tree.map(lambda leaf: leaf[0], problem.starts)
        loss = PopulationLoss(problem.loss)
        key = purpose(study, REFERENCE)
        spread = sample_gradient_covariance(key, problem.loss, asked.num_draws)
        found = fluctuations(loss, spread, start, problem.times)
        trace = np.trace(np.asarray(found.covariance), axis1=1, axis2=2)
        traces = [trace] * len(study.schemes)
        biases = [np.asarray(found.bias)] * len(study.schemes)
    return {
        "limit_fluctuation": (("arm", "time"), np.stack(traces)),
        "limit_bias": (("arm", "time", "parameter"), np.stack(biases)),
    }
