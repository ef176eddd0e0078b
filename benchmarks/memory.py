"""Peak memory of runs on random bases of real shapes, against the size of their weights.

    python -m benchmarks.memory [SHAPE DTYPE ...]    # default: 1.1b bf16 1.1b fp32

The bases are written shard by shard, so that writing one needs little memory. The suite measures
divergences, a text with a long context and packaged prose under an adapter of rank 16 on all linear
layers and 8 nulls. DTYPE auto runs `sway check`, which has no option for it.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors.torch import save_file

from benchmarks.speed import PROMPTS
from sway_gate.demo import MODEL

WORK: Final = Path(tempfile.gettempdir()) / "sway-gate-memory"
SHAPES: Final = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 4096,
             "tie_word_embeddings": True},
    "1.1b": {"hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32,
             "num_key_value_heads": 4, "intermediate_size": 5632, "vocab_size": 32000,
             "tie_word_embeddings": False},
    "3.2b": {"hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24,
             "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 128256,
             "tie_word_embeddings": True},
}  # fmt: skip
RANK, NULLS = 16, 8
_FIXED_GB, _TIMES = 0.6, 1.3
"""The limit is _TIMES the weights and _FIXED_GB for the libraries."""


class Peak(NamedTuple):
    exit_code: int
    seconds: float
    gigabytes: float


def make(shape: str) -> Path:
    """The folder with a random bfloat16 base of the shape and an adapter of rank `RANK`."""
    folder = WORK / shape
    if (folder / "done").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    base, adapter = folder / "base", folder / "adapter"
    base.mkdir(parents=True)
    adapter.mkdir()
    torch.manual_seed(0)
    sizes = SHAPES[shape]
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
              "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, **sizes}  # fmt: skip
    (base / "config.json").write_text(json.dumps(config))
    for path in Path(MODEL).glob("tokenizer*.json"):
        shutil.copy(path, base)
    _write_base(base, sizes)
    _write_adapter(adapter, base, sizes)
    (folder / "done").touch()
    return folder


def _linear(sizes: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The linear layers of one decoder layer: [out, in]."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    keys = hidden * sizes["num_key_value_heads"] // sizes["num_attention_heads"]
    return {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip


@cache
def _pool() -> torch.Tensor:
    return (0.02 * torch.randn(2**23)).bfloat16()


def _random(*shape: int) -> torch.Tensor:
    """Gaussian numbers; large tensors repeat them, because billions would take minutes to draw."""
    count = math.prod(shape)
    start = int(torch.randint(2**22, ()))
    part = _pool()[start:]
    return part.repeat(-(-count // len(part)))[:count].reshape(shape).contiguous()


def _write_base(folder: Path, sizes: dict[str, Any]) -> None:
    """One shard per layer, and one for the embeddings, the last norm and the head."""
    hidden, layers = sizes["hidden_size"], sizes["num_hidden_layers"]
    files: dict[str, str] = {}

    def write(number: int, tensors: dict[str, torch.Tensor]) -> None:
        name = f"model-{number + 1:05}-of-{layers + 1:05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        files.update(dict.fromkeys(tensors, name))

    for i in range(layers):
        prefix = f"model.layers.{i}."
        norms = ("input_layernorm", "post_attention_layernorm")
        tensors = {f"{prefix}{n}.weight": torch.ones(hidden, dtype=torch.bfloat16) for n in norms}
        tensors |= {f"{prefix}{n}.weight": _random(*s) for n, s in _linear(sizes).items()}
        write(i, tensors)
    last = {"model.embed_tokens.weight": _random(sizes["vocab_size"], hidden)}
    last["model.norm.weight"] = torch.ones(hidden, dtype=torch.bfloat16)
    if not sizes["tie_word_embeddings"]:
        last["lm_head.weight"] = _random(sizes["vocab_size"], hidden)
    write(layers, last)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_adapter(folder: Path, base: Path, sizes: dict[str, Any]) -> None:
    tensors = {}
    for i in range(sizes["num_hidden_layers"]):
        for name, (n_out, n_in) in _linear(sizes).items():
            prefix = f"base_model.model.model.layers.{i}.{name}"
            tensors[f"{prefix}.lora_A.weight"] = _random(RANK, n_in)
            tensors[f"{prefix}.lora_B.weight"] = _random(n_out, RANK)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = [name.rpartition(".")[2] for name in _linear(sizes)]
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK,
              "target_modules": targets, "base_model_name_or_path": str(base)}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _command(folder: Path, dtype: str) -> list[str]:
    base, adapter = str(folder / "base"), str(folder / "adapter")
    if dtype == "auto":
        return ["check", adapter, "--base", base, "--no-cache"]
    models = {"base": {"base": base, "dtype": dtype}, "ft": {"base": base, "adapter": adapter}}
    suite = [
        {"name": "nulls", "kind": "null_adapter", "runs": NULLS},
        {"name": "moved", "kind": "delta_kl", "prompts": PROMPTS[:8]},
        {"name": "context", "kind": "prompt_collapse", "prompts": PROMPTS[:2]},
        {"name": "prose", "kind": "external_perplexity", "max_chunks": 2, "chunk_chars": 1024},
    ]
    path = folder / f"{dtype}.yaml"
    path.write_text(json.dumps({"version": 1, "models": models, "suite": suite}))
    return ["gate", str(path), "--no-cache"]


def peak(folder: Path, dtype: str) -> Peak:
    """The exit code, the processor time and the peak of the resident memory of one run."""
    command = [sys.executable, "-m", "sway_gate", *_command(folder, dtype), "--yes", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Peak(process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9)


def _weights_gb(folder: Path, dtype: str) -> float:
    stored = sum(path.stat().st_size for path in (folder / "base").glob("*.safetensors")) / 1e9
    return stored * (2 if dtype == "fp32" else 1)


def main() -> None:
    wanted = sys.argv[1:] or ["1.1b", "bf16", "1.1b", "fp32"]
    print("| shape | dtype | weights | limit | peak | exit code | processor time |")
    print("|---|---|---|---|---|---|---|")
    for shape, dtype in zip(wanted[::2], wanted[1::2], strict=True):
        folder = make(shape)
        found, weights = peak(folder, dtype), _weights_gb(folder, dtype)
        print(
            f"| {shape} | {dtype} | {weights:.1f} GB | {_TIMES * weights + _FIXED_GB:.1f} GB"
            f" | {found.gigabytes:.2f} GB | {found.exit_code} | {found.seconds:.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
