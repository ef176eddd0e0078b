"""One forward pass that gives next-token logits, and the search for its first NaN or Inf."""

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.packing import pack
from sway_gate.backends.passes.branches import inputs
from sway_gate.backends.passes.hooks import first_non_finite
from sway_gate.backends.passes.prefix_cache import PrefixCache, cache_argument
from sway_gate.backends.passes.probing import agree_on_average, once
from sway_gate.backends.passes.weights import Weights
from sway_gate.measurements import BASE, Fault, View

_PROMPT, _ANSWERS = 6, (36, 24)
"""Tokens of a prompt and of two answers: long, so that a wrong position or mask is seen."""


class Read(NamedTuple):
    """Logits of D different positions under V views, and which of them P positions of rows read.

    Rows that share a position, such as the last token of their prompt, have one entry.
    """

    different: Tensor
    """[V, D, vocabulary]."""
    entries: Tensor
    """[P]."""

    @property
    def all(self) -> Tensor:
        """The logits of each position of each row: [V, P, vocabulary]."""
        in_order = torch.arange(self.different.shape[1], device=self.entries.device)
        is_same = torch.equal(self.entries, in_order)
        return self.different if is_same else self.different[:, self.entries]


class Logits:
    """Runs many rows under many views in one batch, on a model with `context` tokens."""

    def __init__(
        self, weights: Weights, prefix: PrefixCache, device: torch.device, context: int
    ) -> None:
        self._weights, self._prefix, self._device = weights, prefix, device
        self._context = context

    @cached_property
    def pack_limit(self) -> int:
        """The longest sequence of several rows; 0 if the model does not allow it.

        It must follow given positions and attend to given tokens only. Some models count
        the tokens of a sequence, not their positions, for the context or for a window.
        """
        return once(self._weights.model(BASE).network, "pack_limit", self._find_pack_limit)

    def _find_pack_limit(self) -> int:
        network = self._weights.model(BASE).network
        if "position_ids" not in inspect.signature(network.forward).parameters:
            return 0
        rows = _two_answers(network.get_input_embeddings().weight.shape[0])
        try:
            with torch.inference_mode():
                apart = self._read([BASE], rows, lambda: 0).all
                together = self._read([BASE], rows, lambda: sys.maxsize).all
        except Exception:  # models raise arbitrary exceptions for a mask that is not theirs
            return 0
        if not agree_on_average(network, together, apart):
            return 0
        window = getattr(network.config, "window_size", None) or sys.maxsize
        return min(self._prefix.reach, self._context, window)

    def read(self, views: Sequence[View], rows: Sequence[EncodedRequest]) -> Read:
        """Next-token logits at the positions of the rows, row after row.

        Padding is on the right, where causal attention cannot reach it from a row's own positions.
        The prefix of the rows runs once per view, a prompt of several neighbours once per pass.
        """
        return self._read(views, rows, lambda: self.pack_limit)

    def _read(
        self, views: Sequence[View], rows: Sequence[EncodedRequest], limit: Callable[[], int]
    ) -> Read:
        cache, prefix_len = self._prefix.take(views, rows)
        network, head = self._weights.model(views[0])
        tensors, all_at = inputs(pack(rows, limit), prefix_len, network.dtype)
        at, entries = torch.unique(all_at, return_inverse=True)
        count, width = tensors["input_ids"].shape
        offsets = torch.arange(len(views))[:, None] * count * width
        read = (offsets + at).flatten().to(self._device)  # [V * D]
        # A copy per view: [V * count, …].
        tensors = {n: torch.cat([x] * len(views)).to(self._device) for n, x in tensors.items()}
        with self._weights.under(views, count, width), head.at(read, tensors["input_ids"]):
            given = {cache_argument(network): cache, "use_cache": cache is not None}
            logits: Tensor = network(**given, **tensors).logits
        if logits.shape[:2] != (1, len(read)):  # this model does not call its head as a module
            logits = logits.flatten(0, 1)[read]
        return Read(logits.reshape(len(views), len(at), -1), entries.to(self._device))


def _two_answers(vocabulary: int) -> list[EncodedRequest]:
    """Two rows of one prompt, of tokens from the whole vocabulary."""
    ids = [i * max(1, vocabulary // 97) % vocabulary for i in range(1, _PROMPT + sum(_ANSWERS) + 1)]
    prompt, rows = ids[:_PROMPT], []
    for start, length in zip((_PROMPT, _PROMPT + _ANSWERS[0]), _ANSWERS, strict=True):
        row = (*prompt, *ids[start : start + length])
        rows.append(EncodedRequest(row, tuple(range(_PROMPT - 1, len(row)))))
    return rows


class Diagnosis:
    """Finds the source of NaN or Inf: runs one row again under the base and the view."""

    def __init__(self, weights: Weights, logits: Logits, tokenizer: Any) -> None:
        self._weights, self._logits, self._tokenizer = weights, logits, tokenizer

    def fault(self, view: View, row: EncodedRequest) -> Fault:
        """The fault of a row that has NaN or Inf under `view`."""
        text = self._tokenizer.decode(row.ids[:24])
        for suspect in dict.fromkeys((BASE, view)):
            network = self._weights.model(suspect).network
            if where := first_non_finite(network, partial(self._logits.read, [suspect], [row])):
                message = f"NaN or Inf under the {suspect} view, first in {where}, on {text!r}"
                return Fault(message, "base" if suspect == BASE else "adapter")
        return Fault(f"NaN or Inf under the {view} view, in the reduction, on {text!r}")
