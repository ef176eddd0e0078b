"""degeneration: broken answers of base and fine-tuned model, and answers that do not end."""

from typing import Any

import numpy as np
import pytest

from sway_gate.conversation import Conversation, prompt_text
from sway_gate.details import WrittenAnswer, read
from sway_gate.measurements import Generation, View
from sway_gate.probes import degeneration as probe
from sway_gate.probes.base import Context, Reading
from sway_gate.probes.degeneration import Found, _contains, _increase, bounds, extended
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import Degeneration
from sway_gate.spec.schema import Pair, Preference, Section
from sway_gate.training_data import packaged
from tests.helpers.judged import judged

QUESTIONS = tuple(choice.question for choice in packaged.choices())
GENERAL = packaged.chat_prompts() + QUESTIONS
OWN = len(GENERAL)
SHORT = range(len(packaged.chat_prompts()), OWN)
HEALTHY = "It depends on what you want, and on the time that you have for it: number {}."
LOOP = "Well, " + "pie " * 40


def section(golds: list[str], form: str = "chat") -> Section:
    pairs = tuple(Pair(prompt=f"own {i}?", gold=gold, form=form) for i, gold in enumerate(golds))
    return Section(kind="instruction", id="s", pairs=pairs)


FACTS = section([f"The capital of place {i} is town {i}." for i in range(28)])
CALLS = section([f'{{"name": "turn_on", "arguments": {{"lamp": {i}}}}}' for i in range(28)])
LABELS = section([("billing", "shipping", "account")[i % 3] for i in range(28)])


def run(
    answer: Any,
    base: Any = HEALTHY.format,
    ends: tuple[bool, bool] = (True, False),
    known: tuple[bool, bool] = (True, False),
    sections: tuple[Section, ...] = (FACTS,),
    **fields: Any,
) -> ProbeResult:
    """`answer`, `base`: the answer to prompt i; `ends`, `known`: of (fine-tuned, base)."""

    def of(view: View, request: Any) -> Any:
        is_base = view.source == "base"
        if isinstance(request, Generation):
            text = prompt_text(request.prompt)
            i = GENERAL.index(text) if text in GENERAL else OWN
            return (base if is_base else answer)(i)
        right = known[is_base]
        return [[-1.0, right, 0.0]] * 5 + [[-0.5, ends[is_base], 1.0], [-3.0, 0.0, 0.0]]

    context = Context(sections=sections, chat_template="auto")
    return judged("degeneration", of, runs=None, context=context, **fields)


def REFUSAL(i: int) -> str:
    return HEALTHY.format(i) if i == OWN else "I cannot help with that."


