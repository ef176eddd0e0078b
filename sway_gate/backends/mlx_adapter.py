"""Reads MLX adapters with numpy, as the changes of a torch model or as factors for mlx itself.

mlx-lm's lora_a [in, r] and lora_b [r, out] are peft's Aᵀ and Bᵀ; DoRA has peft's formula. A tied
embedding of mlx-lm adapts the head too, with the same factors.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sway_gate.backends.null_adapters import Array, LowRank
from sway_gate.errors import AdapterError
from sway_gate.static.findings import Fatal
from sway_gate.static.mlx import MlxAdapter, outside_config, read_mlx
from sway_gate.static.weights import BITS

if TYPE_CHECKING:
    from torch import nn

SAME_MODULES = frozenset(
    {
        "cohere",
        "ernie4_5",
        "gemma",
        "gemma2",
        "gemma3_text",
        "granite",
        "helium",
        "hunyuan_v1_dense",
        "llama",
        "ministral3",
        "mistral",
        "mixtral",
        "nemotron",
        "olmo2",
        "olmoe",
        "phi",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
"""Types of models whose modules and parameters have the same names and values in mlx-lm and in
transformers. tests/backends/test_mlx_adapter.py compares them."""


def read(folder: Path, layers: int) -> MlxAdapter:
    """The adapter for a model of `layers` layers.

    Raises AdapterError if a file is invalid, or if mlx-lm would not put a tensor into the model.
    """
    try:
        adapter = read_mlx(folder)
    except Fatal as fatal:
        found = fatal.finding
        raise AdapterError(f"{found.path}: {found.message}; {found.remedy}") from None
    if adapter.config.fine_tune_type != "full" and (outside := outside_config(adapter, layers)):
        raise AdapterError(
            f"{adapter.weights.path}: module {outside[0]} is outside num_layers and keys of "
            "the config; use the config of the same training run"
        )
    return adapter


def tensor(adapter: MlxAdapter, name: str) -> Array:
    """A tensor as float32."""
    dtype, shape = adapter.weights.tensors[name].dtype, adapter.weights.tensors[name].shape
    raw = adapter.weights.raw(name)
    if dtype == "BF16":
        values = (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        values = raw.view(f"<f{BITS[dtype] // 8}").astype(np.float32)
    return values.reshape(shape)


def factors(adapter: MlxAdapter, module: str) -> LowRank:
    """The factors of a module of a LoRA or DoRA adapter: a [r, in], b [out, r]."""
    scale, tensors = adapter.config.parameters.scale, adapter.modules[module]
    a, b = (tensor(adapter, tensors[leaf]).T for leaf in ("lora_a", "lora_b"))
    return LowRank(np.ascontiguousarray(a), b * np.float32(scale), scale)


def change(
    model: "nn.Module", folder: Path, *, quantized: bool
) -> tuple[dict[str, LowRank], dict[str, Array], str]:
    """The change of a torch model: factors by module, dense by parameter, and a note.

    Raises AdapterError if a tensor does not belong to the model.
    """
    config: Any = model.config
    if config.model_type not in SAME_MODULES:
        raise AdapterError(
            f"{folder}: MLX adapters of the architecture {config.model_type} are not supported; "
            "convert the adapter to peft's form, or use kind: mlx"
        )
    adapter = read(folder, config.num_hidden_layers)
    kind = adapter.config.fine_tune_type
    if kind == "lora":
        modules = _modules(model, adapter)
        found = {name: factors(adapter, name) for name in modules}
        return found | _tied_head(model, found), {}, ""
    if quantized:
        raise AdapterError(
            f"{folder}: fine_tune_type {kind} cannot be merged into a quantized base; "
            "use the base without quantization"
        )
    changes = _whole(model, adapter) if kind == "full" else _magnitudes(model, adapter)
    dense = {name: delta for name, delta in changes if delta.any()}
    dense |= _tied_weight(model, dense)
    return {}, dense, f"MLX, fine_tune_type {kind}: runs one view at a time, with merged weights"


def _modules(model: "nn.Module", adapter: MlxAdapter) -> dict[str, Any]:
    """The adapted modules. Raises AdapterError if one is not in the model or of another size."""
    found = {n: module for n, module in model.named_modules() if n in adapter.modules}
    check_modules(adapter, {name: _sizes(module) for name, module in found.items()})
    return found


def check_modules(adapter: MlxAdapter, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raise AdapterError unless each adapted module is in the base, with these inputs and outputs.

    For an embedding: tokens and outputs.
    """
    for name, tensors in adapter.modules.items():
        if name not in sizes:
            raise AdapterError(f"{adapter.weights.path}: the base has no module {name}")
        a, b = (adapter.weights.tensors[tensors[leaf]].shape for leaf in ("lora_a", "lora_b"))
        if (a[0], b[1]) != sizes[name]:
            n_in, n_out = sizes[name]
            raise AdapterError(
                f"{adapter.weights.path}: module {name} maps {a[0]} to {b[1]} values, "
                f"in the base {n_in} to {n_out}; give the base of the training"
            )


