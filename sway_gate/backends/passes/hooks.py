"""Hooks on a running model: which positions its head computes, and where NaN or Inf begin."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, StoppingCriteria


class Head:
    """Passes only the required positions to the language-model head."""

    def __init__(self, head: nn.Module | None) -> None:
        self._index: Tensor | None = None
        self._shape: tuple[int, ...] = ()
        self._hook = head.register_forward_pre_hook(self._select) if head is not None else None

    @contextmanager
    def at(self, index: Tensor, inputs: Tensor) -> Iterator[None]:
        """Give the head the hidden states [1, len(index), hidden] inside the block.

        `index` counts the tokens of `inputs`. A head that gets another shape computes all of them.
        """
        self._index, self._shape = index, inputs.shape
        try:
            yield
        finally:
            self._index = None

    def remove(self) -> None:
        """Take the hook off the model."""
        if self._hook is not None:
            self._hook.remove()

    def _select(self, _module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._index is None or args[0].shape[:-1] != self._shape:
            return None
        return (args[0].flatten(0, 1)[self._index][None], *args[1:])


class Watch(LogitsProcessor):
    """Records which sequences have NaN or Inf logits during generation."""

    def __init__(self) -> None:
        self.broken = torch.zeros(0, dtype=torch.bool)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # NaN and Inf are the largest. A forced token has a score, and all others have -inf.
        bad = ~scores.amax(-1).isfinite().cpu()
        self.broken = bad if not len(self.broken) else self.broken | bad
        return scores


class Leaving(StoppingCriteria):
    """Interrupts generation when enough texts can leave the batch.

    The texts begin after `start` tokens. `needed`: which texts stay if these are running.
    """

    _SHARE = 4
    """A quarter of the texts must leave: each interruption prepares the inputs again."""

    def __init__(
        self, ends: frozenset[int], start: int, needed: Callable[[Tensor], Tensor]
    ) -> None:
        self._ends, self._start, self._needed = torch.tensor(sorted(ends)), start, needed

    def ended(self, ids: Tensor) -> Tensor:
        """Whether each text has ended: [texts, tokens] -> [texts]."""
        return torch.isin(ids[:, self._start :], self._ends.to(ids.device)).any(1)

    def __call__(self, input_ids: Tensor, scores: Any, **_options: Any) -> Tensor:
        count = len(input_ids)
        leaving = count - int(self._needed(~self.ended(input_ids)).sum())
        return torch.full((count,), leaving * self._SHARE >= count, device=input_ids.device)


def first_non_finite(model: nn.Module, run: Callable[[], object]) -> str:
    """The first leaf module whose output has NaN or Inf while `run` runs the model; "" if none."""
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not found and not torch.isfinite(output).all():
                found.append(name)

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if not any(m.children())]
    handles = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        with torch.inference_mode():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""
