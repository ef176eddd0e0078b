"""Reads plain LoRA and DoRA adapters without peft, whose import takes a second.

The configuration must have no other option, it must select linear layers and embeddings only, and
the file must have exactly their tensors. All other adapters are left to peft.
"""

import re
from collections.abc import Iterator, Mapping
from math import sqrt
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from safetensors import safe_open
from torch import nn
from transformers import modeling_utils
from transformers.pytorch_utils import Conv1D

from sway_gate.backends.adapter_file import WEIGHTS, has_only_factors, is_factor
from sway_gate.backends.changes import is_transposed, low_rank
from sway_gate.backends.null_adapters import LowRank
from sway_gate.model_files.config import json_object
from sway_gate.model_files.methods import is_stacked

_LAYERS = (nn.Linear, nn.Embedding, Conv1D)
_STATE_SPACES = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
"""Models some of whose layers peft refuses to adapt."""
_Rank = Annotated[int, msgspec.Meta(gt=0)]
_T = TypeVar("_T")


class _Config(msgspec.Struct):
    """The fields of a LoRA that select and scale its modules, with peft's defaults."""

    peft_type: Literal["LORA"]
    target_modules: str | list[str]
    exclude_modules: str | list[str] | None = None
    layers_to_transform: int | list[int] | None = None
    layers_pattern: str | list[str] | None = None
    r: _Rank = 8
    lora_alpha: float = 8
    rank_pattern: dict[str, _Rank] = {}
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False
    use_dora: bool = False

    def selects(self, module: str) -> bool:
        """Whether the adapter has factors for the module."""
        if self.exclude_modules and _is_in(self.exclude_modules, module):
            return False
        is_exact = isinstance(self.target_modules, str) or module in self.target_modules
        return _is_in(self.target_modules, module) and (is_exact or self._has_layer_of(module))

    def rank(self, module: str) -> int:
        return _of_pattern(self.rank_pattern, module, self.r)

    def scaling(self, module: str) -> float:
        rank = self.rank(module)
        alpha = _of_pattern(self.alpha_pattern, module, self.lora_alpha)
        return alpha / (sqrt(rank) if self.use_rslora else rank)

    def _has_layer_of(self, module: str) -> bool:
        """Whether the number of the module's layer is in `layers_to_transform`."""
        if self.layers_to_transform in (None, []):
            return True
        given = [rf"(?:^|.*?\.){pattern}" for pattern in _listed(self.layers_pattern or [])]
        patterns = given or [r".*?\.[^.]*"]
        matches = (re.match(rf"{pattern}\.(?P<layer>\d+)\.", module) for pattern in patterns)
        match = next(filter(None, matches), None)
        return match is not None and int(match["layer"]) in _listed(self.layers_to_transform)


def read(model: Any, folder: Path) -> dict[str, LowRank] | None:
    """The factors by module name; None for an adapter that is left to peft.

    Raises AdapterError if the file cannot be read.
    """
    config = _config(folder)
    if config is None or not _is_plain(model) or not has_only_factors(model, folder):
        return None
    try:
        modules = {name: m for name, m in model.named_modules() if config.selects(name)}
        if not modules or not all(type(module) in _LAYERS for module in modules.values()):
            return None
        tensors = {name: dict(_tensors(name, module, config)) for name, module in modules.items()}
        scalings = [config.scaling(name) for name in modules]
    except (re.error, OverflowError, RecursionError):  # from patterns and numbers of the file
        return None
    with safe_open(folder / WEIGHTS, "pt") as file:
        keys = filter(is_factor, file.keys())
        found = {key: tuple(file.get_slice(key).get_shape()) for key in keys}
        if found != {key: shape for shapes in tensors.values() for key, shape in shapes.items()}:
            return None
        return {
            name: low_rank(module, scaling, *map(file.get_tensor, tensors[name]))
            for (name, module), scaling in zip(modules.items(), scalings, strict=True)
        }


def _config(folder: Path) -> _Config | None:
    """The configuration; None if a field is on that is not of plain LoRA or DoRA, or is invalid."""
    given = json_object(folder / "adapter_config.json")
    if given.get("target_parameters") or not is_stacked(given):
        return None
    try:
        config = msgspec.convert(given, _Config)
    except msgspec.ValidationError:
        return None
    limits = (config.layers_to_transform, config.layers_pattern)
    if isinstance(config.target_modules, str):
        is_understood = limits == (None, None) and config.target_modules.lower() != "all-linear"
    else:
        is_understood = not config.layers_pattern or config.layers_to_transform is not None
    return config if is_understood else None


def _is_plain(model: Any) -> bool:
    """Whether peft adapts all layers of this model as they are.

    It converts adapters of models whose modules transformers renamed or fused.
    """
    conversions: Any = getattr(modeling_utils, "get_model_conversion_mapping", None)
    is_converted = conversions is not None and conversions(model, add_legacy=False)
    return model.config.model_type not in _STATE_SPACES and not is_converted


def _tensors(name: str, module: Any, config: _Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Key and shape of each tensor that the file must have for a module: A, B and magnitudes."""
    n_out, n_in = module.weight.shape
    if is_transposed(module):
        n_in, n_out = n_out, n_in
    rank, prefix = config.rank(name), f"base_model.model.{name}.lora_"
    start, end = ("embedding_", "") if isinstance(module, nn.Embedding) else ("", ".weight")
    yield f"{prefix}{start}A{end}", (rank, n_in)
    yield f"{prefix}{start}B{end}", (n_out, rank)
    if config.use_dora:
        yield f"{prefix}magnitude_vector", (n_out,)


def _is_in(patterns: str | list[str], module: str) -> bool:
    """Whether the module matches a regular expression, or its name ends with one of the names."""
    if isinstance(patterns, str):
        return re.fullmatch(patterns, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in patterns)


def _of_pattern(values: Mapping[str, _T], module: str, default: _T) -> _T:
    """The value of the first pattern that matches the end of the module's name."""
    matching = (v for pattern, v in values.items() if re.match(rf"(.*\.)?({pattern})$", module))
    return next(matching, default)


def _listed(x: _T | list[_T]) -> list[_T]:
    return x if isinstance(x, list) else [x]
