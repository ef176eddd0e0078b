"""Many adapters over one mlx-lm model in one forward pass, as in `passes.stacking`.

An adapted module is replaced by an object that calls it and adds the low-rank part of each view.
The head is replaced by an object that computes only the required positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

from sway_gate.backends.base import NotStackable
from sway_gate.backends.null_adapters import Array, LowRank, Magnitude, NullSettings, with_nulls
from sway_gate.measurements import Floats, View

Ids = tuple[int, ...]


class _Pass(NamedTuple):
    views: int
    sequences: int
    adapted: int
    """Number of views that are not the base; they come after it."""
    sources: mx.array
    scales: mx.array
    """Scale of each adapted view [V, 1, 1]."""
    at: mx.array
    """The positions that the head computes, of the sequences of one view joined."""


class _Current:
    """The pass that is running."""

    def __init__(self) -> None:
        self._pass: _Pass | None = None

    def __call__(self) -> _Pass:
        assert self._pass is not None  # noqa: S101 - modules run inside a pass only
        return self._pass

    @contextmanager
    def run(self, current: _Pass) -> Iterator[None]:
        self._pass = current
        try:
            yield
        finally:
            self._pass = None


class _Adapted:
    """A linear layer or an embedding with the factors of all sources."""

    def __init__(self, module: Any, factors: LowRank, dtype: mx.Dtype, current: _Current) -> None:
        self.module, self._current, self.used = module, current, False
        b, self._added_gains = mx.array(factors.b), None
        if factors.magnitude is not None:
            gains = _gains(module, factors, factors.magnitude)[..., None]  # [S, out, 1]
            b, self._added_gains = gains * b, (gains - 1).swapaxes(1, 2).astype(dtype)
        self._a = mx.array(factors.a).astype(dtype)  # [S, r, in]
        self._b = b.astype(dtype)  # [S, out, r]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, x: mx.array) -> mx.array:
        y, self.used = self.module(x), True
        if not (current := self._current()).adapted:
            return y
        own, a = _own(x, current), self._a[current.sources]
        if hasattr(self.module, "as_linear"):
            ids = own.reshape(current.adapted, -1)
            middle = mx.take_along_axis(a.swapaxes(1, 2), ids[..., None], axis=1)
        else:
            middle = own.reshape(current.adapted, -1, x.shape[-1]) @ a.swapaxes(1, 2)
        if self._added_gains is not None:
            y = self._rescaled(y, self._added_gains[current.sources] * current.scales, current)
        return _sum(y, middle, self._b[current.sources].swapaxes(1, 2), current)

    def _rescaled(self, y: mx.array, gains: mx.array, current: _Pass) -> mx.array:
        """The output with the gains of each adapted view, which do not apply to the bias."""
        plain = y - self.module.bias if "bias" in self.module else y
        own = _own(plain, current)
        added = own.reshape(current.adapted, -1, y.shape[-1]) * gains
        return _added(y, added, current)

    def as_linear(self, x: mx.array) -> mx.array:
        """The head that is tied to this embedding: its weight is the transposed one."""
        y = self.module.as_linear(x)
        if not (current := self._current()).adapted:
            return y
        wide = _own(x, current).reshape(current.adapted, -1, x.shape[-1])
        return _sum(y, wide @ self._b[current.sources], self._a[current.sources], current)


def _own(x: mx.array, current: _Pass) -> mx.array:
    """The part of a module's input or output that belongs to adapted views.

    Raises NotStackable if the rows are neither the sequences nor the views of the pass in order,
    for example after a router of experts.
    """
    if current.adapted == current.views == 1:
        return x
    if x.shape[0] not in (current.sequences, current.views):
        raise NotStackable
    return x[x.shape[0] // current.views * (current.views - current.adapted) :]


def _sum(y: mx.array, middle: mx.array, b: mx.array, current: _Pass) -> mx.array:
    """The output with the low-rank part of each view: middle [V, n, r], b [V, r, out]."""
    return _added(y, (middle * current.scales) @ b, current)


def _added(y: mx.array, change: mx.array, current: _Pass) -> mx.array:
    """The output with the change [V, n, out] of each adapted view."""
    own = _own(y, current)
    changed = own + change.reshape(own.shape).astype(y.dtype)
    return mx.concatenate([y[: len(y) - len(own)], changed]) if len(own) < len(y) else changed


def _gains(module: Any, factors: LowRank, magnitude: Magnitude) -> mx.array:
    """DoRA's factors of the rows for each source, m / ‖W + b @ a‖ [S, out], in float32."""
    weight = _weight(module)
    sources = zip(factors.a, factors.b, magnitude.adapted, strict=True)
    norms = (
        mx.array(m) / mx.linalg.norm(weight + mx.array(b) @ mx.array(a), axis=1)
        for a, b, m in sources
    )
    return mx.stack(list(norms))


