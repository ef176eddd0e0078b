"""Hugging Face causal language models with peft adapters, on CPU, CUDA or MPS."""

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor, nn

from sway_gate.backends import (
    adapters,
    full_model,
    loading,
    quantization,
    reference,
    vocabulary,
)
from sway_gate.backends.base import (
    EncodedRequest,
    Facts,
    OutOfMemory,
    PassResult,
    ScoredKind,
    Store,
)
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.packing import pack
from sway_gate.backends.passes import memory
from sway_gate.backends.passes.encoding import Encoder, Ids, with_stored
from sway_gate.backends.passes.generator import Generator, end_tokens
from sway_gate.backends.passes.logits import Diagnosis, Logits
from sway_gate.backends.passes.prefix_cache import PrefixCache
from sway_gate.backends.passes.probing import check_causal
from sway_gate.backends.passes.reductions import divergences, log_probs, of_targets
from sway_gate.backends.passes.replacing import ReplacedModel
from sway_gate.backends.passes.weights import AdaptedModel, Weights, device_of
from sway_gate.errors import CannotDecide
from sway_gate.measurements import BASE, Answer, Fault, Request, View
from sway_gate.model_files.config import CONTEXT_KEYS, STARTED


def load(
    source: Source,
    settings: NullSettings,
    opened: tuple[nn.Module, Any, str] | None = None,
) -> "HfBackend":
    """Load the base, or take it as `open_base` returned it, and read what training changed.

    Raises CannotDecide or AdapterError.
    """
    network, tokenizer, determinism = opened or loading.open_base(source)
    if source.is_full:
        resized = vocabulary.fit_rows(network, source.adapter)
        replaced = ReplacedModel(network, full_model.read(network, source), settings)
        tokenizer, notes = loading.own_tokenizer(source, tokenizer)
        notes = (*resized, *notes)
        return HfBackend(replaced, tokenizer, determinism, notes, is_base_changed=bool(resized))
    tokenizer, is_resized, added = vocabulary.fit(network, tokenizer, source.adapter)
    network, change = adapters.read(
        network,
        source.adapter,
        reference.text(tokenizer),
        quantized=bool(getattr(network, "is_quantized", False)),
    )
    tokenizer, notes = loading.with_template(tokenizer, source.adapter)
    weights = AdaptedModel(network, change, settings)
    is_changed = is_resized or bool(change.dense)  # peft replaces modules when it merges
    return HfBackend(weights, tokenizer, determinism, (*added, *notes), is_base_changed=is_changed)


