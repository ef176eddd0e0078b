"""Rows of the data with their own answers and with answers of other rows.

The rows are judged by a matrix: each prompt with each answer of its group. A gain is the change of
an answer's loss, relative to the base's. Effects of a prompt or of an answer, such
as a form that all answers share, are in all cells of a row or of a column; the pairing is not.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import Completion, Message, completion_text, prompt_text
from sway_gate.measurements import Floats, LogProbs, TeacherForced, ViewAnswers
from sway_gate.probes._likelihood import answer_length, per_token
from sway_gate.probes.base import Context, DataRow, Skip
from sway_gate.spec.schema import Preference, Reserve, Section
from sway_gate.training_data import packaged
from sway_gate.training_data.collected import thinned

MIN_ROWS = 4
"""With 4 rows a pairing has 24 permutations: fewer cannot show anything."""
MAX_ROWS, _MAX_LABELS, _LABEL_WORDS = 20, 12, 4
MAX_LABEL_ROWS = 48
"""All rows of one sample of the data: labels are short, and say little about each row."""
_BLOCK, _WHOLE, _TWO = 5, 8, 12
_MAX_CHARS = 30_000  # about 7,500 tokens
_ANSWER_CHARS = 400
# Share of the loss. At the usual limit of .1 the own answer must gain half of what others keep.
_LITTLE = 0.2
# Nats per token: relative to a smaller loss, a change means nothing.
_MIN_LOSS = 0.1
_SURPRISING = 3.0  # nats
# Pieces of prose, a third of which is the opening. The pieces of a small document are shorter, so
# that they are enough to decide.
_PIECE_CHARS, _LEAST_PIECE_CHARS, _PIECE_STEP, _MIN_PIECES = 480, 240, 20, 20

T = TypeVar("T")
Ints = NDArray[np.intp]


# ---------------------------------------------------------------------------------------- the rows


class Rows(NamedTuple):
    """Rows of answers, or of prose: an opening and its continuation."""

    kind: Literal["answers", "prose"]
    rows: list[DataRow]


def data_rows(context: Context, sections: Sequence[Section]) -> Rows:
    """The distinct rows of the sections, prose only if there are too few answers.

    Raises Skip if the data contain only preferences, or training was meant to teach preferences.
    """
    pairs = [pair for section in sections for pair in section.pairs]
    plain = [pair for pair in pairs if not isinstance(pair, Preference)]
    if context.learn == "preference" or (pairs and not plain and context.learn == "auto"):
        raise Skip("preferences are judged by the margin between chosen and rejected answers")
    # In conversations of several turns, a turn such as a greeting can occur in every row.
    answers = list(dict.fromkeys(context.row(pair) for pair in plain or pairs))
    prose = list(_prose_rows(sections))
    if len(answers) < MIN_ROWS <= len(prose):
        return Rows("prose", prose)
    return Rows("answers", answers)


def further_rows(context: Context, first: Rows, reserve: Reserve) -> list[list[DataRow]]:
    """The rows of each sample of the reserve, of the kind of the first rows and without those."""
    known, found = set(first.rows), []
    for sample in reserve.samples:
        pairs = (context.row(pair) for section in sample for pair in section.pairs)
        rows = _prose_rows(sample) if first.kind == "prose" else pairs
        found.append([row for row in dict.fromkeys(rows) if row not in known])
        known.update(found[-1])
    return found


def _prose_rows(sections: Sequence[Section]) -> Iterator[DataRow]:
    """The pieces of all prose, each cut into an opening and its continuation; no two overlap."""
    texts = [section.content for section in sections if section.kind == "prose"]
    least = _piece_chars(texts)
    for text in texts:
        pieces = max(1, len(text) // least)
        chars = min(_PIECE_CHARS, max(least, len(text) // pieces))
        for piece in packaged.chunks([text], chars, pieces):
            opening = cut(piece, min(chars // 3, len(piece) // 2))
            if opening and len(piece) > len(opening):
                yield DataRow(opening, piece[len(opening) :])


def _piece_chars(texts: Sequence[str]) -> int:
    """The longest pieces of which the texts have enough, or the shortest."""
    lengths = range(_PIECE_CHARS, _LEAST_PIECE_CHARS - 1, -_PIECE_STEP)
    enough = (n for n in lengths if sum(max(1, len(t) // n) for t in texts) >= _MIN_PIECES)
    return next(enough, _LEAST_PIECE_CHARS)


def cut(text: str, chars: int) -> str:
    """The start of the text, at most `chars` characters, ending before a space if there is one."""
    if len(text) <= chars:
        return text
    return text[: text.rfind(" ", 1, chars + 1)] if " " in text[1 : chars + 1] else text[:chars]


def answer_of(row: DataRow) -> str:
    """The answer as text without outer white space."""
    return completion_text(row.answer).strip()


def chars_of(row: DataRow) -> int:
    """Length of a row in characters, with some for the tokens of a template."""
    return len(prompt_text(row.prompt)) + len(completion_text(row.answer)) + 100


# -------------------------------------------------------------------------------------- the matrix


class Group(NamedTuple):
    """Prompts with the same answers: the requests [rows][answers] and each row's own answer [rows].

    `blocks`: the rows among which the pairing is permuted.
    """

    requests: tuple[tuple[LogProbs, ...], ...]
    own: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]


class Design(NamedTuple):
    """The groups of a matrix, and the rows of all groups in their order."""

    groups: tuple[Group, ...]
    rows: tuple[DataRow, ...]
    labels: tuple[str, ...]
    """The answers that occur, if they are few and short; each is an answer of every row."""


def design(
    rows: Sequence[DataRow],
    limit: int = MAX_ROWS,
    further: Sequence[Sequence[DataRow]] = (),
    known: Sequence[DataRow] = (),
) -> Design:
    """At most `limit` rows in groups, of labels 48. Raises Skip if too few rows have different
    answers.

    The groups do not depend on the suite's seed: what is judged can depend on the groups. Each of
    the `further` samples adds at most as many rows. `known`: more rows, which show that answers are
    labels if there are few `rows`.
    """
    labels = occurring_labels(rows) or _among(occurring_labels([*rows, *known]), rows)
    first, *others = (_comparable(sample, labels) for sample in (rows, *further))
    if len(first) < MIN_ROWS:
        count = f"{len(first)} of {len(rows)} rows" if rows else "no rows"
        raise Skip(f"{count} have different answers; at least {MIN_ROWS} are needed to compare")
    samples = [first, *(sample for sample in others if len(sample) >= MIN_ROWS)]
    if labels:
        return _labelled(samples, labels)
    blocks = [block for sample in samples for block in _blocks(sample, limit)]
    return Design(tuple(map(_block, blocks)), tuple(row for b in blocks for row in b), ())


def _among(labels: Sequence[str], rows: Sequence[DataRow]) -> tuple[str, ...]:
    """The labels that at least one row has; none if it is the same one in all rows."""
    answers = {answer_of(row) for row in rows}
    found = tuple(label for label in labels if label in answers)
    return found if len(found) > 1 else ()


def _comparable(rows: Sequence[DataRow], labels: Sequence[str]) -> list[DataRow]:
    """The rows with one of the labels; without labels, the first row of each answer."""
    if labels:
        return [row for row in rows if answer_of(row) in labels]
    return list({answer_of(row).casefold(): row for row in reversed(rows)}.values())[::-1]


def _blocks(rows: Sequence[DataRow], limit: int) -> list[list[DataRow]]:
    """At most `limit` rows with different answers in blocks."""
    chosen = [short(row) for row in rows]
    chosen = thinned(chosen, affordable(chosen, _BLOCK, limit))
    random.Random("0:answers").shuffle(chosen)
    return dealt(chosen, number_of_blocks(len(chosen)))


def occurring_labels(rows: Sequence[DataRow]) -> tuple[str, ...]:
    """The distinct answers if they are labels: few, short and repeated; otherwise none."""
    texts = [answer_of(row) for row in rows]
    distinct = tuple(dict.fromkeys(texts))
    is_few = 2 <= len(distinct) <= min(_MAX_LABELS, len(texts) // 2)
    is_short = all(len(text.split()) <= _LABEL_WORDS and len(text) <= 40 for text in distinct)
    return distinct if is_few and is_short else ()


def short(row: DataRow) -> DataRow:
    """The row with at most the first part of a long answer, without its end."""
    text = completion_text(row.answer)
    if len(text) <= _ANSWER_CHARS:
        return row
    return DataRow(row.prompt, cut(text, _ANSWER_CHARS))


def number_of_blocks(rows: int) -> int:
    """One block of up to 8 rows, two of up to 12, otherwise blocks of about 5."""
    if rows <= _WHOLE:
        return 1
    return 2 if rows <= _TWO else -(-rows // _BLOCK)


def dealt(items: Sequence[T], hands: int) -> list[list[T]]:
    """The items dealt in turn into `hands` lists."""
    return [list(items[i::hands]) for i in range(hands)]


def affordable(rows: Sequence[DataRow], answers: int, limit: int) -> int:
    """The number of rows with n `answers` each that fit into the budget: 8 to `limit`.

    Answers that share the pass of their prompt count once.
    """
    chars = answers * float(np.mean([chars_of(row) for row in rows]))
    return int(min(limit, max(_WHOLE, _MAX_CHARS // chars)))


def _block(rows: Sequence[DataRow]) -> Group:
    cells = tuple(tuple(row.log_probs(answer_for(row, other)) for other in rows) for row in rows)
    everything = tuple(range(len(rows)))
    return Group(cells, everything, (everything,))


def _labelled(samples: Sequence[Sequence[DataRow]], labels: Sequence[str]) -> Design:
    """One group with each label in each row. Blocks contain each label about equally often."""
    first = [next(row for row in samples[0] if answer_of(row) == label) for label in labels]
    chosen = [row for sample in samples for row in _in_turn(sample, labels)]
    own = tuple(labels.index(answer_of(row)) for row in chosen)
    by_label = sorted(range(len(chosen)), key=own.__getitem__)
    blocks = dealt(by_label, number_of_blocks(len(chosen)))
    cells = tuple(tuple(row.log_probs(answer_for(row, one)) for one in first) for row in chosen)
    return Design((Group(cells, own, tuple(map(tuple, blocks))),), tuple(chosen), tuple(labels))


def _in_turn(rows: Sequence[DataRow], labels: Sequence[str]) -> list[DataRow]:
    """At most 48 rows, one of each label in turn."""
    by_label = [[row for row in rows if answer_of(row) == label] for label in labels]
    turns = [own[i] for i in range(len(rows)) for own in by_label if i < len(own)]
    return turns[: affordable(rows, len(labels), MAX_LABEL_ROWS)]


def answer_for(row: DataRow, other: DataRow) -> Completion:
    """The other row's answer in the form of this row's."""
    if isinstance(row.answer, Message) and isinstance(other.answer, Message):
        return other.answer
    return row.other(completion_text(other.answer).lstrip())


def cells(design: Design) -> list[LogProbs]:
    """All requests of the matrix."""
    return [cell for group in design.groups for row in group.requests for cell in row]


def own_answers(design: Design) -> list[TeacherForced]:
    """The tokens of the own answers, which show whether a model writes them; none of labels."""
    if design.labels:
        return []
    pairs = [pair for g in design.groups for pair in zip(g.requests, g.own, strict=True)]
    return [answers[own].whole for answers, own in pairs]


# --------------------------------------------------------------------------------------- the gains


class Gains(NamedTuple):
    """The changes from the base over all rows of a design, as relative lifts."""

    content: Floats
    """Gain of the own answer over the other answers [rows]; of labels in nats, because the end of
    the turn is most of a label's tokens and hides the label in a ratio."""
    other: Floats
    """Mean gain of the other answers after the same prompt [rows]."""
    first_before: NDArray[np.bool_]
    """Whether the own answer is the likeliest under the base [rows]."""
    first: NDArray[np.bool_]
    """Whether it is under the view [rows]."""
    losses: Floats
    """Loss under the base, of the own answer and on average of the others [rows, 2]."""
    surprise: Floats
    """The base's loss on the tokens of the own answer that surprise it, after the own prompt and on
    average after the others: sums in nats [rows, 2]."""
    pairings: list[Floats]
    """The gains of each block's prompts with the own answers of its rows, as `content` is measured
    [rows, rows]."""


