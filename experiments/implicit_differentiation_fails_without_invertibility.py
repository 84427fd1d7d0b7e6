"""Implicit differentiation without invertible Jacobians: cycles, chaos, derivatives without bound.

Three failures, each with its number in closed form:

1. gradient descent behind a linear-program layer is attracted by a limit cycle of period 1.2296,
   although invertibility fails only on a line; the circulation of its field is -207, not 0;
2. gradient ascent on a function that is zero everywhere follows the Lorenz system;
3. the derivative of the lasso grows without bound as two columns become parallel, and is refused
   when they are.

    python experiments/implicit_differentiation_fails_without_invertibility.py

prints the numbers and writes the figure (about 20 seconds).
"""

import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from _script import options, save

import swjax
from swjax import counterexamples, implicit
from swjax.plot import CATEGORICAL, INK, MUTED, axes_or_new, figure_style


def descend_behind_the_lp_layer(starts, step_size=1e-3, num_steps=6000):
    """Paths of gradient descent on the quadratic loss behind the layer, `(starts, steps, 2)`."""
    gradient = jax.grad(counterexamples.lp_objective)
    step = lambda point, _: (point - step_size * gradient(point), point)
    return jax.jit(jax.vmap(lambda p: jax.lax.scan(step, p, None, length=num_steps)[1]))(starts)


def measured_cycle(path, step_size):
    """Period and crossings of the line h = 0 of the last round of a path."""
    margin = -3 * path[:, 0] + path[:, 1] + 2
    up = np.flatnonzero((margin[:-1] <= 0) & (margin[1:] > 0))
    down = np.flatnonzero((margin[:-1] > 0) & (margin[1:] <= 0))
    return (up[-1] - up[-2]) * step_size, path[up[-1]], path[down[-1]]


def ascend_the_zero_function(start, step_size=2e-3, num_steps=20_000):
    """Path of gradient ascent on `lorenz_zero`, and the largest value met on it."""
    ascend = lambda p, _: (p + step_size * jax.grad(counterexamples.lorenz_zero)(p), p)
    path = jax.jit(lambda p: jax.lax.scan(ascend, p, None, length=num_steps)[1])(start)
    return path, jnp.abs(jax.vmap(counterexamples.lorenz_zero)(path)).max()


def lasso_slopes(angles):
    """Norm of the derivative of a two-column lasso in its response, for columns at small angles."""

    def norm(angle):
        design = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).T
        design = design.at[:, 1].set(jnp.stack([jnp.cos(angle), jnp.sin(angle), 0 * angle]))
        # Correlations of both columns with the response exceed the penalty by 1: both are active.
        response = jnp.linalg.solve(design.T @ design, jnp.full(2, 2.0)) @ design.T
        solve = lambda r: implicit.lasso(design, r, 0.0, check=False, max_sweeps=100)
        return jnp.linalg.norm(jax.jacfwd(solve)(response), 2)

    return jax.jit(jax.vmap(norm))(angles)


def draw(axes, paths, cycle, lorenz, angles, slopes):
    """Three panels, one for each failure."""
    left, middle, right = (axes_or_new(ax) for ax in axes)
    for path in paths:
        left.plot(*path[:2500].T, color=MUTED, lw=0.8)
    curve = np.asarray(jax.vmap(cycle.curve)(jnp.linspace(0, 1, 400)))
    left.plot(*curve.T, color=CATEGORICAL[1], lw=2.2, label="limit cycle, closed form")
    line = np.array([-0.5, 3.2])
    left.plot(line, 3 * line - 2, color=INK, ls="--", lw=1, label="h = 0: layer not determined")
    left.plot([0, 3], [0, 5], "x", color=CATEGORICAL[0], label="targets of the two sides")
    left.set(xlabel="x", ylabel="y", xlim=(-0.6, 3.6), ylim=(-3, 8), title="LP layer: a cycle")
    left.legend(loc="lower right", frameon=False)
    middle.plot(lorenz[:, 0], lorenz[:, 2], color=CATEGORICAL[0], lw=0.4)
    middle.set(xlabel="x", ylabel="z", title="Ascent on the zero function")
    right.loglog(angles, slopes, "o-", color=CATEGORICAL[0], ms=3, label="lasso with two columns")
    right.loglog(angles, np.sqrt(2) / angles, "--", color=CATEGORICAL[1], label=r"$\sqrt{2}$/angle")
    right.set(
        xlabel="angle between the columns",
        ylabel="norm of d(coefficients) / d(response)",
        title="Parallel columns",
    )
    right.legend(frameon=False)


def main() -> None:
    """Print the numbers and write the figure."""
    given = options(__doc__)
    jax.config.update("jax_enable_x64", True)

    cycle, step_size = counterexamples.lp_cycle(), 1e-3
    starts = jnp.array([[0.0, 0.5], [3.4, 3.0], [1.2, 7.0], [1.4, 2.4]])
    paths = np.asarray(descend_behind_the_lp_layer(starts, step_size))
    period, up, down = measured_cycle(paths[0], step_size)
    around = swjax.circulation(jax.grad(counterexamples.lp_objective), cycle.curve, num_segments=32)
    print("LP layer            closed form             gradient descent, step 0.001")
    print(f"  period            {cycle.period:.6f}                {period:.4f}")
    print(f"  crossing upward   {np.round(cycle.up_crossing, 6)}     {up.round(3)}")
    print(f"  crossing downward {np.round(cycle.down_crossing, 6)}     {down.round(3)}")
    print(f"  circulation       {cycle.circulation:.3f}   path integral: {float(around):.3f}")

    lorenz, largest = ascend_the_zero_function(jnp.array([1.0, 1.0, 20.0]))
    low, high = (np.asarray(f(lorenz, axis=0)).round(1) for f in (jnp.min, jnp.max))
    print(f"Zero function: largest |value| {float(largest)}, ascent moves between {low} and {high}")

    angles = np.logspace(-6, 0, 25)
    slopes = np.asarray(lasso_slopes(jnp.asarray(angles)))
    print(f"Lasso: |d b / d response| = {slopes[0]:.4g} at angle {angles[0]:.0e}")
    design = jnp.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    try:
        warnings.simplefilter("error", implicit.RegularityWarning)
        jax.jacfwd(lambda r: implicit.lasso(design, r, 0.0))(jnp.array([2.0, 0.0, 0.0]))
    except (ValueError, implicit.RegularityWarning) as refused:
        print(f"  parallel columns: {refused}")

    with figure_style():
        figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
        draw(axes, paths, cycle, np.asarray(lorenz), angles, slopes)
        save(figure, given.output)


if __name__ == "__main__":
    main()
