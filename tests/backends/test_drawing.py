"""Null adapters are drawn when they are measured, which changes no number."""

import numpy as np
import pytest

from sway_gate.backends import hf, null_adapters
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.passes import weights
from sway_gate.measurements import FINETUNED, LogProbs, View
from tests.helpers.models import save_adapter, save_base

REQUEST = LogProbs("A prompt", " and its end")
NULLS = [View("null", i) for i in range(10)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("models")
    base = save_base(folder / "base", "llama")
    return Source(base, save_adapter(folder, base), device="cpu")


def read(backend: hf.HfBackend, views: list[View]) -> np.ndarray:
    [(row, _)] = backend.encode([REQUEST])
    return np.array([answer for [answer] in backend.forward(views, [row]).answers])


def test_null_adapters_that_are_drawn_later_are_the_same(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, settings = [FINETUNED, *NULLS], NullSettings(runs=10)
    backend = hf.load(source, settings)
    first = read(backend, views[:3])
    later = read(backend, views)
    monkeypatch.setattr(weights, "_FIRST_NULLS", 10)
    at_once = read(hf.load(source, settings), views)
    np.testing.assert_allclose(first, at_once[:3], rtol=0, atol=3e-5)
    np.testing.assert_array_equal(later, at_once)
    assert len(np.unique(later[:, 0])) == len(views)
    assert backend.unused_modules() == ()


def test_a_draw_that_fails_leaves_no_hooks(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = hf.load(source, NullSettings(runs=10))
    expected = read(backend, [FINETUNED])
    drawn = iter(range(2))

    def fail(*args: object) -> object:
        if next(drawn, None) is None:
            raise MemoryError
        return draw(*args)

    draw = null_adapters.with_nulls
    with monkeypatch.context() as patched:
        patched.setattr(weights, "with_nulls", fail)
        with pytest.raises(MemoryError):
            read(backend, NULLS)
    np.testing.assert_array_equal(read(backend, [FINETUNED]), expected)
    backend.leave()
    network = backend.weights.model(FINETUNED).network
    assert not any(module._forward_hooks for module in network.modules())
