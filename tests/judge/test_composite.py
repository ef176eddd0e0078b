import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from sway_gate.judge.composite import CATEGORIES, compose, contradiction, effective_weights
from sway_gate.reports.json_v1 import from_json, to_json
from sway_gate.results import (
    Baseline,
    Category,
    Finding,
    GateResult,
    ModelFacts,
    ProbeResult,
    Regression,
    Verdict,
)
from sway_gate.spec.schema import SCORE_WEIGHTS
from tests.helpers import results as results_helper

EFFECT, HARM = "delta_kl", "external_perplexity"
KINDS = st.sampled_from([EFFECT, HARM])
WEIGHTS = {name: float(weight) for name, weight in SCORE_WEIGHTS.items()}  # type: ignore[arg-type]


def result(
    category: str,
    score: float | None,
    verdict: str = "pass",
    weight: float = 1.0,
    kind: str = EFFECT,
    z: float | None = None,
) -> ProbeResult:
    return ProbeResult(
        name="p",
        kind=kind,
        category=category,
        verdict=Verdict(verdict),
        message="",
        score=score,
        weight=weight,
        score_z=z,
    )


COMPOSITES = {
    "all categories": (
        [("adherence", 0.8), ("attribution", 0.9), ("calibration", 0.5), ("ablation", 0.6)],
        0.30 * 0.8 + 0.35 * 0.9 + 0.20 * 0.5 + 0.15 * 0.6,
    ),
    "absent categories drop out": (
        [("adherence", 0.8), ("ablation", 0.6)],
        (0.3 * 0.8 + 0.15 * 0.6) / 0.45,
    ),
    "mean inside a category": ([("adherence", 0.8), ("adherence", 0.6)], 0.7),
    "nothing scored": ([("adherence", None)], None),
}


@pytest.mark.parametrize(("scores", "expected"), COMPOSITES.values(), ids=COMPOSITES)
def test_composite(scores: list[tuple[str, float | None]], expected: float | None) -> None:
    composite = compose([result(c, s) for c, s in scores], WEIGHTS, 0.0)
    assert composite.score == (None if expected is None else pytest.approx(expected))


def test_probe_weights_count_inside_a_category() -> None:
    results = [result("adherence", 1.0, weight=3.0), result("adherence", 0.0, weight=1.0)]
    assert compose(results, WEIGHTS, 0.0).score == pytest.approx(0.75)


GATES = {
    # verdicts of the probes -> verdict and exit code of the gate, at score .7 and threshold .6
    "pass": (["pass", "pass"], "pass", 0),
    "inconclusive does not fail": (["pass", "warn"], "pass", 0),
    "skipped does not fail": (["pass", "skip"], "pass", 0),
    "fail": (["pass", "fail"], "fail", 1),
    "error": (["pass", "error"], "error", 3),
    "a fail takes precedence over an error": (["error", "fail"], "fail", 1),
    "nothing but skips decides nothing": (["skip", "skip"], "error", 3),
    "nothing but inconclusive results decides nothing": (["warn", "warn"], "error", 3),
    "no probe at all decides nothing": ([], "error", 3),
}


@pytest.mark.parametrize(("verdicts", "verdict", "code"), GATES.values(), ids=GATES)
def test_the_verdicts_of_the_probes_decide_the_gate(
    verdicts: list[str], verdict: str, code: int
) -> None:
    results = [result("adherence", None if v in ("skip", "error") else 0.7, v) for v in verdicts]
    composite = compose(results, WEIGHTS, 0.6)
    assert (composite.verdict, composite.exit_code) == (verdict, code)


@pytest.mark.parametrize(
    ("threshold", "verdict"), [(0.69, "pass"), (0.7, "pass"), (0.71, "fail"), (math.nan, "fail")]
)
def test_the_composite_must_reach_the_threshold(threshold: float, verdict: str) -> None:
    assert compose([result("adherence", 0.7)], WEIGHTS, threshold).verdict == verdict


def test_a_category_without_weight_decides_nothing() -> None:
    assert compose([result("adherence", 0.9)], WEIGHTS | {"adherence": 0.0}, 0.6).verdict == "error"


MISSING = {
    "no probe": ([], {}),
    "skipped": ([result("attribution", None, "skip")], {}),
    "a probe without weight": ([result("attribution", 0.9, weight=0.0)], {}),
    "a category without weight": ([result("attribution", 0.9)], {"attribution": 0.0}),
}


