"""Batched views compared with peft's adapters, one view and one prompt at a time."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import IA3Config, LoHaConfig, PeftModel, PromptTuningConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sway_gate.backends import hf, null_adapters
from sway_gate.backends.base import EncodedRequest, OutOfMemory
from sway_gate.backends.loading import Source
from sway_gate.backends.passes import reductions
from sway_gate.backends.passes.generator import end_tokens
from sway_gate.conversation import Conversation, Message, asked
from sway_gate.errors import AdapterError, CannotDecide, UsageError
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
from sway_gate.training_data import packaged
from tests.helpers.measured import log_probs, measure, written
from tests.helpers.models import ARCHITECTURES, byte_tokenizer, save_adapter, save_base

TEXTS = [
    LogProbs("A prompt", " and its end"),
    LogProbs("", "Running text."),
    LogProbs("x", "y" * 30),
]
PROMPTS = [
    Divergence("A prompt"),
    Divergence("Another, longer prompt", "kl", 4),
    Divergence("z", "js", 6),
]
NULLS = [View("null", i) for i in range(3)]
VIEWS = [FINETUNED, *NULLS, FINETUNED.scaled(0.5), NULLS[1].scaled(1.4)]
SETTINGS = null_adapters.NullSettings(runs=3)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def base(request: Any, tmp_path_factory: Any) -> Path:
    return save_base(tmp_path_factory.mktemp(request.param), request.param)


def load(
    base: Path, adapter: Path, settings: null_adapters.NullSettings = SETTINGS
) -> hf.HfBackend:
    return hf.load(Source(base, adapter, device="cpu"), settings)


def peft_log_probs(
    base: Path, adapter: Path, requests: list[LogProbs], scale: float | None
) -> list[np.ndarray]:
    """By peft only; scale None switches the adapter off."""
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    model = PeftModel.from_pretrained(model, adapter).eval()
    for module in model.modules():
        if isinstance(module, LoraLayer) and scale is not None:
            module.scaling = {k: v * scale for k, v in module.scaling.items()}
    with model.disable_adapter() if scale is None else nullcontext():
        return [log_probs(model, request) for request in requests]


LORA = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "rank_pattern": {
        "rank_pattern": {"up_proj": 2, "q_proj": 6, "c_attn": 6},
        "alpha_pattern": {"v_proj": 3, "c_fc": 3},
    },
    "one_module": {"target_modules": r".*(v_proj|c_attn)"},
}


@pytest.mark.parametrize("fields", LORA.values(), ids=LORA)
def test_batched_views_equal_peft(base: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    adapter = save_adapter(tmp_path, base, **fields)
    backend = load(base, adapter)
    answers = measure(backend, VIEWS, [*TEXTS, *PROMPTS])
    assert backend.batches_views
    assert not backend.unused_modules()
    for view, scale in ((BASE, None), (FINETUNED.scaled(0.5), 0.5), (FINETUNED, 1.0)):
        for request, expected in zip(
            TEXTS, peft_log_probs(base, adapter, TEXTS, scale), strict=True
        ):
            np.testing.assert_allclose(answers.get(view, request), expected, atol=2e-5)


EXOTIC = {
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "modules_to_save of norms": {"modules_to_save": ["norm"], "target_modules": ["q_proj"]},
    "pissa": {"init_lora_weights": "pissa"},
    "loha": {"config": LoHaConfig(r=2, alpha=4, target_modules=["q_proj", "v_proj", "down_proj"])},
    "ia3": {
        "config": IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
        )
    },
}


@pytest.mark.parametrize("fields", EXOTIC.values(), ids=EXOTIC)
def test_adapters_that_run_one_view_at_a_time_equal_peft(
    llama: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    adapter = save_adapter(tmp_path, llama, **fields)
    backend = load(llama, adapter)
    answers = measure(backend, [FINETUNED, *NULLS], TEXTS)
    assert not backend.batches_views
    untouched = measure(load(llama, save_adapter(tmp_path / "plain", llama)), [FINETUNED], TEXTS)
    for request, expected in zip(TEXTS, peft_log_probs(llama, adapter, TEXTS, 1.0), strict=True):
        np.testing.assert_allclose(answers.get(FINETUNED, request), expected, atol=5e-5)
        np.testing.assert_allclose(
            answers.get(BASE, request), untouched.get(BASE, request), atol=1e-6
        )
        assert not np.allclose(
            answers.get(NULLS[0], request), answers.get(BASE, request), atol=1e-3
        )


def test_results_do_not_depend_on_the_batch(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, base)
    requests = [*TEXTS, *PROMPTS]
    together = measure(load(base, adapter), VIEWS, requests)
    alone = load(base, adapter)
    for view in VIEWS:
        for request in requests:
            single = measure(alone, [view], [request]).get(view, request)
            np.testing.assert_allclose(together.get(view, request), single, rtol=1e-4, atol=1e-6)


def test_embedding_lora_equals_peft(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, llama, target_modules=["embed_tokens", "q_proj"])
    backend = load(llama, adapter)
    answers = measure(backend, [FINETUNED, *NULLS], TEXTS)
    assert backend.batches_views
    for request, expected in zip(TEXTS, peft_log_probs(llama, adapter, TEXTS, 1.0), strict=True):
        np.testing.assert_allclose(answers.get(FINETUNED, request), expected, atol=2e-5)


def test_out_of_memory_halves_the_pass(llama: Path, tmp_path: Path, monkeypatch: Any) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    whole = measure(backend, VIEWS, [*TEXTS, *PROMPTS])
    forward = backend.forward

    def small(views: Any, rows: Any, base_log_probs: Any) -> Any:
        if len(views) * len(rows) > 2:
            raise OutOfMemory
        return forward(views, rows, base_log_probs)

    monkeypatch.setattr(backend, "forward", small)
    halved = measure(backend, VIEWS, [*TEXTS, *PROMPTS])
    for view in VIEWS:
        for request in [*TEXTS, *PROMPTS]:
            np.testing.assert_allclose(
                halved.get(view, request), whole.get(view, request), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan"])
def test_a_malformed_memory_budget_is_refused(
    llama: Path, tmp_path: Path, monkeypatch: Any, given: str
) -> None:
    monkeypatch.setenv("SWAY_MEMORY_GB", given)
    with pytest.raises(UsageError, match="SWAY_MEMORY_GB"):
        measure(load(llama, save_adapter(tmp_path, llama)), [FINETUNED], TEXTS)


def test_answers_do_not_depend_on_the_memory_budget(
    llama: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    requests = [*TEXTS, *PROMPTS]
    whole = measure(backend, VIEWS, requests)
    monkeypatch.setenv("SWAY_MEMORY_GB", "0.0001")
    small = measure(backend, VIEWS, requests)
    for view in VIEWS:
        for request in requests:
            np.testing.assert_allclose(
                small.get(view, request), whole.get(view, request), rtol=1e-4, atol=1e-6
            )


def test_one_text_that_does_not_fit_is_undecided(
    llama: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))

    def never(*_: Any) -> Any:
        raise OutOfMemory

    monkeypatch.setattr(backend, "forward", never)
    with pytest.raises(CannotDecide, match="out of memory"):
        measure(backend, [FINETUNED], TEXTS)


def test_a_nan_is_reported_with_view_layer_and_text(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, llama, size=1e30)
    answers = measure(load(llama, adapter), [FINETUNED], TEXTS[:1])
    with pytest.raises(NoAnswer, match=r"finetuned view, first in model\.layers\.0\..*A prompt"):
        answers.get(FINETUNED, TEXTS[0])
    assert np.isfinite(answers.get(BASE, TEXTS[0])).all()


def test_texts_beyond_the_context_are_cut_with_a_note(llama: Path, tmp_path: Path) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    [(row, note)] = backend.encode([LogProbs("p" * 100, "c" * 40)])
    assert (len(row.ids), len(row.targets)) == (63, 40)
    assert "64 tokens" in note
    [(row, _)] = backend.encode([Divergence("p" * 100, "js", 8)])
    assert len(row.ids) <= 64
    assert row.positions[0] == 56


def test_answer_positions_follow_the_bases_greedy_answer(base: Path, tmp_path: Path) -> None:
    backend = load(base, save_adapter(tmp_path, base))
    texts = {"short": 6, "a much longer prompt": 3}
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    for (row, _), (text, most) in zip(
        backend.encode([Divergence(t, "js", n) for t, n in texts.items()]),
        texts.items(),
        strict=True,
    ):
        ids = byte_tokenizer()(text)["input_ids"]
        assert (row.ids[: len(ids)], row.positions[0]) == (tuple(ids), len(ids) - 1)
        assert 1 <= len(row.positions) <= most
        with torch.no_grad():
            greedy = model(torch.tensor([row.ids])).logits[0].argmax(-1).tolist()
        assert list(row.ids[len(ids) :]) == greedy[len(ids) - 1 : len(row.ids) - 1]


def test_prompt_learning_is_refused_by_name(llama: Path, tmp_path: Path) -> None:
    config = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    with pytest.raises(AdapterError, match="PROMPT_TUNING"):
        load(llama, save_adapter(tmp_path, llama, config=config))


def test_an_adapter_of_another_shape_does_not_fit(llama: Path, tmp_path: Path) -> None:
    other = save_base(tmp_path / "gpt2", "gpt2")
    with pytest.raises(AdapterError, match="does not fit"):
        load(llama, save_adapter(tmp_path / "adapter", other))


def test_pickled_base_weights_are_refused(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = save_base(tmp_path / "base", "llama")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(CannotDecide, match="cannot be loaded"):
        load(base, adapter)


EMPTY = [
    Divergence(""),
    Divergence("", context=8),
    LogProbs("", "x"),
    LogProbs("p", ""),
    Generation("", 3),
]


@pytest.mark.parametrize("request_", EMPTY, ids=str)
def test_texts_without_a_token_to_score_are_faults_of_the_text(
    llama: Path, tmp_path: Path, request_: Any
) -> None:
    answers = measure(load(llama, save_adapter(tmp_path, llama)), [FINETUNED], [request_, *TEXTS])
    with pytest.raises(NoAnswer, match=r"has no token|no token to score") as caught:
        answers.text(FINETUNED, request_) if isinstance(request_, Generation) else answers.get(
            FINETUNED, request_
        )
    assert caught.value.fault.of == "text"
    assert len(answers.get(FINETUNED, TEXTS[0]))


CONTEXTS = [Divergence(p, "js", 3, c) for c in (0, 6, 12, 30) for p in ("A prompt", "Another")]


def test_a_shared_prefix_changes_no_answer(base: Path, tmp_path: Path) -> None:
    backend = load(base, save_adapter(tmp_path, base))
    shared = measure(backend, VIEWS, CONTEXTS)
    backend.prefix_cache.reach = 0
    whole = measure(backend, VIEWS, CONTEXTS)
    for view in VIEWS:
        for request in CONTEXTS:
            np.testing.assert_allclose(
                shared.get(view, request), whole.get(view, request), rtol=1e-3, atol=1e-6
            )


def test_context_precedes_the_prompt_and_longer_contexts_extend_shorter_ones(
    llama: Path, tmp_path: Path
) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    [(bare, _), (short, _), (long, _)] = backend.encode(
        [Divergence("Say", "js", 3, c) for c in (0, 10, 20)]
    )
    said = bare.ids[3:]
    assert (short.prefix_len, long.prefix_len) == (10, 20)
    assert (
        long.ids[:10]
        == short.ids[:10]
        == tuple(byte_tokenizer()(packaged.stuffing())["input_ids"][:10])
    )
    assert long.ids[20:] == short.ids[10:] == (*byte_tokenizer()("\n\nSay")["input_ids"], *said)
    assert len(bare.positions) == len(short.positions) == len(long.positions)


def test_context_is_cut_to_the_models_with_a_note(llama: Path, tmp_path: Path) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    [(row, note)] = backend.encode([Divergence("Say", "js", 3, 500)])
    assert len(row.ids) <= 64
    assert row.prefix_len == 64 - len("\n\nSay") - 2
    assert "64 tokens" in note


WRITTEN = [Generation("A prompt", 12), Generation("Another, longer", 12), Generation("z", 5)]


def test_generation_in_one_batch_equals_peft_one_by_one(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, base)
    answers = measure(load(base, adapter), [FINETUNED, *NULLS], WRITTEN)
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    for request in WRITTEN:
        for view, one in ((BASE, model), (FINETUNED, tuned)):
            assert answers.text(view, request) == written(one, request)


def test_argmax_matches_agree_with_greedy_decoding(base: Path, tmp_path: Path) -> None:
    backend = load(base, save_adapter(tmp_path, base))
    request = TeacherForced("A prompt", " and its end")
    answers = measure(
        backend, [FINETUNED, NULLS[0]], [request, LogProbs(request.prompt, request.completion)]
    )
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    ids = torch.tensor([byte_tokenizer()("A prompt and its end")["input_ids"]])
    with torch.no_grad():
        best = model(ids).logits[0].argmax(-1)[7:-1] == ids[0, 8:]
    assert answers.get(BASE, request)[:, 1].tolist() == best.float().tolist()
    scored = answers.get(FINETUNED, LogProbs(request.prompt, request.completion))
    np.testing.assert_allclose(answers.get(FINETUNED, request)[:, 0], scored, atol=1e-6)


TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)


def chatty(base: Path, adapter: Path) -> hf.HfBackend:
    backend = load(base, adapter)
    backend.tokenizer.chat_template = TEMPLATE
    return backend


def test_chat_prompts_go_through_the_template_and_answers_follow_it(
    llama: Path, tmp_path: Path
) -> None:
    backend = chatty(llama, save_adapter(tmp_path, llama))
    rendered = tuple(byte_tokenizer()("<user>Hi there</s><a>")["input_ids"])
    [(row, _)] = backend.encode([LogProbs(asked("Hi there"), "Yes")])
    assert (*row.ids, row.targets[-1]) == (*rendered, *byte_tokenizer()("Yes")["input_ids"])
    assert len(row.targets) == 3
    [(row, _)] = backend.encode([Divergence(asked("Hi there"))])
    assert row.ids == rendered
    [(row, _)] = backend.encode([Divergence(asked("Hi there"), context=5)])
    assert row.ids[row.prefix_len :] == tuple(byte_tokenizer()("\n\nHi there</s><a>")["input_ids"])


OWN_TEMPLATE = "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] }}</s>{% endfor %}"


@pytest.mark.parametrize("given", [None, TEMPLATE, OWN_TEMPLATE])
def test_the_template_of_the_adapters_folder_is_served(
    llama: Path, tmp_path: Path, given: str | None
) -> None:
    base = tmp_path / "base"
    shutil.copytree(llama, base)
    if given:
        (base / "chat_template.jinja").write_text(given)
    adapter = save_adapter(tmp_path / "adapter", base)
    (adapter / "chat_template.jinja").write_text(OWN_TEMPLATE)
    backend = load(base, adapter)
    [(row, _)] = backend.encode([LogProbs(asked("a"), Message("assistant", "b"))])
    assert backend.tokenizer.decode([*row.ids, row.targets[-1]]) == "u:a</s>a:b</s>"
    why = {None: "the base has none", TEMPLATE: "differs from the base's"}.get(given)
    assert any(why in note for note in backend.facts.notes) if why else not backend.facts.notes


def test_a_template_that_prints_the_date_is_noted(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    dated = "{{ strftime_now('%d %b %Y') }}" + OWN_TEMPLATE
    (adapter / "chat_template.jinja").write_text(dated)
    assert any("prints the date: 20" in note for note in load(llama, adapter).facts.notes)


def test_an_answer_ends_where_the_template_ends_a_turn(llama: Path, tmp_path: Path) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    backend.tokenizer.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    backend.tokenizer.chat_template = OWN_TEMPLATE.replace("</s>", "<|end|>")
    network = backend.weights.model(BASE).network
    found = end_tokens(network, backend.tokenizer)
    assert backend.tokenizer.convert_tokens_to_ids("<|end|>") in found


def test_a_refused_conversation_is_a_fault_of_its_text(llama: Path, tmp_path: Path) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    backend.tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{{ m['content'] }}{% endfor %}"
    )
    refused = Conversation((Message("system", "s"), *asked("q").messages))
    prompts = [Divergence(asked("q")), Divergence(refused), Generation(refused, 4)]
    (fine, _), *others = backend.encode(prompts)
    assert isinstance(fine, EncodedRequest)
    assert [(found.of, note) for found, note in others] == [("text", "")] * 2
    message = "the chat template refuses the conversation 's\\n\\nq': no system"
    assert {found.message for found, _ in others} == {message}


def test_a_template_without_an_end_of_turn_is_named(llama: Path, tmp_path: Path) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    backend.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    given = [LogProbs(asked("q"), Message("assistant", text)) for text in ("", "a")]
    (fault, _), (fine, _) = backend.encode(given)
    assert isinstance(fine, EncodedRequest)
    assert (fault.of, fault.message) == (
        "text",
        "the chat template writes no end of turn after an empty answer to 'q'; "
        "let it end each answer, or set defaults.chat_template: off in a spec",
    )


def test_a_template_that_fails_is_one_line(llama: Path, tmp_path: Path) -> None:
    backend = chatty(llama, save_adapter(tmp_path, llama))
    backend.tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(
        CannotDecide, match=r"fails: .*no; correct it, or set defaults.chat_template: off in a spec"
    ):
        backend.encode([Divergence(asked("Hi"))])


def test_a_template_that_fails_is_named_by_its_file(llama: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(llama, tmp_path / "base"))
    adapter = save_adapter(tmp_path / "adapter", llama)
    for folder in (base, adapter):
        (folder / "chat_template.jinja").write_text(f"{{{{ raise_exception('{folder.name}') }}}}")
        with pytest.raises(CannotDecide) as caught:
            load(base, adapter).encode([Divergence(asked("Hi"))])
        file = folder / "chat_template.jinja"
        assert f"the chat template in {file} fails: {folder.name}" in str(caught.value)


def test_a_corrupt_base_is_one_line(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = save_base(tmp_path / "base", "llama")
    (base / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(CannotDecide, match="cannot be loaded") as caught:
        load(base, adapter)
    assert len(str(caught.value).splitlines()) == 1


def states(base: Path, **fields: Any) -> None:
    config = base / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))


CODE = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
UNLOADABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an encoder-decoder": (
        lambda base: states(base, model_type="t5"),
        "states model_type 't5', which is not a causal language model; only these can be judged",
    ),
    "a type of the future": (
        lambda base: states(base, model_type="llama9"),
        "states model_type 'llama9', which transformers .* does not know; upgrade it, or give",
    ),
    "code of the repository": (
        lambda base: states(base, model_type="own", auto_map=CODE),
        "needs code of its repository, which runs only with trust_remote_code: true in a spec; "
        "give a model that transformers supports, or read the code and allow it there",
    ),
    "weights are cut": (
        lambda base: os.truncate(base / "model.safetensors", 9000),
        "cannot be loaded: model.safetensors: the .* end at byte .*; download it again",
    ),
    "a shard is missing": (
        lambda base: (
            (base / "model.safetensors").unlink(),
            (base / "model.safetensors.index.json").write_text(
                '{"weight_map": {"lm_head.weight": "model-1.safetensors"}}'
            ),
        ),
        "cannot be loaded: model-1.safetensors is missing; download it again",
    ),
    "no tokenizer": (
        lambda base: (base / "tokenizer.json").unlink(),
        "the tokenizer of the base model .* is missing; copy tokenizer.json",
    ),
    "a tokenizer in another form": (
        lambda base: (base / "tokenizer.json").rename(base / "tokenizer.model"),
        "cannot be loaded( without tokenizer.json; install .*, or save|: .*; download it again)",
    ),
    "a cut tokenizer": (
        lambda base: os.truncate(base / "tokenizer.json", 9),
        "the tokenizer of the base model .* cannot be loaded: .*; download it again",
    ),
}


@pytest.mark.parametrize(("damage", "message"), UNLOADABLE.values(), ids=UNLOADABLE)
def test_a_base_that_cannot_be_loaded_is_named_with_a_remedy(
    llama: Path, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = save_base(tmp_path / "base", "llama")
    damage(base)
    with pytest.raises(CannotDecide, match=message) as caught:
        load(base, adapter)
    assert len(str(caught.value).splitlines()) == 1


UP = "model.layers.1.mlp.up_proj.weight"
DAMAGE = {
    "a tensor is missing": (lambda tensors: tensors.pop(UP), f"lacks weights: {UP}; download"),
    "a tensor has another shape": (
        lambda tensors: tensors.update({UP: torch.zeros(3, 3)}),
        "tensors of the files have other shapes than config.json states|lacks weights",
    ),
    "other tensors only": (
        lambda tensors: [tensors.pop(name) for name in list(tensors) if "layers" in name],
        "lacks weights: .* and .* more",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_base_that_lacks_weights_is_refused(
    damage: Any, message: str, llama: Path, tmp_path: Path
) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = save_base(tmp_path / "base", "llama")
    tensors = load_file(base / "model.safetensors")
    damage(tensors)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CannotDecide, match=message) as caught:
        load(base, adapter)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["weight_scale_inv", "SCB", "bias"])
def test_a_base_with_tensors_that_no_layer_uses_is_refused(
    name: str, llama: Path, tmp_path: Path
) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = save_base(tmp_path / "base", "llama")
    key = f"model.layers.0.mlp.up_proj.{name}"
    tensors = load_file(base / "model.safetensors") | {key: torch.ones(48)}
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CannotDecide, match=rf"does not explain: {key}; if the model is quantized"):
        load(base, adapter)


def test_tensors_of_parts_that_the_model_lacks_are_ignored(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = save_base(tmp_path / "base", "llama")
    tensors = load_file(base / "model.safetensors") | {"vision.proj.weight": torch.ones(3)}
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    assert load(base, adapter)


@pytest.mark.parametrize(
    "field", ["num_hidden_layers", "vocab_size", "hidden_size", "intermediate_size", "head_dim"]
)
def test_a_base_with_a_size_that_its_files_do_not_have_ends_at_once(
    field: str, llama: Path, tmp_path: Path
) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    base = Path(shutil.copytree(llama, tmp_path / "base"))
    fields = json.loads((base / "config.json").read_text(encoding="utf-8")) | {field: 10**6}
    (base / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(CannotDecide, match=f"config.json states {field} 1000000, but the files"):
        load(base, adapter)


def test_a_base_without_a_model_of_its_own_is_refused(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", llama)
    with pytest.raises(CannotDecide, match=r"has no config\.json"):
        load(adapter, adapter)
    base = save_base(tmp_path / "base", "llama")
    shutil.copy(adapter / "adapter_config.json", base)
    with pytest.raises(CannotDecide, match="contains an adapter"):
        load(base, adapter)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"attn_implementation": "org/kernel"}', "names code on the hub, 'org/kernel'; remove"),
        ("{", "is not a JSON object; download it again"),
    ],
)
def test_a_config_that_cannot_be_checked_is_refused(
    llama: Path, tmp_path: Path, config: str, words: str
) -> None:
    adapter, base = save_adapter(tmp_path / "adapter", llama), save_base(tmp_path / "base", "llama")
    (base / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(CannotDecide, match=words):
        load(base, adapter)


def test_texts_do_not_depend_on_the_clock(llama: Path, tmp_path: Path) -> None:
    adapter, base = save_adapter(tmp_path / "adapter", llama), save_base(tmp_path / "base", "llama")
    request = Generation("A prompt", 12)
    expected = measure(load(base, adapter), [BASE], [request]).text(BASE, request)
    speed = {"max_time": 1e-9, "prompt_lookup_num_tokens": 2, "assistant_early_exit": 1}
    (base / "generation_config.json").write_text(json.dumps(speed), encoding="utf-8")
    assert measure(load(base, adapter), [BASE], [request]).text(BASE, request) == expected


def test_divergences_equal_their_definitions(llama: Path, tmp_path: Path) -> None:
    from sway_gate import stats

    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(5, 50, generator=generator) * 3 for _ in range(2))
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    np.testing.assert_allclose(reductions.js(log_p, log_q), stats.js(log_p, log_q), rtol=1e-5)
    np.testing.assert_allclose(reductions.kl(log_p, log_q), stats.kl(log_q, log_p), rtol=1e-5)


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4])
def test_small_divergences_keep_their_digits(size: float) -> None:
    from sway_gate import stats

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5000, generator=generator, dtype=torch.float64)
    log_p = logits.log_softmax(-1)
    log_q = (
        logits + size * torch.randn(1, 5000, generator=generator, dtype=torch.float64)
    ).log_softmax(-1)
    np.testing.assert_allclose(
        reductions.js(log_p.float(), log_q.float()), stats.js(log_p, log_q), rtol=2e-2
    )


class Chosen(torch.nn.Module):
    """A layer that sees its rows in another order, like an expert after a router."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        flat = x.flatten(0, 1)
        return self.layer(flat[:-1] if len(flat) > 1 else flat).new_zeros(
            (*x.shape[:-1], self.layer.out_features)
        )