def _sizes(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, tokens and outputs of an embedding; 0 of others."""
    if hasattr(module, "num_embeddings"):
        return module.num_embeddings, module.embedding_dim
    return getattr(module, "in_features", 0), getattr(module, "out_features", 0)


def _tied_head(model: Any, found: Mapping[str, LowRank]) -> dict[str, LowRank]:
    """The factors of ΔWᵀ for the head if it is tied to an adapted embedding."""
    embedding, head = _tied(model)
    if embedding not in found:
        return {}
    change = found[embedding]
    return {head: LowRank(change.b.T, change.a.T, change.scaling)}


def _tied_weight(model: Any, dense: Mapping[str, Array]) -> dict[str, Array]:
    """The change of the head's weight if it is tied to a changed embedding."""
    embedding, head = (f"{name}.weight" for name in _tied(model))
    return {head: dense[embedding]} if embedding in dense else {}


def _tied(model: Any) -> tuple[str, str]:
    """The names of the embedding and of the head that is tied to it; "" if it is not."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is not embedding.weight:
        return "", ""
    names = {module: name for name, module in model.named_modules()}
    return names[embedding], names[head]


def _magnitudes(model: Any, adapter: MlxAdapter) -> Iterator[tuple[str, Array]]:
    """W' - W of each weight with W' = m / ‖W + scale·BA‖ (W + scale·BA), rows normalised."""
    for name, module in _modules(model, adapter).items():
        weight = _numpy(module.weight)
        change = factors(adapter, name)
        update = change.b @ change.a
        adapted = weight + (update.T if hasattr(module, "num_embeddings") else update)
        m = tensor(adapter, adapter.modules[name]["m"])
        if len(m) != len(weight):
            raise AdapterError(
                f"{adapter.weights.path}: tensor {name}.m has {len(m)} magnitudes, "
                f"needs {len(weight)}; give the base of the training"
            )
        yield f"{name}.weight", adapted * (m / np.linalg.norm(adapted, axis=1))[:, None] - weight


def _whole(model: Any, adapter: MlxAdapter) -> Iterator[tuple[str, Array]]:
    """The differences of the parameters of a full fine-tune from the base's."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in adapter.weights.tensors:
        new, old = tensor(adapter, name), parameters.get(name)
        if old is None or tuple(old.shape) != new.shape:
            shape = "no such parameter" if old is None else f"shape {list(old.shape)}"
            raise AdapterError(
                f"{adapter.weights.path}: tensor {name} has shape {list(new.shape)}, "
                f"the base {shape}; give the base of the training"
            )
        yield name, new - _numpy(old)


def _numpy(parameter: Any) -> Array:
    array: Array = parameter.detach().float().cpu().numpy()
    return array
