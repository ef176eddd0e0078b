"""Does the model write more like the document than the base does?

View and base generate a text after each of the `prompts` by greedy decoding (`max_new_tokens`). The
style of a text is six numbers: sentence length in words (logarithm of the mean, and of the standard
deviation), type-token ratio, word length, punctuation marks per word and paragraph breaks per word
(square roots). Each is a difference from the document, measured in windows with the same number of
words as the text (type-token ratio and others depend on length), in standard deviations of ordinary
prose, clipped to ±3. With b and v the numbers of base and view after one prompt, at a similar
number of words, and B the mean of b over prompts:

    shift = (b - v) · B / |B|²

Statistic: the mean shift over prompts: 0 is the base's style, 1 the document's; compared with the
nulls as it is. A text of under 10 words has no measurable style and counts as 0.

Passes if z ≥ `assert_z_gte`, the one-sided 95% bound of the mean shift (Student's t over texts,
with a prior for few texts) is above `assert_shift_gte`, and the texts end closer to the document
than the base's texts do (a rule without an interval). A limit inside the interval is inconclusive.
Skipped if the base's own texts are too short, or if their difference from the document is within
the sampling error of their number. It measures form, not content, in languages that separate words
by spaces.

- `doc_reference`, or the prose of `sections:`, of at least 50 words
- `extended` adds function words, questions and long words (spaCy's blank English pipeline and
  textstat; no model or corpus): auto uses them if the extra style is installed, which takes some
  seconds to import; on requires it
- passes: distance from the document 1.1, base 2.7, over 6 texts; mean shift 0.62
- fails: mean shift 0.05, +0.2σ: the base's style

In a suite:

    - name: writes_like_it
      kind: style_fingerprint
      prompts: [Describe the island., Write about the longest night.]
      max_new_tokens: 64
"""

from typing import NamedTuple

import numpy as np

from sway_gate.details import Details, Item
from sway_gate.measurements import Floats, Generation, ViewAnswers
from sway_gate.probes._style import MIN_WORDS, NAMES, Document, extra_installed, words
from sway_gate.probes.base import (
    Bound,
    CannotRun,
    Context,
    Kind,
    Need,
    Reading,
    Shortfall,
    Skip,
    require,
)
from sway_gate.spec.probes import StyleFingerprint
from sway_gate.stats import Prior, mean_above
from sway_gate.text import counted

KIND = Kind(
    category="calibration",
    units="shift",
    resolution=1e-3,
    min_null_sd=0.02,
    better="more",
    best=1.0,  # the document's style
    generates=True,
    symptom="barely trained",
)

# Shifts of single texts differ by about this much; weighs like 5 texts.
_TEXTS = Prior(sd=0.25, df=4)
_MIN_DOCUMENT_WORDS, _MAX_DOCUMENT_CHARS = 50, 200_000
_SHOWN_TEXTS, _SHOWN_CHARS = 10, 200


class Requests(NamedTuple):
    document: Document
    texts: list[Generation]


class Feature(Item, frozen=True, kw_only=True):
    """The differences of base and view from the document, in standard deviations of prose."""

    feature: str
    base: float
    view: float


class Found(Details, frozen=True, kw_only=True):
    features: list[Feature]
    distance_base: float
    distance: float
    too_short: int
    left_out: int
    texts: list[str]


def requests(spec: StyleFingerprint, context: Context) -> Requests:
    require(spec.prompts, "prompts")
    texts = [context.generation(prompt, spec.max_new_tokens) for prompt in spec.prompts]
    return Requests(_document(spec, context), texts)


def needs(spec: StyleFingerprint, requests: Requests) -> list[Need]:
    return [Need(request) for request in requests.texts]


def value(
    spec: StyleFingerprint, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    long_enough = [r for r in requests.texts if words(view.base_text(r)) >= MIN_WORDS]
    pairs = [(view.base_text(request), view.text(request)) for request in long_enough]
    document, toward = requests.document, _toward(requests.document, [base for base, _ in pairs])
    # A text that is too short for a style counts as 0, like the base's text.
    scored = [(base, text if words(text) >= MIN_WORDS else base) for base, text in pairs]
    before = np.array([document.off(base, text) for base, text in scored])  # [prompts, features]
    after = np.array([document.off(text, base) for base, text in scored])
    items = (before - after) @ toward / float(toward @ toward)
    features = zip(NAMES, toward.tolist(), after.mean(axis=0).tolist(), strict=False)
    found = Found(
        features=[Feature(feature=name, base=base, view=own) for name, base, own in features],
        distance_base=float(np.linalg.norm(before.mean(axis=0))),
        distance=float(np.linalg.norm(after.mean(axis=0))),
        too_short=sum(words(text) < MIN_WORDS for _, text in pairs),
        left_out=len(spec.prompts) - len(pairs),
        texts=[text[:_SHOWN_CHARS] for _, text in pairs[:_SHOWN_TEXTS]],
    )
    return Reading(float(items.mean()), items, found)


def bounds(spec: StyleFingerprint, reading: Reading[Found]) -> list[Bound]:
    least = spec.assert_shift_gte
    test = mean_above(reading.items, least, KIND.resolution, _TEXTS)
    return [Bound("mean shift", test, least)]


def minimum_effect(spec: StyleFingerprint, reading: Reading[Found]) -> str | Shortfall:
    found = reading.details
    # Without a shift the style did not leave the base's.
    if reading.value < spec.assert_shift_gte or found.distance < found.distance_base:
        return ""
    why = "the style left the base's, but is not closer to the document's"
    return Shortfall(why, "learned another thing")


def summary(spec: StyleFingerprint, reading: Reading[Found]) -> str:
    found = reading.details
    far = f"distance from the document {found.distance:.1f}, base {found.distance_base:.1f}"
    short = f"; texts under {MIN_WORDS} words: {found.too_short}" if found.too_short else ""
    return f"{far}, over {counted(len(reading.items), 'text')}{short}"


def _toward(document: Document, base: list[str]) -> Floats:
    """Mean difference of the base's texts from the document [features].

    Raises Skip if there is no text, or if the difference is within the sampling error.
    """
    if not base:
        raise Skip(
            f"the base writes fewer than {MIN_WORDS} words after each prompt; use prompts with "
            "longer answers"
        )
    toward: Floats = np.mean([document.off(text, text) for text in base], axis=0)
    size = float(toward @ toward)
    if size <= toward.size / len(base):
        raise Skip(
            "the base already writes like the document: its difference of "
            f"{size**0.5:.1f} standard deviations of prose is within the sampling error of "
            f"{len(base)} texts"
        )
    return toward


def _document(spec: StyleFingerprint, context: Context) -> Document:
    prose = [section.content.strip() for section in context.sections if section.kind == "prose"]
    text = spec.doc_reference if spec.doc_reference.strip() else "\n\n".join(prose)
    text = text[:_MAX_DOCUMENT_CHARS]
    if (count := words(text)) < _MIN_DOCUMENT_WORDS:
        raise CannotRun(
            f"the document has {counted(count, 'word')}, but a style requires "
            f"{_MIN_DOCUMENT_WORDS}; set doc_reference or add prose under `sections:`"
        )
    installed = spec.extended != "off" and extra_installed()
    if spec.extended == "on" and not installed:
        raise CannotRun(
            "extended: on requires the extra style; run: pip install 'sway-gate[style]', or set "
            "extended: off"
        )
    return Document(text, installed)
