"""Adapters that are not low-rank updates: their weights replace the base's, one view at a time."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sway_gate.backends import null_adapters
from sway_gate.measurements import BASE, View


class Patches:
    """The changes of whole parameters, by name, and the view whose weights the model has.

    Parameters whose change is the same array are one tied parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        changes: Mapping[str, null_adapters.Array],
        settings: null_adapters.NullSettings,
    ) -> None:
        self._model, self._changes, self._settings = model, changes, settings
        self._original: dict[str, Tensor] = {}
        self._view: View | None = None

    def put(self, view: View) -> None:
        """Give the model the weights of `view`."""
        if view == self._view:
            return
        if self._view is None:
            self._original = {
                name: self._model.get_parameter(name).detach().clone() for name in self._changes
            }
        patched: dict[int, nn.Parameter] = {}
        for name, delta in self._changes.items():
            if id(delta) not in patched:
                weights = self._original[name]
                if view != BASE:
                    weights = weights + view.scale * self._change(name, delta, view).to(weights)
                # A new parameter: a tied weight that does not change keeps the base's values.
                patched[id(delta)] = nn.Parameter(weights, requires_grad=False)
            owner, _, leaf = name.rpartition(".")
            setattr(self._model.get_submodule(owner), leaf, patched[id(delta)])
        self._view = view

    def remove(self) -> None:
        """Give the model the base's weights."""
        if self._view is not None:
            self.put(BASE)

    def _change(self, name: str, delta: null_adapters.Array, view: View) -> Tensor:
        if view.source == "finetuned":
            return torch.from_numpy(delta)
        seed = self._settings.seed_base + view.seed_index
        if self._settings.kind == "init":
            return torch.from_numpy(null_adapters.dense_init(name, delta, self._settings, seed))
        return torch.from_numpy(null_adapters.dense(name, delta, seed))
