"""What a backend is: one loaded base with its adapter and nulls, that scores rows under views.

The engine decides what is measured and in which batches; a backend turns one batch into numbers.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

from sway_gate.measurements import Answer, Fault, Request, View

Capability = Literal["nulls", "scales", "generation", "recall"]
ALL: frozenset[Capability] = frozenset(get_args(Capability))
"""What a backend may be able to do beyond log-probabilities and divergences: views of null adapters, of the adapter at
other scales; texts; the most probable token."""


class EncodedRequest(NamedTuple):
    """One tokenised request: logits are read after `ids[p]` for each p in `positions`.

    `asks` says what is made of them: log-probabilities of `targets`, one a position (recall: and whether they are the
    most probable), or a divergence, js or kl; text: at most `length` tokens are decoded after `ids`. The first `shared`
    tokens stand in front of other rows too: rows of one pass agree in them.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...] = ()
    asks: Literal["logprobs", "recall", "js", "kl", "text"] = "logprobs"
    length: int = 0
    shared: int = 0


class Facts(NamedTuple):
    """How a backend computes: for the report and for the key of cached readings."""

    device: str
    dtype: str
    determinism: str
    notes: tuple[str, ...] = ()


class OutOfMemory(Exception):
    """A pass did not fit; the engine halves it."""


class NotStackable(Exception):
    """A pass of several views cannot be made for this model; the engine goes on with one view at a time."""


class Backend(Protocol):
    facts: Facts
    stacked: bool
    """Whether one pass can serve several views. Where not, passes of one view should follow each other."""

    def encode(self, requests: Sequence[Request]) -> Sequence[tuple[EncodedRequest | Fault, str]]:
        """The row of each request, and a note ("" if none) where a text had to be cut to the model's context; a fault
        where there is nothing to measure in it."""

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        """Bytes that a pass needs beyond the weights, roughly."""

    def budget(self) -> int:
        """Bytes that a pass may use."""

    def unreached(self) -> tuple[str, ...]:
        """Adapted modules that no pass has gone through so far: their change cannot show in any answer."""

    def measure(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        references: dict[EncodedRequest, Any],
    ) -> list[list[Answer | Fault]]:
        """Answers [view][row] of one pass; the rows ask for one thing and share the same leading tokens, if any.

        `references` keeps the base's distributions for the divergences: a pass that has the base among its views puts
        them there, the base standing first; later passes over the same rows read them.
        """
