"""The yardstick of a precision against the error of a model that is really rounded to it."""

from pathlib import Path

import torch

from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import FLOATS
from sway_gate.output import progress_bar
from sway_gate.serving.folder import ModelFolder
from sway_gate.serving.reference import error_of, read_reference
from sway_gate.serving.verdict import distance
from tests.helpers.models import save_adapter, save_base
from tests.serving.test_parity import merged


def test_the_yardstick_is_the_error_of_the_merged_model(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    source = Source(base, adapter, dtype="fp32", device="cpu")
    with progress_bar() as progress:
        reference = read_reference(source, ["a question", "another one", "a third"], progress)
    artefact = ModelFolder(merged(base, adapter, tmp_path / "m", dtype=torch.bfloat16), "cpu")
    error = distance(artefact.scores(reference.passages), reference.known[1.0])
    yardstick = error_of(FLOATS["bfloat16"], source, reference)
    assert error / 2 < yardstick < 4 * error
