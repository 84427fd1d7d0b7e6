"""How the error falls with the number of directions, for every sampler, against the exact value.

SW_2^2 between two clouds of 20 points that lie in a plane is known in every space around them: the
plane sees a uniform direction, shorter by an independent factor whose mean square is 2 / d. Each
point of the figure is the root mean square error over 128 keys; the growth is a least-squares fit
from 32 directions on. Measured in float64, since some of these errors are below the rounding of
float32.

    python experiments/even_directions_err_less.py

prints the fitted growth and writes figures/even_directions_err_less.png (over ten minutes).
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from jax import Array

import swjax
from swjax.plot import CATEGORICAL, axes_or_new, figure_style

REPETITIONS, FIT_FROM = 128, 32
ANY_DIMENSION = {
    "independent": swjax.sample_directions,
    "orthogonal": swjax.sample_orthogonal_directions,
    "quasi-random": swjax.sample_quasi_directions,
}
GRIDS = {2: swjax.sample_equispaced_directions, 3: swjax.sample_fibonacci_directions}
WITH_CONTROL = "independent, Gaussian control variate"
LOOKS = {
    "independent": ("o", CATEGORICAL[0]),
    WITH_CONTROL: ("s", CATEGORICAL[5]),
    "orthogonal": ("^", CATEGORICAL[2]),
    "quasi-random": ("D", CATEGORICAL[1]),
    "turned grid": ("v", CATEGORICAL[3]),
}


def clouds(dim: int):
    """Two clouds in a random plane, and their sliced distance in the space around it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2)) * np.array([2.0, 0.5])
    y = rng.uniform(-1, 1, size=(20, 2)) + 0.5
    plane = np.linalg.qr(rng.normal(size=(dim, 2)))[0].T
    return x @ plane, y @ plane, float(swjax.sw2_sq_exact_2d(x, y)) * 2 / dim


def errors(dim: int, numbers: list[int]) -> dict[str, list[float]]:
    """Root mean square error by sampler, for these numbers of directions."""
    x, y, truth = clouds(dim)
    samplers: dict[str, Callable[..., Array]] = {
        name: functools.partial(sample, dim=dim) for name, sample in ANY_DIMENSION.items()
    }
    if dim in GRIDS:
        samplers["turned grid"] = GRIDS[dim]
    keys = jax.random.split(jax.random.key(dim), REPETITIONS)
    found: dict[str, list[float]] = {
        name: [] for name in LOOKS if name in [*samplers, WITH_CONTROL]
    }
    keep = lambda name, values: found[name].append(float(np.sqrt(np.mean((values - truth) ** 2))))
    for num in numbers:
        for name, sample in samplers.items():
            draw = jax.jit(jax.vmap(functools.partial(sample, num=num)))
            directions = draw(keys)
            costs = swjax.sw2_sq_per_direction(x, y, directions.reshape(-1, dim))
            keep(name, np.asarray(costs).reshape(REPETITIONS, num).mean(axis=1))
            if name == "independent":
                estimate = jax.vmap(
                    lambda rows: swjax.sw2_sq_estimate(x, y, rows, control_variate="gaussian").value
                )
                keep(WITH_CONTROL, np.asarray(jax.jit(estimate)(directions)))
    return found


def main() -> None:
    """Print the fitted growth and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    figures = Path(__file__).parent / "figures"
    parser.add_argument("--output", type=Path, default=figures, help="folder for the figure")
    parser.add_argument("--most", type=int, default=2048, help="the largest number of directions")
    options = parser.parse_args()
    numbers = [2**k for k in range(3, options.most.bit_length())]
    fitted = np.array(numbers) >= min(FIT_FROM, options.most // 4)

    with jax.enable_x64(True), figure_style():
        figure, panels = plt.subplots(1, 3, figsize=(11.5, 4.6), layout="constrained")
        for panel, dim in zip(panels, (2, 3, 10), strict=True):
            ax = axes_or_new(panel)
            for name, values in errors(dim, numbers).items():
                logs = np.log(numbers)[fitted], np.log(values)[fitted]
                slope = np.polyfit(*logs, 1)[0]
                print(f"d = {dim:2d}  {name:40s} L^{slope:.2f}   {values[-1]:.1e} at {numbers[-1]}")
                marker, color = LOOKS[name]
                label = f"{name}: $L^{{{slope:.2f}}}$"
                ax.loglog(numbers, values, color=color, marker=marker, markersize=4, label=label)
            ax.set_title(f"d = {dim}")
            ax.set_xlabel("number of directions $L$")
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
        panels[0].set_ylabel(r"root mean square error of SW$_2^2$")
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"{Path(__file__).stem}.png"
        figure.savefig(path, dpi=120, metadata={"Software": None})
        print(f"Figure: {path}")


if __name__ == "__main__":
    main()