@pytest.mark.parametrize(("others", "weights"), MISSING.values(), ids=MISSING)
def test_without_required_evidence_the_gate_does_not_decide(
    others: list[ProbeResult], weights: dict[str, float]
) -> None:
    results = [result("adherence", 0.9), *others]
    found = compose(results, WEIGHTS | weights, 0.6, ("attribution",))
    assert (found.verdict, found.missing) == ("error", ["attribution"])
    assert compose(results, WEIGHTS | weights, 0.6).verdict == "pass"
    failed = [*results, result("adherence", 0.0, "fail")]
    assert compose(failed, WEIGHTS | weights, 0.6, ("attribution",)).verdict == "fail"


def test_required_evidence_that_is_inconclusive_does_not_decide() -> None:
    """Also at a composite that reaches the threshold."""
    learned = result("attribution", 0.55, "warn")
    results = [result("adherence", 0.95), learned]
    found = compose(results, WEIGHTS, 0.6, ("attribution",))
    assert (found.verdict, found.exit_code, found.missing) == ("error", 3, [])
    assert (found.score or 0.0) >= 0.6
    assert compose(results, WEIGHTS, 0.6).verdict == "pass"
    assert compose(results, WEIGHTS, 0.9, ("attribution",)).verdict == "error"
    passed = [*results, result("attribution", 0.7)]
    assert compose(passed, WEIGHTS, 0.6, ("attribution",)).verdict == "pass"
    weightless = [*results, result("attribution", 0.7, weight=0.0)]
    assert compose(weightless, WEIGHTS, 0.6, ("attribution",)).verdict == "error"
    failed = [*results, result("ablation", 0.0, "fail")]
    assert compose(failed, WEIGHTS, 0.6, ("attribution",)).verdict == "fail"


def test_absent_harms_do_not_pass_an_effect_that_is_inconclusive() -> None:
    harmless = result("calibration", 0.9, kind=HARM)
    moved = result("adherence", 0.55, "warn")
    found = compose([moved, harmless], WEIGHTS, 0.0)
    assert (found.verdict, found.exit_code) == ("error", 3)
    assert compose([harmless], WEIGHTS, 0.6).verdict == "pass"
    shown = [moved, harmless, result("ablation", 0.8)]
    assert compose(shown, WEIGHTS, 0.0).verdict == "pass"
    without_weight = structs.replace(moved, weight=0.0)
    assert compose([without_weight, harmless], WEIGHTS, 0.0).verdict == "pass"


def test_required_evidence_is_not_shown_if_most_estimates_are_outside() -> None:
    moved, learned = result("adherence", 0.9), result("attribution", 0.9)
    outside = result("attribution", 0.55, "warn", z=-0.1)
    required = ("attribution",)
    for doubts, verdict in ((1, "pass"), (2, "error")):
        found = [moved, learned, *[outside] * doubts]
        assert compose(found, WEIGHTS, 0.6, required).verdict == verdict
        assert compose(found, WEIGHTS, 0.6).verdict == "pass"
        of_another_rule = [structs.replace(each, z=6.0) for each in found]
        assert compose(of_another_rule, WEIGHTS, 0.6, required).verdict == verdict
        inside = [structs.replace(each, score_z=0.1) if each == outside else each for each in found]
        assert compose(inside, WEIGHTS, 0.6, required).verdict == "pass"


CLEAR = {
    # kind, z of the estimate -> verdict
    "held-out rows, clearly outside": ("generalization", -1.1, "error"),
    "what the model says, clearly outside": ("answer_recall", -1.1, "error"),
    "held-out rows, outside": ("generalization", -0.9, "pass"),
    "preferences": ("preference_flip", -1.1, "pass"),
}


@pytest.mark.parametrize(("kind", "z", "verdict"), CLEAR.values(), ids=CLEAR)
def test_one_estimate_clearly_outside_leaves_the_verdict_open_if_no_other_probe_answers_it(
    kind: str, z: float, verdict: str
) -> None:
    shown = [result("adherence", 0.9), *[result("attribution", 0.9)] * 2]
    one = result("attribution", 0.55, "warn", kind=kind, z=z)
    assert compose([*shown, one], WEIGHTS, 0.6, ("attribution",)).verdict == verdict
    assert compose([*shown, one], WEIGHTS, 0.6).verdict == "pass"


