"""Static is green only where loading works: many small faults of one adapter, checked both ways."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sway_gate.errors import SwayError
from sway_gate.static.check import check_files

pytest.importorskip("torch")

from transformers import AutoModelForCausalLM

from sway_gate.backends import adapters, vocabulary
from sway_gate.model_files.shapes import short
from sway_gate.static.base_modules import ROOTS
from tests.backends.architectures import tiny_model
from tests.helpers.mlx import random_adapter
from tests.helpers.models import byte_tokenizer, save_adapter, save_base

Tensors = dict[str, np.ndarray]
Config = dict[str, Any]
WEIGHTS, CONFIG, MLX = "adapter_model.safetensors", "adapter_config.json", "adapters.safetensors"
ODD: tuple[Any, ...] = (
    *(None, True, 0, 99, 0.5, "", "x", "(", ".*"),
    *([], ["x"], ["q_proj"], ["("], [1], {}, {"q_proj": 1}, {"(": 2}),
)
FIELDS = (
    *("r", "lora_alpha", "target_modules", "exclude_modules", "target_parameters"),
    *("modules_to_save", "rank_pattern", "alpha_pattern", "bias", "lora_bias", "use_dora"),
    *("use_rslora", "fan_in_fan_out", "init_lora_weights", "layers_to_transform"),
    *("layers_pattern", "trainable_token_indices", "lora_dropout", "task_type", "peft_type"),
    *("kasa_config", "velora_config", "eva_config"),
)
WITH: tuple[Config, ...] = (
    *({}, {"bias": "all"}, {"modules_to_save": ["norm"]}, {"modules_to_save": ["lm_head"]}),
    *({"use_dora": True}, {"target_modules": "all-linear"}, {"target_modules": ".*_proj"}),
    {"target_modules": ["q_proj", "v_proj", "embed_tokens"]},
)
BLOCK = "base_model.model.model.layers.0.self_attn."
A = f"{BLOCK}q_proj.lora_A.weight"


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


def added(name: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: np.ones(shape, np.float32)}


FAULTS: tuple[Callable[[Tensors], Tensors], ...] = (
    lambda tensors: tensors,
    lambda tensors: {},
    lambda tensors: {name: value for name, value in tensors.items() if name != A},
    lambda tensors: {name: value for name, value in tensors.items() if ".1." not in name},
    lambda tensors: tensors | {A: tensors[A].T.copy()},
    lambda tensors: tensors | {A: tensors[A].ravel().copy()},
    lambda tensors: tensors | {A: np.repeat(tensors[A], 2, 0)},
    lambda tensors: tensors | {A: np.repeat(tensors[A], 2, 1)},
    lambda tensors: tensors | {A: tensors[A].astype(np.int8)},
    renamed("q_proj", "w_proj"),
    renamed("q_proj", "k_proj"),
    renamed("self_attn", "mlp"),
    renamed("layers.1", "layers.9"),
    renamed("model.model.layers", "model.layers"),
    renamed("model.model.layers", "model.transformer.layers"),
    added("x", 3),
    added("base_model.model.model.norm.weight", 32),
    added("base_model.model.lm_head.weight", 320, 32),
    added(f"{BLOCK}q_proj.bias", 32),
    added(f"{BLOCK}q_proj.lora_B.bias", 32),
    added(f"{BLOCK}q_proj.lora_magnitude_vector", 32),
    added(f"{BLOCK}q_proj.base_layer.weight", 32, 32),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    save_base(folder / "base", "llama")
    save_adapter(folder / "adapter", folder / "base", target_modules=["q_proj", "v_proj"])
    random_adapter(folder / "mlx", AutoModelForCausalLM.from_pretrained(folder / "base"))
    return folder


def cases(config: Config, tensors: Tensors) -> Iterator[tuple[Config, Tensors]]:
    yield from ((config | {field: value}, tensors) for field in FIELDS for value in ODD)
    yield from ((config | other, fault(tensors)) for fault in FAULTS for other in WITH)


def green(folder: Path, base: Path, config: Config, tensors: Tensors, weights: str) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(config))
    save_file(tensors, folder / weights)
    return check_files(folder, str(base)).exit_code == 0


def fault_at_load(base: Any, folder: Path) -> str:
    """Why the adapter cannot be loaded; "" if it can."""
    model = copy.deepcopy(base)
    try:
        vocabulary.fit(model, byte_tokenizer(), folder)
        adapters.read(model, folder, [1, 2, 3], quantized=False)
    except SwayError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_what_static_accepts_can_be_loaded(made: Path, tmp_path: Path, step: int) -> None:
    base = AutoModelForCausalLM.from_pretrained(made / "base")
    config = json.loads((made / "adapter" / CONFIG).read_text())
    wrong, accepted = [], 0
    every = cases(config, load_file(made / "adapter" / WEIGHTS))
    for fields, tensors in islice(every, None, None, step):
        if green(tmp_path / "case", made / "base", fields, tensors, WEIGHTS):
            accepted += 1
            if fault := fault_at_load(base, tmp_path / "case"):
                changed = {k: v for k, v in fields.items() if v != config.get(k)}
                wrong.append((changed, fault))
    assert wrong == []
    assert accepted > 10


MLX_CASES: dict[str, tuple[Config, Callable[[Tensors], Tensors], bool]] = {
    "as saved": ({}, lambda tensors: tensors, True),
    "all layers": ({"num_layers": 2}, lambda tensors: tensors, True),
    "last layer only": ({"num_layers": 1}, lambda tensors: tensors, False),
    "last layer": ({"num_layers": 1}, lambda t: {k: v for k, v in t.items() if ".1." in k}, True),
    "layer 9": ({}, renamed("layers.1", "layers.9"), False),
    "other module": ({}, renamed("q_proj", "w_proj"), False),
    "other size": ({}, lambda t: {k: np.repeat(v, 2, 0) for k, v in t.items()}, False),
    "no prefix": ({}, renamed("model.layers", "layers"), False),
}


@pytest.mark.parametrize(("fields", "fault", "fits"), MLX_CASES.values(), ids=MLX_CASES)
def test_mlx(
    made: Path, tmp_path: Path, fields: Config, fault: Callable[[Tensors], Tensors], fits: bool
) -> None:
    config = json.loads((made / "mlx" / CONFIG).read_text()) | fields
    tensors = fault(load_file(made / "mlx" / MLX))
    base = AutoModelForCausalLM.from_pretrained(made / "base")
    assert green(tmp_path / "case", made / "base", config, tensors, MLX) == fits
    assert (fault_at_load(base, tmp_path / "case") == "") == fits


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "gpt2" else pytest.mark.slow) for n in sorted(ROOTS)]
)
def test_files_and_modules_have_the_same_names(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    model.save_pretrained(tmp_path)
    heads = ("lm_head.", "embed_out.")
    stored = {n for n in load_file(tmp_path / "model.safetensors") if not n.startswith(heads)}
    named = {n for n, _ in model.named_parameters() if not n.startswith(heads)}
    assert all(parameter.startswith(ROOTS[name]) for parameter in named)
    assert set(map(short, named)) == set(map(short, stored))
