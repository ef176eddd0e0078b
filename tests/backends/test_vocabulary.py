"""Adapters with tokens that the base does not have, compared with peft on a resized base."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from sway_gate.backends import hf, two_models
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.errors import AdapterError
from sway_gate.gate.open import OpenBase
from sway_gate.measurements import BASE, FINETUNED, LogProbs, View
from tests.helpers.models import VOCABULARY, byte_tokenizer, save_adapter, save_base

# The base has rows for 62 tokens more than its tokenizer: 258 of 320.
FIRST, NEW = VOCABULARY - 2, ("<|start|>", "<|end|>", "<|tool|>", "<|more|>")
SIZE = FIRST + len(NEW)
TEXT = LogProbs("", "<|start|>user<|end|> text <|more|> and <|tool|>")
TARGETS = ["q_proj", "down_proj"]
CASES: dict[str, tuple[str, Any, bool]] = {
    "saved": ("llama", {}, True),
    "saved and tied": ("tied", {}, True),
    "trained": ("llama", {"modules_to_save": ["embed_tokens", "lm_head"]}, False),
    "trained and tied": (
        "tied",
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        False,
    ),
    "adapted": ("llama", {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}, True),
    "adapted and tied": ("tied", {"target_modules": ["embed_tokens", "q_proj"]}, True),
    "trained tokens": ("llama", {"trainable_token_indices": [FIRST + i for i in range(4)]}, False),
    "trained tokens and tied": (
        "tied",
        {"trainable_token_indices": [FIRST + i for i in range(4)]},
        False,
    ),
}


def tokenizer_with(names: tuple[str, ...], first: int = FIRST) -> PreTrainedTokenizerFast:
    """A tokenizer whose next tokens have the ids from `first` on."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([f"<unused{i}>" for i in range(first - len(tokenizer))])
    tokenizer.add_special_tokens({"additional_special_tokens": list(names)})
    return tokenizer


@pytest.fixture(scope="module")
def bases(tmp_path_factory: Any) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    plain = save_base(root / "llama", "llama")
    model = AutoModelForCausalLM.from_pretrained(plain)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(root / "tied")
    for base in (plain, root / "tied"):
        tokenizer_with(()).save_pretrained(base)
    return {"llama": plain, "tied": root / "tied"}


def trained(folder: Path, base: Path, *, names: tuple[str, ...] = NEW, **fields: Any) -> Path:
    """An adapter of the base with resized embeddings, as a trainer saves it."""
    torch.manual_seed(3)
    tokenizer = tokenizer_with(names)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer))
    config = LoraConfig(**({"r": 4, "target_modules": TARGETS, "task_type": "CAUSAL_LM"} | fields))
    wrapped = get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape) * 0.1
    wrapped.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def log_probs(network: Any, ids: Any) -> np.ndarray:
    ids = torch.tensor([ids])
    with torch.no_grad():
        logits = network(ids).logits
    return logits[0, :-1].double().log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0].numpy()


def measured(backend: Any, view: Any) -> tuple[Any, np.ndarray]:
    [(row, _)] = backend.encode([TEXT])
    return row.ids + row.targets[-1:], backend.forward([view], [row]).answers[0][0]


def source(base: Path, adapter: Path) -> Source:
    return Source(base, adapter, device="cpu")


@pytest.mark.parametrize(("architecture", "fields", "stacked"), CASES.values(), ids=CASES)
def test_numbers_are_those_of_peft_on_a_resized_base(
    bases: dict[str, Path], tmp_path: Path, architecture: str, fields: Any, stacked: bool
) -> None:
    base = bases[architecture]
    adapter = trained(tmp_path, base, **fields)
    backend = hf.load(source(base, adapter), NullSettings(runs=1))
    ids, found = measured(backend, FINETUNED)
    assert ids == tuple(tokenizer_with(NEW)(TEXT.completion)["input_ids"])
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(SIZE)
    expected = log_probs(PeftModel.from_pretrained(model, adapter).eval(), ids)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert backend.batches_views == stacked
    notes = "; ".join(backend.facts.notes)
    assert f"4 tokens of the adapter added: {NEW[0]!r}" in notes
    assert f"resized from {VOCABULARY} to {SIZE}" in notes


@pytest.mark.parametrize("fields", [{}, {"target_modules": ["embed_tokens", "q_proj"]}])
def test_the_base_of_a_tied_embedding_has_the_saved_rows(
    bases: dict[str, Path], tmp_path: Path, fields: Any
) -> None:
    """Also if they are saved under the name of one of the two parameters only."""
    adapter = trained(tmp_path, bases["tied"], **fields)
    torch.manual_seed(3)
    expected = AutoModelForCausalLM.from_pretrained(bases["tied"])
    expected.resize_token_embeddings(SIZE)
    backend = hf.load(source(bases["tied"], adapter), NullSettings(runs=1))
    network = backend.weights.model(BASE).network
    torch.testing.assert_close(
        network.get_input_embeddings().weight, expected.get_input_embeddings().weight
    )
    assert any("saved with the adapter" in note for note in backend.facts.notes)


ODD = {
    "null lists": {"tokenizer.json": {"added_tokens": None}},
    "null table": {"tokenizer_config.json": {"added_tokens_decoder": None}},
}


@pytest.mark.parametrize("files", ODD.values(), ids=ODD)
def test_a_tokenizer_without_added_tokens(
    bases: dict[str, Path], tmp_path: Path, files: dict[str, Any]
) -> None:
    adapter = save_adapter(tmp_path, bases["llama"])
    for name, content in files.items():
        (adapter / name).write_text(json.dumps(content))
    assert hf.load(source(bases["llama"], adapter), NullSettings(runs=1)).batches_views


