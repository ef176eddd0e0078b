"""Which sections of the training text did the model learn, beyond their vocabulary and style?

For each section, with nll the summed negative log-likelihood of its text (prose) or of its answers
after their prompts:

    lift      = 1 - nll(view) / nll(base)
    other     = max(0, lift(the same words in random order), lift(control))
    effective = lift - other

Statistic: the mean effective lift over sections; compared with the nulls as it is. An adapter of
another document in the same style, or of this document with shuffled words, lifts the shuffled
words as much as the text, and its effective lift is about 0.

Passes if z ≥ `assert_z_gte`, at least `assert_passing_section_frac` of the sections have an
effective lift ≥ `per_section_threshold`, and the one-sided 95% bound of the mean over sections is
above it too (Student's t, with a prior for few sections: the effective lifts differ by 30% of the
size of the lifts). Each section also has its own z against
the nulls, and a p that is adjusted for the number of sections (Holm 1979). A section with enough
lift but a p above .05 is marked WARN in the list and does not fail the probe. It does not
distinguish verbatim memory from understanding: leakage does.

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
    suits="prose",
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
    return Requests([_section_requests(s, spec, context) for s in sections], control)


def needs(spec: SectionInternalization, requests: Requests) -> list[Need]:
    scored = [request for s in requests.sections for request in s.own + s.permuted]
    return [Need(request) for request in scored + requests.control]


def value(
    spec: SectionInternalization, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    control = _lift(view, requests.control)
    sections = []
    for section, own, permuted in requests.sections:
        lift, lift_permuted = _lift(view, own), _lift(view, permuted)
        effective = lift - max(0.0, lift_permuted, control)
        sections.append(
            SectionLift(
                id=section.id,
                tag=section.tag,
                kind=section.kind,
                lift=lift,
                lift_permuted=lift_permuted,
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


def _section_requests(
    section: Section, spec: SectionInternalization, context: Context
) -> SectionRequests:
    if section.kind == "prose":
        rows = [DataRow("", section.content[: spec.max_prose_chars])]
    else:
        rows = [context.row(pair) for pair in section.pairs]
    rng = random.Random(f"{context.seed}:{section.id}")
    shuffled = _permuted([completion_text(row.answer) for row in rows], rng)
    own = [row.log_probs() for row in rows]
    permuted = [row.log_probs(row.other(other)) for row, other in zip(rows, shuffled, strict=True)]
    return SectionRequests(section, own, permuted)


def _permuted(texts: list[str], rng: random.Random) -> list[str]:
    """The words of all texts in random order; each text keeps its number of words."""
    words = [word for text in texts for word in text.split()]
    rng.shuffle(words)
    dealt = iter(words)
    return [
        text[: len(text) - len(text.lstrip())] + " ".join(next(dealt) for _ in text.split())
        for text in texts
    ]
