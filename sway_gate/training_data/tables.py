"""Rows of CSV and TSV files: a header with the names of the fields, then one row per record."""

import csv
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, Final

import msgspec

from sway_gate.training_data.files import (
    MAX_LINE_BYTES,
    TOO_LONG,
    Mistake,
    Note,
    decoded,
    raw_lines,
)
from sway_gate.training_data.rows import Row, Wanted, repeated_names

MAX_COLUMNS: Final = 1000
_DELIMITERS: Final = (",", "\t", ";")


class Table:
    """The records of a table. The delimiter is the one that the header has most often."""

    def __init__(self, file: BinaryIO, note: Note) -> None:
        self._file, self._note = file, note

    def count(self) -> int:
        return sum(1 for _ in self._records(self._note)) - 1

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        self._file.seek(0)
        records = self._records(lambda _: None)
        header = [name.strip() for name in next(records, (1, []))[1]]
        if repeated := repeated_names(header):
            raise Mistake(1, repeated)
        chosen = set(wanted)
        for i, (number, cells) in enumerate(records):
            if i not in chosen:
                continue
            if len(cells) == len(header):
                yield Row(number, dict(zip(header, map(_value, cells), strict=True)))
            else:
                yield Mistake(number, f"has {len(cells)} cells, the header has {len(header)}")

    def _records(self, note: Note) -> Iterator[tuple[int, list[str]]]:
        """Each record with the number of its first line; the first one is the header."""
        lines = self._lines(note)
        header = next(lines, "")
        delimiter = max(_DELIMITERS, key=header.count)
        if header.count(delimiter) >= MAX_COLUMNS:
            raise Mistake(1, f"has more than {MAX_COLUMNS:,} columns; keep the ones that are used")
        number = 1
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(chain([header], lines), delimiter=delimiter)
        try:
            for cells in reader:
                if any(cells):
                    yield number, cells
                number = reader.line_num + 1
        except csv.Error as error:
            message = f"not valid CSV ({error}); look for a quotation mark that is not closed"
            raise Mistake(number, message) from None

    def _lines(self, note: Note) -> Iterator[str]:
        for number, raw in raw_lines(self._file, note):
            if len(raw) > MAX_LINE_BYTES:
                raise Mistake(number, f"a line {TOO_LONG}")
            yield decoded(raw, number)


def _value(cell: str) -> Any:
    """None for an empty cell, messages for their JSON, otherwise the text."""
    if not cell.startswith("[{"):
        return cell or None
    try:
        messages = msgspec.json.decode(cell, type=list[dict[str, Any]])
    except (ValueError, RecursionError):
        return cell
    is_chat = all("role" in message or "from" in message for message in messages)
    return messages if is_chat else cell
