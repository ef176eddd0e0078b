import math

import numpy as np
import pytest

from sway_gate import probes, stats
from sway_gate.judge.probe import NullViews, rank_profile
from sway_gate.spec.probes import KINDS
from tests.helpers.judged import by_source, judged, spread


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


def test_a_result_has_its_bound_or_its_test_statistic() -> None:
    harm = judged("external_perplexity", lambda *_: [-3.0] * 4, max_chunks=4, chunk_chars=200)
    assert (harm.margin, harm.test_statistic) == (-0.4, None)
    assert harm.bound == pytest.approx(0.0, abs=0.01)
    assert (harm.n_null, harm.null_values, harm.p) == (0, (), None)
    assert harm.z == harm.score_z
    divergence = by_source(0.0, 0.25, 0.01)
    effect = judged("delta_kl", lambda view, _: divergence(view), prompts=("a", "b"))
    assert (effect.n_null, effect.test_statistic) == (8, 0.5)
    assert "above 8 null adapters (test statistic: mean √JS 0.5)" in effect.message


MEANS = {  # mean and standard deviation of 16 changes, margin -.4 -> verdict, field of the symptom
    "inside": (0.0, 0.05, "pass", ""),
    "the estimate is inside, the interval reaches outside": (-0.38, 0.1, "warn", ""),
    "the estimate is outside, the interval reaches inside": (-0.42, 0.1, "warn", "suspected"),
    "outside": (-0.5, 0.1, "fail", "symptoms"),
}


@pytest.mark.parametrize(("mean", "sd", "verdict", "says"), MEANS.values(), ids=MEANS)
def test_a_limit_passes_inside_fails_outside_and_warns_between(mean, sd, verdict, says):
    changes = iter(spread(mean, sd, 16))
    by_request: dict[object, float] = {}

    def answer(view, request):
        if view.source == "finetuned":
            return [-3.0 + by_request.setdefault(request, next(changes, 0.0))]
        return [-3.0]

    found = judged("external_perplexity", answer, max_chunks=16, chunk_chars=200)
    assert len(found.items) == 16
    assert found.verdict == verdict, found.message
    for name in ("symptoms", "suspected"):
        assert getattr(found, name) == (("forgot",) if name == says else ()), found.message
    assert found.z == pytest.approx(
        stats.student_to_normal((mean + 0.4) / (sd / math.sqrt(16)), 15), abs=1e-6
    )
    assert bool(found.advice) == (verdict != "pass")


def test_only_kinds_that_are_compared_with_nulls_have_a_minimum_spread() -> None:
    kinds = {kind: probes.module(kind).KIND for kind in KINDS if probes.is_known(kind)}
    assert {name for name, kind in kinds.items() if kind.min_null_sd > 0} == {
        name for name, kind in kinds.items() if kind.is_calibrated
    }
