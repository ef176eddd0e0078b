"""A model on a server with OpenAI's interface for completions (extra api).

The server must give the log-probabilities of a prompt's tokens: vLLM, SGLang, and llama.cpp through
llama-cpp-python do, with `echo` and `logprobs`. Its tokens are aligned with the passage's by their
position in the text, never by their rank.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urldefrag

import numpy as np

from sway_gate.backends.plain_model import Precision
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.serving.formats import Format
from sway_gate.serving.scores import Passage, Scores
from sway_gate.stats import Floats
from sway_gate.text import cut, is_number, one_line

KEY = "SWAY_API_KEY"
_TIMEOUT_S, _ATTEMPTS = 120.0, 4
_MAX_BYTES = 64 * 2**20
"""The maximum size of an answer."""
_LEAST_ALIGNED, _MAX_GAP_NATS = 0.8, 0.5
_CHATS, _CHAT_TOKENS = 3, 16
"""Chats whose prompts are compared, and the length of their answers."""
_LEAST_LOG_PROB = -1e6


class Server:
    """`address`: the URL of the interface, as http://localhost:8000/v1, and #MODEL."""

    precision: Precision | None = None  # the interface does not say

    def __init__(self, address: str) -> None:
        try:
            import httpx
            import tenacity
        except ImportError as error:
            raise CannotDecide(
                f"{error}; install the extra: pip install 'sway-gate[api]'"
            ) from None
        self.label = re.sub("//[^/#]*@", "//", address)
        url, model = urldefrag(address)
        self._key = _key()
        try:
            self._http: Any = httpx.Client(
                base_url=url.rstrip("/") + "/",
                timeout=_TIMEOUT_S,
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                follow_redirects=False,
                trust_env=False,
            )
        except httpx.InvalidURL:
            raise UsageError(
                f"--against {self.label}: not an address; give one as http://localhost:8000/v1#MODEL"
            ) from None
        self._failures: Any = (httpx.RequestError, _Busy)
        self._retrying: Any = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(self._failures),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=0.5, max=8),
            reraise=True,
        )
        self._model = model or self._only_model()

    def scores(self, passages: Sequence[Passage]) -> list[Scores]:
        found = [self._score(passage) for passage in passages]
        known = np.concatenate([np.isfinite(scores.log_probs) for scores, _ in found])
        if known.mean() < _LEAST_ALIGNED:
            raise CannotDecide(
                f"{self.label} splits the texts into other tokens: {known.mean():.0%} of them can "
                "be compared; serve the model with its own tokenizer"
            )
        gaps = [gap for _, gap in found if gap is not None]
        if gaps and np.median(gaps) > _MAX_GAP_NATS:
            raise CannotDecide(
                f"{self.label} assigns the log-probabilities of a prompt to the wrong tokens: they "
                f"differ by {np.median(gaps):.2f} nats from the ones of a completion"
            )
        return [scores for scores, _ in found]

    def format(self) -> Format:
        return Format()

    def notes(self, tokenizer: Any, passages: Sequence[Passage]) -> tuple[str, ...]:
        """Whether the server's chat prompts are the template's: as long, with the same answers."""
        from sway_gate.conversation import Conversation

        lengths: list[str] = []
        answers: list[str] = []
        for passage in passages[:_CHATS]:
            if not isinstance(passage.prompt, Conversation):
                return ()
            messages = [message.as_dict() for message in passage.prompt.messages]
            body = {"max_tokens": _CHAT_TOKENS, "temperature": 0}
            try:
                chat = self._post("chat/completions", body | {"messages": messages})
                used, said = (
                    chat["usage"]["prompt_tokens"],
                    chat["choices"][0]["message"]["content"],
                )
                plain = self._post("completions", body | {"prompt": passage.head})
                text = plain["choices"][0]["text"]
            except (CannotDecide, KeyError, IndexError, TypeError):
                return ()
            if isinstance(used, int) and used != passage.start:
                lengths.append(f"{used} instead of {passage.start}")
            if isinstance(said, str) and isinstance(text, str) and said.strip() != text.strip():
                answers.append(said)
        if len(lengths) == _CHATS:
            return (f"its chat prompts have another number of tokens: {', '.join(lengths)}",)
        if len(answers) == _CHATS:
            return ("its answers to chats differ from its answers to the template's text",)
        return ()

    def close(self) -> None:
        self._http.close()

    def _score(self, passage: Passage) -> tuple[Scores, float | None]:
        """The scores, and how far the server's own greedy token is from its score in the prompt."""
        body = {"max_tokens": 1, "temperature": 0, "logprobs": 1}
        rows = _rows(self._post("completions", body | {"prompt": passage.text, "echo": True}))
        if rows is None:
            raise CannotDecide(
                f"{self.label} gives no log-probabilities of a prompt's tokens; "
                "start it with them (llama-cpp-python: --logits_all true)"
            )
        scores, best = aligned(passage, rows)
        new = _rows(self._post("completions", body | {"prompt": passage.head}))
        if not new or new[0].top is None or not np.isfinite(best[0]):
            return scores, None
        return scores, abs(new[0].top - float(best[0]))

    def _only_model(self) -> str:
        try:
            names = [str(model["id"]) for model in self._get("models")["data"]]
        except (KeyError, TypeError):
            names = []
        if len(names) != 1:
            listed = f" ({cut(one_line(', '.join(names)), 200)})" if names else ""
            raise CannotDecide(
                f"{self.label} serves {len(names)} models{listed}; add #MODEL to the address"
            )
        return names[0]

    def _get(self, path: str) -> Any:
        return self._answer("GET", path, None)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer("POST", path, {"model": self._model, **body})

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            return self._retrying(self._once, method, path, body)
        except self._failures as error:
            raise CannotDecide(f"{self.label} does not answer: {one_line(str(error))}") from None

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        with self._http.stream(method, path, json=body) as response:
            data, status = self._read(response), response.status_code
        if status in (429, 502, 503, 504):
            raise _Busy(f"status {status}")
        if status != 200:
            said = cut(one_line(self._without_key(data.decode(errors="replace"))), 200)
            raise CannotDecide(f"{self.label} answers with status {status}: {said}")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise CannotDecide(f"{self.label} does not answer with JSON") from None

    def _read(self, response: Any) -> bytes:
        """The answer, limited in size and in time."""
        data, end = bytearray(), time.monotonic() + _TIMEOUT_S
        for part in response.iter_bytes():
            data += part
            if len(data) > _MAX_BYTES or time.monotonic() > end:
                raise CannotDecide(f"{self.label} does not end its answer")
        return bytes(data)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _key() -> str:
    """The key of the server; "" if there is none. Raises UsageError."""
    for name in (KEY, "OPENAI_API_KEY"):
        if key := os.environ.get(name, "").strip():
            if key.isascii() and key.isprintable():
                return key
            raise UsageError(f"{name}: contains a character that no key has; copy the key again")
    return ""


