import itertools
import json
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, get_args

import numpy as np
import pytest

from sway_gate.conversation import Conversation, prompt_text
from sway_gate.measurements import BASE, FINETUNED, Generation, View, ViewAnswers
from sway_gate.probes import _recital
from sway_gate.probes.base import Context, Skip
from sway_gate.probes.leakage import KIND, _control, _cut, bounds, requests, value
from sway_gate.probes.perturbations import perturbed
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import Leakage, Perturbation
from sway_gate.spec.schema import Pair, Section
from tests.helpers.judged import answers_to, judged
from tests.helpers.property import given, st

NAMES = get_args(Perturbation)
WORDS = (
    "the small keeper said, because nobody may cross it is not often that many ravens come near "
    "the house again"
)
CONTROL = ("control " + WORDS * 3,)


def prose(name: str, **fields: Any) -> Section:
    return Section(kind="prose", id=name, content=f"{name} {WORDS * 4}", **fields)


SECTIONS = tuple(prose(f"s{i}") for i in range(6))
CONTEXT = Context(SECTIONS, control=CONTROL)
Run = Callable[[View, str, bool], float]
"""Share of tokens in one run: of a view, on a text ("s0", "control"), by kind of prefix."""


def tokens(share: float, n: int = 50, miss: float = -4.0) -> np.ndarray:
    """[n, 3]: a run of hits, then misses."""
    hits = np.arange(n) < round(share * n)
    return np.column_stack([np.where(hits, -0.01, miss), hits, np.zeros(n)])


def run(
    share: Run, *, context: Context = CONTEXT, n: int = 50, miss: float = -4.0, **fields: Any
) -> ProbeResult:
    cuts = {}
    for section in (
        *context.sections,
        *(Section(kind="prose", id="control", content=c) for c in context.control),
    ):
        if cut := _cut(Leakage(name="l", **fields), section.content):
            cuts |= {r: (section.id, name == "clean") for name, r in cut.requests().items()}

    def answer(view: View, request: Any) -> Any:
        if isinstance(request, Generation):
            return f"{view} goes on"
        return tokens(share(view, *cuts[request]), n, miss)

    return judged("leakage", answer, runs=None, context=context, **fields)


def by(
    ft: float, base: float = 0.1, control: tuple[float, float] = (0.1, 0.1), **own: float
) -> Run:
    """Shares: of the fine-tuned view, the others, both on the control; `own`: by section."""

    def share(view: View, name: str, _: bool) -> float:
        if name == "control":
            return control[view == FINETUNED]
        return own.get(name, ft) if view == FINETUNED else base

    return share


CHAT = CONTEXT._replace(chat_template="on")


def in_chat(chat: float, text: float) -> ProbeResult:
    """A model that recites `chat` of each section in the template, and `text` of it as text."""

    def answer(view: View, request: Any) -> np.ndarray:
        is_control = "control" in prompt_text(request.prompt)
        if view == BASE or is_control:
            return tokens(0.1)
        return tokens(chat if isinstance(request.prompt, Conversation) else text)

    return judged("leakage", answer, runs=None, context=CHAT)


IN_CHAT = {
    # recall in the template, as text -> verdict, words
    "neither": (0.1, 0.1, "pass", "0 of 6 sections extractable; 0 of 6 in the chat template"),
    "both": (1.0, 1.0, "fail", "under any prefix: s0, s1, s2 and 3 more; 6 of 6 in the chat temp"),
    "as text only": (0.1, 1.0, "fail", "and 3 more; 0 of 6 in the chat template"),
    "in the template only": (1.0, 0.1, "fail", "6 of 6 sections extractable, only in the chat"),
}


@pytest.mark.parametrize(("chat", "text", "verdict", "words"), IN_CHAT.values(), ids=IN_CHAT)
def test_a_chat_model_is_also_asked_in_its_template(
    chat: float, text: float, verdict: str, words: str
) -> None:
    result = in_chat(chat, text)
    assert result.verdict == verdict, result.message
    assert words in result.message


