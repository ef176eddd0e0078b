"""The criteria of a probe: its significance, its limits, its rule of shape; each with a verdict.

A criterion that is met scores at least .6, an inconclusive one less, a violated one 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from sway_gate import stats
from sway_gate.probes.base import Bound, Shortfall, Significance, Supply
from sway_gate.results import Rule, Symptom, Verdict
from sway_gate.text import distinct, signed

# From here on more nulls add little power: see benchmarks/results/null_tails.md.
FEW_NULLS = 8
# One in twenty null adapters exceeds the first, one in 740 the second.
_SUGGESTIVE, _CERTAIN = stats.Z_95, stats.CERTAIN
_MORE_ITEMS = "add items to this probe to decide"
MORE_ITEMS = (_MORE_ITEMS, "use about ")
"""Beginnings of the advice to add items."""
_YOURSELF = "read its numbers in the report, and decide yourself"
_AT_THE_LIMIT = "the estimate is at the limit, so that more items might not decide"
_BELOW_PASS = math.nextafter(stats.SCORE_AT_LIMIT, 0.0)
_SEVERITY = (Verdict.FAIL, Verdict.WARN, Verdict.PASS)
MAX_SHOWN = 3
STEEP = 6.0
"""Factor on the growth of the score of z against nulls past its limit, if limits score the size."""


class Criterion(NamedTuple):
    """One test of a probe. If it is inconclusive, `remedy`: what would decide it; `suspected`: what
    it would say about the adapter, if its estimate were exact and that is outside the limit."""

    verdict: Verdict
    score: float
    z: float | None = None
    text: str = ""
    symptom: Symptom | None = None
    remedy: str = ""
    bound: Bound | None = None
    suspected: Symptom | None = None

    def rule(self, z_limit: float) -> Rule:
        """The test as a part of the result; `z_limit` is the limit of a significance."""
        if self.bound is None:
            if self.z is None:
                return Rule(name="shape", verdict=self.verdict, text=self.text)
            return Rule(name="z", verdict=self.verdict, value=finite(self.z), limit=z_limit)
        return Rule(
            name=self.bound.quantity,
            verdict=self.verdict,
            value=finite(self.bound.test.estimate),
            limit=self.bound.margin,
            bound=finite(self.bound.test.bound),
            is_upper=self.bound.is_upper,
        )


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def worst(criteria: Sequence[Criterion]) -> Verdict:
    """The most severe verdict of at least one criterion."""
    return min((c.verdict for c in criteria), key=_SEVERITY.index)


def severity(criterion: Criterion) -> tuple[int, float, float]:
    """Sorts criteria, the one that decides first: by verdict, then by score and z."""
    return _SEVERITY.index(criterion.verdict), criterion.score, criterion.z or 0.0


def order_of_text(criterion: Criterion) -> int:
    """Sorts violated criteria for a text: limits, then the rule of shape, then the significance."""
    if criterion.bound:
        return 0
    return 1 if criterion.z is None else 2


def _scored(verdict: Verdict, z: float, limit: float) -> float:
    """The score of `z`; rounding does not move it across the score at the limit."""
    if verdict is Verdict.FAIL:
        return 0.0
    score = stats.score_from_z(z, limit)
    if verdict is Verdict.WARN:
        return min(score, _BELOW_PASS)
    return max(score, stats.SCORE_AT_LIMIT)


# ------------------------------------------------------------------------------------- significance


def uncalibrated() -> Criterion:
    """The significance of an effect without nulls: not tested, so it scores like z at its limit."""
    return Criterion(Verdict.PASS, stats.SCORE_AT_LIMIT, text="(no calibration)")


def against_nulls(
    z: float, n: int, limit: float, symptom: Symptom | None, *, has_limits: bool = False
) -> Criterion:
    """The significance of an effect by its z against `n` null adapters.

    A z that exceeds 19 of 20 nulls, but not the limit, is inconclusive: such a null is rare, and
    such an effect too uncertain to pass. A limit above 3 is the author's assertion: below it, the
    probe fails. With `has_limits` the size of the effect is scored by its limits: past `limit`, the
    score grows six times faster, as z then depends more on the number of nulls than on the effect.
    """
    verdict, shown = _significant(z, limit), _sigmas(z, limit)
    score = _scored(verdict, z, limit)
    if verdict is Verdict.PASS:
        score = _scored(verdict, limit + STEEP * (z - limit), limit) if has_limits else score
        return Criterion(verdict, score, z, f"{shown} above {n} null adapters")
    if verdict is Verdict.WARN:
        text = f"inconclusive: {shown} above {n} null adapters, must reach {limit:g}σ"
        remedy = f"set null_adapter runs to {FEW_NULLS} to decide" if n < FEW_NULLS else _MORE_ITEMS
        return Criterion(verdict, score, z, text, remedy=remedy)
    text = f"{shown} compared with {n} null adapters, must reach {limit:g}σ"
    if abs(z) < _SUGGESTIVE:
        text = f"indistinguishable from {n} null adapters ({shown}, must reach {limit:g}σ)"
    return Criterion(verdict, score, z, text, symptom)


def by_own_test(found: Significance, n: int, limit: float, symptom: Symptom | None) -> Criterion:
    """The significance of an effect by the probe's own test over `n` items."""
    verdict, shown = _significant(found.z, limit), f"{_sigmas(found.z, limit)} ({found.test})"
    if verdict is Verdict.FAIL and found.reachable is not None:
        verdict = Verdict.WARN if found.reachable < min(limit, _CERTAIN) else verdict
    score = _scored(verdict, found.z, limit)
    if verdict is Verdict.PASS:
        return Criterion(verdict, score, found.z, shown)
    if verdict is Verdict.WARN:
        text = f"inconclusive: {shown}, must reach {limit:g}σ"
        remedy = _items(found.z, n, limit, found.supply)
        return Criterion(verdict, score, found.z, text, remedy=remedy)
    text = f"{shown}, must reach {limit:g}σ"
    return Criterion(verdict, score, found.z, text, found.symptom or symptom)


