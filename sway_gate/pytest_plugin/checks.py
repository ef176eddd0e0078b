"""A test's check of a suite and its outcome."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sway_gate.pytest_plugin.suite import Suite

if TYPE_CHECKING:
    from sway_gate.results import GateResult, ProbeResult
    from sway_gate.spec.schema import ProbeSpec


class Answer(NamedTuple):
    """Outcome of a check. verdict: value of a `Verdict`. numbers: measured numbers by name."""

    verdict: str
    text: str
    numbers: dict[str, float]


class Check(NamedTuple):
    """The check of one probe or, if `probe` is None, of the whole verdict."""

    suite: Suite
    probe: "ProbeSpec | None"
    threshold: float | None
    weights: dict[str, float]
    marks: int
    """Number of marks on the function."""

    @property
    def place(self) -> tuple[str, int]:
        """File and line of the probe in the spec, 1-based."""
        return self.suite.spec.label, self.probe.line if self.probe else 1

    def result(self) -> "GateResult | str":
        """The outcome under the mark's threshold and weights; measured on the first call."""
        outcome = self.suite.outcome
        if isinstance(outcome, str):
            return outcome
        return _rejudged(outcome, self.threshold, self.weights)

    def answer(self) -> Answer:
        result = self.result()
        if isinstance(result, str):
            return Answer("error", result, {})
        if self.probe is None:
            return _of_gate(result)
        found = next((probe for probe in result.probes if probe.name == self.probe.name), None)
        return _of_probe(found, *self.place) if found else _of_files(result)


def _rejudged(
    result: "GateResult", threshold: float | None, weights: Mapping[str, float]
) -> "GateResult":
    """`result` under another threshold or other weights; omitted ones stay."""
    from msgspec import structs

    from sway_gate.judge.composite import compose
    from sway_gate.judge.diagnosis import diagnose

    if threshold is None and not weights:
        return result
    threshold = result.threshold if threshold is None else threshold
    if not result.probes:  # the files decided
        return structs.replace(result, threshold=threshold)
    known = {name: category.weight for name, category in result.categories.items()}
    required = [name for name, category in result.categories.items() if category.required]
    composite = compose(result.probes, {**known, **weights}, threshold, required)
    diagnosis = diagnose(result.probes, result.findings, composite.verdict)
    if result.diagnosis and result.diagnosis.name == diagnosis.name:
        diagnosis = result.diagnosis  # its advice also follows from the data
    return structs.replace(result, threshold=threshold, diagnosis=diagnosis, **composite._asdict())


def _of_probe(probe: "ProbeResult", file: str, line: int) -> Answer:
    from sway_gate.reports import wording
    from sway_gate.text import clean, one_line

    message = one_line(probe.message) or probe.verdict.value
    lines = [message, clean(probe.advice), f"{wording.title(probe)}, {file}:{line}"]
    text = message if probe.verdict in ("skip", "waived") else "\n".join(filter(None, lines))
    return Answer(probe.verdict.value, text, _numbers(score=probe.score, z=probe.z, raw=probe.raw))


def _of_gate(result: "GateResult") -> Answer:
    from sway_gate.reports import wording

    steps = [f"{s.names}: {s.advice}" if s.names else s.advice for s in wording.next_steps(result)]
    lines = ["; ".join(wording.grounds(result)), wording.diagnosis(result), *steps]
    text = "\n".join(filter(None, lines))
    return Answer(result.verdict, text, _numbers(score=result.score, threshold=result.threshold))


def _of_files(result: "GateResult") -> Answer:
    """The answer for a probe that was not measured, because the files already decided."""
    from sway_gate.reports import wording

    return Answer(
        "fail", f"not measured; the adapter's files decide: {wording.grounds(result)[0]}", {}
    )


def _numbers(**numbers: float | None) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if value is not None}
