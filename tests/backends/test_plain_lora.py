"""Factors that are read without peft, compared with the factors of peft's own layers."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sway_gate.backends import factors, plain_lora
from sway_gate.backends.null_adapters import LowRank
from sway_gate.backends.plain_lora import _Config
from tests.helpers.models import save_adapter

KEY = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"


def arrays(found: LowRank) -> Iterator[np.ndarray]:
    yield from (found.a, found.b)
    if found.magnitude is not None:
        yield from found.magnitude


def assert_equal_factors(found: dict[str, LowRank] | None, wrapped: Any) -> None:
    """The same modules in the same order, and bitwise the same numbers, as in peft's model."""
    expected = factors.read(wrapped.base_model.model)
    assert found is not None
    assert expected is not None
    assert list(found) == list(expected)
    for own, peft in zip(found.values(), expected.values(), strict=True):
        assert own.scaling == peft.scaling
        for a, b in zip(arrays(own), arrays(peft), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return save_adapter(tmp_path, base, target_modules=["q_proj", "down_proj"])


def read(base: Path, adapter: Path) -> Any:
    return plain_lora.read(AutoModelForCausalLM.from_pretrained(base), adapter)


@pytest.mark.parametrize("of_base", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("of_adapter", [torch.float16, torch.float32])
def test_factors_in_other_dtypes_are_those_of_peft(
    base: Path, adapter: Path, of_base: torch.dtype, of_adapter: torch.dtype
) -> None:
    path = adapter / "adapter_model.safetensors"
    save_file({name: x.to(of_adapter) for name, x in load_file(path).items()}, path)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=of_base)
    found = plain_lora.read(model, adapter)
    assert_equal_factors(found, PeftModel.from_pretrained(model, adapter))


def change(adapter: Path, **fields: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


FIELDS: dict[str, dict[str, Any]] = {
    "an unknown field": {"use_newlora": True},
    "another method": {"peft_type": "LOHA"},
    "no method": {"peft_type": None},
    "modules to save": {"modules_to_save": ["lm_head"]},
    "a changed bias": {"bias": "all"},
    "another start": {"init_lora_weights": "pissa"},
    "parameters": {"target_parameters": ["q_proj.weight"]},
    "no modules": {"target_modules": None},
    "modules that are not there": {"target_modules": ["x_proj"]},
    "more modules than tensors": {"target_modules": ["q_proj", "down_proj", "v_proj"]},
    "fewer modules than tensors": {"target_modules": ["q_proj"]},
    "modules of other classes": {"target_modules": ["q_proj", "down_proj", "norm"]},
    "all linear modules": {"target_modules": "all-linear"},
    "an invalid pattern": {"target_modules": "(q_proj"},
    "an invalid pattern of ranks": {"rank_pattern": {"(": 2}},
    "an invalid pattern of alphas": {"alpha_pattern": {"(": 2}},
    "a repetition that is too long": {"exclude_modules": "a{99999999999}"},
    "groups that are too deep": {"exclude_modules": "(" * 5000 + ")" * 5000},
    "a rank that is no float": {"r": 10**400},
    "layers of a pattern": {"target_modules": ".*(q|down)_proj", "layers_to_transform": [0, 1]},
    "a pattern of no layers": {"layers_pattern": "layers"},
    "another rank": {"r": 5},
    "no rank": {"r": 0},
    "a rank that is no integer": {"r": 4.0},
    "a pattern that is no rank": {"rank_pattern": {"x_proj": 0}},
    "an alpha that is no number": {"lora_alpha": "8"},
    "magnitudes that are not there": {"use_dora": True},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_other_configurations_are_left_to_peft(
    base: Path, adapter: Path, fields: dict[str, Any]
) -> None:
    change(adapter, **fields)
    assert read(base, adapter) is None


@pytest.mark.parametrize("field", ["r", "lora_alpha", "rank_pattern", "use_rslora", "use_dora"])
def test_a_field_that_is_missing_has_pefts_default(field: str) -> None:
    given = {"peft_type": "LORA", "target_modules": ["q_proj"]}
    assert getattr(msgspec.convert(given, _Config), field) == getattr(LoraConfig(), field)


TENSORS: dict[str, dict[str, torch.Tensor | None]] = {
    "a missing tensor": {KEY: None},
    "a tensor of another shape": {KEY: torch.ones(4, 47)},
    "a further tensor": {KEY.replace("down", "up"): torch.ones(4, 32)},
    "a bias of a factor": {KEY.replace("A.weight", "B.bias"): torch.ones(32)},
    "magnitudes": {KEY.replace("A.weight", "magnitude_vector"): torch.ones(32)},
    "another weight of the base": {"base_model.model.lm_head.weight": torch.ones(320, 32)},
    "another tensor": {"x": torch.ones(1)},
}


@pytest.mark.parametrize("tensors", TENSORS.values(), ids=TENSORS)
def test_other_tensors_are_left_to_peft(
    base: Path, adapter: Path, tensors: dict[str, torch.Tensor | None]
) -> None:
    path = adapter / "adapter_model.safetensors"
    changed = {**load_file(path), **tensors}
    save_file({name: x for name, x in changed.items() if x is not None}, path)
    assert read(base, adapter) is None


@pytest.mark.parametrize("kind", ["mamba", "mixtral", "qwen3_moe"])
def test_models_whose_layers_peft_converts_or_refuses_are_left_to_it(
    base: Path, adapter: Path, kind: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.config.model_type = kind
    assert plain_lora.read(model, adapter) is None


MODULES = [
    "lm_head", "model.embed_tokens", "model.layers.1.mlp.down_proj", "model.norm",
    "model.layers.11.self_attn.q_proj", "model.layers.1.mlp.experts.3.up_proj", "h.2.attn.q_proj",
    "layers.1.q_proj", "q_proj", "model.layers.2.xq_proj",
]  # fmt: skip
SELECTIONS: list[tuple[str | list[str], dict[str, Any]]] = [
    (["q_proj", "lm_head"], {}),
    (r".*(layers\.1\..*|head)", {}),
    ("q_proj", {}),
    (["q_proj", "up_proj"], {"exclude_modules": ["model.layers.11.self_attn.q_proj"]}),
    (r".*_proj", {"exclude_modules": r".*\.mlp\..*"}),
    (["q_proj", "up_proj", "lm_head"], {"layers_to_transform": [1, 2]}),
    (["q_proj", "up_proj"], {"layers_to_transform": 11}),
    (["q_proj", "down_proj"], {"layers_to_transform": 0}),
    (["q_proj", "up_proj"], {"layers_to_transform": []}),
    (["q_proj", "up_proj"], {"layers_to_transform": [1], "layers_pattern": "layers"}),
    (["q_proj"], {"layers_to_transform": [1, 2], "layers_pattern": ["h", "layers"]}),
    (["q_proj", "up_proj"], {"layers_to_transform": [3], "layers_pattern": "experts"}),
]


@pytest.mark.parametrize(("targets", "fields"), SELECTIONS, ids=str)
def test_modules_are_selected_as_peft_does(targets: Any, fields: dict[str, Any]) -> None:
    own = _Config("LORA", targets, **fields)
    theirs = LoraConfig(target_modules=targets, **fields)
    for module in MODULES:
        expected = check_target_module_exists(theirs, module)
        is_excluded = type(expected).__name__ == "_ExcludedModule"
        assert own.selects(module) == (bool(expected) and not is_excluded)


PATTERNS = [
    "q_proj",
    r"layers\.1\..*",
    "up_proj|down_proj",
    "proj",
    r"model\.layers\.11\.self_attn\.q_proj",
]


@pytest.mark.parametrize("use_rslora", [False, True])
def test_ranks_and_scalings_are_those_of_peft(use_rslora: bool) -> None:
    ranks = {pattern: 2 + i for i, pattern in enumerate(PATTERNS)}
    alphas = {pattern: 3.5 * i for i, pattern in enumerate(reversed(PATTERNS))}
    own = _Config("LORA", ["x"], rank_pattern=ranks, alpha_pattern=alphas, use_rslora=use_rslora)
    for module in MODULES:
        rank = ranks.get(get_pattern_key(ranks.keys(), module), own.r)
        alpha = alphas.get(get_pattern_key(alphas.keys(), module), own.lora_alpha)
        assert own.rank(module) == rank
        assert own.scaling(module) == alpha / (math.sqrt(rank) if use_rslora else rank)
