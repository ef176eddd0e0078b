"""The verdict of one probe, from its readings, nulls and limits.

It is the worst verdict of the probe's criteria, and its score is their lowest score:

- significance: z against the null adapters, or of the probe's own test, must reach `assert_z_gte`;
- limits: the one-sided 95% bound of a quantity must be inside; if the whole interval is outside,
  the probe fails, and otherwise it is inconclusive (WARN);
- a rule of shape, without an interval.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import structs

from sway_gate import stats
from sway_gate.details import Details, Sections
from sway_gate.judge import criteria, diagnosis
from sway_gate.judge.criteria import Criterion
from sway_gate.measurements import FINETUNED, Answers, Fault, NoAnswer, View, ViewAnswers
from sway_gate.probes.base import (
    Bounded,
    CannotRun,
    Context,
    Detailed,
    Kind,
    Partial,
    Probe,
    Reading,
    Shaped,
    Skip,
)
from sway_gate.results import ProbeResult, Symptom, Verdict
from sway_gate.spec.schema import ProbeSpec

# The probability of a false "moved" among the items of a probe (Holm 1979).
_FAMILY_WISE = 0.05
# Units of a mean of items that are 0 or 1.
SHARE = "share"


class NullViews(NamedTuple):
    """The nulls of a probe: `runs` null views at each multiplier of the null variance.

    `share`: the share of the error that this look at them may use, as in `stats.of_look`.
    """

    runs: int
    multipliers: tuple[float, ...] = (1.0,)
    share: float = 1.0

    def views(self, multiplier: float) -> list[View]:
        """The views at variance `multiplier` c: ΔW is scaled by √c, as the variance of BA is linear
        in the rank."""
        return [View("null", i, math.sqrt(multiplier)) for i in range(self.runs)]


class ProbeRun(NamedTuple):
    """A probe of a suite with its requests and all answers."""

    spec: ProbeSpec
    probe: Probe
    context: Context
    requests: Any
    answers: Answers
    rows_share: float = 1.0
    """The share of the error that this look at growing rows may use."""

    def finetuned(self, nulls: Sequence[View]) -> Reading[Any]:
        """The reading of the fine-tuned view, with its details."""
        reading = self.of_view(FINETUNED, nulls)
        if isinstance(self.probe, Detailed):
            found = self.probe.details(*self._inputs(FINETUNED))
            reading = reading._replace(details=found)
        if test := reading.significance:
            test = test._replace(z=stats.of_look(test.z, self.rows_share))
        return reading._replace(significance=test, error_share=self.rows_share)

    def of_view(self, view: View, nulls: Sequence[View]) -> Reading[Any]:
        """The reading of one view; `nulls` are all null views at the same multiplier."""
        inputs = self._inputs(view)
        if self.probe.KIND.uses_null_mean:
            other_nulls = [null for null in nulls if null != view]
            reading = self.probe.value(*inputs, self._null_mean(other_nulls))
        else:
            reading = self.probe.value(*inputs)
        if not (math.isfinite(reading.value) and np.isfinite(reading.items).all()):
            raise NoAnswer(Fault(f"no finite value under the {view} view"))
        return reading

    def _inputs(self, view: View) -> tuple[ProbeSpec, Context, Any, ViewAnswers]:
        return self.spec, self.context, self.requests, ViewAnswers(self.answers, view)

    def _null_mean(self, nulls: Sequence[View]) -> stats.Floats:
        """Mean of the nulls' items [items]; 0 without nulls."""
        items = [self.probe.null_items(*self._inputs(view)) for view in nulls]
        return np.asarray(np.mean(items, axis=0) if items else 0.0)


class NullComparison(NamedTuple):
    """The fine-tuned reading compared with the nulls'. `z` is positive if it exceeds them."""

    z: float
    p: float
    values: tuple[float, ...]
    z_by_rank: dict[str, float]
    is_min_sd: bool
    item_z: tuple[float, ...] = ()
    """z of each item among the nulls' same item, if the details are `Sections`."""


def judge_probe(run: ProbeRun, nulls: NullViews | None) -> ProbeResult:
    """One probe's result. Without a number it is an ERROR, or a FAIL if the adapter causes NaN."""
    spec, probe = run.spec, run.probe
    nulls = nulls if probe.KIND.is_calibrated else None
    try:
        reading = run.finetuned(nulls.views(1.0) if nulls else ())
    except NoAnswer as found:
        # NaN under the base is not the adapter's fault; NaN under the adapter is a broken adapter.
        if found.fault.of == "adapter":
            return _without_reading(spec, probe, Verdict.FAIL, str(found), ("broken",))
        return error_result(spec, probe, str(found))
    except Skip as reason:
        return skip_result(spec, probe, str(reason))
    except CannotRun as reason:
        return error_result(spec, probe, str(reason))
    try:
        comparison = _compare(run, reading, nulls) if nulls else None
    except (NoAnswer, CannotRun, Skip) as found:
        return error_result(spec, probe, f"a null adapter could not be measured: {found}")
    return _decided(run, reading, comparison)


