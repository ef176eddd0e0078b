"""What is measured, on which weights, and what came back: pure data, shared by probes, engine and backends.

A **view** is one set of weights over the shared base; a **request** is one measurement that can be made of
any view. A probe lists the requests it needs, the engine makes them for every view, `Answers` holds the results.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class View(NamedTuple):
    """One set of weights: the base plus `scale` times an adapter's change.

    `number` tells the null adapters apart; it is 0 for the other sources. Rank multiplier c is the scale √c.
    """

    source: Literal["base", "finetuned", "null"]
    number: int = 0
    scale: float = 1.0

    def scaled(self, factor: float) -> "View":
        """The same adapter at `factor` times its scale; at 0 it is the base itself."""
        scale = self.scale * factor
        return BASE if self.source == "base" or scale == 0.0 else self._replace(scale=scale)

    def __str__(self) -> str:
        name = f"null {self.number}" if self.source == "null" else self.source
        return name if self.scale == 1.0 else f"{name} at scale {self.scale:g}"


BASE = View("base")
FINETUNED = View("finetuned")


class Divergence(NamedTuple):
    """How far a view's next-token distributions are from the base's, in nats, over the whole vocabulary.

    Read after `prompt` and along the base's own greedy answer to it, at `positions` places, fewer where the answer
    ends: the same ones for all views. js: Jensen-Shannon, at most ln 2. kl: KL(view || base). The answer has shape
    [places].
    """

    prompt: str
    divergence: Literal["js", "kl"] = "js"
    positions: int = 1


class LogProbs(NamedTuple):
    """Log-probability, in nats, of each token of `completion` after `prompt`. The answer has shape [tokens].

    With an empty prompt the first token is scored only where the tokenizer starts a text with a token of its own.
    """

    prompt: str
    completion: str


Request = Divergence | LogProbs


class NonFinite(Exception):
    """A view gave NaN or Inf where a number was asked for; the message names view, layer and prompt."""


class Answers:
    """Everything that was measured. Reading what a view could not give raises `NonFinite`."""

    def __init__(
        self, values: Mapping[tuple[View, Request], Floats], faults: Mapping[tuple[View, Request], str]
    ) -> None:
        self._values, self._faults = values, faults

    def get(self, view: View, request: Request) -> Floats:
        if isinstance(request, Divergence) and view.source == "base":
            return np.zeros(1)
        if fault := self._faults.get((view, request)):
            raise NonFinite(fault)
        return self._values[view, request]


class ViewAnswers(NamedTuple):
    """The answers as one view sees them: what a probe's `value` is computed from."""

    answers: Answers
    view: View

    def get(self, request: Request, scale: float = 1.0) -> Floats:
        """This view's answer, with its adapter at `scale`."""
        return self.answers.get(self.view.scaled(scale), request)

    def base(self, request: Request) -> Floats:
        """The base's answer to the same request."""
        return self.answers.get(BASE, request)
