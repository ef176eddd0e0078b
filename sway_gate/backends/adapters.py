"""Reads an adapter's change of the weights, with peft's configuration, key mapping and merging.

LoRA and DoRA (with rsLoRA, rank and alpha patterns, Conv1D, embeddings, experts) become low-rank
factors, so that many views run in one pass. Other adapters that peft can merge (biases,
`modules_to_save`, PiSSA, LoHa, IA3, …) become the difference of the merged weights from the base's
and run one view at a time. Adapters that peft cannot merge are refused. The base is not changed.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraConfig
from torch import nn

from sway_gate.backends import factors
from sway_gate.backends.base import error_text
from sway_gate.backends.null_adapters import Array, LowRank
from sway_gate.errors import AdapterError

# Initialisations that keep the base's weights. Others change them when the adapter is put on.
_NEUTRAL_INIT = (True, False, "gaussian", "orthogonal", "eva")


class Change(NamedTuple):
    """An adapter's change: `factors` by module or parameter name, or `dense` by parameter name."""

    factors: Mapping[str, LowRank]
    dense: Mapping[str, Array]
    note: str = ""


def read(model: nn.Module, folder: Path, *, quantized: bool) -> tuple[nn.Module, Change]:
    """Return the base, unchanged, and the adapter's change.

    Raises AdapterError if the adapter does not fit the base or cannot be merged.
    """
    config = _config(folder)
    if _plain_lora(config):
        # peft's lean loading of a DoRA leaves int8 weights of the base without data.
        wrapped = _wrap(model, config, folder, lean=not (quantized and config.use_dora))
        low_rank = factors.read(wrapped.base_model.model)
        if low_rank is not None:
            return _bare(wrapped.unload()), Change(low_rank, {})
        model = _bare(wrapped.unload())
    if quantized:
        raise AdapterError(
            f"{folder}: {_description(config)} cannot be merged into a quantized base; "
            "use dtype fp32 or bf16"
        )
    return _read_dense(model, config, folder)


def wrapped(model: nn.Module, folder: Path) -> Any:
    """Model of the base and the adapter, by peft. Raises AdapterError if they do not fit."""
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
        and not (config.modules_to_save or config.layer_replication)
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
            wrapped = PeftModel(model, config, factors.ADAPTER, low_cpu_mem_usage=lean)
            loaded = wrapped.load_adapter(str(folder), factors.ADAPTER, low_cpu_mem_usage=lean)
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
                dense[name] = factors.to_numpy(p.float() - before[name].float())
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
