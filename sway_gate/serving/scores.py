"""Texts on which models are compared, and the scores that a model gives to their tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import Prompt
from sway_gate.errors import CannotDecide
from sway_gate.stats import Floats


class Passage(NamedTuple):
    """A prompt with the adapter's own greedy answer.

    `ids` are its tokens. Those from `start` on, the answer with its end of turn, are scored.
    `head` and `text`: the tokens before `start` and all tokens as text, special tokens written out.
    `pieces`: the text of each token, "" for a special one; `special`: the texts of special tokens.
    """

    prompt: Prompt
    ids: tuple[int, ...]
    start: int
    head: str
    text: str
    pieces: tuple[str, ...]
    special: frozenset[str]

    @property
    def scored(self) -> int:
        """The number of scored tokens."""
        return len(self.ids) - self.start


class Scores(NamedTuple):
    """The scores of one passage under one model, one per scored token: [scored].

    `log_probs`: in nats; NaN for a token that the model splits in another way. `greedy`: whether
    the token is the most probable one.
    """

    log_probs: Floats
    greedy: NDArray[np.bool_]


def scores_of(logits: Floats, targets: Sequence[int]) -> Scores:
    """The scores of `targets` [n] from the logits [n, vocabulary] before each of them."""
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    chosen = logits[np.arange(len(targets)), list(targets)]
    return Scores(chosen - log_sum, chosen >= top)


def require_finite(label: str, scores: Sequence[Scores]) -> None:
    """Raise CannotDecide if the model's numbers are not finite: such tokens would not count."""
    if not all(np.isfinite(one.log_probs).all() for one in scores):
        raise CannotDecide(
            f"{label} computes numbers that are not finite; merge or convert the adapter again"
        )
