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
from _script import options, save
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

import swjax
from swjax.convergence import mean_interval, paired_difference
from swjax.generators import MLP
from swjax.plot import figure_style
from swjax.plot._style import CATEGORICAL, INK, MUTED, axes_or_new, sequential_colors

NUM_POINTS, LEVEL = 64, 0.3
TIMES = np.linspace(0, 12, 121)
THETA, FINE = swjax.equispaced_directions(64), swjax.equispaced_directions(256)
WIDTHS = {1: (16, 64, 256, 1024, 4096), 2: (16, 64, 256, 1024), 4: (16, 64, 256)}


def velocity(x, y):
    """The sliced-Wasserstein velocity of a cloud."""
    return swjax.sliced_velocity(x, y, THETA)


def downhill_outputs(kernel, y, x):
    """Minus the velocity of the outputs for a constant kernel; None stands for the identity."""
    v = velocity(x, y)
    return -v if kernel is None else -(kernel @ v.ravel()).reshape(v.shape)


class Generator:
    """A network with what its flows need; one object, and one compilation, for all seeds."""

    def __init__(self, width, depth):
        self.model = MLP(
            features=(width,) * depth, dim=2, activation=nn.tanh,
            kernel_init=nn.initializers.lecun_normal(),
        )  # fmt: skip
        self.prepare = jax.jit(self._prepare)
        self.outputs = jax.jit(jax.vmap(self.model.apply, in_axes=(0, None)))

    def downhill(self, z, y, clock, params):
        """`c` times the gradient of half the squared distance in the parameters."""
        x, pull_back = jax.vjp(lambda u: self.model.apply(u, z), params)
        scaled = -clock / NUM_POINTS * velocity(x, y)
        return pull_back(scaled)[0]

    def _prepare(self, key, z, y):
        """Initial parameters, the clock, and the kernel times c / n."""
        params = self.model.init(key, z)
        flat, unravel = ravel_pytree(params)
        outputs = lambda u: jnp.ravel(jnp.asarray(self.model.apply(unravel(u), z)))
        x, pull_back = jax.vjp(outputs, flat)
        v = velocity(x.reshape(-1, 2), y)
        clock = NUM_POINTS * jnp.sum(v**2) / jnp.sum(pull_back(v.ravel())[0] ** 2)
        jacobian = jax.lax.map(lambda row: pull_back(row)[0], jnp.eye(x.size))
        return params, clock, clock / NUM_POINTS * jacobian @ jacobian.T


def paths(generator, seed, num_steps):
    """The clouds of both flows and of the frozen kernel at all times, and the target."""
    z_key, y_key, u_key = jax.random.split(jax.random.key(seed), 3)
    z = jax.random.normal(z_key, (NUM_POINTS, 2))
    y = swjax.measures.moons().sample(y_key, NUM_POINTS)
    params, clock, kernel = generator.prepare(u_key, z, y)
    start = generator.model.apply(params, z)
    solve = partial(swjax.gradient_flow, None, times=TIMES, num_steps=num_steps)
    trained = solve(params, gradient=Partial(generator.downhill, z, y, clock))
    free = solve(start, gradient=Partial(downhill_outputs, None, y))
    frozen = solve(start, gradient=Partial(downhill_outputs, kernel, y))
    return generator.outputs(trained.path, z), free.path, frozen.path, y


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


def measure(generator, seed, num_steps):
    """All numbers of one seed, relative to SW(start, target)."""
    trained, free, frozen, y = paths(generator, seed, num_steps)
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
    given = options(__doc__, repetitions=8, num_steps=240, largest=4096)
    results = {}
    for depth, widths in WIDTHS.items():
        for width in (w for w in widths if w <= given.largest):
            generator = Generator(width, depth)
            runs = [measure(generator, s, given.num_steps) for s in range(given.repetitions)]
            results[depth, width] = runs
            words = [
                f"{name} {show(mean_interval([run[name] for run in runs]))}"
                for name in ("largest", "equal loss", "frozen", "labeled", "trained", "free")
            ]
            print(f"depth {depth}, width {width:>4}: " + ", ".join(words), flush=True)
            if (depth, width) == (1, 64):
                finer = measure(generator, 0, 2 * given.num_steps)
                change = np.abs(finer["curve"] - runs[0]["curve"]).max()
                print(f"  half the step, seed 0: distances change by at most {change:.1e}")
    for depth in WIDTHS:
        widths = [w for d, w in results if d == depth]
        for name in ("largest", "equal loss", "frozen"):
            ends = [[run[name] for run in results[depth, w]] for w in (widths[-1], widths[0])]
            words = f"{widths[-1]} minus width {widths[0]}"
            print(f"depth {depth}, {name}, width {words}: {show(paired_difference(*ends))}")
    draw(results, given.output)


def draw(results, output) -> None:
    """Four panels: the clouds of one seed, the distance over time, and two readings of it."""
    with figure_style():
        figure, axes = plt.subplots(1, 4, figsize=(16, 4.0), layout="constrained")
        picture, over_time, against_width, equal = (axes_or_new(ax) for ax in axes)
        widths = [w for d, w in results if d == 1]
        y, trained, free = next(
            run["clouds"] for run in results[1, widths[-1]] if run["clouds"][1] is not None
        )
        picture.plot(*np.asarray(y).T, "o", ms=4, mfc="none", color=MUTED, label="target")
        picture.plot(*np.asarray(free).T, "o", ms=4, color=CATEGORICAL[0], label="SW flow")
        picture.plot(*np.asarray(trained).T, "o", ms=4, color=CATEGORICAL[1], label="training")
        picture.set(aspect="equal", title=f"At 30 % of the loss (width {widths[-1]})")
        picture.legend(frameon=False, loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.25))
        for width, color in zip(widths, sequential_colors(len(widths)), strict=True):
            curves = np.stack([run["curve"] for run in results[1, width]])
            over_time.plot(TIMES, curves.mean(0), color=color, label=f"width {width}")
        over_time.set(
            xlabel="flow time t", ylabel="SW(training, SW flow) / SW(start, target)",
            title="Depth 1, mean over the seeds",
        )  # fmt: skip
        over_time.set_ylim(bottom=0)
        over_time.legend(frameon=False)
        for i, depth in enumerate(WIDTHS):
            widths = [w for d, w in results if d == depth]
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
            ax.set_xticks(WIDTHS[1], [str(w) for w in WIDTHS[1]])
            ax.minorticks_off()
            ax.set_ylim(bottom=0)
            ax.legend(frameon=False)
        against_width.set_ylabel("relative to SW(start, target)")
        save(figure, output)


if __name__ == "__main__":
    main()
