"""Ranks adapters that one spec judged: which passes, which is best, and which tie with it.

**Order.** First those that pass, then those that fail, then errors; within each, by the value of
one probe, the measure. By default this is the first probe of the suite that measures held-out rows;
without one the first that measures what was learned; without one the first other probe with a
direction. Harms decide through the verdict: each margin states how much harm is acceptable.

**Best set.** The adapters that pass and that are not significantly worse than another one that
passes (`sway_gate.compare.best`). It contains the truly best one in at least 95% of rankings. The
one with the best value is the leader, the others tie with it. Of checkpoints, the earliest one of
the best set is chosen: more training brought nothing that the items show.

**Curves.** Over the steps of checkpoints: the measure, what was learned, the held-out rows, and
what was forgotten. The same test gives the steps that are not significantly worse than another.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from sway_gate import probes
from sway_gate.compare.best import LEVEL, p_values
from sway_gate.errors import UsageError
from sway_gate.judge.composite import EXIT_CODES
from sway_gate.measurements import Floats
from sway_gate.probes.base import Growing, Kind
from sway_gate.results import GateResult, ProbeResult
from sway_gate.spec.schema import Spec
from sway_gate.stats import transform
from sway_gate.text import named

Standing = Literal["best", "tied", "worse", "dropped", "fail", "error"]
"""dropped: significantly worse than one that passes, before the whole suite was measured."""
Role = Literal["measure", "learned", "held-out", "forgotten"]


class Candidate(NamedTuple):
    """An adapter with its result, or with the error that prevented one."""

    label: str
    step: int | None = None
    result: GateResult | None = None
    adapter: str = ""
    error: str = ""
    exit_code: int = 0
    is_dropped: bool = False
    """Whether only the measure was measured."""

    @property
    def verdict(self) -> str:
        return self.result.verdict if self.result else "error"

    def probe(self, name: str) -> ProbeResult | None:
        """The result of a probe that has a value."""
        found = self.result.probes if self.result else ()
        return next((p for p in found if p.name == name and p.raw is not None), None)


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """The probe whose value orders the adapters."""

    name: str
    kind: str
    units: str
    better: Literal["more", "less"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter. `p`: adjusted p-value of "no other one is better", of those that can be best."""

    label: str
    adapter: str
    step: int | None
    standing: Standing
    score: float | None = None
    value: float | None = None
    ci_95: tuple[float, float] | None = None
    p: float | None = None
    failed: tuple[str, ...] = ()
    """The probes that fail."""
    why: str = ""
    """The error, or the reason in the files for which it fails."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A probe at one step. `is_best`: not significantly worse than at another step."""

    step: int
    value: float
    verdict: str
    is_best: bool


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A probe over the steps."""

    name: str
    kind: str
    role: Role
    units: str
    points: tuple[Point, ...]


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The adapters in their order. `chosen`: the label of the one to use; "" if none passes."""

    exit_code: int
    measure: Measure | None
    level: float
    chosen: str
    entries: tuple[Entry, ...]
    curves: tuple[Curve, ...]


def check_measure(spec: Spec, name: str) -> None:
    """Raise UsageError unless `name` is a probe of the suite that can order adapters."""
    judged = [probe for probe in spec.suite if probe.is_probe and probe.enabled]
    can_order = [p.name for p in judged if _has_order(probes.module(p.kind).KIND)]
    if name not in can_order:
        known = named(can_order) or "no probe"
        raise UsageError(f"--by {name!r}: must be a probe that orders adapters; here: {known}")


def choose_measure(candidates: Sequence[Candidate], by: str = "") -> Measure | None:
    """The probe that orders these, of which all must have its items; None if there is none."""
    first = next((c.result for c in candidates if c.result), None)
    found = [p for p in (first.probes if first else ()) if by in ("", p.name)]
    usable = [p for p in found if _items(candidates, p.name) is not None]
    if not usable:
        return None
    chosen = min(usable, key=lambda probe: _priority(_kind(probe)))
    better = _kind(chosen).better
    return Measure(
        name=chosen.name,
        kind=chosen.kind,
        units=chosen.units,
        better="less" if better == "less" else "more",
    )


def is_worse(
    candidates: Sequence[Candidate], measure: Measure, one: Candidate, passing: Sequence[Candidate]
) -> bool:
    """Whether `one` is significantly worse than one that passes, among all `candidates`."""
    items = _items(candidates, measure.name)
    if items is None or not passing:
        return False
    against = [candidates.index(other) for other in passing]
    [p] = p_values(*items, against, [candidates.index(one)])
    return p <= LEVEL


def rank(candidates: Sequence[Candidate], by: str = "") -> Ranking:
    """Rank at least one candidate. `by`: the probe that orders them, instead of the default."""
    judged = [c for c in candidates if c.result]
    able = [c for c in judged if c.is_dropped or c.verdict == "pass"]
    failed = [c for c in judged if c.verdict == "fail" and c.result and c.result.probes]
    measure = choose_measure(able or failed, by)
    items = _items(able, measure.name) if measure else None
    ps: Sequence[float | None] = p_values(*items) if items else [None] * len(able)
    p_of = dict(zip([c.label for c in able], ps, strict=True))
    ordered = sorted(candidates, key=lambda c: _sort_key(c, measure))
    passing = [c for c in ordered if c.verdict == "pass" and not c.is_dropped]
    best = [c for c in passing if (p := p_of[c.label]) is None or p > LEVEL]
    codes = [c.exit_code for c in candidates if c.verdict == "error"]
    return Ranking(
        exit_code=max(codes, default=EXIT_CODES["pass" if passing else "fail"]),
        measure=measure,
        level=LEVEL,
        chosen=_chosen(best),
        entries=tuple(_entry(c, measure, best, p_of.get(c.label)) for c in ordered),
        curves=tuple(_curves(judged, measure)),
    )


