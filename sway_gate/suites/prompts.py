"""Prompts from training data: its questions, and the first words of its paragraphs of prose.

Deterministic and evenly spread over the data.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from sway_gate.spec.schema import Section
from sway_gate.training_data.collected import thinned

MAX_CHARS: Final = 4000
"""Length of a prompt."""
_SHORT_CHARS: Final = 400
_OPENING_WORDS, _OPENING_CHARS, _LEAST_WORDS = 6, 60, 10
"""Openings of prose: long enough to set a subject, from texts with a continuation."""
_QUOTES: Final = "\"'“‘«¿¡([„「『"  # noqa: RUF001
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_SENTENCE: Final = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")  # noqa: RUF001


def prompts(sections: Sequence[Section], limit: int) -> list[str]:
    """At most `limit` distinct prompts: one per section, evenly spread; more per section if few.

    Short questions precede long ones.
    """
    groups = [_section(section) for section in sections]
    short_groups = [[text for text in group if len(text) <= _SHORT_CHARS] for group in groups]
    short = _spread(short_groups, limit)
    return list(dict.fromkeys([*short, *_spread(groups, limit)]))[:limit]


def openings(sections: Sequence[Section], limit: int) -> list[str]:
    """Like `prompts`, but from prose only."""
    return prompts([section for section in sections if section.kind == "prose"], limit)


def is_usable(text: str) -> bool:
    """Whether the text can be part of a suite."""
    return 0 < len(text) <= MAX_CHARS and "\0" not in text


def _section(section: Section) -> list[str]:
    found = (pair.prompt for pair in section.pairs) if section.pairs else _openings(section.content)
    return [text for text in dict.fromkeys(found) if is_usable(text)]


def _openings(content: str) -> Iterator[str]:
    """Openings of paragraphs, then of their sentences; if there are none, of the whole content."""
    paragraphs: list[str] = []
    sentences: list[str] = []
    for piece in map(str.strip, _PARAGRAPH.split(content)):
        if piece and (piece[0].isalnum() or piece[0] in _QUOTES):
            paragraphs.append(piece)
            sentences += map(str.strip, _SENTENCE.split(piece))
    found = [_opening(text) for text in paragraphs + sentences if _goes_on(text)]
    yield from found or [_opening(content.strip())]


def _goes_on(text: str) -> bool:
    return len(text.split()) >= _LEAST_WORDS or len(text) > 2 * _OPENING_CHARS


def _opening(text: str) -> str:
    """The first words on one line; the first characters of a text without spaces."""
    words = text[: 20 * _OPENING_CHARS].split()[:_OPENING_WORDS]
    opening = words[0][:_OPENING_CHARS]
    for word in words[1:]:
        if len(opening) + 1 + len(word) > _OPENING_CHARS:
            break
        opening += f" {word}"
    return opening


def _spread(groups: Sequence[Sequence[str]], limit: int) -> list[str]:
    """The first text of each group, evenly thinned to `limit`, then the second ones, and so on."""
    chosen: dict[str, None] = {}
    for rank in zip_longest(*groups):
        new = [text for text in dict.fromkeys(rank) if text is not None and text not in chosen]
        chosen.update(dict.fromkeys(thinned(new, limit - len(chosen))))
    return list(chosen)
