"""Opens the files that a run reads: only regular files, so that no pipe or device blocks it."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

_MAX_ENTRIES: Final = 10_000
_MAX_NAME: Final = 255
_NEAR: Final = 0.75
"""Least similarity of a name that is suggested, as difflib measures it."""


class NotRegular(OSError):
    """A pipe, a device or a socket."""


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file to read its bytes.

    Raises OSError if it cannot be read or is not a regular file.
    """
    try:
        found = os.stat(path)
    except ValueError:
        raise OSError(errno.EINVAL, "its name contains a NUL character", os.fspath(path)) from None
    _require_regular(found, path)  # opening a device can change its state
    return open(path, "rb", opener=_opener)


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The first `max_bytes` of a file. Raises like `open_regular`."""
    with open_regular(path) as file:
        return file.read(max_bytes)


def not_read(error: OSError | ValueError) -> str:
    """State that a file cannot be read, and what to do about a pipe or a device."""
    text = f"cannot be read: {getattr(error, 'strerror', '') or error}"
    return f"{text}; save its output to a file" if isinstance(error, NotRegular) else text


def irregular_in(folder: Path) -> Path | None:
    """A file in `folder`, or in one of its folders, that a library must not open; None if none."""
    for place in (folder, *(entry for entry in _entries(folder) if entry.is_dir())):
        for entry in _entries(place):
            if not (entry.is_file() or entry.is_dir()) and entry.exists():
                return entry
    return None


def did_you_mean(path: str | os.PathLike[str], *, folder: bool = False) -> str:
    """ "did you mean PATH?" with the most similar name next to a missing file or folder, or "".

    Only names below the current folder: a spec of others must not list other folders.
    """
    import difflib

    place, name = os.path.split(os.fspath(path).rstrip("/"))
    try:
        parent = Path(os.path.realpath(place or "."))
    except ValueError:  # a NUL character
        return ""
    if len(name) > _MAX_NAME or not parent.is_relative_to(os.path.realpath(".")):
        return ""
    names = [entry.name for entry in _entries(parent) if entry.is_dir() or not folder]
    near = difflib.get_close_matches(name, names, n=1, cutoff=_NEAR)
    return f"did you mean {os.path.join(place, near[0])}?" if near else ""


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = zip(entries, range(_MAX_ENTRIES), strict=False)
            return sorted(folder / entry.name for entry, _ in found)
    except OSError:
        return []


def _opener(path: str, flags: int) -> int:
    # Another process can put a pipe there meanwhile. Without O_NONBLOCK, opening it would block.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise NotRegular(errno.EINVAL, "not a regular file", os.fspath(path))
