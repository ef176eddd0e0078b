"""The contract of a probe.

A probe module contains the constant `KIND` and pure functions over numpy; it never sees a model, a
z-score or a verdict:

- `requests(spec, context)` builds all requests once, as a list or a named tuple that the other
  functions get;
- `needs(spec, requests)` lists them, each with the adapter scales at which it is measured;
- `value(spec, context, requests, view)` computes the number of one view and its items from the
  answers at scale 1. With `Kind.uses_null_mean` it also gets the mean over the other null adapters
  of `null_items(spec, context, requests, view)`;
- `details(spec, context, requests, view)`, optional: details of the fine-tuned view only;
- `minimum_effect(spec, reading)` of an effect probe: why the change has the wrong size or shape, as
  a text or a `Shortfall`; "" if it is right;
- `bounds(spec, reading)`: the tests of a harm probe against its margins, or of an effect probe
  against its limits;
- `reserve(context)` and `rows(requests)`, optional: see `Growing`;
- `summary(spec, reading)`: the number as text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from msgspec.structs import replace

from sway_gate.conversation import (
    Completion,
    Conversation,
    Message,
    Prompt,
    asked,
    asked_again,
)
from sway_gate.details import Details
from sway_gate.measurements import (
    Divergence,
    DivergenceKind,
    Floats,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
    ViewAnswers,
)
from sway_gate.results import Symptom
from sway_gate.spec.schema import Pair, Preference, Reserve, Section
from sway_gate.stats import Margin, Prior, Scale
from sway_gate.training_data import packaged
from sway_gate.training_data.collected import MAX_SAMPLES, MAX_SECTIONS


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The constants of a kind of probe."""

    category: Literal["adherence", "attribution", "calibration", "ablation"]
    units: str
    scale: Scale = "identity"
    """The scale on which its values have equal variance."""
    resolution: float
    """The smallest value that the probe can distinguish from zero, in `units`."""
    min_null_sd: float = 0.0
    """Minimum standard deviation of the nulls, on the scale; above 0 if the kind is calibrated."""
    better: Literal["more", "less", "not less", "neither"]
    """Meaning of a change between two results. "not less": less is worse, more is only a change."""
    best: float | None = None
    """A change past this value is neither better nor worse."""
    of_held_out: bool = False
    """Whether its value is of rows that training did not see."""
    judges_answers: bool = True
    """Whether an adapter with wrong answers fails it."""
    stands_alone: bool = False
    """Whether no other probe answers its question: if the data must be learned, an inconclusive
    estimate clearly outside the limit leaves the verdict open."""
    harm: bool = False
    """A harm probe is tested against margins, an effect probe against the nulls."""
    generates: bool = False
    """Whether it needs generated text, which is slow: by default it gets fewer nulls."""
    uses_nulls: bool = True
    """Whether an effect probe is compared with null adapters; harm probes never are."""
    symptom: Symptom | None = None
    """What a failure says about the adapter: of the comparison with the nulls or the probe's own
    test, and of a limit or a rule that states no symptom."""
    takes_lower_bounds: bool = False
    """Whether divergences may be lower bounds: the probe only tests that they are large enough."""
    uses_null_mean: bool = False
    """Whether `value` gets the mean of the nulls' items."""
    omits_items: bool = False
    """Whether items are only the prompts that move: see `details.MovedPrompts`."""
    null_sd_prior: Prior | None = None
    """Usual standard deviation of the nulls, on the scale, and its weight."""

    @property
    def is_calibrated(self) -> bool:
        """Whether the probe is compared with null adapters."""
        return self.uses_nulls and not self.harm


PromptFormat = Literal["template", "plain", "alpaca"]
"""The chat template, the prompt as text before its answer, or the prompt of Alpaca."""


class Embedder(Protocol):
    """Sentence embeddings of given and of generated texts."""

    def require(self, model: str) -> None:
        """Raise CannotRun if `model` (a hub id or a folder) or its extra is not available."""

    def embed(self, model: str, texts: Sequence[str]) -> Floats:
        """Unit vectors [texts, dimensions]."""


class DivergenceFields(Protocol):
    """The fields of a suite entry that measures divergences."""

    @property
    def divergence(self) -> DivergenceKind: ...
    @property
    def positions(self) -> int: ...


