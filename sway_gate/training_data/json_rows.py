"""Rows of JSON files: one per line, the elements of an array, or the columns of an object."""

import re
from collections.abc import Iterator
from itertools import count, islice
from typing import Any, BinaryIO, Final

import msgspec

from sway_gate.spec.yaml_nodes import shown
from sway_gate.training_data.files import (
    AS_JSONL,
    MAX_LINE_BYTES,
    PYTHON,
    TOO_LONG,
    Line,
    Mistake,
    Note,
    decoded,
    raw_lines,
)
from sway_gate.training_data.rows import Container, Row, Wanted

MAX_DOCUMENT_BYTES: Final = 512 * 2**20
"""A file that is one JSON value must fit into memory."""
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(r"[ \t\r\n]*")
SPLITS: Final = ("train", "data", "rows", "examples", "instances")
"""Keys of an object under which the rows are a list; the first that it has is used."""


def json_rows(file: BinaryIO, note: Note) -> Container:
    """The rows of a JSON file. Its first lines decide the layout, not its name."""
    start = file.read(4096).removeprefix(_BOM).lstrip()
    file.seek(0)
    if not start.startswith((b"[", b"{")) or _is_line_by_line(file):
        return Lines(file, note)
    if start.startswith(b"["):
        return _array(_document(file))
    try:
        return _object(_document(file), note)
    except (Mistake, ValueError, RecursionError):
        file.seek(0)
        _refuse_indented(file)
        return Lines(file, note)


def begins_with_row(file: BinaryIO) -> bool:
    """Whether the first line is a JSON object."""
    first = _first_lines(file, 1)
    return bool(first) and _is_json(first[0], dict[str, msgspec.Raw])


def _is_line_by_line(file: BinaryIO) -> bool:
    """Whether the first line is a whole value and there is a second one."""
    first = _first_lines(file, 2)
    return len(first) == 2 and _is_json(first[0], msgspec.Raw)


def _first_lines(file: BinaryIO, most: int) -> list[bytes]:
    """The first lines that are not blank. The file is then at its start again."""
    filled = (raw for _, raw in raw_lines(file, lambda _: None) if raw.strip())
    found = list(islice(filled, most))
    file.seek(0)
    return found


def _is_json(line: bytes, kind: Any) -> bool:
    try:
        msgspec.json.decode(line.removeprefix(_BOM), type=kind)
    except (ValueError, RecursionError):  # of msgspec, or of text that is not UTF-8
        return False
    return True


def _refuse_indented(file: BinaryIO) -> None:
    """Raise Mistake if the file begins with an object that extends over several lines."""
    text = file.read(MAX_LINE_BYTES).decode("utf-8-sig", errors="replace").lstrip()
    file.seek(0)
    try:
        _, end = PYTHON.raw_decode(text)
    except (ValueError, RecursionError):
        return
    if lines := text.count("\n", 0, end):
        message = f"the first object extends over {lines + 1} lines; write one object per line"
        raise Mistake(0, f"{message}, for example with `jq -c . FILE`")


class Lines:
    """One JSON value per line; blank lines are not counted."""

    def __init__(self, file: BinaryIO, note: Note) -> None:
        self._file, self._note = file, note

    def count(self) -> int:
        return sum(1 for _ in self._filled(self._note))

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        self._file.seek(0)
        indices = iter(wanted)
        following = next(indices, None)
        for i, (number, raw) in enumerate(self._filled(lambda _: None)):
            if i == following:
                yield _line(number, raw)
                following = next(indices, None)
            if following is None:
                return

    def _filled(self, note: Note) -> Iterator[tuple[int, bytes]]:
        return (line for line in raw_lines(self._file, note) if not line[1].isspace())


def _line(number: int, raw: bytes) -> Row | Mistake:
    if len(raw) > MAX_LINE_BYTES:
        return Mistake(number, TOO_LONG)
    try:
        return Row(number, decoded(raw, number))
    except Mistake as mistake:
        return mistake


