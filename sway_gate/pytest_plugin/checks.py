"""What a test asks of a suite, and what it is told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sway_gate.pytest_plugin.suite import Suite

if TYPE_CHECKING:
    from sway_gate.results import GateResult, ProbeResult
    from sway_gate.spec.schema import ProbeSpec


class Answer(NamedTuple):
    """What a check found. verdict: the value of a `Verdict`. numbers: those there are, by name."""

    verdict: str
    text: str
    numbers: dict[str, float]


class Check(NamedTuple):
    """The verdict on a probe or, without one, on the whole."""

    suite: Suite
    probe: "ProbeSpec | None"
    threshold: float | None
    weights: dict[str, float]
    marks: int
    """How many marks its function has."""

    @property
    def place(self) -> tuple[str, int]:
        """Where the spec tells of it: file and line, 1-based."""
        return self.suite.spec.label, self.probe.line if self.probe else 1

    def result(self) -> "GateResult | str":
        """The suite's outcome under the mark's threshold and weights; measured now where it was not yet."""
        outcome = self.suite.outcome
        return (
            outcome if isinstance(outcome, str) else rejudged(outcome, self.threshold, self.weights)
        )

    def answer(self) -> Answer:
        result = self.result()
        if isinstance(result, str):
            return Answer("error", result, {})
        if self.probe is None:
            return _of_gate(result)
        found = next((probe for probe in result.probes if probe.name == self.probe.name), None)
        return _of_probe(found, *self.place) if found else _of_files(result)


def rejudged(
    result: "GateResult", threshold: float | None, weights: Mapping[str, float]
) -> "GateResult":
    """`result` as it is under another threshold and other weights of categories; what is not given stays."""
    from msgspec import structs

    from sway_gate.judge.composite import compose

    if threshold is None and not weights:
        return result
    threshold = result.threshold if threshold is None else threshold
    if not result.probes:  # the files alone decided
        return structs.replace(result, threshold=threshold)
    weights = {name: category.weight for name, category in result.categories.items()} | dict(
        weights
    )
    composite = compose(result.probes, weights, threshold)
    return structs.replace(result, threshold=threshold, **composite._asdict())


def _of_probe(probe: "ProbeResult", file: str, line: int) -> Answer:
    from sway_gate.text import clean, one_line

    message = one_line(probe.message) or probe.verdict.value
    lines = [message, clean(probe.advice), f"{one_line(probe.name)} ({probe.kind}), {file}:{line}"]
    text = message if probe.verdict == "skip" else "\n".join(filter(None, lines))
    return Answer(probe.verdict.value, text, _numbers(score=probe.score, z=probe.z, raw=probe.raw))


def _of_gate(result: "GateResult") -> Answer:
    from sway_gate.reports import wording

    steps = [f"{names}: {text}" if names else text for names, text in wording.next_steps(result)]
    text = "\n".join(["; ".join(wording.grounds(result)), *steps])
    return Answer(result.verdict, text, _numbers(score=result.score, threshold=result.threshold))


def _of_files(result: "GateResult") -> Answer:
    """Of a probe that was not measured, since the files alone told enough."""
    from sway_gate.reports import wording

    return Answer(
        "fail", f"not measured, the adapter's files decide: {wording.grounds(result)[0]}", {}
    )


def _numbers(**numbers: float | None) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if value is not None}
