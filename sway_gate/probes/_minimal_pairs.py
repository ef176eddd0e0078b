"""Minimal pairs: two similar answers of the data, and the same answers with their facts exchanged.

"A city bike costs 18 euros" and "A cargo bike costs 35 euros" differ by words of their prompts, and
by what the prompts ask for. Exchanged: "A city bike costs 35 euros" and "A cargo bike costs 18
euros". An answer and its exchanged form are a minimal pair (Warstadt et al. 2020, BLiMP): subject
and form are the same. With p(f | r) the likelihood of row r's answer with the fact of row f:

    log odds ratio = log p(a | a) - log p(b | a) + log p(b | b) - log p(a | b)

It is 0 if the prompt does not matter: a wording or a fact that is likelier in both rows cancels.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import combinations
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes._answers import short
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import DataRow
from sway_gate.training_data.collected import thinned

MAX_PAIRS = 24
_MAX_ROWS, _MAX_WORDS, _MIN_SIMILARITY = 2 * MAX_PAIRS, 60, 0.4
_STEM = 4  # letters
_MOVED = 1.0  # nats
# A number or a compound is one word. In scripts without spaces, each character is. Marks such as
# accents and vowel signs belong to their word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_LETTERS = rf"(?:[^\W{_UNSPACED}]|[\u0300-\u036f\u0591-\u06ed\u0900-\u0963\u0981-\u0dff])+"
_WORD = re.compile(rf"[{_UNSPACED}]|{_LETTERS}(?:[.,:'’/-]{_LETTERS})*|[^\w\s]")


class MinimalPairs(NamedTuple):
    """Two rows: the requests for their answers, and for these with the facts exchanged."""

    own: tuple[LogProbs, LogProbs]
    exchanged: tuple[LogProbs, LogProbs]


class _Text(NamedTuple):
    row: DataRow
    text: str
    words: list[str]
    spans: list[tuple[int, int]]
    asked: frozenset[str]
    """The stems of the words in the prompt."""

    def with_words(self, runs: Sequence[slice], other: "_Text", taken: Sequence[slice]) -> LogProbs:
        """The row's answer with `taken` words of the other one, as written, instead of `runs`."""
        found, end = [], 0
        for run, words in zip(runs, taken, strict=True):
            found += [self.text[end : self.spans[run.start][0]]]
            found += [other.text[other.spans[words.start][0] : other.spans[words.stop - 1][1]]]
            end = self.spans[run.stop - 1][1]
        return self.row.log_probs(self.row.other("".join([*found, self.text[end:]])))


def minimal_pairs(rows: Sequence[DataRow]) -> list[MinimalPairs]:
    """At most 24 pairs of similar rows, the most similar first; each row is in at most one.

    Words that differ are exchanged, unless a prompt of the two contains one of them. Rows with tool
    calls or reasoning are left out: they are more than their text. At most 48 rows are compared.
    """
    plain = [row for row in rows if isinstance(row.answer, str) or not row.answer.fields]
    texts = [_text(short(row)) for row in thinned(plain, _MAX_ROWS)]
    found: list[MinimalPairs] = []
    used = set[int]()
    for _, i, j in sorted(_similar(texts), reverse=True):
        pair = None if used & {i, j} else _exchanged(texts[i], texts[j])
        if pair:
            found.append(pair)
            used |= {i, j}
    return found


def _text(row: DataRow) -> _Text:
    text = completion_text(row.answer)
    matches = list(_WORD.finditer(text))[:_MAX_WORDS]
    asked = [word.casefold() for word in _WORD.findall(prompt_text(row.prompt))]
    return _Text(
        row,
        text,
        [match.group().casefold() for match in matches],
        [match.span() for match in matches],
        frozenset(map(_stem, asked)),
    )


def _stem(word: str) -> str:
    """The first letters, which an inflected word has in common with its other forms."""
    return word[:_STEM] if word.isalpha() else word


def _similar(texts: Sequence[_Text]) -> Iterator[tuple[tuple[float, float], int, int]]:
    """The similarities of answers and prompts, and the indices, of similar answers."""
    for (i, first), (j, second) in combinations(enumerate(texts), 2):
        matcher = SequenceMatcher(None, first.words, second.words, autojunk=False)
        quick = min(matcher.real_quick_ratio(), matcher.quick_ratio())
        if quick >= _MIN_SIMILARITY and (ratio := matcher.ratio()) >= _MIN_SIMILARITY:
            common = len(first.asked & second.asked) / max(1, len(first.asked | second.asked))
            yield (ratio, common), i, j


def _exchanged(first: _Text, second: _Text) -> MinimalPairs | None:
    """None if they differ only by words of their prompts, or by words that only one of them has."""
    matcher = SequenceMatcher(None, first.words, second.words, autojunk=False)
    asked = first.asked | second.asked
    runs = [
        (slice(a, b), slice(c, d))
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag == "replace" and asked.isdisjoint(map(_stem, first.words[a:b] + second.words[c:d]))
    ]
    if not runs:
        return None
    own, other = zip(*runs, strict=True)
    return MinimalPairs(
        (first.row.log_probs(), second.row.log_probs()),
        (first.with_words(own, second, other), second.with_words(other, first, own)),
    )


def log_odds_ratios(pairs: Sequence[MinimalPairs], view: ViewAnswers) -> Floats:
    """The log odds ratios under the base and the view, in nats [pairs, 2].

    Raises NoAnswer if a likelihood is not finite.
    """
    found = [
        sum(_log_likelihoods(view, own) for own in pair.own)
        - sum(_log_likelihoods(view, other) for other in pair.exchanged)
        for pair in pairs
    ]
    return np.array(found).reshape(-1, 2)


def direction(before: float, now: float) -> int:
    """1 if training moved a pair toward its own facts, -1 if toward exchanged ones, 0 if neither.

    From the log odds ratios under the base and now. If they fell, but the own facts are still
    likelier, they are what the base knows, of which training made the model less sure.
    """
    if now - before >= _MOVED:
        return 1
    return -1 if now - before <= -_MOVED and now < 0 else 0


def _log_likelihoods(view: ViewAnswers, request: LogProbs) -> Floats:
    return len(view.base(request)) * np.array(per_token(view, request))
