"""Decides from adapter_config.json how an adapter is applied: stacked, merged, or not at all.

The tables list what is understood. A method, or a field that is switched on, that they do not list
is refused by name.
"""

import dataclasses
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import peft
from peft import PeftConfig

from sway_gate.backends.base import error_text
from sway_gate.errors import AdapterError
from sway_gate.model_files.config import json_object
from sway_gate.text import cut, one_line

_STACKED = "stacked"
"""Low-rank factors contain the change: many views run in one pass."""
_MERGED = "merged"
"""peft can merge the change into the base's weights: one view runs at a time."""

_PROMPT = "it adds prompts, not weights"
_INPUT = "its change of the weights depends on the input"
_MERGED_METHODS = {
    "ADALORA", "ADAMSS", "BEFT", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "FROD", "GLORA",
    "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "MISS", "OFT", "OSF", "PEANUT",
    "PSOFT", "PVERA", "RANDLORA", "ROAD", "SHIRA", "SUPERTUNING", "TINYLORA", "TRAINABLE_TOKENS",
    "UNILORA", "VBLORA", "VERA", "WAVEFT"
}  # fmt: skip
_PROMPTS = {
    "ADAPTION_PROMPT", "CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "P_TUNING",
    "PREFIX_TUNING", "PROMPT_TUNING"
}  # fmt: skip
# How peft's methods are applied, or why they cannot be.
_METHODS = {
    "LORA": _STACKED,
    **dict.fromkeys(_MERGED_METHODS, _MERGED),
    **dict.fromkeys(_PROMPTS, _PROMPT),
    **dict.fromkeys(("LILY", "POLY", "SHADOW", "XLORA"), _INPUT),
}
# Fields on which the answers of a trained adapter do not depend.
_NEUTRAL = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "inference_mode",
    "loftq_config", "lora_dropout", "lora_ga_config", "megatron_core", "peft_type",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type"
}  # fmt: skip
_LORA_STACKED = {
    "alpha_pattern", "exclude_modules", "fan_in_fan_out", "layers_pattern",
    "layers_to_transform", "lora_alpha", "r", "rank_pattern", "target_modules",
    "target_parameters", "use_dora", "use_rslora"
}  # fmt: skip
_LORA_MERGED = {
    "bias", "ensure_weight_tying", "kasa_config", "lora_bias", "modules_to_save",
    "monteclora_config", "trainable_token_indices", "use_bdlora",
    "velora_config"
}  # fmt: skip
# How the fields of LoRA are applied. peft interprets the fields of methods that it merges.
_OPTIONS = {
    **dict.fromkeys(_LORA_STACKED, _STACKED),
    **dict.fromkeys(_LORA_MERGED, _MERGED),
}
_LABELS = {"olora": "OLoRA", "pissa": "PiSSA", "mica": "MiCA"}
# Fields of any method that cannot be applied, and why.
_REFUSED = {
    "alora_invocation_tokens": "aLoRA changes only the tokens after an invocation",
    "arrow_config": f"Arrow combines adapters: {_INPUT}",
    "layer_replication": "it changes the base's layers",
    "megatron_config": "it needs Megatron's layers",
    "sample_at_inference": "the weights are random in each pass",
    "use_qalora": "QALoRA needs GPTQ layers",
}
_CONVERT = (
    "save it with path_initial_model_for_weight_conversion, which makes it a plain LoRA adapter"
)
# Whether loading the adapter again leaves the base's weights, or changes them as training did.
_INITIALIZATIONS = {
    **dict.fromkeys(("eva", "gaussian", "orthogonal"), _STACKED),
    **dict.fromkeys(("mica", "olora", "pissa"), _MERGED),
    "loftq": (
        "peft quantizes the base again at each load; give the base that LoftQ saved as --base, and "
        "set init_lora_weights to true"
    ),
    "corda": f"peft cannot repeat CorDA's change of the base's weights; {_CONVERT}",
    "lora_ga": f"peft cannot repeat LoRA-GA's change of the base's weights; {_CONVERT}",
    "pissa_niter": f"fast SVD changes the base's weights at random at each load; {_CONVERT}",
}


class Method(NamedTuple):
    """How an adapter is applied. `config` is peft's, `is_low_rank` as far as its fields show."""

    config: Any
    is_low_rank: bool
    name: str
    """The method, with the options that prevent a stacked pass."""


def read(folder: Path) -> Method:
    """How to apply the adapter in `folder`. Raises AdapterError if it is not supported."""
    path = folder / "adapter_config.json"
    given = json_object(path)
    config = _config(path, given)
    kind = str(config.peft_type.value)
    merged = []
    for name, value in _switched_on(path, given, config).items():
        how = _how(kind, name, value)
        if how == _MERGED:
            label = value if name == "init_lora_weights" else name
            merged.append(_LABELS.get(label, label))
        elif how != _STACKED:
            raise _unsupported(path, name, value, how)
    is_low_rank = _METHODS[kind] == _STACKED and not merged
    return Method(config, is_low_rank, f"{kind} with {' and '.join(merged)}" if merged else kind)


def _config(path: Path, given: dict[str, Any]) -> Any:
    kind = given.get("peft_type", "LORA")
    how = _METHODS.get(str(kind), f"peft {peft.__version__} or sway-gate does not know it")
    if how not in (_STACKED, _MERGED):
        raise _unsupported(path, "peft_type", kind, how)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PeftConfig.from_pretrained(str(path.parent))
    except Exception as error:  # peft raises arbitrary exceptions on invalid files
        raise AdapterError(f"{path}: {error_text(error)}") from None


def _switched_on(path: Path, given: dict[str, Any], config: Any) -> dict[str, Any]:
    """The fields that differ from their defaults. Raises AdapterError if peft ignores one."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    found = {}
    for name, value in given.items():
        if not value or value in (defaults.get(name), "none") or name in _NEUTRAL:
            continue
        if name not in defaults:
            why = f"peft {peft.__version__} ignores this field; upgrade peft"
            raise _unsupported(path, name, value, why)
        found[name] = value
    return found


def _how(kind: str, name: str, value: Any) -> str:
    """How a field that is switched on is applied, or why it cannot be."""
    if name in _REFUSED:
        return _REFUSED[name]
    if kind != "LORA":
        return _MERGED if name in _LORA_MERGED else _STACKED
    if name == "init_lora_weights":
        start = str(value).lower().partition("_niter_")
        known = "".join(start[:2]).rstrip("_")
        return _INITIALIZATIONS.get(known, "sway-gate does not know this initialization")
    return _OPTIONS.get(name, "sway-gate does not know this option")


def _unsupported(path: Path, name: str, value: Any, why: str) -> AdapterError:
    return AdapterError(f"{path}: {name} {cut(one_line(repr(value)), 60)} is not supported: {why}")
