"""Shapes of a model's weights, from the headers of its safetensors files."""

import re
from pathlib import Path
from typing import Final

import msgspec

from sway_gate.files import open_regular, read_regular

_MAX_HEADER_BYTES: Final = 64 * 2**20
_MAX_FILES: Final = 1000
_PREFIX: Final = re.compile(r"(?:model\.|language_model\.|transformer\.|gpt_neox\.)*")


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


def tensor_names(path: Path) -> tuple[str, ...]:
    """Names of all tensors of a safetensors file; empty if it is missing or malformed."""
    return tuple(_header(path))


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
