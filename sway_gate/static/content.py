"""Scan the values of the tensors for NaN, Inf and nonzero values."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.results import Finding
from sway_gate.static.findings import finding, quote, some
from sway_gate.static.weights import Weights

CHUNK = 1 << 20
"""Number of values per step."""


class _Float(NamedTuple):
    """Bits of a floating dtype. NaN and Inf have all bits of `exponent`; zero has only the sign."""

    bits: str
    exponent: int


FLOATS = {
    "F64": _Float("<u8", 0x7FF << 52),
    "F32": _Float("<u4", 0xFF << 23),
    "F16": _Float("<u2", 0x1F << 10),
    "BF16": _Float("<u2", 0xFF << 7),
}


class Content(NamedTuple):
    """Number of NaN and Inf in a tensor, and whether any value is not zero."""

    nonfinite: int
    nonzero: bool


def scan_all(weights: Weights) -> tuple[dict[str, Content], list[Finding]]:
    content = {
        name: _scan(weights.raw(name), tensor.dtype) for name, tensor in weights.tensors.items()
    }
    return content, [*_non_finite(weights, content), *_not_inspected(weights)]


def _scan(raw: NDArray[np.uint8], dtype: str) -> Content:
    """Scan one tensor. A tensor of another dtype than `FLOATS` counts as finite and not zero."""
    if dtype not in FLOATS:
        return Content(0, raw.size > 0)
    bits, exponent = raw.view(FLOATS[dtype].bits), _bits_of(dtype, FLOATS[dtype].exponent)
    magnitude = ~(_bits_of(dtype, 1) << _bits_of(dtype, 8 * bits.itemsize - 1))
    nonfinite, nonzero = 0, False
    for start in range(0, bits.size, CHUNK):
        part = bits[start : start + CHUNK]
        nonfinite += int(np.count_nonzero((part & exponent) == exponent))
        nonzero = nonzero or bool((part & magnitude).any())
    return Content(nonfinite, nonzero)


def _bits_of(dtype: str, value: int) -> Any:
    """`value` as a scalar of the unsigned integer type with the width of `dtype`."""
    return np.dtype(FLOATS[dtype].bits).type(value)


def _non_finite(weights: Weights, content: dict[str, Content]) -> Iterator[Finding]:
    bad = {name: found.nonfinite for name, found in content.items() if found.nonfinite}
    if bad:
        worst = sorted(bad, key=lambda name: -bad[name])
        sizes = {name: math.prod(weights.tensors[name].shape) for name in worst[:3]}
        named = ", ".join(f"{quote(name)} ({bad[name]} of {size})" for name, size in sizes.items())
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        message = f"NaN or Inf in {len(bad)} of {len(content)} tensors: {named}{more}"
        remedy = (
            "use a checkpoint from before the loss diverged; "
            "train with a lower learning rate or in bfloat16"
        )
        yield finding("verdict", "non-finite", weights.path, message, remedy)


def _not_inspected(weights: Weights) -> Iterator[Finding]:
    names = [
        name for name, t in weights.tensors.items() if t.dtype[0] in "FC" and t.dtype not in FLOATS
    ]
    if names:
        message = f"not inspected because of their dtype: {some(names)}"
        yield finding("note", "dtype-not-inspected", weights.path, message)
