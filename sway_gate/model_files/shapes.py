"""Shapes of a model's weights, from the headers of its safetensors files."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from sway_gate.files import open_regular, read_regular
from sway_gate.model_files.config import json_object, model_config

_MAX_HEADER_BYTES: Final = 64 * 2**20
_MAX_FILES: Final = 1000
_PREFIX: Final = re.compile(r"(?:model\.|language_model\.|transformer\.|gpt_neox\.)*")
_LAYERS: Final = (
    *("num_hidden_layers", "num_layers", "n_layers", "n_layer", "depth"),
    *("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers"),
)
_SIZES: Final = (
    *("vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size", "head_dim"),
    *("n_embd", "n_inner", "d_model", "d_ff", "d_kv", "ffn_dim", "word_embed_proj_dim"),
    *("num_attention_heads", "num_key_value_heads", "n_head", "num_heads", "num_experts"),
    *("num_local_experts", "n_routed_experts", "num_labels"),
)
_FEW_LAYERS: Final = 200
_SMALL: Final = 2**14
"""Smaller sizes need little time and memory in any model."""
_PACKED: Final = 8
"""Values per element of quantized weights."""


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


Shapes = dict[str, tuple[int, ...]]


def read_shapes(folder: Path) -> Shapes:
    """Shape of each tensor with floating-point values, by its `short` name.

    Empty if the files are missing or malformed; loading the model reports them. Tensors whose short
    names are equal are left out.
    """
    found: Shapes = {}
    ambiguous = set[str]()
    for path in sorted(folder.glob("*.safetensors"))[:_MAX_FILES]:
        for name, entry in _header(path).items():
            if entry.dtype.startswith(("F", "BF")):
                ambiguous |= {short(name)} & found.keys()
                found[short(name)] = entry.shape
    return {name: shape for name, shape in found.items() if name not in ambiguous}


def shapes_of(path: Path) -> Shapes:
    """Shape of each tensor of one safetensors file; empty if it is missing or malformed."""
    return {name: entry.shape for name, entry in _header(path).items()}


def is_half_precision(folder: Path) -> bool:
    """Whether all matrices in the folder's safetensors files are of 16-bit floats.

    Vectors do not count: some models store norms and biases in float32. A model whose config.json
    states float32 computes in it, even if its files are 16-bit to be small.
    """
    config = model_config(folder)
    if "float32" in (config.get("dtype"), config.get("torch_dtype")):
        return False
    return {entry.dtype for entry in _matrices(folder)} in ({"BF16"}, {"F16"}, {"BF16", "F16"})


def float_values(folder: Path) -> int:
    """Number of values in the matrices of the folder's safetensors files.

    0 if some of them are neither 16-bit nor 32-bit floats.
    """
    matrices = list(_matrices(folder))
    if not {entry.dtype for entry in matrices} <= {"BF16", "F16", "F32"}:
        return 0
    return sum(math.prod(entry.shape) for entry in matrices)


def _matrices(folder: Path) -> Iterator[_Entry]:
    for path in sorted(folder.glob("*.safetensors"))[:_MAX_FILES]:
        yield from (entry for entry in _header(path).values() if len(entry.shape) > 1)


def most_common_dtype(folder: Path) -> str:
    """The dtype of most stored values, such as BF16; "" if no file has a readable header."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.glob("*.safetensors"))[:_MAX_FILES]:
        for entry in _header(path).values():
            sizes[entry.dtype] = sizes.get(entry.dtype, 0) + math.prod(entry.shape)
    return max(sizes, key=lambda dtype: sizes[dtype], default="")


def layout_fault(path: Path) -> str:
    """How the header of a safetensors file contradicts the file's size; "" if it does not."""
    size_bytes = path.stat().st_size
    header_bytes = 8 + int.from_bytes(read_regular(path, 8), "little")
    if header_bytes > size_bytes:
        return f"the header claims {header_bytes} bytes, the file has {size_bytes}"
    ends = [entry.data_offsets[1] for entry in _header(path).values()]
    if ends and header_bytes + max(ends) != size_bytes:
        return f"the tensors end at byte {header_bytes + max(ends)}, the file at byte {size_bytes}"
    return "" if ends else "the header names no tensors"


def oversized(folder: Path) -> str:
    """A size in config.json that the folder's weights cannot have; "" if there is none.

    Libraries build each layer and fill what the files lack, before they compare the shapes.
    """
    files = sorted(folder.glob("*.safetensors"))[:_MAX_FILES]
    shapes = [entry.shape for path in files for entry in _header(path).values()]
    largest = max((max(shape, default=0) for shape in shapes), default=0)
    limits = dict.fromkeys(_LAYERS, max(_FEW_LAYERS, len(shapes)))
    limits |= dict.fromkeys(_SIZES, max(_SMALL, largest * _PACKED))
    for name, value in _flat(json_object(folder / "config.json")):
        if name in limits and isinstance(value, int) and value > limits[name]:
            weights = f"{len(shapes)} tensors with dimensions up to {largest}"
            return f"config.json states {name} {value}, but the files have {weights}"
    return ""


def _flat(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of the model and of its nested configurations."""
    found = [fields]
    while found:
        for name, value in found.pop().items():
            yield name, value
            if isinstance(value, dict):
                found.append(value)


def short(name: str) -> str:
    """The name without the prefixes of the language model, which depend on how it was saved."""
    return _PREFIX.sub("", name, count=1)


def _header(path: Path) -> dict[str, _Entry]:
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            raw = msgspec.json.decode(
                file.read(length if length <= _MAX_HEADER_BYTES else 0), type=dict[str, msgspec.Raw]
            )
        raw.pop("__metadata__", None)
        return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return {}
