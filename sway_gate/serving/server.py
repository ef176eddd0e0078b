"""A model on a server with OpenAI's interface (extra api).

Its scores need the log-probabilities of a prompt's tokens: vLLM, SGLang, and llama.cpp through
llama-cpp-python give them, with `echo` and `logprobs`. Its tokens are aligned with the passage's by
their position in the text, never by their rank. A server without them can be sampled.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urldefrag

import numpy as np

from sway_gate.backends.api.client import Client, Refused, key_for
from sway_gate.backends.api.completions import NoLogProbs, Sent, ServedModel, listed
from sway_gate.backends.api.sampling import REFUSALS, chats, completions, draw
from sway_gate.backends.api.tokens import Token
from sway_gate.backends.plain_model import Precision
from sway_gate.conversation import Conversation
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.serving.formats import Format
from sway_gate.serving.scores import Passage, Scores
from sway_gate.spec.endpoints import api_root
from sway_gate.stats import Floats

_LEAST_ALIGNED, _MAX_GAP_NATS = 0.8, 0.5
_CHATS, _CHAT_TOKENS = 3, 16
"""Chats whose prompts are compared, and the length of their answers."""


class Server:
    """`address`: the URL of the interface, as http://localhost:8000/v1, and #MODEL.

    Raises UsageError if the server does not have the model, or has several and none is named.
    """

    precision: Precision | None = None  # the interface does not say

    def __init__(self, address: str) -> None:
        self.label = address
        url, name = urldefrag(address)
        root = api_root(url)
        self._client = Client(root, root, key_for(root))
        self._name = name or self._only_model()
        self._model = ServedModel(self._client, self._name)
        self._model.require_known()
        self._takes_ids = False
        self._start = ""  # the text of the token that the server adds to texts

    def scores(self, passages: Sequence[Passage]) -> list[Scores]:
        """The scores of the passages. Raises CannotDecide, or NoLogProbs if it can be sampled."""
        try:
            return self._scores(passages)
        except Refused as refused:
            if refused.status in REFUSALS:
                raise NoLogProbs(str(refused)) from None
            raise

    def samples(self, passages: Sequence[Passage], each: int, length: int) -> list[list[str]]:
        """`each` texts after each prompt, of at most `length` tokens: of completions, or chats."""
        forms = [completions([self._head(passage) for passage in passages])]
        talks = [p.prompt for p in passages if isinstance(p.prompt, Conversation)]
        if len(talks) == len(passages):
            forms.append(chats(talks))
        return draw(self._client, self._name, forms, each, length)

    def _scores(self, passages: Sequence[Passage]) -> list[Scores]:
        self._takes_ids = self._model.takes(passages[0].ids)
        self._start = "" if self._takes_ids else self._added_start(passages[0])
        found = [self._score(passage) for passage in passages]
        known = np.concatenate([np.isfinite(scores.log_probs) for scores, _ in found])
        if known.mean() < _LEAST_ALIGNED:
            raise NoLogProbs(
                f"{self.label} splits the texts into other tokens: {known.mean():.0%} of them can "
                "be compared; serve the model with its own tokenizer"
            )
        gaps = [gap for _, gap in found if gap is not None]
        if gaps and np.median(gaps) > _MAX_GAP_NATS:
            raise NoLogProbs(
                f"{self.label} assigns the log-probabilities of a prompt to the wrong tokens: they "
                f"differ by {np.median(gaps):.2f} nats from the ones of a completion"
            )
        return [scores for scores, _ in found]

    def format(self) -> Format:
        return Format()

    def notes(self, tokenizer: Any, passages: Sequence[Passage]) -> tuple[str, ...]:
        """Whether the server's chat prompts are the template's: as long, with the same answers."""
        lengths: list[str] = []
        answers: list[str] = []
        for passage in passages[:_CHATS]:
            if not isinstance(passage.prompt, Conversation):
                return ()
            messages = [message.as_dict() for message in passage.prompt.messages]
            body = {"model": self._name, "max_tokens": _CHAT_TOKENS, "temperature": 0}
            try:
                chat = self._client.post("chat/completions", body | {"messages": messages})
                used, said = (
                    chat["usage"]["prompt_tokens"],
                    chat["choices"][0]["message"]["content"],
                )
                text = self._model.text(self._head(passage), _CHAT_TOKENS)
            except (CannotDecide, KeyError, IndexError, TypeError):
                return ()
            if isinstance(used, int) and used != passage.start:
                lengths.append(f"{used} instead of {passage.start}")
            if isinstance(said, str) and said.strip() != text.strip():
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
        sent = passage.ids if self._takes_ids else self._text(passage.text)
        rows = self._model.scored(sent, 1)
        scores, best = aligned(passage, rows)
        new = self._model.next_tokens(self._head(passage), 1)
        if not new or new[0].best is None or not np.isfinite(best[0]):
            return scores, None
        return scores, abs(new[0].best - float(best[0]))

    def _head(self, passage: Passage) -> Sent:
        return passage.ids[: passage.start] if self._takes_ids else self._text(passage.head)

    def _text(self, text: str) -> str:
        """The text without its first token if the server adds that."""
        return text.removeprefix(self._start)

    def _added_start(self, passage: Passage) -> str:
        """The special token that begins the passage, if the server adds it once more."""
        start = next((text for text in passage.special if passage.head.startswith(text)), "")
        if not start or self._model.prompt_tokens(passage.head) != passage.start + 1:
            return ""
        without = self._model.prompt_tokens(passage.head.removeprefix(start))
        return start if without == passage.start else ""

    def _only_model(self) -> str:
        names = self._client.models()
        if len(names) > 1:
            raise UsageError(
                f"{self.label} serves {len(names)} models ({listed(names)}); "
                "add #MODEL to the address"
            )
        if not names:
            raise CannotDecide(f"{self.label} lists no models; add #MODEL to the address")
        return names[0]


def aligned(passage: Passage, rows: Sequence[Token]) -> tuple[Scores, Floats]:
    """The scores of the passage's tokens, and the log-probability of the most probable token there.

    A token of the server is the passage's if it begins at the same character and has the same text.
    Characters are counted without special tokens, which servers write in different ways.
    """
    if not any(row.text for row in rows[: len(passage.ids)]):  # found by their ids
        rows = [r._replace(text=text) for r, text in zip(rows, passage.pieces, strict=False)]
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
