"""Tiny random models of all causal architectures that the installed transformers has."""

import dataclasses
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 320
_IN_VOCABULARY = 300
"""An id for special tokens that no text has."""
_NAMES: dict[Any, str] = {
    VOCABULARY: "vocab_size decoder_vocab_size vocab_size_per_layer_input unpadded_vocab_size",
    32: "hidden_size d_model n_embd dim emb_dim embed_dim word_embed_proj_dim embedding_size "
    "dim_model input_embedding_size output_embedding_size attention_hidden_size "
    "hidden_size_global lru_width embedding_dim index_n_heads",
    48: "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim dff n_inner dim_ff d_inner "
    "ffn_hidden_size feed_forward_size intermediate_size_mlp dense_intermediate_size "
    "shared_expert_intermediate_size shared_intermediate_size shared_experts_intermediate_size "
    "moe_intermediate_size expert_ffn_hidden_size moe_shared_expert_intermediate_size",
    4: "num_attention_heads n_head n_heads num_heads attention_heads encoder_attention_heads "
    "decoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads "
    "swa_num_attention_heads num_experts num_local_experts n_routed_experts moe_num_experts "
    "linear_num_value_heads mamba_chunk_size",
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers "
    "num_decoder_layers num_encoder_layers depth num_key_value_heads swa_num_key_value_heads "
    "num_kv_heads num_experts_per_tok moe_topk moe_k linear_num_key_heads zero_expert_num "
    "num_blocks",
    8: "head_dim swa_head_dim v_head_dim qk_nope_head_dim d_head dim_head kv_channels "
    "qk_rope_head_dim index_head_dim linear_key_head_dim linear_value_head_dim rotary_dim "
    "attention_head_size hidden_size_per_layer_input laurel_rank linear_head_dim state_size "
    "mamba_d_state ssm_state_size time_step_rank mamba_dt_rank",
    24: "sliding_window sliding_window_size window_size local_attention attention_window_size "
    "attention_chunk_size local_attention_window_len",
    16: "kv_lora_rank q_lora_rank o_lora_rank index_topk adapter_rank",
    1: "n_group n_groups topk_group mamba_n_groups moe_num_shared_experts n_shared_experts "
    "num_shared_experts",
    128: "max_position_embeddings n_positions n_ctx context_length max_target_positions "
    "max_source_positions max_seq_len original_max_position_embeddings",
    256: "bos_token_id",
    257: "eos_token_id",
    0: "pad_token_id",
}
SIZES = {name: value for value, names in _NAMES.items() for name in names.split()}
"""Attributes of configurations, and the value that makes the model tiny."""

