"""A bfloat16 base: its factors in bfloat16 give the statistics that float32 factors give."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sway_gate.backends import hf
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.passes import weights
from sway_gate.measurements import FINETUNED, Divergence, LogProbs, View
from tests.helpers.measured import measure
from tests.helpers.models import save_adapter, save_base

VIEWS = [FINETUNED, *(View("null", i) for i in range(4))]
PROMPTS = [Divergence(text, "js", 8) for text in ("A prompt", "Another one", "The third", "Four")]
TEXTS = [LogProbs("A prompt", " and a long answer to it"), LogProbs("Running", " text.")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean divergence and mean log-probability of each view, by dtype of base and factors."""
    folder = tmp_path_factory.mktemp("half")
    base = save_base(folder / "base", "llama")
    adapter = save_adapter(folder / "adapter", base)
    return {
        "float32": statistics(base, adapter, "fp32", torch.float32),
        "mixed": statistics(base, adapter, "bf16", torch.float32),
        "bfloat16": statistics(base, adapter, "bf16", torch.bfloat16),
    }


def statistics(
    base: Path, adapter: Path, dtype: str, factors: torch.dtype
) -> tuple[np.ndarray, np.ndarray]:
    stack = weights.Stack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "Stack", lambda model, given, _: stack(model, given, factors))
        backend = hf.load(Source(base, adapter, dtype, "cpu"), NullSettings(4))
    answers = measure(backend, VIEWS, [*PROMPTS, *TEXTS])
    moved, lifts = (
        np.array([np.mean([np.mean(answers.get(v, r)) for r in requests]) for v in VIEWS])
        for requests in (PROMPTS, TEXTS)
    )
    return moved, lifts


@pytest.mark.parametrize("dtype", ["mixed", "bfloat16"])
def test_statistics_agree_with_float32(found, dtype) -> None:
    np.testing.assert_allclose(found[dtype][0], found["float32"][0], rtol=0.03)
    np.testing.assert_allclose(found[dtype][1], found["float32"][1], atol=0.02)


def test_factors_in_bfloat16_lose_nothing_that_the_base_keeps(found) -> None:
    np.testing.assert_allclose(found["bfloat16"][0], found["mixed"][0], rtol=0.02)
    np.testing.assert_allclose(found["bfloat16"][1], found["mixed"][1], atol=0.01)


def test_a_converted_base_is_not_mapped(tmp_path: Path) -> None:
    """Its numbers equal the base's, converted."""
    base = save_base(tmp_path / "base", "llama")
    model = hf.loading.load_model(Source(base, Path(), "bf16"), torch.device("cpu"))
    model.save_pretrained(tmp_path / "half")
    (tmp_path / "half" / "config.json").write_text(
        (base / "config.json").read_text().replace("float32", "bfloat16")
    )
    opened = hf.loading.modeling_utils.safe_open
    backends = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            hf.loading,
            "safe_open",
            lambda path, **given: backends.append(given["backend"]) or opened(path, **given),
        )
        source = Source(tmp_path / "half", Path(), "fp32")
        converted = hf.loading.load_model(source, torch.device("cpu"))
        hf.loading.load_model(source._replace(dtype="bf16"), torch.device("cpu"))
    assert backends == ["pread"]
    assert hf.loading.modeling_utils.safe_open is opened
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(converted.state_dict()[name], tensor.float(), rtol=0, atol=0)
