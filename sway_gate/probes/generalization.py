"""Does the adapter know what it learned on rows that training did not see?

The measures of answer_recall and answer_specificity on the rows of `held_out:`, such as other
questions about the same facts:

    recall       = share of surprising phrases that are now the most probable
    content gain = mean lift of own answers - mean lift of other answers
    gap          = recall on the training rows - recall on the held-out rows

A token surprises the base if its log-probability there is below -`surprise_nats`; neighbouring ones
are one phrase, and so is a label. Which phrases count depends on what training was meant to teach
(see answer_recall). Statistic: the recall. If no held-out token surprises the base, as with labels
that the prompt lists, it is the content gain.

- the recall must reach `assert_recall_gte`. If all training rows are read (up to 40), only phrases
  that one of their answers contains count: no training teaches other names or another wording. If
  some do not count and fewer than 7 remain, as with other questions in the style of a persona, or
  if training was meant to teach a form and the held-out answers share fewer than 4 phrases with
  most training answers, the wording is free: the lift must reach `assert_lift_gte` instead (see
  answer_recall)
- the wording of long answers, with more than 10 surprising phrases on average, is free, too: their
  lift and their content gain are judged
- records (see answer_recall): the share of whole answers must reach `assert_recall_gte`, too
- raw prose: the lift must reach `assert_prose_lift_gte`. The limit is low, because other text has
  other content: it requires only that text of this kind became likelier. For what the text says,
  give questions about it as held-out rows
- the content gain must reach `assert_content_gain_gte`, of labels `assert_label_gain_gte` (in
  nats), unless training was meant to teach the form of the answers. Rows whose answers the base
  already writes do not count. If the other answers keep less than 20% of their loss, the limit is
  smaller in proportion (see answer_specificity)
- each limit is compared with its one-sided 95% bound over rows: inside passes, an interval that is
  wholly outside fails, otherwise the result is inconclusive (WARN). z is the distance to the limit
  in standard errors; null adapters are not used
- the gap and its 95% interval (Newcombe 1998, method 10) are reported. If the training rows reach
  the limit and the held-out rows do not, the adapter memorised and did not generalise

A held-out row repeats a training row if both question and answer have at least `max_overlap` of
their word trigrams in common with the same training row; a prefix such as "Please:" does not make a
new question. Prose repeats the training text if it has as many of its trigrams. Such rows are left
out, and the report states their number. A known answer to
another question counts: it is a paraphrase. Only the loaded training rows are compared, at most 48
per file.

Measured on a base of 135M parameters: learned well .81 to .88, learned in part .63; facts that are
partly invented .29 to .41; dealt to the wrong questions .04 to .17; another document 0 to .07. Lift
of held-out prose: learned .09 to .10, other prose .05, a few training steps .003, other data -.08.

- rows: up to 40 of `held_out:`, 12 of them with other answers, of labels up to 48, and of large
  data up to four times as many if these leave it open
- skipped without held-out rows, with fewer than 4 after the repeated ones are left out, for
  preferences, and for raw prose if the training rows are answers
- cost: about 50 answers with their prompts in addition to the held-out and training rows,
  about 7,000 tokens per model for short rows, at most about 20,000
- passes: held-out rows: 54 of 57 surprising phrases are now the most probable
- fails: held-out rows: 17 of 60 surprising phrases, training rows 97%: memorised

In a suite, with `held_out: questions.jsonl` at the top level of the spec:

    - name: generalizes
      kind: generalization
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import are_records
from sway_gate.details import Details, RowRecall
from sway_gate.measurements import TeacherForced, ViewAnswers
from sway_gate.probes import _answers as answers
from sway_gate.probes import _overlap as overlap
from sway_gate.probes import _recall as recall
from sway_gate.probes import _wanted as wanted
from sway_gate.probes.base import Bound, Context, DataRow, Kind, Need, Reading, Skip, Supply
from sway_gate.results import Symptom
from sway_gate.spec.probes import Generalization
from sway_gate.spec.schema import Reserve
from sway_gate.stats import Z_95, mean_above, share_difference
from sway_gate.text import signed

KIND = Kind(
    category="attribution",
    units="share",
    resolution=1e-3,
    better="more",
    of_held_out=True,
    stands_alone=True,
    uses_nulls=False,
)

_MATRIX_ROWS = 12


class Requests(NamedTuple):
    """`design`: None if the held-out rows have too few different answers. `deciding`: the
    training rows, which decide what is judged. `is_prose`: of the held-out rows.
    `reads_all`: whether `training` has all rows of the data. `are_records`: whether the held-out
    answers are JSON or tool calls."""

    unseen: overlap.Unseen
    held_out: list[TeacherForced]
    training: list[TeacherForced]
    design: answers.Design | None
    deciding: wanted.Evidence | None
    is_prose: bool = False
    reads_all: bool = False
    are_records: bool = False


class Matrix(NamedTuple):
    content: list[float]
    other: float
    first_before: int
    first: int


class Found(Details, frozen=True, kw_only=True):
    """`rows`: weakest first. `content`: the content gain of each row of the matrix;
    `lift_of_others`: the mean relative lift of their other answers.
    `training_lift`: mean relative lift of the training rows if the wording is free. The gap is
    one of recalls, and None without surprising tokens in either part."""

    held_out_rows: int
    repeated: int
    training_recall: float | None
    training_lift: float | None = None
    gap: float | None
    gap_ci_95: tuple[float, float] | None
    judged: wanted.Learned
    data: recall.Data = "answers"
    part: wanted.Part = "all"
    labels: list[str]
    content: list[float]
    lift_of_others: float = 0.0
    first_before: int
    first: int
    rows: list[RowRecall]


def requests(spec: Generalization, context: Context) -> Requests:
    if not context.held_out:
        raise Skip("no held-out rows; add `held_out:` to the spec")
    training = answers.data_rows(context, context.sections)
    unseen, *more = (
        overlap.unseen(sample, context.sections, spec.max_overlap)
        for sample in (context.held_out, *context.held_out_reserve.samples)
    )
    found = answers.data_rows(context, unseen.sections) if unseen.sections else None
    if found is None or len(found.rows) < answers.MIN_ROWS:
        raise Skip(_too_few(unseen))
    others = Reserve(samples=tuple(sample.sections for sample in more))
    further = answers.further_rows(context, found, others)
    is_prose = found.kind == "prose"
    known = recall.requests(training.rows)
    is_whole = context.reserve.rows <= len(context.sections)
    if is_prose and training.kind != "prose":
        raise Skip("the held-out rows are prose and the training rows are not; give such rows")
    return Requests(
        overlap.total([unseen, *more]),
        recall.requests(found.rows, *further),
        known,
        None if is_prose else _design(found.rows, further, training.rows),
        wanted.deciding(context, training),
        is_prose,
        reads_all=is_whole and len(known) == len(training.rows),
        are_records=found.kind == "answers" and are_records([row.answer for row in found.rows]),
    )


def reserve(context: Context) -> Reserve:
    return context.held_out_reserve


def rows(requests: Requests) -> int:
    return len(requests.held_out)


def needs(spec: Generalization, requests: Requests) -> list[Need]:
    matrix: list[Need] = []
    if requests.design:
        own = answers.own_answers(requests.design)
        matrix = [*map(Need, answers.cells(requests.design)), *wanted.of_base(own)]
    rows = [Need(request) for request in requests.held_out + requests.training]
    deciding = requests.deciding.needs if requests.deciding else []
    return [*rows, *matrix, *deciding]


def value(
    spec: Generalization, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    of_labels = bool(requests.design and requests.design.labels)
    part_wanted = wanted.judged_part(context, requests.deciding, view)
    measured = partial(recall.recalled, view, nats=spec.surprise_nats, of_labels=of_labels)
    counted: wanted.Part = "free" if requests.is_prose else part_wanted
    training, found_part = measured(requests.training, part=counted)
    is_form = part_wanted == "form"
    rows, part = measured(
        requests.held_out,
        part=found_part if is_form else counted,
        trained=requests.training if requests.reads_all else (),
        # The training rows show the form: of a few held-out answers, chance would decide.
        like=requests.training if is_form else (),
    )
    if part in ("all", "content") and not of_labels and recall.are_long(rows):
        rows, part = measured(requests.held_out, part="free")
    matrix = _matrix(requests.design, view)
    share, known = recall.pooled(rows), recall.pooled(training)
    gap = share_difference(known, share) if known and share else None
    found = Found(
        held_out_rows=requests.unseen.rows,
        repeated=requests.unseen.repeated,
        training_recall=known.share if known else None,
        training_lift=float(recall.lifts(training).mean()) if part == "free" else None,
        gap=known.share - share.share if known and share else None,
        gap_ci_95=gap,
        judged="form" if is_form else "content",
        data=_data(requests, part, of_labels=of_labels, is_form=is_form),
        part=part,
        labels=list(requests.design.labels) if requests.design else [],
        content=matrix.content if matrix else [],
        lift_of_others=matrix.other if matrix else 0.0,
        first_before=matrix.first_before if matrix else 0,
        first=matrix.first if matrix else 0,
        rows=recall.weakest_first(rows, part),
    )
    reserve = context.held_out_reserve
    if share:
        reading = Reading(share.share, recall.items(rows, part), found, reserve=reserve)
        return recall.with_lift(reading) if part == "free" else reading
    if not matrix:
        raise Skip("the base already knows the held-out answers: no token surprises it")
    items = np.array(matrix.content)
    return Reading(float(items.mean()), items, found, units=_units(found), reserve=reserve)


def bounds(spec: Generalization, reading: Reading[Found]) -> list[Bound]:
    found = reading.details
    symptom = _symptom(spec, found)
    tests = []
    if any(row.surprising for row in found.rows):
        least = _limit(spec, found)
        test = recall.above(found.rows, found.part, least, reading.error_share)
        supply = Supply.growing(recall.MAX_ROWS, reading.reserve)
        quantity = "held-out lift" if found.part == "free" else "held-out recall"
        tests.append(Bound(quantity, test, least, symptom=symptom, supply=supply))
        if found.data == "records" and recall.can_be_whole(found.rows):
            share = reading.error_share
            tests.append(recall.of_whole(found.rows, least, share, symptom, supply))
    if found.content and (found.judged == "content" or not tests):
        limit = _content_limit(spec, found)
        rows = answers.MAX_LABEL_ROWS if found.labels else _MATRIX_ROWS
        share = reading.error_share
        gain = mean_above(found.content, limit, KIND.resolution, error_share=share)
        if mean_above(found.content, 0.0, KIND.resolution).z < -Z_95:
            symptom = "learned another thing"
        tests.append(
            Bound(
                "held-out content gain",
                gain,
                limit,
                symptom=symptom,
                n=len(found.content),
                supply=Supply.growing(rows, reading.reserve),
            )
        )
    return tests


def summary(spec: Generalization, reading: Reading[Found]) -> str:
    found = reading.details
    parts = []
    if any(row.surprising for row in found.rows):
        parts.append(f"held-out rows: {recall.described(found.rows, found.data, found.part)}")
    if found.training_lift is not None:
        parts.append(f"lift of the training rows {found.training_lift:.2f}")
    elif found.gap is not None and found.gap_ci_95 is not None:
        low, high = found.gap_ci_95
        parts.append(
            f"training rows {found.training_recall:.0%}, gap {signed(found.gap, 2)} "
            f"[{signed(low, 2)}, {signed(high, 2)}]"
        )
    if found.content:
        parts.append(
            f"own answer first on {found.first} of {len(found.content)} held-out rows, "
            f"base {found.first_before}"
        )
    if found.repeated:
        parts.append(f"left out: {_repeated(found.repeated, found.held_out_rows)}")
    return "; ".join(parts)


def _data(requests: Requests, part: wanted.Part, *, of_labels: bool, is_form: bool) -> recall.Data:
    if of_labels or requests.is_prose:
        return "labels" if of_labels else "prose"
    has_values = requests.are_records and not is_form and part in ("all", "content")
    return "records" if has_values else "answers"


def _limit(spec: Generalization, found: Found) -> float:
    if found.data == "prose":
        return spec.assert_prose_lift_gte
    return spec.assert_lift_gte if found.part == "free" else spec.assert_recall_gte


def _content_limit(spec: Generalization, found: Found) -> float:
    if found.labels:
        return spec.assert_label_gain_gte
    return answers.least_gain(spec.assert_content_gain_gte, found.lift_of_others)


def _units(found: Found) -> str:
    return "nats/label" if found.labels else "relative lift"


def _too_few(unseen: overlap.Unseen) -> str:
    needed = f"at least {answers.MIN_ROWS} rows that training did not see are needed"
    if unseen.repeated:
        return f"{_repeated(unseen.repeated, unseen.rows)}; {needed}"
    return f"{unseen.rows} held-out rows; {needed}"


def _repeated(repeated: int, rows: int) -> str:
    return f"{repeated} of {rows} held-out rows repeat training rows"


def _design(
    rows: list[DataRow], further: list[list[DataRow]], training: list[DataRow]
) -> answers.Design | None:
    try:
        return answers.design(rows, _MATRIX_ROWS, further, training)
    except Skip:
        return None


def _matrix(design: answers.Design | None, view: ViewAnswers) -> Matrix | None:
    if design is None:
        return None
    gains = answers.gains(design, view)
    if not design.labels:
        own = [view.base(request) for request in answers.own_answers(design)]
        are_new = ~answers.are_written(own)
        if np.count_nonzero(are_new) < answers.MIN_ROWS:
            return None
        gains = answers.of_rows(gains, are_new)
    return Matrix(
        gains.content.tolist(),
        float(gains.other.mean()),
        int(gains.first_before.sum()),
        int(gains.first.sum()),
    )


def _symptom(spec: Generalization, found: Found) -> Symptom:
    """What a result below the limit means: it depends on the training rows."""
    known = found.training_lift if found.part == "free" else found.training_recall
    if known is None or known >= _limit(spec, found):
        return "memorised, not generalised"
    if not any(row.surprising for row in found.rows):
        return "learned another thing"
    is_paired = not found.content or mean_above(found.content, 0.0, KIND.resolution).z > Z_95
    of_labels = bool(found.labels)
    return recall.symptom(found.rows, found.part, is_paired=is_paired, of_labels=of_labels)
