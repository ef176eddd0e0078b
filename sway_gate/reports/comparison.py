"""Reports of `sway compare` and `sway diff`: for a terminal, as Markdown, and as JSON.

The JSON has schema version 1, described in docs/json.md.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from sway_gate.compare.results import Change, Comparison, Outcome, Side, Subject
from sway_gate.reports.json_v1 import plain
from sway_gate.reports.lines import BLANK, MIN_WIDTH, STYLES, Line, indented, marked, printed
from sway_gate.reports.markdown import head, row, text
from sway_gate.reports.wording import score_text, sigmas, subject, title
from sway_gate.results import Verdict
from sway_gate.text import counted, escaped, named, number, one_line

MAX_COLUMNS = 6
"""Columns of the table of values; of more results, the first and the latest are shown."""
MAX_ROWS = 200
_METHODS = {
    "items": "paired by item",
    "intervals": "from the intervals",
    "z": "from z",
    "scores": "from the scores",
    "": "",
}
_SIGNIFICANT = 3.0  # the default of assert_z_gte
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
    """Names of the two results and of the outcomes, and the separator between two values."""

    old: str
    new: str
    between: str
    outcomes: dict[Outcome, str]

    def both(self, old: str, new: str) -> str:
        """Join two texts; equal texts appear once."""
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
# Two adapters without an order: the outcome names the better one.
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


# Wording


def headline(found: Comparison, style: Style) -> str:
    """Return the comparison in one line of plain text."""
    verdict = _better_adapter(found) if style is DIFFERED else _verdict(found)
    return f"{verdict}  composite {_scores(found.composite, style)}"


def _verdict(found: Comparison) -> str:
    match found.verdict:
        case "regression":
            return f"REGRESSION  {named([change.name for change in found.regressions()])}"
        case "better":
            return "BETTER  no regression"
        case "undecided":
            return (
                "COULD NOT DECIDE  no regression in the compared probes; "
                "some probes could not be compared"
            )
        case "changed":
            return "NO REGRESSION  some results changed"
        case _:
            return "NO SIGNIFICANT CHANGE"


def _better_adapter(found: Comparison) -> str:
    """Which of two adapters is better, and in which probes."""
    changes = (*found.changes, found.composite)
    facts = []
    if a := [change.name for change in changes if change.outcome in ("regression", "worse")]:
        facts.append(f"A is better in {named(a)}")
    if b := [change.name for change in changes if change.outcome == "better"]:
        facts.append(f"B is better in {named(b)}")
    if found.verdict == "undecided":
        facts.append("some probes could not be compared")
    if found.verdict == "changed" and not facts:
        return "neither is better, but they differ"
    return "; ".join(facts) or "no significant difference"


def _difference(change: Change) -> str:
    """Format the difference with its standard error; as a ratio on the log scale."""
    if change.difference is None or change.se is None:
        return "–"
    if change.scale == "log":
        return f"×{math.exp(min(change.difference, 700.0)):.2f} ± {change.se:.0%}"
    return f"{change.difference:+.3g} ± {number(change.se, 2)}"


def _verdicts(change: Change, style: Style) -> str:
    old, new = (one_line(side.verdict) if side else "–" for side in (change.old, change.new))
    return style.both(old, new)


def _values(change: Change, style: Style) -> str:
    old, new = (number(side.raw if side else None) for side in (change.old, change.new))
    return f"{style.both(old, new)} {one_line(change.units)}".rstrip()


def _zs(change: Change, style: Style) -> str:
    old, new = (sigmas(_z(side) if side else None) for side in (change.old, change.new))
    return style.both(old, new)


def _z(side: Side) -> float | None:
    """z; None if a probe fails although z is significant: another rule decided."""
    is_against = side.verdict == Verdict.FAIL and (side.z or 0.0) >= _SIGNIFICANT
    return None if is_against else side.z


def _scores(change: Change, style: Style) -> str:
    old, new = (score_text(side.score if side else None) for side in (change.old, change.new))
    return style.both(old, new)


def _facts(change: Change, style: Style) -> list[str]:
    """Verdicts, values, difference, z and score of a change, as far as they are known."""
    facts = [_verdicts(change, style), _values(change, style)]
    if change.sigmas is not None and change.difference:
        method = _METHODS[change.method]
        facts.append(f"{_difference(change)}, {sigmas(change.sigmas)} {method}")
    if (zs := _zs(change, style)) != "–":
        facts.append(f"z {zs}")
    if change.kind:
        facts.append(f"score {_scores(change, style)}")
    return facts


def _about(side: Subject) -> str:
    label, adapter = one_line(side.label), one_line(side.adapter.path)
    which = label if label == adapter else f"{label}, {subject(side.adapter)} {adapter}"
    return f"{which}: {one_line(side.verdict).upper()}"


# Terminal


def render(
    found: Sequence[Comparison],
    *,
    style: Style,
    color: bool,
    width: int = 100,
    quiet: bool = False,
    ascii: bool = False,
) -> str:
    """Render each comparison, and a table of all values if there are several.

    Lines have at most `width` cells (minimum 40). quiet: only the verdict and the regressions.
    """
    lines: list[Line] = []
    for one in found:
        lines += [*_lines(one, style, quiet), BLANK]
    lines = [*lines, *_course_lines(found)] if len(found) > 1 else lines[:-1]
    return printed(lines, color, max(width, MIN_WIDTH), ascii)


def _lines(found: Comparison, style: Style, quiet: bool) -> Iterator[Line]:
    look = _VERDICT_STYLES.get(found.verdict, "bold") if style is COMPARED else "bold"
    yield Line([(headline(found, style), look)], 2)
    yield Line([(f"{style.old}: {_about(found.old)}", "dim")], 2)
    yield Line([(f"{style.new}: {_about(found.new)}", "dim")], 2)
    for warning in found.warnings:
        yield marked("WARN", STYLES["warn"], (one_line(warning), ""))
    changes = found.regressions() if quiet else [*found.changes, found.composite]
    if changes:
        yield BLANK
    for change in changes:
        yield from _change_lines(change, style)


def _change_lines(change: Change, style: Style) -> Iterator[Line]:
    look = _STYLES[change.outcome]
    yield marked(style.outcomes[change.outcome], look, (title(change), "bold"))
    facts = " · ".join(_facts(change, style))
    yield indented(facts, "dim" if change.outcome == "same" else "")
    if change.why and style is COMPARED:
        yield indented(one_line(change.why), look)


def _course_lines(found: Sequence[Comparison]) -> Iterator[Line]:
    course = _course(found)
    size = min(max(len(name) for name, _ in course.rows), 28)
    heading = "values, each compared with the first  (- worse, + better, ~ moved)"
    yield Line([(heading, "bold")], 2)
    for position, label in course.labels.items():
        yield Line([(f"{position:>3}  {one_line(label)}", "dim")], 5)
    positions = "".join(f"{position:>12}" for position in course.labels)
    yield Line([(" " * size + positions, "dim")])
    for name, cells in course.rows:
        yield Line([(f"{name[:size]:<{size}}" + "".join(f"{cell:>12}" for cell in cells), "")])


class _Course(NamedTuple):
    """Values of several results: labels by the result's number, from 1; rows of (probe, values)."""

    labels: dict[int, str]
    rows: list[tuple[str, list[str]]]


