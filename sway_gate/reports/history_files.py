"""Finds and reads the stored results of a history."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sway_gate.compare.history import History, Stored, history
from sway_gate.errors import UsageError
from sway_gate.reports import json_v1
from sway_gate.text import by_number, named, one_line

MAX_RESULTS = 500
_MAX_PROBLEMS = 20
_JSON = ".json"


def load_history(given: Sequence[str]) -> History:
    """The history of the JSON reports in files, folders and patterns, in the order of their names.

    Numbers in names count as numbers: step-200 comes before step-1000. Raises UsageError with
    every file that is not a report.
    """
    notes: list[str] = []
    files = _distinct(file for one in given for file in _files(one, notes))
    if len(files) > MAX_RESULTS:
        raise UsageError(
            f"--history: {len(files)} results are too many; give at most {MAX_RESULTS}"
        )
    files.sort(key=lambda file: by_number(os.path.abspath(file)))
    stored, problems = [], []
    for file, label in zip(files, _labels(files), strict=True):
        try:
            stored.append(Stored(label=label, file=file, result=json_v1.load(file)))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        rest = [f"--history: and {more} more files that are not reports"] if more > 0 else []
        raise UsageError("\n".join([*problems[:_MAX_PROBLEMS], *rest]))
    return history(stored, notes)


def _files(given: str, notes: list[str]) -> Iterator[str]:
    """The files that an argument stands for. Raises UsageError if there are none."""
    if os.path.isdir(given):
        yield from _in_folder(given, notes)
    elif os.path.lexists(given) or not glob.has_magic(given):
        yield given
    elif "**" in given:
        raise UsageError(f"--history {one_line(given)}: ** is not supported; give a * per folder")
    elif found := sorted(glob.glob(given)):
        for path in found:
            yield from _in_folder(path, notes) if os.path.isdir(path) else [path]
    else:
        raise UsageError(f"--history {one_line(given)}: no file matches this pattern")


def _in_folder(folder: str, notes: list[str]) -> list[str]:
    """The JSON files in a folder. Notes the names of all other files and folders."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(f"--history {one_line(folder)}: {error.strerror}") from None
    paths = {name: os.path.join(folder, name) for name in names}
    own = [name for name in names if name.endswith(_JSON) and not os.path.isdir(paths[name])]
    if not own:
        raise UsageError(
            f"--history {one_line(folder)}: contains no file *.json; "
            f"for files in its folders, give a pattern such as '{one_line(folder)}/*/*.json'"
        )
    if others := [name for name in names if name not in own]:
        notes.append(f"not read in {folder}, because only *.json is: {named(others)}")
    return [paths[name] for name in own]


def _distinct(files: Iterator[str]) -> list[str]:
    """The files without repetitions of a path."""
    return list({os.path.abspath(file): file for file in files}.values())


def _labels(files: Sequence[str]) -> list[str]:
    """Short names of the files: their paths without the folders and the name that all share."""
    parts = [list(Path(os.path.abspath(file)).parts) for file in files]
    for one in parts:
        one[-1] = one[-1].removesuffix(_JSON)
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({one[end] for one in parts}) == 1:
            for one in parts:
                del one[end]
    return ["/".join(one) for one in parts]
