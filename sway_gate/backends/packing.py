"""Rows that begin with the same prompt share one sequence: the prompt, then each row's own tokens.

The prompt is read once for all its answers. Pure data; `sway_gate.backends.passes.branches` gives
each row its positions and hides the other rows from it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sway_gate.backends.base import EncodedRequest

MAX_OWN_TOKENS: Final = 256
"""Maximum over the rows of a sequence: attention reads all pairs of tokens, hidden ones too."""


class Packed(NamedTuple):
    """One sequence of tokens, of one row or of several with the same first `shared` tokens."""

    rows: tuple[EncodedRequest, ...]
    shared: int

    @property
    def width(self) -> int:
        """Number of tokens."""
        return self.shared + sum(len(row.ids) - self.shared for row in self.rows)


def prompt_of(row: EncodedRequest) -> tuple[int, ...]:
    """The tokens before the first one that is predicted."""
    return row.ids[: row.positions[0] + 1]


def pack(rows: Sequence[EncodedRequest], limit: Callable[[], int]) -> list[Packed]:
    """The sequences of a pass over `rows`, in order.

    Neighbours with the same prompt share one if they have at most `limit()` tokens each. The limit
    is found by running the model, so it is called only if there are such neighbours.
    """
    sequences: list[Packed] = []
    for row in rows:
        prompt = prompt_of(row)
        last = sequences[-1] if sequences else None
        if last and prompt_of(last.rows[0]) == prompt and _is_open(last, row, limit):
            sequences[-1] = Packed((*last.rows, row), last.shared)
        else:
            sequences.append(Packed((row,), len(prompt)))
    return sequences


def _is_open(sequence: Packed, row: EncodedRequest, limit: Callable[[], int]) -> bool:
    """Whether `row`, which has the same prompt, can join."""
    is_scored = row.kind != "text" and not row.prefix_len
    longest = max(len(row.ids), len(sequence.rows[0].ids))
    own = sequence.width + len(row.ids) - 2 * sequence.shared
    return is_scored and own <= MAX_OWN_TOKENS and longest <= limit()
