"""Rows of a file, and which of them are read: all, or of a large file a seeded sample.

A container counts its rows first. Then it yields only the chosen ones, so that only these are
parsed.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

from sway_gate.training_data.files import Mistake

MAX_ROWS: Final = 16_384
"""Rows that are read from one file or folder."""
Wanted = Sequence[int]
"""Increasing indices of rows, from 0."""


class Row(NamedTuple):
    """A row before its form is known: JSON text or a value. `number` is its line or row, from 1."""

    number: int
    value: Any


class Container(Protocol):
    """A file that contains rows."""

    def count(self) -> int:
        """Number of rows."""

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        """The rows at these indices."""


def repeated_names(columns: Sequence[str]) -> str:
    """The mistake of a table in which two columns have the same name; "" if there is none."""
    places = (i for i, name in enumerate(columns, 1) if columns.count(name) > 1)
    which = " and ".join(str(place) for place in islice(places, 2))
    return f"columns {which} have the same name; rename one of them" if which else ""


def chosen(total: int, seed: int) -> Wanted:
    """The indices to read of `total` rows: one drawn from each of MAX_ROWS equal parts."""
    if total <= MAX_ROWS:
        return range(total)
    draw = random.Random(seed)
    ends = [(i + 1) * total // MAX_ROWS for i in range(MAX_ROWS)]
    starts = [0, *ends[:-1]]
    return [draw.randrange(start, end) for start, end in zip(starts, ends, strict=True)]
