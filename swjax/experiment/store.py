"""The run folder: where a study's results live, so that no interruption can spoil them.

``study.yaml`` (resolved), ``manifest.json`` (machine, versions, times, status), ``reference.nc``
(the flow), ``cells/*.nc`` (one netCDF file per scheme and step size), ``checkpoints/`` (inside long
cells), ``summary.json``, ``figures/`` and ``report.html``. Every file is written beside its place,
flushed to the disk and renamed, so a reader, or a run that continues after a kill, sees whole files
only. Results hold no clock times: the same seeds give the same bytes.
"""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from swjax.experiment.errors import RunFolderError, StudyError
from swjax.experiment.same_study import differences
from swjax.experiment.strict_yaml import read_yaml, write_yaml
from swjax.experiment.study import Study, parse_study, plain

_OWN = {".lock", "study.yaml", "manifest.json", "cells", "checkpoints"}
_HALF_A_STUDY = ".study.yaml.*.tmp"
# What a kill may leave of a file that was being written: see `write_atomically`.
_LEFTOVERS = (
    _HALF_A_STUDY,
    ".manifest.json.*.tmp",
    ".summary.json.*.tmp",
    ".reference.nc.*.tmp",
    ".report.html.*.tmp",
    "cells/.*.nc.*.tmp",
    "checkpoints/.*.npz.*.tmp",
    "figures/.*.svg.*.tmp",
    "figures/.*.png.*.tmp",
)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, and put it in place in one step.

    Processes may write the same file at once: each fills its own, and the last one stays.

    Args:
        path: the file to create or replace.
        write: called with the name of a temporary file in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with open(beside, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _writer(path: Path) -> int | None:
    """The process that a temporary file is named after, or None."""
    number = path.name.removesuffix(".tmp").rpartition(".")[2]
    return int(number) if number.isdecimal() else None


def _is_own(path: Path) -> bool:
    """Whether something in a folder without a study may be from a run that was just begun."""
    is_half_a_study = path.match(_HALF_A_STUDY) and _writer(path) is not None
    return path.name in _OWN or is_half_a_study


def _is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine, whoever it belongs to."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file in one step; numbers that JSON cannot hold become null."""
    write_text(path, json.dumps(_jsonable(data), indent=2, allow_nan=False) + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_dataset(path: Path, dataset: xr.Dataset) -> None:
    """Write a netCDF file in one step."""
    encoding: dict[Any, dict] = {
        name: {"zlib": True, "complevel": 1} for name, v in dataset.data_vars.items() if v.ndim
    }
    write_atomically(
        path,
        lambda beside: (
            dataset.to_netcdf(beside, engine="h5netcdf", format="NETCDF4", encoding=encoding)
            and None
        ),
    )


def read_dataset(path: Path) -> xr.Dataset:
    """Read a netCDF file whole, and let go of it."""
    with _opened(path) as dataset:
        return dataset.load()


def read_attributes(path: Path) -> dict:
    """Read only what a netCDF file says of itself."""
    with _opened(path) as dataset:
        return dict(dataset.attrs)


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    try:
        with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as dataset:
            yield dataset
    except Exception as error:
        raise RunFolderError(
            f"{path} cannot be read ({type(error).__name__}: {error}). "
            "Remove it and resume: it is made again."
        ) from None


def read_json(path: Path) -> dict:
    """A JSON file's content, or an empty dict when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise RunFolderError(
            f"{path} cannot be read as JSON: {error}. Remove it: resume writes it again."
        ) from None
    if not isinstance(data, dict):
        raise RunFolderError(
            f"{path} holds a {type(data).__name__}, not the names and values that a run writes "
            "there. Remove it: resume writes it again."
        )
    return data


class RunFolder:
    """A run folder. Reading needs no lock; writing goes through ``claim``.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = None

    # --- reading ----------------------------------------------------------------------------------

    def study(self) -> Study:
        """The study the folder was made from.

        Raises:
            RunFolderError: this is not a run folder.
        """
        path = self.path / "study.yaml"
        if not path.is_file():
            what = (
                "is not a run folder: it has no study.yaml"
                if self.path.is_dir()
                else "does not exist"
            )
            raise RunFolderError(f"{self.path} {what}")
        return parse_study(read_yaml(path), str(path))

    def manifest(self) -> dict:
        """Machine, versions, times and status; empty before the first session."""
        return read_json(self.path / "manifest.json")

    def summary(self) -> dict:
        """The claims and their verdicts; empty while there are none."""
        return read_json(self.path / "summary.json")

    def status(self) -> str:
        """How far the run is.

        done, running, interrupted or failed; stopped when killed; incomplete when results were
        removed after it was done; unknown before any run.
        """
        status = self.manifest().get("status", "unknown")
        if status == "running" and not self._is_in_use():
            return "stopped"
        return "incomplete" if status == "done" and self._lacks_results() else status

    def _lacks_results(self) -> bool:
        try:
            study = self.study()
        except (RunFolderError, StudyError):
            return False
        cells = [self.cell_path(arm, size) for arm in study.schemes for size in study.step_sizes]
        flow = [self.reference_path] if study.kind == "flow" else []
        return not all(path.exists() for path in cells + flow)

    def _is_in_use(self) -> bool:
        try:
            with open(self.path / ".lock", encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def cell_path(self, arm: str, step_size: float) -> Path:
        """The file of one scheme at one step size."""
        return self.path / "cells" / f"{arm}_{step_size!r}.nc"

    def checkpoint_path(self, arm: str, step_size: float) -> Path:
        """The file that keeps the state inside a long cell."""
        return self.path / "checkpoints" / f"{arm}_{step_size!r}.npz"

    @property
    def reference_path(self) -> Path:
        """The file of the reference flow."""
        return self.path / "reference.nc"

    # --- writing ----------------------------------------------------------------------------------

    def claim(self, study: Study) -> "RunFolder":
        """Make the folder this study's own, and lock it against other processes.

        Args:
            study: the study to run here.

        Returns:
            The folder itself, to be closed with ``release`` or used in a ``with`` block.

        Raises:
            RunFolderError: the folder is in use, holds another study, or something that is not a
            run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file; choose another --output")
        if self.path.is_dir() and not (self.path / "study.yaml").exists():
            others = sorted(p.name for p in self.path.iterdir() if not _is_own(p))
            if others:
                raise RunFolderError(
                    f"{self.path} holds other things "
                    f"({', '.join(others[:3])}{', ...' if others[3:] else ''}) "
                    "and no study.yaml: not a run folder. Choose an empty or new --output."
                )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise RunFolderError(
                f"{self.path} cannot be written: {error.strerror or error}"
            ) from None
        try:
            path = self.path / "study.yaml"
            if path.exists():
                self._refuse_other(study)
            if not path.exists() or plain(self.study()) != plain(study):  # its data may have moved
                write_text(path, write_yaml(plain(study)))
            self._remove_leftovers()
        except BaseException:
            self.release()
            raise
        return self

    def _remove_leftovers(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for pattern in _LEFTOVERS:
            for path in self.path.glob(pattern):
                process = _writer(path)
                if process is not None and not _is_running(process):
                    path.unlink(missing_ok=True)  # it may have ended well just now

    def _take_lock(self) -> None:
        handle = open(self.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115  held until release
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            raise RunFolderError(
                f"{self.path} is in use by {owner}. Wait for it, or give another --output."
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        self._lock = handle

    def _refuse_other(self, study: Study) -> None:
        try:
            there = self.study()
        except StudyError as error:
            raise RunFolderError(
                f"{self.path} was made by another version of swjax:\n{error}"
            ) from None
        lines = [f"  {line}" for line in differences(there, study)]
        if lines:
            raise RunFolderError(
                "\n".join(
                    [
                        f"{self.path} holds the results of another study; nothing was changed.",
                        *lines,
                    ]
                )
                + "\nGive another --output, or remove the folder."
            )

    def release(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest."""
        write_json(self.path / "manifest.json", self.manifest() | entries)
