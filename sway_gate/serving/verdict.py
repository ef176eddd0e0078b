"""What differs between an adapter as it was trained and an artefact that is served.

The artefact's scores of the adapter's answers are compared with the scores of base + s · adapter,
for several s: 1 is the adapter, 0 the base. They are also compared with the scores of the adapter
merged in the artefact's precision. A distance that this precision explains does not count.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from sway_gate.serving.scores import Scores
from sway_gate.serving.weights import Fit
from sway_gate.stats import root_mean_square

Name = Literal[
    "same",
    "same within quantization",
    "same by samples",
    "different by samples",
    "broken",
    "adapter not applied",
    "adapter at another strength",
    "merged onto a quantized base",
    "another base or adapter",
    "template differs",
    "precision not stated",
    "coarser than stated",
    "undecided",
]
_ROUNDED: Final = "same within quantization"
PASSES: Final = ("same", "same within quantization", "same by samples")
OPEN: Final = ("precision not stated", "coarser than stated", "undecided")
SCALES: Final = (0.0, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Steps of √2: alpha/r and alpha/√r differ by a factor of 2.8 at r = 8, a double merge by 2."""
_SAME_NATS: Final = 0.01
"""An error that no one notices: the probability of a token changes by 1%."""
_FACTOR: Final = 2.0
"""How much larger than measured an error of the same precision can be: other ways to merge, to
compute or to round have other errors."""
_CLOSE: Final = 0.25
"""A distance of this share of the adapter's effect is close at any yardstick."""
_FITS: Final = 0.316
"""The closest scale explains 90% of the squared distance if this share of the distance remains."""
_SMALLEST: Final = 0.25
"""A smaller share of the error that 4 bits cause does not come from 4 bits."""
_LEAST_TOKENS: Final = 20


class Merge(NamedTuple):
    """What a right artefact of a precision scores, and how far a right one can be from it."""

    scores: Sequence[Scores]
    error: float


class Parity(NamedTuple):
    """The comparison of one artefact. Distances are root mean squares in nats per token.

    `error`: from the adapter; `from_base`: from the base; `yardstick`: what the artefact's
    precision explains; `unexplained`: from the merge in this precision; `tolerance`: how far from
    it a right one can be; `effect`: of the adapter. `strength`: the s that is closest. `greedy`:
    the texts, of `texts`, whose tokens are most probable under both models or under neither.
    `formats`: what differs in template and tokenizer.
    """

    name: Name
    error: float
    from_base: float
    yardstick: float
    unexplained: float
    tolerance: float
    effect: float
    strength: float
    greedy: int
    texts: int
    tokens: int
    formats: tuple[str, ...] = ()

    @property
    def has_right_weights(self) -> bool:
        return self.name in (*PASSES, "template differs")


def compare(
    known: Mapping[float, Sequence[Scores]],
    artefact: Sequence[Scores],
    merge: Merge,
    formats: tuple[str, ...] = (),
    *,
    is_quantized: bool = False,
) -> Parity:
    """Compare an artefact's scores with the scores of base + s · adapter, for each s in `known`.

    `known` contains 0 and 1. `merge`: in the artefact's precision; its scores do not count if the
    rounding removes too much of the adapter, or makes some of them infinite.
    """
    distances = {scale: distance(artefact, scores) for scale, scores in known.items()}
    pairs = zip(artefact, known[1.0], strict=True)
    same = [not np.any((new.greedy != old.greedy) & ~np.isnan(new.log_probs)) for new, old in pairs]
    effect, rounding = distance(known[1.0], known[0.0]), distance(merge.scores, known[1.0])
    is_usable = rounding <= _CLOSE * effect and not _is_broken(merge.scores)
    off = distance(artefact, merge.scores) if is_usable else math.inf
    found = Parity(
        "undecided",
        error=distances[1.0],
        from_base=distances[0.0],
        yardstick=max(merge.error, rounding),
        unexplained=min(off, distances[1.0]),
        tolerance=max(_SAME_NATS, _FACTOR * merge.error),
        effect=effect,
        strength=min(distances, key=lambda scale: distances[scale]),
        greedy=sum(same),
        texts=len(same),
        tokens=sum(int(np.isfinite(scores.log_probs).sum()) for scores in artefact),
        formats=formats,
    )
    name = _name(found, min(distances.values()))
    if _is_broken(artefact):
        name = "broken"  # the distances omit these tokens
    if name == "same" and is_quantized and found.error > _SAME_NATS:
        name = _ROUNDED
    return found._replace(name=name)


def explained(found: Parity, coarse: float, *, is_stated: bool) -> Parity:
    """The verdict on an artefact that no scale of the adapter explains, if 4 bits explain it.

    `coarse`: the error that 4 bits cause. `is_stated`: whether the precision is known, as one of
    integers; their format can be coarser in some layers.
    """
    if found.error > min(_FACTOR * coarse, found.from_base):
        return found
    if not is_stated:
        return found._replace(name="precision not stated")
    if not _SMALLEST * coarse <= found.error <= _CLOSE * found.effect:
        return found
    return found._replace(name="coarser than stated")


def weighed(found: Parity, weights: Fit | None) -> Parity:
    """The verdict with the artefact's weights, which also show what its precision hides."""
    if weights is None:
        return found
    if weights.is_wrong and found.has_right_weights:
        return found._replace(name="another base or adapter")
    if weights.is_right and found.name in OPEN:
        return found._replace(name="template differs" if found.formats else _ROUNDED)
    return found


def merged_onto(found: Parity, from_nf4: float) -> Parity:
    """The verdict on an artefact with this distance from the merge onto the base in 4 bits."""
    if from_nf4 > _FITS * found.error:
        return found
    return found._replace(name="merged onto a quantized base")


def distance(a: Sequence[Scores], b: Sequence[Scores]) -> float:
    """The root mean square difference of log-probabilities, in nats per token."""
    return root_mean_square([x.log_probs - y.log_probs for x, y in zip(a, b, strict=True)])


def _is_broken(given: Sequence[Scores]) -> bool:
    return any(bool(np.isneginf(scores.log_probs).any()) for scores in given)


def _name(found: Parity, least: float) -> Name:
    """What the distances say, the weights before the template."""
    limit = found.tolerance
    if found.tokens < _LEAST_TOKENS:
        return "undecided"
    if found.effect <= 2 * limit:  # an artefact can be within the limit of both
        limit = min(limit, _CLOSE * found.effect)
        if found.unexplained > limit < found.from_base:
            return "undecided"
    if found.unexplained <= limit:
        return "template differs" if found.formats else "same"
    if found.from_base <= limit:
        return "adapter not applied"
    if least <= max(limit, _FITS * found.error):
        return "adapter at another strength" if found.strength else "adapter not applied"
    return "another base or adapter"
