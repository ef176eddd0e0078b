"""The report for a terminal or, without colour, for a log: verdict, probes, details, next steps.

Text from files is never interpreted as markup; control characters are escaped.
"""

from collections.abc import Iterable, Iterator, Sequence

from sway_gate.details import Response, SectionLift, Sections, WrittenAnswers, read
from sway_gate.reports.braille import LABEL, bar, curve_rows
from sway_gate.reports.lines import (
    BLANK,
    INDENT,
    MIN_WIDTH,
    STYLES,
    Line,
    flow,
    indented,
    marked,
    padded,
    printed,
)
from sway_gate.reports.wording import (
    LEVEL_WORDS,
    diagnosis,
    evidence,
    grounds,
    interval,
    is_failed,
    next_steps,
    not_passed_first,
    null_adapters,
    score_text,
    seconds,
    setting,
    sigmas,
    subject,
    title,
)
from sway_gate.results import Baseline, Finding, GateResult, ProbeResult, Verdict
from sway_gate.text import counted, cut, number, one_line

MAX_SECTIONS = 12
MAX_ANSWERS, ANSWER_CHARS = 3, 160
LIFTS = {"lift": "lift", "lift_permuted": "permuted", "lift_control": "control"}


def render(
    result: GateResult, *, color: bool, width: int = 100, quiet: bool = False, ascii: bool = False
) -> str:
    """Render the report with lines of at most `width` cells (minimum 40) and a final newline.

    quiet: only the verdict and the failures. ascii: for streams whose encoding is ASCII.
    """
    width = max(width, MIN_WIDTH)
    lines = list(_quiet(result, width) if quiet else _full(result, width, ascii))
    return printed(lines, color, width, ascii)


def _quiet(result: GateResult, width: int) -> Iterator[Line]:
    yield from _headline(result, width)
    yield from (finding(item) for item in result.findings if item.level in ("broken", "verdict"))
    if failed := [probe for probe in result.probes if is_failed(probe)]:
        yield from _probes(failed, width)
    if result.baseline and result.baseline.regressions:
        yield from _baseline(result.baseline)


def _full(result: GateResult, width: int, ascii: bool) -> Iterator[Line]:
    yield from _headline(result, width)
    if findings := [finding(item) for item in result.findings if item.level in LEVEL_WORDS]:
        yield from (BLANK, *findings)
    if result.probes:
        yield from (BLANK, *_probes(result.probes, width))
    if result.categories:
        yield from (BLANK, *_categories(result, ascii))
    if result.baseline:
        yield from (BLANK, *_baseline(result.baseline))
    for probe in result.probes:
        yield from _drawings(probe, width, ascii)
    yield from steps(result)
    yield from (BLANK, *footer(result, width))


# The verdict


def _headline(result: GateResult, width: int) -> Iterator[Line]:
    word = result.verdict.upper() + "  "
    first, *rest = flow(grounds(result), width, "  ", len(word))
    yield Line([(word, STYLES[result.verdict]), (first.lstrip(), "bold")], len(word))
    yield from (Line([(text, "bold")], len(word)) for text in rest)
    if found := diagnosis(result):
        yield Line([(found, "")], 2)


def finding(item: Finding) -> Line:
    """A result of the static check."""
    where = f"  {one_line(item.path)}" if item.path else ""
    return marked(
        LEVEL_WORDS[item.level],
        STYLES[item.level],
        (one_line(item.message), ""),
        (where, "dim"),
    )


def _baseline(baseline: Baseline) -> Iterator[Line]:
    count = len(baseline.regressions)
    found = counted(count, "regression") if count else "no regression"
    path = one_line(baseline.path)
    yield Line([("baseline ", "bold"), (path, ""), (f"  {found}", "bold")], INDENT)
    for worse in baseline.regressions:
        name, message = one_line(worse.name), one_line(worse.message)
        yield marked("WORSE", STYLES["fail"], (name, "bold"), (f"  {message}", ""))
    for text in baseline.warnings:
        yield marked("WARN", STYLES["warn"], (one_line(text), ""))


