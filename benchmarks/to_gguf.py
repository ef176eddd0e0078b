"""Convert a Llama model, or a LoRA adapter of one, to GGUF.

Tensors are of floating point, or of the integers that the package gguf rounds to; llama.cpp
quantizes a file of floating point further.
"""

import ctypes
import json
from pathlib import Path
from typing import Any

import torch
from gguf import (
    GGML_QUANT_SIZES,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    TokenType,
    quants,
)
from safetensors.torch import load_file

KINDS = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "BF16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "Q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
WHOLE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def convert(folder: Path, out: Path, kind: str = "F16", *, permuted: bool = True) -> Path:
    """Write the model of `folder` as GGUF.

    `permuted=False` leaves out the order of rows that llama.cpp expects in q and k: a known fault.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(out, "llama")
    kind_of_most, file_type = KINDS[kind]
    _describe(writer, config, file_type)
    _add_vocabulary(writer, folder, config["vocab_size"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.float()
        if permuted:
            values = _permuted(name, values, config)
        data = values.numpy()
        if data.ndim == 1:
            writer.add_tensor(_name(name), data)
        else:
            has_blocks = data.shape[1] % GGML_QUANT_SIZES[kind_of_most][0] == 0
            own_kind = kind_of_most if has_blocks else GGMLQuantizationType.F16
            data = quants.quantize(data, own_kind)
            writer.add_tensor(_name(name), data, raw_dtype=own_kind)
    return _written(writer, out)


def convert_adapter(adapter: Path, base: Path, out: Path) -> Path:
    """Write the LoRA adapter as GGUF, as `llama-server --lora` and llama-cpp-python read it."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(out, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(settings["lora_alpha"]))
    for key, tensor in load_file(adapter / "adapter_model.safetensors").items():
        name, _, factor = key.removeprefix("base_model.model.").rpartition(".lora_")
        values = tensor.float()
        if factor == "B.weight":
            values = _permuted(name + ".weight", values, config)
        writer.add_tensor(f"{_name(name + '.weight')}.lora_{factor[0].lower()}", values.numpy())
    return _written(writer, out)


def quantize(source: Path, out: Path, kind: str) -> Path:
    """Let llama.cpp quantize a GGUF file, for example to Q8_0 or Q4_K_M."""
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = LlamaFileType[f"MOSTLY_{kind}"]
    files = str(source).encode(), str(out).encode()
    if llama_cpp.llama_model_quantize(*files, ctypes.byref(settings)):
        raise SystemExit(f"{source}: llama.cpp cannot quantize it to {kind}")
    return out


def _describe(writer: GGUFWriter, config: dict[str, Any], file_type: LlamaFileType) -> None:
    heads = config["num_attention_heads"]
    writer.add_file_type(file_type)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_vocabulary(writer: GGUFWriter, folder: Path, size: int) -> None:
    """The tokens and merges of a byte-level BPE tokenizer."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    files = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    control = {entry["id"] for entry in files["added_tokens"] if entry["special"]}
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([texts.get(i, f"[UNUSED{i}]") for i in range(size)])
    writer.add_token_types(
        [
            TokenType.CONTROL
            if i in control
            else TokenType.NORMAL
            if i in texts
            else TokenType.UNUSED
            for i in range(size)
        ]
    )
    merges = files["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges] or ["a b"])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _name(key: str) -> str:
    stem, _, ending = key.rpartition(".")
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{ending}"
    layer, _, module = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{NAMES[module]}.{ending}"


def _permuted(key: str, tensor: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """The rows of q and k in llama.cpp's order: halves of a head are interleaved."""
    heads = {
        "q_proj.weight": config["num_attention_heads"],
        "k_proj.weight": config["num_key_value_heads"],
    }.get(".".join(key.split(".")[-2:]))
    if not heads:
        return tensor
    rows, columns = tensor.shape
    halves = tensor.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _written(writer: GGUFWriter, out: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
