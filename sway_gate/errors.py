"""Every error that a user can cause or meet, each with the exit code it ends in.

0 pass, 1 fail, 2 the command, the spec or the files are wrong, 3 could not decide.
"""


class SwayError(Exception):
    """Root of the family. The message says what is wrong, where, and what to do."""

    exit_code = 3


class UsageError(SwayError):
    """The command line is wrong."""

    exit_code = 2


class SpecError(SwayError):
    """The spec is wrong: one line for each mistake, each starting with ``file:line:column:``."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class AdapterError(SwayError):
    """The adapter's files are broken, or of a sort that is refused."""

    exit_code = 2


class CannotDecide(SwayError):
    """The gate could not decide: a model is not to be had, an extra is missing, a probe could not run."""

    exit_code = 3


Undecided = CannotDecide
"""The same class under its first name."""
