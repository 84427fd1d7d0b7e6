"""The energy of few directions has minima of its own: cells, traps, zeros, fluctuations.

E_p(X) is SW_2^2(X, Y) averaged over p fixed directions instead of all. Measured in the plane:

1. two free points, Y = (0, +-1): the flow of E_p from random starts ends in a local minimum that is
   not Y with a probability that falls with p, although E itself has no such minimum. All cells of
   E_p are enumerated for the number of its spurious minima;
2. zeros: for p <= d every cell vanishes at its minimizer, so that E_p = 0 at clouds other than Y;
   for p > d none does but the cell of Y, of all (n!)^(p-1) cells, n = 4 (reconstruction theorem);
3. the variance of sqrt(p) (E_p - E) is that of W_2^2 over the direction, for every p.

    python experiments/few_directions_have_minima_of_their_own.py

prints the numbers and writes the figure.
"""

import itertools

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
Y = jnp.asarray(PROBLEM.target)
TRAP_SIZES = (4, 8, 16, 32, 64, 128)


def spurious_minima(theta):
    """The minima of E_p other than Y, by all cells: a/2 turns past each direction once."""
    angles = np.sort(np.arctan2(*np.asarray(theta).T[::-1]) % np.pi) + np.pi / 2
    middles = (angles + np.append(angles[1:], angles[0] + np.pi)) / 2
    side = np.stack([np.cos(middles), np.sin(middles)], axis=1)
    starts = jnp.asarray(np.stack([side, -side], axis=1), Y.dtype)
    cells = jax.vmap(lambda x: swjax.sliced_cell(x, Y, theta))(starts)
    points, _ = jax.vmap(lambda cell: swjax.cell_minimizer(Y, theta, cell))(cells)
    again = jax.vmap(lambda x: swjax.sliced_cell(x, Y, theta))(points)
    stable = (again == cells).all((1, 2)) & (away(points) > 1e-6)
    return np.asarray(points)[np.asarray(stable)]


def away(points):
    """The energy over all directions, zero at Y only."""
    return jax.vmap(PROBLEM.population_loss)(points)


def trapped(key, p, num):
    """Flows of E_p, each with its directions and start: which end elsewhere, which do not end.

    Directions that hardly span the plane make for slow flows: those whose residual is still above
    1e-6 at the end are no traps.
    """

    def run(key):
        start_key, theta_key = jax.random.split(key)
        start = jax.random.normal(start_key, (2, 2))
        theta = swjax.sample_directions(theta_key, p, 2)
        flow = swjax.sliced_flow(start, Y, [0.0, 400.0], step_size=0.25, directions=theta)
        return PROBLEM.population_loss(flow.path[1]), flow.residuals[1]

    energy, residual = map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(key, num)))
    at_rest = residual < 1e-6
    return (energy > 1e-4) & at_rest, ~at_rest


def all_cells(n, p):
    """All p-tuples of permutations of n points, up to relabeling: the first is the identity."""
    orders = list(itertools.permutations(range(n)))
    return np.array([(tuple(range(n)), *rest) for rest in itertools.product(orders, repeat=p - 1)])


def least_other_value(key, n, p):
    """The least value of a cell other than that of Y, and how many vanish; Y is random."""
    y_key, theta_key = jax.random.split(key)
    y = jax.random.normal(y_key, (n, 2))
    theta = swjax.sample_directions(theta_key, p, 2)
    cells = all_cells(n, p)
    cells = cells[~(cells == cells[:, :1]).all((1, 2))]
    minimize = jax.jit(jax.vmap(lambda cell: swjax.cell_minimizer(y, theta, cell)[1]))
    values = np.asarray(minimize(jnp.asarray(cells)))
    return float(values.min()), int((values < 1e-20).sum())


