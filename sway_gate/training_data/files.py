"""Files as lines: regular files alone, decoded, up to limits. Every fault is a `Mistake` with its line."""

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
"""Takes what the reader of the report should know."""


class Line(NamedTuple):
    """A line of a file, or more of it from that line on. `number` is 1-based."""

    number: int
    text: str


class Mistake(Exception):
    """What is wrong at a line of a file; line 0 is the file as a whole."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line, self.text = line, text


_PACKED: Final = "compressed; unpack it first"
_PICKLE: Final = "a pickle, which is never read; save it as JSONL"
_MAGIC: Final = {
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull`",
    b"\x1f\x8b": _PACKED,
    b"PK\x03\x04": _PACKED,
    b"BZh91AY&SY": _PACKED,
    b"\xfd7zXZ\0": _PACKED,
    b"(\xb5/\xfd": _PACKED,
    b"PAR1\x15": "Parquet; save it as JSONL, an example a line",
    **{bytes([0x80, version]): _PICKLE for version in range(2, 6)},
}
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def _ignored(_: str) -> int:
    return 0


PYTHON: Final = json.JSONDecoder(parse_int=_ignored, parse_float=_ignored, parse_constant=_ignored)
"""Python's own parser of JSON. It knows NaN and Infinity. Numbers are of no use here, and long ones slow to convert."""


def label(path: str) -> str:
    """How messages name the file."""
    return path if path.isprintable() else ascii(path)


def tag_name(path: str) -> str:
    """How tags and notes name the file: without its folder."""
    return label(os.path.basename(path))


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The regular file at `path`, for reading; never waits for a pipe or a device. Every fault of the file, also while
    it is read, is a Mistake."""
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
        raise Mistake(0, "cannot be read: it is no file name") from None
    if stat.S_ISDIR(mode):
        raise Mistake(0, "is a folder; name the files in it")
    if not stat.S_ISREG(mode):
        raise Mistake(0, "is no regular file; save what it gives to a file")


def _refuse_packed(file: BinaryIO) -> None:
    start = file.read(max(map(len, _MAGIC)))
    file.seek(0)
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise Mistake(0, f"is {what}")


def lines(file: BinaryIO, note: Note) -> Iterator[Line]:
    """Decoded lines without their ends. What lies beyond the limits is left out, with a note."""
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
    """The text of bytes that start at that line."""
    if (at := raw.find(b"\0")) >= 0:
        line = number + raw.count(b"\n", 0, at)
        raise Mistake(line, "binary data, or text in UTF-16; save the file as UTF-8 text")
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = number + raw.count(b"\n", 0, error.start)
        raise Mistake(line, "not UTF-8 text; save the file as UTF-8") from None


def elements(file: BinaryIO, note: Note) -> Iterator[Line]:
    """The texts of the JSON values in the file: its lines or, where it starts with a bracket, the array's elements."""
    start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return _array(file, note) if start.startswith(b"[") else lines(file, note)


def _array(file: BinaryIO, note: Note) -> Iterator[Line]:
    """The elements of the array that the file holds, each as text."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES // 2**20} MiB"
        raise Mistake(0, f"an array larger than {limit}; save it as JSONL, an example a line")
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
            message = "not valid JSON, so that the rest of the array cannot be read"
            raise Mistake(line, message) from None
        yield Line(line, text[at:end])
        at = _skip_space(text, end)
        if text[at : at + 1] != ",":
            break
    if text[at : at + 1] != "]" or _skip_space(text, at + 1) < len(text):
        message = "after this example, the array neither goes on nor ends with the file"
        raise Mistake(line, f"not valid JSON: {message}")


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
