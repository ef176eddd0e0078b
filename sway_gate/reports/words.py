"""The verdict in words, for every report that a person reads: why it is so, and what to do next."""

from collections.abc import Sequence

from sway_gate.reports import one_line, score_text
from sway_gate.result import GateResult, ProbeResult, Verdict

MAX_NAMED = 5
URGENCY = {"broken": 0, "verdict": 0, "error": 1, "fail": 1, "warn": 2, "warning": 2}  # the rest: 3


def headline(result: GateResult) -> str:
    """The verdict in one line of plain text."""
    return "  ".join([result.verdict.upper(), *grounds(result)])


def grounds(result: GateResult) -> list[str]:
    """What stands behind the verdict's word."""
    composite = f"composite {score_text(result.score)} (threshold {result.threshold:.2f})"
    match result.verdict:
        case "pass":
            reasons = [composite]
        case "fail":
            reasons = [_failure(result), composite]
        case _:
            reasons = [f"could not decide: {_obstacle(result)}"]
    return [*reasons, f"adapter {one_line(result.adapter.path)}", *(["(cached)"] if result.cached else [])]


def _failure(result: GateResult) -> str:
    if reasons := [one_line(item.message) for item in result.findings if item.level == "verdict"]:
        return reasons[0]
    if failed := [probe.name for probe in result.probes if is_failed(probe)]:
        verb = "fails" if len(failed) == 1 else "fail"
        return f"{len(failed)} of {counted(len(result.probes), 'probe')} {verb}: {named(failed)}"
    return "the composite is below the threshold"


def _obstacle(result: GateResult) -> str:
    if reasons := [one_line(item.message) for item in result.findings if item.level == "broken"]:
        return reasons[0]
    if stuck := [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]:
        return f"{len(stuck)} of {counted(len(result.probes), 'probe')} could not run: {named(stuck)}"
    return one_line(result.notes[0]) if result.notes else "no probe gave a number"


def named(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    shown = ", ".join(one_line(name) for name in names[:MAX_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_failed(probe: ProbeResult) -> bool:
    return probe.verdict in (Verdict.FAIL, Verdict.ERROR)


def next_steps(result: GateResult) -> list[tuple[str, str]]:
    """Each piece of advice once, as (names of the probes that give it, advice), the most urgent first."""
    steps = [(URGENCY.get(item.level, 3), "", item.remedy) for item in result.findings]
    steps += [(URGENCY.get(probe.verdict, 3), probe.name, probe.advice) for probe in result.probes]
    by_text: dict[str, list[str]] = {}
    for _, name, text in sorted((step for step in steps if step[2]), key=lambda step: step[0]):
        by_text.setdefault(one_line(text), []).append(name)
    return [(named([name for name in names if name]), text) for text, names in by_text.items()]