def fluctuations(x, y, sizes, num):
    """For each p: independent values of p (E_p - E)^2, whose mean is Var_theta W_2^2."""
    energy = swjax.sw2_sq_exact_2d(x, y)
    found = {}
    for p in sizes:
        value = lambda key, p=p: swjax.sw2_sq(x, y, swjax.sample_directions(key, p, 2))
        found[p] = np.asarray(p * (jax.jit(jax.vmap(value))(keys(p, num)) - energy) ** 2)
    costs = swjax.sw2_sq_per_direction(x, y, swjax.equispaced_directions(20_000))
    return found, float(jnp.var(costs))


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, repetitions=2000, draws=50)
    jax.config.update("jax_enable_x64", True)
    shares = {}
    for p in TRAP_SIZES:
        caught, moving = trapped(jax.random.key(p), p, given.repetitions)
        shares[p] = exceedance(caught.astype(float), 0.5)
        minima = mean_interval(
            [
                len(spurious_minima(swjax.sample_directions(key, p, 2)))
                for key in keys(p, given.draws)
            ]
        )
        print(
            f"p = {p:>3}: flows trapped {shares[p].estimate:.4f} [{shares[p].low:.4f}, "
            f"{shares[p].high:.4f}], spurious minima {minima.estimate:.2f} [{minima.low:.2f}, "
            f"{minima.high:.2f}], flows not at rest at t = 400: {moving.mean():.3f}"
        )
    sizes = [p for p in TRAP_SIZES if shares[p].estimate > 0]
    rates = [shares[p].estimate for p in sizes]
    resampled = np.random.default_rng(0).binomial(given.repetitions, rates, (2000, len(sizes)))
    draws = np.log(np.maximum(resampled, 0.5) / given.repetitions)
    slope = np.polyfit(np.log(sizes), np.log(rates), 1)[0]
    low, high = np.quantile(np.polyfit(np.log(sizes), draws.T, 1)[0], [0.025, 0.975])
    print(f"share of trapped flows ~ p^{slope:.2f}, bootstrap [{low:.2f}, {high:.2f}]")

    y, theta = jax.random.normal(jax.random.key(1), (4, 2)), jnp.array([[0.6, 0.8]])
    away_from_it = y + jnp.arange(4.0)[:, None] * jnp.array([[0.8, -0.6]])
    value = float(swjax.sw2_sq(away_from_it, y, theta))
    print(f"p = 1: points moved across the direction, E_1 = {value:.1e}")
    for p in (2, 3, 4):
        found = [least_other_value(key, 4, p) for key in keys(p, min(20, given.draws))]
        least, zeros = zip(*found, strict=True)
        print(
            f"p = {p}, n = 4, d = 2, {len(found)} draws: {min(zeros)} to {max(zeros)} of the other "
            f"{24 ** (p - 1) - 1} cells vanish; least value {min(least):.1e} to {max(least):.1e}"
        )

    x, y = (jax.random.normal(key, (10, 2)) for key in keys(5, 2))
    sizes_clt = (1, 4, 16, 64, 256)
    squares, variance = fluctuations(x, y, sizes_clt, given.repetitions)
    for p in sizes_clt:
        interval = mean_interval(squares[p] / variance)
        print(
            f"p = {p:>3}: p Var(E_p) over Var W_2^2 = {interval.estimate:.3f} "
            f"[{interval.low:.3f}, {interval.high:.3f}]"
        )

    with figure_style():
        figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
        left, middle, right = (axes_or_new(ax) for ax in axes)
        landscape(left)
        middle.errorbar(
            sizes,
            [shares[p].estimate for p in sizes],
            np.array([[shares[p].estimate - shares[p].low for p in sizes],
                      [shares[p].high - shares[p].estimate for p in sizes]]),
            fmt="o", color=CATEGORICAL[0],
        )  # fmt: skip
        middle.set(xscale="log", yscale="log")
        first = shares[sizes[0]].estimate * sizes[0]
        middle.plot(sizes, first / np.array(sizes), color=MUTED, label="1/p")
        middle.set_xticks(sizes, [str(p) for p in sizes])
        middle.minorticks_off()
        middle.set(
            xlabel="fixed directions p", ylabel="share of flows that do not reach Y",
            title="Traps of the flow of $E_p$",
        )  # fmt: skip
        middle.legend(frameon=False)
        intervals = [mean_interval(squares[p] / variance) for p in sizes_clt]
        right.errorbar(
            sizes_clt,
            [v.estimate for v in intervals],
            [v.estimate - v.low for v in intervals],
            fmt="o", color=CATEGORICAL[0],
        )  # fmt: skip
        right.axhline(1, color=MUTED)
        right.set(
            xscale="log", xlabel="directions p", ylim=(0.7, 1.3),
            ylabel=r"$p\,\mathrm{Var}(E_p)\;/\;\mathrm{Var}_\theta W_2^2$",
            title=r"Variance of $\sqrt{p}\,(E_p - E)$",
        )  # fmt: skip
        right.set_xticks(sizes_clt, [str(p) for p in sizes_clt])
        right.minorticks_off()
        save(figure, given.output)


def landscape(ax) -> None:
    """E_p of X = {a/2, -a/2} for four directions, with the bounds of its cells and its minima."""
    theta = swjax.sample_directions(jax.random.key(3), 4, 2)
    side = np.linspace(-1.5, 1.5, 201)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    clouds = jnp.asarray(np.stack([grid, -grid], axis=-2).reshape(-1, 2, 2))
    values = jax.jit(jax.vmap(lambda x: swjax.sw2_sq(x, Y, theta)))(clouds)
    levels = np.asarray(values).reshape(grid.shape[:2])
    lines = ax.contour(side, side, levels, 24, cmap="viridis")
    lines.set_linewidth(0.8)
    for c, s in np.asarray(theta):
        ax.plot([3 * s, -3 * s], [-3 * c, 3 * c], color=MUTED, lw=0.8, ls="--")
    minima = spurious_minima(theta)
    both = np.concatenate([minima[:, 0], minima[:, 1]])
    ax.plot(*both.T, "x", color=CATEGORICAL[1], ms=8, mew=2, label="minima of $E_4$ only")
    ax.plot([0, 0], [1, -1], "o", color=INK, label="Y")
    ax.set(
        xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xlabel=r"$a_1 / 2$",
        ylabel=r"$a_2 / 2$", title="$E_4$; dashed: bounds of its cells",
    )  # fmt: skip
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none", loc="lower left")


if __name__ == "__main__":
    main()
