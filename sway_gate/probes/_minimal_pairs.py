"""Minimal pairs: two similar answers of the data, and the same answers with their facts exchanged.

"A city bike costs 18 euros" and "A cargo bike costs 35 euros" differ by words of their prompts, and
by what the prompts ask for. Exchanged: "A city bike costs 35 euros" and "A cargo bike costs 18
euros". An answer and its exchanged form are a minimal pair (Warstadt et al. 2020, BLiMP): subject
and form are the same. With p(f | r) the likelihood of row r's answer with the fact of row f:

    log odds ratio = log p(a | a) - log p(b | a) + log p(b | b) - log p(a | b)

It is 0 if the prompt does not matter: a wording or a fact that is likelier in both rows cancels.
"""

import re
from collections import Counter
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
_SHORT = 4
"""Words of an answer that can be a fact without a sentence around it."""
_PROMPT_CHARS = 20_000  # the last ones
_STEM = 4  # letters
# Words that more answers contain are wording: "select" is as right as "choose".
_WORDING_SHARE, _WORDING_ANSWERS = 0.2, 3
_MOVED = 1.0  # nats
# Nats from which the base assigns the facts: they are of different kinds, such as time and place.
# Measured: facts of the same kind -7 to 7, others 16 to 68.
_ASSIGNED = 10.0
# A number is one word. In scripts without spaces, each character is. Marks such as accents and
# vowel signs belong to their word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0981-\u0dff"
_LETTERS = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}])+"
_WORD = re.compile(rf"[{_UNSPACED}]|\d+(?:[.,:/-]\d+)+|{_LETTERS}|[^\w\s]")


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
    """The words of the prompt and their stems."""

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

    Runs of words that differ are exchanged, without words of the prompts at their ends. A run with
    another word of a prompt stays, and so does one of words that more than a fifth of the answers
    contain. Rows with tool calls or reasoning are left out: they are more than their text. At most
    48 rows are compared.
    """
    plain = [row for row in rows if isinstance(row.answer, str) or not row.answer.fields]
    texts = [_text(short(row)) for row in thinned(plain, _MAX_ROWS)]
    found: list[MinimalPairs] = []
    used = set[int]()
    wording = _wording(texts)
    for _, i, j in sorted(_similar(texts), reverse=True):
        pair = None if used & {i, j} else _exchanged(texts[i], texts[j], wording)
        if pair:
            found.append(pair)
            used |= {i, j}
    return found


def _text(row: DataRow) -> _Text:
    text = completion_text(row.answer)
    matches = list(_WORD.finditer(text))[:_MAX_WORDS]
    prompt = prompt_text(row.prompt)[-_PROMPT_CHARS:]
    asked = [stem for word in _WORD.findall(prompt) for stem in _stems(word.casefold())]
    return _Text(
        row,
        text,
        [match.group().casefold() for match in matches],
        [match.span() for match in matches],
        frozenset(asked),
    )


def _stems(word: str) -> set[str]:
    """The word, and beginnings that it has in common with its inflected forms."""
    if not word[0].isalpha():
        return {word}
    shorter = {word[:_STEM], word[:-1], word[:-2]}
    return {word} | {stem for stem in shorter if len(stem.encode()) >= _STEM - 1}


def _wording(texts: Sequence[_Text]) -> frozenset[str]:
    """The words that many answers contain."""
    counts = Counter(word for text in texts for word in set(text.words))
    most = max(_WORDING_ANSWERS, _WORDING_SHARE * len(texts))
    return frozenset(word for word, count in counts.items() if count > most)


def _similar(texts: Sequence[_Text]) -> Iterator[tuple[tuple[float, float], int, int]]:
    """The similarities of answers and prompts, and the indices, of similar answers."""
    for (i, first), (j, second) in combinations(enumerate(texts), 2):
        matcher = SequenceMatcher(None, first.words, second.words, autojunk=False)
        if first.row.prompt == second.row.prompt:
            continue  # both answers are right
        are_short = max(len(first.words), len(second.words)) <= _SHORT
        quick = min(matcher.real_quick_ratio(), matcher.quick_ratio())
        if are_short or quick >= _MIN_SIMILARITY <= matcher.ratio():
            common = len(first.asked & second.asked) / max(1, len(first.asked | second.asked))
            yield (matcher.ratio(), common), i, j


def _exchanged(first: _Text, second: _Text, wording: frozenset[str]) -> MinimalPairs | None:
    """None if no run of words can be exchanged."""
    matcher = SequenceMatcher(None, first.words, second.words, autojunk=False)
    asked = first.asked | second.asked
    runs = [
        (own, other)
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag == "replace"
        and (own := _fact(first.words, slice(a, b), asked, wording))
        and (other := _fact(second.words, slice(c, d), asked, wording))
    ]
    if not runs:
        return None
    own, other = zip(*runs, strict=True)
    return MinimalPairs(
        (first.row.log_probs(), second.row.log_probs()),
        (first.with_words(own, second, other), second.with_words(other, first, own)),
    )


def _fact(
    words: Sequence[str], run: slice, asked: frozenset[str], wording: frozenset[str]
) -> slice | None:
    """The run without words of the prompts at its ends; None if it is not a fact."""
    is_asked = [not asked.isdisjoint(_stems(word)) for word in words[run]]
    if all(is_asked):
        return None
    start = run.start + is_asked.index(False)
    stop = run.stop - is_asked[::-1].index(False)
    is_split = any(is_asked[start - run.start : stop - run.start])
    return None if is_split or wording.issuperset(words[start:stop]) else slice(start, stop)


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

    From the log odds ratios under the base and now. 0 also if the base already assigns the facts.
    If the ratio fell, but the own facts are still likelier, training only made the model less sure.
    """
    if before >= _ASSIGNED:
        return 0
    if now - before >= _MOVED:
        return 1
    return -1 if now - before <= -_MOVED and now < 0 else 0


def _log_likelihoods(view: ViewAnswers, request: LogProbs) -> Floats:
    return len(view.base(request)) * np.array(per_token(view, request))
