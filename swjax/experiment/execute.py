"""Make what a run folder lacks: the reference flow, then every cell, coarse step sizes first."""

import time
from collections.abc import Callable
from typing import Any

import xarray as xr
from rich.console import Console

from swjax.experiment.build import Problem
from swjax.experiment.cell import place_times
from swjax.experiment.chunks import ArmProgram, Interrupted
from swjax.experiment.diagnoses import diagnoses_of_cell
from swjax.experiment.machine import describe_machine, now
from swjax.experiment.progress import SweepProgress
from swjax.experiment.reference import flow_of_arm, reference_dataset
from swjax.experiment.results import cell_dataset, read_results
from swjax.experiment.store import RunFolder, write_dataset

_SECONDS_BETWEEN_CHECKPOINTS = 20.0


def missing_cells(problem: Problem, folder: RunFolder) -> list[tuple[int, int]]:
    """Positions (arm, step size) of the cells without a file, coarse step sizes of an arm first."""
    sizes = problem.study.step_sizes
    return [
        (i, j)
        for i, arm in enumerate(problem.study.schemes)
        for j in sorted(range(len(sizes)), key=lambda j: -sizes[j])
        if not folder.cell_path(arm, sizes[j]).exists()
    ]


def execute(
    problem: Problem,
    folder: RunFolder,
    console: Console | None,
    should_stop: Callable[[], bool],
    max_devices: int | None,
) -> None:
    """Run what is missing, and keep the manifest.

    Args:
        problem: the study made runnable.
        folder: the claimed run folder.
        console: where to show progress, or None.
        should_stop: asked between chunks.
        max_devices: use at most so many local devices.

    Raises:
        KeyboardInterrupt: `should_stop` said so; the state is written down.
    """
    study = problem.study
    missing = missing_cells(problem, folder)
    num_cells = len(study.schemes) * len(study.step_sizes)
    session: dict[str, Any] = {"started": now(), "machine": describe_machine(), "cells": {}}
    manifest = folder.manifest()
    earlier, target_loss = manifest.get("sessions", []), manifest.get("target_loss")

    def note(status: str) -> None:
        folder.update_manifest(
            study=study.name,
            status=status,
            num_cells=num_cells,
            num_parameters=problem.num_parameters,
            machine=session["machine"],
            sessions=[*earlier, session] if missing else earlier,
        )

    steps = {
        j: place_times(problem.times, size).num_steps for j, size in enumerate(study.step_sizes)
    }
    status = "failed"
    note("running")
    try:
        with SweepProgress(study, console, sum(steps[j] for _, j in missing)) as progress:
            there = num_cells - len(missing)
            if not missing:
                progress.say(
                    f"  all {there} cells are there already; only the report is written again"
                )
            elif there:
                progress.say(f"  {there} of {num_cells} cells are there already")
            reference = _reference(problem, folder, progress)
            program: ArmProgram | None = None
            for number, (i, j) in enumerate(missing):
                if should_stop():
                    raise Interrupted
                arm, size = list(study.schemes)[i], study.step_sizes[j]
                if program is None or missing[number - 1][0] != i:
                    program = ArmProgram(problem, i, flow_of_arm(reference, arm), max_devices)
                began = time.perf_counter()
                try:
                    cell = _run_cell(program, problem, i, j, folder, progress, should_stop)
                finally:
                    session["cells"][f"{arm} {size!r}"] = round(time.perf_counter() - began, 3)
                note("running")
                for found in diagnoses_of_cell(cell, arm, size, target_loss, kind=study.kind):
                    progress.say(
                        f"    {found.num_runs} of {study.repetitions} runs {found.signature} from "
                        f"step {found.first_step} on. {found.remedy}"
                    )
        status = "done"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise KeyboardInterrupt from None
    finally:
        session["ended"] = now()
        note(status)


def _reference(problem: Problem, folder: RunFolder, progress: SweepProgress) -> xr.Dataset | None:
    if problem.study.kind != "flow":
        return None
    if folder.reference_path.exists():
        return read_results(folder.reference_path, problem.study)
    began = time.perf_counter()
    dataset = reference_dataset(problem)
    write_dataset(folder.reference_path, dataset)
    progress.say(f"  reference flow: {time.perf_counter() - began:.1f} s")
    return dataset


def _run_cell(
    program: ArmProgram,
    problem: Problem,
    i: int,
    j: int,
    folder: RunFolder,
    progress: SweepProgress,
    should_stop: Callable[[], bool],
) -> xr.Dataset:
    """Run one cell, write its file, drop its checkpoint; returns what it holds."""
    study = problem.study
    arm, step_size = list(study.schemes)[i], study.step_sizes[j]
    place = folder.checkpoint_path(arm, step_size)
    with progress.cell(arm, step_size) as cell:
        last_saved = time.perf_counter()

        def on_chunk(num_steps: int) -> bool:
            nonlocal last_saved
            cell.reached(num_steps)
            due = time.perf_counter() - last_saved > _SECONDS_BETWEEN_CHECKPOINTS
            if due:
                last_saved = time.perf_counter()
            return due

        warned = False

        def on_diverged(num: int, step: int) -> None:
            nonlocal warned
            if not warned:
                progress.say(f"    {num} of {study.repetitions} runs diverged, from step {step} on")
            warned = True

        records = program.run(
            j,
            place=place,
            on_chunk=on_chunk,
            on_diverged=on_diverged,
            should_stop=should_stop,
            say=progress.say,
        )
        dataset = cell_dataset(study, arm, step_size, records)
        write_dataset(folder.cell_path(arm, step_size), dataset)
        place.unlink(missing_ok=True)
        num_diverged = int((records["diverged_at"] >= 0).sum())
        if num_diverged:
            cell.remark = f"; {num_diverged} diverged"
    return dataset
