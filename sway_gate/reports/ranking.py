"""Reports of `sway rank`: for a terminal, as Markdown, and as JSON.

The JSON has schema version 1, described in docs/json.md.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from sway_gate.compare.ranking import Curve, Entry, Ranking, Standing
from sway_gate.reports.braille import LABEL, curve_rows
from sway_gate.reports.json_v1 import plain
from sway_gate.reports.lines import (
    BLANK,
    MIN_WIDTH,
    STYLES,
    Line,
    marked,
    padded,
    printed,
)
from sway_gate.reports.markdown import head, row, text
from sway_gate.reports.wording import in_units, interval, score_text
from sway_gate.text import counted, cut, escaped, named, number, one_line

MAX_NAME, MAX_WHY = 40, 300
MAX_BYTES: Final = 60_000
_ROWS, _MAX_COLUMNS = 5, 72
VERDICTS: Final[dict[Standing, str]] = {
    "best": "pass",
    "tied": "pass",
    "worse": "pass",
    "dropped": "skip",
    "fail": "fail",
    "error": "error",
}
"""The verdict whose color and word an entry has."""
_OTHERS: Final[dict[Standing, str]] = {
    "worse": "significantly worse",
    "dropped": "significantly worse and not judged in full",
    "fail": "failed",
    "error": "ended in an error",
}


# Wording


def title(found: Ranking) -> str:
    """The adapter to use, in one line."""
    count, tied = counted(len(found.entries), "adapter"), best_set(found)
    if not tied:
        return f"none of {count} passes"
    if len(tied) == 1:
        which = f"the best of {count}"
    elif found.measure is None:
        which = f"one of {len(tied)} that pass and have no order, of {count}"
    else:
        first = "the best value" if tied[0] == found.chosen else "the earliest"
        which = f"{first} of {len(tied)} that tie, of {count}"
    return f"use {one_line(found.chosen)}: {which}"


def best_set(found: Ranking) -> list[str]:
    """The best adapter and those that tie with it, the best value first."""
    return [entry.label for entry in found.entries if entry.standing in ("best", "tied")]


def remarks(found: Ranking) -> list[str]:
    """Ties, the numbers of failures and errors, and the measure."""
    lines = []
    labels = best_set(found)
    if len(labels) > 1 and found.measure:
        lines.append(
            f"{one_line(labels[0])} has the best value; {named(labels[1:])} "
            f"{'is' if len(labels) == 2 else 'are'} not significantly worse"
        )
    standings = [entry.standing for entry in found.entries]
    parts = [f"{n} {words}" for key, words in _OTHERS.items() if (n := standings.count(key))]
    if parts:
        lines.append(f"the others: {', '.join(parts)}" if labels else ", ".join(parts))
    if found.measure:
        direction = "more" if found.measure.better == "more" else "less"
        lines.append(f"ordered by {one_line(found.measure.name)}: {direction} is better")
    else:
        lines.append("no probe has the same items for all adapters, so they have no order")
    return lines


def badge(standing: Standing) -> str:
    """Such as PASS."""
    return "DROP" if standing == "dropped" else VERDICTS[standing].upper()


def note(entry: Entry, chosen: str) -> str:
    """The standing of an entry, and its reason."""
    match entry.standing:
        case "best":
            words = "best value"
        case "tied":
            words = "not significantly worse"
        case "worse":
            words = f"significantly worse, p {number(entry.p, 2)}"
        case "dropped":
            words = f"significantly worse, p {number(entry.p, 2)}; not judged in full"
        case "fail" if entry.failed:
            words = f"fails: {named(entry.failed)}"
        case "fail":
            words = cut(one_line(entry.why), MAX_WHY) or "the composite is below the threshold"
        case "error":
            stuck = f"could not decide: {named(entry.failed)}" if entry.failed else ""
            words = cut(one_line(entry.why), MAX_WHY) or stuck or "could not decide"
    return f"{words}; use this one" if entry.label == chosen else words


def curve_title(curve: Curve) -> str:
    return f"{curve.role}: {cut(one_line(curve.name), MAX_NAME)}"


def course(curve: Curve) -> str:
    """Where the curve stops to improve, where it gets worse, and where its probe fails."""
    steps = [point.step for point in curve.points]
    best = [point.step for point in curve.points if point.is_best]
    parts = []
    if not best or len(best) == len(steps):
        parts.append("no significant difference between the steps")
    elif best[0] == steps[-1]:
        parts.append("significantly better at the last step than before")
    elif len(best) == 1 and best[0] != steps[0]:
        parts.append(f"significantly better at step {best[0]} than at the others")
    else:
        if best[0] > steps[0]:
            parts.append(f"no significant gain after step {best[0]}")
        if best[-1] < steps[-1]:
            parts.append(f"significantly worse after step {best[-1]}")
        if not parts:
            parts.append("significantly worse at some steps between")
    failing = [point.step for point in curve.points if point.verdict == "fail"]
    if failing:
        parts.append(f"fails at {_steps(failing, steps)}")
    return "; ".join(parts)


def _steps(some: list[int], steps: list[int]) -> str:
    """The steps as text; those from one to the last as a range."""
    if len(some) > 1 and some == steps[-len(some) :]:
        return f"steps {some[0]} to {some[-1]}"
    listed = named([str(step) for step in some])
    return f"step {listed}" if len(some) == 1 else f"steps {listed}"


# JSON


def to_json(found: Ranking) -> bytes:
    """Encode the ranking as UTF-8 JSON with a final newline."""
    fields = {"schema_version": 1, **plain(msgspec.to_builtins(found))}
    return escaped(json.dumps(fields, indent=2, ensure_ascii=False)).encode() + b"\n"


# Terminal


def render(
    found: Ranking, *, color: bool, width: int = 100, ascii: bool = False, quiet: bool = False
) -> str:
    """Render the choice, the adapters in their order and the curves, `width` cells wide.

    `quiet`: only the choice, and the adapters that end in an error.
    """
    width = max(width, MIN_WIDTH)
    lines = [Line([(title(found), "bold")], 2)]
    if quiet:
        lines += _entries(found, [e for e in found.entries if e.standing == "error"])
        return printed(lines, color, width, ascii)
    lines += [Line([(remark, "dim")], 2) for remark in remarks(found)]
    lines += [BLANK, *_entries(found, found.entries)]
    for curve in found.curves:
        lines += [BLANK, *_curve(curve, width, ascii)]
    return printed(lines, color, width, ascii)


def _entries(found: Ranking, entries: Sequence[Entry]) -> Iterator[Line]:
    from rich.cells import cell_len

    names = [cut(one_line(entry.label), MAX_NAME) for entry in entries]
    values = [_value(entry, found) for entry in entries]
    sizes = [max(map(cell_len, column), default=0) for column in (names, values)]
    for name, value, entry in zip(names, values, entries, strict=True):
        style = STYLES[VERDICTS[entry.standing]]
        cells = name if entry.standing == "error" else padded([name, value], sizes)
        yield marked(
            badge(entry.standing), style, (cells, "bold"), (f"  {note(entry, found.chosen)}", "")
        )


def _value(entry: Entry, found: Ranking) -> str:
    if entry.value is None or found.measure is None:
        return score_text(entry.score) if found.measure is None else "–"
    return f"{number(entry.value)} {interval(entry.ci_95)}".rstrip()


def _curve(curve: Curve, width: int, ascii: bool) -> Iterator[Line]:
    style = STYLES["fail"] if any(p.verdict == "fail" for p in curve.points) else "bold"
    yield Line([(curve_title(curve), style), (f"  {course(curve)}", "")], 2)
    columns = min(width - LABEL - 3, _MAX_COLUMNS)
    steps, values = [p.step for p in curve.points], [p.value for p in curve.points]
    drawn = curve_rows(steps, values, columns, ascii, axis="step", rows=_ROWS)
    yield from (Line([(frame, "dim"), (line, "")]) for frame, line in drawn)


# Markdown


def markdown(found: Ranking) -> str:
    """Render the ranking as Markdown, at most MAX_BYTES; the last adapters are omitted first."""
    above = [f"### sway-gate: {text(title(found))}", *(text(line) for line in remarks(found))]
    below = [
        f"**{text(curve_title(curve))}**: {text(course(curve))}\n\n{_points(curve)}"
        for curve in found.curves
    ]
    rows = [_row(entry, found) for entry in found.entries]
    room = MAX_BYTES - 200 - sum(len(part.encode()) + 2 for part in [*above, *below])
    count = sum(size <= room for size in accumulate(len(one.encode()) + 1 for one in rows))
    table = "\n".join([*head(("", "adapter", "value", "composite", "standing")), *rows[:count]])
    more = [f"*Omitted for length: {counted(len(rows) - count, 'adapter')}.*"]
    return "\n\n".join([*above, table, *(more if count < len(rows) else []), *below]) + "\n"


def _row(entry: Entry, found: Ranking) -> str:
    units = found.measure.units if found.measure else ""
    value = f"{in_units(entry.value, units)} {interval(entry.ci_95)}".rstrip()
    cells = (cut(entry.label, MAX_NAME), value, score_text(entry.score), note(entry, found.chosen))
    return row([f"**{badge(entry.standing)}**", *map(text, cells)])


def _points(curve: Curve) -> str:
    """The values as a table of two rows: at most 24 steps, evenly spread."""
    stride = -(-len(curve.points) // 24)
    shown = curve.points[::-1][::stride][::-1]
    cells = [number(point.value) + ("" if point.is_best else " ↓") for point in shown]
    return "\n".join([*head(["step", *(str(p.step) for p in shown)]), row(["value", *cells])])
