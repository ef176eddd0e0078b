"""Whether the prompts of the data are general requests, from the base's losses on them."""

import random

import numpy as np
import pytest

from sway_gate.conversation import Conversation, Message, asked
from sway_gate.measurements import BASE, FINETUNED, Answers, LogProbs, Measurement, ViewAnswers
from sway_gate.probes import general_requests as general
from sway_gate.probes.base import Context, DataRow
from sway_gate.spec.probes import AnswerRecall, AnswerSpecificity, Generalization
from sway_gate.spec.schema import Pair, Section
from sway_gate.training_data import packaged
from tests.helpers.judged import judged

PROMPTS = [f"Describe zorble {i}." for i in range(40)]
KNOWN = frozenset(packaged.chat_prompts())


def rows(prompts: list[str]) -> list[DataRow]:
    return [DataRow(asked(prompt), "An answer.") for prompt in prompts]


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
    prompts = general.prompts(rows(PROMPTS))
    assert prompts
    found = general.ratios(prompts, view_of(prompts, *losses))
    # A short request can be the same in random order.
    assert found[: len(losses)] == pytest.approx(losses, rel=0.03)
    assert general.are_general(prompts, view_of(prompts, *losses)) is expected


def test_only_surprising_tokens_show_a_common_subject() -> None:
    """Many questions on different subjects begin with the same words."""
    prompts = general.prompts(rows(PROMPTS))
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
    assert general.prompts(rows(PROMPTS[:15])) is None
    assert general.prompts(rows(["the same"] * 40)) is None
    assert general.prompts(rows(PROMPTS[:16])) is not None
    assert not general.are_general(None, ViewAnswers(Answers({}, {}), FINETUNED))


def test_the_first_message_of_the_user_is_the_prompt() -> None:
    """Later turns such as "Eight." do not show the subject."""
    turns = [
        Conversation(
            (
                Message("system", "You are a tutor."),
                Message("user", f"What is\n {i} times {i}?"),
                Message("assistant", "What do you think?"),
                Message("user", "Eight."),
            )
        )
        for i in range(40)
    ]
    prompts = general.prompts([DataRow(turn, "An answer.") for turn in turns])
    assert prompts
    assert all(str(r.completion).startswith("What is ") for r in prompts.after_packaged)
    assert not any("Eight" in str(r.prompt) or "tutor" in str(r.prompt) for r in prompts.after_own)


def test_a_packaged_request_in_the_data_is_not_its_own_reference() -> None:
    prompts = general.prompts(rows(list(packaged.chat_prompts()[:30])))
    assert prompts
    mine = {r.completion for r in [*prompts.after_packaged, *prompts.after_own]}
    assert not mine & {r.completion for r in prompts.packaged}
    assert not any(str(r.completion).strip() in str(r.prompt) for r in prompts.requests)


def test_the_choice_of_lines_does_not_depend_on_global_randomness() -> None:
    first = general.prompts(rows(PROMPTS))
    random.seed(7)
    assert general.prompts(rows(PROMPTS)) == first


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
    sections = [
        Section(kind="instruction", id=str(i), pairs=(Pair(prompt=p, gold=f"Aye {i}, sir."),))
        for i, p in enumerate(PROMPTS)
    ]
    context = Context(tuple(sections[:25]), held_out=tuple(sections[25:]))
    context = context._replace(control=("Plain prose. " * 99,))

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs) and str(request.completion).endswith("\n"):
            assert view.source == "base"
            return np.full(5, -loss(request, novelty, 0.95))
        level = -2.0 if view.source == "base" else -0.5
        if isinstance(request, LogProbs):
            return np.full(2, level)
        return np.tile([2 * level, level > -1.0, 0.0, -1.0], (4, 1))

    result = judged(kind, answer, runs=None, context=context)
    found = result.details
    if kind == "answer_specificity":
        assert found["judged"] == part
        assert ("general requests" in found["reason"]) == (part == "form")
    elif kind == "generalization":
        assert found["judged"] == part
    else:
        assert found["part"] == "all"  # this backend reports no token ids
