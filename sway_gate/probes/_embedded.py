"""What the probes share that compare texts by their meaning."""

import warnings
from functools import lru_cache

import numpy as np

from sway_gate.probes.base import CannotRun, Context, Embedder


def embedder(context: Context, model: str) -> Embedder:
    """The context's embedder. Raises CannotRun where there is none, or `model` is not to be had."""
    if context.embedder is None:
        raise CannotRun(
            "sentence embeddings are not available here; install the extra: pip install 'sway-gate[semsim]'"
        )
    context.embedder.require(model)
    return context.embedder


@lru_cache(maxsize=4)
def k_means(shape: tuple[int, ...], data: bytes, clusters: int, seed: int) -> tuple[int, ...]:
    """The number of each row's cluster, counted from 0 in order of appearance; `data` are float64 of `shape` [n, d].

    On one thread and on rounded vectors: sums in another order may not move a row. Fewer clusters than asked for where
    there are fewer different rows.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    vectors = np.frombuffer(data).reshape(shape).round(5)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different rows than clusters
        found = KMeans(clusters, n_init=10, random_state=seed % 2**32).fit_predict(vectors).tolist()
    order = {label: number for number, label in enumerate(dict.fromkeys(found))}
    return tuple(order[label] for label in found)
