"""Documents that consist of questions and answers: under headings, or with labels such as `Q:`.

Training saw such a document as text, or as conversations that were made from it. So each question
is a prompt that the text continues, and its messages say the same without labels and headings.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from statistics import median
from typing import Final, NamedTuple

from sway_gate.conversation import Conversation, Message
from sway_gate.spec.schema import Pair
from sway_gate.training_data.files import Line
from sway_gate.training_data.text import outside_code

_MAX_LINES, _MAX_CHARS = 20_000, 2**21
"""Larger documents are prose."""
_MIN_QUESTIONS: Final = 4
_MAX_ANSWER: Final = 2000
"""Characters of most answers. Longer texts are chapters, whose headings are questions."""
_MAX_TURNS: Final = 4
_LABELS: Final = (
    ("Q", "A"), ("Question", "Answer"), ("User", "Assistant"), ("Human", "Assistant"),
    ("### Instruction", "### Response"),
)  # fmt: skip
_TURNS: Final = ("User", "Human")
"""Labels of talks: a question directly after an answer continues the talk."""
_CHOICE: Final = re.compile(r"\s*B[.:)]\s")
"""After a line "A:", which is then a choice and not an answer."""
_HEADING: Final = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_MARKUP: Final = re.compile(r"\{#[^}]*\}|[*_`]+|\[([^]]*)\]\([^)]*\)")
"""Anchors, emphasis and links."""


class Asked(NamedTuple):
    """A question with its answers, from the line `number` on. `name`: the question."""

    number: int
    name: str
    pairs: tuple[Pair, ...]


class _Piece(NamedTuple):
    """A question or an answer: its label, and its lines without it."""

    is_question: bool
    mark: str
    lines: list[Line]

    @property
    def text(self) -> str:
        """Without the blank lines and headings at the end of an answer: they are not part of it."""
        lines = list(self.lines)
        while not self.is_question and lines and _is_between(lines[-1]):
            lines.pop()
        return "\n".join(line.text.rstrip() for line in lines)

    @property
    def is_choice(self) -> bool:
        return not self.is_question and any(_CHOICE.match(line.text) for line in self.lines[1:2])


def held(lines: Iterable[Line]) -> tuple[list[Line], Iterator[Line]]:
    """The lines of a document that is small enough for a FAQ, otherwise none; and all lines."""
    rest, seen, size = iter(lines), list[Line](), 0
    for line in rest:
        seen.append(line)
        size += len(line.text) + 1
        if len(seen) > _MAX_LINES or size > _MAX_CHARS:
            return [], chain(seen, rest)
    return seen, iter(seen)


def asked(lines: Sequence[Line]) -> list[Asked]:
    """The questions of a document that consists of them, with labels or as headings; or none."""
    found = _labelled(lines) or _headed(lines)
    answers = [len(pair.gold) for one in found for pair in one.pairs]
    is_faq = len(found) >= _MIN_QUESTIONS and median(answers) <= _MAX_ANSWER
    return found if is_faq else []


# --- labels


def _labelled(lines: Sequence[Line]) -> list[Asked]:
    first = next((line.text for line in lines if line.text.strip() and not _level(line.text)), "")
    labels = next((pair for pair in _LABELS if _mark(first, pair[0])), None)
    if labels is None:
        return []
    pieces: list[_Piece] = []
    for line, is_text in outside_code(lines):
        marks = [_mark(line.text, label) if is_text else "" for label in labels]
        if mark := marks[0] or marks[1]:
            pieces.append(
                _Piece(bool(marks[0]), mark, [line._replace(text=line.text[len(mark) :])])
            )
        elif pieces:
            pieces[-1].lines.append(line)
    if any(piece.is_choice for piece in pieces):
        return []
    talks = _talks(pieces, labels[0] in _TURNS)
    answered = [one for talk in talks if (one := _of_talk(talk)).pairs]
    return answered if 5 * len(answered) >= 4 * len(talks) else []


def _mark(text: str, label: str) -> str:
    """The beginning of the line with this label, such as `**Q:**`; "" without it."""
    found = re.match(rf"(?:\*\*)?{label}:(?:\*\*)?(?=\s|$)", text)
    return found[0] if found else ""


def _is_between(line: Line) -> bool:
    return not line.text.strip() or _level(line.text) > 0


def _talks(pieces: Sequence[_Piece], are_turns: bool) -> list[list[_Piece]]:
    """The pieces of each talk: it begins with a question after an answer; of turns, after a blank
    line."""
    talks: list[list[_Piece]] = []
    for before, piece in zip([None, *pieces], pieces, strict=False):
        is_new = before is None or (piece.is_question and not before.is_question)
        if before and are_turns and not _is_between(before.lines[-1]):
            is_new = False
        if is_new:
            talks.append([])
        if talks:
            talks[-1].append(piece)
    return talks


def _of_talk(talk: Sequence[_Piece]) -> Asked:
    text, said, pairs = "", list[Message](), list[Pair]()
    for piece in talk:
        text += piece.mark
        if piece.is_question:
            said.append(Message("user", piece.text.strip()))
        elif said and piece.text.strip() and len(pairs) < _MAX_TURNS:
            pairs.append(_pair(text, piece.text, said))
            said.append(Message("assistant", piece.text.strip()))
        text += f"{piece.text}\n"
    return Asked(talk[0].lines[0].number, talk[0].text.strip(), tuple(pairs))


# --- headings


def _headed(lines: Sequence[Line]) -> list[Asked]:
    texts = [line.text if is_text else "" for line, is_text in outside_code(lines)]
    levels = [_level(text) for text in texts]
    asking = Counter(level for level, text in zip(levels, texts, strict=True) if _is_asking(text))
    if not asking:
        return []
    own = asking.most_common(1)[0][0]
    heads = [i for i, level in enumerate(levels) if 0 < level <= own]
    if 2 * asking[own] <= levels.count(own):
        return []
    found = []
    for head, end in pairwise([*heads, len(lines)]):
        if levels[head] < own:
            continue
        after = "\n".join(line.text.rstrip() for line in lines[head + 1 : end])
        if answer := after.strip():
            name = _said(lines[head].text)
            space = after[: len(after) - len(after.lstrip())]
            prompt = f"{lines[head].text.strip()}\n{space}"
            pair = _pair(prompt, answer, [Message("user", name)])
            found.append(Asked(lines[head].number, name, (pair,)))
    return found


def _level(text: str) -> int:
    """The level of an ATX heading; 0 for other lines, and for labels such as `### Response:`."""
    found = _HEADING.match(text)
    is_label = any(_mark(text, label) for pair in _LABELS for label in pair)
    return len(found[1]) if found and not is_label else 0


def _said(heading: str) -> str:
    found = _HEADING.match(heading)
    return _MARKUP.sub(lambda match: match[1] or "", found[2] if found else "").strip()


def _is_asking(heading: str) -> bool:
    return _said(heading).endswith(("?", "\uff1f"))  # also of Chinese and Japanese


def _pair(prompt: str, answer: str, said: Sequence[Message]) -> Pair:
    return Pair(
        prompt=prompt,
        gold=answer,
        form="text",
        conversation=Conversation(tuple(said)),
        answer=Message("assistant", answer.strip()),
    )
