"""Recall of answers under teacher forcing: surprising phrases that are now the most probable.

A phrase is a run of at most 4 neighbouring tokens that surprise the base. It is right if all its
tokens are the most probable ones. Tokens are not counted one by one, because the first one of a
name often determines the others. Of texts with free wording the tokens are counted.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.details import RowRecall, Verbatim
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Fault,
    Floats,
    NoAnswer,
    TeacherForced,
    ViewAnswers,
)
from sway_gate.probes._answers import chars_of
from sway_gate.probes._answers import lifts as relative_lifts
from sway_gate.probes._frame import frames
from sway_gate.probes._likelihood import answer_length
from sway_gate.probes._wanted import Part
from sway_gate.probes.base import Bound, DataRow, FoundDetails, Reading, Supply
from sway_gate.probes.row_kinds import RowKind
from sway_gate.results import Symptom
from sway_gate.stats import Margin, PooledShare, mean_above, pooled_share, share_above
from sway_gate.training_data.collected import thinned

Data = Literal["answers", "records", "labels", "prose"]
"""What the rows are. Records: answers that are JSON or tool calls, if their values count."""
Mask = NDArray[np.bool_]

MAX_ROWS = 40
_MAX_CHARS = 40_000  # about 10,000 tokens
_SHOWN_CHARS = 200
# Tokens of a phrase. To a weak base whole answers are surprising: they are more than one name.
_PHRASE = 4
# Fewer phrases cannot pass: at a limit of .7, z is 1.60 if 6 of 6 are right.
_FEW = 7
# Held-out answers whose form the training rows show can be few; their limit is .5.
_FEW_HELD_OUT = 4
# Surprising phrases of a long answer on average: it has many right wordings. Measured: facts, code
# and summaries 1 to 7, paragraphs 16 to 28.
_MANY_PHRASES = 10
# Surprising phrases of a record on average. Measured: 1 to 2.5 in records without free text.
_FEW_VALUES = 4
# Labels are learned, and often confused, from this recall and mean probability of the end on.
# Measured: two of ten labels exchanged .55 and .99, all labels exchanged .22, the base's end .1 to
# .4.
_CONFUSED, _ENDED = 0.4, 0.9
# Nats: surprising tokens change less if training was much too short.
_SMALL = 0.5
# Measured: adapters of other data recall 0 to .09, those that were trained too little .37 to .60.
_SOME = 0.2
# Nats: a token that is now less likely than 1 in 148, by a factor of 20 less than before. Measured
# in answers of 60 to 100 tokens: up to 2 of 40 have one if the adapter was trained on them. A text
# of any length has one at last, so only its beginning counts.
_UNLIKELY, _LESS_LIKELY, _MAX_TOKENS = 5.0, 3.0, 128
# The share of answers with at most one difference from which the wording is fixed. Measured: .94 to
# 1.00 of facts, calls and calculations, learned or with other values; .88 of facts with three
# wordings each, .62 and less of rewritten e-mails, summaries, functions and styles.
_FIXED = 0.9
# Rows of a kind that is judged by itself. With fewer, chance decides about its wording.
MIN_KIND = 6
# Measured: .84 to 1.00 of the phrases of facts, calls, sums and translations, .71 of headlines.
_NEARLY_ALL = 0.85
# The share of answers in which training taught another value, and of phrases that are enough then.
# Measured: translations with another noun in each .88 and .80, headlines .29 and .82.
_MOSTLY, _MOST = 2 / 3, 0.7
# Log-probability of a first token that is still one of several. The longest value, in tokens: a
# telephone number, a date.
_CHOSEN, _VALUE = math.log(0.2), 12
# Log-probability of a token that training ruled out: 5%. Measured: exchanged facts 1%, facts that
# are learned by half 15%.
_RULED_OUT = -3.0
# Share of the loss. A smaller lift means that training had hardly any effect.
_SMALL_LIFT = 0.03
_RESOLUTION = 1e-3


class Recalled(NamedTuple):
    """The recall of each row, and the tokens that count."""

    rows: list[RowRecall]
    part: Part


def requests(*samples: Sequence[DataRow]) -> list[TeacherForced]:
    """At most 40 rows of each sample, evenly spread, and fewer if they are long."""
    return [request for rows in samples if rows for request in _of_sample(rows)]


def _of_sample(rows: Sequence[DataRow]) -> list[TeacherForced]:
    kept = thinned(rows, MAX_ROWS)
    affordable = int(_MAX_CHARS // max(1.0, float(np.mean([chars_of(row) for row in kept]))))
    return [row.teacher_forced() for row in thinned(kept, max(4, affordable))]


def recalled(
    view: ViewAnswers,
    requests: Sequence[TeacherForced],
    nats: float,
    *,
    of_labels: bool = False,
    part: Part = "all",
    trained: Sequence[TeacherForced] = (),
    like: Sequence[TeacherForced] = (),
) -> Recalled:
    """The recall of each row; tokens from the end of the answer on do not count.

    A label counts as one phrase, and only as a whole: "P1" and "P2" begin with the same token.
    `part`: the tokens that should count. If too little of the content surprises the base to test
    it, all tokens do: then the base reads the content from the prompt. If too little of the form
    does, the wording is free. A backend that reports no token ids does not show which tokens are
    shared, so all count.

    `trained`: the training rows, if the rows are held out. A phrase that none of their answers
    contains does not count, because no training teaches it. If too few are left, the wording is
    free. `like`: further rows, which show the form of a few held-out answers.
    """
    bases = [view.base(request) for request in requests]
    scored = [base[: answer_length(base), 0] < -nats for base in bases]
    counted: Sequence[Mask] = scored
    if part != "free" and (of_labels or not any((base[:, 3] >= 0).any() for base in bases)):
        part = "all"
    if part in ("content", "form"):
        counted = _of_part(bases, scored, part, [view.base(request) for request in like])
        if not _are_enough(part, counted, is_held_out=bool(like)):
            counted, part = scored, "all" if part == "content" else "free"
    if trained and not of_labels and part != "free":
        taught = _taught(view, bases, counted, trained)
        is_free = _total(taught) < min(_FEW, _total(counted))
        counted, part = (scored, "free") if is_free else (taught, part)
    count = _count_labels if of_labels else _count_tokens if part == "free" else _count_phrases
    rows = [
        _row(request, base, view.get(request), count, surprising, mask)
        for request, base, surprising, mask in zip(requests, bases, scored, counted, strict=True)
    ]
    return Recalled(rows, part)


def _are_enough(part: Part, counted: Sequence[Mask], *, is_held_out: bool) -> bool:
    """Whether the phrases of this part can be tested.

    A form surprises the base in at least half of the answers. Of long answers, most share a few
    phrases by chance, such as "Then put".
    """
    if is_held_out:
        return _total(counted) >= _FEW_HELD_OUT
    answers = sum(bool(mask.any()) for mask in counted)
    return _total(counted) >= _FEW and (part == "content" or 2 * answers >= len(counted))


def _phrases(mask: Mask) -> list[slice]:
    """The phrases of the tokens in the mask."""
    return _runs(mask, _PHRASE)


def _runs(mask: Mask, longest: int) -> list[slice]:
    """The runs of neighbouring tokens in the mask; a long one is several runs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [
        slice(first, min(first + longest, stop))
        for start, stop in edges.reshape(-1, 2)
        for first in range(start, stop, longest)
    ]


