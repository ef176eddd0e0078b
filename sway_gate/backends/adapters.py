"""Reads an adapter's change of the weights, with peft's configuration, key mapping and merging.

Plain LoRA (with rsLoRA, rank and alpha patterns, Conv1D, embeddings) becomes low-rank factors, so
that many views run in one pass. Other adapters that peft can merge (DoRA, biases,
`modules_to_save`, PiSSA, LoHa, IA3, …) become the difference of the merged weights from the base's
and run one view at a time. Adapters that peft cannot merge are refused. The base is not changed.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftConfig, PeftModel
from peft.tuners.lora import Embedding, LoraConfig, LoraLayer
from torch import Tensor, nn

from sway_gate.backends import mlx_adapter
from sway_gate.backends.base import error_text
from sway_gate.backends.null_adapters import Array, LowRank
from sway_gate.errors import AdapterError
from sway_gate.static.mlx import is_mlx

_ADAPTER = "default"
# Initialisations that keep the base's weights. Others change them when the adapter is put on.
_NEUTRAL_INIT = (True, False, "gaussian", "orthogonal", "eva")
# Further classes of linear layers.
_LINEAR_CLASSES = ("Conv1D", "Linear4bit", "Linear8bitLt")


class Change(NamedTuple):
    """An adapter's change: `factors` by module name or `dense` by parameter name."""

    factors: Mapping[str, LowRank]
    dense: Mapping[str, Array]
    note: str = ""


def read(model: nn.Module, folder: Path, *, quantized: bool) -> tuple[nn.Module, Change]:
    """Return the base, unchanged, and the adapter's change.

    Raises AdapterError if the adapter does not fit the base or cannot be merged.
    """
    if is_mlx(folder):
        return model, Change(*mlx_adapter.change(model, folder, quantized=quantized))
    config = _config(folder)
    if _plain_lora(config):
        wrapped = _wrap(model, config, folder, lean=True)
        modules = wrapped.base_model.model.named_modules()
        layers = {name: module for name, module in modules if isinstance(module, LoraLayer)}
        if layers and all(_stackable(layer) for layer in layers.values()):
            factors = {name: _factors(layer) for name, layer in layers.items()}
            return _bare(wrapped.unload()), Change(factors, {})
        model = _bare(wrapped.unload())
    if quantized:
        raise AdapterError(
            f"{folder}: {_description(config)} cannot be merged into a quantized base; "
            "use dtype fp32 or bf16"
        )
    return _read_dense(model, config, folder)


def wrapped(model: nn.Module, folder: Path) -> Any:
    """Model of the base and the adapter, by peft. Raises AdapterError if they do not fit."""
    if is_mlx(folder):
        raise AdapterError(f"{folder}: an MLX adapter needs defaults.differential: true")
    return _wrap(model, _config(folder), folder, lean=True)


def _config(folder: Path) -> Any:
    try:
        return PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # peft raises arbitrary exceptions on invalid files
        raise AdapterError(f"{folder / 'adapter_config.json'}: {error_text(error)}") from None


def _plain_lora(config: Any) -> bool:
    return (
        isinstance(config, LoraConfig)
        and type(config) is LoraConfig
        and not (config.use_dora or config.modules_to_save or config.layer_replication)
        and config.bias == "none"
        and config.init_lora_weights in _NEUTRAL_INIT
    )


def _wrap(model: nn.Module, config: Any, folder: Path, *, lean: bool) -> Any:
    """Model with the adapter's weights, by peft.

    Raises AdapterError unless the file has exactly the tensors that the adapter needs.
    """
    if getattr(config, "layer_replication", None):
        raise AdapterError(
            f"{folder}: layer_replication changes the base's layers; this is not supported"
        )
    if config.is_prompt_learning:
        raise AdapterError(
            f"{folder}: {_description(config)} adds prompts, not weights; this is not supported"
        )
    config.inference_mode = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = PeftModel(model, config, _ADAPTER, low_cpu_mem_usage=lean)
            loaded = wrapped.load_adapter(str(folder), _ADAPTER, low_cpu_mem_usage=lean)
    except Exception as error:  # peft raises arbitrary exceptions on invalid files
        raise AdapterError(
            f"{folder}: the adapter does not fit the base: {error_text(error)}"
        ) from None
    wrong = [f"unexpected {key}" for key in loaded.unexpected_keys]
    wrong += [f"missing {key}" for key in loaded.missing_keys]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise AdapterError(
            f"{folder}: the adapter's tensors do not match its modules: "
            f"{', '.join(wrong[:3])}{more}"
        )
    return wrapped.eval()


def _stackable(layer: LoraLayer) -> bool:
    base = layer.get_base_layer()
    is_linear = isinstance(base, nn.Linear) or type(base).__name__ in _LINEAR_CLASSES
    return (
        (is_linear or (type(layer) is Embedding and type(base) is nn.Embedding))
        and not layer.lora_variant.get(_ADAPTER)
        and not layer.lora_bias.get(_ADAPTER, False)
        and (_ADAPTER in layer.lora_A or _ADAPTER in layer.lora_embedding_A)
    )


def _factors(layer: Any) -> LowRank:
    scaling = float(layer.scaling[_ADAPTER])
    if _ADAPTER in layer.lora_A:
        a, b = layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight
    else:
        a, b = layer.lora_embedding_A[_ADAPTER], layer.lora_embedding_B[_ADAPTER]
    return LowRank(_numpy(a), _numpy(b) * np.float32(scaling), scaling)


def _read_dense(model: nn.Module, config: Any, folder: Path) -> tuple[nn.Module, Change]:
    """Merge the adapter, compare with the weights before, and restore them."""
    before = {name: p.detach().clone() for name, p in _parameters(model).items()}
    wrapped = _wrap(model, config, folder, lean=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            merged = wrapped.merge_and_unload()
    except Exception as error:  # tuners without a merge raise different exceptions
        raise AdapterError(
            f"{folder}: {_description(config)} cannot be applied: {error_text(error)}"
        ) from None
    merged = _bare(merged)
    after = _parameters(merged)
    if set(after) != set(before) or any(after[n].shape != before[n].shape for n in before):
        raise AdapterError(
            f"{folder}: {_description(config)} changes the base's shape; this is not supported"
        )
    dense = {}
    with torch.no_grad():
        for name, p in after.items():
            if not torch.equal(p, before[name]):
                dense[name] = _numpy(p.float() - before[name].float())
                p.copy_(before[name])
    note = f"{_description(config)}: runs one view at a time, with peft's merged weights"
    return merged, Change({}, dense, note)


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters(remove_duplicate=False))


def _bare(model: nn.Module) -> nn.Module:
    if hasattr(model, "peft_config"):
        del model.peft_config
    return model.eval()


def _description(config: Any) -> str:
    """The adapter's type, with the options that change how it is applied."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    flags = []
    if getattr(config, "use_dora", False):
        flags.append("DoRA")
    if getattr(config, "modules_to_save", None):
        flags.append("modules_to_save")
    if getattr(config, "bias", "none") != "none":
        flags.append("bias")
    return f"{kind} with {' and '.join(flags)}" if flags else kind


def _numpy(x: Tensor) -> Array:
    array: Array = x.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return array
