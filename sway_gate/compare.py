"""Better or worse than before: what changed between two results beyond noise, for each probe and over all. Pure.

**What is compared.** Probes are matched by name and kind, and their values by the standard error of the difference, on
the probe's own scale (`SCALE` of its module: ratios for divergences, differences for the rest), by what the results
hold (see `sway_gate.difference`):

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
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from sway_gate import difference, probes, stats
from sway_gate.difference import Difference
from sway_gate.result import GateResult, ModelFacts, ProbeResult, Verdict

LEVEL = 0.05
"""Of a false "worse" in a comparison, all its probes and the composite together."""

Outcome = Literal["regression", "worse", "same", "moved", "better", "new", "gone", "unknown"]
"""worse: beyond noise, within the tolerance. moved: beyond noise, neither better nor worse. gone: skipped before, not
there now. unknown: there is no difference that could be tested."""

COMPOSITE = "composite"

_LEAST_ERROR = 1e-9  # keeps sigmas finite where nothing is uncertain


class Sense(NamedTuple):
    """What a change of a probe's value means. `worse`: the sign of a change for the worse, 0 where none is;
    `otherwise`: what a change the other way is; beyond `best` nothing counts."""

    worse: Literal[-1, 0, 1]
    otherwise: Literal["better", "moved"] = "better"
    best: float | None = None


SENSES: dict[str, Sense] = {
    "delta_kl": Sense(-1, "moved"),
    "adapter_revert": Sense(1),
    # Of a slope and of likelihoods: 0 is no decay, and the base's own.
    "prompt_collapse": Sense(-1, best=0.0),
    "calibration_drift": Sense(-1, best=0.0),
    "external_perplexity": Sense(-1, best=0.0),
    "leakage": Sense(1, best=0.0),
    "cluster_kl": Sense(-1),
    "section_internalization": Sense(-1),
    "paraphrase_invariance": Sense(-1),
    "preference_flip": Sense(-1),
    # At 1 it writes like the document.
    "style_fingerprint": Sense(-1, best=1.0),
    # The size of the response says nothing of its shape, which the verdict judges.
    "adapter_ablation": Sense(0, "moved"),
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
    """Of a new result with an old one. `verdict`: regression, better, changed or same."""

    verdict: Literal["regression", "better", "changed", "same"]
    exit_code: Literal[0, 1]
    old: Subject
    new: Subject
    tolerance: float
    level: float
    composite: Change
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    """Where the two were not asked the same."""

    def regressions(self) -> list[Change]:
        return [change for change in (*self.changes, self.composite) if change.outcome == "regression"]


def compare(
    old: GateResult, new: GateResult, tolerance: float = 0.0, labels: tuple[str, str] = ("old", "new")
) -> Comparison:
    """`new` against `old`."""
    both = _matched(old, new)
    alike = _asked_alike(old, new)
    tests = [_tested(*pair, alike=name in alike) for (name, _), pair in both.items()]
    overall = _sound(_by_scores, old, new)
    *sures, sure_overall = _adjusted([*tests, overall])
    changes = tuple(
        _change(key, pair, tested, sure, tolerance)
        for (key, pair), tested, sure in zip(both.items(), tests, sures, strict=True)
    )
    composite = _composite(old, new, overall, sure_overall, tolerance)
    verdict = _verdict([composite, *changes])
    return Comparison(
        verdict=verdict,
        exit_code=1 if verdict == "regression" else 0,
        old=_subject(old, labels[0]),
        new=_subject(new, labels[1]),
        tolerance=tolerance,
        level=LEVEL,
        composite=composite,
        changes=changes,
        warnings=tuple(_warnings(old, new)),
    )


def course(results: Sequence[tuple[str, GateResult]], tolerance: float = 0.0) -> list[Comparison]:
    """Each of the labelled results but the first, against the first."""
    (label, first), *others = results
    return [compare(first, result, tolerance, (label, other)) for other, result in others]


Key = tuple[str, str]
"""Name and kind of a probe."""
Pair = tuple[ProbeResult | None, ProbeResult | None]


def _matched(old: GateResult, new: GateResult) -> dict[Key, Pair]:
    """In the new result's order, what it lacks at the end."""
    before, after = ({(p.name, p.kind): p for p in result.probes} for result in (old, new))
    return {key: (before.get(key), after.get(key)) for key in (*after, *(key for key in before if key not in after))}


def _subject(result: GateResult, label: str) -> Subject:
    return Subject(label=label, adapter=result.adapter, verdict=result.verdict, score=result.score)


