"""Stochastic gradients find the teacher as exact ones do; a full batch only if it is large.

Two-layer networks in dimension 20 and 100, ReLU and the sigmoid that is the normal distribution
function, without penalty; students of 12 and 30 neurons, teachers of 5 and 20. Gradient descent on
the exact population risk, SGD on fresh Gaussian inputs, and, for fewer steps, full batches of two
sizes, one below and one above the number of parameters of the student. The risk shown is the exact
one, relative to that of the network that is 0; its minimum is 0. Steps are made in single
precision, risks are evaluated in double. Noise does not keep SGD away from the minimum, since the
gradient of every minibatch vanishes at the teacher.

    python experiments/stochastic_gradients_find_the_teacher_as_well.py

prints the numbers and writes the figure.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save
from jax.tree_util import Partial

from swjax import particles as P
from swjax.plot import CATEGORICAL, INK, axes_or_new, figure_style


class Case(NamedTuple):
    """One panel: teacher and student, the step of each gradient, and the sizes of full batches."""

    activation: str
    dim: int
    num_teachers: int
    width: int
    step: float
    stochastic_step: float
    inputs: tuple[int, int]


BATCH = 100
LONGER = 6  # as many times the steps of full batches are made with the cheaper gradients
CASES = (
    Case("relu", 20, 5, 12, 1.2, 0.6, (100, 2000)),
    Case("relu", 100, 20, 30, 1.2, 0.3, (1000, 8000)),
    Case("probit", 20, 5, 12, 4.0, 2.0, (100, 2000)),
    Case("probit", 100, 20, 30, 4.0, 2.0, (1000, 8000)),
)


def draw_problem(key, case):
    """A network with a random teacher, and the neurons of the student at the start."""
    relu = case.activation == "relu"
    teacher = P.sample_teacher(key, case.num_teachers, case.dim, size=1.0 if relu else 3.0)
    network = P.two_layer_network(*teacher, activation=case.activation)
    size = 0.1 if relu else 3.0 / case.dim**0.5
    return network, network.initial(jax.random.fold_in(key, 1), case.width, size=size)


def same(problem, key):
    """One problem for every key: a full batch."""
    return problem


def cast(tree, dtype):
    """The same in another precision."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def run(key, case, step, num_inputs, num_steps):
    """Steps, the relative exact risk along the run, and the residual at its end.

    `num_inputs` is the size of a full batch, 0 for fresh minibatches, None for the exact gradient.
    """
    network, start = draw_problem(key, case)
    exact, single = network.population, cast(network, jnp.float32)
    sample = None
    if num_inputs == 0:
        sample = Partial(P.TwoLayerNetwork.sample, single, batch_size=BATCH)
    elif num_inputs is not None:
        inputs = jax.random.normal(jax.random.fold_in(key, 2), (num_inputs, case.dim))
        sample = Partial(same, single.on_inputs(jnp.asarray(inputs, jnp.float32)))
    flow = P.particle_flow(
        single.population, cast(start, jnp.float32), P.GradientDescent(step), num_steps=num_steps,
        num_records=40, sample=sample, key=None if sample is None else jax.random.fold_in(key, 3),
    )  # fmt: skip
    path = cast(flow.path, jnp.float64)
    zero = exact.objective(start._replace(weights=0 * start.weights))
    end = jax.tree.map(lambda leaf: leaf[-1], path)
    return flow.steps, jax.vmap(exact.objective)(path) / zero, exact.residual(end)


def arms(case, num_steps):
    """Names, step sizes, inputs and numbers of steps of the gradients compared."""
    longer = LONGER * num_steps
    yield "exact gradient", case.step, None, longer
    yield f"SGD, fresh batches of {BATCH}", case.stochastic_step, 0, longer
    for num in case.inputs:
        yield f"full batch of {num}", case.step, num, num_steps


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, repetitions=3, num_steps=4000)
    jax.config.update("jax_enable_x64", True)
    with figure_style():
        figure, axes = plt.subplots(2, 2, figsize=(9.5, 7.4), layout="constrained", sharey=True)
        for case, ax in zip(CASES, axes.ravel(), strict=True):
            name = "ReLU" if case.activation == "relu" else "Sigmoid"
            title = f"{name}, d = {case.dim}, m = {case.width}, m0 = {case.num_teachers}"
            print(title)
            axes_or_new(ax)
            for i, (arm, step, num, num_steps) in enumerate(arms(case, given.num_steps)):
                one = lambda key: run(key, case, step, num, num_steps)  # noqa: B023
                measured = jax.jit(jax.vmap(one))(keys(case.dim, given.repetitions))
                steps, risks, residuals = map(np.asarray, measured)
                ends = risks[:, -1]
                print(
                    f"  {arm}, {num_steps} steps of {step:g}: relative risk {np.median(ends):.1e} "
                    f"({ends.min():.1e} to {ends.max():.1e}), residual of the exact risk "
                    f"{np.median(residuals):.0e}",
                    flush=True,
                )
                color = [INK, *CATEGORICAL][i]
                ax.plot(np.maximum(steps[0], 0.7), np.median(risks, 0), color=color, label=arm)
                ax.fill_between(
                    np.maximum(steps[0], 0.7), risks.min(0), risks.max(0), color=color,
                    alpha=0.15, lw=0,
                )  # fmt: skip
            ax.set(xscale="log", yscale="log", title=title)
            ax.legend(frameon=False, loc="lower left")
        for ax in axes[1]:
            ax.set_xlabel("step")
        for ax in axes[:, 0]:
            ax.set_ylabel("exact risk / risk of the zero network")
        save(figure, given.output)


if __name__ == "__main__":
    main()
