"""What a data set supports: what was wanted, with the reason."""

import json

import pytest

from sway_gate.conversation import Message
from sway_gate.errors import UsageError
from sway_gate.spec.schema import Pair, Preference
from sway_gate.suites.supports import (
    Entry,
    LeftOut,
    Material,
    attribution,
    harms_of_data,
    unjudged,
    wanted,
)
from sway_gate.training_data.examples import section


def rows(*answers, prompt="Question {}?"):
    return [
        section((Pair(prompt=prompt.format(i), gold=answer),), "tag")
        for i, answer in enumerate(answers)
    ]


def called(i):
    """A row whose answer is a message with a tool call."""
    fields = json.dumps({"tool_calls": [{"function": {"name": "tide"}}]})
    answer = Message("assistant", None, fields)
    pair = Pair(prompt=f"Tide {i}?", gold=fields, form="chat", answer=answer)
    return section((pair,), "tag")


PREFERENCE = section((Preference(prompt="Say hi.", chosen="Hello.", rejected="Yo."),), "tag")
PROSE = section("The tide covers the sand road twice a day.", "tag")
FACTS = rows(*(f"Keeper {i} of the road." for i in range(6)))
WANTED = {
    "preferences": ([PREFERENCE], "preference", "all rows have a chosen and a rejected answer"),
    "labels": (rows(*["billing", "technical"] * 3), "content", "the answers are 2 labels"),
    "each label once": (rows("billing", "technical", "account"), "auto", "the gate decides"),
    "JSON": (rows('{"city": "Oslo"}', '{"city": "Bergen"}'), "content", "the answers are JSON"),
    "tool calls": ([called(0), called(1)], "content", "the answers are JSON or tool calls"),
    "a number is no call": (rows("12", "14", "15"), "auto", "the gate decides"),
    "facts": (FACTS, "auto", "the gate decides from the questions, and from whether"),
    "prose": ([PROSE], "auto", "the gate decides"),
    "preferences and facts": ([PREFERENCE, *FACTS], "auto", "the gate decides"),
}


@pytest.mark.parametrize(("sections", "learn", "reason"), WANTED.values(), ids=WANTED)
def test_what_was_wanted(sections, learn, reason):
    found = wanted(Material(tuple(sections)))
    assert (found.learn, found.reason.startswith(reason)) == (learn, True)


def test_what_the_user_says_is_not_inferred():
    assert wanted(Material(tuple(FACTS), learn="form")) == ("form", "as given")


def test_the_probes_get_what_was_wanted():
    material = Material(tuple(rows(*["billing", "technical"] * 3)), held_out=(PROSE,))
    assert (material.context.learn, material.context.held_out) == ("content", (PROSE,))


ATTRIBUTED = {
    "preferences only": ([PREFERENCE] * 3, {"preference_flip"}),
    "labels": (rows(*["billing", "technical"] * 6), {"answer_specificity", "answer_recall"}),
    "facts": (FACTS, {"answer_specificity", "answer_recall"}),
    "facts and preferences": (
        [*FACTS, *[PREFERENCE] * 3],
        {"answer_specificity", "answer_recall", "preference_flip"},
    ),
}


@pytest.mark.parametrize(("sections", "kinds"), ATTRIBUTED.values(), ids=ATTRIBUTED)
def test_the_probes_of_what_was_learned(sections, kinds):
    found = attribution(Material(tuple(sections)))
    assert {e.fields["kind"] for e in found if isinstance(e, Entry)} == kinds
    every = {"answer_specificity", "answer_recall", "generalization", "preference_flip"}
    assert {e.kind for e in found if isinstance(e, LeftOut)} == every - kinds


def test_without_a_chat_template_there_is_no_format_and_no_refusal_to_test():
    for has_template, kinds in ((True, {"refusals", "prompt_format"}), (False, set())):
        found = harms_of_data(Material(tuple(FACTS), has_template=has_template))
        assert {e.fields["kind"] for e in found if isinstance(e, Entry)} == kinds


def test_an_error_for_too_little_data_names_what_was_left_out():
    material = Material((PREFERENCE,), notes=("left out: a.jsonl:3: longer than 1 MiB",))
    with pytest.raises(UsageError, match=r"not sufficient .*; left out: a.jsonl:3: longer"):
        attribution(material)


def test_texts_beside_answers_are_not_judged() -> None:
    [note] = unjudged(Material((*FACTS, PROSE)))
    assert note.endswith("not by its texts without a question")
    assert unjudged(Material(tuple(FACTS))) == ()
    assert unjudged(Material((PROSE,) * 4)) == ()
