import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sway_gate.measurements import View
from sway_gate.probes import cluster_kl as probe
from sway_gate.probes._embedded import k_means
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import ClusterKL
from sway_gate.stats import Z_95, z_score
from tests.helpers import ROOT
from tests.helpers.embedders import WordEmbedder, real
from tests.helpers.judged import judged
from tests.helpers.simulation import one_fast

pytest.importorskip("sklearn")
CONTEXT = Context(embedder=WordEmbedder())
TOPICS = (
    "library lamp night",
    "clock wheel spring",
    "bread oven flour",
    "river boat stone",
    "star sky moon",
)
PROMPTS = tuple(f"{topic} w{i}" for i in range(5) for topic in TOPICS)


def run(ft: object, *, context: Context = CONTEXT, **fields: object) -> ProbeResult:
    """The probe on divergences `ft(topic's first word, i)`; nulls move all equally, with noise."""
    rng = np.random.default_rng(3)

    def answer(view: View, request: object) -> float:
        words = request.prompt.split()  # type: ignore[attr-defined]
        if view.source == "finetuned":
            return ft(words[0], int(words[-1][1:]))  # type: ignore[operator, no-any-return]
        return 0.0 if view.source == "base" else float(0.01 * rng.lognormal(0, 0.5))

    return judged("cluster_kl", answer, context=context, **{"prompts": PROMPTS, **fields})


VERDICTS = {
    "one topic moves": (
        lambda topic, i: 0.2 if topic == "library" else 0.01 * (1 + i),
        "pass",
        "specificity",
    ),
    "all else moves": (
        lambda topic, i: 0.01 if topic == "library" else 0.1 + 0.01 * i,
        "pass",
        "5 topics, distance",
    ),
    "all alike, with noise": (lambda topic, i: 0.1 + 0.02 * i, "fail", "indistinguishable"),
    "topics are more uniform than their prompts": (
        lambda topic, i: 0.1 * 4**i,
        "fail",
        "must be at least 0.6",
    ),
    "all the same": (lambda topic, i: 0.1, "fail", "indistinguishable"),
    "nothing moves": (lambda topic, i: 0.0, "fail", "no topic moves"),
    "specific, but too small to see": (
        lambda topic, i: 1e-5 * (20 if topic == "library" else 1 + 0.1 * i),
        "fail",
        "no topic moves",
    ),
    "topics explain everything": (
        lambda topic, i: 0.2 if topic == "star" else 0.01,
        "pass",
        "specificity: 0.997, at least",
    ),
}


