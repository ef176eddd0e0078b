"""Loads a base model and its tokenizer from local files: no download, no pickle."""

import copy
import os
import random
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    modeling_utils,
)
from transformers.models.auto import configuration_auto, modeling_auto

from sway_gate.backends import quantization
from sway_gate.backends.base import (
    error_text,
    keep_template_file,
    require_length,
    tokenizer_fault,
)
from sway_gate.errors import CannotDecide
from sway_gate.model_files.config import chat_template, hub_kernel, json_object
from sway_gate.model_files.hub import ADAPTER_CONFIG, weight_files
from sway_gate.model_files.shapes import is_half_precision, layout_fault, oversized
from sway_gate.text import cut, named

_CONFIG = "config.json"
_OF_SPEED = ("max_time", "prompt_lookup_num_tokens", "assistant_early_exit")
"""Fields of generation_config.json that end a text by the clock, or only make it faster."""
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class Source(NamedTuple):
    """The files to load. If `is_full`, `adapter` is the folder of a model without an adapter.

    `dtype` auto: the checkpoint's own on CUDA, otherwise float32. On CUDA, a base that is quantized
    when it is loaded computes in bfloat16, and a model without an adapter in float32. On a CPU,
    `sway_gate.gate.precision` replaces auto by bf16 if bf16 is faster.
    """

    base: Path
    adapter: Path
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    quantization: str | None = None
    seed: int = 0
    is_full: bool = False


def open_base(source: Source) -> tuple[nn.Module, Any, str]:
    """Model, tokenizer and determinism class (see `seed_everything`). Raises CannotDecide."""
    device = device_named(source.device)
    determinism = seed_everything(source.seed, device)
    messages: Any = transformers.utils.logging
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    model = load_model(source, device)
    return model, load_tokenizer(source), determinism


def own_tokenizer(source: Source, tokenizer: Any) -> tuple[Any, tuple[str, ...]]:
    """The tokenizer of a model without an adapter, and a note if it differs from the base's.

    `tokenizer` is the base's; it is used if the model has none. Raises CannotDecide.
    """
    if not (source.adapter / "tokenizer_config.json").is_file():
        return tokenizer, ()
    own = load_tokenizer(source._replace(base=source.adapter))
    if not own.chat_template:
        own.chat_template = tokenizer.chat_template
        keep_template_file(own, source.base)
    if own.get_vocab() == tokenizer.get_vocab():
        return own, ()
    return own, ("texts are tokenized by the fine-tuned model's tokenizer; the base's differs",)


def with_template(tokenizer: Any, adapter: Path) -> tuple[Any, tuple[str, ...]]:
    """The tokenizer with the chat template of the adapter's folder, and a note if it replaces one.

    Trainers save the template with the adapter. Only its text is read.
    """
    own, given = chat_template(adapter), tokenizer.chat_template
    if isinstance(given, dict):
        given = given.get("default")
    if own is None or own.text.strip() == (given or "").strip():
        return tokenizer, ()
    tokenizer = copy.copy(tokenizer)
    tokenizer.chat_template = own.text
    keep_template_file(tokenizer, adapter)
    why = "which differs from the base's" if given else "because the base has none"
    return tokenizer, (f"prompts go through the chat template of the adapter's folder, {why}",)


def seed_everything(seed: int, device: torch.device) -> str:
    """Seed python, numpy and torch. Return the determinism class.

    strict: CUDA with deterministic algorithms. best_effort: CPU, MPS. loose: CUDA without them.
    """
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


def device_named(name: str) -> torch.device:
    """The device of that name; auto: the first one that can be used. Raises CannotDecide."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CannotDecide(
            f"device {name!r} cannot be used: {error_text(error)}; try device: auto"
        ) from None


def _dtype(source: Source, device: torch.device) -> Any:
    """The dtype to load the model in; "auto" is the checkpoint's own."""
    default: Any = torch.bfloat16 if source.quantization else "auto"
    if device.type != "cuda" or source.is_full:
        default = torch.float32
    return DTYPES.get(source.dtype, default)


