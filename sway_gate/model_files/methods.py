"""How peft's methods and options are applied: stacked, merged by peft, or refused with a reason.

A method or option that is not in the table is not understood.
"""

from collections.abc import Mapping
from typing import Any, Final

STACKED = "stacked"
"""Low-rank factors contain the change: many views run in one pass."""
WITH_WEIGHTS = "with weights"
"""Low-rank factors, and whole weights of other layers: one view runs at a time."""
MERGED = "merged"
"""peft can merge the change into the base's weights: one view runs at a time."""
SUPPORTED: Final = (STACKED, WITH_WEIGHTS, MERGED)

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
METHODS: Final = {
    "LORA": STACKED,
    **dict.fromkeys(_MERGED_METHODS, MERGED),
    **dict.fromkeys(_PROMPTS, _PROMPT),
    **dict.fromkeys(("LILY", "POLY", "SHADOW", "XLORA"), _INPUT),
}
# Fields on which the answers of a trained adapter do not depend.
NEUTRAL: Final = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "inference_mode",
    "loftq_config", "lora_dropout", "lora_ga_config", "megatron_core", "peft_type",
    "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type"
}  # fmt: skip
_LORA_STACKED = {
    "alpha_pattern", "exclude_modules", "fan_in_fan_out", "layers_pattern",
    "layers_to_transform", "lora_alpha", "r", "rank_pattern", "target_modules",
    "target_parameters", "use_dora", "use_rslora"
}  # fmt: skip
_LORA_WITH_WEIGHTS = {"bias", "modules_to_save"}
_LORA_MERGED = {
    "ensure_weight_tying", "kasa_config", "lora_bias", "monteclora_config",
    "trainable_token_indices", "use_bdlora", "velora_config"
}  # fmt: skip
# How the fields of LoRA are applied. peft interprets the fields of methods that it merges.
_OPTIONS = {
    **dict.fromkeys(_LORA_STACKED, STACKED),
    **dict.fromkeys(_LORA_WITH_WEIGHTS, WITH_WEIGHTS),
    **dict.fromkeys(_LORA_MERGED, MERGED),
}
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
    **dict.fromkeys(("eva", "gaussian", "orthogonal"), STACKED),
    **dict.fromkeys(("mica", "olora", "pissa"), MERGED),
    "loftq": (
        "peft quantizes the base again at each load; give the base that LoftQ saved as --base, and "
        "set init_lora_weights to true"
    ),
    "corda": f"peft cannot repeat CorDA's change of the base's weights; {_CONVERT}",
    "lora_ga": f"peft cannot repeat LoRA-GA's change of the base's weights; {_CONVERT}",
    "pissa_niter_": f"fast SVD changes the base's weights at random at each load; {_CONVERT}",
}
KNOWN: Final = frozenset({*NEUTRAL, *_OPTIONS, *_REFUSED, "init_lora_weights"})
"""Names of all fields of a LoRA's configuration."""


def option(method: str, name: str, value: Any) -> str:
    """How a field of adapter_config.json that is switched on is applied, or why it cannot be."""
    if name in _REFUSED:
        return _REFUSED[name]
    if method != "LORA":
        return MERGED if name in _LORA_MERGED | _LORA_WITH_WEIGHTS else STACKED
    if name == "init_lora_weights" and value is True:
        return STACKED
    if name == "init_lora_weights":
        start, niter, _ = str(value).lower().partition("_niter_")
        return _INITIALIZATIONS.get(start + niter, "sway-gate does not know this initialization")
    return _OPTIONS.get(name, "sway-gate does not know this option")


def is_stacked(config: Mapping[str, Any]) -> bool:
    """Whether the fields of an adapter_config.json are of a LoRA that is applied as factors."""
    is_on = {n: v for n, v in config.items() if v and v != "none" and n not in NEUTRAL}
    is_lora = config.get("peft_type") == "LORA"
    return is_lora and all(option("LORA", *field) == STACKED for field in is_on.items())
