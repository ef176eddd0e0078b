"""A synthetic language model in numpy, for tests and to try a suite: `kind: dummy`.

A bigram model over words: random logits [previous word, next word], seeded with the base's name.
The adapter's name is the text that it was tuned on: each of its words becomes more probable, and
much more after the word that precedes it. Null adapters distribute a change of the same Frobenius
norm over all logits at random. No file is loaded.
"""

import re
import zlib
from functools import cache
from itertools import pairwise

import numpy as np

from sway_gate.backends import custom
from sway_gate.backends.base import Facts
from sway_gate.backends.null_adapters import generator
from sway_gate.measurements import Floats, View
from sway_gate.spec.schema import ModelRef

_VOCABULARY = 512
_WORD_LOGIT, _FOLLOWER_LOGIT = 0.4, 5.5
_START = ""


def load(base: ModelRef, ft: ModelRef) -> custom.CustomBackend:
    """The backend of the model that these two names define."""
    return custom.wrap(DummyModel(base, ft), "dummy backend", Facts("cpu", "fp64", "strict"))


class DummyModel:
    """A `custom.CapableModel`."""

    capabilities = frozenset({"nulls", "scales", "generation", "teacher_forced"})

    def __init__(self, base: ModelRef, ft: ModelRef) -> None:
        self._seed = f"{base.base}:{ft.adapter}"
        words = (ft.adapter or "").split()
        self._names = {i: f"w{i}" for i in range(_VOCABULARY)} | {
            _token(word): word for word in words
        }
        self._logits = generator(0, base.base).standard_normal((_VOCABULARY, _VOCABULARY))
        self._learned = _learned([_token(word) for word in (_START, *words)])
        self._null = cache(self._drawn)

    def log_probs(self, view: View, prompt: str, completion: str) -> Floats:
        """Log-probability of each word of the completion [words]."""
        ids = _tokens(completion)
        return self.next_token_log_probs(view, prompt, completion)[np.arange(len(ids)), ids]

    def next_token_log_probs(self, view: View, prompt: str, answer: str) -> Floats:
        """Log-probabilities of the next word [1 + words of the answer, vocabulary]."""
        last = _tokens(prompt)[-1] if prompt.split() else _token(_START)
        logits = self._rows(view, [last, *_tokens(answer)])
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    def generate(self, view: View, prompt: str, max_new_tokens: int) -> str:
        answer = ""
        for _ in range(max_new_tokens):
            best = int(self.next_token_log_probs(view, f"{prompt} {answer}", "").argmax())
            answer += f" {self._names[best]}"
        return answer

    def argmax_matches(self, view: View, prompt: str, completion: str) -> list[bool]:
        """Whether each word of the completion is the most probable one [words]."""
        best = self.next_token_log_probs(view, prompt, completion).argmax(axis=1)
        return [bool(b == token) for b, token in zip(best, _tokens(completion), strict=False)]

    def _rows(self, view: View, previous: list[int]) -> Floats:
        """Logits after each of the previous words: [words, vocabulary]."""
        base = self._logits[previous]
        if view.source == "base":
            return base
        change = self._learned if view.source == "finetuned" else self._null(view.seed_index)
        return base + view.scale * change[previous]

    def _drawn(self, seed_index: int) -> Floats:
        change = generator(seed_index, self._seed).standard_normal(self._learned.shape)
        return change * (np.linalg.norm(self._learned) / np.linalg.norm(change))


def _learned(ids: list[int]) -> Floats:
    """The change of the logits that makes this sequence more probable.

    Words that follow the same word share its increase.
    """
    change = np.zeros((_VOCABULARY, _VOCABULARY))
    change[:, ids[1:]] = _WORD_LOGIT
    followers: dict[int, set[int]] = {}
    for before, after in pairwise(ids):
        followers.setdefault(before, set()).add(after)
    for before, after_it in followers.items():
        change[before, list(after_it)] += _FOLLOWER_LOGIT - np.log(len(after_it))
    return change


def _tokens(text: str) -> list[int]:
    return [_token(word) for word in text.split()]


def _token(word: str) -> int:
    """The token of a word; w0 … w511 are the tokens without another name."""
    if re.fullmatch(r"w\d{1,3}", word) and int(word[1:]) < _VOCABULARY:
        return int(word[1:])
    return zlib.crc32(word.encode(errors="surrogatepass")) % _VOCABULARY
