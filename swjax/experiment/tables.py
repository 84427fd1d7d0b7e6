"""Tables for the terminal: verdicts, runs, studies to run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from swjax.experiment.errors import UserError
from swjax.experiment.statements import band
from swjax.experiment.store import RunFolder
from swjax.experiment.study import read_study

_STYLES = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


def shown(value: float | None) -> str:
    """A number to four digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"


def verdict_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """All claims of several studies, each with its verdict and the numbers behind it."""
    table = Table(title="Verdicts", title_justify="left", show_lines=True)
    table.add_column("study", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim, and what was measured", ratio=1)
    for summary in summaries:
        for claim in summary.get("claims", []):
            interval = f"[{shown(claim['low'])}, {shown(claim['high'])}]".replace("[", r"\[")
            table.add_row(
                summary["study"],
                f"[{_STYLES[claim['verdict']]}]{claim['verdict']}[/]",
                f"{claim['claim']}\n[bold]{shown(claim['estimate'])}[/] {interval}, expected "
                + band(claim["expected"], claim["tolerance"], shown, shown),
            )
        if not summary.get("claims"):
            finished = summary.get("status") == "done"
            why = "it makes no claim" if finished else f"no verdict yet: {summary.get('status')}"
            table.add_row(summary["study"], "-", why)
    return table


def config_table(folder: Path) -> Table:
    """The studies in a folder, with their kind and question."""
    table = Table(title=f"Studies in {folder}/", title_justify="left")
    for name in ("file", "kind", "question"):
        table.add_column(name, no_wrap=name != "question")
    for path in sorted(folder.rglob("*.yaml")):
        try:
            study = read_study(path)
            table.add_row(str(path), study.kind, study.question)
        except UserError as error:
            table.add_row(str(path), "[red]invalid[/]", str(error).splitlines()[-1].strip())
    return table


def run_table(folder: Path) -> Table:
    """The runs in a folder, with their status and verdicts."""
    table = Table(title=f"Runs in {folder}/", title_justify="left")
    for name in ("folder", "status", "cells", "verdicts", "started"):
        table.add_column(name, no_wrap=True)
    for path in sorted(folder.glob("*/study.yaml")):
        run = RunFolder(path.parent)
        manifest, verdicts = run.manifest(), run.summary().get("verdicts", {})
        cells = len(list((path.parent / "cells").glob("*.nc")))
        words = [f"[{_STYLES[word]}]{n} {word}[/]" for word, n in verdicts.items() if n]
        sessions = manifest.get("sessions") or [{}]
        table.add_row(
            str(path.parent),
            run.status(),
            f"{cells}/{manifest.get('num_cells', '?')}",
            ", ".join(words) or "-",
            sessions[-1].get("started", "-"),
        )
    return table
