"""Readings and limits -> verdicts and the composite. Everything that turns a number into a decision is here.

An effect passes when it stands `assert_z_gte` above the null adapters and its fixed rule holds; one whose rule fails
scores nothing, whatever its z. A harm passes when its one-sided 95 % bounds lie inside their margins, fails when its
estimate lies outside one, and is inconclusive (WARN) in between. The gate fails closed: no probe may FAIL or ERROR,
and something must have been scored.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sway_gate import stats
from sway_gate.measurements import FINETUNED, Answers, Fault, NoAnswer, View, ViewAnswers
from sway_gate.probes.base import CannotRun, Context, Probe, Reading, Skip
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.schema import ProbeSpec

# From here on more nulls add little power: see benchmarks/results/null_tails.md.
FEW_NULLS = 8
# One in twenty null adapters stands higher than the first, one in 740 higher than the second.
_SUGGESTIVE, _CERTAIN = stats.Z_95, 3.0
# The chance that any part is said to have moved where none has (Holm 1979).
_FAMILY_WISE = 0.05
# Units of a mean of items that are 0 or 1.
SHARE = "share"


class NullViews(NamedTuple):
    """How the calibration looks: `runs` null views at each of `multipliers` of the null variance."""

    runs: int
    multipliers: tuple[float, ...] = (1.0,)

    def views(self, multiplier: float) -> list[View]:
        """Multiplier c multiplies the standard deviation of ΔW by √c (variance of BA is linear in rank)."""
        return [View("null", i, math.sqrt(multiplier)) for i in range(self.runs)]


class NullComparison(NamedTuple):
    """A reading's place among the nulls. `z` is positive where the value is above them."""

    z: float
    p: float
    values: tuple[float, ...]
    z_by_rank: dict[str, float]
    floored: bool
    parts: tuple[float, ...] = ()
    """z of each item on its own, where the probe's parts are judged."""


def judge_probe(
    spec: ProbeSpec, probe: Probe, context: Context, answers: Answers, nulls: NullViews | None
) -> ProbeResult:
    """One probe's result; whatever keeps it from a number is an ERROR or, where that is the verdict, a FAIL."""
    try:
        reading = _read(spec, probe, context, answers, FINETUNED, nulls.views(1.0) if nulls else ())
    except NoAnswer as found:
        # A base that gives no numbers says nothing about the adapter; an adapter that gives none is broken.
        if found.fault.of == "adapter":
            return _without_reading(
                spec, probe, Verdict.FAIL, str(found), "check the training run for divergence"
            )
        return _without_reading(spec, probe, Verdict.ERROR, str(found))
    except Skip as reason:
        return _without_reading(spec, probe, Verdict.SKIP, str(reason))
    except CannotRun as reason:
        return _without_reading(spec, probe, Verdict.ERROR, str(reason))
    try:
        calibration = _calibrate(spec, probe, context, answers, nulls, reading) if nulls else None
    except (NoAnswer, CannotRun, Skip) as found:
        return _without_reading(
            spec, probe, Verdict.ERROR, f"a null adapter could not be measured: {found}"
        )
    decide = _harm if probe.HARM else _effect
    return decide(
        spec, probe, reading, calibration, _shared(spec, probe, context, reading, calibration)
    )


