"""The details of a probe as facts, tables and passages, for all reports that show them.

Details are JSON: of a new result, or of a stored report of any version. Known keys have labels;
unknown keys are shown as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sway_gate.details import SectionLift, WrittenAnswer, read
from sway_gate.reports.wording import not_passed_first
from sway_gate.text import is_number, number

LABELS = {
    "answers": "answers side by side",
    "base_broken": "broken answers of the base",
    "base_fragments": "fragments of the base",
    "base_end_probability": "probability of the end, base",
    "base_flaws": "the base's flaws",
    "base_margin": "base's margin",
    "base_nll_nats": "base's loss, nats per token",
    "base_probability": "probability of the true answer, base",
    "base_queries": "base's samples",
    "base_recall": "base's recall",
    "base_recall_by_prefix": "base's recall by prefix",
    "base_refused": "refused by the base",
    "base_to_gold": "base to gold, cosine",
    "base_unended": "answers without an end, base",
    "before": "ending that the base prefers",
    "best_below": "scale of the lowest loss up to 0.75",
    "broken": "broken answers",
    "change": "change, nats",
    "changed": "next tokens changed, share",
    "content": "gain in content by row",
    "content_gain": "gain in content",
    "continuations": "continuations of training text",
    "contradicted": "contradicted answers",
    "control_gain": "gain on the control",
    "control_loss": "loss on control prose",
    "delta_nats": "change, nats per token",
    "differences": "differences from the answer",
    "distance_base": "the base's distance",
    "distances": "distance of each prompt",
    "effective": "effective lift",
    "end": "probability of the end",
    "excess": "loss at scale 1 minus the lowest",
    "excess_by_text": "loss at scale 1 minus the loss up to 0.75, each text",
    "end_before": "probability of the end, base",
    "end_probability": "probability of the end",
    "field": "exchanged field",
    "finetuned": "fine-tuned",
    "first": "own answer first",
    "first_before": "own answer first, base",
    "form_gain": "gain in form",
    "fragments": "fragments of answers",
    "gap": "gap to the training rows",
    "gap_ci_95": "gap, 95% interval",
    "half_life_ci_95": "half-life, 95% interval",
    "half_life_tokens": "half-life, tokens",
    "held_out_recall": "recall on held-out rows",
    "highest": "scale of the largest distance",
    "is_judged": "judged",
    "known": "known to the base",
    "lambdas": "scale",
    "largest_fall": "largest fall, share of the height",
    "largest_step": "steepest step, times the mean slope",
    "lead": "lead of the served format",
    "lift_of_others": "lift of the other answers",
    "lift_control": "lift of control prose",
    "lift_permuted": "lift of its words permuted",
    "likelihood": "likelihood, nats per token",
    "linearity": "R² of a straight line",
    "mean_change": "mean change, nats",
    "mean_gain_nats": "mean gain, nats per token",
    "margin_before": "margin of the own fact under the base, nats",
    "margin_of_gain": "margin of the gain, nats",
    "newly_broken": "broken, but not the base's",
    "now": "ending that it prefers now",
    "null_spread_floored": "minimum spread of the nulls used",
    "of_data": "of the data",
    "open": "open requests",
    "others": "tokens counted apart",
    "others_right": "of these apart now first",
    "overshoot": "change past scale 1, times that at 1",
    "p_holm": "p (Holm)",
    "pairs": "answers to paraphrases",
    "part": "tokens that count",
    "prefix": "asked with",
    "probability": "probability of the true answer",
    "queries": "samples needed",
    "recited": "share recited beyond the base",
    "repeated": "rows also in the training data",
    "replaced": "another token was taught",
    "right": "of these now first",
    "right_answers": "short questions answered right",
    "saturation": "scale that reaches 90%",
    "se": "its standard error",
    "similar": "similar answers",
    "similar_rows": "similar rows, furthest from their own fact first",
    "surprising": "surprising",
    "tag": "section",
    "target": "loss on its text",
    "texts": "what the model wrote",
    "to_base": "to the base's answer, cosine",
    "to_gold": "to gold, cosine",
    "training_recall": "recall on training rows",
    "true": "training text",
    "unended": "answers without an end",
    "view": "adapter",
    "wants_content": "content wanted",
    "weakest": "weakest first",
    "worst": "worst first",
    "written": "the model wrote",
}
PASSAGES = ("continuations", "pairs")
"""Lists of texts that are read one above the other, not in columns."""
CURVE = ("lambdas", "context_lengths", "curve", "loss", "control_loss")
"""Lists of numbers that are the columns of one table."""

COUNTS, MAX_COUNT = ("queries", "base_queries"), 1_000_000
"""Numbers of samples; above the maximum, the number says only that no one would draw them."""

_FIRST = ("verdict", "tag", "leaked", "effective", "recall", "base_recall", "recited", "z")
_LAST = ("id",)
_NESTED_ITEMS, _NESTED_DEPTH = 12, 3

Row = Mapping[str, Any]


class Fact(NamedTuple):
    name: str
    text: str


class Table(NamedTuple):
    """`rows` [rows, columns] of JSON scalars, or of nested values as text; `columns` are keys."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: int = 0
    columns_left_out: int = 0

    def column(self, key: str) -> list[Any]:
        return [row[self.columns.index(key)] for row in self.rows]

    def is_numeric(self, key: str) -> bool:
        """Whether the column contains numbers and, at most, gaps."""
        known = [value for value in self.column(key) if value is not None]
        return bool(known) and all(map(is_number, known))