def _side(probe: ProbeResult | None) -> Side | None:
    if probe is None:
        return None
    return Side(verdict=probe.verdict.value, raw=probe.raw, ci_95=probe.ci_95, z=probe.z, score=probe.score)


# The difference


class _Test(NamedTuple):
    """A difference, how it was found, and what it would mean."""

    method: Literal["items", "intervals", "z", "scores"]
    scale: str
    difference: Difference
    sense: Sense


class _Sure(NamedTuple):
    """Adjusted one-sided p-values of a change for the worse and of one the other way."""

    worse: float
    otherwise: float


def _tested(old: ProbeResult | None, new: ProbeResult | None, *, alike: bool) -> _Test | None:
    """By the best method that both allow; None where there is none."""
    if old is None or new is None or new.kind not in SENSES:
        return None
    sense, probe = SENSES[new.kind], probes.module(new.kind)
    methods = (_by_items, _by_intervals, _by_z) if alike else (_by_intervals, _by_z)
    return next((test for method in methods if (test := _sound(method, old, new, sense, probe))), None)


def _sound(method: Callable[..., _Test | None], *given: Any) -> _Test | None:
    """What the method makes of numbers that come from a file; None of those that are beyond reason."""
    with np.errstate(all="ignore"), suppress(ValueError, OverflowError):
        test = method(*given)
        return test if test and all(map(math.isfinite, test.difference)) else None
    return None


def _by_items(old: ProbeResult, new: ProbeResult, sense: Sense, probe: probes.Probe) -> _Test | None:
    if not (_have_values(old, new) and _are_pairs(old, new)):
        return None
    found = difference.paired(old.items, new.items, probe.SCALE, probe.RESOLUTION)
    return _Test("items", probe.SCALE, _up_to_best(found, sense, old, new), sense)


def _by_intervals(old: ProbeResult, new: ProbeResult, sense: Sense, probe: probes.Probe) -> _Test | None:
    before, after = (_interval(side, probe.SCALE) for side in (old, new))
    if not (_have_values(old, new) and before and after):
        return None
    (x, x_95), (y, y_95) = (
        difference.on_scale(side.raw or 0.0, interval, probe.SCALE, probe.RESOLUTION)
        for side, interval in ((old, before), (new, after))
    )
    found = difference.of_intervals(x, y, x_95, y_95, probe.RESOLUTION)
    return _Test("intervals", probe.SCALE, _up_to_best(found, sense, old, new), sense)


def _by_z(old: ProbeResult, new: ProbeResult, sense: Sense, _: probes.Probe) -> _Test | None:
    if old.z is None or new.z is None or not sense.worse:
        return None
    found = difference.of_z(old.z, new.z, *map(_nulls_behind_z, (old, new)))
    return _Test("z", "identity", found, Sense(-1))


def _have_values(old: ProbeResult, new: ProbeResult) -> bool:
    return old.raw is not None and new.raw is not None and old.units == new.units


def _are_pairs(old: ProbeResult, new: ProbeResult) -> bool:
    """Whether the items are of the same things in the same order: of prompt_collapse, the prompts that moved."""
    moved = [[row.get("moved") for row in _rows(probe)] for probe in (old, new)]
    same = new.kind != "prompt_collapse" or (bool(moved[0]) and moved[0] == moved[1])
    return len(old.items) == len(new.items) >= 2 and same and bool(np.isfinite([old.items, new.items]).all())


def _rows(probe: ProbeResult) -> list[dict[str, Any]]:
    rows = probe.details.get("prompts")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list | tuple) else []


def _interval(probe: ProbeResult, scale: stats.Scale) -> tuple[float, float] | None:
    """Of the value; a share's own, which has a width where all items agree."""
    if probe.raw is None:
        return None
    if scale == "identity" and stats.is_share(probe.items):
        return stats.share_interval(float(np.mean(probe.items)), len(probe.items))
    return probe.ci_95 if probe.ci_95 and probe.ci_95[0] <= probe.raw <= probe.ci_95[1] else None


def _up_to_best(found: Difference, sense: Sense, old: ProbeResult, new: ProbeResult) -> Difference:
    """The part of the way from old to new that is not beyond what is best."""
    if sense.best is None or old.raw is None or new.raw is None or old.raw == new.raw:
        return found
    capped = [max(v, sense.best) if sense.worse > 0 else min(v, sense.best) for v in (old.raw, new.raw)]
    share = (capped[1] - capped[0]) / (new.raw - old.raw)
    return Difference(found.value * share, found.se, found.sigmas * share)


def _nulls_behind_z(probe: ProbeResult) -> int:
    """0 for a harm: its z is a distance to its margin."""
    return 0 if probe.null_z is not None else probe.n_null


