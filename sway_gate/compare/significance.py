"""Significance tests of a change: of a probe between two results, and of the composite.

The statistics are in `sway_gate.compare.difference`.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import numpy as np

from sway_gate import probes, stats
from sway_gate.compare import difference
from sway_gate.compare.difference import Difference
from sway_gate.details import MovedPrompts, read
from sway_gate.judge.criteria import STEEP
from sway_gate.probes.base import Kind
from sway_gate.results import GateResult, ProbeResult, Verdict

_MIN_ERROR = 1e-9  # keeps sigmas finite if the standard error is 0


class Direction(NamedTuple):
    """What a change of a probe's value means.

    `worse` is the sign of a change for the worse; 0 if neither sign is worse. `otherwise` is the
    outcome of a change in the other direction. Changes beyond the value `best` do not count.
    """

    worse: Literal[-1, 0, 1]
    otherwise: Literal["better", "moved"] = "better"
    best: float | None = None


def _direction(kind: Kind, *, in_order: bool) -> Direction:
    """What a change means for probes of this kind.

    `in_order`: `old` came before `new`. Otherwise, a smaller divergence from the base is not worse.
    """
    match kind.better:
        case "more":
            return Direction(-1, best=kind.best)
        case "less":
            return Direction(1, best=kind.best)
        case "not less" if in_order:
            return Direction(-1, "moved")
        case _:
            return Direction(0, "moved")


class ComparisonTest(NamedTuple):
    """A difference, the method that computed it, and the direction that is better."""

    method: Literal["items", "intervals", "z", "scores"]
    scale: str
    difference: Difference
    direction: Direction


class AdjustedP(NamedTuple):
    """Adjusted p-values of a change for the worse and of a change in the other direction."""

    worse: float
    otherwise: float


def of_probes(
    old: ProbeResult | None, new: ProbeResult | None, *, in_order: bool, has_same_inputs: bool
) -> ComparisonTest | None:
    """Test one probe's change with the first method that both results allow; None without one."""
    if old is None or new is None or not probes.is_known(new.kind):
        return None
    kind = probes.module(new.kind).KIND
    direction = _direction(kind, in_order=in_order)
    methods = (_by_items, _by_intervals, _by_z) if has_same_inputs else (_by_intervals, _by_z)
    for method in methods:
        if test := _apply(method, old, new, direction, kind):
            return test
    return None


def _apply(method: Callable[..., ComparisonTest | None], *given: Any) -> ComparisonTest | None:
    """Apply the method to values read from a report; None for implausible values."""
    with np.errstate(all="ignore"), suppress(ValueError, OverflowError):
        test = method(*given)
        return test if test and all(map(math.isfinite, test.difference)) else None
    return None


def _by_items(
    old: ProbeResult, new: ProbeResult, direction: Direction, kind: Kind
) -> ComparisonTest | None:
    if not (_have_values(old, new) and _are_pairs(old, new, kind)):
        return None
    found = difference.paired(old.items, new.items, kind.scale, kind.resolution)
    return ComparisonTest("items", kind.scale, _up_to_best(found, direction, old, new), direction)


def _by_intervals(
    old: ProbeResult, new: ProbeResult, direction: Direction, kind: Kind
) -> ComparisonTest | None:
    before, after = _interval(old), _interval(new)
    if not (_have_values(old, new) and before and after):
        return None
    x, x_95 = difference.on_scale(old.raw or 0.0, before, kind.scale, kind.resolution)
    y, y_95 = difference.on_scale(new.raw or 0.0, after, kind.scale, kind.resolution)
    found = difference.of_intervals(x, y, x_95, y_95, kind.resolution)
    return ComparisonTest(
        "intervals", kind.scale, _up_to_best(found, direction, old, new), direction
    )


def _by_z(
    old: ProbeResult, new: ProbeResult, direction: Direction, _: Kind
) -> ComparisonTest | None:
    if old.z is None or new.z is None:
        return None
    found = difference.of_z(old.z, new.z, _nulls_for_z(old), _nulls_for_z(new))
    return ComparisonTest("z", "identity", found, Direction(-1) if direction.worse else direction)


def _have_values(old: ProbeResult, new: ProbeResult) -> bool:
    return old.raw is not None and new.raw is not None and old.units == new.units


def _are_pairs(old: ProbeResult, new: ProbeResult, kind: Kind) -> bool:
    """Whether the items of both results belong to the same prompts, in the same order."""
    before, after = _moved(old), _moved(new)
    same = not kind.omits_items or (bool(before) and before == after)
    return (
        len(old.items) == len(new.items) >= 2
        and same
        and bool(np.isfinite([old.items, new.items]).all())
    )


