"""A user's object as a backend: `kind: custom` with `entry_point: package.module:factory`.

See docs/backends.md.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol, assert_never, cast

import numpy as np
from numpy.typing import ArrayLike

from sway_gate import stats
from sway_gate.backends.base import (
    ALL,
    OF_MODELS,
    AnswerKind,
    Capability,
    EncodedRequest,
    Facts,
    PassResult,
    Store,
    capabilities_needed,
)
from sway_gate.conversation import completion_text
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.measurements import (
    BASE,
    AlongAnswer,
    Answer,
    Divergence,
    DivergenceKind,
    Fault,
    Floats,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
    View,
)
from sway_gate.spec.schema import ModelRef
from sway_gate.text import cut, one_line
from sway_gate.training_data import packaged

DIVERGENCES: dict[DivergenceKind, Callable[[Floats, Floats], Floats]] = {
    "js": stats.js,
    "kl": lambda base, own: stats.kl(own, base),
    "log_ratio": stats.log_ratio_sd,
    "argmax": lambda base, own: (base.argmax(-1) != own.argmax(-1)).astype(np.float64),
}
"""Divergences of a view's log-probabilities from the base's: (base, view)."""
_METHODS = {
    "log_probs": "(view, prompt, completion)",
    "next_token_log_probs": "(view, prompt, answer)",
    "generate": "(view, prompt, max_new_tokens)",
    "argmax_matches": "(view, prompt, completion)",
}
_REQUIRED = ("log_probs", "next_token_log_probs")
_REQUIRED_FOR = {"generation": "generate", "teacher_forced": "argmax_matches"}
_OLD_CAPABILITY = {"recall": "teacher_forced"}
_OLD_METHOD = {"argmax_matches": "greedy_hits"}
"""Names that objects may use instead of the current ones."""
_UNKNOWN = Facts("custom", "", "loose")
_CHARS_PER_TOKEN = 4
# Tolerated rounding errors of a log-probability and of the sum of all probabilities.
_ROUNDING_NATS, _ROUNDING_SUM = 1e-3, 1e-2


class ScoringModel(Protocol):
    """The object that `factory(base, ft)` returns. Its methods are deterministic.

    `view.source` is "base", "finetuned" or "null"; `view.scale` multiplies the adapter's change.
    Null adapters need the capability "nulls" and differ in `view.seed_index` (0, 1, …). Scales
    other than 1 need "scales". Logarithms are natural.
    """

    def log_probs(self, view: View, prompt: str, completion: str) -> ArrayLike:
        """The log-probability of each token of `completion` after `prompt`: [tokens].

        The tokens are the same under all views.
        """

    def next_token_log_probs(self, view: View, prompt: str, answer: str) -> ArrayLike:
        """Log-probabilities of the next token: [1 + tokens of the answer, vocabulary].

        After `prompt`, then after each token of `answer`, which follows the prompt. Without the
        capability "generation" `answer` is always empty.
        """


class CapableModel(ScoringModel, Protocol):
    """A `ScoringModel` with all optional members. Without `capabilities` it has none of them."""

    capabilities: frozenset[Capability]

    def generate(self, view: View, prompt: str, max_new_tokens: int) -> str:
        """The text that greedy decoding generates after `prompt`, without the prompt.

        Needs the capability "generation".
        """

    def argmax_matches(self, view: View, prompt: str, completion: str) -> ArrayLike:
        """Whether each token that `log_probs` scores is the most probable one: booleans [tokens].

        Needs the capability "teacher_forced".
        """


def load(entry_point: str | None, base: ModelRef, ft: ModelRef) -> "CustomBackend":
    """Import the factory, call it and wrap the object that it returns.

    The module is imported from the environment, never from the spec's folder. Raises UsageError if
    the entry point is not a factory, CannotDecide if its code fails.
    """
    label = f"custom backend {entry_point}"
    factory = _factory(entry_point, label)
    with _running(label, "the factory"):
        model = factory(base, ft)
    return wrap(model, label)


def wrap(model: Any, label: str, facts: Facts = _UNKNOWN) -> "CustomBackend":
    """Wrap a `ScoringModel` or `CapableModel` as a backend. Messages start with `label`.

    Raises CannotDecide if a method is missing or a capability is unknown.
    """
    declared: Any = getattr(model, "capabilities", frozenset())
    optional = ALL - OF_MODELS
    known = optional | _OLD_CAPABILITY.keys()
    if not isinstance(declared, set | frozenset) or not declared <= known:
        raise CannotDecide(
            f"{label}: capabilities must be a subset of {', '.join(sorted(optional))}; "
            f"got {declared!r:.80}"
        )
    capabilities = frozenset(_OLD_CAPABILITY.get(name, name) for name in declared)
    needed = [method for name, method in _REQUIRED_FOR.items() if name in capabilities]
    for method in (*_REQUIRED, *needed):
        if not callable(getattr(model, _own_name(model, method), None)):
            raise CannotDecide(
                f"{label}: its {type(model).__name__} lacks the method {method}{_METHODS[method]}"
            )
    found = cast(frozenset[Capability], capabilities) | OF_MODELS
    return CustomBackend(model, label, found, facts)


def _own_name(model: Any, method: str) -> str:
    """The name under which `model` has `method`: its old one only if it lacks the new one."""
    old = _OLD_METHOD.get(method, method)
    return old if hasattr(model, old) and not hasattr(model, method) else method


class _NotFinite(Exception):
    """The message names the method."""


class _Empty(Exception):
    """A text without a token."""


class _TextRequest(NamedTuple):
    """A request with the two texts that the model gets for it.

    `after`: the completion, or the base's answer, along which divergences are measured.
    """

    request: Request
    prompt: str
    after: str = ""


class _CheckedModel:
    """The user's model with checked answers. Raises CannotDecide that names the failing method."""

    def __init__(self, model: CapableModel, label: str) -> None:
        self._model, self._label = model, label
        self._shapes: dict[Request, tuple[int, ...]] = {}

    def distributions(self, view: View, texts: _TextRequest) -> Floats:
        """Normalised log-probabilities [1 + tokens of the answer, vocabulary]; -inf is 0."""
        name = "next_token_log_probs"
        given = self._array(view, name, texts.prompt, texts.after)
        fits = given.ndim == 2 and given.shape[0] > 0 and given.shape[1] > 1
        self._check(fits, view, name, _shape_is(given, "[1 + tokens of the answer, vocabulary]"))
        if np.isnan(given).any() or np.isposinf(given).any():
            raise _NotFinite(name)
        self._check_log_probs(given, view, name)
        self._check_shape(given, texts.request, view, name)
        sums = np.exp(given).sum(axis=1, keepdims=True)
        worst = float(sums.flat[abs(sums - 1).argmax()])
        message = f"returned probabilities that sum to {worst:.3g} over the vocabulary, not to 1"
        self._check(abs(worst - 1) <= _ROUNDING_SUM, view, name, message)
        return np.asarray(given - np.log(sums), dtype=np.float64)

    def log_probs(self, view: View, texts: _TextRequest) -> Floats:
        """Log-probability of each token of the completion [tokens]."""
        name, prompt, completion = "log_probs", texts.prompt, texts.after
        given = self._array(view, name, prompt, completion)
        self._check(given.ndim == 1, view, name, _shape_is(given, "[tokens]"))
        if not given.size:
            raise _Empty(f"{completion!r:.60} after {prompt!r:.60}")
        if not np.isfinite(given).all():
            raise _NotFinite(name)
        self._check_log_probs(given, view, name)
        self._check_shape(given, texts.request, view, name)
        return np.minimum(given, 0.0)

    def argmax_matches(self, view: View, texts: _TextRequest, tokens: int) -> Floats:
        """1 for each token that is the most probable one, otherwise 0 [tokens]."""
        name = _own_name(self._model, "argmax_matches")
        given = self._array(view, name, texts.prompt, texts.after)
        wrong_shape = _shape_is(given, f"[{tokens}], like log_probs")
        self._check(given.shape == (tokens,), view, name, wrong_shape)
        are_booleans = bool(np.isin(given, (0, 1)).all())
        self._check(are_booleans, view, name, "returned other values than true and false")
        return given

    def text(self, view: View, prompt: str, max_new_tokens: int) -> str:
        """The generated text."""
        with _running(self._label, f"generate under the {view} view"):
            text = self._model.generate(view, prompt, max_new_tokens)
        wrong_type = f"returned {type(text).__name__}, not a text"
        self._check(isinstance(text, str), view, "generate", wrong_type)
        return text

    def _array(self, view: View, method: str, *texts: str) -> Floats:
        with _running(self._label, f"{method} under the {view} view"):
            return np.asarray(getattr(self._model, method)(view, *texts), dtype=np.float64)

    def _check_log_probs(self, given: Floats, view: View, method: str) -> None:
        high = float(given.max())
        message = f"returned {high:.3g}; natural logarithms of probabilities are at most 0"
        self._check(high <= _ROUNDING_NATS, view, method, message)

    def _check_shape(self, given: Floats, request: Request, view: View, method: str) -> None:
        """Answers to one request are compared between views, so their shapes must be equal."""
        first = self._shapes.setdefault(request, given.shape)
        shapes = f"{list(given.shape)} on {request.prompt!r:.60}, but {list(first)}"
        message = f"returned shape {shapes} under another view"
        self._check(first == given.shape, view, method, message)

    def _check(self, holds: bool, view: View, method: str, message: str) -> None:
        if not holds:
            raise CannotDecide(f"{self._label}: {method} under the {view} view {message}")