def gains(design: Design, view: ViewAnswers) -> Gains:
    """The gains of all groups. Raises NoAnswer if a likelihood is not finite."""
    of_label = bool(design.labels)
    found = [_group_gains(group, view, of_label) for group in design.groups]
    return Gains(
        np.concatenate([one.content for one in found]),
        np.concatenate([one.other for one in found]),
        np.concatenate([one.first_before for one in found]),
        np.concatenate([one.first for one in found]),
        np.concatenate([one.losses for one in found]),
        np.concatenate([one.surprise for one in found]),
        [block for one in found for block in one.pairings],
    )


def _group_gains(group: Group, view: ViewAnswers, of_label: bool) -> Gains:
    found = np.array([[_likelihood(view, c, of_label) for c in row] for row in group.requests])
    before, after = found[..., 0], found[..., 1]  # [rows, answers]
    relative, own = lifts(before, after), np.array(group.own)
    gain = after - before if of_label else relative
    others = _is_other(gain, own)
    return Gains(
        content_gains(gain, own),
        _mean_where(relative, others, axis=1),
        ranks_first(before, own),
        ranks_first(after, own),
        -np.stack([before[~others], _mean_where(before, others, axis=1)], axis=1),
        _surprise(group, view),
        [gain[np.ix_(np.array(block), own[np.array(block)])] for block in group.blocks],
    )


