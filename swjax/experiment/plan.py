"""What a study would do: cells, steps, results, and on request the time it would take here."""

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swjax.experiment.build import Problem, build
from swjax.experiment.cell import place_times
from swjax.experiment.chunks import ArmProgram
from swjax.experiment.study import Study


def print_plan(study: Study, console: Console, *, measure: bool = False) -> None:
    """Show the plan of a study.

    Args:
        study: the study.
        console: where to show it.
        measure: time a few steps of every arm, and estimate the whole.

    Raises:
        StudyError: the study cannot be built.
    """
    with jax.enable_x64(study.precision == "float64"):
        problem = build(study)
        seconds = _seconds_per_step(problem) if measure else {}
    title = Text(f"{study.name}: {study.question}", "italic")
    table = Table(title=title, title_justify="left")
    columns = ["arm", "step size", "steps", "x repetitions", *(["seconds"] if measure else [])]
    for name in columns:
        table.add_column(name, justify="left" if name == "arm" else "right")
    total_steps, total_seconds = 0, 0.0
    for arm in study.schemes:
        for size in study.step_sizes:
            num = place_times(problem.times, size).num_steps
            row = [Text(arm), f"{size:g}", f"{num:,}", f"{num * study.repetitions:,}"]
            total_steps += num
            if measure:
                total_seconds += num * seconds[arm]
                row.append(f"{num * seconds[arm]:.1f}")
            table.add_row(*row)
    console.print(table)
    num_cells = len(study.schemes) * len(study.step_sizes)
    console.print(
        f"{num_cells} cells, {total_steps:,} steps of {study.repetitions} repetitions, "
        f"{problem.num_parameters:,} parameters, "
        f"about {_results_bytes(problem) / 1e6:,.0f} MB of results before compression"
    )
    if measure:
        console.print(
            f"about {total_seconds:,.0f} s on this machine; compilation, reference flow and "
            "recorded losses come on top"
        )


def _seconds_per_step(problem: Problem) -> dict[str, float]:
    return {
        arm: ArmProgram(problem, i, None).seconds_per_step()
        for i, arm in enumerate(problem.study.schemes)
    }


def _results_bytes(problem: Problem) -> int:
    study = problem.study
    per_time = 4 + (study.kind == "flow") + (study.record.loss is not None)
    per_time += len(problem.critical[0].parts) if problem.critical else 0
    per_time += problem.num_parameters if study.record.path else 0
    cells = len(study.schemes) * len(study.step_sizes)
    width = np.dtype(study.precision).itemsize
    return cells * study.repetitions * len(problem.times) * per_time * width
