"""Reads the low-rank factors of peft's LoRA layers, of DoRA with its magnitudes, and of experts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from peft.tuners.lora import Embedding, LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.lora.variants import DoraEmbeddingVariant, DoraLinearVariant
from torch import Tensor, nn

from sway_gate.backends.changes import low_rank, to_numpy
from sway_gate.backends.null_adapters import LowRank

ADAPTER = "default"
"""The name under which peft loads the adapter."""
# Further classes of linear layers.
_LINEAR_CLASSES = ("Conv1D", "Linear4bit", "Linear8bitLt")
_DORA = (DoraLinearVariant, DoraEmbeddingVariant)


def read(model: nn.Module) -> Mapping[str, LowRank] | None:
    """The factors of a model that peft has put a LoRA on; None if some layers are not low-rank.

    The key is the name of the base's module. It is the name of a parameter for peft's
    `target_parameters`, such as fused experts, and for routers.
    """
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]
    if not layers or not all(_is_low_rank(layer) for _, layer in layers):
        return None
    return dict(_named_factors(name, layer) for name, layer in layers)


def _is_low_rank(layer: Any) -> bool:
    """Whether the layer's change of the weights is given by two factors and DoRA's magnitudes."""
    if layer.lora_bias.get(ADAPTER, False):
        return False
    if _is_parameter(layer):
        parameter: Tensor = layer.get_param()
        # peft has no layout for a three-dimensional parameter with one expert.
        return parameter.is_floating_point() and (parameter.dim() == 2 or layer.num_experts > 1)
    base, variant = layer.get_base_layer(), layer.lora_variant.get(ADAPTER)
    is_linear = isinstance(base, nn.Linear) or type(base).__name__ in _LINEAR_CLASSES
    return (
        (is_linear or (type(layer) is Embedding and type(base) is nn.Embedding))
        and (variant is None or (type(variant) in _DORA and not _is_router(base)))
        and (ADAPTER in layer.lora_A or ADAPTER in layer.lora_embedding_A)
    )


def _is_parameter(layer: LoraLayer) -> bool:
    """Whether peft adapts a parameter of the base's module (`target_parameters`)."""
    return type(layer) is ParamWrapper


def _is_router(base: nn.Module) -> bool:
    """Whether a linear layer returns the choice of experts, not the product."""
    return type(base).__name__.endswith("Router")


def _named_factors(name: str, layer: Any) -> tuple[str, LowRank]:
    scaling = float(layer.scaling[ADAPTER])
    if _is_parameter(layer):
        while name.endswith(".base_layer"):  # peft nests the wrappers of one module's parameters
            name = name.removesuffix(".base_layer")
        name = f"{name}.{layer.parameter_name}"
        if layer.num_experts > 1:
            return name, _of_experts(layer, scaling)
    elif _is_router(layer.get_base_layer()):
        name = f"{name}.weight"
    if ADAPTER in layer.lora_A:
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    else:
        a, b = layer.lora_embedding_A[ADAPTER], layer.lora_embedding_B[ADAPTER]
    is_dora = layer.lora_variant.get(ADAPTER) is not None
    magnitudes = layer.lora_magnitude_vector[ADAPTER].weight if is_dora else None
    return name, low_rank(layer.get_base_layer(), scaling, a, b, magnitudes)


def _of_experts(layer: Any, scaling: float) -> LowRank:
    """The factors of each expert, in the parameter's own layout: [E, out, in] or [E, in, out].

    peft joins the ranks of the experts: (expert, rank) in A and (rank, expert) in B.
    """
    joined_a, joined_b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    a = joined_a.view(layer.num_experts, -1, joined_a.shape[1])  # [E, r, in]
    b = joined_b.view(len(joined_b), -1, layer.num_experts).movedim(2, 0)  # [E, out, r]
    if not layer._did_swap_in_out_features:
        a, b = b.mT, a.mT
    return LowRank(to_numpy(a), to_numpy(b) * np.float32(scaling), scaling)