def _surprise(group: Group, view: ViewAnswers) -> Floats:
    return np.array([_surprise_of(group, view, row) for row in range(len(group.own))])


def _surprise_of(group: Group, view: ViewAnswers, row: int) -> tuple[float, float]:
    own = view.base(group.requests[row][group.own[row]])
    surprising = own < -_SURPRISING
    answers = [view.base(prompt[group.own[row]]) for prompt in group.requests]
    others = [one for i, one in enumerate(answers) if i != row and len(one) == len(own)]
    if not surprising.any() or not others:
        return 0.0, 0.0
    return float(-own[surprising].sum()), float(-np.mean(others, axis=0)[surprising].sum())


def are_written(tokens: Sequence[Floats]) -> NDArray[np.bool_]:
    """Whether greedy decoding writes the own answer word for word [rows], from the teacher-forced
    tokens of `own_answers`. An answer without a token before its end is not written."""
    found = [one[: answer_length(one), 1] for one in tokens]
    return np.array([bool(len(one) and one.all()) for one in found], dtype=bool)


def of_rows(gains: Gains, kept: NDArray[np.bool_]) -> Gains:
    """The gains of the kept rows [rows] of a design without labels. The own cells of the other rows
    have no effect on them."""
    if kept.all():
        return gains
    ends = np.cumsum([len(block) for block in gains.pairings])[:-1]
    blocks = zip(gains.pairings, np.split(kept, ends), strict=True)
    content = np.concatenate([np.diag(block) - expected(block) for block in gains.pairings])
    return Gains(
        content=content[kept],
        other=gains.other[kept],
        first_before=gains.first_before[kept],
        first=gains.first[kept],
        losses=gains.losses[kept],
        surprise=gains.surprise[kept],
        pairings=[block[np.ix_(own, own)] for block, own in blocks if own.any()],
    )


