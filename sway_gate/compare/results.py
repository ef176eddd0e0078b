"""Compares two results: does a probe, or the composite, change significantly?

**Comparison.** Probes are matched by name and kind. The difference of their values is compared with
its standard error on the probe's scale (log for divergences, so that differences are ratios). The
method is the first one that both results allow (see `sway_gate.compare.difference`):

- "items": both have the same inputs and base; the difference is paired by item;
- "intervals": the inputs or the base differ; the two 95% intervals are compared as independent;
- "z": there is no interval, for example with one item; the z-scores are compared.

**Direction.** For effects, larger is better; but a larger divergence from the base is only
different, while a smaller one is worse. For harms, less is better, down to no harm at all.

**Significance.** One-sided tests, Holm-adjusted over all probes and the composite (Holm 1979). If
nothing changed, a comparison reports "worse" for any probe in at most 5% of cases. The tests
account for the variability of the items, not for the variability between training runs.

**Regressions.** A significant change for the worse is a regression, unless it is within the
`tolerance`. The tolerance is a share of the old value for an effect (for a rate where smaller is
better, an added share), and points of the score for a harm and the composite. Regardless of
significance, these are regressions: a probe that did not fail before and fails now, that cannot be
measured now, or that was measured before and is skipped or missing now; and a gate that passed
before and does not pass now.

**Undecided.** Without a regression, the comparison is undecided if a result or one of its probes
ended in an error, or if no probe could be compared. An error is never "no change", not even if the
same error occurred before.
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
"""Probability of a false "worse" in a comparison, over all its probes and the composite."""

Outcome = Literal["regression", "worse", "same", "moved", "better", "new", "gone", "unknown"]
"""worse: significantly worse, but within the tolerance. moved: changed significantly, neither
better nor worse. new: missing or skipped before. gone: skipped before and missing now. unknown:
the difference cannot be tested."""
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
    """Numbers of a probe, or of the composite, in one of the two results."""

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
    """Reason for the outcome, as text; "" if nothing changed."""
    units: str = ""
    old: Side | None = None
    new: Side | None = None
    method: Literal["items", "intervals", "z", "scores", ""] = ""
    scale: str = ""
    """identity, or log: `difference` is a difference of logarithms, exp(difference) the ratio."""
    difference: float | None = None
    """New minus old on the scale, in `units`; a difference of z-scores if the method is z."""
    se: float | None = None
    sigmas: float | None = None
    """The difference as a normal quantile, with its sign."""
    p: float | None = None
    """One-sided p-value in the direction of the difference, Holm-adjusted over the comparison."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two compared results."""

    label: str
    adapter: ModelFacts
    verdict: str
    score: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of a new result with an old one."""

    verdict: OverAll
    exit_code: Literal[0, 1, 3]
    old: Subject
    new: Subject
    tolerance: float
    level: float
    composite: Change
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """Results and probes that could not be compared, and differences of the inputs."""

    def regressions(self) -> list[Change]:
        """Probes that regressed, and the composite if it did."""
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
    """Compare `new` with `old`.

    `in_order`: `old` came before `new`, so that smaller or missing values are losses. Otherwise the
    comparison is symmetric: swapping the two results mirrors it.
    """
    both = _matched(old, new)
    same_inputs = probes_with_same_inputs(old, new)
    tests = [
        significance.of_probes(a, b, in_order=in_order, has_same_inputs=name in same_inputs)
        for name, _, a, b in both
    ]
    composite_test = significance.of_composites(old, new)
    *ps, composite_p = significance.adjusted([*tests, composite_test])
    terms = _Terms(tolerance, in_order)
    changes = tuple(
        _change(pair, test, p, terms) for pair, test, p in zip(both, tests, ps, strict=True)
    )
    composite = _composite(old, new, composite_test, composite_p, terms)
    undecided = [*_undecided(old, labels[0]), *_undecided(new, labels[1])]
    undecided += _untestable(changes, composite)
    verdict = _verdict([composite, *changes], terms, is_undecided=bool(undecided))
    return Comparison(
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        old=_subject(old, labels[0]),
        new=_subject(new, labels[1]),
        tolerance=tolerance,
        level=LEVEL,
        composite=composite,
        changes=changes,
        warnings=(*undecided, *_untested(changes), *input_warnings(old, new)),
    )


def compare_course(
    results: Sequence[tuple[str, GateResult]], tolerance: float = 0.0
) -> list[Comparison]:
    """Compare each labelled result after the first with the first."""
    (label, first), *others = results
    return [compare_results(first, result, tolerance, (label, other)) for other, result in others]


class _Terms(NamedTuple):
    """Parameters of a comparison, as for `compare_results`."""

    tolerance: float
    in_order: bool


class _Matched(NamedTuple):
    """One probe's results in both; None if it is missing."""

    name: str
    kind: str
    old: ProbeResult | None
    new: ProbeResult | None


def _matched(old: GateResult, new: GateResult) -> list[_Matched]:
    """Match the probes of both results: in the new result's order, then those that it lacks."""
    before = {(probe.name, probe.kind): probe for probe in old.probes}
    after = {(probe.name, probe.kind): probe for probe in new.probes}
    return [_Matched(*key, before.get(key), after.get(key)) for key in after | before]


def _subject(result: GateResult, label: str) -> Subject:
    return Subject(label=label, adapter=result.adapter, verdict=result.verdict, score=result.score)


def _side(probe: ProbeResult | None) -> Side | None:
    if probe is None:
        return None
    return Side(
        verdict=probe.verdict.value, raw=probe.raw, ci_95=probe.ci_95, z=probe.z, score=probe.score
    )


