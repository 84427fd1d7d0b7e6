"""Steps of the sliced-Wasserstein flow: points per second against loops in NumPy and in torch.

The same Euler steps on the same clouds and fixed directions, X <- X + h v(X): `swjax.sliced_flow`
with all steps in one compiled scan, a plain loop in NumPy and one in torch. The results are
compared before anything is timed; contenders take turns::

    python experiments/benchmarks/sliced_flow_steps_are_faster_than_loops.py [--rounds 7]

Prints points moved per second (points times steps over time) and how time grows with n. torch is
timed where it is installed.
"""

import argparse
import importlib
import importlib.util
from functools import partial

import numpy as np
from sliced_is_faster_than_peers import machine, time_in_turns

import swjax

SIZES, NUM_DIRECTIONS, STEP = (250, 1000, 4000, 16_000), 64, 0.1


def draw(n, dim):
    """A cloud, a target and directions, in single precision."""
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(2, n, dim)) * 0.5 + np.arange(2)[:, None, None]
    theta = rng.normal(size=(NUM_DIRECTIONS, dim))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    return tuple(a.astype(np.float32) for a in (x, y, theta))


def numpy_loop(x, y, theta, steps):
    """The steps in NumPy, projections in rows; the target is sorted once."""
    targets = np.sort(theta @ y.T, axis=1)
    for _ in range(steps):
        along = theta @ x.T
        goals = np.empty_like(along)
        np.put_along_axis(goals, np.argsort(along, axis=1), targets, axis=1)
        x = x + STEP / len(theta) * (goals - along).T @ theta
    return x


def torch_loop(x, y, theta, steps):
    """The same in torch."""
    torch = importlib.import_module("torch")
    x, y, theta = (torch.tensor(a) for a in (x, y, theta))
    targets = torch.sort(theta @ y.T, dim=1).values
    for _ in range(steps):
        along = theta @ x.T
        goals = torch.empty_like(along).scatter_(1, torch.argsort(along, dim=1), targets)
        x = x + STEP / len(theta) * (goals - along).T @ theta
    return x.numpy()


def one_scan(x, y, theta, steps):
    """The same by `swjax.sliced_flow`, which also returns value and residual at the end."""
    flow = swjax.sliced_flow(x, y, [0.0, steps * STEP], step_size=STEP, directions=theta)
    return np.asarray(flow.path[1])


def main() -> None:
    """Compare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=20, help="steps of the flow")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="no larger clouds than this")
    given = parser.parse_args()
    loops = {"swjax": one_scan, "NumPy loop": numpy_loop}
    if importlib.util.find_spec("torch") is not None:
        loops["torch loop"] = torch_loop
    else:
        print("torch is not installed, so its loop is left out; pip install torch to time it")
    print(f"points per second, {NUM_DIRECTIONS} directions, {given.steps} steps")
    for dim in (2, 16):
        times = {}
        for n in (n for n in SIZES if n <= given.largest):
            arrays = draw(n, dim)
            jobs = {name: partial(loop, *arrays, given.steps) for name, loop in loops.items()}
            reference = jobs["NumPy loop"]()
            for name, job in jobs.items():
                error = np.abs(job() - reference).max()
                assert error < 1e-3, f"{name} is off by {error:.1e} at n = {n}, d = {dim}"
            times[n] = time_in_turns(jobs, given.rounds)
            rates = {name: n * given.steps / t for name, t in times[n].items()}
            cells = [f"{name} {rate:.3g}" for name, rate in rates.items()]
            ratios = [
                f"{name} / swjax {t / times[n]['swjax']:.1f}"
                for name, t in times[n].items()
                if name != "swjax"
            ]
            print(f"d = {dim:>2}, n = {n:>5}: " + ", ".join(cells + ratios), flush=True)
        if len(times) > 1:
            for name in loops:
                logs = np.log([times[n][name] for n in times])
                slope = np.polyfit(np.log(list(times)), logs, 1)[0]
                print(f"d = {dim:>2}: time of {name} grows like n^{slope:.2f}")
    print(", ".join(f"{name} {value}" for name, value in machine().items()))


if __name__ == "__main__":
    main()
