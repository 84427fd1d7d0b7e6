"""Slightly more particles than spikes find the global minimum, and a certificate proves it.

Five spikes on the circle are seen through an ideal low-pass filter of order 7, the first experiment
of Chizat and Bach (2018). Particles start with weight 0 on a uniform grid and make forward-backward
steps. Measured:

1. paths of m = 6, 10 and 100 particles and the duality gap at the end, a proven bound of the
   distance to the minimum over all measures;
2. for ten random sets of spikes, the gap against m = 1 ... 30, and the gap of the best measure on m
   fixed positions, a uniform grid or a random one, which is a convex problem.

    python experiments/slightly_more_particles_than_spikes_suffice.py

prints the numbers and writes the figure.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save

from swjax import particles as P
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style

ORDER, NUM_SPIKES, SHOWN = 7, 5, 3  # SHOWN: the set of spikes whose paths are drawn
REACHED, SCHEME = 1e-9, P.MonotoneForwardBackward()


def problems(num):
    """As many problems with random spikes, as one batch."""
    draw = lambda key: P.spikes_deconvolution(*P.sample_spikes(key, NUM_SPIKES), order=ORDER)
    return jax.vmap(draw)(keys(0, num))


def member(batch, index):
    """One problem or cloud of a batch."""
    return jax.tree.map(lambda leaf: leaf[index], batch)


def gaps_of_particles(batch, counts, num_steps):
    """Gap of every problem and number of particles, (problems, counts)."""
    clouds = P.stack_particles([P.uniform_grid(num) for num in counts])

    def run(problem, cloud):
        return P.particle_flow(problem, cloud, SCHEME, num_steps=num_steps, num_records=1).gap.gap

    over_counts = jax.vmap(run, (None, 0))
    return np.asarray(jax.vmap(over_counts, (0, None))(batch, clouds))


def gaps_of_fixed_positions(batch, counts, draw):
    """Gap of the best measure on m fixed positions, (problems, counts)."""
    found = []
    for num in counts:
        one = lambda problem, key, num=num: (
            P.duality_gap(problem, P.fit_weights(problem, draw(key, num))).gap
        )
        found.append(jax.jit(jax.vmap(one))(batch, keys(1, len(batch.loss.target))))
    return np.stack(found, axis=1)


def draw_paths(ax, flow, spikes, title):
    """Signed roots of the masses over positions, which keep small masses visible."""
    root = lambda mass: np.sign(mass) * np.sqrt(np.abs(mass))
    masses = root(np.asarray(flow.path.weights * flow.path.shares))
    positions = np.asarray(flow.path.positions)[..., 0]
    for shift in (-1, 0, 1):
        ax.plot(positions + shift, masses, color=MUTED, lw=0.7, zorder=1)
        ax.scatter(positions[-1] + shift, masses[-1], s=16, color=CATEGORICAL[0], zorder=3)
    weights, places = spikes
    ax.vlines(places[:, 0], 0, root(weights), color=CATEGORICAL[1], lw=1.2, ls="--", zorder=2)
    ax.axhline(0, color=INK, lw=0.7)
    ax.set(xlim=(0, 1), xlabel="position", title=title)


def draw_times(ax, flow):
    """Positions over the logarithm of time, as dark as the masses are large."""
    masses = np.abs(np.asarray(flow.path.weights * flow.path.shares))
    positions = np.asarray(flow.path.positions)[..., 0] % 1
    times = np.broadcast_to(np.maximum(flow.steps, 0.7)[:, None], positions.shape)
    dark = masses / masses.max()
    order = np.argsort(dark.ravel())
    ax.scatter(
        times.ravel()[order], positions.ravel()[order], c=dark.ravel()[order], s=5, cmap="Blues",
        vmin=-0.25, vmax=1, lw=0,
    )  # fmt: skip
    ax.set(xscale="log", xlabel="step", ylabel="position", ylim=(0, 1))


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, problems=10, steps=3000, largest=30)
    jax.config.update("jax_enable_x64", True)
    batch = problems(given.problems)
    shown = min(SHOWN, given.problems - 1)
    problem = member(batch, shown)
    spikes = P.sample_spikes(keys(0, given.problems)[shown], NUM_SPIKES)
    flows = {}
    for num in (6, 10, 100):
        flows[num] = P.particle_flow(
            problem, P.uniform_grid(num), SCHEME, num_steps=given.steps, num_records=120
        )
        gap, residual = flows[num].gap, float(flows[num].residuals[-1])
        print(
            f"m = {num:>3}: objective {float(gap.objective):.11f}, gap {float(gap.gap):.1e}, "
            f"residual {residual:.1e}"
        )

    counts = list(range(1, given.largest + 1))
    gaps = gaps_of_particles(batch, counts, given.steps)
    print("m   sets of spikes with gap <= 1e-9   median gap   largest gap")
    for num, column in zip(counts, gaps.T, strict=True):
        if num <= 12 or num % 5 == 0:
            reached = int((column <= REACHED).sum())
            print(
                f"{num:<3} {reached:>3} of {len(column):<23} {np.median(column):<12.2g} "
                f"{column.max():.2g}"
            )
    fixed_counts = [num for num in (1, 2, 3, 5, 8, 12, 20, 30, 50, 90) if num <= 3 * given.largest]
    fixed = {
        "best masses on a uniform grid": gaps_of_fixed_positions(
            batch, fixed_counts, lambda key, num: P.torus_grid(num)
        ),
        "best masses on random positions": gaps_of_fixed_positions(
            batch, fixed_counts, lambda key, num: jax.random.uniform(key, (num, 1))
        ),
    }
    for name, values in fixed.items():
        print(f"{name}, m = {fixed_counts[-1]}: median gap {np.median(values[:, -1]):.2g}")

    with figure_style():
        figure = plt.figure(figsize=(12.5, 8.6), layout="constrained")
        grid = figure.add_gridspec(3, 3, height_ratios=[1, 1, 1.3])
        for column, (num, flow) in enumerate(flows.items()):
            top, below = (axes_or_new(figure.add_subplot(grid[row, column])) for row in (0, 1))
            gap = float(flow.gap.gap)
            draw_paths(top, flow, spikes, f"m = {num}: gap {gap:.1e}")
            draw_times(below, flow)
            top.set_ylabel("signed root of the mass")
        ax = axes_or_new(figure.add_subplot(grid[2, :]))
        floor = 1e-13
        ax.plot(counts, np.maximum(gaps, floor).T, ".", color=CATEGORICAL[0], alpha=0.35)
        ax.plot(
            counts, np.maximum(np.median(gaps, axis=0), floor), color=CATEGORICAL[0],
            label="particles: median (dots: each set of spikes)",
        )  # fmt: skip
        for i, (name, values) in enumerate(fixed.items()):
            ax.plot(
                fixed_counts, np.median(values, axis=0), "-o", ms=4, color=CATEGORICAL[i + 1],
                label=name,
            )  # fmt: skip
        ax.axvline(NUM_SPIKES, color=INK, ls=":", lw=1)
        ax.axhline(REACHED, color=INK, ls=":", lw=1)
        ax.set(
            xscale="log", yscale="log", xlabel="number of particles or positions m",
            ylabel="duality gap", title="Gap against m (dotted: five spikes; 1e-9)",
        )  # fmt: skip
        ax.set_xticks(ticks := [1, 2, 3, 5, 8, 12, 20, 30, 50, 90], [str(t) for t in ticks])
        ax.minorticks_off()
        ax.legend(frameon=False, loc="lower left")
        save(figure, given.output)


if __name__ == "__main__":
    main()
