"""The report for a person: the verdict first, then what it rests on, then what to do next.

`render` returns text for a terminal or, without colour, for a log. rich is imported when something is rendered.
Nothing that comes from a file is read as markup; control characters are spelled out.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sway_gate.details import Response, SectionLift, Sections, read
from sway_gate.reports.braille import LABEL, bar, curve_rows
from sway_gate.reports.wording import (
    LEVEL_WORDS,
    grounds,
    interval,
    is_failed,
    next_steps,
    score_text,
    seconds,
    section_verdict,
    sigmas,
    title,
)
from sway_gate.results import Baseline, Category, Finding, GateResult, ProbeResult
from sway_gate.text import counted, number, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {
    "pass": "bold green",
    "fail": "bold red",
    "warn": "bold yellow",
    "skip": "dim",
    "error": "bold magenta",
    # levels of a static finding
    "broken": "bold magenta",
    "verdict": "bold red",
    "warning": "bold yellow",
}
ASCII = {"σ": "sd", "λ": "lambda", "–": "-", "·": "|", "•": "*", "…": "...", "≥": ">=", "≤": "<="}
INDENT = 7  # the width of a verdict word and two spaces
MIN_WIDTH = 40
MAX_SECTIONS = 12
LIFTS = {"lift": "lift", "lift_permuted": "permuted", "lift_control": "control"}


class Line(NamedTuple):
    """One paragraph: styled pieces, wrapped to the width with `hang` spaces before each line but the first."""

    pieces: Sequence[tuple[str, str]]
    hang: int = 0


BLANK = Line([])


def render(
    result: GateResult, *, color: bool, width: int = 100, quiet: bool = False, ascii: bool = False
) -> str:
    """The whole report, each line at most `width` cells (40 at least), ending in a newline.

    quiet: the verdict and what failed, nothing else. ascii: for a stream whose encoding knows nothing more.
    """
    width = max(width, MIN_WIDTH)
    lines = list(_quiet(result, width) if quiet else _full(result, width, ascii))
    return printed(lines, color, width, ascii)


def _quiet(result: GateResult, width: int) -> Iterator[Line]:
    yield from _headline(result, width)
    yield from (_finding(item) for item in result.findings if item.level in ("broken", "verdict"))
    if failed := [probe for probe in result.probes if is_failed(probe)]:
        yield from _probes(failed, width)
    if result.baseline and result.baseline.regressions:
        yield from _baseline(result.baseline)


def _full(result: GateResult, width: int, ascii: bool) -> Iterator[Line]:
    yield from _headline(result, width)
    if findings := [_finding(item) for item in result.findings if item.level in LEVEL_WORDS]:
        yield from (BLANK, *findings)
    if result.probes:
        yield BLANK
        yield from _probes(result.probes, width)
    if result.categories:
        yield from (BLANK, *_categories(result, ascii))
    if result.baseline:
        yield from (BLANK, *_baseline(result.baseline))
    for probe in result.probes:
        yield from _drawings(probe, width, ascii)
    if steps := next_steps(result):
        yield from (BLANK, Line([("What to do next", "bold")]))
        yield from (
            Line([("• ", ""), (names and f"{names}: ", "bold"), (text, "")], 2)
            for names, text in steps
        )
    yield from (BLANK, *_footer(result, width))


# The verdict


def _headline(result: GateResult, width: int) -> Iterator[Line]:
    word = result.verdict.upper() + "  "
    first, *rest = _flow(grounds(result), width, "  ", len(word))
    yield Line([(word, STYLES[result.verdict]), (first.lstrip(), "bold")], len(word))
    yield from (Line([(text, "bold")], len(word)) for text in rest)


def _finding(item: Finding) -> Line:
    word = LEVEL_WORDS[item.level]
    where = f"  {one_line(item.path)}" if item.path else ""
    return Line(
        [(f"{word:<{INDENT}}", STYLES[item.level]), (one_line(item.message), ""), (where, "dim")],
        INDENT,
    )


def _baseline(held: Baseline) -> Iterator[Line]:
    said = counted(len(held.regressions), "regression") if held.regressions else "no regression"
    yield Line([("baseline ", "bold"), (one_line(held.path), ""), (f"  {said}", "bold")], INDENT)
    for worse in held.regressions:
        pieces = [(f"{'WORSE':<{INDENT}}", STYLES["fail"]), (one_line(worse.name), "bold")]
        yield Line([*pieces, (f"  {one_line(worse.message)}", "")], INDENT)
    for text in held.warnings:
        yield Line([(f"{'WARN':<{INDENT}}", STYLES["warn"]), (one_line(text), "")], INDENT)


# One row a probe


HEADER = ("", "score", "value [95 % interval]", "z", "p")


def _cells(probe: ProbeResult) -> tuple[str, ...]:
    """What a probe's row says, under `HEADER`."""
    units = one_line(probe.units) if probe.raw is not None else ""
    value = " ".join(filter(None, (number(probe.raw), interval(probe.ci_95), units)))
    return title(probe), score_text(probe.score), value, _z(probe), number(probe.p, 2)


