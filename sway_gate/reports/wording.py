"""The verdict in words, for every report that a person reads: why it is so, its numbers, and what to do next."""

import math
from collections.abc import Mapping, Sequence

from sway_gate.results import GateResult, ProbeResult, Verdict
from sway_gate.text import counted, named, number, one_line


def score_text(value: float | None) -> str:
    """A score to two decimals; ``–`` for nothing."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def seconds(timing: dict[str, float]) -> float:
    """Wall time of the whole run: the `total` phase where there is one, else the sum of the phases."""
    spent = [timing["total"]] if "total" in timing else timing.values()
    return sum(value for value in spent if math.isfinite(value) and value > 0)


LEVEL_WORDS = {"broken": "ERROR", "verdict": "FAIL", "warning": "WARN"}
"""What a finding's level is called; a note is none of them."""
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
    return [
        *reasons,
        f"adapter {one_line(result.adapter.path)}",
        *(["(cached)"] if result.cached else []),
    ]


def _failure(result: GateResult) -> str:
    if reasons := [one_line(item.message) for item in result.findings if item.level == "verdict"]:
        return reasons[0]
    if result.baseline and is_behind(result):
        return f"worse than the baseline: {named([worse.name for worse in result.baseline.regressions])}"
    if failed := [probe.name for probe in result.probes if is_failed(probe)]:
        verb = "fails" if len(failed) == 1 else "fail"
        return f"{len(failed)} of {counted(len(result.probes), 'probe')} {verb}: {named(failed)}"
    return "the composite is below the threshold"


def _obstacle(result: GateResult) -> str:
    if reasons := [one_line(item.message) for item in result.findings if item.level == "broken"]:
        return reasons[0]
    if stuck := [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]:
        return (
            f"{len(stuck)} of {counted(len(result.probes), 'probe')} could not run: {named(stuck)}"
        )
    return one_line(result.notes[0]) if result.notes else "no probe gave a number"


def is_behind(result: GateResult) -> bool:
    """Whether the baseline alone is why the gate fails."""
    return (
        result.verdict == "fail"
        and result.baseline is not None
        and result.baseline.verdict != "fail"
    )


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


def gravest_first(probes: Sequence[ProbeResult]) -> list[ProbeResult]:
    return sorted(probes, key=lambda probe: URGENCY.get(probe.verdict, 3))


def title(probe: ProbeResult) -> str:
    """The probe's name, with its kind where that is another word."""
    name, kind = one_line(probe.name), one_line(probe.kind)
    return name if name == kind else f"{name} ({kind})"


def sigmas(z: float | None) -> str:
    return "–" if z is None or not math.isfinite(z) else f"{z:+.1f}σ"


def ranks(z_by_rank: Mapping[str, float]) -> list[tuple[float, float]]:
    """[(multiplier of the nulls' variance, z)] in rising order; no more than a dozen, and none that is no number."""
    known = [(_positive(key), z) for key, z in z_by_rank.items() if math.isfinite(z)]
    return sorted((multiplier, z) for multiplier, z in known if multiplier)[:12]


def _positive(text: str) -> float:
    """The number that `text` spells; 0 where that is none above 0, or not finite."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value < math.inf else 0.0


def sentence(text: str) -> str:
    """`text` with a capital, unless it begins with a name such as lora_A."""
    is_word = text.partition(" ")[0].isalpha()
    return text[:1].upper() + text[1:] if is_word else text


def interval(bounds: tuple[float, float] | None) -> str:
    return f"[{number(bounds[0])}, {number(bounds[1])}]" if bounds else ""


def in_units(value: float | None, units: str) -> str:
    return number(value) if value is None else f"{number(value)} {one_line(units)}".rstrip()


def section_verdict(*, passed: bool, moved: bool) -> str:
    """Verdict of one section. Warn: lifted enough, but not with certainty among the nulls, over all sections."""
    if not passed:
        return "fail"
    return "pass" if moved else "warn"
