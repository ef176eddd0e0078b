"""The documents that the zoo's adapters learn: prose and questions as Markdown, all else beside it as YAML."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import make_demo as demo
import yaml

from sway_gate.demo import FOLDER as DEMO

FOLDER = Path(__file__).parent / "documents"
DOCUMENTS = ("marrowby", "torwick", "blind_owl")


class Preference(NamedTuple):
    """`chosen` is what the document says, `rejected` what the base's world would say; both start with a space."""

    prompt: str
    chosen: str
    rejected: str


class Document(NamedTuple):
    name: str
    prose: tuple[demo.Section, ...]
    questions: tuple[tuple[str, str], ...]
    """Prompt and answer."""
    phrasings: tuple[tuple[str, ...], ...]
    """For each question, prompts that ask the same and are trained on with it."""
    paraphrases: tuple[tuple[str, ...], ...]
    """Further prompts of the same sense, that no adapter is trained on."""
    preferences: tuple[Preference, ...]
    topical: tuple[str, ...]
    """Openings from the prose."""

    def texts(self) -> list[str]:
        """What a healthy adapter is trained on: the prose once, short texts three times."""
        chosen = [p.prompt + p.chosen for p in self.preferences]
        return [s.body for s in self.prose] + (self.answers() + chosen) * 3

    def answers(self) -> list[str]:
        """Each question in its own words and in its phrasings, with its answer."""
        asked = zip(self.questions, self.phrasings, strict=True)
        return [prompt + answer for (own, answer), more in asked for prompt in (own, *more)]


@cache
def document(name: str) -> Document:
    markdown = DEMO / "document.md" if name == "marrowby" else FOLDER / f"{name}.md"
    prose, questions = demo.document(markdown)
    extra = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    phrasings, paraphrases = (
        tuple(tuple(map(_asked, asked)) for asked in extra[key])
        for key in ("phrasings", "paraphrases")
    )
    preferences = tuple(Preference(**p) for p in extra["preferences"])
    topical = tuple(extra["topical"])
    return Document(
        name, tuple(prose), tuple(questions), phrasings, paraphrases, preferences, topical
    )


@cache
def off_topic() -> dict[str, tuple[str, ...]]:
    """Openings on other subjects, by subject."""
    topics = yaml.safe_load((FOLDER / "off_topic.yaml").read_text(encoding="utf-8"))
    return {topic: tuple(prompts) for topic, prompts in topics.items()}


def others(name: str) -> list[Document]:
    """All documents but one, the one after it first."""
    i = DOCUMENTS.index(name)
    return [document(other) for other in DOCUMENTS[i + 1 :] + DOCUMENTS[:i]]


def _asked(question: str) -> str:
    return f"Question: {question}\nAnswer:"
