"""A model on a server with OpenAI's interface for completions (extra api).

The server must give the log-probabilities of a prompt's tokens: vLLM, SGLang, and llama.cpp through
llama-cpp-python do, with `echo` and `logprobs`. Its tokens are aligned with the passage's by their
position in the text, never by their rank.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urldefrag

import numpy as np

from sway_gate.backends.api.client import KEY, OPENAI_KEY, Client, key_from
from sway_gate.backends.api.tokens import Token, tokens_of
from sway_gate.backends.plain_model import Precision
from sway_gate.errors import CannotDecide
from sway_gate.serving.formats import Format
from sway_gate.serving.scores import Passage, Scores
from sway_gate.stats import Floats
from sway_gate.text import cut, one_line

_LEAST_ALIGNED, _MAX_GAP_NATS = 0.8, 0.5
_CHATS, _CHAT_TOKENS = 3, 16
"""Chats whose prompts are compared, and the length of their answers."""


class Server:
    """`address`: the URL of the interface, as http://localhost:8000/v1, and #MODEL."""

    precision: Precision | None = None  # the interface does not say

    def __init__(self, address: str) -> None:
        self.label = re.sub("//[^/#]*@", "//", address)
        url, model = urldefrag(address)
        self._client = Client(url, self.label, key_from((KEY, OPENAI_KEY)))
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
        self._client.close()

    def _score(self, passage: Passage) -> tuple[Scores, float | None]:
        """The scores, and how far the server's own greedy token is from its score in the prompt."""
        body = {"max_tokens": 1, "temperature": 0, "logprobs": 1}
        rows = tokens_of(self._post("completions", body | {"prompt": passage.text, "echo": True}))
        if rows is None:
            raise CannotDecide(
                f"{self.label} gives no log-probabilities of a prompt's tokens; "
                "start it with them (llama-cpp-python: --logits_all true)"
            )
        scores, best = aligned(passage, rows)
        new = tokens_of(self._post("completions", body | {"prompt": passage.head}))
        if not new or new[0].best is None or not np.isfinite(best[0]):
            return scores, None
        return scores, abs(new[0].best - float(best[0]))

    def _only_model(self) -> str:
        try:
            names = [str(model["id"]) for model in self._client.get("models")["data"]]
        except (KeyError, TypeError):
            names = []
        if len(names) != 1:
            listed = f" ({cut(one_line(', '.join(names)), 200)})" if names else ""
            raise CannotDecide(
                f"{self.label} serves {len(names)} models{listed}; add #MODEL to the address"
            )
        return names[0]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._client.post(path, {"model": self._model, **body})


def aligned(passage: Passage, rows: Sequence[Token]) -> tuple[Scores, Floats]:
    """The scores of the passage's tokens, and the log-probability of the most probable token there.

    A token of the server is the passage's if it begins at the same character and has the same text.
    Characters are counted without special tokens, which servers write in different ways.
    """
    at, found = 0, dict[tuple[int, str], Token]()
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
        if row_here and row_here.log_prob is not None and row_here.best is not None:
            log_probs[k], best[k] = row_here.log_prob, row_here.best
    return Scores(log_probs, log_probs >= best), best
