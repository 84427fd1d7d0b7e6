"""How the time of the sliced-Wasserstein loss grows with points, directions and dimension.

One argument grows, the others stay: points n from 10^2 to 10^6 (L = 16, d = 3), directions L from 1
to 10^4 (n = 1000, d = 3), dimension d from 2 to 10^3 (n = 1000, L = 100). Each point is the fastest
of several compiled calls, which other work on the machine disturbs least; the growth is a
least-squares fit over the upper half of the (logarithmic) range, where constant costs no longer
count::

    python experiments/benchmarks/cost_against_size.py [--small] [--output FOLDER]

prints the times and the fitted growth, and writes figures/cost_against_size.png, in some minutes on
a machine that does nothing else. `--small` leaves out the larger half of the sizes: a trial.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from sliced_is_faster_than_peers import draw, machine

import swjax
from swjax.plot import CATEGORICAL, axes_or_new, figure_style

JOBS = {"value": swjax.sw2_sq, "value and gradient": jax.value_and_grad(swjax.sw2_sq)}
# By title: what grows, its sizes, and what stays.
PANELS = {
    "points $n$": (
        "n",
        [100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
        {"num": 16, "dim": 3},
    ),
    "directions $L$": (
        "num",
        [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000],
        {"n": 1000, "dim": 3},
    ),
    "dimension $d$": ("dim", [2, 5, 10, 30, 100, 300, 1000], {"n": 1000, "num": 100}),
}
SYMBOLS = {"n": "n", "num": "L", "dim": "d"}


def fastest_time(job: Any, num: int, n: int, dim: int) -> float:
    """Seconds of one call: the fastest of at least 3, for at least 0.3 seconds."""
    arrays = jax.device_put(draw((n, dim), num))
    compiled = jax.jit(job).lower(*arrays).compile()
    jax.block_until_ready(compiled(*arrays))
    times: list[float] = []
    while len(times) < 3 or sum(times) < 0.3:
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        times.append(time.perf_counter() - start)
    return min(times)


def fit(sizes: list[int], times: list[float]) -> tuple[float, np.ndarray, np.ndarray]:
    """The exponent over the upper half of the range, and the line: its sizes and times."""
    logs = np.log(sizes)
    upper = logs >= (logs[0] + logs[-1]) / 2
    slope, level = np.polyfit(logs[upper], np.log(times)[upper], 1)
    return float(slope), np.exp(logs[upper]), np.exp(level + slope * logs[upper])


def main() -> None:
    """Measure, print the times and their growth, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    figures = Path(__file__).parents[1] / "figures"
    parser.add_argument("--output", type=Path, default=figures, help="folder for the figure")
    parser.add_argument("--small", action="store_true", help="the smaller half of the sizes only")
    options = parser.parse_args()
    with figure_style():
        figure, panels = plt.subplots(1, 3, figsize=(11.5, 4.2), layout="constrained", sharey=True)
        for panel, (title, (growing, sizes, fixed)) in zip(panels, PANELS.items(), strict=True):
            sizes = sizes[: len(sizes) // 2] if options.small else sizes
            ax = axes_or_new(panel)
            for (name, job), color in zip(JOBS.items(), CATEGORICAL, strict=False):
                times = [fastest_time(job, **{**fixed, growing: size}) for size in sizes]
                slope, *line = fit(sizes, times)
                print(f"{name} against {title}: power {slope:.2f}")
                pairs = zip(sizes, times, strict=True)
                print("  ", ", ".join(f"{size}: {1e3 * t:.3g} ms" for size, t in pairs), flush=True)
                label = f"{name}: power {slope:.2f}"
                ax.loglog(sizes, times, "o", color=color, markersize=4, label=label)
                ax.loglog(*line, color=color)
            ax.set_xlabel(title)
            ax.set_title(", ".join(f"${SYMBOLS[k]} = {v}$" for k, v in fixed.items()))
            ax.legend(frameon=False, loc="upper left")
        panels[0].set_ylabel("seconds")
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"{Path(__file__).stem}.png"
        figure.savefig(path, dpi=120, metadata={"Software": None})
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