def load_tokenizer(source: Source) -> Any:
    """The base's tokenizer. Raises CannotDecide."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(source.base),
            local_files_only=True,
            trust_remote_code=source.trust_remote_code,
        )
    except Exception as error:  # the libraries raise arbitrary exceptions on invalid files
        fault = _needed_code(source, error) or tokenizer_fault(source.base, error)
        raise CannotDecide(f"the tokenizer of {_name(source)} {fault}") from None
    require_length(tokenizer, _name(source))
    keep_template_file(tokenizer, source.base)
    return tokenizer


def load_model(source: Source, device: torch.device) -> Any:
    """The base model, on `device`. Raises CannotDecide."""
    _require_whole_model(source)
    dtype = _dtype(source, device)
    options = quantization.options(source.base, source.quantization, dtype, device)
    is_half = dtype in (torch.float16, torch.bfloat16)
    is_converted = dtype != "auto" and is_half != is_half_precision(source.base)
    try:
        with _unmapped() if is_converted else nullcontext():
            kind = _model_class(source.base) or AutoModelForCausalLM
            loaded: Any = kind.from_pretrained(
                str(source.base),
                dtype=dtype,
                use_safetensors=True,  # a pickled checkpoint is an error, never loaded
                local_files_only=True,
                trust_remote_code=source.trust_remote_code,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # the libraries raise arbitrary exceptions on invalid files
        raise _not_loaded(source, error) from None
    model, found = loaded
    if flag := getattr(model.config, "is_encoder_decoder", False):
        raise CannotDecide(
            f"{_name(source)}: {_CONFIG} states is_encoder_decoder {cut(repr(flag), 40)}; "
            "only models without an encoder can be judged"
        )
    _require_all_weights(source, model, found, is_quantized=bool(options))
    quantization.check_loaded(model, source.base, source.quantization)
    quantization.keep_compute_dtype(model)
    if settings := getattr(model, "generation_config", None):
        for field in _OF_SPEED:
            setattr(settings, field, None)
    if not getattr(model, "hf_device_map", None):
        model = model.to(device)
    return model.eval()


def _require_all_weights(
    source: Source, model: Any, found: dict[str, Any], *, is_quantized: bool
) -> None:
    """Raise CannotDecide unless the model has all weights of the files, and only these.

    found: what transformers reports about the names of the tensors.
    """
    # The library fills what a checkpoint lacks with random numbers.
    if absent := sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}):
        raise CannotDecide(f"{_name(source)} lacks weights: {named(absent)}; download it again")
    if left_out := _layers_left_out(model, found["unexpected_keys"]):
        raise CannotDecide(
            f"{_name(source)}: {_CONFIG} states fewer layers than the weights have, "
            f"and leaves out {named(left_out)}; download it again"
        )
    if not is_quantized and (extra := _beside_weights(model, found["unexpected_keys"])):
        raise CannotDecide(
            f"{_name(source)} has tensors that {_CONFIG} does not explain: {named(extra)}; "
            "if the model is quantized, restore quantization_config, or download it again"
        )


@contextmanager
def _unmapped() -> Iterator[None]:
    """Read files tensor by tensor instead of mapping them, which keeps all of them in memory.

    Mapped tensors are as good if the model uses them as they are, but not if it converts them.
    """
    library: Any = modeling_utils
    opened = library.safe_open

    def read(path: Any, **options: Any) -> Any:
        try:
            return safe_open(path, **options | {"backend": "pread"})
        except TypeError:  # older versions have no such option
            return safe_open(path, **options)

    library.safe_open = read
    try:
        yield
    finally:
        library.safe_open = opened


def _layers_left_out(model: Any, unused: Iterable[str]) -> list[str]:
    """Layers of unused weights that come after the model's last layer.

    Layers that predict further tokens, which some models have at the end, are not among them.
    """
    further = getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0
    sizes = {n: len(m) for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList)}
    found = set()
    for key in unused:
        for match in re.finditer(r"\.(\d+)\.", key):
            size = sizes.get(key[: match.start()])
            if size is not None and int(match[1]) >= size + further:
                found.add(key[: match.end() - 1])
    return sorted(found)


def _beside_weights(model: Any, unused: Iterable[str]) -> list[str]:
    """Unused tensors of linear layers and embeddings, such as the scales of quantized weights.

    Their layers would compute something else without them.
    """
    layers = {n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)}
    return sorted(key for key in unused if key.rpartition(".")[0] in layers)


def _model_class(base: Path) -> Any:
    """The class of the model: a language model, or one for images or sound that also reads text.

    None if transformers has none without the code of the model's repository.
    """
    kind = _model_type(base)
    classes = {
        "CAUSAL_LM": AutoModelForCausalLM,
        "IMAGE_TEXT_TO_TEXT": AutoModelForImageTextToText,
        "MULTIMODAL_LM": getattr(transformers, "AutoModelForMultimodalLM", None),
    }
    for task, found in classes.items():
        if kind in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", ()):
            return found
    return None


def _model_type(base: Path) -> str:
    return str(json_object(base / _CONFIG).get("model_type"))


def _require_whole_model(source: Source) -> None:
    """Raise CannotDecide unless the folder contains a model of the size in its config.

    In a folder with an adapter the library follows the adapter's config to another model.
    """
    base = source.base
    if base.is_dir() and not (base / _CONFIG).is_file():
        raise CannotDecide(f"{_name(source)} has no {_CONFIG}; give the folder of a model")
    config = json_object(base / _CONFIG)
    if not config:
        raise CannotDecide(f"{_name(source)}: {_CONFIG} is not a JSON object; download it again")
    if not source.trust_remote_code and (kernel := hub_kernel(config)):
        raise CannotDecide(
            f"{_name(source)}: {_CONFIG} names code on the hub, {kernel!a}; "
            "remove the field attn_implementation"
        )
    if wrong := oversized(base):
        raise CannotDecide(f"{_name(source)}: {wrong}; download it again")
    if (base / ADAPTER_CONFIG).is_file():
        raise CannotDecide(
            f"{_name(source)} contains an adapter ({ADAPTER_CONFIG}); "
            "give a folder that contains only the model"
        )


def _name(source: Source) -> str:
    which = "fine-tuned" if source.base == source.adapter else "base"
    return f"the {which} model {source.base}"


def _not_loaded(source: Source, error: Exception) -> CannotDecide:
    if "ignore_mismatched_sizes" in str(error):
        wrong = "tensors of the files have other shapes than config.json states"
        return CannotDecide(f"{_name(source)}: {wrong}; download it again")
    method = quantization.method_of_files(source.base)
    stored = f", quantized with {method}," if method else ""
    reason = _needed_code(source, error) or _damage(source.base) or _unsupported(source.base)
    return CannotDecide(
        f"{_name(source)}{stored} {reason or f'cannot be loaded: {error_text(error)}'}"
    )


def _needed_code(source: Source, error: Exception) -> str:
    """That the library refused to run the code of the model's repository; "" if it did not."""
    if source.trust_remote_code or "trust_remote_code" not in str(error):
        return ""
    return (
        "needs code of its repository, which runs only with trust_remote_code: true in a spec; "
        "give a model that transformers supports, or read the code and allow it there"
    )


def _damage(base: Path) -> str:
    """The file of weights that is missing or incomplete; "" if there is none."""
    for path in weight_files(base):
        if not path.is_file():
            return f"cannot be loaded: {path.name} is missing; download it again"
        if fault := layout_fault(path):
            return f"cannot be loaded: {path.name}: {fault}; download it again"
    return ""


def _unsupported(base: Path) -> str:
    """That transformers has no language model of the base's type; "" if it has one."""
    kind = _model_type(base)
    if _model_class(base):
        return ""
    if kind == "None":
        return f"cannot be loaded: {_CONFIG} states no model_type; download it again"
    states = f"cannot be loaded: {_CONFIG} states model_type {cut(repr(kind), 60)}"
    if kind in getattr(configuration_auto, "CONFIG_MAPPING_NAMES", ()):
        return f"{states}, which is not a causal language model; only these can be judged"
    return (
        f"{states}, which transformers {transformers.__version__} does not know; "
        "upgrade it, or give another base"
    )
