"""Rows of the matrices in a GGUF file, under the names and in the order of transformers."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sway_gate.errors import CannotDecide
from sway_gate.serving.weights import Rows, Stored
from sway_gate.stats import Floats

_HEADS = {"attn_q": "head_count", "attn_k": "head_count_kv"}
"""Matrices whose rows llama.cpp interleaves in some architectures: the field of their heads."""

_ROUNDED = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""The types that the package rounds to as llama.cpp does, if it has no importance matrix."""
_IMPORTANCE = "quantize.imatrix.file"


def stored_rows(path: Path, wanted: Mapping[str, Rows]) -> dict[str, Stored]:
    """The wanted rows that the file has. Raises CannotDecide without the package gguf."""
    gguf = _package()
    try:
        reader = gguf.GGUFReader(path)
        named = _by_name(gguf, reader, wanted)
        return {name: _stored(gguf, reader, tensor, wanted[name]) for name, tensor in named}
    except Exception:  # the reader raises arbitrary exceptions on invalid files
        return {}


def _by_name(gguf: Any, reader: Any, names: Mapping[str, Rows]) -> Iterator[tuple[str, Any]]:
    """The tensors of these parameters, if they have the same width."""
    name = _field(reader, "general.architecture")
    architecture = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == name)
    to_file = gguf.get_tensor_name_map(architecture, _field(reader, f"{name}.block_count"))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    for parameter, rows in names.items():
        tensor = tensors.get(to_file.get_name(parameter, (".weight",)))
        if tensor is not None and tensor.shape[0] == rows.base.shape[1]:
            yield parameter, tensor


def _stored(gguf: Any, reader: Any, tensor: Any, rows: Rows) -> Stored:
    def read(numbers: Any) -> Floats:
        values = gguf.dequantize(tensor.data[numbers], tensor.tensor_type)
        return np.asarray(values, dtype=np.float64)

    def rounded(values: Floats) -> Floats:
        data = gguf.quantize(values.astype(np.float32), tensor.tensor_type)
        return np.asarray(gguf.dequantize(data, tensor.tensor_type), dtype=np.float64)

    found = [read(numbers) for numbers in _orders(reader, tensor, rows.numbers)]
    closest = min(found, key=lambda values: float(np.square(values - rows.base).sum()))
    is_known = tensor.tensor_type.name in _ROUNDED and _IMPORTANCE not in reader.fields
    return Stored(closest, rounded if is_known else None)


def _orders(reader: Any, tensor: Any, numbers: Any) -> Iterator[Any]:
    """Where the rows can be: in their own place, or where llama.cpp interleaves halves of a head.

    As `LlamaModel.permute` of convert_hf_to_gguf.py.
    """
    yield numbers
    field = _HEADS.get(tensor.name.split(".")[-2])
    if field:
        architecture = _field(reader, "general.architecture")
        heads, total = _field(reader, f"{architecture}.attention.{field}"), tensor.data.shape[0]
        if isinstance(heads, int) and heads and total % (2 * heads) == 0:
            half = total // heads // 2
            head, row = np.divmod(numbers, 2 * half)
            yield head * 2 * half + row % half * 2 + row // half


def _field(reader: Any, name: str) -> Any:
    return reader.fields[name].contents()


@cache
def _package() -> Any:
    """The package gguf. Raises CannotDecide."""
    try:
        import gguf
    except ImportError as error:
        raise CannotDecide(f"{error}; install the extra: pip install 'sway-gate[gguf]'") from None
    return gguf
