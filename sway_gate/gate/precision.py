"""The dtype that `auto` stands for on a CPU, known before a model is loaded.

Cache keys and estimates contain it, so a verdict in bfloat16 never serves a run in float32.
"""

from pathlib import Path

from sway_gate.backends import processor
from sway_gate.model_files.config import json_object, model_config
from sway_gate.model_files.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from sway_gate.model_files.methods import is_stacked
from sway_gate.model_files.shapes import float_values, is_half_precision, shapes_of
from sway_gate.spec.schema import Spec

_LARGE = 2**25
"""Values of a float32 base: a smaller one takes little time in float32, which is more exact."""


def is_bfloat16(spec: Spec, device: str, base: Path, adapter: Path) -> bool:
    """Whether a run in dtype auto computes in bfloat16, on a CPU that multiplies it faster.

    Only for a base that is large or has 16-bit weights, and for a LoRA. Other changes are merged
    into the weights, and bfloat16 would round small ones away.
    """
    is_on_cpu = processor.is_cpu(device) and not processor.may_have_gpu(device)
    if not (is_on_cpu and _runs_one_base(spec, base) and _is_lora(adapter)):
        return False
    is_worth = is_half_precision(base) or float_values(base) >= _LARGE
    rates = processor.rates() if is_worth else None
    return rates is not None and rates.prefers_bfloat16


def _runs_one_base(spec: Spec, base: Path) -> bool:
    """Whether torch runs one base, not quantized, on which the adapter is switched on and off."""
    base_ref, ft = spec.models.base, spec.models.ft
    is_one = ft.kind == "hf" and not spec.models.is_full and spec.defaults.differential
    is_stored = "quantization_config" in model_config(base)
    return is_one and not (base_ref.quantization or ft.quantization or is_stored)


def _is_lora(folder: Path) -> bool:
    """Whether the adapter is a LoRA whose file has low-rank factors and magnitudes only."""
    names = shapes_of(folder / ADAPTER_WEIGHTS)
    is_lora = is_stacked(json_object(folder / ADAPTER_CONFIG))
    return is_lora and all("lora_" in name for name in names)
