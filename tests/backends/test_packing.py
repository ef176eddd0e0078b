"""Sharing a sequence changes no number of a row, also near the limits of a model."""

from collections.abc import Sequence

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.hf import HfBackend
from sway_gate.backends.two_models import TwoModels
from sway_gate.measurements import BASE
from tests.backends.architectures import tiny_config
from tests.helpers.models import byte_tokenizer

CONTEXT, WINDOW = 128, 80
"""Longer than the rows from which the backend finds out whether a model can share sequences."""


def rows(prompt: int, answers: Sequence[int]) -> list[EncodedRequest]:
    """Rows of one prompt; the lengths are in tokens."""
    random = np.random.default_rng(prompt)
    first = tuple(random.integers(3, 250, prompt).tolist())
    found = []
    for length in answers:
        ids = first + tuple(random.integers(3, 250, length).tolist())
        positions = tuple(range(prompt - 1, len(ids) - 1))
        found.append(EncodedRequest(ids, positions, targets=ids[prompt:]))
    return found


def tree() -> list[EncodedRequest]:
    """Three prompts with one beginning; an answer that begins another one, and a repeated row."""
    system, *prompts = (rows(n, [0])[0].ids for n in (12, 5, 6, 7))
    found = []
    for prompt in prompts:
        for answer in ((9, 8, 7), (9, 8), (9, 8), (5, 4)):
            ids = (*system, *prompt, *answer)
            start = len(system) + len(prompt)
            positions = tuple(range(start - 1, len(ids) - 1))
            found.append(EncodedRequest(ids, positions, targets=ids[start:]))
    return found


PASSES = {
    "prompts with one beginning": tree(),
    "within all limits": rows(20, [20, 10]),
    "one token each": rows(1, [1, 1, 5]),
    "more tokens together than the window": rows(40, [20] * 3),
    "more tokens together than the context": rows(60, [15] * 8),
    "rows longer than the window": rows(60, [40, 30]),
    "beside a row longer than the window": [*rows(20, [20, 30]), *rows(70, [20])],
    "at the end of the context": rows(110, [10, 15, 18]),
}


@pytest.fixture(scope="module", params=["big_bird as a decoder", "gpt_neo", "llama", "mistral"])
def backend(request: pytest.FixtureRequest) -> HfBackend:
    config = tiny_config(request.param)
    for name in ("sliding_window", "window_size"):
        if getattr(config, name, None):
            setattr(config, name, WINDOW)
    network = AutoModelForCausalLM.from_config(config).eval()
    return HfBackend(TwoModels(network, network), byte_tokenizer(), "best_effort")


@pytest.mark.parametrize("name", PASSES)
def test_shared_sequences_change_no_number(backend: HfBackend, name: str) -> None:
    assert backend.pack_limit > 0
    given = PASSES[name]
    [together] = backend.forward([BASE], given).answers
    alone = [backend.forward([BASE], [row]).answers[0][0] for row in given]
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


def test_a_position_that_rows_share_is_computed_once(backend: HfBackend) -> None:
    read = backend._logits.read([BASE], tree())
    places = {row.ids[: p + 1] for row in tree() for p in row.positions}
    assert read.different.shape[1] == len(places) < len(read.entries)
    assert read.all.shape[1] == len(read.entries)
