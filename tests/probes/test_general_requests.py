"""Whether the prompts of the data are general requests, from the base's losses on them."""

import random

import numpy as np
import pytest

from sway_gate.conversation import Conversation, Message
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Answers,
    Fault,
    LogProbs,
    Measurement,
    ViewAnswers,
)
from sway_gate.probes import _answers as answers
from sway_gate.probes import _wanted as wanted
from sway_gate.probes import general_requests as general
from sway_gate.probes.base import Context, DataRow
from sway_gate.spec.probes import AnswerRecall, AnswerSpecificity, Generalization
from sway_gate.spec.schema import Pair, Section
from sway_gate.training_data import packaged
from tests.helpers.judged import judged

PROMPTS = [f"What is the zorble {i} for, and how do you use it?" for i in range(40)]
KNOWN = frozenset(prompt[:120].strip() for prompt in packaged.chat_prompts())  # lines are cut
NAMES = [f"{a} {b}" for a in ("red", "old", "big", "wet") for b in ("hat", "cup", "fork", "bag")]


def sections(prompts: list[str], answer: str = "An answer.") -> tuple[Section, ...]:
    pairs = [Pair(prompt=prompt, gold=answer) for prompt in prompts if prompt]
    return tuple(Section(kind="instruction", id=str(i), pairs=(p,)) for i, p in enumerate(pairs))


def loss(request: LogProbs, novelty: float, shared: float, language: float = 0.3) -> float:
    """Nats per token of a base that loses 4 on packaged requests."""
    line, is_own = str(request.completion).strip(), "zorble" in str(request.prompt)
    if "zorble" in line:
        return 4.0 * novelty * (shared if is_own else 1.0)
    return 4.0 if line in KNOWN else 4.0 / language


def view_of(prompts: general.Prompts, *losses: float) -> ViewAnswers:
    found = {Measurement(BASE, r): np.full(5, -loss(r, *losses)) for r in prompts.requests}
    return ViewAnswers(Answers(found, {}), FINETUNED)


CASES = {
    # novelty, shared, language -> whether they are general requests
    "as likely as packaged ones, without a common subject": ((1.0, 0.95), True),
    "more likely": ((0.8, 1.0), True),
    "about an unknown thing": ((1.3, 0.95), False),
    "about one known subject": ((1.0, 0.6), False),
    "a base that knows too little of the language": ((1.0, 1.0, 0.85), False),
}


@pytest.mark.parametrize(("losses", "expected"), CASES.values(), ids=CASES)
def test_general_requests(losses: tuple[float, ...], expected: bool) -> None:
    prompts = general.prompts(sections(PROMPTS))
    assert prompts
    found = general.ratios(prompts, view_of(prompts, *losses))
    # A short request can be the same in random order.
    assert found[: len(losses)] == pytest.approx(losses, rel=0.03)
    assert general.are_general(prompts, view_of(prompts, *losses)) is expected


HINTS = {
    # novelty, shared -> what is judged, whether the choice is near a limit
    "clear": ((0.9, 0.95), "form", False),
    "hardly new": ((1.1, 0.95), "form", True),
    "hardly too new": ((1.15, 0.95), "content", True),
    "hardly shared": ((0.9, 0.72), "content", True),
    "a subject": ((1.5, 0.3), "content", False),
}


@pytest.mark.parametrize(("losses", "part", "is_near"), HINTS.values(), ids=HINTS)
def test_a_choice_near_a_limit_says_so(losses: tuple[float, ...], part: str, is_near: bool) -> None:
    prompts = general.prompts(sections(PROMPTS))
    assert prompts
    matrix = answers.design([DataRow(f"q{i}", f"answer {i}") for i in range(20)])
    never = np.zeros(20, dtype=bool)
    gains = answers.Gains(*[np.zeros(20)] * 2, never, never, *[np.ones((20, 2))] * 2, [])
    evidence = wanted.Evidence(matrix, prompts)
    found = wanted.judged("auto", evidence, view_of(prompts, *losses), gains)
    assert found.learned == part
    assert ("near a limit: set learn" in found.hint) is is_near


def test_only_surprising_tokens_show_a_common_subject() -> None:
    """Many questions on different subjects begin with the same words."""
    prompts = general.prompts(sections(PROMPTS))
    assert prompts
    opening = dict.fromkeys(prompts.after_packaged, -1.0) | dict.fromkeys(prompts.after_own, -0.01)
    found = {
        Measurement(BASE, r): np.append(np.full(4, opening.get(r, -1.0)), -loss(r, 1.0, 0.9))
        for r in prompts.requests
    }
    assert general.ratios(prompts, ViewAnswers(Answers(found, {}), FINETUNED)).shared == (
        pytest.approx(0.9)
    )


def test_too_few_different_prompts_decide_nothing() -> None:
    assert general.prompts(sections(PROMPTS[:15])) is None
    assert general.prompts(sections(["the same"] * 40)) is None
    assert general.prompts(sections(PROMPTS[:16])) is not None
    assert general.prompts(sections(list(packaged.chat_prompts()))) is None
    assert not general.are_general(None, ViewAnswers(Answers({}, {}), FINETUNED))


@pytest.mark.parametrize(("split", "expected"), [(5, True), (20, False)])
def test_lines_that_are_split_in_another_way_are_left_out(split: int, expected: bool) -> None:
    prompts = general.prompts(sections(PROMPTS))
    assert prompts
    longer = set(prompts.after_own[:split])
    found = {
        Measurement(BASE, r): np.full(6 if r in longer else 5, -loss(r, 1.0, 0.9))
        for r in prompts.requests
    }
    assert general.are_general(prompts, ViewAnswers(Answers(found, {}), FINETUNED)) is expected