def error_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that could not even say what it needs."""
    return _without_reading(spec, probe, Verdict.ERROR, message)


def skip_result(spec: ProbeSpec, probe: Probe, message: str) -> ProbeResult:
    """The result of a probe that has nothing to measure."""
    return _without_reading(spec, probe, Verdict.SKIP, message)


def _read(
    spec: ProbeSpec,
    probe: Probe,
    context: Context,
    answers: Answers,
    view: View,
    nulls: Sequence[View],
) -> Reading:
    peers = tuple(null for null in nulls if null != view)
    reading = probe.value(spec, context, ViewAnswers(answers, view, peers))
    if not (math.isfinite(reading.value) and np.isfinite(reading.items).all()):
        raise NoAnswer(Fault(f"no finite value under the {view} view"))
    return reading


def _calibrate(
    spec: ProbeSpec,
    probe: Probe,
    context: Context,
    answers: Answers,
    nulls: NullViews,
    reading: Reading,
) -> NullComparison:
    def null_readings(multiplier: float) -> list[Reading]:
        views = nulls.views(multiplier)
        return [_read(spec, probe, context, answers, view, views) for view in views]

    def place(others: list[Reading]) -> stats.ZScore:
        scaled = stats.transform(
            [_contrast(r) for r in (reading, *others)], probe.SCALE, probe.RESOLUTION
        )
        return stats.z_score(float(scaled[0]), scaled[1:], probe.FLOOR, probe.PRIOR)

    own = null_readings(1.0)
    z_by_rank = (
        {f"{c:g}": place(null_readings(c)).z for c in nulls.multipliers}
        if len(nulls.multipliers) > 1
        else {}
    )
    placed = place(own)
    p = stats.monte_carlo_p(_contrast(reading), [_contrast(r) for r in own])
    parts = _part_zs(probe, reading, own) if probe.PARTS else ()
    return NullComparison(
        placed.z, p, tuple(r.value for r in own), z_by_rank, placed.floored, parts
    )


def _part_zs(probe: Probe, reading: Reading, nulls: Sequence[Reading]) -> tuple[float, ...]:
    """z of each item among the nulls' same item."""
    items = stats.transform(
        [r.items for r in (reading, *nulls)], probe.SCALE, probe.RESOLUTION
    )  # [1 + nulls, items]
    return tuple(
        stats.z_score(float(column[0]), column[1:], probe.FLOOR, probe.PRIOR).z
        for column in items.T
    )


def _contrast(reading: Reading) -> float:
    return reading.value if reading.contrast is None else reading.contrast


def _shared(
    spec: ProbeSpec,
    probe: Probe,
    context: Context,
    reading: Reading,
    calibration: NullComparison | None,
) -> dict[str, Any]:
    """The fields that do not depend on the decision."""
    shared: dict[str, Any] = {
        **_identity(spec, probe),
        "raw": reading.value,
        "units": reading.units or probe.UNITS,
        "ci_95": _interval(probe, reading, context.seed),
        "items": tuple(reading.items.tolist()),
        "details": _details(probe, reading, calibration),
    }
    if calibration:
        shared |= {
            "p": calibration.p,
            "n_null": len(calibration.values),
            "null_values": calibration.values,
            "z_by_rank": calibration.z_by_rank,
        }
    return shared


def _details(probe: Probe, reading: Reading, calibration: NullComparison | None) -> dict[str, Any]:
    if calibration is None:
        return reading.details
    details = reading.details | ({"null_spread_floored": True} if calibration.floored else {})
    if calibration.parts:
        p = stats.holm([stats.normal_sf(z) for z in calibration.parts])
        placed = zip(reading.details[probe.PARTS], calibration.parts, p, strict=True)
        details[probe.PARTS] = [
            part | {"z": z, "p_holm": p, "moved": part["passed"] and p <= _FAMILY_WISE}
            for part, z, p in placed
        ]
    return details


def _interval(probe: Probe, reading: Reading, seed: int) -> tuple[float, float] | None:
    if (reading.units or probe.UNITS) == SHARE:
        return stats.share_interval(reading.value, len(reading.items))
    if probe.SCALE == "log":
        return stats.positive_mean_ci(reading.items)
    return stats.bootstrap_ci(reading.items, seed)


def _effect(
    spec: ProbeSpec,
    probe: Probe,
    reading: Reading,
    calibration: NullComparison | None,
    shared: dict[str, Any],
) -> ProbeResult:
    why = probe.rule(spec, reading)
    z = calibration.z if calibration else None
    verdict, position = _position(calibration, spec.assert_z_gte)
    verdict = Verdict.FAIL if why else verdict
    nulls = len(calibration.values) if calibration else 0
    profile = rank_profile(calibration.z_by_rank, spec.assert_z_gte) if calibration else ""
    more = (
        "give this probe more items"
        if nulls >= FEW_NULLS
        else f"raise null_adapter runs to {FEW_NULLS}"
    )
    advice = {Verdict.PASS: "", Verdict.WARN: f"{more} to decide"}
    return ProbeResult(
        **shared,
        verdict=verdict,
        # Without nulls an effect whose fixed rule holds scores what certainty would.
        score=0.0 if why else stats.score_from_z(_CERTAIN if z is None else z),
        z=z,
        effect_ok=not why,
        message="; ".join(filter(None, [probe.describe(spec, reading), position, profile, why])),
        advice=advice.get(verdict, probe.ADVICE),
    )


