"""Names of repackaged bases, as they are on the hub."""

import pytest

from sway_gate.model_files.names import is_same_model

SAME = [
    ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", "meta-llama/Llama-3.2-1B-Instruct"),
    ("unsloth/Meta-Llama-3.1-8B-Instruct-unsloth-bnb-4bit", "meta-llama/Llama-3.1-8B-Instruct"),
    ("unsloth/llama-3-8b-bnb-4bit", "meta-llama/Meta-Llama-3-8B"),
    ("unsloth/Qwen2.5-7B-bnb-4bit", "unsloth/Qwen2.5-7B"),
    ("unsloth/mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3"),
    ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
    ("TheBloke/Llama-2-7B-Chat-GPTQ", "meta-llama/Llama-2-7b-chat-hf"),
    ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "meta-llama/Llama-3.1-8B-Instruct"),
    ("mlx-community/Llama-3.2-1B-Instruct-4bit", "meta-llama/Llama-3.2-1B-Instruct"),
    ("mlx-community/Qwen3-4B-4bit-DWQ", "Qwen/Qwen3-4B"),
    ("RedHatAI/Qwen3-8B-FP8-dynamic", "Qwen/Qwen3-8B"),
    ("bartowski/gemma-2-9b-it-GGUF", "google/gemma-2-9b-it"),
]
OTHER = [
    ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B-Instruct"),
    ("unsloth/Llama-3.2-1B-bnb-4bit", "meta-llama/Llama-3.2-3B"),
    ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", "meta-llama/Llama-3.2-1B"),
    ("me/llama-tuned", "you/llama-tuned"),
    ("gpt2", "distilgpt2"),
    ("org/a-4bit", "org/b-4bit"),
]


@pytest.mark.parametrize(("named", "base"), SAME)
def test_a_repackaging_has_the_name_of_its_origin(named: str, base: str) -> None:
    assert is_same_model(named, base)
    assert is_same_model(base, named)


@pytest.mark.parametrize(("named", "base"), OTHER)
def test_other_models_have_other_names(named: str, base: str) -> None:
    assert not is_same_model(named, base)
    assert not is_same_model(base, named)


def test_a_hostile_name_is_compared_quickly() -> None:
    assert not is_same_model("a" + "-q4_k" * 18 + "!", "b" + "_4bit" * 18)
