"""What the generator makes at the end of a study, where the results hold its parameters."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree

from swjax import plot
from swjax.experiment.build import build
from swjax.experiment.report_sketch import Sketch
from swjax.experiment.study import Study

_NUM_POINTS = 256


class Generated(NamedTuple):
    """Points of the three laws at the horizon.

    Attributes:
        points: T(u, x), (256, d).
        real: points of the data law, (256, d).
        latent: the points x, (256, d_x).
        whose: whose parameters u are, in words.
    """

    points: np.ndarray
    real: np.ndarray
    latent: np.ndarray
    whose: str


def generated_sketches(study: Study, ran: xr.Dataset) -> Iterator[Sketch]:
    """The figure of these points, on or beside real ones, where it says more than the parameters.

    Args:
        study: the study.
        ran: its results.
    """
    if study.generator.kind in ("translation", "scale", "absolute_scale"):
        return
    made = generated_points(study, ran)
    if made is None:
        return
    title = "What the generator makes at the end"
    whose = f"T(u, x) for fresh latent points x, with the last parameters u of {made.whose},"
    if study.target.kind == "digits":
        draw = partial(plot.generated_images, made.points, made.real)
        yield Sketch("generated", title, f"{whose} beside real images.", draw, height=3.0)
    else:
        latent = made.latent if made.latent.shape[1] == 2 else None
        draw = partial(plot.clouds, made.real, made.points, latent)
        yield Sketch("generated", title, f"{whose} on points of the data law.", draw)


def generated_points(study: Study, dataset: xr.Dataset) -> Generated | None:
    """Push latent points through the generator at the last parameters that are known.

    These are the last iterate of the first finite run at the smallest step size where paths were
    kept, else the end of the gradient flow.

    Args:
        study: the study.
        dataset: its results.

    Returns:
        The points; None for laws that are neither planar nor images, and where no parameters
        were kept.
    """
    params, whose = _last_parameters(dataset)
    if params is None:
        return None
    with jax.enable_x64(study.precision == "float64"):
        problem = build(study)
        loss = problem.loss
        if loss.target.dim != 2 and study.target.kind != "digits":
            return None
        keys = jax.random.split(jax.random.key(study.seed))
        unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], problem.starts))[1]
        latent = loss.source.sample(keys[0], _NUM_POINTS)
        points = loss.apply(unravel(jnp.asarray(params)), latent)
        real = loss.target.sample(keys[1], _NUM_POINTS)
    return Generated(np.asarray(points), np.asarray(real), np.asarray(latent), whose)


def _last_parameters(dataset: xr.Dataset) -> tuple[np.ndarray | None, str]:
    if "path" in dataset:
        finest = dataset.isel(step_size=int(np.argmin(dataset["step_size"].values)), arm=0)
        ends = finest["path"].isel(time=-1).transpose("repetition", "parameter").values
        finite = np.isfinite(ends).all(axis=1)
        if finite.any():
            return ends[finite][0], f"SGD with step size {float(finest['step_size']):g}"
    if "flow_path" in dataset:
        flow = dataset["flow_path"].isel(time=-1)
        flow = flow.isel({dim: 0 for dim in flow.dims if dim != "parameter"})
        return flow.values, "the gradient flow"
    return None, ""
