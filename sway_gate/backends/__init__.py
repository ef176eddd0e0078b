"""What a backend is: one loaded base with its adapter and nulls, that scores rows under views.

The engine decides what is measured and in which batches; a backend turns one batch into numbers.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from sway_gate.measure import Floats, Request, View

TABLE = {"hf": "sway_gate.backends.hf"}
"""Backend kind -> module; each has `load(spec, nulls, options) -> Backend`."""


class Row(NamedTuple):
    """One tokenised request: logits are read after `ids[p]` for each p in `positions`.

    `targets` holds the tokens whose log-probability is asked for, one a position; empty for a divergence.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...] = ()
    divergence: Literal["", "js", "kl"] = ""


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


class Fault(NamedTuple):
    """In place of an answer: what was not finite, and where."""

    message: str


class Backend(Protocol):
    facts: Facts
    stacked: bool
    """Whether one pass can serve several views. Where not, passes of one view should follow each other."""

    def encode(self, requests: Sequence[Request]) -> list[tuple[Row, str]]:
        """The row of each request, and a note ("" if none) where a text had to be cut to the model's context."""

    def cost(self, views: int, rows: Sequence[Row]) -> int:
        """Bytes that a pass needs beyond the weights, roughly."""

    def budget(self) -> int:
        """Bytes that a pass may use."""

    def unreached(self) -> tuple[str, ...]:
        """Adapted modules that no pass has gone through so far: their change cannot show in any answer."""

    def measure(
        self, views: Sequence[View], rows: Sequence[Row], references: dict[Row, Any]
    ) -> list[list[Floats | Fault]]:
        """Answers [view][row] of one pass; the rows ask for one thing: log-probabilities, or one kind of divergence.

        `references` keeps the base's distributions for the divergences: a pass that has the base among its views puts
        them there, the base standing first; later passes over the same rows read them.
        """