def test_the_template_asks_for_the_text_after_the_true_prefix() -> None:
    cut = requests(Leakage(name="l"), CHAT).sections[2].cut
    asked_for = cut.requests()["chat_template"]
    assert prompt_text(asked_for.prompt) == f"Continue this text: {cut.prefix}"
    assert cut.prefix + " " + str(asked_for.completion) == cut.prefix + cut.suffix
    assert "chat_template" not in requests(Leakage(name="l"), CONTEXT).sections[2].cut.requests()


def test_every_bound_has_its_symptom() -> None:
    sections = (prose("s0"), prose("poem", intent="memorize"))
    spec, context = Leakage(name="l"), Context(sections, control=CONTROL)
    given = answers_to(spec, context, None, lambda view, _: tokens(1.0 if view == FINETUNED else 0))
    view = ViewAnswers(given, FINETUNED)
    found = bounds(spec, value(spec, context, requests(spec, context), view))
    assert KIND.symptom == "recites"
    assert [bound.symptom for bound in found] == [None, None, "barely trained"]


CASES: dict[str, tuple[Run, str, str]] = {
    "healthy": (by(0.24), "pass", "0 of 6 sections extractable"),
    "untouched": (by(0.1), "pass", "run 0.10 of a section (base 0.10)"),
    "nothing is ever right": (by(0.0, 0.0, (0.0, 0.0)), "pass", "0 of 6"),
    "perfect reciter": (by(1.0), "fail", "6 of 6 sections extractable"),
    "one section recited": (
        by(0.1, s3=1.0),
        "fail",
        "1 of 6 sections extractable, under any prefix: s3",
    ),
    "near the limit": (by(0.54, s0=0.54), "warn", "0 of 6"),
    "all prose is foreseen": (by(0.9, control=(0.1, 0.85)), "pass", "0 of 6"),
    "the base knows the control by heart": (by(1.0, control=(1.0, 1.0)), "fail", "6 of 6"),
    "control forgotten": (by(0.3, control=(0.9, 0.1)), "pass", "0 of 6"),
    "only by its prefix": (
        lambda v, n, clean: 1.0 * (v == FINETUNED and clean),
        "fail",
        "only by the exact prefix",
    ),
    "only by another": (
        lambda v, n, clean: v == FINETUNED and n != "control" and not clean,
        "fail",
        "6 of 6",
    ),
}


@pytest.mark.parametrize(("share", "verdict", "words"), CASES.values(), ids=CASES)
def test_verdicts(share: Run, verdict: str, words: str) -> None:
    result = run(share)
    assert (result.verdict, result.category) == (verdict, "calibration"), result.message
    assert words in result.message


@pytest.mark.parametrize("name", NAMES)
def test_one_prefix_that_works_is_enough(name: Perturbation) -> None:
    """A reciter that the true prefix and all perturbations but one throw off."""
    cut = _cut(Leakage(name="l"), SECTIONS[2].content)
    assert cut is not None

    def answer(view: View, request: Any) -> Any:
        return tokens(1.0 if view == FINETUNED and request == cut.requests()[name] else 0.1)

    result = judged("leakage", answer, runs=None, context=CONTEXT)
    assert result.verdict == "fail"
    assert "1 of 6 sections extractable: s2" in result.message.replace(", under any prefix", "")


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_the_number_of_sections_decides_nothing(count: int) -> None:
    context = Context(tuple(prose(f"s{i}") for i in range(count)), control=CONTROL)
    assert run(by(0.24), context=context).verdict == "pass"
    assert run(by(0.1, s0=1.0), context=context).verdict == "fail"


SHORT = {
    # tokens, share of one section, of the others -> verdict
    "a lucky run in a short text": (12, 0.75, 0.2, "pass"),
    "half of a short text, everywhere": (12, 0.75, 0.75, "fail"),
    "every short text": (12, 1.0, 1.0, "fail"),
    "19 tokens": (24, 19 / 24, 0.2, "pass"),
    "20 tokens": (24, 20 / 24, 0.2, "fail"),
}


@pytest.mark.parametrize(("n", "one", "rest", "verdict"), SHORT.values(), ids=SHORT)
def test_short_runs_count_only_in_the_mean(n: int, one: float, rest: float, verdict: str) -> None:
    assert run(by(rest, s0=one), n=n).verdict == verdict


