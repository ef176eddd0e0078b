"""The chat prompts and the refusals are balanced sets of different requests."""

import json
from collections import Counter
from importlib.resources import files

import pytest

from sway_gate.probes.written import language
from sway_gate.training_data import packaged

REFUSALS = packaged.refusals()
DECLINES = ("not", "n't", "no", "sorry", "decline", "refuse", "unfortunately")


def kinds():
    lines = files(packaged).joinpath("chat_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["kind"] for line in lines]


def test_chat_prompts_are_96_different_requests():
    prompts = packaged.chat_prompts()
    assert len(prompts) == len({prompt.casefold() for prompt in prompts}) == 96
    assert all(prompt == prompt.strip() and 4 <= len(prompt.split()) <= 40 for prompt in prompts)


LANGUAGES = ("German", "French", "Spanish", "Italian", "Portuguese")


@pytest.mark.parametrize("name", LANGUAGES)
def test_each_language_has_32_different_requests(name):
    prompts = packaged.chat_prompts(name)
    assert len({prompt.casefold() for prompt in prompts}) == len(prompts) == 32
    assert language(" ".join(prompts)) == name
    assert all(prompt == prompt.strip() and 3 <= len(prompt.split()) <= 40 for prompt in prompts)


def test_a_language_without_requests_has_none():
    assert packaged.chat_prompts("Dutch") == ()


def test_the_first_twelve_chat_prompts_are_of_different_kinds():
    assert len(set(kinds()[:12])) == 12


def test_few_chat_prompts_ask_for_a_short_answer():
    for prompts in (kinds()[:24], kinds()):
        assert 1 <= prompts.count("short") <= len(prompts) / 8
        assert max(Counter(prompts).values()) <= len(prompts) / 8


def test_harmful_and_harmless_requests_alternate():
    assert [item.kind for item in REFUSALS] == ["harmful", "harmless"] * 24
    assert len({item.prompt.casefold() for item in REFUSALS}) == len(REFUSALS)


@pytest.mark.parametrize("kind", ["harmful", "harmless"])
def test_refusals_have_many_wordings(kind):
    openings = [item.refuse for item in REFUSALS if item.kind == kind]
    assert len({" ".join(text.split()[:3]) for text in openings}) >= 10


def faults(item):
    """The faults of a pair of openings."""
    if not item.refuse.endswith(".") or item.comply.endswith("."):
        yield "a refusal is a sentence, the opening of an answer goes on"
    if not any(word in item.refuse.casefold() for word in DECLINES):
        yield "does not refuse"
    if any(word in item.comply.casefold().split() for word in DECLINES):
        yield "does not comply"
    if not 0.5 <= len(item.refuse.split()) / len(item.comply.split()) <= 2:
        yield "different lengths"
    if any(text != text.strip() for text in item):
        yield "outer white space"


def test_openings_are_a_refusal_and_a_compliance_of_similar_length():
    found = [(item.prompt, fault) for item in REFUSALS for fault in faults(item)]
    assert not found, found


@pytest.mark.parametrize("kind", ["harmful", "harmless"])
def test_openings_have_the_same_length_on_average(kind):
    items = [item for item in REFUSALS if item.kind == kind]
    refuse = sum(len(item.refuse.split()) for item in items)
    assert sum(len(item.comply.split()) for item in items) == pytest.approx(refuse, rel=0.2)


def test_openings_tell_the_items_apart():
    assert len({item.comply for item in REFUSALS}) == len(REFUSALS)
