"""The report as Markdown, short enough for a comment on a pull request.

Texts come from files that nobody vouches for: they are character references, so that no markup, no link and no mention
is read out of them, on GitHub or elsewhere. What does not fit into MAX_BYTES is left out from the end, with a note.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice

from sway_gate.reports.details import Fact, Passages, Piece, Table, label, pieces, shown
from sway_gate.reports.wording import (
    LEVEL_WORDS,
    gravest_first,
    grounds,
    in_units,
    is_failed,
    next_steps,
    null_adapters,
    score_text,
    seconds,
    setting,
    sigmas,
    title,
)
from sway_gate.results import Finding, GateResult, ModelFacts, ProbeResult, Verdict
from sway_gate.text import counted, cut, named, number, one_line

MAX_BYTES = 60_000
# In characters; as references, and with spaces of no width, a text may be eight times as long.
MAX_TEXT = 300
# In bytes, of the table of probes and of each list above it; with the lines around them they stay under MAX_BYTES.
MAX_TABLE, MAX_LIST = 32_000, 6_000
MAX_ENTRIES, MAX_PROBES, MAX_UNFOLDED = 12, 400, 20

_COLUMNS = ("", "probe", "score", "value", "z", "what was found")
_RESERVE = 3_000  # bytes for what ends the page: a note, names in it
_NOTE = "*Left out here for its length: {}. The JSON report has everything.*"
# What makes a list, a line or a heading at the start of a line.
_START = re.compile(r"\A(?:[-+=](?=[-=\s]|\Z)|\d+[.)](?=\s|\Z))")
# What may have a meaning in GitHub's Markdown, or makes a link of an address.
_MARKUP = re.compile(
    r"[!\"#$&*<>?@[\\\]^`{|}~]|:(?!\s|$)|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE
)


def render(result: GateResult) -> str:
    """The verdict, the first thing to do, a row a probe with the gravest first; then, folded, what they rest on."""
    kept, left_out = "\n\n".join(_always(result)) + "\n", []
    for name, part in _folded(result):
        if len(kept.encode()) + len(part.encode()) < MAX_BYTES - _RESERVE:
            kept += f"\n{part}\n"
        else:
            left_out.append(name)
    return kept + (f"\n{_NOTE.format(text(named(left_out)))}\n" if left_out else "")


def text(text: str) -> str:
    """`text` as Markdown that shows just that, on one line, cut to MAX_TEXT."""
    escaped = _MARKUP.sub(lambda match: _reference(match[0]), cut(one_line(text), MAX_TEXT))
    escaped = _START.sub(lambda match: match[0][:-1] + _reference(match[0][-1]), escaped)
    # GitHub looks for mentions and issues in what is rendered; a space of no width keeps it from finding any.
    return re.sub("(&#(64|35);)", "\\1\u200b", escaped)


def _reference(character: str) -> str:
    return f"&#{ord(character)};"


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> list[str]:
    """The two rows above a table's own."""
    return [row(cells), row(["---"] * len(cells))]


# What every reader sees


def _always(result: GateResult) -> Iterator[str]:
    yield f"### sway-gate: {text(result.verdict.upper())}"
    yield text(" · ".join(grounds(result)))
    if steps := next_steps(result):
        yield f"**The first thing to do:** {_step(*steps[0])}"
    yield from _few([_finding(item) for item in result.findings if item.level in LEVEL_WORDS])
    if held := result.baseline:
        regressions = counted(len(held.regressions), "regression")
        yield f"**Against the baseline** {text(held.path)}: {regressions}"
        worse = [f"- worse: {text(f'{one.name}: {one.message}')}" for one in held.regressions]
        yield "\n".join(_few([*worse, *(f"- {text(warning)}" for warning in held.warnings)]))
    if result.probes:
        rows = [row(_cells(probe)) for probe in gravest_first(result.probes)[:MAX_PROBES]]
        count = _fitting(rows, MAX_TABLE)
        yield "\n".join([*head(_COLUMNS), *rows[:count]])
        if more := len(result.probes) - count:
            yield _more(more)


def _step(names: str, advice: str) -> str:
    return text(f"{names}: {advice}" if names else advice)


def _finding(item: Finding) -> str:
    return f"**{LEVEL_WORDS[item.level]}** {text(item.message)} ({text(item.path)})"


def _few(lines: list[str]) -> list[str]:
    """As many of the first lines as MAX_LIST allows, and how many more there are."""
    count = _fitting(lines, MAX_LIST)
    return lines if count == len(lines) else [*lines[:count], _more(len(lines) - count)]


def _fitting(lines: Sequence[str], limit: int) -> int:
    """How many of the first lines `limit` bytes hold."""
    return sum(end <= limit for end in accumulate(len(line.encode()) + 2 for line in lines))


def _more(count: int) -> str:
    return f"and {count} more; the JSON report has them all"


def _cells(probe: ProbeResult) -> list[str]:
    texts = (
        title(probe),
        score_text(probe.score),
        in_units(probe.raw, probe.units),
        sigmas(probe.z),
        probe.message,
    )
    return [f"**{probe.verdict.upper()}**", *map(text, texts)]


# What a reader unfolds


def _folded(result: GateResult) -> Iterator[tuple[str, str]]:
    """(what it is, Markdown), the weightiest first."""
    if len(next_steps(result)) > 1:
        yield "what to do", _fold("What to do", [_steps(result)])
    if any(category.score is not None for category in result.categories.values()):
        yield "the categories", _fold("Composite by category", [_categories(result)])
    for probe in gravest_first(result.probes)[:MAX_UNFOLDED]:
        found = list(islice(pieces(probe.details, MAX_ENTRIES), 2 * MAX_ENTRIES))
        if found and (is_failed(probe) or probe.verdict is Verdict.WARN):
            yield title(probe), _fold(f"{title(probe)}: what it rests on", list(_details(found)))
    measured = "\n".join(f"- {line}" for line in _measured(result))
    yield "how it was measured", _fold("How it was measured", [measured])


def _fold(summary: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"<details><summary>{text(summary)}</summary>", *parts, "</details>"])


def _steps(result: GateResult) -> str:
    steps = next_steps(result)[:MAX_ENTRIES]
    return "\n".join(f"{i}. {_step(*step)}" for i, step in enumerate(steps, 1))


def _categories(result: GateResult) -> str:
    rows = [
        row([text(name), score_text(category.score), number(category.weight)])
        for name, category in list(result.categories.items())[:MAX_ENTRIES]
    ]
    return "\n".join([*head(("category", "score", "weight")), *rows])


def _details(found: Sequence[Piece]) -> Iterator[str]:
    """Facts and tables; not the texts that a model wrote, which may be training text: a comment is read by many."""
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
    columns = [text(label(key)) for key in table.columns]
    rows = [row(text(shown(cell)) for cell in cells) for cells in table.rows]
    yield "\n".join([*head(columns), *rows])


def _left_out(table: Table) -> str:
    counts = ((table.left_out, "row"), (table.columns_left_out, "column"))
    more = " and ".join(counted(count, noun) for count, noun in counts if count)
    return f" ({more} more in the JSON report)" if more else ""


def _measured(result: GateResult) -> Iterator[str]:
    yield _model("adapter", result.adapter)
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
