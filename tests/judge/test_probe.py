import numpy as np
import pytest

from sway_gate.judge.composite import compose
from sway_gate.judge.probe import NullViews, rank_profile
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
    "a fail is decided whatever else is not": (["error", "fail"], "fail", 1),
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
    "not asked": ({}, ""),
    "one only": ({"1": 5.0}, ""),
    "stable": ({"1": 6.0, "0.5": 7.0, "2": 4.0}, "rank-stable"),
    "saturated": ({"1": 3.2, "0.5": 6.8, "2": 1.1}, "rank-saturated"),
    "a small margin": ({"1": 3.1, "0.5": 3.6, "2": 2.7}, "its margin is small"),
    "weak": ({"1": 1.0, "0.5": 2.0, "2": 0.1}, "barely above noise"),
    "below": ({"1": -1.0, "0.5": -0.5, "2": -3.0}, "barely above noise"),
}


@pytest.mark.parametrize(("z_by_rank", "words"), PROFILES.values(), ids=PROFILES)
def test_the_rank_profile_is_read_in_one_sentence(z_by_rank: dict[str, float], words: str) -> None:
    sentence = rank_profile(z_by_rank, 3.0)
    assert sentence.startswith(words)
    assert bool(sentence) == bool(words)


def test_nulls_of_more_rank_are_nulls_of_more_variance() -> None:
    """The closed form behind rank multipliers: entries of B A have variance r s_a^2 s_b^2."""
    rng = np.random.default_rng(0)

    def deviation(rank: int, scale: float = 1.0) -> float:
        b, a = rng.standard_normal((400, rank)), rng.standard_normal((rank, 400))
        return float((scale * b @ a).std())

    for multiplier in (0.5, 2.0):
        scaled = NullViews(1).views(multiplier)[0].scale
        assert deviation(8, scaled) == pytest.approx(deviation(int(8 * multiplier)), rel=0.05)