def test_a_harm_that_is_inconclusive_and_probably_there_does_not_pass() -> None:
    shown = [result("adherence", 0.9), result("calibration", 0.9, kind=HARM)]
    doubtful = result("calibration", 0.55, "warn", kind=HARM, z=-0.1)
    found = compose([*shown, doubtful], WEIGHTS, 0.6)
    assert (found.verdict, found.exit_code) == ("error", 3)
    for harmless in (
        structs.replace(doubtful, score_z=0.1),
        structs.replace(doubtful, weight=0.0),
        structs.replace(doubtful, kind=EFFECT),
    ):
        assert compose([*shown, harmless], WEIGHTS, 0.6).verdict == "pass"
    assert compose([*shown, doubtful, result("ablation", 0.0, "fail")], WEIGHTS, 0.6).exit_code == 1


SCORES = {
    "pass": st.floats(0.6, 1.0, exclude_max=True),
    "warn": st.floats(0.0, 0.6, exclude_max=True),
    "fail": st.just(0.0),
    "skip": st.none(),
    "error": st.none(),
}
ANY_Z = st.sampled_from([None, -1.0, -1e-9, 0.0, 1.0, math.nan])
ANY_WEIGHT = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))


@st.composite
def outcomes(draw, verdicts=tuple(SCORES)):
    verdict = draw(st.sampled_from(verdicts))
    category = draw(st.sampled_from(CATEGORIES))
    z = draw(ANY_Z) if verdict == "warn" else None
    return result(category, draw(SCORES[verdict]), verdict, draw(ANY_WEIGHT), draw(KINDS), z)


ALL_WEIGHTS = st.fixed_dictionaries(dict.fromkeys(CATEGORIES, ANY_WEIGHT))
REQUIRED = st.sampled_from([(), ("attribution",)])


@given(st.lists(outcomes(("pass",)), max_size=8), ALL_WEIGHTS)
def test_probes_that_all_pass_have_a_composite_at_the_limit_or_above(results, weights):
    found = compose(results, weights, 0.6)
    assert found.score is None or found.score >= 0.6
    assert found.verdict == ("error" if found.score is None else "pass")


@given(
    st.lists(outcomes(), max_size=8),
    ALL_WEIGHTS,
    st.one_of(st.floats(0, 1), st.just(math.nan)),
    REQUIRED,
)
def test_a_gate_is_green_only_with_evidence(results, weights, threshold, required):
    found = compose(results, weights, threshold, required)
    weighed = [r for r in results if r.weight > 0 and weights[r.category] > 0]
    verdicts = {r.verdict for r in results}
    if found.verdict == "pass":
        assert not verdicts & {"fail", "error"}
        assert any(r.verdict == "pass" for r in weighed)
        assert found.score >= threshold
        passed = [r for r in weighed if r.verdict == "pass"]
        assert all(any(r.category == name for r in passed) for name in required)
    assert (found.verdict == "fail") >= ("fail" in verdicts)
    assert found.exit_code == {"pass": 0, "fail": 1, "error": 3}[found.verdict]


def test_a_score_of_nan_does_not_pass() -> None:
    results = [result("adherence", math.nan), result("ablation", 0.9)]
    assert compose(results, WEIGHTS, 0.0).verdict == "fail"


# Anything that a wrong probe, a spec or a report could contain.
ANY_SCORE = st.sampled_from([None, math.nan, math.inf, -math.inf, -1.0, 2.0]) | st.floats(0, 1)
WRONG_WEIGHTS = st.sampled_from([5e-324, 1e-4, 1e4, 1e308, math.nan, math.inf, -1.0])
HOSTILE_WEIGHT = ANY_WEIGHT | WRONG_WEIGHTS
ANY_THRESHOLD = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 2.0]) | st.floats(0, 1)


@st.composite
def anything(draw, scores=ANY_SCORE, weights=HOSTILE_WEIGHT):
    category = draw(st.sampled_from([*CATEGORIES, "baseline", ""]))
    verdict = draw(st.sampled_from(list(SCORES)))
    return result(category, draw(scores), verdict, draw(weights), draw(KINDS), draw(ANY_Z))


