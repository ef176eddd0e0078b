"""Time of DoRA and of adapted experts, compared with LoRA on the same base.

    python -m benchmarks.methods

Each row is one adapter under 1 + 8 views (8 null adapters): loading, log-probabilities, divergences
and generated texts. The bases are random and of middle size. The adapters of a pair run in turn,
and the order changes from one repetition to the next.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sway_gate.backends import hf
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.engine.run import run_plan
from sway_gate.measurements import FINETUNED, Divergence, Generation, LogProbs, View, with_base
from sway_gate.output import silent
from tests.helpers.models import VOCABULARY, byte_tokenizer, save_adapter

REPEATS = 4
TEXTS = [f"Question {i}: what does the manual say about part {i * 37}?" for i in range(12)]
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
BASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3_moe": {"num_experts": 32, "num_experts_per_tok": 4, "moe_intermediate_size": 128},
}
PAIRS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "DoRA / LoRA, all linear layers": ("llama", {"use_dora": True}, {}),
    "LoRA on experts and attention / attention": (
        "qwen3_moe",
        {"target_modules": ATTENTION, "target_parameters": EXPERTS},
        {"target_modules": ATTENTION},
    ),
}
"""Base, and the options of the two LoRA adapters whose times are compared."""


def save_base(folder: Path, architecture: str) -> Path:
    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    config = AutoConfig.for_model(architecture, **SIZES | BASES[architecture])
    make.from_config(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def seconds(base: Path, adapter: Path) -> float:
    """Time to load the adapter and to run the suite."""
    views = [FINETUNED, *(View("null", i) for i in range(8))]
    requests = [
        *(LogProbs(text, " It says that it must be replaced.") for text in TEXTS),
        *(Divergence(text, "js", 8) for text in TEXTS),
        *(Generation(text, 16) for text in TEXTS[:4]),
    ]
    started = time.perf_counter()
    backend = hf.load(Source(base, adapter, device="cpu"), NullSettings(runs=8))
    plan = with_base((v, r) for v in views for r in requests)
    run_plan(plan, lambda: backend, None, silent)
    return time.perf_counter() - started


def in_turn(base: Path, adapters: list[Path], *, reverse: bool) -> list[float]:
    """The time of each adapter, the last one first if `reverse`."""
    order = range(len(adapters))
    times = {i: seconds(base, adapters[i]) for i in (reversed(order) if reverse else order)}
    return [times[i] for i in order]


def main() -> None:
    print("| adapters | median time | median of the ratios |\n| --- | --- | --- |")
    for name, (architecture, first, second) in PAIRS.items():
        with tempfile.TemporaryDirectory() as folder:
            base = save_base(Path(folder, "base"), architecture)
            adapters = [
                save_adapter(Path(folder, str(i)), base, r=8, **fields)
                for i, fields in enumerate((first, second))
            ]
            times = [in_turn(base, adapters, reverse=bool(i % 2)) for i in range(REPEATS)]
        ratio = statistics.median(a / b for a, b in times)
        mine, other = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {mine:.2f} s / {other:.2f} s | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
