"""Reads MLX adapters with numpy, as the changes of a torch model or as factors for mlx itself.

mlx-lm's lora_a [in, r] and lora_b [r, out] are peft's Aᵀ and Bᵀ; DoRA has peft's formula. A tied
embedding of mlx-lm adapts the head too, with the same factors.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sway_gate.backends.null_adapters import Array, LowRank, Magnitude
from sway_gate.errors import AdapterError
from sway_gate.static.findings import Fatal
from sway_gate.static.mlx import MlxAdapter, outside_config, read_mlx
from sway_gate.static.weights import BITS

if TYPE_CHECKING:
    from torch import nn

    from sway_gate.backends.changes import Change

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


def factors(adapter: MlxAdapter, module: str, norms: Array | None = None) -> LowRank:
    """The factors of a module of a LoRA or DoRA adapter: a [r, in], b [out, r].

    `norms` of the weight's rows add the magnitudes of a DoRA. Raises AdapterError if their number
    differs.
    """
    scale, tensors = adapter.config.parameters.scale, adapter.modules[module]
    a, b = (tensor(adapter, tensors[leaf]).T for leaf in ("lora_a", "lora_b"))
    found = LowRank(np.ascontiguousarray(a), b * np.float32(scale), scale)
    if norms is None:
        return found
    trained = tensor(adapter, tensors["m"])
    if len(trained) != len(norms):
        raise AdapterError(
            f"{adapter.weights.path}: tensor {module}.m has {len(trained)} magnitudes, "
            f"needs {len(norms)}; give the base of the training"
        )
    return found._replace(magnitude=Magnitude(trained, norms))


def change(model: "nn.Module", folder: Path, *, quantized: bool) -> "Change":
    """The change of a torch model. Raises AdapterError if a tensor does not belong to the model."""
    from sway_gate.backends.changes import Change

    config: Any = model.config
    if config.model_type not in SAME_MODULES:
        raise AdapterError(
            f"{folder}: MLX adapters of the architecture {config.model_type} are not supported; "
            "convert the adapter to peft's form, or use kind: mlx"
        )
    adapter = read(folder, config.num_hidden_layers)
    kind = adapter.config.fine_tune_type
    modules = {} if kind == "full" else _modules(model, adapter)
    embedding, head = _tied(model)
    if kind == "lora":
        found = {name: factors(adapter, name) for name in modules}
        return Change(found, {}, heads={head: embedding} if embedding in found else {})
    if kind == "dora" and not any(map(_is_embedding, modules.values())):
        return Change({name: _dora(adapter, name, m) for name, m in modules.items()}, {})
    if quantized:
        raise AdapterError(
            f"{folder}: fine_tune_type {kind} cannot be merged into a quantized base; "
            "use the base without quantization"
        )
    changes = _whole(model, adapter) if kind == "full" else _merged(adapter, modules)
    dense = {name: delta for name, delta in changes if delta.any()}
    if (tied := f"{embedding}.weight") in dense:
        dense[f"{head}.weight"] = dense[tied]
    note = f"MLX, fine_tune_type {kind}: runs one view at a time, with merged weights"
    return Change({}, dense, note)


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
    if _is_embedding(module):
        return module.num_embeddings, module.embedding_dim
    return getattr(module, "in_features", 0), getattr(module, "out_features", 0)


def _is_embedding(module: Any) -> bool:
    return hasattr(module, "num_embeddings")


def _tied(model: Any) -> tuple[str, str]:
    """The names of the embedding and of the head that is tied to it; "" if it is not."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is not embedding.weight:
        return "", ""
    names = {module: name for name, module in model.named_modules()}
    return names[embedding], names[head]


def _dora(adapter: MlxAdapter, name: str, module: "nn.Module") -> LowRank:
    from sway_gate.backends.changes import row_norms

    return factors(adapter, name, row_norms(module))


def _merged(adapter: MlxAdapter, modules: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """W' - W of each weight of a DoRA with W' = m / ‖W + scale·BA‖ (W + scale·BA).

    The rows of an embedding are its tokens.
    """
    for name, module in modules.items():
        weight = _numpy(module.weight)
        change = factors(adapter, name, np.linalg.norm(weight, axis=1))
        assert change.magnitude is not None  # noqa: S101 - given by the norms
        update = change.b @ change.a
        adapted = weight + (update.T if _is_embedding(module) else update)
        gains = change.magnitude.adapted / np.linalg.norm(adapted, axis=1)
        yield f"{name}.weight", adapted * gains[:, None] - weight


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
