"""Figures of the objects themselves: paths in the plane, point clouds, generated images."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes

from swjax.plot._style import (
    CATEGORICAL,
    INK,
    MUTED,
    axes_or_new,
    figure_style,
    format_step_sizes,
    legend_outside,
    sequential_colors,
)
from swjax.plot.results import dataset_of, finite_runs, need, one_arm, sorted_by_step


def paths_in_plane(
    results: Any, ax: Axes | None = None, *, arm: str | None = None, num_paths: int = 3
) -> Axes:
    r"""The paths themselves, for a parameter vector of two numbers, against the gradient flow.

    Args:
        results: a sweep, or a dataset with `path` (step_size, repetition, time, parameter) and
            `flow_path` (time, parameter) of two parameters; see `as_results`.
        ax: where to draw; a new figure if not given.
        arm: which scheme, when the results compare several.
        num_paths: how many repetitions of each step size to draw.

    Returns:
        The Axes, with equal units in both directions.

    Raises:
        ValueError: the parameter vector does not have two entries.

    >>> import numpy as np
    >>> from swjax.plot import as_results
    >>> line = np.stack([np.arange(3.0), np.zeros(3)], axis=1)
    >>> path = np.ones((2, 8, 1, 1)) * line
    >>> ax = paths_in_plane(as_results([0.1, 0.05], [0, 1, 2], path=path, flow_path=line))
    >>> ax.get_xlabel()
    '$u_1$'
    """
    with figure_style():
        ax = axes_or_new(ax)
        dataset = sorted_by_step(one_arm(dataset_of(results), arm))
        need(dataset, "path", "flow_path")
        num = dataset.sizes["parameter"]
        if num != 2:
            raise ValueError(f"the parameter vector has {num} entries; paths are drawn for 2")
        steps = dataset["step_size"].values
        labels = format_step_sizes(steps)
        paths = finite_runs(dataset, dataset["path"])
        paths = paths.transpose("step_size", "repetition", "time", "parameter").values
        finite = np.flatnonzero(np.isfinite(paths).all(axis=(0, 2, 3)))
        shown = finite if finite.size else np.arange(paths.shape[1])
        for i, color in enumerate(sequential_colors(len(steps))):
            if not np.isfinite(paths[i]).all(axis=(1, 2)).any():
                labels[i] += " (no finite run)"
            for r in shown[:num_paths]:
                label = labels[i] if r == shown[0] else None
                ax.plot(*paths[i, r].T, color=color, linewidth=0.9, alpha=0.8, label=label)
        flows = dataset["flow_path"]
        if "repetition" in flows.dims:  # every repetition has its own start
            flows = flows.isel(repetition=shown[:num_paths])
        flows = flows.transpose(..., "time", "parameter").values
        for r, flow in enumerate(flows.reshape(-1, *flows.shape[-2:])):
            names = ("gradient flow", "start") if r == 0 else (None, None)
            ax.plot(*flow.T, color=INK, linewidth=2.2, label=names[0])
            ax.plot(*flow[0], "o", color=INK, markersize=5, label=names[1])
        ax.set_aspect("equal", adjustable="datalim")
        ax.set(xlabel=r"$u_1$", ylabel=r"$u_2$")
        legend_outside(ax, r"step size $\alpha$")
    return ax


def clouds(
    target: ArrayLike,
    generated: ArrayLike,
    source: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Point clouds in the plane: what the generator makes, on what it should make.

    Args:
        target: points of the data law, (m, 2).
        generated: points T(u, x), (n, 2).
        source: points x of the latent law, (k, 2), when they live in the plane too.
        ax: where to draw; a new figure if not given.

    Returns:
        The Axes, with equal units in both directions.

    Raises:
        ValueError: a cloud is not two-dimensional.

    >>> import numpy as np
    >>> ax = clouds(np.zeros((3, 2)), np.ones((4, 2)))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['target', 'generated']
    """
    shown = [("source", source, MUTED, "."), ("target", target, CATEGORICAL[0], "o")]
    shown.append(("generated", generated, CATEGORICAL[1], "^"))
    with figure_style():
        ax = axes_or_new(ax)
        for name, cloud, color, marker in shown:
            if cloud is None:
                continue
            points = np.asarray(cloud)
            if points.ndim != 2 or points.shape[1] != 2:
                raise ValueError(f"{name} has shape {points.shape}; expected (number of points, 2)")
            ax.scatter(
                points[:, 0],
                points[:, 1],
                s=16 if marker != "." else 12,
                marker=marker,
                color=color,
                alpha=0.65,
                linewidths=0,
                label=name,
            )
        ax.set_aspect("equal", adjustable="datalim")
        ax.set(xlabel="$x_1$", ylabel="$x_2$")
        legend_outside(ax)
    return ax


def generated_images(
    generated: ArrayLike,
    real: ArrayLike,
    ax: Axes | None = None,
    *,
    image_shape: tuple[int, int] = (8, 8),
    rows: int = 6,
    columns: int = 8,
) -> Axes:
    """Generated images beside real ones, on the same gray scale.

    Args:
        generated: images as rows, (n, height * width), values in [-1, 1].
        real: images of the data set in the same form, (m, height * width).
        ax: where to draw; a new figure if not given.
        image_shape: height and width in pixels.
        rows: rows of each of the two grids.
        columns: columns of each of the two grids; grids with fewer images stay blank at the end.

    Returns:
        The Axes.

    Raises:
        ValueError: the rows do not have height * width entries.

    >>> import numpy as np
    >>> ax = generated_images(np.zeros((4, 64)), np.ones((4, 64)), rows=2, columns=2)
    >>> [text.get_text() for text in ax.texts]
    ['generated', 'real']
    """
    height, width = image_shape
    grids = []
    for name, images in (("generated", generated), ("real", real)):
        pixels = np.asarray(images)
        if pixels.ndim != 2 or pixels.shape[1] != height * width:
            raise ValueError(
                f"{name} has shape {pixels.shape}; expected (number of images, {height * width})"
            )
        grids.append(_mosaic(pixels[: rows * columns].reshape(-1, height, width), rows, columns))
    wide = grids[0].shape[1]
    gap = np.full((grids[0].shape[0], 2 * width), np.nan)
    with figure_style():
        ax = axes_or_new(ax, height=3.0)
        ax.imshow(
            np.hstack([grids[0], gap, grids[1]]),
            cmap="gray",
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        for label, left in (("generated", 0), ("real", wide + 2 * width)):
            ax.text(left, -2.5, label, fontweight="bold", va="bottom", color=INK)
        ax.axis("off")
    return ax


def _mosaic(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Images (n, height, width) tiled with a line of blank pixels between them."""
    count, height, width = images.shape
    tiles = np.full((rows * columns, height + 1, width + 1), np.nan)
    tiles[:count, :height, :width] = images
    tiled = tiles.reshape(rows, columns, height + 1, width + 1).transpose(0, 2, 1, 3)
    return tiled.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
