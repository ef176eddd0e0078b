"""LoRA on experts and routers in stacked passes, compared with peft's own model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from sway_gate.backends import factors, hf, null_adapters
from sway_gate.backends.changes import low_rank
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import LowRank, with_nulls
from sway_gate.backends.passes.stacking import Stack
from sway_gate.backends.rotations import rotated
from sway_gate.errors import CannotDecide
from sway_gate.measurements import BASE, FINETUNED, Generation
from tests.backends.test_hf import NULLS, SETTINGS, TEXTS, VIEWS, load
from tests.helpers.experts import ARCHITECTURES, ONE_VIEW_AT_A_TIME, save_base
from tests.helpers.measured import log_probs, measure, written
from tests.helpers.models import save_adapter

METHODS: dict[str, dict[str, Any]] = {
    "all-linear": {},
    "target_parameters": {"target_modules": [], "target_parameters": None},
}
"""What a LoRA adapts: all linear layers as peft finds them, or the fused experts."""
QUICK = ("qwen3_moe", "gpt_oss", "llama4_text")
CASES = [
    pytest.param(
        (architecture, method),
        id=f"{architecture}-{method}",
        marks=[] if architecture in QUICK else pytest.mark.slow,
    )
    for architecture in ARCHITECTURES
    for method in METHODS
]
TEXT = Generation("A prompt", 10)


def experts_of(base: Path) -> list[str]:
    """The three-dimensional parameters of the experts, without the layer's name."""
    model = AutoModelForCausalLM.from_pretrained(base)
    names = [n.split(".", 3)[3] for n, p in model.named_parameters() if p.dim() == 3]
    return sorted({name for name in names if "conv" not in name})


def make(folder: Path, architecture: str, method: str) -> tuple[Path, Path]:
    base = save_base(folder / "base", architecture)
    fields = dict(METHODS[method])
    if "target_parameters" in fields:
        fields["target_parameters"] = experts_of(base)
    return base, save_adapter(folder / "adapter", base, **fields)


@pytest.fixture(scope="module", params=CASES)
def models(request: Any, tmp_path_factory: Any) -> tuple[str, Path, Path]:
    architecture, method = request.param
    return architecture, *make(tmp_path_factory.mktemp("experts"), architecture, method)


def peft_model(architecture: str, base: Path, adapter: Path) -> Any:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    if architecture in ("llama4_text", "phimoe"):  # peft cannot run their routers unmerged
        return model.merge_and_unload().eval()
    return model.eval()


def test_views_of_experts_equal_peft(models: tuple[str, Path, Path]) -> None:
    architecture, base, adapter = models
    backend = load(base, adapter)
    answers = measure(backend, VIEWS, [*TEXTS, TEXT])
    assert backend.batches_views != any("unknown order" in note for note in backend.facts.notes)
    tuned = peft_model(architecture, base, adapter)
    untuned = AutoModelForCausalLM.from_pretrained(base).eval()
    for view, model in ((BASE, untuned), (FINETUNED, tuned)):
        assert answers.get(view, TEXT) == written(model, TEXT)
        for request in TEXTS:
            expected = log_probs(model, request)
            np.testing.assert_allclose(answers.get(view, request), expected, atol=1e-5)


def test_nulls_of_experts_in_one_pass_equal_each_by_itself(models: tuple[str, Path, Path]) -> None:
    _, base, adapter = models
    together = measure(load(base, adapter), VIEWS, [*TEXTS, TEXT])
    for view in NULLS[:2]:
        single = measure(load(base, adapter), [view], [*TEXTS, TEXT])
        assert together.get(view, TEXT) == single.get(view, TEXT)
        for request in TEXTS:
            first, second = together.get(view, request), single.get(view, request)
            np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("architecture", ONE_VIEW_AT_A_TIME)
def test_experts_with_rows_of_unknown_order_run_one_view_at_a_time(
    architecture: str, tmp_path: Path
) -> None:
    backend = load(*make(tmp_path, architecture, "target_parameters"))
    assert not backend.batches_views
    assert backend.facts.notes[-1].endswith("the adapter runs one view at a time")


def test_factors_that_differ_from_pefts_model_are_undecided(
    tmp_path: Path, monkeypatch: Any
) -> None:
    def scaled(*args: Any) -> LowRank:
        found = low_rank(*args)
        return found._replace(b=found.b * np.float32(1.5))

    monkeypatch.setattr(factors, "low_rank", scaled)
    with pytest.raises(CannotDecide, match=r"log-probabilities differ from peft's by \d\S* nats"):
        load(*make(tmp_path, "qwen3_moe", "all-linear"))


