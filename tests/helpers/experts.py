"""Tiny models with a mixture of experts, one for each layout of transformers' expert layers."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.helpers.models import VOCABULARY, byte_tokenizer

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 24,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
_LATENT = {
    "kv_lora_rank": 8, "q_lora_rank": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 8, "num_key_value_heads": 4, "first_k_dense_replace": 1, "n_shared_experts": 1,
    "n_routed_experts": 6, "num_experts_per_tok": 2,
}  # fmt: skip
_ROUTED = {"num_experts": 6, "num_experts_per_tok": 2}
_LOCAL = {"num_local_experts": 6, "num_experts_per_tok": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "mixtral": _LOCAL,
    "qwen2_moe": _ROUTED | {"shared_expert_intermediate_size": 24},
    "qwen3_moe": _ROUTED,
    "deepseek_v2": _LATENT | {"n_group": 1, "topk_group": 1},
    "deepseek_v3": _LATENT | {"n_group": 2, "topk_group": 1},
    "glm4_moe": {"n_routed_experts": 6, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "olmoe": _ROUTED,
    "ernie4_5_moe": {"moe_num_experts": 6, "moe_k": 2, "moe_num_shared_experts": 1,
                     "moe_layer_start_index": 1},
    "gpt_oss": _LOCAL | {"layer_types": ["full_attention", "full_attention"]},
    "llama4_text": _LOCAL | {"num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
                             "intermediate_size_mlp": 24},
    "granitemoe": _LOCAL,
    "phimoe": _LOCAL,
    "jamba": {"num_experts": 6, "num_experts_per_tok": 2, "num_hidden_layers": 4,
              "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
              "expert_layer_offset": 1, "use_mamba_kernels": False, "mamba_d_state": 4,
              "mamba_dt_rank": 4},
    "jetmoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 8},
}  # fmt: skip
"""Model types whose experts can be adapted, and their tiny configurations."""
ONE_VIEW_AT_A_TIME = ("jetmoe",)
"""Model types whose experts get rows in an unknown order."""


def save_base(folder: Path, architecture: str) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **_SIZES | ARCHITECTURES[architecture])
    make: Any = AutoModelForCausalLM
    model = make.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # larger than at initialization; some experts begin with zeros
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
