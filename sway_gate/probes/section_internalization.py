"""Which sections of the training text did the model learn, beyond their vocabulary and style?

For each section, with nll the summed negative log-likelihood of its text (prose) or of its answers
after their prompts:

    lift      = 1 - nll(view) / nll(base)
    other     = max(0, lift(shuffled words), lift(other answers), lift(control))
    effective = lift - other

Shuffled words: the same ones in random order. Other answers: each prompt with the answer of the
next row. Statistic: the mean effective lift over sections; compared with the nulls as it is. An
adapter of another document in the same style, or of this document with shuffled words, lifts the
shuffled words as much as the text, and its effective lift is about 0. If every prompt was trained
with another answer, other answers are lifted as much.

Passes if z ≥ `assert_z_gte`, at least `assert_passing_section_frac` of the sections have an
effective lift ≥ `per_section_threshold`, and the one-sided 95% bound of the mean over sections is
above it too (Student's t, with a prior for few sections: the effective lifts differ by 30% of the
size of the lifts). Each section also has its own z against
the nulls, and a p that is adjusted for the number of sections (Holm 1979). A section with enough
lift but a p above .05 is marked WARN in the list and does not fail the probe. It does not
distinguish verbatim memory from understanding: leakage does. A wrong value in a right sentence
lowers the lift only a little, so a pass does not show that the answers are right: answer_recall
does.

- `sections:`, `data:` or `dlm_source:` of the spec, filtered by `include_kinds`; of prose only the
  first `max_prose_chars`
- control: `control:` of the spec, or packaged public-domain prose
- passes: 6 of 6 sections learned; mean effective lift 0.310
- fails: lift .05 on the text, .06 on its shuffled words: effective -.01

In a suite:

    - name: learned
      kind: section_internalization
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import completion_text
from sway_gate.details import SectionLift, Sections
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes.base import Bound, CannotRun, Context, DataRow, Kind, Need, Reading
from sway_gate.spec.probes import SectionInternalization
from sway_gate.spec.schema import Section
from sway_gate.stats import Prior, mean_above
from sway_gate.text import counted

KIND = Kind(
    category="attribution",
    units="relative lift",
    resolution=1e-4,
    min_null_sd=1e-3,
    better="more",
    judges_answers=False,
    symptom="learned another thing",
)

_CONTROL_CHUNKS, _CONTROL_CHARS = 3, 800
# Standard deviation over sections, relative to the size of the lifts: .1 to .2 at any scale of an
# adapter, down to lifts of .02. The prior weighs like 5 sections.
_SPREAD, _SPREAD_DF = 0.3, 4


class SectionRequests(NamedTuple):
    section: Section
    own: list[LogProbs]
    permuted: list[LogProbs]
    other: list[LogProbs]
    """Its prompts with answers of other rows; empty for prose."""


class Requests(NamedTuple):
    sections: list[SectionRequests]
    control: list[LogProbs]


class Found(Sections, frozen=True, kw_only=True):
    threshold: float

    @property
    def passed(self) -> int:
        return sum(section.passed for section in self.sections)


def requests(spec: SectionInternalization, context: Context) -> Requests:
    sections = [s for s in context.sections if s.kind in spec.include_kinds]
    if not sections:
        kinds = ", ".join(spec.include_kinds)
        raise CannotRun(
            f"no sections of kind {kinds}; add training text under `sections:` or `data:`"
        )
    control = [LogProbs("", t) for t in context.control_pieces(_CONTROL_CHARS, _CONTROL_CHUNKS)]
    rows = [_rows(section, spec, context) for section in sections]
    after = _other_answers([row for own in rows for row in own if row.prompt])
    found = [
        _section_requests(section, own, after, context.seed)
        for section, own in zip(sections, rows, strict=True)
    ]
    return Requests(found, control)


def needs(spec: SectionInternalization, requests: Requests) -> list[Need]:
    scored = [request for s in requests.sections for request in s.own + s.permuted + s.other]
    return [Need(request) for request in scored + requests.control]


def value(
    spec: SectionInternalization, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    control = _lift(view, requests.control)
    sections = []
    for section, *scored in requests.sections:
        lift, lift_permuted, lift_of_others = (_lift(view, one) for one in scored)
        effective = lift - max(0.0, lift_permuted, lift_of_others, control)
        sections.append(
            SectionLift(
                id=section.id,
                tag=section.tag,
                kind=section.kind,
                lift=lift,
                lift_permuted=lift_permuted,
                lift_of_others=lift_of_others,
                lift_control=control,
                effective=effective,
                passed=effective >= spec.per_section_threshold,
            )
        )
    items = np.array([section.effective for section in sections], dtype=np.float64)
    found = Found(sections=sections, threshold=spec.per_section_threshold)
    return Reading(float(items.mean()), items, found)


def minimum_effect(spec: SectionInternalization, reading: Reading[Found]) -> str:
    passed, total = reading.details.passed, len(reading.items)
    if passed >= spec.assert_passing_section_frac * total:
        return ""
    least = f"{spec.assert_passing_section_frac:.0%}"
    return f"{passed} of {counted(total, 'section')} learned, must be at least {least}"


def bounds(spec: SectionInternalization, reading: Reading[Found]) -> list[Bound]:
    if spec.assert_passing_section_frac == 0:
        return []
    least = spec.per_section_threshold
    prior = Prior(_SPREAD * _size(reading.details), _SPREAD_DF)
    test = mean_above(reading.items, least, KIND.resolution, prior)
    return [Bound("mean effective lift", test, least)]


def summary(spec: SectionInternalization, reading: Reading[Found]) -> str:
    if minimum_effect(spec, reading):
        return ""
    return f"{reading.details.passed} of {counted(len(reading.items), 'section')} learned"


def _size(found: Found) -> float:
    """Mean size of the lifts from which the effective lifts are computed."""
    own = [section.lift or 0.0 for section in found.sections]
    other = [section.effective - (section.lift or 0.0) for section in found.sections]
    return float(np.abs([own, other]).max(axis=0).mean())


def _lift(view: ViewAnswers, requests: list[LogProbs]) -> float:
    """1 - nll(view) / nll(base) over all tokens of the requests."""
    base = sum(view.base(r).sum() for r in requests)
    return float(1 - sum(view.get(r).sum() for r in requests) / base) if base else 0.0


def _rows(section: Section, spec: SectionInternalization, context: Context) -> list[DataRow]:
    if section.kind == "prose":
        return [DataRow("", section.content[: spec.max_prose_chars])]
    return [context.row(pair) for pair in section.pairs]


def _other_answers(rows: Sequence[DataRow]) -> dict[DataRow, str]:
    """The answer of the next row with another one; rows without such a row are left out."""
    texts = [completion_text(row.answer) for row in rows]
    found = {}
    for i, row in enumerate(rows):
        following = texts[i + 1 :] + texts[:i]
        if other := next((text for text in following if text.strip() != texts[i].strip()), ""):
            found[row] = other
    return found


def _section_requests(
    section: Section, rows: Sequence[DataRow], after: Mapping[DataRow, str], seed: int
) -> SectionRequests:
    rng = random.Random(f"{seed}:{section.id}")
    texts = [completion_text(row.answer) for row in rows]
    shuffled = zip(rows, texts, _permuted(texts, rng), strict=True)
    return SectionRequests(
        section,
        [row.log_probs() for row in rows],
        # A label of one word has only one order.
        [row.log_probs(row.other(other)) for row, text, other in shuffled if other != text],
        [row.log_probs(row.other(after[row])) for row in rows if row in after],
    )


def _permuted(texts: list[str], rng: random.Random) -> list[str]:
    """The words of all texts in random order; each text keeps its number of words."""
    words = [word for text in texts for word in text.split()]
    rng.shuffle(words)
    dealt = iter(words)
    return [
        text[: len(text) - len(text.lstrip())] + " ".join(next(dealt) for _ in text.split())
        for text in texts
    ]
