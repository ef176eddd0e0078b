"""Reads the low-rank factors of peft's LoRA layers, with DoRA's magnitudes."""

from typing import Any

import numpy as np
import torch
from peft.tuners.lora import Embedding, LoraLayer
from peft.tuners.lora.variants import DoraEmbeddingVariant, DoraLinearVariant
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from sway_gate.backends.null_adapters import Array, LowRank, Magnitude

ADAPTER = "default"
"""The name under which peft loads the adapter."""
# Further classes of linear layers.
_LINEAR_CLASSES = ("Conv1D", "Linear4bit", "Linear8bitLt")
_VARIANTS = (type(None), DoraLinearVariant, DoraEmbeddingVariant)


def is_stackable(layer: LoraLayer) -> bool:
    """Whether the layer's change of the weights is given by two factors and DoRA's magnitudes."""
    base = layer.get_base_layer()
    is_linear = isinstance(base, nn.Linear) or type(base).__name__ in _LINEAR_CLASSES
    return (
        (is_linear or (type(layer) is Embedding and type(base) is nn.Embedding))
        and type(layer.lora_variant.get(ADAPTER)) in _VARIANTS
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
    return LowRank(to_numpy(a), to_numpy(b) * np.float32(scaling), scaling, _magnitude(layer))


def _magnitude(layer: Any) -> Magnitude | None:
    if layer.lora_variant.get(ADAPTER) is None:
        return None
    trained = to_numpy(layer.lora_magnitude_vector[ADAPTER].weight)
    return Magnitude(trained, to_numpy(weight(layer.get_base_layer()).norm(dim=1)))


def weight(module: nn.Module) -> Tensor:
    """The weight of a linear layer or an embedding in float32 [out, in]."""
    matrix: Tensor = dequantize_module_weight(module).detach().float()
    is_transposed = isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D"
    return matrix.T if is_transposed else matrix


def to_numpy(x: Tensor) -> Array:
    """The tensor as float32 in the CPU's memory."""
    array: Array = x.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return array
