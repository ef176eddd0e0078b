"""Reports of `sway report --history`: for a terminal, as Markdown, and as JSON.

The JSON has schema version 1, described in docs/json.md.
"""

import json
from collections.abc import Iterator, Sequence

import msgspec

from sway_gate.compare.history import Course, Entry, History, Value
from sway_gate.reports import wording
from sway_gate.reports.json_v1 import plain
from sway_gate.reports.lines import (
    BLANK,
    INDENT,
    MIN_WIDTH,
    STYLES,
    Line,
    indented,
    marked,
    padded,
    printed,
)
from sway_gate.reports.markdown import head, row, text
from sway_gate.reports.wording import score_text
from sway_gate.text import counted, cut, escaped, is_number, number, one_line

MAX_NAME, MAX_TURNS, MAX_DIFFERENCES = 40, 4, 6
MAX_BYTES = 60_000
MIN_SPARKS = 8
_BLOCKS, _RAMP = "▁▂▃▄▅▆▇█", "_.-~=*%#"
_NO_VALUE, _BREAK, _BREAK_ASCII = "?", "│", "|"
_LEGEND = (
    "│ separates values that cannot be compared: their inputs, settings, base or probes differ; "
    "numbers are the first and the latest value since then"
)


def to_json(found: History) -> bytes:
    """Encode the history as UTF-8 JSON with a final newline."""
    fields = {"schema_version": 1, **plain(msgspec.to_builtins(found))}
    return escaped(json.dumps(fields, indent=2, ensure_ascii=False)).encode() + b"\n"


def summary(found: History) -> str:
    """The number of results, and the latest verdict."""
    passed = sum(entry.verdict == "pass" for entry in found.results)
    latest = found.results[-1]
    return (
        f"{counted(len(found.results), 'result')}, {passed} passed; "
        f"latest: {one_line(latest.label)} {latest.verdict.upper()}"
    )


def title(course: Course) -> str:
    """The probe's name, and its kind if they differ."""
    return cut(wording.title(course), MAX_NAME)


def ends(course: Course) -> str:
    """The first and the latest of the values that can be compared: "0.02 → 0.11 nats"."""
    breaks = [i for i, own in enumerate(course.values) if not own.is_comparable]
    latest = (own.value for own in course.values[max(breaks, default=0) :])
    known = [value for value in latest if is_number(value)]
    shown = [number(known[0]), number(known[-1])] if known else ["–"]
    return f"{' → '.join(dict.fromkeys(shown))} {one_line(course.units)}".rstrip()


def turns(course: Course, results: Sequence[Entry]) -> list[str]:
    """The latest changes of a probe's verdict: "step-200: fail → pass".

    None for the composite, since the list of results marks them.
    """
    if not course.kind:
        return []
    found, last = [], ""
    for value, entry in zip(course.values, results, strict=True):
        if value.verdict and last and value.verdict != last:
            found.append(f"{one_line(entry.label)}: {last} → {value.verdict}")
        last = value.verdict or last
    return found[-MAX_TURNS:]


