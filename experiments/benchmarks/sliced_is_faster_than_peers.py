"""Value and gradient of the sliced-Wasserstein loss: swjax against OTT, POT, torch and plain jnp.

One process, all contenders on the same arrays and directions, timed in turns (so that a slow minute
of the machine slows all of them), after their results were compared. Medians and ratios, and the
seconds that compiling takes::

    python experiments/benchmarks/sliced_is_faster_than_peers.py [--output FOLDER] [--rounds 15]

POT is timed with its NumPy backend for the value alone (it has no gradient there) and, like torch
itself, with torch where that is installed.
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import swjax

HAS_TORCH = importlib.util.find_spec("torch") is not None
torch: Any = importlib.import_module("torch") if HAS_TORCH else None

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ot
    from ott.tools.sliced import sliced_wasserstein

Job = Callable[[], Any]
Jobs = dict[str, Job]

SHAPES = [(50, 128, 2), (100, 1024, 64), (512, 1024, 784), (1000, 10_000, 3)]
COMPILED = [128, 1024, 4096, 10_000, 100_000]  # points, with 100 directions in space
SWJAX, NO_GRADIENT = "swjax", "POT, value only"
PAUSE = 0.3  # seconds; OpenMP's threads spin for 0.2 after their work, on the cores of the next
WARM, TIMED = 0.4, 0.1  # seconds that each turn runs untimed, and timed
ENOUGH, LEAST = 60, 3  # seconds for one case, after which no new round begins; but so many rounds


# -- the losses --------------------------------------------------------------------------------


def plain_jnp(x, y, directions):
    """What one writes first in JAX."""
    sort = lambda cloud: jnp.sort(cloud @ directions.T, axis=0)
    return jnp.mean((sort(x) - sort(y)) ** 2)


def with_ott(x, y, directions):
    """OTT on the same directions."""
    project: Any = lambda cloud: cloud @ directions.T
    return sliced_wasserstein(x, y, proj_fn=project)[0]


def plain_torch(x, y, directions):
    """What one writes in torch, projections in rows, which it sorts fastest; leading axes batch."""
    sort = lambda cloud: torch.sort(directions @ cloud.mT, dim=-1).values
    return ((sort(x) - sort(y)) ** 2).mean(dim=(-2, -1))


def with_pot(x, y, directions):
    """POT on the same directions, in its backend for such arrays; squared, for it takes roots."""
    root: Any = ot.sliced_wasserstein_distance(x, y, projections=directions.T)
    return root**2


JAX_LOSSES = {SWJAX: swjax.sw2_sq, "plain jnp": plain_jnp, "OTT": with_ott}


# -- the jobs ----------------------------------------------------------------------------------


def value_and_gradient(num: int, n: int, dim: int) -> Jobs:
    """One loss and its gradient in x."""
    arrays = draw((n, dim), num)
    jobs = {name: jax_job(jax.value_and_grad(loss), arrays) for name, loss in JAX_LOSSES.items()}
    jobs[NO_GRADIENT] = lambda: with_pot(*arrays)
    if HAS_TORCH:
        jobs["torch"] = torch_job(plain_torch, arrays)
        jobs["POT on torch"] = torch_job(with_pot, arrays)
    return jobs


def exact_in_the_plane(n: int) -> Jobs:
    """The value over all directions and its gradient in x, which no peer has."""
    x, y, _ = draw((n, 2), 1)
    return {SWJAX: jax_job(jax.value_and_grad(swjax.sw2_sq_exact_2d), (x, y))}


def batch_of_repetitions(batch: int, num: int, n: int, dim: int) -> Jobs:
    """The same for a batch: vmap in JAX, a batched sort in torch, a loop in POT."""
    arrays = draw((batch, n, dim), num, batch)
    jobs = {
        name: jax_job(jax.vmap(jax.value_and_grad(loss)), arrays)
        for name, loss in JAX_LOSSES.items()
    }
    if HAS_TORCH:
        jobs["torch"] = torch_job(plain_torch, arrays)
        singles = [torch_job(with_pot, [a[i] for a in arrays]) for i in range(batch)]
        jobs["POT on torch"] = lambda: collect([single() for single in singles])
    return jobs


def gradient_steps(num_steps: int, batch: int, num: int, n: int, dim: int) -> Jobs:
    """Gradient descent on a batch of clouds, all steps in one `lax.scan`."""
    arrays = draw((batch, n, dim), num, batch)

    def descend(loss):
        def run(x, y, directions):
            def step(x, _):
                value, gradient = jax.value_and_grad(loss)(x, y, directions)
                return x - gradient, value

            return jax.lax.scan(step, x, length=num_steps)[::-1]

        return jax.vmap(run)

    return {name: jax_job(descend(loss), arrays) for name, loss in JAX_LOSSES.items()}


def training(num_steps: int, num: int, n: int) -> Jobs:
    """Train a 2-64-64-2 network by SGD with fresh draws: a scan in JAX, a loop in torch."""
    widths = (2, 64, 64, 2)
    keys = jax.random.split(jax.random.key(1), 3)
    sizes = list(zip(keys, widths[:-1], widths[1:], strict=True))
    params = [(jax.random.normal(key, (i, o)) / i**0.5, jnp.zeros(o)) for key, i, o in sizes]

    def network(params, z):
        for weight, bias in params[:-1]:
            z = jnp.tanh(z @ weight + bias)
        return z @ params[-1][0] + params[-1][1]

    def step_with(loss):
        def step(params, key):
            z_key, y_key, direction_key = jax.random.split(key, 3)
            z, y = jax.random.normal(z_key, (n, 2)), jax.random.uniform(y_key, (n, 2))
            directions = swjax.sample_directions(direction_key, num, 2)
            sample_loss = lambda params: loss(network(params, z), y, directions)
            value, gradient = jax.value_and_grad(sample_loss)(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), value

        return step

    def scanned(loss):
        def run(params, key):
            params, values = jax.lax.scan(step_with(loss), params, jax.random.split(key, num_steps))
            return values[-1], params[0][0]

        return jax_job(run, (params, jax.random.key(2)))

    jobs = {name: scanned(loss) for name, loss in JAX_LOSSES.items()}
    one_step = jax.jit(step_with(plain_jnp))
    step_keys = jax.random.split(jax.random.key(2), num_steps)

    def python_loop():
        current, value = params, None
        for key in step_keys:
            current, value = one_step(current, key)
        return jax.block_until_ready((value, current[0][0]))

    jobs["plain jnp, Python loop"] = python_loop
    if HAS_TORCH:
        jobs["torch"] = torch_training(plain_torch, widths, num_steps, num, n)
        jobs["POT on torch"] = torch_training(with_pot, widths, num_steps, num, n)
    return jobs


def jax_job(function, arrays) -> Job:
    """The compiled function on arrays that are already on the device."""
    arrays = jax.device_put(arrays)
    compiled = jax.jit(function).lower(*arrays).compile()
    return lambda: jax.block_until_ready(compiled(*arrays))


def torch_job(loss, arrays) -> Job:
    """Value and gradient in x by torch's autograd."""
    x, y, directions = (torch.tensor(np.asarray(a)) for a in arrays)
    x.requires_grad_()

    def run():
        value = loss(x, y, directions)
        return value.detach(), torch.autograd.grad(value.sum(), x)[0]

    return run


