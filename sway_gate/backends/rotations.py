"""Nulls of whole weights.

`spectrum` is P ΔW Q with random orthogonal P and Q, which needs no SVD: it has the singular values
of the change ΔW and random singular vectors. P and Q are products of two rounds. A round permutes
all coordinates at random, and then multiplies consecutive groups of at most 64 coordinates with one
Haar-distributed matrix. So up to 64 coordinates get an exactly Haar-distributed rotation, and of
more coordinates each is mixed with up to 64² others. The cost is a few hundred operations per
weight. A convolution is one matrix, its outputs by their inputs, unless its kernel has one
dimension of 8 or more. `init` is as large as Gaussian factors of rank 1 and standard deviation
`init_scale`.
"""

import math

import numpy as np
import torch
from torch import Tensor

from sway_gate.backends.null_adapters import NullSettings, generator, haar

_GROUP = 64
_KERNEL = 8
"""A smaller last dimension but one, or last one, is the size of a convolution's kernel."""
_AT_ONCE = 2**18
"""Weights that fit into a processor's cache."""


def null(name: str, change: Tensor, settings: NullSettings, index: int) -> Tensor:
    """The null with this index of the parameter `name`, which a view changes by `change`."""
    seed = settings.seed_base + index
    if settings.kind == "init":
        return _gaussian(change, generator(seed, name)) * settings.init_scale**2
    return rotated(name, change, seed)


def rotated(name: str, change: Tensor, seed: int) -> Tensor:
    """One spectrum null of a parameter: each of its matrices is rotated.

    The last two dimensions are a matrix, for experts one of each; most convolutions are one. A
    vector becomes a random one with the same norm.
    """
    stream = generator(seed, name)
    if change.dim() < 2:
        direction = _gaussian(change, stream)
        return direction.mul(change.norm() / direction.norm())
    draw = change.clone(memory_format=torch.contiguous_format)
    is_kernel = change.dim() > 3 or min(change.shape[-2:]) < _KERNEL
    shape = (1, len(change), -1) if is_kernel else (-1, *change.shape[-2:])
    for matrix in draw.view(shape):
        _rotate_columns(matrix, stream)
        transposed = matrix.T.contiguous()
        _rotate_columns(transposed, stream)
        matrix.copy_(transposed.T)
    return draw


def _gaussian(like: Tensor, stream: np.random.Generator) -> Tensor:
    return torch.from_numpy(stream.standard_normal(like.shape, dtype=np.float32)).to(like)


def _rotate_columns(matrix: Tensor, stream: np.random.Generator) -> None:
    """Multiply the matrix from the right with a random orthogonal one, in place."""
    columns = matrix.shape[1]
    groups = math.ceil(columns / _GROUP)
    size = columns // groups
    rounds = []
    for _ in range(min(groups, 2)):
        order = torch.from_numpy(stream.permutation(columns)).to(matrix.device)
        gaussian = stream.standard_normal((size, size), dtype=np.float32)
        rounds.append((order, torch.from_numpy(haar(gaussian)).to(matrix)))
    for rows in torch.split(matrix, max(1, _AT_ONCE // columns)):
        for order, rotation in rounds:
            permuted = rows.index_select(1, order)
            grouped = permuted[:, : groups * size].reshape(-1, size) @ rotation
            permuted[:, : groups * size] = grouped.view(len(rows), -1)
            rows.copy_(permuted)
