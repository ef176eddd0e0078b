"""`kind: mlx` compared with the torch backend on the same weights and the same MLX adapter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from sway_gate.backends import hf
from sway_gate.backends.base import NotStackable
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Divergence,
    Generation,
    LogProbs,
    NoAnswer,
    TeacherForced,
    View,
)
from tests.helpers.measured import measure
from tests.helpers.mlx import RANK, random_adapter, save_mlx, save_small
from tests.helpers.models import byte_tokenizer, save_base

pytestmark = pytest.mark.slow  # mlx-lm takes seconds to import
pytest.importorskip("mlx_lm")

SETTINGS = NullSettings(runs=2)
VIEWS = [FINETUNED, View("null", 0), View("null", 1), FINETUNED.scaled(0.5), View("null", 1, 1.4)]
NUMBERS = [
    LogProbs("A prompt", " and its end"),
    LogProbs("x", "y" * 30),
    LogProbs("", "Running text."),
    Divergence("A prompt", "js", 4),
    Divergence("Another, longer prompt", "kl", 3),
    Divergence("Behind a context", "js", 2, 12),
    Divergence("z", "log_ratio"),
    TeacherForced("A prompt", " and its end", end=True),
]
TEXTS = [Generation("A prompt", 8), Generation("Another one", 8), Generation("A planet", 8)]
CASES = {
    "untied": ("llama", "lora", ()),
    "tied": ("qwen2-gqa-tied", "lora", ()),
    "head": ("llama", "lora", ("lm_head", "model.layers.1.self_attn.q_proj")),
    "embedding": ("llama", "lora", ("model.embed_tokens", "model.layers.1.self_attn.q_proj")),
    "tied embedding": ("qwen2-gqa-tied", "lora", ("model.embed_tokens",)),
    "dora": ("llama", "dora", ()),
    "dora with biases": ("qwen2-gqa-tied", "dora", ()),
}


def adapted(folder: Path, base: Path, keys: tuple[str, ...] = (), kind: str = "lora") -> Path:
    model = AutoModelForCausalLM.from_pretrained(base)
    return random_adapter(folder, model, kind, keys, size=0.05)


def load(base: Path, adapter: Path, **options: Any) -> Any:
    from sway_gate.backends import mlx

    return mlx.load(mlx.Source(base, adapter, **options), SETTINGS)


def both(base: Path, adapter: Path) -> tuple[Any, Any]:
    """The backend, and the torch backend."""
    return load(base, adapter), hf.load(Source(base, adapter, device="cpu"), SETTINGS)


@pytest.mark.parametrize(("architecture", "kind", "keys"), CASES.values(), ids=CASES)
def test_answers_are_those_of_the_torch_backend(architecture, kind, keys, tmp_path):
    base = save_base(tmp_path / "base", architecture)
    adapter = adapted(tmp_path / "adapter", base, keys, kind)
    mine, theirs = (measure(backend, VIEWS, [*NUMBERS, *TEXTS]) for backend in both(base, adapter))
    np.testing.assert_allclose(mine.get(BASE, NUMBERS[0]), theirs.get(BASE, NUMBERS[0]), atol=1e-5)
    for view in VIEWS:
        for request in NUMBERS:
            found, expected = mine.get(view, request), theirs.get(view, request)
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=f"{view} {request}")
        for request in TEXTS:
            assert mine.text(view, request) == theirs.text(view, request)


@pytest.mark.parametrize("kind", ["cohere", "gemma2", "mixtral", "phi3", "qwen3"])
def test_other_architectures(kind, tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    random_adapter(adapter, save_small(base, kind), size=0.05)
    mine, theirs = (
        measure(backend, VIEWS, [NUMBERS[0], TEXTS[0]]) for backend in both(base, adapter)
    )
    for view in VIEWS:
        found, expected = mine.get(view, NUMBERS[0]), theirs.get(view, NUMBERS[0])
        np.testing.assert_allclose(found, expected, atol=1e-3)
        assert mine.text(view, TEXTS[0]) == theirs.text(view, TEXTS[0])


def test_rows_in_another_order_cannot_be_stacked():
    import mlx.core as mx

    from sway_gate.backends.mlx_views import _own, _Pass

    def current(views: int, adapted: int) -> _Pass:
        nothing = mx.array([0])
        return _Pass(views, views * 2, adapted, nothing, nothing, nothing)

    rows = mx.arange(12)
    assert _own(rows[:6], current(3, 2)).tolist() == [2, 3, 4, 5]
    assert _own(rows[:3], current(3, 2)).tolist() == [1, 2]
    assert _own(rows, current(1, 1)).tolist() == rows.tolist()
    with pytest.raises(NotStackable):
        _own(rows, current(3, 2))


def test_one_pass_computes_all_views(tmp_path):
    base = save_base(tmp_path / "base", "llama")
    backend = load(base, adapted(tmp_path / "adapter", base))
    [(row, _)] = backend.encode([NUMBERS[0]])
    together = backend.forward([BASE, *VIEWS], [row]).answers
    alone = [backend.forward([view], [row]).answers[0] for view in (BASE, *VIEWS)]
    np.testing.assert_allclose(np.array(together), np.array(alone), atol=1e-5)
    assert backend.unused_modules() == ()


def test_the_frequencies_of_the_configuration_are_used(tmp_path):
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=320, max_position_embeddings=64, eos_token_id=257,
        rope_parameters={"rope_type": "llama3", "rope_theta": 50.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 16},
    )  # fmt: skip
    torch.manual_seed(0)
    base = tmp_path / "base"
    LlamaForCausalLM(config).save_pretrained(base)
    byte_tokenizer().save_pretrained(base)
    adapter = adapted(tmp_path / "adapter", base)
    mine, theirs = (
        measure(backend, [FINETUNED], NUMBERS[:2]).get(FINETUNED, NUMBERS[1])
        for backend in both(base, adapter)
    )
    np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_base_quantized_by_mlx_is_judged_with_its_own_weights(kind, tmp_path):
    from mlx_lm import convert
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    base = save_base(tmp_path / "base", "llama")
    adapter = adapted(tmp_path / "adapter", base, kind=kind)
    quantized = tmp_path / "quantized"
    convert(str(base), str(quantized), quantize=True, q_group_size=32, q_bits=4)
    backend = load(quantized, adapter)
    request = NUMBERS[0]
    [(row, _)] = backend.encode([request])
    found = measure(backend, [FINETUNED], [request]).get(FINETUNED, request)
    import mlx.core as mx

    model, _ = load_model(quantized)
    model.set_dtype(mx.float32)
    logits = load_adapters(model, str(adapter))(mx.array([row.ids]))[0]
    logs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
    np.testing.assert_allclose(found, logs[list(row.positions), list(row.targets)], atol=1e-4)


DTYPES = {"fp16": "float16", "bf16": "bfloat16", "auto": "float32"}


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes(name, tmp_path):
    base = save_base(tmp_path / "base", "llama")
    backend = load(base, adapted(tmp_path / "adapter", base), dtype=name, device="cpu")
    assert backend.facts[:2] == ("mlx cpu", DTYPES[name])
    assert np.isfinite(measure(backend, VIEWS, NUMBERS[:1]).get(FINETUNED, NUMBERS[0])).all()


def test_nan_of_the_adapter_is_a_fault_of_the_adapter(tmp_path):
    base = save_base(tmp_path / "base", "llama")
    module = "model.layers.1.self_attn.q_proj"
    tensors = {f"{module}.lora_a": torch.full((32, RANK), float("nan"))}
    tensors[f"{module}.lora_b"] = torch.ones(RANK, 32)
    adapter = save_mlx(tmp_path / "a", tensors, lora_parameters={"rank": RANK, "scale": 1.0})
    from sway_gate.backends import mlx

    backend = mlx.load(mlx.Source(base, adapter), NullSettings(runs=1, kind="init"))
    for request in (NUMBERS[0], TEXTS[0]):
        answers = measure(backend, [FINETUNED], [request])
        with pytest.raises(NoAnswer, match="NaN or Inf under the finetuned view") as caught:
            answers._answer(FINETUNED, request)
        assert caught.value.fault.of == "adapter"


def peft_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def full(folder: Path) -> None:
    adapted(folder, folder.parent / "base", kind="full")


def dora_of_an_embedding(folder: Path) -> None:
    adapted(folder, folder.parent / "base", ("model.embed_tokens",), "dora")


def other_module(folder: Path) -> None:
    rename(folder, "q_proj", "x_proj")


def not_linear(folder: Path) -> None:
    rename(folder, "self_attn.q_proj", "input_layernorm")


def rename(folder: Path, old: str, new: str) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapters.safetensors"
    tensors = load_file(path)
    save_file({name.replace(old, new): tensor for name, tensor in tensors.items()}, path)


def template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def code(folder: Path) -> None:
    path = folder.parent / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_file": "evil.py"}))


def many_layers(folder: Path) -> None:
    path = folder.parent / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 10**6}))


def no_weights(folder: Path) -> None:
    (folder.parent / "base" / "model.safetensors").unlink()


REFUSED = {
    peft_adapter: (AdapterError, "needs an MLX adapter; use kind: hf"),
    full: (AdapterError, "needs fine_tune_type lora or dora, not full"),
    dora_of_an_embedding: (AdapterError, "does not run DoRA on model.embed_tokens; use kind: hf"),
    other_module: (AdapterError, "the base has no module model.layers.0.self_attn.x_proj"),
    not_linear: (AdapterError, "maps 32 to 32 values, in the base 0 to 0"),
    template: (CannotDecide, "does not read the chat template of an adapter's folder"),
    code: (CannotDecide, "names code, model_file"),
    many_layers: (CannotDecide, "config.json states num_hidden_layers 1000000, but the files"),
    no_weights: (CannotDecide, "cannot be loaded by mlx-lm: No safetensors found"),
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_it_cannot_do_is_refused_by_name(change, tmp_path):
    base = save_base(tmp_path / "base", "llama")
    adapter = adapted(tmp_path / "adapter", base)
    change(adapter)
    error, message = REFUSED[change]
    with pytest.raises(error, match=message):
        load(base, adapter)


@pytest.mark.parametrize("name", ["cuda", "gpu"])
def test_a_device_that_is_not_there_is_refused(name, tmp_path):
    import mlx.core as mx

    if name == "gpu" and mx.is_available(mx.Device(mx.gpu)):
        pytest.skip("this machine has a GPU")
    with pytest.raises(CannotDecide, match=f"device '{name}' cannot be used by mlx"):
        load(tmp_path, save_mlx(tmp_path, {}), device=name)
