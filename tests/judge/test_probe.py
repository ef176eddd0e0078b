import numpy as np
import pytest

from sway_gate.judge.composite import compose
from sway_gate.judge.probe import NullViews, _bound_text, rank_profile
from sway_gate.probes.base import Bound
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.schema import SCORE_WEIGHTS
from sway_gate.stats import Margin
from tests.helpers.judged import by_source, judged

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
    "no probe at all decides nothing": ([], "error", 3),
}


@pytest.mark.parametrize(("verdicts", "verdict", "code"), GATES.values(), ids=GATES)
def test_the_verdicts_of_the_probes_decide_the_gate(
    verdicts: list[str], verdict: str, code: int
) -> None:
    results = [result("adherence", None if v in ("skip", "error") else 0.7, v) for v in verdicts]
    composite = compose(results, WEIGHTS, 0.6)
    assert (composite.verdict, composite.exit_code) == (verdict, code)


@pytest.mark.parametrize(("threshold", "verdict"), [(0.69, "pass"), (0.7, "pass"), (0.71, "fail")])
def test_the_composite_must_reach_the_threshold(threshold: float, verdict: str) -> None:
    assert compose([result("adherence", 0.7)], WEIGHTS, threshold).verdict == verdict


def test_a_category_without_weight_decides_nothing() -> None:
    assert compose([result("adherence", 0.9)], WEIGHTS | {"adherence": 0.0}, 0.6).verdict == "error"


@pytest.mark.parametrize(("multiplier", "scale"), [(1.0, 1.0), (4.0, 2.0), (0.25, 0.5)])
def test_a_rank_multiplier_scales_by_its_root(multiplier: float, scale: float) -> None:
    assert [v.scale for v in NullViews(3).views(multiplier)] == [scale] * 3


PROFILES = {
    "not requested": ({}, ""),
    "one only": ({"1": 5.0}, ""),
    "stable": ({"1": 6.0, "0.5": 7.0, "2": 4.0}, "rank-stable"),
    "saturated": ({"1": 3.2, "0.5": 6.8, "2": 1.1}, "rank-saturated"),
    "a small margin": ({"1": 3.1, "0.5": 3.6, "2": 2.7}, "rank-sensitive"),
    "weak": ({"1": 1.0, "0.5": 2.0, "2": 0.1}, "weak at any rank"),
    "below": ({"1": -1.0, "0.5": -0.5, "2": -3.0}, "weak at any rank"),
}


@pytest.mark.parametrize(("z_by_rank", "words"), PROFILES.values(), ids=PROFILES)
def test_the_rank_profile_is_one_sentence(z_by_rank: dict[str, float], words: str) -> None:
    sentence = rank_profile(z_by_rank, 3.0)
    assert sentence.startswith(words)
    assert bool(sentence) == bool(words)


def test_nulls_of_more_rank_are_nulls_of_more_variance() -> None:
    """The closed form of rank multipliers: entries of B A have variance r s_a^2 s_b^2."""
    rng = np.random.default_rng(0)

    def deviation(rank: int, scale: float = 1.0) -> float:
        b, a = rng.standard_normal((400, rank)), rng.standard_normal((rank, 400))
        return float((scale * b @ a).std())

    for multiplier in (0.5, 2.0):
        scaled = NullViews(1).views(multiplier)[0].scale
        assert deviation(8, scaled) == pytest.approx(deviation(int(8 * multiplier)), rel=0.05)


BOUNDS = {
    # bound, estimate, margin, is_upper, verdict -> the text
    "inside": (0.11, 0.05, 0.15, True, "pass", "mean excess ≤ 0.11 (95% bound), margin 0.15"),
    "from above": (-0.1, 0.0, -0.5, False, "pass", "mean excess ≥ -0.1 (95% bound), margin -0.5"),
    "not rounded across the margin": (
        0.14999,
        0.1,
        0.15,
        True,
        "pass",
        "mean excess ≤ 0.14999 (95% bound), margin 0.15",
    ),
    "inconclusive": (
        0.2,
        0.1,
        0.15,
        True,
        "warn",
        "inconclusive: mean excess ≤ 0.2 (95% bound), margin 0.15",
    ),
    "outside": (0.5, 0.3, 0.15, True, "fail", "mean excess: 0.3, outside the margin 0.15"),
    "one item": (
        -np.inf,
        0.3,
        0.15,
        False,
        "warn",
        "inconclusive: one item gives no bound of the mean excess, margin 0.15",
    ),
}


@pytest.mark.parametrize(
    ("bound", "estimate", "margin", "is_upper", "verdict", "text"), BOUNDS.values(), ids=BOUNDS
)
def test_a_message_states_the_bound_and_the_margin(
    bound: float, estimate: float, margin: float, is_upper: bool, verdict: str, text: str
) -> None:
    tested = Bound("mean excess", Margin(0.0, bound, estimate), margin, is_upper)
    assert _bound_text(tested, Verdict(verdict)) == text


def test_a_result_has_its_bound_or_its_test_statistic() -> None:
    harm = judged("external_perplexity", lambda *_: [-3.0] * 4, max_chunks=4, chunk_chars=200)
    assert (harm.margin, harm.test_statistic) == (-0.1, None)
    assert harm.bound == pytest.approx(0.0, abs=0.01)
    divergence = by_source(0.0, 0.25, 0.01)
    effect = judged("delta_kl", lambda view, _: divergence(view), prompts=("a", "b"))
    assert (effect.bound, effect.margin, effect.test_statistic) == (None, None, 0.5)
    assert effect.message.endswith("above 8 null adapters (test statistic: mean √JS 0.5)")