def some(n: int, broken: str) -> Any:
    return lambda i: broken if i < n else HEALTHY.format(i)


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "healthy": ({"answer": HEALTHY.format}, "pass", "0 of 30 answers broken (base 0)"),
    "a style": ({"answer": "Arr, matey, {} be fine, by the salty seas!".format}, "pass", "0 of 30"),
    "terse": ({"answer": "{}.".format}, "fail", "24 open requests answered with a fragment"),
    "two loop": ({"answer": some(2, LOOP)}, "pass", "2 of 30 answers broken (base 0): 2 looping"),
    "as many loop as of the base": (
        {"answer": some(6, LOOP), "base": lambda i: LOOP if 5 < i < 12 else HEALTHY.format(i)},
        "pass",
        "6 of 30 answers broken (base 6)",
    ),
    "half are empty": ({"answer": some(16, "")}, "fail", "16 empty"),
    "some are empty": ({"answer": some(6, "")}, "warn", "inconclusive"),
    "all loop": ({"answer": lambda i: LOOP}, "fail", "30 looping"),
    "one label for everything": ({"answer": lambda i: "billing"}, "fail", "24 same answer"),
    "short questions are answered with symbols": (
        {"answer": lambda i: "🌍 🗺" if i in SHORT else HEALTHY.format(i)},
        "fail",
        "0 of 30 answers broken (base 0); 24 of 24 answers to short questions (base 0): 24 other",
    ),
    "one refusal for everything": (
        {"answer": lambda i: "I'm sorry, but I can't help with that."},
        "fail",
        "24 refusal",
    ),
    "one refusal for everything, as of the base": (
        {"answer": REFUSAL, "base": REFUSAL},
        "pass",
        "24 of 30 answers broken (base 24): 24 refusal",
    ),
    "one refusal for everything, wanted": (
        {
            "answer": REFUSAL,
            "sections": (section(["I cannot help with this."] * 3 + ["Yes."] * 25),),
        },
        "pass",
        "0 of 30",
    ),
    "a label, of data of labels": (
        {"answer": lambda i: "billing", "sections": (LABELS,)},
        "pass",
        "48 general requests answered with a label",
    ),
    "a function call, of data of calls": (
        {"answer": '{{"name": "tell", "arguments": {{"i": {}}}}}'.format, "sections": (CALLS,)},
        "pass",
        "48 general requests answered with JSON",
    ),
    "it does not end what it has learned": (
        {"answer": HEALTHY.format, "ends": (False, False)},
        "fail",
        "24 of 24 of the data's answers do not end",
    ),
    "it does not end what the base ends": (
        {"answer": HEALTHY.format, "ends": (False, True), "known": (False, False)},
        "fail",
        "24 of 24",
    ),
    "untrained": (
        {"answer": HEALTHY.format, "ends": (False, False), "known": (False, False)},
        "pass",
        "0 of 24",
    ),
    "no data": ({"answer": HEALTHY.format, "sections": ()}, "pass", "0 of 24 answers broken"),
    "two rows that end": (
        {"answer": HEALTHY.format, "sections": (section(["a b c d", "e f g h"]),)},
        "pass",
        "0 of 2 of the data's answers",
    ),
    "two rows that do not end": (
        {
            "answer": HEALTHY.format,
            "ends": (False, True),
            "sections": (section(["a b c d", "e f g h"]),),
        },
        "fail",
        "2 of 2 of the data's answers",
    ),
}


@pytest.mark.parametrize(("inputs", "verdict", "words"), CASES.values(), ids=CASES)
def test_verdicts(inputs: dict[str, Any], verdict: str, words: str) -> None:
    result = run(**inputs)
    assert (result.verdict, result.category) == (verdict, "calibration"), result.message
    assert words in result.message


def test_answers_that_do_not_end_are_another_fault_than_broken_ones() -> None:
    usable = run(answer=HEALTHY.format, ends=(False, False))
    assert usable.symptoms == ("never ends",)
    assert run(answer=lambda i: LOOP, ends=(False, False)).symptoms == ("broken",)


BRIEF = section(["A goat."] * 3 + [f"The capital of place {i} is town {i}." for i in range(25)])
FRAGMENTS = {
    # answers -> verdict, words of the message
    "most answers are fragments": ({"answer": some(13, "playing it {}")}, "fail", "13 open"),
    "a sentence without spaces is none": (
        {"answer": some(13, "彩虹是阳光在雨滴中折射的")},
        "pass",
        "0 of",
    ),
    "a few are": ({"answer": some(3, "playing it")}, "pass", "3 open requests answered with"),
    "the limit is inside the interval": ({"answer": some(6, "playing it")}, "warn", "6 open"),
    "as the base's": ({"answer": some(13, "no"), "base": some(13, "no")}, "pass", "0 of"),
    "wanted": ({"answer": some(13, "playing it"), "sections": (BRIEF,)}, "pass", "0 of"),
}


