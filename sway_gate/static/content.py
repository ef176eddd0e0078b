"""Scan the values of the tensors for NaN, Inf and nonzero values."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sway_gate.results import Finding
from sway_gate.static.findings import finding, quote, some
from sway_gate.static.weights import Weights

CHUNK = 1 << 20
"""Number of values per step."""


class _Float(NamedTuple):
    """Codes of a floating dtype: NaN and Inf have the bits `nonfinite` within `mask`.

    Of zero, all bits outside of `sign` are 0.
    """

    code: str
    mask: int
    nonfinite: int
    sign: int


def _ieee(code: str, exponent: int) -> _Float:
    """NaN and Inf have all bits of the exponent."""
    return _Float(code, exponent, exponent, 1 << (8 * np.dtype(code).itemsize - 1))


FLOATS = {
    "F64": _ieee("<u8", 0x7FF << 52),
    "F32": _ieee("<u4", 0xFF << 23),
    "F16": _ieee("<u2", 0x1F << 10),
    "BF16": _ieee("<u2", 0xFF << 7),
}
"""The dtypes with which the check computes."""
_SCANNED = FLOATS | {
    "C64": FLOATS["F32"],
    "F8_E5M2": _ieee("<u1", 0x1F << 2),
    "F8_E4M3": _Float("<u1", 0x7F, 0x7F, 0x80),  # no Inf
    "F8_E5M2FNUZ": _Float("<u1", 0xFF, 0x80, 0),  # one NaN, no Inf and no negative zero
    "F8_E4M3FNUZ": _Float("<u1", 0xFF, 0x80, 0),
    "F8_E8M0": _Float("<u1", 0xFF, 0xFF, 0),  # powers of 2: one NaN
}
_WITHOUT_NAN = ("F4", "F6_E2M3", "F6_E3M2")


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
    """Scan one tensor. A tensor of another dtype than `_SCANNED` counts as finite and not zero."""
    if dtype not in _SCANNED:
        return Content(0, raw.size > 0)
    codes = raw.view(_SCANNED[dtype].code)
    mask, nonfinite, sign = map(codes.dtype.type, _SCANNED[dtype][1:])
    count, nonzero = 0, False
    for start in range(0, codes.size, CHUNK):
        part = codes[start : start + CHUNK]
        count += int(np.count_nonzero((part & mask) == nonfinite))
        nonzero = nonzero or bool((part & ~sign).any())
    return Content(count, nonzero)


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
    if names := [name for name, t in weights.tensors.items() if t.dtype in _WITHOUT_NAN]:
        message = f"not inspected because of their dtype: {some(names)}"
        yield finding("note", "dtype-not-inspected", weights.path, message)
