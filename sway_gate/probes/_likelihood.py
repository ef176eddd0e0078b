"""The likelihood of an answer, per token, under the base and under a view."""

import math
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import completion_text
from sway_gate.measurements import BASE, Fault, Floats, LogProbs, NoAnswer, ViewAnswers


class PerToken(NamedTuple):
    """Mean log-likelihood per token, in nats."""

    base: float
    view: float


def answer_length(tokens: Floats) -> int:
    """Number of teacher-forced tokens [tokens, 4] before the one that ends the answer."""
    ends = np.flatnonzero(tokens[:, 2])
    return int(ends[0]) if ends.size else len(tokens)


def per_token(view: ViewAnswers, request: LogProbs) -> PerToken:
    """The likelihoods of the completion.

    Raises NoAnswer if one of the two is not finite: a difference from it would mean nothing.
    """
    text = repr(completion_text(request.completion)[:40])
    found = PerToken(float(view.base(request).mean()), float(view.get(request).mean()))
    if not math.isfinite(found.base):
        raise NoAnswer(Fault(f"no finite likelihood under the {BASE} view, of {text}", "base"))
    if not math.isfinite(found.view):
        raise NoAnswer(Fault(f"no finite likelihood under the {view.view} view, of {text}"))
    return found


def lift(view: ViewAnswers, request: LogProbs) -> float:
    """Change of the mean log-likelihood per token from the base's, in nats."""
    found = per_token(view, request)
    return found.view - found.base
