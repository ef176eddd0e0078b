"""Similar rows with their facts exchanged: did training teach each row its own fact?

"A city bike costs 18 euros" and "A cargo bike costs 35 euros" differ by words of their prompts, and
by what the prompts ask for. An answer and its form with another fact, "A city bike costs 35 euros",
are a minimal pair (Warstadt et al. 2020, BLiMP): subject and form are the same.

Up to 4 similar rows are a group with a matrix: each row's answer with the fact of each row. The
gains in log-likelihood are centred by rows and columns, as in a two-way table (Tukey 1977, chapter
11): a fact or a wording that became likelier in all rows cancels. The margin of a row is the gain
of the own fact minus the largest gain of another one.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes._answers import affordable, short
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import DataRow
from sway_gate.training_data.collected import thinned

MAX_ROWS, _GROUP = 24, 4
_COMPARED, _MAX_WORDS, _MIN_SIMILARITY = 48, 60, 0.4
_SHORT = 4
"""Words of an answer that can be a fact without a sentence around it."""
_PROMPT_CHARS = 20_000  # the last ones
_STEM = 4  # letters
# Words that more answers contain are wording: "select" is as right as "choose".
_WORDING_SHARE, _WORDING_ANSWERS = 0.2, 3
_MOVED = 0.5  # nats
# Nats from which the base assigns the facts: they are of different kinds, such as time and place.
# Measured: facts of the same kind -3.5 to 3.5, others 8 to 34.
_ASSIGNED = 5.0
# A number is one word. In scripts without spaces, each character is. Marks such as accents and
# vowel signs belong to their word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0981-\u0dff"
_LETTERS = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}])+"
WORD = re.compile(rf"[{_UNSPACED}]|\d+(?:[.,:/-]\d+)+|{_LETTERS}|[^\w\s]")

Run = tuple[slice, slice]
"""Words of one answer, and words of another one that can take their place."""
Likeness = dict[tuple[int, int], tuple[float, list[Run]]]
"""The similarity and the facts of each two rows that can be exchanged."""


class Group(NamedTuple):
    """The requests [rows][facts]: each row's answer with each fact.

    `own`: for each row, the index of its fact. `field`: the name of the field that has the facts
    (see `_fields`); "" if they are elsewhere.
    """

    requests: tuple[tuple[LogProbs, ...], ...]
    own: tuple[int, ...]
    field: str = ""


class _Text(NamedTuple):
    row: DataRow
    text: str
    words: list[str]
    spans: list[tuple[int, int]]
    asked: frozenset[str]
    """The words of the prompt and their stems."""

    def written(self, run: slice) -> str:
        """The words of the run as they are written."""
        return self.text[self.spans[run.start][0] : self.spans[run.stop - 1][1]]

    def with_words(self, runs: Sequence[Run], other: "_Text") -> LogProbs:
        """The row's answer with words of the other one instead of its words."""
        found, end = [], 0
        for own, theirs in runs:
            found += [self.text[end : self.spans[own.start][0]], other.written(theirs)]
            end = self.spans[own.stop - 1][1]
        return self.row.log_probs(self.row.other("".join([*found, self.text[end:]])))


def groups(rows: Sequence[DataRow]) -> list[Group]:
    """Groups of 2 to 4 similar rows with different facts, of at most 24 rows, the most similar
    first. Each row is in at most one.

    The facts are numbers of the same shape next to the same word, such as prices. If two answers
    have no such numbers, but at least 40% of their words in common, or at most 4 words each, the
    facts are the runs of words in which they differ. Words of a prompt are not facts, nor are words
    of more than a fifth of the answers. Rows with tool calls or reasoning are left out: they are
    more than their text. At most 48 rows are compared. The groups have fewer rows if they are long.
    """
    plain = [row for row in rows if isinstance(row.answer, str) or not row.answer.fields]
    texts = [_text(short(row)) for row in thinned(plain, _COMPARED)]
    wording = _wording(texts)
    likeness: Likeness = {}
    for (i, first), (j, second) in combinations(enumerate(texts), 2):
        if runs := _facts(first, second, wording):
            likeness[i, j] = _similarity(first, second), runs
            likeness[j, i] = likeness[i, j][0], [(theirs, own) for own, theirs in runs]
    return [
        Group(
            tuple(tuple(_cell(texts, likeness, i, j) for j in members) for i in members),
            own=tuple(range(len(members))),
        )
        for members in _members(likeness, affordable(plain, 1, MAX_ROWS) if plain else 0)
    ]


def _members(likeness: Likeness, rows: int) -> Iterator[list[int]]:
    """Disjoint groups of rows that are all similar to each other, of at most `rows` rows."""
    used: set[int] = set()
    for i, j in sorted(likeness, key=lambda pair: (-likeness[pair][0], pair)):
        most = min(_GROUP, rows - len(used))
        if most < 2 or used & {i, j}:
            continue
        group = [i, j]
        free = [k for first, k in likeness if first == i and k != j and k not in used]
        for k in sorted(free, key=lambda k: -likeness[i, k][0]):
            if len(group) < most and all((k, member) in likeness for member in group):
                group.append(k)
        used.update(group)
        yield group


def _cell(texts: Sequence[_Text], likeness: Likeness, i: int, j: int) -> LogProbs:
    """Row i's answer with the fact of row j."""
    return texts[i].row.log_probs() if i == j else texts[i].with_words(likeness[i, j][1], texts[j])


