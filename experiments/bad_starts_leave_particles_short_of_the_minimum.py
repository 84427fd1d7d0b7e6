"""Particles that start badly come to rest far from the minimum, and the gap says so.

Deconvolution of five spikes, as in slightly_more_particles_than_spikes_suffice.py, with thirty
particles (or four) from different starts, on sixteen random sets of spikes. At the end of every run
the residual says whether the flow is at rest, and the duality gap whether that is the minimum:

* weights 0 on a uniform grid, where the theory starts;
* too few particles; all at one point; on a tenth and on a half of the circle;
* weights away from 0: all +1, and Gaussian of size 100 on the same grid;
* multiplicative steps, which keep signs, from weights of both signs and from positive ones.

Each with monotone forward-backward steps (`MonotoneForwardBackward`), and with those of the paper's
metric, in which positions move in proportion to the weight (`ForwardBackward`).

    python experiments/bad_starts_leave_particles_short_of_the_minimum.py

prints the numbers and writes the figure.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save

from swjax import particles as P
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style

NUM, REACHED = 30, 1e-9
MONOTONE, PAPER = P.MonotoneForwardBackward(), P.ForwardBackward(0.06, 2e-5 / NUM)
CONIC = P.ConicDescent(0.02, 1e-5)


def starts():
    """Every start by its name."""
    grid, nothing = P.torus_grid(NUM), jnp.zeros(NUM)
    signs = jnp.where(jnp.arange(NUM) % 2 == 0, 1.0, -1.0)
    return {
        "uniform grid": P.as_particles(nothing, grid),
        "only 4 particles": P.uniform_grid(4),
        "all at one point": P.as_particles(nothing, 0 * grid + 0.5),
        "on a tenth of the circle": P.as_particles(nothing, 0.1 * grid),
        "on half of the circle": P.as_particles(nothing, 0.5 * grid),
        "weights +1": P.as_particles(nothing + 1, grid),
        "Gaussian weights, size 100": P.as_particles(
            100 * jax.random.normal(jax.random.key(4), (NUM,)), grid
        ),
        "multiplicative, both signs": P.as_particles(signs, grid),
        "multiplicative, positive": P.as_particles(nothing + 1, grid),
    }


def run(batch, clouds, scheme, num_steps):
    """Gaps and residuals at the end, (problems, starts)."""
    one = lambda problem, cloud: P.particle_flow(
        problem, cloud, scheme, num_steps=num_steps, num_records=1
    )
    over_starts = jax.vmap(one, (None, 0))
    flows = jax.jit(jax.vmap(over_starts, (0, None)))(batch, P.stack_particles(clouds))
    return np.asarray(flows.gap.gap), np.asarray(flows.residuals[..., -1])


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, problems=16, steps=5000)
    jax.config.update("jax_enable_x64", True)
    draw = lambda key: P.spikes_deconvolution(*P.sample_spikes(key, 5), order=7)
    batch = jax.vmap(draw)(keys(0, given.problems))
    clouds = starts()
    conic = [name for name in clouds if name.startswith("multiplicative")]
    others = [name for name in clouds if name not in conic]
    results = {}
    for label, names, scheme, factor in (
        ("monotone steps", others, MONOTONE, 1),
        ("the paper's metric", others, PAPER, 5),
        ("multiplicative steps", conic, CONIC, 5),
    ):
        ends = run(batch, [clouds[name] for name in names], scheme, factor * given.steps)
        for i, name in enumerate(names):
            gaps, residuals = (end[:, i] for end in ends)
            results[name, label] = gaps
            print(
                f"{name:<28} {label:<21} gap <= 1e-9: {int((gaps <= REACHED).sum()):>2} of "
                f"{len(gaps)}; median {np.median(gaps):<8.2g} largest {gaps.max():<8.2g} "
                f"median residual {np.median(residuals):.1g}"
            )

    shown = ["uniform grid", "all at one point", "on half of the circle"]
    problem = jax.tree.map(lambda leaf: leaf[0], batch)
    weights, places = P.sample_spikes(keys(0, given.problems)[0], 5)
    with figure_style():
        figure = plt.figure(figsize=(12.5, 7.8), layout="constrained")
        grid = figure.add_gridspec(2, 3, height_ratios=[1, 1.25])
        for column, name in enumerate(shown):
            flow = P.particle_flow(
                problem, clouds[name], PAPER, num_steps=5 * given.steps, num_records=100
            )
            ax = axes_or_new(figure.add_subplot(grid[0, column]))
            masses = np.asarray(flow.path.weights * flow.path.shares)
            roots = np.sign(masses) * np.sqrt(np.abs(masses))
            positions = np.asarray(flow.path.positions)[..., 0]
            for shift in (-1, 0, 1):
                ax.plot(positions + shift, roots, color=MUTED, lw=0.8, zorder=1)
                ax.scatter(positions[-1] + shift, roots[-1], s=14, color=CATEGORICAL[0], zorder=3)
            tops = np.sign(weights) * np.sqrt(np.abs(weights))
            ax.vlines(places[:, 0], 0, tops, color=CATEGORICAL[1], lw=1.2, ls="--", zorder=2)
            ax.axhline(0, color=INK, lw=0.7)
            gap = float(flow.gap.gap)
            ax.set(
                xlim=(0, 1), xlabel="position", ylabel="signed root of the mass",
                title=f"{name.capitalize()}: gap {gap:.1e}",
            )  # fmt: skip
        ax = axes_or_new(figure.add_subplot(grid[1, :]))
        rows = list(reversed(clouds))
        colors = {"monotone steps": 0, "the paper's metric": 1, "multiplicative steps": 2}
        for (name, label), gaps in results.items():
            offset = 0.12 * (colors[label] - 1) if name in others else 0
            height = np.full(len(gaps), rows.index(name) - offset)
            values = np.maximum(gaps, 1e-13)
            ax.plot(values, height, "o", ms=4, alpha=0.5, color=CATEGORICAL[colors[label]])
        for label, color in colors.items():
            ax.plot([], [], "o", ms=5, color=CATEGORICAL[color], label=label)
        ax.axvline(REACHED, color=INK, ls=":", lw=1)
        ax.set_yticks(range(len(rows)), rows)
        ax.set(
            xscale="log", xlabel="duality gap at the end of the run",
            title=f"{given.problems} sets of spikes for every start (dotted: 1e-9)",
        )  # fmt: skip
        ax.legend(frameon=False, loc="center left")
        save(figure, given.output)


if __name__ == "__main__":
    main()
