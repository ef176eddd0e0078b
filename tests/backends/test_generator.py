"""Texts that leave the batch when they end equal texts that are generated one at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sway_gate.backends import hf
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.passes.generator import Generator
from sway_gate.measurements import BASE, FINETUNED, View
from tests.helpers.models import save_adapter, save_base

VIEWS = [BASE, FINETUNED, View("null", 0)]
LENGTH = 24


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_texts_do_not_depend_on_those_that_end_earlier(architecture: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", architecture)
    adapter = save_adapter(tmp_path, base)
    loaded = hf.load(Source(base, adapter, device="cpu"), NullSettings(runs=3))
    # A sixth of the vocabulary ends a text, so that texts end at different steps.
    ends = frozenset(range(0, 250, 6))
    generator = Generator(loaded.weights, ends, loaded.prefix_cache, torch.device("cpu"))
    tokens = np.random.default_rng(0).integers(3, 250, (8, 9)).tolist()
    prompts = [(40, 41, 43, *row[: 2 + i]) for i, row in enumerate(tokens)]
    together = generator.generate(VIEWS, prompts, LENGTH)
    alone = [[generator.generate([v], [p], LENGTH)[0][0] for p in prompts] for v in VIEWS]
    assert together == alone
    lengths = {len(text.tokens) for of_view in together for text in of_view}
    assert generator.can_continue
    assert len(lengths) > 2
