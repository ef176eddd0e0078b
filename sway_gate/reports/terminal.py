"""The report for a terminal or, without colour, for a log: verdict, probes, details, next steps.

Text from files is never interpreted as markup; control characters are escaped.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import not_
from typing import Final

from sway_gate.details import Response, SectionLift, Sections, TargetLosses, read
from sway_gate.judge.composite import effective_weights
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
    limit_at_one,
    most_severe_first,
    next_steps,
    not_passed_first,
    null_adapters,
    p_text,
    percent,
    right_name,
    score_text,
    seconds,
    setting,
    sigmas,
    subject,
    title,
    verdict_word,
)
from sway_gate.results import Baseline, Exchange, Finding, GateResult, ProbeResult, Verdict
from sway_gate.text import apart, counted, cut, number, one_line

MAX_SECTIONS, MAX_EXCHANGES = 12, 5
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
        yield from _probes(result, failed, width)
    if result.baseline and result.baseline.regressions:
        yield from _baseline(result.baseline)


def _full(result: GateResult, width: int, ascii: bool) -> Iterator[Line]:
    yield from _headline(result, width)
    yield from steps(result)
    if findings := [finding(item) for item in result.findings if _is_shown(item, result)]:
        yield from (BLANK, *findings)
    yield from exchanges(result, width)
    if result.probes:
        yield from (BLANK, *_probes(result, most_severe_first(result.probes), width))
    if any(category.score is not None for category in result.categories.values()):
        yield from (BLANK, *_categories(result, ascii))
    if result.baseline:
        yield from (BLANK, *_baseline(result.baseline))
    for probe in result.probes:
        if probe.verdict is not Verdict.PASS:
            yield from _drawings(probe, width, ascii)
    yield from (BLANK, *footer(result, width))


# The verdict


def _headline(result: GateResult, width: int) -> Iterator[Line]:
    word = verdict_word(result) + "  "
    first, *rest = flow(grounds(result), width, "  ", len(word))
    yield Line([(word, STYLES[result.verdict]), (first.lstrip(), "")], len(word))
    yield from (Line([(text, "")], len(word)) for text in rest)
    if found := diagnosis(result):
        yield Line([(found, "bold")], 2)


def _is_shown(item: Finding, result: GateResult) -> bool:
    """Whether it is not a note, and not the reason in the headline."""
    is_reason = item.level == "verdict" and one_line(item.message) in grounds(result)
    return item.level in LEVEL_WORDS and not is_reason


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
        for names, advice, link, topic in found:
            yield Line([("• ", ""), (f"{names}: " if names else "", "bold"), (advice, "")], 2)
            if link and topic:
                yield Line([(f"  sway explain {shlex.quote(topic)}", "dim")], 2)


# What the models say


def exchanges(result: GateResult, width: int) -> Iterator[Line]:
    """Each prompt with the answers of base and fine-tuned model; no line if none was asked."""
    if result.side_by_side:
        yield from (BLANK, Line([("Base and fine-tuned model side by side", "bold")]))
        shown = result.side_by_side[:MAX_EXCHANGES]
        for one, differing in zip(shown, apart([one.prompt for one in shown]), strict=True):
            yield from _exchange(one, differing, width)


def _exchange(one: Exchange, differing: str, width: int) -> Iterator[Line]:
    """One line if all texts fit; otherwise the answers are below the prompt, and texts are cut.

    differing: the part of the prompt that is shown if the whole prompt does not fit.
    """
    role, found = (f"{one.role:<{_ROLE}}", "dim"), (_found(one), _FOUND_STYLES.get(one.role, "dim"))
    prompt, room = _shortened(one.prompt, width), width - _ROLE
    whole = f"  {_answers(one, width)}"
    if len(prompt + whole + found[0]) <= room:
        yield Line([role, (prompt, "bold"), (whole, ""), found], _ROLE)
        return
    space = room - len(found[0])
    prompt = prompt if len(one_line(one.prompt)) <= space else _shortened(differing, space)
    yield Line([role, (prompt, "bold"), found], _ROLE)
    yield Line([(" " * _ROLE + _answers(one, room), "")], _ROLE)


def _found(one: Exchange) -> str:
    """What happened, and the likelihood of the true answer."""
    before, now = _likelihood(one.base_probability), _likelihood(one.probability)
    finding = f"  {one_line(one.finding)}" if one.finding else ""
    return f"{cut(finding, 30)}{before and f'  P(true) {before} → {now}'}"


def _answers(one: Exchange, width: int) -> str:
    """Both answers, and the true one if neither gave it; then the base's if there is room."""
    texts = {"base": one.base, "now": one.finetuned}
    if not any(texts.values()):
        texts = {right_name(one): one.right}
    elif one.right not in ("", one.base, one.finetuned):
        texts["true"] = one.right
    shown = _cut_to(texts, width)
    if len(shown) > 2 and any(len(text) < _LEAST and text.endswith("…") for text in shown.values()):
        del texts["base"]
        shown = _cut_to(texts, width)
    return "  ".join(f"{label}: {text}" for label, text in shown.items())


