"""SGD leaves the saddles of the sliced-Wasserstein energy, and exact ties unless it averages them.

Two free points X in the plane against Y = (0, +-1), where every critical point of
E(X) = SW_2^2(X, Y) is known (`swjax.problems.TwoFreePoints`). Measured:

1. gradient and value at the saddles (+-2/pi, 0), and how many of the SGD runs with one fresh
   direction per step that start exactly there reach Y;
2. the same from two coinciding points, with the derivative of sorting and with one that shares
   ties;
3. the time to leave the saddle against the number L of fresh directions per step. Linearized
   there, the deviation along b = y_1 - y_2 grows like e^{t/2} and gets noise of variance h s^2 / L
   per unit of time, so that the mean time to leave is log(L / h) + constant: slope 1 in log L.

    python experiments/sgd_leaves_saddles_and_ties_of_free_points.py

prints the numbers and writes the figure.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save

import swjax
from swjax.convergence import exceedance, mean_interval
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style
from swjax.problems import TwoFreePoints

PROBLEM = TwoFreePoints(np.array([[0.0, 1.0], [0.0, -1.0]]))
NUM_DIRECTIONS = (1, 4, 16, 64, 256)


def sgd(start, key, num_directions, times, step_size):
    """SGD as a sliced flow with fresh directions; for n = 2, a step h has the learning rate h."""
    return swjax.sliced_flow(
        start, jnp.asarray(PROBLEM.target), times, step_size=step_size,
        num_directions=num_directions, key=key,
    )  # fmt: skip


def sharing_ties(start, key, num_steps, step_size):
    """SGD on the same loss written with minimum and maximum, whose derivatives share ties."""
    y = jnp.asarray(PROBLEM.target)

    def loss(x, theta):
        along_x, along_y = x @ theta, y @ theta
        gap = jnp.stack([along_x.min() - along_y.min(), along_x.max() - along_y.max()])
        return jnp.mean(gap**2)

    step = lambda x, theta: (x - step_size * jax.grad(loss)(x, theta), None)
    return jax.lax.scan(step, start, swjax.sample_directions(key, num_steps, 2))[0]


def reached(ends):
    """Which of the clouds are Y, in either order."""
    gap = jnp.abs(ends[:, None] - jnp.asarray(PROBLEM.minimizers)[None])
    return np.asarray(gap.max((-1, -2)).min(1) < 1e-3)


def leaving_times(num_directions, num, step_size, horizon):
    """When the energy first is below half its value at the saddle; at most the horizon."""
    times = np.linspace(0, horizon, 201)
    start = jnp.asarray(PROBLEM.saddle([1.0, 0.0]))
    run = lambda key: sgd(start, key, num_directions, times, step_size).path
    values = jax.jit(jax.vmap(lambda key: jax.vmap(PROBLEM.population_loss)(run(key))))(
        keys(num_directions, num)
    )
    below = np.asarray(values) < PROBLEM.saddle_value / 2
    return np.where(below.any(1), times[below.argmax(1)], np.inf)


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, repetitions=100, leaving=1000)
    jax.config.update("jax_enable_x64", True)
    saddle = jnp.asarray(PROBLEM.saddle([1.0, 0.0]))
    gradient = jax.grad(swjax.sw2_sq_exact_2d)(saddle, jnp.asarray(PROBLEM.target))
    value = float(swjax.sw2_sq_exact_2d(saddle, jnp.asarray(PROBLEM.target)))
    print(f"saddle {saddle.round(6).tolist()}: |gradient| {float(jnp.abs(gradient).max()):.1e},")
    print(f"  value {value:.12f}, formula {PROBLEM.saddle_value:.12f}")

    num, times = given.repetitions, np.linspace(0, 240, 241)
    tie = jnp.zeros((2, 2))
    paths = {}
    for name, start in (("the saddle", saddle), ("an exact tie", tie)):
        run = jax.jit(jax.vmap(lambda key, start=start: sgd(start, key, 1, times, 0.2)))
        flow = run(keys(0, num))
        paths[name] = np.asarray(flow.path)
        there = reached(flow.path[:, -1])
        share = exceedance(there.astype(float), 0.5)
        print(
            f"SGD from {name}, one direction: {there.sum()} of {num} runs reach Y "
            f"[{share.low:.3f}, 1], largest residual {float(flow.residuals[:, -1].max()):.1e}"
        )
    shared = jax.jit(jax.vmap(lambda key: sharing_ties(tie, key, 1200, 0.2)))(keys(0, num))
    together = np.asarray((shared[:, 0] == shared[:, 1]).all(-1))
    print(f"with derivatives that share ties: {together.sum()} of {num} runs still tied at the end")

    step, horizon = 0.05, 40.0
    found = {L: leaving_times(L, given.leaving, step, horizon) for L in NUM_DIRECTIONS}
    for L, times_to_leave in found.items():
        interval = mean_interval(times_to_leave)
        print(
            f"L = {L:>3}: leaves after {interval.estimate:.2f} [{interval.low:.2f}, "
            f"{interval.high:.2f}], {interval.num_left_out} of {given.leaving} not before {horizon}"
        )
    logs = np.log(NUM_DIRECTIONS)
    stacked = np.stack([found[L] for L in NUM_DIRECTIONS], axis=1)
    slopes = np.polyfit(logs, stacked.T, 1)[0]
    slope = mean_interval(slopes)
    print(f"slope in log L: {slope.estimate:.3f} [{slope.low:.3f}, {slope.high:.3f}], predicted 1")

    with figure_style():
        figure, axes = plt.subplots(1, 3, figsize=(13, 4.1), layout="constrained")
        left, middle, right = (axes_or_new(ax) for ax in axes)
        side = np.linspace(-1.25, 1.25, 141)
        grid = np.stack(np.meshgrid(side, side), axis=-1)
        clouds = np.stack([grid, -grid], axis=-2).reshape(-1, 2, 2)
        energy = np.asarray(jax.jit(jax.vmap(PROBLEM.population_loss))(jnp.asarray(clouds)))
        lines = left.contour(side, side, energy.reshape(grid.shape[:2]), 18, cmap="viridis")
        lines.set_linewidth(0.8)
        for path in paths["the saddle"][:3]:
            left.plot(*(path[:, 0] - path[:, 1]).T / 2, lw=1, color=CATEGORICAL[0])
        left.plot([], [], color=CATEGORICAL[0], label="from the saddle")
        left.plot([2 / np.pi, -2 / np.pi], [0, 0], "x", color=INK, ms=8, mew=2, label="saddle")
        left.plot([0, 0], [1, -1], "o", color=INK, label="Y")
        left.plot([0], [0], "+", color=INK, ms=9, label="tie: a ridge")
        left.set(
            xlabel=r"$a_1 / 2$", ylabel=r"$a_2 / 2$", aspect="equal",
            title=r"$E$ of $X = \{a/2, -a/2\}$, three runs",
        )  # fmt: skip
        left.legend(frameon=True, framealpha=0.9, edgecolor="none", loc="lower left")
        for i, name in enumerate(paths):
            energies = jax.jit(jax.vmap(jax.vmap(PROBLEM.population_loss)))(
                jnp.asarray(paths[name][:30])
            )
            middle.semilogy(times, np.asarray(energies).T, color=CATEGORICAL[i], lw=0.6, alpha=0.6)
            middle.plot([], [], color=CATEGORICAL[i], label=f"from {name}")
        stuck = float(PROBLEM.population_loss(shared[0]))
        middle.axhline(stuck, color=MUTED, ls="--", label="from a tie, ties shared")
        middle.set(xlabel="flow time t", ylabel=r"$E = SW_2^2$", title="SGD, one direction a step")
        middle.set_ylim(1e-12, 2)
        middle.set_xlim(0, 60)
        middle.legend(frameon=False, loc="center right")
        intervals = [mean_interval(found[L]) for L in NUM_DIRECTIONS]
        means = np.array([v.estimate for v in intervals])
        bars = np.array([v.estimate - v.low for v in intervals])
        right.errorbar(NUM_DIRECTIONS, means, bars, fmt="o", color=CATEGORICAL[0], label="measured")
        right.plot(NUM_DIRECTIONS, logs + (means - logs).mean(), color=MUTED,
                   label=r"$\log L$ + constant")  # fmt: skip
        right.set_xscale("log")
        right.set_xticks(NUM_DIRECTIONS, [str(L) for L in NUM_DIRECTIONS])
        right.minorticks_off()
        right.set(
            xlabel="fresh directions per step, L", ylabel="mean flow time to leave the saddle",
            title="More directions leave later",
        )  # fmt: skip
        right.set_ylim(bottom=0)
        right.legend(frameon=False)
        save(figure, given.output)


if __name__ == "__main__":
    main()
