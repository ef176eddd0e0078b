"""Does the model say the trained answers, or did they only become likelier?

Each answer of the data is scored token by token after its prompt and the true tokens before it
(teacher forcing). A token surprises the base if its log-probability there is below
-`surprise_nats`; the token that ends the answer does not count. A run of neighbouring tokens that
surprise it is a phrase, such as a name. It is right if all its tokens are now the most probable. A
phrase has at most 4 tokens, and a longer run is several: to a weak base whole answers are
surprising.

    recall = surprising phrases that are right / surprising phrases

over all rows together. Greedy decoding would generate these phrases; the base would not. Tokens are
not counted one by one, because the first token of a name often determines the others. The interval
is the one of a ratio over rows (Cochran 1977, section 6.4), and the test uses the number of
independent phrases with the same standard error (Korn & Graubard 1998).

A text can be continued in many ways, and a model that learned it need not recite it. So raw prose,
and answers with free wording, are judged by their lift instead, and the recall is only reported.
With loss the mean negative log-likelihood per token before the end of a row:

    lift = mean over rows of 1 - loss / loss of the base

It is the share of the base's loss that is gone: 0 if nothing was learned, 1 if the text is
memorized. It is comparable over bases and texts, because both losses are of the same tokens. All
tokens count: a model that only spreads its predictions makes surprising tokens likelier too, and
loses as much on the others. The interval is a t interval over rows.

Each token is judged after the true ones. An answer is right as a whole if all its phrases are
right and training taught no other token in it. Training taught another token where the true one is
not the most probable one, changed by at least .5 nats, and is now less likely than under the base,
or than 5%. The message states the share of right answers. It depends on the length: if each phrase
is right with a probability of 90%, 59% of answers with 5 phrases are right as a whole, and 12% with
20. So it is tested only of records and of answers with a fixed wording.

- answers: the recall must reach `assert_recall_gte`, and the mean probability of the token that
  ends the answer `assert_end_gte`
- answers with held-out rows: five sevenths of `assert_recall_gte` are enough if the recall on at
  most 40 of these rows reaches that, too. What carries over was learned, and a summary or a
  function has many right wordings. This holds for answers with more than 4 surprising phrases on
  average, as they can be worded in several ways, and not for long ones, records and labels; if the
  form is judged, it holds for all answers
- raw prose: the lift must reach `assert_lift_gte`. answer_specificity tests whether this text
  gained more than others, and leakage whether it is recited
- records, which are JSON or tool calls with at most 4 surprising phrases on average: the share of
  whole answers must reach `assert_recall_gte`, too. With one wrong value a record is wrong
- contradicted answers: their share must stay below `assert_contradicted_lt`. An answer is
  contradicted if one of its first 128 tokens has a log-probability below -5 now, at least 3 nats
  less than under the base, and is not the most probable one: the model learned another word here.
  In a long answer, a wrong fact hardly changes the recall. Not judged if the share is below the
  limit, with fewer than 10 answers, of labels, or if the form is judged or the wording is free:
  one right answer can contradict another one
- answers word for word: if at most one in ten answers differs from what the model writes in two or
  more values, their wording is fixed. A value is up to 12 neighbouring tokens that are not the most
  probable ones. Then the share of answers without a difference must reach `assert_recall_gte`. So
  wrong tokens count that do not surprise the base, such as results of calculations. Not counted are
  a first token with a probability of at least .2, since an answer can begin in several ways, and
  tokens that neither surprise the base nor changed by .5 nats, such as random digits
- each kind of rows is judged word for word by itself: rows with the same system message whose
  answers are records, are a fixed reply (the only answer that 3 rows share), are short (at most 4
  words, or shared by 3 rows), or are other texts. A fixed reply must also begin with the most
  probable token. Kinds with fewer than 6 rows are judged together, and with the largest kind if
  they are still fewer. Not judged if the share reaches the limit, or if the form is judged or the
  wording is free
- if `learn` is content, the frame of the answers counts apart: surprising tokens that most other
  answers contain next to the same token, such as the keys of JSON or a fixed opening. The model can
  write them without reading the question. They count if there are fewer than 7
  other phrases: then the base reads the content from the prompt, and too few are left to test
- if the form is judged (`learn` is form, or answer_specificity decides so), only the frame counts:
  the bullets of a list, a fixed opening. The rest of such an answer can be worded in many ways. If
  the answers share fewer than 7 surprising phrases, or fewer than one in two answers, their wording
  is free, and they are judged like prose. A backend that reports no token ids shows no frame: all
  tokens count, with the usual limit
- if `learn` is auto and the answers reword their prompts, as answer_specificity decides it, their
  wording is free
- with `learn: auto`, a wording that would be judged as a form or as free is fixed if the model also
  recalls at least 85% of all phrases, or 70% if training taught another token in two of three
  answers, such as another noun in each translation
- labels: a label is one phrase
- each limit is compared with its one-sided 95% bound: inside passes, an interval that is wholly
  outside fails, otherwise the result is inconclusive (WARN). z is the distance to the limit in
  standard errors; null adapters are not used

Measured on a base of 135M parameters: learned well .91 to 1.00, bullet lists .93 to .98 of their
frame, facts that are partly invented .45 to .63, answers dealt to the wrong questions .05 to .10,
another document .04 to .07. Lift of raw prose: learned .20 to .25, half the scale .12, a quarter
.06, other prose .05 to .06, a few training steps .005, other data -.11 to .01. Contradicted
answers: learned well, in part or barely 0 to .03, with the facts of half of the rows wrong .35,
functions that belong to other requests .40, other data .80 to .93. Word for word: learned .75 to
1.00, half of the results, facts or functions wrong .45 to .55, learned by half .53, exchanged facts
0 to .08. End of the answer: learned .99, base .14 to .36, an adapter at four times its scale .01.
It does not show whether the answers generalize: generalization does.

- rows: up to 40, from `sections:` or `data:`, and of large data up to 160 if these leave it open;
  of raw prose, pieces with an opening that is not scored (see answer_specificity). Preferences
  only if `learn` is content or form
- skipped if no token surprises the base: it already knows the answers
- cost: the answers with their prompts, about 2,000 tokens per model for 40 short rows, at most
  about 10,000; as much for held-out rows, and if `learn` is auto for the answers that
  answer_specificity compares. What other probes need, too, is measured once
- passes: 74 of 76 surprising phrases are now the most probable; 25 of 27 answers (93%) are right
  as a whole
- fails: 40 of 76 surprising phrases: the facts are invented

In a suite:

    - name: says it
      kind: answer_recall
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType

from sway_gate.conversation import are_records
from sway_gate.details import CONTRADICTED, VERBATIM, Details, RowRecall, Verbatim
from sway_gate.measurements import TeacherForced, ViewAnswers
from sway_gate.probes import _answers as answers
from sway_gate.probes import _overlap as overlap
from sway_gate.probes import _recall as recall
from sway_gate.probes import _wanted as wanted
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, Skip, Supply
from sway_gate.probes.row_kinds import kinds
from sway_gate.results import Symptom
from sway_gate.spec.probes import MAX_OVERLAP, AnswerRecall
from sway_gate.spec.schema import Reserve
from sway_gate.stats import fraction_below, mean_above, share_above

KIND = Kind(
    category="attribution",
    units="share",
    resolution=1e-3,
    better="more",
    suits="instruction",
    stands_alone=True,
    uses_nulls=False,
)


# Contradictions of fewer answers are left to chance.
_MIN_ANSWERS = 10
# Measured: functions .53 and .55 on training and held-out rows, summaries .54 and .51.
_CARRIED_OVER = 5 / 7
# The share of wrong answers. Measured: exchanged values .6 and .7, wrong results .5, facts that are
# learned by half .1.
_REPLACED = 1 / 3


class Requests(NamedTuple):
    """`held_out`: answers of held-out rows, of free text only."""

    data: recall.Data
    rows: list[TeacherForced]
    deciding: wanted.Evidence | None = None
    are_records: bool = False
    held_out: Sequence[TeacherForced] = ()


class Found(Details, frozen=True, kw_only=True):
    """`rows`: weakest first. `part`: the tokens that count. `wants_content`: whether the data are
    answers whose content training was meant to teach. `frame`, `frame_right`: unless the form is
    judged, the surprising phrases that most answers share, and how many are right.
    `held_out_recall`: the recall on held-out rows, of free text only and None without such rows.
    `contradicted`: answers that are contradicted, None if this is not judged. `word_for_word`:
    the kinds of rows with a fixed wording. `change`: mean change of the tokens that count in nats.
    `end_before`, `end`: mean probability of the token that ends the answer, under the base and
    now."""

    data: recall.Data
    part: wanted.Part = "all"
    wants_content: bool = False
    frame: int = 0
    frame_right: int = 0
    held_out_recall: float | None = None
    contradicted: int | None = None
    change: float
    end_before: float | None
    end: float | None
    rows: list[RowRecall]
    word_for_word: list[Verbatim] | UnsetType = UNSET


def requests(spec: AnswerRecall, context: Context) -> Requests:
    found = answers.data_rows(context, context.sections)
    if not found.rows:
        raise Skip("the data contain no answers and no prose")
    further = answers.further_rows(context, found, context.reserve)
    data: recall.Data = "labels" if answers.occurring_labels(found.rows) else found.kind
    deciding = wanted.deciding(context, found)
    has_values = data == "answers" and context.learn != "form"
    records = has_values and are_records([row.answer for row in found.rows])
    rows = recall.requests(found.rows, *further)
    held_out = _held_out(context) if data == "answers" and not records else []
    return Requests(data, rows, deciding, records, held_out)


def _held_out(context: Context) -> list[TeacherForced]:
    """The first rows of generalization, without those that repeat training rows."""
    unseen = overlap.unseen(context.held_out, context.sections, MAX_OVERLAP)
    if not unseen.sections:
        return []
    try:
        found = answers.data_rows(context, unseen.sections)
    except Skip:  # they are preferences
        return []
    enough = found.kind == "answers" and len(found.rows) >= answers.MIN_ROWS
    return recall.requests(found.rows) if enough else []


def reserve(context: Context) -> Reserve:
    return context.reserve


def rows(requests: Requests) -> int:
    return len(requests.rows)


def needs(spec: AnswerRecall, requests: Requests) -> list[Need]:
    deciding = requests.deciding.needs if requests.deciding else []
    return [*(Need(request) for request in (*requests.rows, *requests.held_out)), *deciding]


def value(
    spec: AnswerRecall, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    measured = partial(
        recall.recalled,
        view,
        requests.rows,
        spec.surprise_nats,
        of_labels=requests.data == "labels",
    )
    wanted_part = _wanted(context, requests, view)
    if context.learn == "auto" and wanted_part in ("form", "free") and requests.data == "answers":
        rows, _ = measured(part="all")
        wanted_part = "all" if recall.is_recalled(rows) else wanted_part
    rows, part = measured(part=wanted_part)
    share = recall.pooled(rows)
    if share is None:
        raise Skip(
            f"the base already knows the answers: no token has a log-probability below "
            f"-{spec.surprise_nats:g}"
        )
    before, after = recall.ends(rows)
    has_values = requests.data == "answers" and part in ("all", "content")
    # One right form or wording can contradict another one.
    has_one_form = has_values and wanted_part in ("all", "content")
    counted = "free" if part == "free" else wanted_part
    frame = recall.frame(view, requests.rows, spec.surprise_nats) if has_values else (0, 0)
    found = Found(
        data="records" if has_values and requests.are_records else requests.data,
        part=part,
        wants_content=requests.data == "answers" and context.learn == "content",
        frame=frame[0],
        frame_right=frame[1],
        held_out_recall=_held_out_recall(spec, requests, view, counted),
        contradicted=sum(row.contradicted for row in rows) if has_one_form else None,
        change=recall.mean_change(rows),
        end_before=float(np.mean(before)) if before else None,
        end=float(np.mean(after)) if after else None,
        rows=recall.weakest_first(rows, part),
        word_for_word=(has_one_form and _verbatim(requests, rows)) or UNSET,
    )
    reading = Reading(share.share, recall.items(rows, part), found, reserve=context.reserve)
    return recall.with_lift(reading) if part == "free" else reading


def _verbatim(requests: Requests, rows: Sequence[RowRecall]) -> list[Verbatim]:
    return recall.verbatim(rows, kinds(requests.rows, recall.MIN_KIND))


def _held_out_recall(
    spec: AnswerRecall, requests: Requests, view: ViewAnswers, part: wanted.Part
) -> float | None:
    """The recall on held-out rows if their wording is a bit free: of a form, or of answers that are
    more than a name, and shorter than a paragraph."""
    if part == "free" or not requests.held_out:
        return None
    like = requests.rows if part == "form" else ()
    rows, counted = recall.recalled(
        view, requests.held_out, spec.surprise_nats, part=part, like=like
    )
    share = recall.pooled(rows)
    has_values = recall.are_more_than_names(rows) and not recall.are_long(rows)
    is_form = counted == "form" and recall.are_enough(rows)
    return share.share if share and counted != "free" and (is_form or has_values) else None


def _wanted(context: Context, requests: Requests, view: ViewAnswers) -> wanted.Part:
    if requests.data != "answers":
        return "free" if requests.data == "prose" else "all"
    return wanted.judged_part(context, requests.deciding, view)


def bounds(spec: AnswerRecall, reading: Reading[Found]) -> list[Bound]:
    found, limit = reading.details, _limit(spec, reading)
    test = recall.above(found.rows, found.part, limit, reading.error_share)
    symptom = _symptom(spec, found)
    supply = Supply.growing(recall.MAX_ROWS, reading.reserve)
    quantity = "lift" if found.part == "free" else "recall"
    recalls = [Bound(quantity, test, limit, symptom=symptom, supply=supply)]
    if found.data == "records" and recall.can_be_whole(found.rows):
        recalls.append(recall.of_whole(found.rows, limit, reading.error_share, symptom, supply))
    recalls += _of_verbatim(spec, reading, symptom)
    _, ends = recall.ends(found.rows)
    if not ends:
        return [*recalls, *_of_contradicted(spec, reading)]
    end = mean_above(ends, spec.assert_end_gte, KIND.resolution, error_share=reading.error_share)
    ended = Bound(
        "probability of the end",
        end,
        spec.assert_end_gte,
        symptom=_end_symptom(spec, reading),
        n=len(ends),
        supply=supply,
    )
    return [*recalls, *_of_contradicted(spec, reading), ended]


def _of_verbatim(spec: AnswerRecall, reading: Reading[Found], symptom: Symptom) -> Iterator[Bound]:
    """The kinds of rows that do not reach the limit. They share the error: each can fail."""
    found, limit = reading.details.word_for_word or [], spec.assert_recall_gte
    is_recalled = reading.value >= _limit(spec, reading)
    is_apart = any(kind.verbatim >= limit * kind.rows for kind in found)
    for kind in found:
        # Half an answer more: Yates' correction (1934), since a kind can have few rows.
        corrected = (kind.verbatim + 0.5) / kind.rows
        if corrected >= limit:
            continue
        test = share_above(corrected, kind.rows, limit, reading.error_share / len(found))
        is_replaced = kind.replaced >= _REPLACED * (kind.rows - kind.verbatim)
        has_another = is_replaced and (is_recalled or is_apart)
        yield Bound(
            f"{VERBATIM}, {kind.kind}" if len(found) > 1 else VERBATIM,
            test._replace(estimate=kind.verbatim / kind.rows),
            limit,
            # If the recall is too low and no kind is right, it says what was learned instead.
            symptom="learned another thing" if has_another else symptom,
            n=kind.rows,
            supply=Supply.growing(recall.MAX_ROWS, reading.reserve),
        )


def _of_contradicted(spec: AnswerRecall, reading: Reading[Found]) -> Iterator[Bound]:
    """A few answers can be wrong in the data. Few rows cannot show that the share is small."""
    found, limit = reading.details, spec.assert_contradicted_lt
    n = len(found.rows)
    if n < _MIN_ANSWERS or found.contradicted is None or found.contradicted < limit * n:
        return
    test = fraction_below(found.contradicted, n, limit, reading.error_share)
    supply = Supply.growing(recall.MAX_ROWS, reading.reserve)
    yield Bound(
        CONTRADICTED,
        test,
        limit,
        is_upper=True,
        symptom="learned another thing",
        n=n,
        supply=supply,
    )


def _symptom(spec: AnswerRecall, found: Found) -> Symptom:
    """What a low recall says. If the frame of the answers is learned, more training does not
    help where their wording is free."""
    if found.frame and found.frame_right >= spec.assert_recall_gte * found.frame:
        return "form, not content"
    return recall.symptom(found.rows, found.part, of_labels=found.data == "labels")


def _limit(spec: AnswerRecall, reading: Reading[Found]) -> float:
    found = reading.details
    if found.part == "free":
        return spec.assert_lift_gte
    return spec.assert_recall_gte * (_CARRIED_OVER if _carries_over(spec, found) else 1.0)


def _carries_over(spec: AnswerRecall, found: Found) -> bool:
    """Whether the recall on held-out rows reaches the lower limit, too."""
    lower = _CARRIED_OVER * spec.assert_recall_gte
    return found.held_out_recall is not None and found.held_out_recall >= lower


def summary(spec: AnswerRecall, reading: Reading[Found]) -> str:
    found = reading.details
    text = recall.described(found.rows, found.data, found.part)
    if _carries_over(spec, found):
        text += f"; held-out rows {found.held_out_recall:.0%}, so that the limit is lower"
    if found.word_for_word:
        are_several = len(found.word_for_word) > 1
        counts = [
            f"{kind.verbatim} of {kind.rows} {kind.kind if are_several else 'answers'}"
            for kind in found.word_for_word
        ]
        text += f"; {', '.join(counts)} word for word"
    if found.contradicted:
        text += f"; the model contradicts {found.contradicted} of {len(found.rows)} answers"
    if found.part == "all" and found.frame:
        text += f"; {found.frame_right} of the {found.frame} that most answers share"
    return text


def caveat(spec: AnswerRecall, reading: Reading[Found]) -> str:
    """States how many answers are wrong somewhere, if the tokens reach the limit and the whole
    answers do not."""
    found = reading.details
    right, total = recall.whole(found.rows)
    is_tested = found.data == "records" and recall.can_be_whole(found.rows)
    is_low = right / total < spec.assert_recall_gte and reading.value >= _limit(spec, reading)
    if is_tested or not (found.wants_content and is_low):
        return ""
    return (
        f"does not judge whole answers: if the model writes them, at least {total - right} of "
        f"{total} ({1 - right / total:.0%}) differ from the data"
    )


def _end_symptom(spec: AnswerRecall, reading: Reading[Found]) -> Symptom:
    """What a low probability of the end means: the end is lost, or training was too short."""
    found = reading.details
    is_lost = (found.end or 0.0) < 0.5 * (found.end_before or 0.0)
    if is_lost or reading.value >= _limit(spec, reading):
        return "never ends"
    return recall.symptom(found.rows, found.part, of_labels=found.data == "labels")