class HfBackend:
    """Computes requests under the views of `weights`. `notes` are for the report.

    `is_base_changed`: the base is not as in its files, and must be loaded again for the next
    adapter.
    """

    def __init__(
        self,
        weights: Weights,
        tokenizer: Any,
        determinism: str,
        notes: tuple[str, ...] = (),
        *,
        is_base_changed: bool = False,
    ) -> None:
        network = weights.model(BASE).network
        config = network.config.get_text_config()
        size, width = network.get_input_embeddings().weight.shape
        self.weights, self.tokenizer, self.is_base_changed = weights, tokenizer, is_base_changed
        self._device = device_of(network)
        check_causal(weights, self._device)
        self.prefix_cache = PrefixCache(weights, self._device)
        self._sizes = memory.sizes(config, size, width, network.dtype)
        ends, context = end_tokens(network, tokenizer), _context(config)
        self._encoder = Encoder(tokenizer, context, size, ends)
        self._logits = logits = Logits(weights, self.prefix_cache, self._device, context)
        # Not a reference to this backend: in a cycle, its adapter would stay in memory.
        self._generator = Generator(
            weights, ends, self.prefix_cache, lambda: logits.pack_limit, self._device
        )
        self._diagnosis = Diagnosis(weights, logits, tokenizer)
        self.batches_views = weights.batches_views
        self.facts = Facts(
            self._device.type,
            quantization.precision(network),
            determinism,
            (*weights.notes, *notes, *_dated(tokenizer)),
        )

    @property
    def pack_limit(self) -> int:
        return self._logits.pack_limit

    def encode(
        self, requests: Sequence[Request], store: Store | None = None
    ) -> list[tuple[EncodedRequest | Fault, str]]:
        needed = self._encoder.answers_needed(requests)
        answers = with_stored(needed, store, self._generator.base_answers)
        encoded = [self._encoder.encode(request, answers) for request in requests]
        return [(row, note or self._note(row)) for row, note in encoded]

    def _note(self, row: EncodedRequest | Fault) -> str:
        """A note if this model has no cache for the row, which is slower."""
        if isinstance(row, Fault):
            return ""
        if row.prefix_len and not self.prefix_cache.covers([row]):
            return "measured with the whole context, because this model cannot share its cache"
        if row.kind == "text" and not self._generator.can_batch:
            return "generated without a cache, because this model's cache cannot be used in batches"
        return ""

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        is_cached = self.prefix_cache.covers(rows)
        sequences = pack(rows, lambda: self.pack_limit)
        return memory.cost(self._sizes, views, sequences, prefix_is_cached=is_cached)

    def budget(self) -> int:
        return memory.budget(self._device)

    def unused_modules(self) -> tuple[str, ...]:
        return self.weights.unused_modules()

    def leave(self) -> None:
        """Take the adapter off the base, so that another one can be put on."""
        self.weights.remove()
        quantization.undo_passes(self.weights.model(BASE).network)

    def forward(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        base_log_probs: Sequence[Any] | None = None,
    ) -> PassResult:
        try:
            with torch.inference_mode():
                kind = rows[0].kind
                if kind == "text":
                    return self._generate(views, rows)
                return self._score(kind, views, rows, base_log_probs)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise OutOfMemory from None
        except RuntimeError as error:
            if "memory" in str(error).lower() and "alloc" in str(error).lower():
                raise OutOfMemory from None
            raise

    def _score(
        self,
        kind: ScoredKind,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        base_log_probs: Sequence[Tensor] | None,
    ) -> PassResult:
        read = self._logits.read(views, rows)
        counts = [len(row.positions) for row in rows]
        match kind:
            case "logprobs" | "teacher_forced":
                values = of_targets(rows, *read)
            case "js" | "kl" | "log_ratio" | "argmax":
                logits = read.all  # [V, P, vocabulary]
                if base_log_probs is None:
                    log_base = log_probs(logits[0])  # [P, vocabulary]
                    base_log_probs = torch.split(log_base, counts)
                else:
                    log_base = torch.cat(list(base_log_probs))
                values = divergences(kind, log_base, logits)
            case _:
                assert_never(kind)
        table = values.double().cpu().numpy()  # [V, P] or [V, P, 3]
        cuts = np.cumsum(counts)[:-1]
        answers: list[list[Answer | Fault]] = [
            [
                part if np.isfinite(part).all() else self._diagnosis.fault(view, row)
                for part, row in zip(np.split(line, cuts), rows, strict=True)
            ]
            for view, line in zip(views, table, strict=True)
        ]
        return PassResult(answers, base_log_probs)

    def _generate(self, views: Sequence[View], rows: Sequence[EncodedRequest]) -> PassResult:
        """The text that each view generates after each row."""
        prompts, length = [row.ids for row in rows], rows[0].length
        texts = self._generator.generate(views, prompts, length)
        answers: list[list[Answer | Fault]] = [
            [
                self._diagnosis.fault(view, row) if text.is_broken else self._text(text.tokens)
                for text, row in zip(of_view, rows, strict=True)
            ]
            for view, of_view in zip(views, texts, strict=True)
        ]
        return PassResult(answers, shared=self._generator.shared(prompts, length))

    def _text(self, tokens: Ids) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def _context(config: Any) -> int:
    """The model's context in tokens. Raises CannotDecide if no token can follow another one."""
    lengths = (getattr(config, key, None) for key in CONTEXT_KEYS)
    found = next((int(n) for n in lengths if isinstance(n, int) and n > 0), 2**20)
    if found < 2:
        raise CannotDecide("config.json of the base states a context of 1 token; correct it")
    return found


def _dated(tokenizer: Any) -> tuple[str, ...]:
    """A note if the chat template prints the date: another day can have slightly other numbers."""
    is_dated = "strftime_now" in str(tokenizer.chat_template)
    return (f"the chat template prints the date: {STARTED:%Y-%m-%d}",) if is_dated else ()
