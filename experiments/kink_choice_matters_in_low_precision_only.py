"""Does the derivative chosen at kinks change training with a sliced-Wasserstein loss?

In exact arithmetic kinks are met with probability zero and the choice is irrelevant. On a computer
numbers are finitely many, so pre-activations stand exactly at 0, and projections tie, with a
frequency proportional to the spacing of the numbers. The same runs (same draws and starts, drawn
in float32 and rounded) with relu'(0) = 0, 1/2 and 1, in bfloat16, float16, float32 and float64:
counts of exact kinks and of ties in the sort, the step at which the runs part, and the paired
difference of their final losses with a 95 % interval. Read the bfloat16 difference as a hint only:
its interval barely excludes 0, four comparisons were made without correction, and a shorter trial
with other settings, run first, showed no difference.

    python experiments/kink_choice_matters_in_low_precision_only.py

prints the table and writes the figure (some minutes).
"""

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import options, save
from scipy import stats

import swjax
from swjax import kinks
from swjax.plot import CATEGORICAL, axes_or_new, figure_style

DTYPES = ("bfloat16", "float16", "float32", "float64")
ARMS = {"relu'(0) = 0": 0.0, "1/2": 0.5, "1": 1.0}
BATCH, WIDTH, STEP = 64, 16, 0.1


def initial(key, dtype):
    """A 2-16-16-2 network, drawn in float32 and rounded."""
    keys = jax.random.split(key, 3)
    shapes = ((2, WIDTH), (WIDTH, WIDTH), (WIDTH, 2))
    draw = lambda k, shape: jax.random.normal(k, shape, jnp.float32) * (2 / shape[0]) ** 0.5
    return [
        (draw(k, s).astype(dtype), jnp.zeros(s[1], dtype))
        for k, s in zip(keys, shapes, strict=True)
    ]


def generate(params, x, at_zero):
    """The outputs of the network and its pre-activations."""
    before = []
    for weight, bias in params[:-1]:
        before.append(x @ weight + bias[None])
        x = kinks.relu(before[-1], at_zero)
    weight, bias = params[-1]
    return x @ weight + bias[None], before


def draw_batches(keys, num_steps):
    """Latent points in the disk, data of two moons, directions; repetitions and steps lead."""

    def one(key):
        x_key, y_key, theta_key = jax.random.split(key, 3)
        x = swjax.measures.ball(2).sample(x_key, BATCH)
        y = swjax.measures.moons().sample(y_key, BATCH)
        return x, y, swjax.sample_directions(theta_key, 1, 2)

    all_keys = jax.vmap(lambda key: jax.random.split(key, num_steps))(keys)
    return jax.jit(jax.vmap(jax.vmap(one)))(all_keys)


def train(start, batches, at_zero):
    """One run: final parameters, and by step the parameters' checksum, kinks and ties met."""
    dtype = start[0][0].dtype

    def step(params, batch):
        x, y = (v.astype(dtype) for v in batch[:2])
        theta = batch[2]

        def loss(params):
            cloud, before = generate(params, x, at_zero)
            return swjax.sw2_sq(cloud, y, theta), (before, cloud)

        (_, (before, cloud)), grad = jax.value_and_grad(loss, has_aux=True)(params)
        met = sum(kinks.count_kinks(b) for b in before)
        ties = kinks.count_ties(theta @ cloud.astype(theta.dtype).T)
        new = jax.tree.map(
            lambda p, g: p - jnp.asarray(STEP, dtype) * g.astype(dtype), params, grad
        )
        return new, (sum(jnp.abs(p).sum() for p in jax.tree.leaves(new)), met, ties)

    return jax.lax.scan(step, start, batches)


def final_loss(params, x, y):
    """SW2^2 against the data with 1000 points and 64 directions, in float32."""
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    theta = swjax.equispaced_directions(64).astype(jnp.float32)
    return swjax.sw2_sq(generate(params, x, 0.0)[0], y, theta)


