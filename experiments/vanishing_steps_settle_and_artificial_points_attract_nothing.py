"""SGD with automatic differentiation: values settle, artificial critical points attract nothing.

Two statements of Bolte and Pauwels (2021) measured:

1. minibatch SGD on a finite sum of nonsmooth terms, with steps alpha_k = o(1/log k): the values
   J(w_k) converge. Shown: the spread of J over k in [K/2, K] against K, for steps inside the
   theorem, on its border (c / log k) and outside (constant);
2. the identity written relu(t) - relu(-t) has an artificial critical point at 0, since JAX takes
   relu'(0) = 0. Gradient descent stops there if and only if t_0 is a multiple of the step size: a
   null set in exact arithmetic, but not on the coarse grids of half precision.

    python experiments/vanishing_steps_settle_and_artificial_points_attract_nothing.py

prints the numbers and writes the figure (about a minute).
"""

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from _script import options, save

import swjax
from swjax import counterexamples, kinks
from swjax.plot import CATEGORICAL, axes_or_new, figure_style

SCHEDULES = {
    "1/k": (swjax.optim.power_schedule(1.0, 1.0), True),
    "0.3 / k^0.6": (swjax.optim.power_schedule(0.3, 0.6), True),
    "0.5 / log(k)^3": (swjax.optim.inverse_log_schedule(0.5, 3.0), True),
    "0.1 / log(k)": (swjax.optim.inverse_log_schedule(0.1, 1.0), False),
    "constant 0.05": (optax.constant_schedule(0.05), False),
}


def network_objective(key):
    """Mean absolute error of a two-unit ReLU network with skip connection, 40 data."""
    x = jax.random.normal(key, (40, 2))
    data = jnp.concatenate([x, (jnp.abs(x[:, 0]) - x[:, 1])[:, None]], 1)
    relu = partial(kinks.relu, at_zero=1.0)

    def term(w, row):
        out = relu(w[:4].reshape(2, 2) @ row[:2]) @ w[4:6] + w[6:8] @ row[:2]
        return jnp.abs(out - row[2])

    return swjax.FiniteSum(term, data, 4)


def spreads(key, num_steps=100_000, every=20, repetitions=8):
    """Schedule -> (K, median spread of J over [K/2, K] over the repetitions)."""
    loss = network_objective(key)
    values = jax.jit(jax.vmap(loss.full_value))
    ends = np.unique(np.logspace(1.5, np.log10(num_steps / every), 16).astype(int))
    found = {}
    for name, (schedule, _) in SCHEDULES.items():
        rows = []
        for i in range(repetitions):
            start = jax.random.normal(jax.random.key(100 + i), (8,))
            run = swjax.train(
                jax.random.fold_in(key, i),
                loss,
                optax.sgd(schedule),
                start,
                num_steps=num_steps,
                record_every=every,
            )
            path = np.asarray(values(run.path))
            rows.append([np.ptp(path[end // 2 : end]) for end in ends])
        found[name] = ends * every, np.median(rows, axis=0)
    return found


def caught(key, dtype, num=20_000):
    """Share of random (t_0, step) from which descent on the identity stops at 0 exactly."""
    start_key, step_key = jax.random.split(key)
    starts = jax.random.uniform(start_key, (num,), jnp.float32).astype(dtype)
    steps = jax.random.uniform(step_key, (num,), jnp.float32, 0.01, 0.02).astype(dtype)
    slope = jax.vmap(jax.grad(counterexamples.spurious_identity))
    move = lambda t, _: (t - steps * slope(t), None)
    ends = jax.jit(lambda t: jax.lax.scan(move, t, None, length=200)[0])(starts)
    return float((ends == 0).mean())


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, num_steps=100_000)
    key = jax.random.key(0)

    shares = {}
    print("stopped at the artificial critical point, of 20000 random starts and steps:")
    for dtype in ("bfloat16", "float16", "float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            shares[dtype] = caught(key, jnp.dtype(dtype))
        print(f"  {dtype:<9} {shares[dtype]:.4%}")

    settled = spreads(key, given.num_steps)
    print("spread of J over the second half of K steps:")
    for name, (steps, spread) in settled.items():
        inside = "inside" if SCHEDULES[name][1] else "outside"
        print(
            f"  {name:<15} {inside:<8} K = {steps[0]}: {spread[0]:.2g},  "
            f"K = {steps[-1]}: {spread[-1]:.2g}"
        )

    with figure_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
        axes_or_new(left)
        for i, (name, (steps, spread)) in enumerate(settled.items()):
            ls = "-" if SCHEDULES[name][1] else "--"
            left.loglog(steps, spread, ls=ls, marker="o", ms=3, color=CATEGORICAL[i], label=name)
        left.set(xlabel="K", ylabel="spread of J over [K/2, K]", title="Values settle")
        left.set_ylim(1e-5, 0.3)
        left.legend(
            loc="lower left", frameon=False, title="step size (dashed: outside the theorem)"
        )
        axes_or_new(right)
        right.bar(list(shares), [100 * v for v in shares.values()], color=CATEGORICAL[0])
        right.set(
            ylabel="runs stopped at the artificial point, %",
            title="relu(t) - relu(-t): only coarse numbers are caught",
        )
        save(figure, given.output)


if __name__ == "__main__":
    main()
