"""Better or worse than before: what changed between two results beyond noise, for each probe and over all. Pure.

**What is compared.** Probes are matched by name and kind, and their values by the standard error of the difference, on
the probe's own scale (`SCALE` of its module: ratios for divergences, differences for the rest), by what the results
hold (see `sway_gate.compare.difference`):

- "items": both asked the same of the same base, so that the difference is taken item by item;
- "intervals": other prompts, texts or base: the two 95 % intervals, as of independent samples;
- "z": no interval (one item, say): the z's, whose noise is known by what a z is.

**What is better** depends on the kind: `SENSES`. A larger effect is better, but for mere sizes: a larger divergence
from the base is more, not better, a smaller one is worse. Less harm is better, down to none at all.

**How sure.** One-sided tests, Holm-adjusted over all probes and the composite (Holm 1979): where nothing changed, a
comparison says "worse" in at most 5 % of cases, all its probes together. The noise is that of the items. That another
training run with another seed comes out differently is no noise here: two runs do differ.

**What is a regression.** Whatever is worse beyond noise, unless a `tolerance` above 0 allows it: the share of an
effect's old value that may be lost (where less is better, as of reverts: the share that may be added), and points of
the score of a harm and of the composite, which say how far they are from their limits. Whatever the noise: a probe that
failed not and fails now; that errors now; that was measured and is skipped or gone; a gate that passed and does not.

**What is undecided.** Where nothing is a regression, but not all could be looked at: a result or a probe of it ended in
an error, or the two have nothing in common. An error is never "no change", not even beside the same error.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from sway_gate.compare import significance
from sway_gate.compare.inputs import input_warnings, probes_with_same_inputs
from sway_gate.compare.significance import AdjustedP, ComparisonTest
from sway_gate.results import GateResult, ModelFacts, ProbeResult, Verdict

LEVEL = 0.05
"""Of a false "worse" in a comparison, all its probes and the composite together."""

Outcome = Literal["regression", "worse", "same", "moved", "better", "new", "gone", "unknown"]
"""worse: beyond noise, within the tolerance. moved: beyond noise, neither better nor worse. new: not there before, or
skipped. gone: skipped before, not there now. unknown: there is no difference that could be tested."""
OverAll = Literal["regression", "undecided", "better", "changed", "same"]

COMPOSITE = "composite"
EXIT_CODES: dict[OverAll, Literal[0, 1, 3]] = {
    "regression": 1,
    "undecided": 3,
    "better": 0,
    "changed": 0,
    "same": 0,
}


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two, as its result has it."""

    verdict: str
    raw: float | None = None
    ci_95: tuple[float, float] | None = None
    z: float | None = None
    score: float | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One probe in both results, or the composite (kind "")."""

    name: str
    kind: str
    outcome: Outcome
    why: str
    """In words: what makes it so; "" where nothing changed."""
    units: str = ""
    old: Side | None = None
    new: Side | None = None
    method: Literal["items", "intervals", "z", "scores", ""] = ""
    scale: str = ""
    """log: `difference` is one of logarithms, and exp(difference) the ratio."""
    difference: float | None = None
    """New less old, on the scale, in `units`; of z's where the method is z."""
    se: float | None = None
    sigmas: float | None = None
    """The difference as a normal quantile, of its sign."""
    p: float | None = None
    """One-sided, in the direction of the difference, Holm-adjusted over the comparison."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One of the results that are compared."""

    label: str
    adapter: ModelFacts
    verdict: str
    score: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Of a new result with an old one."""

    verdict: OverAll
    exit_code: Literal[0, 1, 3]
    old: Subject
    new: Subject
    tolerance: float
    level: float
    composite: Change
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """What was not looked at, and where the two were not asked the same."""

    def regressions(self) -> list[Change]:
        changes = (*self.changes, self.composite)
        return [change for change in changes if change.outcome == "regression"]


def compare_results(
    old: GateResult,
    new: GateResult,
    tolerance: float = 0.0,
    labels: tuple[str, str] = ("old", "new"),
    *,
    in_order: bool = True,
) -> Comparison:
    """`new` against `old`. `in_order`: one came before the other, so that what is smaller or missing now was lost;
    else the two swapped are the same comparison, mirrored."""
    both = _matched(old, new)
    alike = probes_with_same_inputs(old, new)
    senses = significance.DIRECTIONS if in_order else significance.BETWEEN
    tests = [significance.of_probes(a, b, senses, alike=name in alike) for name, _, a, b in both]
    composite_test = significance.of_composites(old, new)
    *ps, composite_p = significance.adjusted([*tests, composite_test])
    terms = _Terms(tolerance, in_order)
    changes = tuple(
        _change(pair, test, p, terms) for pair, test, p in zip(both, tests, ps, strict=True)
    )
    composite = _composite(old, new, composite_test, composite_p, terms)
    unseen = [*_undecided(old, labels[0]), *_undecided(new, labels[1])]
    if not _is_any_tested(changes, composite):
        unseen.append("no difference of any probe could be tested: nothing was compared")
    verdict = _verdict([composite, *changes], terms, is_undecided=bool(unseen))
    return Comparison(
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        old=_subject(old, labels[0]),
        new=_subject(new, labels[1]),
        tolerance=tolerance,
        level=LEVEL,
        composite=composite,
        changes=changes,
        warnings=(*unseen, *_untested(changes), *input_warnings(old, new)),
    )


def compare_course(
    results: Sequence[tuple[str, GateResult]], tolerance: float = 0.0
) -> list[Comparison]:
    """Each of the labelled results but the first, against the first."""
    (label, first), *others = results
    return [compare_results(first, result, tolerance, (label, other)) for other, result in others]


class _Terms(NamedTuple):
    """On which two are compared: those of `compare`."""

    tolerance: float
    in_order: bool


class _Matched(NamedTuple):
    """A probe in both results."""

    name: str
    kind: str
    old: ProbeResult | None
    new: ProbeResult | None


def _matched(old: GateResult, new: GateResult) -> list[_Matched]:
    """In the new result's order, what it lacks at the end."""
    before = {(probe.name, probe.kind): probe for probe in old.probes}
    after = {(probe.name, probe.kind): probe for probe in new.probes}
    keys = [*after, *(key for key in before if key not in after)]
    return [_Matched(*key, before.get(key), after.get(key)) for key in keys]


