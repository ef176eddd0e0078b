"""Base and fine-tuned model loaded side by side (`differential: false`): twice the memory, nothing is toggled.

There are no null adapters and no other scales of the adapter; the probes that need them say so.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sway_gate.backends import adapters, hf, loading, null_adapters
from sway_gate.backends.passes import hooks
from sway_gate.measurements import View


def load(source: loading.Source) -> "TwoModels":
    """Raises CannotDecide or AdapterError, each one line."""
    base, tokenizer, determinism = loading.open_base(source)
    tuned, _, _ = loading.open_base(source)
    return TwoModels(base, adapters.wrapped(tuned, source.adapter), tokenizer, determinism)


class TwoModels(hf.HfBackend):
    """One view at a time, each a model of its own."""

    def __init__(self, base: Any, tuned: Any, tokenizer: Any, determinism: str) -> None:
        super().__init__(
            base,
            tokenizer,
            adapters.Change({}, {}),
            null_adapters.NullSettings(runs=0),
            determinism,
        )
        self.stacked = False
        self._models = {
            "base": (base, self._head),
            "finetuned": (tuned, hooks.Head(tuned.get_output_embeddings())),
        }

    @contextmanager
    def _under(self, views: Sequence[View], rows: int, width: int) -> Iterator[None]:
        self._model, self._head = self._models[views[0].source]
        yield
