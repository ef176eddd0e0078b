"""Compare the modules and parameters that the config names with the base's, by their names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sway_gate.model_files.config import json_object
from sway_gate.model_files.shapes import Shapes, short
from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter, is_tokens, module_of
from sway_gate.static.findings import MATCHING, compact, some
from sway_gate.static.patterns import NotRun
from sway_gate.static.support import HEADS
from sway_gate.static.targets import ALL_LINEAR, targeted

_MODEL: Final = (
    *("arcee", "bitnet", "cohere", "cohere2", "diffllama", "ernie4_5", "exaone4", "gemma"),
    *("gemma2", "gemma3_text", "glm", "glm4", "granite", "helium", "hunyuan_v1_dense", "llama"),
    *("ministral", "ministral3", "mistral", "nemotron", "olmo", "olmo2", "olmo3", "opt"),
    *("persimmon", "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm"),
    *("starcoder2", "vaultgemma"),
)
_TRANSFORMER: Final = (
    *("bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "mpt"),
)
ROOTS: Final = {
    **dict.fromkeys(_MODEL, "model."),
    **dict.fromkeys(_TRANSFORMER, "transformer."),
    "gpt_neox": "gpt_neox.",
}
"""Types of models whose files and modules have the same names, and the module with the layers.

transformers renames or fuses modules of other types when it loads them.
"""
_HEADS: Final = ("lm_head", "embed_out")
"""Modules outside the root. Files lack them if they are tied to the embedding."""
_WRAPPED: Final = ("base_layer", "token_adapter", "modules_to_save", "original_module")
"""Parts that peft adds to the name of a saved parameter."""


def module_findings(adapter: Adapter, shapes: Shapes, folder: Path) -> Iterator[Finding]:
    """What the adapter has that the base lacks; otherwise what it lacks for the base.

    Nothing for a base whose names are not known: loading reports it.
    """
    config = json_object(folder / "config.json")
    root = ROOTS.get(str(config.get("model_type")))
    if root is None or config.keys() & {"auto_map", "quantization_config"}:
        return
    found = [*_outside(adapter, root)] or [*_not_in_base(adapter, shapes)]
    yield from found or _without_tensors(adapter, shapes, root)


def _outside(adapter: Adapter, root: str) -> Iterator[Finding]:
    if wrong := [m for m in adapter.parts if not m.startswith((root, *_HEADS))]:
        message = f"tensors named {some(wrong, 1)}; the text-only base has the layers under"
        remedy = f"use the base model that the adapter was trained on, or rename them to '{root}…'"
        yield adapter.finding("broken", "base-names", f"{message} '{root}layers.'", remedy)


def _not_in_base(adapter: Adapter, shapes: Shapes) -> Iterator[Finding]:
    modules = {name.rpartition(".")[0] for name in shapes}.union(_HEADS)
    if absent := [module for module in adapter.parts if short(module) not in modules]:
        message = f"tensors of modules that the base does not have: {compact(absent)}"
        remedy = "use the base model that the adapter was trained on"
        yield adapter.finding("broken", "base-modules", message, remedy)
    whole = [n for n, kind in adapter.kinds.items() if kind != "lora" and not _is_part(n)]
    if absent := [name for name in whole if _parameter(name) not in shapes]:
        message = f"tensors of parameters that the base does not have: {some(absent)}"
        yield adapter.finding("broken", "base-parameters", message, MATCHING)


def _without_tensors(adapter: Adapter, shapes: Shapes, root: str) -> Iterator[Finding]:
    """Modules of the base that the config names, and for which the file has no tensors."""
    saved, ends = set(map(_parameter, adapter.weights.tensors)), adapter.config.modules_to_save
    lacking = [
        name
        for name in shapes.keys() - saved
        if any(module.endswith(ends) for module in _containers(name))
    ]
    try:
        lacking += set(_targets(adapter, shapes, root)) - adapter.parts.keys()
    except NotRun as error:
        id, reason = error.args[-2:]
        if id != "regex-invalid":  # reported as an error
            message = f"not checked whether the base has other modules to adapt: {reason}"
            yield adapter.finding("note", "base-modules-skipped", message)
    if lacking:
        message = f"no tensors for modules that the config names: {compact(sorted(lacking))}"
        yield adapter.finding("broken", "base-without-tensors", message, MATCHING)


def _targets(adapter: Adapter, shapes: Shapes, root: str) -> list[str]:
    """The modules of the base that the config targets."""
    config = adapter.config
    if config.target_modules is None or config.target_parameters:
        return []
    names = {part for name in shapes for part in _containers(name)}
    found = targeted(config, sorted(name if name in _HEADS else root + name for name in names))
    if config.target_modules in ALL_LINEAR:  # by their names: a file does not show the classes
        return [module for module in found if module.endswith("_proj")]
    return found


def _containers(parameter: str) -> Iterator[str]:
    """The module of a parameter, and all modules that contain it."""
    module = parameter.rpartition(".")[0]
    while module:
        yield module
        module = module.rpartition(".")[0]


def _parameter(tensor: str) -> str:
    """The short name of the base's parameter that a tensor replaces."""
    parts = module_of(tensor).split(".")
    return short(".".join(part for part in parts if part not in _WRAPPED))


def _is_part(tensor: str) -> bool:
    """Whether it is part of the adapter, or of a head that may be tied or of another task."""
    names = module_of(tensor).split(".")
    is_own = ".lora_" in tensor or tensor.endswith(".m") or is_tokens(tensor)
    return is_own or not {*_HEADS, *HEADS}.isdisjoint(names)
