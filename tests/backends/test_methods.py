"""Each method and option of peft: log-probabilities equal to peft's own model, or a refusal."""

import json
import re
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from sway_gate.backends import hf, peft_adapters, plain_lora
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.gate.open import OpenBase
from sway_gate.measurements import BASE, FINETUNED, LogProbs, NoAnswer, View
from sway_gate.model_files.methods import METHODS
from sway_gate.static import patterns
from tests.backends.methods import REFUSED, ROWS, SINGLE, STACKED, TIED, Row
from tests.backends.test_plain_lora import assert_equal_factors
from tests.helpers import measured
from tests.helpers.measured import log_probs
from tests.helpers.models import save_adapter, save_base

TEXTS = [LogProbs("", "A prompt and its end."), LogProbs("", "Running text: xyz")]
SETTINGS = NullSettings(runs=1)
measure = partial(measured.measure, requests=TEXTS)
QUICK = {"LoRA", "LoRA on a tied lm_head", "DoRA on a tied lm_head", "PiSSA", "LoHa"}


@pytest.fixture(scope="session")
def bases(tmp_path_factory: Any) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {name: save_base(root / name, name) for name in {row.base for row in ROWS}}


def load(base: Path, adapter: Path) -> hf.HfBackend:
    return hf.load(Source(base, adapter, device="cpu"), SETTINGS)


def peft_model(base: Path, adapter: Path) -> Any:
    torch.manual_seed(5)  # what peft draws at load must not matter
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()


def config(row: Row) -> Any:
    try:
        return row.config()
    except (AttributeError, TypeError):
        pytest.skip(f"peft {peft.__version__} does not have it")