def study(dtype, num_steps, repetitions):
    """Arm -> (final losses, checksums, kinks, ties), repetitions first."""
    keys = jax.random.split(jax.random.key(0), repetitions)
    batches = draw_batches(keys, num_steps)
    start = jax.vmap(partial(initial, dtype=jnp.float32))(keys)
    x = swjax.measures.ball(2).sample(jax.random.key(1), 1000)
    y = swjax.measures.moons().sample(jax.random.key(2), 1000)
    found = {}
    with jax.enable_x64(dtype == "float64"):
        start = jax.tree.map(lambda v: v.astype(dtype), start)
        batches = (*batches[:2], batches[2].astype("float64" if dtype == "float64" else "float32"))
        for name, at_zero in ARMS.items():
            params, (total, met, ties) = jax.jit(jax.vmap(train, (0, 0, None)))(
                start, batches, at_zero
            )
            losses = jax.jit(jax.vmap(final_loss, (0, None, None)))(params, x, y)
            found[name] = tuple(np.asarray(v, float) for v in (losses, total, met, ties))
    return found


def parted(first, second):
    """The step at which two runs part, by repetition; infinity if they never do."""
    different = first != second
    return np.where(different.any(1), different.argmax(1), np.inf)


def main() -> None:
    """Print the table and write the figure."""
    given = options(__doc__, num_steps=1000, repetitions=16)

    evaluated = 2 * WIDTH * BATCH
    base = "relu'(0) = 0"
    results = {}
    for dtype in DTYPES:
        results[dtype] = found = study(dtype, given.num_steps, given.repetitions)
        losses, total, met, ties = found[base]
        print(
            f"{dtype}: kinks {1e6 * met.mean() / evaluated:.3g} per million pre-activations, "
            f"ties {ties.mean():.3g} per sort of {BATCH}, final loss {losses.mean():.4f}"
        )
        for arm in list(ARMS)[1:]:
            steps = parted(total, found[arm][1])
            difference = found[arm][0] - losses
            width = (
                stats.t.ppf(0.975, len(losses) - 1) * difference.std(ddof=1) / len(losses) ** 0.5
            )
            share = np.isfinite(steps).mean()
            median = np.median(steps)
            print(
                f"   against {arm:<8} runs that part {share:4.0%} (median step {median:g}), final "
                f"loss {difference.mean():+.2g} [{difference.mean() - width:+.2g}, "
                f"{difference.mean() + width:+.2g}]"
            )

    with figure_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
        axes_or_new(left)
        place = np.arange(len(DTYPES))
        for i, (label, values) in enumerate(
            {
                "kinks, of all pre-activations": [
                    results[d][base][2].mean() / evaluated for d in DTYPES
                ],
                "ties, of all neighbors sorted": [
                    results[d][base][3].mean() / (BATCH - 1) for d in DTYPES
                ],
            }.items()
        ):
            left.semilogy(place, values, "o", color=CATEGORICAL[i], label=label)
        spacing = [float(jnp.finfo(d).eps) for d in DTYPES]
        left.semilogy(place, spacing, "_", ms=14, color=CATEGORICAL[2], label="machine precision")
        left.set_xticks(place, DTYPES)
        left.set(title="Exact kinks and ties", ylabel="share")
        left.legend(frameon=False)
        axes_or_new(right)
        for i, arm in enumerate(list(ARMS)[1:]):
            differences = [results[d][arm][0] - results[d][base][0] for d in DTYPES]
            mean = np.array([d.mean() for d in differences])
            width = np.array(
                [
                    stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
                    for d in differences
                ]
            )
            at = place + 0.15 * (i - 1)
            right.errorbar(at, mean, width, fmt="o", ms=4, color=CATEGORICAL[i], label=arm)
        right.set_xticks(place, DTYPES)
        right.set(title="Final loss minus that with relu'(0) = 0", ylabel="paired difference")
        right.legend(frameon=False, title="choice (95 % interval)")
        save(figure, given.output)


if __name__ == "__main__":
    main()