def _z(probe: ProbeResult) -> str:
    """A harm's z is a distance to its margin, not to the nulls: the row says so."""
    if probe.z is None:
        return "–"
    if probe.null_z is not None:
        return f"{sigmas(probe.z)} to margin"
    return f"{sigmas(probe.z)} n={probe.n_null}" if probe.n_null else sigmas(probe.z)


def _probes(probes: Sequence[ProbeResult], width: int) -> Iterator[Line]:
    """Columns where they fit, else the numbers on a line of their own; the note below in both."""
    from rich.cells import cell_len

    rows = [_cells(probe) for probe in probes]
    widths = [max(map(cell_len, column)) for column in zip(HEADER, *rows, strict=True)]
    in_columns = INDENT + sum(widths) + 2 * (len(widths) - 1) <= width
    if in_columns:
        yield Line([(" " * INDENT + _padded(HEADER, widths), "dim")])
    for probe, cells in zip(probes, rows, strict=True):
        verdict = (f"{probe.verdict.upper():<{INDENT}}", STYLES[probe.verdict])
        if in_columns:
            title, rest = _padded(cells[:1], widths), _padded(cells[1:], widths[1:])
            yield Line([verdict, (title, "bold"), ("  " + rest, "")], INDENT)
        else:
            yield Line([verdict, (cells[0], "bold")], INDENT)
            yield from (
                Line([(text, "")], INDENT) for text in _flow(_facts(cells), width, " · ", INDENT)
            )
        yield from _indented(one_line(probe.message))
        for text in _asides(probe):
            yield from _indented(text, "dim")


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    from rich.cells import cell_len

    return "  ".join(
        cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=False)
    )


def _facts(cells: Sequence[str]) -> list[str]:
    """The numbers of a row, each named where it does not name itself."""
    named = zip(("score ", "", "", "p "), cells[1:], strict=True)
    return [name + cell for name, cell in named if cell != "–"]


def _flow(parts: Sequence[str], width: int, separator: str, indent: int) -> list[str]:
    """`parts` joined into lines of at most `width`, broken only between parts."""
    from rich.cells import cell_len

    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1] + separator + part) <= width:
            lines[-1] += separator + part
        else:
            lines.append(" " * indent + part)
    return lines


def _asides(probe: ProbeResult) -> Iterator[str]:
    """The numbers that few probes have."""
    if probe.null_z is not None:
        yield f"{sigmas(probe.null_z)} against the nulls, n={probe.n_null}"
    if probe.z_by_rank:
        yield " / ".join(f"{sigmas(z)} @ {one_line(rank)}x" for rank, z in probe.z_by_rank.items())


def _indented(text: str, style: str = "") -> list[Line]:
    return [Line([(" " * INDENT + text, style)], INDENT)] if text else []


# Categories, sections, curves


def _categories(result: GateResult, ascii: bool) -> Iterator[Line]:
    composite = Category(weight=0.0, score=result.score)
    size = max(map(len, [*map(one_line, result.categories), "composite"]))
    for name, category in [*result.categories.items(), ("composite", composite)]:
        last = category is composite
        score = category.score
        style = "dim" if score is None else "green" if score >= result.threshold else "yellow"
        yield Line(
            [
                (f"{one_line(name):<{size}}  ", "bold" if last else ""),
                (f"{score_text(score):>4} ", "bold" if last else ""),
                (bar(score, 20, ascii), style),
                (
                    f"  threshold {result.threshold:.2f}"
                    if last
                    else f"  weight {category.weight:.2f}",
                    "dim",
                ),
            ]
        )


def _drawings(probe: ProbeResult, width: int, ascii: bool) -> Iterator[Line]:
    if response := read(probe.details, Response):
        columns = min(width - LABEL - 2, 48)
        if rows := curve_rows(response.lambdas, response.curve, columns, ascii):
            yield from (BLANK, Line([(title(probe), "bold"), ("  response over λ", "dim")]))
            yield from (Line([(frame, "dim"), (drawn, "cyan")]) for frame, drawn in rows)
    if (found := read(probe.details, Sections)) and found.sections:
        yield from (BLANK, Line([(title(probe), "bold"), ("  relative lift by section", "dim")]))
        yield from _sections(found.sections, width, ascii)


