"""Networks somewhat wider than their teacher find it; convex training of random features does not.

Two-layer networks on Gaussian inputs, as in the second and third experiment of Chizat and Bach
(2018): a teacher of m0 neurons, a student of m, gradient descent on the population risk, which is
computed exactly (arc-cosine kernel for ReLU, arcsine kernel for the sigmoid that is the normal
distribution function). The minimum is 0, so the risk at the end is the excess, and the gap; it is
stated relative to the risk of the network that is 0. ReLU neurons start on a small sphere, sigmoid
neurons with outer weight 0. Compared with the least risk over the outer weights of m random
neurons, a convex problem, at the same m.

    python experiments/networks_wider_than_their_teacher_find_it.py

prints the numbers and writes the figure.
"""

from typing import NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save

from swjax import particles as P
from swjax.plot import CATEGORICAL, INK, axes_or_new, figure_style

FOUND = 1e-4  # of the risk of the network that is 0


class Case(NamedTuple):
    """One panel: the teacher, the widths of the student, and the steps."""

    activation: str
    dim: int
    num_teachers: int
    widths: tuple[int, ...]
    step: float
    steps: int


CASES = (
    Case("relu", 2, 4, (1, 2, 3, 4, 6, 8, 12, 20, 40), 1.2, 20_000),
    Case("relu", 20, 5, (1, 3, 4, 5, 6, 7, 8, 12, 20), 1.2, 20_000),
    Case("relu", 100, 20, (5, 10, 15, 18, 20, 22, 25, 30, 40), 1.2, 15_000),
    Case("probit", 2, 2, (1, 2, 3, 4, 6, 8, 12, 20, 40), 4.0, 20_000),
    Case("probit", 20, 5, (1, 3, 4, 5, 6, 7, 8, 12, 20), 4.0, 20_000),
    Case("probit", 100, 20, (5, 10, 15, 18, 20, 22, 25, 30, 40), 4.0, 15_000),
)


def network(key, case):
    """A random teacher; the rows of a sigmoid are long enough to bend it."""
    size = 1.0 if case.activation == "relu" else 3.0
    teacher = P.sample_teacher(key, case.num_teachers, case.dim, size=size)
    return P.two_layer_network(*teacher, activation=case.activation)


def start(key, case, num):
    """Neurons from which the theory starts, as long as those of the teacher for sigmoids."""
    size = 0.1 if case.activation == "relu" else 3.0 / case.dim**0.5
    return network(key, case).initial(jax.random.fold_in(key, num), num, size=size)


def trained(draws, case, num_steps):
    """Relative excess of particles at the end, and how fast they still move, (draws, widths)."""

    def run(key, cloud):
        problem = network(key, case).population
        flow = P.particle_flow(
            problem, cloud, P.GradientDescent(case.step), num_steps=num_steps, num_records=1
        )
        zero = problem.objective(cloud._replace(weights=0 * cloud.weights))
        return flow.gap.gap / zero, flow.residuals[-1]

    clouds = [P.stack_particles([start(key, case, num) for num in case.widths]) for key in draws]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *clouds)
    found = jax.jit(jax.vmap(jax.vmap(run, (None, 0))))(draws, together)
    return tuple(map(np.asarray, found))


def fitted(draws, case):
    """Relative excess of the best outer weights of the first m random neurons, (draws, widths)."""
    return np.stack([fitted_once(key, case) for key in draws])


def fitted_once(key, case):
    """The same for one draw, by least squares in the kernel."""
    net = network(key, case)
    neurons = start(jax.random.fold_in(key, 1), case, case.widths[-1]).positions
    kernel = lambda a, b: np.asarray(net.population.features.kernel(a, b))
    gram, cross = kernel(neurons, neurons), kernel(neurons, net.positions) @ net.weights
    zero = net.weights @ kernel(net.positions, net.positions) @ net.weights
    risks = []
    for num in case.widths:
        best = np.linalg.lstsq(gram[:num, :num], cross[:num], rcond=1e-13)[0]
        risks.append(best @ gram[:num, :num] @ best - 2 * best @ cross[:num] + zero)
    return np.array(risks) / zero


def show(values):
    """Median and range."""
    return f"{np.median(values):.1e} ({values.min():.1e} to {values.max():.1e})"


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, repetitions=5, shorter=1)
    jax.config.update("jax_enable_x64", True)
    with figure_style():
        figure, axes = plt.subplots(2, 3, figsize=(12.5, 7.2), layout="constrained", sharey=True)
        for case, ax in zip(CASES, axes.ravel(), strict=True):
            print(f"{case.activation}, d = {case.dim}, teacher of {case.num_teachers}:")
            draws = keys(case.dim, given.repetitions)
            gaps, residuals = trained(draws, case, max(1, case.steps // given.shorter))
            convex = fitted(draws, case)
            for i, num in enumerate(case.widths):
                print(
                    f"  m = {num:>2}: particles {show(gaps[:, i])}, below {FOUND:g} in "
                    f"{np.sum(gaps[:, i] < FOUND)} of {len(gaps)}, residual "
                    f"{np.median(residuals[:, i]):.0e}; random neurons {show(convex[:, i])}",
                    flush=True,
                )
            draw(axes_or_new(ax), case, gaps, convex)
        for ax in axes[1]:
            ax.set_xlabel("number of neurons m (dotted: the teacher's)")
        for ax in axes[:, 0]:
            ax.set_ylabel("excess risk / risk of the zero network")
        axes[0, 0].legend(frameon=False, loc="lower left")
        save(figure, given.output)


def draw(ax, case, gaps, convex) -> None:
    """Excess against m, every draw and the median."""
    for color, values, label in (
        (0, gaps, "particles"),
        (1, convex, "best outer weights of random neurons"),
    ):
        values = np.maximum(values, 1e-14)
        ax.plot(case.widths, values.T, ".", color=CATEGORICAL[color], alpha=0.4)
        ax.plot(case.widths, np.median(values, 0), color=CATEGORICAL[color], label=label)
    ax.axvline(case.num_teachers, color=INK, ls=":", lw=1)
    name = "ReLU" if case.activation == "relu" else "Sigmoid"
    title = f"{name}, d = {case.dim}, m0 = {case.num_teachers}"
    ax.set(xscale="log", yscale="log", title=title)
    ax.set_xticks(case.widths[::2], [str(num) for num in case.widths[::2]])
    ax.minorticks_off()


if __name__ == "__main__":
    main()
