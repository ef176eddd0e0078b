"""Recall of answers under teacher forcing: surprising tokens that are now the most probable."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.details import RowRecall
from sway_gate.measurements import Floats, TeacherForced, ViewAnswers
from sway_gate.probes._answers import chars_of
from sway_gate.probes._frame import frames
from sway_gate.probes.base import DataRow
from sway_gate.results import Symptom
from sway_gate.stats import Margin, PooledShare, pooled_share, share_above
from sway_gate.training_data.collected import thinned

Data = Literal["answers", "labels", "prose"]
Mask = NDArray[np.bool_]

MAX_ROWS = 40
_MAX_CHARS = 40_000  # about 10,000 tokens
_SHOWN_CHARS = 200
# Nats: surprising tokens change less if training was much too short.
_SMALL = 0.5
# Measured: adapters of other data recall .01 to .09, those that were trained too little .37 to .60.
_SOME = 0.2


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
    without_frame: bool = False,
) -> list[RowRecall]:
    """The recall of each row; tokens from the end of the answer on do not count.

    A label counts as one token, and only as a whole: "P1" and "P2" begin with the same token.
    `without_frame`: surprising tokens that most answers share are counted apart.
    """
    bases = [view.base(request) for request in requests]
    masks = _frames(bases, nats) if without_frame and not of_labels else [None] * len(bases)
    return [
        _row(request, base, view.get(request), nats, of_labels, mask)
        for request, base, mask in zip(requests, bases, masks, strict=True)
    ]


def _frames(bases: Sequence[Floats], nats: float) -> Sequence[Mask | None]:
    """The tokens of the frame; none if nothing else surprises the base: the frame was to learn."""
    scored = [base[: _length(base)] for base in bases]
    found = [np.array(mask, dtype=bool) for mask in frames([_ids(tokens) for tokens in scored])]
    is_content = ((t[:, 0] < -nats) & ~mask for t, mask in zip(scored, found, strict=True))
    return found if any(mask.any() for mask in is_content) else [None] * len(bases)


def _ids(tokens: Floats) -> tuple[int, ...]:
    return tuple(tokens[:, 3].astype(int).tolist())


def _length(tokens: Floats) -> int:
    """Number of tokens before the end of the answer."""
    ends = np.flatnonzero(tokens[:, 2])
    return int(ends[0]) if ends.size else len(tokens)


def _row(
    request: TeacherForced,
    base: Floats,
    own: Floats,
    nats: float,
    is_label: bool,
    frame: Mask | None = None,
) -> RowRecall:
    stop = _length(base)
    has_end = stop < len(base)
    surprising, is_first = base[:stop, 0] < -nats, own[:stop, 1] > 0
    shared = surprising & (False if frame is None else frame)
    surprising = surprising & ~shared
    counts = int(surprising.sum()), int((surprising & is_first).sum())
    if is_label:
        counts = int(surprising.any()), int(surprising.any() and is_first.all())
    change = (own[:stop, 0] - base[:stop, 0])[surprising]
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
        frame=int(shared.sum()),
        frame_right=int((shared & is_first).sum()),
    )


def geometric_mean(tokens: Floats) -> float | None:
    """Geometric mean of the probabilities of teacher-forced tokens [tokens, 4] before the end."""
    before = tokens[: _length(tokens)]
    return float(np.exp(before[:, 0].mean())) if len(before) else None


def weakest_first(rows: Sequence[RowRecall]) -> list[RowRecall]:
    """The rows by the share of surprising tokens that are right; rows without any last."""
    return sorted(rows, key=lambda row: row.right / row.surprising if row.surprising else math.inf)


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


def above(rows: Sequence[RowRecall], limit: float, error_share: float) -> Margin:
    """Test whether the recall is above `limit`; at least one token must be surprising."""
    found = pooled(rows)
    if found is None:
        raise ValueError("no token is surprising")
    return share_above(found.share, found.effective_n, limit, error_share)


def mean_change(rows: Sequence[RowRecall]) -> float:
    """Mean change of the surprising tokens from the base, in nats."""
    return float(np.average([row.change for row in rows], weights=[row.surprising for row in rows]))


def symptom(
    rows: Sequence[RowRecall], *, is_paired: bool = True, is_prose: bool = False
) -> Symptom:
    """What a low recall says about the adapter: too little was learned, or another thing.

    Answers of other data become likelier too, but hardly any of their tokens is right; of prose,
    few tokens are right in any case. `is_paired`: whether each prompt's own answer gained more than
    the other answers. True if that is not known: answer_specificity tests it.
    """
    change, found = mean_change(rows), pooled(rows)
    if abs(change) < _SMALL:
        return "barely trained"
    says_some = is_prose or (found is not None and found.share >= _SOME)
    return "barely trained" if change > 0 and is_paired and says_some else "learned another thing"


def items(rows: Sequence[RowRecall]) -> Floats:
    """Numbers whose mean is the pooled share, and whose spread is the ratio estimator's [rows]."""
    counted = [row for row in rows if row.surprising]
    right = np.array([row.right for row in counted], dtype=np.float64)
    size = np.array([row.surprising for row in counted], dtype=np.float64)
    share = right.sum() / size.sum()
    return np.asarray(share + (right - share * size) / size.mean())


def whole(rows: Sequence[RowRecall]) -> tuple[int, int]:
    """Number of answers whose surprising tokens are all right, and of answers with such tokens."""
    counted = [row for row in rows if row.surprising]
    return sum(row.right == row.surprising for row in counted), len(counted)


def described(rows: Sequence[RowRecall], data: Data) -> str:
    """The recall as text. Of prose, which has many continuations, without the whole answers."""
    right, tokens = sum(row.right for row in rows), sum(row.surprising for row in rows)
    if data == "labels":
        return f"{right} of {tokens} surprising labels are now the most probable"
    frame, frame_right = sum(row.frame for row in rows), sum(row.frame_right for row in rows)
    parts = (
        f"{right} of {tokens} surprising tokens are now the most probable",
        f"{frame_right} of {frame} of the frame that most answers share" if frame else "",
        whole_described(rows) if data == "answers" else "",
    )
    return "; ".join(filter(None, parts))


def whole_described(rows: Sequence[RowRecall]) -> str:
    """The share of whole answers as text."""
    right, total = whole(rows)
    return f"{right} of {total} answers ({right / total:.0%}) are right as a whole"