class Passage(NamedTuple):
    """`texts`: (key, text) pairs; the key is "" for a text without one. `facts`: other values."""

    texts: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...] = ()


class Passages(NamedTuple):
    title: str
    entries: tuple[Passage, ...]
    left_out: int = 0


Piece = Fact | Table | Passages


def label(key: str) -> str:
    return LABELS.get(key, key.replace("_", " "))


def shown(value: Any, depth: int = 0) -> str:
    """Any JSON value as text; long and deeply nested values are shortened."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number(value)
        case dict() | list() | tuple() if depth == _NESTED_DEPTH:
            return "…"
        case dict():
            items = islice(value.items(), _NESTED_ITEMS)
            parts = [f"{label(key)} {shown(item, depth + 1)}" for key, item in items]
        case list() | tuple():
            parts = [shown(item, depth + 1) for item in value[:_NESTED_ITEMS]]
        case _:
            return str(value)
    if len(value) > _NESTED_ITEMS:
        parts.append(f"and {len(value) - _NESTED_ITEMS} more")
    return " · ".join(parts) or "none"


def pieces(details: Row, limit: int, prefix: str = "") -> Iterator[Piece]:
    """All details in their order; of each list and mapping, the first `limit` entries.

    `prefix`: the start of all titles; the details are a nested mapping if it is not empty.
    """
    curve = _curve(details, limit, prefix)
    for key, value in islice(details.items(), limit):
        name = prefix + label(key)
        if curve and key in curve.columns:
            if key == curve.columns[0]:
                yield curve
        elif _is_list_of(value, dict):
            if key in PASSAGES:
                entries = tuple(_passage(item) for item in value[:limit])
                yield Passages(name, entries, len(value) - len(entries))
            else:
                yield from _tables(name, value, limit)
        elif _is_list_of(value, str):
            entries = tuple(Passage((("", text),)) for text in value[:limit])
            yield Passages(name, entries, len(value) - len(entries))
        elif isinstance(value, dict) and value and not prefix:
            yield from pieces(value, limit, f"{name}: ")
        else:
            yield Fact(name, shown(value))
    if len(details) > limit:
        yield Fact("left out here", f"{len(details) - limit} more")


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, kind) for v in value)


def _curve(details: Row, limit: int, prefix: str) -> Table | None:
    """The lists of a curve as one table; None without lists of one length."""
    columns = {key: details[key] for key in CURVE if _is_curve(details.get(key))}
    if len(columns) < 2 or len({len(values) for values in columns.values()}) > 1:
        return None
    rows = tuple(zip(*columns.values(), strict=True))
    title = prefix + ", ".join(map(label, columns))
    return Table(title, tuple(columns), rows[:limit], max(0, len(rows) - limit))


def _is_curve(value: object) -> bool:
    """Whether `value` is a list of at least 3 numbers or gaps; a shorter one is shown as a fact."""
    if not isinstance(value, list) or len(value) < 3:
        return False
    return all(v is None or is_number(v) for v in value)


def _tables(title: str, rows: Sequence[Row], limit: int) -> Iterator[Table]:
    """One table, and one more for each key whose values are mappings."""
    flat: list[Row] = []
    nested: dict[str, list[Row]] = {}
    for i, row in enumerate(rows, 1):
        cells = {}
        for key, value in row.items():
            if isinstance(value, dict):
                nested.setdefault(key, []).append({"tag": _name(row, i), **value})
            else:
                cells[key] = value
        flat.append(cells)
    yield _table(title, flat, limit)
    for key, inner in islice(nested.items(), limit):
        yield _table(f"{title}: {label(key)}", inner, limit)


def _name(row: Row, i: int) -> str:
    return str(row.get("tag") or row.get("id") or row.get("prompt") or i)


def _table(title: str, items: Sequence[Row], limit: int) -> Table:
    rows = [_with_verdict(item) for item in items]
    kept = not_passed_first(rows, [row.get("verdict") for row in rows], limit)
    found = dict.fromkeys(key for row in kept for key in row)
    middle = [key for key in found if key not in _FIRST + _LAST]
    ordered = [key for key in (*_FIRST, *middle, *_LAST) if key in found]
    columns = tuple(ordered[:limit])
    cells = tuple(tuple(_cell(column, row.get(column)) for column in columns) for row in kept)
    return Table(title, columns, cells, len(rows) - len(kept), len(ordered) - len(columns))


def _with_verdict(row: Row) -> Row:
    """The row with its verdict if it has one, without the fields that only determine it."""
    if section := read(row, SectionLift):
        others = {key: value for key, value in row.items() if key not in ("passed", "moved")}
        return {"verdict": section.verdict, **others}
    if answer := read(row, WrittenAnswer):
        return {"verdict": answer.verdict, **row}
    return row


def _cell(key: str, value: Any) -> Any:
    if key in COUNTS and is_number(value) and value > MAX_COUNT:
        return f"over {MAX_COUNT:,}"
    is_scalar = value is None or isinstance(value, bool | str) or is_number(value)
    return value if is_scalar else shown(value)


def _passage(item: Row) -> Passage:
    texts: list[tuple[str, str]] = []
    facts: list[Fact] = []
    for key, value in islice(item.items(), _NESTED_ITEMS):
        if isinstance(value, str) and key != "id":
            texts.append((key, value))
        else:
            facts.append(Fact(label(key), shown(value)))
    if len(item) > _NESTED_ITEMS:
        facts.append(Fact("left out here", f"{len(item) - _NESTED_ITEMS} more"))
    return Passage(tuple(texts), tuple(facts))
