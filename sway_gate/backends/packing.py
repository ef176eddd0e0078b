"""Rows that begin with the same tokens share one sequence, which reads those tokens once.

A sequence is a tree: each row continues the row before it at the first token that differs. Answers
of one prompt share the prompt, and prompts of one chat template its system message. Pure data;
`sway_gate.backends.passes.branches` gives each row its positions and hides the other rows from it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sway_gate.backends.base import EncodedRequest

MAX_OWN_TOKENS: Final = 256
"""Maximum after the tokens that all rows of a sequence share: attention reads all pairs of tokens,
hidden ones too."""
_MIN_SHARED: Final = 8
"""Tokens that rows of different prompts must share: fewer are not worth the pairs."""


class Packed(NamedTuple):
    """One sequence of tokens, of one row or of several.

    `shared`: for each row, the number of its first tokens that the row before it has as well.
    """

    rows: tuple[EncodedRequest, ...]
    shared: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of tokens."""
        return sum(len(row.ids) for row in self.rows) - sum(self.shared)

    @property
    def own(self) -> int:
        """Number of tokens after those that all rows share."""
        return self.width - min(self.shared[1:], default=len(self.rows[0].ids))


def pack(rows: Sequence[EncodedRequest], limit: Callable[[], int]) -> list[Packed]:
    """The sequences of a pass over `rows`, in order.

    Neighbours share one of at most `limit()` tokens, so sorted rows share most. No row of the pass
    may be longer, because all sequences of a pass have one kind of mask. The limit is found by
    running the model, so it is called only if there are rows that can share.
    """
    sequences: list[Packed] = []
    longest = max((len(row.ids) for row in rows), default=0)
    for row in rows:
        joined = _joined(sequences[-1], row) if sequences else None
        if joined and max(longest, joined.width) <= limit():
            sequences[-1] = joined
        else:
            sequences.append(Packed((row,), (0,)))
    return sequences


def _joined(sequence: Packed, row: EncodedRequest) -> Packed | None:
    """The sequence with `row`; None if it cannot join."""
    if row.kind == "text" or row.prefix_len:
        return None
    before, prompt = sequence.rows[-1], row.positions[0] + 1
    shared = _common(before.ids, row.ids)
    if shared < min(prompt, _MIN_SHARED):
        return None
    joined = Packed((*sequence.rows, row), (*sequence.shared, shared))
    return joined if joined.own <= MAX_OWN_TOKENS else None


def common_beginning(texts: Sequence[Sequence[int]]) -> int:
    """The number of first tokens that all texts have, without the last token of any."""
    first, *others = texts
    lengths = (_common(first, other) for other in others)
    return min((*lengths, *(len(text) - 1 for text in texts)))


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of first tokens that both have."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
