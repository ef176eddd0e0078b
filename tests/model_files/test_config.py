import json
from pathlib import Path
from typing import Any

import pytest

from sway_gate.model_files.config import (
    ChatTemplate,
    chat_template,
    context_tokens,
    has_chat_template,
    hub_kernel,
    json_object,
)


def folder(tmp_path: Path, **files: Any) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return tmp_path


CONTEXTS = {
    "llama": ({"max_position_embeddings": 2048}, 2048),
    "gpt2": ({"n_positions": 1024}, 1024),
    "nested": ({"text_config": {"max_position_embeddings": 77}}, 77),
    "none": ({"model_type": "x"}, None),
    "no number": ({"max_position_embeddings": "many"}, None),
    "not an object": ([1], None),
    "not json": ("{", None),
}


@pytest.mark.parametrize(("config", "tokens"), CONTEXTS.values(), ids=CONTEXTS)
def test_context_tokens(tmp_path: Path, config: Any, tokens: int | None) -> None:
    assert context_tokens(folder(tmp_path, config__json=config)) == tokens


def test_what_transformers_reads_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"limits": [0.0, Infinity], "n": NaN, "s": "\\ud800"}')
    assert json_object(tmp_path / "config.json").keys() == {"limits", "n", "s"}


KERNELS: dict[str, dict[str, Any]] = {
    "a hub id": {"attn_implementation": "org/kernel"},
    "as saved": {"_attn_implementation": "org/kernel"},
    "nested": {"text_config": {"attn_implementation": "org/kernel"}},
    "for a nested config": {"attn_implementation": {"": "eager", "text_config": "org/kernel"}},
}


@pytest.mark.parametrize("config", KERNELS.values(), ids=KERNELS)
def test_code_on_the_hub_is_found(config: dict[str, Any]) -> None:
    assert hub_kernel(config) == "org/kernel"


def test_attention_of_the_libraries_is_no_code_on_the_hub() -> None:
    assert hub_kernel({"attn_implementation": "flash_attention_2", "name": "org/model"}) == ""


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b'{"a": "\xff"}', b"[" * 100_000])
def test_a_malformed_file_has_no_fields(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    assert json_object(tmp_path / "config.json") == {}


TEMPLATES = {
    "in the configuration": ({"tokenizer_config__json": {"chat_template": "{{ x }}"}}, True),
    "several": (
        {"tokenizer_config__json": {"chat_template": [{"name": "default", "template": "x"}]}},
        True,
    ),
    "in a file": ({"chat_template__jinja": "{{ x }}"}, True),
    "null": ({"tokenizer_config__json": {"chat_template": None}}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize(("files", "has"), TEMPLATES.values(), ids=TEMPLATES)
def test_has_chat_template(tmp_path: Path, files: dict[str, Any], has: bool) -> None:
    assert has_chat_template(folder(tmp_path, **files)) is has


OWN = {
    "none": ({}, None),
    "in a file": ({"chat_template__jinja": "{{ x }}"}, ("{{ x }}", "chat_template.jinja")),
    "in both": (
        {"chat_template__jinja": "{{ x }}", "tokenizer_config__json": {"chat_template": "y"}},
        ("{{ x }}", "chat_template.jinja"),
    ),
    "in the configuration": (
        {"tokenizer_config__json": {"chat_template": "y"}},
        ("y", "tokenizer_config.json"),
    ),
    "of several names": (
        {
            "tokenizer_config__json": {
                "chat_template": [
                    {"name": "rag", "template": "r"},
                    3,
                    {"name": "default", "template": "d"},
                ]
            }
        },
        ("d", "tokenizer_config.json"),
    ),
    "no text": ({"tokenizer_config__json": {"chat_template": 3}}, None),
    "blank": ({"chat_template__jinja": " \n"}, None),
    "too large": ({"chat_template__jinja": "x" * (2**20 + 1)}, None),
}


@pytest.mark.parametrize(("files", "expected"), OWN.values(), ids=OWN)
def test_chat_template(tmp_path: Path, files: dict[str, Any], expected: Any) -> None:
    found = chat_template(folder(tmp_path, **files))
    assert found == (ChatTemplate(*expected) if expected else None)