def _by_scores(old: GateResult, new: GateResult) -> _Test | None:
    """Of the composites, by the errors of the z's behind their scores."""
    if old.score is None or new.score is None:
        return None
    value, se = new.score - old.score, math.hypot(_composite_error(old), _composite_error(new))
    found = Difference(value, se, value / max(se, _LEAST_ERROR))
    return _Test("scores", "identity", found, Sense(-1))


def _composite_error(result: GateResult) -> float:
    """Standard error of the composite: weights as `judge.compose` has them, errors of z taken as independent."""
    total = sum(c.weight for c in result.categories.values() if c.score is not None)
    variance = 0.0
    for name, category in result.categories.items():
        scored = [p for p in result.probes if p.category == name and p.score is not None]
        inside = sum(p.weight for p in scored)
        if not (category.score and total and inside):  # a failed category scores 0, whatever its z
            continue
        errors = (p.weight * difference.score_error(p.z, _nulls_behind_z(p)) for p in scored if p.z is not None)
        variance += (category.weight / total / inside) ** 2 * sum(error**2 for error in errors)
    return math.sqrt(variance)


def _adjusted(tests: Sequence[_Test | None]) -> list[_Sure]:
    """Each test's p-values, Holm-adjusted over all of the same direction."""
    directed = [i for i, test in enumerate(tests) if test and test.sense.worse]
    some = [i for i, test in enumerate(tests) if test]
    worse = dict(zip(directed, stats.holm([_p(tests[i], worse=True) for i in directed]), strict=True))
    otherwise = dict(zip(some, stats.holm([_p(tests[i], worse=False) for i in some]), strict=True))
    return [_Sure(worse.get(i, 1.0), otherwise.get(i, 1.0)) for i in range(len(tests))]


def _p(test: _Test | None, *, worse: bool) -> float:
    if test is None:
        return 1.0
    sigmas, sign = test.difference.sigmas, test.sense.worse
    if not sign:
        return min(1.0, 2 * stats.normal_sf(abs(sigmas)))
    return stats.normal_sf(sigmas * sign if worse else -sigmas * sign)


# What it means


def _change(key: Key, pair: Pair, test: _Test | None, sure: _Sure, tolerance: float) -> Change:
    old, new = pair
    outcome, why = _outcome(old, new, test, sure, tolerance)
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


def _numbers(test: _Test | None, sure: _Sure) -> dict[str, Any]:
    if test is None:
        return {}
    value, se, sigmas = test.difference
    p = sure.worse if sigmas * test.sense.worse > 0 else sure.otherwise
    return {"method": test.method, "scale": test.scale, "difference": value, "se": se, "sigmas": sigmas, "p": p}


def _outcome(
    old: ProbeResult | None, new: ProbeResult | None, test: _Test | None, sure: _Sure, tolerance: float
) -> tuple[Outcome, str]:
    if old is None:
        return "new", "not in the old result"
    if turned := _turned(old.verdict, new.verdict if new else None):
        return turned
    if new is None or test is None:
        measured = old.raw is not None or (new is not None and new.raw is not None)
        return ("unknown", "no difference could be tested") if measured else ("same", "")
    return _beyond_noise(test, sure, old, new, tolerance)


def _beyond_noise(
    test: _Test, sure: _Sure, old: ProbeResult | GateResult, new: ProbeResult | GateResult, tolerance: float
) -> tuple[Outcome, str]:
    if sure.worse <= LEVEL:
        lost, said = _loss(test, old, new)
        why = f"worse by {abs(test.difference.sigmas):.1f} standard errors, {said}"
        if tolerance and lost <= tolerance:
            return "worse", f"{why}: within the tolerance of {tolerance:g}"
        return "regression", why
    if sure.otherwise <= LEVEL:
        how = "better" if test.sense.otherwise == "better" else "larger" if test.difference.value > 0 else "smaller"
        return test.sense.otherwise, f"{how} by {abs(test.difference.sigmas):.1f} standard errors"
    return "same", ""


def _loss(test: _Test, old: ProbeResult | GateResult, new: ProbeResult | GateResult) -> tuple[float, str]:
    """What a change for the worse costs, as `tolerance` counts it, and in words; infinite where there is no measure."""
    change = abs(test.difference.value)
    if test.method in ("z", "scores") or test.sense.best == 0.0 or isinstance(old, GateResult):
        before, after = old.score or 0.0, new.score or 0.0
        return (before - after if before > 0 else math.inf), f"score {before:.3f} to {after:.3f}"
    if test.sense.worse > 0:
        return change, f"{change:.0%} more"
    lost = -math.expm1(-change) if test.scale == "log" else change / abs(old.raw) if old.raw else math.inf
    return lost, f"{lost:.0%} of its value lost"


