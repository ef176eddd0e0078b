"""The keys and values of a prefix that the rows of a pass share, computed once per view."""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.passes.weights import Weights
from sway_gate.measurements import BASE, View


class _Cached(NamedTuple):
    """Keys and values of one prefix, one sequence per view."""

    views: tuple[View, ...]
    ids: tuple[int, ...]
    cache: DynamicCache


class PrefixCache:
    """Keeps the prefix of the last pass, so that a longer one extends it."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._weights, self._device = weights, device
        self._last: _Cached | None = None

    @cached_property
    def is_supported(self) -> bool:
        """Whether the model keeps keys and values of all tokens.

        Models with a sliding window or a recurrent state do not.
        """
        with torch.inference_mode():
            cache = self._extend(_Cached((BASE,), (), self._new()), (0,)).cache
        return cache.get_seq_length() == 1 and all(type(x) is DynamicLayer for x in cache.layers)

    def take(
        self, views: Sequence[View], rows: Sequence[EncodedRequest]
    ) -> tuple[DynamicCache | None, int]:
        """The cache of the rows' prefix, one sequence per view and row, and its length in tokens.

        None and 0 if there is no prefix or the model has no such cache.
        """
        last, self._last = self._last, None
        prefix = rows[0].ids[: rows[0].prefix_len]
        if not (prefix and self.is_supported):
            return None, 0
        if last is None or last.views != tuple(views) or prefix[: len(last.ids)] != last.ids:
            last = _Cached(tuple(views), (), self._new())
        self._last = self._extend(last, prefix[len(last.ids) :])
        cache = copy.deepcopy(self._last.cache)
        cache.batch_repeat_interleave(len(rows))
        return cache, len(prefix)

    def _new(self) -> DynamicCache:
        return DynamicCache(config=self._weights.model(BASE).network.config)

    def _extend(self, cached: _Cached, ids: tuple[int, ...]) -> _Cached:
        """Run `ids` after the cached tokens; the cache is changed in place."""
        if ids:
            views = cached.views
            tail = torch.tensor([ids] * len(views), device=self._device)
            last = torch.arange(len(views), device=self._device) * len(ids)
            network, head = self._weights.model(views[0])
            with self._weights.under(views, 1, len(ids)), head.at(last):
                network(input_ids=tail, past_key_values=cached.cache, use_cache=True)
        return _Cached(cached.views, cached.ids + ids, cached.cache)