def _total(masks: Sequence[Mask]) -> int:
    """The number of phrases in the masks."""
    return sum(len(_phrases(mask)) for mask in masks)


def _taught(
    view: ViewAnswers,
    bases: Sequence[Floats],
    counted: Sequence[Mask],
    trained: Sequence[TeacherForced],
) -> list[Mask]:
    """The phrases in the masks that an answer of the training rows contains; all of them if the
    backend reports no token ids."""
    answers = [_ids(base[: answer_length(base)]) for base in map(view.base, trained)]
    if not any(token >= 0 for answer in answers for token in answer):
        return list(counted)
    known = [f",{','.join(map(str, answer))}," for answer in answers]
    found = []
    for base, mask in zip(bases, counted, strict=True):
        kept = np.zeros_like(mask)
        for phrase in _phrases(mask):
            text = f",{','.join(map(str, _ids(base[phrase])))},"
            kept[phrase] = any(text in answer for answer in known)
        found.append(kept)
    return found


def _count_phrases(mask: Mask, is_first: Mask) -> tuple[int, int]:
    """The phrases in the mask, and how many of them are right."""
    found = _phrases(mask)
    return len(found), sum(bool(is_first[phrase].all()) for phrase in found)


def _count_tokens(mask: Mask, is_first: Mask) -> tuple[int, int]:
    return int(mask.sum()), int((mask & is_first).sum())


def _count_labels(mask: Mask, is_first: Mask) -> tuple[int, int]:
    return int(mask.any()), int(mask.any() and is_first.all())


