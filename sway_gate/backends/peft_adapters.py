"""Reads an adapter's change of the weights, with peft's configuration, key mapping and merging.

Low-rank factors, also of experts and quantized layers, run for many views in one pass. Whole
weights that were trained with them, and other adapters that peft can merge, become differences from
the base's weights and run one view at a time. All others are refused. The base is not changed.
peft's own model is the reference.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor, nn

from sway_gate.backends import adapter_config, factors, reference
from sway_gate.backends.adapter_config import Method
from sway_gate.backends.adapter_file import (
    WEIGHTS,
    has_only_factors,
    parameters,
    refuse_slow_patterns,
)
from sway_gate.backends.base import error_text
from sway_gate.backends.changes import Change, to_numpy
from sway_gate.backends.null_adapters import Array
from sway_gate.backends.reference import Reference
from sway_gate.errors import AdapterError
from sway_gate.static.mlx import is_mlx


def read(
    model: nn.Module, folder: Path, text: Sequence[int], *, quantized: bool
) -> tuple[nn.Module, Change]:
    """Return the base, unchanged, and the adapter's change, as `adapters.read`."""
    method = adapter_config.read(folder)
    # With `bias`, the file also has the biases, if the base has any.
    is_low_rank = method.is_low_rank and set(method.weights) <= {"bias"}
    if is_low_rank and has_only_factors(model, folder):
        wrapped = _wrap(model, method, folder)
        low_rank = factors.read(wrapped.base_model.model)
        expected = None if quantized or low_rank is None else _unmerged(wrapped, text)
        model = _bare(wrapped.unload())
        if low_rank is not None:
            return model, Change(low_rank, {}, reference=expected)
    if quantized and not method.is_low_rank:
        raise _not_quantized(method, folder)
    return _read_weights(model, method, folder, text, quantized=quantized)


def wrapped(model: nn.Module, folder: Path) -> Any:
    """Model of the base and the adapter, by peft. Raises AdapterError if they do not fit."""
    if is_mlx(folder):
        raise AdapterError(f"{folder}: an MLX adapter needs defaults.differential: true")
    refuse_slow_patterns(model, folder)
    return _wrap(model, adapter_config.read(folder), folder)


def _wrap(model: nn.Module, method: Method, folder: Path) -> Any:
    """Model with the adapter's weights, by peft.

    Raises AdapterError unless the file has exactly the tensors that the adapter needs.
    """
    if not (folder / WEIGHTS).is_file():  # peft would load a pickle instead
        raise AdapterError(f"{folder}: {WEIGHTS} is missing; save the adapter as safetensors")
    method.config.inference_mode = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = PeftModel(model, method.config, factors.ADAPTER)
            loaded = wrapped.load_adapter(str(folder), factors.ADAPTER)
    except Exception as error:  # peft raises arbitrary exceptions on invalid files
        raise AdapterError(
            f"{folder}: the adapter does not fit the base: {error_text(error)}"
        ) from None
    wrong = [f"unexpected {key}" for key in loaded.unexpected_keys if not _is_copy(folder, key)]
    wrong += [f"missing {key}" for key in _missing(wrapped, loaded.missing_keys)]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise AdapterError(
            f"{folder}: the adapter's tensors do not match its modules: "
            f"{', '.join(wrong[:3])}{more}"
        )
    return wrapped.eval()


def _is_copy(folder: Path, key: str) -> bool:
    """Whether peft does not read this tensor because it saved the same one under another name.

    It does so with modules_to_save and with tied trainable tokens if the vocabulary was resized.
    """
    _, token_adapter, delta = key.partition(".token_adapter.")
    with safe_open(folder / WEIGHTS, "pt") as file:
        keys = set(file.keys())
        first = {key.replace(".modules_to_save.", ".")} & keys
        tied = {other for other in keys if delta and other.endswith(token_adapter + delta)}
        twins = (first | tied) - {key}
        return any(torch.equal(file.get_tensor(twin), file.get_tensor(key)) for twin in twins)


def _missing(wrapped: nn.Module, keys: Sequence[str]) -> list[str]:
    """The keys of parameters that the file does not have under another name either."""
    known = parameters(wrapped)
    loaded = {known[name] for name in known.keys() - set(keys)}
    return [key for key in keys if known.get(key) not in loaded]