def exact_composite(results, weights):
    """The composite in exact arithmetic; None if there is none."""
    means = {}
    for name in CATEGORIES:
        own = [r for r in results if r.category == name and r.score is not None and r.weight > 0]
        if own and weights[name] > 0:
            total = sum(Fraction(r.weight) for r in own)
            means[name] = sum(Fraction(r.weight) * Fraction(r.score) for r in own) / total
    total = sum(Fraction(weights[name]) for name in means)
    return sum(Fraction(weights[n]) * mean for n, mean in means.items()) / total if means else None


def is_at_or_outside(result):
    """Whether a probe is inconclusive, with its estimate outside the limit or at it."""
    return result.verdict == "warn" and result.score_z is not None and result.score_z <= 0


def is_passed_by_a_person(results, weights, threshold, required):
    """Whether a careful reader of the results would release the adapter."""
    numbers = [r.weight for r in results] + list(weights.values())
    if not all(w == 0 or 1e-3 <= w <= 1e3 for w in numbers):
        return False
    if any(r.verdict in ("fail", "error") for r in results):
        return False
    if not all(r.score is None or 0 <= r.score <= 1 for r in results):
        return False
    weighed = [
        r
        for r in results
        if r.score is not None and r.weight > 0 and weights.get(r.category, 0) > 0
    ]
    proven = {r.category for r in weighed if r.verdict == "pass"}
    for name in required:
        own = [r for r in results if r.category == name and r.score is not None and r.weight > 0]
        if sum(map(is_at_or_outside, own)) * 2 > len(own):
            return False
    if any(r.kind == HARM and is_at_or_outside(r) for r in weighed):
        return False
    effects = {r.verdict for r in weighed if r.kind == EFFECT}
    if effects and "pass" not in effects:
        return False
    score = exact_composite(results, weights)
    reached = score is not None and 0 <= threshold <= 1 and score >= Fraction(threshold) - EPSILON
    return bool(proven) and set(required) <= proven and reached


EPSILON = Fraction(1, 10**12)


@settings(max_examples=300)
@given(
    st.lists(anything(), max_size=6),
    st.fixed_dictionaries(dict.fromkeys(CATEGORIES, HOSTILE_WEIGHT)),
    ANY_THRESHOLD,
    REQUIRED,
)
def test_nothing_passes_that_a_person_would_not_pass(results, weights, threshold, required):
    found = compose(results, weights, threshold, required)
    if found.verdict == "pass":
        assert is_passed_by_a_person(results, weights, threshold, required)
    assert (found.exit_code == 0) == (found.verdict == "pass")


@settings(max_examples=100)
@given(
    st.lists(outcomes(("pass", "warn", "skip")), max_size=6),
    ALL_WEIGHTS,
    st.floats(0, 1),
    REQUIRED,
)
def test_what_a_person_would_pass_passes(results, weights, threshold, required):
    if is_passed_by_a_person(results, weights, threshold + 1e-9, required):
        assert compose(results, weights, threshold, required).verdict == "pass"


OVERFLOWS = {
    "huge weights": ([result("adherence", 0.9, weight=1e308)] * 2, {}),
    "a vanishing weight next to others": (
        [result("adherence", 0.9, weight=5e-324), result("adherence", 0.5, "warn")],
        {},
    ),
    "a huge category": ([result("adherence", 0.9)], {"adherence": 1e308, "ablation": 1e308}),
    "a vanishing category": ([result("adherence", 0.9)], {"adherence": 5e-324}),
    "a negative weight": ([result("adherence", 0.9), result("ablation", 0.9, weight=-1.0)], {}),
    "a score above 1": ([result("adherence", 5.0), result("ablation", 0.1)], {}),
}


