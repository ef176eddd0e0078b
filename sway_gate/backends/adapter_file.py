"""The safetensors file of a peft adapter: low-rank factors, and copies of the base's weights."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from sway_gate.backends.base import error_text
from sway_gate.errors import AdapterError
from sway_gate.model_files.config import json_object
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.static.patterns import NotRun, require_quick

WEIGHTS = "adapter_model.safetensors"
_FACTORS = (
    ".lora_A.", ".lora_B.", ".lora_embedding_A", ".lora_embedding_B", ".lora_magnitude_vector",
)  # fmt: skip


def refuse_slow_patterns(model: nn.Module, folder: Path) -> None:
    """Raise AdapterError if a pattern of the config does not end on the base's modules."""
    path = folder / ADAPTER_CONFIG
    try:
        require_quick(json_object(path), [name for name, _ in model.named_modules()])
    except NotRun as error:
        raise AdapterError(f"{path}: {error.args[1]}; correct it in the config") from None


def is_factor(key: str) -> bool:
    """Whether the tensor is a low-rank factor or a DoRA's magnitude."""
    return any(part in key for part in _FACTORS)


def has_only_factors(model: nn.Module, folder: Path) -> bool:
    """Whether the file has only low-rank factors, and weights that are equal to the base's.

    peft saves embeddings that it adapts, or whose size changed, together with the factors.
    """
    weights = parameters(model)
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            keys: list[str] = list(file.keys())
            others = [key for key in keys if not is_factor(key)]
            return all(_is_equal(weights.get(_of_base(key)), file, key) for key in others)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{folder / WEIGHTS}: {error_text(error)}") from None


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters by name; a tied one under each of its names."""
    return dict(model.named_parameters(remove_duplicate=False))


def _of_base(key: str) -> str:
    """The base's parameter that peft saved under `key`."""
    return key.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _is_equal(weight: nn.Parameter | None, file: Any, key: str) -> bool:
    if weight is None or file.get_slice(key).get_shape() != list(weight.shape):
        return False
    return torch.equal(file.get_tensor(key).to(weight), weight)
