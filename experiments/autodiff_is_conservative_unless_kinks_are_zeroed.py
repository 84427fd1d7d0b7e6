"""Automatic differentiation is conservative; arbitrary values at kinks are not.

The path-integral test on losses with many kinks: sliced-Wasserstein with free points, also while
two points move together; ReLU networks; lasso; and on three oracles that are not conservative: the
gradient set to zero at ties, dT/du := 0 at the kinks of a generator, and a linear-program layer.

    python experiments/autodiff_is_conservative_unless_kinks_are_zeroed.py

prints the verdicts and writes the figure (about a minute).
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import options, save

import swjax
from swjax import counterexamples, implicit
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style

LEVELS = (32, 64, 128, 256, 512, 1024, 2048)


def cases(key):
    """Name -> (loss, oracle, path, whether the oracle is conservative)."""
    points_key, target_key, network_key, path_key = jax.random.split(key, 4)
    target = jax.random.normal(target_key, (5, 2))
    directions = swjax.sample_directions(points_key, 16, 2)
    sliced = lambda points: swjax.sw2_sq(points, target, directions)
    rest = jax.random.normal(points_key, (3, 2))

    def together(s):
        common = jnp.stack([2 * s - 1, (2 * s - 1) ** 2 - 0.3])
        return jnp.concatenate([jnp.stack([common, common]), rest])

    def zero_at_ties(points):
        same = (points[:, None] == points[None]).all(-1) & ~jnp.eye(len(points), dtype=bool)
        return jnp.where(same.any(1)[:, None], 0.0, jax.grad(sliced)(points))

    model = swjax.generators.MLP(features=(16, 16), dim=2)
    latent = jax.random.normal(network_key, (16, 2))
    data = jax.random.normal(target_key, (16, 2))
    params = model.init(network_key, latent)
    network = lambda u: swjax.sw2_sq(jnp.asarray(model.apply(u, latent)), data, directions)

    generator = np.random.default_rng(0)
    design = jnp.asarray(generator.normal(size=(30, 8)))
    response = design[:, ::2].sum(1) + jnp.asarray(generator.normal(size=30))
    weights = jnp.arange(1.0, 9.0)

    def lasso(u):
        change, log_penalty = u
        return weights @ implicit.lasso(design, response + change, log_penalty, check=False)

    relu_plus = lambda u: jax.nn.relu(u[0]) + u[1]
    zeroed = lambda u: jnp.where(u[0] == 0, 0.0, jax.grad(relu_plus)(u))
    polygon = swjax.sample_polygon(path_key, jnp.zeros((5, 2)), 33, radius=3.0)
    around = swjax.sample_polygon(path_key, params, 65, radius=2.0)
    lasso_path = swjax.sample_polygon(path_key, (jnp.zeros(30), jnp.array(1.0)), 33, radius=8.0)
    plane = swjax.sample_polygon(path_key, jnp.array([1.5, 2.5]), 17, radius=3.0)
    return {
        "SW, free points": (sliced, jax.grad(sliced), polygon, True),
        "SW, two points together": (sliced, jax.grad(sliced), together, True),
        "SW of a ReLU network": (network, jax.grad(network), around, True),
        "lasso, response and penalty": (lasso, jax.grad(lasso), lasso_path, True),
        "SW, zero at ties, together": (sliced, zero_at_ties, together, False),
        "zero at the kink, inside it": (
            relu_plus,
            zeroed,
            jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, -2.0]]),
            False,
        ),
        "linear-program layer": (
            counterexamples.lp_objective,
            jax.grad(counterexamples.lp_objective),
            plane,
            False,
        ),
    }


def main() -> None:
    """Print the verdicts and write the figure."""
    given = options(__doc__)
    jax.config.update("jax_enable_x64", True)

    with figure_style():
        figure, ax = plt.subplots(figsize=(7.6, 4.8), layout="constrained")
        axes_or_new(ax)
        for i, (name, (loss, oracle, path, expected)) in enumerate(
            cases(jax.random.key(0)).items()
        ):
            report = swjax.check_conservative(loss, oracle, path, num_nodes=LEVELS)
            assert (report.verdict == "conservative") == expected, name
            print(f"{name:<28} {report}")
            line = "o-" if expected else "s--"
            style = {"color": (*CATEGORICAL, MUTED)[i], "markersize": 3.5}
            label = f"{name} ({report.order:.2f})"
            ax.loglog(report.num_nodes, report.residual_rms, line, label=label, **style)
        nodes = np.array([LEVELS[0], LEVELS[-1]])
        ax.loglog(nodes, 3 / nodes, ":", color=INK, lw=1, label="order -1")
        ax.set(
            xlabel="nodes per segment",
            ylabel="residual of the chain rule (RMS)",
            title="Increment of the loss minus integral of the oracle",
        )
        ax.legend(frameon=False, title="oracle (order)", loc="center left", bbox_to_anchor=(1, 0.5))
        save(figure, given.output)


if __name__ == "__main__":
    main()