def _subject(result: GateResult, label: str) -> Subject:
    return Subject(label=label, adapter=result.adapter, verdict=result.verdict, score=result.score)


def _side(probe: ProbeResult | None) -> Side | None:
    if probe is None:
        return None
    return Side(
        verdict=probe.verdict.value, raw=probe.raw, ci_95=probe.ci_95, z=probe.z, score=probe.score
    )


# What it means


def _change(pair: _Matched, test: ComparisonTest | None, p: AdjustedP, terms: _Terms) -> Change:
    outcome, why = _outcome(pair.old, pair.new, test, p, terms)
    return Change(
        name=pair.name,
        kind=pair.kind,
        outcome=outcome,
        why=why,
        units=next(side.units for side in (pair.new, pair.old) if side),
        old=_side(pair.old),
        new=_side(pair.new),
        **_numbers(test, p),
    )


def _numbers(test: ComparisonTest | None, adjusted: AdjustedP) -> dict[str, Any]:
    if test is None:
        return {}
    value, se, sigmas = test.difference
    p = adjusted.worse if sigmas * test.sense.worse > 0 else adjusted.otherwise
    return {
        "method": test.method,
        "scale": test.scale,
        "difference": value,
        "se": se,
        "sigmas": sigmas,
        "p": p,
    }


def _outcome(
    old: ProbeResult | None,
    new: ProbeResult | None,
    test: ComparisonTest | None,
    p: AdjustedP,
    terms: _Terms,
) -> tuple[Outcome, str]:
    if old is None:
        return "new", "not in the old result"
    by_verdicts = _by_verdicts if terms.in_order else _by_unordered_verdicts
    if outcome := by_verdicts(old.verdict, new.verdict if new else None):
        return outcome
    if new is None or test is None:
        if old.raw is None and (new is None or new.raw is None):
            return "same", ""
        return "unknown", "no difference could be tested"
    return _by_significance(test, p, old, new, terms.tolerance)


def _by_significance(
    test: ComparisonTest,
    p: AdjustedP,
    old: ProbeResult | GateResult,
    new: ProbeResult | GateResult,
    tolerance: float,
) -> tuple[Outcome, str]:
    by = f"by {abs(test.difference.sigmas):.1f} standard errors"
    if p.worse <= LEVEL:
        lost, loss = _loss(test, old, new)
        why = f"worse {by}, {loss}"
        if tolerance and lost <= tolerance:
            return "worse", f"{why}: within the tolerance of {tolerance:g}"
        return "regression", why
    if p.otherwise > LEVEL:
        return "same", ""
    if test.sense.otherwise == "better":
        return "better", f"better {by}"
    return "moved", f"{'larger' if test.difference.value > 0 else 'smaller'} {by}"


