"""mlx-lm's language models with MLX adapters: `kind: mlx`, without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, assert_never, cast

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model
from transformers import AutoTokenizer

from sway_gate.backends import mlx_adapter
from sway_gate.backends.base import EncodedRequest, Facts, PassResult, Store, error_text
from sway_gate.backends.custom import DIVERGENCES
from sway_gate.backends.mlx_views import Ids, StackedModel, row_norms
from sway_gate.backends.null_adapters import LowRank, NullSettings
from sway_gate.backends.passes.encoding import Encoder, with_stored
from sway_gate.backends.passes.rendering import ends, until_end
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.measurements import BASE, Answer, Fault, Floats, Request, View
from sway_gate.model_files.config import chat_template, context_tokens, json_object, model_config
from sway_gate.model_files.shapes import oversized
from sway_gate.static.mlx import is_mlx

_DTYPES = {"fp16": mx.float16, "bf16": mx.bfloat16, "fp32": mx.float32}
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_BUDGET = 2**30
"""Bytes of one pass, in addition to the weights."""
_COPIES = 12
"""Bytes per logit: float32 of mlx, of numpy, and the intermediate values of a divergence."""


class Source(NamedTuple):
    """The files to load. `dtype` auto: the checkpoint's own on a GPU, otherwise float32."""

    base: Path
    adapter: Path
    dtype: str = "auto"
    device: str = "auto"


def load(source: Source, settings: NullSettings) -> "MlxBackend":
    """Load the base, read the adapter, draw the nulls. Raises CannotDecide or AdapterError."""
    if not is_mlx(source.adapter):
        raise AdapterError(f"{source.adapter}: kind: mlx needs an MLX adapter; use kind: hf")
    if chat_template(source.adapter) is not None:
        raise CannotDecide(
            f"{source.adapter}: kind: mlx does not read the chat template of an adapter's folder; "
            "save it in the base's folder"
        )
    _set_device(source.device)
    model, tokenizer = _load_base(source.base)
    dtype = _set_dtype(model, source.dtype)
    stacked = StackedModel(model, _factors(model, source.adapter), settings, dtype)
    return MlxBackend(stacked, tokenizer, source.base, dtype)


def _set_device(name: str) -> None:
    """Use the CPU or the GPU for all later computations."""
    if name == "auto":
        return
    device = {"cpu": mx.cpu, "gpu": mx.gpu}.get(name)
    if device is None or not mx.is_available(mx.Device(device)):
        raise CannotDecide(f"device {name!r} cannot be used by mlx; try device: auto")
    mx.set_default_device(device)


