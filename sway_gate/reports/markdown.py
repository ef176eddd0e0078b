"""The report as Markdown, short enough for a comment on a pull request.

Texts come from untrusted files. Their special characters are written as character references, so
that no renderer finds markup, links or mentions in them. Parts that do not fit into MAX_BYTES are
omitted, and a note lists them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice

from sway_gate.judge.composite import effective_weights
from sway_gate.reports.details import Fact, Passages, Piece, Table, label, pieces, shown
from sway_gate.reports.links import probe_page
from sway_gate.reports.wording import (
    LEVEL_WORDS,
    Step,
    diagnosis,
    evidence,
    grounds,
    in_units,
    is_failed,
    most_severe_first,
    next_steps,
    null_adapters,
    percent,
    score_text,
    seconds,
    setting,
    subject,
    title,
    verdict_word,
)
from sway_gate.results import (
    RECITED,
    Exchange,
    Finding,
    GateResult,
    ModelFacts,
    ProbeResult,
    Verdict,
)
from sway_gate.text import apart, counted, cut, named, one_line

MAX_BYTES = 60_000
# Characters; with references and zero-width spaces, the Markdown can be eight times as long.
MAX_TEXT = 300
# Bytes of the table of probes, of each list before it, and of the exchanges; together with the
# other lines they are below MAX_BYTES.
MAX_TABLE, MAX_LIST, MAX_EXCHANGES = 20_000, 6_000, 9_000
MAX_ANSWER = 120
MAX_ENTRIES, MAX_PROBES, MAX_UNFOLDED = 15, 400, 20

MAX_STEPS = 3

_COLUMNS = ("", "probe", "score", "weight", "result")
_NUMBERS = ("decided by", "value")
_EXCHANGE = ("", "prompt", "base", "fine-tuned", "true answer", "its probability", "finding")
_WITHHELD = "…"
_ABOUT_WITHHELD = (
    "…: an answer of the data or to its prompt, or recited text; only the HTML report shows it: "
    "comments are public"
)
_RESERVE = 3_000  # bytes for the note at the end
_PRIVATE = ("answer", "base", "finetuned", "similar")
"""Columns with answers of the data, or to its prompts: comments are public."""
_NOTE = "*Omitted for length: {}. The JSON report is complete.*"
# Makes a list, a rule or a heading at the start of a line.
_START = re.compile(r"\A(?:[-+=](?=[-=\s]|\Z)|\d+[.)](?=\s|\Z))")
# Characters with a meaning in GitHub's Markdown, or that turn an address into a link.
_MARKUP = re.compile(
    r"[!\"#$&*<>?@[\\\]^`{|}~]|:(?!\s|$)|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE
)


def render(result: GateResult) -> str:
    """Render the verdict, the next step and one row per probe, then details to unfold."""
    kept, left_out = "\n\n".join(_always(result)) + "\n", []
    for name, part in _folded(result):
        if len(kept.encode()) + len(part.encode()) < MAX_BYTES - _RESERVE:
            kept += f"\n{part}\n"
        else:
            left_out.append(name)
    return kept + (f"\n{_NOTE.format(text(named(left_out)))}\n" if left_out else "")


def text(text: str) -> str:
    """Escape `text` for Markdown, on one line, truncated to MAX_TEXT."""
    escaped = _MARKUP.sub(lambda match: _reference(match[0]), cut(one_line(text), MAX_TEXT))
    escaped = _START.sub(lambda match: match[0][:-1] + _reference(match[0][-1]), escaped)
    # GitHub finds mentions and issue numbers in rendered text; a zero-width space prevents that.
    return re.sub(r"(&#(?:64|35);|\bgh-(?=\d))", "\\1\u200b", escaped, flags=re.IGNORECASE)


def _reference(character: str) -> str:
    return f"&#{ord(character)};"


def row(cells: Iterable[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> list[str]:
    """Return the first two rows of a table."""
    return [row(cells), row(["---"] * len(cells))]


# Always shown


def _always(result: GateResult) -> Iterator[str]:
    yield f"### sway-gate: {text(verdict_word(result))}"
    if found := diagnosis(result):
        yield f"**{text(found)}**"
    yield text(" · ".join(grounds(result)))
    if steps := next_steps(result):
        yield f"**What to do next**\n\n{_steps(steps[:MAX_STEPS])}"
    if result.side_by_side:
        yield "\n".join(_side_by_side(result))
    yield from _few([_finding(item) for item in result.findings if item.level in LEVEL_WORDS])
    if baseline := result.baseline:
        regressions = counted(len(baseline.regressions), "regression")
        yield f"**Compared with the baseline** {text(baseline.path)}: {regressions}"
        worse = [f"- worse: {text(f'{one.name}: {one.message}')}" for one in baseline.regressions]
        warnings = [f"- {text(warning)}" for warning in baseline.warnings]
        yield "\n".join(_few([*worse, *warnings]))
    if open_probes := [p for p in result.probes if p.verdict is not Verdict.PASS]:
        yield _table_of_probes(result, open_probes)
    if partial := [p for p in result.probes if p.verdict is Verdict.PASS and p.caveat]:
        lines = [f"- **PASS** {text(title(probe))}: {text(probe.caveat)}" for probe in partial]
        yield "\n".join(_few(lines))


def _table_of_probes(
    result: GateResult, probes: Sequence[ProbeResult], *, numbers: bool = False
) -> str:
    """One row per probe; with its numbers, which the message of a failed probe states."""
    _, weights = effective_weights(result)
    first = most_severe_first(probes)[:MAX_PROBES]
    rows = [
        row(_cells(probe, weights.get(probe.name)) + (_numbers(probe) if numbers else []))
        for probe in first
    ]
    count = _fitting(rows, MAX_TABLE)
    more = [f"\n{_more(len(probes) - count)}"] if count < len(probes) else []
    return "\n".join([*head([*_COLUMNS, *(_NUMBERS if numbers else ())]), *rows[:count], *more])


def _step(step: Step) -> str:
    shown = text(f"{step.names}: {step.advice}" if step.names else step.advice)
    return f"{shown} ([{text(step.about_link)}]({step.link}))" if step.link else shown


def _side_by_side(result: GateResult) -> Iterator[str]:
    yield "**Base and fine-tuned model side by side**\n"
    yield from head(_EXCHANGE)
    recites = any("recites" in (*one.symptoms, *one.suspected) for one in result.probes)
    shown = result.side_by_side[:MAX_ENTRIES]
    prompts = apart([one_line(one.prompt) for one in shown])
    pairs = zip(shown, prompts, strict=True)
    cells = [list(_exchange(one, prompt, recites)) for one, prompt in pairs]
    rows = [row(own) for own in cells]
    yield from rows[: _fitting(rows, MAX_EXCHANGES)]
    if any(_WITHHELD in own for own in cells):
        yield f"\n{_ABOUT_WITHHELD}"


def _exchange(one: Exchange, differing: str, recites: bool) -> Iterator[str]:
    """Without texts of the data, and without answers of an adapter that recites: see `_PRIVATE`.

    differing: the part of the prompt that is shown if the whole prompt is too long.
    """
    yield one.role
    yield _WITHHELD if one.finding.startswith(RECITED) else _shortened(one.prompt, differing)
    answers = (one.base, one.finetuned, one.right)
    for answer, part in zip(answers, apart([one_line(answer) for answer in answers]), strict=True):
        is_private = one.of_data or (recites and answer == one.finetuned)
        yield _WITHHELD if answer and is_private else _shortened(answer, part) or "–"
    known = None not in (one.base_probability, one.probability)
    yield f"{score_text(one.base_probability)} → {score_text(one.probability)}" if known else "–"
    yield text(cut(one.finding, MAX_ANSWER))


def _shortened(whole: str, differing: str) -> str:
    """The whole text if it fits into a cell; otherwise the part that differs from the others."""
    return text(cut(whole if len(whole) <= MAX_ANSWER else differing, MAX_ANSWER))


def _finding(item: Finding) -> str:
    return f"**{LEVEL_WORDS[item.level]}** {text(item.message)} ({text(item.path)})"


def _few(lines: list[str]) -> list[str]:
    """The first lines within MAX_LIST bytes, and the number of the others."""
    count = _fitting(lines, MAX_LIST)
    return lines if count == len(lines) else [*lines[:count], _more(len(lines) - count)]


def _fitting(lines: Sequence[str], limit: int) -> int:
    """Number of the first lines that fit into `limit` bytes."""
    return sum(end <= limit for end in accumulate(len(line.encode()) + 2 for line in lines))


def _more(count: int) -> str:
    return f"and {count} more in the JSON report"


def _cells(probe: ProbeResult, weight: float | None) -> list[str]:
    texts = (score_text(probe.score), percent(weight), probe.message)
    name = f"[{text(title(probe))}]({probe_page(probe.kind)})"
    return [f"**{probe.verdict.upper()}**", name, *map(text, texts)]


def _numbers(probe: ProbeResult) -> list[str]:
    return [text(evidence(probe)), text(in_units(probe.raw, probe.units))]


# Folded


def _folded(result: GateResult) -> Iterator[tuple[str, str]]:
    """(Name, Markdown) of each part, the most important first."""
    if len(steps := next_steps(result)) > MAX_STEPS:
        yield "next steps", _fold("All next steps", [_steps(steps[:MAX_ENTRIES])])
    if passed := [probe for probe in result.probes if probe.verdict is Verdict.PASS]:
        summary = f"{counted(len(passed), 'probe')} passed"
        yield "passed probes", _fold(summary, [_table_of_probes(result, passed, numbers=True)])
    if any(category.score is not None for category in result.categories.values()):
        yield "categories", _fold("Composite by category", [_categories(result)])
    for probe in most_severe_first(result.probes)[:MAX_UNFOLDED]:
        found = list(islice(pieces(probe.details, MAX_ENTRIES), 2 * MAX_ENTRIES))
        if found and (is_failed(probe) or probe.verdict is Verdict.WARN):
            yield title(probe), _fold(f"{title(probe)}: details", list(_details(found)))
    measured = "\n".join(f"- {line}" for line in _measured(result))
    yield "how this was measured", _fold("How this was measured", [measured])


def _fold(summary: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"<details><summary>{text(summary)}</summary>", *parts, "</details>"])


def _steps(steps: Sequence[Step]) -> str:
    return "\n".join(f"{i}. {_step(step)}" for i, step in enumerate(steps, 1))


def _categories(result: GateResult) -> str:
    weights, _ = effective_weights(result)
    rows = [
        row([text(name), score_text(category.score), percent(weights.get(name))])
        for name, category in list(result.categories.items())[:MAX_ENTRIES]
    ]
    return "\n".join([*head(("category", "score", "effective weight")), *rows])


def _details(found: Sequence[Piece]) -> Iterator[str]:
    """Facts and tables, without answers: comments are public, and those can leak data."""
    facts = [fact for fact in found if isinstance(fact, Fact)]
    for passages in found:
        if isinstance(passages, Passages):
            count = len(passages.entries) + passages.left_out
            facts.append(Fact(passages.title, f"{count}, in the HTML report"))
    if facts:
        yield "\n".join(f"- {text(fact.name)}: {text(fact.text)}" for fact in facts)
    for table in found:
        if isinstance(table, Table):
            yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"{text(table.title)}:{_left_out(table)}"
    kept = [key for key in table.columns if key not in _PRIVATE or table.is_numeric(key)]
    columns = [[text(shown(cell)) for cell in table.column(key)] for key in kept]
    rows = [row(cells) for cells in zip(*columns, strict=True)]
    yield "\n".join([*head([text(label(key)) for key in kept]), *rows])
    if len(kept) < len(table.columns):
        yield "The answers are in the HTML report."


def _left_out(table: Table) -> str:
    counts = ((table.left_out, "row"), (table.columns_left_out, "column"))
    more = " and ".join(counted(count, noun) for count, noun in counts if count)
    return f" ({more} more in the JSON report)" if more else ""


def _measured(result: GateResult) -> Iterator[str]:
    yield _model(subject(result.adapter), result.adapter)
    yield _model("base", result.base)
    yield text(null_adapters(result))
    yield text(" · ".join(setting(result)))
    versions = list(result.versions.items())[:MAX_ENTRIES]
    yield text(" · ".join(f"{name} {version}" for name, version in versions))
    yield f"{seconds(result.timing):.1f} s" + (", from the cache" if result.cached else "")
    yield from (f"note: {text(note)}" for note in result.notes[:MAX_ENTRIES])


def _model(name: str, model: ModelFacts) -> str:
    revision = f" at {model.revision}" if model.revision else ""
    digest = f", sha256 {text(model.digest)}" if model.digest else ""
    return f"{name}: {text(f'{model.path}{revision}')}{digest}"
