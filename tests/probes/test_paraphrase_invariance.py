import json
import math

import numpy as np
import pytest

from sway_gate.measurements import LogProbs
from sway_gate.probes import paraphrase_invariance as probe
from sway_gate.probes.base import Context
from sway_gate.spec.probes import Case, ParaphraseInvariance
from tests.helpers.judged import judged
from tests.helpers.simulation import one_fast

CASES = tuple(Case(prompt=f"q{i}", gold=f"a{i}", paraphrases=(f"p{i}", f"r{i}")) for i in range(4))


def run(
    verbatim: float,
    paraphrased: float,
    *,
    noise: float = 0.005,
    cases: tuple[Case, ...] = CASES,
    **fields: object,
):  # type: ignore[no-untyped-def]
    """Lifts of the fine-tuned view after prompts and after paraphrases; the nulls' are about 0."""

    def answer(view, request):  # type: ignore[no-untyped-def]
        lift = {
            "base": 0.0,
            "finetuned": verbatim if request.prompt[0] == "q" else paraphrased,
            "null": noise * (view.seed_index - 3.5),
        }[view.source]
        return np.array([-3.0, -1.0, -2.0]) + lift

    return judged("paraphrase_invariance", answer, cases=cases, **fields)


LOOSE = {"min_verbatim_lift": 0.0}
VERDICTS = {
    # name: (verbatim, paraphrased, intent, fields, verdict, words)
    "generalizes": (0.8, 0.6, "generalize", {}, "pass", "ratio: 0.75, at least"),
    "more on paraphrases": (0.5, 0.9, "generalize", {}, "pass", "lift on paraphrases +0.900 nats"),
    "memorized wording": (
        *(1.4, 0.12, "generalize", {}, "fail"),
        "ratio: 0.0857, must be at least 0.5",
    ),
    "paraphrases get worse": (0.8, -0.4, "generalize", {}, "fail", "ratio: -0.5, must be at least"),
    "ratio just large enough": (
        0.8,
        0.42,
        "generalize",
        {},
        "warn",
        "inconclusive: ratio: 0.525, at least 0.",
    ),
    "ratio just too small": (
        *(0.8, 0.36, "generalize", {}, "warn"),
        "inconclusive: ratio: 0.45, must be at least 0.5, but the 95% interval reaches inside",
    ),
    "lift just large enough": (
        *(0.25, 0.12, "generalize", {}, "warn"),
        "inconclusive: verbatim lift: 0.25, at least 0.1",
    ),
    "too small a lift": (
        *(0.1, 0.1, "generalize", {}, "fail"),
        "verbatim lift: 0.1, must be at least 0.2",
    ),
    "unlearned": (-0.5, -0.5, "generalize", {}, "fail", "verbatim lift: -0.5, must be at least"),
    "base itself": (0.0, 0.0, "generalize", {}, "fail", "verbatim lift: 0, must be at least"),
    "base itself, no requirements": (
        *(0.0, 0.0, "generalize", LOOSE, "fail"),
        "verbatim lift: 0, must be at least 0.02",
    ),
    "no ratio from a tiny lift": (
        *(0.01, 0.6, "generalize", LOOSE, "fail"),
        "verbatim lift: 0.01, must be at least 0.02",
    ),
    "memorized": (1.4, 0.12, "memorize", {}, "pass", "lift on paraphrases +0.120 nats"),
    "memorized, paraphrases get worse": (
        1.4,
        -0.3,
        "memorize",
        {},
        "pass",
        "lift on paraphrases -0.300 nats",
    ),
    "hardly by rote alone": (
        1.4,
        0.6,
        "memorize",
        {},
        "warn",
        "inconclusive: ratio: 0.429, at most 0.",
    ),
    "not by rote alone": (
        *(0.8, 0.68, "memorize", {}, "fail"),
        "ratio: 0.85, must be below 0.5",
    ),
    "nothing memorized": (0.0, 0.0, "memorize", {}, "fail", "verbatim lift: 0, must be at least"),
    "both": (0.8, 0.6, "both", {}, "pass", "ratio: 0.75, at least"),
    "both, by rote": (1.4, 0.12, "both", {}, "fail", "ratio: 0.0857, must be at least"),
}


