"""DoRA in stacked passes, compared with peft and with weights that are built in full."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from sway_gate.backends import null_adapters
from sway_gate.backends.changes import weight
from sway_gate.backends.null_adapters import with_nulls
from sway_gate.backends.passes.stacking import Stack
from sway_gate.measurements import BASE, FINETUNED, Generation, View
from tests.backends.test_hf import NULLS, SETTINGS, TEXTS, VIEWS, load, peft_log_probs
from tests.helpers.measured import log_probs, measure, written
from tests.helpers.models import save_adapter, save_base
from tests.helpers.simulation import one_fast

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "rsLoRA, rank pattern": ("llama", {"use_rslora": True, "rank_pattern": {"q_proj": 6}}),
    "biases and tied embeddings": ("qwen2-gqa-tied", {"target_modules": ["q_proj", "down_proj"]}),
    "Conv1D": ("gpt2", {}),
    "embeddings": ("llama", {"target_modules": ["embed_tokens", "v_proj"]}),
    "lm_head": ("llama", {"target_modules": ["lm_head", "o_proj"]}),
}
"""DoRA adapters that run in stacked passes: architecture and LoRA options."""


@pytest.fixture(params=METHODS.values(), ids=METHODS)
def models(request: Any, tmp_path: Path) -> tuple[Path, Path]:
    architecture, fields = request.param
    base = save_base(tmp_path / "base", architecture)
    return base, save_adapter(tmp_path / "adapter", base, use_dora=True, **fields)


def merged_log_probs(base: Path, adapter: Path, scale: float) -> list[np.ndarray]:
    """Log-probabilities under W + scale (W' - W), where W' are the weights that peft merges."""
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    before = {name: p.detach().clone() for name, p in named_parameters(model)}
    model = PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()
    for name, p in named_parameters(model):
        p.data = before[name] + scale * (p.data - before[name])
    return [log_probs(model, request) for request in TEXTS]


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return model.named_parameters(remove_duplicate=False)


def test_stacked_views_equal_peft(models: tuple[Path, Path]) -> None:
    base, adapter = models
    backend = load(base, adapter)
    answers = measure(backend, VIEWS, TEXTS)
    assert backend.batches_views
    assert not backend.unused_modules()
    for view, scale in ((BASE, None), (FINETUNED, 1.0)):
        for request, expected in zip(
            TEXTS, peft_log_probs(base, adapter, TEXTS, scale), strict=True
        ):
            np.testing.assert_allclose(answers.get(view, request), expected, atol=2e-5)


@pytest.mark.parametrize("scale", one_fast(1.4, 0.5))
def test_a_scaled_view_moves_the_weights_along_the_merged_change(
    models: tuple[Path, Path], scale: float
) -> None:
    base, adapter = models
    view = FINETUNED.scaled(scale)
    answers = measure(load(base, adapter), [view], TEXTS)
    for request, expected in zip(TEXTS, merged_log_probs(base, adapter, scale), strict=True):
        np.testing.assert_allclose(answers.get(view, request), expected, atol=2e-5)


def test_texts_equal_those_of_peft(models: tuple[Path, Path]) -> None:
    base, adapter = models
    request = Generation("A prompt", 12)
    answers = measure(load(base, adapter), [FINETUNED, *NULLS], [request])
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    model = PeftModel.from_pretrained(model, adapter).eval()
    assert answers.get(FINETUNED, request) == written(model, request)


def test_each_null_equals_itself_alone(models: tuple[Path, Path]) -> None:
    base, adapter = models
    together = measure(load(base, adapter), VIEWS, TEXTS)
    for view in NULLS:
        alone = measure(load(base, adapter), [view], TEXTS)
        for request in TEXTS:
            np.testing.assert_allclose(
                together.get(view, request), alone.get(view, request), atol=2e-5
            )


def change(n_out: int = 24, n_in: int = 16, r: int = 3) -> tuple[nn.Linear, null_adapters.LowRank]:
    rng = np.random.default_rng(0)
    layer = nn.Linear(n_in, n_out)
    draw = [rng.standard_normal(s).astype(np.float32) for s in ((r, n_in), (n_out, r), n_out)]
    norms = weight(layer).norm(dim=1).detach().numpy()
    magnitude = null_adapters.Magnitude(norms * (1 + 0.2 * draw[2]), norms)
    return layer, null_adapters.LowRank(draw[0], draw[1], 1.0, magnitude)


@pytest.mark.parametrize("kind", ["spectrum", "init"])
def test_every_source_computes_with_rows_of_its_magnitudes(kind: Any) -> None:
    layer, delta = change()
    stacked = with_nulls("m", delta, SETTINGS._replace(kind=kind))
    assert stacked.magnitude is not None
    stack = Stack(layer, [("", stacked)], torch.float32)
    x = torch.randn(5, 2, 16, generator=torch.Generator().manual_seed(0))
    views = [FINETUNED, *NULLS]
    for i, view in enumerate(views):
        adapted = layer.weight.detach() + torch.from_numpy(stacked.b[i] @ stacked.a[i])
        norms = torch.from_numpy(stacked.magnitude.adapted[i])
        adapted *= (norms / adapted.norm(dim=1))[:, None]
        expected = nn.functional.linear(x, adapted, layer.bias)
        with torch.no_grad(), stack.viewing([view], 5, 2, torch.device("cpu")):
            torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_magnitudes_of_nulls_are_the_adapters_in_another_order() -> None:
    _, delta = change()
    assert delta.magnitude is not None
    trained, base = delta.magnitude
    draws = null_adapters.magnitudes("m", delta.magnitude, SETTINGS) / base
    np.testing.assert_allclose(
        np.sort(draws), np.sort(trained / base)[None].repeat(3, 0), rtol=1e-6
    )
    assert len({tuple(row) for row in draws.round(4).tolist()}) == len(draws)
    untrained = null_adapters.magnitudes("m", delta.magnitude, SETTINGS._replace(kind="init"))
    np.testing.assert_allclose(untrained, base[None].repeat(3, 0))


def test_a_row_of_zeros_has_a_magnitude() -> None:
    """The adapted row points along b @ a, as in peft; the nulls keep the row at zero."""
    layer, delta = change()
    assert delta.magnitude is not None
    with torch.no_grad():
        layer.weight[0] = 0
    base = weight(layer).norm(dim=1).detach().numpy()
    delta = delta._replace(magnitude=null_adapters.Magnitude(delta.magnitude.adapted, base))
    stack = Stack(layer, [("", with_nulls("m", delta, SETTINGS))], torch.float32)
    with torch.no_grad(), stack.viewing([FINETUNED, View("null", 1)], 1, 1, torch.device("cpu")):
        assert torch.isfinite(layer(torch.ones(2, 1, 16))).all()
