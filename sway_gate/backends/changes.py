"""What an adapter changes in its base, and the weights that it changes, as float32."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sway_gate.backends.null_adapters import Array, LowRank, Magnitude
from sway_gate.backends.reference import Reference


class Change(NamedTuple):
    """An adapter's change: `factors` by module or parameter name, or `dense` by parameter name.

    Parameters that are tied, also under the adapter, have the same array. `heads` are heads that
    have the transposed factors of an embedding, and its name. `reference` is the answer of peft's
    own model, with which the change is checked.
    """

    factors: Mapping[str, LowRank]
    dense: Mapping[str, Array]
    note: str = ""
    reference: Reference | None = None
    heads: Mapping[str, str] = {}


def weight(module: Any) -> Tensor:
    """The weight of a linear layer or an embedding in float32 [out, in]."""
    matrix = _matrix(module).detach().float()
    return matrix.T if is_transposed(module) else matrix


def is_transposed(module: nn.Module) -> bool:
    """Whether the layer's parameter is [in, out]."""
    return isinstance(module, nn.Embedding | Conv1D)


def low_rank(
    module: nn.Module, scaling: float, a: Tensor, b: Tensor, magnitudes: Tensor | None = None
) -> LowRank:
    """The change of one layer from the tensors of its adapter; `magnitudes` are a DoRA's."""
    found = LowRank(to_numpy(a), to_numpy(b) * np.float32(scaling), scaling)
    if magnitudes is None:
        return found
    return found._replace(magnitude=Magnitude(to_numpy(magnitudes), row_norms(module)))


def row_norms(module: nn.Module) -> Array:
    """The norm of each row of the layer's weight [out]."""
    return to_numpy(weight(module).norm(dim=1))


def to_numpy(x: Tensor) -> Array:
    """The tensor as float32 in the CPU's memory."""
    array: Array = x.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return array


def _matrix(module: Any) -> Tensor:
    """The layer's parameter; peft computes it if it is quantized."""
    if type(parameter := getattr(module, "weight", None)) is nn.Parameter:
        return parameter
    from peft.utils.integrations import dequantize_module_weight

    dequantized: Tensor = dequantize_module_weight(module)
    return dequantized
