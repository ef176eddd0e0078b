"""Hugging Face causal language models with peft adapters, on CPU, CUDA or MPS."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from sway_gate import nulls
from sway_gate.backends import Facts, Fault, NotStackable, OutOfMemory, Row, adapters
from sway_gate.backends.stacking import Stack
from sway_gate.errors import Undecided, UsageError
from sway_gate.measure import BASE, Divergence, Floats, LogProbs, Request, View

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


def load(source: Source, settings: nulls.Settings) -> "HfBackend":
    """The base once, the adapter through peft, the nulls drawn. Raises Undecided or AdapterError, each one line."""
    device = _device(source.device)
    determinism = seed_everything(source.seed, device)
    model, tokenizer = _load_base(source, device)
    model, change = adapters.read(model, source.adapter, quantized=bool(getattr(model, "is_quantized", False)))
    return HfBackend(cast(Any, model), tokenizer, change, settings, determinism)


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
        self._head = _Head(model.get_output_embeddings())
        config = model.config.get_text_config()
        self._vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self._context = _context(config)
        self._bytes_per_token = _bytes_per_token(config, dtype)
        self._prefix = _prefix(tokenizer)
        self._ends = _end_tokens(model, tokenizer)
        name = str(dtype).removeprefix("torch.")
        self.facts = Facts(self._device.type, name, determinism, (change.note,) if change.note else ())

    # Rows

    def encode(self, requests: Sequence[Request]) -> list[tuple[Row, str]]:
        prompts = [r for r in requests if isinstance(r, Divergence)]
        divergences = dict(zip(prompts, self._encode_prompts(prompts), strict=True))
        return [divergences[r] if isinstance(r, Divergence) else self._encode_completion(r) for r in requests]

    def _encode_prompts(self, requests: Sequence[Divergence]) -> list[tuple[Row, str]]:
        """Each prompt with the base's greedy answer behind it, read from the prompt's last token on."""
        whole = [self._prefix + self._tokens(r.prompt) for r in requests]
        kept = [self._fitted(ids, r.positions - 1) for ids, r in zip(whole, requests, strict=True)]
        answers = self._greedy(kept, [r.positions - 1 for r in requests])
        encoded = []
        for request, ids, answer, uncut in zip(requests, kept, answers, whole, strict=True):
            if not ids:
                raise Undecided(f"the prompt {request.prompt!r} has no token to read after; give a longer one")
            positions = tuple(range(len(ids) - 1, len(ids) + len(answer)))
            note = self._cut_note(len(uncut) + request.positions - 1)
            encoded.append((Row(ids + answer, positions, (), request.divergence), note))
        return encoded

    def _fitted(self, ids: tuple[int, ...], room: int) -> tuple[int, ...]:
        """The special tokens and as many of the last tokens as leave `room` in the context."""
        over = len(ids) + room - self._context
        return ids if over <= 0 else self._prefix + ids[len(self._prefix) + over :]

    def _greedy(self, prompts: Sequence[tuple[int, ...]], lengths: Sequence[int]) -> list[tuple[int, ...]]:
        """What the base says next: at most lengths[i] tokens, fewer where it ends the text."""
        answers: list[tuple[int, ...]] = [()] * len(prompts)
        asked = [i for i, ids in enumerate(prompts) if ids and lengths[i]]
        asked.sort(key=lambda i: len(prompts[i]))
        for start in range(0, len(asked), _GENERATED_AT_ONCE):
            batch = asked[start : start + _GENERATED_AT_ONCE]
            made = self._generate([prompts[i] for i in batch], max(lengths[i] for i in batch))
            for i, tokens in zip(batch, made, strict=True):
                answers[i] = self._until_end(tokens)[: lengths[i]]
        return answers

    def _generate(self, prompts: Sequence[tuple[int, ...]], length: int) -> list[list[int]]:
        """`length` greedy tokens of the base after each prompt."""
        width = max(map(len, prompts))
        # The cache grows at the right end, so padding stands on the left here, under a mask.
        ids = torch.tensor([(_PAD,) * (width - len(p)) + p for p in prompts], device=self._device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self._device)
        make_config: Any = GenerationConfig
        config = make_config(max_new_tokens=length, do_sample=False, num_beams=1, pad_token_id=_PAD)
        with torch.inference_mode(), self._under([BASE], len(prompts), width):
            made = self._model.generate(ids, attention_mask=mask, generation_config=config)
        tokens: list[list[int]] = made[:, width:].tolist()
        return tokens

    def _until_end(self, tokens: list[int]) -> tuple[int, ...]:
        end = next((k for k, token in enumerate(tokens) if token in self._ends), len(tokens))
        return tuple(tokens[:end])

    def _encode_completion(self, request: LogProbs) -> tuple[Row, str]:
        ids, start = self._completion(request.prompt, request.completion)
        note = self._cut_note(len(ids))
        if over := max(0, len(ids) - self._context):
            # The prompt gives way first, from its far end; then the completion's end.
            keep = len(self._prefix)
            dropped = min(over, start - keep)
            ids = (ids[:keep] + ids[keep + dropped :])[: self._context]
            start -= dropped
        first = max(start, 1)
        if first >= len(ids):
            raise Undecided(
                f"nothing to score in {request.completion[:60]!r} after {request.prompt[-60:]!r}; give a longer text"
            )
        return Row(ids, tuple(range(first - 1, len(ids) - 1)), ids[first:]), note

    def _tokens(self, text: str) -> tuple[int, ...]:
        ids = tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if ids and max(ids) >= self._vocabulary:
            raise Undecided(
                f"token {max(ids)} is beyond the model's {self._vocabulary}: base and tokenizer do not match"
            )
        return ids

    def _completion(self, prompt: str, completion: str) -> tuple[tuple[int, ...], int]:
        """Tokens of both, and where the completion's start: of the joint text, where that begins with the prompt's."""
        before, joint = self._tokens(prompt), self._tokens(prompt + completion)
        if joint[: len(before)] != before or len(joint) == len(before):
            joint = before + self._tokens(completion)
        return self._prefix + joint, len(self._prefix) + len(before)

    def _cut_note(self, length: int) -> str:
        return f"cut to the model's context of {self._context} tokens" if length > self._context else ""

    # Sizes

    def cost(self, views: int, rows: Sequence[Row]) -> int:
        width = max(len(row.ids) for row in rows)
        positions = sum(len(row.positions) for row in rows)
        # Logits in the model's precision, in float32, and what the reduction needs beside them.
        copies = 3 if rows[0].divergence else 4
        return views * (len(rows) * width * self._bytes_per_token + positions * self._vocabulary * 4 * copies)

    def budget(self) -> int:
        if given := os.environ.get("SWAY_MEMORY_GB"):
            return _gigabytes(given)
        if self._device.type == "cuda":
            return int(torch.cuda.mem_get_info(self._device)[0] * _SHARE_OF_FREE)
        return int(min(_CPU_BUDGET, _free_memory() * _SHARE_OF_FREE))

    # Passes

    def measure(
        self, views: Sequence[View], rows: Sequence[Row], references: dict[Row, Any]
    ) -> list[list[Floats | Fault]]:
        try:
            with torch.inference_mode():
                logits = self._logits(views, rows)  # [V, P, vocabulary]
                values = self._reduce(views, rows, logits, references)  # [V, P]
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
        table = values.double().cpu().numpy()
        cuts = np.cumsum([len(row.positions) for row in rows])[:-1]
        split = [np.split(line, cuts) for line in table]
        return [
            [part if np.isfinite(part).all() else self._fault(view, row) for part, row in zip(parts, rows, strict=True)]
            for view, parts in zip(views, split, strict=True)
        ]

    def _logits(self, views: Sequence[View], rows: Sequence[Row]) -> Tensor:
        """Next-token logits at the rows' positions, row after row: [V, P, vocabulary].

        Padding stands on the right, where causal attention never looks from a text's own positions.
        """
        width = max(len(row.ids) for row in rows)
        padded = torch.tensor([row.ids + (row.ids[-1],) * (width - len(row.ids)) for row in rows])
        ids = padded.repeat(len(views), 1).to(self._device)  # [V * rows, width]
        wanted = torch.tensor([i * width + p for i, row in enumerate(rows) for p in row.positions])
        offsets = torch.arange(len(views))[:, None] * len(rows) * width
        index = (offsets + wanted).flatten().to(self._device)  # [V * P]
        with self._under(views, len(rows), width), self._head.at(index):
            logits: Tensor = self._model(input_ids=ids, use_cache=False).logits
        if not self._head.used:
            logits = logits.flatten(0, 1)[index]
        return logits.reshape(len(views), len(wanted), -1)

    @contextmanager
    def _under(self, views: Sequence[View], rows: int, width: int) -> Iterator[None]:
        if not self._dense:
            with self._stack.viewing(views, rows, width, self._device):
                yield
            return
        self._patch(views[0])
        yield

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
        """[V, P, vocabulary] -> [V, P]: log-probabilities of the targets, or divergences from the base, in nats."""
        if not rows[0].divergence:
            targets = torch.tensor([t for row in rows for t in row.targets], device=logits.device)
            targets = targets.expand(len(views), -1)[..., None]
            chosen = logits.gather(-1, targets).squeeze(-1)
            # View by view: float32 copies of all logits at once would be the largest tensors of the pass.
            return torch.stack([c.float() - x.float().logsumexp(-1) for c, x in zip(chosen, logits, strict=True)])
        if views[0] == BASE:
            parts = torch.split(logits[0].float().log_softmax(-1), [len(row.positions) for row in rows])
            references.update(zip(rows, parts, strict=True))
        base = torch.cat([references[row] for row in rows])
        divergence = js if rows[0].divergence == "js" else kl
        return torch.stack([_in_blocks(divergence, base, x) for x in logits])

    # Checks

    def unreached(self) -> tuple[str, ...]:
        """Adapted modules that no pass has gone through: their change cannot show in any logit."""
        return tuple(sorted(self._adapted - self._stack.reached))

    def _fault(self, view: View, row: Row) -> Fault:
        text = self._tokenizer.decode(row.ids[:24])
        for suspect in dict.fromkeys((BASE, view)):
            if where := self._first_non_finite(suspect, row):
                return Fault(f"NaN or Inf under the {suspect} view, first in {where}, on {text!r}")
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


class _Head:
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


def _with_nulls(name: str, delta: nulls.LowRank, settings: nulls.Settings) -> nulls.LowRank:
    """Sources stacked: the fine-tuned factors, then each null's: a [S, r, in], b [S, out, r]."""
    draws = nulls.low_rank(name, delta, settings)
    pad = delta.a.shape[0] - draws.a.shape[1]  # the rank cannot exceed the module's own width
    a = np.pad(draws.a, ((0, 0), (0, pad), (0, 0)))
    b = np.pad(draws.b, ((0, 0), (0, 0), (0, pad)))
    return nulls.LowRank(np.concatenate([delta.a[None], a]), np.concatenate([delta.b[None], b]))


def _prefix(tokenizer: Any) -> tuple[int, ...]:
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
