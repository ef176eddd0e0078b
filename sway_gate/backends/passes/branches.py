"""Inputs of sequences in which several rows share their first tokens.

Each row's own tokens have the positions that follow the shared ones, and attend to those and to
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
    width = max(sequence.width for sequence in sequences)
    ids, at = [], []
    for i, sequence in enumerate(sequences):
        tokens: tuple[int, ...] = ()
        start = i * (width - skipped) - skipped
        for row, shared, path in zip(*sequence, _paths(sequence), strict=True):
            tokens += row.ids[shared:]
            at += [start + path[p] for p in row.positions]
        ids.append(tokens[skipped:] + tokens[-1:] * (width - len(tokens)))
    is_packed = any(len(sequence.rows) > 1 for sequence in sequences)
    places = _places(sequences, width, dtype) if is_packed else {}
    return Inputs({"input_ids": torch.tensor(ids), **places}, torch.tensor(at))


def _paths(sequence: Packed) -> list[list[int]]:
    """Where each row's tokens are in the sequence."""
    paths: list[list[int]] = []
    path: list[int] = []
    size = 0
    for row, shared in zip(*sequence, strict=True):
        end = size + len(row.ids) - shared
        path = [*path[:shared], *range(size, end)]
        size = end
        paths.append(path)
    return paths


def _places(sequences: Sequence[Packed], width: int, dtype: torch.dtype) -> dict[str, Tensor]:
    positions = torch.zeros(len(sequences), width, dtype=torch.long)
    is_visible = torch.eye(width, dtype=torch.bool).repeat(len(sequences), 1, 1)
    for i, sequence in enumerate(sequences):
        for path, shared in zip(_paths(sequence), sequence.shared, strict=True):
            length, tokens = len(path), torch.tensor(path)
            own = tokens[shared:]
            positions[i, own] = torch.arange(shared, length)
            is_visible[i][own[:, None], tokens] = torch.ones(length, length).tril()[shared:].bool()
    hidden = torch.full(is_visible.shape, torch.finfo(dtype).min, dtype=dtype)
    return {
        "position_ids": positions,
        "attention_mask": hidden.masked_fill(is_visible, 0.0)[:, None],
    }
