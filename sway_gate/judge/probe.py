"""The verdict of one probe, from its readings and limits.

An effect probe passes if its z against the null adapters reaches `assert_z_gte` and its minimum
effect is reached; without the minimum effect it scores 0. A harm probe passes if its one-sided 95%
bounds lie inside their margins, fails if an estimate lies outside its margin, and is inconclusive
(WARN) otherwise.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import structs

from sway_gate import stats
from sway_gate.details import Details, Sections
from sway_gate.measurements import FINETUNED, Answers, Fault, NoAnswer, View, ViewAnswers
from sway_gate.probes.base import (
    Bound,
    CannotRun,
    Context,
    Detailed,
    Kind,
    MeasuresNullsLess,
    Probe,
    Reading,
    Skip,
)
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.schema import ProbeSpec
from sway_gate.text import distinct

# From here on more nulls add little power: see benchmarks/results/null_tails.md.
FEW_NULLS = 8
# One in twenty null adapters exceeds the first, one in 740 the second.
_SUGGESTIVE, _CERTAIN = stats.Z_95, 3.0
# The probability of a false "moved" among the items of a probe (Holm 1979).
_FAMILY_WISE = 0.05
# Units of a mean of items that are 0 or 1.
SHARE = "share"
_MORE_ITEMS = "add items to this probe to decide"


class NullViews(NamedTuple):
    """The nulls of a probe: `runs` null views at each multiplier of the null variance."""

    runs: int
    multipliers: tuple[float, ...] = (1.0,)

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

    def finetuned(self, nulls: Sequence[View]) -> Reading[Any]:
        """The reading of the fine-tuned view, with its details."""
        reading = self.of_view(FINETUNED, nulls)
        if isinstance(self.probe, Detailed):
            found = self.probe.details(*self._inputs(FINETUNED))
            reading = reading._replace(details=found)
        return reading

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
        requests = self.requests
        if view.source == "null" and isinstance(self.probe, MeasuresNullsLess):
            requests = self.probe.null_requests(requests)
        return self.spec, self.context, requests, ViewAnswers(self.answers, view)

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
    try:
        reading = run.finetuned(nulls.views(1.0) if nulls else ())
    except NoAnswer as found:
        # NaN under the base is not the adapter's fault; NaN under the adapter is a broken adapter.
        if found.fault.of == "adapter":
            return _without_reading(
                spec, probe, Verdict.FAIL, str(found), "check the training run for divergence"
            )
        return error_result(spec, probe, str(found))
    except Skip as reason:
        return skip_result(spec, probe, str(reason))
    except CannotRun as reason:
        return error_result(spec, probe, str(reason))
    try:
        comparison = _compare(run, reading, nulls) if nulls else None
    except (NoAnswer, CannotRun, Skip) as found:
        return error_result(spec, probe, f"a null adapter could not be measured: {found}")
    decide = _harm if probe.KIND.harm else _effect
    return decide(run, reading, comparison)


def error_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that cannot be measured."""
    return _without_reading(spec, probe, Verdict.ERROR, message)