def is_open(spec: ProbeSpec, result: ProbeResult) -> bool:
    """Whether more null adapters can change the verdict.

    They cannot if z reaches its limit or is below the mean of the nulls, or another rule fails.
    """
    if not result.n_null or result.z is None or result.effect_ok is False:
        return False
    return 0 <= result.z < spec.assert_z_gte


def is_open_to_rows(result: ProbeResult) -> bool:
    """Whether more rows can change the verdict of a probe without null adapters.

    They can if it is inconclusive, if it was skipped, as these rows showed nothing, or if it fails
    only because its test is not significant yet.
    """
    is_weak = bool(result.effect_ok) and result.z is not None and result.z >= 0
    is_undecided = result.verdict in (Verdict.WARN, Verdict.SKIP)
    return is_undecided or (result.verdict is Verdict.FAIL and is_weak)


def of_rows(result: ProbeResult, rows: int, total: int) -> ProbeResult:
    """The result with the number of rows that were measured in its message, and why no more."""
    text = f"{rows:,} of {total:,} rows"
    if result.verdict is Verdict.WARN:
        message = f"{result.message}; not decided by {text}, the most that are read"
    elif result.verdict in (Verdict.PASS, Verdict.FAIL):
        message = f"{result.message}; decided by {text}"
    else:
        return result
    return structs.replace(result, message=message)


def error_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that cannot be measured."""
    return _without_reading(spec, probe, Verdict.ERROR, message)


def skip_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that has nothing to measure."""
    return _without_reading(spec, probe, Verdict.SKIP, message)


