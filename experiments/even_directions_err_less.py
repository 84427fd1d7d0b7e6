"""How the error falls with the number of directions, for every sampler, against the exact value.

SW_2^2 between two clouds of 20 points that lie in a plane is known in every space around them: the
plane sees a uniform direction, shorter by an independent factor whose mean square is 2 / d. Each
point of the figure is the root mean square error over 256 keys, its bar two standard errors to
either side; the growth is a least-squares fit from 64 directions on, with a 95 % interval by the
bootstrap over the keys. The first L of many directions have the law of a draw of L, so one draw
for each key serves every L; only the turned grids are drawn anew for each. Measured in float64,
since some of these errors are below the rounding of float32.

    python experiments/even_directions_err_less.py [--most 2048] [--repetitions 256]

prints the fitted growth and writes the figure.
"""

import functools
from collections.abc import Callable, Iterator

import _script
import jax
import matplotlib.pyplot as plt
import numpy as np
from jax import Array

import swjax
from swjax.plot import CATEGORICAL, axes_or_new, figure_style

ANY_DIMENSION = {
    "independent": swjax.sample_directions,
    "orthogonal": swjax.sample_orthogonal_directions,
    "quasi-random": swjax.sample_quasi_directions,
}
GRIDS = {2: swjax.sample_equispaced_directions, 3: swjax.sample_fibonacci_directions}
CONTROL = "Gaussian control variate"
LOOKS = {
    "independent": ("o", CATEGORICAL[0]),
    CONTROL: ("s", CATEGORICAL[5]),
    "orthogonal": ("^", CATEGORICAL[2]),
    "quasi-random": ("D", CATEGORICAL[1]),
    "turned grid": ("v", CATEGORICAL[3]),
}
FIT_FROM, RESAMPLES = 64, 1000


def clouds(dim: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Two clouds in a random plane, and their sliced distance in the space around it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2)) * np.array([2.0, 0.5])
    y = rng.uniform(-1, 1, size=(20, 2)) + 0.5
    plane = np.linalg.qr(rng.normal(size=(dim, 2)))[0].T
    return x @ plane, y @ plane, float(swjax.sw2_sq_exact_2d(x, y)) * 2 / dim


def estimates(
    dim: int, numbers: list[int], repetitions: int
) -> Iterator[tuple[str, list[int], np.ndarray]]:
    """For every sampler its name, numbers of directions, and the estimates (number, key)."""
    x, y, _ = clouds(dim)
    keys = jax.random.split(jax.random.key(dim), repetitions)

    def draw(sample: Callable[..., Array], num: int) -> Array:
        return jax.jit(jax.vmap(functools.partial(sample, num=num)))(keys)

    def costs(rows: Array) -> np.ndarray:
        values = swjax.sw2_sq_per_direction(x, y, rows.reshape(-1, dim))
        return np.asarray(values).reshape(rows.shape[:2])

    @jax.jit
    @jax.vmap
    def controlled(rows: Array) -> Array:
        return swjax.sw2_sq_estimate(x, y, rows, control_variate="gaussian").value

    for name, sample in ANY_DIMENSION.items():
        rows = draw(functools.partial(sample, dim=dim), numbers[-1])
        sums = np.cumsum(costs(rows), axis=1)
        yield name, numbers, np.stack([sums[:, num - 1] / num for num in numbers])
        if name == "independent":
            some = numbers[::-2][::-1]
            yield CONTROL, some, np.stack([controlled(rows[:, :num]) for num in some])
    if dim in GRIDS:
        grids = [costs(draw(GRIDS[dim], num)).mean(axis=1) for num in numbers]
        yield "turned grid", numbers, np.stack(grids)


def growth(numbers: list[int], sq_errors: np.ndarray) -> tuple[float, float, float]:
    """The exponent of the root mean square error, and the ends of its interval."""
    fitted = np.array(numbers) >= min(FIT_FROM, numbers[-1] // 4)
    logs, sq_errors = np.log(numbers)[fitted], sq_errors[fitted]
    slope = lambda means: np.polyfit(logs, np.log(means) / 2, 1)[0]
    drawn = np.random.default_rng(0).integers(
        sq_errors.shape[1], size=(RESAMPLES, len(sq_errors[0]))
    )
    resampled = slope(sq_errors[:, drawn].mean(axis=2))
    return slope(sq_errors.mean(axis=1)), *np.quantile(resampled, [0.025, 0.975])


def main() -> None:
    """Print the fitted growth and write the figure."""
    options = _script.options(__doc__, most=2048, repetitions=256)
    numbers = [2**k for k in range(3, options.most.bit_length())]
    with jax.enable_x64(True), figure_style():
        figure, panels = plt.subplots(1, 3, figsize=(11.5, 4.8), layout="constrained", sharey=True)
        for panel, dim in zip(panels, (2, 3, 10), strict=True):
            ax = axes_or_new(panel)
            truth = clouds(dim)[2]
            for name, nums, values in estimates(dim, numbers, options.repetitions):
                sq_errors = ((values - truth) / truth) ** 2
                error = np.sqrt(sq_errors.mean(axis=1))
                spread = sq_errors.std(axis=1) / options.repetitions**0.5 / (2 * error)
                slope, low, high = growth(nums, sq_errors)
                print(
                    f"d = {dim:2d}  {name:25s} L^{slope:.2f} [{low:.2f}, {high:.2f}]   "
                    f"{error[-1]:.1e} +- {spread[-1]:.0e} of the value at {nums[-1]}",
                    flush=True,
                )
                marker, color = LOOKS[name]
                label = f"{name}: $L^{{{slope:.2f}}}$"
                ax.errorbar(
                    nums, error, 2 * spread, color=color, marker=marker, markersize=4, label=label
                )
            ax.set(xscale="log", yscale="log", title=f"d = {dim}")
            ax.set_xlabel("number of directions $L$")
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
        panels[0].set_ylabel(r"root mean square error of SW$_2^2$, relative")
        _script.save(figure, options.output)


if __name__ == "__main__":
    main()
