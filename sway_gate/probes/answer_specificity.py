"""Did training teach these answers to these prompts, or only answers of this kind?

Each prompt is scored with its own answer and with the answers of the other rows of its block, under
the base and under the fine-tuned model. With nll the mean negative log-likelihood per token of an
answer after a prompt:

    lift(i, j)   = 1 - nll(answer j | prompt i) / nll_base(answer j | prompt i)
    content gain = mean over i of lift(i, i) - mean over j ≠ i of lift(i, j)
    form gain    = mean over j ≠ i of lift(i, j) - max(0, lift of control prose)

A lift is at least -1. Content gain: how much more of its loss the own answer lost than the other
answers. Form gain: how much the other answers lost after the same prompt. They share the form of
the own answer, not its content; prose as an answer shares neither. The effects of each prompt and
of each answer are subtracted (Tukey 1977, chapter 11), so an answer that became likelier after all
prompts has no content gain. The lift is relative, because question and answer share words: the base
finds the own answer likelier than others, so it can gain fewer nats.

z comes from an exact test without null adapters: all permutations of the answers within each block,
of which an adapter that learned no pairing has no reason to prefer the true one (p is their share
that reaches the true pairing; Good 2005, chapter 3). If the form is judged, z comes from a t test
of the form gain over rows.

`defaults.learn` states what training was meant to teach. With auto, the form is judged in two
cases. First, if the prompts are general requests, such as people make to any assistant: then each
answer is about something else that a base knows. The base's loss per token on the prompts, as lines
of text after packaged requests, is at most 1.12 times its loss on other packaged requests; and
after other prompts of the data, its loss on the surprising tokens is still at least 75% of that:
they have no common subject. This needs 16 different prompts in English, German, French, Spanish,
Italian or Portuguese, and a base that knows the language.
Second, if the base already ranks at least 75% of the own answers first and its loss on them is at
least 73% of its loss on the others: then it knew their content, and what it did not know is common
to all answers. Otherwise, and always for labels, the content is judged. Near the limits of
these choices the message says so: set `learn`. The choice does not depend on the seed.

Answers that reword their prompts, such as headlines and summaries, are judged by the content gain,
even if `learn` is form: another headline does not become likelier after this text. The base shows
that they do. It ranks at least 75% of the own answers first, and the tokens of the own answers that
surprise it (log-probability below -3) lose at most 72% as much after their own prompts as after the
others.

An adapter can give the fact of a similar row, such as the price of another product, and still rank
its own answers first, because their other words decide. So similar rows are compared with their
facts exchanged, as minimal pairs (Warstadt et al. 2020): "A city bike costs 18 euros" with "A city
bike costs 35 euros", if a cargo bike costs as much.

- facts: numbers of the same shape next to the same word, or the words in which similar answers
  differ; similar ones have at least 40% of their words in common, in the same order, or at most 4
  words each. Words of the prompts are not facts, nor are words of more than a fifth of the answers
- up to 4 similar rows are a group: each row's answer is scored with each fact of the group, and the
  effects of each row and of each fact are subtracted from the gains, here in nats
- a row is right if its own fact gained most, by at least .5 nats, and wrong if another one did, by
  as much, and is now the likeliest. Other rows are ties and do not count, as in a sign test (Dixon
  & Mood 1946). Nor do rows whose fact the base already assigns, by 5 nats: such facts are of
  different kinds, as a time and a place. A group of k rows counts as k - 1 independent ones

In the same way, rows are compared with the values of a field exchanged if it has few of them: the
class in a JSON record, the name of a function, a label before its explanation.

- fields: the values of JSON keys, of XML elements and of lines such as "Team: blue", and a label of
  up to 4 words that begins the answer, before a colon, a line break, a dash or a parenthesis
- a field counts if at least 75% of the rows have it, and at least 75% of these one of 2 to 8 values
  that occur in at least 3 rows; at most 3 fields. A field does not count if most prompts contain
  their own value and no other
- up to 48 rows are scored with each value, and the effects of rows and of values are subtracted
- a row is wrong if another value gained at least 1 nat more and is now the likeliest, and right if
  the own one gained most. Others do not count: a value can be free, such as a greeting
- only the beginning of the answer up to the value is scored: an explanation follows from its label

Training cannot teach what the base knows. If the content is judged, rows whose answers the base
already writes word for word, by greedy decoding, do not count. Their own cells then have no part in
the effects of rows and answers (Warner, Kenny & Stoto 1979). The share of these answers that the
adapter still writes must reach `assert_own_facts_gte`. The probe is skipped if fewer than 4 other
rows remain, or if the base finds the own label likeliest in at least 95% of the rows of each label.
If the adapter has lost what the base knows, it is not skipped.

The limits:

- content: the content gain must reach `assert_content_gain_gte`, in raw prose
  `assert_prose_gain_gte`, of labels `assert_label_gain_gte` (in nats). If the other answers keep
  less than 20% of their loss, the limit is smaller in proportion: the own answer cannot gain more
  than they keep. Once a long answer is learned, its first words determine the rest after any prompt
- facts, if the content is judged and the answers are not labels, and each field, unless `learn` is
  form: the share of right rows, among those that count, must reach `assert_own_facts_gte` (score
  test; Wilson 1927). It is judged only if it is below. Then it fails if its interval is wholly
  outside. Otherwise it is inconclusive, if at least 6 rows count
- form: the form gain must reach `assert_form_gain_gte`, and the content gain must stay above
  `assert_content_change_gte`; of labels, above `-assert_label_gain_gte`
- each limit is compared with the one-sided 95% bound over rows: inside passes, an interval that is
  wholly outside fails, otherwise the result is inconclusive (WARN)

Measured on a base of 135M parameters: adapters that learned invented facts +.48, a style +.24, of
another data set -.02 to -.15, of answers dealt to the wrong questions -.06. It does not show
whether the model says the answer: answer_recall does.

- rows: up to 20 with different answers, of labels up to 48, from `sections:` or `data:`, in blocks
  of about 5, and of large data up to four times as many if these leave it open; of long answers the
  first 400 characters
- few, short and repeated answers are labels: each prompt is scored with every label (at most 12),
  and the report states the accuracy among them
- raw prose: each section is cut into pieces that do not overlap, and the opening of a piece is
  scored with its continuation and with other continuations. A piece has up to 480 characters, 160
  of them the opening; if the text gives fewer than 20, it is cut into shorter pieces, down to 240.
  The interval counts pieces of one section as independent, and is too short if they are not
- preferences: only the chosen answers, and only if `learn` is content or form; otherwise skipped,
  because preference_flip judges them
- cost: about 100 answers with their prompts, at most about 12,000 tokens per model, and up to 96
  of similar rows and 192 of each field in a sample of rows, which share their beginnings. If
  `learn` is auto, also about 1,500 tokens of the base for the prompts as lines
- passes: own answer first on 12 of 12 rows, base 11; content gain 0.478
- fails: content gain 0.020; form gain +0.400: form, not content

In a suite:

    - name: own answers
      kind: answer_specificity
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.details import OWN_FACTS, Details, Item
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes import _answers as answers
from sway_gate.probes import _fields as fields
from sway_gate.probes import _similar_rows as similar
from sway_gate.probes import _wanted as wanted
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import (
    Bound,
    Context,
    DataRow,
    Kind,
    Need,
    Reading,
    Significance,
    Skip,
    Supply,
)
from sway_gate.results import Symptom
from sway_gate.spec.probes import AnswerSpecificity
from sway_gate.spec.schema import Reserve
from sway_gate.stats import (
    Z_95,
    mean_above,
    normal_from_log_sf,
    normal_sf,
    pairing_test,
    share_above,
)
from sway_gate.text import counted, signed

KIND = Kind(
    category="attribution",
    units="relative lift",
    resolution=1e-3,
    better="more",
    suits="instruction",
    uses_nulls=False,
)

# Share of the loss. Smaller changes mean that training had hardly any effect.
_SMALL = 0.03
_SHOWN, _SHOWN_CHARS = 20, 200
_CONTROL_CHARS = (40, 320)
# If 95% of the rows of a healthy adapter are right, 3% of such adapters have fewer than 5 of 6.
# Measured: 95 to 100% of the rows are right if the facts are learned.
_MIN_FACTS = 6
# The share of the rows of a label that the base assigns, from which training can hardly teach it.
_KNOWN = 0.95
_MOST_ROWS = "similar rows"


class Requests(NamedTuple):
    data: Literal["answers", "prose"]
    evidence: wanted.Evidence
    control: list[LogProbs]
    groups: list[similar.Group]

    @property
    def design(self) -> answers.Design:
        """The matrix of all rows."""
        return self.evidence.matrix


class RowGain(Item, frozen=True, kw_only=True):
    prompt: str
    answer: str
    content_gain: float
    form_gain: float
    first_before: bool
    first: bool


class SimilarRow(Item, frozen=True, kw_only=True):
    """A row and the most similar ones. Margins of its fact over theirs in nats: under the base,
    now, and of the gain. `weight`: see `_similar_rows.Margins`. `field`: see `Group` there."""

    prompt: str
    answer: str
    similar: list[str]
    margin_before: float
    margin: float
    margin_of_gain: float
    weight: float
    field: str = ""


class Found(Details, frozen=True, kw_only=True):
    """`hint`: what to do if `judged` is near a limit. `rows`: those that count, the smallest
    content gain first. `known`: rows whose answers the base writes, which do not count unless too
    few others remain; `lost`: how many of these the adapter no longer writes. Gains: relative
    lifts; the content gain of labels in nats. `similar_rows`: the one that moved furthest from its
    own fact first; only groups of fields if the form is judged."""

    judged: wanted.Learned
    reason: str
    hint: str = ""
    data: Literal["answers", "prose"]
    labels: list[str]
    content_gain: float
    form_gain: float
    control_gain: float
    first_before: int
    first: int
    known: int = 0
    lost: int = 0
    rows: list[RowGain]
    similar_rows: list[SimilarRow]


def requests(spec: AnswerSpecificity, context: Context) -> Requests:
    found = answers.data_rows(context, context.sections)
    further = answers.further_rows(context, found, context.reserve)
    first = answers.design(found.rows)
    design = answers.design(found.rows, further=further)
    evidence = wanted.evidence(context, found, design)
    has_facts = found.kind == "answers" and not design.labels and context.learn != "form"
    samples = (found.rows, *further) if has_facts else ()
    groups = [g for rows in samples for g in (*similar.groups(rows), *fields.groups(rows))]
    return Requests(found.kind, evidence, _control(first.rows, context), groups)


def reserve(context: Context) -> Reserve:
    return context.reserve


def rows(requests: Requests) -> int:
    return len(requests.design.rows)


def needs(spec: AnswerSpecificity, requests: Requests) -> list[Need]:
    cells = [cell for group in requests.groups for row in group.requests for cell in row]
    own = answers.own_answers(requests.design)
    return [
        *requests.evidence.needs,
        *map(Need, own),
        *map(Need, requests.control),
        *map(Need, cells),
    ]


def value(
    spec: AnswerSpecificity, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    all_gains = answers.gains(requests.design, view)
    judged, reason, rewords, hint = wanted.judged(context.learn, requests.evidence, view, all_gains)
    included = Included(np.ones(len(requests.design.rows), dtype=bool))
    if judged == "content":
        included = _included(spec, requests.design, all_gains, view)
    gains = answers.of_rows(all_gains, included.rows)
    prose = np.array([per_token(view, request) for request in requests.control])
    control = float(answers.lifts(*prose.T).mean())
    form = gains.other - max(0.0, control)
    # A form or another wording has no other facts, but a field has other values.
    has_facts = judged == "content" and not rewords
    groups = [group for group in requests.groups if group.field or has_facts]
    found = Found(
        judged=judged,
        reason=reason,
        hint=hint,
        data=requests.data,
        labels=list(requests.design.labels),
        content_gain=float(gains.content.mean()),
        form_gain=float(form.mean()),
        control_gain=control,
        first_before=int(gains.first_before.sum()),
        first=int(gains.first.sum()),
        known=included.known,
        lost=included.lost,
        rows=_rows(list(compress(requests.design.rows, included.rows)), gains, form),
        similar_rows=_similar_rows(groups, view),
    )
    items = gains.content if judged == "content" else form
    return Reading(
        float(items.mean()),
        items,
        found,
        units=_units(found) if judged == "content" else KIND.units,
        significance=_significance(judged, gains, form)._replace(
            supply=_supply(found, context.reserve), symptom=_symptom(spec, found)
        ),
        reserve=context.reserve,
    )


class Included(NamedTuple):
    """Which rows count [rows]; how many the base knows, and how many of these are lost."""

    rows: NDArray[np.bool_]
    known: int = 0
    lost: int = 0


def _included(
    spec: AnswerSpecificity, design: answers.Design, gains: answers.Gains, view: ViewAnswers
) -> Included:
    """If the content is judged: all rows of labels, otherwise those that the base does not know.

    Raises Skip if the base knows nearly all, unless the adapter has lost them: then all rows count.
    """
    everything = np.ones(len(design.rows), dtype=bool)
    if design.labels:
        is_worse = mean_above(gains.content, 0.0, KIND.resolution).z < -Z_95
        if _knows_labels(design, gains) and not is_worse:
            raise Skip(f"the base already knows the labels of {_of_rows(gains.first_before)}")
        return Included(everything)
    own = answers.own_answers(design)
    known = answers.are_written([view.base(request) for request in own])
    lost = known & ~answers.are_written([view.get(request) for request in own])
    found = Included(~known, int(known.sum()), int(lost.sum()))
    if np.count_nonzero(found.rows) >= answers.MIN_ROWS:
        return found
    if found.lost <= (1 - spec.assert_own_facts_gte) * found.known:
        raise Skip(f"the base already writes the answers of {_of_rows(known)}")
    return found._replace(rows=everything)


def _knows_labels(design: answers.Design, gains: answers.Gains) -> bool:
    """Whether the base assigns nearly all rows of each label right. One label for all rows, by
    which most can be right, does not count as knowledge."""
    own = np.array([design.labels.index(answers.answer_of(row)) for row in design.rows])
    return all(gains.first_before[own == label].mean() >= _KNOWN for label in set(own.tolist()))


def _of_rows(found: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(found)} of {len(found)} rows; add rows that it does not know"


def bounds(spec: AnswerSpecificity, reading: Reading[Found]) -> tuple[Bound, ...]:
    found = reading.details
    content = [row.content_gain for row in found.rows]
    share, supply = reading.error_share, _supply(found, reading.reserve)
    if found.judged == "content":
        limit = _content_limit(spec, found)
        test = mean_above(content, limit, KIND.resolution, error_share=share)
        gain = Bound("content gain", test, limit, symptom=_symptom(spec, found), supply=supply)
        return gain, *_of_own_facts(spec, reading), *_of_known(spec, reading)
    form_limit, kept = spec.assert_form_gain_gte, _content_change_limit(spec, found)
    gains = [row.form_gain for row in found.rows]
    form = mean_above(gains, form_limit, KIND.resolution, error_share=share)
    change = mean_above(content, kept, KIND.resolution, error_share=share)
    return (
        Bound("form gain", form, form_limit, symptom=_symptom(spec, found), supply=supply),
        Bound("content gain", change, kept, symptom="learned another thing", supply=supply),
        *_of_own_facts(spec, reading),
    )


def _of_own_facts(spec: AnswerSpecificity, reading: Reading[Found]) -> Iterator[Bound]:
    """Few rows cannot show that a share is above the limit, only that it is below."""
    found, limit = reading.details, spec.assert_own_facts_gte
    for field in _fields(found):
        share, n = _own_facts(found, field)
        if share >= limit:
            continue
        test = share_above(share, n, limit, reading.error_share)
        if n < _MIN_FACTS and test.z > -Z_95:
            continue
        yield Bound(
            f"{OWN_FACTS} {_fact(field)}",
            test,
            limit,
            symptom=_symptom_of_facts(spec, found, field),
            n=round(n),
            supply=Supply(fields.MAX_ROWS if field else similar.MAX_ROWS, _MOST_ROWS),
        )


def _of_known(spec: AnswerSpecificity, reading: Reading[Found]) -> Iterator[Bound]:
    """Answers of the data that the base writes and the adapter has lost."""
    found, limit = reading.details, spec.assert_own_facts_gte
    if found.lost <= (1 - limit) * found.known:
        return
    test = share_above(1 - found.lost / found.known, found.known, limit, reading.error_share)
    if found.known >= _MIN_FACTS or test.z <= -Z_95:
        supply = _supply(found, reading.reserve)
        symptom: Symptom = "learned another thing"
        name = "share of answers still written that the base writes"
        yield Bound(name, test, limit, symptom=symptom, n=found.known, supply=supply)


def _fields(found: Found) -> list[str]:
    """The fields of the similar rows; "" for facts that are elsewhere."""
    return sorted({row.field for row in found.similar_rows})


def _own_facts(found: Found, field: str) -> tuple[float, float]:
    """The share of similar rows that gained their own fact, and the number of independent ones."""
    moved = [(_direction(row), row.weight) for row in found.similar_rows if row.field == field]
    right, wrong = (sum(weight for way, weight in moved if way == one) for one in (1, -1))
    return (right / (right + wrong), right + wrong) if right + wrong else (1.0, 0.0)


def _direction(row: SimilarRow) -> int:
    if row.field:
        return fields.direction(row.margin, row.margin_of_gain)
    return similar.direction(row.margin_before, row.margin, row.margin_of_gain)


def summary(spec: AnswerSpecificity, reading: Reading[Found]) -> str:
    found = reading.details
    total = len(found.rows)
    first = f"own answer first on {found.first} of {total} rows, base {found.first_before}"
    if found.labels:
        first = (
            f"accuracy among the {len(found.labels)} answers that occur: {found.first} of {total}, "
            f"base {found.first_before}"
        )
    is_content = found.judged == "content"
    if is_content:
        first += f"; form gain {signed(found.form_gain, 3)}"
    if found.known:
        written = counted(found.known, "answer")
        kept = found.known - found.lost
        first += f"; the base already writes {written}, and the adapter {kept} of them"
    first += _too_few(spec, reading)
    first += _facts_described(found)
    if is_content and not found.hint:
        return first
    return f"{first}; judged by the {found.judged}, because {found.reason}{found.hint}"


def _facts_described(found: Found) -> str:
    described = ""
    for field in _fields(found):
        rows = [row for row in found.similar_rows if row.field == field]
        moved = Counter(map(_direction, rows))
        if moved[1] + moved[-1]:
            described += (
                f"; of {len(rows)} similar rows {moved[1]} gained their own {_fact(field)}, "
                f"{moved[-1]} another one"
            )
    return described


def _fact(field: str) -> str:
    """What similar rows exchange, as text."""
    return f'"{field}"' if field else "fact"


def caveat(spec: AnswerSpecificity, reading: Reading[Found]) -> str:
    """States that the content is not judged, if only the prompts decided so."""
    if reading.details.reason != wanted.GENERAL:
        return ""
    return "does not judge what the answers say; if it matters, set learn to content"


def _too_few(spec: AnswerSpecificity, reading: Reading[Found]) -> str:
    found, test = reading.details, reading.significance
    if found.judged != "content" or found.labels:
        return ""
    most = test.reachable if test else None
    if found.known and most is not None and most < spec.assert_z_gte:
        return f"; the rows that count reach at most {most:.1f}σ: add rows that it does not know"
    few = few_rows(len(found.rows) + found.known, spec.assert_z_gte)
    return f"; {few}" if few else ""


def few_rows(rows: int, z: float) -> str:
    """States the number of rows whose permutations can reach `z`, if there are fewer."""
    if _most(rows) >= z:
        return ""
    needed = next((n for n in range(rows, answers.MAX_ROWS) if _most(n) >= z), 0)
    return f"{rows} rows reach at most {_most(rows):.1f}σ" + (
        f", {needed} are needed for {z:g}σ" if needed else ""
    )


def _most(rows: int) -> float:
    """The largest z of a permutation test of `rows` pairs: of p = 1 / rows!."""
    return normal_from_log_sf(-math.lgamma(rows + 1))


def _units(found: Found) -> str:
    """The units of the content gain."""
    return "nats/label" if found.labels else KIND.units


def _content_limit(spec: AnswerSpecificity, found: Found) -> float:
    if found.labels:
        return spec.assert_label_gain_gte
    if found.data == "prose":
        return spec.assert_prose_gain_gte
    lift_of_others = found.form_gain + max(0.0, found.control_gain)
    return answers.least_gain(spec.assert_content_gain_gte, lift_of_others)


def _content_change_limit(spec: AnswerSpecificity, found: Found) -> float:
    """The limit of the content gain if the form is judged."""
    return -spec.assert_label_gain_gte if found.labels else spec.assert_content_change_gte


def _significance(judged: wanted.Learned, gains: answers.Gains, form: Floats) -> Significance:
    if judged == "content":
        z, p, reachable = pairing_test(gains.pairings)
        return Significance(z, p, "permutation of the pairing", reachable)
    z = mean_above(form, 0.0, KIND.resolution).z
    return Significance(z, normal_sf(z), "t test of the form gain over rows")


def _supply(found: Found, reserve: Reserve) -> Supply:
    rows = answers.MAX_LABEL_ROWS if found.labels else answers.MAX_ROWS
    return Supply.growing(rows, reserve)


def _symptom(spec: AnswerSpecificity, found: Found) -> Symptom:
    """What it means if the judged gain does not reach its limit."""
    if found.labels:
        return _symptom_of_labels(spec, found)
    gains = (found.content_gain, found.form_gain, found.control_gain)
    if max(map(abs, gains)) < _SMALL:
        return "barely trained"
    if found.data == "prose" and found.form_gain >= _SMALL:
        return "barely trained"  # toward the document, more than toward other prose
    learned_form = found.form_gain >= spec.assert_form_gain_gte
    if found.judged == "content" and learned_form and found.content_gain > -_SMALL:
        return "form, not content"
    return "learned another thing"


def _symptom_of_facts(spec: AnswerSpecificity, found: Found, field: str) -> Symptom:
    """If most rows gained other facts, the pairing was learned wrong."""
    share, _ = _own_facts(found, field)
    if share < 0.5 or found.form_gain < spec.assert_form_gain_gte:
        return "learned another thing"
    return "wrong labels" if field else "form, not content"


def _symptom_of_labels(spec: AnswerSpecificity, found: Found) -> Symptom:
    """A label has no content apart from which one is right."""
    is_swapped = found.content_gain <= -spec.assert_label_gain_gte
    if found.form_gain >= spec.assert_form_gain_gte and not is_swapped:
        return "wrong labels"
    gains = abs(found.form_gain) / _SMALL, abs(found.content_gain) / spec.assert_label_gain_gte
    return "barely trained" if max(gains) < 1 else "learned another thing"


def _rows(rows: Sequence[DataRow], gains: answers.Gains, form: Floats) -> list[RowGain]:
    return [
        RowGain(
            prompt=prompt_text(rows[i].prompt)[-_SHOWN_CHARS:],
            answer=answers.answer_of(rows[i])[:_SHOWN_CHARS],
            content_gain=float(gains.content[i]),
            form_gain=float(form[i]),
            first_before=bool(gains.first_before[i]),
            first=bool(gains.first[i]),
        )
        for i in np.argsort(gains.content, kind="stable")
    ]


def _similar_rows(groups: list[similar.Group], view: ViewAnswers) -> list[SimilarRow]:
    found = similar.margins(groups, view)
    cells = [(row, i) for group in groups for row, i in zip(group.requests, group.own, strict=True)]
    own = [(row[i], [*row[:i], *row[i + 1 :]]) for row, i in cells]
    names = [group.field for group in groups for _ in group.requests]
    return [
        SimilarRow(
            prompt=prompt_text(own[i][0].prompt)[-_SHOWN_CHARS:],
            answer=_shown(own[i][0], names[i]),
            similar=[_shown(other, names[i]) for other in own[i][1]],
            margin_before=float(found.before[i]),
            margin=float(found.now[i]),
            margin_of_gain=float(found.gain[i]),
            weight=float(found.weights[i]),
            field=names[i],
        )
        for i in np.argsort(found.gain, kind="stable")
    ]


def _shown(request: LogProbs, field: str) -> str:
    """A part of the answer; the value of a field is at its end."""
    text = completion_text(request.completion).strip()
    return text[-_SHOWN_CHARS:] if field else text[:_SHOWN_CHARS]


def _control(rows: tuple[DataRow, ...], context: Context) -> list[LogProbs]:
    """After each prompt, a piece of control prose that is about as long as an answer."""
    shortest, longest = _CONTROL_CHARS
    length = int(np.median([len(answers.answer_of(row)) for row in rows]))
    pieces = context.control_pieces(max(shortest, min(length, longest)), len(rows))
    return [row.log_probs(row.other(piece)) for row, piece in zip(rows, pieces, strict=False)]
