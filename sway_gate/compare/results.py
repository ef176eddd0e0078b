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

_LEAST_ERROR = 1e-9  # keeps sigmas finite where nothing is uncertain


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
        return [
            change for change in (*self.changes, self.composite) if change.outcome == "regression"
        ]


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
    tests = [
        significance.of_probes(*pair, in_order=in_order, alike=name in alike)
        for (name, _), pair in both.items()
    ]
    *sures, sure = significance.adjusted([*tests, overall := significance.of_composites(old, new)])
    terms = _Terms(tolerance, in_order)
    changes = tuple(
        _change(key, pair, test, own, terms)
        for (key, pair), test, own in zip(both.items(), tests, sures, strict=True)
    )
    composite = _composite(old, new, overall, sure, terms)
    blind = tuple(_blind(old, new, labels, composite, changes))
    verdict = _verdict([composite, *changes], terms, is_blind=bool(blind))
    unknown = [change.name for change in changes if change.outcome == "unknown"]
    return Comparison(
        verdict=verdict,
        exit_code=1 if verdict == "regression" else 3 if verdict == "undecided" else 0,
        old=_subject(old, labels[0]),
        new=_subject(new, labels[1]),
        tolerance=tolerance,
        level=LEVEL,
        composite=composite,
        changes=changes,
        warnings=(
            *blind,
            *([f"no difference could be tested in {', '.join(unknown)}"] if unknown else []),
            *input_warnings(old, new),
        ),
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


Key = tuple[str, str]
"""Name and kind of a probe."""
Pair = tuple[ProbeResult | None, ProbeResult | None]


def _matched(old: GateResult, new: GateResult) -> dict[Key, Pair]:
    """In the new result's order, what it lacks at the end."""
    before, after = ({(p.name, p.kind): p for p in result.probes} for result in (old, new))
    return {
        key: (before.get(key), after.get(key))
        for key in (*after, *(key for key in before if key not in after))
    }


def _subject(result: GateResult, label: str) -> Subject:
    return Subject(label=label, adapter=result.adapter, verdict=result.verdict, score=result.score)


def _side(probe: ProbeResult | None) -> Side | None:
    if probe is None:
        return None
    return Side(
        verdict=probe.verdict.value, raw=probe.raw, ci_95=probe.ci_95, z=probe.z, score=probe.score
    )


# What it means


def _change(
    key: Key, pair: Pair, test: ComparisonTest | None, sure: AdjustedP, terms: _Terms
) -> Change:
    old, new = pair
    outcome, why = _outcome(old, new, test, sure, terms)
    return Change(
        name=key[0],
        kind=key[1],
        outcome=outcome,
        why=why,
        units=next(side.units for side in (new, old) if side),
        old=_side(old),
        new=_side(new),
        **_numbers(test, sure),
    )


def _numbers(test: ComparisonTest | None, sure: AdjustedP) -> dict[str, Any]:
    if test is None:
        return {}
    value, se, sigmas = test.difference
    p = sure.worse if sigmas * test.sense.worse > 0 else sure.otherwise
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
    sure: AdjustedP,
    terms: _Terms,
) -> tuple[Outcome, str]:
    if old is None:
        return "new", "not in the old result"
    turned = _turned if terms.in_order else _parted
    if outcome := turned(old.verdict, new.verdict if new else None):
        return outcome
    if new is None or test is None:
        measured = old.raw is not None or (new is not None and new.raw is not None)
        return ("unknown", "no difference could be tested") if measured else ("same", "")
    return _beyond_noise(test, sure, old, new, terms.tolerance)


