"""Spectrum nulls of whole weight matrices without an SVD: P ΔW Q with random orthogonal P and Q.

P ΔW Q has the singular values of ΔW and random singular vectors. P and Q are products of two
rounds. A round permutes all coordinates at random, and then multiplies consecutive groups of at
most 64 coordinates with one Haar-distributed matrix. So up to 64 coordinates get an exactly
Haar-distributed rotation, and of more coordinates each is mixed with up to 64² others. The cost is
a few hundred operations per weight.
"""

import math

import numpy as np
import torch
from torch import Tensor

from sway_gate.backends import null_adapters

_GROUP = 64
_AT_ONCE = 2**18
"""Weights that fit into a processor's cache."""


def rotated(name: str, change: Tensor, seed: int) -> Tensor:
    """One null of the parameter `name`: each matrix in the last two dimensions is rotated.

    A vector becomes a random one with the same norm.
    """
    if change.dim() < 2:
        flat = change.reshape(-1).cpu().numpy()
        return torch.from_numpy(null_adapters.dense(name, flat, seed)).to(change).view_as(change)
    stream = null_adapters.generator(seed, name)
    null = change.clone(memory_format=torch.contiguous_format)
    for matrix in null.view(-1, *change.shape[-2:]):
        _rotate_columns(matrix, stream)
        transposed = matrix.T.contiguous()
        _rotate_columns(transposed, stream)
        matrix.copy_(transposed.T)
    return null


def _rotate_columns(matrix: Tensor, stream: np.random.Generator) -> None:
    """Multiply the matrix from the right with a random orthogonal one, in place."""
    columns = matrix.shape[1]
    groups = math.ceil(columns / _GROUP)
    size = columns // groups
    rounds = []
    for _ in range(min(groups, 2)):
        order = torch.from_numpy(stream.permutation(columns)).to(matrix.device)
        gaussian = stream.standard_normal((size, size), dtype=np.float32)
        rounds.append((order, torch.from_numpy(null_adapters.haar(gaussian)).to(matrix)))
    for rows in torch.split(matrix, max(1, _AT_ONCE // columns)):
        for order, rotation in rounds:
            permuted = rows.index_select(1, order)
            grouped = permuted[:, : groups * size].reshape(-1, size) @ rotation
            permuted[:, : groups * size] = grouped.view(len(rows), -1)
            rows.copy_(permuted)
