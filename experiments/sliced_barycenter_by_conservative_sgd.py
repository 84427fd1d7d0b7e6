"""The sliced-Wasserstein barycenter of several real clouds, found by conservative SGD.

A free cloud X of n points minimizes J(X) = (1/K) sum_k SW_2^2(X, Y_k), with the mean over L fixed
directions: a finite sum of K L semialgebraic terms, each differentiated by JAX. So minibatch SGD
with steps c / k^q is exactly the algorithm of the theorem of Bolte and Pauwels (2021): the values
settle and the limits are critical for the field that AD defines. The clouds are the ink of
handwritten digits of one class (scikit-learn's 8x8 images). Reported: J against the best of the
clouds themselves, settling of the values, the norm of the gradient, the path-integral test at the
barycenter (also while two of its points move together), and the digits' barycenters as pictures.

    python experiments/sliced_barycenter_by_conservative_sgd.py

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
from swjax.plot import CATEGORICAL, MUTED, axes_or_new, figure_style

NUM_POINTS, NUM_CLOUDS, NUM_DIRECTIONS = 100, 8, 32


def ink_clouds(digit):
    """Points drawn from the ink of the first images of a digit, spread inside their pixels."""
    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(digit)
    clouds = []
    for image in images[labels == digit][:NUM_CLOUDS]:
        pixel = generator.choice(64, NUM_POINTS, p=image / image.sum())
        row, column = np.divmod(pixel, 8)
        place = np.stack([column, -row], 1) + generator.uniform(-0.5, 0.5, (NUM_POINTS, 2))
        clouds.append(place / 4)
    return jnp.asarray(np.stack(clouds))


def barycenter_objective(clouds, batch_size=16):
    """J as a finite sum over pairs of a cloud and a direction."""
    directions = swjax.equispaced_directions(NUM_DIRECTIONS)
    data = (
        jnp.repeat(clouds, NUM_DIRECTIONS, axis=0),
        jnp.tile(directions, (len(clouds), 1))[:, None],
    )
    term = lambda points, pair: swjax.sw2_sq(points, *pair)
    return swjax.FiniteSum(term, data, batch_size)


def find_barycenter(key, clouds, num_steps):
    """SGD from a random cloud with steps n d / 2 k^-0.7 (n d / 2 minimizes one smooth piece)."""
    loss = barycenter_objective(clouds)
    start_key, run_key = jax.random.split(key)
    center, spread = clouds.mean((0, 1)), clouds.std((0, 1))
    start = center[None] + spread[None] * jax.random.normal(start_key, clouds.shape[1:])
    schedule = swjax.optim.power_schedule(1.0 * NUM_POINTS, 0.7)
    every = max(1, num_steps // 200)
    run = swjax.train(
        run_key, loss, optax.sgd(schedule), start, num_steps=num_steps, record_every=every
    )
    values = jax.jit(jax.vmap(loss.full_value))(run.path)
    return loss, run, every * np.arange(len(values)), np.asarray(values)


def two_together(points, s):
    """The cloud while its first two points travel together from their midpoint to the center."""
    middle, center = points[:2].mean(0), points.mean(0)
    common = middle + s * (center - middle)
    return points.at[:2].set(jnp.stack([common, common]))


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, num_steps=4000)
    jax.config.update("jax_enable_x64", True)

    with figure_style():
        figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
        axes_or_new(axes[0])
        for i, digit in enumerate((0, 3, 5)):
            clouds = ink_clouds(digit)
            loss, run, steps, values = find_barycenter(
                jax.random.key(digit), clouds, given.num_steps
            )
            best = float(jax.vmap(loss.full_value)(clouds).min())
            gradient = jnp.linalg.norm(jax.grad(loss.full_value)(run.params))
            at_start = jnp.linalg.norm(jax.grad(loss.full_value)(run.path[0]))
            spread = [np.ptp(values[k // 2 : k]) for k in (20, len(values))]
            print(
                f"digit {digit}: J = {values[-1]:.5f} (best of the clouds {best:.5f}), spread of J "
                f"over [K/2, K] {spread[0]:.1e} at K = {steps[20]}, {spread[1]:.1e} at "
                f"K = {steps[-1]}, |gradient| {float(gradient):.1e} from {float(at_start):.1e}"
            )
            if i == 0:
                oracle = jax.grad(loss.full_value)
                around = swjax.sample_polygon(jax.random.key(9), run.params, 9, radius=1.0)
                together = lambda s, points=run.params: two_together(points, s)
                for name, path in (("around it", around), ("two points together", together)):
                    report = swjax.check_conservative(
                        loss.full_value, oracle, path, num_nodes=(32, 64, 128, 256)
                    )
                    print(f"  path integrals, {name}: {report}")
            axes[0].loglog(steps[1:], values[1:], color=CATEGORICAL[i], label=f"digit {digit}")
            axes[0].axhline(best, color=CATEGORICAL[i], ls=":", lw=1)
            panel = axes_or_new(axes[1 + i])
            panel.scatter(*np.asarray(clouds).reshape(-1, 2).T, s=3, color=MUTED, alpha=0.35)
            panel.scatter(*np.asarray(run.params).T, s=12, color=CATEGORICAL[i])
            panel.set(
                title=f"Digit {digit}: {NUM_CLOUDS} clouds", aspect="equal", xticks=[], yticks=[]
            )
        axes[0].set(xlabel="step", ylabel="J", title="Mean SW (dotted: best cloud)")
        axes[0].legend(frameon=False)
        save(figure, given.output)


if __name__ == "__main__":
    main()
