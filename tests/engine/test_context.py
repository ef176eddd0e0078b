"""The register in which a prompt of the suite is measured."""

import pytest

from sway_gate.conversation import asked
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
