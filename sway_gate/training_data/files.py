"""Read regular files as decoded lines, up to limits. Every fault is a `Mistake` with its line."""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import BinaryIO, Final, NamedTuple

MAX_FILE_BYTES: Final = 64 * 2**20
MAX_LINE_BYTES: Final = 2**20
MAX_LINES: Final = 250_000

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


AS_JSONL: Final = "convert it to JSONL with one example per line"
_PACKED: Final = "compressed; unpack it first"
_PICKLE: Final = f"a pickle, which is never loaded; {AS_JSONL}"
_MAGIC: Final = {
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull`",
    b"\x1f\x8b": _PACKED,
    b"PK\x03\x04": _PACKED,
    b"BZh91AY&SY": _PACKED,
    b"\xfd7zXZ\0": _PACKED,
    b"(\xb5/\xfd": _PACKED,
    b"PAR1\x15": f"Parquet; {AS_JSONL}",
    **{bytes([0x80, version]): _PICKLE for version in range(2, 6)},
}
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def _ignored(_: str) -> int:
    return 0


PYTHON: Final = json.JSONDecoder(parse_int=_ignored, parse_float=_ignored, parse_constant=_ignored)
"""Python's JSON parser, which accepts NaN and Infinity.

Numbers are not needed, and long ones are slow to convert: they are all read as 0.
"""


def label(path: str) -> str:
    """Name of the file in messages."""
    return path if path.isprintable() else ascii(path)


def tag_name(path: str) -> str:
    """Name of the file in tags and notes: without its folder."""
    return label(os.path.basename(path))


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open the regular file at `path`; never waits for a pipe or a device.

    Raises Mistake for every fault of the file, also while it is read.
    """
    try:
        _refuse_irregular(path)
        with open(path, "rb") as file:
            _refuse_packed(file)
            yield file
    except FileNotFoundError:
        raise Mistake(0, "no such file") from None
    except OSError as error:
        raise Mistake(0, f"cannot be read: {error.strerror or error}") from None


def _refuse_irregular(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except ValueError:
        raise Mistake(0, "cannot be read: not a valid file name") from None
    if stat.S_ISDIR(mode):
        raise Mistake(0, "is a folder; list the files in it")
    if not stat.S_ISREG(mode):
        raise Mistake(0, "is not a regular file; save its output to a file")


def _refuse_packed(file: BinaryIO) -> None:
    start = file.read(max(map(len, _MAGIC)))
    file.seek(0)
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise Mistake(0, f"is {what}")


def lines(file: BinaryIO, note: Note) -> Iterator[Line]:
    """Yield decoded lines without line ends. Lines beyond the limits are left out, with a note."""
    read = number = too_long = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if is_long := len(raw) > MAX_LINE_BYTES:
            too_long += 1
        while is_long and raw and not raw.endswith(b"\n") and read <= MAX_FILE_BYTES:
            read += len(raw)
            raw = file.readline(MAX_LINE_BYTES)
        read += len(raw)
        if read > MAX_FILE_BYTES:
            note(f"only the first {MAX_FILE_BYTES // 2**20} MiB are read")
            break
        if number > MAX_LINES:
            note(f"only the first {MAX_LINES:,} lines are read")
            break
        if not is_long:
            yield Line(number, decoded(raw, number).rstrip("\r\n"))
    if too_long:
        note(f"lines longer than {MAX_LINE_BYTES // 2**20} MiB are left out ({too_long:,})")


def decoded(raw: bytes, number: int = 1) -> str:
    """Decode bytes that start at line `number`. Raises Mistake if they are not UTF-8 text."""
    if (at := raw.find(b"\0")) >= 0:
        line = number + raw.count(b"\n", 0, at)
        raise Mistake(line, "binary data or UTF-16 text; save the file as UTF-8")
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = number + raw.count(b"\n", 0, error.start)
        raise Mistake(line, "not UTF-8 text; save the file as UTF-8") from None


def elements(file: BinaryIO, note: Note) -> Iterator[Line]:
    """Yield the JSON values in the file as text: the elements of its array, or its lines."""
    start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return _array(file, note) if start.startswith(b"[") else lines(file, note)


def _array(file: BinaryIO, note: Note) -> Iterator[Line]:
    """Yield each element of the JSON array in the file as text."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES // 2**20} MiB"
        raise Mistake(0, f"an array larger than {limit}; {AS_JSONL}")
    text = decoded(data)
    at, counted, line = text.index("["), 0, 1
    for number in count():
        at = _skip_space(text, at + 1)
        if number == 0 and text[at : at + 1] == "]":
            return
        line, counted = line + text.count("\n", counted, at), at
        if number == MAX_LINES:
            note(f"only the first {MAX_LINES:,} examples are read")
            return
        try:
            _, end = PYTHON.raw_decode(text, at)
        except (ValueError, RecursionError):
            message = "not valid JSON; the rest of the array cannot be read"
            raise Mistake(line, message) from None
        yield Line(line, text[at:end])
        at = _skip_space(text, end)
        if text[at : at + 1] != ",":
            break
    if text[at : at + 1] != "]" or _skip_space(text, at + 1) < len(text):
        expected = "a comma, or the end of the array and of the file"
        raise Mistake(line, f"not valid JSON: expected {expected} after this example")


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
