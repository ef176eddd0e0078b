"""dtype auto on a CPU: bfloat16 for a LoRA on a 16-bit or large base; separate cache entries."""

import json
from datetime import datetime

import pytest
import torch
from safetensors.torch import save_file

from sway_gate.backends import processor
from sway_gate.engine.plan import null_plan
from sway_gate.gate import identity, precision
from sway_gate.gate.identity import base_readings_key, readings_key, verdict_key
from sway_gate.gate.resolve import Options, load_options, prepare
from sway_gate.spec.load import parse_spec

LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q"]}
PREFIX = "base_model.model.q"


@pytest.fixture
def resolved(tmp_path, monkeypatch):
    """Prepare a job on a processor whose bfloat16 is `ratio` times as fast.

    The base has 16 values, and `large` is the size of a large one.
    """

    def make(
        ratio=2.0,
        weights=torch.bfloat16,
        config=None,
        adapter=None,
        tensors=(),
        given=None,
        large=precision._LARGE,
        **ft,
    ):
        monkeypatch.setattr(precision, "_LARGE", large)
        monkeypatch.setattr(processor, "rates", lambda: processor.Rates(1e9, ratio * 1e9))
        monkeypatch.setattr(processor, "may_have_gpu", lambda _: False)
        base, lora = tmp_path / "base", tmp_path / "adapter"
        for folder in (base, lora):
            folder.mkdir(exist_ok=True)
        (base / "config.json").write_text(json.dumps({"model_type": "llama", **(config or {})}))
        stored = {"q.weight": torch.ones(4, 4, dtype=weights), "norm.weight": torch.ones(4)}
        save_file(stored, base / "model.safetensors")
        (lora / "adapter_config.json").write_text(json.dumps(LORA | (adapter or {})))
        names = [f"{PREFIX}.lora_A.weight", f"{PREFIX}.lora_B.weight", *tensors]
        save_file({n: torch.ones(2, 4) for n in names}, lora / "adapter_model.safetensors")
        models = {
            "base": {"base": str(base), "device": "cpu"},
            "ft": {"base": str(base), "adapter": str(lora), **ft},
        }
        suite = [{"name": "moved", "kind": "delta_kl", "prompts": ["a"]}]
        fields = {"version": 1, "models": models, "suite": suite, **(given or {})}
        return prepare(parse_spec(json.dumps(fields), "sway.yaml", str(tmp_path)), Options())

    return make


CASES = {
    "a faster processor": ({}, "bf16"),
    "a base in float16": ({"weights": torch.float16}, "bf16"),
    "a base that states its dtype": ({"config": {"torch_dtype": "bfloat16"}}, "bf16"),
    "a processor without an advantage": ({"ratio": 1.1}, "auto"),
    "a base in float32": ({"weights": torch.float32}, "auto"),
    "a large base in float32": ({"weights": torch.float32, "large": 16}, "bf16"),
    "a large base that is only stored in 16 bits": (
        {"config": {"dtype": "float32"}, "large": 16},
        "bf16",
    ),
    "a large base of other numbers": ({"weights": torch.int8, "large": 1}, "auto"),
    "a base that is only stored in 16 bits": ({"config": {"dtype": "float32"}}, "auto"),
    "a quantized base": ({"config": {"quantization_config": {}}}, "auto"),
    "a base that is quantized": ({"quantization": "nf4"}, "auto"),
    "a chosen dtype": ({"dtype": "fp32"}, "fp32"),
    "another device": ({"device": "mps"}, "auto"),
    "two models": ({"given": {"defaults": {"differential": False}}}, "auto"),
    "another method": ({"adapter": {"peft_type": "LOHA"}}, "auto"),
    "a saved module": ({"tensors": ["base_model.model.lm_head.weight"]}, "auto"),
    "a base that PiSSA changed": ({"adapter": {"init_lora_weights": "pissa"}}, "auto"),
    "a bias of the base": ({"adapter": {"bias": "all"}}, "auto"),
    "a bias of the factors": ({"adapter": {"lora_bias": True}}, "auto"),
    "magnitudes": ({"tensors": [f"{PREFIX}.lora_magnitude_vector"]}, "bf16"),
}


@pytest.mark.parametrize(("fields", "dtype"), CASES.values(), ids=CASES)
def test_the_dtype_of_a_run(resolved, fields, dtype):
    assert load_options(resolved(**fields).spec).dtype == dtype


def test_processors_that_compute_differently_share_no_cache_entry(resolved):
    fast, slow = resolved(ratio=2.0), resolved(ratio=1.0)
    nulls = null_plan(fast.spec).settings
    assert fast.base.digest == slow.base.digest
    assert verdict_key(fast) != verdict_key(slow)
    assert readings_key(fast, nulls) != readings_key(slow, nulls)
    assert base_readings_key(fast) != base_readings_key(slow)


def test_readings_of_a_template_that_prints_the_date_are_of_one_day(
    resolved, tmp_path, monkeypatch
):
    def keys(template):
        (tmp_path / "base" / "chat_template.jinja").write_text(template)
        job, found = resolved(), set()
        for day in (1, 2):
            monkeypatch.setattr(identity, "STARTED", datetime(2026, 5, day, 12))
            nulls = null_plan(job.spec).settings
            found.add((readings_key(job, nulls), base_readings_key(job)))
        return found

    resolved()
    assert len(keys("{{ messages[0].content }}")) == 1
    assert len(keys("{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}")) == 2


def test_auto_and_the_dtype_that_it_stands_for_share_their_entries(resolved):
    assert verdict_key(resolved()) == verdict_key(resolved(dtype="bf16"))
