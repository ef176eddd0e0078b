"""The report of `sway check` for a terminal: the answer, then one line for each question."""

from collections.abc import Iterator, Sequence

from msgspec import structs

from sway_gate.reports.lines import (
    BLANK,
    MIN_WIDTH,
    STYLES,
    Line,
    indented,
    marked,
    padded,
    printed,
)
from sway_gate.reports.terminal import exchanges, finding, footer, steps
from sway_gate.reports.wording import diagnosis, is_failed
from sway_gate.results import GateResult
from sway_gate.text import one_line


def render(
    result: GateResult,
    word: str,
    below: Sequence[str],
    *,
    style: str,
    color: bool,
    width: int = 100,
    quiet: bool = False,
    ascii: bool = False,
) -> str:
    """Render the report with lines of at most `width` cells (minimum 40) and a final newline.

    word: the answer in one word, in the colour of the verdict `style`; below: its sentences. quiet:
    only the answer and what failed. ascii: for streams whose encoding is ASCII.
    """
    width = max(width, MIN_WIDTH)
    return printed(list(_lines(result, word, below, style, width, quiet)), color, width, ascii)


def _lines(
    result: GateResult, word: str, below: Sequence[str], style: str, width: int, quiet: bool
) -> Iterator[Line]:
    first, *rest = map(one_line, below)
    yield marked(word, STYLES[style], (first, "bold"))
    yield from map(indented, rest)
    if result.diagnosis and result.verdict != "pass":
        yield indented(diagnosis(result))
    yield from (finding(found) for found in result.findings if not quiet)
    probes = [probe for probe in result.probes if is_failed(probe) or not quiet]
    if probes:
        yield BLANK
    size = [max((len(one_line(probe.name)) for probe in probes), default=0)]
    for probe in probes:
        name = padded([one_line(probe.name)], size)
        message = (f"  {one_line(probe.message)}", "")
        yield marked(probe.verdict.upper(), STYLES[probe.verdict], (name, "bold"), message)
    if not quiet:
        yield from exchanges(result, width)
        yield from steps(result)
        shown = {text.casefold() for text in below}
        notes = tuple(note for note in result.notes if note.casefold() not in shown)
        yield from (BLANK, *footer(structs.replace(result, notes=notes), width))
