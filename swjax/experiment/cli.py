"""The command line: ``swjax run | resume | report | list | check``.

Exit codes: 0 done, 1 ``--strict`` was given and a verdict ``fails`` or a run is not complete, 2 a
mistake of the user or something this machine lacks, such as memory or room on the disk (one
message, no traceback), 130 interrupted, 141 nobody reads what is printed.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from swjax.experiment.errors import UserError

if TYPE_CHECKING:
    from swjax.experiment.study import Study
    from swjax.experiment.sweep import Sweep

_EPILOG = """\
examples:
  swjax run configs/translation.yaml
  swjax run configs/flow_digits.yaml step_sizes=[0.1,0.05] --output runs/mine
  swjax run configs/*.yaml --strict
  swjax resume runs/mine
  swjax check configs/flow_mlp.yaml --time
  swjax report runs/mine

exit codes:
  0    done
  1    --strict was given, and a verdict fails or a run is not complete
  2    a mistake in what was asked for; or memory, room on the disk or a permission is missing
  130  interrupted (swjax resume continues)
  141  nobody reads the output any more
"""
_WORDS = "study files, and values to use instead of theirs, such as loss.batch_size=64"
_FOLDERS = "run folders, such as runs/mine"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``swjax``; those of the process by default.

    Returns:
        The exit code.
    """
    parser = _parser()
    asked, rest = parser.parse_known_args(arguments)
    if rest and (any(word.startswith("-") for word in rest) or not hasattr(asked, "words")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # overrides after an option, which argparse leaves aside
        asked.words += rest
    try:
        return asked.command(asked, _Console(highlight=False))
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        return 141
    except (UserError, OSError, MemoryError, RuntimeError) as error:
        message = _message(error)
        if message is None:
            raise
        return _say(message, 2)


class _Console(Console):
    """A console that leaves it to its user what to do once nobody reads any more."""

    def on_broken_pipe(self) -> None:
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise BrokenPipeError from None


def _say(message: str, exit_code: int) -> int:
    print(f"swjax: {message}", file=sys.stderr)  # noqa: T201
    return exit_code


def _message(error: Exception) -> str | None:
    """What to do about a mistake or something that is missing; None for a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    first = next(iter(str(error).splitlines()), "")
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in first:
        return f"not enough memory for so many repetitions, points or directions ({first})"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swjax",
        description="Run studies of SGD with sliced-Wasserstein losses.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"swjax {version('swjax')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "run studies, or continue them where they stopped")
    run.add_argument("words", nargs="+", metavar="CONFIG|KEY=VALUE", help=_WORDS)
    run.add_argument("--output", metavar="DIR", help="run folder (default: runs/NAME)")
    _options(run)

    resume = _command(commands, "resume", _resume, "continue interrupted runs")
    resume.add_argument("folders", nargs="+", metavar="DIR", help=_FOLDERS)
    _options(resume)

    report = _command(commands, "report", _report, "judge results again and rewrite their report")
    report.add_argument("folders", nargs="+", metavar="DIR", help=_FOLDERS)
    _strict(report)

    listing = _command(commands, "list", _list, "what there is to run, and what has run")
    listing.add_argument("what", nargs="?", choices=["runs", "configs"], help="both by default")

    check = _command(commands, "check", _check, "validate studies and show what they would do")
    check.add_argument("words", nargs="*", metavar="CONFIG|KEY=VALUE", help=_WORDS)
    check.add_argument("--time", action="store_true", help="measure a few steps, estimate the time")
    check.add_argument("--schema", action="store_true", help="print the JSON schema of a study")
    return parser


def _command(commands: Any, name: str, do: Callable, words: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    command.set_defaults(command=do)
    return command


def _options(parser: argparse.ArgumentParser) -> None:
    _strict(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--devices", type=int, metavar="N", help="use at most N local devices")


def _strict(parser: argparse.ArgumentParser) -> None:
    words = "exit 1 when a verdict fails or a run is not complete"
    parser.add_argument("--strict", action="store_true", help=words)


def _configs_and_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words with ``=`` that are not files are overrides; the rest are study files.

    An override may be too long for the name of a file: `os.path` then says that there is none.
    """
    if "" in words:
        raise UserError(
            "a word is empty; leave it out, or give a study file or a value like seed=1"
        )
    overrides = [word for word in words if "=" in word and not os.path.exists(word)]
    configs = [word for word in words if word not in overrides]
    if not configs:
        raise UserError("name at least one study file, for instance configs/translation.yaml")
    return configs, overrides


def _read_all(configs: Sequence[str], overrides: Sequence[str]) -> "list[Study]":
    """Read all study files, so that the mistakes in all of them are named before any work."""
    from swjax.experiment.sweep import as_study

    studies, mistakes = [], []
    for config in configs:
        try:
            studies.append(as_study(config, overrides))
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))
    return studies


def _run(asked: argparse.Namespace, console: Console) -> int:
    from swjax.experiment.sweep import run

    configs, overrides = _configs_and_overrides(asked.words)
    studies = _read_all(configs, overrides)
    names = [study.name for study in studies]
    if len(set(names)) < len(names) and len(studies) > 1:
        raise UserError(f"two of these studies have one name: {', '.join(sorted(names))}")
    outputs = [Path("runs") / name for name in names]
    if asked.output is not None:
        several = len(studies) > 1
        outputs = [Path(asked.output) / name if several else Path(asked.output) for name in names]
    jobs = [
        lambda study=study, output=output: run(
            study, output=output, console=_progress(asked, console), max_devices=asked.devices
        )
        for study, output in zip(studies, outputs, strict=True)
    ]
    return _do(jobs, outputs, asked, console)


def _resume(asked: argparse.Namespace, console: Console) -> int:
    from swjax.experiment.sweep import load, resume

    for folder in asked.folders:
        load(folder)
    jobs = [
        lambda folder=folder: resume(
            folder, console=_progress(asked, console), max_devices=asked.devices
        )
        for folder in asked.folders
    ]
    return _do(jobs, [Path(folder) for folder in asked.folders], asked, console)


def _report(asked: argparse.Namespace, console: Console) -> int:
    from swjax.experiment.sweep import conclude

    jobs = [lambda folder=folder: conclude(folder) for folder in asked.folders]
    return _do(jobs, [Path(folder) for folder in asked.folders], asked, console)


def _progress(asked: argparse.Namespace, console: Console) -> Console | None:
    return None if asked.quiet else console


def _do(
    jobs: Sequence, folders: Sequence[Path], asked: argparse.Namespace, console: Console
) -> int:
    """Do one job after the other, then show the verdicts and where the reports are."""
    from swjax.experiment.tables import verdict_table

    sweeps = []
    try:
        for job, folder in zip(jobs, folders, strict=True):
            if not getattr(asked, "quiet", False) and asked.command is not _report:
                console.print(Text(str(folder), "bold"), soft_wrap=True)
            sweeps.append(job())
    except KeyboardInterrupt:
        stopped = folders[len(sweeps)]
        began = (stopped / "study.yaml").exists()
        how = f"Continue with: swjax resume {stopped}" if began else "Nothing had been run yet."
        console.print(Text(f"Stopped; nothing is lost. {how}"), soft_wrap=True)
        return 130
    except OSError as error:
        error.filename = error.filename or str(folders[len(sweeps)])
        raise
    console.print(verdict_table([sweep.summary for sweep in sweeps]))
    for sweep in sweeps:
        console.print(Text(f"Report: {sweep.folder / 'report.html'}"), soft_wrap=True)
    return 1 if asked.strict and not all(map(_is_good, sweeps)) else 0


def _is_good(sweep: "Sweep") -> bool:
    """Whether the run is complete and no verdict fails."""
    return sweep.summary["status"] == "done" and not sweep.summary["verdicts"]["fails"]


def _list(asked: argparse.Namespace, console: Console) -> int:
    from swjax.experiment.tables import config_table, run_table

    for name, table in (("configs", config_table), ("runs", run_table)):
        if asked.what in (None, name):
            there = Path(name).is_dir()
            console.print(table(Path(name)) if there else Text(f"There is no folder {name}/ here."))
    return 0


def _check(asked: argparse.Namespace, console: Console) -> int:
    if asked.schema:
        from swjax.experiment.study import json_schema

        console.print_json(json.dumps(json_schema()))
        return 0
    from swjax.experiment.plan import print_plan

    configs, overrides = _configs_and_overrides(asked.words)
    exit_code = 0
    for study in _read_all(configs, overrides):
        try:
            print_plan(study, console, measure=asked.time)
        except UserError as error:
            exit_code = _say(str(error), 2)
    return exit_code
