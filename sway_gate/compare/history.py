"""The course of the composite and of each probe over several results of one adapter's life.

Two neighbouring values are comparable if both were measured on the same inputs, settings and base.
Results of versions that did not store digests of their inputs are not comparable.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from sway_gate.compare.inputs import input_warnings, probes_with_same_inputs
from sway_gate.results import GateResult, ProbeResult
from sway_gate.text import named

COMPOSITE = "composite"
Key = tuple[str, str]
"""The name and the kind of a probe."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One result."""

    label: str
    file: str
    adapter: str
    verdict: str
    score: float | None
    threshold: float
    is_turn: bool
    """Whether the verdict differs from the verdict before."""
    differences: tuple[str, ...]
    """Differences from the result before other than the adapter."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A probe, or the composite, in one result. `verdict` is "" if the result lacks the probe."""

    verdict: str
    value: float | None = None
    score: float | None = None
    is_comparable: bool = True
    """Whether it can be compared with the last value before."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A probe, or the composite (kind ""), over all results."""

    name: str
    kind: str
    units: str
    values: tuple[Value, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The results in their order, and the course of each of their numbers."""

    results: tuple[Entry, ...]
    composite: Course
    probes: tuple[Course, ...]
    notes: tuple[str, ...] = ()


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A stored result with its file and a short name."""

    label: str
    file: str
    result: GateResult


def history(stored: Sequence[Stored], notes: Sequence[str] = ()) -> History:
    """The history of at least one result, in the given order."""
    results = [one.result for one in stored]
    before = [None, *results[:-1]]
    by_key = [{(p.name, p.kind): p for p in result.probes} for result in results]
    keys = dict.fromkeys(key for probes in reversed(by_key) for key in probes)
    inputs = _SameInputs(results)
    return History(
        results=tuple(_entry(one, old) for one, old in zip(stored, before, strict=True)),
        composite=_composite(results),
        probes=tuple(_course(key, by_key, inputs) for key in keys),
        notes=tuple(notes),
    )


def _entry(stored: Stored, before: GateResult | None) -> Entry:
    result = stored.result
    return Entry(
        label=stored.label,
        file=stored.file,
        adapter=result.adapter.path,
        verdict=result.verdict,
        score=result.score,
        threshold=result.threshold,
        is_turn=before is not None and before.verdict != result.verdict,
        differences=tuple(_differences(before, result)) if before else (),
    )


def _differences(old: GateResult, new: GateResult) -> Iterator[str]:
    if not (old.probe_inputs and new.probe_inputs):
        yield "the inputs of one of the two results are unknown: an older version wrote it"
    names = [dict.fromkeys(probe.name for probe in result.probes) for result in (old, new)]
    for what, before, after in (("without ", *names), ("with new ", *reversed(names))):
        if missing := [name for name in before if name not in after]:
            yield f"{what}{'probe' if len(missing) == 1 else 'probes'} {named(missing)}"
    scored = [_scored(old), _scored(new)]
    for what, before, after in (("omits", *scored), ("includes", *reversed(scored))):
        if changed := [n for n in before if n not in after and n in names[0] and n in names[1]]:
            yield f"the composite now {what} {named(changed)}"
    yield from input_warnings(old, new)


def _scored(result: GateResult) -> dict[str, None]:
    """Names of the probes that count in the composite, in their order."""
    return dict.fromkeys(probe.name for probe in result.probes if probe.score is not None)


def _composite(results: Sequence[GateResult]) -> Course:
    comparable = [True, *(_has_same_composite(*both) for both in pairwise(results))]
    values = (
        Value(verdict=r.verdict, value=r.score, score=r.score, is_comparable=is_comparable)
        for r, is_comparable in zip(results, comparable, strict=True)
    )
    return Course(name=COMPOSITE, kind="", units="", values=tuple(values))


def _has_same_composite(old: GateResult, new: GateResult) -> bool:
    """Whether both composites are means of the same measurements with the same weights."""
    same = probes_with_same_inputs(old, new)
    weights = [{name: own.weight for name, own in r.categories.items()} for r in (old, new)]
    return (
        bool(same)
        and same == old.probe_inputs.keys() == new.probe_inputs.keys()
        and _scored(old).keys() == _scored(new).keys()
        and weights[0] == weights[1]
    )


class _SameInputs:
    """Whether a probe has the same inputs in two results, given by their positions."""

    def __init__(self, results: Sequence[GateResult]) -> None:
        self._results = results
        self._names: dict[tuple[int, int], set[str]] = {}

    def __call__(self, name: str, old: int, new: int) -> bool:
        if (old, new) not in self._names:
            same = probes_with_same_inputs(self._results[old], self._results[new])
            self._names[old, new] = same
        return name in self._names[old, new]


def _course(key: Key, by_key: Sequence[Mapping[Key, ProbeResult]], inputs: _SameInputs) -> Course:
    (name, kind), values, units = key, list[Value](), ""
    last: int | None = None
    for i, probes in enumerate(by_key):
        if (found := probes.get(key)) is None:
            values.append(Value(verdict=""))
            continue
        values.append(
            Value(
                verdict=found.verdict.value,
                value=found.raw,
                score=found.score,
                is_comparable=last is None or inputs(name, last, i),
            )
        )
        units, last = found.units or units, i
    return Course(name=name, kind=kind, units=units, values=tuple(values))
