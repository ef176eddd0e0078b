"""The files of a folder: data files one level deep, or a data set that `datasets` saved.

Only the training split is read; notes name everything that is left out.
"""

import os
import re
from collections.abc import Callable
from itertools import islice
from typing import Final, TypeVar

import msgspec

from sway_gate.text import named
from sway_gate.training_data import compression, files
from sway_gate.training_data.files import Mistake, Note

MAX_FILES: Final = 10_000
SUFFIXES: Final = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"),
    *(".md", ".markdown", ".txt"),
)
_METADATA: Final = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json")
_TRAIN: Final = re.compile(r"(?<![a-z])train(?:ing)?(?![a-z])")
_OTHER: Final = re.compile(
    r"(?<![a-z])(?:test(?:ing)?|val(?:id(?:ation)?)?|dev|eval(?:uation)?)(?![a-z])"
)
_OF_MODELS: Final = {"adapter_config.json": "an adapter", "tokenizer_config.json": "a model"}
_MAX_METADATA_BYTES: Final = 16 * 2**20
_ASIDE: Final = "give them under `held_out:` (--held-out)"

T = TypeVar("T")


class _Splits(msgspec.Struct):
    splits: list[str]


class _File(msgspec.Struct):
    filename: str


class _State(msgspec.Struct, rename={"files": "_data_files"}):
    files: list[_File]


def files_in(path: str, note: Note) -> list[str]:
    """The data files at `path`: itself, or the files of a folder by name.

    Raises Mistake if there is none.
    """
    if not os.path.isdir(path):
        return [path]
    for config, kind in _OF_MODELS.items():
        if os.path.exists(os.path.join(path, config)):
            raise Mistake(0, f"is the folder of {kind} ({config}); give the training data")
    if os.path.exists(described := os.path.join(path, "dataset_dict.json")):
        splits = _read(described, _Splits).splits
        split = "train" if "train" in splits else splits[0] if len(splits) == 1 else ""
        if not split:
            raise Mistake(0, f"has no split train; give one of its folders: {named(splits)}")
        if others := [name for name in splits if name != split]:
            note(f"only the split {split} is read, not {named(others)}: {_ASIDE}")
        path = _inside(path, split)
    if os.path.exists(state := os.path.join(path, "state.json")):
        return [_inside(path, file.filename) for file in _read(state, _State).files]
    return _listed(path, note)


def _read(path: str, kind: type[T]) -> T:
    """The object in a file that `datasets` wrote."""
    with files.opened(path) as file:
        try:
            return msgspec.json.decode(file.read(_MAX_METADATA_BYTES), type=kind)
        except (ValueError, RecursionError):
            message = f"{os.path.basename(path)} is not valid; save the data set again"
            raise Mistake(0, message) from None


def _inside(folder: str, name: str) -> str:
    """The path of a file or folder directly in `folder`; the name comes from an untrusted file."""
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise Mistake(0, f"names a file outside its folder: {name[:80]!a}")
    return os.path.join(folder, name)


def _listed(folder: str, note: Note) -> list[str]:
    found: list[str] = []
    ignored: list[str] = []
    for name in _names(folder):
        base = os.path.basename(name)
        is_data = compression.bare(base).lower().endswith(SUFFIXES)
        is_about = base.lower().startswith("readme") or base in _METADATA
        (found if is_data and not is_about else ignored).append(name)
    others = [name for name in found if _is_other_split(name.lower())]
    if any(map(_TRAIN.search, map(str.lower, found))):
        if others:
            note(f"other splits are left out ({named(others)}): {_ASIDE}")
        found = [name for name in found if name not in others]
    elif 0 < len(others) < len(found):
        note(f"{named(others)}: read as training data; if training did not see it, {_ASIDE}")
    if ignored:
        note(f"files that are not data are left out ({named(ignored)})")
    if not found:
        raise Mistake(0, f"has no data file; accepted: {', '.join(SUFFIXES)}")
    return [os.path.join(folder, name) for name in found]


def _names(folder: str) -> list[str]:
    """The files in a folder and in its folders, without hidden ones, in the order of their names.

    Raises Mistake if there are more than MAX_FILES.
    """
    names: list[str] = []
    for inner in ("", *sorted(_visible(folder, os.DirEntry.is_dir))):
        here = os.path.join(folder, inner)
        names += (os.path.join(inner, name) for name in sorted(_visible(here, os.DirEntry.is_file)))
        if len(names) > MAX_FILES:
            raise Mistake(0, f"has more than {MAX_FILES:,} files; give the data files")
    return names


def _visible(folder: str, kind: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            shown = (entry for entry in entries if not entry.name.startswith("."))
            return [entry.name for entry in islice(shown, MAX_FILES + 1) if kind(entry)]
    except OSError as error:
        raise Mistake(0, f"cannot be read: {error.strerror}") from None


def _is_other_split(name: str) -> bool:
    return bool(_OTHER.search(name)) and not _TRAIN.search(name)