class Context(NamedTuple):
    """The inputs that all probes of a suite share."""

    sections: tuple[Section, ...] = ()
    control: tuple[str, ...] = ()
    """Control prose; the packaged prose if it is empty."""
    seed: int = 0
    chat_template: Literal["auto", "on", "off"] = "off"
    """The prompts that go through the chat template; off if the model has none. auto: all except
    texts that training data or packaged texts contain as prose."""
    prompt_format: PromptFormat | Literal["auto"] = "auto"
    """The format of the prompts in training; auto: the one of the data."""
    learn: Literal["auto", "content", "form", "preference"] = "auto"
    """What training was meant to teach; auto: decided from the data."""
    held_out: tuple[Section, ...] = ()
    """Rows of the same kind that training did not see."""
    reserve: Reserve = Reserve()
    """More rows of the data, for probes that the rows of `sections` leave open."""
    held_out_reserve: Reserve = Reserve()
    max_tokens: int | None = None
    """The model's context length, if it is known."""
    embedder: Embedder | None = None

    def of_samples(self, n: int) -> "Context":
        """The context with `n` samples of the data: the sections, and n - 1 of each reserve."""
        return self._replace(
            reserve=replace(self.reserve, samples=self.reserve.samples[: n - 1]),
            held_out_reserve=replace(
                self.held_out_reserve, samples=self.held_out_reserve.samples[: n - 1]
            ),
        )

    @property
    def has_template(self) -> bool:
        """Whether the model is served with a chat template."""
        return self.chat_template != "off"

    def prompt(self, text: str) -> Prompt:
        """A prompt in the register in which the model is served: through the chat template if
        there is one, with the roles of the data if it is a prompt of the data. In auto, a text that
        prose of the data contains, or that is a plain prompt of its rows, is continued as text."""
        if self.chat_template == "off" or (self.chat_template == "auto" and self._is_plain(text)):
            return text
        return self._with_roles(text)

    def divergence(self, prompt: str, spec: DivergenceFields, context: int = 0) -> Divergence:
        """The view's divergence from the base after `context` tokens of prose and `prompt`."""
        return Divergence(self.prompt(prompt), spec.divergence, spec.positions, context)

    def generation(self, prompt: str, max_new_tokens: int) -> Generation:
        """The text that the view generates after `prompt`."""
        return Generation(self.prompt(prompt), max_new_tokens)

    def completion(self, prompt: str, answer: str) -> LogProbs:
        """`answer` after a prompt of the suite, joined by a space, or after a chat template."""
        asked_as = self.prompt(prompt) if prompt else ""
        if isinstance(asked_as, Conversation):
            return LogProbs(asked_as, answer.lstrip())
        return LogProbs(prompt, _joined(prompt, answer))

    def row(self, pair: Pair | Preference, format: "PromptFormat | None" = None) -> "DataRow":
        """A row of the data in the format in which training saw it, or in `format`.

        Of a preference, the chosen answer. Without a chat template all rows are plain text.
        """
        answer = pair.gold if isinstance(pair, Pair) else pair.chosen
        format = format or self.format(pair)
        if format == "template":
            return DataRow(pair.conversation or asked(pair.prompt), _message(pair))
        if format == "alpaca":
            return DataRow(_alpaca(pair), answer, end=True)
        if pair.form == "plain":
            return DataRow(pair.prompt, answer, end=True)
        return DataRow(pair.prompt, _joined(pair.prompt, answer), end=True)

    def format(self, pair: Pair | Preference) -> "PromptFormat":
        """The format in which the row is asked: `prompt_format`, or the form of the row."""
        if self.prompt_format != "auto":
            return self.prompt_format
        if pair.form == "plain":
            return "plain"
        if self.has_template:
            return "template"
        return "alpaca" if pair.form == "alpaca" else "plain"

    def control_pieces(self, chars: int, limit: int) -> tuple[str, ...]:
        """At most `limit` pieces of control prose, each of at most `chars` characters."""
        own = packaged.chunks(self.control, chars, limit)
        return own or packaged.chunks(packaged.prose(), chars, limit)

    def _is_plain(self, text: str) -> bool:
        sections = (*self.sections, *self.held_out)
        prose = (section.content for section in sections if section.kind == "prose")
        return (
            text in packaged.prompts()
            or any(text.strip() in content for content in prose)
            or any(self.format(pair) == "plain" for pair in self._pairs() if pair.prompt == text)
        )

    def _pairs(self) -> Iterator[Pair | Preference]:
        return (pair for part in (*self.sections, *self.held_out) for pair in part.pairs)

    def _with_roles(self, text: str) -> Conversation:
        """The conversation of the data with this text, otherwise the user's message.

        A paraphrase changes only the last message, so messages before it keep their roles too.
        """
        pairs = [pair for pair in self._pairs() if pair.conversation]
        if same := next((pair.conversation for pair in pairs if pair.prompt == text), None):
            return same
        found = [pair.conversation for pair in pairs if pair.conversation]
        return next(filter(None, (asked_again(one, text) for one in found)), asked(text))


