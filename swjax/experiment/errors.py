"""Mistakes a user can make with a study or a run folder, told apart from faults of the program."""


class UserError(ValueError):
    """Something the user can put right; the command line prints it without a traceback."""


class StudyError(UserError):
    """A study file that cannot be used.

    Attributes:
        source: what was read (a file name, or "study").
        problems: one line per mistake, each with its place, the value found and what is allowed.
    """

    def __init__(self, source: str, problems: list[str]):
        self.source = source
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {p}" for p in problems)]))


class RunFolderError(UserError):
    """A run folder that is in use, belongs to another study, or is not a run folder."""