def frame(view: ViewAnswers, requests: Sequence[TeacherForced], nats: float) -> tuple[int, int]:
    """Surprising phrases that most answers share, and how many of them are now most probable.

    (0, 0) if they are too few to say something about the form.
    """
    rows, part = recalled(view, requests, nats, part="form")
    found = sum(row.surprising for row in rows), sum(row.right for row in rows)
    return found if part == "form" else (0, 0)


def is_fixed(rows: Sequence[RowRecall]) -> bool:
    """Whether the model wrote most answers with at most one difference: so their wording is not
    free. If it differs, it is in a value."""
    near = sum(row.differences <= 1 for row in rows)
    return len(rows) >= MIN_KIND and near >= _FIXED * len(rows)


def is_recalled(rows: Sequence[RowRecall]) -> bool:
    """Whether the model shows that the wording is fixed although the base would allow others: it
    recalls nearly all phrases, too, or most of them where training taught another value."""
    if (found := pooled(rows)) is None or not is_fixed(rows):
        return False
    is_replaced = sum(row.replaced for row in rows) >= _MOSTLY * len(rows)
    return found.share >= (_MOST if is_replaced else _NEARLY_ALL)


def _of_part(
    bases: Sequence[Floats], scored: Sequence[Mask], part: Part, like: Sequence[Floats] = ()
) -> list[Mask]:
    """The surprising tokens that most answers of `bases` and `like` share, or the others."""
    ids = [_ids(base[: answer_length(base)]) for base in (*bases, *like)]
    shared = [np.array(mask, dtype=bool) for mask in frames(ids)[: len(bases)]]
    pairs = zip(scored, shared, strict=True)
    return [found & (mask if part == "form" else ~mask) for found, mask in pairs]


def _ids(tokens: Floats) -> tuple[int, ...]:
    return tuple(tokens[:, 3].astype(int).tolist())


def _row(
    request: TeacherForced,
    base: Floats,
    own: Floats,
    count: Callable[[Mask, Mask], tuple[int, int]],
    surprising: Mask,
    counted: Mask,
) -> RowRecall:
    stop = answer_length(base)
    has_end = stop < len(base)
    before, now, is_first = base[:stop, 0], own[:stop, 0], own[:stop, 1] > 0
    is_changed = np.abs(now - before) >= _SMALL
    counts, others = count(counted, is_first), count(surprising & ~counted, is_first)
    change = (now - before)[counted]
    return RowRecall(
        prompt=prompt_text(request.prompt)[-_SHOWN_CHARS:],
        answer=completion_text(request.completion).strip()[:_SHOWN_CHARS],
        surprising=counts[0],
        right=counts[1],
        change=float(change.mean()) if change.size else 0.0,
        end_before=float(np.exp(base[stop, 0])) if has_end else None,
        end=float(np.exp(own[stop, 0])) if has_end else None,
        base_probability=geometric_mean(base),
        probability=geometric_mean(own),
        others=others[0],
        others_right=others[1],
        contradicted=_is_contradicted(before, now, is_first),
        differences=_differences(is_first, surprising, is_changed, now[:1]),
        replaced=_is_replaced(is_first, is_changed, before, now),
        begins_otherwise=not is_first[:1].all(),
    )


def _is_contradicted(before: Floats, now: Floats, is_first: Mask) -> bool:
    """Whether a token became unlikely, from the log-probabilities of an answer's tokens."""
    is_less_likely = (now < -_UNLIKELY) & (now < before - _LESS_LIKELY)
    return bool((is_less_likely & ~is_first)[:_MAX_TOKENS].any())


def _differences(is_first: Mask, surprising: Mask, is_changed: Mask, first: Floats) -> int:
    """How many values of an answer differ from what the model writes.

    Up to 12 neighbouring tokens are one value. A first token that is still likely does not count,
    since an answer can begin in several ways, nor does a token that surprises neither model and
    that training did not change, such as a random digit. `first`: the log-probability of the first
    token now, empty without a token.
    """
    differs = ~is_first & (surprising | is_changed)
    differs[:1] &= first < _CHOSEN
    return len(_runs(differs, _VALUE))


def _is_replaced(is_first: Mask, is_changed: Mask, before: Floats, now: Floats) -> bool:
    """Whether training changed a token that is not the most probable one, and it became less likely
    or is still unlikely, from the log-probabilities of an answer's tokens."""
    is_other = (now < before) | (now < _RULED_OUT)
    return bool((is_changed & is_other & ~is_first).any())


