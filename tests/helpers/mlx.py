"""MLX adapters with random weights, and mlx-lm as the oracle for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from tests.helpers.models import VOCABULARY, byte_tokenizer

RANK, SCALE = 4, 2.0


def save_mlx(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    """Write an adapter in the form of mlx-lm."""
    folder.mkdir(exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / "adapters.safetensors", metadata={"format": "mlx"})
    fields = {"model": "some/base", "num_layers": -1, **config}
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    return folder


def random_adapter(
    folder: Path,
    model: nn.Module,
    kind: str = "lora",
    keys: tuple[str, ...] = (),
    size: float = 0.1,
) -> Path:
    """Write an adapter of the model's linear layers, or of the modules `keys`."""
    tensors: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * size

    modules = dict(model.named_modules())
    linear = [n for n, m in modules.items() if isinstance(m, nn.Linear) and ".layers." in n]
    for name in keys or linear:
        n_out, n_in = modules[name].weight.shape
        if kind == "full":
            tensors[f"{name}.weight"] = modules[name].weight.detach() + noise(n_out, n_in)
            continue
        if isinstance(modules[name], nn.Embedding):
            n_out, n_in = n_in, n_out
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = noise(n_in, RANK), noise(RANK, n_out)
        if kind == "dora":
            tensors[f"{name}.m"] = modules[name].weight.detach().norm(dim=1)
            tensors[f"{name}.m"] *= 1 + noise(*tensors[f"{name}.m"].shape)
    parameters = {"rank": RANK, "scale": SCALE, "dropout": 0.0}
    if keys:
        parameters["keys"] = list(keys)
    return save_mlx(folder, tensors, fine_tune_type=kind, lora_parameters=parameters)


def save_small(folder: Path, kind: str, **fields: Any) -> Any:
    """Write and return a small random model of an architecture."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY,
             "pad_token_id": 0, "eos_token_id": 257}  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(sizes | fields)))
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape) * 0.1
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return model


def log_probs_by_mlx(base: Path, adapter: Path | None, ids: list[int]) -> np.ndarray:
    """Next-token log-probabilities [ids, vocabulary] by mlx-lm only."""
    import mlx.core as mx
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    model, _ = load_model(base, model_config=older(base))
    if adapter is not None:
        load_adapters(model, str(adapter))
    logits = model(mx.array([ids]))[0].astype(mx.float32)
    return np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))


def parameters_by_mlx(base: Path) -> dict[str, np.ndarray]:
    """The parameters that mlx-lm loads, by its names."""
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model

    model, _ = load_model(base, model_config=older(base))
    return {name: np.array(value) for name, value in tree_flatten(model.parameters())}


def older(base: Path) -> dict[str, Any]:
    """Fields that transformers 5 writes under other names than mlx-lm reads."""
    config = json.loads((base / "config.json").read_text())
    rope = config.get("rope_parameters") or {}
    fields = {k: rope[k] for k in ("rope_theta", "partial_rotary_factor") if k in rope}
    if "num_local_experts" in config:
        fields["num_experts"] = config["num_local_experts"]
    return fields