def _load_base(base: Path) -> tuple[Any, Any]:
    config = json_object(base / "config.json")
    if "model_file" in config:
        raise CannotDecide(f"{base}: config.json names code, model_file; kind: mlx does not run it")
    if wrong := oversized(base):
        raise CannotDecide(f"the base model {base}: {wrong}; download it again")
    try:
        model, _ = load_model(base, model_config=_rope(config))
        tokenizer = AutoTokenizer.from_pretrained(str(base), **_LOCAL)
    except Exception as error:  # the libraries raise arbitrary exceptions on invalid files
        raise CannotDecide(
            f"the base model {base} cannot be loaded by mlx-lm: {error_text(error)}"
        ) from None
    return model, tokenizer


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of rotary embeddings under their older names.

    transformers 5 nests them, where many models of mlx-lm would use their defaults instead.
    """
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" not in rope:
        return {}
    fields = {name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if name in rope}
    if rope.get("rope_type", "default") != "default":
        fields["rope_scaling"] = rope
    return {name: value for name, value in fields.items() if config.get(name) is None}


def _set_dtype(model: Any, name: str) -> mx.Dtype:
    if name in _DTYPES or mx.default_device() == mx.Device(mx.cpu):
        model.set_dtype(_DTYPES.get(name, mx.float32))
    types = (value.dtype for _, value in tree_flatten(model.parameters()))
    return next(dtype for dtype in types if mx.issubdtype(dtype, mx.floating))


def _factors(model: Any, folder: Path) -> dict[str, LowRank]:
    """The factors by module. Raises AdapterError if they do not fit the model."""
    adapter = mlx_adapter.read(folder, len(model.layers))
    if (kind := adapter.config.fine_tune_type) == "full":
        raise AdapterError(f"{folder}: kind: mlx needs fine_tune_type lora or dora, not {kind}")
    modules = {n: m for n, m in model.named_modules() if n in adapter.modules}
    mlx_adapter.check_modules(adapter, {name: _sizes(m) for name, m in modules.items()})
    if kind == "lora":
        return {name: mlx_adapter.factors(adapter, name) for name in modules}
    if embeddings := [name for name, module in modules.items() if hasattr(module, "as_linear")]:
        raise AdapterError(
            f"{folder}: kind: mlx does not run DoRA on {embeddings[0]}; use kind: hf"
        )
    return {name: mlx_adapter.factors(adapter, name, row_norms(m)) for name, m in modules.items()}


def _sizes(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, tokens and outputs of an embedding; 0 of others."""
    if "weight" not in module or module.weight.ndim != 2:
        return 0, 0
    rows, columns = module.weight.shape
    if "scales" in module:
        columns = module.scales.shape[1] * module.group_size
    return (rows, columns) if hasattr(module, "as_linear") else (columns, rows)


