"""Every error that a user can cause or meet, each with its exit code.

0 pass, 1 fail, 2 wrong command, spec or file, 3 could not decide.
"""

import os


class SwayError(Exception):
    """Base class of all errors. The message states what is wrong, where, and what to do."""

    exit_code = 3


class UsageError(SwayError):
    """An argument is wrong."""

    exit_code = 2


class SpecError(SwayError):
    """The spec is wrong: one line for each mistake, each starting with ``file:line:column:``."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class AdapterError(SwayError):
    """The adapter's files are broken or of an unsupported kind."""

    exit_code = 2


class CannotDecide(SwayError):
    """The gate could not decide: a model is not available, an extra is missing, a probe failed."""

    exit_code = 3


Undecided = CannotDecide
"""Alias of CannotDecide."""


INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after SIGINT (Ctrl-C) and SIGTERM, as shells report them."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. Code that lets Ctrl-C pass lets it pass too."""


_OUT_OF_MEMORY = (
    "cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "bad_alloc",
    "out of memory",
    "not enough memory",
)
"""Texts of the system, the dynamic linker, C++ and torch."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: a MemoryError, or what libraries raise instead of it."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _OUT_OF_MEMORY)


def unexpected_text(error: BaseException) -> str:
    """Class and message of an error that no module expects; SWAY_DEBUG=1 prints its traceback."""
    if os.environ.get("SWAY_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
