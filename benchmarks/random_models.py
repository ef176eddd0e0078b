"""Random bases of real shapes, their tokenizer and LoRA adapters. Nothing is downloaded."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sway_gate.training_data import packaged

SHAPES: dict[str, tuple[int, int, int, int, int, int, bool]] = {
    "tiny": (64, 128, 2, 4, 2, 8192, True),
    "135M": (576, 1536, 30, 9, 3, 49152, True),
    "1B": (2048, 8192, 16, 32, 8, 128256, True),
    "8B": (4096, 14336, 32, 32, 8, 128256, False),
    "32B": (5120, 27648, 64, 40, 8, 152064, False),
}
"""Width, inner width, layers, heads, key-value heads, vocabulary, tied embeddings, as in
SmolLM2-135M, Llama 3.2 1B, Llama 3.1 8B and Qwen2.5 32B."""

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def config(shape: str) -> LlamaConfig:
    width, inner, layers, heads, kv_heads, vocabulary, is_tied = SHAPES[shape]
    return LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=is_tied,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=0,
    )


def network(shape: str, device: str, dtype: torch.dtype) -> LlamaForCausalLM:
    """A random model, made on its device."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config(shape)).eval()
    finally:
        torch.set_default_dtype(before)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 8,000 tokens, trained on the packaged prose, with a ChatML template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<|im_end|>", "<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*packaged.prose(), packaged.stuffing()], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>")
    fast.chat_template = _CHATML
    return fast


def save_adapter(folder: Path, of: nn.Module, rank: int = 16) -> Path:
    """Write a LoRA adapter with random factors for all linear layers of `of` but its head."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    tensors: dict[str, torch.Tensor] = {}
    modules = [
        (name, module)
        for name, module in of.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    ]
    for name, module in modules:
        key = f"base_model.model.{name}.lora_"
        a = torch.randn(rank, module.in_features, generator=generator) / module.in_features**0.5
        b = torch.randn(module.out_features, rank, generator=generator) * 0.02
        tensors |= {f"{key}A.weight": a.bfloat16(), f"{key}B.weight": b.bfloat16()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    fields: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "random",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": sorted({name.rpartition(".")[2] for name, _ in modules}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder
