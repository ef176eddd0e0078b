"""Modules whose rows are routed: they run once for each view, on the view's own rows.

A router sends each row to a few experts, so the view of an expert's row is unknown. A block of
experts therefore runs view by view inside a pass in which the other modules run all views at once.
Parameters of fused experts and routers have the view's weights W + λ B A while it runs.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sway_gate.backends.base import NotStackable
from sway_gate.backends.passes.current import Current, Pass


class Parameter(NamedTuple):
    """The change of one parameter `leaf` of `owner` for each source: b @ a, [S, ..., out, in]."""

    name: str
    owner: nn.Module
    leaf: str
    a: Tensor
    b: Tensor


class ViewByView:
    """Runs a module once for each view of a pass, with the view's `parameters`."""

    def __init__(self, module: Any, current: Current, used: set[str]) -> None:
        self.parameters: list[Parameter] = []
        self._module, self._current, self._used = module, current, used
        self._forward = module.forward
        self._replaced = module.__dict__.get("forward")
        module.forward = self._run

    def remove(self) -> None:
        """Give the module its own forward."""
        del self._module.forward
        if self._replaced is not None:
            self._module.forward = self._replaced

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if (running := self._current.running) is None:
            return self._forward(*args, **kwargs)
        parts = running.parts()
        inputs = [_split(x, running, len(parts)) for x in (*args, *kwargs.values())]
        outputs = []
        for part, *own in zip(parts, *inputs, strict=True):
            with self._current.run(part), self._weights_of(part):
                named = dict(zip(kwargs, own[len(args) :], strict=True))
                outputs.append(self._forward(*own[: len(args)], **named))
        return _joined(outputs)

    @contextmanager
    def _weights_of(self, part: Pass | None) -> Iterator[None]:
        """Give the parameters the weights of one view inside the block."""
        if part is None:
            yield
            return
        originals = [getattr(p.owner, p.leaf) for p in self.parameters]
        try:
            for (name, owner, leaf, a, b), weights in zip(self.parameters, originals, strict=True):
                change = (b[part.sources] * part.scales.to(b.dtype).squeeze()) @ a[part.sources]
                adapted = nn.Parameter(weights + change[0].to(weights.dtype), requires_grad=False)
                setattr(owner, leaf, adapted)
                self._used.add(name)
            yield
        finally:
            for parameter, weights in zip(self.parameters, originals, strict=True):
                setattr(parameter.owner, parameter.leaf, weights)


def block_of(modules: Mapping[str, nn.Module], name: str) -> str | None:
    """The module around the list of experts that holds module `name`; None if there is no list.

    A list of modules inside the list of layers is a list of experts.
    """
    path = name.split(".")
    ancestors = [".".join(path[:n]) for n in range(1, len(path))]
    lists = [a for a in ancestors if isinstance(modules[a], nn.ModuleList)]
    return lists[-1].rpartition(".")[0] if len(lists) > 1 else None


def holder_of(modules: Mapping[str, nn.Module], name: str, dimensions: int) -> tuple[str, bool]:
    """The module that runs view by view because module `name` has an adapted parameter.

    Also whether its rows can be divided into views. Fused experts with one input get rows in
    another order; the block around them gets the sequences. Experts with three inputs are as in
    transformers: hidden states, numbers of the experts, and their weights in the sum.
    """
    inputs = _inputs(modules[name])
    if dimensions == 3 and inputs == 1:
        block = name.rpartition(".")[0]
        return block, _inputs(modules[block]) == 1
    return name, inputs == (3 if dimensions == 3 else 1)


def _inputs(module: nn.Module) -> int:
    """Number of arguments of the module's forward."""
    return len(inspect.signature(type(module).forward).parameters) - 1


def _split(x: Any, running: Pass, parts: int) -> Sequence[Any]:
    if parts == 1 or x is None or isinstance(x, bool | int | float):
        return [x] * parts
    if not isinstance(x, Tensor) or x.dim() == 0:
        raise NotStackable
    return running.split(x)


def _joined(outputs: Sequence[Any]) -> Any:
    first = outputs[0]
    if len(outputs) == 1 or first is None:
        return first
    if isinstance(first, tuple):
        return tuple(_joined(parts) for parts in zip(*outputs, strict=True))
    if not isinstance(first, Tensor) or first.dim() == 0:
        raise NotStackable
    return torch.cat(list(outputs))
