import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sway_gate.judge.composite import CATEGORIES, compose
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.schema import SCORE_WEIGHTS

WEIGHTS = {name: float(weight) for name, weight in SCORE_WEIGHTS.items()}  # type: ignore[arg-type]


def result(
    category: str, score: float | None, verdict: str = "pass", weight: float = 1.0
) -> ProbeResult:
    return ProbeResult(
        name="p",
        kind="delta_kl",
        category=category,
        verdict=Verdict(verdict),
        message="",
        score=score,
        weight=weight,
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


SCORES = {
    "pass": st.floats(0.6, 1.0, exclude_max=True),
    "warn": st.floats(0.0, 0.6, exclude_max=True),
    "fail": st.just(0.0),
    "skip": st.none(),
    "error": st.none(),
}
ANY_WEIGHT = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))


@st.composite
def outcomes(draw, verdicts=tuple(SCORES)):
    verdict = draw(st.sampled_from(verdicts))
    category = draw(st.sampled_from(CATEGORIES))
    return result(category, draw(SCORES[verdict]), verdict, draw(ANY_WEIGHT))


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
