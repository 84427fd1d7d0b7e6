"""The report of a run: one HTML file that needs nothing else, and the figures beside it.

It can be written at any time; what has not run yet is said on top.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from swjax.convergence import mean_interval
from swjax.experiment import report_html as html
from swjax.experiment.closed_form import is_above_minimum
from swjax.experiment.diagnoses import diagnoses
from swjax.experiment.report_figures import Failure, drawings, save_drawing
from swjax.experiment.report_html import Column, Html, tag
from swjax.experiment.report_sampling import sampling_section
from swjax.experiment.report_verdict import claims_table, verdict_block
from swjax.experiment.results import combine
from swjax.experiment.store import RunFolder, write_text
from swjax.experiment.study import StationarityStudy, Study
from swjax.plot.results import finite_runs


class _Run(NamedTuple):
    """What a run folder holds."""

    folder: RunFolder
    study: Study
    manifest: dict[str, Any]
    summary: dict[str, Any]
    dataset: xr.Dataset

    @property
    def num_cells(self) -> int:
        return len(self.study.schemes) * len(self.study.step_sizes)

    @property
    def num_done(self) -> int:
        if "diverged_at" not in self.dataset:
            return 0
        return int((self.dataset["diverged_at"] > -2).all("repetition").sum())

    @property
    def is_complete(self) -> bool:
        return self.num_done == self.num_cells


def write_report(run: Any) -> Path:
    """Write ``report.html`` and ``figures/`` into a run folder.

    The page holds its style and its drawings, and refers to nothing outside of itself.

    Args:
        run: the run folder, or the sweep that lives in it (anything with ``.folder``).

    Returns:
        The path of the report.

    Raises:
        RunFolderError: this is not a run folder.
    """
    folder = RunFolder(getattr(run, "folder", run))
    study = folder.study()
    here = _Run(folder, study, folder.manifest(), folder.summary(), combine(folder, study))
    body = html.joined(part for part in _parts(here) if part)
    page = html.page(
        title=f"{study.name}: {study.question}",
        kicker=f"swjax study {study.name!r}, {_when(here.manifest)}",
        question=study.question,
        body=body,
        footer=f"Written by swjax {_machine(here).get('versions', {}).get('swjax', '')} from "
        f"{folder.path.name}/. Numbers in brackets are 95 % intervals over repetitions.",
    )
    path = folder.path / "report.html"
    write_text(path, page)
    return path


def _parts(run: _Run) -> Iterator[Html]:
    """The sections in their order."""
    yield _banner(run)
    yield verdict_block(run.summary, is_complete=run.is_complete)
    yield _figures(run)
    yield _results(run)
    yield claims_table(run.summary)
    yield _measurements(run)
    if isinstance(run.study, StationarityStudy):
        yield sampling_section(run.summary, run.study)
    yield _diagnoses(run)
    yield _assumptions(run)
    yield _study_file(run)
    yield _origin(run)


def _banner(run: _Run) -> Html:
    if run.is_complete:
        return Html()
    status = run.folder.status()
    words = (
        f"Not finished ({status}): {run.num_done} of {run.num_cells} cells have run. What follows "
        "shows these alone, and nothing is judged yet. Continue with "
    )
    command = tag("code", f"swjax resume {run.folder.path}")
    return tag("p", html.joined([words, command], ""), class_="banner")


def _figures(run: _Run) -> Html:
    shown = []
    for drawing in drawings(run.study, run.dataset):
        if isinstance(drawing, Failure):
            words = f" This figure could not be drawn: {drawing.reason}"
            shown.append(tag("p", html.joined([tag("b", f"{drawing.title}."), words], "")))
            continue
        save_drawing(drawing, run.folder.path / "figures")
        caption = html.joined([tag("b", f"{drawing.title}."), drawing.caption], " ")
        shown.append(html.drawing(drawing.figure, drawing.name, caption, drawing.title))
    if not shown:
        return Html()
    return html.section("Figures", *shown)


def _results(run: _Run) -> Html:
    """One row per scheme and step size."""
    several = len(run.study.schemes) > 1
    measured = _measured_columns(run)
    columns = [Column("scheme", "text")] * several
    columns += [Column(c) for c in ("step size α", "steps", "repetitions", "diverged")]
    columns += [Column(title) for title, _ in measured] + [Column("seconds")]
    seconds = _seconds(run.manifest)
    rows = []
    for arm in run.study.schemes:
        for size in run.study.step_sizes:
            cell = run.dataset.sel(arm=arm, step_size=size)
            row: list[object] = [arm] * several
            row += [f"{size:.10g}", int(cell["num_steps"]), run.study.repetitions]
            if "diverged_at" not in cell or bool((cell["diverged_at"] == -2).any()):
                row += ["not run yet"] + ["–"] * (len(measured) + 1)
            else:
                row += [int((cell["diverged_at"] >= 0).sum())]
                row += [
                    _mean_with_interval(values.sel(arm=arm, step_size=size))
                    for _, values in measured
                ]
                took = seconds.get(f"{arm} {size!r}")
                row.append("–" if took is None else f"{took:.1f}")
            rows.append(row)
    return html.section("Results at every step size", html.table(columns, rows))


def _measured_columns(run: _Run) -> list[tuple[str, xr.DataArray]]:
    """Titles and values (arm, step_size, repetition) of what the table shows of every cell."""
    dataset, found = run.dataset, []
    if "diverged_at" not in dataset:
        return found
    if "distance" in dataset:
        largest = finite_runs(dataset, dataset["distance"]).max("time", skipna=False)
        found.append(("mean largest distance to the flow", largest))
    if "loss" in dataset:
        final = dataset["loss"].isel(time=-1).where(dataset["diverged_at"] < 0)
        what = "F(u) - min F" if is_above_minimum(run.study) else "loss"
        found.append((f"mean final {what}", final))
    if "max_norm" in dataset and run.study.kind == "training":
        norm = dataset["max_norm"].isel(time=-1).where(dataset["diverged_at"] < 0)
        found.append(("mean largest norm", norm))
    return found


def _mean_with_interval(values: xr.DataArray) -> str:
    if np.isfinite(values).sum() < 2:
        finite = values.values[np.isfinite(values.values)]
        return html.number(float(finite[0])) if len(finite) else "–"
    mean = mean_interval(values.values)
    return html.with_interval(mean.estimate, mean.low, mean.high)


def _measurements(run: _Run) -> Html:
    """What else was measured, beyond the table of results."""
    shown = {"largest distance to the flow", "final loss", "largest norm"}
    rest = [m for m in run.summary.get("measurements", []) if m["measurement"] not in shown]
    rest.sort(key=lambda m: m["measurement"])
    if not rest:
        return Html()
    columns = [Column(c, "text") for c in ("measurement", "scheme")]
    columns += [Column(c) for c in ("step size α", "mean", "exact", "runs")]
    exact = any(m.get("exact") is not None for m in rest)
    if not exact:
        columns.pop(4)
    rows = [
        [
            m["measurement"],
            m["arm"],
            f"{m['step_size']:.10g}",
            html.with_interval(m["estimate"], m["low"], m["high"]),
            *([html.number(m.get("exact"), 4)] if exact else []),
            m["num"],
        ]
        for m in rest
    ]
    return html.section("Further measurements", html.table(columns, rows))


def _diagnoses(run: _Run) -> Html:
    found = diagnoses(run.dataset, run.summary.get("target_loss"))
    if not found:
        return Html()
    columns = [Column("scheme", "text"), Column("step size α"), Column("runs")]
    columns += [Column("what happened", "text"), Column("evidence (first such run)", "text wide")]
    rows = [
        [
            d.arm,
            f"{d.step_size:.10g}",
            f"{d.num_runs} of {run.study.repetitions}",
            f"{d.signature} from step {d.first_step} on",
            d.evidence,
        ]
        for d in found
    ]
    words = "Runs that are not finite are left out of every mean and fit above; the others are in."
    remedies = {f"What to try when {d.signature}": d.remedy for d in found}
    return html.section(
        "Runs that went wrong",
        tag("p", words),
        html.table(columns, rows),
        html.definitions(remedies),
    )


def _assumptions(run: _Run) -> Html:
    """Which theorem is about the schemes of this study, and which of its assumptions hold."""
    parts = []
    for what in ("theorems", "assumptions"):
        found = run.summary.get(what) or []
        names = list(dict.fromkeys(name for item in found for name in item))
        columns = [Column(n, "text wide" if n == "reason" else "text") for n in names]
        rows = [[item.get(name, "") for name in names] for item in found]
        if rows:
            parts.append(html.table(columns, rows))
    return html.section("Theorems and their assumptions", *parts) if parts else Html()


def _study_file(run: _Run) -> Html:
    text = (run.folder.path / "study.yaml").read_text(encoding="utf-8")
    versions = _machine(run).get("versions", {})
    pins = " ".join(f"{name}=={v}" for name, v in versions.items() if v and name != "swjax")
    command = f"swjax run study.yaml --output runs/{run.study.name}-again"
    lines = [f"pip install {pins}" if pins else "", command]
    words = (
        "Save the study file below as study.yaml. The same seeds give the same results bit for bit "
        "on one machine with these versions, and to rounding elsewhere."
    )
    return html.section(
        "How to make this again",
        tag("p", words),
        tag("pre", "\n".join(line for line in lines if line), class_="command"),
        tag("pre", text, id="study"),
    )


def _origin(run: _Run) -> Html:
    """Machine, versions and times."""
    machine = _machine(run)
    git = machine.get("git") or {}
    commit = f"{git.get('commit', '')[:12]}{', with local changes' if git.get('changed') else ''}"
    versions = machine.get("versions", {})
    took = sum(_seconds(run.manifest).values())
    known = {
        "Started": _first_start(run.manifest),
        "Time in cells": html.duration(took) if took else None,
        "Sessions": len(run.manifest.get("sessions", [])) or None,
        "Parameters": run.manifest.get("num_parameters"),
        "Machine": ", ".join(str(machine[k]) for k in ("cpu", "platform") if machine.get(k)),
        "Devices": ", ".join(machine.get("devices", [])),
        "Processors": machine.get("num_cpus"),
        "Python": machine.get("python"),
        "Packages": ", ".join(f"{name} {v}" for name, v in versions.items() if v),
        "Source revision": commit,
    }
    known = {name: value for name, value in known.items() if value}
    return html.section("Machine and versions", html.definitions(known)) if known else Html()


def _machine(run: _Run) -> dict[str, Any]:
    return run.manifest.get("machine") or {}


def _first_start(manifest: dict[str, Any]) -> str:
    sessions = manifest.get("sessions") or [{}]
    return str(sessions[0].get("started", ""))


def _when(manifest: dict[str, Any]) -> str:
    started = _first_start(manifest)
    return f"started {started[:10]}" if started else "not started"


def _seconds(manifest: dict[str, Any]) -> dict[str, float]:
    """Seconds of every cell, over all sessions."""
    taken: dict[str, float] = {}
    for session in manifest.get("sessions") or []:
        for cell, seconds in (session.get("cells") or {}).items():
            taken[cell] = taken.get(cell, 0.0) + float(seconds)
    return taken