_MAMBA_2 = {"mamba_n_heads": 8, "mamba_d_head": 8}
_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
_SLIDING = ["sliding_attention", "full_attention"]
_GEMMA_4 = {
    "layer_types": _SLIDING * 2,
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "global_head_dim": 16,
}
_QWEN_4 = {
    "hc_lowrank": 8,
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 16,
    "indexer_compress_ratio": 4,
    "ple_layer_ids": [1],
    "heads_per_ngram": 2,
    "ngram_vocab_size_base": 50,
    "split_ngram_parts": 4,
}
_DOTS_3 = {
    "head_dim": 16,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 4,
    "swa_head_dim": 16,
    "swa_qk_nope_head_dim": 8,
    "swa_v_head_dim": 8,
    "swa_kv_lora_rank": 16,
    "swa_q_lora_rank": 16,
}
_ROPE_VL = {"text_config": {"rope_parameters": _ROPE}}
_QWEN_3_VL = {
    "text_config": {
        "rope_parameters": _ROPE | {"mrope_interleaved": True},
        "head_dim": 8,
        "num_hidden_layers": 3,
    },
    "vision_config": {"deepstack_visual_indexes": [0]},
}
_REFORMER = {
    "is_decoder": True,
    "attn_layers": ["local", "lsh"],
    "axial_pos_embds": False,
    "local_attn_chunk_length": 4,
    "lsh_attn_chunk_length": 4,
}
_KINDS = ("layer_types", "layers_block_type")
SPECIAL: dict[str, dict[str, Any]] = {
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "bamba": _MAMBA_2 | {"attn_layer_indices": [1]},
    "cohere_compass_text": {"rope_parameters": dict.fromkeys(_SLIDING, _ROPE)},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {
        "text_config": _DOTS_3,
        "vision_config": {"adapter_in_dim": 32, "adapter_out_dim": 32},
        "audio_config": {"adapter_input_size": 32, "adapter_out_dim": 32},
    },
    "dots3_note_text": _DOTS_3,
    "gemma3n_text": {
        "layer_types": _SLIDING * 2,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "activation_sparsity_pattern": [0.95, 0.95, 0.0, 0.0],
    },
    "gemma4": {"text_config": _GEMMA_4},
    "gemma4_text": _GEMMA_4,
    "gemma4_unified": {"text_config": _GEMMA_4},
    "gemma4_unified_text": _GEMMA_4,
    **dict.fromkeys(("glm46v", "glm4v", "qwen2_5_vl", "qwen2_vl"), _ROPE_VL),
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe"), _QWEN_3_VL),
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": _MAMBA_2 | {"layer_types": ["linear_attention", "full_attention"]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "inkling_text": {"logits_mup_width_multiplier": 1.0},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 8, "chunk_size": 4},
    "qwen4_exp": {"text_config": _QWEN_4},
    "qwen4_exp_text": _QWEN_4,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": _REFORMER,
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "num_hidden_layers": 4,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""Further attributes of single architectures."""


def tiny_config(name: str) -> Any:
    """A configuration with all kinds of layers of the architecture."""
    model_type = name.removesuffix(_DECODER)
    cls: Any = CONFIG_MAPPING[model_type]
    special = SPECIAL.get(model_type, {})
    if name != model_type:
        special = special | {"is_decoder": True}
    return cls(**_merged(_tiny(cls), special))


def tiny_model(name: str) -> Any:
    """A random model in evaluation mode, always the same."""
    torch.manual_seed(0)
    make: Any = AutoModelForImageTextToText if name in IMAGE_TEXT else AutoModelForCausalLM
    model = make.from_config(tiny_config(name), dtype=torch.float32)
    # Larger weights than at initialization: differences between views must exceed rounding errors.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3.0)
    return model.eval()


def _tiny(cls: Any) -> dict[str, Any]:
    """Keyword arguments for a configuration's class."""
    names = {field.name for field in dataclasses.fields(cls)}
    default = _values(cls(), names | cls.sub_configs.keys())
    values = {n: SIZES[n] for n in SIZES if n in names and default.get(n) is not None}
    values |= {n: SIZES[n] for n in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name in names - values.keys():
        if name.endswith(("_token_id", "_token_index")) and isinstance(default.get(name), int):
            values[name] = min(default[name], _IN_VOCABULARY)
    if "kv_lora_rank" in names:  # multi-head latent attention has no grouped queries
        values["num_key_value_heads"] = values["num_attention_heads"]
    values |= _layer_kinds({n: default[n] for n in names if n.endswith(_KINDS) and default.get(n)})
    sub_configs = {n: default.get(n) for n in cls.sub_configs}
    return values | {n: _tiny(type(sub)) for n, sub in sub_configs.items() if sub is not None}


def _values(config: Any, names: Set[str]) -> dict[str, Any]:
    """Attributes of a configuration; some cannot be read where layers differ."""
    found = dict(vars(config))
    for name in names - found.keys():
        with suppress(Exception):
            found[name] = getattr(config, name)
    return found


def _layer_kinds(given: Mapping[str, list[str]]) -> dict[str, Any]:
    """One layer of each kind, at least two."""
    kinds = {name: list(dict.fromkeys(of_layer)) for name, of_layer in given.items()}
    if not kinds:
        return {}
    layers = max(2, *map(len, kinds.values()))
    return {"num_hidden_layers": layers} | {n: (k * layers)[:layers] for n, k in kinds.items()}


def _merged(values: dict[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    for name, given in special.items():
        nested = isinstance(given, Mapping) and isinstance(values.get(name), dict)
        values[name] = _merged(values[name], given) if nested else given
    return values


_DECODER = " as a decoder"
_ENCODERS = {
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie",
    "megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
NAMES = sorted([*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *(name + _DECODER for name in _ENCODERS)])
"""All causal architectures, and the encoders once more with `is_decoder`."""
IMAGE_TEXT = (
    "aya_vision", "cohere2_vision", "glm46v", "glm4v", "idefics3", "internvl", "lfm2_vl", "llava",
    "llava_next", "llava_onevision", "mistral3", "paligemma", "qwen2_5_vl", "qwen2_vl", "qwen3_vl",
    "qwen3_vl_moe", "smolvlm",
)  # fmt: skip
"""Image-text models that have no class for text only. They read text."""
NOT_BUILT = {
    "gemma3n": "its image tower needs the package timm; gemma3n_text is the same language model",
    "gemma4_assistant": "it drafts from the states of another model",
    "gemma4_unified_assistant": "it drafts from the states of another model",
    "musicgen": "it writes audio codes",
    "musicgen_melody": "it writes audio codes",
}


class Row(NamedTuple):
    """How the product computes an architecture. `refused`: a part of the message."""

    outcome: Literal["stacked", "one view at a time", "refused"]
    refused: str = ""
    shares_prefix: bool = True
    """Whether texts after the same context continue from its cache."""
    batches_texts: bool = True
    """Whether prompts of different lengths are continued together, with a cache."""


REFUSED = {
    **dict.fromkeys(
        [*_ENCODERS, "cpmant", "paligemma", "prophetnet", "xlm", "xlnet"],
        "not a causal language model",
    ),
    **dict.fromkeys(["inkling2_text", "laguna"], "do not match its modules"),
    "reformer": "random attention",
}
"""peft itself does not load what it saved for inkling2_text and laguna."""
ONE_AT_A_TIME = {"longcat_flash", "minimax_m2"}
"""Their expert layers cannot be stacked."""
WHOLE_CONTEXTS = {
    "bailing_hybrid", "bamba", "blt", "deepseek_v4", "falcon_h1", "falcon_mamba",
    "granitemoehybrid", "inkling_text", "jamba", "kimi_linear", "lfm2", "lfm2_moe", "lfm3",
    "mamba", "mamba2", "minimax", "nemotron_h", "olmo_hybrid", "openai-gpt", "qwen3_5",
    "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "qwen4_exp",
    "qwen4_exp_text", "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2", "zaya",
}  # fmt: skip
"""Recurrent states and special caches."""
UNCACHED_TEXTS = {
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "blt", "deepseek_v4", "git",
    "marian", "mbart", "mvp", "pegasus", "plbart", "recurrent_gemma", "rwkv", "trocr",
    "whisper", "xlstm",
    *(name + _DECODER for name in ("camembert", "data2vec-text", "roberta", "xmod",
                                   "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl")),
}  # fmt: skip
"""Positions that count the padding, recurrent states that read it, caches for one sequence."""


def expected(name: str) -> Row:
    """How the product must compute the architecture; tests/backends/test_architectures.py."""
    if name in REFUSED:
        return Row("refused", REFUSED[name], shares_prefix=False, batches_texts=False)
    return Row(
        "one view at a time" if name in ONE_AT_A_TIME else "stacked",
        shares_prefix=name not in WHOLE_CONTEXTS,
        batches_texts=name not in UNCACHED_TEXTS,
    )


def documented() -> Iterator[tuple[str, str, str]]:
    """Rows for the documentation: architecture, how it is computed, remark."""
    for name in sorted([*NAMES, *IMAGE_TEXT]):
        if name in NOT_BUILT:
            yield name, "not tested", NOT_BUILT[name]
            continue
        row = expected(name)
        remarks = [f"… {row.refused} …"] if row.refused else []
        if not (row.refused or row.shares_prefix):
            remarks.append("contexts are not shared")
        if not (row.refused or row.batches_texts):
            remarks.append("texts are written without a cache")
        yield name, row.outcome, "; ".join(remarks)