def skip_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that has nothing to measure."""
    return _without_reading(spec, probe, Verdict.SKIP, message)


def _without_reading(
    spec: ProbeSpec, probe: Probe, verdict: Verdict, message: str, advice: str = ""
) -> ProbeResult:
    score = 0.0 if verdict is Verdict.FAIL else None
    return ProbeResult(
        **_identity(spec, probe), verdict=verdict, message=message, advice=advice, score=score
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
    found = _z_score(kind, reading, own)
    z_by_rank = {}
    if len(nulls.multipliers) > 1:
        for multiplier in nulls.multipliers:
            scaled = _null_readings(run, nulls.views(multiplier))
            z_by_rank[f"{multiplier:g}"] = _z_score(kind, reading, scaled).z
    return NullComparison(
        found.z,
        stats.monte_carlo_p(test_statistic(reading), [test_statistic(r) for r in own]),
        tuple(r.value for r in own),
        z_by_rank,
        found.is_min_sd,
        _item_zs(kind, reading, own) if isinstance(reading.details, Sections) else (),
    )


def _null_readings(run: ProbeRun, views: Sequence[View]) -> list[Reading[Any]]:
    return [run.of_view(view, views) for view in views]


def _z_score(kind: Kind, reading: Reading[Any], nulls: Sequence[Reading[Any]]) -> stats.ZScore:
    statistics = [test_statistic(r) for r in (reading, *nulls)]
    scaled = stats.transform(statistics, kind.scale, kind.resolution)
    return stats.z_score(float(scaled[0]), scaled[1:], kind.min_null_sd, kind.null_sd_prior)


def _item_zs(kind: Kind, reading: Reading[Any], nulls: Sequence[Reading[Any]]) -> tuple[float, ...]:
    items = [r.items for r in (reading, *nulls)]
    scaled = stats.transform(items, kind.scale, kind.resolution)  # [1 + nulls, items]
    return tuple(
        stats.z_score(float(column[0]), column[1:], kind.min_null_sd, kind.null_sd_prior).z
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
    if comparison:
        facts |= {
            "p": comparison.p,
            "n_null": len(comparison.values),
            "null_values": comparison.values,
            "z_by_rank": comparison.z_by_rank,
        }
    return facts


def _interval(kind: Kind, reading: Reading[Any], seed: int) -> tuple[float, float] | None:
    if (reading.units or kind.units) == SHARE:
        return stats.share_interval(reading.value, len(reading.items))
    if kind.scale == "log":
        return stats.positive_mean_ci(reading.items)
    return stats.bootstrap_ci(reading.items, seed)


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


# ------------------------------------------------------------------------------------------ effects


def _effect(run: ProbeRun, reading: Reading[Any], comparison: NullComparison | None) -> ProbeResult:
    spec, probe = run.spec, run.probe
    shortfall = probe.minimum_effect(spec, reading)
    why = shortfall if isinstance(shortfall, str) else shortfall.why
    z = comparison.z if comparison else None
    verdict, position = _position(comparison, spec.assert_z_gte)
    verdict = Verdict.FAIL if why else verdict
    summary = probe.summary(spec, reading)
    if comparison and reading.test_statistic:
        name, number = reading.test_statistic
        position = f"{position} (test statistic: {name} {number:.3g})"
    profile = rank_profile(comparison.z_by_rank, spec.assert_z_gte) if comparison else ""
    return ProbeResult(
        **_facts(run, reading, comparison),
        verdict=verdict,
        # Without nulls, an effect that is large enough scores like z = 3.
        score=0.0 if why else stats.score_from_z(_CERTAIN if z is None else z),
        z=z,
        effect_ok=not why,
        message="; ".join(part for part in (summary, position, profile, why) if part),
        advice=_effect_advice(verdict, probe.KIND, comparison),
        test_statistic=reading.test_statistic.value if reading.test_statistic else None,
    )


def _effect_advice(verdict: Verdict, kind: Kind, comparison: NullComparison | None) -> str:
    if verdict is Verdict.PASS:
        return ""
    if verdict is Verdict.FAIL:
        return kind.advice
    if comparison and len(comparison.values) >= FEW_NULLS:
        return _MORE_ITEMS
    return f"set null_adapter runs to {FEW_NULLS} to decide"


def _position(comparison: NullComparison | None, limit: float) -> tuple[Verdict, str]:
    """The verdict by z if the minimum effect is reached, and z as text.

    A z that exceeds 19 of 20 nulls, but not the limit, is inconclusive: such a null is rare, and
    such an effect too uncertain to pass. A limit above 3 is the author's assertion: below it, the
    probe fails.
    """
    if comparison is None:
        return Verdict.PASS, "(no calibration)"
    z, n = comparison.z, len(comparison.values)
    # Never rounded across the limit.
    shown = f"{z:+.1f}σ" if abs(z - limit) > 0.05 else f"{z:+.4f}σ"
    if z >= limit:
        return Verdict.PASS, f"{shown} above {n} null adapters"
    if _SUGGESTIVE <= z < limit <= _CERTAIN:
        return (
            Verdict.WARN,
            f"{shown}: inconclusive, above {n} null adapters but below the required {limit:g}σ",
        )
    if abs(z) < _SUGGESTIVE:
        return Verdict.FAIL, f"{shown}: indistinguishable from {n} null adapters"
    return Verdict.FAIL, f"{shown}: below the required {limit:g}σ, compared with {n} null adapters"


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


# -------------------------------------------------------------------------------------------- harms


def _harm(run: ProbeRun, reading: Reading[Any], comparison: NullComparison | None) -> ProbeResult:
    """Judge by the bound that is closest to its margin, or farthest outside."""
    bound = min(run.probe.bounds(run.spec, reading), key=lambda bound: bound.test.z)
    z = bound.test.z
    if z > stats.Z_95:
        verdict, advice = Verdict.PASS, ""
    elif z >= 0:
        verdict, advice = Verdict.WARN, _MORE_ITEMS
    else:
        verdict, advice = Verdict.FAIL, run.probe.KIND.advice
    return ProbeResult(
        **_facts(run, reading, comparison),
        verdict=verdict,
        score=stats.score_from_z(z),
        z=z,
        null_z=comparison.z if comparison else None,
        effect_ok=verdict != Verdict.FAIL,
        message=f"{run.probe.summary(run.spec, reading)}; {_bound_text(bound, verdict)}",
        advice=advice,
        bound=bound.test.bound if math.isfinite(bound.test.bound) else None,
        margin=bound.margin,
    )


def _bound_text(bound: Bound, verdict: Verdict) -> str:
    """The bound, or the estimate if it is outside the margin; never rounded across the margin."""
    quantity, margin = bound.quantity, bound.margin
    if verdict is Verdict.FAIL:
        estimate, limit = distinct(bound.test.estimate, margin)
        return f"{quantity}: {estimate}, outside the margin {limit}"
    sign = "≤" if bound.is_upper else "≥"
    value, limit = distinct(bound.test.bound, margin)
    shown = f"{quantity} {sign} {value} (95% bound), margin {limit}"
    if not math.isfinite(bound.test.bound):
        shown = f"one item gives no bound of the {quantity}, margin {limit}"
    return shown if verdict is Verdict.PASS else f"inconclusive: {shown}"
