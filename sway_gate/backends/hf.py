"""Hugging Face causal language models with peft adapters, on CPU, CUDA or MPS: the passes."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer

from sway_gate.backends import adapters, loading, null_adapters
from sway_gate.backends.base import EncodedRequest, Facts, NotStackable, OutOfMemory
from sway_gate.backends.loading import Source
from sway_gate.backends.passes import hooks, memory
from sway_gate.backends.passes.encoding import Encoder, Ids
from sway_gate.backends.passes.patching import Patches
from sway_gate.backends.passes.reductions import reduce
from sway_gate.backends.passes.stacking import Stack, with_nulls
from sway_gate.measurements import BASE, Answer, Fault, Request, View
from sway_gate.model_files.config import CONTEXT_KEYS

# Any token will do where the mask hides it.
_PAD = 0
_GENERATED_AT_ONCE = 64


def load(
    source: Source,
    settings: null_adapters.NullSettings,
    opened: tuple[nn.Module, Any, str] | None = None,
) -> "HfBackend":
    """The base once, as `open_base` gave it if it did, the adapter through peft, the nulls drawn. Raises CannotDecide or
    AdapterError, each one line."""
    model, tokenizer, determinism = opened or loading.open_base(source)
    model, change = adapters.read(
        model, source.adapter, quantized=bool(getattr(model, "is_quantized", False))
    )
    return HfBackend(cast(Any, model), tokenizer, change, settings, determinism)


class HfBackend:
    """One base with one adapter and its nulls."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        change: adapters.Change,
        settings: null_adapters.NullSettings,
        determinism: str,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._device: torch.device = model.get_input_embeddings().weight.device
        dtype: torch.dtype = model.dtype
        self._stack = Stack(
            model, {n: with_nulls(n, f, settings) for n, f in change.factors.items()}, dtype
        )
        self._patches = Patches(model, change.dense, settings)
        self._adapted = frozenset(change.factors)
        self.stacked = not change.dense
        self._head = hooks.Head(model.get_output_embeddings())
        config = model.config.get_text_config()
        vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self._encoder = Encoder(tokenizer, _context(config), vocabulary)
        self._sizes = memory.sizes(config, vocabulary, dtype)
        self._ends = _end_tokens(model, tokenizer)
        self._shares = True
        self._held: _Held | None = None
        name = str(dtype).removeprefix("torch.")
        self.facts = Facts(
            self._device.type, name, determinism, (change.note,) if change.note else ()
        )

    def encode(self, requests: Sequence[Request]) -> list[tuple[EncodedRequest | Fault, str]]:
        answers = self._greedy(self._encoder.answers_needed(requests))
        return [self._encoder.row(r, answers) for r in requests]

    def _greedy(self, lengths: Mapping[Ids, int]) -> dict[Ids, Ids]:
        """What the base says next after each prompt: at most `lengths[prompt]` tokens, fewer where it ends the text."""
        answers: dict[Ids, Ids] = dict.fromkeys(lengths, ())
        for length in sorted(set(lengths.values()) - {0}):
            asked = sorted((prompt for prompt in lengths if lengths[prompt] == length), key=len)
            for start in range(0, len(asked), _GENERATED_AT_ONCE):
                batch = asked[start : start + _GENERATED_AT_ONCE]
                [made] = self._generate([BASE], batch, length, [])
                answers |= {
                    prompt: self._until_end(tokens)
                    for prompt, tokens in zip(batch, made, strict=True)
                }
        return answers

    def _generate(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int, watch: list[Any]
    ) -> list[list[list[int]]]:
        """At most `length` greedy tokens after each prompt: [view][prompt][token]."""
        width = max(map(len, prompts))
        # The cache grows at the right end, so padding stands on the left here, under a mask.
        ids = torch.tensor([(_PAD,) * (width - len(p)) + p for p in prompts], device=self._device)
        mask = torch.tensor(
            [[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self._device
        )
        make_config: Any = GenerationConfig
        config = make_config(
            max_new_tokens=length,
            do_sample=False,
            num_beams=1,
            pad_token_id=_PAD,
            eos_token_id=sorted(self._ends) or None,
        )
        with torch.inference_mode(), self._under(views, len(prompts), width):
            made = self._model.generate(
                ids.repeat(len(views), 1),
                attention_mask=mask.repeat(len(views), 1),
                generation_config=config,
                logits_processor=watch,
            )
        tokens: list[list[int]] = made[:, width:].tolist()
        return [tokens[i : i + len(prompts)] for i in range(0, len(tokens), len(prompts))]

    def _until_end(self, tokens: list[int]) -> Ids:
        end = next((k for k, token in enumerate(tokens) if token in self._ends), len(tokens))
        return tuple(tokens[:end])

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        return memory.cost(self._sizes, views, rows, shares=self._shares)

    def budget(self) -> int:
        return memory.budget(self._device)

    def measure(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        references: dict[EncodedRequest, Any],
    ) -> list[list[Answer | Fault]]:
        try:
            with torch.inference_mode():
                return (
                    self._write(views, rows)
                    if rows[0].asks == "text"
                    else self._read(views, rows, references)
                )
        except NotStackable:
            self.stacked = False
            raise
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise OutOfMemory from None
        except RuntimeError as error:
            if "memory" in str(error).lower() and "alloc" in str(error).lower():
                raise OutOfMemory from None
            raise

    def _read(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        references: dict[EncodedRequest, Any],
    ) -> list[list[Answer | Fault]]:
        logits = self._logits(views, rows)  # [V, P, vocabulary]
        table = (
            reduce(views, rows, logits, references).double().cpu().numpy()
        )  # [V, P] or [V, P, 2]
        cuts = np.cumsum([len(row.positions) for row in rows])[:-1]
        return [
            [
                part if np.isfinite(part).all() else self._fault(view, row)
                for part, row in zip(np.split(line, cuts), rows, strict=True)
            ]
            for view, line in zip(views, table, strict=True)
        ]

    def _write(
        self, views: Sequence[View], rows: Sequence[EncodedRequest]
    ) -> list[list[Answer | Fault]]:
        """What each view writes after each row."""
        watch = hooks.Watch()
        made = self._generate(views, [row.ids for row in rows], rows[0].length, [watch])
        broken = watch.broken.reshape(len(views), len(rows)).tolist()
        return [
            [
                self._fault(view, row) if bad else self._text(tokens)
                for tokens, row, bad in zip(line, rows, flags, strict=True)
            ]
            for view, line, flags in zip(views, made, broken, strict=True)
        ]

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(self._until_end(tokens), skip_special_tokens=True))

    def _logits(self, views: Sequence[View], rows: Sequence[EncodedRequest]) -> Tensor:
        """Next-token logits at the rows' positions, row after row: [V, P, vocabulary].

        Padding stands on the right, where causal attention never looks from a text's own positions. What the rows
        share in front is read once for each view.
        """
        past, shared = self._past(views, rows)
        width = max(len(row.ids) for row in rows) - shared
        tails = [row.ids[shared:] for row in rows]
        padded = torch.tensor([ids + (ids[-1],) * (width - len(ids)) for ids in tails])
        ids = padded.repeat(len(views), 1).to(self._device)  # [V * rows, width]
        wanted = torch.tensor(
            [i * width + p - shared for i, row in enumerate(rows) for p in row.positions]
        )
        offsets = torch.arange(len(views))[:, None] * len(rows) * width
        index = (offsets + wanted).flatten().to(self._device)  # [V * P]
        with self._under(views, len(rows), width), self._head.at(index):
            logits: Tensor = self._model(
                input_ids=ids, past_key_values=past, use_cache=past is not None
            ).logits
        if not self._head.used:
            logits = logits.flatten(0, 1)[index]
        return logits.reshape(len(views), len(wanted), -1)

    def _past(
        self, views: Sequence[View], rows: Sequence[EncodedRequest]
    ) -> tuple[DynamicCache | None, int]:
        """Keys and values of what the rows share, for every sequence of the pass, and its length in tokens.

        What the last pass held is continued where it begins this one's, as shorter contexts do longer ones.
        """
        shared, held = rows[0].shared, self._held
        self._held = None
        if not (shared and self._shares):
            return None, 0
        ids = rows[0].ids[:shared]
        if held is None or held.views != tuple(views) or ids[: len(held.ids)] != held.ids:
            held = _Held(tuple(views), (), DynamicCache(config=self._model.config))
        if rest := ids[len(held.ids) :]:
            tail = torch.tensor([rest] * len(views), device=self._device)
            last = torch.arange(len(views), device=self._device) * len(rest)
            with self._under(views, 1, len(rest)), self._head.at(last):
                self._model(input_ids=tail, past_key_values=held.cache, use_cache=True)
        if held.cache.get_seq_length() != shared or not all(
            type(x) is DynamicLayer for x in held.cache.layers
        ):
            self._shares = False  # a sliding window or a recurrent state: each row is read whole
            return None, 0
        self._held = _Held(held.views, ids, held.cache)
        past = copy.deepcopy(held.cache)
        past.batch_repeat_interleave(len(rows))
        return past, shared

    @contextmanager
    def _under(self, views: Sequence[View], rows: int, width: int) -> Iterator[None]:
        self._patches.put(views[0])
        with self._stack.viewing(views, rows, width, self._device):
            yield

    def leave(self) -> None:
        """Take the adapter off the model, for another one over the same base."""
        self._stack.remove()
        self._patches.remove()

    def unreached(self) -> tuple[str, ...]:
        """Adapted modules that no pass has gone through: their change cannot show in any logit."""
        return tuple(sorted(self._adapted - self._stack.reached))

    def _fault(self, view: View, row: EncodedRequest) -> Fault:
        text = self._tokenizer.decode(row.ids[:24])
        for suspect in dict.fromkeys((BASE, view)):
            if where := hooks.first_non_finite(
                self._model, partial(self._logits, [suspect], [row])
            ):
                said = f"NaN or Inf under the {suspect} view, first in {where}, on {text!r}"
                return Fault(said, "base" if suspect == BASE else "adapter")
        return Fault(f"NaN or Inf under the {view} view, in the reduction, on {text!r}")


class _Held(NamedTuple):
    """Keys and values of one prefix, one sequence a view."""

    views: tuple[View, ...]
    ids: Ids
    cache: DynamicCache


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens with which this model ends a text."""
    given = getattr(model.generation_config, "eos_token_id", None)
    ends = given if isinstance(given, list) else [given, tokenizer.eos_token_id]
    return frozenset(token for token in ends if isinstance(token, int))


def _context(config: Any) -> int:
    lengths = (getattr(config, key, None) for key in CONTEXT_KEYS)
    return next((int(n) for n in lengths if isinstance(n, int) and n > 0), 2**20)
