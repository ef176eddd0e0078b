"""Base and fine-tuned model loaded side by side (`differential: false`): twice the memory.

There are no null adapters and no other scales of the adapter.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sway_gate.backends import full_model, hf, loading, vocabulary
from sway_gate.backends.passes.hooks import Head
from sway_gate.backends.passes.weights import Model, device_of
from sway_gate.measurements import View


def load(source: loading.Source) -> hf.HfBackend:
    """Load both models. Raises CannotDecide or AdapterError."""
    base, tokenizer, determinism = loading.open_base(source)
    device = device_of(base)
    if source.is_full:
        resized = vocabulary.fit_rows(base, source.adapter)
        full_model.check_config(base, source, ending="vocab_size")
        tuned = loading.load_model(source._replace(base=source.adapter), device)
        tokenizer, notes = loading.own_tokenizer(source, tokenizer)
        return hf.HfBackend(TwoModels(base, tuned), tokenizer, determinism, (*resized, *notes))
    tuned = loading.load_model(source, device)
    for network in (base, tuned):
        extended, _, added = vocabulary.fit(network, tokenizer, source.adapter)
    from sway_gate.backends import peft_adapters

    models = TwoModels(base, peft_adapters.wrapped(tuned, source.adapter))
    tokenizer, notes = loading.with_template(extended, source.adapter)
    return hf.HfBackend(models, tokenizer, determinism, (*added, *notes))


class TwoModels:
    """The weights of two views, each a separate model. Implements `passes.weights.Weights`."""

    batches_views = False
    notes: tuple[str, ...] = ()

    def __init__(self, base: Any, tuned: Any) -> None:
        self._models = {
            "base": Model(base, Head(base.get_output_embeddings())),
            "finetuned": Model(tuned, Head(tuned.get_output_embeddings())),
        }

    def model(self, view: View) -> Model:
        return self._models[view.source]

    def under(self, views: Sequence[View], rows: int, width: int) -> AbstractContextManager[None]:
        return nullcontext()

    def remove(self) -> None:
        """Do nothing: each model keeps its own weights."""

    def unused_modules(self) -> tuple[str, ...]:
        return ()
