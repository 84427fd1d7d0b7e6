"""Neurons turn towards those of the teacher, by exact, full-batch and stochastic gradients.

Two-layer networks in the plane, Gaussian inputs, ReLU with penalty 0.01 and random teachers of four
neurons, and a logistic sigmoid with a teacher of two (Chizat and Bach 2018, second experiment):

1. m = 5, 10 and 100 ReLU neurons under gradient descent on the exact population risk: the duality
   gap at the end over several teachers, and the paths of `|w| theta` for one of them;
2. the objective of m = 100 neurons, evaluated exactly, under the exact gradient, SGD on fresh
   inputs (batches of 150, two step sizes) and full batches of 200 and 2000 inputs;
3. paths of `|w| theta` of 20 sigmoid neurons under SGD, and their risk on 10 000 other inputs.

    python experiments/neurons_turn_to_those_of_the_teacher.py

prints the numbers and writes the figure.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save
from jax.tree_util import Partial

from swjax import particles as P
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style

PENALTY, STEP, BATCH = 0.01, 1.0, 150
SHOWN = 2  # the number of the teacher in the figure, one that five neurons do not find


def relu_network(key):
    """A random teacher of four ReLU neurons."""
    return P.two_layer_network(*P.sample_teacher(key, 4, 2), penalty=PENALTY)


def relu_runs(draws, num, num_steps):
    """Gradient descent on the exact risk, for every teacher."""

    def run(key):
        network = relu_network(key)
        start = network.initial(jax.random.fold_in(key, num), num)
        return P.particle_flow(
            network.population, start, P.GradientDescent(STEP), num_steps=num_steps
        )

    return jax.jit(jax.vmap(run))(draws)


def fresh(network):
    """The problem of one minibatch, as a function of a key."""
    return Partial(P.TwoLayerNetwork.sample, network, batch_size=BATCH)


def same(problem, key):
    """One problem for every key: a full batch."""
    return problem


def arms(network, start, num_steps):
    """Runs of 100 neurons from one start by different gradients, with exact objective and gap."""
    samplers: dict[str, tuple[float, Partial | None]] = {"exact gradient": (STEP, None)}
    for step in (STEP, STEP / 10):
        samplers[f"SGD, batches of {BATCH}, step {step:g}"] = (step, fresh(network))
    for num in (200, 2000):
        inputs = jax.random.normal(jax.random.key(5), (num, 2))
        samplers[f"full batch of {num}"] = (STEP, Partial(same, network.on_inputs(inputs)))
    return {
        name: P.particle_flow(
            network.population, start, P.GradientDescent(step), num_steps=num_steps,
            num_records=60, sample=sample, key=None if sample is None else jax.random.key(3),
        )
        for name, (step, sample) in samplers.items()
    }  # fmt: skip


def draw_paths(ax, flow, teacher, title):
    """`|w| theta` of every neuron in the colors of the sign of w; dashes for the teacher."""
    path = np.abs(np.asarray(flow.path.weights))[..., None] * np.asarray(flow.path.positions)
    weights = np.asarray(flow.particles.weights)
    for i in range(path.shape[1]):
        color = CATEGORICAL[0] if weights[i] > 0 else CATEGORICAL[1]
        ax.plot(*path[:, i].T, color=MUTED, lw=0.7, zorder=1)
        ax.scatter(*path[-1, i], s=16, color=color, zorder=3)
    reach = 1.15 * np.abs(path).max()
    for weight, position in zip(*map(np.asarray, teacher), strict=True):
        end = 2 * reach * position / np.linalg.norm(position)
        color = CATEGORICAL[0] if weight > 0 else CATEGORICAL[1]
        ax.plot([0, end[0]], [0, end[1]], ls="--", lw=1.2, color=color, zorder=0)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title)
    ax.set(xlabel=r"$|w|\,\theta_1$", ylabel=r"$|w|\,\theta_2$")


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, steps=10_000, teachers=8)
    jax.config.update("jax_enable_x64", True)
    draws = keys(0, given.teachers)
    shown = min(SHOWN, given.teachers - 1)
    flows = {}
    for num in (5, 10, 100):
        runs = relu_runs(draws, num, given.steps)
        flows[num] = jax.tree.map(lambda leaf: leaf[shown], runs)  # noqa: B023
        gaps = np.asarray(runs.gap.gap / runs.gap.objective)
        listed = ", ".join(f"{gap:.0e}" for gap in np.sort(gaps))
        print(
            f"ReLU, m = {num:>3}: gap / objective at most 0.001 in {np.sum(gaps <= 1e-3)} of "
            f"{len(gaps)} ({listed}), largest residual {runs.residuals[:, -1].max():.0e}",
            flush=True,
        )
    network = relu_network(draws[shown])
    teacher = (network.weights, network.positions)
    for num, flow in flows.items():
        print(
            f"shown, m = {num:>3}: objective {float(flow.gap.objective):.9f}, "
            f"gap {float(flow.gap.gap):.1e}, residual {float(flow.residuals[-1]):.0e}"
        )
    start = network.initial(jax.random.fold_in(draws[shown], 100), 100)
    found = arms(network, start, given.steps)
    best = max(float(flow.gap.lower_bound) for flow in found.values())
    for name, flow in found.items():
        print(
            f"m = 100, {name}: exact objective {float(flow.objectives[-1]):.7f}, "
            f"gap {float(flow.gap.gap):.1e}"
        )
    sigmoid = P.two_layer_network(
        jnp.array([1.0, -1.0]), jnp.array([[3.0, 1.0], [-1.0, 2.0]]), activation="sigmoid"
    )
    others = sigmoid.on_inputs(jax.random.normal(jax.random.key(9), (10_000, 2)))
    flow = P.particle_flow(
        others, sigmoid.initial(jax.random.key(2), 20), P.GradientDescent(STEP),
        num_steps=given.steps, sample=fresh(sigmoid), key=jax.random.key(4),
    )  # fmt: skip
    print(
        f"sigmoid, m = 20, SGD: risk on other inputs {float(flow.objectives[0]):.1e} to "
        f"{float(flow.objectives[-1]):.1e} (the minimum is 0), "
        f"residual {float(flow.residuals[-1]):.0e}"
    )

    with figure_style():
        figure, axes = plt.subplots(2, 3, figsize=(12.5, 8.2), layout="constrained")
        for ax, (num, run) in zip(axes[0], flows.items(), strict=True):
            title = f"ReLU, m = {num}: gap {float(run.gap.gap):.1e}"
            draw_paths(axes_or_new(ax), run, teacher, title)
        axes[0, 0].plot([], [], "--", color=INK, lw=1.2, label="of the teacher")
        for i, sign in enumerate("><"):
            axes[0, 0].plot([], [], "o", ms=4, color=CATEGORICAL[i], label=f"w {sign} 0")
        axes[0, 0].legend(frameon=False, loc="upper right")
        ax = axes_or_new(axes[1, 0])
        for i, (name, run) in enumerate(found.items()):
            times = np.maximum(run.steps, 0.7)
            excess = np.maximum(np.asarray(run.objectives) - best, 1e-9)
            ax.plot(times, excess, color=[INK, *CATEGORICAL][i], label=name)
        ax.set(
            xscale="log", yscale="log", xlabel="step", ylabel="objective - proven lower bound",
            title="ReLU, m = 100, exact objective",
        )  # fmt: skip
        ax.legend(frameon=False, loc="lower left")
        risk = float(flow.objectives[-1])
        sigmoid_teacher = (sigmoid.weights, sigmoid.positions)
        draw_paths(
            axes_or_new(axes[1, 1]), flow, sigmoid_teacher, f"Sigmoid, SGD, m = 20: risk {risk:.1e}"
        )
        ax = axes_or_new(axes[1, 2])
        ax.plot(np.maximum(flow.steps, 0.7), flow.objectives, color=CATEGORICAL[0])
        ax.set(
            xscale="log", yscale="log", xlabel="step", ylabel="risk on other inputs",
            title="Sigmoid, SGD",
        )  # fmt: skip
        save(figure, given.output)


if __name__ == "__main__":
    main()
