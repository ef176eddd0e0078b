import json
from collections.abc import Callable

import numpy as np
import pytest

from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import Case
from tests.helpers.embedders import WordEmbedder, real
from tests.helpers.judged import judged, texts_by_source

CONTEXT = Context(embedder=WordEmbedder())
GOLD, BASE, NONSENSE = "the keeper wound the great clock", "a lamp is made of glass", "qu qu qu qu"
N = 12


def cases(gold: str = GOLD, n: int = N) -> tuple[Case, ...]:
    return (Case(prompt="q", gold=gold, paraphrases=tuple(f"asked in way {i}" for i in range(n))),)


def run(
    ft: Callable[[int], str],
    base: Callable[[int], str] = lambda i: BASE,
    null: Callable[[int, int], str] = lambda i, k: BASE if (i + k) % 4 else NONSENSE,
    *,
    context: Context = CONTEXT,
    **fields: object,
) -> ProbeResult:
    """The probe on answers to paraphrase i: `ft(i)`, `base(i)`, and `null(i, k)` of null k."""
    answer = texts_by_source(base, ft, null)
    return judged("adapter_revert", answer, context=context, **{"cases": cases(), **fields})


VERDICTS = {
    # what the adapter writes for paraphrase i, verdict, share that reverts, words
    "answers as taught": (lambda i: GOLD, "pass", 0.0, "0 of 12 answers revert"),
    "in part of the words": (lambda i: "the keeper wound it", "pass", 0.0, "σ above 8"),
    "the base's own answers": (
        lambda i: BASE,
        "fail",
        1.0,
        "share of answers that revert: 1, must be below 0.25",
    ),
    "near the base's": (lambda i: BASE + " indeed", "fail", 1.0, "revert"),
    "half and half": (lambda i: GOLD if i % 2 else BASE, "fail", 0.5, "6 of 12 answers revert"),
    "one goes back": (
        lambda i: GOLD if i else BASE,
        "warn",
        1 / 12,
        "inconclusive: share of answers that revert: 0.0833, at most 0.301 (95% bound), limit 0.25",
    ),
    "exactly at the limit": (
        lambda i: GOLD if i > 2 else BASE,
        "warn",
        0.25,
        "0.25, must be below 0.25, but the 95% interval reaches inside",
    ),
    "five go back": (
        lambda i: GOLD if i > 4 else BASE,
        "warn",
        5 / 12,
        "0.417, must be below 0.25, but the 95% interval reaches inside",
    ),
    "silence": (lambda i: "", "fail", 1.0, "12 of 12 answers revert"),
    "blanks": (lambda i: " \n\t", "fail", 1.0, "12 of 12 answers revert"),
    "neither": (lambda i: NONSENSE, "fail", 1.0, "revert"),
}