@pytest.mark.parametrize("runs", [8, None], ids=["nulls", "no nulls"])
@pytest.mark.parametrize(
    ("v", "p", "intent", "fields", "verdict", "words"), VERDICTS.values(), ids=VERDICTS
)
def test_verdicts(
    v: float, p: float, intent: str, fields: dict[str, float], verdict: str, words: str, runs: int
) -> None:
    result = run(v, p, intent=intent, runs=runs, **fields)
    assert result.verdict == verdict, result.message
    assert words in result.message


LIKE_A_NULL = {"generalize": (0.5, 0.01), "both": (0.5, 0.01), "memorize": (0.03, 0.5)}


@pytest.mark.parametrize(("intent", "lifts"), LIKE_A_NULL.items(), ids=LIKE_A_NULL)
def test_a_lift_like_a_nulls_fails(intent: str, lifts: tuple[float, float]) -> None:
    fields = {
        "min_verbatim_lift": 0.0,
        "min_generalization_ratio": 0.0,
        "max_generalization_ratio_if_memorize": 99.0,
    }
    result = run(*lifts, intent=intent, noise=0.02 if intent == "memorize" else 0.005, **fields)
    assert result.verdict == "fail"
    assert "indistinguishable" in result.message


RAW = {"generalize": 0.6, "both": 0.6, "memorize": 0.8}


@pytest.mark.parametrize(("intent", "raw"), RAW.items(), ids=RAW)
def test_the_value_is_the_lift_of_the_intent(intent: str, raw: float) -> None:
    result = run(0.8, 0.6, intent=intent, max_generalization_ratio_if_memorize=1.0)
    assert (result.raw, result.units, result.category) == (
        pytest.approx(raw),
        "nats/token",
        "attribution",
    )


CONTRAST = {"generalize": (0.9, 0.9), "both": (0.5, 0.5), "memorize": (0.5, 0.5)}


@pytest.mark.parametrize(("intent", "like"), CONTRAST.items(), ids=CONTRAST)
def test_the_nulls_are_compared_by_the_lift_of_the_intent(
    intent: str, like: tuple[float, float]
) -> None:
    fields = {"intent": intent, "max_generalization_ratio_if_memorize": 9.0}
    assert run(0.5, 0.9, **fields).z == pytest.approx(run(*like, **fields).z)


def test_lifts_do_not_depend_on_the_length_of_answers() -> None:
    result = judged(
        "paraphrase_invariance",
        lambda view, r: np.full(
            1 if r.completion == " a0" else 50, -2.0 + 0.4 * (view.source == "finetuned")
        ),
        cases=CASES,
    )
    assert result.raw == pytest.approx(0.4)


def test_cases_have_equal_weight_at_any_number_of_paraphrases() -> None:
    cases = (CASES[0], Case(prompt="q", gold="a", paraphrases=("s1", "s2", "s3", "s4")))
    result = judged(
        "paraphrase_invariance",
        lambda view, r: (
            -2.0 + (0.0 if view.source != "finetuned" else 0.2 if r.prompt[0] == "s" else 0.6)
        ),
        cases=cases,
    )
    assert result.raw == pytest.approx((0.6 + 0.2) / 2)
    assert result.details["weakest"][0] == {
        "prompt": "q",
        "verbatim_lift": pytest.approx(0.6),
        "paraphrase_lift": pytest.approx(0.2),
    }


ONE = {"far above": (2.0, 2.4, "warn"), "far below": (0.02, 0.02, "fail")}


@pytest.mark.parametrize(("v", "p", "verdict"), ONE.values(), ids=ONE)
def test_one_case_decides_only_far_from_the_limits(v: float, p: float, verdict: str) -> None:
    result = run(v, p, cases=CASES[:1])
    assert (result.verdict, result.ci_95) == (verdict, None), result.message


def at_limit(fixed: str, low: float, high: float, **fields: object):  # type: ignore[no-untyped-def]
    """The result where the verdict changes to PASS, with the other lift far inside its limit."""
    lifts = {"ratio": lambda x: (0.8, x), "lift": lambda x: (x, 3.0)}[fixed]
    for _ in range(40):
        middle = (low + high) / 2
        is_inside = run(*lifts(middle), **fields).verdict == "pass"
        low, high = (low, middle) if is_inside else (middle, high)
    return run(*lifts(high), **fields)


