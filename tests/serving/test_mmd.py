"""The two-sample test of texts: against a closed form, all exchanges, and simulations."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from sway_gate.serving.mmd import hamming, two_sample
from sway_gate.serving.samples import LEVEL, verdict


def test_the_kernel_is_the_share_of_equal_characters() -> None:
    found = hamming(["abcd", "abxd", "ab", ""])
    assert found[0].tolist() == [1, 0.75, 0.5, 0]
    assert found[2, 3] == 0.5  # both have ended before the last two positions
    assert hamming(["", ""]).tolist() == [[1, 1], [1, 1]]


def by_hand(one: list[str], other: list[str]) -> float:
    """The unbiased estimate of the squared MMD: Gretton et al. 2012, eq. 3."""

    def kernel(a: str, b: str) -> float:
        return float(np.mean([x == y for x, y in zip(a, b, strict=True)]))

    within = [np.mean([kernel(a, b) for a, b in combinations(texts, 2)]) for texts in (one, other)]
    return float(sum(within) - 2 * np.mean([kernel(a, b) for a in one for b in other]))


def test_the_statistic_is_the_mean_over_prompts() -> None:
    one = [["ab", "ac", "bc"], ["aa", "ab", "aa"]]
    other = [["bb", "ab", "cc"], ["aa", "cc", "aa"]]
    expected = np.mean([by_hand(a, b) for a, b in zip(one, other, strict=True)])
    assert two_sample(one, other).mmd == pytest.approx(expected)


def test_p_is_the_share_of_all_exchanges_with_such_a_statistic() -> None:
    one, other = ["aa", "ab", "ab", "bb"], ["cc", "cb", "bb", "cc"]
    texts = one + other
    every = [
        by_hand([texts[i] for i in chosen], [texts[i] for i in range(8) if i not in chosen])
        for chosen in combinations(range(8), 4)
    ]
    exact = np.mean(np.array(every) >= by_hand(one, other) - 1e-12)
    assert two_sample([one], [other], draws=20_000).p == pytest.approx(exact, abs=0.01)


def test_p_of_one_letter_is_that_of_fishers_test() -> None:
    one, other = ["a"] * 9 + ["b"], ["a"] * 2 + ["b"] * 8
    fisher = stats.fisher_exact([[9, 1], [2, 8]]).pvalue
    assert two_sample([one], [other], draws=50_000).p == pytest.approx(fisher, rel=0.1)


def written(
    rng: np.random.Generator, shares: list[float], prompts: int, each: int
) -> list[list[str]]:
    """Texts of four letters, each drawn with these shares."""
    letters = rng.choice(list("abc"), (prompts, each, 4), p=shares)
    return [["".join(text) for text in of_prompt] for of_prompt in letters]


SAME, OTHER = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]


def test_false_alarms_are_as_rare_as_the_level() -> None:
    rng = np.random.default_rng(1)
    p = [two_sample(*(written(rng, SAME, 6, 4) for _ in "ab"), draws=99).p for _ in range(200)]
    for level in (0.05, 0.2):
        alarms = sum(value <= level for value in p)
        assert stats.binomtest(alarms, len(p), level).pvalue > 0.001


@pytest.mark.parametrize(
    ("shares", "expected"), [(SAME, "same by samples"), (OTHER, "adapter not applied")]
)
def test_an_adapter_that_is_left_out_is_found(shares: list[float], expected: str) -> None:
    rng = np.random.default_rng(2)
    names = []
    for _ in range(20):
        served, adapter, base = (written(rng, s, 12, 8) for s in (shares, SAME, OTHER))
        names.append(verdict(*(two_sample(served, own, draws=299).p for own in (adapter, base))))
    assert names.count(expected) >= 19


@pytest.mark.parametrize(
    ("p", "p_of_base", "name"),
    [
        (0.5, LEVEL, "same by samples"),
        (0.5, 0.02, "undecided"),
        (LEVEL, 0.02, "adapter not applied"),
        (LEVEL, LEVEL, "different by samples"),
    ],
)
def test_verdicts(p: float, p_of_base: float, name: str) -> None:
    assert verdict(p, p_of_base) == name
