"""Requests as texts for a server, and the tokens of its answers, found by their place in the text.

Without a tokenizer there is no chat template, and no end of an answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from sway_gate.backends.api.completions import Sent
from sway_gate.backends.api.tokens import Token, places
from sway_gate.backends.base import AnswerKind, EncodedRequest, Store
from sway_gate.backends.custom import stuffing
from sway_gate.conversation import completion_text
from sway_gate.errors import CannotDecide
from sway_gate.measurements import Divergence, Fault, Generation, LogProbs, Request

BaseAnswers = Callable[[Sequence[tuple[Sent, int]]], list[str]]
"""The base's greedy answers to prompts, each with this many tokens at most."""
Encoded = tuple[EncodedRequest | Fault, str]


class Texts(Protocol):
    def encode(
        self, requests: Sequence[Request], store: Store | None, answers: BaseAnswers
    ) -> list[Encoded]:
        """Encode each request, like `Backend.encode`."""

    def sent(self, row: EncodedRequest) -> Sent:
        """The whole text of a request."""

    def head(self, row: EncodedRequest) -> Sent:
        """The text before the first token that is measured."""

    def is_single(self, row: EncodedRequest) -> bool:
        """Whether a divergence is measured after the prompt only."""

    def measured(self, row: EncodedRequest, tokens: Sequence[Token]) -> list[Token] | None:
        """The measured tokens of an answer to the whole text; None if they cannot be found."""


class _Plain(NamedTuple):
    """The payload of a request without a tokenizer. Tokens from `start` on are measured."""

    text: str
    start: int
    positions: int


class PlainTexts:
    """Texts without a tokenizer. `label` begins messages."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._pieces: dict[_Plain, list[str]] = {}

    def encode(
        self, requests: Sequence[Request], store: Store | None, answers: BaseAnswers
    ) -> list[Encoded]:
        pairs = [
            (r.prompt, r.positions - 1)
            for r in requests
            if isinstance(r, Divergence) and isinstance(r.prompt, str)
        ]
        wanted = list(dict.fromkeys((prompt, n) for prompt, n in pairs if prompt and n))
        written = dict(zip(wanted, answers(wanted), strict=True))
        return [(self._encoded(request, written), "") for request in requests]

    def sent(self, row: EncodedRequest) -> str:
        return _plain(row).text

    def head(self, row: EncodedRequest) -> str:
        return _plain(row).text[: _plain(row).start]

    def is_single(self, row: EncodedRequest) -> bool:
        return _plain(row).start == len(_plain(row).text)

    def measured(self, row: EncodedRequest, tokens: Sequence[Token]) -> list[Token] | None:
        payload = _plain(row)
        if (at := places(payload.text, tokens)) is None:
            return None
        end = len(at) - 1
        self._check_pieces(payload, [token.text for token in tokens[:end]])
        first = next((i for i in range(end) if at[i + 1] > payload.start), end)
        while first and at[first - 1] >= payload.start:
            first -= 1
        if payload.positions:
            return list(tokens[first : min(end + 1, first + payload.positions)])
        is_predicted = first > 0 or tokens[0].log_prob is not None
        return list(tokens[first if is_predicted else 1 : end])

    def _encoded(
        self, request: Request, written: Mapping[tuple[str, int], str]
    ) -> EncodedRequest | Fault:
        prompt, kind, length = request.prompt, _kind(request), 0
        if not isinstance(prompt, str):
            raise CannotDecide(
                f"{self._label}: the chat template is unknown; add tokenizer: FOLDER to models.base"
            )
        if isinstance(request, Divergence):
            answer = written.get((prompt, request.positions - 1), "").rstrip("\ufffd")
            before = stuffing(request.context) + prompt
            payload = _Plain(before + answer, len(before), request.positions)
        elif isinstance(request, Generation):
            payload, length = _Plain(prompt, len(prompt), 0), request.max_new_tokens
        else:
            payload = _Plain(prompt + completion_text(request.completion), len(prompt), 0)
        if not payload.text or (payload.start == 0 and payload.positions):
            return Fault(f"the prompt {prompt!r} has no token; give a longer one", "text")
        size = 1 + len(payload.text) // 4
        return EncodedRequest((0,) * size, (size - 1,), (), kind, length, payload=payload)

    def _check_pieces(self, payload: _Plain, pieces: list[str]) -> None:
        if self._pieces.setdefault(payload, pieces) != pieces:
            raise CannotDecide(
                f"{self._label} splits a text into other tokens under the other model: "
                "base and ft must have the same tokenizer"
            )


def _plain(row: EncodedRequest) -> _Plain:
    return cast(_Plain, row.payload)


def _kind(request: Request) -> AnswerKind:
    if isinstance(request, Divergence):
        return request.divergence
    if isinstance(request, Generation):
        return "text"
    return "logprobs" if isinstance(request, LogProbs) else "teacher_forced"
