"""MLX adapters read without mlx, compared with closed forms and with mlx-lm's own models."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sway_gate.backends import adapters, hf, mlx_adapter, peft_adapters
from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.changes import Change
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings, with_nulls
from sway_gate.backends.passes.weights import AdaptedModel
from sway_gate.errors import AdapterError
from sway_gate.measurements import FINETUNED, View
from tests.helpers import ROOT
from tests.helpers.mlx import (
    log_probs_by_mlx,
    parameters_by_mlx,
    random_adapter,
    save_mlx,
    save_small,
)
from tests.helpers.models import save_base

Q = "model.layers.1.self_attn.q_proj"
EMBEDDING = "model.embed_tokens"
R = 4
IDS = list(range(3, 40))
LORA = {"lora_parameters": {"rank": R, "scale": 2.0}}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: Any) -> Any:
    folder = save_base(tmp_path_factory.mktemp("llama"), "llama")
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: Any) -> Any:
    folder = save_base(tmp_path_factory.mktemp("tied"), "qwen2-gqa-tied")
    return AutoModelForCausalLM.from_pretrained(folder)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def pair(module: str = Q, n_in: int = 32, n_out: int = 32) -> dict[str, torch.Tensor]:
    return {f"{module}.lora_a": normal(n_in, R), f"{module}.lora_b": normal(R, n_out, seed=1)}


def read(model: Any, folder: Path) -> Change:
    return adapters.read(model, folder, (), quantized=False)[1]


FORMS = {
    "mlx-lm": {"fine_tune_type": "lora", "lora_parameters": {"rank": R, "scale": 20.0}},
    "keys": {"num_layers": 1, "lora_parameters":
             {"rank": R, "scale": 20.0, "dropout": 0.1, "keys": ["self_attn.q_proj"]}},
    "2024": {"lora_layers": 1, "use_dora": False,
             "lora_parameters": {"rank": R, "alpha": 16.0, "scale": 20.0}},
    "at the top": {"rank": R, "scale": 20, "keys": [Q]},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lora_is_the_transposed_factors_times_the_scale(form, dtype, llama, tmp_path):
    tensors = {name: value.to(dtype) for name, value in pair().items()}
    change = read(llama, save_mlx(tmp_path, tensors, **form))
    [(module, factors)] = change.factors.items()
    a, b = (value.float().numpy() for value in tensors.values())
    assert (module, change.dense) == (Q, {})
    np.testing.assert_allclose(factors.b @ factors.a, 20.0 * (a @ b).T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(factors.a, a.T)


def test_dora_is_the_factors_with_magnitudes(llama, tmp_path):
    tensors = {**pair(), f"{Q}.m": 1 + normal(32, seed=2)}
    change = read(llama, save_mlx(tmp_path, tensors, **LORA, fine_tune_type="dora"))
    [(module, factors)] = change.factors.items()
    a, b, m = tensors.values()
    assert (module, change.dense) == (Q, {})
    np.testing.assert_allclose(factors.b @ factors.a, 2.0 * (a @ b).T, rtol=1e-5, atol=1e-6)
    norms = llama.get_parameter(f"{Q}.weight").detach().norm(dim=1)
    np.testing.assert_allclose(factors.magnitude, torch.stack([m, norms]), rtol=1e-6)


def dora_of_an_embedding(folder: Path) -> Path:
    tensors = {**pair(EMBEDDING, 320, 32), f"{EMBEDDING}.m": 1 + normal(320, seed=2)}
    parameters = {"rank": R, "scale": 2.0, "keys": [EMBEDDING]}
    return save_mlx(folder, tensors, fine_tune_type="dora", lora_parameters=parameters)


def test_dora_of_an_embedding_is_the_difference_of_its_rescaled_rows(llama, tmp_path):
    change = read(llama, dora_of_an_embedding(tmp_path))
    w = llama.get_parameter(f"{EMBEDDING}.weight").detach()
    a, b = pair(EMBEDDING, 320, 32).values()
    adapted = w + 2.0 * a @ b
    expected = adapted * ((1 + normal(320, seed=2)) / adapted.norm(dim=1))[:, None] - w
    assert change.dense.keys() == {f"{EMBEDDING}.weight"}
    np.testing.assert_allclose(change.dense[f"{EMBEDDING}.weight"], expected, atol=1e-6)


def test_full_is_the_difference_of_the_parameters(llama, tmp_path):
    names = [f"{Q}.weight", "model.layers.1.input_layernorm.weight", "model.norm.weight"]
    tensors = {name: llama.get_parameter(name).detach() + 0.5 for name in names[:2]}
    tensors["model.norm.weight"] = llama.get_parameter("model.norm.weight").detach().clone()
    change = read(llama, save_mlx(tmp_path, tensors, fine_tune_type="full"))
    assert change.dense.keys() == set(names[:2])  # the last one is unchanged
    assert all(abs(delta - 0.5).max() < 1e-6 for delta in change.dense.values())


@pytest.mark.parametrize("view", [FINETUNED, View("null", 1)], ids=str)
def test_views_of_a_tied_embedding_change_one_weight(view, tied, tmp_path):
    form = {"lora_parameters": {"rank": R, "scale": 2.0, "keys": [EMBEDDING]}}
    change = read(tied, save_mlx(tmp_path, pair(EMBEDDING, 320, 32), **form))
    settings, ids = NullSettings(runs=2), torch.tensor([IDS])
    adapted = AdaptedModel(copy.deepcopy(tied), change, settings)
    with torch.inference_mode(), adapted.under([view], 1, len(IDS)):
        found = adapted.model(view).network(input_ids=ids).logits
    a, b, *_ = with_nulls(EMBEDDING, change.factors[EMBEDDING], settings)
    source = 0 if view == FINETUNED else 1 + view.seed_index
    own = copy.deepcopy(tied)
    with torch.inference_mode():
        own.get_input_embeddings().weight += torch.from_numpy(b[source] @ a[source]).T
        torch.testing.assert_close(found, own(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


OTHER = "model.layers.1.self_attn.x_proj"
REFUSED: dict[str, tuple[dict[str, torch.Tensor], dict[str, Any], str]] = {
    "unknown module": (pair(OTHER), LORA, f"no module {OTHER}"),
    "other size": (pair(n_in=16), LORA, f"module {Q} maps 16 to 32 values, in the base 32 to 32"),
    "unknown tensor": ({**pair(), f"{Q}.bias": normal(32)}, LORA, "bias' is none of an MLX lora"),
    "half a pair": (dict([*pair().items()][:1]), LORA, "lacks lora_b"),
    "no magnitude": (pair(), {**LORA, "fine_tune_type": "dora"}, "lacks m"),
    "magnitude of LoRA": ({**pair(), f"{Q}.m": normal(32)}, LORA, "is none of an MLX lora"),
    "magnitude's size": ({**pair(), f"{Q}.m": normal(8)}, {**LORA, "fine_tune_type": "dora"},
                         r"has shape \[8\], needs \[32\]"),
    "rank": (pair(), {"lora_parameters": {"rank": 8, "scale": 2.0}}, r"needs \[in, 8\]"),
    "experts": ({f"{OTHER}.lora_a": normal(2, R, 32), f"{OTHER}.lora_b": normal(2, 32, R)}, LORA,
                "adapts experts"),
    "no scale": (pair(), {"lora_parameters": {"rank": R, "alpha": 8}}, "required field `scale`"),
    "no parameters": (pair(), {"fine_tune_type": "lora"}, "required field `rank`"),
    "unknown type": (pair(), {**LORA, "fine_tune_type": "vera"}, "Invalid enum value 'vera'"),
    "integers": ({name: value.int() for name, value in pair().items()}, LORA, "is I32; needs F64"),
    "outside num_layers": (pair(Q.replace("1", "0")), {**LORA, "num_layers": 1},
                           "outside num_layers and keys"),
    "outside keys": (pair(), {"lora_parameters": {**LORA["lora_parameters"], "keys": ["mlp.up"]}},
                     "outside num_layers and keys"),
    "head": (pair("lm_head", 32, 320), LORA, "outside num_layers and keys"),
    "full": ({"model.norm.scale": normal(32)}, {"fine_tune_type": "full"}, "no such parameter"),
    "full size": ({"model.norm.weight": normal(8)}, {"fine_tune_type": "full"}, r"shape \[32\]"),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "form", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused_by_name(tensors, form, message, llama, tmp_path):
    with pytest.raises(AdapterError, match=message):
        read(llama, save_mlx(tmp_path, tensors, **form))


def test_other_architectures_and_two_models_are_refused(llama, tmp_path, monkeypatch):
    folder = save_mlx(tmp_path, pair(), **LORA)
    with pytest.raises(AdapterError, match=r"needs defaults\.differential"):
        peft_adapters.wrapped(llama, folder)
    monkeypatch.setattr(mlx_adapter, "SAME_MODULES", frozenset())
    with pytest.raises(AdapterError, match="the architecture llama are not supported"):
        read(llama, folder)


def test_a_quantized_base_takes_factors_only(llama, tmp_path):
    folder = dora_of_an_embedding(tmp_path)
    with pytest.raises(AdapterError, match="dora cannot be merged into a quantized base"):
        adapters.read(llama, folder, (), quantized=True)


def by_torch(base: Path, adapter: Path) -> np.ndarray:
    """Next-token log-probabilities of the fine-tuned view, by the product."""
    backend = hf.load(Source(base, adapter, device="cpu"), NullSettings(runs=1))
    row = EncodedRequest(tuple(IDS), tuple(range(len(IDS))))
    with torch.inference_mode():
        [logits] = backend._logits.read([FINETUNED], [row]).all
    return logits.log_softmax(-1).numpy()


CASES = {
    "lora": ("llama", "lora", ()),
    "dora": ("llama", "dora", ()),
    "full": ("llama", "full", ()),
    "lora of tied": ("qwen2-gqa-tied", "lora", ()),
    "lora of a tied embedding": ("qwen2-gqa-tied", "lora", (EMBEDDING, Q)),
    "dora of a tied embedding": ("qwen2-gqa-tied", "dora", (EMBEDDING, Q)),
    "full of a tied embedding": ("qwen2-gqa-tied", "full", (EMBEDDING, Q)),
    "lora of embedding and head": ("llama", "lora", (EMBEDDING, "lm_head", Q)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "kind", "keys"), CASES.values(), ids=CASES)
def test_log_probabilities_are_those_of_mlx_lm(architecture, kind, keys, tmp_path):
    pytest.importorskip("mlx_lm")
    base = save_base(tmp_path / "base", architecture)
    model = AutoModelForCausalLM.from_pretrained(base)
    adapter = random_adapter(tmp_path / "adapter", model, kind, keys, size=0.05)
    expected, without = log_probs_by_mlx(base, adapter, IDS), log_probs_by_mlx(base, None, IDS)
    assert abs(expected - without).max() > 0.1
    np.testing.assert_allclose(by_torch(base, adapter), expected, atol=1e-5)


SPECIAL = {
    "gemma3_text": {"num_hidden_layers": 6},
    "phi": {"num_key_value_heads": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(mlx_adapter.SAME_MODULES))
def test_an_architecture_has_the_same_parameters_in_mlx_lm(kind, tmp_path):
    pytest.importorskip("mlx_lm")
    model = save_small(tmp_path / "base", kind, **SPECIAL.get(kind, {}))
    adapter = random_adapter(tmp_path / "adapter", model, size=0.05)
    expected = log_probs_by_mlx(tmp_path / "base", adapter, IDS)
    # Gemma and StarCoder 2 have an approximate activation in one of the libraries.
    np.testing.assert_allclose(by_torch(tmp_path / "base", adapter), expected, atol=2e-3)
    own = dict(model.named_parameters())
    for name, value in parameters_by_mlx(tmp_path / "base").items():
        if name in own:
            np.testing.assert_array_equal(value, own[name].detach().numpy(), err_msg=name)


def test_the_page_lists_the_architectures():
    page = (ROOT / "docs" / "mlx.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"which a test compares: (.+?)\. ", page)
    assert listed == ", ".join(f"`{name}`" for name in sorted(mlx_adapter.SAME_MODULES))