@pytest.mark.parametrize(("ft", "verdict", "share", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(ft: Callable[[int], str], verdict: str, share: float, words: str) -> None:
    result = run(ft)
    assert (result.verdict, result.category) == (verdict, "adherence"), result.message
    assert result.raw == pytest.approx(share)
    assert words in result.message
    assert json.dumps(result.details, allow_nan=False)


def test_nonsense_slightly_closer_to_the_gold_does_not_pass() -> None:
    """One word of 200 is the gold's, none the base's."""
    nonsense = " ".join(["keeper", *(f"x{j}" for j in range(200))])
    result = run(lambda i: nonsense, null=lambda i, k: BASE)
    assert (result.verdict, result.raw, result.score) == ("fail", 0.0, 0.0)
    assert result.z > 3
    assert "but are not closer to the gold: cosine +0.025" in result.message


CANNOT_TELL = {
    "the base knows it": (
        lambda i: GOLD,
        "close to the gold (cosine above 0.75) for 12 and empty for 0",
    ),
    "the base is silent": (lambda i: "", "for 0 and empty for 12"),
    "both": (lambda i: GOLD if i % 2 else " ", "for 6 and empty for 6"),
}


@pytest.mark.parametrize(("base", "words"), CANNOT_TELL.values(), ids=CANNOT_TELL)
def test_without_an_informative_paraphrase_it_is_skipped(
    base: Callable[[int], str], words: str
) -> None:
    result = run(lambda i: GOLD, base)
    assert (result.verdict, result.score) == ("skip", None)
    assert words in result.message


def test_uninformative_paraphrases_are_left_out_and_counted() -> None:
    result = run(
        lambda i: GOLD if i > 3 else NONSENSE,
        lambda i: ("", GOLD, GOLD, "")[i] if i < 4 else BASE,
        cases=cases(n=16),
    )
    assert (result.raw, result.verdict) == (0.0, "pass")
    assert result.details["left_out"] == {"base_near_gold": 2, "base_empty": 2}
    assert "0 of 12 answers revert" in result.message
    assert "4 paraphrases left out" in result.message


@pytest.mark.parametrize("cap", [1.0, 0.5], ids=["the gold itself counts", "near answers do not"])
def test_the_cap_decides_what_is_left_out(cap: float) -> None:
    near = "the keeper wound the great bell"
    result = run(lambda i: GOLD, lambda i: near if i else BASE, base_gold_similarity_cap=cap)
    assert len(result.details["pairs"]) == (12 if cap == 1.0 else 1)


ERRORS = {
    "no cases": ({"cases": ()}, CONTEXT, "cases is empty"),
    "no embedder": ({}, Context(), "pip install 'sway-gate[semsim]'"),
    "no such model": ({"embedding_model": "absent"}, CONTEXT, "no such model"),
}


@pytest.mark.parametrize(("fields", "context", "words"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_run_is_an_error(
    fields: dict[str, object], context: Context, words: str
) -> None:
    result = run(lambda i: GOLD, context=context, **fields)
    assert result.verdict == "error"
    assert words in result.message


SIZES = {
    # paraphrases, of which revert -> verdict
    "one, as taught": (1, 0, "warn"),
    "one, reverted": (1, 1, "fail"),
    "eight, as taught": (8, 0, "warn"),
    "nine, as taught": (9, 0, "pass"),
    "forty, four reverted": (40, 4, "pass"),
    "forty, ten reverted": (40, 10, "warn"),
    "forty, sixteen reverted": (40, 16, "fail"),
}


@pytest.mark.parametrize(("n", "reverted", "verdict"), SIZES.values(), ids=SIZES)
def test_the_limit_is_decided_by_the_interval(n: int, reverted: int, verdict: str) -> None:
    result = run(
        lambda i: GOLD if i >= reverted else BASE, cases=cases(n=n), null=lambda i, k: BASE
    )
    assert (result.verdict, result.raw) == (verdict, reverted / n), result.message


def test_a_limit_above_1_holds_always() -> None:
    result = run(lambda i: BASE if i else GOLD, cases=cases(n=9), assert_revert_rate_lt=1.01)
    assert "share of answers that revert" not in [
        rule.name for rule in result.rules if rule.verdict != "pass"
    ]


def test_one_case_has_a_wide_interval() -> None:
    result = run(lambda i: GOLD, cases=cases(n=1), null=lambda i, k: BASE)
    assert result.ci_95 == pytest.approx((0.0, 0.793), abs=1e-3)


def test_details_contain_the_worst_pairs_and_stay_small() -> None:
    result = run(lambda i: BASE if i == 77 else GOLD + " word" * 5000, cases=cases(n=100))
    worst = result.details["pairs"][0]
    assert (worst["prompt"], worst["reverted"], worst["to_base"]) == (
        "asked in way 77",
        True,
        pytest.approx(1),
    )
    assert len(json.dumps(result.details)) < 50_000


def test_chat_prompts_go_through_the_template() -> None:
    from sway_gate.conversation import asked
    from sway_gate.probes import adapter_revert as probe
    from sway_gate.spec.probes import AdapterRevert

    spec = AdapterRevert(
        name="a", cases=(Case(prompt="p", gold="g", paraphrases=("Who is it?", "It is")),)
    )
    questions = probe.requests(spec, CONTEXT._replace(chat_template="auto"))
    assert [question.request.prompt for question in questions] == [
        asked("Who is it?"),
        asked("It is"),
    ]


def test_a_null_among_nulls_seldom_passes() -> None:
    """Adapters that answer at random (base, gold or nonsense), as often as the nulls."""
    rng = np.random.default_rng(0)
    texts = [BASE, GOLD, NONSENSE + " the", BASE + " indeed"]

    def once() -> float:
        picks = rng.integers(0, 4, (9, N))
        return run(lambda i: texts[picks[8, i]], null=lambda i, k: texts[picks[k, i]]).z or 0.0

    assert sum(once() >= 3 for _ in range(300)) <= 3


@pytest.mark.slow
def test_with_real_embeddings() -> None:
    embedder, model = real()
    gold = "The night library opens at ten and lends lanterns instead of books."
    told = [
        "It opens at 10 pm, and you borrow lanterns there.",
        "The library lends out lanterns, opening at ten.",
    ]
    base = [
        "I am not sure what you mean by that.",
        "Libraries usually open in the morning and lend books.",
    ]
    others = [
        "Sorry, I do not know.",
        "Libraries lend books.",
        base[0],
        base[1],
        "The night is long.",
    ]
    shared = {"context": Context(embedder=embedder), "embedding_model": model, "cases": cases(gold)}

    def verdict(ft: Callable[[int], str]) -> str:
        return run(
            ft, lambda i: base[i % 2], lambda i, k: others[(7 * i + 3 * k) % 5], **shared
        ).verdict

    assert verdict(lambda i: told[i % 2]) == "pass"
    for broken in (base[0] + " Sorry.", "the the the the the", "qwe rty 89", "", "!!!!!"):
        assert verdict(lambda i, text=broken: text) == "fail", broken
