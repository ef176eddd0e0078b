"""Reductions of logits: in float32 or better, in blocks that do not change the numbers."""

import numpy as np
import pytest
import torch

from sway_gate import stats
from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.passes import reductions

POSITIONS, VOCABULARY = 23, 50
ROW = EncodedRequest((0,) * POSITIONS, tuple(range(POSITIONS)), tuple(range(POSITIONS)), end=3)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def logits(request):
    """Logits of two views [V, P, vocabulary], and their log-probabilities in float64."""
    generator = torch.Generator().manual_seed(0)
    made = (4 * torch.randn(2, POSITIONS, VOCABULARY, generator=generator)).to(request.param)
    return made, made.double().log_softmax(-1).numpy()


@pytest.fixture(params=[1, 4, 1000], ids=lambda n: f"{n} positions at a time")
def blocks(request, monkeypatch):
    monkeypatch.setattr(reductions, "_CACHED_FLOATS", request.param * VOCABULARY)


ORACLES = {
    "js": stats.js,
    "kl": lambda p, q: stats.kl(q, p),
    "log_ratio": stats.log_ratio_sd,
    "argmax": lambda p, q: p.argmax(-1) != q.argmax(-1),
}


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("kind", ORACLES)
def test_divergences_equal_those_in_float64(kind, logits):
    given, (base, other) = logits
    found = reductions.divergences(kind, reductions.log_probs(given[0]), given)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    np.testing.assert_allclose(found[1], ORACLES[kind](base, other), rtol=2e-5)


@pytest.mark.usefixtures("blocks")
def test_log_probabilities_equal_those_in_float64(logits):
    given, expected = logits
    np.testing.assert_allclose(reductions.log_probs(given[0]), expected[0], atol=1e-5)
    for kind in ("logprobs", "teacher_forced"):
        found = reductions.of_targets([ROW._replace(kind=kind)], given, torch.arange(POSITIONS))
        values = found if kind == "logprobs" else found[..., 0]
        targets = expected[:, np.arange(POSITIONS), np.arange(POSITIONS)]
        np.testing.assert_allclose(values, targets, atol=1e-5)
    np.testing.assert_array_equal(found[..., 1], expected.argmax(-1) == np.arange(POSITIONS))
    np.testing.assert_array_equal(found[..., 2], np.tile(np.arange(POSITIONS) == 3, (2, 1)))
