"""Whether two studies are one, and whether a file of results belongs to a study."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swjax.experiment.errors import RunFolderError, StudyError
from swjax.experiment.study import Study, parse_study, plain


def differences(there: Study, here: Study) -> list[str]:
    """Where two studies differ, one line each.

    Data of known content are the same wherever they lie. The order of the arms counts: the draws
    of an arm depend on its position.
    """
    return _differences(plain(there), plain(here), "")


def refuse_foreign(path: Path, attributes: Mapping, study: Study, **place: Any) -> None:
    """Refuse a file of results that is not of this study, or not of its place in it.

    Args:
        path: the file.
        attributes: what it says of itself: ``study`` as JSON, and what `place` names.
        study: the study that it is to belong to.
        **place: ``arm`` and ``step_size`` of a cell.

    Raises:
        RunFolderError: it does not belong there.
    """
    lines = [f"  {line}" for line in _foreign_lines(attributes, study)]
    if lines:
        raise RunFolderError(
            "\n".join([f"{path} holds results of another study than study.yaml asks for:", *lines])
            + "\nPut study.yaml back as it was, and run a changed study with another --output. "
            "If it is this file that does not belong here, remove it and resume: it is made again."
        )
    if any(attributes.get(name) != value for name, value in place.items()):
        found = ", ".join(f"{name} {attributes.get(name)}" for name in place)
        raise RunFolderError(
            f"{path} holds the results of another cell: {found}. "
            "Remove it and resume: it is made again."
        )


def _foreign_lines(attributes: Mapping, study: Study) -> list[str]:
    """Where the study that a file of results names differs from this one."""
    text = attributes.get("study")
    if text == json.dumps(plain(study)):
        return []
    try:
        return differences(parse_study(json.loads(text or "")), study)
    except json.JSONDecodeError:
        return ["the file does not say which study it is of"]
    except StudyError as error:
        return ["it was made by another version of swjax", *error.problems]


def _differences(there: Any, here: Any, place: str) -> list[str]:
    if not isinstance(there, dict) or not isinstance(here, dict):
        return [] if there == here else [f"{place}: there {there!r}, asked {here!r}"]
    found = []
    for key in [*there, *(k for k in here if k not in there)]:
        if key == "path" and there.get("sha256") and there.get("sha256") == here.get("sha256"):
            continue
        found += _differences(there.get(key), here.get(key), f"{place}.{key}".lstrip("."))
    if place == "arms" and not found and list(there) != list(here):
        found.append(f"arms: there in the order {', '.join(there)}, asked in {', '.join(here)}")
    return found