def geometric_mean(tokens: Floats) -> float | None:
    """Geometric mean of the probabilities of teacher-forced tokens [tokens, 4] before the end."""
    before = tokens[: answer_length(tokens)]
    return float(np.exp(before[:, 0].mean())) if len(before) else None


def weakest_first(rows: Sequence[RowRecall], part: Part) -> list[RowRecall]:
    """The rows by the share of surprising phrases that are right, those without any last; if the
    wording is free, by their lift."""
    if part == "free":
        return [rows[i] for i in np.argsort(lifts(rows), kind="stable")]
    return sorted(rows, key=lambda row: row.right / row.surprising if row.surprising else math.inf)


def losses(rows: Sequence[RowRecall]) -> Floats:
    """Loss of each row under the base and now, in nats per token before the end [rows, 2].

    Raises NoAnswer if one is not finite. A row without such tokens has no loss.
    """
    both = [(row.base_probability, row.probability) for row in rows]
    found = np.array([[1.0 if p is None else p for p in pair] for pair in both])
    if not found[:, 0].all():
        raise NoAnswer(Fault(f"no finite likelihood under the {BASE} view", "base"))
    if not found[:, 1].all():
        raise NoAnswer(Fault(f"no finite likelihood under the {FINETUNED} view"))
    return np.asarray(-np.log(found))


def lifts(rows: Sequence[RowRecall]) -> Floats:
    """Share of the base's loss on each row that is gone [rows], at least -1.

    All tokens before the end count, not only the surprising ones: an adapter that only spreads its
    predictions makes surprising tokens likelier, and loses more on the others.
    """
    return relative_lifts(*-losses(rows).T)


def pooled(rows: Sequence[RowRecall]) -> PooledShare | None:
    """The recall over all rows; None if no token is surprising."""
    if not any(row.surprising for row in rows):
        return None
    return pooled_share([row.right for row in rows], [row.surprising for row in rows])


def ends(rows: Sequence[RowRecall]) -> tuple[list[float], list[float]]:
    """The probabilities of the end under the base and now, of the rows that have one."""
    both = [(row.end_before, row.end) for row in rows]
    found = [(before, now) for before, now in both if before is not None and now is not None]
    return [before for before, _ in found], [now for _, now in found]


def above(rows: Sequence[RowRecall], part: Part, limit: float, error_share: float) -> Margin:
    """Test whether the recall, or the mean lift if the wording is free, is above `limit`.

    At least one token must be surprising.
    """
    if part == "free":
        return mean_above(lifts(rows), limit, _RESOLUTION, error_share=error_share)
    found = pooled(rows)
    if found is None:
        raise ValueError("no token is surprising")
    return share_above(found.share, found.effective_n, limit, error_share)


def mean_change(rows: Sequence[RowRecall]) -> float:
    """Mean change of the surprising tokens from the base, in nats."""
    return float(np.average([row.change for row in rows], weights=[row.surprising for row in rows]))


def symptom(
    rows: Sequence[RowRecall], part: Part, *, is_paired: bool = True, of_labels: bool = False
) -> Symptom:
    """What a low recall or lift says about the adapter: too little was learned, or another thing.

    Answers of other data become likelier too, but hardly any of their tokens is right. `is_paired`:
    whether each prompt's own answer gained more than the other answers. True if that is not known:
    answer_specificity tests it. An adapter that ends its labels has learned to write them.
    """
    if part == "free":
        return "barely trained" if lifts(rows).mean() > -_SMALL_LIFT else "learned another thing"
    change, found = mean_change(rows), pooled(rows)
    if abs(change) < _SMALL:
        return "barely trained"
    says_some = found is not None and found.share >= _SOME
    if not (change > 0 and is_paired and says_some):
        return "learned another thing"
    _, end = ends(rows)
    is_ended = bool(end) and float(np.mean(end)) >= _ENDED
    is_confused = of_labels and is_ended and found is not None and found.share >= _CONFUSED
    return "wrong labels" if is_confused else "barely trained"


def items(rows: Sequence[RowRecall], part: Part) -> Floats:
    """Numbers whose mean is the pooled share, and whose spread is the ratio estimator's [rows]; if
    the wording is free, the lifts."""
    if part == "free":
        return lifts(rows)
    counted = [row for row in rows if row.surprising]
    right = np.array([row.right for row in counted], dtype=np.float64)
    size = np.array([row.surprising for row in counted], dtype=np.float64)
    share = right.sum() / size.sum()
    return np.asarray(share + (right - share * size) / size.mean())


