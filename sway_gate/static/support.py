"""What the static check refuses, and why: methods, options and tasks."""

from collections.abc import Iterator
from typing import Any, Final

from sway_gate.model_files.methods import KNOWN, METHODS, NEUTRAL, SUPPORTED, option

_UNKNOWN: Final = "this version of sway-gate does not know it; upgrade sway-gate and peft"

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
    how = METHODS.get(peft_type, _UNKNOWN)
    return None if how in SUPPORTED else how


def unsupported_options(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The LoRA options that are switched on but not supported, each with the reason."""
    for name, value in config.items():
        if value and name not in NEUTRAL:
            how = option("LORA", name, value) if name in KNOWN else _UNKNOWN
            if how not in SUPPORTED:
                yield name, how


def unknown_options(config: dict[str, Any]) -> list[str]:
    """The LoRA options that are switched off and unknown."""
    return [name for name, value in config.items() if not value and name not in KNOWN]