def _unmerged(wrapped: Any, text: Sequence[int]) -> Reference | None:
    """peft's answer with the low-rank factors; None if it cannot be compared.

    In a coarser dtype than float32, rounding can send a token to another expert.
    """
    if wrapped.dtype != torch.float32:
        return None
    try:
        return reference.of(wrapped, torch.tensor([text], device=wrapped.device))
    except Exception:  # peft cannot run some modules before it merges, such as routers
        return None


def _not_quantized(method: Method, folder: Path) -> AdapterError:
    return AdapterError(
        f"{folder}: {method.name} cannot be merged into a quantized base; "
        "use the base without quantization"
    )


def _read_weights(
    model: Any, method: Method, folder: Path, text: Sequence[int], *, quantized: bool
) -> tuple[nn.Module, Change]:
    """Compare the weights with the adapter with the ones before, and restore them.

    Factors stay apart if the adapter has them for all adapted layers; peft merges all others.
    """
    before = parameters(model)
    # Quantized weights have integer types, and no adapter replaces them.
    floats = {name: p for name, p in before.items() if p.is_floating_point()}
    copies = {parameter: parameter.detach().clone() for parameter in floats.values()}
    tied = getattr(model.config, "tie_word_embeddings", None)
    wrapped = _wrap(model, method, folder)
    low_rank = factors.read(wrapped.base_model.model) if method.is_low_rank else None
    if quantized and low_rank is None:
        raise _not_quantized(method, folder)
    expected = None if quantized else _answer(wrapped, method, folder, text)
    _untie(wrapped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain: Any = wrapped.merge_and_unload() if low_rank is None else wrapped.unload()
    except Exception as error:  # tuners without a merge raise different exceptions
        raise AdapterError(
            f"{folder}: {method.name} cannot be merged into the base: {error_text(error)}"
        ) from None
    after = parameters(plain := _bare(plain))
    if set(after) != set(before) or any(after[n].shape != before[n].shape for n in before):
        raise AdapterError(
            f"{folder}: {method.name} changes the base's shape; this is not supported"
        )
    dense = _differences(floats, copies, after)
    for name, parameter in before.items():
        owner, _, leaf = name.rpartition(".")
        setattr(plain.get_submodule(owner), leaf, parameter)
    for parameter, copy in copies.items():
        parameter.data = copy
    plain.config.tie_word_embeddings = tied
    source = ", with peft's merged weights" if low_rank is None else ""
    note = f"{method.name}: runs one view at a time{source}"
    return plain, Change(low_rank or {}, dense, note, expected)


def _differences(
    before: Mapping[str, nn.Parameter],
    copies: Mapping[nn.Parameter, Tensor],
    after: Mapping[str, nn.Parameter],
) -> dict[str, Array]:
    """The changes of all parameters that are not equal to their copies; ties stay ties."""
    changes: dict[str, Array] = {}
    for name, parameter in before.items():
        if not torch.equal(after[name], copies[parameter]):
            delta = to_numpy(after[name].float() - copies[parameter].float())
            twins = (changes[n] for n in changes if before[n] is parameter)
            changes[name] = next((t for t in twins if np.allclose(t, delta, 1e-5, 1e-7)), delta)
    return changes


def _answer(wrapped: Any, method: Method, folder: Path, text: Sequence[int]) -> Reference | None:
    """peft's answer with the adapter, on a text that has its new tokens."""
    try:
        ids = [*text, *_new_tokens(method.config), *text[:1]]
        return reference.of(wrapped, torch.tensor([ids], device=wrapped.device))
    except Exception as error:  # from values in the config that peft does not check
        raise AdapterError(
            f"{folder}: {method.name} cannot be applied to the base: {error_text(error)}"
        ) from None


def _new_tokens(config: Any) -> list[int]:
    """A few of the tokens whose embeddings an adapter replaces: ordinary text may lack them."""
    names = ("token_indices", "trainable_token_indices")
    given: Any = next(filter(None, (getattr(config, name, None) for name in names)), [])
    lists = given.values() if isinstance(given, dict) else [given]
    return [int(token) for tokens in lists for token in tokens][:8]


def _untie(model: nn.Module) -> None:
    """Give each module its own copy of a shared parameter.

    peft computes with an adapted module next to a tied one that is not adapted. Merging into the
    shared parameter would change both.
    """
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter in seen:
                copy = nn.Parameter(parameter.detach().clone(), requires_grad=False)
                setattr(module, name, copy)
            seen.add(parameter)


def _bare(model: nn.Module) -> nn.Module:
    if hasattr(model, "peft_config"):
        del model.peft_config
    return model.eval()
