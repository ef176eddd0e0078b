"""Reads the change that an adapter makes: MLX and plain LoRA by own code, the rest by peft."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sway_gate.backends import mlx_adapter, plain_lora
from sway_gate.backends.adapter_file import refuse_slow_patterns
from sway_gate.backends.changes import Change
from sway_gate.static.mlx import is_mlx


def read(
    model: nn.Module, folder: Path, text: Sequence[int], *, quantized: bool
) -> tuple[nn.Module, Change]:
    """Return the base, unchanged, and the adapter's change.

    `text`: token ids, on which the change is compared with peft's own model if peft reads it.
    Raises AdapterError if the adapter does not fit the base or is not supported.
    """
    if is_mlx(folder):
        return model, mlx_adapter.change(model, folder, quantized=quantized)
    refuse_slow_patterns(model, folder)
    # peft chooses the layers of quantized bases by their class.
    if not quantized and (found := plain_lora.read(model, folder)) is not None:
        return model, Change(found, {})
    from sway_gate.backends import peft_adapters

    return peft_adapters.read(model, folder, text, quantized=quantized)
