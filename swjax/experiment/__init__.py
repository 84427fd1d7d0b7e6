"""The runner of studies: YAML in, a run folder with verdicts and a report out.

``run`` starts or continues a study, ``resume`` continues a folder, ``load`` reads one; the command
line ``swjax`` does the same.
"""

from swjax.experiment.errors import RunFolderError as RunFolderError
from swjax.experiment.errors import StudyError as StudyError
from swjax.experiment.errors import UserError as UserError
from swjax.experiment.sweep import Sweep as Sweep
from swjax.experiment.sweep import load as load
from swjax.experiment.sweep import resume as resume
from swjax.experiment.sweep import run as run
