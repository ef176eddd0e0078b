"""Hugging Face causal language models with peft adapters, on CPU, CUDA or MPS."""

import copy
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GenerationConfig, LogitsProcessor
from transformers.cache_utils import DynamicLayer

from sway_gate import data, nulls
from sway_gate.backends import Facts, Fault, NotStackable, OutOfMemory, Row, adapters
from sway_gate.backends.stacking import Stack
from sway_gate.errors import Undecided, UsageError
from sway_gate.measure import BASE, Answer, Divergence, Generation, LogProbs, Recall, Request, View

Ids = tuple[int, ...]

_GB = 2**30
# On a CPU larger passes are no faster; on a GPU they are, up to what is free.
_CPU_BUDGET = 0.75 * _GB
_SHARE_OF_FREE = 0.5
_CACHED_FLOATS = 2**19
# Any token will do where the mask hides it.
_PAD = 0
_GENERATED_AT_ONCE = 64
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class Source(NamedTuple):
    """What to load. `dtype` auto: the checkpoint's own on CUDA, float32 elsewhere."""

    base: Path
    adapter: Path
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    seed: int = 0


def load(source: Source, settings: nulls.Settings, opened: tuple[nn.Module, Any, str] | None = None) -> "HfBackend":
    """The base once, as `open_base` gave it if it did, the adapter through peft, the nulls drawn. Raises Undecided or
    AdapterError, each one line."""
    model, tokenizer, determinism = opened or open_base(source)
    model, change = adapters.read(model, source.adapter, quantized=bool(getattr(model, "is_quantized", False)))
    return HfBackend(cast(Any, model), tokenizer, change, settings, determinism)


def open_base(source: Source) -> tuple[nn.Module, Any, str]:
    """Model, tokenizer and the determinism class that could be had."""
    device = _device(source.device)
    determinism = seed_everything(source.seed, device)
    model, tokenizer = _load_base(source, device)
    return model, tokenizer, determinism


