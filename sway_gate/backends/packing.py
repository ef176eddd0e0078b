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

    Neighbours with the same prompt share one of at most `limit()` tokens. No row of the pass may be
    longer, because all sequences of a pass have one kind of mask. The limit is found by running the
    model, so it is called only if there are such neighbours.
    """
    sequences: list[Packed] = []
    longest = max((len(row.ids) for row in rows), default=0)
    for row in rows:
        prompt = prompt_of(row)
        last = sequences[-1] if sequences else None
        joined = last and prompt_of(last.rows[0]) == prompt and _joined(last, row)
        if joined and max(longest, joined.width) <= limit():
            sequences[-1] = joined
        else:
            sequences.append(Packed((row,), len(prompt)))
    return sequences


def _joined(sequence: Packed, row: EncodedRequest) -> Packed | None:
    """The sequence with `row`, which has the same prompt; None if it cannot join."""
    joined = Packed((*sequence.rows, row), sequence.shared)
    is_scored = row.kind != "text" and not row.prefix_len
    return joined if is_scored and joined.width - joined.shared <= MAX_OWN_TOKENS else None
