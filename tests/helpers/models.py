"""Tiny random models and adapters with fixed seeds. Nothing is downloaded."""

import json
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = 320
_SHARED: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 256, "eos_token_id": 257}
ARCHITECTURES = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64,
                    tie_word_embeddings=False, **_SHARED)
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **_SHARED)
    ),
    "qwen2-gqa-tied": lambda: Qwen2ForCausalLM(
        Qwen2Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                    tie_word_embeddings=True, **_SHARED)
    ),
}  # fmt: skip


def byte_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary | {"<s>": 256, "</s>": 257}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def save_base(folder: Path, architecture: str) -> Path:
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture]()
    # Larger weights than at initialization: differences between views must exceed rounding errors.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3.0)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def writing_ascii(base: Path) -> Path:
    """The base with logits of 0 for all other bytes: their texts would not give the same tokens."""
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    known = byte_tokenizer().convert_tokens_to_ids([chr(c) for c in range(33, 127)])
    rows = model.get_output_embeddings().weight.data
    others = [i for i in range(len(rows)) if i not in {*known, 256, 257}]
    rows[others] = 0.0
    model.save_pretrained(base)
    return base


_ADAPTERS: dict[bytes, dict[str, bytes]] = {}
"""The files of each adapter that this process has made."""


def save_adapter(
    folder: Path, base: Path, *, seed: int = 1, size: float = 0.1, config: Any = None, **fields: Any
) -> Path:
    """Write an adapter in which all trainable tensors are random, B included.

    An adapter with the same arguments, of a base with the same files, is made only once.
    """
    files = b"".join(path.read_bytes() for path in sorted(base.iterdir()) if path.is_file())
    key = sha256(files + repr((seed, size, config, fields)).encode()).digest()
    if key not in _ADAPTERS:
        with TemporaryDirectory() as made:
            _make_adapter(Path(made), base, seed, size, config, fields)
            _ADAPTERS[key] = {path.name: path.read_bytes() for path in Path(made).iterdir()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in _ADAPTERS[key].items():
        (folder / name).write_bytes(data)
    settings = folder / "adapter_config.json"
    named = json.loads(settings.read_bytes()) | {"base_model_name_or_path": str(base)}
    settings.write_text(json.dumps(named, indent=2), encoding="utf-8")
    return folder


def _make_adapter(
    folder: Path, base: Path, seed: int, size: float, config: Any, fields: dict[str, Any]
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    defaults = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    wrapped = get_peft_model(model, config or LoraConfig(**(defaults | fields)))
    generator = torch.Generator().manual_seed(seed)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator) * size
    wrapped.save_pretrained(folder)
