"""What a probe is.

A probe module holds constants and pure functions over numpy; it never sees a model, a z-score or a verdict:

- `CATEGORY`, `UNITS`; `HARM`: whether less is better and a margin decides, not superiority over the nulls;
- `GENERATES`: whether it reads texts that views write, which is slow: fewer nulls are drawn for it unless asked for;
- `PARTS`: the key in its details that holds one mapping for each of its items, where each is put against the nulls on
  its own; "" where none;
- `PRIOR`: what theory says of the nulls' spread, where it says something;
- `SCALE`, `RESOLUTION`: the scale on which its values have even spread, and the smallest value that it can tell from
  nothing; `FLOOR`: the smallest spread of nulls on that scale that is believed; `ADVICE`: what to do when it fails;
- `needs(spec, context)`: the requests, each with the scales of the adapter at which it is wanted;
- `value(spec, context, view)`: its number for one view, with the items behind it, from the answers at scale 1 and,
  of the fine-tuned view, at the further scales that it asked for;
- an effect has `rule(spec, reading)`: why the change is too small or misshapen, "" where it is not;
- a harm has `margins(spec, reading)`: the distances to its margins over items;
- `describe(spec, reading)`: the number in words.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from sway_gate.measurements import Floats, LogProbs, Request, ViewAnswers
from sway_gate.probes.prompts import is_open, is_request
from sway_gate.spec.schema import Section
from sway_gate.stats import Margin, Prior, Scale
from sway_gate.training_data import packaged


class Embedder(Protocol):
    """Sentence embeddings, of texts as they are and of those that views write."""

    def require(self, model: str) -> None:
        """Raises CannotRun, with the remedy, where `model` (a hub id or a folder) or its extra is not to be had."""

    def embed(self, model: str, texts: Sequence[str]) -> Floats:
        """Unit vectors [texts, dimensions]."""


class Context(NamedTuple):
    """What all probes of a suite share."""

    sections: tuple[Section, ...] = ()
    control: tuple[str, ...] = ()
    """Control prose; the packaged prose where it is empty."""
    seed: int = 0
    chat_template: Literal["auto", "on", "off"] = "off"
    """Which prompts go through the base's chat template; off where it has none."""
    max_tokens: int | None = None
    """The model's context, where it is known."""
    embedder: Embedder | None = None

    def asks(self, prompt: str) -> bool:
        """Whether this prompt goes through the chat template."""
        return self.chat_template == "on" or (self.chat_template == "auto" and is_request(prompt))

    def control_pieces(self, chars: int, limit: int) -> tuple[str, ...]:
        """At most `limit` pieces, of at most `chars` characters, of prose that training did not see."""
        return packaged.chunks(self.control, chars, limit) or packaged.chunks(
            packaged.prose(), chars, limit
        )

    def completion(self, prompt: str, answer: str, *, instruction: bool = False) -> LogProbs:
        """`answer` after `prompt`, joined as training text joins them: behind a template as it is, else by a space.

        `instruction`: the prompt is one by its place in the data, however it is worded, unless it breaks off.
        """
        if self.asks(prompt) or (
            instruction and self.chat_template == "auto" and not is_open(prompt)
        ):
            return LogProbs(prompt, answer.lstrip(), chat=True)
        return LogProbs(
            prompt, answer if not prompt or prompt[-1].isspace() else f" {answer.lstrip()}"
        )


class Need(NamedTuple):
    """One request, wanted of the fine-tuned adapter at each of `scales`, of the nulls at scale 1 or not at all."""

    request: Request
    scales: tuple[float, ...] = (1.0,)
    of_nulls: bool = True


class Reading(NamedTuple):
    """A probe's number for one view. `items` [n]: the parts whose mean carries its uncertainty."""

    value: float
    items: Floats
    details: dict[str, Any]
    contrast: float | None = None
    """What is put against the nulls, where that is not the value itself."""
    units: str = ""
    """Of the value, where they are not the probe's usual ones."""


class CannotRun(Exception):
    """The probe was asked for and cannot run on what it was given: an ERROR, one line, with the remedy."""


class Skip(Exception):
    """There is nothing to measure, and the user could not know: a SKIP with its reason."""


class Probe(Protocol):
    """The shape of a probe module."""

    CATEGORY: str
    UNITS: str
    HARM: bool
    GENERATES: bool
    PARTS: str
    PRIOR: Prior | None
    SCALE: Scale
    RESOLUTION: float
    FLOOR: float
    ADVICE: str

    def needs(self, spec: Any, context: Context, /) -> Sequence[Need]: ...
    def value(self, spec: Any, context: Context, view: ViewAnswers, /) -> Reading: ...
    def rule(self, spec: Any, reading: Reading, /) -> str: ...
    def margins(self, spec: Any, reading: Reading, /) -> tuple[Margin, ...]: ...
    def describe(self, spec: Any, reading: Reading, /) -> str: ...


def require(things: Sequence[Any], what: str) -> None:
    """Raises CannotRun where a probe was configured without what it works on."""
    if not things:
        raise CannotRun(f"{what} is empty; give at least one entry or remove the probe")