@pytest.mark.parametrize(("ft", "verdict", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(ft: object, verdict: str, words: str) -> None:
    result = run(ft)
    assert (result.verdict, result.category, result.ci_95) == (verdict, "adherence", None), (
        result.message
    )
    assert words in result.message
    assert json.dumps(result.details, allow_nan=False)


LIMITS_OF_F = {0.5: "pass", 0.8: "warn", 0.99: "fail", 1.5: "fail"}


@pytest.mark.parametrize(("limit", "verdict"), LIMITS_OF_F.items())
def test_a_limit_inside_the_interval_is_inconclusive(limit: float, verdict: str) -> None:
    result = run(
        lambda topic, i: 0.2 if topic == "library" else 0.02 * (1 + i),
        assert_specificity_gte=limit,
        assert_z_gte=1.0,
    )
    assert result.verdict == verdict, result.message


def test_the_score_is_point_6_where_the_bound_is_at_the_limit() -> None:
    def ft(topic: str, i: int) -> float:
        return 0.2 if topic == "library" else 0.02 * (1 + i)

    bound = run(ft, assert_z_gte=1.0).bound
    found = run(ft, assert_z_gte=1.0, assert_specificity_gte=bound)
    assert found.score == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(("between", "within"), [(4, 20), (4, 15), (2, 9), (1, 18)], ids=str)
@pytest.mark.parametrize("specificity", [0.3, 0.7, 0.95])
def test_the_bound_is_the_one_of_the_f_distribution(
    between: int, within: int, specificity: float
) -> None:
    f = specificity / (1 - specificity)
    exact = f / scipy_stats.f.isf(0.05, between, within)
    found = probe._above(specificity, 0.6, between, within)
    assert found.bound == pytest.approx(exact / (1 + exact), abs=0.01)
    assert (found.bound > 0.6) == (found.z > Z_95)


def test_a_specificity_at_the_limit_seldom_passes_or_fails() -> None:
    """Topics with random effects: 5 topics of 4 prompts, F with the expected value 1.5."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 4)
    effects = rng.normal(0, math.sqrt(0.5 / 4), (4000, 5))[:, labels]
    values = rng.normal(size=effects.shape) + effects
    zs = np.array([probe._above(probe._specificity(x, labels), 0.6, 4, 15).z for x in values])
    for is_decided in (zs > Z_95, zs < -Z_95):
        assert is_decided.mean() == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(
    ("specificity", "limit", "is_inside"),
    [(0.0, 0.0, True), (1.0, 1.0, True), (0.5, 0.0, True), (0.5, 1.0, False), (0.0, 0.5, False)],
)
def test_limits_at_the_ends_have_a_verdict(
    specificity: float, limit: float, is_inside: bool
) -> None:
    z = probe._above(specificity, limit, 4, 15).z
    assert math.isfinite(z)
    assert (z > Z_95) == is_inside


def test_the_report_lists_the_topics() -> None:
    topics = run(lambda topic, i: 0.25 if topic == "library" else 0.01).details["topics"]
    assert [t["size"] for t in topics] == [5] * 5
    assert topics[0]["prompts"] == [f"{TOPICS[0]} w{i}" for i in range(5)]
    assert [t["mean_distance"] for t in topics] == pytest.approx([0.5, 0.1, 0.1, 0.1, 0.1])


ERRORS = {
    "no prompts": ({"prompts": ()}, CONTEXT, "prompts is empty"),
    "too few": (
        {"prompts": PROMPTS[:12]},
        CONTEXT,
        "12 distinct prompts, but min_prompts is 20",
    ),
    "duplicates do not count": ({"prompts": PROMPTS[:12] * 2}, CONTEXT, "12 distinct prompts"),
    "too many topics": (
        {"prompts": PROMPTS[:9], "min_prompts": 4},
        CONTEXT,
        "num_clusters 5 is too large for 9 prompts; use at most 4",
    ),
    "no embedder": ({}, Context(), "pip install 'sway-gate[semsim]'"),
    "no such model": ({"embedding_model": "absent"}, CONTEXT, "no such model"),
    "prompts without a difference": (
        {"prompts": tuple(" " * i + "same w1" for i in range(20))},
        CONTEXT,
        "the embedding model cannot distinguish the prompts",
    ),
}


@pytest.mark.parametrize(("fields", "context", "words"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_run_is_an_error(
    fields: dict[str, object], context: Context, words: str
) -> None:
    result = run(lambda topic, i: 0.1, context=context, **fields)
    assert result.verdict == "error"
    assert words in result.message


def test_views_without_numbers_fail() -> None:
    result = run(lambda topic, i: "NaN under the finetuned view")
    assert (result.verdict, result.score) == ("fail", 0.0)


@pytest.mark.parametrize("sizes", [(5, 5, 5), (1, 9, 4, 2), (1, 1, 6)], ids=str)
def test_specificity_is_the_f_of_an_analysis_of_variance(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(size=labels.size) + labels
    f = scipy_stats.f_oneway(*(values[labels == k] for k in range(len(sizes)))).statistic
    assert probe._specificity(values, labels) == pytest.approx(f / (1 + f))


LIMITS = {
    "all equal": ([0.1, 0.1, 0.1, 0.1], 0.5),
    "all zero": ([0, 0, 0, 0], 0.5),
    "equal up to rounding": ([0.1, 0.1 + 1e-16, 0.1, 0.1], 0.5),
    "between alone": ([1, 1, 2, 2], 1.0),
    "within alone": ([1, 2, 1, 2], 0.0),
}


@pytest.mark.parametrize(("values", "expected"), LIMITS.values(), ids=LIMITS)
def test_specificity_is_a_number_at_its_limits(values: list[float], expected: float) -> None:
    assert probe._specificity(
        np.array(values, dtype=float), np.array([0, 0, 1, 1])
    ) == pytest.approx(expected)


def quantiles(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Contrasts [n] of distances [n, prompts]."""
    k = labels.max() + 1
    return np.array(
        [probe._quantile(probe._specificity(x, labels), k - 1, labels.size - k) for x in distances]
    )


@pytest.mark.parametrize(("between", "within"), [(4, 20), (2, 9), (9, 10), (1, 18)], ids=str)
@pytest.mark.parametrize("f", [0.5, 1, 3, 10, 40], ids=str)
def test_the_test_statistic_is_the_normal_quantile_of_f(
    between: int, within: int, f: float
) -> None:
    exact = scipy_stats.norm.isf(scipy_stats.f.sf(f, between, within))
    assert probe._quantile(f / (1 + f), between, within) == pytest.approx(exact, rel=0.07, abs=0.1)


@pytest.mark.parametrize("specificity", [0.0, 1.0])
def test_the_test_statistic_is_finite_at_its_ends(specificity: float) -> None:
    assert 0 < probe._quantile(specificity, 4, 20) * (2 * specificity - 1) < 20


@pytest.mark.parametrize("sizes", one_fast([1, 2, 3, 6, 8], [4] * 5, [10, 10]))
def test_a_null_among_nulls_seldom_passes(sizes: list[int]) -> None:
    """Distances without regard to topics, the adapter's like the nulls'."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    drawn = quantiles(rng.gamma(4, size=(9 * 3000, labels.size)), labels).reshape(-1, 9)
    passed = np.mean([z_score(row[0], row[1:], probe.KIND.min_null_sd).z >= 3 for row in drawn])
    assert passed <= 0.004  # nominal .00135; the standard error is .0007


def test_fewer_different_prompts_than_clusters_leave_fewer_topics() -> None:
    prompts = tuple(" " * i + topic for i in range(5) for topic in TOPICS[:3])
    result = run(
        lambda topic, i: 0.2,
        prompts=tuple(p + " w1" for p in prompts),
        num_clusters=7,
        min_prompts=4,
    )
    assert len(result.details["topics"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "4"])
def test_topics_do_not_depend_on_threads(threads: str) -> None:
    code = (
        "import numpy as np; from sway_gate.probes._embedded import k_means;"
        "x = np.random.default_rng(0).normal(size=(600, 384));"
        "print(hash(k_means(x.shape, x.tobytes(), 8, 2**50)))"
    )
    env = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    x = np.random.default_rng(0).normal(size=(600, 384))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT
    )
    assert run.stdout.strip() == str(hash(k_means(x.shape, x.tobytes(), 8, 2**50))), run.stderr


@pytest.mark.slow
def test_with_real_embeddings_topics_are_topics() -> None:
    embedder, model = real()
    topics = {
        "bread": [
            "How long does sourdough rise?",
            "What flour makes a crisp crust?",
            "How hot should a bread oven be?",
        ],
        "space": [
            "How far is the moon?",
            "What are the rings of Saturn made of?",
            "Why do stars twinkle at night?",
        ],
        "law": [
            "What does a judge do in court?",
            "How is a contract ended?",
            "Who may appeal a court's verdict?",
        ],
    }
    prompts = tuple(prompt for group in zip(*topics.values(), strict=True) for prompt in group)
    spec = ClusterKL(
        name="c", prompts=prompts, num_clusters=3, min_prompts=4, embedding_model=model
    )
    context = Context(embedder=embedder)
    assert probe._topics(spec, context, probe.requests(spec, context)) == (0, 1, 2) * 3
