"""A model without views, which scores token ids; and the rounding errors of a precision."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sway_gate.backends import loading, peft_adapters, vocabulary
from sway_gate.backends.loading import Source
from sway_gate.measurements import Floats


class Precision(NamedTuple):
    """How weights are stored. `bits`: of one weight in a block of integers with a common scale;
    0 for floating point. `step`: the relative distance of neighbouring floating-point numbers."""

    name: str
    bits: int = 0
    step: float = 0.0


FLOATS = {
    "float32": Precision("float32", step=2.0**-23),
    "float16": Precision("float16", step=2.0**-10),
    "bfloat16": Precision("bfloat16", step=2.0**-7),
}
_BLOCK = 32


class PlainModel:
    """The model of `source`. Raises CannotDecide if it cannot be loaded."""

    def __init__(self, source: Source) -> None:
        self._device = loading.device_named(source.device)
        self._network: nn.Module = loading.load_model(source, self._device)

    def merge(self, source: Source) -> None:
        """Merge the adapter into the weights. Raises AdapterError."""
        vocabulary.fit(self._network, loading.load_tokenizer(source), source.adapter)
        self._network = peft_adapters.wrapped(self._network, source.adapter).merge_and_unload()

    def logits(self, ids: Sequence[int], start: int) -> Floats:
        """The logits before each token from `start` on: [len(ids) - start, vocabulary]."""
        with torch.inference_mode():
            row = torch.tensor([ids[:-1]], device=self._device)
            logits = self._network(input_ids=row).logits[0, start - 1 :]
            return np.asarray(logits.float().cpu().numpy(), dtype=np.float64)

    def round_off(self, precision: Precision, seed: int) -> None:
        """Add the rounding errors of `precision` to the weights.

        Integers are in linear layers only.

        A base can lie on the grid of the precision, a merged model does not. So the errors are
        drawn: uniform over one step of the grid.
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self._rounded(precision):
                noise = torch.rand(weight.shape, generator=generator) - 0.5
                weight.add_(noise.to(weight.device, weight.dtype) * _steps(weight, precision))

    def _rounded(self, precision: Precision) -> list[torch.Tensor]:
        if not precision.bits:
            return list(self._network.parameters())
        return [m.weight for m in self._network.modules() if isinstance(m, nn.Linear)]


def threads() -> int:
    """The threads that torch computes with; other libraries take as many."""
    return torch.get_num_threads()


def _steps(weight: torch.Tensor, precision: Precision) -> torch.Tensor:
    """The distance of neighbouring values of `weight` [out, in]: relative to it, or to the range of
    its block."""
    if not precision.bits:
        return weight.abs() * precision.step
    out, width = weight.shape
    blocks = nn.functional.pad(weight, (0, -width % _BLOCK)).reshape(out, -1, _BLOCK)
    span = (blocks.amax(-1) - blocks.amin(-1)) / (2**precision.bits - 1)
    steps: torch.Tensor = span.repeat_interleave(_BLOCK, dim=1)[:, :width]
    return steps
