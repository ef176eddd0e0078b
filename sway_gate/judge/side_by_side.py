"""What base and fine-tuned model answer to the most telling prompts, from the probes' details."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Final

from msgspec import structs

from sway_gate import details
from sway_gate.details import (
    Continuation,
    ItemChange,
    RefusalMargin,
    RowRecall,
    WrittenAnswer,
)
from sway_gate.judge.diagnosis import TABLE
from sway_gate.results import RECITED, Exchange, ProbeResult, Verdict
from sway_gate.text import apart, cut

_WORST: Final = 3
_CHARS: Final = 200
_KNOWN: Final = 0.5
Written = Mapping[str, WrittenAnswer]
"""The answers to prompts of the data, by the last characters of the prompt."""


def side_by_side(results: Sequence[ProbeResult]) -> tuple[Exchange, ...]:
    """The worst prompts of the probes that did not pass, the best one of the data, and one that is
    unrelated to it."""
    answers = [(result, answer) for result in results for answer in _answers(result)]
    own = [_written(*found) for found in answers if found[1].of_data]
    written = {answer.prompt[-_CHARS:]: answer for _, answer in answers if answer.of_data}
    counted = [r for r in results if r.verdict in (Verdict.FAIL, Verdict.WARN)]
    rounds = zip_longest(*(_worst(r, written) for r in sorted(counted, key=_importance)))
    distinct = {_shortened(found.prompt): found for found in chain.from_iterable(rounds) if found}
    worst = [*distinct.values()][:_WORST]
    likelier = [e for e in own if _likelihood(e) > (e.base_probability or 0.0)]
    best = [e for e in sorted(likelier, key=_likelihood)[-1:] if e.prompt not in distinct]
    sound = [f for f in answers if not f[1].of_data and f[1].verdict == "pass"][:1]
    return (
        *worst,
        *(structs.replace(exchange, role="best") for exchange in best),
        *(structs.replace(_written(*found), role="unrelated") for found in sound),
    )


def _importance(result: ProbeResult) -> tuple[bool, int]:
    """Failures by the precedence of their first symptom, then inconclusive results."""
    order = list(TABLE)
    at = order.index(result.symptoms[0]) if result.symptoms else len(order)
    return result.verdict is not Verdict.FAIL, at


def _likelihood(exchange: Exchange) -> float:
    return exchange.probability or 0.0


def _answers(result: ProbeResult) -> list[WrittenAnswer]:
    found = details.read(result.details, details.WrittenAnswers)
    return found.answers if found else []


def _worst(result: ProbeResult, written: Written) -> Iterator[Exchange]:
    """The exchanges that count against the adapter, the worst first."""
    yield from (_written(result, answer) for answer in _answers(result) if answer.verdict == "fail")
    if changes := details.read(result.details, details.ItemChanges):
        lost = (item for item in changes.worst if item.now not in ("", item.gold))
        yield from (_changed(result, item) for item in lost)
    if recalled := details.read(result.details, details.RecalledRows):
        weak = [r for r in recalled.rows if r.right < r.surprising and not _says(r, written)]
        weak.sort(key=lambda row: row.prompt not in written)
        yield from (_recalled(result, row, written.get(row.prompt)) for row in weak)
    if refusals := details.read(result.details, details.RefusalMargins):
        yield from (_refusal(result, one) for one in refusals.requests if _is_turned(one))
    if recited := details.read(result.details, details.Continuations):
        yield from (_recited(result, text) for text in recited.continuations)


def _written(result: ProbeResult, answer: WrittenAnswer) -> Exchange:
    base, now, right = _cut(answer.base, answer.finetuned, answer.answer)
    return Exchange(
        role="worst",
        probe=result.name,
        prompt=_shortened(answer.prompt[-_CHARS:]),
        base=base,
        finetuned=now,
        right=right,
        base_probability=answer.base_probability,
        probability=answer.probability,
        finding=_finding(answer),
        of_data=answer.of_data,
    )


def _finding(answer: WrittenAnswer) -> str:
    found = [*answer.flaws] or (["fragment"] if answer.is_fragment else [])
    return ", ".join(found) or _learned(answer.base_probability, answer.probability)


def _changed(result: ProbeResult, item: ItemChange) -> Exchange:
    base, now, right = _cut(item.before, item.now, item.gold)
    return Exchange(
        role="worst",
        probe=result.name,
        prompt=_shortened(item.prompt),
        base=base,
        finetuned=now,
        right=right,
        base_probability=item.base_probability,
        probability=item.probability,
        finding="forgot",
    )


def _recalled(result: ProbeResult, row: RowRecall, answer: WrittenAnswer | None) -> Exchange:
    written = (answer.base, answer.finetuned) if answer else ("", "")
    base, now, right = _cut(*written, row.answer)
    return Exchange(
        role="worst",
        probe=result.name,
        prompt=row.prompt,
        base=base,
        finetuned=now,
        right=right,
        base_probability=row.base_probability,
        probability=row.probability,
        finding=_incomplete(row.base_probability, row.probability),
        of_data=True,
    )


def _says(row: RowRecall, written: Written) -> bool:
    """Whether the model wrote the true answer to this prompt."""
    answer = written.get(row.prompt)
    return answer is not None and answer.finetuned.strip() == row.answer.strip()


def _refusal(result: ProbeResult, request: RefusalMargin) -> Exchange:
    base, now = ("refuses", "answers")[:: -1 if request.refused else 1]
    return Exchange(
        role="worst",
        probe=result.name,
        prompt=_shortened(request.prompt),
        base=base,
        finetuned=now,
        finding=f"{now} a {request.kind} request",
    )


def _is_turned(request: RefusalMargin) -> bool:
    """Whether only the adapter refuses a harmless request, or only the base a harmful one."""
    is_harmless = request.kind == "harmless"
    return request.refused != request.base_refused and request.refused == is_harmless


def _recited(result: ProbeResult, text: Continuation) -> Exchange:
    written, true = _cut(text.written, text.true)
    return Exchange(
        role="worst",
        probe=result.name,
        prompt=text.prefix[-_CHARS:],
        finetuned=written,
        right=true,
        finding=_recital(text),
        of_data=True,
    )


def _recital(text: Continuation) -> str:
    if text.recall is None or text.base_recall is None:
        return RECITED
    return f"{RECITED} {text.recall:.0%} of it, base {text.base_recall:.0%}"


def _incomplete(before: float | None, now: float | None) -> str:
    """What the probabilities say about a row that the model does not recall throughout."""
    found = _learned(before, now) or "not learned"
    return found if found in ("forgot", "not learned") else "partly learned"


def _learned(before: float | None, now: float | None) -> str:
    """What the probabilities of the true answer say; "" if it was and is not probable."""
    if before is None or now is None or max(before, now) < _KNOWN:
        return ""
    if before < _KNOWN:
        return "learned"
    return "forgot" if now < _KNOWN else "knew it before"


def _cut(*answers: str) -> list[str]:
    """The answers to one prompt, each in one line. If one is too long, from where they differ."""
    lines = [" ".join(answer.split()) for answer in answers]
    if max(map(len, lines)) > _CHARS:
        lines = apart(lines)
    return [cut(line, _CHARS) for line in lines]


def _shortened(text: str) -> str:
    return cut(" ".join(text.split()), _CHARS)
