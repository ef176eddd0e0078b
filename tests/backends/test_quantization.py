"""Quantized bases: LoRA on them compared with peft's own model on the same quantized base."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from sway_gate.backends import hf, loading, null_adapters, quantization
from sway_gate.backends.loading import Source
from sway_gate.errors import CannotDecide
from sway_gate.measurements import BASE, FINETUNED, Divergence, LogProbs, View
from tests.helpers import measured
from tests.helpers.measured import log_probs
from tests.helpers.models import byte_tokenizer, save_adapter

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt")

TEXTS = [
    LogProbs("A prompt", " and its end"),
    LogProbs("", "Running text."),
    Divergence("z", "js", 4),
]
VIEWS = [FINETUNED, View("null", 0), View("null", 1), FINETUNED.scaled(0.5)]
SETTINGS = null_adapters.NullSettings(runs=2)
measure = partial(measured.measure, views=VIEWS, requests=TEXTS)
CONFIGS = {
    "nf4": BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    ),
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}


@pytest.fixture(scope="module", params=CONFIGS)
def kind(request: Any) -> str:
    return request.param


def quantized(base: Path, kind: str) -> Any:
    """The base as transformers quantizes it."""
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=CONFIGS[kind]
    )
    quantization.keep_compute_dtype(model)
    return model.eval()


@pytest.fixture(scope="module")
def stored(base: Path, kind: str, tmp_path_factory: Any) -> Path:
    """A base that is quantized in its files."""
    folder = tmp_path_factory.mktemp(kind)
    quantized(base, kind).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def load(base: Path, adapter: Path, kind: str | None) -> hf.HfBackend:
    return hf.load(Source(base, adapter, device="cpu", quantization=kind), SETTINGS)


def test_stacked_views_equal_peft_on_the_same_quantized_base(base, adapter, kind):
    backend = load(base, adapter, kind)
    answers = measure(backend)
    assert backend.batches_views
    assert backend.facts.dtype == f"{kind} with float32"
    plain = quantized(base, kind)
    tuned = PeftModel.from_pretrained(quantized(base, kind), adapter).eval()
    for request in TEXTS[:2]:
        for view, model in ((BASE, plain), (FINETUNED, tuned)):
            expected = log_probs(model, request)
            np.testing.assert_allclose(answers.get(view, request), expected, atol=2e-5)


def test_stacked_dora_equals_peft_also_on_a_base_that_was_used_before(base, kind, tmp_path):
    adapter = save_adapter(tmp_path, base, use_dora=True)
    opened = loading.open_base(source := Source(base, adapter, device="cpu", quantization=kind))
    tuned = PeftModel.from_pretrained(quantized(base, kind), adapter).eval()
    expected = log_probs(tuned, TEXTS[0])  # with int8, peft's second pass fails
    for _ in range(2):
        backend = hf.load(source, SETTINGS, opened)
        found = measure(backend).get(FINETUNED, TEXTS[0])
        assert backend.batches_views
        np.testing.assert_allclose(found, expected, atol=1e-4)
        backend.leave()


SAVED = {
    "embeddings and head": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "norms": {"modules_to_save": ["input_layernorm", "norm"], "use_dora": True},
}


@pytest.mark.parametrize("fields", SAVED.values(), ids=SAVED)
def test_weights_that_were_trained_with_the_factors_equal_peft(base, kind, fields, tmp_path):
    adapter = save_adapter(tmp_path, base, **fields)
    backend = load(base, adapter, kind)
    found = measure(backend)
    assert not backend.batches_views
    assert not backend.unused_modules()
    assert not np.allclose(found.get(View("null", 0), TEXTS[0]), found.get(BASE, TEXTS[0]))
    tuned = PeftModel.from_pretrained(quantized(base, kind), adapter).eval()
    for view, model in ((BASE, quantized(base, kind)), (FINETUNED, tuned)):
        expected = log_probs(model, TEXTS[0])
        np.testing.assert_allclose(found.get(view, TEXTS[0]), expected, atol=1e-4)


LACKING = {
    "a norm": ("model.norm.weight", "lacks weights: model.norm.weight"),
    "a matrix": ("model.layers.1.mlp.up_proj.weight", "lacks weights|cannot be loaded"),
}


@pytest.mark.parametrize("is_stored", [False, True], ids=["when loaded", "in its files"])
@pytest.mark.parametrize(("name", "message"), LACKING.values(), ids=LACKING)
def test_a_quantized_base_that_lacks_weights_is_refused(
    base, stored, adapter, kind, tmp_path, name, message, is_stored
):
    folder = Path(shutil.copytree(stored if is_stored else base, tmp_path / "base"))
    tensors = load_file(folder / "model.safetensors")
    kept = {n: tensor for n, tensor in tensors.items() if not n.startswith(name)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CannotDecide, match=message):
        load(folder, adapter, None if is_stored else kind)


def test_a_base_that_is_quantized_in_its_files_is_the_same(base, stored, adapter, kind):
    answers, own = (
        measure(load(*args)) for args in ((base, adapter, kind), (stored, adapter, None))
    )
    again = measure(load(stored, adapter, kind))
    for view in VIEWS:
        for request in TEXTS:
            expected = answers.get(view, request)
            np.testing.assert_array_equal(own.get(view, request), expected)
            np.testing.assert_array_equal(again.get(view, request), expected)


def test_the_head_and_the_embeddings_are_not_quantized(base, adapter, kind):
    network = load(base, adapter, kind).weights.model(BASE).network
    assert type(network.lm_head) is torch.nn.Linear
    kinds = {type(m).__name__ for n, m in network.named_modules() if n.endswith("_proj")}
    assert kinds == {{"nf4": "Linear4bit", "int8": "Linear8bitLt"}[kind]}
    if kind == "nf4":
        state = network.model.layers[0].mlp.up_proj.weight.quant_state
        assert (state.quant_type, state.nested, state.dtype) == ("nf4", True, torch.float32)


def test_bfloat16_is_the_compute_dtype(base, adapter):
    source = Source(base, adapter, "bf16", "cpu", quantization="nf4")
    backend = hf.load(source, SETTINGS)
    layer = backend.weights.model(BASE).network.model.layers[0].mlp.up_proj
    assert layer.compute_dtype == torch.bfloat16
    assert backend.facts.dtype == "nf4 with bfloat16"


def other_method(base: Path, folder: Path, method: Any) -> Path:
    """The base with another `quantization_config`."""
    shutil.copytree(base, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": method}))
    return folder


METHODS = {
    "gptq": (
        {"quant_method": "gptq", "bits": 4},
        "with gptq, cannot be loaded: .*optimum",
    ),
    "awq": (
        {"quant_method": "awq", "bits": 4},
        "with awq, cannot be loaded: .*gptqmodel",
    ),
    "unknown": ({"quant_method": "new"}, "quantized with new, which this version"),
    "malformed": ("x", "quantized with unknown, which this version"),
}


@pytest.mark.parametrize(("method", "message"), METHODS.values(), ids=METHODS)
def test_a_method_without_its_library_is_one_line(base, adapter, tmp_path, method, message):
    folder = other_method(base, tmp_path / "base", method)
    with pytest.raises(CannotDecide, match=message) as raised:
        load(folder, adapter, None)
    assert "\n" not in str(raised.value)


def test_fp8_weights_run_as_floats_without_a_gpu(base, adapter, tmp_path):
    folder = other_method(base, tmp_path / "base", {"quant_method": "fp8"})
    assert load(folder, adapter, None).facts.dtype == "float32"


def test_a_base_is_quantized_once(base, stored, adapter, kind, tmp_path):
    other = {"nf4": "int8", "int8": "nf4"}[kind]
    message = f"quantization {other}: the files of the base .* are already quantized as {kind}"
    with pytest.raises(CannotDecide, match=message):
        load(stored, adapter, other)
    folder = other_method(base, tmp_path / "base", {"quant_method": "gptq", "bits": 4})
    with pytest.raises(CannotDecide, match="already quantized with gptq"):
        load(folder, adapter, kind)


def test_a_missing_library_is_named(base, adapter, kind, monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    message = rf"quantization {kind} requires bitsandbytes; .* pip install 'sway-gate\[qlora\]'"
    with pytest.raises(CannotDecide, match=message):
        load(base, adapter, kind)