def test_the_backend_leaves_the_base_as_it_was(tmp_path: Path) -> None:
    base, adapter = make(tmp_path, "qwen3_moe", "target_parameters")
    backend = load(base, adapter)
    measure(backend, VIEWS, TEXTS)
    backend.leave()
    network = backend.weights.model(BASE).network
    assert not any("forward" in module.__dict__ for module in network.modules())
    expected = AutoModelForCausalLM.from_pretrained(base).eval()
    for request in TEXTS:
        np.testing.assert_array_equal(log_probs(network, request), log_probs(expected, request))


class Block(nn.Module):
    """A block of experts that are linear layers: each row goes to the expert of its sign."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        rows = hidden_states.reshape(-1, 8)
        choice = (rows.sum(-1) > 0).long()
        output = torch.empty_like(rows)
        for i, expert in enumerate(self.experts):
            output[choice == i] = expert(rows[choice == i])
        return output.view_as(hidden_states)


def test_experts_that_are_linear_layers_get_the_rows_of_their_view() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"layers": nn.ModuleList([Block(), Block()])})
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    factors = {
        f"layers.{layer}.experts.{expert}": with_nulls(
            f"{layer}.{expert}",
            LowRank(draw(2, 8), draw(8, 2)),
            SETTINGS,
        )
        for layer in range(2)
        for expert in range(2)
    }
    stack = Stack(model, factors.items(), torch.float32)
    x = torch.randn(3, 5, 8)

    def run(*views: Any) -> torch.Tensor:
        with torch.no_grad(), stack.viewing(views, 3, 5, torch.device("cpu")):
            hidden = x.repeat(len(views), 1, 1)
            for block in model["layers"]:  # type: ignore[union-attr]
                hidden = block(hidden)
            return hidden

    views = [BASE, FINETUNED, *NULLS]
    torch.testing.assert_close(run(*views), torch.cat([run(view) for view in views]))


def test_nulls_of_experts_keep_the_singular_values_of_each_expert() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((3, 2, 12), (3, 10, 2)))
    draws = null_adapters.low_rank("experts", LowRank(a, b), SETTINGS)
    own = np.linalg.svd(b @ a, compute_uv=False)[:, :2]
    for null in range(SETTINGS.runs):
        drawn = np.linalg.svd(draws.b[null] @ draws.a[null], compute_uv=False)[:, :2]
        np.testing.assert_allclose(drawn, own, rtol=1e-4)
    full = rotated("experts", torch.from_numpy(b @ a), seed=3).numpy()
    np.testing.assert_allclose(np.linalg.svd(full, compute_uv=False)[:, :2], own, rtol=1e-4)


def test_a_bias_of_experts_is_adapted_one_view_at_a_time(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "gpt_oss")
    names = [f"mlp.experts.{name}" for name in ("down_proj", "gate_up_proj", "gate_up_proj_bias")]
    adapter = save_adapter(tmp_path / "a", base, target_modules=[], target_parameters=names)
    backend = load(base, adapter)
    answers = measure(backend, [FINETUNED], TEXTS)
    assert not backend.batches_views
    assert not backend.unused_modules()
    for request in TEXTS:
        expected = log_probs(peft_model("gpt_oss", base, adapter), request)
        np.testing.assert_allclose(answers.get(FINETUNED, request), expected, atol=1e-5)


@pytest.mark.parametrize("architecture", QUICK)
def test_experts_in_bfloat16_are_near_float32(architecture: str, tmp_path: Path) -> None:
    """Most positions: rounding can send a row to another expert, which changes its number."""
    base, adapter = make(tmp_path, architecture, "target_parameters")
    answers, exact = (
        measure(load_in(base, adapter, dtype), VIEWS, TEXTS) for dtype in ("bf16", "fp32")
    )
    for view in (BASE, *VIEWS):
        difference = [answers.get(view, request) - exact.get(view, request) for request in TEXTS]
        assert np.median(np.abs(np.concatenate(difference))) < 0.05


def load_in(base: Path, adapter: Path, dtype: str) -> hf.HfBackend:
    return hf.load(Source(base, adapter, dtype, device="cpu"), SETTINGS)