_MEASURED = (Verdict.PASS, Verdict.WARN, Verdict.FAIL)


def _turned(old: Verdict, new: Verdict | None) -> tuple[Outcome, str] | None:
    """What the verdicts alone decide, whatever the noise."""
    if new is None:
        return ("gone", "skipped before, not there now") if old is Verdict.SKIP else ("regression", "not there now")
    if new is Verdict.ERROR and old is not Verdict.ERROR:
        return "regression", f"{old} before, could not be measured now"
    if new is Verdict.SKIP and old in _MEASURED:
        return "regression", f"{old} before, skipped now"
    if new is Verdict.FAIL and old in (Verdict.PASS, Verdict.WARN):
        return "regression", f"{old} before, fails now"
    if old is Verdict.FAIL and new in (Verdict.PASS, Verdict.WARN):
        return "better", f"failed before, {new} now"
    return None


def _composite(old: GateResult, new: GateResult, test: _Test | None, sure: _Sure, tolerance: float) -> Change:
    outcome, why = _over_all(old, new, test, sure, tolerance)
    sides = (Side(verdict=result.verdict, raw=result.score, score=result.score) for result in (old, new))
    before, after = sides
    return Change(name=COMPOSITE, kind="", outcome=outcome, why=why, old=before, new=after, **_numbers(test, sure))


def _over_all(
    old: GateResult, new: GateResult, test: _Test | None, sure: _Sure, tolerance: float
) -> tuple[Outcome, str]:
    if old.verdict != new.verdict:
        if old.verdict == "pass" or new.verdict == "error":
            return "regression", f"the gate said {old.verdict}, and says {new.verdict}"
        if new.verdict == "pass":
            return "better", f"the gate said {old.verdict}, and says pass"
    if test is None:
        return ("same", "") if old.score is new.score else ("unknown", "no difference could be tested")
    return _beyond_noise(test, sure, old, new, tolerance)


def _verdict(changes: Iterable[Change]) -> Literal["regression", "better", "changed", "same"]:
    outcomes = {change.outcome for change in changes}
    if "regression" in outcomes:
        return "regression"
    if outcomes & {"worse", "moved", "new", "gone"}:
        return "changed"
    return "better" if "better" in outcomes else "same"


# Whether both were asked the same


def is_same_base(a: ModelFacts, b: ModelFacts) -> bool:
    """By content where that is known of both, else by name."""
    return a.digest == b.digest if a.digest and b.digest else a.path == b.path


def _asked_alike(old: GateResult, new: GateResult) -> set[str]:
    """Names of the probes that measured the same items of the same base in both."""
    if not (is_same_base(old.base, new.base) and old.texts == new.texts and old.seed == new.seed):
        return set()
    return {name for name, settings in new.asked.items() if old.asked.get(name) == settings}


def _warnings(old: GateResult, new: GateResult) -> Iterator[str]:
    """What else than the adapter differs, the gravest first."""
    if not is_same_base(old.base, new.base):
        yield f"another base ({old.base.path}, now {new.base.path}): every value is a difference from its own base"
    if old.texts and new.texts and old.texts != new.texts:
        yield "other training text, control prose or chat template: no item is the same"
    asked_otherwise = [name for name, settings in new.asked.items() if old.asked.get(name, settings) != settings]
    if asked_otherwise:
        yield f"other settings of {', '.join(asked_otherwise)}"
    for what, before, after in _facts(old, new):
        if before != after:
            yield f"another {what}: {before}, now {after}"
    yield from _version_warnings(old.versions, new.versions)


def _facts(old: GateResult, new: GateResult) -> Iterator[tuple[str, str, str]]:
    def weights(result: GateResult) -> str:
        return ", ".join(f"{name} {category.weight:g}" for name, category in sorted(result.categories.items()))

    def nulls(result: GateResult) -> str:
        n = result.nulls
        return f"{n.runs} {n.null} from seed {n.seed_base}" if n else "none"

    yield "threshold", f"{old.threshold:g}", f"{new.threshold:g}"
    yield "weighting of categories", weights(old), weights(new)
    yield "set of null adapters", nulls(old), nulls(new)
    yield "seed", str(old.seed), str(new.seed)
    if old.device and new.device:
        yield "way to compute", f"{old.dtype} on {old.device}", f"{new.dtype} on {new.device}"


def _version_warnings(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    changed = [name for name in old if name in new and old[name] != new[name]]
    if changed:
        yield "other versions: " + ", ".join(f"{name} {old[name]}, now {new[name]}" for name in changed)