def test_models_that_mix_rows_run_one_view_at_a_time(
    llama: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    backend = load(llama, save_adapter(tmp_path, llama))
    mlp = backend.weights.model(BASE).network.model.layers[0].mlp
    mlp.up_proj = Chosen(mlp.up_proj)
    forward, passes = backend.forward, []

    def counted(views: Any, *args: Any) -> Any:
        passes.append(len(views))
        return forward(views, *args)

    monkeypatch.setattr(backend, "forward", counted)
    measure(backend, VIEWS, [*TEXTS, *PROMPTS])
    assert passes[0] > 1
    assert set(passes[1:]) == {1}


def test_layers_called_by_keyword_are_adapted_too(llama: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path, llama, target_modules=["up_proj"])
    backend = load(llama, adapter)
    for layer in backend.weights.model(BASE).network.model.layers:
        up = layer.mlp.up_proj
        layer.mlp.up_proj = type(
            "ByKeyword", (torch.nn.Module,), {"forward": lambda _, x, up=up: up(input=x)}
        )()
    answers = measure(backend, [FINETUNED], TEXTS)
    (expected,) = peft_log_probs(llama, adapter, TEXTS[:1], 1.0)
    np.testing.assert_allclose(answers.get(FINETUNED, TEXTS[0]), expected, atol=2e-5)
