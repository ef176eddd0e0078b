"""Sentence embeddings and clusters of texts."""

import warnings
from functools import lru_cache

import numpy as np

from sway_gate.probes.base import CannotRun, Context, Embedder


def embedder(context: Context, model: str) -> Embedder:
    """The context's embedder. Raises CannotRun if it or `model` is not available."""
    if context.embedder is None:
        raise CannotRun(
            "sentence embeddings are not available; install the extra: "
            "pip install 'sway-gate[semsim]'"
        )
    context.embedder.require(model)
    return context.embedder


@lru_cache(maxsize=4)
def k_means(shape: tuple[int, ...], data: bytes, clusters: int, seed: int) -> tuple[int, ...]:
    """Cluster number of each row, counted from 0 in order of appearance.

    `data` are the bytes of float64 values of `shape` [n, d]. One thread and rounded vectors make
    the result independent of the order of summation. Fewer distinct rows give fewer clusters.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    vectors = np.frombuffer(data).reshape(shape).round(5)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fewer distinct rows than clusters
        found = KMeans(clusters, n_init=10, random_state=seed % 2**32).fit_predict(vectors).tolist()
    order = {label: number for number, label in enumerate(dict.fromkeys(found))}
    return tuple(order[label] for label in found)