def made(folder: Path, base: Path, row: Row) -> Path:
    torch.manual_seed(11)
    if row.how != REFUSED:
        return save_adapter(folder, base, config=config(row))
    config(row).save_pretrained(folder)
    save_file({"base_model.model.x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


def cases(how: str) -> list[Any]:
    rows = [row for row in ROWS if (row.how == REFUSED) == (how == REFUSED)]
    is_quick = [row.name in QUICK or row.how == REFUSED for row in rows]
    marks = [() if quick else pytest.mark.slow for quick in is_quick]
    return [pytest.param(r, id=r.name, marks=m) for r, m in zip(rows, marks, strict=True)]


@pytest.mark.parametrize("row", cases(STACKED))
def test_numbers_are_those_of_peft(bases: dict[str, Path], tmp_path: Path, row: Row) -> None:
    base = bases[row.base]
    adapter = made(tmp_path, base, row)
    backend = load(base, adapter)
    answers = measure(backend, [FINETUNED, View("null", 0)])
    networks = {BASE: AutoModelForCausalLM.from_pretrained(base).eval()}
    networks[FINETUNED] = peft_model(base, adapter)
    for view, network in networks.items():
        for request in TEXTS:
            expected = log_probs(network, request)
            np.testing.assert_allclose(answers.get(view, request), expected, atol=1e-5)
    assert backend.batches_views == (row.how == STACKED)
    plain = plain_lora.read(networks[BASE], adapter)
    if plain is not None:
        assert_equal_factors(plain, networks[FINETUNED])
    by_peft = "bias" in row.name or row.name == "target_parameters"
    assert (plain is None) == (row.how == SINGLE or by_peft)
    assert any("equal peft's to" in note for note in backend.facts.notes) == (plain is None)


@pytest.mark.parametrize("row", cases(REFUSED))
def test_the_refusal_names_the_method(bases: dict[str, Path], tmp_path: Path, row: Row) -> None:
    with pytest.raises(AdapterError, match=re.escape(row.says)) as caught:
        load(bases[row.base], made(tmp_path, bases[row.base], row))
    assert len(str(caught.value).splitlines()) == 1


def test_the_table_has_each_method_of_the_installed_peft() -> None:
    kinds = {str(kind.value) for kind in peft.PeftType} - {"BONE"}  # MISS since peft 0.18
    assert METHODS.keys() >= kinds
    listed = set()
    for row in ROWS:
        with suppress(AttributeError, TypeError):
            listed.add(str(row.config().peft_type.value))
    assert listed >= kinds


def rewritten(adapter: Path, **fields: Any) -> Path:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return adapter


def with_tensors(adapter: Path, **added: torch.Tensor) -> Path:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path) | {f"base_model.model.{name}": x for name, x in added.items()}
    save_file({name: x.clone() for name, x in tensors.items()}, path)
    return adapter


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_an_unknown_field_that_is_off_changes_nothing(
    bases: dict[str, Path], tmp_path: Path, value: object
) -> None:
    adapter = rewritten(save_adapter(tmp_path, bases["llama"]), use_newlora=value)
    assert load(bases["llama"], adapter).batches_views


REFUSALS = {
    "an unknown field": {"use_newlora": True},
    "an unknown method": {"peft_type": "NEWLORA"},
    "an unknown initialization": {"init_lora_weights": "newlora"},
    "a method of another type": {"peft_type": ["newlora"]},
}


@pytest.mark.parametrize("fields", REFUSALS.values(), ids=REFUSALS)
def test_what_is_unknown_is_refused_by_name(
    bases: dict[str, Path], tmp_path: Path, fields: dict[str, Any]
) -> None:
    adapter = rewritten(save_adapter(tmp_path, bases["llama"]), **fields)
    [field] = fields
    with pytest.raises(AdapterError, match=rf"adapter_config.json: {field} \S+ .*not supported"):
        load(bases["llama"], adapter)


def test_a_tensor_that_peft_does_not_read_is_refused_by_name(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    adapter = with_tensors(save_adapter(tmp_path, bases["llama"]), extra=torch.ones(2))
    with pytest.raises(AdapterError, match=r"unexpected base_model\.model\.extra"):
        load(bases["llama"], adapter)


UP = "model.layers.0.mlp.up_proj.weight"


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_base_weights_in_the_file_count_if_they_differ(
    bases: dict[str, Path], tmp_path: Path, factor: float
) -> None:
    base = bases["llama"]
    weight = AutoModelForCausalLM.from_pretrained(base).get_parameter(UP).detach()
    adapter = save_adapter(tmp_path, base, target_modules=["q_proj"])
    backend = load(base, with_tensors(adapter, **{UP: weight * factor}))
    assert backend.batches_views == (factor == 1.0)
    expected = log_probs(peft_model(base, adapter), TEXTS[0])
    answers = measure(backend, [FINETUNED])
    np.testing.assert_allclose(answers.get(FINETUNED, TEXTS[0]), expected, atol=1e-5)
    untouched = log_probs(AutoModelForCausalLM.from_pretrained(base).eval(), TEXTS[0])
    np.testing.assert_allclose(answers.get(BASE, TEXTS[0]), untouched, atol=1e-5)


def test_a_bias_that_cannot_be_merged_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, bases["llama"], lora_bias=True)
    with pytest.raises(AdapterError, match="LORA with lora_bias cannot be merged"):
        load(bases["llama"], adapter)


def test_a_merge_that_differs_from_pefts_model_is_undecided(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(peft_adapters, "_untie", lambda _: None)
    base = bases[TIED]
    adapter = save_adapter(tmp_path, base, init_lora_weights="pissa", target_modules=["lm_head"])
    with pytest.raises(CannotDecide, match=r"log-probabilities differ from peft's by \d\S* nats"):
        load(base, adapter)


def test_an_adapter_with_nan_is_reported_by_the_run(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, bases["llama"], size=1e30, use_dora=True)
    answers = measure(load(bases["llama"], adapter), [FINETUNED])
    with pytest.raises(NoAnswer, match="finetuned view"):
        answers.get(FINETUNED, TEXTS[0])


def test_nulls_keep_tied_weights_tied(bases: dict[str, Path], tmp_path: Path) -> None:
    fields = {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
    backend = load(bases[TIED], save_adapter(tmp_path, bases[TIED], **fields))
    network = backend.weights.model(BASE).network
    for view in (View("null", 0), FINETUNED, BASE):
        with backend.weights.under([view], 1, 8):
            assert network.get_output_embeddings().weight is network.get_input_embeddings().weight


def test_pickled_adapters_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, bases["llama"])
    weights = adapter / "adapter_model.safetensors"
    torch.save(load_file(weights), adapter / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors"):
        load(bases["llama"], adapter)


def test_a_refused_adapter_leaves_the_base_for_the_next_one(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    base, opened = bases["llama"], OpenBase()
    other = save_adapter(tmp_path / "other", bases[TIED], target_modules=["lm_head", "q_proj"])
    with pytest.raises(AdapterError):
        opened.load(
            Source(base, with_tensors(other, extra=torch.ones(2)), device="cpu"), SETTINGS, "digest"
        )
    adapter = save_adapter(tmp_path / "fits", base)
    backend = opened.load(Source(base, adapter, device="cpu"), SETTINGS, "digest")
    expected = log_probs(peft_model(base, adapter), TEXTS[0])
    answers = measure(backend, [FINETUNED])
    np.testing.assert_allclose(answers.get(FINETUNED, TEXTS[0]), expected, atol=1e-5)


def test_a_base_is_examined_once_for_all_adapters(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    base, opened, passes = bases["llama"], OpenBase(), list[int]()
    forward = LlamaForCausalLM.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        passes[-1] += 1
        return forward(*args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", wraps(forward)(counted))
    for name in ("first", "second"):
        adapter = save_adapter(tmp_path / name, base)
        passes.append(0)
        backend = opened.load(Source(base, adapter, device="cpu"), SETTINGS, "digest")
        assert 0 < backend.pack_limit <= backend.prefix_cache.reach
    assert passes == [8, 1]  # the second: under its adapter


BEFORE = {
    "a saved embedding": {"modules_to_save": ["embed_tokens"]},
    "a saved head": {"modules_to_save": ["lm_head"]},
    "tied by peft": {"target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True},
}
AFTER = {
    "DoRA on the head": {"use_dora": True, "target_modules": ["lm_head", "q_proj"]},
    "tokens": {"trainable_token_indices": [3, 5, 100]},
    "tied by peft": BEFORE["tied by peft"],
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_an_adapter_does_not_change_the_base_of_the_next_one(
    bases: dict[str, Path], tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    base, opened = bases[TIED], OpenBase()
    plain = {"target_modules": ["q_proj"]}
    first = save_adapter(tmp_path / "first", base, **plain | before)
    second = save_adapter(tmp_path / "second", base, **plain | after)
    views = [FINETUNED, View("null", 0)]
    expected = measure(load(base, second), views)
    measure(opened.load(Source(base, first, device="cpu"), SETTINGS, "digest"), views)
    found = measure(opened.load(Source(base, second, device="cpu"), SETTINGS, "digest"), views)
    for view in (BASE, *views):
        for request in TEXTS:
            np.testing.assert_allclose(
                found.get(view, request), expected.get(view, request), atol=1e-6
            )


def test_a_view_that_failed_half_way_is_made_again(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    ends = ["embed_tokens", "lm_head"]
    backend = load(bases["llama"], save_adapter(tmp_path, bases["llama"], modules_to_save=ends))
    patches: Any = backend.weights._patches  # type: ignore[attr-defined]
    network, change = backend.weights.model(FINETUNED).network, patches._change

    def failing(name: str, delta: Any, view: View) -> Any:
        if name == list(patches._changes)[-1]:
            raise torch.OutOfMemoryError
        return change(name, delta, view)

    patches.put(FINETUNED)
    expected = {name: p.clone() for name, p in network.named_parameters()}
    monkeypatch.setattr(patches, "_change", failing)
    with pytest.raises(torch.OutOfMemoryError):
        patches.put(View("null", 0))
    monkeypatch.undo()
    patches.put(FINETUNED)
    assert all(torch.equal(p, expected[name]) for name, p in network.named_parameters())


def test_merged_weights_are_those_of_peft_in_bf16(bases: dict[str, Path], tmp_path: Path) -> None:
    base = bases["llama"]
    config = peft.LoHaConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapter = save_adapter(tmp_path, base, config=config)
    backend = hf.load(Source(base, adapter, "bf16", "cpu"), SETTINGS)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    with backend.weights.under([FINETUNED], 1, 8):
        network = backend.weights.model(FINETUNED).network
        for name, parameter in merged.named_parameters():
            assert torch.equal(network.get_parameter(name), parameter), name


@pytest.mark.parametrize("indices", [[-1, 3], [[3, 5]]])
def test_wrong_token_indices_are_refused(
    bases: dict[str, Path], tmp_path: Path, indices: Any
) -> None:
    adapter = save_adapter(tmp_path, bases["llama"], trainable_token_indices=[3, 5])
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(config | {"trainable_token_indices": indices})
    )
    with pytest.raises(AdapterError) as caught:
        load(bases["llama"], adapter)
    assert len(str(caught.value).splitlines()) == 1


def test_a_product_that_overflows_is_a_fault_of_the_adapter(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    adapter = save_adapter(tmp_path, bases["llama"], config=peft.LoHaConfig(
        r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))  # fmt: skip
    path = adapter / "adapter_model.safetensors"
    save_file({name: torch.full_like(t, 1e25) for name, t in load_file(path).items()}, path)
    answers = measure(load(bases["llama"], adapter), [FINETUNED, View("null", 0)])
    with pytest.raises(NoAnswer):
        answers.get(FINETUNED, TEXTS[0])


@pytest.mark.parametrize("field", ["exclude_modules", "target_modules"])
def test_a_pattern_that_does_not_end_never_reaches_peft(bases, tmp_path, monkeypatch, field):
    monkeypatch.setattr(patterns, "_SECONDS", 0.5)
    folder = rewritten(save_adapter(tmp_path, bases["llama"]), **{field: r"([\w.]+)+!"})
    with pytest.raises(AdapterError, match=r"the pattern '\(.* takes more than 0.5 seconds"):
        load(bases["llama"], folder)
