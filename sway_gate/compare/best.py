"""Multiple comparisons with the best over the same items, by sign flips.

The hypothesis about candidate i: no other candidate is truly better. Its statistic is the largest
paired t of the others against i. Its null distribution flips the signs of whole items, so that it
keeps the correlation of the candidates and of the items' differences: all 2^n flips of few items,
otherwise a sample with a fixed seed. The candidates whose hypothesis is not rejected contain the
truly best one with the probability 1 - level, regardless of their number: only the hypothesis about
the best one can be rejected by mistake.

Sources: Hsu 1996, Multiple Comparisons, chapter 4 (constrained comparisons with the best); Westfall
and Young 1993, Resampling-Based Multiple Testing (the largest t under resampling).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sway_gate.measurements import Floats

LEVEL = 0.05
_ALL_FLIPS = 12
"""Up to this many items all flips are counted."""
_FLIPS = 4095
_ROUNDING = 1e-9


def p_values(
    items: Floats,
    resolution: float,
    against: Sequence[int] | None = None,
    of: Sequence[int] | None = None,
) -> list[float]:
    """The p-value of each candidate's hypothesis that no other one is better.

    `items` [candidates, n]: larger is better. `resolution`: the smallest standard deviation of
    differences that counts. `against`: the candidates that can reject a hypothesis; all by default.
    Each hypothesis is tested against the largest t among all candidates, so that fewer `against`
    only make the test stricter. `of`: the candidates whose p-values are computed; all by default.
    """
    n = items.shape[1]
    everyone = range(len(items))
    rivals = list(everyone if against is None else against)
    means = _flips(n) @ items.T / n  # [flips, candidates]
    found = []
    for own in everyone if of is None else of:
        squares = np.square(items - items[own]).sum(axis=1)
        t = _t(means - means[:, own, None], squares, n, resolution)
        largest = t[0, rivals].max()
        found.append(float(np.mean(t.max(axis=1) >= largest - _ROUNDING)))
    return found


def _t(means: Floats, squares: Floats, n: int, resolution: float) -> Floats:
    """Student's t of differences with these means and sums of squares."""
    variance = np.maximum(squares - n * means**2, 0.0) / (n - 1)
    error = np.maximum(np.sqrt(variance), resolution) / np.sqrt(n)
    return np.asarray(means / error)


@lru_cache(maxsize=2)
def _flips(n: int) -> Floats:
    """Signs [flips, n]. The first row flips nothing."""
    if n <= _ALL_FLIPS:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (_FLIPS + 1, n))
        bits[0] = 0
    return np.asarray(1.0 - 2.0 * bits)