def torch_training(loss, widths, num_steps: int, num: int, n: int) -> Job:
    """The training loop of `training`, in torch's words; other random numbers."""
    layers = []
    for i, o in zip(widths[:-1], widths[1:], strict=True):
        layers += [torch.nn.Linear(i, o), torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def run():
        for _ in range(num_steps):
            directions = torch.nn.functional.normalize(torch.randn(num, 2))
            optimizer.zero_grad()
            loss(network(torch.randn(n, 2)), torch.rand(n, 2), directions).backward()
            optimizer.step()

    return run


def draw(shape, num: int, *batch: int):
    """Clouds x and y of that shape, and directions for them, from a fixed seed."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape), rng.normal(size=shape) + 0.5
    directions = rng.normal(size=(*batch, num, shape[-1]))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return tuple(a.astype(np.float32) for a in (x, y, directions))


def collect(results):
    """Results of the members of a batch, as one batch."""
    values, gradients = zip(*results, strict=True)
    return torch.stack(values), torch.stack(gradients)


# -- measuring ---------------------------------------------------------------------------------


def check_agreement(case: str, jobs: Jobs) -> None:
    """All contenders must compute the same thing, or there is nothing to compare."""
    value, gradient = map(np.asarray, jobs[SWJAX]())
    for name, job in jobs.items():
        result = job()
        if result is None:  # torch's training loop draws its own numbers
            continue
        others = [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]
        np.testing.assert_allclose(others[0], value, rtol=1e-3, err_msg=f"{case}: {name}")
        if len(others) == 2:  # a near tie that rounding turns around changes single entries
            error = np.linalg.norm(others[1] - gradient) / np.linalg.norm(gradient)
            assert error < 1e-2, f"{case}: the gradient of {name} is off by {error:.1e}"


def time_in_turns(jobs: Mapping[str, Job], rounds: int) -> dict[str, float]:
    """The median time of each job in seconds, over rounds in which each has its turn.

    Before its turn each waits, until the threads of the one before it have stopped spinning, and
    then runs untimed: a machine that has rested takes a while to come back to its speed (twice as
    long for a call, just after a pause, if it shares its work among threads), and nobody is to pay
    for the caches another has filled. Slow cases have fewer rounds.
    """
    seconds = {name: [] for name in jobs}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST and time.perf_counter() - began > ENOUGH:
            break
        for name, job in jobs.items():
            time.sleep(PAUSE)
            repeat(job, WARM)
            seconds[name].append(repeat(job, TIMED))
    return {name: statistics.median(times) for name, times in seconds.items()}


def repeat(job: Job, seconds: float) -> float:
    """Run the job for so long, at least once: the seconds that one run takes."""
    start, runs = time.perf_counter(), 0
    while True:
        job()
        runs += 1
        spent = time.perf_counter() - start
        if spent >= seconds:
            return spent / runs


def compile_table() -> str:
    """Markdown: seconds to trace and compile value and gradient, by number of points."""
    rows = [["points", *(f"{name} (s)" for name in JAX_LOSSES)]]
    for n in COMPILED:
        shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((n, 3), (n, 3), (100, 3))]
        row = [str(n)]
        for loss in JAX_LOSSES.values():
            start = time.perf_counter()
            jax.jit(jax.value_and_grad(loss)).lower(*shapes).compile()
            row.append(f"{time.perf_counter() - start:.2f}")
        rows.append(row)
    return markdown(rows)


def cases() -> dict[str, Callable[[], Jobs]]:
    """Every case by its title, built when its turn comes."""
    return {
        **{
            f"L={num}, n={n}, d={dim}": partial(value_and_gradient, num, n, dim)
            for num, n, dim in SHAPES
        },
        "32 repetitions (vmap), L=32, n=64, d=2": partial(batch_of_repetitions, 32, 32, 64, 2),
        "20 steps (scan) of 32 repetitions, L=32, n=64, d=2": partial(
            gradient_steps, 20, 32, 32, 64, 2
        ),
        "100 training steps of a 2-64-64-2 network, L=50, n=128": partial(training, 100, 50, 128),
        "exact value in the plane, value and gradient, n=500": partial(exact_in_the_plane, 500),
    }


def machine() -> dict[str, str]:
    """Where and with what this was measured."""

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "absent"

    packages = ("jax", "jaxlib", "ott-jax", "POT", "torch", "numpy")
    return {
        "device": str(jax.devices()[0]),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: installed(name) for name in packages},
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """Markdown: milliseconds of swjax, and how many times as long the others take."""
    names = list(dict.fromkeys(name for times in results.values() for name in times))
    names.remove(SWJAX)
    rows = [["case", "swjax (ms)", *(f"{name} / swjax" for name in names)]]
    for case, times in results.items():
        ratios = [f"{times[name] / times[SWJAX]:.1f}" if name in times else "-" for name in names]
        rows.append([case, f"{1e3 * times[SWJAX]:.2f}", *ratios])
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    """A table, its first row the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = lambda row: [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    lines = [f"| {' | '.join(padded(row))} |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def main() -> None:
    """Measure every case and print, and with --output keep, the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="folder for the table and the times as JSON")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender")
    parser.add_argument("--only", default="", help="only cases whose title contains this")
    options = parser.parse_args()
    results = {}
    for case, build in cases().items():
        if options.only not in case:
            continue
        print(f"{case} ...", file=sys.stderr, flush=True)
        jobs = build()
        check_agreement(case, jobs)
        results[case] = time_in_turns(jobs, options.rounds)
    where = machine()
    tables = [table(results)] if options.only else [table(results), compile_table()]
    text = "\n\n".join([*tables, ", ".join(f"{k} {v}" for k, v in where.items())]) + "\n"
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "peers.md").write_text(text)
        record = {"machine": where, "median_seconds": results}
        (options.output / "peers.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
