"""Views, requests and answers: pure data, shared by probes, engine and backends.

A **view** is one set of weights over the shared base. A **request** is a text and the quantity to
measure on it under a view. A probe lists its requests, the engine measures them under all views,
`Answers` contains the results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from sway_gate.conversation import Completion, Prompt
from sway_gate.stats import Floats as Floats


class View(NamedTuple):
    """One set of weights: the base plus `scale` times an adapter's change.

    `seed_index` distinguishes the null adapters; it is 0 for other sources. Rank multiplier c is
    the scale √c.
    """

    source: Literal["base", "finetuned", "null"]
    seed_index: int = 0
    scale: float = 1.0

    @property
    def number(self) -> int:
        """The former name of `seed_index`, which custom backends may use."""
        return self.seed_index

    def scaled(self, factor: float) -> "View":
        """The same adapter at `factor` times its scale; at 0 it is the base itself."""
        scale = self.scale * factor
        return BASE if self.source == "base" or scale == 0.0 else self._replace(scale=scale)

    def __str__(self) -> str:
        name = f"null {self.seed_index}" if self.source == "null" else self.source
        return name if self.scale == 1.0 else f"{name} at scale {self.scale:g}"


BASE = View("base")
FINETUNED = View("finetuned")


DivergenceKind = Literal["js", "kl", "log_ratio", "argmax"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The divergence of a view's next-token distributions from the base's.

    Measured after `prompt` and along the base's greedy answer to it: at `positions` positions, or
    fewer if the answer ends before. They are the same for all views.

    js: Jensen-Shannon in nats, at most ln 2. kl: KL(view || base) in nats. log_ratio: the standard
    deviation of ln view - ln base over the base's distribution, in nats; it has no maximum and is
    linear in the change of the logits. argmax: 1 if the most probable token differs from the
    base's, otherwise 0.

    `context`: number of tokens of neutral prose before the prompt; the answer remains the answer to
    the prompt without it. The result has shape [positions].
    """

    prompt: Prompt
    divergence: DivergenceKind = "js"
    positions: int = 1
    context: int = 0


@dataclass(frozen=True, slots=True)
class LogProbs:
    """The log-probability, in nats, of each token of `completion` after `prompt`: [tokens].

    With an empty prompt the first token is scored only if the tokenizer puts a special token before
    a text. A completion that is a message is scored with its end of turn, as in training. `end`: a
    text is scored with the end-of-text token, as in training.
    """

    prompt: Prompt
    completion: Completion
    end: bool = False

    @property
    def whole(self) -> "TeacherForced":
        """The request whose first column is the answer to this one."""
        return TeacherForced(self.prompt, self.completion, self.end)


@dataclass(frozen=True, slots=True)
class TeacherForced:
    """Each token of `completion` after `prompt` and the true text before it: [tokens, 4].

    `LogProbs` scores the same tokens. The columns: the log-probability in nats; 1 if the token is
    the most probable one, which greedy decoding would generate, otherwise 0; 1 if it is the token
    that ends the answer, otherwise 0; its id in the vocabulary, -1 if the backend has none.
    """

    prompt: Prompt
    completion: Completion
    end: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """The text that greedy decoding generates after `prompt`: at most `max_new_tokens` tokens."""

    prompt: Prompt
    max_new_tokens: int


AlongAnswer = Divergence
"""Requests along the base's greedy answer, with the fields prompt, positions and context."""
NumericRequest = AlongAnswer | LogProbs | TeacherForced
Request = NumericRequest | Generation
Answer = Floats | str


class Measurement(NamedTuple):
    """One request under one view."""

    view: View
    request: Request

    @property
    def is_reference(self) -> bool:
        """Whether other views are compared with it: the base's distributions for a divergence."""
        return self.view.source == "base" and isinstance(self.request, Divergence)


def with_base(wanted: Iterable[tuple[View, Request]]) -> tuple[Measurement, ...]:
    """Each measurement once, in order, after the base's measurement of the same request."""
    found: dict[Measurement, None] = {}
    for view, request in wanted:
        found[Measurement(BASE, request)] = None
        found[Measurement(view, request)] = None
    return tuple(found)


class Fault(NamedTuple):
    """The reason why a measurement has no answer.

    `of` adapter: its weights produce NaN or Inf. base: the base's weights do. text: the text cannot
    be measured under any view.
    """

    message: str
    of: Literal["adapter", "base", "text"] = "adapter"


class NoAnswer(Exception):
    """A measurement has a fault instead of an answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Answers:
    """All results. Reading one that is a fault raises `NoAnswer`."""

    def __init__(
        self,
        values: Mapping[Measurement, Answer],
        faults: Mapping[Measurement, Fault],
    ) -> None:
        self._values, self._faults = values, faults

    def __contains__(self, measurement: Measurement) -> bool:
        return measurement in self._values or measurement in self._faults

    def __or__(self, other: "Answers") -> "Answers":
        return Answers({**self._values, **other._values}, {**self._faults, **other._faults})

    def get(self, view: View, request: NumericRequest) -> Floats:
        return cast(Floats, self._answer(view, request))

    def text(self, view: View, request: Generation) -> str:
        return cast(str, self._answer(view, request))

    def _answer(self, view: View, request: Request) -> Answer:
        measurement = Measurement(view, request)
        if fault := self._faults.get(measurement):
            raise NoAnswer(fault)
        return self._values[measurement]


class ViewAnswers(NamedTuple):
    """The answers from which a probe computes its value for one view."""

    answers: Answers
    view: View

    def get(self, request: NumericRequest, scale: float = 1.0) -> Floats:
        """This view's answer, with its adapter at `scale`."""
        return self.answers.get(self.view.scaled(scale), request)

    def base(self, request: NumericRequest) -> Floats:
        """The base's answer to the same request."""
        return self.answers.get(BASE, request)

    def text(self, request: Generation) -> str:
        """The text that this view generates."""
        return self.answers.text(self.view, request)

    def base_text(self, request: Generation) -> str:
        """The text that the base generates."""
        return self.answers.text(BASE, request)
