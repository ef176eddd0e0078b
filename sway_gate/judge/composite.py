"""Combines probe results into the composite score, the verdict and the exit code."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sway_gate.judge.waivers import expired, is_valid, is_waived
from sway_gate.results import Category, GateResult, ProbeResult, Verdict
from sway_gate.spec.schema import is_weight

EXIT_CODES = {"pass": 0, "fail": 1, "error": 3}
"""Exit code of the gate by its verdict."""
CATEGORIES = ("adherence", "attribution", "calibration", "ablation")
# Standard errors. Simulated: with 1.0 the gate asks more items about 13% of the adapters with an
# increase of a quarter of the margin, and 82% of them pass, with 1.5 about 29%, and 97% pass.
_NEAR = 1.5
# Standard errors. An estimate at the limit is outside in half of the cases, and so far outside in
# one of six.
_CLEAR = 1.0


class Composite(NamedTuple):
    """The gate's decision over all probes."""

    verdict: str
    score: float | None
    categories: dict[str, Category]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def missing(self) -> list[str]:
        """The required categories without a score."""
        return missing(self.categories)


def missing(categories: Mapping[str, Category]) -> list[str]:
    """The required categories without a score."""
    return [name for name, own in categories.items() if own.required and not _counts(own)]


def compose(
    results: Sequence[ProbeResult],
    weights: Mapping[str, float],
    threshold: float,
    required: Collection[str] = (),
) -> Composite:
    """The weighted mean of scores inside each category, then over the categories that have any.

    A category with a FAIL scores 0: other probes cannot compensate for a failure. A waived probe
    has no score.

    - fail (1): a probe fails, a waiver has expired, or the score does not reach `threshold`;
    - error (3): a probe ends in an error, nothing has a score, a category of `required` has none or
      no weight, no probe of such a category passes, no probe with a weight passes, effects were
      requested and none passes, or the time budget left out probes of harm and none passes: skips,
      inconclusive and waived results and absent harms do not decide. Or a harm or most probes of a
      category of `required` are inconclusive with an estimate outside the limit, or one probe of it
      whose question no other answers, more than a standard error outside, or a weight is out of
      range;
    - pass (0): otherwise. Scores and threshold are then numbers from 0 to 1.

    A FAIL takes precedence over an ERROR, and an ERROR over a low score.
    """
    categories = {}
    for name in CATEGORIES:
        own = [result for result in results if result.category == name]
        categories[name] = Category(
            weight=weights.get(name, 0.0), score=_category(own), required=name in required
        )
    score = _mean(categories.values())
    verdict = _verdict(results, categories, score, threshold)
    return Composite(verdict, score, categories)


def effective_weights(result: GateResult) -> tuple[dict[str, float], dict[str, float]]:
    """The shares of each category and of each probe in the composite, by name; each sums to 1.

    A category or a probe without a score has none. A failed probe sets the score of its category to
    0.
    """
    categories = _shares({name: c.weight for name, c in result.categories.items() if _counts(c)})
    probes: dict[str, float] = {}
    for name, share in categories.items():
        own = [probe for probe in result.probes if probe.category == name and _counts(probe)]
        within = _shares({probe.name: probe.weight for probe in own})
        probes |= {probe: share * part for probe, part in within.items()}
    return categories, probes


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def contradiction(result: GateResult) -> str:
    """Why a result that says pass does not follow from its parts; "" if it does.

    Only a pass is recomputed: a report must not become green by a mistake or a forgery.
    """
    if result.verdict != "pass":
        return f"the verdict {result.verdict} has exit code 0" if result.exit_code == 0 else ""
    if result.exit_code != 0:
        return f"the verdict pass has exit code {result.exit_code}"
    if result.baseline and (result.baseline.regressions or result.baseline.verdict != "pass"):
        return "the verdict pass contradicts its baseline"
    if faults := [found.id for found in result.findings if found.level in ("broken", "verdict")]:
        return f"the verdict pass contradicts the finding {faults[0]}"
    if any(found.level == "waived" and not is_waived(found) for found in result.findings):
        return "the level waived of a finding does not follow from a waiver"
    if any(r.verdict is Verdict.WAIVED and not is_valid(r) for r in result.probes):
        return "the verdict waived of a probe does not follow from a waiver"
    weights = {name: own.weight for name, own in result.categories.items()}
    required = [name for name, own in result.categories.items() if own.required]
    own = compose(result.probes, weights, result.threshold, required)
    if own.verdict != "pass":
        return f"the verdict pass contradicts its probes: {own.verdict}"
    is_reached = result.score is not None and result.score >= result.threshold
    return "" if is_reached else f"the verdict pass contradicts its composite: {result.score}"


