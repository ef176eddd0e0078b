"""The true ending of a sentence among false ones: how likely it is under the base and a view."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sway_gate.measurements import Floats, LogProbs

NO_ANSWER = "(no answer)"
_ALMOST_CERTAIN = -1e-9  # a log-probability; keeps the one of the opposite finite


class Choice(NamedTuple):
    """The endings of one sentence, each as a request. The first is the true one.

    `no_answer`: an empty turn of the assistant, instead of the sentence.
    """

    sentence: str
    endings: tuple[str, ...]
    requests: tuple[LogProbs, ...]
    no_answer: LogProbs | None = None

    def all_requests(self) -> tuple[LogProbs, ...]:
        """The requests of the endings and of an empty turn."""
        return (*self.requests, *([self.no_answer] if self.no_answer else []))


class Chosen(NamedTuple):
    """How one sentence is continued.

    `log_odds`: of the true ending over the likeliest false one. `log_share`: the log-probability of
    the true ending among all endings of its sentence. Both are in nats. `likeliest`: an ending.
    """

    log_odds: float
    log_share: float
    likeliest: str


def chosen(answer: Callable[[LogProbs], Floats], choice: Choice) -> Chosen:
    """The choice by the answers of one view.

    An ending's likelihood is the sum over its tokens, which is the log-probability of the text. A
    mean per token would prefer long endings whose later tokens follow from the first ones.
    """
    totals = np.array([answer(request).sum() for request in choice.requests])
    log_odds = float(totals[0] - totals[1:].max())
    log_share = float(totals[0] - np.logaddexp.reduce(totals))
    likeliest = choice.endings[int(totals.argmax())].strip()
    if choice.no_answer is None:
        return Chosen(log_odds, log_share, likeliest)
    silent = min(float(answer(choice.no_answer).sum()), _ALMOST_CERTAIN)
    answers = math.log(-math.expm1(silent))
    likeliest = NO_ANSWER if silent > answers else likeliest
    return Chosen(min(log_odds, answers - silent), log_share + answers, likeliest)
