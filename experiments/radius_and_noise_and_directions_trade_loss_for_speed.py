"""Final loss and speed for radii, noise levels, numbers of directions, and two data laws.

The study `theorem2/grid` compares radii and noise levels with the same draws; this script repeats
it for 1, 4 and 16 directions per step and for two moons and a ring as the data.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from _claim import HERE, save
from rich.console import Console
from rich.table import Table

from swjax import plot
from swjax.convergence import mean_interval
from swjax.experiment import Sweep, run
from swjax.experiment.claims_training import final_losses, half_times

LAWS = {
    "moons": "{kind: moons, noise: 0.1, num_atoms: 96}",
    "ring": "{kind: ring, num_atoms: 96}",
}
DIRECTIONS = (1, 4, 16)


def run_all() -> dict[tuple[str, int], Sweep]:
    """One study for each law and number of directions, in `runs/`."""
    found = {}
    for law, text in LAWS.items():
        for num in DIRECTIONS:
            overrides = [f"target={text}", f"loss.num_directions={num}", *sys.argv[1:]]
            name = f"t2_grid-{law}-{num}" + ("-changed" if sys.argv[1:] else "")
            output: Path = HERE.parent / "runs" / name
            study = HERE.parent / "configs" / "theorem2" / "grid.yaml"
            found[law, num] = run(study, output=output, overrides=overrides)
    return found


def measure(sweep: Sweep) -> dict[str, tuple]:
    """Final loss and time to half the fall of the loss, by arm, each with its interval."""
    dataset, size = sweep.dataset, sweep.study.step_sizes[0]
    final, _ = final_losses(dataset)
    arms = list(sweep.study.schemes)
    half = half_times(dataset, arms[0], size)
    return {
        arm: (
            mean_interval(final.sel(arm=arm, step_size=size).values),
            None if half is None else mean_interval(half.sel(arm=arm).values),
        )
        for arm in arms
    }


if __name__ == "__main__":
    console = Console(highlight=False)
    table = Table("data", "directions", "arm", "final loss", "time to half the fall")
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained", sharey=True)
    panels = dict(zip(LAWS, axes, strict=True))
    for (law, num), sweep in run_all().items():
        found = measure(sweep)
        with plot.figure_style():
            ax = plot.axes_or_new(panels[law])
            shift = 0.2 * (DIRECTIONS.index(num) - 1)
            final = [loss for loss, _ in found.values()]
            ax.errorbar(
                [loss.estimate for loss in final],
                np.arange(len(found)) + shift,
                xerr=[
                    [loss.estimate - loss.low for loss in final],
                    [loss.high - loss.estimate for loss in final],
                ],
                fmt="o",
                markersize=4,
                color=plot.CATEGORICAL[DIRECTIONS.index(num)],
                label=f"{num} direction" + "s" * (num > 1),
            )
            labels = [arm.replace("_", " ") for arm in found]
            ax.set_yticks(range(len(found)), labels)
            ax.set_xscale("log")
            ax.set(title=law, xlabel="final expected loss, 95 % interval")
        for arm, (loss, half) in found.items():
            text = "-" if half is None else f"{half.estimate:.2f} [{half.low:.2f}, {half.high:.2f}]"
            table.add_row(
                law, str(num), arm, f"{loss.estimate:.4f} [{loss.low:.4f}, {loss.high:.4f}]", text
            )
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False)
    console.print(table)
    save(axes[0])
