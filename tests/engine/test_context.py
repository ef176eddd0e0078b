"""The register in which a prompt of the suite is measured."""

import pytest

from sway_gate.conversation import Conversation, Message, asked, prompt_text
from sway_gate.probes.base import Context
from sway_gate.spec.schema import Pair, Section

PROMPT = "Incident: nobody can log in.\nPriority:"
CASES = {
    # name: form of the row, settings -> whether the prompt is continued as text
    "a plain row": ("plain", {}, True),
    "a row in the served format": ("auto", {}, False),
    "messages": ("chat", {}, False),
    "plain by the spec": ("auto", {"prompt_format": "plain"}, True),
    "template by the spec": ("plain", {"prompt_format": "template"}, False),
    "template on": ("plain", {"chat_template": "on"}, False),
    "no template": ("auto", {"chat_template": "off"}, True),
}


@pytest.mark.parametrize(("form", "settings", "is_text"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("part", ["sections", "held_out"])
def test_a_prompt_of_the_data_has_the_format_of_its_row(form, settings, is_text, part):  # type: ignore[no-untyped-def]
    rows = Section(kind="instruction", id="r", pairs=(Pair(prompt=PROMPT, gold=" P1", form=form),))
    context = Context(**{"chat_template": "auto", part: (rows,), **settings})
    assert context.prompt(PROMPT) == (PROMPT if is_text else asked(PROMPT))


def test_a_prompt_that_is_not_of_the_data_goes_through_the_template() -> None:
    assert Context(chat_template="auto").prompt(PROMPT) == asked(PROMPT)


SYSTEM = Message("system", "Route the message.\n\nAnswer with one word.")
TURNS = (Message("user", "Hello"), Message("assistant", "How can I help?"))
ROUTED = Conversation((SYSTEM, Message("user", "My bin is full.")))
SEVERAL = Conversation((SYSTEM, *TURNS, Message("user", "A deep hole.\n\nIn Mill Street.")))
WEATHER = Conversation((Message("user", "Is it warm?"),), tools='[{"name": "weather"}]')
CALLED = Conversation((*WEATHER.messages, Message("tool", "21 degrees")))
DATA = Section(
    kind="instruction",
    id="c",
    pairs=tuple(
        Pair(prompt=prompt_text(one), gold="roads", form="chat", conversation=one)
        for one in (ROUTED, SEVERAL, WEATHER, CALLED)
    ),
)
HEAD = "Route the message.\n\nAnswer with one word.\n\n"
PROMPTS = {
    # name: text of the prompt -> the conversation that the template renders
    "a system prompt": (f"{HEAD}My bin is full.", ROUTED),
    "several turns": (prompt_text(SEVERAL), SEVERAL),
    "tools": ("Is it warm?", WEATHER),
    "the result of a tool": ("Is it warm?\n\n21 degrees", CALLED),
    "a paraphrase": (f"{HEAD}Full bin!", Conversation((SYSTEM, Message("user", "Full bin!")))),
    "a question without the system prompt": ("My bin is full.", asked("My bin is full.")),
    "another result of the tool": ("Is it warm?\n\n3", asked("Is it warm?\n\n3")),
}


@pytest.mark.parametrize(("text", "conversation"), PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_prompt_of_the_data_keeps_its_roles(text, conversation, mode):  # type: ignore[no-untyped-def]
    context = Context(sections=(DATA,), chat_template=mode)
    assert context.prompt(text) == conversation
