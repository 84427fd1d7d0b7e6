"""How the time of the sliced-Wasserstein loss grows with points, directions and dimension.

One argument grows, the others stay: points n from 10^2 to 10^6 (L = 16, d = 3), directions L from 1
to 10^4 (n = 1000, d = 3), dimension d from 2 to 10^3 (n = 1000, L = 100). Each point is the median
time of compiled calls; the growth is a least-squares fit over the upper half of the (logarithmic)
range, where constant costs no longer count::

    python experiments/benchmarks/cost_against_size.py [--small] [--output FOLDER]

prints the times and the fitted growth, and writes figures/cost_against_size.png (some minutes, on
a machine that does nothing else). `--small` shortens the ranges: a trial of the script.
"""

import argparse
import json
import statistics
import sys
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
FIXED = {
    "points $n$": {"num": 16, "dim": 3},
    "directions $L$": {"n": 1000, "dim": 3},
    "dimension $d$": {"n": 1000, "num": 100},
}
GROWING = {"points $n$": "n", "directions $L$": "num", "dimension $d$": "dim"}
SIZES = {
    "points $n$": [100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
    "directions $L$": [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000],
    "dimension $d$": [2, 4, 8, 16, 32, 64, 125, 250, 500, 1000],
}


def median_time(job: Any, num: int, n: int, dim: int) -> float:
    """Seconds of one call: the median of at least 5, for at least half a second."""
    arrays = jax.device_put(draw((n, dim), num))
    compiled = jax.jit(job).lower(*arrays).compile()
    jax.block_until_ready(compiled(*arrays))
    times: list[float] = []
    while len(times) < 5 or (sum(times) < 0.5 and len(times) < 2000):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def growth(sizes: list[int], times: list[float]) -> float:
    """The exponent of the upper half of the range."""
    logs = np.log(sizes)
    upper = logs >= (logs[0] + logs[-1]) / 2
    return float(np.polyfit(logs[upper], np.log(times)[upper], 1)[0])


def main() -> None:
    """Measure, print the fitted growth, and write the figure and the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    figures = Path(__file__).parents[1] / "figures"
    parser.add_argument("--output", type=Path, default=figures, help="folder for the figure")
    parser.add_argument("--small", action="store_true", help="short ranges: a trial of the script")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with figure_style():
        figure, panels = plt.subplots(1, 3, figsize=(11.5, 4.2), layout="constrained")
        for panel, (title, sizes) in zip(panels, SIZES.items(), strict=True):
            sizes = sizes[:4] if options.small else sizes
            ax = axes_or_new(panel)
            found[title] = {"sizes": sizes}
            for (name, job), color in zip(JOBS.items(), CATEGORICAL, strict=False):
                print(f"{name} against {title} ...", file=sys.stderr, flush=True)
                shapes = [{**FIXED[title], GROWING[title]: size} for size in sizes]
                times = [median_time(job, **shape) for shape in shapes]
                found[title][name] = times
                slope = growth(sizes, times)
                print(f"{name:20s} against {title:15s} grows like its power {slope:.2f}")
                label = f"{name}: power {slope:.2f}"
                ax.loglog(sizes, times, color=color, marker="o", markersize=4, label=label)
            ax.set_xlabel(title)
            fixed = {"n": "n", "num": "L", "dim": "d"}
            ax.set_title(", ".join(f"${fixed[k]} = {v}$" for k, v in FIXED[title].items()))
            ax.legend(frameon=False, loc="upper left")
        panels[0].set_ylabel("seconds")
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"{Path(__file__).stem}.png"
        figure.savefig(path, dpi=120, metadata={"Software": None})
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    record = {"machine": machine(), "median_seconds": found}
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