def test_rows_that_nobody_saved_are_the_mean(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, bases["llama"])
    tokenizer_with(NEW).save_pretrained(adapter)
    backend = hf.load(source(bases["llama"], adapter), NullSettings(runs=1))
    network = backend.weights.model(BASE).network
    for end in (network.get_input_embeddings(), network.get_output_embeddings()):
        assert end.weight.shape[0] == SIZE
        torch.testing.assert_close(end.weight[-1], end.weight[:VOCABULARY].mean(0))
    assert any("the mean of the others" in note for note in backend.facts.notes)


def test_far_more_tokens_than_rows_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, bases["llama"])
    tokenizer_with(tuple(f"<t{i}>" for i in range(1200))).save_pretrained(adapter)
    message = "the tokenizer adds 1,200 tokens that the base lacks, but the adapter has no embedd"
    with pytest.raises(AdapterError, match=message):
        hf.load(source(bases["llama"], adapter), NullSettings(runs=1))


def test_many_tokens_with_rows_are_added(bases: dict[str, Path], tmp_path: Path) -> None:
    names = tuple(f"<t{i}>" for i in range(1200))
    adapter = trained(tmp_path, bases["llama"], names=names)
    backend = hf.load(source(bases["llama"], adapter), NullSettings(runs=1))
    assert any("1200 tokens of the adapter added" in note for note in backend.facts.notes)


def test_two_models_have_the_same_vocabulary(bases: dict[str, Path], tmp_path: Path) -> None:
    base = bases["llama"]
    adapter = trained(tmp_path, base, modules_to_save=["embed_tokens"])
    one, two = (
        hf.load(source(base, adapter), NullSettings(1)),
        two_models.load(source(base, adapter)),
    )
    for view in (BASE, FINETUNED):
        np.testing.assert_allclose(measured(one, view)[1], measured(two, view)[1], atol=1e-5)


def full(folder: Path, base: Path, names: tuple[str, ...] = NEW) -> Path:
    """A fine-tuned model without an adapter, with rows for the new tokens."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer_with(names)))
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape) * 0.05
    model.save_pretrained(folder)
    tokenizer_with(names).save_pretrained(folder)
    return folder


def load_full(base: Path, tuned: Path) -> Any:
    return hf.load(source(base, tuned)._replace(is_full=True), NullSettings(runs=1))


@pytest.mark.parametrize("name", ["llama", "tied"])
def test_a_full_fine_tune_is_compared_with_a_resized_base(
    bases: dict[str, Path], tmp_path: Path, name: str
) -> None:
    base = AutoModelForCausalLM.from_pretrained(bases[name])
    base.resize_token_embeddings(SIZE)
    for end in (base.get_input_embeddings(), base.get_output_embeddings()):
        end.weight.data[VOCABULARY:] = end.weight.data[:VOCABULARY].mean(0)
    tuned = full(tmp_path, bases[name])
    networks = {BASE: base, FINETUNED: AutoModelForCausalLM.from_pretrained(tuned)}
    one = load_full(bases[name], tuned)
    two = two_models.load(source(bases[name], tuned)._replace(is_full=True))
    for backend in (one, two):
        assert any(f"resized from {VOCABULARY} to {SIZE}" in note for note in backend.facts.notes)
        for view, network in networks.items():
            ids, found = measured(backend, view)
            np.testing.assert_allclose(found, log_probs(network, ids), atol=1e-5)
    null = View("null", 0)
    assert np.abs(measured(one, null)[1] - measured(one, BASE)[1]).max() > 1e-3
    assert not any("both models are in memory" in note for note in one.facts.notes)
    assert one.is_base_changed


def test_a_full_fine_tune_with_fewer_rows_cuts_the_base(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    backend = load_full(bases["llama"], full(tmp_path, bases["llama"], ()))
    assert f"vocabulary resized from {VOCABULARY} to {FIRST} embeddings" in backend.facts.notes


def test_the_next_adapter_gets_the_base_as_it_is(bases: dict[str, Path], tmp_path: Path) -> None:
    base, opened = bases["llama"], OpenBase()
    resized = trained(tmp_path / "resized", base)
    plain = save_adapter(tmp_path / "plain", base)
    sizes = [
        opened.load(source(base, adapter), NullSettings(1), "digest")
        .weights.model(BASE)
        .network.vocab_size
        for adapter in (resized, plain)
    ]
    assert sizes == [SIZE, VOCABULARY]


def test_a_smaller_vocabulary_is_cut(bases: dict[str, Path], tmp_path: Path) -> None:
    base = bases["llama"]
    adapter = trained(tmp_path, base, names=())
    backend = hf.load(source(base, adapter), NullSettings(runs=1))
    assert f"vocabulary resized from {VOCABULARY} to {FIRST} embeddings" in backend.facts.notes


def test_another_id_for_a_token_is_a_warning(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, bases["llama"])
    tokenizer_with(NEW, FIRST + 7).save_pretrained(adapter)
    path = adapter / "tokenizer.json"
    file = json.loads(path.read_text())
    file["added_tokens"] = [t for t in file["added_tokens"] if "<unused6" not in t["content"]]
    path.write_text(json.dumps(file))
    backend = hf.load(source(bases["llama"], adapter), NullSettings(runs=1))
    [note] = backend.facts.notes
    assert note.startswith("warning: the tokenizer in the adapter's folder gives")
    assert len(backend.tokenizer) == FIRST


def test_a_folder_with_the_bases_tokenizer_changes_nothing(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    adapter = save_adapter(tmp_path, bases["llama"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bases["llama"] / name, adapter)
    assert hf.load(source(bases["llama"], adapter), NullSettings(runs=1)).facts.notes == ()
