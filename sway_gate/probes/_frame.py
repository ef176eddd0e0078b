"""The frame of answers: what most of them share, such as the keys of JSON or a fixed opening."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

Ids = tuple[int, ...]


def frames(answers: Sequence[Ids]) -> list[list[bool]]:
    """For each token of each answer, whether it is of the frame.

    It is if more than half of the other distinct answers contain it next to the same token, or at
    the same end of the answer. A value can follow a token of the frame, but not the same value in
    most answers. A token without an id (-1) is never of the frame.
    """
    distinct = set(answers)
    counts = Counter(pair for ids in distinct for pair in set(_pairs(ids)))
    shared = {pair for pair, n in counts.items() if 2 * (n - 1) > len(distinct) - 1}
    return [_frame(ids, [pair in shared for pair in _pairs(ids)]) for ids in answers]


def _frame(ids: Ids, is_shared: Sequence[bool]) -> list[bool]:
    """A token is the second of one pair and the first of the next."""
    neighbours = zip(ids, pairwise(is_shared), strict=True)
    return [token >= 0 and any(pairs) for token, pairs in neighbours]


def _pairs(ids: Ids) -> Iterable[tuple[int | None, int | None]]:
    return pairwise((None, *ids, None))
