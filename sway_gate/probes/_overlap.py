"""Held-out rows that repeat training rows, found by word n-grams."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from msgspec import structs

from sway_gate.spec.schema import Pair, Preference, Section

_N = 3
_MAX_CHARS = 100_000  # of a text
# Words, or single characters of scripts without spaces between words.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")


class Unseen(NamedTuple):
    """The sections without the rows that repeat training rows, and the number of rows."""

    sections: tuple[Section, ...]
    rows: int
    repeated: int


class _Text(NamedTuple):
    question: tuple[str, ...]
    answer: tuple[str, ...]


def total(samples: Sequence[Unseen]) -> Unseen:
    """All samples together."""
    sections, rows, repeated = zip(*samples, strict=True)
    return Unseen(tuple(chain(*sections)), sum(rows), sum(repeated))


def unseen(held_out: Sequence[Section], training: Sequence[Section], limit: float) -> Unseen:
    """Leave out the held-out pairs of which a training pair has the same question and answer, and
    the held-out texts that the training texts contain.

    Both are the same if the share of the common n-grams is at least `limit`. A known answer to
    another question is a paraphrase, and a known question with another answer another fact.
    """
    known = [_text(pair) for section in training for pair in section.pairs]
    texts = set(chain(*map(_grams_of, training)))
    kept = []
    for section in held_out:
        pairs = tuple(pair for pair in section.pairs if not _repeats(_text(pair), known, limit))
        if pairs or not (section.pairs or _share(_grams_of(section), texts) >= limit):
            kept.append(structs.replace(section, pairs=pairs))
    rows, new = _rows(held_out), _rows(kept)
    return Unseen(tuple(kept), rows, rows - new)


def _rows(sections: Sequence[Section]) -> int:
    """Number of pairs and texts."""
    return sum(len(section.pairs) or 1 for section in sections)


def _grams_of(section: Section) -> set[tuple[str, ...]]:
    """The n-grams of a text."""
    return _grams(words(section.content[:_MAX_CHARS]), _N)


def _share(found: set[tuple[str, ...]], known: set[tuple[str, ...]]) -> float:
    return len(found & known) / len(found) if found else 0.0


def _repeats(text: _Text, known: Sequence[_Text], limit: float) -> bool:
    return any(
        common(text.question, other.question) >= limit
        and common(text.answer, other.answer) >= limit
        for other in known
    )


def common(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of the n-grams of the shorter text that the longer one contains, with n at most 3."""
    n = min(_N, len(one), len(other))
    if n == 0:
        return float(len(one) == len(other))
    first, second = _grams(one, n), _grams(other, n)
    return len(first & second) / min(len(first), len(second))


def words(text: str) -> tuple[str, ...]:
    """The words of a text without case and punctuation."""
    return tuple(_WORD.findall(text.casefold()))


def _grams(text: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}


def _text(pair: Pair | Preference) -> _Text:
    """Question and answer; of a conversation the last message, as the others are often shared."""
    question = pair.conversation.messages[-1].text() if pair.conversation else pair.prompt
    answer = pair.gold if isinstance(pair, Pair) else pair.chosen
    return _Text(words(question), words(answer))
