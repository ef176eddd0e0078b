"""The yardstick of a precision against the error of a model that is really rounded to it."""

from pathlib import Path

import pytest
import torch

from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import FLOATS, PlainModel, Precision
from sway_gate.output import silent
from sway_gate.serving.folder import ModelFolder
from sway_gate.serving.reference import error_of, read_reference, score
from sway_gate.serving.verdict import distance
from tests.helpers.models import save_adapter, save_base
from tests.serving.test_parity import merged


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


def test_the_yardstick_is_the_error_of_the_merged_model(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    source = Source(base, adapter, dtype="fp32", device="cpu")
    reference = read_reference(source, ["a question", "another one", "a third"], silent)
    artefact = ModelFolder(merged(base, adapter, tmp_path / "m", dtype=torch.bfloat16), "cpu")
    error = distance(artefact.scores(reference.passages), reference.known[1.0])
    yardstick = error_of(FLOATS["bfloat16"], source, reference)
    assert error / 2 < yardstick < 4 * error