def _loss(
    test: ComparisonTest, old: ProbeResult | GateResult, new: ProbeResult | GateResult
) -> tuple[float, str]:
    """What a change for the worse costs, as `tolerance` counts it, and in words; infinite where there is no measure."""
    change = abs(test.difference.value)
    if test.method in ("z", "scores") or test.sense.best == 0.0 or isinstance(old, GateResult):
        before, after = old.score or 0.0, new.score or 0.0
        return (before - after if before > 0 else math.inf), f"score {before:.3f} to {after:.3f}"
    if test.sense.worse > 0:
        return change, f"{change:.0%} more"
    if test.scale == "log":
        lost = -math.expm1(-change)
    elif old.raw:
        lost = change / abs(old.raw)
    else:
        lost = math.inf
    return lost, f"{lost:.0%} of its value lost"


_MEASURED = (Verdict.PASS, Verdict.WARN, Verdict.FAIL)


def _by_verdicts(old: Verdict, new: Verdict | None) -> tuple[Outcome, str] | None:
    """What the verdicts alone decide, whatever the noise."""
    if new is None and old is Verdict.SKIP:
        return "gone", "skipped before, not there now"
    if new is None:
        return "regression", "not there now"
    if new is Verdict.ERROR and old is not Verdict.ERROR:
        return "regression", f"{old} before, could not be measured now"
    if new is Verdict.SKIP and old in _MEASURED:
        return "regression", f"{old} before, skipped now"
    if old is Verdict.SKIP and new in _MEASURED:
        return "new", "skipped before"
    if new is Verdict.FAIL and old in (Verdict.PASS, Verdict.WARN):
        return "regression", f"{old} before, fails now"
    if old is Verdict.FAIL and new in (Verdict.PASS, Verdict.WARN):
        return "better", f"failed before, {new} now"
    return None


def _by_unordered_verdicts(a: Verdict, b: Verdict | None) -> tuple[Outcome, str] | None:
    """The same of two adapters, neither of which came first."""
    if b is None:
        return "gone", "not there"
    if (a in _MEASURED) != (b in _MEASURED):
        return "unknown", "measured in one alone"
    return _by_verdicts(a, b) if a in _MEASURED else None


def _composite(
    old: GateResult, new: GateResult, test: ComparisonTest | None, p: AdjustedP, terms: _Terms
) -> Change:
    outcome, why = _composite_outcome(old, new, test, p, terms)
    return Change(
        name=COMPOSITE,
        kind="",
        outcome=outcome,
        why=why,
        old=Side(verdict=old.verdict, raw=old.score, score=old.score),
        new=Side(verdict=new.verdict, raw=new.score, score=new.score),
        **_numbers(test, p),
    )


def _composite_outcome(
    old: GateResult, new: GateResult, test: ComparisonTest | None, p: AdjustedP, terms: _Terms
) -> tuple[Outcome, str]:
    if old.verdict != new.verdict:
        if "error" in (old.verdict, new.verdict) and not terms.in_order:
            return "unknown", "one could not be decided"
        if old.verdict == "pass" or new.verdict == "error":
            return "regression", f"the gate said {old.verdict}, and says {new.verdict}"
        if new.verdict == "pass":
            return "better", f"the gate said {old.verdict}, and says pass"
    if test is not None:
        return _by_significance(test, p, old, new, terms.tolerance)
    if old.score is None and new.score is None:
        return "same", ""
    return "unknown", "no difference could be tested"


def _undecided(result: GateResult, label: str) -> Iterator[str]:
    """A warning for a result in which not all was decided."""
    stuck = [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]
    if stuck:
        yield f"{label}: could not be decided; an error in {', '.join(stuck)}"
    elif result.verdict == "error":
        yield f"{label}: could not be decided"


def _untested(changes: Sequence[Change]) -> Iterator[str]:
    unknown = [change.name for change in changes if change.outcome == "unknown"]
    if unknown:
        yield f"no difference could be tested in {', '.join(unknown)}"


def _is_any_tested(changes: Sequence[Change], composite: Change) -> bool:
    """Whether a probe could be compared, or the verdicts of the gate decide."""
    decisive = ("regression", "better")
    if composite.outcome in decisive:
        return True
    return any(change.method or change.outcome in decisive for change in changes)


def _verdict(changes: Iterable[Change], terms: _Terms, *, is_undecided: bool) -> OverAll:
    outcomes = {change.outcome for change in changes}
    if "regression" in outcomes and terms.in_order:
        return "regression"
    if is_undecided:
        return "undecided"
    if not terms.in_order:
        return "same" if outcomes <= {"same", "unknown"} else "changed"
    if outcomes & {"worse", "moved", "new", "gone"}:
        return "changed"
    return "better" if "better" in outcomes else "same"
