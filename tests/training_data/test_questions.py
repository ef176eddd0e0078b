"""Documents that consist of questions and answers are prompts; all others stay prose."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sway_gate.probes.base import Context
from sway_gate.spec.schema import Section
from sway_gate.training_data.load import load_sections

ASKED = [
    ("Who keeps the gate?", "Ines keeps it."),
    ("Where is it?", "At the pass,\nby the lake."),
    ("Why?", "For the wind.\n\nAnd for the snow."),
    ("Name the wind", "It is the Bora."),
]


def of_labels(template: str, between: str = "\n\n") -> str:
    return between.join(template.format(q=q, a=a) for q, a in ASKED) + "\n"


FAQS = {
    "labels": of_labels("Q: {q}\nA: {a}"),
    "words": of_labels("\nQuestion: {q}\nAnswer: {a}", "\n"),
    "instructions": of_labels("### Instruction:\n{q}\n\n### Response:\n{a}"),
    "bold labels": "# FAQ\n\n" + of_labels("**Q:** {q}\n\n**A:** {a}", "\n\n## More\n\n"),
    "talks": of_labels("User: {q}\nAssistant: {a}"),
    "headings": "# FAQ\n\nAll about it.\n\n" + of_labels("## {q}\n\n{a}"),
    "headings with markup": "# FAQ\n\n" + of_labels("### **{q}** {{#x}}\n{a}"),
}  # fmt: skip


def read(
    folder: Path, text: str, name: str = "a.md"
) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    (folder / name).write_text(text, encoding="utf-8")
    loaded = load_sections([str(folder / name)])
    return loaded.sections, loaded.notes


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
@pytest.mark.parametrize("text", FAQS.values(), ids=FAQS)
def test_each_question_is_a_prompt_with_its_answer(tmp_path: Path, text: str, name: str) -> None:
    sections, notes = read(tmp_path, text, name)
    pairs: list[Any] = [section.pairs[0] for section in sections]
    said = [(pair.conversation.messages[-1].content, pair.answer.content) for pair in pairs]
    assert said == ASKED
    assert all(pair.prompt + pair.gold in text for pair in pairs)
    assert notes == (
        f"{name}: questions that are read as prompts with answers: 4; other text of the document "
        "is not read",
    )


def test_a_text_goes_on_after_the_answer(tmp_path: Path) -> None:
    sections, _ = read(tmp_path, FAQS["labels"])
    pair = sections[0].pairs[0]
    assert not Context().row(pair).end
    assert Context(chat_template="auto").row(pair, "template").prompt == pair.conversation


def test_a_talk_keeps_its_turns(tmp_path: Path) -> None:
    talk = "User: Where is Rome?\nAssistant: In Italy.\nUser: And Bonn?\nAssistant: In Germany.\n\n"
    sections, _ = read(tmp_path, 4 * talk + of_labels("User: {q}\nAssistant: {a}"))
    first: Any = sections[0].pairs
    assert len(first) == 2
    assert [m.content for m in first[1].conversation.messages] == [
        "Where is Rome?", "In Italy.", "And Bonn?",
    ]  # fmt: skip
    assert first[1].prompt.endswith("Assistant: In Italy.\nUser: And Bonn?\nAssistant:")


def test_code_and_deeper_headings_are_parts_of_an_answer(tmp_path: Path) -> None:
    code = "```sh\n# first\nQ: no label\n```\n\n### Details\n\nMore."
    sections, _ = read(tmp_path, f"## How?\n\n{code}\n\n" + of_labels("## {q}\n\n{a}"))
    assert sections[0].pairs[0].answer.content == code  # type: ignore[union-attr]


LONG = "The lake is deep. " * 200
PROSE = {
    "one question": "## Why a gate?\n\nBecause of the wind.\n\n## Its keepers\n\nThey are three.\n",
    "chapters": "".join(f"## {q}?\n\n{LONG}\n\n" for q, _ in ASKED),
    "an epigraph": "Q: Why?\nA: Because.\n\n" + f"{LONG}\n\n" * 9,
    "questions without answers": "Q: who keeps the gate?\n\nNobody knows.\n",
    "choices": of_labels("Q: {q}\nA: London\nB: Paris\nAnswer: B"),
    "few": "Q: a\nA: b\n\nQ: c\nA: d\n",
}  # fmt: skip


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_other_documents_are_prose(tmp_path: Path, text: str) -> None:
    sections, notes = read(tmp_path, text)
    assert {section.kind for section in sections} == {"prose"}
    assert not any("questions" in note for note in notes)


@pytest.mark.parametrize("start", ["", "Q: a", "# a"])
def test_blank_lines_take_no_memory(tmp_path: Path, start: str) -> None:
    (tmp_path / "a.txt").write_text(start + "\n" * 2**20 + "end\n")
    tracemalloc.start()
    load_sections([str(tmp_path / "a.txt")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
