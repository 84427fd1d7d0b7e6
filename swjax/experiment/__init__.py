"""The runner of studies: YAML in, a run folder with verdicts and a report out.

``run`` starts or continues a study, ``resume`` continues a folder, ``load`` reads one; the command
line ``swjax`` does the same. What they need is loaded when one of them is first used; it is in the
extra ``experiment``, and without that importing this package says what to install.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from swjax import _extra as _extra
from swjax.experiment.errors import RunFolderError as RunFolderError
from swjax.experiment.errors import StudyError as StudyError
from swjax.experiment.errors import UserError as UserError

if TYPE_CHECKING:
    from swjax.experiment.sweep import Sweep as Sweep
    from swjax.experiment.sweep import load as load
    from swjax.experiment.sweep import resume as resume
    from swjax.experiment.sweep import run as run

_FROM_SWEEP = ("Sweep", "load", "resume", "run")
__all__ = ["RunFolderError", "StudyError", "Sweep", "UserError", "load", "resume", "run"]


def __getattr__(name: str) -> Any:
    if name in _FROM_SWEEP:
        return getattr(import_module("swjax.experiment.sweep"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FROM_SWEEP])