def steps(result: GateResult) -> Iterator[Line]:
    """What to do next; no line if there is nothing to do."""
    if found := next_steps(result):
        yield from (BLANK, Line([("What to do next", "bold")]))
        for names, advice in found:
            yield Line([("• ", ""), (f"{names}: " if names else "", "bold"), (advice, "")], 2)


# One row per probe


HEADER = ("", "score", "value [95% interval]", "z or bound", "p")


def _cells(probe: ProbeResult) -> tuple[str, ...]:
    """Cells of a probe's row, in the columns of `HEADER`."""
    units = one_line(probe.units) if probe.raw is not None else ""
    value = " ".join(filter(None, (number(probe.raw), interval(probe.ci_95), units)))
    return title(probe), score_text(probe.score), value, _z(probe), number(probe.p, 2)


def _z(probe: ProbeResult) -> str:
    """The evidence with its reference: the limit of a bound, or the null adapters."""
    found = evidence(probe)
    return f"{found} n={probe.n_null}" if probe.z is not None and probe.n_null else found


def _probes(probes: Sequence[ProbeResult], width: int) -> Iterator[Line]:
    """Rows in columns if they fit, otherwise the numbers on a separate line; then the message."""
    from rich.cells import cell_len

    rows = [_cells(probe) for probe in probes]
    widths = [max(map(cell_len, column)) for column in zip(HEADER, *rows, strict=True)]
    in_columns = INDENT + sum(widths) + 2 * (len(widths) - 1) <= width
    if in_columns:
        yield indented(padded(HEADER, widths), "dim")
    for probe, (name, *numbers) in zip(probes, rows, strict=True):
        word, style = probe.verdict.upper(), STYLES[probe.verdict]
        if in_columns:
            cells = (padded([name], widths[:1]), "bold"), ("  " + padded(numbers, widths[1:]), "")
            yield marked(word, style, *cells)
        else:
            yield marked(word, style, (name, "bold"))
            for text in flow(_facts(numbers), width, " · ", INDENT):
                yield Line([(text, "")], INDENT)
        if message := one_line(probe.message):
            yield indented(message)
        yield from (indented(text, "dim") for text in _asides(probe))


def _facts(numbers: Sequence[str]) -> list[str]:
    """The known numbers of a row; score and p with their names."""
    named = zip(("score ", "", "", "p "), numbers, strict=True)
    return [name + cell for name, cell in named if cell != "–"]


def _asides(probe: ProbeResult) -> Iterator[str]:
    """Numbers that only some probes have."""
    if probe.z_by_rank:
        yield " / ".join(f"{sigmas(z)} @ {one_line(rank)}x" for rank, z in probe.z_by_rank.items())


# Categories, sections, curves


def _categories(result: GateResult, ascii: bool) -> Iterator[Line]:
    size = max(len(one_line(name)) for name in [*result.categories, "composite"])

    def line(name: str, score: float | None, note: str, style: str = "") -> Line:
        color = "yellow" if score is None or score < result.threshold else "green"
        return Line(
            [
                (f"{one_line(name):<{size}}  {score_text(score):>4} ", style),
                (bar(score, 20, ascii), "dim" if score is None else color),
                (f"  {note}", "dim"),
            ]
        )

    for name, category in result.categories.items():
        yield line(name, category.score, f"weight {category.weight:.2f}")
    yield line("composite", result.score, f"threshold {result.threshold:.2f}", "bold")


def _drawings(probe: ProbeResult, width: int, ascii: bool) -> Iterator[Line]:
    if response := read(probe.details, Response):
        columns = min(width - LABEL - 2, 48)
        if rows := curve_rows(response.lambdas, response.curve, columns, ascii):
            yield from (BLANK, Line([(title(probe), "bold"), ("  response over λ", "dim")]))
            yield from (Line([(frame, "dim"), (drawn, "cyan")]) for frame, drawn in rows)
    if (found := read(probe.details, Sections)) and found.sections:
        yield from (BLANK, Line([(title(probe), "bold"), ("  relative lift by section", "dim")]))
        yield from _sections(found.sections, width, ascii)
    yield from broken_answers(probe)


