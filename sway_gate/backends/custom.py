"""A model of your own as a backend: `kind: custom` with `entry_point: package.module:factory`. See docs/backends.md."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from sway_gate import stats
from sway_gate.backends.base import ALL, Capability, EncodedRequest, Facts
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.measurements import (
    BASE,
    Answer,
    Divergence,
    Fault,
    Floats,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
    View,
)
from sway_gate.spec.schema import ModelRef
from sway_gate.training_data import packaged

_METHODS = {
    "log_probs": "(view, prompt, completion)",
    "next_token_log_probs": "(view, prompt, answer)",
    "generate": "(view, prompt, max_new_tokens)",
    "greedy_hits": "(view, prompt, completion)",
}
_REQUIRED = ("log_probs", "next_token_log_probs")
_REQUIRED_FOR = {"generation": "generate", "recall": "greedy_hits"}
_UNKNOWN = Facts("custom", "", "loose")
_CHARS_PER_TOKEN = 4
# What rounding in a model's own precision may do to a log-probability, and to the sum of all probabilities.
_ROUNDING_NATS, _ROUNDING_SUM = 1e-3, 1e-2


class ScoringModel(Protocol):
    """What `factory(base, ft)` returns. Natural logarithms; every method gives the same for the same arguments.

    `view.source` is "base", "finetuned" or "null"; `view.scale` multiplies the adapter's change. Null adapters need
    "nulls" among the capabilities and differ in `view.number` (0, 1, …); scales other than 1 need "scales".
    """

    def log_probs(self, view: View, prompt: str, completion: str) -> ArrayLike:
        """Log-probability of each token of `completion` after `prompt`: [tokens], the same tokens for all views."""

    def next_token_log_probs(self, view: View, prompt: str, answer: str) -> ArrayLike:
        """Log-probabilities of the next token after `prompt` and after each token of `answer` behind it:
        [1 + tokens of the answer, vocabulary]. Without the capability "generation" `answer` is always empty."""


class CapableModel(ScoringModel, Protocol):
    """A `ScoringModel` with all that is optional. Without `capabilities` it has none."""

    capabilities: frozenset[Capability]

    def generate(self, view: View, prompt: str, max_new_tokens: int) -> str:
        """What greedy decoding writes after `prompt`, without the prompt. Needs "generation" in `capabilities`."""

    def greedy_hits(self, view: View, prompt: str, completion: str) -> ArrayLike:
        """Of each token that `log_probs` scores: whether it is the most probable one, [tokens] of booleans. Needs
        "recall" in `capabilities`."""


def load(entry_point: str | None, base: ModelRef, ft: ModelRef) -> "CustomBackend":
    """Imports the factory from the environment (never from the spec's folder) and wraps what it makes of both models.

    Raises UsageError where the entry point names no factory, CannotDecide where its code fails, each one line.
    """
    label = f"custom backend {entry_point}"
    factory = _factory(entry_point, label)
    with _running(label, "the factory"):
        model = factory(base, ft)
    return wrap(model, label)


def wrap(model: Any, label: str, facts: Facts = _UNKNOWN) -> "CustomBackend":
    """`model`, a `ScoringModel` or `CapableModel`, as a backend; messages start with `label`. Raises CannotDecide where a
    method is missing."""
    declared: Any = getattr(model, "capabilities", frozenset())
    if not isinstance(declared, set | frozenset) or not declared <= ALL:
        raise CannotDecide(
            f"{label}: capabilities must be a set out of {', '.join(sorted(ALL))}, got {declared!r:.80}"
        )
    for method in (*_REQUIRED, *(_REQUIRED_FOR[c] for c in declared if c in _REQUIRED_FOR)):
        if not callable(getattr(model, method, None)):
            raise CannotDecide(
                f"{label}: its {type(model).__name__} lacks the method {method}{_METHODS[method]}"
            )
    return CustomBackend(model, label, frozenset(declared), facts)


def _needed(view: View, request: Request) -> frozenset[Capability]:
    """The capabilities that it takes to measure `request` under `view`."""
    takes: dict[Capability, bool] = {
        "nulls": view.source == "null",
        "scales": view.scale != 1.0,
        "generation": isinstance(request, Generation),
        "recall": isinstance(request, TeacherForced),
    }
    return frozenset(capability for capability, is_taken in takes.items() if is_taken)


class _NotFinite(Exception):
    """The message names the method."""


class _Empty(Exception):
    """A text without a token."""


class _TextRequest(NamedTuple):
    """A request with the texts that the model gets for it."""

    request: Request
    prompt: str
    answer: str = ""


class CustomBackend:
    """A scoring model behind the engine's protocol; rows carry, as their one position, the number of their request."""

    stacked = False

    def __init__(
        self, model: CapableModel, label: str, capabilities: frozenset[Capability], facts: Facts
    ) -> None:
        self._model, self._label = model, label
        self.capabilities, self.facts = capabilities, facts
        self._asked: list[_TextRequest] = []
        self._shapes: dict[Request, tuple[int, ...]] = {}
        self._answers: dict[tuple[str, int], str] = {}

    # Rows

    def encode(self, requests: Sequence[Request]) -> list[tuple[EncodedRequest, str]]:
        return [self._encode(request) for request in requests]

    def _encode(self, request: Request) -> tuple[EncodedRequest, str]:
        if not isinstance(request, TeacherForced) and request.chat:
            raise CannotDecide(
                f"{self._label}: has no chat template; set defaults.chat_template to off"
            )
        asked, note = _TextRequest(request, request.prompt), ""
        match request:
            case Divergence():
                asked, note = self._beside_answer(request)
                row = self._row(asked.prompt + asked.answer)._replace(asks=request.divergence)
            case Generation():
                row = self._row(request.prompt)._replace(asks="text", length=request.max_new_tokens)
            case TeacherForced():
                row = self._row(request.prompt + request.completion)._replace(asks="recall")
            case LogProbs():
                row = self._row(request.prompt + request.completion)
        self._asked.append(asked)
        return row, note

    def _row(self, text: str) -> EncodedRequest:
        """The next request's row, of about as many ids as `text` has tokens."""
        return EncodedRequest((0,) * (1 + len(text) // _CHARS_PER_TOKEN), (len(self._asked),))

    def _beside_answer(self, request: Divergence) -> tuple[_TextRequest, str]:
        """With the base's answer to the bare prompt, where the model can write it."""
        answer, note = "", ""
        if request.positions > 1 and "generation" in self.capabilities:
            answer = self._base_answer(request.prompt, request.positions - 1)
        elif request.positions > 1:
            note = "read at one place, right behind it: the custom backend writes no answers"
        return _TextRequest(request, _stuffing(request.context) + request.prompt, answer), note

    def _base_answer(self, prompt: str, length: int) -> str:
        if (prompt, length) not in self._answers:
            self._answers[prompt, length] = self._text(BASE, prompt, length)
        return self._answers[prompt, length]

    # Sizes: one request a pass, since the model takes no more at a time

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        return len(rows)

    def budget(self) -> int:
        return 1

    def unreached(self) -> tuple[str, ...]:
        return ()

    # Passes

    def measure(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        references: dict[EncodedRequest, Any],
    ) -> list[list[Answer | Fault]]:
        return [[self._measure(view, row, references) for row in rows] for view in views]

    def _measure(
        self, view: View, row: EncodedRequest, references: dict[EncodedRequest, Any]
    ) -> Answer | Fault:
        asked = self._asked[row.positions[0]]
        if lacking := _needed(view, asked.request) - self.capabilities:
            what = f"{type(asked.request).__name__} under the {view} view"
            raise CannotDecide(
                f"{self._label}: {what} needs the capability {', '.join(sorted(lacking))}, not declared"
            )
        try:
            return self._answer(view, asked, row, references)
        except _Empty as error:
            return Fault(f"nothing to score in {error}; give a longer text", "text")
        except _NotFinite as error:
            where = f"from {error} of the {self._label}, on {asked.prompt!r:.80}"
            fault = Fault(
                f"NaN or Inf under the {view} view, {where}", "base" if view == BASE else "adapter"
            )
            if view == BASE:
                references[row] = fault
            return fault

    def _answer(
        self,
        view: View,
        asked: _TextRequest,
        row: EncodedRequest,
        references: dict[EncodedRequest, Any],
    ) -> Answer | Fault:
        match asked.request:
            case Divergence() as request:
                return self._divergence(view, request, asked, row, references)
            case LogProbs(prompt, completion) as request:
                return self._log_probs(view, request, prompt, completion)
            case TeacherForced(prompt, completion) as request:
                log_probs = self._log_probs(view, request, prompt, completion)
                return np.stack(
                    [log_probs, self._hits(view, prompt, completion, len(log_probs))], axis=1
                )
            case Generation(prompt, max_new_tokens):
                return self._text(view, prompt, max_new_tokens)

    def _divergence(
        self,
        view: View,
        request: Divergence,
        asked: _TextRequest,
        row: EncodedRequest,
        references: dict[EncodedRequest, Any],
    ) -> Answer | Fault:
        """[places]. The base's pass leaves its distributions in `references`, or why it has none."""
        if isinstance(references.get(row), Fault):
            return cast(Fault, references[row])
        log_q = self._distributions(view, asked)[: request.positions]
        if view == BASE:
            references[row] = log_q.astype(np.float32)
            return np.zeros(len(log_q))
        log_p = references[row]
        divergence = (
            stats.js(log_p, log_q) if request.divergence == "js" else stats.kl(log_q, log_p)
        )
        if not np.isfinite(divergence).all():
            raise _NotFinite("an infinite KL divergence between the next_token_log_probs")
        return divergence

    # What the model says, checked

    def _distributions(self, view: View, asked: _TextRequest) -> Floats:
        """[1 + tokens of the answer, vocabulary], normalised; -inf is probability 0."""
        name = "next_token_log_probs"
        given = self._array(view, name, asked.prompt, asked.answer)
        fits = given.ndim == 2 and given.shape[0] > 0 and given.shape[1] > 1
        self._check(fits, view, name, _shape_is(given, "[1 + tokens of the answer, vocabulary]"))
        if np.isnan(given).any() or np.isposinf(given).any():
            raise _NotFinite(name)
        self._check_log_probs(given, view, name)
        self._check_shape(given, asked.request, view, name)
        sums = np.exp(given).sum(axis=1, keepdims=True)
        worst = float(sums.flat[abs(sums - 1).argmax()])
        message = f"gave probabilities that sum to {worst:.3g} over the vocabulary, not to 1"
        self._check(abs(worst - 1) <= _ROUNDING_SUM, view, name, message)
        return np.asarray(given - np.log(sums), dtype=np.float64)

    def _log_probs(self, view: View, request: Request, prompt: str, completion: str) -> Floats:
        """[tokens]"""
        given = self._array(view, "log_probs", prompt, completion)
        self._check(given.ndim == 1, view, "log_probs", _shape_is(given, "[tokens]"))
        if not given.size:
            raise _Empty(f"{completion!r:.60} after {prompt!r:.60}")
        if not np.isfinite(given).all():
            raise _NotFinite("log_probs")
        self._check_log_probs(given, view, "log_probs")
        self._check_shape(given, request, view, "log_probs")
        return np.minimum(given, 0.0)

    def _hits(self, view: View, prompt: str, completion: str, tokens: int) -> Floats:
        """[tokens] of 0 and 1."""
        given = self._array(view, "greedy_hits", prompt, completion)
        self._check(
            given.shape == (tokens,),
            view,
            "greedy_hits",
            _shape_is(given, f"[{tokens}], that of log_probs"),
        )
        self._check(
            bool(np.isin(given, (0, 1)).all()),
            view,
            "greedy_hits",
            "gave other values than true and false",
        )
        return given

    def _text(self, view: View, prompt: str, max_new_tokens: int) -> str:
        with _running(self._label, f"generate under the {view} view"):
            text = self._model.generate(view, prompt, max_new_tokens)
        self._check(
            isinstance(text, str), view, "generate", f"gave {type(text).__name__}, not a text"
        )
        return text

    def _array(self, view: View, method: str, *texts: str) -> Floats:
        with _running(self._label, f"{method} under the {view} view"):
            return np.asarray(getattr(self._model, method)(view, *texts), dtype=np.float64)

    def _check_log_probs(self, given: Floats, view: View, method: str) -> None:
        high = float(given.max())
        message = f"gave {high:.3g}; natural logarithms of probabilities are at most 0"
        self._check(high <= _ROUNDING_NATS, view, method, message)

    def _check_shape(self, given: Floats, request: Request, view: View, method: str) -> None:
        """Answers to one request are compared between views, number by number."""
        first = self._shapes.setdefault(request, given.shape)
        message = f"gave shape {list(given.shape)} on {request.prompt!r:.60}, but {list(first)} under another view"
        self._check(first == given.shape, view, method, message)

    def _check(self, holds: bool, view: View, method: str, message: str) -> None:
        if not holds:
            raise CannotDecide(f"{self._label}: {method} under the {view} view {message}")


def _shape_is(given: Floats, wanted: str) -> str:
    return f"gave shape {list(given.shape)}; it must be {wanted}"


def _stuffing(tokens: int) -> str:
    """About so many tokens of neutral prose, a paragraph of its own."""
    text, length = packaged.stuffing() + "\n\n", tokens * _CHARS_PER_TOKEN
    return (text * (length // len(text) + 1))[:length] + "\n\n" if tokens else ""


def _factory(entry_point: str | None, label: str) -> Callable[[ModelRef, ModelRef], Any]:
    module, _, name = (entry_point or "").partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise UsageError(
            f"kind: custom needs entry_point: package.module:factory, got {entry_point!r}"
        )
    try:
        with _running(label, f"the import of {module}"):
            factory = getattr(import_module(module), name, None)
    except CannotDecide as failure:
        cause = failure.__cause__
        if isinstance(cause, ModuleNotFoundError) and f"{module}.".startswith(f"{cause.name}."):
            message = f"{label}: there is no module {cause.name}; install it, or put its folder on PYTHONPATH"
            raise UsageError(message) from None
        raise
    if not callable(factory):
        wrong = (
            f"is {type(factory).__name__}, not a factory" if factory is not None else "is not there"
        )
        raise UsageError(f"{label}: {name} {wrong}; define {name}(base, ft) in {module}")
    return cast(Callable[[ModelRef, ModelRef], Any], factory)


@contextmanager
def _running(label: str, what: str) -> Iterator[None]:
    """Around the user's code: what it raises is one line, an exit too; what it prints stays out of our output."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise CannotDecide(f"{label}: {what} raised {said[:300]}") from error
