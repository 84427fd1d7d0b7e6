"""Collinear critical points of SW_2^2 are unstable; with few fixed directions they are traps.

For a target symmetric about an axis there are points on the axis with gradient exactly zero
(`swjax.problems.CollinearPoints`). Measured, over all directions exactly unless stated:

1. the gradient there, and the change of the energy when the points move up and down in turn by t;
2. the flow from such a perturbed segment: it opens and reaches the target's shape;
3. the flow over p equispaced directions, p even, none of them vertical (Vauthier, Merigot and
   Korba 2025 show such runs). The nearest is e = pi / (2 p) off the vertical, and neighbors on the
   segment at distance g change order there from height t* = (g / 2) tan(e) on: below, the
   perturbation changes no matching, and the segment attracts. Measured: the heights that fall
   back, relative to t* of the closest neighbors (some above it do, too), also with the vertical
   direction among them, and for random directions, whose energy is not symmetric about the axis.

    python experiments/points_on_a_line_are_unstable_unless_directions_are_few.py

prints the numbers and writes the figure.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import options, save

import swjax
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style, sequential_colors
from swjax.problems import CollinearPoints

FACTORS = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01, 1.05, 1.1, 1.2, 1.5, 2, 4, 10])
NUM_DIRECTIONS = (10, 20, 40, 100)


def sliced_uniform(num_rings, per_ring):
    """Points of the law whose projections are uniform on [-1, 1], on rings, symmetric."""
    levels = (np.arange(num_rings) + 0.5) / num_rings
    radius = np.sqrt(1 - (1 - levels) ** 2)
    angle = 2 * np.pi * (0.5 + np.arange(per_ring // 2)) / per_ring
    half = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]
    half = half.reshape(-1, 2)
    return np.concatenate([half, half * [1, -1]])


def falls_back(problem, heights, theta):
    """For each height: does the flow over these directions end on the axis?"""
    y = jnp.asarray(problem.target)
    starts = jnp.asarray(np.stack([problem.perturbed(height) for height in heights]))

    def run(start):
        flow = swjax.sliced_flow(start, y, [0.0, 60.0], step_size=0.4, directions=theta)
        return jnp.abs(flow.path[1, :, 1]).max()

    return np.asarray(jax.jit(jax.vmap(run))(starts)) < 1e-6


def fans(p):
    """Three sets of p directions: equispaced without and with the vertical, and random ones."""
    turn = lambda angle: jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    angles = jnp.pi / p * jnp.arange(p)
    return {
        "equispaced, none vertical": turn(angles + jnp.pi / (2 * p)),
        "equispaced, one vertical": turn(angles),
        "random": swjax.sample_directions(jax.random.key(p), p, 2),
    }


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, rings=5)
    jax.config.update("jax_enable_x64", True)
    problem = CollinearPoints(sliced_uniform(given.rings, 8))
    points, n = problem.points, 8 * given.rings
    gradient = jax.jit(jax.grad(swjax.sw2_sq_exact_2d))(points, problem.target)
    value = float(problem.population_loss(points))
    print(f"n = {n}: E = {value:.6f}, largest entry of the gradient {np.abs(gradient).max():.1e}")
    uniform = 4 / np.pi * (2 * (np.arange(n) + 0.5) / n - 1)
    print(f"distance to the segment of the continuum: {np.abs(points[:, 0] - uniform).max():.4f}")
    small = np.logspace(-4, -0.5, 15)
    fall = np.array([value - float(problem.population_loss(problem.perturbed(t))) for t in small])
    for t, change in zip(small[::3], fall[::3], strict=True):
        print(f"moved up and down by {t:.0e}: E falls by {change:.3e}")
    far = float(problem.population_loss(problem.perturbed(1.0)))
    print(f"moved up and down by 1: E changes from {value:.3f} to {far:.3f}")

    times = np.array([0.0, 5.0, 10.0, 20.0, 80.0])
    flow = swjax.sliced_flow(problem.perturbed(0.01), problem.target, times, step_size=0.4)
    for t, e, r in zip(times, flow.values, flow.residuals, strict=True):
        print(f"flow from height 0.01, t = {t:>4}: E = {float(e):.6f}, residual {float(r):.1e}")

    closest = np.diff(points[:, 0]).min()
    threshold = {p: closest / 2 * np.tan(np.pi / (2 * p)) for p in NUM_DIRECTIONS}
    back = {}
    for p in NUM_DIRECTIONS:
        for name, theta in fans(p).items():
            back[name, p] = falls_back(problem, FACTORS * threshold[p], theta)
            falls = FACTORS[back[name, p]]
            below = back[name, p][FACTORS < 1]
            largest = f"largest {falls.max():g} t*" if falls.size else "no height"
            print(
                f"p = {p:>3} {name}, t* = {threshold[p]:.2e}: {below.sum()} of {below.size} "
                f"heights below t* fall back; {largest} falls back"
            )

    with figure_style():
        figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
        left, middle, right = (axes_or_new(ax) for ax in axes)
        left.loglog(small, fall, "o-", ms=4, color=CATEGORICAL[0])
        left.loglog(small, fall[0] * (small / small[0]) ** 2, color=MUTED, ls=":", label="$t^2$")
        left.set(
            xlabel="height t of the perturbation", ylabel="fall of $E$",
            title="Up and down in turn: $E$ falls",
        )  # fmt: skip
        left.legend(frameon=False)
        middle.plot(*problem.target.T, "o", ms=7, mfc="none", color=MUTED, label="target")
        for t, cloud, color in zip(times, flow.path, sequential_colors(len(times)), strict=True):
            middle.plot(*np.asarray(cloud).T, ".", color=color, label=f"t = {t:g}")
        middle.set(aspect="equal", title="The segment opens", xlabel="$x_1$", ylabel="$x_2$")
        middle.legend(
            frameon=False, fontsize=7.5, ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.16),
            columnspacing=0.8, handletextpad=0.1,
        )  # fmt: skip
        where = np.repeat(NUM_DIRECTIONS, len(FACTORS))
        heights = np.concatenate([FACTORS * threshold[p] for p in NUM_DIRECTIONS])
        fell = np.concatenate([back["equispaced, none vertical", p] for p in NUM_DIRECTIONS])
        right.plot(where[fell], heights[fell], "o", ms=5, color=CATEGORICAL[0], label="falls back")
        right.plot(
            where[~fell], heights[~fell], "o", ms=5, mfc="none", color=CATEGORICAL[1],
            label="leaves the axis",
        )  # fmt: skip
        right.plot(NUM_DIRECTIONS, list(threshold.values()), color=INK, label="$t^*$")
        right.set(
            xscale="log", yscale="log", xlabel="equispaced directions p, none vertical",
            ylabel="height t of the start", title="Few directions hold the line below $t^*$",
        )  # fmt: skip
        right.set_xticks(NUM_DIRECTIONS, [str(p) for p in NUM_DIRECTIONS])
        right.minorticks_off()
        right.legend(frameon=False)
        save(figure, given.output)


if __name__ == "__main__":
    main()
