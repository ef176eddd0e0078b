"""Shapes of a base, from the headers of its files."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sway_gate.model_files.shapes import oversized, read_shapes, short

NAMES = [
    ("model.layers.0.q.weight", "layers.0.q.weight"),
    ("layers.0.q.weight", "layers.0.q.weight"),
    ("language_model.model.layers.0.q.weight", "layers.0.q.weight"),
    ("model.language_model.layers.0.q.weight", "layers.0.q.weight"),
    ("transformer.h.0.attn.weight", "h.0.attn.weight"),
    ("vision_tower.layers.0.q.weight", "vision_tower.layers.0.q.weight"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_short_names(name: str, expected: str) -> None:
    assert short(name) == expected


def test_all_shards_are_read(tmp_path: Path) -> None:
    save_file({"model.a.weight": np.ones((2, 3), np.float16)}, tmp_path / "model-1.safetensors")
    save_file({"lm_head.weight": np.ones((5, 3))}, tmp_path / "model-2.safetensors")
    assert read_shapes(tmp_path) == {"a.weight": (2, 3), "lm_head.weight": (5, 3)}


def test_packed_and_ambiguous_tensors_are_left_out(tmp_path: Path) -> None:
    packed = {"model.q.weight": np.ones((6, 1), np.uint8)}
    twice = {"model.a.weight": np.ones((2, 3)), "a.weight": np.ones((4, 4))}
    save_file(packed | twice, tmp_path / "model.safetensors")
    assert read_shapes(tmp_path) == {}


BROKEN = [
    b"",
    b"\x02" + bytes(7) + b"{",
    b"\xff" * 8,
    b"\x09" + bytes(7) + b'{"a": {}}',
    b"\x02" + bytes(7) + b"[]",
]


@pytest.mark.parametrize("data", BROKEN)
def test_a_broken_file_has_no_shapes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    assert read_shapes(tmp_path) == {}


SIZES = {
    "as saved": ({"num_hidden_layers": 2, "vocab_size": 40_000, "n_embd": 3}, ""),
    "packed": ({"vocab_size": 320_000}, ""),
    "long contexts": ({"max_position_embeddings": 2**24, "rope_theta": 10**8}, ""),
    "many layers": ({"n_layer": 10**6}, "n_layer 1000000"),
    "a large vocabulary": ({"vocab_size": 2**31}, "vocab_size 2147483648"),
    "a language model inside": ({"text_config": {"hidden_size": 2**20}}, "hidden_size 1048576"),
    "deep nesting": ({"a": json.loads('{"a":' * 400 + "1" + "}" * 400), "n_layer": 2}, ""),
    "beside a NaN": ({"a": float("nan"), "n_layer": 10**6}, "n_layer 1000000"),
    "an experts' number": ({"num_experts": 10**7}, "num_experts 10000000"),
    "labels of a classifier": ({"num_labels": 10**8}, "num_labels 100000000"),
}


@pytest.mark.parametrize(("config", "found"), SIZES.values(), ids=SIZES)
def test_sizes_that_the_files_cannot_have(
    tmp_path: Path, config: dict[str, object], found: str
) -> None:
    save_file({"wte.weight": np.ones((40_000, 3), np.int8)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    files = "1 tensors with dimensions up to 40000"
    expected = f"config.json states {found}, but the files have {files}" if found else ""
    assert oversized(tmp_path) == expected
