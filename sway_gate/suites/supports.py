"""Decide what a data set supports: what it was meant to teach, and the probes that can test it.

`sway check`, `sway init` and `sway autogen` use this module, so that they judge the same adapter by
the same questions. A kind that is left out has a reason. A probe itself decides whether it has
enough rows for its statistic.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from sway_gate.conversation import are_records
from sway_gate.errors import UsageError
from sway_gate.probes import answer_specificity, module
from sway_gate.probes.base import CannotRun, Context, Skip
from sway_gate.spec.probes import KINDS, AnswerSpecificity, PreferenceFlip
from sway_gate.spec.schema import Pair, Section, SectionKind
from sway_gate.text import counted

Learn = Literal["auto", "content", "form", "preference"]
_MAX_LABELS, _LABEL_WORDS = 12, 4
"""Labels are few answers of few words, each of which several rows share."""


class Material(NamedTuple):
    """The data for a suite.

    held_out: rows that training did not see. learn: what the user says that training was meant to
    teach. memorize: why all answers are meant to be memorized, or "". has_template: whether the
    model has a chat template, as far as is known. notes: what was left out of the data.
    """

    sections: tuple[Section, ...]
    held_out: tuple[Section, ...] = ()
    learn: Learn = "auto"
    memorize: str = ""
    has_template: bool = True
    notes: tuple[str, ...] = ()

    def of(self, *kinds: SectionKind) -> list[Section]:
        return [section for section in self.sections if section.kind in kinds]

    @property
    def pairs(self) -> list[Pair]:
        """All prompts with an answer."""
        found = (pair for section in self.sections for pair in section.pairs)
        return [pair for pair in found if isinstance(pair, Pair)]

    @property
    def preferences(self) -> int:
        """Number of preferences."""
        return sum(len(section.pairs) for section in self.of("preference"))

    @property
    def context(self) -> Context:
        """The shared inputs of the probes, as a gate would have them."""
        return Context(
            self.sections,
            held_out=self.held_out,
            learn=wanted(self).learn,
            chat_template="auto" if self.has_template else "off",
        )


class Entry(NamedTuple):
    """An entry of `suite:`, with remarks for its comment."""

    fields: dict[str, Any]
    remarks: tuple[str, ...] = ()


class LeftOut(NamedTuple):
    """A kind that the suite does not contain, and why."""

    kind: str
    reason: str


Chosen = Iterator[Entry | LeftOut]


# ---------------------------------------------------------------------------------- what was wanted


class Wanted(NamedTuple):
    """What training was meant to teach, and the reason."""

    learn: Learn
    reason: str


def wanted(material: Material) -> Wanted:
    """What training was meant to teach: as given, or inferred from the data."""
    if material.learn != "auto":
        return Wanted(material.learn, "as given")
    answers = [pair.gold for pair in material.pairs]
    if material.preferences and not answers and not material.of("prose"):
        return Wanted("preference", "all rows have a chosen and a rejected answer")
    if labels := _labels(answers):
        return Wanted("content", f"the answers are {len(labels)} labels")
    if answers and are_records([pair.answer or pair.gold for pair in material.pairs]):
        return Wanted("content", "the answers are JSON or tool calls")
    reason = (
        "the gate decides from the questions, and from whether the base already prefers each "
        "question's own answer"
    )
    return Wanted("auto", reason)


def _labels(answers: Sequence[str]) -> tuple[str, ...]:
    """The distinct answers if they are few, short and repeated; otherwise none."""
    distinct = tuple(dict.fromkeys(answer.strip() for answer in answers))
    is_few = 2 <= len(distinct) <= min(_MAX_LABELS, len(answers) // 2)
    is_short = all(len(label.split()) <= _LABEL_WORDS for label in distinct)
    return distinct if is_few and is_short else ()


# ------------------------------------------------------------------------------- what can be tested


def attribution(material: Material) -> list[Entry | LeftOut]:
    """The probes that test whether this data was learned.

    Raises UsageError if no probe can: such a suite would pass an adapter that learned another text.
    """
    found = [found for choose in _ATTRIBUTION for found in choose(material)]
    if not any(isinstance(choice, Entry) for choice in found):
        reasons = dict.fromkeys(
            choice.reason
            for choice in found
            if isinstance(choice, LeftOut) and choice.kind in _kinds_of(material)
        )
        message = "the data is not sufficient to test whether it was learned"
        raise UsageError(f"{message}: {'; '.join([*reasons, *material.notes])}")
    return found


def _kinds_of(material: Material) -> list[str]:
    """The kinds that such rows are for; the others require something else."""
    if wanted(material).learn == "preference":
        return ["preference_flip"]
    return ["answer_specificity", "answer_recall", *["generalization"] * bool(material.held_out)]


def harms_of_data(material: Material) -> Chosen:
    """The probes that test for harm which depends on the data or on the chat template."""
    yield tried(material, entry("refusals", "refusals"))
    yield tried(material, entry("recites", "leakage"))
    if material.pairs:
        yield tried(material, entry("format", "prompt_format"))
    else:
        yield LeftOut("prompt_format", "the data has no prompts with answers")


def _answer_specificity(material: Material) -> Chosen:
    found = tried(material, entry("learned", "answer_specificity"))
    if isinstance(found, Entry) and (few := few_rows(material)):
        found = found._replace(remarks=(few,))
    yield found


def few_rows(material: Material) -> str:
    """Why `learned` cannot show that the content was learned, and what to do; or ""."""
    spec, context = AnswerSpecificity(name="learned"), material.context
    try:
        design = answer_specificity.requests(spec, context).design
    except (CannotRun, Skip):
        return ""
    few = answer_specificity.few_rows(len(design.rows), spec.assert_z_gte)
    if not few or design.labels or context.learn == "form":
        return ""
    return f"{spec.name} ({spec.kind}) cannot pass by content: {few}; add rows with other answers"


def unjudged(material: Material) -> tuple[str, ...]:
    """A note on texts that do not show whether the data was learned, since it has answers, too."""
    if not material.of("prose"):
        return ()
    try:
        found = answer_specificity.requests(AnswerSpecificity(name="learned"), material.context)
    except (CannotRun, Skip):
        return ()
    if found.data == "prose":
        return ()
    return ("learning is judged by the answers of the data, not by its texts without a question",)


def _answer_recall(material: Material) -> Chosen:
    found = tried(material, entry("recalled", "answer_recall"))
    if isinstance(found, Entry) and material.memorize:
        found = found._replace(remarks=(material.memorize,))
    yield found


def _generalization(material: Material) -> Chosen:
    kind = "generalization"
    if material.memorize:
        yield LeftOut(kind, "the answers are meant to be memorized for the exact prompt")
    elif material.held_out:
        yield tried(material, entry("generalizes", kind))
    else:
        yield LeftOut(kind, "requires rows that training did not see; add them with --held-out")


def _preference_flip(material: Material) -> Chosen:
    least = PreferenceFlip(name="preference_flip").min_triples_for_decision
    if material.preferences >= least:
        yield entry("prefers", "preference_flip")
        return
    reason = f"requires {least} preferences; the data has {material.preferences or 'none'}"
    if material.preferences:
        reason += "; add rows with prompt, chosen and rejected"
    yield LeftOut("preference_flip", reason)


_ATTRIBUTION: Final = (_answer_specificity, _answer_recall, _generalization, _preference_flip)


def entry(name: str, kind: str, **fields: Any) -> Entry:
    """An entry of `suite:`."""
    return Entry({"name": name, "kind": kind, **fields})


def tried(material: Material, entry: Entry) -> Entry | LeftOut:
    """The entry if the data supports its probe, otherwise the probe's reason."""
    kind = entry.fields["kind"]
    try:
        module(kind).requests(msgspec.convert(entry.fields, KINDS[kind]), material.context)
    except (CannotRun, Skip) as reason:
        return LeftOut(kind, str(reason))
    return entry


def described(material: Material) -> str:
    """The data in a few words: "40 rows, 12 of them held out"."""
    rows = counted(len(material.sections), "section")
    held_out = counted(len(material.held_out), "section")
    return f"{rows} of text and {held_out} held out" if material.held_out else f"{rows} of text"
