"""The sliced-Wasserstein flow of 4000 points follows the equations of a Gaussian law within 2 %.

From one Gaussian law towards another the flow of SW_2^2 / 2 + lambda * entropy stays Gaussian, with
ordinary differential equations for mean and covariance (`swjax.gaussian_sliced_flow`). Measured:

1. particles drawn from the laws against the closure: relative errors of the gap of the means and of
   the covariance at t = 1, n = 250 ... 4000, against the closure of the moments of the sample (what
   is left is the particle flow's own error) and against that of the laws (sampling error on top);
2. the same with noise, lambda = 0.3;
3. the sign of the drift: Algorithm 1 of Liutkus et al. (2019) prints a minus in front of a drift
   that points downhill already. Both signs on a mixture of ten Gaussians.

    python experiments/sliced_flow_follows_its_gaussian_closure.py

prints the numbers and writes the figure.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import keys, options, save

import swjax
from swjax.convergence import mean_interval
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style

MEAN = np.array([2.0, 1.0])
COVARIANCE_X = np.array([[2.0, 0.6], [0.6, 0.5]])
COVARIANCE_Y = np.array([[0.5, -0.2], [-0.2, 1.0]])
THETA = swjax.equispaced_directions(64)
STEP, ENTROPY = 0.02, 0.3


def draw(key, n):
    """Independent samples of both laws."""
    x_key, y_key = jax.random.split(key)
    root = lambda s: jnp.asarray(np.linalg.cholesky(s).T)
    x = jax.random.normal(x_key, (n, 2)) @ root(COVARIANCE_X) + jnp.asarray(MEAN)[None]
    return x, jax.random.normal(y_key, (n, 2)) @ root(COVARIANCE_Y)


def moments(cloud):
    """Mean and covariance of a cloud."""
    gap = cloud - cloud.mean(0, keepdims=True)
    return cloud.mean(0), gap.T @ gap / len(cloud)


def closure(x_moments, y_moments, times, entropy):
    """The closure between two Gaussian laws."""
    (mean_x, covariance_x), (mean_y, covariance_y) = x_moments, y_moments
    return swjax.gaussian_sliced_flow(
        mean_x, covariance_x, mean_y, covariance_y, times, entropy=entropy, directions=THETA
    )


def relative_errors(key, n, entropy):
    """Errors at t = 1 of (gap of means, covariance), against the sample's closure and the laws'."""
    x, y = draw(key, n)
    flow = swjax.sliced_flow(
        x, y, [0.0, 1.0], step_size=STEP, directions=THETA, entropy=entropy,
        key=jax.random.fold_in(key, 7),
    )  # fmt: skip
    mean, covariance = moments(flow.path[1])
    laws = (jnp.asarray(MEAN), jnp.asarray(COVARIANCE_X)), (jnp.zeros(2), jnp.asarray(COVARIANCE_Y))
    errors = []
    for start, target in ((moments(x), moments(y)), laws):
        reference = closure(start, target, [0.0, 1.0], entropy)
        gap, expected = mean - target[0], reference.means[1] - target[0]
        norm = jnp.linalg.norm
        of_covariance = norm(covariance - reference.covariances[1])
        errors.append(
            (norm(gap - expected) / norm(expected), of_covariance / norm(reference.covariances[1]))
        )
    return np.array(errors, float)


def both_signs(key, n=1000, num_steps=8, step=0.5):
    """SW_2^2 to a mixture of ten Gaussians, stepping with the drift and against it."""
    centers = 4 * jax.random.normal(key, (10, 2))
    which, spread = jax.random.split(jax.random.fold_in(key, 1))
    rows = jax.random.randint(which, (n,), 0, 10)
    y = centers[rows] + 0.3 * jax.random.normal(spread, (n, 2))
    x = jax.random.normal(jax.random.fold_in(key, 2), (n, 2))
    found = []
    for sign in (1, -1):
        cloud, values = x, [float(swjax.sw2_sq(x, y, THETA))]
        for _ in range(num_steps):
            cloud = cloud + sign * step * swjax.sliced_velocity(cloud, y, THETA)
            values.append(float(swjax.sw2_sq(cloud, y, THETA)))
        found.append(values)
    return step * np.arange(num_steps + 1), found


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__, largest=4000, repetitions=8)
    jax.config.update("jax_enable_x64", True)
    sizes = [n for n in (250, 500, 1000, 2000, 4000) if n <= given.largest]
    results = {}
    for entropy in (0.0, ENTROPY):
        for n in sizes:
            runs = [relative_errors(key, n, entropy) for key in keys(0, given.repetitions)]
            results[entropy, n] = np.array(runs)
            line = [f"lambda = {entropy}, n = {n:>4}:"]
            for i, of in enumerate(("own moments", "laws")):
                for j, what in enumerate(("mean", "covariance")):
                    interval = mean_interval(100 * results[entropy, n][:, i, j])
                    line.append(
                        f"{what} ({of}) {interval.estimate:.2f} "
                        f"[{interval.low:.2f}, {interval.high:.2f}] %,"
                    )
            print(" ".join(line).rstrip(","))
    worst = 100 * results[0.0, sizes[-1]][:, 0].max()
    print(f"largest error at n = {sizes[-1]}, t = 1, lambda = 0, own moments: {worst:.2f} %")

    times, (down, up) = both_signs(jax.random.key(3))
    print(f"mixture, SW_2^2 after {len(times) - 1} steps of 0.5, from {down[0]:.2f}:")
    print(f"  with the drift {down[-1]:.4f}; with the printed minus {up[-1]:.1f}")

    grid = np.linspace(0, 4, 17)
    with figure_style():
        figure, axes = plt.subplots(1, 3, figsize=(13, 4.0), layout="constrained")
        left, middle, right = (axes_or_new(ax) for ax in axes)
        x, y = draw(jax.random.key(0), sizes[-1])
        for i, entropy in enumerate((0.0, ENTROPY)):
            reference = closure(moments(x), moments(y), grid, entropy)
            flow = swjax.sliced_flow(
                x, y, grid, step_size=STEP, directions=THETA, entropy=entropy,
                key=jax.random.key(1),
            )  # fmt: skip
            found = np.array([np.linalg.eigvalsh(moments(cloud)[1]) for cloud in flow.path])
            exact = np.linalg.eigvalsh(np.asarray(reference.covariances))
            left.plot(grid, exact, color=CATEGORICAL[i])
            left.plot(grid, found, "o", ms=3.5, color=CATEGORICAL[i])
            left.plot([], [], "-o", ms=3.5, color=CATEGORICAL[i], label=rf"$\lambda$ = {entropy}")
        left.set(
            xlabel="flow time t", ylabel="eigenvalues of the covariance",
            title=f"{sizes[-1]} points (dots), closure (lines)",
        )  # fmt: skip
        left.set_ylim(bottom=0)
        left.legend(frameon=False)
        for i, of in enumerate(("closure of the sample's moments", "closure of the laws")):
            values = [100 * results[0.0, n][:, i, 1] for n in sizes]
            middle.plot(np.repeat(sizes, given.repetitions), np.concatenate(values), ".",
                        color=CATEGORICAL[i], alpha=0.4)  # fmt: skip
            middle.loglog(sizes, [v.mean() for v in values], color=CATEGORICAL[i], label=of)
        middle.axhline(2, color=INK, ls=":", lw=1)
        middle.set(
            xlabel="number of points n", ylabel="relative error of the covariance, %",
            title="Error at t = 1 (dotted: 2 %)",
        )  # fmt: skip
        middle.set_xticks(sizes, [str(n) for n in sizes])
        middle.minorticks_off()
        middle.legend(frameon=False)
        right.semilogy(times, down, "-o", ms=4, color=CATEGORICAL[0], label=r"$+\,h\,v$")
        right.semilogy(
            times, up, "-o", ms=4, color=MUTED, label=r"$-\,h\,v$, as Algorithm 1 prints"
        )
        right.set(xlabel="flow time t", ylabel=r"$SW_2^2$ to the target", title="The sign decides")
        right.legend(frameon=False)
        save(figure, given.output)


if __name__ == "__main__":
    main()
