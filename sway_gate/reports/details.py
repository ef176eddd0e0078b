"""What a probe's details hold, as facts, tables and passages: one reading of them for all reports that show them.

Details are JSON of any shape. Keys that are known get names and an order; none is left out for not being known.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sway_gate.reports.wording import section_verdict
from sway_gate.text import number

LABELS = {
    "base_margin": "base's margin",
    "base_nll_nats": "base's loss, nats per token",
    "base_queries": "base's samples",
    "base_recall": "base's recall",
    "base_recall_by_prefix": "base's recall by prefix",
    "base_to_gold": "base to gold, cosine",
    "continuations": "what the model wrote after training text",
    "control_loss": "loss on control prose",
    "delta_nats": "change, nats per token",
    "distance_base": "the base's distance",
    "effective": "effective lift",
    "half_life_ci_95": "half-life, 95% interval",
    "half_life_tokens": "half-life, tokens",
    "lambdas": "λ",
    "lift_control": "lift of control prose",
    "lift_permuted": "lift of its words permuted",
    "linearity": "R² of a straight line",
    "mean_gain_nats": "mean gain, nats per token",
    "null_spread_floored": "spread of the nulls raised to its floor",
    "p_holm": "p, Holm",
    "pairs": "answers to paraphrases",
    "prefix": "asked with",
    "queries": "samples needed",
    "tag": "section",
    "texts": "what the model wrote",
    "to_base": "to the base's answer, cosine",
    "to_gold": "to gold, cosine",
    "true": "training text",
    "view": "adapter",
    "weakest": "weakest first",
    "worst": "worst first",
    "written": "the model wrote",
}
PASSAGES = ("continuations", "pairs")
"""Lists of texts to be read beside each other, not in columns."""

_FIRST = ("verdict", "tag", "leaked", "effective", "recall", "base_recall", "excess", "z")
_LAST = ("id",)
_NESTED_ITEMS, _NESTED_DEPTH = 12, 3

Row = Mapping[str, Any]


class Fact(NamedTuple):
    name: str
    text: str


class Table(NamedTuple):
    """`rows` [rows, columns] of JSON scalars, or of nested values as text; `columns` are the details' keys."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: int = 0
    columns_left_out: int = 0

    def column(self, key: str) -> list[Any]:
        return [row[self.columns.index(key)] for row in self.rows]

    def is_numeric(self, key: str) -> bool:
        """Whether the column holds numbers and, at most, gaps."""
        known = [value for value in self.column(key) if value is not None]
        return bool(known) and all(map(is_number, known))


class Passage(NamedTuple):
    """`texts` by the details' keys, "" for one without; `facts` is what else is said of them."""

    texts: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...] = ()


class Passages(NamedTuple):
    title: str
    entries: tuple[Passage, ...]
    left_out: int = 0


Piece = Fact | Table | Passages


def pieces(details: Row, limit: int) -> Iterator[Piece]:
    """All of `details` in its order; of each list and mapping the first `limit` entries, and how many more."""
    return _pieces(details, "", limit)


def label(key: str) -> str:
    return LABELS.get(key, key.replace("_", " "))