def _significant(z: float, limit: float) -> Verdict:
    if z >= limit:
        return Verdict.PASS
    return Verdict.WARN if _SUGGESTIVE <= z < limit <= _CERTAIN else Verdict.FAIL


def _sigmas(z: float, limit: float) -> str:
    """z as text, never rounded across the limit."""
    return f"{signed(z, 1)}σ" if abs(z - limit) > 0.05 else f"{signed(z, 4)}σ"


# ------------------------------------------------------------------------------------------- limits


def of_bound(bound: Bound, items: int, word: str, symptom: Symptom | None) -> Criterion:
    """A limit: met if the one-sided 95% bound is inside, violated if the interval is outside.

    `word`: margin or limit. `items`: number of items of the reading.
    """
    z, n = bound.test.z, items if bound.n is None else bound.n
    symptom = (bound.symptom or symptom) if z < 0 else None
    if abs(z) <= stats.Z_95:
        verdict, remedy = Verdict.WARN, _items(z, n, stats.Z_95, bound.supply)
    else:
        verdict, remedy = (Verdict.PASS if z > 0 else Verdict.FAIL), ""
    return Criterion(
        verdict,
        _scored(verdict, z, stats.Z_95),
        z,
        bound_text(bound, verdict, word),
        symptom if verdict is Verdict.FAIL else None,
        remedy,
        bound,
        symptom if verdict is Verdict.WARN else None,
    )


def _items(z: float, n: int, limit: float, supply: Supply | None) -> str:
    """What would decide a test over `n` items; "" if their number cannot be increased."""
    if n < 2:
        return _MORE_ITEMS if n else ""
    needed = stats.items_to_decide(z, n, limit)
    if needed is None:
        return _AT_THE_LIMIT
    if supply and needed > supply.n:
        has = f"{min(n, supply.n)} of at most {supply.n} {supply.what.removesuffix(',')}"
        return f"this test cannot decide: it has {has}, and needs about {needed}; {_YOURSELF}"
    needed = supply.required(needed) if supply else needed
    return f"use about {needed} items to decide, not {n}"


def bound_text(bound: Bound, verdict: Verdict, word: str) -> str:
    """The estimate, its bound if that decides, and the limit; never rounded across the limit."""
    estimate, shown = distinct(bound.test.estimate, bound.margin)
    text = f"{bound.quantity}: {estimate}"
    rule = f"must be {'below' if bound.is_upper else 'at least'} {shown}"
    if verdict is Verdict.FAIL:
        return f"{text}, {rule}"
    if not math.isfinite(bound.test.bound):
        return f"inconclusive: {text}, {rule}, but one item gives no bound"
    if bound.test.z < 0:
        return f"inconclusive: {text}, {rule}, but the 95% interval reaches inside"
    value, shown = distinct(bound.test.bound, bound.margin)
    text += f", {'at most' if bound.is_upper else 'at least'} {value} (95% bound), {word} {shown}"
    return text if verdict is Verdict.PASS else f"inconclusive: {text}"


# -------------------------------------------------------------------------------------------- shape


def of_shape(found: str | Shortfall, symptom: Symptom | None) -> Criterion | None:
    """The violated rule of shape; None if it holds."""
    shortfall = Shortfall(found) if isinstance(found, str) else found
    if not shortfall.why:
        return None
    return Criterion(Verdict.FAIL, 0.0, text=shortfall.why, symptom=shortfall.symptom or symptom)


def kept_shape() -> Criterion:
    """The only criterion of a probe whose rule of shape holds: it has no distance to its limit."""
    return Criterion(Verdict.PASS, stats.SCORE_AT_LIMIT)
