"""Reports of a comparison: of a new result with an old one, or of two adapters (`diff`).

Pure functions from `Comparison`s to text for a terminal, to Markdown, and to JSON (schema version 1, docs/json.md).
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from sway_gate.compare.results import Change, Comparison, Outcome, Subject
from sway_gate.reports.json_v1 import plain
from sway_gate.reports.markdown import head, row, text
from sway_gate.reports.terminal import BLANK, INDENT, MIN_WIDTH, STYLES, Line, printed
from sway_gate.reports.wording import score_text, sigmas
from sway_gate.text import counted, named, number, one_line

_T = TypeVar("_T")

MAX_COLUMNS = 6
"""Of a course; of more results, the first and the latest are shown."""
MAX_ROWS = 200
_METHODS = {
    "items": "item by item",
    "intervals": "by their intervals",
    "z": "of z",
    "scores": "of scores",
    "": "",
}
_STYLES: dict[Outcome, str] = {
    "regression": STYLES["fail"],
    "worse": STYLES["warn"],
    "better": STYLES["pass"],
    "moved": "bold",
    "new": "bold",
    "gone": STYLES["warn"],
    "unknown": STYLES["warn"],
    "same": "dim",
}
_VERDICT_STYLES = {"regression": STYLES["fail"], "better": STYLES["pass"]}
_MARKS: dict[Outcome, str] = {"regression": "-", "worse": "-", "better": "+", "moved": "~"}


class Style(NamedTuple):
    """How the two are called, what stands between their values, and what the outcomes are called."""

    old: str
    new: str
    between: str
    outcomes: dict[Outcome, str]

    def both(self, old: str, new: str) -> str:
        """Two texts, or one where they are the same."""
        return old if old == new else f"{old}{self.between}{new}"


COMPARED = Style(
    "old",
    "new",
    " → ",
    {
        "regression": "WORSE",
        "worse": "worse",
        "better": "BETTER",
        "moved": "moved",
        "same": "same",
        "new": "new",
        "gone": "gone",
        "unknown": "?",
    },
)
# Of two adapters, which one is nearer to what is asked for.
DIFFERED = Style(
    "a",
    "b",
    " | ",
    {
        "regression": "A",
        "worse": "A",
        "better": "B",
        "moved": "moved",
        "same": "same",
        "new": "B only",
        "gone": "A only",
        "unknown": "?",
    },
)


# In words


def headline(found: Comparison, style: Style) -> str:
    """The comparison in one line of plain text."""
    told = _nearer(found) if style is DIFFERED else _verdict(found)
    return f"{told}  composite {style.both(*(score_text(score) for score in _scores(found.composite)))}"


def _verdict(found: Comparison) -> str:
    match found.verdict:
        case "regression":
            return f"REGRESSION  {named([change.name for change in found.regressions()])}"
        case "better":
            return "BETTER  nothing is worse"
        case "undecided":
            return "COULD NOT DECIDE  nothing is worse in what was compared, and not all was"
        case "changed":
            return "NO REGRESSION  but not the same"
        case _:
            return "NO CHANGE  beyond noise"


def _nearer(found: Comparison) -> str:
    """Which of two adapters is nearer to what is asked for, and where."""
    changes = (*found.changes, found.composite)
    sides = {
        "A": [c.name for c in changes if c.outcome in ("regression", "worse")],
        "B": [c.name for c in changes if c.outcome == "better"],
    }
    told = [f"{side} is better in {named(names)}" for side, names in sides.items() if names]
    if found.verdict == "undecided":
        told.append("not all could be compared")
    return "; ".join(told) or "no difference beyond noise"


def _scores(change: Change) -> list[float | None]:
    return [side.score if side else None for side in (change.old, change.new)]


def _zs(change: Change) -> list[float | None]:
    return [side.z if side else None for side in (change.old, change.new)]


def difference_text(change: Change) -> str:
    """The difference with its standard error: a ratio where the scale is one of logarithms."""
    if change.difference is None or change.se is None:
        return "–"
    if change.scale == "log":
        return f"×{math.exp(min(change.difference, 700.0)):.2f} ± {change.se:.0%}"
    return f"{change.difference:+.3g} ± {number(change.se, 2)}"


def _title(change: Change) -> str:
    name, kind = one_line(change.name), one_line(change.kind)
    return name if kind in ("", name) else f"{name} ({kind})"


def _values(change: Change, style: Style) -> str:
    shown = style.both(*(number(side.raw) if side else "–" for side in (change.old, change.new)))
    return f"{shown} {one_line(change.units)}".rstrip()


def _verdicts(change: Change, style: Style) -> str:
    return style.both(
        *(one_line(side.verdict) if side else "–" for side in (change.old, change.new))
    )


def _facts(change: Change, style: Style) -> list[str]:
    """What is known of a change, the telling first."""
    facts = [_verdicts(change, style), _values(change, style)]
    if change.sigmas is not None and change.difference:
        facts.append(
            f"{difference_text(change)}, {sigmas(change.sigmas)} {_METHODS[change.method]}"
        )
    if any(z is not None for z in _zs(change)):
        facts.append(f"z {style.both(*map(sigmas, _zs(change)))}")
    if change.kind:
        facts.append(f"score {style.both(*map(score_text, _scores(change)))}")
    return facts


def _about(side: Subject) -> str:
    label, adapter = one_line(side.label), one_line(side.adapter.path)
    named_ = label if label == adapter else f"{label}, adapter {adapter}"
    return f"{named_}: {one_line(side.verdict).upper()}"


# For a terminal


def render(
    found: Sequence[Comparison],
    *,
    style: Style,
    color: bool,
    width: int = 100,
    quiet: bool = False,
    ascii: bool = False,
) -> str:
    """Each comparison, and of several the course of all values; lines of at most `width` cells (40 at least)."""
    lines: list[Line] = []
    for one in found:
        lines += [*([BLANK] if lines else []), *_lines(one, style, quiet)]
    if len(found) > 1:
        lines += [BLANK, *_course_lines(found)]
    return printed(lines, color, max(width, MIN_WIDTH), ascii)


def _lines(found: Comparison, style: Style, quiet: bool) -> Iterator[Line]:
    yield Line(
        [
            (
                headline(found, style),
                _VERDICT_STYLES.get(found.verdict, "bold") if style is COMPARED else "bold",
            )
        ],
        2,
    )
    for name, side in ((style.old, found.old), (style.new, found.new)):
        yield Line([(f"{name}: {_about(side)}", "dim")], 2)
    for warning in found.warnings:
        yield Line([(f"{'WARN':<{INDENT}}", STYLES["warn"]), (one_line(warning), "")], INDENT)
    shown = [c for c in (*found.changes, found.composite) if not quiet or c.outcome == "regression"]
    if shown:
        yield BLANK
    for change in shown:
        yield from _change_lines(change, style)


def _change_lines(change: Change, style: Style) -> Iterator[Line]:
    word = style.outcomes[change.outcome]
    yield Line([(f"{word:<{INDENT}}", _STYLES[change.outcome]), (_title(change), "bold")], INDENT)
    facts = " " * INDENT + " · ".join(_facts(change, style))
    yield Line([(facts, "dim" if change.outcome == "same" else "")], INDENT)
    if change.why and style is COMPARED:
        yield Line([(" " * INDENT + one_line(change.why), _STYLES[change.outcome])], INDENT)


def _course_lines(found: Sequence[Comparison]) -> Iterator[Line]:
    labels, rows = _course(found)
    size = min(max(len(name) for name, _ in rows), 28)
    yield Line(
        [("course of the values, each against the first  (- worse, + better, ~ moved)", "bold")], 2
    )
    for number_, label in labels:
        yield Line([(f"{number_:>3}  {one_line(label)}", "dim")], 5)
    yield Line([(f"{'':<{size}}" + "".join(f"{number_:>12}" for number_, _ in labels), "dim")])
    for name, cells in rows:
        yield Line([(f"{name[:size]:<{size}}" + "".join(f"{cell:>12}" for cell in cells), "")])


def _course(
    found: Sequence[Comparison],
) -> tuple[list[tuple[int, str]], list[tuple[str, list[str]]]]:
    """Numbered labels of the results, and a row for each probe of any: its value in each, marked where it changed."""
    first = found[0].old
    labels = [(1, first.label), *((i, one.new.label) for i, one in enumerate(found, start=2))]
    keys = dict.fromkeys((c.name, c.kind) for one in found for c in (*one.changes, one.composite))
    rows = []
    for key in list(keys)[:MAX_ROWS]:
        changes = [
            {(c.name, c.kind): c for c in (*one.changes, one.composite)}.get(key) for one in found
        ]
        known = next(change for change in changes if change)
        before = next((change.old for change in changes if change and change.old), None)
        cells = [number(before.raw) if before else "–", *map(_cell, changes)]
        rows.append((one_line(known.name), _ends(cells)))
    return _ends(labels), rows


def _cell(change: Change | None) -> str:
    if change is None or change.new is None:
        return "–"
    return f"{number(change.new.raw)}{_MARKS.get(change.outcome, ' ')}"


def _ends(cells: list[_T]) -> list[_T]:
    return cells if len(cells) <= MAX_COLUMNS else [cells[0], *cells[1 - MAX_COLUMNS :]]


# As Markdown


def markdown(found: Sequence[Comparison], style: Style) -> str:
    """The same for a comment or a release's notes."""
    parts = ["\n".join(_markdown(one, style)) for one in found]
    if len(found) > 1:
        parts.append("\n".join(_course_markdown(found)))
    return "\n\n".join(parts) + "\n"