def _moved(probe: ProbeResult) -> list[bool]:
    found = read(probe.details, MovedPrompts)
    return [prompt.moved for prompt in found.prompts] if found else []


def _interval(probe: ProbeResult) -> tuple[float, float] | None:
    """The value's interval; None if it does not contain the value."""
    if probe.raw is None or not probe.ci_95:
        return None
    return probe.ci_95 if probe.ci_95[0] <= probe.raw <= probe.ci_95[1] else None


def _up_to_best(
    found: Difference, direction: Direction, old: ProbeResult, new: ProbeResult
) -> Difference:
    """The part of the difference that is not beyond the best value."""
    if direction.best is None or old.raw is None or new.raw is None or old.raw == new.raw:
        return found
    nearer = max if direction.worse > 0 else min
    share = (nearer(new.raw, direction.best) - nearer(old.raw, direction.best)) / (
        new.raw - old.raw
    )
    return Difference(found.value * share, found.se, found.sigmas * share)


def _nulls_for_z(probe: ProbeResult) -> int:
    """Number of null adapters that z depends on; 0 if z is a distance to a limit."""
    return probe.n_null


def _score_error(probe: ProbeResult) -> float:
    """Standard error of a probe's score, by the z from which it follows."""
    z = probe.decisive_z
    if z is None or probe.score is None:
        return 0.0
    if z != probe.z:
        return difference.score_error(probe.score, z, 0)
    nulls = _nulls_for_z(probe)
    steep = STEEP if nulls and probe.bound is not None else 1.0
    return difference.score_error(probe.score, z, nulls, steep)


def of_composites(old: GateResult, new: GateResult) -> ComparisonTest | None:
    """Test the composites by their scores; None if a score is missing, or if a waiver or the time
    budget took different probes out of them."""
    return _apply(_by_scores, old, new)


def _by_scores(old: GateResult, new: GateResult) -> ComparisonTest | None:
    """Difference of the composites; its error follows from the errors of the probes' z-scores."""
    if old.score is None or new.score is None or _omitted(old) != _omitted(new):
        return None
    value, se = new.score - old.score, math.hypot(_composite_error(old), _composite_error(new))
    found = Difference(value, se, value / max(se, _MIN_ERROR))
    return ComparisonTest("scores", "identity", found, Direction(-1))


def _omitted(result: GateResult) -> set[str]:
    return {p.name for p in result.probes if p.is_left_out or p.verdict is Verdict.WAIVED}


def _composite_error(result: GateResult) -> float:
    """Standard error of the composite, with the weights of `judge.composite.compose`.

    The errors of the probes' z-scores are treated as independent.
    """
    total = sum(c.weight for c in result.categories.values() if c.score is not None)
    variance = 0.0
    for name, category in result.categories.items():
        scored = [p for p in result.probes if p.category == name and p.score is not None]
        inside = sum(p.weight for p in scored)
        if not (category.score and total and inside):
            continue  # a failed category scores 0 for any z
        errors = [p.weight * _score_error(p) for p in scored]
        variance += (category.weight / total / inside) ** 2 * sum(error**2 for error in errors)
    return math.sqrt(variance)


def adjusted(tests: Sequence[ComparisonTest | None]) -> list[AdjustedP]:
    """P-values of each test, Holm-adjusted over all tests of the same hypothesis."""
    sided = [(i, test) for i, test in enumerate(tests) if test and test.direction.worse]
    others = [(i, test) for i, test in enumerate(tests) if test and not test.direction.worse]
    worse = _holm(sided, worse=True)
    otherwise = _holm(sided, worse=False) | _holm(others, worse=False)
    return [AdjustedP(worse.get(i, 1.0), otherwise.get(i, 1.0)) for i in range(len(tests))]


def _holm(tests: Sequence[tuple[int, ComparisonTest]], *, worse: bool) -> dict[int, float]:
    ps = stats.holm([_p(test, worse=worse) for _, test in tests])
    return {i: p for (i, _), p in zip(tests, ps, strict=True)}


def _p(test: ComparisonTest, *, worse: bool) -> float:
    sigmas, sign = test.difference.sigmas, test.direction.worse
    if not sign:
        return min(1.0, 2 * stats.normal_sf(abs(sigmas)))
    return stats.normal_sf(sigmas * sign if worse else -sigmas * sign)
