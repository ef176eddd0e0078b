"""Quantized bases: quantized by bitsandbytes when they are loaded, or already in their files."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from sway_gate.errors import CannotDecide
from sway_gate.model_files.config import json_object

_EXTRA: Final = ("bitsandbytes", "accelerate")


def method_of_files(base: Path) -> str:
    """The name of the quantization method in the base's config.json; "" if it has none."""
    found = json_object(base / "config.json").get("quantization_config")
    if found is None:
        return ""
    return str(found.get("quant_method")) if isinstance(found, dict) else "unknown"


def options(
    base: Path, wanted: str | None, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a base that is quantized, in its files or as `wanted`.

    `wanted` is nf4 or int8. Raises CannotDecide if the base cannot be quantized.
    """
    method = method_of_files(base)
    if method not in ("", "bitsandbytes") and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise CannotDecide(
            f"the base model {base} is quantized with {method}, which this version of transformers"
            " does not know; use another version, or the base without quantization"
        )
    if wanted and method not in ("", "bitsandbytes"):
        raise CannotDecide(
            f"quantization {wanted}: the base {base} is already quantized with {method};"
            " remove the field or the option"
        )
    if wanted and (missing := [name for name in _EXTRA if find_spec(name) is None]):
        raise CannotDecide(
            f"quantization {wanted} requires {missing[0]};"
            " install the extra: pip install 'sway-gate[qlora]'"
        )
    if method:
        return {"device_map": {"": device}}
    return {"device_map": {"": device}, **_config(wanted, dtype)} if wanted else {}


def _config(wanted: str, dtype: torch.dtype) -> dict[str, Any]:
    """The configuration with which QLoRA trains: nf4 and double quantization, or LLM.int8().

    transformers leaves embeddings, norms and the head unquantized.
    """
    make: Any = BitsAndBytesConfig
    if wanted == "int8":
        return {"quantization_config": make(load_in_8bit=True)}
    return {
        "quantization_config": make(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    }


def check_loaded(model: nn.Module, base: Path, wanted: str | None) -> None:
    """Raise CannotDecide if the model is quantized in another way than `wanted` or than stated."""
    module: Any
    for module in model.modules():
        if type(module).__name__ == "Linear4bit" and module.weight.quant_state is None:
            raise CannotDecide(
                f"the base {base} has weights that are not quantized, but its config.json states"
                " 4-bit weights; remove quantization_config from config.json"
            )
    if wanted and (found := name_of(model)) != wanted:
        raise CannotDecide(
            f"quantization {wanted}: the files of the base {base} are already quantized as {found};"
            " remove the field or the option"
        )


def keep_compute_dtype(model: Any) -> None:
    """Let 4-bit layers compute in their compute dtype on every CPU.

    On CPUs with AVX-512 BF16, bitsandbytes uses bfloat16 instead.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False


def undo_passes(model: Any) -> None:
    """Give int8 layers the scales back that a pass took from their weights: DoRA needs them."""
    for module in model.modules():
        if type(module).__name__ == "Linear8bitLt" and module.state.CB is not None:
            module.weight.CB, module.weight.SCB = module.state.CB, module.state.SCB


def name_of(model: Any) -> str:
    """How the linear layers are stored: nf4, fp4, int8 or another method's name; "" if as floats.

    A method that transformers undoes when it loads the model counts as floats.
    """
    if not getattr(model, "is_quantized", False):
        return ""
    found: Any = model.config.quantization_config
    if getattr(found, "load_in_8bit", False):
        return "int8"
    if getattr(found, "load_in_4bit", False):
        return str(found.bnb_4bit_quant_type)
    return str(getattr(found.quant_method, "value", found.quant_method))


def precision(model: Any) -> str:
    """The dtype in which the model computes, and how its linear layers are stored."""
    dtype = str(model.dtype).removeprefix("torch.")
    name = name_of(model)
    return f"{name} with {dtype}" if name else dtype