def row_norms(module: Any) -> Array:
    """The norm of each row of a linear layer's weight [out]."""
    return np.array(mx.linalg.norm(_weight(module), axis=1))


def _weight(module: Any) -> mx.array:
    """The weight of a linear layer in float32 [out, in]."""
    weight = module.weight
    if "scales" in module:
        weight = mx.dequantize(
            weight,
            module.scales,
            module.get("biases"),
            group_size=module.group_size,
            bits=module.bits,
            mode=module.mode,
        )
    return weight.astype(mx.float32)


class _Head:
    """The head, or an embedding whose `as_linear` can be the head."""

    def __init__(self, module: Any, current: _Current, *, is_embedding: bool) -> None:
        self.module, self._current, self._is_embedding = module, current, is_embedding

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, x: mx.array) -> mx.array:
        return self.module(x if self._is_embedding else self._selected(x))

    def as_linear(self, x: mx.array) -> mx.array:
        return self.module.as_linear(self._selected(x))

    def _selected(self, x: mx.array) -> mx.array:
        """[V * rows, T, hidden] -> [V, positions, hidden]."""
        current = self._current()
        return x.reshape(current.views, -1, x.shape[-1])[:, current.at]


class StackedModel:
    """A model under the views of an adapter and its nulls."""

    def __init__(
        self, model: Any, factors: Mapping[str, LowRank], settings: NullSettings, dtype: mx.Dtype
    ) -> None:
        self._model, self._current = model, _Current()
        modules = dict(model.named_modules())
        self._adapted = {
            name: _Adapted(modules[name], with_nulls(name, delta, settings), dtype, self._current)
            for name, delta in factors.items()
        }
        for name, module in modules.items():
            own: Any = self._adapted.get(name, module)
            is_embedding = hasattr(module, "as_linear")
            if is_embedding or name.endswith("lm_head"):
                own = _Head(own, self._current, is_embedding=is_embedding)
            if own is not module:
                _replace(model, name, own)

    def unused_modules(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, module in self._adapted.items() if not module.used))

    def logits(self, views: Sequence[View], rows: Sequence[Ids], at: Sequence[int]) -> Floats:
        """Next-token logits [V, positions, vocabulary] at positions of the joined rows.

        The rows have one length.
        """
        return np.array(self._run(views, np.array(rows), at, None))

    def generate(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int, ends: frozenset[int]
    ) -> tuple[Any, Any]:
        """Greedy tokens [V, prompts, at most `length`], and whether a step had NaN or Inf.

        The prompts have one length. It stops once all texts have one of `ends`.
        """
        tokens: list[Any] = []
        ids, cache = np.array(prompts), make_prompt_cache(self._model)
        ended = broken = np.zeros((len(views), len(prompts)), dtype=bool)
        while len(tokens) < length and not ended.all():
            width = ids.shape[-1]
            at = [i * width + width - 1 for i in range(len(prompts))]
            logits = self._run(views, ids, at, cache)
            broken = broken | ~np.array(mx.isfinite(logits).all(axis=-1))
            ids = np.array(logits.argmax(axis=-1))[..., None]  # [V, prompts, 1]
            ended = ended | np.isin(ids[..., 0], list(ends))
            tokens.append(ids[..., 0])
        return np.stack(tokens, axis=-1), broken

    def _run(self, views: Sequence[View], ids: Any, at: Sequence[int], cache: Any) -> mx.array:
        """Logits of one pass; ids: [rows, T], the same for all views, or [V, rows, T]."""
        adapted = [view for view in views if view.source != "base"]
        sources = [0 if view.source == "finetuned" else 1 + view.seed_index for view in adapted]
        ids = np.broadcast_to(ids, (len(views), *ids.shape[-2:]))
        current = _Pass(
            len(views),
            len(views) * ids.shape[1],
            len(adapted),
            mx.array(sources, dtype=mx.int32),
            mx.array([view.scale for view in adapted]).reshape(-1, 1, 1),
            mx.array(at),
        )
        with self._current.run(current):
            out = self._model(mx.array(ids.reshape(current.sequences, -1)), cache=cache)
            if out.shape[:2] != (len(views), len(at)):  # this model computes its head elsewhere
                out = out.reshape(len(views), -1, out.shape[-1])[:, current.at]
            out = out.astype(mx.float32)
            mx.eval(out)
        return out


def _replace(model: Any, name: str, new: object) -> None:
    owner = model
    *path, leaf = name.split(".")
    for part in path:
        owner = owner[int(part)] if isinstance(owner, list) else getattr(owner, part)
    setattr(owner, leaf, new)
