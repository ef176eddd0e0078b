"""The contract of a probe.

A probe module contains the constant `KIND` and pure functions over numpy; it never sees a model, a
z-score or a verdict:

- `requests(spec, context)` builds all requests once, as a list or a named tuple that the other
  functions get;
- `needs(spec, requests)` lists them, each with the adapter scales at which it is measured;
- `value(spec, context, requests, view)` computes the number of one view and its items from the
  answers at scale 1. With `Kind.uses_null_mean` it also gets the mean over the other null adapters
  of `null_items(spec, context, requests, view)`;
- `null_requests(requests)`, optional: the part of the requests that `value` gets for a null view;
- `details(spec, context, requests, view)`, optional: details of the fine-tuned view only;
- `minimum_effect(spec, reading)` of an effect probe: why the change is too small or has the wrong
  shape; "" if it is sufficient;
- `bounds(spec, reading)` of a harm probe: the tests against its margins;
- `summary(spec, reading)`: the number as text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from sway_gate.details import Details
from sway_gate.measurements import Divergence, Floats, Generation, LogProbs, Request, ViewAnswers
from sway_gate.probes.prompts import is_open, is_request
from sway_gate.spec.schema import Section
from sway_gate.stats import Margin, Prior, Scale
from sway_gate.training_data import packaged


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The constants of a kind of probe."""

    category: Literal["adherence", "attribution", "calibration", "ablation"]
    units: str
    scale: Scale
    """The scale on which its values have equal variance."""
    resolution: float
    """The smallest value that the probe can distinguish from zero, in `units`."""
    min_null_sd: float
    """Minimum standard deviation of the nulls, on the scale."""
    advice: str
    """Advice for the user if it fails."""
    better: Literal["more", "less", "not less", "neither"]
    """Meaning of a change between two results. "not less": less is worse, more is only a change."""
    best: float | None = None
    """A change past this value is neither better nor worse."""
    harm: bool = False
    """A harm probe is tested against margins, an effect probe against the nulls."""
    generates: bool = False
    """Whether it needs generated text, which is slow: by default it gets fewer nulls."""
    uses_null_mean: bool = False
    """Whether `value` gets the mean of the nulls' items."""
    omits_items: bool = False
    """Whether items are only the prompts that move: see `details.MovedPrompts`."""
    null_sd_prior: Prior | None = None
    """Theoretical standard deviation of the nulls."""


class Embedder(Protocol):
    """Sentence embeddings of given and of generated texts."""

    def require(self, model: str) -> None:
        """Raise CannotRun if `model` (a hub id or a folder) or its extra is not available."""

    def embed(self, model: str, texts: Sequence[str]) -> Floats:
        """Unit vectors [texts, dimensions]."""


class DivergenceFields(Protocol):
    """The fields of a suite entry that measures divergences."""

    @property
    def divergence(self) -> Literal["js", "kl"]: ...
    @property
    def positions(self) -> int: ...


class Context(NamedTuple):
    """The inputs that all probes of a suite share."""

    sections: tuple[Section, ...] = ()
    control: tuple[str, ...] = ()
    """Control prose; the packaged prose if it is empty."""
    seed: int = 0
    chat_template: Literal["auto", "on", "off"] = "off"
    """The prompts that go through the base's chat template; off if it has none."""
    max_tokens: int | None = None
    """The model's context length, if it is known."""
    embedder: Embedder | None = None

    def divergence(self, prompt: str, spec: DivergenceFields, context: int = 0) -> Divergence:
        """The view's divergence from the base after `context` tokens of prose and `prompt`."""
        chat = self._is_chat(prompt)
        return Divergence(prompt, spec.divergence, spec.positions, context, chat)

    def generation(self, prompt: str, max_new_tokens: int) -> Generation:
        """The text that the view generates after `prompt`."""
        return Generation(prompt, max_new_tokens, self._is_chat(prompt))

    def completion(self, prompt: str, answer: str, *, instruction: bool = False) -> LogProbs:
        """`answer` after `prompt`, joined by a space, or without one after a chat template.

        `instruction`: the data mark the prompt as an instruction, regardless of its wording, unless
        it is incomplete text.
        """
        is_instruction = instruction and self.chat_template == "auto" and not is_open(prompt)
        if is_instruction or self._is_chat(prompt):
            return LogProbs(prompt, answer.lstrip(), chat=True)
        if not prompt or prompt[-1].isspace():
            return LogProbs(prompt, answer)
        return LogProbs(prompt, f" {answer.lstrip()}")

    def control_pieces(self, chars: int, limit: int) -> tuple[str, ...]:
        """At most `limit` pieces of control prose, each of at most `chars` characters."""
        own = packaged.chunks(self.control, chars, limit)
        return own or packaged.chunks(packaged.prose(), chars, limit)

    def _is_chat(self, prompt: str) -> bool:
        return self.chat_template == "on" or (self.chat_template == "auto" and is_request(prompt))


class Need(NamedTuple):
    """One request of the fine-tuned adapter at each of `scales`, and of the nulls at scale 1."""

    request: Request
    scales: tuple[float, ...] = (1.0,)
    of_nulls: bool = True


FoundDetails = TypeVar("FoundDetails", bound=Details)


class TestStatistic(NamedTuple):
    """The number that is compared with the nulls, if it is not the value."""

    name: str
    value: float


class Reading(NamedTuple, Generic[FoundDetails]):
    """A probe's number for one view. `items` [n]: the parts from which its interval is computed."""

    value: float
    items: Floats
    details: FoundDetails
    test_statistic: TestStatistic | None = None
    units: str = ""
    """Units of the value, if they differ from the kind's."""


class Bound(NamedTuple):
    """A quantity of a harm probe, its test over items, and its margin."""

    quantity: str
    test: Margin
    margin: float
    is_upper: bool = False
    """Whether the quantity must stay below the margin."""


class CannotRun(Exception):
    """The probe cannot run on its inputs: an ERROR of one line, with the remedy."""


class Skip(Exception):
    """There is nothing to measure, which the user could not know: a SKIP with its reason."""


class Probe(Protocol):
    """A probe module. An effect probe has no `bounds`, a harm probe no `minimum_effect`."""

    KIND: Kind

    def requests(self, spec: Any, context: Context, /) -> Any: ...
    def needs(self, spec: Any, requests: Any, /) -> Sequence[Need]: ...
    def value(
        self, spec: Any, context: Context, requests: Any, view: ViewAnswers, /, *null_mean: Floats
    ) -> Reading[Any]: ...
    def null_items(
        self, spec: Any, context: Context, requests: Any, view: ViewAnswers, /
    ) -> Floats: ...
    def minimum_effect(self, spec: Any, reading: Reading[Any], /) -> str: ...
    def bounds(self, spec: Any, reading: Reading[Any], /) -> Sequence[Bound]: ...
    def summary(self, spec: Any, reading: Reading[Any], /) -> str: ...


@runtime_checkable
class MeasuresNullsLess(Protocol):
    """A probe module that computes the value of a null view from fewer requests."""

    def null_requests(self, requests: Any, /) -> Any: ...


@runtime_checkable
class Detailed(Protocol):
    """A probe module with details of the fine-tuned view only."""

    def details(
        self, spec: Any, context: Context, requests: Any, view: ViewAnswers, /
    ) -> Details: ...


def require(things: Sequence[Any], what: str) -> None:
    """Raise CannotRun if a probe was configured without its inputs."""
    if not things:
        raise CannotRun(f"{what} is empty; give at least one entry or remove the probe")
