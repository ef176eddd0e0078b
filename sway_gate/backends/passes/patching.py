"""Adapters that are not low-rank updates: their weights replace the base's, one view at a time."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sway_gate.backends import rotations
from sway_gate.backends.null_adapters import Array, NullSettings
from sway_gate.measurements import BASE, View


class Patches:
    """The changes of whole parameters, by name, and the view whose weights the model has.

    Parameters whose change is the same array are one tied parameter.
    """

    def __init__(
        self, model: nn.Module, changes: Mapping[str, Array], settings: NullSettings
    ) -> None:
        self._model, self._changes, self._settings = model, changes, settings
        self._original = {name: model.get_parameter(name) for name in changes}
        self._view: View | None = None

    def put(self, view: View) -> None:
        """Give the model the weights of `view`."""
        if view == self._view:
            return
        self._view = None  # a change that fails leaves weights of both views
        patched: dict[int, nn.Parameter] = {}
        for name, delta in self._changes.items():
            parameter = self._original[name]
            if view != BASE:
                # A new parameter: a tied weight that does not change keeps the base's values.
                if id(delta) not in patched:
                    patched[id(delta)] = self._patched(name, delta, view)
                parameter = patched[id(delta)]
            owner, _, leaf = name.rpartition(".")
            setattr(self._model.get_submodule(owner), leaf, parameter)
        self._view = view

    def remove(self) -> None:
        """Give the model the base's parameters."""
        self.put(BASE)

    def _patched(self, name: str, delta: Array, view: View) -> nn.Parameter:
        weights = self._original[name].detach()
        # In float32 as in peft's merge: the sum is rounded, not the change.
        change = self._change(name, torch.from_numpy(delta).to(weights.device), view)
        changed = weights.float() + view.scale * change
        return nn.Parameter(changed.to(weights.dtype), requires_grad=False)

    def _change(self, name: str, delta: Tensor, view: View) -> Tensor:
        if view.source == "finetuned":
            return delta
        return rotations.null(name, delta, self._settings, view.seed_index)
