"""The specs that files concern: those that changed, and those that name a changed or deleted file.

A spec is found by the paths in its text, so that one with mistakes is gated and reported too.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import yaml

from sway_gate.errors import SpecError, UsageError
from sway_gate.spec import WAIVERS
from sway_gate.spec.load import read_text
from sway_gate.spec.waivers import waivers_file
from sway_gate.spec.yaml_nodes import compose, entries

MAX_SPECS: Final = 1000
_YAML: Final = (".yaml", ".yml")
_NAMES: Final = tuple(f"sway{ending}" for ending in _YAML)
_ENDINGS: Final = tuple(f".{name}" for name in _NAMES)
_FIELDS: Final = frozenset({"base", "adapter", "data", "held_out", "dlm_source", "embedding_model"})


def concerned(files: Sequence[str], deleted: Sequence[str] = ()) -> list[str]:
    """The given specs, and those below the current folder that name another file, or a deleted one.

    A YAML file is a spec, except a file of waivers, which concerns the specs of its folder. Raises
    UsageError if there are too many specs.
    """
    given = list(dict.fromkeys(os.path.normpath(file) for file in files if _is_spec(file)))
    others = _places(file for file in (*files, *deleted) if not _is_spec(file))
    found = (path for path in _specs() if path not in given) if others else ()
    return [*given, *(path for path in found if _names(path, others))]


def _is_spec(file: str) -> bool:
    return file.endswith(_YAML) and os.path.basename(file) != WAIVERS


def _places(paths: Iterable[str]) -> set[str]:
    """Each path, and where its links lead: a spec can name either."""
    return {place(path) for path in paths for place in (os.path.abspath, os.path.realpath)}


def _specs() -> Iterator[str]:
    """Each sway.yaml and *.sway.yaml, also as .yml, below the current folder."""
    count, waiting = 0, ["."]
    while waiting:  # `os.walk` recurses, which fails in a deep folder
        folders, names = _listed(waiting.pop())
        for path in names:
            if os.path.basename(path) in _NAMES or path.endswith(_ENDINGS):
                count += 1
                yield os.path.normpath(path)
        if count > MAX_SPECS:
            raise UsageError(
                f"more than {MAX_SPECS} specs below the current folder; use `sway gate SPEC`"
            )
        waiting += reversed(folders)


def _listed(folder: str) -> tuple[list[str], list[str]]:
    """The folders in a folder without links, git's own and environments; and its files."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return [], []
    names = [entry.path for entry in found if not entry.is_dir()]
    is_environment = any(entry.name == "pyvenv.cfg" for entry in found)
    visible = [
        entry.path
        for entry in found
        if entry.name != ".git" and entry.is_dir(follow_symlinks=False)
    ]
    return [] if is_environment else visible, names


def _names(path: str, files: set[str]) -> bool:
    """Whether a spec names one of the files, or a folder of it. True if it cannot be read."""
    try:
        root = compose(*read_text(path))
    except SpecError:
        return True
    folders = (os.path.dirname(path), "")
    written = [os.path.expanduser(text) for text in _written(root) if "\0" not in text]
    named = [os.path.join(folder, text) for folder in folders for text in written]
    places = _places([*named, waivers_file(path)])
    return any(
        file == place or file.startswith(place + os.sep) for file in files for place in places
    )


def _written(node: yaml.Node, is_path: bool = False) -> Iterator[str]:
    """The texts in the fields that name files."""
    if isinstance(node, yaml.ScalarNode) and is_path:
        yield node.value
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _written(item, is_path)
    elif isinstance(node, yaml.MappingNode):
        for field, (_, value) in entries(node).items():
            yield from _written(value, field in _FIELDS)