def broken_answers(probe: ProbeResult) -> Iterator[Line]:
    """Some answers that are broken, and the base's answers to the same prompts."""
    found = read(probe.details, WrittenAnswers)
    broken = [answer for answer in found.answers if answer.verdict == "fail"] if found else []
    if not broken or probe.verdict is Verdict.PASS:
        return
    yield from (BLANK, Line([(title(probe), "bold"), ("  broken answers", "dim")]))
    for answer in broken[:MAX_ANSWERS]:
        yield indented(_shortened(answer.prompt), "dim")
        yield indented(f"base: {_shortened(answer.base)}")
        yield indented(f"fine-tuned: {_shortened(answer.finetuned)} ({', '.join(answer.flaws)})")
    if len(broken) > MAX_ANSWERS:
        yield indented(f"… and {len(broken) - MAX_ANSWERS} more", "dim")


def _shortened(text: str) -> str:
    """The text on one line; – if there is none."""
    return cut(one_line(text), ANSWER_CHARS) or "–"


def _sections(sections: Sequence[SectionLift], width: int, ascii: bool) -> Iterator[Line]:
    """Sections in the document's order, bars relative to the longest.

    If there are too many, those that did not pass take precedence.
    """
    from rich.cells import cell_len

    longest = max(section.effective for section in sections)
    verdicts = [section.verdict for section in sections]
    shown = not_passed_first(sections, verdicts, MAX_SECTIONS)
    lifts = LIFTS if width >= 90 else {}
    size = min(max(cell_len(_tag(section)) for section in shown), 24, width - 38 - 10 * len(lifts))
    names = "".join(f"{name:>10}" for name in lifts.values())
    yield Line([(" " * (INDENT + size) + f"{'effective':>10}{'z':>8}{'':14}{names}", "dim")])
    for section in shown:
        yield _section(section, size, longest, lifts, ascii)
    if len(sections) > len(shown):
        yield indented(f"… and {len(sections) - len(shown)} more", "dim")


def _section(
    section: SectionLift, size: int, longest: float, lifts: Iterable[str], ascii: bool
) -> Line:
    from rich.cells import set_cell_size

    word = section.verdict
    share = section.effective / longest if longest > 0 else None
    return marked(
        word.upper(),
        STYLES[word],
        (f"{set_cell_size(_tag(section), size)}{number(section.effective):>10}", ""),
        (f"{sigmas(section.z) if section.z else '':>8} ", ""),
        (bar(share, 12, ascii), STYLES[word]),
        ("".join(f"{number(getattr(section, key)):>10}" for key in lifts), "dim"),
    )


def _tag(section: SectionLift) -> str:
    return one_line(section.tag or section.id)


# Models and settings


def footer(result: GateResult, width: int) -> Iterator[Line]:
    """Notes, models and settings."""
    for note in result.notes:
        yield Line([(f"note: {one_line(note)}", "dim")], 6)
    for facts in (_models(result), _circumstances(result)):
        yield from (Line([(text, "dim")], 2) for text in flow(facts, width, " · "))


def _models(result: GateResult) -> Iterator[str]:
    adapter, base = result.adapter, result.base
    yield f"{subject(adapter)} {one_line(adapter.path)}"
    if adapter.digest:
        yield f"sha256 {one_line(adapter.digest)[:12]}"
    yield f"base {one_line(base.path)}" + (
        f" @ {one_line(base.revision)[:12]}" if base.revision else ""
    )


def _circumstances(result: GateResult) -> Iterator[str]:
    yield one_line(null_adapters(result))
    yield from map(one_line, setting(result))
    for name, version in result.versions.items():
        yield f"{one_line(name)} {one_line(version).split('+')[0]}"
    yield f"{seconds(result.timing):.1f} s"