def sparks(course: Course, columns: int, ascii: bool = False) -> list[tuple[str, str]]:
    """(Characters, verdict) of each value, the latest ones that fit into `columns` cells."""
    known = [own.value for own in course.values if is_number(own.value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    ramp = _RAMP if ascii else _BLOCKS
    drawn: list[tuple[str, str]] = []
    for i, own in enumerate(course.values):
        mark = "" if own.is_comparable or not i else (_BREAK_ASCII if ascii else _BREAK)
        drawn.append((mark + _spark(own, low, high, ramp), own.verdict))
    while sum(len(characters) for characters, _ in drawn) > columns:
        del drawn[0]
    return drawn


def _spark(own: Value, low: float, high: float, ramp: str) -> str:
    if not is_number(own.value):
        return _NO_VALUE if own.verdict else " "
    # Halves do not overflow.
    span = high / 2 - low / 2
    share = (own.value / 2 - low / 2) / span if span > 0 else 0.5
    return ramp[round(share * (len(ramp) - 1))]


# Terminal


def render(found: History, *, color: bool, width: int = 100, ascii: bool = False) -> str:
    """Render the results, then the course of each number, in lines of at most `width` cells."""
    width = max(width, MIN_WIDTH)
    lines = [Line([(summary(found), "bold")]), BLANK, *_results(found.results)]
    lines += [BLANK, *_courses(found, width, ascii)]
    if any(not value.is_comparable for own in _all(found) for value in own.values):
        lines += [BLANK, Line([(_LEGEND, "dim")], 2)]
    lines += [Line([(f"note: {one_line(note)}", "dim")], 6) for note in found.notes]
    return printed(lines, color, width, ascii)


def _all(found: History) -> list[Course]:
    return [found.composite, *found.probes]


def _results(results: Sequence[Entry]) -> Iterator[Line]:
    from rich.cells import cell_len

    names = [cut(one_line(entry.label), MAX_NAME) for entry in results]
    size = max(map(cell_len, names))
    for name, entry in zip(names, results, strict=True):
        facts = f"  {score_text(entry.score)}" + ("  verdict changed" if entry.is_turn else "")
        look = STYLES[entry.verdict]
        yield marked(entry.verdict.upper(), look, (padded([name], [size]), "bold"), (facts, ""))
        yield from (indented(f"differs: {text}", "dim") for text in _differences(entry))


def _differences(entry: Entry) -> list[str]:
    shown = [one_line(text) for text in entry.differences[:MAX_DIFFERENCES]]
    more = len(entry.differences) - len(shown)
    return [*shown, f"and {more} more"] if more > 0 else shown


def _courses(found: History, width: int, ascii: bool) -> Iterator[Line]:
    from rich.cells import cell_len

    courses = _all(found)
    names, values = [title(own) for own in courses], [ends(own) for own in courses]
    size, room = max(map(cell_len, names)), max(map(cell_len, values))
    columns = max(width - INDENT - size - room - 4, MIN_SPARKS)
    for name, own, value in zip(names, courses, values, strict=True):
        latest = next((v.verdict for v in reversed(own.values) if v.verdict), "skip")
        drawn = [(spark, STYLES.get(verdict, "")) for spark, verdict in sparks(own, columns, ascii)]
        name = padded([name], [size])
        yield marked(
            latest.upper(), STYLES[latest], (f"{name}  ", "bold"), *drawn, (f"  {value}", "")
        )
        yield from (indented(text, "dim") for text in turns(own, found.results))


# Markdown


def markdown(found: History) -> str:
    """Render the history as Markdown, at most MAX_BYTES; the earliest results are omitted first."""
    parts = [f"### sway-gate: {text(summary(found))}", _probe_table(found)]
    parts += [f"*{text(_LEGEND)}*", *(f"note: {text(note)}" for note in found.notes)]
    room = MAX_BYTES - sum(len(part.encode()) + 2 for part in parts) - 200
    rows = [_entry_row(entry) for entry in found.results]
    omitted = 0
    while rows and sum(len(one.encode()) + 1 for one in rows) > room:
        del rows[0]
        omitted += 1
    table = "\n".join([*head(("result", "verdict", "composite", "changes")), *rows])
    parts.insert(1, table)
    if omitted:
        parts.append(f"*Omitted for length: {counted(omitted, 'result')}.*")
    return "\n\n".join(parts) + "\n"


def _entry_row(entry: Entry) -> str:
    changes = ["verdict changed"] if entry.is_turn else []
    changes += [f"differs: {one}" for one in _differences(entry)]
    label = text(cut(entry.label, MAX_NAME))
    cells = (label, f"**{entry.verdict.upper()}**", score_text(entry.score))
    return row([*cells, "<br>".join(map(text, changes))])


def _probe_table(found: History, limit: int = 100) -> str:
    rows = []
    for own in _all(found)[:limit]:
        drawn = "".join(spark for spark, _ in sparks(own, MAX_NAME))
        changes = "<br>".join(map(text, turns(own, found.results)))
        rows.append(row([text(title(own)), text(drawn), text(ends(own)), changes]))
    more = len(found.probes) + 1 - limit
    rest = [f"\nand {counted(more, 'more probe')} in the JSON"] if more > 0 else []
    return "\n".join([*head(("number", "course", "value", "verdict")), *rows, *rest])