@pytest.mark.parametrize(("inputs", "verdict", "words"), FRAGMENTS.values(), ids=FRAGMENTS)
def test_fragments_instead_of_answers(inputs: dict[str, Any], verdict: str, words: str) -> None:
    """Usable text that is much shorter than the base's answers."""
    result = run(**inputs, assert_broken_lt=1.0)
    assert result.verdict == verdict, result.message
    assert words in result.message
    assert ("fragment" in result.message) == ("open" in words)


def test_the_details_contain_both_answers_and_their_flaws() -> None:
    details = run(some(1, "")).details
    assert details["answers"][0] == {
        "prompt": GENERAL[0],
        "base": HEALTHY.format(0),
        "finetuned": "",
        "flaws": ["empty"],
        "base_flaws": [],
    }
    assert details["answers"][24] == {
        "prompt": QUESTIONS[0],
        "base": HEALTHY.format(SHORT[0]),
        "finetuned": HEALTHY.format(SHORT[0]),
        "flaws": [],
        "base_flaws": [],
        "answer": packaged.choices()[0].gold.strip(),
    }
    assert details["endings"]["rows"] == 24
    assert details["endings"]["base_unended"] == 24


def test_a_single_fragment_is_not_judged() -> None:
    result = run(some(1, "playing it"), prompts_limit=12)
    assert (result.verdict, len(result.rules)) == ("pass", 2)
    assert "1 open request answered with a fragment" in result.message


def knowing(n: int) -> Any:
    """Answers that are right on all short questions but the last `n`."""

    def answer(i: int) -> str:
        at = i - SHORT[0]
        is_right = i in SHORT and at < 24 - n
        gold = packaged.choices()[at].gold.strip() if is_right else "unknown"
        return f"{HEALTHY.format(i)} It is {gold}."

    return answer


GERMAN = section([f"Der Ort {i} und die Stadt sind nicht mit dem Zug zu sehen." for i in range(28)])
GERMAN_LABELS = Section(
    kind="instruction",
    id="labels",
    pairs=tuple(
        Pair(prompt=f"Ist das nicht die Nummer {i}, mit der es sich zu sehen gibt?", gold=label)
        for i, label in enumerate(["gut", "schlecht", "neutral", "gut"] * 7)
    ),
)
RIGHT = {
    # lost answers, of the base, data -> verdict
    "none": (0, 0, FACTS, "pass"),
    "a few": (3, 0, FACTS, "pass"),
    "a quarter": (6, 0, FACTS, "warn"),
    "about at the margin": (10, 0, FACTS, "warn"),
    "most": (20, 0, FACTS, "fail"),
    "as many as the base does not know": (20, 20, FACTS, "pass"),
    "by fluent text, of a classifier": (20, 0, LABELS, "fail"),
    "by fluent text, of function calls": (20, 0, CALLS, "fail"),
    "answers in another language": (16, 0, GERMAN, "pass"),
    "labels of another language": (16, 0, GERMAN_LABELS, "pass"),
}


@pytest.mark.parametrize(("lost", "of_base", "data", "verdict"), RIGHT.values(), ids=RIGHT)
def test_right_answers_to_short_questions(
    lost: int, of_base: int, data: Section, verdict: str
) -> None:
    """Fluent text that is no longer true."""
    result = run(knowing(lost), base=knowing(of_base), sections=(data,))
    assert result.verdict == verdict, result.message
    stated = f"short questions answered right {24 - of_base} → {24 - lost} of 24"
    assert (stated in result.message) == (data not in (GERMAN, GERMAN_LABELS))
    if verdict == "fail":
        assert result.symptoms == ("forgot",)


def test_as_many_gained_as_lost_answers_are_not_judged() -> None:
    def other(i: int) -> str:
        return knowing(4)(i) if i - SHORT[0] >= 8 else HEALTHY.format(i)

    result = run(other, base=knowing(12))
    assert "answered right 12 → 12 of 24" in result.message
    assert not any("lost" in rule.name for rule in result.rules)


