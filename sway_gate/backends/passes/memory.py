"""Estimates the memory of a pass in addition to the weights, and the memory that it may use."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sway_gate.backends.base import ScoredKind
from sway_gate.backends.packing import Packed
from sway_gate.errors import UsageError

_GB = 2**30
# On a CPU larger passes are not faster; on a GPU they are, up to the free memory.
_CPU_BUDGET = 0.75 * _GB
_SHARE_OF_FREE = 0.5
_COPIES: dict[ScoredKind, int] = {
    "logprobs": 4,
    "teacher_forced": 4,
    "js": 3,
    "kl": 3,
    "log_ratio": 3,
    "argmax": 3,
}
"""Logits in the model's precision, in float32, and the intermediate values of the reduction."""


class Sizes(NamedTuple):
    """Sizes of a model."""

    activations: int
    """Bytes per token that exist at once in one layer."""
    cache: int
    """Bytes per token of keys and values in all layers."""
    vocabulary: int
    """Logits per position."""


def sizes(config: Any, vocabulary: int, width: int, dtype: torch.dtype) -> Sizes:
    """The sizes of a language model that computes in `dtype`, from its configuration.

    `width`: of its embeddings, for configurations that do not state a hidden size.
    """
    hidden = _size(config, "hidden_size") or width
    inner = _size(config, "intermediate_size") or _size(config, "n_inner") or 4 * hidden
    heads = _size(config, "num_attention_heads") or 1
    keys = hidden * (_size(config, "num_key_value_heads") or heads) // heads
    layers = _size(config, "num_hidden_layers") or 1
    return Sizes(
        (8 * hidden + 3 * inner) * dtype.itemsize, 2 * keys * layers * dtype.itemsize, vocabulary
    )


def _size(config: Any, name: str) -> int:
    """The largest value over the layers; 0 if the configuration does not state one."""
    try:
        value = getattr(config, name)
    except Exception:  # configurations raise different exceptions where layers differ
        value = vars(config).get(name)
    return int(max(value, default=0) if isinstance(value, list) else value or 0)


def cost(model: Sizes, views: int, sequences: Sequence[Packed], *, prefix_is_cached: bool) -> int:
    """Bytes that a pass needs. If `prefix_is_cached`, the prefix runs once per view."""
    width, count = max(sequence.width for sequence in sequences), len(sequences)
    first = sequences[0].rows[0]
    if first.kind == "text":
        cache = (width + first.length) * model.cache
        return views * count * (width * model.activations + cache + model.vocabulary * 4 * 2)
    prefix = first.prefix_len if prefix_is_cached else 0
    # A prefix is computed once per view; its cache is copied for every row.
    tokens = prefix + count * (width - prefix)
    cache = (1 + count) * width * model.cache if prefix else 0
    positions = sum(len(row.positions) for sequence in sequences for row in sequence.rows)
    logits = positions * model.vocabulary * 4 * _COPIES[first.kind]
    return views * (tokens * model.activations + cache + logits)


def budget(device: torch.device) -> int:
    """Bytes that a pass may use: SWAY_MEMORY_GB if it is set, otherwise part of the free memory.

    Raises UsageError if SWAY_MEMORY_GB is not a positive number.
    """
    if given := os.environ.get("SWAY_MEMORY_GB"):
        return _gigabytes(given)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _SHARE_OF_FREE)
    return int(min(_CPU_BUDGET, _free_memory() * _SHARE_OF_FREE))


def _gigabytes(text: str) -> int:
    """The value of SWAY_MEMORY_GB in bytes."""
    try:
        size = float(text)
        if size > 0:
            return int(min(size, 2**20) * _GB)
    except ValueError:
        pass
    raise UsageError(f"SWAY_MEMORY_GB must be a number of gigabytes above 0, got {text!r}")


def _free_memory() -> float:
    """Bytes of free main memory; 4 GiB if the system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(
                float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
            )
    except (OSError, StopIteration, ValueError):
        return 4.0 * _GB
