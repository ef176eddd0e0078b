"""Tables and texts of a probe's details, prepared for the HTML template."""

import math
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from sway_gate.reports.details import Passages, Table, label, shown

BARS = {"effective": 1.0, "recall": 1.0, "divergence": math.log(2), "mean_distance": 1.0}
"""Columns with bars, and the value of a full bar; a table has bars for the first of them."""
_OPEN = 12  # maximum number of entries of an open list
_LONG_TEXT = 28  # characters above which a column is wide
_RUN_WORDS, _COMPARED_CHARS = 4, 2000


class Bar(NamedTuple):
    """A bar in percent of its cell: start, length, and the position of zero."""

    left: float
    width: float
    zero: float


class Cell(NamedTuple):
    """`look`: badge, num, text, name or bar; a bar's `text` is empty."""

    text: str
    look: str
    bar: Bar | None = None


class Grid(NamedTuple):
    """A table; each row has a verdict, or "". `is_open`: whether it is initially unfolded."""

    title: str
    head: list[Cell]
    rows: list[tuple[str, list[Cell]]]
    left_out: int
    columns_left_out: int
    is_open: bool


class Texts(NamedTuple):
    """A list of texts. `is_open`: whether it is initially unfolded."""

    title: str
    passages: Passages
    is_open: bool


def grid(table: Table, is_open: bool) -> Grid:
    """Prepare a table; `is_open` applies only to short ones, and a short one with bars is open."""
    drawn = next((key for key in BARS if key in table.columns and table.is_numeric(key)), "")
    columns = []
    for key in table.columns:
        columns.append(_column(table, key))
        if key == drawn:
            cells = [Cell("", "bar", bar) for bar in bars(table.column(key), BARS[key])]
            columns.append([Cell("", "bar"), *cells])
    head, *rows = (list(row) for row in zip(*columns, strict=True))
    verdicts = table.column("verdict") if "verdict" in table.columns else [""] * len(rows)
    is_open = len(rows) <= _OPEN and (is_open or bool(drawn))
    return Grid(
        f"{table.title} ({len(rows) + table.left_out})",
        head,
        list(zip(verdicts, rows, strict=True)),
        table.left_out,
        table.columns_left_out,
        is_open,
    )


def texts(passages: Passages, is_open: bool) -> Texts:
    """Prepare a list of texts; a long list is folded."""
    count = len(passages.entries) + passages.left_out
    return Texts(f"{passages.title} ({count})", passages, is_open and count <= _OPEN)


def _column(table: Table, key: str) -> list[Cell]:
    """The head of a column, then its cells."""
    values = [shown(value) for value in table.column(key)]
    if key == "verdict":
        return [Cell("", ""), *(Cell(text.upper(), "badge") for text in values)]
    look = ""
    if table.is_numeric(key):
        look = "num"
    elif key == "tag":
        look = "name"
    elif max(map(len, values), default=0) > _LONG_TEXT:
        look = "text"
    return [Cell(label(key), look), *(Cell(text, look) for text in values)]


def bars(values: Sequence[float | None], full: float) -> list[Bar]:
    """One bar per value, on a common scale that includes zero and `full`."""
    known = [value for value in values if value is not None]
    low, high = min(0.0, *known), max(full, *known)
    span = high - low if 0 < high - low < math.inf else 1.0
    zero = 100 * abs(low) / span
    ends = [zero + 100 * (value or 0.0) / span for value in values]
    return [Bar(min(zero, end), abs(end - zero), zero) for end in ends]


def overlap(written: str, true: str) -> tuple[str, str, str]:
    """Split `written` into three parts around the longest run of words that also occurs in `true`.

    If the run is shorter than _RUN_WORDS words, the first part is all of `written`.
    """
    words = list(re.finditer(r"\S+", written[:_COMPARED_CHARS]))
    true_words = true[:_COMPARED_CHARS].split()
    matcher = SequenceMatcher(None, [word[0] for word in words], true_words, autojunk=False)
    run = matcher.find_longest_match()
    if run.size < _RUN_WORDS:
        return written, "", ""
    start, end = words[run.a].start(), words[run.a + run.size - 1].end()
    return written[:start], written[start:end], written[end:]