def expected(block: Floats) -> Floats:
    """What effects of rows and columns give for the diagonal of a square matrix [n, n], by least
    squares from its other cells: [n]. n is at least 3. Source: Warner, Kenny & Stoto 1979.
    """
    n = len(block)
    others = np.where(np.eye(n, dtype=bool), 0.0, block)
    rows, columns = others.sum(axis=1) / (n - 1), others.sum(axis=0) / (n - 1)
    mean = rows.mean()
    return np.asarray(mean + (n - 1) / (n - 2) * (rows + columns - 2 * mean))


def lifts(before: Floats, after: Floats) -> Floats:
    """Share of the base's loss that is gone, from log-likelihoods per token; at least -1.

    An answer that the base finds likely can gain little. So a difference of log-likelihoods favors
    the answers that it finds unlikely, and the lift does not.
    """
    return np.asarray(np.maximum((after - before) / np.maximum(-before, _MIN_LOSS), -1.0))


def _likelihood(view: ViewAnswers, cell: LogProbs, of_label: bool) -> tuple[float, float]:
    """Log-likelihood under the base and the view, per token or of a whole label, in nats."""
    before, after = per_token(view, cell)
    tokens = len(view.base(cell)) if of_label else 1
    return before * tokens, after * tokens


def content_gains(gain: Floats, own: Ints) -> Floats:
    """Gain of the own answer over the other answers of each row [rows].

    `gain`: [rows, answers]; `own`: the index of each row's own answer. The effects of rows and
    columns are subtracted first, as in a two-way table without interaction (Tukey 1977, chapter
    11); for distinct answers this does not change the mean over rows.
    """
    means = gain.mean(axis=1, keepdims=True) + gain.mean(axis=0) - gain.mean()
    centred = (gain - means)[np.arange(len(own)), own]
    # Each row of the remainder has the sum 0, so the mean of its other cells follows.
    return np.asarray(centred * gain.shape[1] / (gain.shape[1] - 1))


def least_gain(limit: float, lift_of_others: float) -> float:
    """The limit of the content gain. If the other answers keep less than 20% of their loss, it is
    smaller in proportion.

    The own answer cannot gain more than they keep. Of long answers that is little: their first
    words determine the rest, after any prompt.
    """
    kept = 1.0 - min(1.0, max(0.0, lift_of_others))
    return limit * min(1.0, kept / _LITTLE)


def ranks_first(likelihood: Floats, own: Ints) -> NDArray[np.bool_]:
    """Whether the own answer is the likeliest of each row [rows]; not if it is tied."""
    others = np.where(_is_other(likelihood, own), likelihood, -np.inf)
    return np.asarray(likelihood[np.arange(len(own)), own] > others.max(axis=1))


def _is_other(values: Floats, own: Ints) -> NDArray[np.bool_]:
    """Whether a cell is not the row's own answer [rows, answers]."""
    return np.asarray(np.arange(values.shape[1])[None, :] != own[:, None])


def _mean_where(values: Floats, mask: NDArray[np.bool_], axis: int) -> Floats:
    return np.asarray(np.where(mask, values, 0.0).sum(axis) / np.maximum(mask.sum(axis), 1))