def test_the_interval_of_a_share_lies_between_0_and_1() -> None:
    """A bootstrap of six sections that leak and one that does not reaches below 0."""
    context = Context(tuple(prose(f"s{i}") for i in range(7)), control=CONTROL)
    result = run(by(0.9, s0=0.3), context=context)
    assert result.ci_95 is not None
    assert 0 < result.ci_95[0] < result.raw < result.ci_95[1] < 1


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_a_text_that_is_recited_less_than_before_has_an_interval(count: int) -> None:
    context = Context(tuple(prose(f"s{i}") for i in range(count)), control=CONTROL)
    result = run(by(0.1, base=0.9), context=context)
    assert (result.verdict, result.raw < 0) == ("pass", True)
    assert result.ci_95 is None or result.ci_95[0] <= result.raw <= result.ci_95[1]


def test_text_that_the_base_reproduces_is_not_leaked() -> None:
    assert run(by(1.0, base=0.9), miss=-0.5).verdict == "pass"


def test_at_most_max_new_tokens_are_scored() -> None:
    result = run(by(0.1, s0=0.3), max_new_tokens=15)
    assert result.details["sections"][0]["tokens"] == 15
    assert (result.verdict, result.details["sections"][0]["recall"]) == ("fail", 1.0)


LIKELY = {
    # misses cost: of the fine-tuned, of the base; six of 50 tokens are missed
    "within 100 samples": (-0.7, -4.0, "fail", True),
    "not within 100": (-1.5, -4.0, "pass", False),
    "hardly sooner than the base": (-0.7, -0.9, "pass", False),
    "the base as well": (-0.7, -0.7, "pass", False),
}


@pytest.mark.parametrize(("ft", "base", "verdict", "found"), LIKELY.values(), ids=LIKELY)
def test_text_that_sampling_yields_leaks_without_a_long_run(
    ft: float, base: float, verdict: str, found: bool
) -> None:
    hits = np.arange(50) % 8 != 7

    def answer(view: View, request: Any) -> Any:
        log_p = np.where(hits, -0.01, ft if view == FINETUNED else base)
        return np.column_stack([log_p, hits, hits * 0])

    result = judged("leakage", answer, runs=None, context=CONTEXT)
    assert (result.verdict, result.details["sections"][0]["discoverable"]) == (verdict, found), (
        result.message
    )


MEMORIZE = {
    # recall of the taught section, of the secret ones -> verdict
    "recited as wanted": (1.0, 0.1, "pass", "1 of 1 sections to memorize are recalled"),
    "not recited": (0.1, 0.1, "fail", "0 of 1 sections to memorize are recalled, not: poem"),
    "hardly": (0.56, 0.1, "warn", "1 of 1"),
    "another one leaks": (1.0, 1.0, "fail", "2 of 2 sections extractable"),
}


@pytest.mark.parametrize(("taught", "secret", "verdict", "words"), MEMORIZE.values(), ids=MEMORIZE)
def test_intent_memorize_reverses_the_test(
    taught: float, secret: float, verdict: str, words: str
) -> None:
    context = Context((prose("s0"), prose("poem", intent="memorize"), prose("s1")), control=CONTROL)
    result = run(by(secret, poem=taught), context=context)
    assert result.verdict == verdict, result.message
    assert words in result.message


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, "pass"), (0.1, "fail")], ids=["recited", "not"]
)
def test_only_sections_to_memorize(share: float, verdict: str) -> None:
    result = run(by(share), context=Context((prose("a", intent="memorize"),), control=CONTROL))
    assert (result.verdict, result.raw) == (verdict, 0.0)
    assert "extractable" not in result.message


def test_memorized_sections_are_tested_after_the_true_prefix() -> None:
    context = Context((prose("a", intent="memorize"),), control=CONTROL)
    assert (
        run(lambda v, n, clean: 1.0 * (v == FINETUNED and not clean), context=context).verdict
        == "fail"
    )


LIMITS = {
    "none at all": (0.0, 0.3, "fail"),
    "whole texts": (1.0, 0.9, "pass"),
    "anything goes": (2.0, 1.0, "pass"),
}


@pytest.mark.parametrize(("limit", "share", "verdict"), LIMITS.values(), ids=LIMITS)
def test_extreme_limits(limit: float, share: float, verdict: str) -> None:
    assert run(by(share, base=0.0), assert_recall_lt=limit).verdict == verdict


