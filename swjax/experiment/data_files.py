"""The data files of a study: found from anywhere, and known by their content."""

import hashlib
import os
from pathlib import Path
from typing import Any

from swjax.experiment.errors import StudyError
from swjax.experiment.laws import FileLaw
from swjax.experiment.study import Study


def pin_files(study: Study) -> Study:
    """Write down where the data files of a study are, and what is in them.

    Args:
        study: the study; paths are relative to the current directory.

    Returns:
        The study with absolute paths, and a digest of every file that had none.

    Raises:
        StudyError: a file cannot be read.
    """
    pinned: dict[str, Any] = {}
    for place in ("source", "target"):
        law = getattr(study, place)
        if isinstance(law, FileLaw):
            path = os.path.abspath(law.path)
            known = {"path": path, "sha256": law.sha256 or _digest(study, place, path)}
            pinned[place] = law.model_copy(update=known)
    return study.model_copy(update=pinned) if pinned else study


def refuse_other_content(study: Study, place: str, law: FileLaw) -> None:
    """Refuse a file that is not there, or whose content is not what the study says.

    Raises:
        StudyError: what was found, and what to do.
    """
    found = _digest(study, place, law.path)
    if law.sha256 not in (None, found):
        raise StudyError(
            study.name,
            [
                f"{place}.path: {law.path} holds other data than the study names (sha256 is "
                f"{found}, not {law.sha256}). Put the first file back, or run the study with "
                f"these data into another folder, without {place}.sha256"
            ],
        )


def _digest(study: Study, place: str, path: str) -> str:
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        problem = (
            f"{place}.path: there is no file {Path(path)}. Put it there, or let the path in the "
            "study lead to where it is now"
        )
    except OSError as error:
        problem = f"{place}.path: {path} cannot be read: {error.strerror or error}"
    raise StudyError(study.name, [problem])