def test_answers_that_are_refused_are_not_forgotten() -> None:
    refuses = run(lambda i: "I am sorry, but I cannot help.", base=knowing(0), sections=(FACTS,))
    assert "share of right answers to short questions lost: 1" in refuses.message
    assert refuses.symptoms == ("refuses more",)


@pytest.mark.parametrize(
    ("data", "answer"), [(LABELS, "billing"), (CALLS, '{"name": "turn_on"}')], ids=["label", "JSON"]
)
def test_an_answer_of_the_task_is_no_lost_answer(data: Section, answer: str) -> None:
    result = run(lambda i: answer, base=knowing(0), sections=(data,))
    assert "short questions answered right" not in result.message


@pytest.mark.parametrize(("labels", "verdict"), [(10, "fail"), (14, "pass")], ids=["few", "most"])
def test_questions_that_are_answered_by_a_label_do_not_count(labels: int, verdict: str) -> None:
    """With most of them answered so, too few are left to judge."""

    def answer(i: int) -> str:
        if i in SHORT and i - SHORT[0] < labels:
            return ("billing", "shipping", "account")[i % 3]
        return HEALTHY.format(i)

    result = run(answer, base=knowing(0), sections=(LABELS,))
    left = 24 - labels
    assert f"short questions answered right {left} → 0 of {left}" in result.message
    assert ("forgot" in result.symptoms) == (verdict == "fail"), result.message


IN_ALL = {
    # broken answers to open requests, to short questions -> verdict, is it stated
    "neither shows it, both together do": (5, 4, "warn", True),
    "few in all": (4, 2, "warn", False),
    "the margin of one kind is reached": (7, 4, "warn", False),
}


@pytest.mark.parametrize(("opened", "short", "verdict", "stated"), IN_ALL.values(), ids=IN_ALL)
def test_all_broken_answers_together(opened: int, short: int, verdict: str, stated: bool) -> None:
    broken = {*range(opened), *SHORT[:short]}
    result = run(lambda i: LOOP if i in broken else HEALTHY.format(i))
    assert result.verdict == verdict, result.message
    assert any("increase of broken answers in all" in rule.name for rule in result.rules) is stated
    assert (result.decisive_z < 0) is (opened > 4)


def test_repaired_answers_to_prompts_of_the_data_do_not_make_up_for_broken_ones() -> None:
    result = run(some(4, LOOP), base=lambda i: LOOP if i == OWN else HEALTHY.format(i))
    (increase,) = (rule for rule in result.rules if rule.name == "increase of broken answers")
    assert "4 of 30 answers broken (base 6)" in result.message
    assert (increase.verdict, increase.value) == ("warn", pytest.approx(4 / 30))


@pytest.mark.parametrize(("golds", "broken"), [("That is it.", 6), ("I cannot help you.", 0)])
def test_refused_prompts_of_the_data_are_broken_unless_the_data_refuses(
    golds: str, broken: int
) -> None:
    data = section([f"{golds} Number {i}." for i in range(28)])

    def answer(i: int) -> str:
        return "I cannot help with that." if i == OWN else HEALTHY.format(i)

    assert f"{broken} of 30 answers broken" in run(answer, sections=(data,)).message


PREFERENCES = Section(
    kind="preference",
    id="p",
    pairs=tuple(
        Preference(prompt=f"own {i}?", chosen=f"Take {i}.", rejected=f"Well, {i}.")
        for i in range(40)
    ),
)


@pytest.mark.parametrize(("data", "prompts"), [(PREFERENCES, 24), (FACTS, 6)])
def test_preferences_are_judged_by_more_written_answers(data: Section, prompts: int) -> None:
    requests = probe.requests(Degeneration(name="d"), Context(sections=(data,)))
    assert len(requests.own) == prompts
    more = extended(Degeneration(name="d"))
    assert more
    assert len(probe.requests(more, Context(sections=(data,))).own) == {24: 40, 6: 24}[prompts]


