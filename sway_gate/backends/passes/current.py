"""Which rows of the running pass belong to which view."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from sway_gate.backends.base import NotStackable
from sway_gate.measurements import View


class Pass(NamedTuple):
    """A forward pass under at least one view of the adapter or a null."""

    base: int
    """Number of sequences of the base view, which come first."""
    sequences: int
    width: int
    """Tokens per sequence, padding included."""
    sources: slice | Tensor
    scales: Tensor
    """Scale of each view, without the base [V, 1, 1]."""

    def own_rows(self, x: Tensor) -> Tensor:
        """The rows of a module's input or output that belong to adapter views, without a copy.

        Raises NotStackable if the rows are not the sequences of the pass in order.
        """
        if len(self.scales) == 1 and self.base == 0:
            return x
        return x[self.base * self._rows_per_sequence(x) :]

    def split(self, x: Tensor) -> Sequence[Tensor]:
        """The rows of each view, the base's first. Raises NotStackable as `own_rows` does."""
        own = self.own_rows(x).chunk(len(self.scales))
        return [x[: self.base * self._rows_per_sequence(x)], *own] if self.base else own

    def parts(self) -> "list[Pass | None]":
        """The pass of each view; None for the base."""
        adapted = [
            Pass(0, self.sequences - self.base, self.width, source, scale[None])
            for source, scale in zip(self._source_of_each_view(), self.scales, strict=True)
        ]
        return [None, *adapted] if self.base else [*adapted]

    def _rows_per_sequence(self, x: Tensor) -> int:
        if x.shape[0] == self.sequences:
            return 1
        if x.dim() == 2 and x.shape[0] == self.sequences * self.width:
            return self.width
        raise NotStackable

    def _source_of_each_view(self) -> Iterator[slice | Tensor]:
        for i in range(len(self.scales)):
            if isinstance(self.sources, slice):
                yield slice(self.sources.start + i, self.sources.start + i + 1)
            else:
                yield self.sources[i : i + 1]


class Current:
    """The pass that runs now; None if the base runs."""

    def __init__(self) -> None:
        self.running: Pass | None = None

    @contextmanager
    def run(self, running: Pass | None) -> Iterator[None]:
        """Make `running` the current pass inside the block."""
        before, self.running = self.running, running
        try:
            yield
        finally:
            self.running = before


def pass_of(views: Sequence[View], rows: int, width: int, device: torch.device) -> Pass | None:
    """The pass over `rows` texts of `width` tokens under each view; None if only the base runs.

    Equal views follow each other. All that are not the base occur as often as each other.
    """
    base = sum(view.source == "base" for view in views) * rows
    adapted = list(dict.fromkeys(view for view in views if view.source != "base"))
    if not adapted:
        return None
    sources = [0 if view.source == "finetuned" else 1 + view.seed_index for view in adapted]
    scales = torch.tensor([view.scale for view in adapted], device=device).view(-1, 1, 1)
    index: slice | Tensor = torch.tensor(sources, device=device)
    if sources == list(range(sources[0], sources[0] + len(sources))):
        index = slice(sources[0], sources[0] + len(sources))
    return Pass(base, len(views) * rows, width, index, scales)
