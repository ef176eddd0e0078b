"""Compare the sizes in an adapter's config with its tensors, before peft allocates them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter
from sway_gate.static.findings import MATCHING, quote

_SIZE: Final = re.compile(
    r"(?:.*_)?(?:r|ranks?|size|num|n|dim|length|frequency|vectors|blocks?|experts?|depth|niter"
    r"|k|u|topk)(?:_.*)?"
)
"""Fields that state a rank, a number or a size in one of peft's methods."""
_SMALL: Final = 1024
"""No size up to this one takes much memory."""


def oversized(adapter: Adapter, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Sizes that no tensor of the adapter has. In LoKr, a large rank means a full matrix."""
    largest = max((max(t.shape, default=0) for t in adapter.weights.tensors.values()), default=0)
    for name, value in config.items():
        sizes = [*value.values()] if isinstance(value, dict) else [value]
        if adapter.config.peft_type == "LOKR" or not _SIZE.fullmatch(name):
            continue
        if too_large := [n for n in sizes if type(n) is int and n > max(_SMALL, largest)]:
            given = f"field {quote(name)} is {too_large[0]}"
            message = f"{given}, the largest dimension of a tensor is {largest}"
            yield adapter.finding("broken", "size-too-large", message, MATCHING)