class _Busy(Exception):
    """The server asks to try again."""


class _Row(NamedTuple):
    """One token of an answer: its text and log-probability; `top`: the most probable token's."""

    text: str
    log_prob: float | None
    top: float | None


def _rows(answer: Any) -> list[_Row] | None:
    """The tokens of a completion; None if it has no log-probabilities."""
    try:
        given = answer["choices"][0]["logprobs"]
        fields = zip(given["tokens"], given["token_logprobs"], given["top_logprobs"], strict=True)
        return [
            _Row(str(text), _log_prob(value), _log_prob(max(top.values())) if top else None)
            for text, value, top in fields
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def _log_prob(value: Any) -> float | None:
    """The value if it can be a log-probability."""
    return float(value) if is_number(value) and _LEAST_LOG_PROB <= value <= 1e-3 else None


def aligned(passage: Passage, rows: Sequence[_Row]) -> tuple[Scores, Floats]:
    """The scores of the passage's tokens, and the log-probability of the most probable token there.

    A token of the server is the passage's if it begins at the same character and has the same text.
    Characters are counted without special tokens, which servers write in different ways.
    """
    at, found = 0, dict[tuple[int, str], _Row]()
    for row in rows:
        if row.text and row.text not in passage.special:
            found[at, row.text] = row
            at += len(row.text)
    offsets = np.cumsum([0, *map(len, passage.pieces)])
    log_probs = np.full(passage.scored, np.nan)
    best = np.full(passage.scored, np.nan)
    for k in range(passage.scored):
        i = passage.start + k
        row_here = found.get((int(offsets[i]), passage.pieces[i])) if passage.pieces[i] else None
        if row_here and row_here.log_prob is not None and row_here.top is not None:
            log_probs[k], best[k] = row_here.log_prob, row_here.top
    return Scores(log_probs, log_probs >= best), best