def _markdown(found: Comparison, style: Style) -> Iterator[str]:
    yield f"**{text(headline(found, style))}**\n"
    for name, side in ((style.old, found.old), (style.new, found.new)):
        yield f"- {name}: {text(_about(side))}"
    yield from (f"- ⚠ {text(warning)}" for warning in found.warnings)
    yield ""
    yield from head(
        (
            "",
            "probe",
            "verdict",
            text(style.both(style.old, style.new)),
            "difference",
            "σ",
            "z",
            "score",
        )
    )
    for change in (*found.changes[:MAX_ROWS], found.composite):
        yield row(_markdown_cells(change, style))
    if (left_out := len(found.changes) - MAX_ROWS) > 0:
        yield f"\nand {counted(left_out, 'more probe')}; the JSON has them all"


def _markdown_cells(change: Change, style: Style) -> list[str]:
    word = style.outcomes[change.outcome]
    return [
        word if change.outcome == "same" else f"**{word}**",
        text(_title(change)),
        text(_verdicts(change, style)),
        text(_values(change, style)),
        text(difference_text(change)),
        sigmas(change.sigmas),
        text(style.both(*map(sigmas, _zs(change)))),
        text(style.both(*map(score_text, _scores(change)))),
    ]


def _course_markdown(found: Sequence[Comparison]) -> Iterator[str]:
    labels, rows = _course(found)
    yield "The course of the values, each against the first (- worse, + better, ~ moved):\n"
    yield from head(["probe", *(text(label) for _, label in labels)])
    yield from (row([text(name), *map(text, cells)]) for name, cells in rows)


# As JSON


def exit_code(found: Sequence[Comparison]) -> int:
    """A regression in any of them is one, whatever else could not be decided."""
    codes = {one.exit_code for one in found}
    return 1 if 1 in codes else max(codes)


def to_json(found: Sequence[Comparison]) -> bytes:
    """The comparisons as UTF-8 JSON of schema version 1, with a final newline."""
    comparisons = plain(msgspec.to_builtins(list(found)))
    fields = {"schema_version": 1, "exit_code": exit_code(found), "comparisons": comparisons}
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