def left_out_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that the time budget did not decide. It has no score."""
    result = _without_reading(spec, probe, Verdict.WARN, message)
    return structs.replace(result, advice="allow a longer --budget")


def _without_reading(
    spec: ProbeSpec,
    probe: Probe,
    verdict: Verdict,
    message: str,
    symptoms: tuple[Symptom, ...] = (),
) -> ProbeResult:
    return ProbeResult(
        **_identity(spec, probe),
        verdict=verdict,
        message=message,
        symptoms=symptoms,
        advice=diagnosis.advice(symptoms),
        score=0.0 if verdict is Verdict.FAIL else None,
    )


def _identity(spec: ProbeSpec, probe: Probe) -> dict[str, Any]:
    return {
        "name": spec.name,
        "kind": spec.kind,
        "category": probe.KIND.category,
        "weight": spec.weight,
        "line": spec.line or None,
    }


# -------------------------------------------------------------------------------- against the nulls


def _compare(run: ProbeRun, reading: Reading[Any], nulls: NullViews) -> NullComparison:
    kind = run.probe.KIND
    own = _null_readings(run, nulls.views(1.0))
    found = _z_score(kind, reading, own, nulls.share)
    z_by_rank = {}
    if len(nulls.multipliers) > 1:
        for multiplier in nulls.multipliers:
            scaled = _null_readings(run, nulls.views(multiplier))
            z_by_rank[f"{multiplier:g}"] = _z_score(kind, reading, scaled, nulls.share).z
    return NullComparison(
        found.z,
        stats.monte_carlo_p(test_statistic(reading), [test_statistic(r) for r in own]),
        tuple(r.value for r in own),
        z_by_rank,
        found.is_min_sd,
        _item_zs(kind, reading, own, nulls.share) if isinstance(reading.details, Sections) else (),
    )


def _null_readings(run: ProbeRun, views: Sequence[View]) -> list[Reading[Any]]:
    return [run.of_view(view, views) for view in views]


def _z_score(
    kind: Kind, reading: Reading[Any], nulls: Sequence[Reading[Any]], share: float
) -> stats.ZScore:
    statistics = [test_statistic(r) for r in (reading, *nulls)]
    scaled = stats.transform(statistics, kind.scale, kind.resolution)
    return stats.z_score(float(scaled[0]), scaled[1:], kind.min_null_sd, kind.null_sd_prior, share)


def _item_zs(
    kind: Kind, reading: Reading[Any], nulls: Sequence[Reading[Any]], share: float
) -> tuple[float, ...]:
    items = [r.items for r in (reading, *nulls)]
    scaled = stats.transform(items, kind.scale, kind.resolution)  # [1 + nulls, items]
    return tuple(
        stats.z_score(float(column[0]), column[1:], kind.min_null_sd, kind.null_sd_prior, share).z
        for column in scaled.T
    )


def test_statistic(reading: Reading[Any]) -> float:
    """The number that is compared with the nulls."""
    return reading.test_statistic.value if reading.test_statistic else reading.value


# --------------------------------------------------------------------------------------- the result


def _facts(
    run: ProbeRun, reading: Reading[Any], comparison: NullComparison | None
) -> dict[str, Any]:
    """The fields of a result that do not depend on the decision."""
    facts: dict[str, Any] = {
        **_identity(run.spec, run.probe),
        "raw": reading.value,
        "units": reading.units or run.probe.KIND.units,
        "ci_95": _interval(run.probe.KIND, reading, run.context.seed),
        "items": tuple(reading.items.tolist()),
        "details": _details(reading.details, comparison),
    }
    if reading.significance:
        facts["p"] = reading.significance.p
    if comparison:
        facts |= {
            "p": comparison.p,
            "n_null": len(comparison.values),
            "null_values": comparison.values,
            "z_by_rank": comparison.z_by_rank,
        }
    return facts


def _interval(kind: Kind, reading: Reading[Any], seed: int) -> tuple[float, float] | None:
    units = reading.units or kind.units
    if units == SHARE or (units.startswith(SHARE) and _are_shares(reading.items)):
        return stats.share_interval(reading.value, len(reading.items))
    if kind.scale == "log":
        return stats.positive_mean_ci(reading.items)
    return stats.bootstrap_ci(reading.items, seed)


def _are_shares(items: stats.Floats) -> bool:
    """Whether each item lies between 0 and 1. The bootstrap of a few can reach below 0."""
    return len(items) > 0 and bool(items.min() >= 0 and items.max() <= 1)


def _details(found: Details, comparison: NullComparison | None) -> dict[str, Any]:
    """The details as JSON, with the results of the comparison."""
    if comparison and isinstance(found, Sections):
        found = _with_item_z(found, comparison.item_z)
    details: dict[str, Any] = msgspec.to_builtins(found)
    if comparison and comparison.is_min_sd:
        details["null_spread_floored"] = True
    return details


def _with_item_z(found: Sections, item_z: Sequence[float]) -> Sections:
    adjusted = stats.holm([stats.normal_sf(z) for z in item_z])
    sections = [
        structs.replace(section, z=z, p_holm=p, moved=section.passed and p <= _FAMILY_WISE)
        for section, z, p in zip(found.sections, item_z, adjusted, strict=True)
    ]
    return structs.replace(found, sections=sections)


# ------------------------------------------------------------------------------------- the decision


def _decided(
    run: ProbeRun, reading: Reading[Any], comparison: NullComparison | None
) -> ProbeResult:
    """The result of a probe by its criteria. SKIP if nothing is tested."""
    limits, shape = _limits(run, reading), _shape(run, reading)
    significance = _with_statistic(
        _significance(run, reading, comparison, has_limits=bool(limits)), reading
    )
    summary = run.probe.summary(run.spec, reading)
    caveat = run.probe.caveat(run.spec, reading) if isinstance(run.probe, Partial) else ""
    summary = "; ".join(filter(None, (summary, caveat)))
    tested = [criterion for criterion in (significance, shape, *limits) if criterion]
    if not tested and isinstance(run.probe, Shaped):
        tested = [criteria.kept_shape()]
    if not tested:
        return skip_result(run.spec, run.probe, f"{summary}; nothing is tested")
    tested = sorted(tested, key=criteria.severity)
    weakest = tested[0]
    closest = min(limits, key=lambda limit: limit.z or 0.0, default=None)
    distance = closest.z if closest else None
    verdict = criteria.worst(tested)
    symptoms = diagnosis.ranked(c.symptom for c in tested if c.symptom)
    ranks = rank_profile(comparison.z_by_rank, run.spec.assert_z_gte) if comparison else ""
    return ProbeResult(
        **_facts(run, reading, comparison),
        verdict=verdict,
        score=weakest.score,
        score_z=weakest.z,
        z=significance.z if significance and significance.z is not None else distance,
        effect_ok=not shape and all(limit.verdict is not Verdict.FAIL for limit in limits),
        message=_message(verdict, tested, summary, ranks),
        symptoms=symptoms,
        suspected=diagnosis.ranked(c.suspected for c in tested if c.suspected),
        advice=_advice(verdict, symptoms, tested),
        bound=criteria.finite(closest.bound.test.bound) if closest and closest.bound else None,
        margin=closest.bound.margin if closest and closest.bound else None,
        test_statistic=reading.test_statistic.value if reading.test_statistic else None,
        rules=tuple(c.rule(run.spec.assert_z_gte) for c in tested if c.z is not None or c.symptom),
        caveat=caveat,
    )


def _significance(
    run: ProbeRun, reading: Reading[Any], comparison: NullComparison | None, *, has_limits: bool
) -> Criterion | None:
    """The significance of an effect; None if the probe has no such test."""
    kind, limit = run.probe.KIND, run.spec.assert_z_gte
    if comparison:
        n, symptom = len(comparison.values), reading.symptom or kind.symptom
        return criteria.against_nulls(comparison.z, n, limit, symptom, has_limits=has_limits)
    if reading.significance:
        return criteria.by_own_test(reading.significance, len(reading.items), limit, kind.symptom)
    return criteria.uncalibrated() if kind.is_calibrated else None


def _limits(run: ProbeRun, reading: Reading[Any]) -> list[Criterion]:
    if not isinstance(run.probe, Bounded):
        return []
    kind, n = run.probe.KIND, len(reading.items)
    word = "margin" if kind.harm else "limit"
    bounds = run.probe.bounds(run.spec, reading)
    return [criteria.of_bound(bound, n, word, kind.symptom) for bound in bounds]


def _shape(run: ProbeRun, reading: Reading[Any]) -> Criterion | None:
    if not isinstance(run.probe, Shaped):
        return None
    return criteria.of_shape(run.probe.minimum_effect(run.spec, reading), run.probe.KIND.symptom)


def _with_statistic(significance: Criterion | None, reading: Reading[Any]) -> Criterion | None:
    """The significance; if it passes by a number that is not the value, with it in its text."""
    if significance is None or significance.z is None or reading.test_statistic is None:
        return significance
    if significance.verdict is not Verdict.PASS:
        return significance
    name, number = reading.test_statistic
    text = f"{significance.text} (test statistic: {name} {number:.3g})"
    return significance._replace(text=text)


def _message(verdict: Verdict, tested: Sequence[Criterion], summary: str, ranks: str) -> str:
    """The result as text. It begins with the rules that decide, and omits those that hold.

    The summary of a probe does not repeat the quantities of its rules.
    """
    if verdict is Verdict.PASS:
        others = [criterion.text for criterion in tested if not criterion.bound]
        limits = [criterion for criterion in tested if criterion.bound]
        closest = sorted(limits, key=lambda limit: limit.z or 0.0)[:1]
        texts = [summary, *others, ranks, *(limit.text for limit in closest)]
    else:
        deciding = [criterion for criterion in tested if criterion.verdict is verdict]
        decisive = [one.text for one in sorted(deciding, key=criteria.order_of_text)]
        profile = ranks if verdict is Verdict.WARN else ""
        texts = [*decisive[: criteria.MAX_SHOWN], summary, profile]
    return "; ".join(filter(None, texts))


def _advice(verdict: Verdict, symptoms: Sequence[Symptom], tested: Sequence[Criterion]) -> str:
    if verdict is Verdict.WARN:
        ranked = sorted(tested, key=lambda criterion: criterion.score)
        return next((criterion.remedy for criterion in ranked if criterion.remedy), "")
    return diagnosis.advice(symptoms)


def rank_profile(z_by_rank: Mapping[str, float], limit: float) -> str:
    """Conclusion about the adapter's rank from z against nulls of other variance; "" without them.

    Nulls of c times the variance are equivalent to c times the rank: z falls as c grows.
    """
    if len(z_by_rank) < 2:
        return ""
    smallest, largest = min(z_by_rank, key=float), max(z_by_rank, key=float)
    low, high = z_by_rank[smallest], z_by_rank[largest]
    if max(z_by_rank.values()) < limit:
        nulls = f"nulls of {smallest} times the variance"
        return f"weak at any rank: below {limit:g}σ even against {nulls}"
    if high >= limit:
        return f"rank-stable: above {limit:g}σ also against nulls of {largest} times the variance"
    below = f"below {limit:g}σ against nulls of {largest} times the variance"
    if low >= 2 * max(high, 0.0):
        half = f"less than half the z of {smallest} times"
        return f"rank-saturated: {below}, {half}; consider a smaller rank"
    return f"rank-sensitive: {below}"