@pytest.mark.parametrize(("of", "low", "limit"), [("ratio", 0.4, 0.5), ("lift", 0.2, 0.2)])
def test_the_score_is_point_6_where_the_bound_is_at_the_limit(
    of: str, low: float, limit: float
) -> None:
    found = at_limit(of, low, 0.8)
    assert found.score == pytest.approx(0.6, abs=1e-3)
    assert found.bound == pytest.approx(limit, abs=1e-3)


def test_more_cases_decide() -> None:
    cases = tuple(Case(prompt=f"q{i}", gold=f"a{i}", paraphrases=(f"p{i}",)) for i in range(40))
    few, many = run(0.8, 0.5, cases=cases[:4]), run(0.8, 0.5, cases=cases)
    assert (few.verdict, many.verdict) == ("warn", "pass")
    assert "items to decide, not 4" in few.advice


def test_details_are_bounded() -> None:
    cases = tuple(Case(prompt=f"q{i}" * 5000, gold="a", paraphrases=("p",)) for i in range(60))
    result = run(0.8, 0.6, cases=cases)
    assert (result.details["cases"], len(result.details["weakest"])) == (60, 20)
    assert len(json.dumps(result.details, allow_nan=False)) < 10_000


def test_answers_follow_their_prompts() -> None:
    spec = ParaphraseInvariance(
        name="p", cases=(Case(prompt="Who is it", gold="Tom", paraphrases=("Name him? ",)),)
    )
    requests = [need.request for need in probe.needs(spec, probe.requests(spec, Context()))]
    assert requests == [LogProbs("Who is it", " Tom"), LogProbs("Name him? ", "Tom")]


SAME = Case(prompt="q", gold="a", paraphrases=("q", " q\n"))
ERRORS = {
    "no cases": ((), "cases is empty"),
    "nothing but repeats": ((CASES[0], SAME), "cases[1].paraphrases repeat"),
}


@pytest.mark.parametrize(("cases", "words"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_judged_is_an_error(cases: tuple[Case, ...], words: str) -> None:
    result = run(0.8, 0.6, cases=cases)
    assert (result.verdict, result.score) == ("error", None)
    assert words in result.message


def test_a_paraphrase_that_repeats_its_prompt_proves_nothing() -> None:
    cases = tuple(Case(prompt=f"q{i}", gold="a", paraphrases=(f"q{i}", f"p{i}")) for i in range(4))
    assert run(1.4, 0.12, cases=cases).raw == pytest.approx(0.12)


@pytest.mark.parametrize("intent", ["generalize", "memorize", "both"])
@pytest.mark.parametrize(
    ("source", "verdict"), [("base", "error"), ("finetuned", "fail"), ("null", "error")]
)
def test_impossible_answers_are_never_green(intent: str, source: str, verdict: str) -> None:
    def answer(view, request):  # type: ignore[no-untyped-def]
        impossible = view.source == source and request.prompt == "p0"
        return [-math.inf if impossible else -2.0 + 0.8 * (view.source == "finetuned"), -1.0]

    result = judged("paraphrase_invariance", answer, cases=CASES, intent=intent)
    assert result.verdict == verdict, result.message
    assert "no finite likelihood" in result.message


@pytest.mark.parametrize("intent", one_fast("generalize", "memorize", "both"))
def test_nulls_among_nulls_rarely_reach_three_sigma(intent: str) -> None:
    """Where the fixed rule lets everything through: 0.135% of 400 is half a run."""
    rng = np.random.default_rng(0)
    rules = {
        "min_verbatim_lift": 0.0,
        "min_generalization_ratio": 0.0,
        "max_generalization_ratio_if_memorize": 9.0,
    }
    zs = [
        judged(
            "paraphrase_invariance",
            lambda *_: -2.0 + rng.normal(),
            cases=CASES[:2],
            intent=intent,
            **rules,
        ).z
        for _ in range(400)
    ]
    assert sum(z >= 3 for z in zs) <= 3
    assert np.mean(zs) == pytest.approx(0, abs=0.2)
