"""The penalty of a lasso is learned by SGD through its solution map, on the diabetes data.

The solution b(t) = argmin |X b - y|^2 / 2 + sum_j exp(t_j) |b_j| has kinks in t wherever a
coefficient enters or leaves. `swjax.implicit.lasso` returns a conservative derivative, so that
minibatch SGD on the validation error with vanishing steps is covered by the theory. Compared with
a fine grid for one common penalty, and with one penalty for each of the ten coefficients, which no
grid reaches. The schedule was tuned: with a first choice (scale 8, 1500 steps) SGD stopped short of
the minimum, at log penalties 0.52 to 0.61 instead of 1.35. Data: scikit-learn's diabetes set (442
patients, 10 measurements, Efron et al. 2004).

    python experiments/lasso_penalty_is_learned_by_sgd.py

prints the numbers and writes the figure (about a minute).
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from _script import options, save
from sklearn.datasets import load_diabetes

import swjax
from swjax import implicit
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style


def diabetes(seed):
    """(design, response) of training, validation and test: 221, 111 and 110 patients."""
    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    parts = np.split(order, [221, 332])
    center, scale = x[parts[0]].mean(0), x[parts[0]].std(0)
    level, size = y[parts[0]].mean(), y[parts[0]].std()
    return [
        (jnp.asarray((x[p] - center) / scale), jnp.asarray((y[p] - level) / size)) for p in parts
    ]


def validation_loss(train, valid, batch_size=16):
    """Half squared error of one validation patient, as a function of the log penalties."""

    def term(log_penalty, row):
        design, response = train
        coefficients = implicit.lasso(design, response, log_penalty, check=False, max_sweeps=2000)
        return 0.5 * (row[:-1] @ coefficients - row[-1]) ** 2

    data = jnp.concatenate([valid[0], valid[1][:, None]], 1)
    return swjax.FiniteSum(term, data, batch_size)


def error(part, coefficients):
    """Mean squared error, as a share of the variance of the training responses."""
    return float(((part[0] @ coefficients - part[1]) ** 2).mean())


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, num_steps=3000)
    jax.config.update("jax_enable_x64", True)

    train, valid, test = diabetes(seed=0)
    loss = validation_loss(train, valid)
    grid = jnp.linspace(-2.0, 5.5, 301)
    path = implicit.lasso_path(train[0], train[1], grid, max_sweeps=2000)
    on_grid = jnp.asarray([0.5 * error(valid, b) for b in path])
    best = int(jnp.argmin(on_grid))

    report = implicit.check_regularity(
        lambda b, t: (
            b
            - implicit.soft_threshold(
                b - 1e-3 * train[0].T @ (train[0] @ b - train[1]), 1e-3 * jnp.exp(t)
            )
        ),
        path[best],
        grid[best],
    )
    print(f"invertibility at the best penalty of the grid: {report}")

    keys = jax.random.split(jax.random.key(0), 5)
    runs = {}
    for name, scale, start in (
        ("one penalty", 30.0, jnp.zeros(())),
        ("ten penalties", 8.0, jnp.full(10, float(grid[best]))),
    ):
        schedule = swjax.optim.power_schedule(scale, 0.6)
        go = lambda key, start=start, schedule=schedule: swjax.train(
            key, loss, optax.sgd(schedule), start, num_steps=given.num_steps, record_every=10
        )
        runs[name] = jax.jit(jax.vmap(go))(keys)

    print(f"{'':<16} log penalty      validation   test error")
    b = path[best]
    row = "{:<16} {:<16} {:<12.5f} {:.4f}"
    shown = f"{float(grid[best]):.3f}"
    print(row.format("grid of 301", shown, float(on_grid[best]), error(test, b)))
    for name, run in runs.items():
        for params in run.params:
            b = implicit.lasso(train[0], train[1], params, check=False)
            kept = int((b != 0).sum())
            shown = f"{float(params):.3f}" if params.ndim == 0 else f"{kept} of 10 kept"
            print(row.format(name, shown, float(loss.full_value(params)), error(test, b)))

    with figure_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
        axes_or_new(left).plot(grid, path, color=MUTED, lw=1)
        left.axvline(float(grid[best]), color=INK, ls="--", lw=1, label="best of the grid")
        slopes = jax.jit(jax.vmap(jax.grad(loss.full_value)))(grid)
        left.plot(grid, slopes, color=CATEGORICAL[1], label="derivative of the validation loss")
        left.set(xlabel="log penalty", ylabel="coefficients", title="Path and derivative")
        left.legend(frameon=False)
        steps = 10 * np.arange(runs["one penalty"].path.shape[1])
        values = jax.jit(jax.vmap(jax.vmap(loss.full_value)))
        axes_or_new(right)
        for i, (name, run) in enumerate(runs.items()):
            lines = right.plot(steps, np.asarray(values(run.path)).T, color=CATEGORICAL[i], lw=1)
            lines[0].set_label(f"SGD, {name}, 5 runs")
        right.axhline(float(on_grid[best]), color=INK, ls="--", lw=1, label="best of the grid")
        right.set(xlabel="step", ylabel="validation loss", title="Learning the penalty")
        right.set_xscale("symlog", linthresh=10)
        right.set_xlim(left=0)
        right.legend(frameon=False)
        save(figure, given.output)


if __name__ == "__main__":
    main()
