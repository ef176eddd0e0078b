"""The adapters that a command line names: folders, hub ids and patterns."""

import glob
import os
from collections.abc import Sequence
from itertools import islice

from sway_gate.errors import UsageError
from sway_gate.text import by_number, one_line


def expanded(given: str, limit: int | None = None) -> list[str]:
    """The folders that a pattern matches, by the numbers in their names; other paths as given.

    Stops after `limit` folders and one more. Raises UsageError if no folder matches.
    """
    pattern = os.path.expanduser(given)
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [given]
    if "**" in pattern:
        raise UsageError(f"{one_line(given)}: ** is not supported; give a * per folder")
    folders = list(islice(filter(os.path.isdir, glob.iglob(pattern)), limit and limit + 1))
    if not folders:
        raise UsageError(f"{one_line(given)}: no folder matches this pattern")
    return sorted(folders, key=by_number)


def distinct(paths: Sequence[str]) -> list[str]:
    """Each adapter once, links last: a name such as last has no step, checkpoint-500 has one."""
    found: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: os.path.islink(os.path.normpath(path))):
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())