class MlxBackend:
    """Implements `Backend`. A shared prefix of rows is computed for each row."""

    batches_views = True
    pack_limit = 0

    def __init__(self, model: StackedModel, tokenizer: Any, base: Path, dtype: mx.Dtype) -> None:
        config = model_config(base)
        given = json_object(base / "generation_config.json").get("eos_token_id")
        self._ends = ends(given or config.get("eos_token_id"), tokenizer)
        self._model, self._tokenizer = model, tokenizer
        self._vocabulary = int(config.get("vocab_size") or len(tokenizer))
        self._hidden = int(config.get("hidden_size") or 4096)
        context = context_tokens(base) or 2**20
        self._encoder = Encoder(tokenizer, context, self._vocabulary, self._ends)
        device = "cpu" if mx.default_device() == mx.Device(mx.cpu) else "gpu"
        self.facts = Facts(f"mlx {device}", str(dtype).removeprefix("mlx.core."), "best_effort")

    def encode(
        self, requests: Sequence[Request], store: Store | None = None
    ) -> list[tuple[EncodedRequest | Fault, str]]:
        needed = self._encoder.answers_needed(requests)
        answers = with_stored(needed, store, self._base_answers)
        return [self._encoder.encode(request, answers) for request in requests]

    def _base_answers(self, lengths: Mapping[Ids, int]) -> dict[Ids, Ids]:
        """The base's answer to each prompt: at most `lengths[prompt]` tokens, without the end."""
        answers = dict.fromkeys(lengths, cast(Ids, ()))
        for length in set(lengths.values()) - {0}:
            prompts = [prompt for prompt in lengths if lengths[prompt] == length]
            [texts] = self._generated([BASE], prompts, length)
            answers |= {prompt: text or () for prompt, text in zip(prompts, texts, strict=True)}
        return answers

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        tokens = len(rows) * max(len(row.ids) for row in rows)
        positions = sum(len(row.positions) for row in rows)
        return views * (tokens * self._hidden * 64 + positions * self._vocabulary * _COPIES)

    def budget(self) -> int:
        return _BUDGET

    def unused_modules(self) -> tuple[str, ...]:
        return self._model.unused_modules()

    def forward(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        base_log_probs: Sequence[Any] | None = None,
    ) -> PassResult:
        if rows[0].kind == "text":
            return PassResult(self._texts(views, rows))
        logits = self._logits(views, rows)
        if base_log_probs is None and rows[0].kind not in ("logprobs", "teacher_forced"):
            base_log_probs = [_log_softmax(x) for x in logits[0]]
        base = base_log_probs or [None] * len(rows)
        answers: list[list[Answer | Fault]] = [
            [self._answer(view, *x) for x in zip(rows, of_view, base, strict=True)]
            for view, of_view in zip(views, logits, strict=True)
        ]
        return PassResult(answers, base_log_probs)

    def _logits(self, views: Sequence[View], rows: Sequence[EncodedRequest]) -> list[list[Floats]]:
        """Next-token logits [view][row], each [positions, vocabulary].

        Padding is on the right, where causal attention cannot reach it.
        """
        width = max(len(row.ids) for row in rows)
        ids = [row.ids + (row.ids[-1],) * (width - len(row.ids)) for row in rows]
        at = [i * width + p for i, row in enumerate(rows) for p in row.positions]
        cuts = np.cumsum([len(row.positions) for row in rows])[:-1]
        return [np.split(x, cuts) for x in self._model.logits(views, ids, at)]

    def _answer(
        self, view: View, row: EncodedRequest, logits: Floats, base: Floats | None
    ) -> Answer | Fault:
        values = _reduced(row, _log_softmax(logits), base)
        return values if np.isfinite(values).all() else self._fault(view, row)

    def _fault(self, view: View, row: EncodedRequest) -> Fault:
        [[of_base]] = self._logits([BASE], [row])
        suspect = view if np.isfinite(of_base).all() else BASE
        text = self._tokenizer.decode(row.ids[:24])
        message = f"NaN or Inf under the {suspect} view, on {text!r}"
        return Fault(message, "base" if suspect == BASE else "adapter")

    def _texts(
        self, views: Sequence[View], rows: Sequence[EncodedRequest]
    ) -> list[list[Answer | Fault]]:
        texts = self._generated(views, [row.ids for row in rows], rows[0].length)
        return [
            [
                self._fault(view, row)
                if tokens is None
                else str(self._tokenizer.decode(tokens, skip_special_tokens=True))
                for row, tokens in zip(rows, of_view, strict=True)
            ]
            for view, of_view in zip(views, texts, strict=True)
        ]

    def _generated(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int
    ) -> list[list[Ids | None]]:
        """The greedy texts [view][prompt] up to their ends; None after NaN or Inf.

        Prompts of one length run together: padding would change some models' positions.
        """
        texts: list[dict[Ids, Ids | None]] = [{} for _ in views]
        for width in {len(prompt) for prompt in prompts}:
            batch = [prompt for prompt in prompts if len(prompt) == width]
            tokens, broken = self._model.generate(views, batch, length, self._ends)
            for found, of_view, flags in zip(texts, tokens.tolist(), broken, strict=True):
                for prompt, text, is_broken in zip(batch, of_view, flags, strict=True):
                    found[prompt] = None if is_broken else until_end(text, self._ends)
        return [[found[prompt] for prompt in prompts] for found in texts]


def _reduced(row: EncodedRequest, logs: Floats, base: Floats | None) -> Floats:
    """The answer from log-probabilities [positions, vocabulary]."""
    match row.kind:
        case "logprobs" | "teacher_forced":
            targets = np.array(row.targets)
            found: Floats = logs[np.arange(len(targets)), targets]
            if row.kind == "logprobs":
                return found
            is_end = np.arange(len(targets)) == row.end
            return np.stack([found, logs.argmax(-1) == targets, is_end], -1)
        case "js" | "kl" | "log_ratio" | "argmax":
            assert base is not None  # noqa: S101
            return DIVERGENCES[row.kind](base, logs)
        case "text":
            raise ValueError(row.kind)
        case _:
            assert_never(row.kind)


def _log_softmax(logits: Floats) -> Any:
    """Log-probabilities [positions, vocabulary]; float32, because the base's are kept."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    sums = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return (shifted - sums).astype(np.float32)
