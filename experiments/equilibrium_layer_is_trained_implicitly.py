"""A ReLU deep-equilibrium layer is trained through its implicit derivative, on real digits.

z = relu(W z + U x + b) with W in the monotone parametrization, for which every generalized Jacobian
I - D W (D diagonal, entries in [0, 1]) is invertible: the nonsmooth implicit function theorem
applies at every parameter, kinks or not. Minibatch SGD with steps c / k^0.5 on scikit-learn's 8x8
digits; beside it an explicit ReLU layer of the same width. On the way: how many units stood exactly
at their kink, and the invertibility certificate at the trained parameters.

    python experiments/equilibrium_layer_is_trained_implicitly.py

prints the numbers and writes the figure (about a minute).
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from _script import options, save
from sklearn.datasets import load_digits

import swjax
from swjax import implicit, kinks
from swjax.plot import CATEGORICAL, axes_or_new, figure_style

WIDTH, MARGIN = 24, 0.5


def digits():
    """(images, labels) of 1400 training and 397 test digits, images scaled to [-1, 1]."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    data = jnp.asarray(images[order] / 8 - 1, jnp.float32), jnp.asarray(labels[order])
    return jax.tree.map(lambda v: v[:1400], data), jax.tree.map(lambda v: v[1400:], data)


def initial(key):
    """Parameters of the layer and of the linear read-out."""
    keys = jax.random.split(key, 4)
    normal = lambda k, *shape: jax.random.normal(k, shape) / shape[-1] ** 0.5
    return {
        "factor": normal(keys[0], WIDTH, WIDTH),
        "skew": normal(keys[1], WIDTH, WIDTH),
        "inward": normal(keys[2], WIDTH, 64),
        "bias": jnp.zeros(WIDTH),
        "outward": normal(keys[3], 10, WIDTH),
    }


def equilibrium(params, image):
    """The hidden state z of the implicit layer."""
    matrix = implicit.monotone_matrix(params["factor"], params["skew"], MARGIN)
    return implicit.relu_equilibrium(
        matrix, params["inward"] @ image + params["bias"], check=False, max_steps=200
    )


def explicit(params, image):
    """The hidden state of one ordinary layer, for comparison."""
    return jax.nn.relu(params["inward"] @ image + params["bias"])


def objective(hidden, data):
    """Cross entropy of a minibatch of 64."""

    def term(params, row):
        image, label = row
        logits = params["outward"] @ hidden(params, image)
        return -jax.nn.log_softmax(logits)[label]

    return swjax.FiniteSum(term, data, 64)


def accuracy(hidden, params, data):
    """Share of digits recognized."""
    logits = jax.vmap(lambda x: params["outward"] @ hidden(params, x))(data[0])
    return (logits.argmax(1) == data[1]).mean()


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, num_steps=600)
    train, test = digits()
    key = jax.random.key(0)

    with figure_style():
        figure, ax = plt.subplots(figsize=(6.6, 4.1), layout="constrained")
        axes_or_new(ax)
        for i, (name, hidden) in enumerate(
            {"equilibrium layer": equilibrium, "explicit layer": explicit}.items()
        ):
            loss = objective(hidden, train)
            optimizer = optax.sgd(swjax.optim.power_schedule(1.0, 0.5))
            run = swjax.train(
                key, loss, optimizer, initial(key), num_steps=given.num_steps, record_every=20
            )
            share = jax.jit(accuracy, static_argnums=0)
            steps = 20 * np.arange(len(run.path["bias"]))
            values = [
                float(share(hidden, jax.tree.map(lambda v, k=k: v[k], run.path), test))
                for k in range(len(steps))
            ]
            print(
                f"{name:<18} loss {float(loss.full_value(run.params)):.4f}, training accuracy "
                f"{float(share(hidden, run.params, train)):.4f}, test accuracy {values[-1]:.4f}"
            )
            ax.plot(steps, values, color=CATEGORICAL[i], label=name)
            if hidden is equilibrium:
                describe(run.params, test)
        ax.set(xlabel="step", ylabel="test accuracy", ylim=(0, 1), title="Digits, 24 hidden units")
        ax.legend(frameon=False)
        save(figure, given.output)


def describe(params, data):
    """Kinks met at the trained parameters, and the certificate of invertibility there."""
    matrix = implicit.monotone_matrix(params["factor"], params["skew"], MARGIN)
    states = jax.jit(jax.vmap(lambda x: equilibrium(params, x)))(data[0])
    inward = data[0] @ params["inward"].T + params["bias"][None]
    before = states @ matrix.T + inward
    residual = float(jnp.abs(states - jax.nn.relu(before)).max())
    print(f"  units exactly at their kink: {int(kinks.count_kinks(before))} of {before.size}")
    print(f"  largest residual of the equation: {residual:.1e}")
    report = implicit.check_regularity(
        lambda z, b: z - jax.nn.relu(matrix @ z + b), states[0], inward[0]
    )
    print(f"  at the first test digit: {report}")


if __name__ == "__main__":
    main()