def _verdict(
    results: Sequence[ProbeResult],
    categories: Mapping[str, Category],
    score: float | None,
    threshold: float,
) -> str:
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts or expired(results):
        return "fail"
    if Verdict.ERROR in verdicts or score is None or missing(categories):
        return "error"
    weights = [result.weight for result in results] + [own.weight for own in categories.values()]
    if not all(map(is_weight, weights)):
        return "error"
    passed = {result.category for result in results if _passes(result, categories)}
    needed = {name for name, own in categories.items() if own.required}
    if not passed or needed - passed or any(doubtful(results, name) for name in needed):
        return "error"
    if any(suggests_harm(result) and _is_weighed(result, categories) for result in results):
        return "error"
    if verdicts & {Verdict.WARN, Verdict.WAIVED} and not all(
        _is_shown(results, categories, harm=harm) for harm in (False, True)
    ):
        return "error"
    scores = [result.score for result in results if result.score is not None]
    # Any comparison with NaN is false.
    is_reached = 0 <= threshold <= score and all(0 <= own <= 1 for own in scores)
    return "pass" if is_reached else "fail"


def _passes(result: ProbeResult, categories: Mapping[str, Category]) -> bool:
    return result.verdict is Verdict.PASS and _is_weighed(result, categories)


def _is_weighed(result: ProbeResult, categories: Mapping[str, Category]) -> bool:
    own = categories.get(result.category)
    return bool(own) and _counts(own) and _counts(result)


def _is_shown(
    results: Sequence[ProbeResult], categories: Mapping[str, Category], *, harm: bool
) -> bool:
    """Whether an effect passes, if any was tested or left out for lack of time.

    With `harm`, whether a probe of harm passes, if any was left out.
    """
    from sway_gate import probes  # imports numpy, which reports do without

    own = [
        result
        for result in results
        if (
            _is_weighed(result, categories)
            or (result.is_left_out and result.weight > 0)
            or result.verdict is Verdict.WAIVED
        )
        and result.kind in probes.TABLE
        and probes.module(result.kind).KIND.harm is harm
    ]
    if harm and not any(result.is_left_out for result in own):
        return True
    return not own or any(_passes(result, categories) for result in own)


def doubtful(results: Sequence[ProbeResult], category: str) -> list[str]:
    """The inconclusive probes of a category whose estimates are outside, if they are most of it, or
    if one of them is clearly outside and no other probe answers its question.

    One such probe may have too few items; if most agree, the category is not shown.
    """
    own = [result for result in results if result.category == category and _counts(result)]
    outside = [result for result in own if is_outside(result)]
    is_shown = 2 * len(outside) <= len(own) and not any(map(_is_clearly_outside, outside))
    return [] if is_shown else [result.name for result in outside]


def is_outside(result: ProbeResult) -> bool:
    """Whether a probe is inconclusive with an estimate outside its limit, or at it.

    The criterion that decides has a z up to 0 only if it is a distance to a limit.
    """
    z = result.decisive_z
    return result.verdict is Verdict.WARN and z is not None and z <= 0


def suggests_harm(result: ProbeResult) -> bool:
    """Whether a probe of harm is inconclusive with an estimate outside its limit."""
    return is_outside(result) and _is_of_harm(result)


def leaves_harm_open(result: ProbeResult) -> bool:
    """Whether more items should decide about a harm: it is inconclusive, and its estimate is
    outside the limit or within 1.5 standard errors of it. An adapter that loses half of the right
    answers to short questions can lose two of the first 13: 1.4 standard errors from the limit."""
    z = result.decisive_z
    return result.verdict is Verdict.WARN and z is not None and z < _NEAR and _is_of_harm(result)


def is_final(results: Sequence[ProbeResult], *, has_budget: bool) -> bool:
    """Whether a later run of the same suite would come to the same results.

    A time budget can end a run before more items decide about a harm.
    """
    if any(result.is_left_out or result.verdict is Verdict.ERROR for result in results):
        return False
    return not has_budget or not any(map(leaves_harm_open, results))


def _is_of_harm(result: ProbeResult) -> bool:
    from sway_gate import probes  # imports numpy, which reports do without

    return result.kind in probes.TABLE and probes.module(result.kind).KIND.harm


def _is_clearly_outside(result: ProbeResult) -> bool:
    """Whether no other probe answers the question of an inconclusive probe, and its estimate is
    more than a standard error outside its limit."""
    from sway_gate import probes  # imports numpy, which reports do without

    z = result.decisive_z
    is_clear = z is not None and z < -_CLEAR
    return is_clear and result.kind in probes.TABLE and probes.module(result.kind).KIND.stands_alone


def _counts(scored: ProbeResult | Category | None) -> bool:
    """Whether it has a score and a weight."""
    return scored is not None and scored.score is not None and scored.weight > 0


def _category(results: Sequence[ProbeResult]) -> float | None:
    failed = any(r.verdict is Verdict.FAIL and r.weight > 0 for r in results)
    return 0.0 if failed else _mean(results)


def _mean(scored: Iterable[ProbeResult | Category]) -> float | None:
    """The weighted mean of the scores; None if there are none."""
    weighed = [(s.weight, s.score) for s in scored if s.score is not None and s.weight > 0]
    if not weighed:
        return None
    total = sum(weight for weight, _ in weighed)
    mean = sum(weight / total * score for weight, score in weighed)
    scores = [score for _, score in weighed]
    return min(max(mean, min(scores)), max(scores))  # rounding does not move it outside
