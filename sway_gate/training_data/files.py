"""Open regular files and read them as lines, up to limits. Every fault is a `Mistake`.

gzip and zstd are unpacked while a file is read.
"""

import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, NamedTuple

from sway_gate.files import NotRegular, did_you_mean, open_regular
from sway_gate.text import cut, one_line
from sway_gate.training_data import compression

MAX_FILE_BYTES: Final = 2 * 2**30
"""Bytes that are read from a file, after unpacking."""
MAX_LINE_BYTES: Final = 2**20
_MAX_REASON: Final = 200

Note = Callable[[str], None]
"""Receives notes for the report."""


class Line(NamedTuple):
    """A line of a file, or a text that starts at that line. `number` starts at 1."""

    number: int
    text: str


class Mistake(Exception):
    """A fault at a line of a file; line 0 is the file as a whole."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line, self.text = line, text


TOO_LONG: Final = f"longer than {MAX_LINE_BYTES // 2**20} MiB"
AS_JSONL: Final = "convert it to JSONL with one example per line"
AS_TEXT: Final = "convert it to text, Markdown or JSONL"
_BINARY: Final = "binary data or UTF-16 text; save the file as UTF-8"
_PACKED: Final = "compressed; unpack it, or compress it with gzip or zstd"
_PICKLE: Final = f"a pickle, which is never loaded; {AS_JSONL}"
_REFUSED: Final = {
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull`",
    b"PK\x03\x04": _PACKED,
    b"BZh91AY&SY": _PACKED,
    b"\xfd7zXZ\0": _PACKED,
    b"%PDF-": f"a PDF; {AS_TEXT}",
    b"{\\rtf": f"a document in RTF; {AS_TEXT}",
    b"\xd0\xcf\x11\xe0": f"a document of Microsoft Office; {AS_TEXT}",
    b"SQLite format 3\0": f"a database; {AS_JSONL}",
    **{bytes([0x80, version]): _PICKLE for version in range(2, 6)},
}


def _integer(digits: str) -> int:
    return int(digits) if len(digits) < 16 else 0


def _ignored(_: str) -> int:
    return 0


PYTHON: Final = json.JSONDecoder(parse_int=_integer, parse_float=float, parse_constant=_ignored)
"""Python's JSON parser, which accepts NaN and Infinity.

Long integers are slow to convert and are read as 0: no field that is used contains one.
"""


def label(path: str) -> str:
    """Name of the file in messages."""
    return path if path.isprintable() else ascii(path)


def tag_name(path: str) -> str:
    """Name of the file in tags and notes: without its folder."""
    return label(os.path.basename(path.rstrip("/\\")))


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open the regular file at `path`, unpacked; never waits for a pipe or a device.

    Raises Mistake for every fault of the file, also while it is read.
    """
    if _is_hidden(path):
        raise Mistake(0, "is a hidden file, which may contain secrets; copy it to another name")
    try:
        with open_regular(path) as file:
            _refuse_magic(file)
            yield compression.unpacked(file, label(path))
    except FileNotFoundError:
        near = did_you_mean(path)
        raise Mistake(0, f"no such file{near and f'; {near}'}") from None
    except IsADirectoryError:
        raise Mistake(0, "is a folder; give a file") from None
    except NotRegular:
        raise Mistake(0, "is not a regular file; save its output to a file") from None
    except OSError as error:
        # Libraries raise it without a code, and may quote bytes of the file on several lines.
        reason = error.strerror or cut(one_line(str(error)), _MAX_REASON)
        raise Mistake(0, f"cannot be read: {reason}") from None
    except (EOFError, zlib.error) as error:
        raise Mistake(0, f"cannot be unpacked: {error}") from None


def _is_hidden(path: str) -> bool:
    try:
        return os.path.basename(os.path.realpath(path)).startswith(".")
    except ValueError:  # not a name of a file; opening it reports that
        return False


def _refuse_magic(file: BinaryIO) -> None:
    start = file.read(max(map(len, _REFUSED)))
    file.seek(0)
    for magic, what in _REFUSED.items():
        if start.startswith(magic):
            raise Mistake(0, f"is {what}")


def with_newlines(file: BinaryIO) -> BinaryIO:
    """The file with LF instead of CR if only CR ends its lines, as in old files of a Mac."""
    start = file.read(MAX_LINE_BYTES)
    file.seek(0)
    if b"\n" in start or b"\r" not in start:
        return file
    return io.BufferedReader(_Newlines(file))


class _Newlines(io.RawIOBase):
    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        count = int(self._file.readinto(buffer))
        buffer[:count] = bytes(buffer[:count]).replace(b"\r", b"\n")
        return count


def raw_lines(file: BinaryIO, note: Note) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number; a line beyond the limit is cut to MAX_LINE_BYTES + 1.

    Raises Mistake if such a line is binary: gigabytes of zeros take no space on the disk.
    """
    read = number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        read += len(raw)
        if len(raw) > MAX_LINE_BYTES:
            if b"\0" in raw:
                raise Mistake(number, _BINARY)
            rest = raw
            while rest and not rest.endswith(b"\n") and read <= MAX_FILE_BYTES:
                rest = file.readline(MAX_LINE_BYTES)
                read += len(rest)
        if read > MAX_FILE_BYTES:
            note(f"only the first {MAX_FILE_BYTES // 2**20:,} MiB are read")
            return
        yield number, raw


def lines(file: BinaryIO, note: Note) -> Iterator[Line]:
    """Yield decoded lines without line ends. Lines beyond the limit are left out, with a note."""
    too_long = 0
    for number, raw in raw_lines(file, note):
        if len(raw) > MAX_LINE_BYTES:
            too_long += 1
        else:
            yield Line(number, decoded(raw, number).rstrip("\r\n"))
    if too_long:
        note(f"lines {TOO_LONG} are left out ({too_long:,})")


def decoded(raw: bytes, number: int = 1) -> str:
    """Decode bytes that start at line `number`. Raises Mistake if they are not UTF-8 text."""
    if (at := raw.find(b"\0")) >= 0:
        line = number + raw.count(b"\n", 0, at)
        raise Mistake(line, _BINARY)
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = number + raw.count(b"\n", 0, error.start)
        raise Mistake(line, "not UTF-8 text; save the file as UTF-8") from None
