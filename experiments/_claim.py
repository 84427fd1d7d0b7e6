"""What every script here does: run one study, say its verdict, save its figure."""

import shutil
import sys
from pathlib import Path

from _script import figure_path
from _script import save as save
from rich.console import Console

from swjax.experiment import Sweep, run
from swjax.experiment.study import read_study
from swjax.experiment.tables import verdict_table

HERE = Path(__file__).parent


def run_study(config: str) -> Sweep:
    """Run `configs/<config>.yaml`, or continue it, and print its verdicts.

    Words on the command line, such as `repetitions=16`, override values of the study; the results
    then go to `runs/<name of the study>-changed`.
    """
    console, overrides = Console(highlight=False), sys.argv[1:]
    study = HERE.parent / "configs" / f"{config}.yaml"
    name = read_study(study).name
    output = HERE.parent / "runs" / (f"{name}-changed" if overrides else name)
    sweep = run(study, output=output, overrides=overrides, console=console)
    console.print(verdict_table([sweep.summary]))
    console.print(f"Report: {sweep.folder / 'report.html'}", soft_wrap=True)
    return sweep


def save_from_report(sweep: Sweep, name: str) -> None:
    """Save a figure of the report, by its name there, under the name of the script."""
    path = figure_path()
    shutil.copyfile(sweep.folder / "figures" / f"{name}.png", path)
    print(f"Figure: {path}")