@pytest.mark.parametrize(("results", "weights"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_numbers_out_of_range_never_pass(results, weights) -> None:
    assert compose(results, WEIGHTS | weights, 0.0).verdict in ("fail", "error")


def judged_result(*probes: ProbeResult, **fields: Any) -> GateResult:
    """A result that says pass."""
    categories = {name: Category(weight=weight) for name, weight in WEIGHTS.items()}
    return results_helper.result(*probes, **({"categories": categories} | fields))


PASSED = result("adherence", 0.9)
REQUIRING = {"attribution": Category(weight=0.35, required=True)}
CONTRADICTIONS = {
    "a failed probe": ((result("adherence", 0.0, "fail"),), {}, "contradicts its probes: fail"),
    "an error": ((PASSED, result("ablation", None, "error")), {}, "contradicts its probes: error"),
    "no probe": ((), {}, "contradicts its probes: error"),
    "only skips": ((result("adherence", None, "skip"),), {}, "contradicts its probes: error"),
    "only inconclusive": ((result("adherence", 0.5, "warn"),), {"threshold": 0.0}, "error"),
    "below the threshold": ((PASSED,), {"threshold": 0.95}, "contradicts its probes: fail"),
    "a threshold of NaN": ((PASSED,), {"threshold": math.nan}, "contradicts its probes: fail"),
    "no categories": ((PASSED,), {"categories": {}}, "contradicts its probes: error"),
    "required evidence is missing": ((PASSED,), {"categories": REQUIRING}, "error"),
    "a low composite": ((PASSED,), {"score": 0.3}, "contradicts its composite: 0.3"),
    "no composite": ((PASSED,), {"score": None}, "contradicts its composite: None"),
    "exit code 1": ((PASSED,), {"exit_code": 1}, "the verdict pass has exit code 1"),
    "exit code 0 of a fail": ((PASSED,), {"verdict": "fail"}, "the verdict fail has exit code 0"),
    "exit code 0 of an error": ((), {"verdict": "error"}, "the verdict error has exit code 0"),
    "a finding": (
        (PASSED,),
        {"findings": (Finding(id="never-trained", level="verdict", message=""),)},
        "contradicts the finding never-trained",
    ),
    "a regression": (
        (PASSED,),
        {
            "baseline": Baseline(
                path="b",
                adapter=ModelFacts(path="a", digest=""),
                score=0.9,
                tolerance=0.0,
                verdict="pass",
                regressions=(Regression(name="p", message="worse"),),
            )
        },
        "contradicts its baseline",
    ),
}


@pytest.mark.parametrize(("probes", "fields", "why"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_result_that_contradicts_itself(probes, fields, why) -> None:
    assert contradiction(judged_result(PASSED)) == ""
    assert why in contradiction(judged_result(*probes, **fields))


@settings(max_examples=100)
@given(
    st.lists(outcomes(), max_size=6),
    ALL_WEIGHTS,
    st.floats(0, 1),
    REQUIRED,
)
def test_a_result_of_the_gate_does_not_contradict_itself(results, weights, threshold, required):
    """Also after it was written as JSON and read again."""
    probes = [structs.replace(probe, name=str(i)) for i, probe in enumerate(results)]
    found = compose(probes, weights, threshold, required)
    report = judged_result(
        *probes,
        verdict=found.verdict,
        exit_code=found.exit_code,
        score=found.score,
        threshold=threshold,
        categories=found.categories,
    )
    assert contradiction(report) == ""
    assert from_json(to_json(report)).verdict == found.verdict


@settings(max_examples=100)
@given(st.lists(anything(), max_size=6), ALL_WEIGHTS, ANY_THRESHOLD)
def test_a_claimed_pass_is_believed_only_if_it_follows(results, weights, threshold):
    categories = {name: Category(weight=weight) for name, weight in weights.items()}
    found = compose(results, weights, threshold)
    report = judged_result(*results, score=found.score, threshold=threshold, categories=categories)
    assert (contradiction(report) == "") is (found.verdict == "pass")


def test_the_composite_follows_from_the_effective_weights() -> None:
    given = [
        result("adherence", 0.9),
        structs.replace(result("attribution", 0.8, weight=3.0), name="a"),
        structs.replace(result("attribution", 0.6), name="b"),
        structs.replace(result("calibration", None, "skip"), name="c"),
    ]
    made = compose(given, WEIGHTS, 0.6)
    whole = results_helper.result(*given, score=made.score, categories=made.categories)
    of_categories, of_probes = effective_weights(whole)
    assert set(of_categories) == {"adherence", "attribution"}
    assert sum(of_probes.values()) == pytest.approx(1.0)
    by_probe = sum(of_probes[one.name] * (one.score or 0.0) for one in given[:3])
    assert by_probe == pytest.approx(made.score)
    scores = {name: own.score or 0.0 for name, own in made.categories.items()}
    assert sum(of_categories[n] * scores[n] for n in of_categories) == pytest.approx(made.score)
