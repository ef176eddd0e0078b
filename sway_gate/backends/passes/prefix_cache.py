"""The keys and values of a prefix that the rows of a pass share, computed once per view."""

import copy
from collections.abc import Sequence
from functools import cached_property
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.passes.probing import TOKENS, agree, once
from sway_gate.backends.passes.weights import Weights
from sway_gate.measurements import BASE, View

# Their entries belong to tokens: a copy is all that a row needs. A dummy layer has none.
_LAYERS = ("DynamicLayer", "DynamicSlidingWindowLayer", "DynamicIndexedLayer", "DummyLayer")


class _Cached(NamedTuple):
    """Keys and values of one prefix, one sequence per view."""

    views: tuple[View, ...]
    ids: tuple[int, ...]
    cache: DynamicCache


def cache_argument(network: Any) -> str:
    """Name of the argument that gives the model a cache. transformers renamed it in 5.24."""
    return "cache" if "cache" in signature(network.forward).parameters else "past_key_values"


class PrefixCache:
    """Keeps the prefix of the last pass, so that a longer one extends it."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._weights, self._device = weights, device
        self._last: _Cached | None = None

    @cached_property
    def reach(self) -> int:
        """The longest text that the model continues from cached tokens as from the tokens.

        0 for models with a recurrent state or a special cache. Layers with a sliding window
        keep all tokens of texts that are not longer than the window.
        """
        return once(self._weights.model(BASE).network, "reach", self._find_reach)

    def _find_reach(self) -> int:
        try:
            with torch.inference_mode():
                whole, _ = self._probe(0)
                resumed, cache = self._probe(len(TOKENS) // 2)
        except Exception:  # models raise arbitrary exceptions for a cache that is not theirs
            return 0
        windows = [x.sliding_window for x in cache.layers if hasattr(x, "sliding_window")]
        network = self._weights.model(BASE).network
        return min(windows, default=2**20) if agree(network, resumed, whole) else 0

    def covers(self, rows: Sequence[EncodedRequest]) -> bool:
        """Whether the rows have a prefix that is computed once per view."""
        return rows[0].prefix_len > 0 and max(len(row.ids) for row in rows) <= self.reach

    def take(
        self, views: Sequence[View], rows: Sequence[EncodedRequest]
    ) -> tuple[DynamicCache | None, int]:
        """The cache of the rows' prefix, one sequence per view and row, and its length in tokens.

        None and 0 if the cache does not cover the rows.
        """
        prefix = rows[0].ids[: rows[0].prefix_len]
        if not self.covers(rows):
            self._last = None
            return None, 0
        return self.of(views, prefix, len(rows)), len(prefix)

    def of(self, views: Sequence[View], prefix: tuple[int, ...], rows: int) -> DynamicCache:
        """The cache of `prefix`, which the model must be able to continue, `rows` times per view.

        The last one is extended if `prefix` extends it.
        """
        last, self._last = self._last, None
        if last is None or last.views != tuple(views) or prefix[: len(last.ids)] != last.ids:
            last = _Cached(tuple(views), (), self._new())
        self._last = self._extend(last, prefix[len(last.ids) :])
        cache = copy.deepcopy(self._last.cache)
        cache.batch_repeat_interleave(rows)
        return cache

    def _new(self) -> DynamicCache:
        return DynamicCache(config=self._weights.model(BASE).network.config)

    def _probe(self, start: int) -> tuple[Tensor, DynamicCache]:
        """The base's last logits of two equal rows whose first `start` tokens are in the cache."""
        cache = self._extend(_Cached((BASE,), (), self._new()), TOKENS[:start]).cache
        if start:
            cache.batch_repeat_interleave(2)
        network = self._weights.model(BASE).network
        tail = torch.tensor([TOKENS[start:]] * 2, device=self._device)
        with self._weights.under([BASE], 2, len(TOKENS) - start):
            logits: Tensor = _run(network, tail, cache).logits
        if not all(type(layer).__name__ in _LAYERS for layer in cache.layers):
            raise TypeError
        return logits[:, -1], cache

    def _extend(self, cached: _Cached, ids: tuple[int, ...]) -> _Cached:
        """Run `ids` after the cached tokens; the cache is changed in place."""
        if ids:
            views = cached.views
            tail = torch.tensor([ids] * len(views), device=self._device)
            last = torch.arange(len(views), device=self._device) * len(ids)
            network, head = self._weights.model(views[0])
            with self._weights.under(views, 1, len(ids)), head.at(last, tail):
                _run(network, tail, cached.cache)
        return _Cached(cached.views, cached.ids + ids, cached.cache)


def _run(network: Any, ids: Tensor, cache: DynamicCache) -> Any:
    return network(input_ids=ids, use_cache=True, **{cache_argument(network): cache})
