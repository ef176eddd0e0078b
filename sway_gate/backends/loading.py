"""Loads a base model and its tokenizer from local files: no download, no pickle."""

import copy
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from sway_gate.backends.base import error_text
from sway_gate.errors import CannotDecide
from sway_gate.model_files.config import chat_template
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.text import named

_CONFIG = "config.json"
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class Source(NamedTuple):
    """The files to load. `dtype` auto: the checkpoint's own on CUDA, otherwise float32."""

    base: Path
    adapter: Path
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    seed: int = 0


def open_base(source: Source) -> tuple[nn.Module, Any, str]:
    """Model, tokenizer and determinism class (see `seed_everything`). Raises CannotDecide."""
    device = _device(source.device)
    determinism = seed_everything(source.seed, device)
    model, tokenizer = _load_base(source, device)
    return model, tokenizer, determinism


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


def _device(name: str) -> torch.device:
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


def _load_base(source: Source, device: torch.device) -> tuple[nn.Module, Any]:
    messages: Any = transformers.utils.logging
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    dtype = _DTYPES.get(source.dtype, "auto" if device.type == "cuda" else torch.float32)
    options = {"local_files_only": True, "trust_remote_code": source.trust_remote_code}
    _require_whole_model(source.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source.base), **options)
        # use_safetensors: a pickled checkpoint is an error, never loaded.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(source.base),
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # the libraries raise arbitrary exceptions on invalid files
        raise CannotDecide(
            f"the base model {source.base} cannot be loaded: {error_text(error)}"
        ) from None
    model, found = loaded
    # The library fills what a checkpoint lacks with random numbers.
    if absent := sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}):
        raise CannotDecide(
            f"the base model {source.base} lacks weights: {named(absent)}; download it again"
        )
    if not getattr(model, "hf_device_map", None):
        model = model.to(device)
    return model.eval(), tokenizer


def _require_whole_model(base: Path) -> None:
    """Raise CannotDecide unless the folder has a model of its own.

    In a folder with an adapter the library follows the adapter's config to another model.
    """
    if base.is_dir() and not (base / _CONFIG).is_file():
        raise CannotDecide(f"the base model {base} has no {_CONFIG}; give the folder of a model")
    if (base / ADAPTER_CONFIG).is_file():
        raise CannotDecide(
            f"the base model {base} contains an adapter ({ADAPTER_CONFIG}); "
            "give the folder of the base model alone"
        )
