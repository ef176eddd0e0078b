"""A two-sample test of texts by maximum mean discrepancy (MMD) with a Hamming kernel.

Source: Gao, Liang and Guestrin 2024, "Model Equality Testing: Which Model Is This API Serving?",
arXiv 2410.20247.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.stats import Floats, monte_carlo_p

Samples = Sequence[Sequence[str]]
"""Texts that a model writes after each prompt: [prompts][samples]."""
_DRAWS = 9999
_END = -1
_ROUNDING = 1e-12
"""Exchanges that give the same MMD differ by this much in floating point."""


class TwoSample(NamedTuple):
    """`mmd`: the squared MMD, unbiased, so that it can be below 0; the mean over the prompts.

    `p`: the probability of such an MMD or a larger one if both samples have one distribution.
    """

    mmd: float
    p: float


def two_sample(one: Samples, other: Samples, seed: int = 0, draws: int = _DRAWS) -> TwoSample:
    """Test whether the texts after each prompt have the same distribution on both sides.

    Texts are exchanged between the sides within each prompt, so p is exact at any size. Each side
    has at least two texts of each prompt.
    """
    rng = np.random.default_rng(seed)
    pairs = zip(one, other, strict=True)
    found = np.mean([_of_prompt(hamming([*a, *b]), len(a), rng, draws) for a, b in pairs], axis=0)
    return TwoSample(float(found[0]), monte_carlo_p(found[0] - _ROUNDING, found[1:]))


def hamming(texts: Sequence[str]) -> Floats:
    """The kernel of each pair of texts: the share of positions with the same character.

    There are as many positions as in the longest text; each text ends with the same mark.
    """
    codes = np.full((len(texts), max(1, *map(len, texts))), _END)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = [ord(character) for character in text]
    kernel: Floats = (codes[:, None] == codes).mean(axis=2)
    return kernel


def _of_prompt(kernel: Floats, first: int, rng: np.random.Generator, draws: int) -> Floats:
    """The squared MMD of the first texts from the others, then of `draws` random exchanges."""
    size, second = len(kernel), len(kernel) - first
    chosen = np.tile(np.arange(size) < first, (1 + draws, 1)).astype(np.float64)
    chosen[1:] = rng.permuted(chosen[1:], axis=1)
    between = kernel - np.diag(np.diag(kernel))
    of_first = ((chosen @ between) * chosen).sum(axis=1)
    across = chosen @ between.sum(axis=1) - of_first
    of_second = between.sum() - of_first - 2 * across
    found: Floats = (
        of_first / (first * (first - 1))
        + of_second / (second * (second - 1))
        - 2 * across / (first * second)
    )
    return found
