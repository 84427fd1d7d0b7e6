"""Training a generator moves its output cloud otherwise than the sliced-Wasserstein flow does.

The parameters of a generator follow u' = -c grad SW_2^2(T(u, z), y) / 2, which moves the outputs by

    x_i' = (c / n) sum_j K_ij v(x_j),    K = (dT/du) (dT/du)^T,

where the sliced-Wasserstein flow of the cloud, started at the same outputs, has x_i' = v(x_i). How
far apart are the two clouds, in SW, and does more width or depth bring them together? Networks with
tanh, 64 latent points, 64 points of the two moons, one loss over 64 directions for both flows. The
clock c makes both losses fall at the same rate at time 0. Measured over seeds (the points and the
initial parameters), relative to SW(start, target):

1. the largest distance between the two clouds up to time 12;
2. the distance when both have brought the loss down to 30 %: no clock is involved there;
3. the distance of the parameter flow to the flow with the kernel K frozen at time 0, which wide
   networks approach: what is left for wide networks is then a matter of this kernel.

    python experiments/training_a_generator_is_not_the_sliced_flow_of_its_outputs.py

prints the numbers and writes the figure.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save

import swjax
from swjax.convergence import mean_interval, paired_difference
from swjax.generators import MLP
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style, sequential_colors

NUM_POINTS, LEVEL = 64, 0.3
TIMES = np.linspace(0, 12, 61)
THETA, FINE = swjax.equispaced_directions(64), swjax.equispaced_directions(256)
DEPTHS, WIDTHS = (1, 2, 4), (8, 25, 80, 250, 800)


def velocity(x, y):
    """The sliced-Wasserstein velocity of a cloud."""
    return swjax.sliced_velocity(x, y, THETA)


def tangent_kernel(params, z):
    """`K = (dT/du) (dT/du)^T`, (n, 2, n, 2), summed over the layers without the Jacobian."""
    layers = params["params"]
    names = sorted(layers)  # layer_0, layer_1, ..., output

    def outputs(shifts, point):
        inputs = []
        for name in names:
            inputs.append(point)
            point = point @ layers[name]["kernel"] + layers[name]["bias"] + shifts[name]
            point = point if name == "output" else nn.tanh(point)
        return point, inputs

    shifts = {name: jnp.zeros_like(layers[name]["bias"]) for name in names}
    slopes, inputs = jax.vmap(jax.jacrev(outputs, has_aux=True), (None, 0))(shifts, z)
    kernel = 0
    for name, h in zip(names, inputs, strict=True):
        backward = jnp.einsum("iap,jbp->iajb", slopes[name], slopes[name])
        kernel += backward * (1 + h @ h.T)[:, None, :, None]
    return kernel


def follow(field, start, shown, per_record):
    """What is shown of `u' = field(u)` at all times, by the Runge-Kutta method of order 4.

    Unlike `swjax.gradient_flow` this keeps no path of the parameters, which may be millions.
    """
    h = (TIMES[1] - TIMES[0]) / per_record
    ahead = lambda u, step, slope: jax.tree.map(lambda a, b: a + step * b, u, slope)

    def advance(_, u):
        first = field(u)
        second = field(ahead(u, h / 2, first))
        third = field(ahead(u, h / 2, second))
        fourth = field(ahead(u, h, third))
        add = lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6
        return ahead(u, h, jax.tree.map(add, first, second, third, fourth))

    def record(u, _):
        u = jax.lax.fori_loop(0, per_record, advance, u)
        return u, shown(u)

    _, later = jax.lax.scan(record, start, None, len(TIMES) - 1)
    return jnp.concatenate([shown(start)[None], later])


@partial(jax.jit, static_argnums=(0, 2))
def paths(model, draws, per_record):
    """The clouds of both flows and of the frozen kernel at all times, and the target, by key."""

    def one(key):
        z_key, y_key, u_key = jax.random.split(key, 3)
        z = jax.random.normal(z_key, (NUM_POINTS, 2))
        y = swjax.measures.moons().sample(y_key, NUM_POINTS)
        params = model.init(u_key, z)
        start, kernel = model.apply(params, z), tangent_kernel(params, z)
        v = velocity(start, y)
        clock = jnp.sum(v**2) / jnp.einsum("ia,iajb,jb", v, kernel, v)

        def downhill(params):
            x, pull_back = jax.vjp(lambda u: model.apply(u, z), params)
            return pull_back(clock * velocity(x, y))[0]

        frozen = lambda x: clock * jnp.einsum("iajb,jb->ia", kernel, velocity(x, y))
        return (
            follow(downhill, params, lambda u: model.apply(u, z), per_record),
            follow(lambda x: velocity(x, y), start, lambda x: x, per_record),
            follow(frozen, start, lambda x: x, per_record),
            y,
        )

    return jax.lax.map(one, draws)


@jax.jit
def distances(a, b):
    """SW between two paths at every time, not squared."""
    return jax.vmap(lambda x, y: swjax.sw_distance(x, y, FINE))(a, b)


@jax.jit
def losses(path, y):
    """The loss of both flows along a path."""
    return jax.vmap(lambda x: swjax.sw2_sq(x, y, THETA))(path)


def at_level(path, values, level):
    """The cloud when the loss first is at the level, between two records; None if it never is."""
    below = np.flatnonzero(values <= level)
    if not below.size:
        return None
    k = below[0]
    share = (values[k - 1] - level) / (values[k - 1] - values[k])
    return path[k - 1] + share * (path[k] - path[k - 1])


def measure(width, depth, draws, per_record):
    """All numbers of every seed, relative to SW(start, target)."""
    model = MLP(
        features=(width,) * depth, dim=2, activation=nn.tanh,
        kernel_init=nn.initializers.lecun_normal(),
    )  # fmt: skip
    return [compare(*run) for run in zip(*paths(model, draws, per_record), strict=True)]


def compare(trained, free, frozen, y):
    """All numbers of one seed."""
    scale = float(swjax.sw_distance(free[0], y, FINE))
    apart = np.asarray(distances(trained, free)) / scale
    values = [np.asarray(losses(path, y), float) for path in (trained, free)]
    first, second = (
        at_level(p, v, LEVEL * v[0]) for p, v in zip((trained, free), values, strict=True)
    )
    at_equal_loss = np.nan
    if first is not None and second is not None:
        at_equal_loss = float(swjax.sw_distance(first, second, FINE)) / scale
    labeled = np.sqrt(np.mean(np.sum(np.asarray(trained - free) ** 2, -1), -1)) / scale
    return {
        "curve": apart,
        "largest": apart.max(),
        "equal loss": at_equal_loss,
        "frozen": float(np.max(np.asarray(distances(trained, frozen)))) / scale,
        "labeled": labeled.max(),
        "trained": values[0][-1] / values[0][0],
        "free": values[1][-1] / values[1][0],
        "clouds": (y, first, second),
    }


def show(interval):
    """An interval in three digits."""
    left_out = f" ({interval.num_left_out} left out)" if interval.num_left_out else ""
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]{left_out}"


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, repetitions=12, per_record=1, largest=WIDTHS[-1])
    draws, results = keys(0, given.repetitions), {}
    widths = [w for w in WIDTHS if w <= given.largest]
    for depth in DEPTHS:
        for width in widths:
            runs = results[depth, width] = measure(width, depth, draws, given.per_record)
            words = [
                f"{name} {show(mean_interval([run[name] for run in runs]))}"
                for name in ("largest", "equal loss", "frozen", "labeled", "trained", "free")
            ]
            print(f"depth {depth}, width {width:>4}: " + ", ".join(words), flush=True)
        middle = widths[len(widths) // 2]
        finer = measure(middle, depth, draws, 2 * given.per_record)
        changes = [
            np.abs(fine["curve"] - run["curve"]).max()
            for fine, run in zip(finer, results[depth, middle], strict=True)
        ]
        print(f"  width {middle}, half the step: distances move by {max(changes):.1e} at most")
    for depth in DEPTHS:
        for name in ("largest", "equal loss", "frozen"):
            ends = [[run[name] for run in results[depth, w]] for w in (widths[-1], widths[0])]
            words = f"{widths[-1]} minus width {widths[0]}"
            print(f"depth {depth}, {name}, width {words}: {show(paired_difference(*ends))}")
    draw(results, widths, given.output)


def draw(results, widths, output) -> None:
    """Four panels: the clouds of one seed, the distance over time, and two readings of it."""
    with figure_style():
        figure, axes = plt.subplots(1, 4, figsize=(16, 4.0), layout="constrained")
        picture, over_time, against_width, equal = (axes_or_new(ax) for ax in axes)
        y, trained, free = next(
            run["clouds"] for run in results[1, widths[-1]] if run["clouds"][1] is not None
        )
        picture.plot(*np.asarray(y).T, "o", ms=4, mfc="none", color=MUTED, label="target")
        picture.plot(*np.asarray(free).T, "o", ms=4, color=CATEGORICAL[0], label="SW flow")
        picture.plot(*np.asarray(trained).T, "o", ms=4, color=CATEGORICAL[1], label="training")
        picture.set(aspect="equal", title=f"At 30 % of the loss (width {widths[-1]})")
        picture.legend(
            frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.09),
            columnspacing=0.8, handletextpad=0.1,
        )  # fmt: skip
        for width, color in zip(widths, sequential_colors(len(widths)), strict=True):
            curves = np.stack([run["curve"] for run in results[1, width]])
            over_time.plot(TIMES, curves.mean(0), color=color, label=f"width {width}")
        over_time.set(
            xlabel="flow time t", ylabel="SW(training, SW flow) / SW(start, target)",
            title="Depth 1, mean over the seeds",
        )  # fmt: skip
        over_time.set_ylim(bottom=0)
        over_time.legend(frameon=False)
        for i, depth in enumerate(DEPTHS):
            shift = 1.06 ** (i - 1)
            for ax, name, style in (
                (against_width, "largest", "o-"), (against_width, "frozen", "s:"),
                (equal, "equal loss", "o-"),
            ):  # fmt: skip
                found = [mean_interval([run[name] for run in results[depth, w]]) for w in widths]
                means = np.array([v.estimate for v in found])
                bars = np.array([v.high - v.estimate for v in found])
                label = f"depth {depth}" if name != "frozen" else None
                ax.errorbar(
                    np.array(widths) * shift, means, bars, fmt=style, ms=4,
                    color=CATEGORICAL[i], label=label,
                )  # fmt: skip
        against_width.plot([], [], "s:", ms=4, color=INK, label="to the frozen kernel")
        for ax, title in ((against_width, "Largest distance"), (equal, "At 30 % of the loss")):
            ax.set(xscale="log", xlabel="width", title=title)
            ax.set_xticks(widths, [str(w) for w in widths])
            ax.minorticks_off()
            ax.set_ylim(bottom=0)
            ax.legend(frameon=False)
        against_width.set_ylabel("relative to SW(start, target)")
        save(figure, output)


if __name__ == "__main__":
    main()
