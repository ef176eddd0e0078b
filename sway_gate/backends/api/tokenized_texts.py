"""Requests as token ids of the models' tokenizer, and the tokens of a server's answers.

A server that takes no ids gets their text. Its tokens must then be the same ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sway_gate.backends.api.completions import Sent
from sway_gate.backends.api.texts import BaseAnswers, Encoded
from sway_gate.backends.api.tokens import Token, is_broken
from sway_gate.backends.base import EncodedRequest, Store
from sway_gate.backends.passes.encoding import Encoder, Ids, with_stored
from sway_gate.measurements import Request

_NO_TOKEN = Token("", None, {})


class TokenizedTexts:
    """Texts with the tokenizer of both models. `takes_ids`: the server takes ids as prompts."""

    def __init__(self, tokenizer: Any, encoder: Encoder, *, takes_ids: bool) -> None:
        self._tokenizer, self._encoder, self._takes_ids = tokenizer, encoder, takes_ids
        self._added = encoder.prefix
        self._special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())

    def encode(
        self, requests: Sequence[Request], store: Store | None, answers: BaseAnswers
    ) -> list[Encoded]:
        def generate(lengths: Mapping[Ids, int]) -> Mapping[Ids, Ids]:
            texts = answers([(self._sent(ids), n) for ids, n in lengths.items()])
            pairs = zip(lengths.items(), texts, strict=True)
            return {ids: self._ids(text)[:n] for (ids, n), text in pairs}

        needed = self._encoder.answers_needed(requests)
        known = with_stored({ids: n for ids, n in needed.items() if n}, store, generate)
        known |= {ids: () for ids, n in needed.items() if not n}
        return [self._encoder.encode(request, known) for request in requests]

    def sent(self, row: EncodedRequest) -> Sent:
        return self._sent(_whole(row))

    def head(self, row: EncodedRequest) -> Sent:
        return self._sent(row.ids[: row.positions[0] + 1])

    def is_single(self, row: EncodedRequest) -> bool:
        return len(row.positions) == 1

    def measured(self, row: EncodedRequest, tokens: Sequence[Token]) -> list[Token] | None:
        ids = _whole(row)
        found = tokens if self._has_all(ids, tokens) else self._aligned(ids, tokens)
        if found is None or len(found) < len(ids):
            return None
        return [found[p + 1] for p in row.positions if p + 1 < len(found)]

    def _has_all(self, ids: Ids, tokens: Sequence[Token]) -> bool:
        """Whether there is one token for each id: servers may omit special tokens."""
        by_id = not any(token.text for token in tokens[: len(ids)])
        return self._takes_ids and (by_id or len(tokens) > len(ids))

    def _ids(self, text: str) -> Ids:
        ids = self._tokenizer(text.rstrip("\ufffd"), add_special_tokens=False, verbose=False)
        return tuple(ids["input_ids"])

    def _sent(self, ids: Ids) -> Sent:
        """The ids, or their text, to which the server adds the same tokens as the tokenizer."""
        if self._takes_ids:
            return ids
        added = len(self._added) if ids[: len(self._added)] == self._added else 0
        return self._text(ids[added:])

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _aligned(self, ids: Ids, tokens: Sequence[Token]) -> list[Token] | None:
        """One token for each id, and one that was generated; servers may omit special tokens."""
        found, rest = list[Token](), list(tokens)
        for i in ids:
            if rest and self._is_same(i, rest[0].text):
                found.append(rest.pop(0))
            elif i in self._special:
                found.append(_NO_TOKEN)
            else:
                return None
        return found + rest if len(rest) <= 1 else None

    def _is_same(self, i: int, text: str) -> bool:
        piece = self._text([i])
        if i in self._special:
            return text in ("", piece)
        return piece.strip() == text.strip() or is_broken(piece) or is_broken(text)


def _whole(row: EncodedRequest) -> Ids:
    return (*row.ids, *row.targets[-1:])
