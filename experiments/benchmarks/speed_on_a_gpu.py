"""Value and gradient of the sliced-Wasserstein loss on an accelerator, against its peers.

Contenders and cases are those of `sliced_is_faster_than_peers.py`, on the default device, torch on
the same one where it has a build for it. Printed: milliseconds, ratios, and the share of the
memory bandwidth measured here, if every projected number were written, read by the sort, written
sorted and read again, 16 bytes in all, and nothing else moved. A second table times the ways to
find a sorting permutation: integer keys that carry their row (`swjax`), numbers with a payload
(`jnp.argsort`), the network, and torch::

    python experiments/benchmarks/speed_on_a_gpu.py [--small] [--output FOLDER] [--rounds 15]

`--small` runs every part in seconds, to see that it works; it runs on a CPU too.
"""

import argparse
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sliced_is_faster_than_peers import (
    HAS_TORCH,
    JAX_LOSSES,
    SWJAX,
    Jobs,
    check_agreement,
    draw,
    jax_job,
    machine,
    plain_torch,
    table,
    time_in_turns,
    torch,
    with_pot,
)

from swjax import sorting
from swjax.network import sort_by_network

SHAPES = [(50, 128, 2), (100, 1024, 64), (512, 1024, 784), (1000, 10_000, 3), (100, 100_000, 3)]
SMALL_SHAPES = [(16, 64, 2), (16, 100, 8)]
ROWS, SMALL_ROWS = (100, 1000, 10_000, 100_000), (32, 100)


def torch_device():
    """The device of torch that is JAX's, or None."""
    if not HAS_TORCH:
        return None
    if jax.default_backend() == "gpu":
        return "cuda" if torch.cuda.is_available() else None
    return "cpu" if jax.default_backend() == "cpu" else None


def on_torch(function, *arrays):
    """A job that runs the function in torch, and waits for the device."""
    device = torch_device()
    tensors = [torch.tensor(np.asarray(array), device=device) for array in arrays]

    def run():
        result = function(*tensors)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return run, tensors


def value_and_gradient(num: int, n: int, dim: int) -> Jobs:
    """One loss and its gradient in x, by everyone who can compute it here."""
    arrays = draw((n, dim), num)
    jobs = {name: jax_job(jax.value_and_grad(loss), arrays) for name, loss in JAX_LOSSES.items()}
    if torch_device():
        for name, loss in (("torch", plain_torch), ("POT on torch", with_pot)):

            def both(x, y, theta, loss=loss):
                value = loss(x, y, theta)
                return value.detach(), torch.autograd.grad(value, x)[0]

            jobs[name], tensors = on_torch(both, *arrays)
            tensors[0].requires_grad_()
    return jobs


def permutations(rows: int, lanes: int) -> Jobs:
    """The stable order of so many lists, side by side in memory."""
    lists = np.random.default_rng(0).normal(size=(rows, lanes)).astype(np.float32)

    def by_network(values):
        with jax.enable_x64(True):
            return sort_by_network(sorting._pack(values)).astype(jnp.int32)

    jobs = {
        SWJAX: jax_job(sorting.argsort, (lists,)),
        "jnp.argsort": jax_job(partial(jnp.argsort, axis=0), (lists,)),
    }
    if rows <= 10_000:  # beyond, it is slow to compile
        jobs["network"] = jax_job(by_network, (lists,))
    if torch_device():
        jobs["torch"] = on_torch(partial(torch.argsort, dim=0, stable=True), lists)[0]
    return jobs


def on_the_host(job):
    """The job with its results as NumPy arrays."""
    return lambda: jax.tree.map(
        lambda leaf: np.asarray(leaf.cpu() if hasattr(leaf, "cpu") else leaf), job()
    )


def bandwidth(num_bytes: int) -> float:
    """Bytes per second that a copy reads and writes together."""
    array = jnp.zeros(num_bytes // 4, jnp.float32)
    copy = jax.jit(lambda array: array + 1).lower(array).compile()
    times = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(copy(array))
        times.append(time.perf_counter() - start)
    return 2 * num_bytes / statistics.median(times)


def main() -> None:
    """Measure, print, and with --output keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="folder for the tables and the times as JSON")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender")
    parser.add_argument("--small", action="store_true", help="small sizes: a trial of the script")
    options = parser.parse_args()
    rounds = min(options.rounds, 3) if options.small else options.rounds

    rate = bandwidth(2**24 if options.small else 2**30)
    losses, orders, shares = {}, {}, {}
    for num, n, dim in SMALL_SHAPES if options.small else SHAPES:
        case = f"L={num}, n={n}, d={dim}"
        print(f"{case} ...", file=sys.stderr, flush=True)
        jobs = value_and_gradient(num, n, dim)
        check_agreement(case, {name: on_the_host(job) for name, job in jobs.items()})
        losses[case] = time_in_turns(jobs, rounds)
        shares[case] = 16 * 2 * n * num / (losses[case][SWJAX] * rate)
    for rows in SMALL_ROWS if options.small else ROWS:
        case = f"{rows} rows, 128 lanes"
        print(f"{case} ...", file=sys.stderr, flush=True)
        jobs = permutations(rows, 128)
        results = {name: on_the_host(job)() for name, job in jobs.items()}
        for name, order in results.items():
            np.testing.assert_array_equal(order, results[SWJAX], err_msg=f"{case}: {name}")
        orders[case] = time_in_turns(jobs, rounds)

    where = {**machine(), "kind": jax.devices()[0].device_kind}
    where["bandwidth"] = f"{rate / 1e9:.0f} GB/s"
    text = "\n\n".join(
        [
            f"{table(losses)}",
            "Share of the memory bandwidth: "
            + ", ".join(f"{100 * share:.1f} % ({case})" for case, share in shares.items()),
            f"{table(orders)}",
            ", ".join(f"{k} {v}" for k, v in where.items()),
        ]
    )
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "gpu.md").write_text(text + "\n")
        record = {"machine": where, "median_seconds": {**losses, **orders}, "bandwidth": shares}
        (options.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
