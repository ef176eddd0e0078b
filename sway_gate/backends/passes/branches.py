"""Inputs of sequences in which several rows continue one prompt.

Each row's own tokens have the positions that follow the prompt, and attend to the prompt and to
their own row only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sway_gate.backends.packing import Packed


class Inputs(NamedTuple):
    """Inputs of a model for S sequences of W tokens, padded on the right."""

    tensors: dict[str, Tensor]
    """input_ids [S, W]; if several rows share a sequence, also position_ids [S, W] and
    attention_mask [S, 1, W, W]."""
    at: Tensor
    """Where the logits of the rows are read, in order, as indices of the flattened ids."""


def inputs(sequences: Sequence[Packed], skipped: int, dtype: torch.dtype) -> Inputs:
    """The inputs without the first `skipped` tokens of each row, which a cache contains."""
    width = max(sequence.width for sequence in sequences) - skipped
    ids, at = [], []
    for i, sequence in enumerate(sequences):
        start = i * width - skipped
        tokens = sequence.rows[0].ids[: sequence.shared]
        for row in sequence.rows:
            offset = len(tokens) - sequence.shared
            at += [start + p + (offset if p >= sequence.shared else 0) for p in row.positions]
            tokens += row.ids[sequence.shared :]
        tokens = tokens[skipped:]
        ids.append(tokens + (tokens[-1],) * (width - len(tokens)))
    is_packed = any(len(sequence.rows) > 1 for sequence in sequences)
    places = _places(sequences, width, dtype) if is_packed else {}
    return Inputs({"input_ids": torch.tensor(ids), **places}, torch.tensor(at))


def _places(sequences: Sequence[Packed], width: int, dtype: torch.dtype) -> dict[str, Tensor]:
    positions = torch.arange(width).repeat(len(sequences), 1)
    row_of = torch.zeros(len(sequences), width, dtype=torch.long)  # 0: the prompt
    for i, sequence in enumerate(sequences):
        start = sequence.shared
        for number, row in enumerate(sequence.rows, start=1):
            end = start + len(row.ids) - sequence.shared
            positions[i, start:end] -= start - sequence.shared
            row_of[i, start:end] = number
            start = end
        row_of[i, start:] = len(sequence.rows) + 1  # padding
        positions[i, start:] = 0
    same = row_of[:, :, None] == row_of[:, None, :]
    is_visible = (same | (row_of == 0)[:, None, :]).tril()
    hidden = torch.full(is_visible.shape, torch.finfo(dtype).min, dtype=dtype)
    return {
        "position_ids": positions,
        "attention_mask": hidden.masked_fill(is_visible, 0.0)[:, None],
    }