def _sections(sections: Sequence[SectionLift], width: int, ascii: bool) -> Iterator[Line]:
    """In the document's order, bars relative to the longest; of too many, those that did not pass come first."""
    from rich.cells import cell_len

    longest = max(section.effective for section in sections)
    ranked = sorted(range(len(sections)), key=lambda i: (_verdict(sections[i]) == "pass", i))
    shown = [sections[i] for i in sorted(ranked[:MAX_SECTIONS])]
    lifts = LIFTS if width >= 90 else {}
    size = min(max(cell_len(_tag(section)) for section in shown), 24, width - 38 - 10 * len(lifts))
    names = "".join(f"{name:>10}" for name in lifts.values())
    yield Line([(" " * (INDENT + size) + f"{'effective':>10}{'z':>8}{'':14}{names}", "dim")])
    for section in shown:
        yield _section(section, size, longest, lifts, ascii)
    if len(sections) > len(shown):
        yield from _indented(f"… and {len(sections) - len(shown)} more", "dim")


def _section(
    section: SectionLift, size: int, longest: float, lifts: Iterable[str], ascii: bool
) -> Line:
    from rich.cells import set_cell_size

    word = _verdict(section)
    share = section.effective / longest if longest > 0 else None
    return Line(
        [
            (f"{word.upper():<{INDENT}}", STYLES[word]),
            (f"{set_cell_size(_tag(section), size)}{number(section.effective):>10}", ""),
            (f"{sigmas(section.z) if section.z else '':>8} ", ""),
            (bar(share, 12, ascii), STYLES[word]),
            ("".join(f"{number(getattr(section, key)):>10}" for key in lifts), "dim"),
        ],
        INDENT,
    )


def _verdict(section: SectionLift) -> str:
    return section_verdict(passed=section.passed, moved=section.moved is not False)


def _tag(section: SectionLift) -> str:
    return one_line(section.tag or section.id)


# The small print


def _footer(result: GateResult, width: int) -> Iterator[Line]:
    for note in result.notes:
        yield Line([(f"note: {one_line(note)}", "dim")], 6)
    for facts in (_models(result), _circumstances(result)):
        yield from (Line([(text, "dim")], 2) for text in _flow(facts, width, " · ", 0))


def _models(result: GateResult) -> list[str]:
    adapter, base = result.adapter, result.base
    revision = f" @ {one_line(base.revision)[:12]}" if base.revision else ""
    return [
        f"adapter {one_line(adapter.path)}",
        *([f"sha256 {one_line(adapter.digest)[:12]}"] if adapter.digest else []),
        f"base {one_line(base.path)}{revision}",
    ]


def _circumstances(result: GateResult) -> list[str]:
    nulls = result.nulls
    return [
        f"{counted(nulls.runs, 'null adapter')} ({one_line(nulls.null)})"
        if nulls
        else "no null adapters"
        if result.device
        else "no model was loaded",
        *map(one_line, filter(None, (result.determinism, result.device, result.dtype))),
        f"seed {result.seed}",
        *(
            f"{one_line(name)} {one_line(version).split('+')[0]}"
            for name, version in result.versions.items()
        ),
        f"{seconds(result.timing):.1f} s",
    ]


# Printing


def printed(lines: Sequence[Line], color: bool, width: int, ascii: bool) -> str:
    """The lines as text, each wrapped to `width` cells."""
    import io

    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
    )
    with console.capture() as capture:
        for line in lines:
            for text in _wrapped(line, console, width, ascii):
                console.print(text, soft_wrap=True)
    return capture.get()


def _wrapped(line: Line, console: "Console", width: int, ascii: bool) -> "list[Text]":
    """`line` cut at spaces to `width`, later lines indented."""
    from rich.text import Text

    whole = Text()
    for piece, style in line.pieces:
        whole.append(_in_ascii(piece) if ascii else piece, style)
    whole.rstrip()
    if whole.cell_len <= width:
        return [whole]
    first, *rest = _stripped(whole.wrap(console, width))
    below = _stripped(Text(" ").join(rest).wrap(console, width - line.hang))
    return [first, *(Text(" " * line.hang) + text for text in below)]


def _stripped(lines: "Iterable[Text]") -> "list[Text]":
    lines = list(lines)
    for text in lines:
        text.rstrip()
    return lines


def _in_ascii(text: str) -> str:
    for symbol, spelled in ASCII.items():
        text = text.replace(symbol, spelled)
    return text.encode("ascii", "backslashreplace").decode("ascii")
