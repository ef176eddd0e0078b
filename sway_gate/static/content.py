"""The values of the tensors, whatever their meaning: NaN and Inf, and whether any is not zero."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.results import Finding
from sway_gate.static.findings import finding, quote, some
from sway_gate.static.weights import Weights

CHUNK = 1 << 20
"""Values that are looked at in one go."""


class _Float(NamedTuple):
    """A floating dtype as bits: NaN and Inf are what has every bit of `exponent`, zero what has none but the sign."""

    bits: str
    exponent: int


FLOATS = {
    "F64": _Float("<u8", 0x7FF << 52),
    "F32": _Float("<u4", 0xFF << 23),
    "F16": _Float("<u2", 0x1F << 10),
    "BF16": _Float("<u2", 0xFF << 7),
}


class Content(NamedTuple):
    nonfinite: int
    nonzero: bool


def scan_all(weights: Weights) -> tuple[dict[str, Content], list[Finding]]:
    content = {
        name: _scan(weights.raw(name), tensor.dtype) for name, tensor in weights.tensors.items()
    }
    return content, [*_non_finite(weights, content), *_not_inspected(weights)]


def _scan(raw: NDArray[np.uint8], dtype: str) -> Content:
    """How many values are NaN or Inf, and whether any is not zero. What is no float is taken for not zero."""
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
    """`value` as a scalar of the unsigned type that holds the bits of `dtype`."""
    return np.dtype(FLOATS[dtype].bits).type(value)


def _non_finite(weights: Weights, content: dict[str, Content]) -> Iterator[Finding]:
    bad = {name: found.nonfinite for name, found in content.items() if found.nonfinite}
    if bad:
        worst = sorted(bad, key=lambda name: -bad[name])
        sizes = {name: math.prod(weights.tensors[name].shape) for name in worst[:3]}
        named = ", ".join(f"{quote(name)} ({bad[name]} of {size})" for name, size in sizes.items())
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        message = f"NaN or Inf in {len(bad)} of {len(content)} tensors: {named}{more}"
        remedy = "take a checkpoint from before the loss diverged; train with a lower learning rate or in bfloat16"
        yield finding("verdict", "non-finite", weights.path, message, remedy)


def _not_inspected(weights: Weights) -> Iterator[Finding]:
    names = [
        name for name, t in weights.tensors.items() if t.dtype[0] in "FC" and t.dtype not in FLOATS
    ]
    if names:
        message = f"not looked into, for their dtype: {some(names)}"
        yield finding("note", "dtype-not-inspected", weights.path, message)
