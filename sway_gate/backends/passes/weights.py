"""The model that computes under given views: one model with hooks, or one model per view."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch

from sway_gate.backends.changes import Change
from sway_gate.backends.null_adapters import LowRank, NullSettings, transposed, with_nulls
from sway_gate.backends.passes.hooks import Head
from sway_gate.backends.passes.patching import Patches
from sway_gate.backends.passes.stacking import Stack
from sway_gate.measurements import FINETUNED, View
from sway_gate.text import named

_FIRST_NULLS = 4
"""Null adapters that are drawn at the start: often they decide, and no more are measured."""


class Model(NamedTuple):
    """A causal language model and the hook on its head."""

    network: Any
    head: Head


class Weights(Protocol):
    """The weights of all views."""

    batches_views: bool
    """Whether one pass computes several views."""
    notes: tuple[str, ...]

    def model(self, view: View) -> Model:
        """The model that computes under `view`."""

    def under(self, views: Sequence[View], rows: int, width: int) -> AbstractContextManager[None]:
        """Let the model of `views` compute under them inside the block.

        Its sequences are `rows` texts of `width` tokens under each view, views outermost. A view
        can occur several times in a row: the base any number of times, all others equally often.
        """

    def remove(self) -> None:
        """Leave the base as it was before."""

    def unused_modules(self) -> tuple[str, ...]:
        """Adapted modules that no pass has used so far."""


class AdaptedModel:
    """One base on which the adapter and its nulls are switched on and off.

    Raises CannotDecide if a change that was merged differs from its reference.
    """

    def __init__(self, network: Any, change: Change, settings: NullSettings) -> None:
        self._device = device_of(network)
        self._factors, self._heads, self._settings = change.factors, change.heads, settings
        self._drawn = min(_FIRST_NULLS, settings.runs)
        self._stack = Stack(network, self._sources(self._drawn), network.dtype)
        self._patches = Patches(network, change.dense, settings)
        self._adapted = self._factors.keys() | self._heads.keys()
        self._model = Model(network, Head(network.get_output_embeddings()))
        self.batches_views = not (change.dense or self._stack.one_by_one)
        notes = [self._checked(change), _note_of(self._stack.one_by_one)]
        self.notes = tuple(note for note in notes if note)

    def model(self, view: View) -> Model:
        return self._model

    def under(self, views: Sequence[View], rows: int, width: int) -> AbstractContextManager[None]:
        self._patches.put(views[0])
        if (nulls := 1 + max(view.seed_index for view in views)) > self._drawn:
            self._draw(nulls)
        return self._stack.viewing(views, rows, width, self._device)

    def _draw(self, nulls: int) -> None:
        """Draw the first null adapters again, with at least `nulls` of them.

        Twice as many each time, so that all draws together cost at most twice the last one.
        """
        count, used = min(max(nulls, 2 * self._drawn), self._settings.runs), self._stack.used
        self._drawn = 0  # a draw that fails, such as out of memory, is repeated
        self._stack.remove()
        self._stack = Stack(self._model.network, self._sources(count), self._model.network.dtype)
        self._stack.used |= used
        self._drawn = count

    def _sources(self, nulls: int) -> Iterator[tuple[str, LowRank]]:
        """The factors of all sources, one module after another: together they need much memory."""
        settings = self._settings._replace(runs=nulls)
        for name, factors in self._factors.items():
            stacked = with_nulls(name, factors, settings)
            yield name, stacked
            for head in (head for head, tied in self._heads.items() if tied == name):
                yield head, transposed(stacked)

    def _checked(self, change: Change) -> str:
        """The change's note, with the difference from its reference."""
        if not change.reference:
            return change.note
        with self.under([FINETUNED], 1, change.reference.ids.shape[1]):
            largest = change.reference.difference(self._model.network)
        checked = f"log-probabilities equal peft's to {largest:.0e}"
        return f"{change.note}; {checked}" if change.note else checked

    def remove(self) -> None:
        self._stack.remove()
        self._patches.remove()
        self._model.head.remove()

    def unused_modules(self) -> tuple[str, ...]:
        return tuple(sorted(self._adapted - self._stack.used))


def _note_of(one_by_one: Sequence[str]) -> str:
    if not one_by_one:
        return ""
    return f"{named(one_by_one)}: rows in an unknown order; the adapter runs one view at a time"


def device_of(network: Any) -> torch.device:
    """The device that the token ids of a model must be on."""
    device: torch.device = network.get_input_embeddings().weight.device
    return device
