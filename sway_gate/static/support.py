"""Methods, options and tasks of peft that the gate refuses.

The tables list what is understood. A method, or an option that is switched on, that they do not
list is refused by name.
"""

from collections.abc import Iterator
from typing import Any, Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROMPT: Final = "it adds prompts or attention, not changes of the weights"
_INPUT: Final = "its change of the weights depends on the input"
_UNKNOWN: Final = "this version of sway-gate does not know it; upgrade sway-gate and peft"

_METHODS: Final = _words(
    "LORA ADALORA ADAMSS BEFT BOFT C3A DEFT DELORA FOURIERFT FROD GLORA GRALORA HIRA HRA IA3"
    " LN_TUNING LOHA LOKR MISS OFT OSF PEANUT PSOFT PVERA RANDLORA ROAD SHIRA SUPERTUNING"
    " TINYLORA TRAINABLE_TOKENS UNILORA VBLORA VERA WAVEFT"
)
_REFUSED_METHODS: Final = {
    **dict.fromkeys(
        _words(
            "ADAPTION_PROMPT CARTRIDGE CPT MULTITASK_PROMPT_TUNING P_TUNING PREFIX_TUNING"
            " PROMPT_TUNING"
        ),
        _PROMPT,
    ),
    **dict.fromkeys(("LILY", "POLY", "SHADOW", "XLORA"), _INPUT),
}
_LORA_FIELDS: Final = _words(
    "alpha_pattern auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying"
    " eva_config exclude_modules fan_in_fan_out inference_mode init_lora_weights kasa_config"
    " layers_pattern layers_to_transform loftq_config lora_alpha lora_bias lora_dropout"
    " lora_ga_config megatron_core modules_to_save monteclora_config peft_type peft_version"
    " qalora_group_size r rank_pattern revision runtime_config target_modules"
    " target_parameters task_type trainable_token_indices use_bdlora use_dora use_rslora"
    " velora_config"
)
_REFUSED_FIELDS: Final = {
    "alora_invocation_tokens": "aLoRA changes only the tokens after an invocation",
    "arrow_config": f"Arrow combines adapters: {_INPUT}",
    "layer_replication": "it changes the base's layers",
    "megatron_config": "it needs Megatron's layers",
    "use_qalora": "QALoRA needs GPTQ layers",
}
TASKS: Final = {
    "SEQ_CLS": "classification of texts",
    "TOKEN_CLS": "classification of tokens",
    "QUESTION_ANS": "extraction of answers",
    "FEATURE_EXTRACTION": "embeddings",
    "SEQ_2_SEQ_LM": "an encoder-decoder model",
}
"""Values of `task_type` for other models than language models."""
HEADS: Final = frozenset({"classifier", "score", "classification_head", "qa_outputs", "v_head"})
"""Modules that other models than language models have instead of lm_head."""


def unsupported_method(peft_type: str) -> str | None:
    """Why an adapter of this method is refused; None if it is supported."""
    return None if peft_type in _METHODS else _REFUSED_METHODS.get(peft_type, _UNKNOWN)


def unsupported_options(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The LoRA options that are switched on but not supported, each with the reason."""
    for name, value in config.items():
        if value and name not in _LORA_FIELDS:
            yield name, _REFUSED_FIELDS.get(name, _UNKNOWN)


def unknown_options(config: dict[str, Any]) -> list[str]:
    """The LoRA options that are switched off and unknown."""
    known = _LORA_FIELDS | _REFUSED_FIELDS.keys()
    return [name for name, value in config.items() if not value and name not in known]
