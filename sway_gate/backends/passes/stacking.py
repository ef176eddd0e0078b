"""Many adapters over one base in one forward pass.

A pass runs `rows` texts under V views as one batch of V · rows sequences, views outermost. Each
adapted module keeps the factors of all sources (the fine-tuned adapter, then the nulls). A forward
hook adds the low-rank part of each view, as one batched product, to the base's output for the whole
batch. A view's scale multiplies the r-wide middle, so that other scales need no copies.

A DoRA computes y = g ∘ (W + BA) x with the gains g = m / ‖W + BA‖ of the rows, which are constant.
The hook therefore adds (g − 1) ∘ W x + (g ∘ B) A x. The scale multiplies both terms.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sway_gate.backends.changes import weight
from sway_gate.backends.null_adapters import LowRank, Magnitude
from sway_gate.backends.passes.current import Current, pass_of
from sway_gate.backends.passes.experts import Parameter, ViewByView, block_of, holder_of
from sway_gate.backends.passes.routed import RoutedExperts, is_routed
from sway_gate.measurements import View


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
    """The factors of all sources for each adapted module, and the hooks that apply them.

    The factors are kept in `dtype`. In bfloat16 each has a relative rounding error of 2⁻⁹, as the
    weights of such a base have.
    """

    def __init__(
        self, model: nn.Module, factors: Iterable[tuple[str, LowRank]], dtype: torch.dtype
    ) -> None:
        self.used: set[str] = set()
        """Modules and parameters that a pass has used so far."""
        self.one_by_one: list[str] = []
        """Parameters that allow one view in a pass only."""
        self._current, self._dtype = Current(), dtype
        self._modules = dict(model.named_modules())
        self._hooks: list[RemovableHandle] = []
        self._view_by_view: dict[str, ViewByView] = {}
        try:
            for name, change in factors:
                if name in self._modules:
                    self._adapt_module(name, change)
                else:
                    self._adapt_parameter(name, change)
        except BaseException:  # such as out of memory: no module may keep its hook
            self.remove()
            raise

    def remove(self) -> None:
        """Take the hooks off the model and free the factors."""
        while self._hooks:
            self._hooks.pop().remove()
        while self._view_by_view:
            self._view_by_view.popitem()[1].remove()

    def viewing(
        self, views: Sequence[View], rows: int, width: int, device: torch.device
    ) -> AbstractContextManager[None]:
        """Run the model under `views` inside the block. The base, if it is one, is the first."""
        return self._current.run(pass_of(views, rows, width, device))

    def _adapt_module(self, name: str, change: LowRank) -> None:
        module = self._modules[name]
        # [S, r, in] and [S, out, r], S sources.
        a, b = self._on_device(module, change)
        gains = None
        if change.magnitude is not None:
            gains = _gains(module, change, change.magnitude)[:, None]  # [S, 1, out]
            b = b * gains.mT
            gains = (gains - 1).to(self._dtype)
        hook = self._hook(name, a.to(self._dtype), b.to(self._dtype), gains)
        self._hooks.append(module.register_forward_hook(hook, with_kwargs=True))
        if (block := block_of(self._modules, name)) is not None:
            self._run_by_view(block)

    def _adapt_parameter(self, name: str, change: LowRank) -> None:
        owner_name, _, leaf = name.rpartition(".")
        owner = self._modules[owner_name]
        a, b = (x.to(self._dtype) for x in self._on_device(owner, change))
        holder, is_divisible = holder_of(self._modules, owner_name, a.dim() - 1)
        if not is_divisible:
            self.one_by_one.append(name)
        kind = RoutedExperts if is_divisible and is_routed(owner) else ViewByView
        self._run_by_view(holder, kind).parameters.append(Parameter(name, owner, leaf, a, b))

    def _run_by_view(self, name: str, kind: type[ViewByView] = ViewByView) -> ViewByView:
        if name not in self._view_by_view:
            self._view_by_view[name] = kind(self._modules[name], self._current, self.used)
        return self._view_by_view[name]

    def _on_device(self, module: nn.Module, change: LowRank) -> tuple[Tensor, Tensor]:
        device = next(module.parameters()).device
        return torch.from_numpy(change.a).to(device), torch.from_numpy(change.b).to(device)

    def _hook(self, name: str, a: Tensor, b: Tensor, added_gains: Tensor | None) -> Any:
        def add_low_rank(
            module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
        ) -> Tensor:
            self.used.add(name)
            if (current := self._current.running) is None:
                return output
            views = len(current.scales)
            # Contiguous, so that `target` is a view on the output, which is changed in place.
            output = output.contiguous()
            inputs = current.own_rows((args or tuple(kwargs.values()))[0])
            target = current.own_rows(output)
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


def _embed(a: Tensor, ids: Tensor) -> Tensor:
    """Columns of the factor for the ids: [V, r, vocabulary], [V, n] -> [V, n, r]."""
    return a.mT.gather(1, ids[..., None].expand(-1, -1, a.shape[1]))
