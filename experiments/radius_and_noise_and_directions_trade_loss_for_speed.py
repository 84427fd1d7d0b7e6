"""Final loss and speed for radii, noise levels, numbers of directions, and two data laws.

The study `theorem2/grid` compares radii and noise levels with the same draws; this script repeats
it for 1, 4 and 16 directions per step and for two moons and a ring as the data.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from _claim import HERE, save, suffix
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
            name = f"t2_grid-{law}-{num}{suffix()}"
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


def draw(found: dict[tuple[str, int], dict[str, tuple]], horizon: float):
    """Final losses on top and times to half the fall below, a column for each law."""
    with plot.figure_style():
        figure, axes = plt.subplots(2, 2, figsize=(10.5, 8.6), layout="constrained", sharey=True)
        for (law, num), arms in found.items():
            for row, ax in enumerate(map(plot.axes_or_new, axes[:, list(LAWS).index(law)])):
                shown = [values[row] for values in arms.values()]
                places = np.arange(len(arms)) + 0.2 * (DIRECTIONS.index(num) - 1)
                kept = [k for k, value in enumerate(shown) if value is not None]
                ax.errorbar(
                    [shown[k].estimate for k in kept],
                    places[kept],
                    xerr=[
                        [shown[k].estimate - shown[k].low for k in kept],
                        [shown[k].high - shown[k].estimate for k in kept],
                    ],
                    fmt="o",
                    markersize=4,
                    color=plot.CATEGORICAL[DIRECTIONS.index(num)],
                    label=f"{num} direction" + "s" * (num > 1),
                )
                ax.set_yticks(range(len(arms)), [arm.replace("_", " ") for arm in arms])
        for law, (top, bottom) in zip(LAWS, axes.T, strict=True):
            top.set(title=law, xscale="log", xlabel="final expected loss, 95 % interval")
            top.set_xticks([0.1, 0.2, 0.3, 0.4, 0.6], ["0.1", "0.2", "0.3", "0.4", "0.6"])
            top.minorticks_off()
            bottom.set(xlabel=f"time to half the fall ({horizon:g}: not within the run)")
        axes[0, 0].invert_yaxis()
        axes[0, 1].legend(frameon=False)
    return axes[0, 0]


if __name__ == "__main__":
    console = Console(highlight=False)
    table = Table("data", "directions", "arm", "final loss", "time to half the fall")
    sweeps = run_all()
    found = {case: measure(sweep) for case, sweep in sweeps.items()}
    horizon = next(iter(sweeps.values())).study.horizon
    for (law, num), arms in found.items():
        for arm, (loss, half) in arms.items():
            final = f"{loss.estimate:.4f} [{loss.low:.4f}, {loss.high:.4f}]"
            fall = "-" if half is None else f"{half.estimate:.2f} [{half.low:.2f}, {half.high:.2f}]"
            late = half is not None and half.low >= horizon
            table.add_row(law, str(num), arm, final, f"not by {horizon:g}" if late else fall)
    console.print(table)
    save(draw(found, horizon))
