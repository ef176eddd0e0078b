"""The area under the ROC curve."""

from collections.abc import Sequence
from itertools import product


def area(healthy: Sequence[float], sick: Sequence[float]) -> float:
    """The share of pairs in which the healthy score is higher; a tie counts as one half.

    NaN without pairs.
    """
    if not (healthy and sick):
        return float("nan")
    wins = sum((h > s) + (h == s) / 2 for h, s in product(healthy, sick))
    return wins / (len(healthy) * len(sick))
