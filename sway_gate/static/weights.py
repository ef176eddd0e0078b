"""Validate the header of adapter_model.safetensors and report each inconsistency.

The format: https://github.com/huggingface/safetensors#format
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sway_gate.files import open_regular
from sway_gate.model_files.hub import ADAPTER_WEIGHTS
from sway_gate.results import Finding
from sway_gate.static.config import no_constant
from sway_gate.static.findings import (
    DOWNLOAD,
    LFS,
    SAVE_AGAIN,
    Fatal,
    finding,
    quote,
    refuse_pointer,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICKLE = "adapter_model.bin"
MAX_HEADER_BYTES = 16 << 20
"""About 95 000 tensors. Below the format's limit of 100 MB: parsed JSON takes 20 times its text."""

_MAX_NAME, _MAX_DIMS, _MAX_DIM = 512, 8, 1 << 48

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
BITS |= dict.fromkeys(
    ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8
)
BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
BITS |= {"I64": 64, "U64": 64, "F64": 64, "C64": 64}


class _Tensor(NamedTuple):
    """Entry of the header. `begin` and `end` are in bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Weights(NamedTuple):
    path: Path
    tensors: dict[str, _Tensor]
    data: "NDArray[np.uint8]"
    """The memory-mapped bytes after the header."""

    def raw(self, name: str) -> "NDArray[np.uint8]":
        return self.data[self.tensors[name].begin : self.tensors[name].end]


class Header(NamedTuple):
    path: Path
    tensors: dict[str, _Tensor]
    size_bytes: int
    """Size of the header; the data follows it."""


def read_weights(here: Path, name: str = ADAPTER_WEIGHTS) -> Weights:
    """Read the header and map the tensor data. Raises `Fatal` if the file is inconsistent."""
    import numpy as np

    header = read_header(here, name)
    data: NDArray[np.uint8] = np.memmap(header.path, np.uint8, "r").view(np.ndarray)
    return Weights(header.path, header.tensors, data[header.size_bytes :])


def read_header(here: Path, name: str = ADAPTER_WEIGHTS) -> Header:
    """Read the header, without numpy. Raises `Fatal` if the file is inconsistent."""
    path = here / name
    if not path.exists():
        raise _no_weights(path)
    with open_regular(path) as file:
        start = file.read(len(LFS))
        refuse_pointer("weights-lfs-pointer", path, start)
        size = os.fstat(file.fileno()).st_size
        if len(start) < 8:
            message = f"the file has {len(start)} bytes: not a safetensors file"
            raise Fatal("weights-truncated", path, message, DOWNLOAD)
        length = int.from_bytes(start[:8], "little")
        if 8 + length > size:
            claim = f"the header claims {length} bytes, the file has {size}"
            message = f"{claim}: truncated or not safetensors"
            raise Fatal("weights-truncated", path, message, DOWNLOAD)
        if length > MAX_HEADER_BYTES:
            message = f"the header claims {length} bytes, the limit is {MAX_HEADER_BYTES}"
            raise Fatal("header-too-large", path, message, SAVE_AGAIN)
        file.seek(8)
        entries = _header(path, file.read(length))
    _check_metadata(path, entries.pop("__metadata__", None))
    tensors = {name: _tensor(path, name, entry) for name, entry in entries.items()}
    _check_layout(path, tensors, size - 8 - length)
    return Header(path, tensors, 8 + length)


def _no_weights(path: Path) -> Fatal:
    here = path.parent
    if (here / PICKLE).is_file():
        message = f"found only {PICKLE}, a pickle: refused, because loading it can run code"
        remedy = (
            "convert it with save_pretrained(safe_serialization=True) in the training environment"
        )
        return Fatal("weights-pickle", here / PICKLE, message, remedy)
    return Fatal("weights-missing", path, f"{path.name} is missing", SAVE_AGAIN)


def ignored_pickle(here: Path) -> Iterator[Finding]:
    """Note a pickle in the same folder."""
    if (here / PICKLE).is_file():
        message = f"{PICKLE} is ignored, {ADAPTER_WEIGHTS} is used"
        yield finding("note", "pickle-ignored", here / PICKLE, message)


def _header(path: Path, data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(
            data.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=no_constant
        )
    except _RepeatedKey as error:
        message = f"the header contains the key {quote(str(error))} twice"
        raise Fatal("header-duplicate-key", path, message, SAVE_AGAIN) from None
    except (ValueError, RecursionError):
        message = "the header is not JSON: damaged or not safetensors"
        raise Fatal("header-not-json", path, message, DOWNLOAD) from None
    if not isinstance(header, dict):
        raise Fatal("header-not-json", path, "the header is not a JSON object", DOWNLOAD)
    return header


def _check_metadata(path: Path, metadata: object) -> None:
    """Raise `Fatal` for metadata with which the file cannot be loaded."""
    is_valid = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if metadata is not None and not is_valid:
        message = "the header's __metadata__ is not an object of strings"
        raise Fatal("metadata-malformed", path, message, SAVE_AGAIN)


class _RepeatedKey(Exception):
    pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise _RepeatedKey(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return table


def _tensor(path: Path, name: str, entry: Any) -> _Tensor:
    def fatal(id: str, message: str) -> Fatal:
        return Fatal(id, path, f"tensor {quote(name)}: {message}", SAVE_AGAIN)

    if len(name) > _MAX_NAME or not name.isprintable():
        raise fatal(
            "tensor-malformed", f"the name is not printable or longer than {_MAX_NAME} characters"
        )
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        message = "not an object with dtype, shape and two data_offsets"
        raise fatal("tensor-malformed", message) from None
    if not isinstance(shape, list) or not _are_sizes(shape) or len(shape) > _MAX_DIMS:
        message = f"the shape is not a list of at most {_MAX_DIMS} sizes from 0 to {_MAX_DIM}"
        raise fatal("tensor-malformed", message)
    if not isinstance(dtype, str) or dtype not in BITS:
        raise fatal("dtype-unknown", f"unknown dtype {quote(str(dtype))}")
    if not _are_sizes([begin, end]) or begin > end:
        raise fatal("tensor-malformed", "data_offsets are not [begin, end] with 0 <= begin <= end")
    if (claimed := math.prod(shape) * BITS[dtype]) != 8 * (end - begin):
        stored = 8 * (end - begin)
        message = f"{dtype} of shape {shape} takes {claimed} bits, data_offsets cover {stored}"
        raise fatal("tensor-size", message)
    return _Tensor(dtype, tuple(shape), begin, end)


def _are_sizes(values: list[Any]) -> bool:
    return all(type(value) is int and 0 <= value <= _MAX_DIM for value in values)


def _check_layout(path: Path, tensors: dict[str, _Tensor], size: int) -> None:
    """Raise `Fatal` unless the tensors fill the `size` data bytes without gap or overlap."""
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if tensor.end > size:
            end = f"ends at byte {tensor.end}, the data at byte {size}"
            message = f"tensor {quote(name)} {end}: truncated file"
            raise Fatal("tensor-out-of-file", path, message, DOWNLOAD)
        if tensor.begin < at:
            overlap = at - tensor.begin
            message = f"tensor {quote(name)} overlaps the previous tensor by {overlap} bytes"
            raise Fatal("tensor-overlap", path, message, SAVE_AGAIN)
        if tensor.begin > at:
            message = f"{tensor.begin - at} bytes before tensor {quote(name)} belong to no tensor"
            raise Fatal("tensor-hole", path, message, SAVE_AGAIN)
        at = tensor.end
    if at < size:
        message = f"{size - at} bytes after the last tensor belong to no tensor"
        raise Fatal("trailing-bytes", path, message, SAVE_AGAIN)
