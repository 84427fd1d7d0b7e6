"""Steps of particles on the circle and the torus: swjax against plain NumPy and torch.

The same update for all, a forward-backward step of sparse deconvolution in double precision, with
the explicit trigonometric features; NumPy with derivatives by hand, torch by autograd where it is
installed, swjax in one compiled loop, that of `particle_flow` without its certificate. One process,
in turns, after the results were compared; medians, particle steps per second, and how the time
grows with the number of particles m::

    python experiments/benchmarks/particles_are_faster_than_loops.py [--output FOLDER] [--rounds 7]
"""

import argparse
import importlib
import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sliced_is_faster_than_peers import SWJAX, machine, table, time_in_turns

from swjax import particles as P

HAS_TORCH = importlib.util.find_spec("torch") is not None
torch: Any = importlib.import_module("torch") if HAS_TORCH else None

ORDER, PENALTY, STEP, POSITION_STEP = 7, 1.0, 0.003, 1e-9
COUNTS = (100, 1000, 10_000, 100_000)
STEPS = {100: 200, 1000: 100, 10_000: 20, 100_000: 5}


def numpy_factor(t):
    """Monomials of one variable and their derivatives, (m, 2 N + 1)."""
    k = np.arange(1, ORDER + 1)
    angle = 2 * np.pi * t[:, None] * k
    cos, sin = np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)
    values = np.concatenate([np.ones((len(t), 1)), cos, sin], axis=1)
    rates = 2 * np.pi * k
    slopes = np.concatenate([np.zeros((len(t), 1)), -rates * sin, rates * cos], axis=1)
    return values, slopes


def numpy_steps(weights, positions, target, num_steps):
    """What one writes first in NumPy."""
    m, dim = positions.shape
    for _ in range(num_steps):
        factors = [numpy_factor(positions[:, i]) for i in range(dim)]
        if dim == 1:
            ((values, slopes),) = factors
            residual = weights @ values / m - target
            pairing, gradient = values @ residual, (slopes @ residual)[:, None]
        else:
            (a, da), (b, db) = factors
            residual = (a * weights[:, None]).T @ b / m - target
            pairing = ((a @ residual) * b).sum(1)
            gradient = np.stack(
                [((da @ residual) * b).sum(1), ((a @ residual) * db).sum(1)], axis=1
            )
        positions = positions - POSITION_STEP * weights[:, None] * gradient
        weights = weights - STEP * pairing
        weights = np.sign(weights) * np.maximum(np.abs(weights) - STEP * PENALTY, 0)
    return weights, positions


def torch_steps(weights, positions, target, num_steps):
    """What one writes first in torch: the loss, and autograd."""
    m, dim = positions.shape
    k = torch.arange(1, ORDER + 1, dtype=torch.float64)

    def factor(t):
        angle = 2 * torch.pi * t[:, None] * k
        waves = [torch.ones(m, 1, dtype=torch.float64), 2**0.5 * angle.cos(), 2**0.5 * angle.sin()]
        return torch.cat(waves, 1)

    for _ in range(num_steps):
        weights.requires_grad_()
        positions.requires_grad_()
        factors = [factor(positions[:, i]) for i in range(dim)]
        weighted = factors[0] * weights[:, None]
        element = weighted.sum(0) if dim == 1 else weighted.T @ factors[1]
        loss = ((element / m - target) ** 2).sum() / 2
        by_weight, by_position = torch.autograd.grad(loss, (weights, positions))
        with torch.no_grad():
            positions = positions - POSITION_STEP * m * by_position
            weights = weights - STEP * m * by_weight
            weights = weights.sign() * (weights.abs() - STEP * PENALTY).clamp(min=0)
    return weights, positions


def jobs(dim, num):
    """The contenders on the same start."""
    num_steps = STEPS[num]
    spikes = P.sample_spikes(jax.random.key(0), 5, dim)
    problem = P.spikes_deconvolution(*spikes, order=ORDER, penalty=PENALTY)
    rng = np.random.default_rng(0)
    weights, positions = rng.normal(size=num), rng.uniform(size=(num, dim))
    cloud = P.as_particles(jnp.asarray(weights), jnp.asarray(positions))
    scheme = P.ForwardBackward(STEP, POSITION_STEP)

    @jax.jit
    def advance(cloud):
        return jax.lax.fori_loop(0, num_steps, lambda _, u: scheme.step(problem, u), cloud)

    target = np.asarray(problem.loss.target)

    def ours():
        end = jax.block_until_ready(advance(cloud))
        return end.weights, end.positions

    found = {SWJAX: ours, "NumPy": partial(numpy_steps, weights, positions, target, num_steps)}
    if HAS_TORCH:
        arrays = [torch.tensor(a) for a in (weights, positions, target)]

        def with_torch():
            return torch_steps(arrays[0].clone(), arrays[1].clone(), arrays[2], num_steps)

        found["torch"] = with_torch
    return found


def check_agreement(case, contenders):
    """All contenders must arrive at the same place."""
    results = {
        name: [np.asarray(a.detach() if hasattr(a, "detach") else a) for a in job()]
        for name, job in contenders.items()
    }
    for name, (weights, positions) in results.items():
        message = f"{case}: {name}"
        np.testing.assert_allclose(weights, results[SWJAX][0], atol=1e-9, err_msg=message)
        np.testing.assert_allclose(positions, results[SWJAX][1], atol=1e-12, err_msg=message)


def growth(rates, counts):
    """The power of m at which the time of a step grows, for each contender, by least squares."""
    return {
        name: 1 - np.polyfit(np.log(counts), np.log([row[name] for row in rates]), 1)[0]
        for name in rates[0]
    }


def main() -> None:
    """Measure every case and print, and with --output keep, the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="folder for the table and the times as JSON")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--largest", type=int, default=COUNTS[-1], help="most particles")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if not HAS_TORCH:
        print("torch is not installed, so its loop is left out; pip install torch to time it\n")
    counts = [num for num in COUNTS if num <= options.largest]
    results, rates, lines = {}, {}, []
    for dim, place in ((1, "circle"), (2, "torus")):
        of_place = []
        for num in counts:
            case = f"{place}, m={num}, {STEPS[num]} steps"
            contenders = jobs(dim, num)
            check_agreement(case, contenders)
            results[case] = time_in_turns(contenders, options.rounds)
            moved = {name: num * STEPS[num] / t for name, t in results[case].items()}
            rates[case] = moved
            of_place.append(moved)
            lines.append(f"{case}: " + ", ".join(f"{n} {rate:.3g}" for n, rate in moved.items()))
        if len(counts) > 1:
            powers = growth(of_place, counts).items()
            lines.append(
                f"{place}, time of a step: "
                + ", ".join(f"{n} m^{power:.2f}" for n, power in powers)
            )
    where = machine()
    text = "\n".join(
        [table(results), "", "Particle steps per second:", *lines, "",
         ", ".join(f"{k} {v}" for k, v in where.items()), ""]
    )  # fmt: skip
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "particles.md").write_text(text)
        record = {"machine": where, "median_seconds": results, "particle_steps_per_second": rates}
        (options.output / "particles.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