# Outcomes


def _change(pair: _Matched, test: ComparisonTest | None, p: AdjustedP, terms: _Terms) -> Change:
    outcome, why = _unless_waived(*_outcome(pair.old, pair.new, test, p, terms), pair.new)
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
    p = adjusted.worse if sigmas * test.direction.worse > 0 else adjusted.otherwise
    return {
        "method": test.method,
        "scale": test.scale,
        "difference": value,
        "se": se,
        "sigmas": sigmas,
        "p": p,
    }


def _unless_waived(outcome: Outcome, why: str, new: ProbeResult | None) -> tuple[Outcome, str]:
    """A regression of a waived probe is accepted."""
    if outcome == "regression" and new and new.verdict is Verdict.WAIVED:
        return "worse", f"{why}; waived"
    return outcome, why


def _measured(probe: ProbeResult) -> Verdict:
    """The verdict of a probe without its waiver."""
    return probe.waiver.verdict if probe.waiver else probe.verdict


def _outcome(
    old: ProbeResult | None,
    new: ProbeResult | None,
    test: ComparisonTest | None,
    p: AdjustedP,
    terms: _Terms,
) -> tuple[Outcome, str]:
    if old is None:
        return "new", "not in the old result"
    if new and (old.is_left_out or new.is_left_out):
        return "unknown", "left out for lack of time"
    by_verdicts = _by_verdicts if terms.in_order else _by_unordered_verdicts
    if outcome := by_verdicts(_measured(old), _measured(new) if new else None):
        return outcome
    if new is None or test is None:
        if old.raw is None and (new is None or new.raw is None):
            return "same", ""
        return "unknown", _UNTESTED
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
            return "worse", f"{why}; within the tolerance of {tolerance:g}"
        return "regression", why
    if p.otherwise > LEVEL:
        return "same", ""
    if test.direction.otherwise == "better":
        return "better", f"better {by}"
    return "moved", f"{'larger' if test.difference.value > 0 else 'smaller'} {by}"


def _loss(
    test: ComparisonTest, old: ProbeResult | GateResult, new: ProbeResult | GateResult
) -> tuple[float, str]:
    """Size of a change for the worse, in the units of `tolerance`, and its description.

    Infinite if it cannot be expressed in these units.
    """
    change = abs(test.difference.value)
    if test.method in ("z", "scores") or test.direction.best == 0.0 or isinstance(old, GateResult):
        before, after = old.score or 0.0, new.score or 0.0
        return (before - after if before > 0 else math.inf), f"score {before:.3f} to {after:.3f}"
    if test.direction.worse > 0:
        return change, f"{change:.0%} more"
    if test.scale == "log":
        lost = -math.expm1(-change)
    elif old.raw:
        lost = change / abs(old.raw)
    else:
        lost = math.inf
    return lost, f"{lost:.0%} of its value lost"


_UNTESTED = "the difference cannot be tested"
_MEASURED = (Verdict.PASS, Verdict.WARN, Verdict.FAIL)


def _by_verdicts(old: Verdict, new: Verdict | None) -> tuple[Outcome, str] | None:
    """Outcome that follows from the verdicts, regardless of significance; None if none does."""
    if new is None and old is Verdict.SKIP:
        return "gone", "skipped before, missing now"
    if new is None:
        return "regression", "missing now"
    if new is Verdict.ERROR and old is not Verdict.ERROR:
        return "regression", f"verdict changed from {old} to error"
    if new is Verdict.SKIP and old in _MEASURED:
        return "regression", f"verdict changed from {old} to skip"
    if old is Verdict.SKIP and new in _MEASURED:
        return "new", "skipped before"
    if new is Verdict.FAIL and old in (Verdict.PASS, Verdict.WARN):
        return "regression", f"verdict changed from {old} to fail"
    if old is Verdict.FAIL and new in (Verdict.PASS, Verdict.WARN):
        return "better", f"verdict changed from fail to {new}"
    return None


def _by_unordered_verdicts(a: Verdict, b: Verdict | None) -> tuple[Outcome, str] | None:
    """Like `_by_verdicts`, for two adapters without an order."""
    if b is None:
        return "gone", "not in the second result"
    if (a in _MEASURED) != (b in _MEASURED):
        return "unknown", "measured in only one of the results"
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
            return "unknown", "one of the gates could not decide"
        change = f"the gate's verdict changed from {old.verdict} to {new.verdict}"
        if old.verdict == "pass" or new.verdict == "error":
            return "regression", change
        if new.verdict == "pass":
            return "better", change
    if test is not None:
        return _by_significance(test, p, old, new, terms.tolerance)
    if old.score is None and new.score is None:
        return "same", ""
    return "unknown", _UNTESTED


def _undecided(result: GateResult, label: str) -> Iterator[str]:
    """Warning for a result with errors."""
    stuck = [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]
    if stuck:
        yield f"{label}: could not measure {', '.join(stuck)}"
    elif result.verdict == "error":
        yield f"{label}: the gate could not decide"


def _untested(changes: Sequence[Change]) -> Iterator[str]:
    unknown = [change.name for change in changes if change.outcome == "unknown"]
    if unknown:
        yield f"cannot test the difference of {', '.join(unknown)}"


def _untestable(changes: Sequence[Change], composite: Change) -> Iterator[str]:
    """Warning if no probe could be compared and the gate's verdicts do not decide."""
    decisive = ("regression", "better")
    if composite.outcome in decisive:
        return
    if not any(change.method or change.outcome in decisive for change in changes):
        yield "no probe could be compared"


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
