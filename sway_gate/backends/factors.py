"""Reads the low-rank factors of peft's LoRA layers."""

from typing import Any

import numpy as np
import torch
from peft.tuners.lora import Embedding, LoraLayer
from torch import Tensor, nn

from sway_gate.backends.null_adapters import Array, LowRank

ADAPTER = "default"
"""The name under which peft loads the adapter."""
# Further classes of linear layers.
_LINEAR_CLASSES = ("Conv1D", "Linear4bit", "Linear8bitLt")


def is_stackable(layer: LoraLayer) -> bool:
    """Whether the layer adds a product of two factors, and nothing else, to the base's output."""
    base = layer.get_base_layer()
    is_linear = isinstance(base, nn.Linear) or type(base).__name__ in _LINEAR_CLASSES
    return (
        (is_linear or (type(layer) is Embedding and type(base) is nn.Embedding))
        and not layer.lora_variant.get(ADAPTER)
        and not layer.lora_bias.get(ADAPTER, False)
        and (ADAPTER in layer.lora_A or ADAPTER in layer.lora_embedding_A)
    )


def read(layer: Any) -> LowRank:
    """The factors of a stackable layer."""
    scaling = float(layer.scaling[ADAPTER])
    if ADAPTER in layer.lora_A:
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    else:
        a, b = layer.lora_embedding_A[ADAPTER], layer.lora_embedding_B[ADAPTER]
    return LowRank(to_numpy(a), to_numpy(b) * np.float32(scaling), scaling)


def to_numpy(x: Tensor) -> Array:
    """The tensor as float32 in the CPU's memory."""
    array: Array = x.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return array
