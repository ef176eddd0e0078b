"""A LoRA adapter as read from its files: the role and the module of each tensor."""

import re
from collections import defaultdict
from typing import NamedTuple

from sway_gate.results import Finding
from sway_gate.static.config import AdapterConfig
from sway_gate.static.content import Content
from sway_gate.static.findings import finding
from sway_gate.static.weights import Weights

_PART = re.compile(r"(.+)\.lora_(?:embedding_)?(A|B|magnitude_vector)(?:\.weight)?")
_NOT_TEXT = re.compile(
    r"(?:.*\.)?(?:vision_tower|vision_model|vision_encoder|visual|image_encoder|audio_tower"
    r"|audio_model|audio_encoder|multi_modal_projector)(?:\..*)?"
)
_FROZEN = re.compile(r".*\.base_layer\.(weight|bias)|(.*\.)?(embed_tokens|lm_head)\.(weight|bias)")


class Adapter(NamedTuple):
    """Config and tensors, with the kind and the module of each tensor."""

    config: AdapterConfig
    weights: Weights
    content: dict[str, Content]
    kinds: dict[str, str]
    """Tensor -> "lora", "trained", "frozen" or "unknown"."""
    parts: dict[str, dict[str, str]]
    """Module -> "A", "B" or "magnitude_vector" -> tensor."""

    @classmethod
    def of(cls, config: AdapterConfig, weights: Weights, content: dict[str, Content]) -> "Adapter":
        kinds = {name: _kind(config, module_of(name)) for name in weights.tensors}
        return cls(config, weights, content, kinds, _parts(weights))

    def finding(self, level: str, id: str, message: str, remedy: str = "") -> Finding:
        return finding(level, id, self.weights.path, message, remedy)

    def shape(self, module: str, part: str) -> tuple[int, ...]:
        return self.weights.tensors[self.parts[module][part]].shape


def is_in(saved: str, tensor: str) -> bool:
    """Whether peft saves `tensor` for the entry `saved` of modules_to_save.

    The entry is the end of a module's name: norm stands for input_layernorm too.
    """
    return f"{saved}." in tensor


def is_tokens(tensor: str) -> bool:
    """Whether the tensor contains the embeddings that trainable_token_indices trains."""
    return tensor.endswith("trainable_tokens_delta")


def reads_text(module: str) -> bool:
    """Whether a forward pass on text without images or sound uses the module, by its name."""
    return _NOT_TEXT.fullmatch(module) is None


def module_of(tensor: str) -> str:
    return tensor.removeprefix("base_model.model.")


def _parts(weights: Weights) -> dict[str, dict[str, str]]:
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    for name in weights.tensors:
        if match := _PART.fullmatch(module_of(name)):
            parts[match[1]][match[2]] = name
    return dict(parts)


def _kind(config: AdapterConfig, name: str) -> str:
    """Kind of the tensor `name`.

    trained: trained in addition to LoRA. frozen: an embedding that peft saves with the adapter.
    """
    if _PART.fullmatch(name):
        return "lora"
    if config.variants and ".lora_" in name:
        return "lora"
    if any(is_in(module, name) for module in config.modules_to_save):
        return "trained"
    if is_tokens(name) or (name.endswith(".lora_B.bias") and config.lora_bias):
        return "trained"
    if name.endswith(".bias") and config.bias != "none" and ".lora_" not in name:
        return "trained"
    return "frozen" if _FROZEN.fullmatch(name) else "unknown"
