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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from swjax.experiment.errors import RunFolderError, StudyError
from swjax.experiment.strict_yaml import parse_yaml, write_yaml
from swjax.experiment.study import Study, parse_study, plain

_OWN = {".lock", "study.yaml", "manifest.json", "cells", "checkpoints"}


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, and put it in place in one step.

    Args:
        path: the file to create or replace.
        write: called with the name of a temporary file in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    write(beside)
    with open(beside, "rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
    try:
        with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as opened:
            return opened.load()
    except Exception as error:
        raise RunFolderError(
            f"{path} cannot be read ({type(error).__name__}: {error}). "
            "Remove it and resume: it is made again."
        ) from None


def read_json(path: Path) -> dict:
    """A JSON file's content, or an empty dict when there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunFolderError(f"{path} is not JSON: {error}") from None


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
        return parse_study(parse_yaml(path.read_text(encoding="utf-8"), str(path)), str(path))

    def manifest(self) -> dict:
        """Machine, versions, times and status; empty before the first session."""
        return read_json(self.path / "manifest.json")

    def summary(self) -> dict:
        """The claims and their verdicts; empty while there are none."""
        return read_json(self.path / "summary.json")

    def status(self) -> str:
        """done, running, interrupted or failed; stopped when killed; unknown before any run."""
        status = self.manifest().get("status", "unknown")
        return "stopped" if status == "running" and not self._is_in_use() else status

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
            others = sorted(
                p.name
                for p in self.path.iterdir()
                if p.name not in _OWN and not p.name.endswith(".tmp")
            )
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
            if (self.path / "study.yaml").exists():
                self._refuse_other(study)
            else:
                write_text(self.path / "study.yaml", write_yaml(plain(study)))
            for leftover in self.path.rglob(".*.tmp"):
                leftover.unlink()
        except BaseException:
            self.release()
            raise
        return self

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
            there = plain(self.study())
        except StudyError as error:
            raise RunFolderError(
                f"{self.path} was made by another version of swjax:\n{error}"
            ) from None
        here = plain(study)
        if there != here:
            lines = [f"  {line}" for line in _differences(there, here)]
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


def _differences(there: Any, here: Any, place: str = "") -> list[str]:
    """Where two studies differ, one line each."""
    if isinstance(there, dict) and isinstance(here, dict):
        found = []
        for key in [*there, *(k for k in here if k not in there)]:
            found += _differences(there.get(key), here.get(key), f"{place}.{key}".lstrip("."))
        return found
    return [] if there == here else [f"{place}: there {there!r}, asked {here!r}"]