def _position(calibration: NullComparison | None, limit: float) -> tuple[Verdict, str]:
    """Where an effect stands among the nulls, and what follows while its fixed rule holds.

    Above 19 of 20 nulls and short of 3 is inconclusive: such a null is rare, such an effect too uncertain to pass.
    A limit above 3 is an assertion of the spec's author, and is not softened.
    """
    if calibration is None:
        return Verdict.PASS, "(no calibration)"
    z, n = calibration.z, len(calibration.values)
    # Never rounded across the limit.
    shown = f"{z:+.1f}σ" if abs(z - limit) > 0.05 else f"{z:+.4f}σ"
    if z >= limit:
        return Verdict.PASS, f"{shown} above {n} null adapters"
    if _SUGGESTIVE <= z < limit <= _CERTAIN:
        return (
            Verdict.WARN,
            f"{shown}: inconclusive, above {n} null adapters but short of {limit:g}σ",
        )
    nearness = (
        "indistinguishable from"
        if abs(z) < _SUGGESTIVE
        else f"below the {limit:g}σ asked for, against"
    )
    return Verdict.FAIL, f"{shown}: {nearness} {n} null adapters"


def rank_profile(z_by_rank: Mapping[str, float], limit: float) -> str:
    """What the z against nulls of other energy say about the adapter's rank, in one sentence; "" where none is asked.

    Nulls of c times the variance are those of c times the rank: z falls as c grows.
    """
    if len(z_by_rank) < 2:
        return ""
    smallest, largest = min(z_by_rank, key=float), max(z_by_rank, key=float)
    low, high = z_by_rank[smallest], z_by_rank[largest]
    if max(z_by_rank.values()) < limit:
        return f"barely above noise at any rank: below {limit:g}σ even against nulls of {smallest} times the energy"
    if high >= limit:
        return f"rank-stable: still above noise of {largest} times the energy"
    if low >= 2 * max(high, 0.0):
        return f"rank-saturated: noise of {largest} times the energy drowns it; consider a smaller rank"
    return f"its margin is small: noise of {largest} times the energy hides it"


def _harm(
    spec: ProbeSpec,
    probe: Probe,
    reading: Reading,
    calibration: NullComparison | None,
    shared: dict[str, Any],
) -> ProbeResult:
    z = min(margin.z for margin in probe.margins(spec, reading))
    verdict = Verdict.PASS if z > stats.Z_95 else Verdict.WARN if z >= 0 else Verdict.FAIL
    place = {
        Verdict.PASS: f"inside its margin by {z:.1f} standard errors",
        Verdict.WARN: f"inconclusive: inside its margin by {z:.1f} standard errors, 1.6 are needed",
        Verdict.FAIL: f"outside its margin by {-z:.1f} standard errors",
    }[verdict]
    advice = {
        Verdict.PASS: "",
        Verdict.WARN: "give this probe more items to decide",
        Verdict.FAIL: probe.ADVICE,
    }[verdict]
    return ProbeResult(
        **shared,
        verdict=verdict,
        score=stats.score_from_z(z),
        z=z,
        null_z=calibration.z if calibration else None,
        effect_ok=verdict != Verdict.FAIL,
        message=f"{probe.describe(spec, reading)}; {place}",
        advice=advice,
    )


def _identity(spec: ProbeSpec, probe: Probe) -> dict[str, Any]:
    return {
        "name": spec.name,
        "kind": spec.kind,
        "category": probe.CATEGORY,
        "weight": spec.weight,
        "line": spec.line or None,
    }


def _without_reading(
    spec: ProbeSpec, probe: Probe, verdict: Verdict, message: str, advice: str = ""
) -> ProbeResult:
    score = 0.0 if verdict is Verdict.FAIL else None
    return ProbeResult(
        **_identity(spec, probe), verdict=verdict, message=message, advice=advice, score=score
    )