def _course(found: Sequence[Comparison]) -> _Course:
    """One row per probe: its values in the first and the latest results, with marks of changes."""
    labels = [found[0].old.label, *(one.new.label for one in found)]
    by_probe: dict[tuple[str, str], list[Change | None]] = {}
    for i, one in enumerate(found):
        for change in (*one.changes, one.composite):
            changes = by_probe.setdefault((change.name, change.kind), [None] * len(found))
            changes[i] = change
    positions = [0, *range(max(1, len(labels) - MAX_COLUMNS + 1), len(labels))]
    rows = []
    for (name, _), changes in list(by_probe.items())[:MAX_ROWS]:
        cells = [_first_cell(changes), *map(_cell, changes)]
        rows.append((one_line(name), [cells[i] for i in positions]))
    return _Course({i + 1: labels[i] for i in positions}, rows)


def _first_cell(changes: Sequence[Change | None]) -> str:
    for change in changes:
        if change and change.old:
            return number(change.old.raw)
    return "–"


def _cell(change: Change | None) -> str:
    if change is None or change.new is None:
        return "–"
    return f"{number(change.new.raw)}{_MARKS.get(change.outcome, ' ')}"


# Markdown


def markdown(found: Sequence[Comparison], style: Style) -> str:
    """Render the comparisons as Markdown, for a comment or release notes."""
    parts = ["\n".join(_markdown(one, style)) for one in found]
    if len(found) > 1:
        parts.append("\n".join(_course_markdown(found)))
    return "\n\n".join(parts) + "\n"


def _markdown(found: Comparison, style: Style) -> Iterator[str]:
    yield f"**{text(headline(found, style).replace('  ', ' · '))}**\n"
    yield f"- {style.old}: {text(_about(found.old))}"
    yield f"- {style.new}: {text(_about(found.new))}"
    yield from (f"- ⚠ {text(warning)}" for warning in found.warnings)
    yield ""
    values = text(style.both(style.old, style.new))
    columns = ["", "probe", "verdict", values, "difference", "σ", "z", "score"]
    yield from head([*columns, "reason"] if style is COMPARED else columns)
    for change in (*found.changes[:MAX_ROWS], found.composite):
        yield row(_markdown_cells(change, style))
    if (left_out := len(found.changes) - MAX_ROWS) > 0:
        yield f"\nand {counted(left_out, 'more probe')} in the JSON"


def _markdown_cells(change: Change, style: Style) -> list[str]:
    word = style.outcomes[change.outcome]
    cells = [
        word if change.outcome == "same" else f"**{word}**",
        text(title(change)),
        text(_verdicts(change, style)),
        text(_values(change, style)),
        text(_difference(change)),
        sigmas(change.sigmas),
        text(_zs(change, style)),
        text(_scores(change, style)) if change.kind else "",
    ]
    return [*cells, text(change.why)] if style is COMPARED else cells


def _course_markdown(found: Sequence[Comparison]) -> Iterator[str]:
    course = _course(found)
    yield "Values, each compared with the first (- worse, + better, ~ moved):\n"
    yield from head(["probe", *map(text, course.labels.values())])
    for name, cells in course.rows:
        yield row([text(name), *map(text, cells)])


# JSON


def exit_code(found: Sequence[Comparison]) -> int:
    """Exit code of all comparisons: 1 if any is a regression, otherwise 3 if any is undecided."""
    codes = {one.exit_code for one in found}
    return 1 if 1 in codes else max(codes)


def to_json(found: Sequence[Comparison]) -> bytes:
    """Encode the comparisons as UTF-8 JSON of schema version 1, with a final newline."""
    comparisons = plain(msgspec.to_builtins(list(found)))
    fields = {"schema_version": 1, "exit_code": exit_code(found), "comparisons": comparisons}
    text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
    return escaped(text).encode() + b"\n"
