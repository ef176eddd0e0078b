"""The yardstick of a precision against the error of a model that is really rounded to it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import PlainModel, Precision, nf4
from sway_gate.output import silent
from sway_gate.serving import verdict
from sway_gate.serving.folder import ModelFolder
from sway_gate.serving.parity import Compared, Yardstick, compared
from sway_gate.serving.reference import error_of, merge_in, read_reference, score
from sway_gate.serving.verdict import distance
from tests.helpers.models import save_adapter, save_base
from tests.serving.test_parity import in_nf4, merged, rounded


def rounded_to_8_bits(values: torch.Tensor, block: int) -> torch.Tensor:
    """The oracle: each block of the last axis as whole multiples of a 127th of its maximum."""
    blocks = values.unflatten(-1, (-1, block or values.shape[-1]))
    step = blocks.abs().amax(-1, keepdim=True) / 127
    return ((blocks / step).round() * step).reshape(values.shape)


@pytest.mark.parametrize("block", [16, 0], ids=["blocks", "rows"])
def test_the_yardstick_of_8_bits_is_the_error_of_a_product_of_integers(
    block: int, tmp_path: Path
) -> None:
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    source = Source(base, adapter, dtype="fp32", device="cpu")
    reference = read_reference(source, ["a question", "another one", "a third"], silent)
    model = PlainModel(source)
    model.merge(source)
    for module in model._network.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = rounded_to_8_bits(module.weight.data, block)
            module.register_forward_pre_hook(lambda _, x: (rounded_to_8_bits(x[0], block),))
    error = distance(score(model, reference.passages), reference.known[1.0])
    yardstick = error_of(Precision("8 bits", bits=8, block=block), source, reference)
    assert error / 1.5 < yardstick < 1.5 * error


BF16 = torch.bfloat16
NATS = 0.001
"""Smaller than the .01 that are always allowed: bfloat16 causes .006 in a tiny model."""


def test_merges_through_bfloat16_are_right_and_faults_in_it_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "_SAME_NATS", NATS)
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    source = Source(base, adapter, dtype="fp32", device="cpu")
    reference = read_reference(source, ["a question", "another one", "a third"], silent)
    yardstick = Yardstick(source, reference, None)

    def found(name: str, **options: Any) -> Compared:
        folder = merged(base, adapter, tmp_path / name, **options)
        return compared(ModelFolder(folder, "cpu"), reference, yardstick)

    right = [
        found("rounded", dtype=BF16),
        found("in bf16", dtype=BF16, merged_in=BF16),
        found("in bf16, stored in float32", merged_in=BF16),
    ]
    assert [one.name for one in right] == ["same"] * 3
    assert [one.precision for one in right] == ["bfloat16"] * 2 + ["float32 after bfloat16"]
    exact, _, stored = (one.parity for one in right)
    assert exact is not None
    assert exact.unexplained == pytest.approx(0.0, abs=1e-6)
    assert stored is not None
    assert stored.error > NATS
    weaker = found("weaker", dtype=BF16, scale=0.9)
    partly = found("a layer left out", dtype=BF16, scale=0.0, modules="layers.1.mlp")
    for fault in (weaker, partly):
        assert fault.name in ("another base or adapter", "adapter at another strength")


def test_a_merge_in_nf4_is_computed(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    source = Source(base, adapter, dtype="fp32", device="cpu")
    reference = read_reference(source, ["a question", "another one"], silent)
    artefact = rounded(merged(base, adapter, tmp_path / "m"), tmp_path / "nf4")
    found = merge_in(Precision("nf4", bits=4, is_nf4=True), source, reference)
    error = distance(found.scores, reference.known[1.0])
    scores = ModelFolder(artefact, "cpu").scores(reference.passages)
    assert distance(scores, found.scores) < 0.01 * error


@pytest.mark.parametrize("shape", [(3, 64), (5, 24)])
def test_normal_float_of_4_bits(shape: tuple[int, int]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    padded = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % 64))
    expected = in_nf4(padded)[: values.numel()].reshape(shape)
    assert torch.allclose(nf4(values), expected, atol=1e-5)