class DataRow(NamedTuple):
    """A prompt of the data and its answer in one format. `end`: training appends the end token."""

    prompt: Prompt
    answer: Completion
    end: bool = False

    def log_probs(self, answer: Completion | None = None) -> LogProbs:
        """The likelihood of this row's answer, or of another one, after its prompt."""
        return LogProbs(self.prompt, self.answer if answer is None else answer, self.end)

    def other(self, text: str) -> Completion:
        """`text` as an answer to this prompt."""
        if isinstance(self.answer, Message):
            return Message("assistant", text)
        space = self.answer[: len(self.answer) - len(self.answer.lstrip())]
        return space + text.lstrip()

    def teacher_forced(self, answer: Completion | None = None) -> TeacherForced:
        """Like `log_probs`, with the tokens that greedy decoding would generate."""
        return TeacherForced(self.prompt, self.answer if answer is None else answer, self.end)


_ALPACA = (
    "Below is an instruction that describes a task{given}. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{task}\n\n{input}### Response:\n"
)
_ALPACA_INPUT = ", paired with an input that provides further context"


def _alpaca(pair: Pair | Preference) -> str:
    """The prompt in the format of Alpaca (Taori et al. 2023)."""
    own = pair.input if isinstance(pair, Pair) else ""
    task = pair.prompt.removesuffix(f"\n\n{own}") if own else pair.prompt
    return _ALPACA.format(
        given=_ALPACA_INPUT if own else "",
        task=task,
        input=f"### Input:\n{own}\n\n" if own else "",
    )


def _message(pair: Pair | Preference) -> Message:
    if isinstance(pair, Preference):
        return Message("assistant", pair.chosen)
    return pair.answer or Message("assistant", pair.gold)


def _joined(prompt: str, answer: str) -> str:
    """The answer as it continues the prompt: after white space, unless the prompt ends in it."""
    return answer if not prompt or prompt[-1].isspace() else f" {answer.lstrip()}"


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


