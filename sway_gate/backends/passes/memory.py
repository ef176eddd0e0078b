"""Bytes: what a pass needs beyond the weights, and what it may use."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sway_gate.backends.base import EncodedRequest
from sway_gate.errors import UsageError

_GB = 2**30
# On a CPU larger passes are no faster; on a GPU they are, up to what is free.
_CPU_BUDGET = 0.75 * _GB
_SHARE_OF_FREE = 0.5


class Sizes(NamedTuple):
    """Of a model."""

    activations: int
    """Bytes a token, alive at once in one layer."""
    cache: int
    """Bytes a token, of keys and values in all layers."""
    vocabulary: int
    """Entries of a position's logits."""


def sizes(config: Any, vocabulary: int, dtype: torch.dtype) -> Sizes:
    """From the configuration of a language model that computes in `dtype`."""
    hidden = int(config.hidden_size)
    inner = (
        getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    )
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    width = hidden * int(getattr(config, "num_key_value_heads", None) or heads) // heads
    layers = int(getattr(config, "num_hidden_layers", None) or 1)
    return Sizes(
        (8 * hidden + 3 * int(inner)) * dtype.itemsize,
        2 * width * layers * dtype.itemsize,
        vocabulary,
    )


def cost(model: Sizes, views: int, rows: Sequence[EncodedRequest], *, shares: bool) -> int:
    """Bytes of a pass; `shares`: what the rows share in front is read once a view."""
    width = max(len(row.ids) for row in rows)
    if rows[0].asks == "text":
        cache = (width + rows[0].length) * model.cache
        return views * len(rows) * (width * model.activations + cache + model.vocabulary * 4 * 2)
    shared = rows[0].shared if shares else 0
    # A prefix is computed once a view, its cache copied for every row.
    tokens = shared + len(rows) * (width - shared)
    cache = (1 + len(rows)) * width * model.cache if shared else 0
    positions = sum(len(row.positions) for row in rows)
    # Logits in the model's precision, in float32, and what the reduction needs beside them.
    copies = 4 if rows[0].asks in ("logprobs", "recall") else 3
    return views * (tokens * model.activations + cache + positions * model.vocabulary * 4 * copies)


def budget(device: torch.device) -> int:
    """Bytes that a pass may use: SWAY_MEMORY_GB where it is set, else a share of what is free."""
    if given := os.environ.get("SWAY_MEMORY_GB"):
        return _gigabytes(given)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _SHARE_OF_FREE)
    return int(min(_CPU_BUDGET, _free_memory() * _SHARE_OF_FREE))


def _gigabytes(text: str) -> int:
    """SWAY_MEMORY_GB in bytes."""
    try:
        size = float(text)
        if size > 0:
            return int(min(size, 2**20) * _GB)
    except ValueError:
        pass
    raise UsageError(f"SWAY_MEMORY_GB must be a number of gigabytes above 0, got {text!r}")


def _free_memory() -> float:
    """Bytes of main memory that could be had now, or a cautious guess where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(
                float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
            )
    except (OSError, StopIteration, ValueError):
        return 4.0 * _GB
