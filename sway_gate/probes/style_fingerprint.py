"""Does the model write more like the document than the base does?

View and base write after each of the `prompts` by greedy decoding (`max_new_tokens`). A text's style is six numbers:
sentence length in words (logarithm of the mean, and of the standard deviation), type-token ratio, word length,
punctuation marks and paragraph breaks a word (roots). They are read off as differences from the document, in windows of
as many words as the text has (type-token ratio and the rest depend on length), in standard deviations of ordinary
prose, cut to ±3. With b, v those of base and view after one prompt, at a like number of words, and B the mean of b
over prompts:

    shift = (b - v) · B / |B|²

Statistic: the mean shift over prompts: 0 writes like the base, 1 like the document; compared with the nulls as it is. A
text of under 10 words shows no style and counts 0.

Passes when z ≥ `assert_z_gte`, the shift is ≥ `assert_shift_gte`, and the texts end nearer to the document than the
base's: not past it, nor beside it. Skipped where the base's own texts are too short, or as near to the document as
their number can tell. It reads form alone, not what is said, in languages that put spaces between words.

- `doc_reference`, or the prose of `sections:`, of 50 words or more
- `extended` adds function words, questions and long words (spaCy's blank English pipeline and textstat; no model or
  corpus): auto where the extra style is installed, which takes some seconds to import; on asks for it
- passes: style shift +0.62 over 6 texts (1.1 from the document, the base 2.7); +4.9σ above 8 null adapters
- fails: style shift +0.05, +0.2σ: the base's style

In a suite:

    - name: writes_like_it
      kind: style_fingerprint
      prompts: [Tell me about the island., Write about the longest night.]
      max_new_tokens: 64
"""

import numpy as np

from sway_gate.measurements import Floats, Generation, ViewAnswers
from sway_gate.probes import _style
from sway_gate.probes.base import CannotRun, Context, Need, Reading, Skip, require
from sway_gate.spec.probes import StyleFingerprint

CATEGORY = "calibration"
UNITS = "shift"
HARM = False
GENERATES = True
PARTS = ""
PRIOR = None
SCALE = "identity"
RESOLUTION = 1e-3
FLOOR = 0.02
ADVICE = "train longer, or check that doc_reference is in the style that the training text has"

_MIN_DOCUMENT_WORDS, _MAX_DOCUMENT_CHARS, _SHOWN_TEXTS, _SHOWN_CHARS = 50, 200_000, 10, 200


def needs(spec: StyleFingerprint, context: Context) -> list[Need]:
    require(spec.prompts, "prompts")
    _document(spec, context)
    return [Need(request) for request in _requests(spec, context)]


def value(spec: StyleFingerprint, context: Context, view: ViewAnswers) -> Reading:
    pairs = [
        (base, view.text(request))
        for request in _requests(spec, context)
        if _style.words(base := view.base_text(request)) >= _style.MIN_WORDS
    ]
    if not pairs:
        raise Skip(
            f"the base writes under {_style.MIN_WORDS} words after each prompt: no style to compare with"
        )
    document = _document(spec, context)
    toward = np.mean([document.off(base, base) for base, _ in pairs], axis=0)
    size = float(toward @ toward)
    if size <= toward.size / len(pairs):
        raise Skip(
            f"the base writes like the document already: {size**0.5:.1f} standard deviations of prose from it, no more "
            f"than {len(pairs)} texts scatter"
        )
    told = [
        (base, text if _style.words(text) >= _style.MIN_WORDS else base) for base, text in pairs
    ]
    before = np.array([document.off(base, text) for base, text in told])  # [prompts, features]
    after = np.array([document.off(text, base) for base, text in told])
    items = (before - after) @ toward / size
    distances = [float(np.linalg.norm(off.mean(axis=0))) for off in (before, after)]
    details = {
        "features": _features(toward, after.mean(axis=0)),
        "distance_base": distances[0],
        "distance": distances[1],
        "too_short": sum(_style.words(text) < _style.MIN_WORDS for _, text in pairs),
        "left_out": len(spec.prompts) - len(pairs),
        "texts": [text[:_SHOWN_CHARS] for _, text in pairs[:_SHOWN_TEXTS]],
    }
    return Reading(float(items.mean()), items, details)


def rule(spec: StyleFingerprint, reading: Reading) -> str:
    details = reading.details
    if reading.value < spec.assert_shift_gte:
        short = (
            f"; texts of under {_style.MIN_WORDS} words: {details['too_short']}"
            if details["too_short"]
            else ""
        )
        return f"the shift is below {spec.assert_shift_gte:g}{short}"
    if details["distance"] >= details["distance_base"]:
        return "the style moved past the document's or beside it, not nearer"
    return ""


def describe(spec: StyleFingerprint, reading: Reading) -> str:
    far = f"{reading.details['distance']:.1f} from the document, the base {reading.details['distance_base']:.1f}"
    return f"style shift {reading.value:+.2f} over {len(reading.items)} texts ({far})"


def _requests(spec: StyleFingerprint, context: Context) -> list[Generation]:
    return [
        Generation(prompt, spec.max_new_tokens, context.asks(prompt)) for prompt in spec.prompts
    ]


def _document(spec: StyleFingerprint, context: Context) -> _style.Document:
    prose = "\n\n".join(
        section.content.strip() for section in context.sections if section.kind == "prose"
    )
    text = (spec.doc_reference if spec.doc_reference.strip() else prose)[:_MAX_DOCUMENT_CHARS]
    if (words := _style.words(text)) < _MIN_DOCUMENT_WORDS:
        raise CannotRun(
            f"a style takes {_MIN_DOCUMENT_WORDS} words, the document has {words}: give doc_reference, or prose under "
            "`sections:`"
        )
    installed = spec.extended != "off" and _style.extra_installed()
    if spec.extended == "on" and not installed:
        raise CannotRun(
            "extended: on needs an extra: pip install 'sway-gate[style]'; or set it to off"
        )
    return _style.Document(text, installed)


def _features(toward: Floats, after: Floats) -> list[dict[str, object]]:
    """How far base and view are from the document in each feature, in standard deviations of prose."""
    rows = zip(_style.NAMES, toward.tolist(), after.tolist(), strict=False)
    return [{"feature": name, "base": base, "view": view} for name, base, view in rows]
