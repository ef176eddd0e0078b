"""Many adapters over one base in one forward pass.

A pass runs `rows` texts under V views as one batch of V · rows sequences, views outermost. Each
adapted module keeps the factors of all sources (the fine-tuned adapter, then the nulls). A forward
hook adds the low-rank part of each view, as one batched product, to the base's output for the whole
batch. A view's scale multiplies the r-wide middle, so that other scales need no copies.

A DoRA computes y = g ∘ (W + BA) x with the gains g = m / ‖W + BA‖ of the rows, which are constant.
The hook therefore adds (g − 1) ∘ W x + (g ∘ B) A x. The scale multiplies both terms.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sway_gate.backends.base import NotStackable
from sway_gate.backends.factors import weight
from sway_gate.backends.null_adapters import LowRank, Magnitude, NullSettings, low_rank, magnitudes
from sway_gate.measurements import View


class _Pass(NamedTuple):
    base: int
    """Number of sequences of the base view, which come first."""
    sequences: int
    width: int
    """Tokens per sequence, padding included."""
    sources: slice | Tensor
    scales: Tensor
    """Scale of each view, without the base [V, 1, 1]."""


def with_nulls(name: str, delta: LowRank, settings: NullSettings) -> LowRank:
    """The factors of the adapter, then of each null: a [S, r, in], b [S, out, r]."""
    draws = low_rank(name, delta, settings)
    pad = delta.a.shape[0] - draws.a.shape[1]  # a null's rank is at most the module's width
    a = np.pad(draws.a, ((0, 0), (0, pad), (0, 0)))
    b = np.pad(draws.b, ((0, 0), (0, 0), (0, pad)))
    stacked = LowRank(np.concatenate([delta.a[None], a]), np.concatenate([delta.b[None], b]))
    if (trained := delta.magnitude) is None:
        return stacked
    norms = np.concatenate([trained.adapted[None], magnitudes(name, trained, settings)])
    return stacked._replace(magnitude=Magnitude(norms, trained.base))


def _gains(module: nn.Module, factors: LowRank, magnitude: Magnitude) -> Tensor:
    """DoRA's factors of the rows, for each source: m / ‖W + b @ a‖ [S, out], in float32.

    ‖W + BA‖² is ‖W‖² + 2 (W Aᵀ) · B + (B A Aᵀ) · B for each row. No source needs a product of the
    size of W.
    """
    base = weight(module)
    a, b, adapted, norms = (
        torch.from_numpy(x).to(base.device) for x in (factors.a, factors.b, *magnitude)
    )
    cross = (base @ a.flatten(0, 1).T).view(-1, *a.shape[:2]).movedim(0, 1)  # [S, out, r]
    squares = norms**2 + ((2 * cross + b @ (a @ a.mT)) * b).sum(-1)
    gains: Tensor = adapted / squares.clamp_min(0).sqrt()
    return gains


class Stack:
    """The factors of all sources for each adapted module, and the hooks that apply them."""

    def __init__(
        self, model: nn.Module, factors: Mapping[str, LowRank], dtype: torch.dtype
    ) -> None:
        self.used: set[str] = set()
        """Modules that a pass has used so far."""
        self._pass: _Pass | None = None
        self._hooks: list[RemovableHandle] = []
        modules = dict(model.named_modules())
        for name, change in factors.items():
            module = modules[name]
            device = next(module.parameters()).device
            # [S, r, in] and [S, out, r], S sources.
            a, b = (torch.from_numpy(x).to(device) for x in change[:2])
            gains = None
            if change.magnitude is not None:
                gains = _gains(module, change, change.magnitude)[:, None]  # [S, 1, out]
                b = b * gains.mT
                gains = (gains - 1).to(dtype)
            hook = self._hook(name, a.to(dtype), b.to(dtype), gains)
            self._hooks.append(module.register_forward_hook(hook, with_kwargs=True))

    def remove(self) -> None:
        """Take the hooks off the model and free the factors."""
        while self._hooks:
            self._hooks.pop().remove()

    @contextmanager
    def viewing(
        self, views: Sequence[View], rows: int, width: int, device: torch.device
    ) -> Iterator[None]:
        """Run the model under `views` inside the block. The base, if it is one, is the first."""
        adapted = [view for view in views if view.source != "base"]
        base = (len(views) - len(adapted)) * rows
        sources = [0 if view.source == "finetuned" else 1 + view.seed_index for view in adapted]
        scales = torch.tensor([view.scale for view in adapted], device=device).view(-1, 1, 1)
        index: slice | Tensor = torch.tensor(sources, device=device)
        if sources and sources == list(range(sources[0], sources[0] + len(sources))):
            index = slice(sources[0], sources[0] + len(sources))
        self._pass = _Pass(base, len(views) * rows, width, index, scales) if adapted else None
        try:
            yield
        finally:
            self._pass = None

    def _hook(self, name: str, a: Tensor, b: Tensor, added_gains: Tensor | None) -> Any:
        def add_low_rank(
            module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
        ) -> Tensor:
            self.used.add(name)
            if (current := self._pass) is None:
                return output
            views = len(current.scales)
            # Contiguous, so that `target` is a view on the output, which is changed in place.
            output = output.contiguous()
            inputs = _own_rows((args or tuple(kwargs.values()))[0], current)
            target = _own_rows(output, current)
            target = target.view(views, -1, output.shape[-1])  # [V, rows * T, out]
            if isinstance(module, nn.Embedding):
                # Selecting rows of aᵀ is the product with one-hot inputs.
                middle = _embed(a[current.sources], inputs.reshape(views, -1))
            else:
                wide = inputs.reshape(views, -1, inputs.shape[-1]).to(a.dtype)
                middle = torch.bmm(wide, a[current.sources].mT)  # [V, rows * T, r]
            middle = middle * current.scales.to(middle.dtype)
            if added_gains is not None:
                # The gains apply to the weights, not to the bias.
                bias = getattr(module, "bias", None)
                plain = target if bias is None else target - bias
                gains = added_gains[current.sources] * current.scales
                target.addcmul_(plain, gains.to(target.dtype))
            target.baddbmm_(middle.to(target.dtype), b[current.sources].mT.to(target.dtype))
            return output

        return add_low_rank


def _own_rows(x: Tensor, current: _Pass) -> Tensor:
    """The rows of a module's input or output that belong to adapter views, without a copy.

    Raises NotStackable if the rows are not the sequences of the pass in order, for example after a
    router of experts: then the view of a row is unknown.
    """
    if len(current.scales) == 1 and current.base == 0:
        return x
    if x.shape[0] == current.sequences:
        return x[current.base :]
    if x.dim() == 2 and x.shape[0] == current.sequences * current.width:
        return x[current.base * current.width :]
    raise NotStackable


def _embed(a: Tensor, ids: Tensor) -> Tensor:
    """Columns of the factor for the ids: [V, r, vocabulary], [V, n] -> [V, n, r]."""
    return a.mT.gather(1, ids[..., None].expand(-1, -1, a.shape[1]))
