"""Inputs of the speed benchmark: a random model with adapters, suites and training data."""

import compileall
import json
from pathlib import Path
from typing import Any

from benchmarks.real.paths import DATA, read_rows, write_json, write_rows

PROMPTS = [
    "The most important rule of the house is", "In the morning the ferry leaves from",
    "A good answer begins with", "The engineer looked at the drawing and",
    "Nobody in the village had ever", "The contract says that", "When the water boils, add",
    "The second half of the year was", "He opened the letter and read",
    "The library keeps its oldest maps in", "To repair the clock you need",
    "The council decided on Tuesday that", "Light travels faster than",
    "My grandmother always told us", "The price of grain rose because",
    "At the edge of the forest stood", "The recipe calls for two cups of",
    "Every student must hand in", "The ship was loaded with", "If the alarm rings at night",
    "The first settlers came from", "A triangle with equal sides is",
    "The judge asked the witness whether", "Snow fell for three days and",
    "The train to the north stops at", "She wrote in her diary that", "The machine is cleaned by",
    "After the war the town was", "The lecture begins with a question about",
    "Children under ten may not", "The garden behind the school has",
    "The report ends with a list of",
]  # fmt: skip
_LARGE_RANK = 168
"""The rank of an adapter of 100 MB."""


def make_model(folder: Path) -> None:
    """Save a random model of SmolLM2-135M's shape with LoRA adapters, unless `folder` has them.

    The adapters cover all linear layers; the tokenizer is trained on the packaged prose.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if (folder / "done").exists():
        return
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True,
        max_position_embeddings=2048, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "base")
    _tokenizer().save_pretrained(folder / "base")
    for name, rank in {"adapter": 8, "large": _LARGE_RANK}.items():
        _save_adapter(model, folder / name, rank)
    (folder / "done").touch()


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from sway_gate.training_data import packaged

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*packaged.prose(), *packaged.stuffing()], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>"
    )


def _save_adapter(model: Any, folder: Path, rank: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    wrapped = get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    wrapped.save_pretrained(folder)
    wrapped.unload()


def write_suite(path: Path, models: Path, suite: list[dict[str, Any]]) -> str:
    """Write a spec for the adapter of `make_model`; return its path."""
    base = {"base": str(models / "base")}
    refs = {"base": base, "ft": base | {"adapter": str(models / "adapter")}}
    write_json(path, {"version": 1, "models": refs, "suite": suite})
    return str(path)


def suite(runs: int) -> list[dict[str, Any]]:
    """Two kinds under `runs` null adapters."""
    return [
        {"name": "nulls", "kind": "null_adapter", "runs": runs},
        {"name": "moved", "kind": "delta_kl", "prompts": PROMPTS},
        {"name": "curve", "kind": "adapter_ablation", "prompts": PROMPTS[:8]},
    ]


def whole_suite() -> list[dict[str, Any]]:
    """All kinds that need no training text and no extra, with fields that dlm-sway also has."""
    cases = [
        {"prompt": p, "gold": " the old house", "paraphrases": [f"Well, {p}", f"{p} now"]}
        for p in PROMPTS[:8]
    ]
    triples = [
        {"prompt": p, "chosen": " a quiet place", "rejected": " a loud one"} for p in PROMPTS[8:16]
    ]
    return [
        *suite(3),
        {"name": "prose", "kind": "external_perplexity", "max_chunks": 4, "chunk_chars": 1024},
        {"name": "knowledge", "kind": "calibration_drift", "items_limit": 50},
        {"name": "paraphrases", "kind": "paraphrase_invariance", "cases": cases},
        {"name": "preferences", "kind": "preference_flip", "triples": triples},
        {"name": "context", "kind": "prompt_collapse", "prompts": PROMPTS[:4]},
    ]


def write_chat_rows(path: Path, number: int) -> str:
    """Write different rows of the zoo's data set `facts`; return the path.

    Rows beyond the data set repeat it with a number in the question.
    """
    rows = [
        row for part in ("facts", "facts.held_out") for row in read_rows(DATA / f"{part}.jsonl")
    ]
    write_rows(path, [_numbered(rows[i % len(rows)], i // len(rows)) for i in range(number)])
    return str(path)


def _numbered(row: dict[str, Any], repetition: int) -> dict[str, Any]:
    if not repetition:
        return row
    question, *rest = row["messages"]
    asked = question | {"content": f"Note {repetition}. {question['content']}"}
    return row | {"messages": [asked, *rest]}


def compile_package(checkout: Path) -> None:
    """Write the bytecode of a checkout's package, which an installed package has.

    A process with PYTHONDONTWRITEBYTECODE would compile it at each start.
    """
    compileall.compile_dir(checkout / "sway_gate", quiet=1)


def set_dtype(spec: Path, dtype: str) -> None:
    """Let a spec load the base in `dtype`."""
    import yaml

    document = yaml.safe_load(spec.read_text(encoding="utf-8"))
    for model in document["models"].values():
        model["dtype"] = dtype
    spec.write_text(json.dumps(document), encoding="utf-8")
