"""What is measured, on which weights, and what came back: pure data, shared by probes, engine and backends.

A **view** is one set of weights over the shared base; a **request** is one measurement that can be made of
any view. A probe lists the requests it needs, the engine makes them for every view, `Answers` holds the results.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

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


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far a view's next-token distributions are from the base's, in nats, over the whole vocabulary.

    Read after `prompt` and along the base's own greedy answer to it, at `positions` places, fewer where the answer
    ends: the same ones for all views. js: Jensen-Shannon, at most ln 2. kl: KL(view || base). `context`: so many tokens
    of neutral prose stand in front of the prompt; the answer stays the one to the bare prompt. `chat`: the prompt goes
    through the chat template. The answer has shape [places].
    """

    prompt: str
    divergence: Literal["js", "kl"] = "js"
    positions: int = 1
    context: int = 0
    chat: bool = False


@dataclass(frozen=True, slots=True)
class LogProbs:
    """Log-probability, in nats, of each token of `completion` after `prompt`. The answer has shape [tokens].

    With an empty prompt the first token is scored only where the tokenizer starts a text with a token of its own.
    """

    prompt: str
    completion: str
    chat: bool = False


@dataclass(frozen=True, slots=True)
class TeacherForced:
    """Of each token of `completion` after `prompt`, with the true text before it: its log-probability in nats, and 1
    where it is the most probable token, which greedy decoding would write, else 0. The answer has shape [tokens, 2]."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What a view writes after `prompt` by greedy decoding: at most `max_new_tokens` tokens. The answer is a text."""

    prompt: str
    max_new_tokens: int
    chat: bool = False


Request = Divergence | LogProbs | TeacherForced | Generation
Answer = Floats | str


class Fault(NamedTuple):
    """In place of an answer: what went wrong, where, and whose fault it is.

    `of` adapter: its weights give NaN or Inf. base: the base's own do. text: it cannot be measured under any view.
    """

    message: str
    of: Literal["adapter", "base", "text"] = "adapter"


class NoAnswer(Exception):
    """A view gave no number where one was asked for."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Answers:
    """Everything that was measured. Reading what a view could not give raises `NoAnswer`."""

    def __init__(
        self,
        values: Mapping[tuple[View, Request], Answer],
        faults: Mapping[tuple[View, Request], Fault],
    ) -> None:
        self._values, self._faults = values, faults

    def get(self, view: View, request: Divergence | LogProbs | TeacherForced) -> Floats:
        return cast(Floats, self._answer(view, request))

    def text(self, view: View, request: Generation) -> str:
        return cast(str, self._answer(view, request))

    def _answer(self, view: View, request: Request) -> Answer:
        if fault := self._faults.get((view, request)):
            raise NoAnswer(fault)
        return self._values[view, request]


class ViewAnswers(NamedTuple):
    """The answers as one view sees them: what a probe's `value` is computed from."""

    answers: Answers
    view: View

    def get(self, request: Divergence | LogProbs | TeacherForced, scale: float = 1.0) -> Floats:
        """This view's answer, with its adapter at `scale`."""
        return self.answers.get(self.view.scaled(scale), request)

    def base(self, request: Divergence | LogProbs | TeacherForced) -> Floats:
        """The base's answer to the same request."""
        return self.answers.get(BASE, request)

    def text(self, request: Generation) -> str:
        """What this view writes."""
        return self.answers.text(self.view, request)

    def base_text(self, request: Generation) -> str:
        """What the base writes."""
        return self.answers.text(BASE, request)
