"""Divergences of two distributions of which a server gives only the most probable tokens.

The other tokens count as one outcome. Merging outcomes cannot increase a divergence, so each number
is at most the divergence over the whole vocabulary (data processing inequality).
"""

from collections.abc import Callable, Mapping
from typing import assert_never

import numpy as np

from sway_gate import stats
from sway_gate.backends.api.tokens import is_unclear
from sway_gate.measurements import DivergenceKind, Floats

Top = Mapping[str, float]
"""Log-probabilities of the most probable tokens."""
_ROUNDING = 1e-2
_ROUNDED = 1e-7
"""What may be left of a probability of 1 after rounding."""


def mass(top: Top) -> float:
    """The probability of the given tokens."""
    return float(np.exp(list(top.values())).sum())


def is_distribution(top: Top) -> bool:
    """Whether the probabilities can belong to one distribution."""
    return bool(top) and mass(top) <= 1 + _ROUNDING


def divergence(kind: DivergenceKind, base: Top, own: Top) -> float:
    """At most the divergence of `own` from `base`; of kind argmax, exactly it."""
    match kind:
        case "argmax":
            return float(max(base, key=lambda t: base[t]) != max(own, key=lambda t: own[t]))
        case "js":
            return _bound(stats.js, base, own)
        case "kl":
            return _bound(lambda p, q: stats.kl(q, p), base, own)
        case "log_ratio":
            raise ValueError("log_ratio needs the whole vocabulary")
        case _:
            assert_never(kind)


def _bound(measure: Callable[[Floats, Floats], Floats], base: Top, own: Top) -> float:
    """The larger of two bounds: tokens that only one side gives are a separate outcome."""
    base, own = _clear(base), _clear(own)
    pairs = _outcomes(base, own), _outcomes(own, base)[::-1]
    return max(float(measure(_logs(p), _logs(q))) for p, q in pairs)


def _clear(top: Top) -> Top:
    return {text: value for text, value in top.items() if not is_unclear(text)}


def _outcomes(one: Top, other: Top) -> tuple[Floats, Floats]:
    """Probabilities of the common tokens, of the tokens that only `one` gives, and of the rest.

    Under `other`, each token that it does not give is at most as probable as its least one. Within
    this limit, the second outcome gets the probability that makes the divergence smallest.
    """
    common = [text for text in one if text in other]
    p = np.exp([one[text] for text in common])
    q = np.exp([other[text] for text in common])
    alone = [text for text in one if text not in other]
    single = float(np.exp([one[text] for text in alone]).sum())
    rest_p, rest_q = max(1 - p.sum(), single) + _ROUNDED, max(1 - q.sum(), 0.0) + _ROUNDED
    proportional = single * rest_q / rest_p
    limit = len(alone) * float(np.exp(min(other.values(), default=0.0)))
    least = min(proportional, limit)
    return np.array([*p, single, rest_p - single]), np.array([*q, least, rest_q - least])


def _logs(probabilities: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(probabilities / probabilities.sum())
    return logs
