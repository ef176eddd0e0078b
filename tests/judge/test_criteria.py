"""Verdicts and scores of single criteria, with simulations of the claims that are made for them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sway_gate import stats
from sway_gate.judge.criteria import (
    Criterion,
    against_nulls,
    bound_text,
    by_own_test,
    of_bound,
    of_shape,
    severity,
    uncalibrated,
    worst,
)
from sway_gate.probes.base import Bound, Shortfall, Significance, Supply
from sway_gate.results import Verdict
from sway_gate.stats import Margin
from tests.helpers.simulation import one_fast

Z = st.floats(-50, 50)
BOUNDS = {
    # z, bound, estimate, margin, is_upper, verdict -> the text
    "inside": (
        3,
        0.11,
        0.05,
        0.15,
        True,
        "mean excess: 0.05, at most 0.11 (95% bound), margin 0.15",
    ),
    "from above": (
        3,
        -0.1,
        0.0,
        -0.5,
        False,
        "mean excess: 0, at least -0.1 (95% bound), margin -0.5",
    ),
    "not rounded across the margin": (
        *(2, 0.14999, 0.1, 0.15, True),
        "mean excess: 0.1, at most 0.14999 (95% bound), margin 0.15",
    ),
    "inconclusive": (
        *(1, 0.2, 0.1, 0.15, True),
        "inconclusive: mean excess: 0.1, at most 0.2 (95% bound), margin 0.15",
    ),
    "inconclusive, the estimate outside": (
        *(-1, 0.2, 0.150001, 0.15, True),
        "inconclusive: mean excess: 0.150001, must be below 0.15, but the 95% interval reaches "
        "inside",
    ),
    "outside": (
        *(-2, 0.5, 0.3, 0.15, True),
        "mean excess: 0.3, must be below 0.15",
    ),
    "one item": (
        *(0, -np.inf, 0.3, 0.15, False),
        "inconclusive: mean excess: 0.3, must be at least 0.15, but one item gives no bound",
    ),
}


@pytest.mark.parametrize(
    ("z", "bound", "estimate", "margin", "is_upper", "text"), BOUNDS.values(), ids=BOUNDS
)
def test_a_message_states_the_bound_and_the_margin(z, bound, estimate, margin, is_upper, text):
    tested = Bound("mean excess", Margin(z, bound, estimate), margin, is_upper)
    verdict = Verdict.PASS if z > 1.645 else Verdict.FAIL if z < -1.645 else Verdict.WARN
    assert bound_text(tested, verdict, "margin") == text


def criterion(z: float, items: int = 10, n: int | None = None) -> Criterion:
    return of_bound(Bound("mean", Margin(z, 0.1, 0.2), 0.15, n=n), items, "limit", "forgot")


@given(Z)
def test_a_bound_has_three_verdicts(z):
    found = criterion(z)
    expected = "pass" if z > stats.Z_95 else "fail" if z < -stats.Z_95 else "warn"
    assert found.verdict == expected
    assert (found.symptom == "forgot") == (expected == "fail")
    assert bool(found.remedy) == (expected == "warn")


@given(Z, st.floats(0.1, 10), st.sampled_from(["nulls", "test", "bound"]))
def test_a_score_is_at_its_limit_if_the_probe_is(z, limit, criterion_of):
    found = {
        "nulls": lambda: against_nulls(z, 8, limit, None),
        "test": lambda: by_own_test(Significance(z, 0.1, "exact"), 8, limit, None),
        "bound": lambda: criterion(z),
    }[criterion_of]()
    allowed = {"pass": (0.6, 1.0), "warn": (0.0, math.nextafter(0.6, 0)), "fail": (0.0, 0.0)}
    low, high = allowed[found.verdict]
    assert low <= found.score <= high
    assert found.score < 1


@given(st.floats(-5, 10), st.floats(-5, 10))
def test_any_limit_scores_at_least_point_6_at_the_limit(z, limit):
    found = against_nulls(z, 8, limit, None)
    assert (found.verdict == "pass") == (z >= limit) == (found.score >= 0.6)


@pytest.mark.parametrize("limit", [1.0, stats.Z_95, 3.0, 6.0])
def test_the_score_is_point_6_at_the_limit_and_grows(limit):
    zs = np.linspace(-1, 4 * limit, 200)
    scores = [stats.score_from_z(z, limit) for z in zs]
    assert stats.score_from_z(limit, limit) == pytest.approx(0.6)
    assert np.all(np.diff(scores)[zs[:-1] > 0] > 0)


NULLS = {  # z, limit, nulls -> verdict, symptom, remedy
    "above": (3.1, 3.0, 8, "pass", None, ""),
    "few nulls": (2.0, 3.0, 3, "warn", None, "set null_adapter runs to 8 to decide"),
    "many nulls": (2.0, 3.0, 8, "warn", None, "add items to this probe to decide"),
    "among them": (1.0, 3.0, 8, "fail", "never trained", ""),
    "a limit above 3 is not softened": (5.0, 6.0, 8, "fail", "never trained", ""),
}


@pytest.mark.parametrize(
    ("z", "limit", "nulls", "verdict", "symptom", "remedy"), NULLS.values(), ids=NULLS
)
def test_z_against_the_nulls(z, limit, nulls, verdict, symptom, remedy):
    found = against_nulls(z, nulls, limit, "never trained")
    assert (found.verdict, found.symptom, found.remedy) == (verdict, symptom, remedy)


def test_an_own_test_that_cannot_reach_the_limit_is_inconclusive():
    few = by_own_test(Significance(0.9, 0.17, "3 rows", 0.97), 3, 3.0, "learned another thing")
    assert (few.verdict, few.symptom) == ("warn", None)
    many = by_own_test(Significance(0.9, 0.17, "50 rows", 6.0), 50, 3.0, "learned another thing")
    assert (many.verdict, many.symptom) == ("fail", "learned another thing")


def test_the_worst_criterion_decides():
    passed, warned = criterion(3.0), criterion(0.5)
    violated = of_shape(Shortfall("it jumps", "irregular"), None)
    assert violated is not None
    assert violated.rule(3.0).text == "it jumps"
    assert of_shape("", "irregular") is None
    assert worst([passed, warned, violated]) == "fail"
    assert worst([passed, warned, uncalibrated()]) == "warn"


# Number of items


@given(st.floats(-1.6, 1.6), st.integers(2, 500))
def test_a_remedy_states_more_items_than_there_are(z, n):
    needed = stats.items_to_decide(z, n)
    assert needed is None or needed >= n
    assert (needed is None) == (abs(z) < stats.Z_95 / 10)


REMEDIES = {  # z, items, own number -> remedy
    "one item": (0.0, 1, None, "add items to this probe to decide"),
    "half the distance": (stats.Z_95 / 2, 10, None, "use about 40 items to decide, not 10"),
    "outside by half": (-stats.Z_95 / 2, 10, None, "use about 40 items to decide, not 10"),
    "at the limit": (
        *(0.01, 10, None),
        "the estimate is at the limit, so that more items might not decide",
    ),
    "its own number": (stats.Z_95 / 2, 10, 25, "use about 100 items to decide, not 25"),
    "it cannot be increased": (stats.Z_95 / 2, 10, 0, ""),
}


@pytest.mark.parametrize(("z", "items", "n", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_an_inconclusive_limit_states_what_decides(z, items, n, remedy):
    assert criterion(z, items, n).remedy == remedy


SUPPLIES = {  # n of a test that needs 4 times as many items, the most items -> remedy
    "enough": (10, 40, "use about 40 items to decide, not 10"),
    "too few": (
        *(10, 39),
        "this test cannot decide: it has 10 of at most 39 packaged items, and needs about 40; read "
        "its numbers in the report, and decide yourself",
    ),
    "all in use": (
        *(24, 24),
        "this test cannot decide: it has 24 of at most 24 packaged items, and needs about 96; read "
        "its numbers in the report, and decide yourself",
    ),
}


@pytest.mark.parametrize(("n", "most", "remedy"), SUPPLIES.values(), ids=SUPPLIES)
def test_a_remedy_never_requires_more_items_than_exist(n: int, most: int, remedy: str) -> None:
    supply = Supply(most, "packaged items")
    bound = Bound("mean", Margin(stats.Z_95 / 2, 0.1, 0.2), 0.15, n=n, supply=supply)
    assert of_bound(bound, 1, "limit", None).remedy == remedy
    test = Significance(1.0, 0.16, "exact", 1.5, supply)
    assert by_own_test(test, n, 2.0, None).remedy == remedy


@pytest.mark.parametrize(("mean", "n"), one_fast((0.05, 12), (-0.05, 12), (0.03, 30), (-0.02, 60)))
def test_the_stated_number_of_items_decides_as_often_as_not(mean, n):
    """Items with this true mean and standard deviation: at the stated number, half of the draws
    decide, and in the right direction."""
    z = stats.student_to_normal(mean / (0.15 / math.sqrt(n)), n - 1)
    needed = stats.items_to_decide(z, n)
    rng = np.random.default_rng(0)
    zs = np.array(
        [stats.mean_above(rng.normal(mean, 0.15, needed), 0.0, 1e-6).z for _ in range(2000)]
    )
    decided = np.abs(zs) > stats.Z_95
    assert decided.mean() == pytest.approx(0.5, abs=0.1)
    assert (np.sign(zs[decided]) == np.sign(mean)).mean() > 0.995


# Probabilities


@pytest.mark.parametrize("n", one_fast(4, 16, 60))
def test_a_value_at_the_limit_passes_and_fails_with_5_percent_each(n):
    rng = np.random.default_rng(1)
    found = [criterion(stats.mean_above(rng.normal(0, 1, n), 0.0, 1e-6).z).verdict
             for _ in range(8000)]  # fmt: skip
    for verdict in ("pass", "fail"):
        assert np.mean([v == verdict for v in found]) == pytest.approx(0.05, abs=0.008)


def test_the_criterion_that_decides_comes_first():
    inconclusive = Criterion(Verdict.WARN, 0.0, -1.0)
    failed = Criterion(Verdict.FAIL, 0.0, -0.5)
    assert sorted([Criterion(Verdict.PASS, 0.9, 4.0), inconclusive, failed], key=severity) == [
        failed,
        inconclusive,
        Criterion(Verdict.PASS, 0.9, 4.0),
    ]
