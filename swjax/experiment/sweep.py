"""Run a study into a folder that survives anything, continue it, read it back.

``run`` starts or continues, ``resume`` continues, ``load`` reads. What is in the folder already is
not made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from rich.console import Console

from swjax.experiment.build import build
from swjax.experiment.claims import summarize
from swjax.experiment.data_files import pin_files
from swjax.experiment.diagnoses import target_loss
from swjax.experiment.errors import StudyError, UserError
from swjax.experiment.execute import execute
from swjax.experiment.hypotheses import hypotheses
from swjax.experiment.progress import asked_to_stop
from swjax.experiment.report import write_report
from swjax.experiment.report_figures import draw_figure
from swjax.experiment.results import combine, refuse_foreign_results
from swjax.experiment.store import RunFolder, write_json
from swjax.experiment.strict_yaml import apply_overrides
from swjax.experiment.study import Study, parse_study, plain, plain_values, read_study


@dataclass(frozen=True)
class Sweep:
    """A study with its results; see ``run`` for an example.

    Attributes:
        study: the study, typed and frozen.
        folder: the run folder.
    """

    study: Study
    folder: Path

    @cached_property
    def dataset(self) -> xr.Dataset:
        """All results as one labeled dataset, read when it is first asked for.

        Dimensions ``arm``, ``step_size``, ``repetition``, ``time`` (and ``parameter``). Variables,
        where they apply: ``distance`` to the flow, ``loss``, ``sample_loss``, ``norm``,
        ``max_norm``, ``diverged_at`` (a step, -1 for never), ``num_steps``, ``flow_loss``,
        ``flow_error``, ``path``, ``flow_path``. Cells that have not run yet are NaN.
        """
        return combine(RunFolder(self.folder), self.study)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds: claims with estimate, interval, expectation and verdict."""
        return RunFolder(self.folder).summary()

    def plot(self, name: str | None = None, **options: Any) -> Any:
        """Draw one of the figures of these results, as the report shows it.

        Args:
            name: of the figure in the report, such as ``"order"``, or of a function of
                ``swjax.plot``; by default the main figure of the report.
            **options: of that function, in place of what the report uses: ``ax``, and ``arm`` where
                the study has several and the first is not meant.

        Returns:
            The Axes.

        Raises:
            ValueError: there is no such figure or arm, or nothing has run that it could show.
        """
        return draw_figure(self.study, self.dataset, name, **options)


def run(
    study_or_path: Study | dict | str | Path,
    *,
    output: str | Path | None = None,
    overrides: Sequence[str] = (),
    console: Console | None = None,
    max_devices: int | None = None,
) -> Sweep:
    """Run a study, or continue it where it stopped.

    Args:
        study_or_path: a YAML file, its content as a dict, or a study.
        output: the run folder; ``runs/<name of the study>`` by default.
        overrides: assignments such as ``"step_sizes=[0.1, 0.05]"``.
        console: where to show progress; nowhere by default.
        max_devices: use at most so many local devices, 1 or more; all by default. Results do not
            depend on it.

    Returns:
        The results, as written to the folder.

    Raises:
        StudyError: the study cannot be used; every mistake is named.
        RunFolderError: the folder is in use, or holds something else or results of another study.
        UserError: `max_devices` is not a number of devices.
        KeyboardInterrupt: stopped by Ctrl-C, the state written down; run again to continue.

    Example:
        >>> import tempfile
        >>> study = {
        ...     "name": "small", "question": "Does SGD approach the flow?", "kind": "flow",
        ...     "seed": 0, "repetitions": 8, "horizon": 1.0, "step_sizes": [0.2, 0.1, 0.05],
        ...     "source": {"kind": "ball", "dim": 2},
        ...     "target": {"kind": "ball", "dim": 2, "shift": [1.0, 0.0]},
        ...     "generator": {"kind": "translation"}, "loss": {"batch_size": 8},
        ...     "scheme": {"kind": "sgd"}, "initial": {"kind": "uniform_ball", "radius": 1.0},
        ...     "reference": {"kind": "closed_form"}, "record": {"num_times": 10},
        ...     "expect": {"order": 0.5, "tolerance": 0.2},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sweep = run(study, output=folder)
        ...     sizes = dict(sweep.dataset["distance"].sizes)
        >>> sizes
        {'arm': 1, 'step_size': 3, 'repetition': 8, 'time': 11}
    """
    if max_devices is not None and max_devices < 1:
        raise UserError(f"devices: at least 1 is needed to run on, got {max_devices}")
    study = as_study(study_or_path, overrides)
    folder = RunFolder(output if output is not None else Path("runs") / study.name)
    with jax.enable_x64(study.precision == "float64"):
        study = pin_files(study)
        problem = build(study)
        with folder.claim(study):
            refuse_foreign_results(folder, study)
            folder.update_manifest(hypotheses=hypotheses(problem), target_loss=target_loss(problem))
            with asked_to_stop() as stop:
                execute(problem, folder, console, stop.is_set, max_devices)
            return conclude(folder.path)


def resume(
    run_folder: str | Path, *, console: Console | None = None, max_devices: int | None = None
) -> Sweep:
    """Continue an interrupted run, to the same bits as if nothing had happened.

    Args:
        run_folder: the folder.
        console: where to show progress; nowhere by default.
        max_devices: use at most so many local devices; all by default.

    Returns:
        The results.

    Raises:
        RunFolderError: not a run folder, or in use.
        KeyboardInterrupt: stopped again.
    """
    study = RunFolder(run_folder).study()
    return run(study, output=run_folder, console=console, max_devices=max_devices)


def load(run_folder: str | Path) -> Sweep:
    """Read a run folder, finished or not.

    Args:
        run_folder: the folder.

    Returns:
        The results that are there.

    Raises:
        RunFolderError: not a run folder.
    """
    return Sweep(RunFolder(run_folder).study(), Path(run_folder))


def as_study(study_or_path: Study | dict | str | Path, overrides: Sequence[str] = ()) -> Study:
    """A study from a file, a dict or itself, with overrides."""
    if isinstance(study_or_path, str | Path):
        return read_study(study_or_path, overrides)
    if isinstance(study_or_path, Study):
        data = plain(study_or_path)
    elif isinstance(study_or_path, dict):
        data = plain_values(study_or_path)
    else:
        kind = type(study_or_path).__name__
        raise StudyError("study", [f"expected a YAML file, a dict or a Study, got type {kind}"])
    return parse_study(apply_overrides(data, overrides))


def conclude(run_folder: str | Path) -> Sweep:
    """Judge the results that are in a folder; write ``summary.json`` and ``report.html``.

    Args:
        run_folder: the folder of a finished or unfinished run.

    Returns:
        The results.

    Raises:
        RunFolderError: not a run folder, or one that holds results of another study.
        StudyError: a data file is gone that the claims or the figures need.
    """
    sweep, folder = load(run_folder), RunFolder(run_folder)
    manifest, status = folder.manifest(), folder.status()
    with jax.enable_x64(sweep.study.precision == "float64"):
        summary = summarize(sweep.study, sweep.dataset, status, manifest.get("target_loss"))
        summary |= manifest.get("hypotheses", {})
        write_json(sweep.folder / "summary.json", summary)
        write_report(sweep.folder)
    return sweep
