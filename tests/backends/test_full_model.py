"""Fine-tuned models without an adapter, compared with transformers' own forward pass of them."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from scipy.stats import ortho_group
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from sway_gate.backends import hf, null_adapters, rotations, two_models
from sway_gate.backends.loading import Source
from sway_gate.backends.rotations import rotated
from sway_gate.errors import CannotDecide
from sway_gate.measurements import BASE, FINETUNED, Divergence, LogProbs, View
from tests.helpers import measured
from tests.helpers.measured import log_probs
from tests.helpers.models import ARCHITECTURES, byte_tokenizer, save_base

TEXTS = [LogProbs("A prompt", " and its end"), LogProbs("", "Running text.")]
NULLS = [View("null", 0), View("null", 1)]
EMBEDDING = "model.embed_tokens.weight"
SETTINGS = null_adapters.NullSettings(runs=2)
measure = partial(measured.measure, requests=TEXTS)


def save_tuned(
    folder: Path, base: Path, size: float = 0.05, dtype: torch.dtype = torch.float32, **options: Any
) -> Path:
    """The base with noise on all weights."""
    model = AutoModelForCausalLM.from_pretrained(base)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator) * size
    model.to(dtype).save_pretrained(folder, **options)
    return folder


@pytest.fixture(scope="module")
def tuned(llama: Path, tmp_path_factory: Any) -> Path:
    return save_tuned(tmp_path_factory.mktemp("tuned"), llama)


def source(base: Path, tuned: Path, **fields: Any) -> Source:
    return Source(base, tuned, device="cpu", is_full=True, **fields)


def by_transformers(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def assert_equal_to_transformers(answers: Any, base: Path, tuned: Path) -> None:
    for request in TEXTS:
        for view, folder in ((BASE, base), (FINETUNED, tuned)):
            expected = log_probs(by_transformers(folder), request)
            np.testing.assert_allclose(answers.get(view, request), expected, atol=1e-5)


def save_mixtral(folder: Path) -> Path:
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=320, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4,
        bos_token_id=256, eos_token_id=257, max_position_embeddings=64,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


MODELS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    **{name: (lambda f, n=name: save_base(f, n), {}) for name in ARCHITECTURES},
    "bf16": (lambda f: save_base(f, "llama"), {"dtype": torch.bfloat16}),
    "only rounded": (lambda f: save_base(f, "llama"), {"dtype": torch.bfloat16, "size": 0.0}),
    "shards": (lambda f: save_base(f, "llama"), {"max_shard_size": "20KB"}),
    "experts": (save_mixtral, {}),
}


@pytest.mark.parametrize(("save", "options"), MODELS.values(), ids=MODELS)
def test_the_views_equal_transformers(tmp_path, save, options):
    base = save(tmp_path / "base")
    tuned = save_tuned(tmp_path / "tuned", base, **options)
    backend = hf.load(source(base, tuned), SETTINGS)
    answers = measure(backend, [*NULLS, FINETUNED])
    assert_equal_to_transformers(answers, base, tuned)
    for request in TEXTS:
        values = [answers.get(view, request) for view in (BASE, FINETUNED, *NULLS)]
        assert all(np.abs(a - b).max() > 1e-4 for a, b in pairwise(values))


def rewritten(folder: Path, change: Any) -> Path:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


OLD_FILES = {
    "a buffer": (
        "llama",
        lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
    ),
    "the head of a tied pair": (
        "qwen2-gqa-tied",
        lambda t: t.update({"lm_head.weight": t.pop("model.embed_tokens.weight")}),
    ),
}


@pytest.mark.parametrize(("name", "change"), OLD_FILES.values(), ids=OLD_FILES)
def test_files_of_other_versions_of_transformers(tmp_path, name, change):
    base = save_base(tmp_path / "base", name)
    tuned = rewritten(save_tuned(tmp_path / "tuned", base), change)
    answers = measure(hf.load(source(base, tuned), SETTINGS), [FINETUNED])
    assert_equal_to_transformers(answers, base, tuned)


def test_one_model_is_in_memory_unless_the_files_are_converted(tmp_path, llama, tuned):
    assert hf.load(source(llama, tuned), SETTINGS).facts.notes == (
        "fine-tuned model without an adapter: runs one view at a time",
    )
    base = save_mixtral(tmp_path / "base")
    [note] = hf.load(source(base, save_tuned(tmp_path / "tuned", base)), SETTINGS).facts.notes
    assert "both models are in memory" in note


def test_a_scale_interpolates_the_weights(tmp_path, llama, tuned):
    half = tmp_path / "half"
    shutil.copytree(tuned, half)
    old, new = (load_file(folder / "model.safetensors") for folder in (llama, tuned))
    middle = {name: (old[name] + new[name]) / 2 for name in old}
    save_file(middle, half / "model.safetensors", {"format": "pt"})
    answers = measure(hf.load(source(llama, tuned), SETTINGS), [FINETUNED.scaled(0.5)])
    for request in TEXTS:
        found = answers.get(FINETUNED.scaled(0.5), request)
        np.testing.assert_allclose(found, log_probs(by_transformers(half), request), atol=1e-5)


def test_the_base_is_restored(llama, tuned):
    backend = hf.load(source(llama, tuned), SETTINGS)
    network = backend.weights.model(BASE).network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(backend, [NULLS[0]])
    backend.leave()
    assert all(torch.equal(before[n], tensor) for n, tensor in network.state_dict().items())


def test_an_error_while_weights_are_replaced_leaves_no_mixture(llama, tuned, monkeypatch):
    backend = hf.load(source(llama, tuned), SETTINGS)
    changes = backend.weights._changes
    last = list(changes)[-1]

    def fails() -> Any:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setitem(changes, last, changes[last]._replace(tuned=fails))
        with pytest.raises(RuntimeError):
            measure(backend, [FINETUNED])
    assert_equal_to_transformers(measure(backend, [FINETUNED]), llama, tuned)


def test_two_models_side_by_side(llama, tuned):
    backend = two_models.load(source(llama, tuned))
    assert_equal_to_transformers(measure(backend, [FINETUNED]), llama, tuned)


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


Q = "model.layers.0.self_attn.q_proj.weight"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "other architecture": (
        lambda f: edit_config(f, model_type="qwen2"),
        "model_type is 'qwen2', in the base 'llama'",
    ),
    "other rope": (
        lambda f: edit_config(f, rope_parameters={"rope_theta": 5e5, "rope_type": "default"}),
        r"rope_parameters.rope_theta is 500000.0, in the base 10000.0; .*differential to false",
    ),
    "vocabulary": (
        lambda f: edit_config(f, vocab_size=330),
        "vocab_size is 330, in the base 320; give a model that was fine-tuned from this base",
    ),
    "a field that common code reads": (
        lambda f: edit_config(f, sliding_window=4),
        "sliding_window is 4, in the base None",
    ),
    "no configuration": (lambda f: (f / "config.json").write_text("{"), "config.json: .*JSON"),
    "missing tensor": (
        lambda f: edit_tensors(f, lambda t: t.pop(Q)),
        f"tensor {Q} of the base is missing",
    ),
    "further tensor": (
        lambda f: edit_tensors(f, lambda t: t.update({"model.extra": torch.ones(1)})),
        "the base has no tensor model.extra",
    ),
    "shape": (
        lambda f: edit_tensors(f, lambda t: t.update({Q: torch.ones(8, 32)})),
        rf"tensor {Q} has the shape \[8, 32\], in the base \[32, 32\]",
    ),
    "embeddings that are no table": (
        lambda f: edit_tensors(f, lambda t: t.update({EMBEDDING: torch.ones(4)})),
        rf"tensor {EMBEDDING} has the shape \[4\], in the base \[320, 32\]",
    ),
    "no floats": (
        lambda f: edit_tensors(f, lambda t: t.update({Q: torch.ones(32, 32, dtype=torch.int8)})),
        f"tensor {Q} differs, but is not of floats",
    ),
    "damaged file": (
        lambda f: (f / "model.safetensors").write_bytes(b"short"),
        "model.safetensors: cannot be read",
    ),
}


@pytest.mark.parametrize(("edit", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_same_architecture_is_refused(tmp_path, llama, tuned, edit, message):
    other = Path(shutil.copytree(tuned, tmp_path / "other"))
    edit(other)
    with pytest.raises(CannotDecide, match=message) as raised:
        hf.load(source(llama, other), SETTINGS)
    assert "\n" not in str(raised.value)


def test_fields_that_no_code_reads_are_accepted(tmp_path, llama, tuned):
    other = Path(shutil.copytree(tuned, tmp_path / "other"))
    edit_config(other, unsloth_fixed=True, my_tool={"epochs": 3, "vocab_size": 7})
    hf.load(source(llama, other), SETTINGS)


def test_a_head_that_is_tied_in_the_base_only_is_refused(tmp_path):
    base = save_base(tmp_path / "base", "qwen2-gqa-tied")
    tuned = save_tuned(tmp_path / "tuned", base)
    head = load_file(tuned / "model.safetensors")["model.embed_tokens.weight"]
    edit_tensors(tuned, lambda t: t.update({"lm_head.weight": head.clone()}))
    assert_equal_to_transformers(
        measure(hf.load(source(base, tuned), SETTINGS), [FINETUNED]), base, tuned
    )
    edit_tensors(tuned, lambda t: t.update({"lm_head.weight": head + 1}))
    message = r"tensors lm_head.weight and \S+ differ, but are one in the base"
    with pytest.raises(CannotDecide, match=message):
        hf.load(source(base, tuned), SETTINGS)


def test_small_changes_need_float32(llama, tuned):
    with pytest.raises(CannotDecide, match="set dtype to fp32 or auto"):
        hf.load(source(llama, tuned, dtype="bf16"), SETTINGS)


def test_the_fine_tuned_models_tokenizer_is_used(tmp_path, llama, tuned):
    own = Path(shutil.copytree(tuned, tmp_path / "own"))
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<turn>"])
    tokenizer.chat_template = "{{ messages[0].content }}<turn>"
    tokenizer.save_pretrained(own)
    backend = hf.load(source(llama, own), SETTINGS)
    assert backend.tokenizer("<turn>").input_ids == [258]
    assert backend.tokenizer.chat_template.endswith("<turn>")
    assert "texts are tokenized by the fine-tuned model's tokenizer" in backend.facts.notes[1]


SHAPES = [
    *((32, 48), (320, 100), (101, 7), (3, 80, 70)),
    *((5, 1, 4), (40, 30, 3), (20, 10, 4, 4), (512, 512, 1, 1)),
    *((200,), (1,), ()),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_null_keeps_the_singular_values(shape):
    change = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    null = rotated("name", change, 1)
    assert null.shape == change.shape
    assert torch.equal(null, rotated("name", change, 1))
    if len(shape) < 2:
        torch.testing.assert_close(null.norm(), change.norm())
    else:
        is_kernel = min(shape[-2:]) < 8
        matrices = (x.flatten(1) if is_kernel else x for x in (null, change))
        torch.testing.assert_close(*(torch.linalg.svdvals(x) for x in matrices))
    if change.numel() > 1:
        assert not torch.allclose(null, rotated("name", change, 2))
        assert not torch.allclose(null, rotated("other", change, 1))


STRUCTURES = {
    "dense": lambda draw: draw(130, 90),
    "low rank": lambda draw: draw(130, 2) @ draw(2, 90),
    "one row": lambda draw: torch.eye(130)[:, 7:8] * draw(1, 90),
    "one entry": lambda draw: torch.zeros(130, 90).index_put(
        (torch.tensor(3), torch.tensor(4)), torch.tensor(5.0)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", STRUCTURES.values(), ids=STRUCTURES)
def test_a_null_changes_outputs_as_a_haar_null_does(make):
    """The norms of N x for a dense and a sparse input x have the distribution of Haar nulls."""
    generator = torch.Generator().manual_seed(0)
    change = make(lambda *shape: torch.randn(shape, generator=generator))
    inputs = torch.stack([torch.randn(90, generator=generator), torch.eye(90)[5]], 1)
    exact = [haar("n", change, i).numpy() @ inputs.numpy() for i in range(300)]
    ours = [(rotated("n", change, i) @ inputs).numpy() for i in range(300)]
    for column in range(2):
        norms = [[float(np.linalg.norm(o[:, column])) for o in outs] for outs in (exact, ours)]
        assert stats.ks_2samp(*norms).pvalue > 0.01


def haar(name: str, change: torch.Tensor, seed: int) -> torch.Tensor:
    """P ΔW Q with Haar-distributed P and Q from scipy, or a random vector."""
    rng = np.random.default_rng([seed, *name.encode()])
    if change.dim() < 2:
        direction = torch.from_numpy(rng.standard_normal(change.shape)).to(change)
        return direction * (change.norm() / direction.norm())
    left, right = (ortho_group.rvs(n, random_state=rng) for n in change.shape)
    return torch.from_numpy(left @ change.double().numpy() @ right).to(change)


@pytest.mark.slow
def test_nulls_are_distributed_as_haar_nulls(tmp_path, monkeypatch):
    """On a model that is wider than one group of coordinates, after a sparse low-rank change."""
    torch.manual_seed(0)
    shape = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=320, num_attention_heads=4, num_key_value_heads=4, **shape)
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    LlamaForCausalLM(config).save_pretrained(base)
    byte_tokenizer().save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            sparse = torch.zeros(len(parameter), 1)
            sparse[::9] = torch.randn(len(sparse[::9]), 1)
            parameter.data += 0.05 * sparse @ torch.randn(1, parameter.shape[1])
    model.save_pretrained(tuned)
    requests = [Divergence(text, "js", 1) for text in ("A prompt", "Another one", "x y z", "12")]
    nulls = [View("null", i) for i in range(40)]

    def mean_root(view: View, answers: Any) -> float:
        return float(np.mean([np.sqrt(answers.get(view, r)).mean() for r in requests]))

    found = []
    for draw in (rotated, haar):
        monkeypatch.setattr(rotations, "rotated", draw)
        backend = hf.load(source(base, tuned), null_adapters.NullSettings(runs=len(nulls)))
        answers = measure(backend, nulls, requests=requests)
        values = [mean_root(view, answers) for view in nulls]
        found.append((np.mean(values), np.std(values, ddof=1)))
    (mean, sd), (haar_mean, haar_sd) = found
    assert mean == pytest.approx(haar_mean, abs=3 * haar_sd * (2 / len(nulls)) ** 0.5)
    assert 0.6 < sd / haar_sd < 1.7