def seed_everything(seed: int, device: torch.device) -> str:
    """Seeds python, numpy and torch; returns the determinism class: strict (CUDA, deterministic algorithms on),
    best_effort (CPU, MPS) or loose (deterministic algorithms refused)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if device.type != "cuda":
        return "best_effort"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.use_deterministic_algorithms(True)
    except RuntimeError:
        return "loose"
    return "strict" if torch.are_deterministic_algorithms_enabled() else "loose"


def _device(name: str) -> torch.device:
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise Undecided(f"device {name!r} cannot be used: {adapters.one_line(error)}; try device: auto") from None


def _load_base(source: Source, device: torch.device) -> tuple[nn.Module, Any]:
    messages: Any = transformers.utils.logging
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    dtype = _DTYPES.get(source.dtype, "auto" if device.type == "cuda" else torch.float32)
    shared = {"local_files_only": True, "trust_remote_code": source.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source.base), **shared)
        # use_safetensors: a pickled checkpoint is an error, never loaded.
        model: Any = AutoModelForCausalLM.from_pretrained(str(source.base), dtype=dtype, use_safetensors=True, **shared)
    except Exception as error:  # the libraries raise whatever the files provoke
        raise Undecided(f"the base model {source.base} cannot be loaded: {adapters.one_line(error)}") from None
    if not getattr(model, "hf_device_map", None):
        model = model.to(device)
    return model.eval(), tokenizer


class HfBackend:
    """One base with one adapter and its nulls."""

    def __init__(
        self, model: Any, tokenizer: Any, change: adapters.Change, settings: nulls.Settings, determinism: str
    ) -> None:
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._dense = change.dense
        self._patched: View | None = None
        self._device: torch.device = model.get_input_embeddings().weight.device
        dtype: torch.dtype = model.dtype
        self._stack = Stack(model, {n: _with_nulls(n, f, settings) for n, f in change.factors.items()}, dtype)
        self._adapted = frozenset(change.factors)
        self.stacked = not change.dense
        self._head = Head(model.get_output_embeddings())
        config = model.config.get_text_config()
        self._vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self._context = _context(config)
        self._bytes_per_token = _bytes_per_token(config, dtype)
        self._cache_bytes_per_token = _cache_bytes_per_token(config, dtype)
        self._prefix = _prefix(tokenizer)
        self._ends = _end_tokens(model, tokenizer)
        self._neutral: Ids | None = None
        self._shares = True
        self._held: _Held | None = None
        name = str(dtype).removeprefix("torch.")
        self.facts = Facts(self._device.type, name, determinism, (change.note,) if change.note else ())

    # Rows

    def encode(self, requests: Sequence[Request]) -> list[tuple[Row | Fault, str]]:
        answers = self._base_answers([r for r in requests if isinstance(r, Divergence)])
        return [self._encode(r, answers) for r in requests]

    def _encode(self, request: Request, answers: Mapping[Ids, Ids]) -> tuple[Row | Fault, str]:
        match request:
            case Divergence():
                return self._encode_divergence(request, answers)
            case LogProbs():
                return self._encode_completion(request.prompt, request.completion, request.chat, "logprobs")
            case Recall():
                return self._encode_completion(request.prompt, request.completion, False, "recall")
            case Generation():
                return self._encode_generation(request)

    def _encode_generation(self, request: Generation) -> tuple[Row | Fault, str]:
        length = min(request.max_new_tokens, self._context // 2)
        whole = self._prompt(request.prompt, request.chat)
        ids = self._fitted(whole, length)
        if not ids:
            return _without_token(request.prompt), ""
        return Row(ids, (len(ids) - 1,), (), "text", length), self._cut_note(len(whole) + request.max_new_tokens)

    def _base_answers(self, requests: Sequence[Divergence]) -> dict[Ids, Ids]:
        """The base's greedy answer to each bare prompt, as long as the longest request for it."""
        lengths: dict[Ids, int] = {}
        for r in requests:
            if ids := self._bare(r):
                lengths[ids] = max(lengths.get(ids, 0), r.positions - 1)
        return dict(zip(lengths, self._greedy(list(lengths), list(lengths.values())), strict=True))

    def _bare(self, request: Divergence) -> Ids:
        return self._fitted(self._prompt(request.prompt, request.chat), request.positions - 1)

    def _encode_divergence(self, request: Divergence, answers: Mapping[Ids, Ids]) -> tuple[Row | Fault, str]:
        """The prompt with the base's greedy answer behind it, read from the prompt's last token on."""
        if not (bare := self._bare(request)):
            return _without_token(request.prompt), ""
        answer = answers[bare][: request.positions - 1]
        ids = self._prompt(request.prompt, request.chat)
        needed, shared = len(ids) + request.positions - 1, 0
        if request.context:
            head, rest = self._around(request.prompt, request.chat)
            needed = len(head) + request.context + len(rest) + request.positions - 1
            room = request.context - max(0, needed - self._context)
            if room > 0:
                shared = len(head) + room
                ids = head + self._stuffing(room) + rest
        ids = self._fitted(ids, request.positions - 1)
        positions = tuple(range(len(ids) - 1, len(ids) + len(answer)))
        row = Row(ids + answer, positions, asks=request.divergence, shared=shared)
        return row, self._cut_note(needed)

    def _prompt(self, prompt: str, chat: bool) -> Ids:
        return self._tokens(self._rendered(prompt)) if chat else self._prefix + self._tokens(prompt)

    def _rendered(self, prompt: str) -> str:
        """The prompt as the user's turn of a conversation, the assistant's opened. The template writes all special
        tokens itself."""
        turn = [{"role": "user", "content": prompt}]
        try:
            text = self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is a program of the base's author
            wrong = adapters.one_line(error)
            raise Undecided(f"the base's chat template fails: {wrong}; set defaults.chat_template: off") from None
        return str(text)

    def _around(self, prompt: str, chat: bool) -> tuple[Ids, Ids]:
        """What stands before irrelevant context, and what after it: the prompt as a paragraph of its own."""
        if not chat:
            return self._prefix, self._tokens("\n\n" + prompt)
        head, _, tail = self._rendered(prompt).partition(prompt.strip())
        return self._tokens(head), self._tokens("\n\n" + prompt.strip() + tail)

    def _stuffing(self, length: int) -> Ids:
        """The first `length` tokens of neutral prose, told again where it ends: shorter ones begin longer ones."""
        if self._neutral is None:
            self._neutral = self._tokens(data.stuffing() + "\n\n")
        return (self._neutral * (length // len(self._neutral) + 1))[:length]

    def _fitted(self, ids: Ids, room: int) -> Ids:
        """The special tokens and as many of the last tokens as leave `room` in the context."""
        over = len(ids) + room - self._context
        return ids if over <= 0 else self._prefix + ids[len(self._prefix) + over :]

    def _greedy(self, prompts: Sequence[Ids], lengths: Sequence[int]) -> list[Ids]:
        """What the base says next: at most lengths[i] tokens, fewer where it ends the text."""
        answers: list[Ids] = [()] * len(prompts)
        for length in sorted(set(lengths) - {0}):
            asked = [i for i in range(len(prompts)) if lengths[i] == length]
            asked.sort(key=lambda i: len(prompts[i]))
            for start in range(0, len(asked), _GENERATED_AT_ONCE):
                batch = asked[start : start + _GENERATED_AT_ONCE]
                [made] = self._generate([BASE], [prompts[i] for i in batch], length, [])
                for i, tokens in zip(batch, made, strict=True):
                    answers[i] = self._until_end(tokens)
        return answers

    def _generate(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int, watch: list[Any]
    ) -> list[list[list[int]]]:
        """At most `length` greedy tokens after each prompt: [view][prompt][token]."""
        width = max(map(len, prompts))
        # The cache grows at the right end, so padding stands on the left here, under a mask.
        ids = torch.tensor([(_PAD,) * (width - len(p)) + p for p in prompts], device=self._device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self._device)
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

    def _encode_completion(
        self, prompt: str, completion: str, chat: bool, asks: Literal["logprobs", "recall"]
    ) -> tuple[Row | Fault, str]:
        ids, start = self._completion(prompt, completion, chat)
        note = self._cut_note(len(ids))
        if over := max(0, len(ids) - self._context):
            # The prompt gives way first, from its far end; then the completion's end.
            keep = len(self._prefix)
            dropped = min(over, max(0, start - keep))
            ids = (ids[:keep] + ids[keep + dropped :])[: self._context]
            start -= dropped
        first = max(start, 1)
        if first >= len(ids):
            nothing = f"nothing to score in {completion[:60]!r} after {prompt[-60:]!r}; give a longer text"
            return Fault(nothing, "text"), ""
        return Row(ids, tuple(range(first - 1, len(ids) - 1)), ids[first:], asks), note

    def _tokens(self, text: str) -> Ids:
        ids = tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if ids and max(ids) >= self._vocabulary:
            raise Undecided(
                f"token {max(ids)} is beyond the model's {self._vocabulary}: base and tokenizer do not match"
            )
        return ids

    def _completion(self, prompt: str, completion: str, chat: bool) -> tuple[Ids, int]:
        """Tokens of both, and where the completion's start: of the joint text, where that begins with the prompt's."""
        text, prefix = (self._rendered(prompt), ()) if chat else (prompt, self._prefix)
        before, joint = self._tokens(text), self._tokens(text + completion)
        if joint[: len(before)] != before or len(joint) == len(before):
            joint = before + self._tokens(completion)
        return prefix + joint, len(prefix) + len(before)

    def _cut_note(self, length: int) -> str:
        return f"cut to the model's context of {self._context} tokens" if length > self._context else ""

    # Sizes

    def cost(self, views: int, rows: Sequence[Row]) -> int:
        width = max(len(row.ids) for row in rows)
        if rows[0].asks == "text":
            cache = (width + rows[0].length) * self._cache_bytes_per_token
            return views * len(rows) * (width * self._bytes_per_token + cache + self._vocabulary * 4 * 2)
        shared = rows[0].shared if self._shares else 0
        # A prefix is computed once a view, its cache copied for every row.
        tokens = shared + len(rows) * (width - shared)
        cache = (1 + len(rows)) * width * self._cache_bytes_per_token if shared else 0
        positions = sum(len(row.positions) for row in rows)
        # Logits in the model's precision, in float32, and what the reduction needs beside them.
        copies = 4 if rows[0].asks in ("logprobs", "recall") else 3
        return views * (tokens * self._bytes_per_token + cache + positions * self._vocabulary * 4 * copies)

    def budget(self) -> int:
        if given := os.environ.get("SWAY_MEMORY_GB"):
            return _gigabytes(given)
        if self._device.type == "cuda":
            return int(torch.cuda.mem_get_info(self._device)[0] * _SHARE_OF_FREE)
        return int(min(_CPU_BUDGET, _free_memory() * _SHARE_OF_FREE))

    # Passes

    def measure(
        self, views: Sequence[View], rows: Sequence[Row], references: dict[Row, Any]
    ) -> list[list[Answer | Fault]]:
        try:
            with torch.inference_mode():
                return self._write(views, rows) if rows[0].asks == "text" else self._read(views, rows, references)
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
        self, views: Sequence[View], rows: Sequence[Row], references: dict[Row, Any]
    ) -> list[list[Answer | Fault]]:
        logits = self._logits(views, rows)  # [V, P, vocabulary]
        table = self._reduce(views, rows, logits, references).double().cpu().numpy()  # [V, P] or [V, P, 2]
        cuts = np.cumsum([len(row.positions) for row in rows])[:-1]
        return [
            [
                part if np.isfinite(part).all() else self._fault(view, row)
                for part, row in zip(np.split(line, cuts), rows, strict=True)
            ]
            for view, line in zip(views, table, strict=True)
        ]

    def _write(self, views: Sequence[View], rows: Sequence[Row]) -> list[list[Answer | Fault]]:
        """What each view writes after each row."""
        watch = _Watch()
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

    def _logits(self, views: Sequence[View], rows: Sequence[Row]) -> Tensor:
        """Next-token logits at the rows' positions, row after row: [V, P, vocabulary].

        Padding stands on the right, where causal attention never looks from a text's own positions. What the rows
        share in front is read once for each view.
        """
        past, shared = self._past(views, rows)
        width = max(len(row.ids) for row in rows) - shared
        tails = [row.ids[shared:] for row in rows]
        padded = torch.tensor([ids + (ids[-1],) * (width - len(ids)) for ids in tails])
        ids = padded.repeat(len(views), 1).to(self._device)  # [V * rows, width]
        wanted = torch.tensor([i * width + p - shared for i, row in enumerate(rows) for p in row.positions])
        offsets = torch.arange(len(views))[:, None] * len(rows) * width
        index = (offsets + wanted).flatten().to(self._device)  # [V * P]
        with self._under(views, len(rows), width), self._head.at(index):
            logits: Tensor = self._model(input_ids=ids, past_key_values=past, use_cache=past is not None).logits
        if not self._head.used:
            logits = logits.flatten(0, 1)[index]
        return logits.reshape(len(views), len(wanted), -1)

    def _past(self, views: Sequence[View], rows: Sequence[Row]) -> tuple[DynamicCache | None, int]:
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
        if held.cache.get_seq_length() != shared or not all(type(x) is DynamicLayer for x in held.cache.layers):
            self._shares = False  # a sliding window or a recurrent state: each row is read whole
            return None, 0
        self._held = _Held(held.views, ids, held.cache)
        past = copy.deepcopy(held.cache)
        past.batch_repeat_interleave(len(rows))
        return past, shared

    @contextmanager
    def _under(self, views: Sequence[View], rows: int, width: int) -> Iterator[None]:
        if not self._dense:
            with self._stack.viewing(views, rows, width, self._device):
                yield
            return
        self._patch(views[0])
        yield

    def leave(self) -> None:
        """Take the adapter off the model, for another one over the same base."""
        self._stack.remove()
        if self._patched is not None:
            self._patch(BASE)

    def _patch(self, view: View) -> None:
        """The weights of one view in place of the base's, until another view asks."""
        if view == self._patched:
            return
        if len(self._dense) and self._patched is None:
            self._original = {name: self._model.get_parameter(name).detach().clone() for name in self._dense}
        for name, delta in self._dense.items():
            original = self._original[name]
            change = 0.0 if view == BASE else view.scale * self._dense_change(name, delta, view).to(original)
            owner, _, leaf = name.rpartition(".")
            # A parameter of its own: a tied weight elsewhere keeps the base's values.
            patched = nn.Parameter(original + change, requires_grad=False)
            setattr(self._model.get_submodule(owner), leaf, patched)
        self._patched = view

    def _dense_change(self, name: str, delta: nulls.Array, view: View) -> Tensor:
        if view.source == "finetuned":
            return torch.from_numpy(delta)
        seed = self._settings.seed_base + view.number
        if self._settings.kind == "init":
            return torch.from_numpy(nulls.dense_init(name, delta, self._settings, seed))
        return torch.from_numpy(nulls.dense(name, delta, seed))

    def _reduce(self, views: Sequence[View], rows: Sequence[Row], logits: Tensor, references: dict[Row, Any]) -> Tensor:
        """[V, P, vocabulary] -> [V, P]: log-probabilities of the targets, or divergences from the base, in nats.

        For recall [V, P, 2]: and whether each target is the most probable token.
        """
        if rows[0].asks in ("logprobs", "recall"):
            targets = torch.tensor([t for row in rows for t in row.targets], device=logits.device)
            targets = targets.expand(len(views), -1)[..., None]
            chosen = logits.gather(-1, targets).squeeze(-1)
            # View by view: float32 copies of all logits at once would be the largest tensors of the pass.
            logs = torch.stack([c.float() - x.float().logsumexp(-1) for c, x in zip(chosen, logits, strict=True)])
            if rows[0].asks == "logprobs":
                return logs
            return torch.stack([logs, (logits.argmax(-1) == targets.squeeze(-1)).float()], -1)
        if views[0] == BASE:
            parts = torch.split(logits[0].float().log_softmax(-1), [len(row.positions) for row in rows])
            references.update(zip(rows, parts, strict=True))
        base = torch.cat([references[row] for row in rows])
        divergence = js if rows[0].asks == "js" else kl
        return torch.stack([_in_blocks(divergence, base, x) for x in logits])

    # Checks

    def unreached(self) -> tuple[str, ...]:
        """Adapted modules that no pass has gone through: their change cannot show in any logit."""
        return tuple(sorted(self._adapted - self._stack.reached))

    def _fault(self, view: View, row: Row) -> Fault:
        text = self._tokenizer.decode(row.ids[:24])
        for suspect in dict.fromkeys((BASE, view)):
            if where := self._first_non_finite(suspect, row):
                said = f"NaN or Inf under the {suspect} view, first in {where}, on {text!r}"
                return Fault(said, "base" if suspect == BASE else "adapter")
        return Fault(f"NaN or Inf under the {view} view, in the reduction, on {text!r}")

    def _first_non_finite(self, view: View, row: Row) -> str:
        found: list[str] = []

        def look(name: str) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                if isinstance(output, Tensor) and not found and not torch.isfinite(output).all():
                    found.append(name)

            return hook

        leaves = [(n, m) for n, m in self._model.named_modules() if not any(m.children())]
        handles = [module.register_forward_hook(look(name)) for name, module in leaves]
        try:
            with torch.inference_mode():
                self._logits([view], [row])
        finally:
            for handle in handles:
                handle.remove()
        return found[0] if found else ""


class _Held(NamedTuple):
    """Keys and values of one prefix, one sequence a view."""

    views: tuple[View, ...]
    ids: Ids
    cache: DynamicCache


class _Watch(LogitsProcessor):
    """Notes which sequences meet NaN or Inf while they are written."""

    def __init__(self) -> None:
        self.broken = torch.zeros(0, dtype=torch.bool)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        bad = ~torch.isfinite(scores).all(-1).cpu()
        self.broken = bad if not len(self.broken) else self.broken | bad
        return scores


class Head:
    """Hands the language-model head only the positions that are asked for, whatever the model does around it."""

    def __init__(self, head: nn.Module | None) -> None:
        self.used = False
        self._index: Tensor | None = None
        if head is not None:
            head.register_forward_pre_hook(self._select)

    @contextmanager
    def at(self, index: Tensor) -> Iterator[None]:
        """Inside the block the head sees hidden states [1, len(index), hidden]."""
        self._index, self.used = index, False
        try:
            yield
        finally:
            self._index = None

    def _select(self, _module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._index is None:
            return None
        self.used = True
        return (args[0].flatten(0, 1)[self._index][None], *args[1:])


def _in_blocks(divergence: Callable[[Tensor, Tensor], Tensor], log_p: Tensor, logits: Tensor) -> Tensor:
    """[P] from [P, vocabulary], on a CPU a few positions at a time: the steps of a divergence stay in its cache."""
    size = max(1, _CACHED_FLOATS // logits.shape[-1]) if logits.device.type == "cpu" else len(logits)
    blocks = zip(torch.split(log_p, size), torch.split(logits, size), strict=True)
    return torch.cat([divergence(p, x.float().log_softmax(-1)) for p, x in blocks])


def js(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the last axis, in nats, from log-probabilities.

    Summed as max(p, q) · ((1 + u) e - (2 + u) log(1 + u / 2)) / 2 with e = -|log q - log p| and u = exp(e) - 1:
    every term is non-negative and quadratic in small differences, so that nothing cancels at float32.
    """
    e = -(log_q - log_p).abs()
    u = e.expm1()
    terms = (1 + u) * e - (2 + u) * (u / 2).log1p()
    return (torch.maximum(log_p, log_q).exp() * terms).sum(-1).clamp_min(0) / 2


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p) over the last axis, in nats, as the sum of q (d - 1) + p with d = log q - log p, each term >= 0."""
    d = log_q - log_p
    p, q = log_p.exp(), log_q.exp()
    small = p * (d.exp() * d - d.expm1())
    return torch.where(d.abs() < 1, small, q * (d - 1) + p).sum(-1).clamp_min(0)


def _without_token(prompt: str) -> Fault:
    return Fault(f"the prompt {prompt!r} has no token to read after; give a longer one", "text")


def _with_nulls(name: str, delta: nulls.LowRank, settings: nulls.Settings) -> nulls.LowRank:
    """Sources stacked: the fine-tuned factors, then each null's: a [S, r, in], b [S, out, r]."""
    draws = nulls.low_rank(name, delta, settings)
    pad = delta.a.shape[0] - draws.a.shape[1]  # the rank cannot exceed the module's own width
    a = np.pad(draws.a, ((0, 0), (0, pad), (0, 0)))
    b = np.pad(draws.b, ((0, 0), (0, 0), (0, pad)))
    return nulls.LowRank(np.concatenate([delta.a[None], a]), np.concatenate([delta.b[None], b]))


def _prefix(tokenizer: Any) -> Ids:
    """The special tokens that this tokenizer puts in front of a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = [i for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return tuple(full[: starts[0]]) if starts and bare else ()


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens with which this model ends a text."""
    given = getattr(model.generation_config, "eos_token_id", None)
    ends = given if isinstance(given, list) else [given, tokenizer.eos_token_id]
    return frozenset(token for token in ends if isinstance(token, int))


def _context(config: Any) -> int:
    lengths = (getattr(config, key, None) for key in ("max_position_embeddings", "n_positions", "max_seq_len"))
    return next((int(n) for n in lengths if isinstance(n, int) and n > 0), 2**20)


def _bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Of activations that are alive at once in one layer."""
    hidden = int(config.hidden_size)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    return (8 * hidden + 3 * int(inner)) * dtype.itemsize


def _cache_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Of keys and values in all layers."""
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    width = int(config.hidden_size) * int(getattr(config, "num_key_value_heads", None) or heads) // heads
    return 2 * width * int(getattr(config, "num_hidden_layers", None) or 1) * dtype.itemsize


def _gigabytes(text: str) -> int:
    """SWAY_MEMORY_GB in bytes."""
    try:
        size = float(text)
        if size > 0:
            return int(min(size, 2**20) * _GB)
    except ValueError:
        pass
    raise UsageError(f"SWAY_MEMORY_GB must be a number of gigabytes above 0, got {text!r}")


def _free_memory() -> float:
    """Bytes of main memory that could be had now, or a cautious guess where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return 4.0 * _GB
