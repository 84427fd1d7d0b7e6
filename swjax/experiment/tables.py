"""Tables for the terminal: verdicts, runs, studies to run.

Nothing that comes from a study or a path is read as markup.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from swjax.experiment.errors import UserError
from swjax.experiment.report_claims import claims_of, expectation, fails_by_its_note, has_width
from swjax.experiment.store import RunFolder
from swjax.experiment.study import read_study

_STYLES = {"holds": "green", "fails": "bold red", "undecided": "yellow"}
# Narrower terminals show entries one below the other instead of in columns.
_NARROW = 72
# Runs are looked for so many folders deep.
_DEPTH = 4


def shown(value: float | None, digits: int = 4) -> str:
    """A number to four digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def verdict_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """All claims of several studies, each with its verdict and the numbers behind it."""
    table = Table(title=_title("Verdicts"), title_justify="left", show_lines=True)
    table.add_column("study", overflow="fold", min_width=8)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim, and what was measured", ratio=1)
    for summary in summaries:
        for claim in claims_of(summary):
            table.add_row(
                Text(summary["study"]),
                Text(claim["verdict"], _STYLES[claim["verdict"]]),
                Text.assemble(claim["claim"], "\n", *_measured(claim)),
            )
        if not summary.get("claims"):
            status = summary.get("status")
            why = "it makes no claim" if status == "done" else f"no verdict yet: {status}"
            table.add_row(Text(summary["study"]), "-", Text(why))
    return table


def _measured(claim: dict[str, Any]) -> Iterator[str | tuple[str, str]]:
    if claim["estimate"] is None:
        yield claim.get("note") or "nothing measured"
        return
    yield shown(claim["estimate"]), "bold"
    if has_width(claim):
        yield f" [{shown(claim['low'])}, {shown(claim['high'])}]"
    if fails_by_its_note(claim):
        yield f". {claim['note']}"
    else:
        yield f", expected {expectation(claim, lambda value, _: shown(value))}"


class Listing:
    """Entries in columns, or one below the other where the terminal is narrow.

    Args:
        title: what they are.
        names: of the columns.
        rows: the entries; the first column names them and folds, the last wraps.
    """

    def __init__(self, title: str, names: Sequence[str], rows: Sequence[Sequence[Text]]):
        self._title, self._names, self._rows = title, names, rows

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Table | Text | Padding]:
        """What rich asks for."""
        if options.max_width >= _NARROW:
            yield self._table(options.max_width)
            return
        yield _title(self._title)
        for first, *rest in self._rows:
            yield Text.assemble(first, overflow="fold")
            yield Padding(Text(", ").join(rest), (0, 0, 0, 2))

    def _table(self, width: int) -> Table:
        table = Table(title=_title(self._title), title_justify="left")
        columns = zip(self._names, *self._rows, strict=True)
        first, *middle, last = (max(len(entry) for entry in column) for column in columns)
        room = width - 3 * len(self._names) - 1 - sum(middle)
        most = max(room - last, 2 * room // 3)
        table.add_column(self._names[0], overflow="fold", width=min(first, most))
        for name in self._names[1:-1]:
            table.add_column(name, no_wrap=True)
        table.add_column(self._names[-1], overflow="fold")
        for row in self._rows:
            table.add_row(*row)
        return table


def config_table(folder: Path) -> Listing:
    """The studies in a folder, with their kind and question."""
    rows = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            study = read_study(path)
            rows.append([Text(str(path)), Text(study.kind), Text(study.question)])
        except Exception as error:  # whatever one file holds, the others are shown
            rows.append([Text(str(path)), Text("invalid", "red"), _problem(error)])
    return Listing(f"Studies in {folder}/", ("file", "kind", "question"), rows)


def run_table(folder: Path) -> Listing:
    """The runs in a folder and below, with their status and verdicts."""
    rows = []
    for path in _run_folders(folder, _DEPTH):
        try:
            rows.append(_run_row(RunFolder(path)))
        except Exception as error:  # whatever one folder holds, the others are shown
            dash = Text("-")
            rows.append([Text(str(path)), Text("invalid", "red"), dash, dash, _problem(error)])
    return Listing(f"Runs in {folder}/", ("folder", "status", "cells", "started", "verdicts"), rows)


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Run folders in a folder; what lies inside of a run is none."""
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if (path / "study.yaml").exists():
            yield path
        elif depth > 1:
            yield from _run_folders(path, depth - 1)


def _run_row(run: RunFolder) -> list[Text]:
    manifest, verdicts = run.manifest(), run.summary().get("verdicts", {})
    cells = len(list((run.path / "cells").glob("*.nc")))
    words = [Text(f"{n} {word}", _STYLES[word]) for word, n in verdicts.items() if n]
    sessions = manifest.get("sessions") or [{}]
    started = str(sessions[-1].get("started", "-"))
    return [
        Text(str(run.path)),
        Text(run.status()),
        Text(f"{cells}/{manifest.get('num_cells', '?')}"),
        Text(started[:10]),
        Text(", ").join(words) if words else Text("-"),
    ]


def _problem(error: Exception) -> Text:
    lines = str(error).splitlines() if isinstance(error, UserError) else [f"{error!r}"]
    return Text(lines[-1].strip() if lines else type(error).__name__)


def _title(words: str) -> Text:
    return Text(words, "italic")