def _beyond_noise(
    test: ComparisonTest,
    sure: AdjustedP,
    old: ProbeResult | GateResult,
    new: ProbeResult | GateResult,
    tolerance: float,
) -> tuple[Outcome, str]:
    if sure.worse <= LEVEL:
        lost, said = _loss(test, old, new)
        why = f"worse by {abs(test.difference.sigmas):.1f} standard errors, {said}"
        if tolerance and lost <= tolerance:
            return "worse", f"{why}: within the tolerance of {tolerance:g}"
        return "regression", why
    if sure.otherwise <= LEVEL:
        how = (
            "better"
            if test.sense.otherwise == "better"
            else "larger"
            if test.difference.value > 0
            else "smaller"
        )
        return test.sense.otherwise, f"{how} by {abs(test.difference.sigmas):.1f} standard errors"
    return "same", ""


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
    lost = (
        -math.expm1(-change)
        if test.scale == "log"
        else change / abs(old.raw)
        if old.raw
        else math.inf
    )
    return lost, f"{lost:.0%} of its value lost"


_MEASURED = (Verdict.PASS, Verdict.WARN, Verdict.FAIL)


def _turned(old: Verdict, new: Verdict | None) -> tuple[Outcome, str] | None:
    """What the verdicts alone decide, whatever the noise."""
    if new is None:
        return (
            ("gone", "skipped before, not there now")
            if old is Verdict.SKIP
            else ("regression", "not there now")
        )
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


def _parted(a: Verdict, b: Verdict | None) -> tuple[Outcome, str] | None:
    """The same of two adapters, neither of which came first."""
    if b is None:
        return "gone", "not there"
    if (a in _MEASURED) != (b in _MEASURED):
        return "unknown", "measured in one alone"
    return _turned(a, b) if a in _MEASURED else None


def _composite(
    old: GateResult, new: GateResult, test: ComparisonTest | None, sure: AdjustedP, terms: _Terms
) -> Change:
    outcome, why = _over_all(old, new, test, sure, terms)
    before, after = (
        Side(verdict=result.verdict, raw=result.score, score=result.score) for result in (old, new)
    )
    return Change(
        name=COMPOSITE,
        kind="",
        outcome=outcome,
        why=why,
        old=before,
        new=after,
        **_numbers(test, sure),
    )


def _over_all(
    old: GateResult, new: GateResult, test: ComparisonTest | None, sure: AdjustedP, terms: _Terms
) -> tuple[Outcome, str]:
    if old.verdict != new.verdict:
        if "error" in (old.verdict, new.verdict) and not terms.in_order:
            return "unknown", "one could not be decided"
        if old.verdict == "pass" or new.verdict == "error":
            return "regression", f"the gate said {old.verdict}, and says {new.verdict}"
        if new.verdict == "pass":
            return "better", f"the gate said {old.verdict}, and says pass"
    if test is None:
        return (
            ("same", "")
            if old.score is None and new.score is None
            else ("unknown", "no difference could be tested")
        )
    return _beyond_noise(test, sure, old, new, terms.tolerance)


def _blind(
    old: GateResult,
    new: GateResult,
    labels: tuple[str, str],
    composite: Change,
    changes: Sequence[Change],
) -> Iterator[str]:
    """What was not looked at."""
    for result, label in ((old, labels[0]), (new, labels[1])):
        stuck = [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]
        if stuck or result.verdict == "error":
            yield f"{label}: could not be decided" + (
                f"; an error in {', '.join(stuck)}" if stuck else ""
            )
    tested = any(change.method or change.outcome in ("regression", "better") for change in changes)
    if not tested and composite.outcome not in ("regression", "better"):
        yield "no difference of any probe could be tested: nothing was compared"


def _verdict(changes: Iterable[Change], terms: _Terms, *, is_blind: bool) -> OverAll:
    outcomes = {change.outcome for change in changes}
    if "regression" in outcomes and terms.in_order:
        return "regression"
    if is_blind:
        return "undecided"
    if not terms.in_order:
        return "same" if outcomes <= {"same", "unknown"} else "changed"
    if outcomes & {"worse", "moved", "new", "gone"}:
        return "changed"
    return "better" if "better" in outcomes else "same"
