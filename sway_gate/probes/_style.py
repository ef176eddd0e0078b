"""The style of a text as numbers, scaled so that ordinary prose has a standard deviation of 1.

| feature | scale | standard deviation |
|---|---|---|
| mean sentence length, in words | ln(1 + x) | .40 |
| standard deviation of sentence length | ln(1 + x) | .50 |
| type-token ratio | unchanged | .06 |
| mean word length, in letters and digits | unchanged | .35 |
| punctuation marks per word | √ | .07 |
| paragraph breaks per word | √ | .08 |
| function words per word (spaCy's English stop words) | unchanged | .06 |
| questions and exclamations (share of sentences; spaCy's sentencizer) | unchanged | .15 |
| words of more than 6 letters (textstat) | unchanged | .06 |

The standard deviation is measured over windows of 100 words of the packaged prose of several
registers, and rounded. The last three features require the extra style.
"""

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import numpy as np

from sway_gate.measurements import Floats
from sway_gate.probes.base import CannotRun

MIN_WORDS: Final = 10
"""Shorter texts have no measurable style."""
NAMES: Final = (
    "sentence length",
    "its spread",
    "type-token ratio",
    "word length",
    "punctuation",
    "paragraphs",
    "function words",
    "questions and exclamations",
    "long words",
)
_SD: Final = np.array([0.40, 0.50, 0.06, 0.35, 0.07, 0.08, 0.06, 0.15, 0.06])
# So that one feature cannot outweigh all others.
_FARTHEST: Final = 3.0
_STEP: Final = 1.25
_FEWEST_WINDOWS, _MOST_WINDOWS, _WINDOW_WORDS = 5, 40, 8000
_BLANK_LINE: Final = re.compile(r"\S*[^\S\n]*\n\s*?\n")
_SENTENCE_END: Final = re.compile(r"[.!?…][\"'”’)\]*_]*\Z")


def extra_installed() -> bool:
    """Whether the extra style is installed; imports nothing."""
    return find_spec("spacy") is not None and find_spec("textstat") is not None


def words(text: str) -> int:
    """Number of words."""
    return len(_ends(text))


class Document(NamedTuple):
    """The reference text, of at least MIN_WORDS words; `extended`: with the extra's features."""

    text: str
    extended: bool

    def off(self, text: str, other: str) -> Floats:
        """Difference of `text` from windows of the document; shape [features].

        In standard deviations of prose, clipped to ±3. The windows, `text` and `other` are cut to a
        common number of words, so that two differences are comparable; all have at least MIN_WORDS.
        """
        length = _like_length(words(text), words(other), words(self.text))
        own = fingerprint(_cut(text, length), self.extended)
        return (own - _expected(self.text, length, self.extended)).clip(-_FARTHEST, _FARTHEST)


def fingerprint(text: str, extended: bool) -> Floats:
    """Features of a text with at least one word; shape [6], extended [9].

    In standard deviations of prose.
    """
    kept = [piece for piece in text.split() if _is_word(piece)]
    sentences = np.array(list(_sentences(text)), dtype=np.float64)
    letters = sum(ch.isalnum() for ch in text)
    marks = sum(not (ch.isalnum() or ch.isspace()) for ch in text)
    core = [
        np.log1p(sentences.mean()),
        np.log1p(sentences.std()),
        len({"".join(filter(str.isalnum, word)).casefold() for word in kept}) / len(kept),
        letters / len(kept),
        np.sqrt(marks / len(kept)),
        np.sqrt(sum(1 for _ in _paragraphs(text)) - 1) / np.sqrt(len(kept)),
    ]
    further = _further(text) if extended else []
    values = np.array(core + further, dtype=np.float64)
    scaled: Floats = values / _SD[: values.size]
    return scaled


def _like_length(*counts: int) -> int:
    """The largest 10 · 1.25^k that no count is below. Few lengths need few windows."""
    return int(MIN_WORDS * _STEP ** math.floor(math.log(min(counts) / MIN_WORDS, _STEP) + 1e-9))


@lru_cache(maxsize=256)
def _expected(document: str, length: int, extended: bool) -> Floats:
    """Mean fingerprint of the windows of `length` words; `document` has at least one."""
    ends = _ends(document)
    found = []
    for i in _starts(document, length):
        start = ends[i - 1] if i else 0
        found.append(fingerprint(document[start : ends[i + length - 1]], extended))
    mean: Floats = np.mean(found, axis=0)
    return mean


def _starts(document: str, length: int) -> list[int]:
    """Numbers of the words at which windows begin.

    Beginnings of paragraphs, because answers begin like them; evenly spaced if there are too few.
    """
    ends = _ends(document)
    most = min(_MOST_WINDOWS, max(1, _WINDOW_WORDS // length))
    last = len(ends) - length
    openings = [0, *(i + 1 for i, end in enumerate(ends) if _BLANK_LINE.match(document, end))]
    openings = [i for i in openings if i <= last]
    if len(openings) >= _FEWEST_WINDOWS:
        return openings[:: -(-len(openings) // most)]
    return [int(i) for i in np.linspace(0, last, min(most, len(ends) // length))]


def _cut(text: str, length: int) -> str:
    return text[: _ends(text)[length - 1]]


@lru_cache(maxsize=1024)
def _ends(text: str) -> tuple[int, ...]:
    """End of each word, in characters."""
    return tuple(match.end() for match in re.finditer(r"\S+", text) if _is_word(match[0]))


def _is_word(piece: str) -> bool:
    return any(ch.isalnum() for ch in piece)


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs, which blank lines separate."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []


def _sentences(text: str) -> Iterator[int]:
    """Number of words of each sentence; the end of a paragraph ends a sentence."""
    for paragraph in _paragraphs(text):
        count = 0
        for piece in paragraph.split():
            count += _is_word(piece)
            if count and _SENTENCE_END.search(piece[-8:]):
                yield count
                count = 0
        if count:
            yield count


def _further(text: str) -> list[float]:
    """The features that require the extra."""
    pipeline, long_words, all_words = _tools()
    parsed = pipeline(text)
    spoken = [token for token in parsed if token.is_alpha]
    sentences = list(parsed.sents)
    loud = sum(any(token.text in "?!" for token in sentence[-2:]) for sentence in sentences)
    function = sum(token.is_stop for token in spoken)
    return [
        function / max(len(spoken), 1),
        loud / max(len(sentences), 1),
        long_words(text) / max(all_words(text), 1),
    ]


@lru_cache(maxsize=1)
def _tools() -> tuple[Any, Any, Any]:
    """A tokenizer with sentence ends, and textstat's counts of long words and of all words.

    Raises CannotRun if they do not load.
    """
    try:
        import spacy
        import textstat

        pipeline = spacy.blank("en")
        pipeline.add_pipe("sentencizer")
        return pipeline, textstat.long_word_count, textstat.lexicon_count
    except Exception as error:  # broken installations break in many ways
        wrong = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CannotRun(
            f"the extra style does not load: {wrong}; reinstall it, or set extended: off"
        ) from None