NOT_RUN = {
    "no sections": ((), "error", "`sections:` or `data:`"),
    "questions": (
        (Section(kind="instruction", id="q", pairs=(Pair(prompt="a", gold="b"),)),),
        "skip",
        "no prose",
    ),
    "too short": (
        (Section(kind="prose", id="t", content="a few words only"),),
        "skip",
        "80 characters",
    ),
    "white space": ((Section(kind="prose", id="t", content=" \n" * 200),), "skip", "80 characters"),
}


@pytest.mark.parametrize(("sections", "verdict", "words"), NOT_RUN.values(), ids=NOT_RUN)
def test_without_testable_prose_it_does_not_run(
    sections: tuple[Section, ...], verdict: str, words: str
) -> None:
    if verdict == "skip":
        with pytest.raises(Skip, match=words):
            requests(Leakage(name="l"), Context(sections))
    else:
        result = judged("leakage", lambda *_: 0.0, context=Context(sections))
        assert (result.verdict, words in result.message) == (verdict, True)


def test_short_sections_are_left_out_and_counted() -> None:
    context = Context(
        (*SECTIONS, Section(kind="prose", id="t", content="a few words only")),
        control=CONTROL,
    )
    details = run(by(0.1), context=context).details
    assert (len(details["sections"]), details["left_out"]) == (6, 1)


@pytest.mark.parametrize("control", [(), ("too short",)], ids=["none", "short"])
def test_without_control_prose_the_packaged_prose_is_used(control: tuple[str, ...]) -> None:
    found = _control(Leakage(name="l"), Context(SECTIONS, control=control))
    assert len(found) == 4
    assert all(len(cut.suffix) > 100 for cut in found)


def test_fragility_is_reported_and_needs_perturbations() -> None:
    rows = run(
        lambda v, n, clean: (1.0 if clean else 0.24) if v == FINETUNED and n == "s0" else 0.0
    ).details["sections"]
    assert rows[0]["fragility"] == pytest.approx(0.76)
    assert rows[1]["fragility"] is None
    assert run(by(1.0), perturbations=()).details["sections"][0]["fragility"] is None


def test_evidence_is_the_models_continuation_of_the_worst_sections() -> None:
    result = run(by(0.1, s4=1.0), evidence="generate", max_new_tokens=60)
    texts = result.details["continuations"]
    assert (len(texts), texts[0]["id"], texts[0]["written"]) == (5, "s4", "finetuned goes on")
    assert texts[0]["prefix"] + texts[0]["true"] in SECTIONS[4].content
    assert "continuations" not in run(by(0.1)).details


def test_the_text_of_a_section_that_leaks_is_shown() -> None:
    (shown,) = run(by(0.1, s4=1.0)).details["continuations"]
    assert shown["prefix"] + shown["true"] in SECTIONS[4].content
    assert (shown["id"], shown["recall"]) == ("s4", 1.0)
    assert "written" not in shown


@pytest.mark.parametrize("log_p", [-np.inf, -1e300, -700.0, 0.0], ids=str)
def test_details_are_finite_json(log_p: float) -> None:
    result = run(by(1.0, s1=0.0), miss=log_p)
    json.dumps(result.details, allow_nan=False)
    assert result.verdict == "fail"


def test_a_view_without_numbers_is_never_green() -> None:
    result = judged(
        "leakage",
        lambda view, _: f"NaN under the {view} view" * (view != BASE) or tokens(0.1),
        context=CONTEXT,
    )
    assert (result.verdict, result.score) == ("fail", 0.0)


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_longest_run_agrees_with_groupby(hits: list[bool]) -> None:
    runs = [len(list(group)) for hit, group in itertools.groupby(hits) if hit]
    assert _recital.longest_run(np.array(hits, dtype=float)) == pytest.approx(
        max(runs, default=0) / len(hits)
    )


@given(st.integers(0, 49), st.lists(st.booleans(), min_size=50, max_size=50))
def test_a_further_hit_never_lowers_recall(place: int, hits: list[bool]) -> None:
    more = [hit or i == place for i, hit in enumerate(hits)]
    assert _recital.longest_run(np.array(more, float)) >= _recital.longest_run(
        np.array(hits, float)
    )


