"""Fused experts in transformers' form, for all views at once.

Each row of the input goes to its k experts. The rows are sorted by expert and, within an expert, by
view: each expert's weight is read once for all views, and each view adds its low-rank product.
"""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sway_gate.backends.passes.current import Pass
from sway_gate.backends.passes.experts import ViewByView

_PROJECTIONS = ("gate_up_proj", "up_proj", "down_proj")
_FORM = ("has_gate", "has_bias", "is_transposed", "_apply_gate", "num_experts")


def is_routed(module: nn.Module) -> bool:
    """Whether the module has transformers' form of fused experts."""
    return (
        all(hasattr(module, name) for name in _FORM)
        and not getattr(module, "has_post_expert_norm", False)
        and not getattr(module, "_is_expert_parallel", False)
    )


class _Groups(NamedTuple):
    """Rows that are sorted by expert, then by view."""

    experts: Tensor
    """Expert of each row."""
    counts: Sequence[Sequence[int]]
    """Number of rows [expert][view]."""


class _Factors(NamedTuple):
    """One view's change of a projection: x @ down @ up, for each expert."""

    down: Tensor
    up: Tensor


class RoutedExperts(ViewByView):
    """Runs fused experts once for all views of a pass."""

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if (running := self._current.running) is None:
            return self._forward(*args, **kwargs)
        if any(parameter.leaf not in _PROJECTIONS for parameter in self.parameters):
            return super()._run(*args, **kwargs)
        module = self._module
        bound = inspect.signature(self._forward).bind(*args, **kwargs)
        hidden, experts, weights = bound.arguments.values()
        parts = running.parts()
        # Raises NotStackable if the rows are not the sequences.
        lengths = [len(own) * experts.shape[-1] for own in running.split(hidden)]
        expert = experts.reshape(-1)
        view = torch.arange(len(parts)).repeat_interleave(torch.tensor(lengths)).to(expert.device)
        group = expert * len(parts) + view
        order = group.argsort(stable=True)
        counts = group.bincount(minlength=module.num_experts * len(parts))
        groups = _Groups(expert[order], counts.view(-1, len(parts)).tolist())
        rows = hidden[order // experts.shape[-1]]
        if module.has_gate:
            rows = module._apply_gate(self._project("gate_up_proj", rows, groups, parts))
        else:
            rows = module.act_fn(self._project("up_proj", rows, groups, parts))
        rows = self._project("down_proj", rows, groups, parts)
        weighted = rows * weights.reshape(-1)[order, None]
        result = torch.empty_like(weighted)
        result[order] = weighted
        return result.view(len(hidden), -1, rows.shape[-1]).sum(1).to(hidden.dtype)

    def _project(
        self, leaf: str, rows: Tensor, groups: _Groups, parts: Sequence[Pass | None]
    ) -> Tensor:
        weight = getattr(self._module, leaf)
        weight = weight if self._module.is_transposed else weight.mT  # [E, in, out]
        changes = [self._factors(leaf, part) for part in parts]
        output = rows.new_empty(len(rows), weight.shape[-1])
        start = 0
        for expert, counts in enumerate(groups.counts):
            end = start + sum(counts)
            if start < end:
                torch.mm(rows[start:end], weight[expert], out=output[start:end])
            for change, count in zip(changes, counts, strict=True):
                own = slice(start, start + count)
                if change is not None and count:
                    middle = rows[own] @ change.down[expert]
                    output[own].addmm_(middle, change.up[expert])
                start += count
        if self._module.has_bias:
            output += getattr(self._module, f"{leaf}_bias")[groups.experts]
        return output

    def _factors(self, leaf: str, part: Pass | None) -> _Factors | None:
        """The view's factors of a projection; None for the base or an unchanged projection."""
        changed = [p for p in self.parameters if p.leaf == leaf]
        if part is None or not changed:
            return None
        [parameter] = changed
        self._used.add(parameter.name)
        [a], [b] = parameter.a[part.sources], parameter.b[part.sources]  # [E, r, ·], [E, ·, r]
        b = b * part.scales.to(b.dtype)[0]
        return _Factors(b, a) if self._module.is_transposed else _Factors(a.mT, b.mT)