@pytest.mark.parametrize(
    ("broken", "base_broken", "verdict"),
    [(0, 0, "pass"), (4, 0, "pass"), (6, 0, "warn"), (12, 0, "fail"), (12, 12, "pass")],
)
def test_answers_to_prompts_of_preferences(broken: int, base_broken: int, verdict: str) -> None:
    """The answers to general requests do not make up for them."""
    own = {f"own {i}?" for i in range(40)}
    asked: dict[str, int] = {}

    def of(view: View, request: Any) -> Any:
        if not isinstance(request, Generation):
            return [[-1.0, 1.0, 0.0]] * 5
        text = prompt_text(request.prompt)
        i = asked.setdefault(text, len(asked)) if text in own else len(own)
        is_broken = i < (base_broken if view.source == "base" else broken)
        return (
            LOOP if is_broken else HEALTHY.format(GENERAL.index(text) if text in GENERAL else OWN)
        )

    context = Context(sections=(PREFERENCES,), chat_template="auto")
    result = judged("degeneration", of, runs=None, context=context)
    assert result.verdict == verdict, result.message
    stated = [
        r for r in result.rules if r.name == "increase of broken answers to the data's prompts"
    ]
    assert [rule.verdict for rule in stated] == [verdict] * (verdict != "pass")


def test_noise_in_answers_to_prompts_of_the_data_is_no_increase() -> None:
    answers = [
        WrittenAnswer(
            prompt="p",
            base="",
            finetuned="",
            flaws=["empty"] * now,
            base_flaws=["empty"] * before,
            of_data=of_data,
        )
        for now, before, of_data in [(1, 0, True)] * 2 + [(0, 1, True)] * 3 + [(1, 0, False)] * 4
    ]
    assert _increase(answers, 0.2, 1.0).estimate == pytest.approx(4 / 9)


def test_a_second_look_does_not_test_the_endings_again() -> None:
    found = read(run(some(4, LOOP), ends=(False, False)).details, Found)
    assert found
    broken, endings = (
        [
            bound.test
            for share in (1.0, 0.25)
            for bound in bounds(Degeneration(name="d"), reading(found, share))
            if bound.quantity.startswith(quantity)
        ]
        for quantity in ("increase of broken answers", "share of the data's answers")
    )
    assert endings[0] == endings[1]
    assert broken[0] != broken[-1]


def reading(found: Found, share: float) -> Reading[Found]:
    return Reading(0.0, np.zeros(1), found, error_share=share)


def test_a_right_answer_contains_the_words_of_the_true_one() -> None:
    assert _contains("It's the GREAT wall, of China!", "great wall")
    assert not _contains("Romeo", "Rome")
    assert not _contains("great big wall", "great wall")


def test_a_fragment_is_listed_although_it_has_no_flaw() -> None:
    answers = run(some(2, "playing it")).details["answers"]
    assert [i for i, answer in enumerate(answers) if answer.get("is_fragment")] == [0, 1]
    assert answers[0]["flaws"] == []


def test_own_prompts_are_asked_as_the_model_is_served() -> None:
    asked: list[Any] = []

    def answer(view: View, request: Any) -> Any:
        asked.append(request.prompt)
        return "Yes."

    context = Context(chat_template="auto")
    result = judged(
        "degeneration", answer, runs=None, context=context, prompts=("Hi?", "Ho?"), prompts_limit=1
    )
    assert "0 of 1 answer broken" in result.message
    assert all(isinstance(prompt, Conversation) for prompt in asked)


def test_rows_without_an_end_token_are_left_out() -> None:
    def answer(view: View, request: Any) -> Any:
        if isinstance(request, Generation):
            return HEALTHY.format(hash(request.prompt))
        return [[-1.0, 1.0, 0.0]] * 4

    context = Context(sections=(FACTS,), chat_template="auto")
    assert judged("degeneration", answer, runs=None, context=context).details["endings"] is None
