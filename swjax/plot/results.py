"""The one form of results the figures read: a labeled dataset, whoever made it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import ArrayLike

DIMS = ("arm", "step_size", "repetition", "time", "parameter")
TIMED = ("distance", "loss", "sample_loss", "norm", "max_norm")
TIMED += ("critical_distance", "tangential", "radial", "residual")


def as_results(
    step_sizes: ArrayLike | Sequence[float | int],
    times: ArrayLike | Sequence[float | int] | None = None,
    *,
    arms: Sequence[str] = ("sgd",),
    attrs: Mapping[str, Any] | None = None,
    **variables: ArrayLike,
) -> xr.Dataset:
    """Label plain arrays so that every figure of this package can read them.

    The dataset has the dimensions and names that a sweep's results have.

    Args:
        step_sizes: the step sizes, (S,).
        times: the flow times, (T,); leave out when no variable depends on time.
        arms: names of the schemes compared, A of them; one by default.
        attrs: attributes of the dataset.
        **variables: arrays by name. `distance`, `loss`, `sample_loss`, `norm`, `max_norm`,
            `critical_distance`, `tangential`, `radial` and `residual` are (A, S, R, T), or
            (A, S, R) without times; `path` is (A, S, R, T, P); `diverged_at` is (A, S, R), the
            step of the first non-finite iterate or -1, `goldstein` (A, S, R); `num_steps` is (S,);
            `flow_loss` (T,), `flow_path` (T, P) and `flow_error` () describe the flow.
            The arm axis may be left out when there is one arm.

    Returns:
        The labeled dataset.

    Raises:
        ValueError: a variable has an unknown name or the wrong number of axes.

    >>> import numpy as np
    >>> results = as_results([0.1, 0.05], [0.0, 1.0], distance=np.zeros((2, 8, 2)))
    >>> dict(results["distance"].sizes)
    {'arm': 1, 'step_size': 2, 'repetition': 8, 'time': 2}
    """
    timed = DIMS[:4] if times is not None else DIMS[:3]
    dims = dict.fromkeys(TIMED, timed) | {
        "path": DIMS,
        "diverged_at": DIMS[:3],
        "goldstein": DIMS[:3],
        "num_steps": ("step_size",),
        "flow_loss": ("time",),
        "flow_path": ("time", "parameter"),
        "flow_error": (),
    }
    coords: dict[str, Any] = {"arm": list(arms), "step_size": np.asarray(step_sizes, dtype=float)}
    if times is not None:
        coords["time"] = np.asarray(times, dtype=float)
    data = {}
    for name, values in variables.items():
        if name not in dims:
            raise ValueError(f"unknown variable {name!r}; known: {', '.join(sorted(dims))}")
        array = np.asarray(values)
        if dims[name][:1] == ("arm",) and array.ndim == len(dims[name]) - 1 and len(arms) == 1:
            array = array[None]
        if array.ndim != len(dims[name]):
            raise ValueError(
                f"{name} has shape {array.shape}; expected the axes ({', '.join(dims[name])})"
            )
        data[name] = (dims[name], array)
    return xr.Dataset(data, coords=coords, attrs=dict(attrs or {}))


def dataset_of(results: Any) -> xr.Dataset:
    """The dataset itself, or the one a sweep carries."""
    dataset = getattr(results, "dataset", results)
    if not isinstance(dataset, xr.Dataset):
        raise TypeError(
            "results must be an xarray.Dataset or have one as .dataset, not "
            f"{type(results).__name__}; plain arrays become one by swjax.plot.as_results"
        )
    return dataset


def need(dataset: xr.Dataset, *names: str) -> None:
    """Refuse results that lack what a figure shows."""
    missing = [name for name in names if name not in dataset]
    if missing:
        held = ", ".join(map(str, dataset)) or "nothing"
        raise ValueError(f"the results have no {', '.join(missing)}; they hold {held}")


def arm_names(dataset: xr.Dataset) -> list[str]:
    """The schemes compared; one unnamed when there is no such axis."""
    return [str(a) for a in dataset["arm"].values] if "arm" in dataset.dims else [""]


def one_arm(dataset: xr.Dataset, arm: str | None) -> xr.Dataset:
    """The results of one scheme: the named one, or the only one."""
    if "arm" not in dataset.dims:
        return dataset
    names = arm_names(dataset)
    if arm is None and len(names) > 1:
        raise ValueError(f"the results compare {len(names)} arms: choose one of {', '.join(names)}")
    if arm is not None and arm not in names:
        raise ValueError(f"no arm {arm!r} in the results; there are {', '.join(names)}")
    return dataset.isel(arm=names.index(arm) if arm is not None else 0)


def finite_runs(dataset: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """The values with those of diverged runs replaced by NaN.

    A run is left out as a whole: a mean over the survivors of each instant would flatter the rest.
    An entry that no repetition has was not recorded, and speaks against none of them.
    """
    finite = xr.apply_ufunc(np.isfinite, values)
    good = finite | ~finite.any("repetition")
    over = [d for d in ("time", "parameter") if d in values.dims]
    good = good.all(over) if over else good
    if "diverged_at" in dataset:
        good = good & (dataset["diverged_at"] < 0)
    return values.where(good)


def at_the_end(dataset: xr.Dataset, variable: str) -> xr.DataArray:
    """The value at the horizon, (..., step_size, repetition); NaN where a run diverged.

    Minibatch losses, which scatter, are averaged over the last tenth of the time.
    """
    values = dataset[variable]
    if "diverged_at" in dataset:
        values = values.where(dataset["diverged_at"] < 0)
    if variable == "sample_loss":
        values = values.isel(time=(values["time"] > 0.9 * values["time"][-1]).values).mean("time")
    else:
        values = values.isel(time=-1)
    return values.transpose(..., "step_size", "repetition")


def sup_distances(dataset: xr.Dataset) -> xr.DataArray:
    """Largest distance to the flow of every run, (step_size, repetition); NaN where it diverged."""
    need(dataset, "distance")
    distance = finite_runs(dataset, dataset["distance"])
    if "time" in distance.dims:
        distance = distance.max("time", skipna=False)
    return distance.transpose("step_size", "repetition")


def sorted_by_step(dataset: xr.Dataset) -> xr.Dataset:
    """Coarsest step first, as the legends list them."""
    return dataset.sortby("step_size", ascending=False)
