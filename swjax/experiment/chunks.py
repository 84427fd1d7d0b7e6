"""The outer loop of a cell: chunks of recorded times, between which it can report and stop.

All repetitions run as one vmapped batch, shared out over the local devices. Results do not depend
on how many devices there are, nor on where a run was interrupted: a chunk is the same program with
the same inputs every time.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from swjax.experiment.build import Problem, optimizer_maker
from swjax.experiment.cell import (
    Carry,
    Grid,
    Inputs,
    Losses,
    iterates_only,
    make_advance,
    make_start,
    place_times,
)
from swjax.experiment.checkpoints import Place, UnusableCheckpoint, load_place, save_place
from swjax.experiment.study import plain

_MOST_CHUNKS = 100


class Interrupted(Exception):
    """The run was asked to stop, and did so between two chunks."""


class Share(NamedTuple):
    """The repetitions that one device runs, and what stays there for the whole cell."""

    device: jax.Device
    rows: slice
    losses: Losses
    data_keys: jax.Array
    noise_keys: jax.Array


class ArmProgram:
    """One scheme of a study, compiled once (for each device) for all its step sizes.

    Every device runs the program of a single device on its share of the repetitions. One program
    partitioned over the devices would be optimized differently for one device and for several, and
    differ in the last bits.

    Args:
        problem: the study made runnable.
        arm: position of the scheme among the arms.
        flow: the reference flow at the recorded times, (R or 1, N + 1, P), or None.
        max_devices: use at most so many local devices; all by default.
    """

    def __init__(
        self,
        problem: Problem,
        arm: int,
        flow: np.ndarray | None,
        max_devices: int | None = None,
    ):
        study = problem.study
        self._problem, self._arm = problem, arm
        self._critical = problem.critical[arm] if problem.critical else None
        self._watch_every = getattr(getattr(study, "critical_set", None), "every", 1)
        make = optimizer_maker(list(study.schemes.values())[arm])
        dtype = jnp.zeros(()).dtype
        none = np.zeros((1, len(problem.times), 0), dtype)
        self._flow = none if flow is None else flow.astype(dtype)
        self.chunk = -(-len(problem.times) // _MOST_CHUNKS)
        self._devices = _devices(study.repetitions, max_devices)
        both = study.record.piecewise_constant
        self._begin = jax.jit(make_start(make))
        advance = make_advance(make, keep_path=study.record.path, both_interpolations=both)
        self._advance = jax.jit(advance, donate_argnums=0)
        self._conclude = jax.jit(
            lambda conclude, params, keys: jax.lax.map(lambda run: conclude(*run), (params, keys))
        )
        self._compiled: list[Callable] = []

    def run(
        self,
        step: int,
        *,
        place: Path | None = None,
        on_chunk: Callable[[int], bool] = lambda done: False,
        on_diverged: Callable[[int, int], None] = lambda num, step: None,
        should_stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda text: None,
    ) -> dict[str, np.ndarray]:
        """Run all repetitions at one step size.

        Args:
            step: position of the step size in the study.
            place: file of the checkpoint; read when it exists, removed when it cannot be used.
            on_chunk: called with the number of steps made so far; true asks for a checkpoint.
            on_diverged: called after every chunk with how many runs are not finite any more and the
                first step at which one was not, once there are some.
            should_stop: asked after every chunk; true writes a checkpoint and stops.
            say: called with a line for the user.

        Returns:
            Records by name, (R, N + 1, ...), and ``diverged_at`` (R,).

        Raises:
            Interrupted: `should_stop` said so.
        """
        shares, step_size, carries, chunks = self._prepare(step)
        parts: list[dict[str, np.ndarray]] = []
        first, owner = 0, self._owner(step)
        if place is not None and place.exists():
            try:
                first, carries, records = load_place(place, carries, owner)
                parts.append(records)
            except UnusableCheckpoint as error:
                place.unlink()
                say(f"    checkpoint {place.name} removed, the cell begins anew: {error}")
        for number in range(first, len(chunks)):
            carries, seen = self._advance_all(shares, carries, step_size, chunks[number])
            parts.append(seen)
            unfinished = number + 1 < len(chunks)
            wants = on_chunk(int(carries[0].step))
            diverged = _diverged_at(carries)
            if (diverged >= 0).any():
                on_diverged(int((diverged >= 0).sum()), int(diverged[diverged >= 0].min()))
            stop = unfinished and should_stop()
            if place is not None and unfinished and (wants or stop):
                parts = [_joined(parts)]
                save_place(place, Place(number + 1, carries, parts[0]), owner)
            if stop:
                raise Interrupted
        length = len(self._problem.times)
        records = {k: np.swapaxes(v[:length], 0, 1) for k, v in _joined(parts).items()}
        records["diverged_at"] = _diverged_at(carries)
        return records | self._conclusions(shares, carries)

    def _owner(self, step: int) -> str:
        """Which cell of which study a checkpoint is of."""
        study = self._problem.study
        return json.dumps([plain(study), list(study.schemes)[self._arm], study.step_sizes[step]])

    def _conclusions(self, shares: list[Share], carries: list[Carry]) -> dict[str, np.ndarray]:
        """What the critical set says of the last iterates, one number for each run."""
        if self._critical is None or self._critical.conclude is None:
            return {}
        apart = jax.tree.map(np.asarray, [carry.state.params for carry in carries])
        params = jax.tree.map(lambda *parts: np.concatenate(parts), *apart)
        keys = jnp.concatenate(
            [jax.device_put(share.noise_keys, jax.local_devices()[0]) for share in shares]
        )
        found = self._conclude(self._critical.conclude, params, keys)
        return {name: np.asarray(values) for name, values in found.items()}

    def seconds_per_step(self, num_steps: int = 64) -> float:
        """Time some steps at the smallest step size, after compiling."""
        step = int(np.argmin(self._problem.study.step_sizes))
        shares, step_size, carries, chunks = self._prepare(step)
        began = 0.0
        for target in (1, 1 + num_steps):
            inputs = chunks[0]._replace(
                targets=np.full_like(chunks[0].targets, target),
                evaluate=np.zeros_like(chunks[0].evaluate),
                observe=np.zeros_like(chunks[0].observe),
            )
            began = time.perf_counter()
            carries, _ = self._advance_all(shares, carries, step_size, inputs)
        return (time.perf_counter() - began) / num_steps

    def _prepare(self, step: int) -> tuple[list[Share], jax.Array, list[Carry], list[Inputs]]:
        """Shares of the repetitions on their devices, the step size, first carries, all inputs."""
        problem, study = self._problem, self._problem.study
        step_size = jnp.asarray(study.step_sizes[step], jnp.zeros(()).dtype)
        observe = None if self._critical is None else self._critical.observe
        losses = Losses(problem.loss, problem.evaluate, observe)
        data_keys, noise_keys = problem.keys(self._arm, step)
        width = study.repetitions // len(self._devices)
        shares, carries = [], []
        for number, device in enumerate(self._devices):
            rows = slice(number * width, (number + 1) * width)
            own = jax.device_put((losses, data_keys[rows], noise_keys[rows]), device)
            starts = jax.device_put(jax.tree.map(lambda u: u[rows], problem.starts), device)  # noqa: B023
            shares.append(Share(device, rows, *own))
            carries.append(self._begin(starts, own[2], step_size))
        grid = place_times(problem.times, study.step_sizes[step])
        chunks = self._chunks(grid if self._critical is None else iterates_only(grid))
        return shares, step_size, carries, chunks

    def _advance_all(
        self, shares: list[Share], carries: list[Carry], step_size: jax.Array, inputs: Inputs
    ) -> tuple[list[Carry], dict[str, np.ndarray]]:
        """One chunk on every device; the records of all repetitions together."""
        arguments = []
        for share, carry in zip(shares, carries, strict=True):
            flow = inputs.flow[share.rows] if len(inputs.flow) > 1 else inputs.flow
            own = jax.device_put((step_size, inputs._replace(flow=flow)), share.device)
            arguments.append((carry, share.losses, share.data_keys, share.noise_keys, *own))
        if not self._compiled:
            lowered = [self._advance.lower(*each) for each in arguments]
            with ThreadPoolExecutor(len(lowered)) as pool:
                self._compiled = list(pool.map(lambda program: program.compile(), lowered))
        done = [run(*each) for run, each in zip(self._compiled, arguments, strict=True)]
        names = done[0][1]
        records = {k: np.concatenate([np.asarray(seen[k]) for _, seen in done], 1) for k in names}
        return [carry for carry, _ in done], records

    def _chunks(self, grid: Grid) -> list[Inputs]:
        """Inputs of equal length; the last time is repeated to fill the last chunk."""
        length = len(self._problem.times)
        loss = self._problem.study.record.loss
        flagged = np.arange(length) % (loss.every if loss else 1) == 0
        watched = np.arange(length) % self._watch_every == 0
        flagged[-1] = watched[-1] = True
        index = np.minimum(np.arange(-(-length // self.chunk) * self.chunk), length - 1)
        return [
            Inputs(
                grid.targets[rows],
                grid.fractions[rows].astype(self._flow.dtype),
                flagged[rows],
                watched[rows],
                self._flow[:, rows],
            )
            for rows in index.reshape(-1, self.chunk)
        ]


def _devices(repetitions: int, max_devices: int | None) -> list[jax.Device]:
    """As many local devices as divide the repetitions."""
    devices = jax.local_devices()[:max_devices]
    return devices[: max(n for n in range(1, len(devices) + 1) if repetitions % n == 0)]


def _diverged_at(carries: list[Carry]) -> np.ndarray:
    return np.concatenate([np.asarray(carry.state.diverged_at) for carry in carries])


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