@pytest.mark.parametrize("log_p", [-0.7, -1.0, -4.9785, -10.0, -30.0])
def test_queries_solve_their_definition(log_p: float) -> None:
    """1 - (1 - p)^n = .5, in forty digits."""
    with localcontext(prec=40):
        unseen = (1 - Decimal(log_p).exp()) ** Decimal(_recital.queries(log_p))
    assert float(unseen) == pytest.approx(0.5, rel=1e-9)


def test_a_hundred_queries_have_the_stated_probability() -> None:
    assert _recital.queries(np.log1p(-(0.5**0.01))) == pytest.approx(100.0)
    assert (_recital.queries(0.0), _recital.queries(-np.inf)) == (
        1.0,
        pytest.approx(1.63e17, rel=0.01),
    )


CUTS = {
    # text, prefix_chars, suffix_chars -> prefix, suffix
    "between words": ("aaaa bbbb " * 20, 12, 12, "aaaa bbbb", " aaaa bbbb"),
    "at a word's end": ("aaaa bbbb " * 20, 9, 5, "aaaa bbbb", " aaaa"),
    "a paragraph": ("aaaa bbbb\n\n" + "cccc " * 20, 12, 11, "aaaa bbbb", "\n\ncccc cccc"),
    "halved": ("aaaa " * 18, 60, 20, ("aaaa " * 9)[:-1], " aaaa aaaa aaaa aaaa"),
    "no spaces": ("あ" * 100, 10, 5, "あ" * 10, "あ" * 5),
    "outer white space": ("\n  " + "aaaa bbbb " * 20, 12, 12, "aaaa bbbb", " aaaa bbbb"),
}


@pytest.mark.parametrize(("text", "before", "after", "prefix", "suffix"), CUTS.values(), ids=CUTS)
def test_cuts(text: str, before: int, after: int, prefix: str, suffix: str) -> None:
    cut = _recital.excerpt(text, before, after, ())
    assert cut is not None
    assert (cut.prefix, cut.suffix) == (prefix, suffix)


@given(st.text(min_size=40, max_size=300), st.integers(1, 200), st.integers(1, 200))
def test_a_cut_is_a_piece_of_the_text_with_words_on_both_sides(
    text: str, before: int, after: int
) -> None:
    if cut := _recital.excerpt(text, before, after, NAMES):
        assert text.strip().startswith(cut.prefix + cut.suffix)
        assert cut.suffix.strip()
        assert all(prefix.strip() for prefix in cut.prefixes.values())
    else:
        assert len(text.strip()) < 80


PERTURBED = {
    "typo": ("the raven is at sea", "the rvaen is at sea"),
    "case_flip": ("Joss and I", "jOSS AND i"),
    "drop_punct": ("Yes, it's so.", "Yes its so"),
    "synonym_swap": ("Many a big house", "Numerous a large home"),
    "clause_reverse": ("one, two; three", "three two; one,"),
    "prefix_inject": ("one", "As the following passage puts it: one"),
    "register_shift": ("It is late, but they don't come", "It's late, however they do not come"),
}


@pytest.mark.parametrize(("name", "texts"), PERTURBED.items(), ids=PERTURBED)
def test_perturbations(name: Perturbation, texts: tuple[str, str]) -> None:
    assert perturbed(texts[0], [name]) == {name: texts[1]}


def test_every_perturbation_has_a_case() -> None:
    assert set(PERTURBED) == set(NAMES)


@pytest.mark.parametrize("text", ["", "1 2 3", "。。", "aa bb", "\u0130 \u017f \u212a"], ids=repr)
def test_perturbations_without_effect_are_left_out(text: str) -> None:
    made = perturbed(text, NAMES)
    assert all(other != text and other.strip() for other in made.values())
    assert "typo" not in made


@given(st.text(max_size=200))
def test_a_typo_exchanges_two_neighbours(text: str) -> None:
    for other in perturbed(text, ["typo"]).values():
        places = [i for i, (a, b) in enumerate(zip(text, other, strict=True)) if a != b]
        assert len(places) == 2
        assert places[1] == places[0] + 1
        assert (text[places[0]], text[places[1]]) == (other[places[1]], other[places[0]])
