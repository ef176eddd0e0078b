"""Minimal pairs: an answer of the data, and the same answer with words of a similar answer.

"A city bike costs 18 euros" and "A cargo bike costs 35 euros" differ in words of their prompts, and
in what the prompts ask for. A minimal pair (Warstadt et al. 2020, BLiMP) is the own answer and the
own answer with these other words: "A city bike costs 35 euros". Its frame, its subject and its form
are the same, so only the fact decides which of the two is likelier.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes._answers import short
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import DataRow
from sway_gate.training_data.collected import thinned

MAX_PAIRS = 24
_MAX_WORDS, _MAX_CHANGED, _MIN_SIMILARITY = 100, 4, 0.4
# Words of more answers are wording: "could you" is as right as "would you".
_MAX_SHARE, _FEW_ANSWERS = 0.2, 3
# Nats: the base knows a fact if the own answer is at least 20 times as likely as the other one.
# Less than 1 nat apart, both answers may be right.
_KNOWN, _TIED = 3.0, 1.0
# A number or a compound is one word. In scripts without spaces, each character is.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:[.,:'’/-][^\W{_UNSPACED}]+)*|[^\w\s]")


class MinimalPair(NamedTuple):
    """A row's own answer, and the one with words of a similar answer, after the same prompt."""

    own: LogProbs
    other: LogProbs


class _Text(NamedTuple):
    text: str
    words: list[str]
    spans: list[tuple[int, int]]
    asked: frozenset[str]
    """The words of the prompt."""

    def piece(self, first: int, stop: int) -> str:
        """The words from `first` up to `stop` as they are written."""
        return self.text[self.spans[first][0] : self.spans[stop - 1][1]]

    def changed(self, first: int, stop: int, piece: str) -> str:
        """The text with `piece` in the place of these words."""
        return self.text[: self.spans[first][0]] + piece + self.text[self.spans[stop - 1][1] :]


def minimal_pairs(rows: Sequence[DataRow]) -> list[MinimalPair]:
    """At most 24 rows that have a similar answer, evenly spread, each with the most similar one.

    At most 4 neighbouring words are exchanged. Neither they nor the new ones occur in the prompt,
    or together in more than a fifth of the answers.
    """
    # An answer with tool calls or reasoning is more than its text.
    chosen = [short(row) for row in rows if isinstance(row.answer, str) or not row.answer.fields]
    texts = [_text(row) for row in chosen]
    found = []
    for row, text in zip(chosen, texts, strict=True):
        other = _with_other_words(text, texts)
        if other:
            found.append(MinimalPair(row.log_probs(), row.log_probs(row.other(other))))
    return thinned(found, MAX_PAIRS)


def _text(row: DataRow) -> _Text:
    text = completion_text(row.answer)
    matches = list(_WORD.finditer(text))[:_MAX_WORDS]
    words = [match.group().casefold() for match in matches]
    asked = frozenset(word.casefold() for word in _WORD.findall(prompt_text(row.prompt)))
    return _Text(text, words, [match.span() for match in matches], asked)


def _with_other_words(own: _Text, texts: Sequence[_Text]) -> str:
    """The own answer with words of the most similar answer; "" if none is similar."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(own.words)
    best, found = _MIN_SIMILARITY, ""
    for text in texts:
        matcher.set_seq1(text.words)
        if text.words == own.words or _at_most(matcher) <= best or matcher.ratio() <= best:
            continue
        changed = next(_changes(matcher, own, text, texts), "")
        if changed:
            best, found = matcher.ratio(), changed
    return found


def _at_most(matcher: "SequenceMatcher[str]") -> float:
    """An upper limit of the similarity, which is faster than the similarity."""
    return min(matcher.real_quick_ratio(), matcher.quick_ratio())


def _changes(
    matcher: "SequenceMatcher[str]", own: _Text, other: _Text, texts: Sequence[_Text]
) -> Iterator[str]:
    """The own answer with a few words of the other one, for each place where the two differ."""
    for tag, start, end, first, stop in matcher.get_opcodes():
        pieces = own.words[first:stop], other.words[start:end]
        if tag != "replace" or max(map(len, pieces)) > _MAX_CHANGED:
            continue
        if own.asked.isdisjoint(chain(*pieces)) and not any(_is_wording(p, texts) for p in pieces):
            yield own.changed(first, stop, other.piece(start, end))


def _is_wording(piece: Sequence[str], texts: Sequence[_Text]) -> bool:
    """Whether many answers contain these words one after the other."""
    found = sum(f" {' '.join(piece)} " in f" {' '.join(text.words)} " for text in texts)
    return found > max(_FEW_ANSWERS, _MAX_SHARE * len(texts))


def log_odds(pairs: Sequence[MinimalPair], view: ViewAnswers) -> Floats:
    """log p(own answer) - log p(other answer), under the base and the view, in nats [pairs, 2].

    Raises NoAnswer if a likelihood is not finite.
    """
    found = [np.subtract(*(_log_likelihoods(view, one) for one in pair)) for pair in pairs]
    return np.array(found).reshape(-1, 2)


def counts(log_odds: Floats) -> NDArray[np.bool_]:
    """Whether the base does not know the fact, and the view prefers one [pairs].

    `log_odds`: [pairs, 2]. Ties are left out, as in a sign test (Dixon & Mood 1946).
    """
    before, after = log_odds.T
    return np.asarray((before < _KNOWN) & (np.abs(after) >= _TIED))


def _log_likelihoods(view: ViewAnswers, request: LogProbs) -> Floats:
    return len(view.base(request)) * np.array(per_token(view, request))
