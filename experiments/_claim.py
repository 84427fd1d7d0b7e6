"""What every script here does: run one study, say its verdict, save its figure."""

import hashlib
import shutil
import sys
from pathlib import Path

import _script
from matplotlib.axes import Axes
from rich.console import Console
from rich.text import Text

from swjax.experiment import Sweep, run
from swjax.experiment.errors import UserError
from swjax.experiment.study import read_study
from swjax.experiment.tables import verdict_table

HERE = Path(__file__).parent


def run_study(config: str) -> Sweep:
    """Run `configs/<config>.yaml`, or continue it, and print its verdicts.

    Words on the command line, such as `repetitions=16`, override values of the study. Results and
    figure then go to folders in `runs/` whose names end with `suffix()`.
    """
    console = Console(highlight=False)
    study = HERE.parent / "configs" / f"{config}.yaml"
    output = HERE.parent / "runs" / f"{read_study(study).name}{suffix()}"
    try:
        sweep = run(study, output=output, overrides=sys.argv[1:], console=console)
    except UserError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    console.print(verdict_table([sweep.summary]))
    console.print(Text(f"Report: {sweep.folder / 'report.html'}"), soft_wrap=True)
    return sweep


def suffix() -> str:
    """A few letters that stand for the words on the command line; none without words."""
    words = sys.argv[1:]
    return f"-{hashlib.sha256(repr(words).encode()).hexdigest()[:8]}" if words else ""


def save(ax: Axes) -> None:
    """Save the figure under the name of the script, in `experiments/figures` if nothing changed."""
    _script.save(ax, _figures())


def save_from_report(sweep: Sweep, name: str) -> None:
    """Save a figure of the report, by its name there, under the name of the script."""
    path = _script.figure_path(_figures())
    shutil.copyfile(sweep.folder / "figures" / f"{name}.png", path)
    print(f"Figure: {path}")


def _figures() -> Path:
    return HERE.parent / "runs" / f"figures{suffix()}" if suffix() else _script.FIGURES