def _encoded(texts: _TextRequest, kind: AnswerKind) -> EncodedRequest:
    """The encoded request, with about as many ids as the texts have tokens."""
    ids = (0,) * (1 + len(texts.prompt + texts.after) // _CHARS_PER_TOKEN)
    request = texts.request
    length = request.max_new_tokens if isinstance(request, Generation) else 0
    return EncodedRequest(ids, (len(ids) - 1,), (), kind, length, payload=texts)


class CustomBackend:
    """Implements `Backend` with a scoring model, one request and one view per pass.

    The payload of an encoded request is its `_TextRequest`; its ids only have its approximate
    length.
    """

    batches_views = False
    pack_limit = 0

    def __init__(
        self, model: CapableModel, label: str, capabilities: frozenset[Capability], facts: Facts
    ) -> None:
        self._model, self._label = _CheckedModel(model, label), label
        self.capabilities, self.facts = capabilities, facts
        self._base_answer = cache(partial(self._model.text, BASE))

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        return len(rows)

    def budget(self) -> int:
        return 1

    def unused_modules(self) -> tuple[str, ...]:
        return ()

    # Encoding

    def encode(
        self, requests: Sequence[Request], store: Store | None = None
    ) -> list[tuple[EncodedRequest, str]]:
        return [self._encode(request) for request in requests]

    def _encode(self, request: Request) -> tuple[EncodedRequest, str]:
        if not isinstance(request.prompt, str):
            raise CannotDecide(
                f"{self._label}: has no chat template; set defaults.chat_template to off"
            )
        match request:
            case Divergence():
                texts, note = self._with_answer(request, request.prompt)
                return _encoded(texts, request.divergence), note
            case Generation():
                return _encoded(_TextRequest(request, request.prompt), "text"), ""
            case TeacherForced() | LogProbs():
                kind: AnswerKind = "logprobs" if isinstance(request, LogProbs) else "teacher_forced"
                completion = completion_text(request.completion)
                return _encoded(_TextRequest(request, request.prompt, completion), kind), ""
            case _:
                assert_never(request)

    def _with_answer(self, request: AlongAnswer, prompt: str) -> tuple[_TextRequest, str]:
        """The request with the base's answer to the bare prompt, if the model can write it."""
        answer, note = "", ""
        if request.positions > 1 and "generation" in self.capabilities:
            answer = self._base_answer(prompt, request.positions - 1)
        elif request.positions > 1:
            note = (
                "read only at the first position after the prompt: "
                "the custom backend cannot generate text"
            )
        return _TextRequest(request, stuffing(request.context) + prompt, answer), note

    # Passes

    def forward(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        base_log_probs: Sequence[Any] | None = None,
    ) -> PassResult:
        texts = [cast(_TextRequest, row.payload) for row in rows]
        if base_log_probs is None and isinstance(texts[0].request, Divergence):
            base_log_probs = [self._or_fault(BASE, t, self._base_distributions) for t in texts]
        base = base_log_probs or [None] * len(rows)
        answers = [
            [self._answer(view, t, b) for t, b in zip(texts, base, strict=True)] for view in views
        ]
        return PassResult(answers, base_log_probs)

    def _answer(self, view: View, texts: _TextRequest, base: Any) -> Answer | Fault:
        if lacking := set(capabilities_needed(view, texts.request)) - self.capabilities:
            what = f"{type(texts.request).__name__} under the {view} view"
            raise CannotDecide(
                f"{self._label}: {what} needs the capability {', '.join(sorted(lacking))}, "
                "which is not declared"
            )
        if isinstance(base, Fault):
            return base
        match texts.request:
            case Divergence() if view == BASE:
                return np.zeros(len(base))
            case Divergence():
                return self._or_fault(view, texts, partial(self._divergence, base=base))
            case LogProbs():
                return self._or_fault(view, texts, self._model.log_probs)
            case TeacherForced():
                return self._or_fault(view, texts, self._teacher_forced)
            case Generation(_, max_new_tokens):
                return self._model.text(view, texts.prompt, max_new_tokens)
            case _:
                assert_never(texts.request)

    def _or_fault(
        self, view: View, texts: _TextRequest, measure: Callable[[View, _TextRequest], Floats]
    ) -> Floats | Fault:
        """The answer of `measure`, or the fault if it is not a number."""
        try:
            return measure(view, texts)
        except _Empty as error:
            return Fault(f"no token to score in {error}; give a longer text", "text")
        except _NotFinite as error:
            where = f"from {error} of the {self._label}, on {texts.prompt!r:.80}"
            message = f"NaN or Inf under the {view} view, {where}"
            return Fault(message, "base" if view == BASE else "adapter")

    def _base_distributions(self, view: View, texts: _TextRequest) -> Any:
        """The base's log-probabilities [positions, vocabulary]; float32, kept for all views."""
        positions = cast(Divergence, texts.request).positions
        return self._model.distributions(view, texts)[:positions].astype(np.float32)

    def _divergence(self, view: View, texts: _TextRequest, base: Floats) -> Floats:
        """Divergence from the base at each position [positions]."""
        own = self._model.distributions(view, texts)[: len(base)]
        kind = cast(Divergence, texts.request).divergence
        divergence = DIVERGENCES[kind](base, own)
        if not np.isfinite(divergence).all():
            raise _NotFinite(f"an infinite {kind} divergence between the next_token_log_probs")
        return divergence

    def _teacher_forced(self, view: View, texts: _TextRequest) -> Floats:
        """Log-probability, argmax match and no end of each token [tokens, 3]."""
        log_probs = self._model.log_probs(view, texts)
        matches = self._model.argmax_matches(view, texts, len(log_probs))
        return np.stack([log_probs, matches, np.zeros_like(log_probs)], axis=1)


def _shape_is(given: Floats, wanted: str) -> str:
    return f"returned shape {list(given.shape)}; it must be {wanted}"


def stuffing(tokens: int) -> str:
    """About `tokens` tokens of neutral prose, as a separate paragraph."""
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
            raise UsageError(
                f"{label}: module {cause.name} not found; "
                "install it, or put its folder on PYTHONPATH"
            ) from None
        raise
    if not callable(factory):
        found = f"is {type(factory).__name__}, not a factory"
        wrong = "does not exist" if factory is None else found
        raise UsageError(f"{label}: {name} {wrong}; define {name}(base, ft) in {module}")
    return cast(Callable[[ModelRef, ModelRef], Any], factory)


@contextmanager
def _running(label: str, what: str) -> Iterator[None]:
    """Run the user's code: exceptions and exits become CannotDecide, prints go to stderr."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        text = cut(one_line(f"{type(error).__name__}: {error}"), 300)
        raise CannotDecide(f"{label}: {what} raised {text}") from error
