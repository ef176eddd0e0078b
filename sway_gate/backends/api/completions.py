"""One model on a server, asked through OpenAI's interface for completions."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sway_gate.backends.api.client import Client, Refused
from sway_gate.backends.api.tokens import Token, tokens_by_id, tokens_of
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.text import cut, one_line

Sent = str | Sequence[int]
"""A prompt: a text, or token ids."""
_TOP = (20, 5, 1)
"""Numbers of most probable tokens. Servers limit them: vLLM to 20, OpenAI to 5."""
_TEXT, _LEAST_TOKENS = "The capital of France is", 3
UNSUPPORTED = (400, 422, 500, 501)
"""The status of a request with a field or a value that the server does not know."""
_NOT_FOUND = 404


class NoLogProbs(CannotDecide):
    """The server gives no log-probabilities of given texts, or not the ones of their tokens."""


class Support(NamedTuple):
    """What a server gives.

    `top`: how many of the most probable tokens, 0 if it gives no log-probabilities.
    `scores_prompts`: log-probabilities of a prompt's tokens. `takes_ids`: prompts of token ids.
    """

    top: int = 0
    scores_prompts: bool = False
    takes_ids: bool = False


class ServedModel:
    """The model of that name on a server.

    All methods raise CannotDecide if it does not answer, and UsageError if it has no such model.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.label = f"{client.label} ({cut(one_line(name), 80)})"
        self._client, self._name = client, name

    def require_known(self) -> None:
        """Raise UsageError if the server has no model of this name."""
        with suppress(Refused):
            self._complete(_TEXT)

    def support(self, ids: Sequence[int] = ()) -> Support:
        """What the server gives. `ids`: the tokens of a text, if they are known."""
        takes_ids = bool(ids) and self.takes(ids)
        sent, least = (ids, len(ids)) if takes_ids else (_TEXT, _LEAST_TOKENS)
        for top in _TOP:
            for echo in (True, False):
                answer = self._gives(sent, logprobs=top, **({"echo": True} if echo else {}))
                tokens = tokens_of(answer) or []
                given = max((len(token.top) for token in tokens), default=0)
                if given and len(tokens) >= (least if echo else 1):
                    return Support(min(given, top), echo, takes_ids)
        return Support(takes_ids=takes_ids)

    def takes(self, ids: Sequence[int]) -> bool:
        """Whether the server answers to a prompt of token ids; mlx_lm.server gives 404."""
        try:
            self._complete(ids)
        except Refused as refused:
            if refused.status in (*UNSUPPORTED, _NOT_FOUND):
                return False
            raise
        return True

    def prompt_tokens(self, sent: Sent) -> int | None:
        """The number of tokens that the server reads; None if it does not say."""
        return _prompt_tokens(self._complete(sent))

    def scored(self, sent: Sent, top: int) -> list[Token]:
        """The tokens of the prompt, and the one that the model generates after it, if any."""
        answer = self._complete(sent, logprobs=top, echo=True)
        tokens = tokens_of(answer)
        if tokens is None:
            raise NoLogProbs(
                f"{self.label} gives no log-probabilities of a prompt's tokens; "
                "start it with them (llama-cpp-python: --logits_all true)"
            )
        if isinstance(sent, str):
            return tokens
        by_id = tokens_by_id(answer, sent) or tokens[: len(sent)]
        return [*by_id, *tokens[len(sent) :]]

    def next_token(self, sent: Sent, top: int) -> Token:
        """The most probable next token."""
        tokens = self.next_tokens(sent, top)
        if not tokens:
            raise CannotDecide(f"{self.label} gives no log-probabilities of the next token")
        return tokens[0]

    def next_tokens(self, sent: Sent, top: int) -> list[Token]:
        """The most probable next token; none if the server does not give it, as an end of text."""
        return tokens_of(self._complete(sent, logprobs=top)) or []

    def text(self, sent: Sent, max_tokens: int) -> str:
        """The text that greedy decoding generates."""
        return text_of(self._complete(sent, max_tokens), self.label)

    def _gives(self, sent: Sent, **fields: Any) -> Any:
        """The answer; None if the server does not support the request."""
        try:
            return self._complete(sent, **fields)
        except Refused as refused:
            if refused.status in UNSUPPORTED:
                return None
            raise

    def _complete(self, sent: Sent, max_tokens: int = 1, **fields: Any) -> Any:
        prompt = sent if isinstance(sent, str) else [int(token) for token in sent]
        body = {"model": self._name, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        try:
            answer = self._client.post("completions", body | fields)
        except Refused as refused:
            self._require_name(refused)
            raise
        used = _prompt_tokens(answer)
        if used is not None and not isinstance(sent, str) and used < len(sent):
            raise CannotDecide(
                f"{self.label} reads {used} of {len(sent)} tokens of a prompt; "
                "start it with a longer context"
            )
        return answer

    def _require_name(self, refused: Refused) -> None:
        """Raise UsageError if the refusal names the model, and the server does not list it.

        Servers also give this status for a path and for prompts that they do not have.
        """
        if refused.status != _NOT_FOUND or self._name not in str(refused):
            return
        names = self._client.models()
        if names and self._name not in names:
            raise UsageError(
                f"{self.label}: the server has no model of this name; it serves {listed(names)}"
            )


def listed(names: Sequence[str]) -> str:
    """Names that a server gives, on one line."""
    return cut(one_line(", ".join(names)), 200)


def text_of(answer: Any, label: str) -> str:
    """The text of an answer to a completion or a chat. Raises CannotDecide if it has none."""
    try:
        choice = answer["choices"][0]
        text = choice["text"] if "text" in choice else choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise CannotDecide(f"{label} gives no text")
    return text.encode(errors="replace").decode()  # JSON can contain half a character


def _prompt_tokens(answer: Any) -> int | None:
    """The number of tokens that the server read; None if it does not say, or says 0."""
    try:
        used = answer["usage"]["prompt_tokens"]
    except (KeyError, TypeError):
        return None
    return used if isinstance(used, int) and used > 0 else None