class Supply(NamedTuple):
    """The most items that a test can have, and their name, such as "packaged items".

    `of_sample`: of growing rows, the most rows of one sample of the data.
    """

    n: int
    what: str
    of_sample: int | None = None

    @classmethod
    def of_rows(cls, n: int) -> "Supply":
        """At most `n` rows: more rows of the data are not read."""
        return cls(n, "rows, the maximum of this probe,")

    @classmethod
    def growing(cls, n: int, reserve: Reserve) -> "Supply":
        """At most `n` rows of each sample of the data. `sections:` of a spec are one sample."""
        if reserve.rows:
            return cls(n * MAX_SAMPLES, "rows, the maximum of this probe,", n)
        return cls(n, "rows, the maximum of this probe without a data file,")

    def required(self, items: int) -> int:
        """The items to give, so that a test has at least `items`: samples of a file are whole."""
        if self.of_sample is None or items <= self.of_sample:
            return items
        return -(-items // self.of_sample) * MAX_SECTIONS


class Significance(NamedTuple):
    """An exact test of a probe without null adapters: normal-equivalent z, p and what it is.

    `reachable`: the largest z that the test can reach with these items. If this is below the limit,
    a small z is inconclusive, not a failure. `supply`, `symptom`: see `Bound`.
    """

    z: float
    p: float
    test: str
    reachable: float | None = None
    supply: Supply | None = None
    symptom: Symptom | None = None


class Reading(NamedTuple, Generic[FoundDetails]):
    """A probe's number for one view. `items` [n]: the parts from which its interval is computed."""

    value: float
    items: Floats
    details: FoundDetails
    test_statistic: TestStatistic | None = None
    units: str = ""
    """Units of the value, if they differ from the kind's."""
    significance: Significance | None = None
    """The probe's own test; of kinds that are not compared with null adapters."""
    error_share: float = 1.0
    """The share of the error that the tests may use at this look at growing rows or items."""
    reserve: Reserve = Reserve()
    """More rows of the data; of a probe whose rows grow."""
    symptom: Symptom | None = None
    """What it means that the nulls reach this value, if it differs from the kind's."""


class Bound(NamedTuple):
    """A quantity of a probe, its test over items, and its margin or limit."""

    quantity: str
    test: Margin
    margin: float
    is_upper: bool = False
    """Whether the quantity must stay below the margin."""
    symptom: Symptom | None = None
    """What a quantity outside the margin says about the adapter."""
    n: int | None = None
    """Number of items of the test, if they are not the reading's; 0 if it cannot be increased."""
    supply: Supply | None = None
    """The most items of the test, if there is a maximum: no advice requires more of them."""


class Shortfall(NamedTuple):
    """Why a change has the wrong size or shape, and what this says about the adapter."""

    why: str
    symptom: Symptom | None = None


class CannotRun(Exception):
    """The probe cannot run on its inputs: an ERROR of one line, with the remedy."""


class Skip(Exception):
    """There is nothing to measure, which the user could not know: a SKIP with its reason."""


class Probe(Protocol):
    """A probe module. It also has `bounds` or `minimum_effect`, or both."""

    KIND: Kind

    def requests(self, spec: Any, context: Context, /) -> Any: ...
    def needs(self, spec: Any, requests: Any, /) -> Sequence[Need]: ...
    def value(
        self, spec: Any, context: Context, requests: Any, view: ViewAnswers, /, *null_mean: Floats
    ) -> Reading[Any]: ...
    def null_items(
        self, spec: Any, context: Context, requests: Any, view: ViewAnswers, /
    ) -> Floats: ...
    def summary(self, spec: Any, reading: Reading[Any], /) -> str: ...


@runtime_checkable
class Growing(Protocol):
    """A probe module that measures more rows if the first ones leave it open.

    More samples give the requests of fewer samples, and others; their items come first. It is not
    compared with null adapters. Its `bounds` use the reading's `error_share`.
    """

    def reserve(self, context: Context, /) -> Reserve: ...
    def rows(self, requests: Any, /) -> int: ...


@runtime_checkable
class Extensible(Protocol):
    """A probe module of harm with more packaged items than it measures at first.

    `extended` is the entry with more of them, the first ones included; None if it has its own items
    or all of the packaged ones. They are measured if the first ones leave a harm open.
    Its `bounds` use the reading's `error_share`.
    """

    def extended(self, spec: Any, /) -> Any: ...


@runtime_checkable
class Bounded(Protocol):
    """A probe module with limits that are tested over items."""

    def bounds(self, spec: Any, reading: Reading[Any], /) -> Sequence[Bound]: ...


@runtime_checkable
class Shaped(Protocol):
    """A probe module with a rule about the change that has no interval."""

    def minimum_effect(self, spec: Any, reading: Reading[Any], /) -> str | Shortfall: ...


@runtime_checkable
class Detailed(Protocol):
    """A probe module with details of the fine-tuned view only."""

    def details(
        self, spec: Any, context: Context, requests: Any, view: ViewAnswers, /
    ) -> Details: ...


@runtime_checkable
class Partial(Protocol):
    """A probe module that may judge only a part of its question.

    `caveat` states the other part and the reason; "" if it judges its whole question.
    """

    def caveat(self, spec: Any, reading: Reading[Any], /) -> str: ...


def require(things: Sequence[Any], what: str) -> None:
    """Raise CannotRun if a probe was configured without its inputs."""
    if not things:
        raise CannotRun(f"{what} is empty; give at least one entry or remove the probe")
