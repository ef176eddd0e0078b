"""One forward pass that gives next-token logits, and the search for its first NaN or Inf."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.passes.hooks import first_non_finite
from sway_gate.backends.passes.prefix_cache import PrefixCache
from sway_gate.backends.passes.weights import Weights
from sway_gate.measurements import BASE, Fault, View


class Logits:
    """Runs many rows under many views in one batch."""

    def __init__(self, weights: Weights, prefix: PrefixCache, device: torch.device) -> None:
        self._weights, self._prefix, self._device = weights, prefix, device

    def read(self, views: Sequence[View], rows: Sequence[EncodedRequest]) -> Tensor:
        """Next-token logits at the positions of the rows, row after row: [V, P, vocabulary].

        Padding is on the right, where causal attention cannot reach it from a row's own positions.
        The prefix of the rows runs once per view.
        """
        cache, prefix_len = self._prefix.take(views, rows)
        width = max(len(row.ids) for row in rows) - prefix_len
        ids = [_padded(row.ids[prefix_len:], width) for row in rows]
        inputs = torch.tensor(ids).repeat(len(views), 1).to(self._device)  # [V * rows, width]
        at = torch.tensor(
            [i * width + p - prefix_len for i, row in enumerate(rows) for p in row.positions]
        )
        offsets = torch.arange(len(views))[:, None] * len(rows) * width
        index = (offsets + at).flatten().to(self._device)  # [V * P]
        network, head = self._weights.model(views[0])
        with self._weights.under(views, len(rows), width), head.at(index, inputs):
            logits: Tensor = network(
                input_ids=inputs, past_key_values=cache, use_cache=cache is not None
            ).logits
        if logits.shape[:2] != (1, len(index)):  # this model does not call its head as a module
            logits = logits.flatten(0, 1)[index]
        return logits.reshape(len(views), len(at), -1)


def _padded(ids: tuple[int, ...], width: int) -> tuple[int, ...]:
    return ids + (ids[-1],) * (width - len(ids))


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