def shown(value: Any, depth: int = 0) -> str:
    """Any JSON value as text; long and deep ones in part."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number(value)
        case str():
            return value
        case dict() | list() | tuple() if depth == _NESTED_DEPTH:
            return "…"
        case dict():
            parts = [
                f"{label(str(key))} {shown(item, depth + 1)}" for key, item in _few(value.items())
            ]
        case list() | tuple():
            parts = [shown(item, depth + 1) for item in _few(value)]
        case _:
            return str(value)
    more = len(value) - len(parts)
    return " · ".join([*parts, *([f"and {more} more"] if more else [])]) or "none"


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _few(items: Any) -> Any:
    return islice(items, _NESTED_ITEMS)


def _pieces(mapping: Row, prefix: str, limit: int) -> Iterator[Piece]:
    together = _series(mapping)
    for key, value in islice(mapping.items(), limit):
        name = prefix + label(str(key))
        match value:
            case _ if key in together:
                if key == next(iter(together)):
                    yield _side_by_side(prefix, together, limit)
            case [dict(), *_] if all(isinstance(row, dict) for row in value):
                yield from (
                    [_passages(name, value, limit)]
                    if key in PASSAGES
                    else _tables(name, value, limit)
                )
            case [str(), *_] if all(isinstance(text, str) for text in value):
                items = tuple(Passage((("", text),)) for text in value[:limit])
                yield Passages(name, items, len(value) - len(items))
            case dict() if value and not prefix:
                yield from _pieces(value, f"{name}: ", limit)
            case _:
                yield Fact(name, shown(value))
    if len(mapping) > limit:
        yield Fact("left out here", f"{len(mapping) - limit} more")


def _series(mapping: Row) -> dict[str, Sequence[Any]]:
    """The columns of a curve: lists of numbers that are as long as the first one of three or more."""
    found = {key: value for key, value in mapping.items() if _is_series(value)}
    length = len(next(iter(found.values()))) if found else 0
    alike = {key: value for key, value in found.items() if len(value) == length}
    return alike if len(alike) > 1 else {}


def _is_series(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 2
        and all(v is None or is_number(v) for v in value)
    )


def _side_by_side(prefix: str, series: Mapping[str, Sequence[Any]], limit: int) -> Table:
    rows = tuple(zip(*series.values(), strict=True))
    title = prefix + ", ".join(map(label, series))
    return Table(title, tuple(series), rows[:limit], max(0, len(rows) - limit))


def _tables(title: str, rows: Sequence[Row], limit: int) -> Iterator[Table]:
    """One table, and one more for each key whose values are mappings."""
    nested = list(
        dict.fromkeys(
            str(key) for row in rows for key, value in row.items() if isinstance(value, dict)
        )
    )
    yield _table(
        title,
        [{str(k): v for k, v in row.items() if not isinstance(v, dict)} for row in rows],
        limit,
    )
    for key in nested[:limit]:
        inner = [
            {"tag": _name(row, number), **row[key]}
            for number, row in enumerate(rows, 1)
            if _is_in(row, key)
        ]
        yield _table(f"{title}: {label(key)}", inner, limit)


def _is_in(row: Row, key: str) -> bool:
    return isinstance(row.get(key), dict)


def _name(row: Row, number: int) -> str:
    return next((str(row[key]) for key in ("tag", "id", "prompt") if row.get(key)), str(number))


def _table(title: str, items: Sequence[Row], limit: int) -> Table:
    """Of too many rows, those that did not pass come first; the order stays."""
    rows = [_judged(item) for item in items]
    ranked = sorted(range(len(rows)), key=lambda i: (rows[i].get("verdict") == "pass", i))
    kept = [rows[i] for i in sorted(ranked[:limit])]
    every = _ordered(list(dict.fromkeys(str(key) for row in kept for key in row)))
    columns = every[:limit]
    cells = tuple(tuple(_cell(row.get(column)) for column in columns) for row in kept)
    return Table(title, tuple(columns), cells, len(rows) - len(kept), len(every) - len(columns))


def _judged(row: Row) -> Row:
    """`row` with the verdict on a section in place of the two truths that it comes from."""
    if not isinstance(row.get("passed"), bool):
        return row
    verdict = section_verdict(passed=row["passed"], moved=row.get("moved") is not False)
    return {"verdict": verdict} | {k: v for k, v in row.items() if k not in ("passed", "moved")}


def _ordered(columns: list[str]) -> list[str]:
    middle = [column for column in columns if column not in _FIRST + _LAST]
    return [c for c in _FIRST if c in columns] + middle + [c for c in _LAST if c in columns]


def _cell(value: Any) -> Any:
    return (
        value
        if value is None or isinstance(value, bool | str) or is_number(value)
        else shown(value)
    )


def _passages(title: str, items: Sequence[Row], limit: int) -> Passages:
    kept = tuple(_passage(item) for item in items[:limit])
    return Passages(title, kept, len(items) - len(kept))


def _passage(item: Row) -> Passage:
    items = [(str(key), value) for key, value in _few(item.items())]
    texts = tuple((key, value) for key, value in items if isinstance(value, str) and key != "id")
    others = [
        Fact(label(k), shown(value))
        for k, value in items
        if not isinstance(value, str) or k == "id"
    ]
    more = len(item) - len(items)
    return Passage(texts, (*others, *([Fact("left out here", f"{more} more")] if more else [])))
