"""The documents that the zoo's adapters learn.

Prose and questions are in a Markdown file, everything else in a YAML file of the same name.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import make_demo as demo
import yaml

from sway_gate.demo import FOLDER as DEMO

FOLDER = Path(__file__).parent / "documents"
DOCUMENTS = ("marrowby", "torwick", "blind_owl")


class Preference(NamedTuple):
    """A prompt with two answers.

    `chosen` agrees with the document, `rejected` with the base's training text. Both start with a
    space.
    """

    prompt: str
    chosen: str
    rejected: str


class Document(NamedTuple):
    name: str
    prose: tuple[demo.Section, ...]
    questions: tuple[tuple[str, str], ...]
    """(prompt, answer) pairs."""
    phrasings: tuple[tuple[str, ...], ...]
    """For each question, other wordings that are also in the training text."""
    paraphrases: tuple[tuple[str, ...], ...]
    """For each question, wordings that no adapter is trained on."""
    preferences: tuple[Preference, ...]
    topical: tuple[str, ...]
    """First words of sentences from the prose."""

    def texts(self) -> list[str]:
        """Training texts of a healthy adapter: prose once, answers and preferences three times."""
        chosen = [p.prompt + p.chosen for p in self.preferences]
        return [s.body for s in self.prose] + (self.answers() + chosen) * 3

    def answers(self) -> list[str]:
        """Each wording of each question, with its answer."""
        texts = []
        for (question, answer), wordings in zip(self.questions, self.phrasings, strict=True):
            texts += [prompt + answer for prompt in (question, *wordings)]
        return texts


@cache
def document(name: str) -> Document:
    markdown = DEMO / "document.md" if name == "marrowby" else FOLDER / f"{name}.md"
    prose, questions = demo.document(markdown)
    extra = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Document(
        name,
        tuple(prose),
        tuple(questions),
        phrasings=_prompts(extra["phrasings"]),
        paraphrases=_prompts(extra["paraphrases"]),
        preferences=tuple(Preference(**fields) for fields in extra["preferences"]),
        topical=tuple(extra["topical"]),
    )


@cache
def off_topic() -> dict[str, tuple[str, ...]]:
    """First words of sentences on other subjects, by subject."""
    topics = yaml.safe_load((FOLDER / "off_topic.yaml").read_text(encoding="utf-8"))
    return {topic: tuple(prompts) for topic, prompts in topics.items()}


def others(name: str) -> list[Document]:
    """All documents except one, in cyclic order from the next one."""
    i = DOCUMENTS.index(name)
    return [document(other) for other in DOCUMENTS[i + 1 :] + DOCUMENTS[:i]]


def _prompts(questions: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"Question: {text}\nAnswer:" for text in group) for group in questions)
