"""The zoo's base models: the demo's model, and a GPT-2 trained on the same text and tokenizer."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import make_demo as demo
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from benchmarks.validity import ZOO
from sway_gate.demo import MODEL

CONTEXT = 1024
STEPS, ROWS, RATE = 1500, 16, 3e-3
FACTORS = (1, 2, 1, 1, 1, 2, 1, 4)
"""Window lengths of successive batches, relative to the demo's; the rows are divided by them."""


class Base(NamedTuple):
    folder: Path
    all_linear: tuple[str, ...]
    attention: tuple[str, ...]
    fan_in_fan_out: bool = False
    attention_rate: float = 1.0
    """Factor on the learning rate if only attention is trained; yields healthy adapters."""


BASES = {
    "llama": Base(MODEL, tuple(demo.LINEARS), ("k_proj", "o_proj", "q_proj", "v_proj")),
    "gpt2": Base(ZOO / "gpt2" / "model", ("c_attn", "c_fc", "c_proj"), ("c_attn",), True, 0.4),
}


def load(base: Base) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=torch.float32, local_files_only=True
    )
    return model.eval()


class Shifted(torch.nn.Module):
    """Shifts half of the windows to random positions, so that every position is trained."""

    def __init__(self, model: GPT2LMHeadModel, seed: int) -> None:
        super().__init__()
        self.model = model
        self.rng = torch.Generator().manual_seed(seed)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> object:
        rows, length = input_ids.shape
        room = CONTEXT - length + 1
        starts = torch.randint(room, (rows, 1), generator=self.rng)
        starts[torch.rand((rows, 1), generator=self.rng) < 0.5] = 0
        return self.model(
            input_ids=input_ids, labels=labels, position_ids=starts + torch.arange(length)
        )


def batches(streams: demo.Streams) -> Callable[[int], demo.Batch]:
    def batch(step: int) -> demo.Batch:
        factor = FACTORS[step % len(FACTORS)]
        return demo.pad_batch(streams.windows(ROWS // factor, demo.WINDOW * factor))

    return batch


def make_gpt2(folder: Path, seed: int = 0) -> None:
    """Train and write a GPT-2 of about the demo model's size; float16 weights, used as float32."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=demo.VOCABULARY, n_positions=CONTEXT, n_embd=192, n_layer=4, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=demo.BOS, eos_token_id=demo.EOS, pad_token_id=demo.PAD,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    streams = demo.Streams(
        Tokenizer.from_file(str(MODEL / "tokenizer.json")), demo.general_text(), seed
    )
    demo.fit(Shifted(model, seed), batches(streams), STEPS, RATE)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(MODEL / name, folder / name)
    demo.write_json(
        folder / "config.json", {**config.to_diff_dict(), "architectures": ["GPT2LMHeadModel"]}
    )
    demo.save_half(
        {n: w for n, w in model.state_dict().items() if n != "lm_head.weight"},
        folder / "model.safetensors",
    )