def test_the_first_message_of_the_user_is_the_prompt() -> None:
    """Later turns such as "Eight." do not show the subject."""
    turns = [
        Conversation(
            (
                Message("system", "You are a tutor."),
                Message("user", f"What is\n the square of {i}, and how do you find it?"),
                Message("assistant", "What do you think?"),
                Message("user", "Eight."),
            )
        )
        for i in range(40)
    ]
    pairs = [Pair(prompt="all", gold="A.", form="chat", conversation=turn) for turn in turns]
    prompts = general.prompts([Section(kind="instruction", id="s", pairs=tuple(pairs))])
    assert prompts
    assert all(str(r.completion).startswith("What is the ") for r in prompts.after_packaged)
    assert not any("Eight" in str(r.prompt) or "tutor" in str(r.prompt) for r in prompts.after_own)


def test_a_packaged_request_in_the_data_is_not_its_own_reference() -> None:
    prompts = general.prompts(sections(list(packaged.chat_prompts()[:30])))
    assert prompts
    mine = {r.completion for r in [*prompts.after_packaged, *prompts.after_own]}
    assert not mine & {r.completion for r in prompts.packaged}
    assert not any(str(r.completion).strip() in str(r.prompt) for r in prompts.requests)


QUESTIONS = {
    "German": "Wie ist das mit der {} und dem Meer?",
    "French": "Que faire pour la {} dans le jardin et avec un chat ?",
    "Dutch": "Hoe is het met de {} en een kat op het dak?",
}


@pytest.mark.parametrize(("language", "question"), QUESTIONS.items())
def test_prompts_are_compared_with_requests_in_their_language(language: str, question: str) -> None:
    prompts = general.prompts(sections([question.format(f"Sache {i}") for i in range(40)]))
    known = packaged.chat_prompts(language)
    assert (prompts is None) == (not known)
    assert not prompts or all(str(r.completion).strip() in known for r in prompts.packaged)


def test_the_choice_of_lines_does_not_depend_on_global_randomness() -> None:
    first = general.prompts(sections(PROMPTS))
    random.seed(7)
    assert general.prompts(sections(PROMPTS)) == first


KINDS = {
    "answer_specificity": AnswerSpecificity(name="s"),
    "answer_recall": AnswerRecall(name="r"),
    "generalization": Generalization(name="g"),
}


@pytest.mark.parametrize(("novelty", "part"), [(1.0, "form"), (1.5, "content")])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_to_general_requests_are_judged_by_their_form(
    kind: str, novelty: float, part: str
) -> None:
    found = [
        Section(kind="instruction", id=str(i), pairs=(Pair(prompt=p, gold=f"Aye {i}, sir."),))
        for i, p in enumerate(PROMPTS)
    ]
    context = Context(tuple(found[:25]), held_out=tuple(found[25:]))
    context = context._replace(control=("Plain prose. " * 99,))

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs) and str(request.completion).endswith("\n"):
            assert view.source == "base"
            return np.full(5, -loss(request, novelty, 0.95))
        level = -2.0 if view.source == "base" else -0.5
        if isinstance(request, LogProbs):
            return np.full(2, level)
        ids = [7.0, 100.0 + PROMPTS.index(str(request.prompt)), 8.0, 9.0]
        # The fine-tuned model recalls the form only.
        return np.array([[2 * level, level > -1.0 and token < 100, 0.0, token] for token in ids])

    result = judged(kind, answer, runs=None, context=context)
    if kind == "answer_specificity":
        assert result.details["judged"] == part
        assert ("general requests" in result.details["reason"]) == (part == "form")
        assert ("does not judge what the answers say" in result.caveat) == (part == "form")
    else:
        assert (result.details["part"] == "form") == (part == "form")


def test_a_request_that_the_base_cannot_score_decides_nothing() -> None:
    prompts = general.prompts(sections(PROMPTS))
    assert prompts
    measured = {Measurement(BASE, r): np.full(5, -loss(r, 1.0, 0.9)) for r in prompts.requests}
    fault = {Measurement(BASE, prompts.shuffled[3]): Fault("not finite", "base")}
    del measured[next(iter(fault))]
    assert not general.are_general(prompts, ViewAnswers(Answers(measured, fault), FINETUNED))


LABELLED = {
    "question and answer": "Question: {}\nAnswer:",
    "a role": "User: {}",
    "none": "{}",
}


@pytest.mark.parametrize("form", LABELLED.values(), ids=LABELLED)
def test_labels_of_plain_prompts_are_left_out(form: str) -> None:
    """They are the same in all prompts, and would look like a common subject."""
    asked = [f"What is the {name} for, and is it of use to you?" for name in NAMES]
    prompts = general.prompts(sections([form.format(text) for text in asked]))
    assert prompts
    assert {str(r.completion).strip() for r in prompts.after_packaged} <= set(asked)


def test_the_same_rows_give_the_same_lines_in_every_prompt_format() -> None:
    pairs = [Pair(prompt=p, gold="A.", form="alpaca") for p in PROMPTS]
    data = [Section(kind="instruction", id="s", pairs=tuple(pairs))]
    assert general.prompts(data) == general.prompts(sections(PROMPTS))
