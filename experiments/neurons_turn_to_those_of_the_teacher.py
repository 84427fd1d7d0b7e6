"""Neurons turn towards those of the teacher, by exact, full-batch and stochastic gradients.

Two-layer networks in the plane, Gaussian inputs, ReLU with penalty 0.002 and a teacher of four
neurons, and a logistic sigmoid with a teacher of two (Chizat and Bach 2018, second experiment):

1. paths of `|w| theta` for m = 5, 10 and 100 ReLU neurons under gradient descent on the exact
   population risk, with the duality gap at the end;
2. the objective of m = 100 neurons, evaluated exactly, under the exact gradient, SGD on fresh
   inputs (batches of 100, two step sizes) and full batches of 200 and 2000 inputs;
3. paths of `|w| theta` of 20 sigmoid neurons under SGD, and their risk on 10 000 other inputs.

    python experiments/neurons_turn_to_those_of_the_teacher.py

prints the numbers and writes the figure.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import options, save
from jax.tree_util import Partial

from swjax import particles as P
from swjax.plot import figure_style
from swjax.plot._style import CATEGORICAL, INK, MUTED, axes_or_new

PENALTY, STEP, BATCH = 0.002, 1.0, 100


def relu_network():
    """A teacher of four ReLU neurons."""
    return P.two_layer_network(*P.sample_teacher(jax.random.key(1), 4, 2), penalty=PENALTY)


def fresh(network):
    """The problem of one minibatch, as a function of a key."""
    return Partial(P.TwoLayerNetwork.sample, network, batch_size=BATCH)


def arms(network, start, num_steps):
    """Runs of 100 neurons from one start by different gradients, and their exact objectives."""
    exact, records = network.population, dict(num_steps=num_steps, num_records=60)
    found = {
        "exact gradient": P.particle_flow(exact, start, P.GradientDescent(STEP), **records),
    }
    for step in (STEP, STEP / 10):
        found[f"SGD, batches of {BATCH}, step {step:g}"] = P.particle_flow(
            exact, start, P.GradientDescent(step), sample=fresh(network), key=jax.random.key(3),
            **records,
        )  # fmt: skip
    for num in (200, 2000):
        inputs = jax.random.normal(jax.random.key(5), (num, 2))
        problem = network.on_inputs(inputs)
        flow = P.particle_flow(problem, start, P.GradientDescent(STEP), **records)
        objectives = jax.jit(jax.vmap(exact.objective))(flow.path)
        gap = P.duality_gap(exact, flow.particles)
        found[f"full batch of {num}"] = flow._replace(objectives=objectives, gap=gap)
    return found


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
    given = options(__doc__, steps=20_000)
    jax.config.update("jax_enable_x64", True)
    network = relu_network()
    teacher = (network.weights, network.positions)
    flows = {}
    for num in (5, 10, 100):
        start = network.initial(jax.random.key(7), num)
        flows[num] = P.particle_flow(
            network.population, start, P.GradientDescent(STEP), num_steps=given.steps
        )
        gap = flows[num].gap
        print(
            f"ReLU, m = {num:>3}: objective {float(gap.objective):.9f}, gap {float(gap.gap):.1e}, "
            f"residual {float(flows[num].residuals[-1]):.0e}"
        )
    found = arms(network, network.initial(jax.random.key(7), 100), given.steps)
    best = float(found["exact gradient"].gap.lower_bound)
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
        ax = axes_or_new(axes[1, 0])
        for i, (name, run) in enumerate(found.items()):
            times = np.maximum(run.steps, 0.7)
            excess = np.maximum(np.asarray(run.objectives) - best, 1e-12)
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
