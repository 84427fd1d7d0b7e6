"""Ten thousand particles find twelve spikes on the two-dimensional torus, with a certificate.

The filter passes frequencies up to 5 in each variable (121 real numbers are observed), the penalty
is 15, an eighth of the kernel's maximum. Particles start with weight 0 on grids of 6 x 6, 10 x 10
and 100 x 100 points. The duality gap at the end bounds the distance to the minimum over all
measures on the torus: the maximum of the optimality function is enclosed over the whole of it.

    python experiments/ten_thousand_particles_find_spikes_on_the_torus.py

prints the numbers and writes the figure.
"""

import time

import jax
import matplotlib.pyplot as plt
import numpy as np
from _script import options, save

from swjax import particles as P
from swjax.plot import CATEGORICAL, INK, axes_or_new, figure_style

ORDER, PENALTY, NUM_SPIKES = 5, 15.0, 12


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, largest=100, steps=3000)
    jax.config.update("jax_enable_x64", True)
    weights, places = P.sample_spikes(jax.random.key(3), NUM_SPIKES, 2, separation=0.1)
    problem = P.spikes_deconvolution(weights, places, order=ORDER, penalty=PENALTY)
    flows = {}
    for side in sorted({min(side, given.largest) for side in (6, 10, 100)}):
        start = time.perf_counter()
        flow = P.particle_flow(
            problem, P.uniform_grid(side, 2), P.MonotoneForwardBackward(), num_steps=given.steps
        )
        gap = float(flow.gap.gap)
        seconds = time.perf_counter() - start
        flows[side] = flow
        print(
            f"m = {side**2:>5}: objective {float(flow.gap.objective):.9f}, gap {gap:.1e}, residual "
            f"{float(flow.residuals[-1]):.1e}, {given.steps} steps in {seconds:.0f} s"
        )

    side, flow = max(flows.items())
    path = np.asarray(flow.path.positions)
    with figure_style():
        figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.4))
        figure.set_layout_engine("constrained", w_pad=0.15)
        left, middle, right = (axes_or_new(ax) for ax in axes)
        masses = np.asarray(flow.particles.masses)
        moved = np.flatnonzero(masses)
        for i in moved:
            left.plot(*path[:, i].T, color=INK, lw=0.5, alpha=0.4, zorder=1)
        for sign, color in ((1, CATEGORICAL[0]), (-1, CATEGORICAL[1])):
            of_sign = moved[np.sign(masses[moved]) == sign]
            left.scatter(*path[-1, of_sign].T, s=14, color=color, zorder=3)
            spikes = np.sign(weights) == sign
            left.scatter(
                *np.asarray(places)[spikes].T, s=130, facecolor="none", edgecolor=color, zorder=2
            )
        left.set(
            xlim=(0, 1), ylim=(0, 1), aspect="equal",
            title=f"{len(moved)} of {side**2} particles are left",
        )  # fmt: skip
        grid = P.torus_grid(101, 2)
        values = np.asarray(problem.optimality(flow.particles, grid)).reshape(101, 101).T
        image = middle.imshow(
            values, origin="lower", extent=(0, 1, 0, 1), cmap="Blues_r", vmin=0, vmax=PENALTY
        )
        label = r"$\lambda - |\langle R'(f), \phi(\theta)\rangle|$"
        figure.colorbar(image, ax=middle, shrink=0.85, label=label)
        middle.grid(visible=False)
        middle.set(title="Optimality: nonnegative, 0 at spikes")
        for i, (number, run) in enumerate(flows.items()):
            lower = float(run.gap.lower_bound)
            excess = np.maximum(np.asarray(run.objectives) - lower, 1e-13)
            right.plot(
                np.maximum(run.steps, 0.7), excess, color=CATEGORICAL[i], label=f"m = {number**2}"
            )
        right.set(
            xscale="log", yscale="log", xlabel="step", ylabel="objective less proven lower bound",
            title="Objective less its lower bound",
        )  # fmt: skip
        right.legend(frameon=False, loc="lower left")
        save(figure, given.output)


if __name__ == "__main__":
    main()