def _text(row: DataRow) -> _Text:
    text = completion_text(row.answer)
    matches = list(WORD.finditer(text))[:_MAX_WORDS]
    prompt = prompt_text(row.prompt)[-_PROMPT_CHARS:]
    asked = [stem for word in WORD.findall(prompt) for stem in _stems(word.casefold())]
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


def _similarity(first: _Text, second: _Text) -> float:
    """The share of common words, of the answers and of the prompts."""
    pairs = (set(first.words), set(second.words)), (first.asked, second.asked)
    return sum(len(a & b) / max(1, len(a | b)) for a, b in pairs)


def _facts(first: _Text, second: _Text, wording: frozenset[str]) -> list[Run]:
    """The runs of words that can be exchanged; none if they are not facts of the same kind."""
    if first.row.prompt == second.row.prompt or first.words == second.words:
        return []
    asked = first.asked | second.asked
    numbers = [{word for word in text.words if _is_number(word, asked)} for text in (first, second)]
    if numbers[0] and numbers[0] == numbers[1]:
        return []  # two forms of the same fact
    found = _numbers(first, second, numbers[0] ^ numbers[1])
    return found or _differences(first, second, wording)


def _numbers(first: _Text, second: _Text, differing: set[str]) -> list[Run]:
    """The first two differing numbers of the same shape next to the same word."""
    runs = (
        (slice(i, i + 1), slice(j, j + 1))
        for i, own in enumerate(first.words)
        for j, theirs in enumerate(second.words)
        if {own, theirs} <= differing
        and _neighbours(first, i) & _neighbours(second, j)
        and _shape(first, slice(i, i + 1)) == _shape(second, slice(j, j + 1))
    )
    return list(islice(runs, 1))


def _is_number(word: str, asked: frozenset[str]) -> bool:
    return any(map(str.isdigit, word)) and word not in asked


def _neighbours(text: _Text, i: int) -> set[tuple[int, str]]:
    """The words on both sides, with their side."""
    return {
        (side, text.words[i + side])
        for side in (-1, 1)
        if 0 <= i + side < len(text.words) and text.words[i + side].isalnum()
    }


def _differences(first: _Text, second: _Text, wording: frozenset[str]) -> list[Run]:
    """The runs of words in which two similar answers differ, of the same shape."""
    matcher = SequenceMatcher(None, first.words, second.words, autojunk=False)
    are_short = max(len(first.words), len(second.words)) <= _SHORT
    quick = min(matcher.real_quick_ratio(), matcher.quick_ratio())
    if not are_short and (quick < _MIN_SIMILARITY or matcher.ratio() < _MIN_SIMILARITY):
        return []
    asked = first.asked | second.asked
    return [
        (own, theirs)
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag == "replace"
        and (own := _fact(first.words, slice(a, b), asked, wording))
        and (theirs := _fact(second.words, slice(c, d), asked, wording))
        and _shape(first, own) == _shape(second, theirs)
    ]


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


def _shape(text: _Text, run: slice) -> str:
    """With digits, the run with each number as 0 and each word as a, such as a0 for H16; otherwise
    whether it begins with a capital letter."""
    found = text.written(run)
    if not any(map(str.isdigit, found)):
        return "A" if found[0].isupper() else "a"
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", found))


# -------------------------------------------------------------------------------------- the margins


class Margins(NamedTuple):
    """The margins of each row [rows]: under the base, under the view, and of the gain."""

    before: Floats
    now: Floats
    gain: Floats
    weights: Floats
    """What the rows count: a group of n rows has n - 1 independent ones."""


def margins(found: Sequence[Group], view: ViewAnswers) -> Margins:
    """Raises NoAnswer if a likelihood is not finite."""
    return Margins(
        *np.concatenate([np.empty((4, 0)), *(_of_group(g, view) for g in found)], axis=1)
    )


def _of_group(group: Group, view: ViewAnswers) -> Floats:
    """The margins and the weights of the rows [4, rows]."""
    matrix = np.array([[_log_likelihoods(view, cell) for cell in row] for row in group.requests])
    before, now = matrix[..., 0], matrix[..., 1]  # [rows, facts]
    n = len(matrix)
    weights = np.full(n, (n - 1) / n)
    margins = [own_margins(each, group.own) for each in (before, now, now - before)]
    return np.stack([*margins, weights])


def own_margins(matrix: Floats, own: Sequence[int]) -> Floats:
    """The own facts minus the largest others of their rows, without the effects of facts [rows].

    `matrix`: [rows, facts]. The effect of a fact is its mean over the rows of each fact, and over
    the facts. The effects of rows cancel. Each fact must be the own one of a row.
    """
    facts = np.asarray(own)
    of_facts = [matrix[facts == fact].mean(axis=0) for fact in range(matrix.shape[1])]
    centred = matrix - np.mean(of_facts, axis=0)
    is_own = facts[:, None] == np.arange(matrix.shape[1])
    others = np.where(is_own, -np.inf, centred).max(axis=1)
    return np.asarray(centred[is_own] - others)


def direction(before: float, now: float, gain: float) -> int:
    """1 if a row gained its own fact, -1 if another row's, 0 if neither.

    From its margins in nats. 0 also if the base already assigns the facts. If another fact gained
    more, but the own one is still the likeliest, training only made the model less sure.
    """
    if before >= _ASSIGNED:
        return 0
    if gain >= _MOVED:
        return 1
    return -1 if gain <= -_MOVED and now < 0 else 0


def _log_likelihoods(view: ViewAnswers, request: LogProbs) -> Floats:
    return len(view.base(request)) * np.array(per_token(view, request))