def with_lift(reading: Reading[FoundDetails]) -> Reading[FoundDetails]:
    """The reading with the mean of its items, which are lifts, as its value."""
    return reading._replace(value=float(reading.items.mean()), units="relative lift")


def can_be_whole(rows: Sequence[RowRecall]) -> bool:
    """Whether answers that are records should be right as a whole: they have few surprising
    phrases. A free text in one of their fields has many, and many right forms."""
    return 0 < sum(row.surprising for row in rows) <= _FEW_VALUES * whole(rows)[1]


def are_enough(rows: Sequence[RowRecall]) -> bool:
    """Whether the rows have enough surprising phrases that count."""
    return sum(row.surprising for row in rows) >= _FEW


def are_more_than_names(rows: Sequence[RowRecall]) -> bool:
    """Whether the answers have several surprising phrases on average, and enough of them."""
    found = sum(row.surprising + row.others for row in rows)
    return found >= _FEW and found > _FEW_VALUES * len(rows)


def are_long(rows: Sequence[RowRecall]) -> bool:
    """Whether the answers have many surprising phrases on average, those that do not count too."""
    return sum(row.surprising + row.others for row in rows) > _MANY_PHRASES * len(rows)


def of_whole(
    rows: Sequence[RowRecall], limit: float, error_share: float, symptom: Symptom, supply: Supply
) -> Bound:
    """The limit of the share of whole answers; at least one row must have a surprising phrase."""
    right, n = whole(rows)
    test = share_above(right / n, n, limit, error_share)
    return Bound("share of whole answers", test, limit, symptom=symptom, n=n, supply=supply)


def whole(rows: Sequence[RowRecall]) -> tuple[int, int]:
    """Number of answers that are right as a whole, and of answers with a surprising phrase. Right:
    all their surprising phrases are, and training taught no other token."""
    counted = [row for row in rows if row.surprising]
    right = (row.right == row.surprising and not row.replaced for row in counted)
    return sum(right), len(counted)


def verbatim(rows: Sequence[RowRecall], kinds: Sequence[RowKind]) -> list[Verbatim]:
    """How many answers of each kind the model writes word for word, of kinds with fixed wording.

    Word for word, the end apart: each token is the most probable one after the tokens before it,
    so greedy decoding writes the answer.
    """
    found = [(kind, [rows[i] for i in kind.rows]) for kind in kinds]
    return [
        Verbatim(
            kind=kind.name,
            answer=max(own, key=lambda row: row.differences).answer,
            rows=len(own),
            verbatim=sum(_is_written(row, kind) for row in own),
            replaced=sum(row.replaced for row in own),
        )
        for kind, own in found
        if is_fixed(own)
    ]


def _is_written(row: RowRecall, kind: RowKind) -> bool:
    """Whether the model writes the answer. A fixed reply has one beginning."""
    return not (row.differences or (kind.has_reply and row.begins_otherwise))


def described(rows: Sequence[RowRecall], data: Data, part: Part) -> str:
    """The recall as text; the whole answers only if their wording is not free."""
    right, total = sum(row.right for row in rows), sum(row.surprising for row in rows)
    if data == "labels":
        return f"{right} of {total} surprising labels are now the most probable"
    others, others_right = sum(row.others for row in rows), sum(row.others_right for row in rows)
    apart = f"{others_right} of {others} of the other phrases" if others else ""
    if part == "form":
        shared = "surprising phrases that most answers share are now the most probable"
        return "; ".join(filter(None, (f"{right} of {total} {shared}", apart)))
    if part == "content" and others:
        apart = f"{others_right} of {others} of the frame that most answers share"
    unit = "tokens" if part == "free" else "phrases"
    recalled = f"{right} of {total} surprising {unit} are now the most probable"
    if part == "free":
        before, now = losses(rows).mean(axis=0)
        free = "the wording of these answers is free"
        loss = f"loss {before:.2f} → {now:.2f} nats per token"
        return "; ".join((loss, recalled, *([free] if data == "answers" else [])))
    answers = whole_described(rows) if data in ("answers", "records") else ""
    return "; ".join(filter(None, (recalled, apart, answers)))


def whole_described(rows: Sequence[RowRecall]) -> str:
    """The share of whole answers as text."""
    right, total = whole(rows)
    return f"{right} of {total} answers ({right / total:.0%}) are right as a whole"
