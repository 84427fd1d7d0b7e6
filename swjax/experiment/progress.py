"""What a person sees while a sweep runs: steps, rate, time left; one line per finished cell."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from swjax.experiment.study import Study


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} steps/s" if task.speed else "", style="dim")


class SweepProgress:
    """Reports the steps of a sweep; silent where it was asked to be.

    Args:
        study: the study that runs.
        console: where to write; None for silence.
        total: steps still to be made, over all cells.
    """

    def __init__(self, study: Study, console: Console | None, total: int):
        self._study, self._console = study, console
        self._bar = None
        if console is not None:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
                disable=not console.is_terminal,
                speed_estimate_period=20.0,
            )
            self._task = self._bar.add_task(study.name, total=total)

    def __enter__(self) -> "SweepProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self._console is not None:
            self._console.print(Text(text), highlight=False, soft_wrap=True)

    @contextmanager
    def cell(self, arm: str, step_size: float) -> Iterator["CellProgress"]:
        """Report one cell; its line says how long it took."""
        runs = self._study.repetitions
        title = f"{arm}, step size {step_size:g}, {runs} repetitions"
        if self._bar is not None:
            self._bar.update(self._task, description=f"{self._study.name}: {title}")
        cell = CellProgress(self._bar, self._task if self._bar is not None else None)
        yield cell
        self.say(f"  {title}: {cell.num_steps} steps in {cell.seconds:.1f} s{cell.remark}")


class CellProgress:
    """Counts the steps of one cell."""

    def __init__(self, bar: Progress | None, task: object):
        self._bar, self._task = bar, task
        self._start = time.perf_counter()
        self.num_steps = 0
        self.remark = ""

    @property
    def seconds(self) -> float:
        """Time since the cell began."""
        return time.perf_counter() - self._start

    def reached(self, num_steps: int) -> None:
        """Say how many steps of the cell have been made."""
        if self._bar is not None:
            self._bar.advance(self._task, num_steps - self.num_steps)  # pyrefly: ignore
        self.num_steps = num_steps


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets instead of raising; the second raises.

    Outside of the main thread signals cannot be caught, and the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        sys.stderr.write("\nStopping after this chunk; once more to stop at once.\n")

    for number in before:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