def _document(file: BinaryIO) -> bytes:
    data = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        limit = f"{MAX_DOCUMENT_BYTES // 2**20} MiB"
        raise Mistake(0, f"one JSON value larger than {limit}; {AS_JSONL}")
    return data.removeprefix(_BOM)


class Elements:
    """The elements of a list as they stand in the document.

    Their numbers are their lines; in a document of one line their positions in the list.
    """

    def __init__(self, document: bytes, elements: list[msgspec.Raw]) -> None:
        self._document, self._elements = document, elements

    def count(self) -> int:
        return len(self._elements)

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        line, at, chosen = 1, 0, set(wanted)
        is_one_line = b"\n" not in self._document.rstrip()
        for i, raw in enumerate(self._elements):
            start = self._document.find(raw, at)
            line += self._document.count(b"\n", at, start)
            at = start
            if i in chosen:
                yield _line(i + 1 if is_one_line else line, bytes(raw))


def _array(document: bytes) -> Container:
    try:
        return Elements(document, msgspec.json.decode(document, type=list[msgspec.Raw]))
    except (ValueError, RecursionError):
        return Scanned(decoded(document))


class Scanned:
    """The elements of an array that msgspec refuses: Python writes NaN and Infinity into JSON."""

    def __init__(self, text: str) -> None:
        self._elements = list(_scan(text))

    def count(self) -> int:
        return len(self._elements)

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        return (Row(*self._elements[i]) for i in wanted)


def _scan(text: str) -> Iterator[Line]:
    """Yield each element of the array as text. Raises Mistake at the first fault."""
    at, counted, line = text.index("["), 0, 1
    for number in count():
        at = _skip_space(text, at + 1)
        if number == 0 and text[at : at + 1] == "]":
            return
        line, counted = line + text.count("\n", counted, at), at
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


# --- objects


def _object(document: bytes, note: Note) -> Container:
    """The rows of a file that is one object: a list under a known key, columns, or one row.

    Raises ValueError if it is not one object.
    """
    try:
        fields = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        document = msgspec.json.encode(PYTHON.decode(decoded(document)))
        fields = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    for key in SPLITS:
        if key in fields and bytes(fields[key]).startswith(b"["):
            others = [shown(name, 40) for name in fields if name != key]
            if others:
                note(f"only {shown(key)} is read, not {', '.join(others[:5])}")
            return Elements(document, msgspec.json.decode(fields[key], type=list[msgspec.Raw]))
    if columns := _columns(fields):
        return Columns(columns)
    return Elements(document, [msgspec.Raw(document.strip())])


def _columns(fields: dict[str, msgspec.Raw]) -> dict[str, list[msgspec.Raw]]:
    """The columns of an object: lists of one length, or objects with the same keys, which pandas
    writes. Otherwise none: a list of objects is a conversation, not a column."""
    try:
        found = {name: _cells(raw) for name, raw in fields.items()}
    except (ValueError, RecursionError):
        return {}
    first, *others = found.values() or [{}]
    is_table = bool(first) and all(cells.keys() == first.keys() for cells in others)
    return {name: list(cells.values()) for name, cells in found.items()} if is_table else {}


def _cells(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The cells of a column by their index. Raises msgspec.DecodeError for another value."""
    if not bytes(raw).startswith(b"["):
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    cells = msgspec.json.decode(raw, type=list[msgspec.Raw])
    if any(bytes(cell).startswith(b"{") for cell in cells):
        raise msgspec.DecodeError("a list of objects")
    return {str(i): cell for i, cell in enumerate(cells)}


class Columns:
    """The rows of a table that is stored by columns."""

    def __init__(self, columns: dict[str, list[msgspec.Raw]]) -> None:
        self._columns = columns

    def count(self) -> int:
        return len(next(iter(self._columns.values())))

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        for i in wanted:
            row = {name: cells[i] for name, cells in self._columns.items()}
            yield _line(i + 1, msgspec.json.encode(row))
