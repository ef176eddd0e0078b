"""A fine-tuned model without an adapter: its weights replace the base's, one view at a time."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sway_gate.backends import rotations
from sway_gate.backends.full_model import Changes
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.passes.hooks import Head
from sway_gate.backends.passes.weights import Model
from sway_gate.measurements import BASE, FINETUNED, View


class ReplacedModel:
    """One base whose tensors get the values of a view. Implements `passes.weights.Weights`."""

    batches_views = False

    def __init__(self, network: Any, changes: Changes, settings: NullSettings) -> None:
        self._changes, self._settings = changes.tensors, settings
        self._model = Model(network, Head(network.get_output_embeddings()))
        self._view: View | None = BASE
        self.notes: tuple[str, ...] = (changes.note,)

    def model(self, view: View) -> Model:
        return self._model

    def under(self, views: Sequence[View], rows: int, width: int) -> AbstractContextManager[None]:
        self._put(views[0])
        return nullcontext()

    def remove(self) -> None:
        self._put(BASE)
        self._model.head.remove()

    def unused_modules(self) -> tuple[str, ...]:
        return ()

    @torch.no_grad()
    def _put(self, view: View) -> None:
        """Give the model the weights of `view`."""
        if view == self._view:
            return
        self._view = None  # an error on the way leaves a mixture of two views
        for name, (target, base, tuned) in self._changes.items():
            if view == BASE:
                target.copy_(base())
            elif view == FINETUNED:
                target.copy_(tuned())
            else:
                old = base().to(target)
                change = self._change(name, tuned().to(target) - old, view)
                torch.add(old, change, alpha=view.scale, out=target)
        self._view = view

    def _change(self, name: str, change: Tensor, view: View) -> Tensor:
        """The change of one tensor under `view`, at scale 1."""
        if view.source == "finetuned":
            return change
        return rotations.null(name, change, self._settings, view.seed_index)