def _cut_to(texts: Mapping[str, str], width: int) -> dict[str, str]:
    """The texts, by their labels, cut to the cells of a line."""
    room = width + 2 - sum(len(f"{label}:   ") for label in texts)
    parts = [one_line(text) or "–" for text in texts.values()]
    if sum(map(len, parts)) > room:
        parts = apart(parts)
    rooms = _rooms(list(map(len, parts)), room)
    return {
        label: cut(*pair) for label, pair in zip(texts, zip(parts, rooms, strict=True), strict=True)
    }


_LEAST: Final = 20
"""Characters of an answer below which a line is better without the base's."""


def _rooms(sizes: Sequence[int], room: int) -> list[int]:
    """The room of each text: short ones leave theirs to the others."""
    found = [0] * len(sizes)
    for left, i in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        found[i] = min(sizes[i], (room - sum(found)) // (len(sizes) - left))
    return found


_ROLE: Final = 10
_FOUND_STYLES: Final = {"worst": STYLES["fail"]}


def _likelihood(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.2f}"


def _shortened(text: str, chars: int) -> str:
    """The text on one line; – if there is none."""
    return cut(one_line(text), chars) or "–"


# One row per probe


HEADER = ("", "score", "weight", "decided by", "value [95% interval]", "p")


def _cells(probe: ProbeResult, weight: float | None) -> tuple[str, ...]:
    """Cells of a probe's row, in the columns of `HEADER`."""
    units = one_line(probe.units) if probe.raw is not None else ""
    value = " ".join(filter(None, (number(probe.raw), interval(probe.ci_95), units)))
    score = score_text(probe.score)
    return title(probe), score, percent(weight), evidence(probe), value or "–", p_text(probe)


def _probes(result: GateResult, probes: Sequence[ProbeResult], width: int) -> Iterator[Line]:
    """Each probe that did not pass with its message, then a row for each one that passed.

    If the gate fails, those that passed have one line with their scores and weights, from which the
    composite follows, and their caveats.
    """
    _, weights = effective_weights(result)
    is_row = [probe.verdict is Verdict.PASS and not probe.waiver for probe in probes]
    for probe in compress(probes, map(not_, is_row)):
        yield from _explained(probe, weights.get(probe.name))
    passed = list(compress(probes, is_row))
    if passed and result.verdict == "fail":
        yield from _named(passed, weights)
    elif passed:
        yield from _rows(passed, weights, width)


def _explained(probe: ProbeResult, weight: float | None) -> Iterator[Line]:
    """The probe's score and weight, and its message, which has the numbers that decided."""
    facts = _facts({"score": score_text(probe.score), "weight": percent(weight)})
    name, about = (title(probe), "bold"), (f"  {' · '.join(facts)}", "dim")
    yield marked(probe.verdict.upper(), STYLES[probe.verdict], name, about)
    if text := one_line(probe.message):
        yield indented(text)
    yield from (indented(text, "dim") for text in _asides(probe))


def _named(passed: Sequence[ProbeResult], weights: Mapping[str, float]) -> Iterator[Line]:
    names = ", ".join(_brief(probe, weights.get(probe.name)) for probe in passed)
    count = (f"{counted(len(passed), 'probe')}: ", "bold")
    yield marked(Verdict.PASS.upper(), STYLES["pass"], count, (names, ""))
    partial = [probe for probe in passed if probe.caveat]
    yield from (indented(f"{one_line(p.name)} {one_line(p.caveat)}", "dim") for p in partial)


def _brief(probe: ProbeResult, weight: float | None) -> str:
    numbers = f" {score_text(probe.score)} ({percent(weight)})" if weight else ""
    return one_line(probe.name) + numbers


def _rows(
    probes: Sequence[ProbeResult], weights: Mapping[str, float], width: int
) -> Iterator[Line]:
    """Rows in columns if they fit, and what each probe did not judge."""
    from rich.cells import cell_len

    columns = list(zip(HEADER, *(_cells(p, weights.get(p.name)) for p in probes), strict=True))
    columns = [column for column in columns if set(column[1:]) != {"–"}]
    header, *rows = zip(*columns, strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    in_columns = INDENT + sum(widths) + 2 * (len(widths) - 1) <= width
    if in_columns and any(header):
        yield indented(padded(header, widths), "dim")
    for probe, (name, *numbers) in zip(probes, rows, strict=True):
        word, style = probe.verdict.upper(), STYLES[probe.verdict]
        if in_columns:
            cells = (padded([name], widths[:1]), "bold"), ("  " + padded(numbers, widths[1:]), "")
            yield marked(word, style, *cells)
        else:
            facts = _facts(dict(zip(header[1:], numbers, strict=True)))
            yield marked(word, style, (name, "bold"), (f"  {' · '.join(facts[:3])}", ""))
        if text := one_line(probe.caveat):
            yield indented(text)
        yield from (indented(text, "dim") for text in _asides(probe))


def _facts(numbers: dict[str, str]) -> list[str]:
    """The known numbers of a row, with their names where the number does not show it."""
    names = {"score": "score ", "weight": "weight ", "p": "p "}
    return [names.get(key, "") + cell for key, cell in numbers.items() if cell != "–"]


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

    weights, _ = effective_weights(result)
    for name, category in result.categories.items():
        yield line(name, category.score, f"weight {percent(weights.get(name))}")
    yield line("composite", result.score, f"threshold {result.threshold:.2f}", "bold")


def _drawings(probe: ProbeResult, width: int, ascii: bool) -> Iterator[Line]:
    if response := read(probe.details, Response):
        yield from _curve(probe, response, width, ascii)
    if (found := read(probe.details, Sections)) and found.sections:
        yield from (BLANK, Line([(title(probe), "bold"), ("  lift of each section", "dim")]))
        yield from _sections(found.sections, width, ascii)


def _curve(probe: ProbeResult, response: Response, width: int, ascii: bool) -> Iterator[Line]:
    """The response, or the loss on the data if its rule is the one that is violated."""
    rule = limit_at_one(probe, response)
    xs, ys, limit = response.lambdas, response.curve, rule.limit if rule else None
    about = "change of the output by the scale of the adapter"
    about += f", limit {number(limit)} at scale 1" if rule else ""
    losses, decisive = read(probe.details, TargetLosses), next(iter(probe.rules), None)
    if losses and decisive and decisive != rule and decisive.name not in ("z", "shape"):
        xs, ys, limit = losses.target.lambdas, losses.target.loss, None
        about = "loss on its text by the scale of the adapter, nats per token"
    if rows := curve_rows(xs, ys, min(width - LABEL - 2, 48), ascii, limit):
        yield from (BLANK, Line([(title(probe), "bold"), (f"  {about}", "dim")]))
        yield from (Line([(frame, "dim"), (drawn, "cyan")]) for frame, drawn in rows)


def _sections(sections: Sequence[SectionLift], width: int, ascii: bool) -> Iterator[Line]:
    """Sections in the document's order, with bars between 0 and 1.

    If there are too many, those that did not pass take precedence.
    """
    from rich.cells import cell_len

    longest = max(1.0, *(section.effective for section in sections))
    verdicts = [section.verdict for section in sections]
    shown = not_passed_first(sections, verdicts, MAX_SECTIONS)
    lifts = LIFTS if width >= 90 else {}
    size = min(max(cell_len(_tag(section)) for section in shown), 24, width - 38 - 10 * len(lifts))
    names = "".join(f"{name:>10}" for name in lifts.values())
    z = "z" if any(section.z for section in shown) else ""
    yield Line([(" " * (INDENT + size) + f"{'effective':>10}{z:>8}{'':14}{names}", "dim")])
    for section in shown:
        yield _section(section, size, longest, lifts, ascii)
    if len(sections) > len(shown):
        yield indented(f"… and {len(sections) - len(shown)} more", "dim")


def _section(
    section: SectionLift, size: int, longest: float, lifts: Iterable[str], ascii: bool
) -> Line:
    from rich.cells import set_cell_size

    word = section.verdict
    share = section.effective / longest
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