def _chosen(best: Sequence[Candidate]) -> str:
    """The earliest checkpoint of the best set, or the leader if they are not checkpoints."""
    if not best:
        return ""
    steps = [c.step for c in best if c.step is not None]
    if len(steps) < len(best):
        return best[0].label
    return best[steps.index(min(steps))].label


def _sort_key(candidate: Candidate, measure: Measure | None) -> tuple[int, float]:
    group = {"pass": 0, "fail": 2}.get(candidate.verdict, 3)
    if candidate.is_dropped:
        group = 1
    probe = candidate.probe(measure.name) if measure else None
    if measure is None or probe is None or probe.raw is None:
        return group, float("inf")
    return group, probe.raw if measure.better == "less" else -probe.raw


def _entry(
    candidate: Candidate, measure: Measure | None, best: Sequence[Candidate], p: float | None
) -> Entry:
    result, probe = candidate.result, candidate.probe(measure.name) if measure else None
    found = result.findings if result else ()
    why = candidate.error or next((f.message for f in found if f.level == "verdict"), "")
    failed = [p.name for p in (result.probes if result else ()) if p.verdict in ("fail", "error")]
    return Entry(
        label=candidate.label,
        adapter=candidate.adapter,
        step=candidate.step,
        standing=_standing(candidate, best),
        score=result.score if result and not candidate.is_dropped else None,
        value=probe.raw if probe else None,
        ci_95=probe.ci_95 if probe else None,
        p=p,
        failed=tuple(failed),
        why=why,
    )


def _standing(candidate: Candidate, best: Sequence[Candidate]) -> Standing:
    if candidate.is_dropped:
        return "dropped"
    if candidate in best:
        return "best" if candidate is best[0] else "tied"
    match candidate.verdict:
        case "pass":
            return "worse"
        case "fail":
            return "fail"
        case _:
            return "error"


# Measures


def _kind(probe: ProbeResult) -> Kind:
    return probes.module(probe.kind).KIND


def _has_order(kind: Kind) -> bool:
    return kind.better in ("more", "less") and not kind.omits_items


def _priority(kind: Kind) -> tuple[bool, bool, bool]:
    """Sorts held-out rows first, then what was learned, then other effects, then harms."""
    return not kind.of_held_out, kind.category != "attribution" or kind.harm, kind.harm


def _items(candidates: Iterable[Candidate], name: str) -> tuple[Floats, float] | None:
    """A probe's items [candidates, n], larger is better, and its resolution.

    None if they are not the same n ≥ 2 items of a probe with a direction in all candidates. Of rows
    that grow, these are the first ones, which all have.
    """
    found = [candidate.probe(name) for candidate in candidates]
    known = [probe for probe in found if probe]
    lengths = {len(probe.items) for probe in known}
    if not known or len(known) < len(found) or min(lengths) < 2:
        return None
    module, units = probes.module(known[0].kind), {probe.units for probe in known}
    if len(units) > 1 or (len(lengths) > 1 and not isinstance(module, Growing)):
        return None
    kind = module.KIND
    values = np.array([probe.items[: min(lengths)] for probe in known], dtype=np.float64)
    if not _has_order(kind) or not np.isfinite(values).all():
        return None
    sign = -1.0 if kind.better == "less" else 1.0
    return sign * transform(values, kind.scale, kind.resolution), kind.resolution


# Curves


def _curves(judged: Sequence[Candidate], measure: Measure | None) -> Iterator[Curve]:
    """The curves over the steps, if all candidates that were judged have different steps."""
    steps = {c.step for c in judged if c.step is not None}
    if len(steps) < max(2, len(judged)):
        return
    for probe, role in _drawn(judged, measure):
        if curve := _curve(probe, role, judged):
            yield curve


def _drawn(
    judged: Sequence[Candidate], measure: Measure | None
) -> Iterator[tuple[ProbeResult, Role]]:
    """The measure, the first probe of learned and of held-out rows, and all that was forgotten."""
    results = [c.result for c in judged if c.result]
    by_name = {p.name: p for result in results for p in result.probes if _has_order(_kind(p))}
    seen: set[Role] = set()
    for name, probe in by_name.items():
        role = _role(_kind(probe))
        is_first = role == "forgotten" or role not in {*seen, "measure"}
        if is_first or (measure and name == measure.name):
            seen.add(role)
            yield probe, role


def _role(kind: Kind) -> Role:
    if kind.of_held_out:
        return "held-out"
    if kind.harm:
        return "forgotten" if kind.symptom == "forgot" else "measure"
    return "learned" if kind.category == "attribution" else "measure"


def _curve(probe: ProbeResult, role: Role, judged: Sequence[Candidate]) -> Curve | None:
    """The probe over the steps at which it has a value; None for fewer than two."""
    own = sorted((c for c in judged if c.probe(probe.name)), key=lambda c: c.step or 0)
    items = _items(own, probe.name)
    if items is None or len(own) < 2:
        return None
    points = [
        Point(
            step=c.step or 0, value=found.raw or 0.0, verdict=found.verdict.value, is_best=p > LEVEL
        )
        for c, p in zip(own, p_values(*items), strict=True)
        if (found := c.probe(probe.name))
    ]
    return Curve(
        name=probe.name, kind=probe.kind, role=role, units=probe.units, points=tuple(points)
    )
