"""Statistics against scipy, 40-digit references, closed forms and simulations."""

import itertools
import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats as oracle
from scipy.spatial.distance import jensenshannon

from sway_gate.stats import (
    Z_95,
    Floats,
    Margin,
    PooledShare,
    Prior,
    Scale,
    bootstrap_ci,
    fraction_below,
    holm,
    js,
    kl,
    log_ratio_sd,
    mean_above,
    monte_carlo_p,
    normal_from_log_sf,
    normal_sf,
    paired_fraction_below,
    pairing_test,
    pooled_share,
    positive_mean_above,
    positive_mean_ci,
    ratio_above,
    score_from_z,
    share_above,
    share_difference,
    share_interval,
    student_log_sf,
    student_to_normal,
    transform,
    z_score,
)
from tests.helpers.processes import modules_after
from tests.helpers.property import given, st
from tests.helpers.simulation import one_fast

Interval = Callable[[Floats, int], tuple[float, float] | None]
DFS = (1, 2, 3, 7, 15, 31, 127, 255)
LN2 = math.log(2)


def log_softmax(logits: Floats) -> Floats:
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


# Tails


def at_all_dfs(*ts: float) -> list[tuple[float, int]]:
    return [(t, df) for t in ts for df in DFS]


def test_student_log_sf_is_scipys() -> None:
    grid = at_all_dfs(0.0, 0.1, 0.9, 1.0, 1.1, 1.7, 1.75, 3.0, 10.0)
    theirs = {(t, df): oracle.t.logsf(t, df) for t, df in grid}
    assert {(t, df): student_log_sf(t, df) for t, df in grid} == pytest.approx(theirs, rel=1e-11)


@pytest.mark.parametrize(
    ("t", "df", "log_sf"),
    # mpmath 1.3, 40 digits: log(betainc(df / 2, 1 / 2, 0, df / (df + t^2), regularized=True) / 2)
    [
        (1e-09, 1, -0.69314718119656508),
        (1e-06, 127, -0.69314797687574536),
        (1.7, 127, -3.0837034198801298),
        (1.73, 255, -3.160132719593579),
        (1.75, 255, -3.2024968272473757),
        (60.0, 255, -349.92910699980755),
        (10000.0, 31, -234.93774977581968),
        (120000.0, 1, -12.839976907636731),
        (100000000.0, 1, -19.565410629801766),
        (100000000.0, 2, -37.534508668464676),
        (100000000.0, 15, -258.28945267073915),
        (100000000.0, 255, -3994.453038395585),
    ],
)
def test_student_log_sf_where_scipy_has_few_digits(t: float, df: int, log_sf: float) -> None:
    assert student_log_sf(t, df) == pytest.approx(log_sf, rel=1e-12)


def test_student_log_sf_below_zero() -> None:
    grid = at_all_dfs(-1e8, -30.0, -2.0, -0.5)
    theirs = {(t, df): math.log1p(-oracle.t.sf(-t, df)) for t, df in grid}
    assert {(t, df): student_log_sf(t, df) for t, df in grid} == pytest.approx(theirs, rel=1e-11)


@pytest.mark.parametrize("t", [0.5, 1.6, 1.73, 1.74, 5.0, 30.0])
def test_student_log_sf_with_many_items(t: float) -> None:
    assert student_log_sf(t, 100_000) == pytest.approx(oracle.t.logsf(t, 100_000), rel=1e-9)


@pytest.mark.parametrize(("t", "log_sf"), [(math.inf, -math.inf), (-math.inf, 0.0), (5e-324, -LN2)])
def test_student_log_sf_at_the_ends(t: float, log_sf: float) -> None:
    assert student_log_sf(t, 4) == pytest.approx(log_sf)


@pytest.mark.parametrize("log_sf", [-1e-8, -0.01, -0.5, -LN2, -0.7, -1.0, -5.0, -100.0, -700.0])
def test_normal_quantile_is_scipys(log_sf: float) -> None:
    assert normal_from_log_sf(log_sf) == pytest.approx(
        oracle.norm.isf(math.exp(log_sf)), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("log_sf", [-600.0, -616.0, -617.5, -720.0, -1e4, -1e6])
def test_normal_quantile_far_out_inverts_the_log_tail(log_sf: float) -> None:
    assert oracle.norm.logsf(normal_from_log_sf(log_sf)) == pytest.approx(log_sf, rel=1e-13)


@pytest.mark.parametrize(
    ("log_sf", "z"),
    [
        pytest.param(-1e300, math.sqrt(2e300), id="no tail"),
        pytest.param(-1e-300, oracle.norm.ppf(1e-300), id="all but nothing"),
        pytest.param(0.0, -math.inf, id="everything"),
    ],
)
def test_normal_quantile_at_the_ends(log_sf: float, z: float) -> None:
    assert normal_from_log_sf(log_sf) == pytest.approx(z)


@pytest.mark.parametrize("log_sf", [1e-9, math.nan, math.inf])
def test_normal_quantile_refuses(log_sf: float) -> None:
    with pytest.raises(ValueError, match="log probability"):
        normal_from_log_sf(log_sf)


def test_student_to_normal_keeps_the_tail() -> None:
    grid = at_all_dfs(0.2, 1.0, 4.5, 19.2)
    theirs = {(t, df): oracle.norm.isf(oracle.t.sf(t, df)) for t, df in grid}
    assert {(t, df): student_to_normal(t, df) for t, df in grid} == pytest.approx(theirs, rel=1e-10)


@given(t=st.floats(allow_nan=False), df=st.integers(1, 255))
def test_student_to_normal_is_odd_and_finite(t: float, df: int) -> None:
    z = student_to_normal(t, df)
    assert math.isfinite(z)
    assert z == -student_to_normal(-t, df)


@given(a=st.floats(0, 1e9), b=st.floats(0, 1e9), df=st.integers(1, 255))
def test_student_to_normal_keeps_the_order(a: float, b: float, df: int) -> None:
    assert student_to_normal(min(a, b), df) <= student_to_normal(max(a, b), df) + 1e-11


@pytest.mark.parametrize(
    "call", [lambda: student_log_sf(1.0, 0), lambda: student_to_normal(math.nan, 3)]
)
def test_student_refuses(call: Callable[[], float]) -> None:
    with pytest.raises(ValueError, match=r"degrees|NaN"):
        call()


# Scales


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        pytest.param(
            [1.0, math.e, 0.0, -1.0], "log", [0, 1, math.log(0.01), math.log(0.01)], id="log"
        ),
        pytest.param(
            [0.5, 0.8, 0.0, 1.0], "logit", [0, math.log(4), -math.log(99), math.log(99)], id="logit"
        ),
        pytest.param([-3.0, 0.0, 7.0], "identity", [-3, 0, 7], id="identity"),
        pytest.param(0.8, "logit", math.log(4), id="one number"),
        pytest.param([[1.0], [1.0]], "log", [[0], [0]], id="two dimensions"),
    ],
)
def test_transform(values: ArrayLike, scale: Scale, expected: ArrayLike) -> None:
    assert transform(values, scale, 0.01) == pytest.approx(np.asarray(expected), abs=1e-15)


@pytest.mark.parametrize(
    ("scale", "resolution"), [("log", 0.0), ("log", math.nan), ("logit", 0.5), ("logit", -1.0)]
)
def test_transform_refuses_the_resolution(scale: Scale, resolution: float) -> None:
    with pytest.raises(ValueError, match="resolution"):
        transform([0.5], scale, resolution)


# Comparison with the nulls


def t_at_z3(n: int) -> float:
    return float(oracle.t.isf(oracle.norm.sf(3), n - 1))


@pytest.mark.parametrize("n", one_fast(8, 3, 4, 16))
@pytest.mark.parametrize("scale", ["identity", "log"])
def test_null_rate_of_z3_is_nominal(n: int, scale: Scale, rng: np.random.Generator) -> None:
    x = rng.normal(size=(400_000, n + 1))
    x = transform(np.exp(x), "log", 1e-9) if scale == "log" else x
    t = (x[:, 0] - x[:, 1:].mean(1)) / x[:, 1:].std(1, ddof=1) / math.sqrt(1 + 1 / n)
    low, high = oracle.binom.interval(0.999, len(x), oracle.norm.sf(3))
    assert low <= np.count_nonzero(t >= t_at_z3(n)) <= high
    extreme = np.argsort(t)[-2000:]  # around the threshold, and the far tail
    assert all((z_score(x[i, 0], x[i, 1:], 1e-9).z >= 3) == (t[i] >= t_at_z3(n)) for i in extreme)


@pytest.mark.parametrize("n", [3, 8, 256])
def test_z3_is_where_the_prediction_interval_ends(n: int, rng: np.random.Generator) -> None:
    nulls = rng.normal(-4, 2, n)
    reach = t_at_z3(n) * nulls.std(ddof=1) * math.sqrt(1 + 1 / n)
    assert z_score(nulls.mean() + reach, nulls, 1e-9).z == pytest.approx(3, rel=1e-9)
    assert z_score(nulls.mean() - reach, nulls, 1e-9).z == pytest.approx(-3, rel=1e-9)


@pytest.mark.parametrize(
    ("nulls", "min_sd", "sd", "is_min_sd"),
    [
        pytest.param([1.0, 2.0, 3.0], 0.5, 1.0, False, id="above the minimum"),
        pytest.param([1.0, 2.0, 3.0], 1.0, 1.0, False, id="at the minimum"),
        pytest.param([1.0, 2.0, 3.0], 4.0, 4.0, True, id="below the minimum"),
        pytest.param([2.0, 2.0, 2.0], 0.1, 0.1, True, id="no spread"),
    ],
)
def test_minimum_sd(nulls: list[float], min_sd: float, sd: float, is_min_sd: bool) -> None:
    got = z_score(5.0, nulls, min_sd)
    assert got[1:] == (3, 2.0, sd, is_min_sd)
    assert got.z == pytest.approx(oracle.norm.isf(oracle.t.sf(3 / sd / math.sqrt(4 / 3), 2)))


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=12),
    st.floats(-1e3, 1e3),
    st.floats(1e-6, 1e3),
)
def test_minimum_sd_only_moves_z_towards_zero(
    nulls: list[float], value: float, min_sd: float
) -> None:
    least = abs(z_score(value, nulls, 1e-6).z)
    assert abs(z_score(value, nulls, min_sd).z) <= least * (1 + 1e-12)  # they are rounded


def test_one_step_above_tied_nulls_is_not_significant() -> None:
    assert z_score(0.1, [0.0, 0.0, 0.0], min_sd=0.1).z < 1


@pytest.mark.parametrize("value", [math.inf, 1e300])
def test_z_score_stays_finite(value: float) -> None:
    assert 3 < z_score(value, [0.0, 1.0, 2.0], 0.1).z < math.inf


@pytest.mark.parametrize(
    ("value", "nulls", "min_sd", "words"),
    [
        pytest.param(1.0, [1.0, 2.0], 0.1, "at least 3", id="two nulls"),
        pytest.param(1.0, [1.0, 2.0, 3.0], 0.0, "minimum null", id="no minimum"),
        pytest.param(1.0, [1.0, 2.0, 3.0], math.nan, "minimum null", id="NaN minimum"),
        pytest.param(1.0, [1.0, 2.0, math.nan], 0.1, "1 of 3 values", id="NaN null"),
        pytest.param(math.nan, [1.0, 2.0, 3.0], 0.1, "NaN", id="NaN value"),
    ],
)
def test_z_score_refuses(value: float, nulls: list[float], min_sd: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        z_score(value, nulls, min_sd)


@pytest.mark.parametrize(("value", "p"), [(9.0, 1 / 5), (3.0, 3 / 5), (2.5, 3 / 5), (-1.0, 1.0)])
def test_monte_carlo_p(value: float, p: float) -> None:
    assert monte_carlo_p(value, [1.0, 2.0, 3.0, 4.0]) == pytest.approx(p)


def test_monte_carlo_p_is_uniform_under_the_null(rng: np.random.Generator) -> None:
    p = [monte_carlo_p(x[0], x[1:]) for x in rng.normal(size=(20_000, 20))]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(
    ("z", "score"), [(0, 0), (-5, 0), (3, 0.6), (3.274, 1 - 1 / math.e), (-math.inf, 0)]
)
def test_score(z: float, score: float) -> None:
    assert score_from_z(z) == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("z", [100.0, 1e9, math.inf])
def test_score_stays_below_one(z: float) -> None:
    assert 0.999 < score_from_z(z) < 1


def test_score_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        score_from_z(math.nan)


# Intervals of means


def coverage(
    draw: Callable[[], Floats], mean: float, interval: Interval, repeats: int = 1000
) -> float:
    limits = np.array([interval(draw(), seed) for seed in range(repeats)])
    return float(np.mean((limits[:, 0] <= mean) & (mean <= limits[:, 1])))


@pytest.mark.parametrize("n", one_fast(8, 4, 32))
def test_bootstrap_covers_the_mean_of_normal_items(n: int, rng: np.random.Generator) -> None:
    assert coverage(lambda: rng.normal(2, 3, n), 2, bootstrap_ci) == pytest.approx(0.95, abs=0.022)


@pytest.mark.parametrize(("n", "least"), one_fast((8, 0.87), (4, 0.87), (32, 0.90)))
def test_bootstrap_covers_the_mean_of_log_normal_items(
    n: int, least: float, rng: np.random.Generator
) -> None:
    assert coverage(lambda: rng.lognormal(size=n), math.exp(0.5), bootstrap_ci) > least


def test_bootstrap_covers_more_than_bca(rng: np.random.Generator) -> None:
    def bca(items: Floats, seed: int) -> tuple[float, float]:
        return tuple(
            oracle.bootstrap(
                [items], np.mean, n_resamples=1000, method="BCa", rng=seed
            ).confidence_interval
        )

    sets = rng.lognormal(size=(200, 8))
    ours, theirs = (
        coverage(iter(sets).__next__, math.exp(0.5), ci, 200) for ci in (bootstrap_ci, bca)
    )
    assert ours > theirs + 0.03


@pytest.mark.parametrize(
    "items", [[1.0, 4.0], [1.0, 2.0, 4.0], [0.1] * 11 + [0.7]], ids=["two", "three", "ties"]
)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bootstrap_falls_back_to_students_t(items: list[float], level: float) -> None:
    expected = oracle.ttest_1samp(items, 0).confidence_interval(level)
    assert bootstrap_ci(items, 0, level) == pytest.approx(tuple(expected), rel=1e-9)


def test_bootstrap_nears_the_limits_of_all_resamples() -> None:
    items = np.array(
        [1.0, 2.0, 4.0, 5.0, 8.0]
    )  # one item is the mean: its resample of equal items gives 0 / 0
    every = items[np.array(list(itertools.product(range(5), repeat=5)))]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(
            (every.mean(1) - 4) / oracle.sem(every, axis=1), nan=0, posinf=1e9, neginf=-1e9
        )
    low, high = 4 - np.quantile(t, [0.975, 0.025]) * oracle.sem(items)
    assert bootstrap_ci(items, 0, draws=200_000) == pytest.approx((low, high), rel=0.02)


def test_bootstrap_of_many_items_needs_little_memory(rng: np.random.Generator) -> None:
    items = rng.normal(size=20_000)
    tracemalloc.start()
    bootstrap_ci(items, 0, draws=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6  # all resamples at once are 160e6


def test_bootstrap_of_many_items_is_the_normal_interval(rng: np.random.Generator) -> None:
    items = rng.normal(size=3000)
    low, high = bootstrap_ci(items, 1) or (0, 0)
    assert (low, high) == pytest.approx(
        tuple(oracle.ttest_1samp(items, 0).confidence_interval()), abs=0.004
    )


def test_bootstrap_is_deterministic(rng: np.random.Generator) -> None:
    items = rng.normal(size=9)
    assert bootstrap_ci(items, 3) == bootstrap_ci(items, 3) != bootstrap_ci(items, 4)
    assert bootstrap_ci(items, 3, draws=200) != bootstrap_ci(items, 3, draws=300)


@pytest.mark.parametrize(
    ("items", "interval"),
    [([], None), ([1.0], None), ([0.1] * 7, (pytest.approx(0.1), pytest.approx(0.1)))],
)
def test_bootstrap_of_equal_items(items: list[float], interval: object) -> None:
    assert bootstrap_ci(items, 0) == interval


def test_bootstrap_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_ci([1.0, math.nan], 0)


# Margins


@pytest.mark.parametrize("n", [2, 3, 10, 400])
def test_mean_above_is_the_one_sided_t_test(n: int, rng: np.random.Generator) -> None:
    items = rng.normal(0.5, 2, n)
    test = oracle.ttest_1samp(items, -0.5, alternative="greater")
    got = mean_above(items, -0.5, 1e-6)
    assert got.z == pytest.approx(oracle.norm.isf(test.pvalue), rel=1e-9)
    assert got.bound == pytest.approx(test.confidence_interval(0.95).low, rel=1e-9)
    assert got.estimate == pytest.approx(items.mean())


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(-10, 10))
def test_mean_above_bound_and_z_agree(items: list[float], margin: float) -> None:
    got = mean_above(items, margin, 0.01)
    near = abs(got.z - Z_95) < 1e-9
    assert near or (got.bound > margin) == (got.z > Z_95)


def test_mean_above_agrees_on_both_sides_of_the_margin(rng: np.random.Generator) -> None:
    bound = mean_above(items := rng.normal(size=12), 0, 0.01).bound
    assert mean_above(items, bound - 1e-6, 0.01).z > Z_95 > mean_above(items, bound + 1e-6, 0.01).z


def test_mean_above_has_a_minimum_sd() -> None:
    expected = oracle.norm.isf(oracle.t.sf(0.1 / (0.2 / 2), 3))
    assert mean_above([0.1] * 4, 0.0, resolution=0.2).z == pytest.approx(expected)


def test_mean_above_with_one_item_is_inconclusive() -> None:
    assert mean_above([5.0], 0.0, 0.1) == Margin(0.0, -math.inf, 5.0)


@pytest.mark.parametrize(
    ("items", "resolution"), [([], 0.1), ([1.0, 1.0], 0.0), ([1.0, math.inf], 0.1)]
)
def test_mean_above_refuses(items: list[float], resolution: float) -> None:
    with pytest.raises(ValueError, match=r"item|resolution|infinite"):
        mean_above(items, 0.0, resolution)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 30), (3, 30), (30, 30), (5, 2000)])
def test_fraction_bound_is_wilson(k: int, n: int) -> None:
    expected = oracle.binomtest(k, n).proportion_ci(0.90, method="wilson").high
    assert fraction_below(k, n, 0.15).bound == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 12), (3, 12), (12, 12), (5, 2000)])
def test_share_interval_is_wilsons(k: int, n: int) -> None:
    expected = oracle.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert share_interval(k / n, n) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-12)


def test_fraction_z_is_the_score_test() -> None:
    chi2 = oracle.chisquare([2, 38], [6, 34]).statistic
    assert fraction_below(2, 40, 0.15).z == pytest.approx(math.sqrt(chi2))


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.15, 0.5, 0.97, 1.0])
def test_fraction_bound_and_z_agree(margin: float) -> None:
    cases = [fraction_below(k, n, margin) for n in (1, 2, 3, 17, 60, 5000) for k in range(n + 1)]
    assert all((got.bound < margin) == (got.z > Z_95) and math.isfinite(got.z) for got in cases)


@pytest.mark.parametrize(
    ("k", "margin", "passes"),
    [
        (0, 0.0, False),
        (1, 0.0, False),
        (9, 1.0, True),
        (10, 1.0, False),
        (0, 1.0, True),
        (10, 1.01, True),
    ],
)
def test_fraction_at_the_extreme_margins(k: int, margin: float, passes: bool) -> None:
    assert (fraction_below(k, 10, margin).z > Z_95) == passes


@pytest.mark.parametrize(
    ("k", "n", "margin"), [(-1, 3, 0.5), (4, 3, 0.5), (0, 0, 0.5), (1, 3, -0.1), (1, 3, math.nan)]
)
def test_fraction_refuses(k: int, n: int, margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        fraction_below(k, n, margin)


PAIRS = [(0, 0, 24), (1, 0, 24), (3, 1, 24), (10, 1, 30), (2, 6, 30), (12, 0, 12), (40, 25, 300)]


@pytest.mark.parametrize(("gained", "lost", "n"), PAIRS)
@pytest.mark.parametrize("margin", [0.05, 0.2, 0.6])
def test_paired_fraction_z_is_the_score_test(gained: int, lost: int, n: int, margin: float) -> None:
    """The constrained maximum of the trinomial likelihood, found by search."""
    q = np.linspace(1e-9, (1 - margin) / 2 - 1e-9, 400_001)
    likelihood = gained * np.log(q + margin) + lost * np.log(q)
    likelihood += (n - gained - lost) * np.log1p(-2 * q - margin)
    best = q[likelihood.argmax()]
    sd = math.sqrt(n * (2 * best + margin * (1 - margin)))
    z = paired_fraction_below(gained, lost, n, margin).z
    assert z == pytest.approx((n * margin - gained + lost) / sd, abs=1e-3)


@pytest.mark.parametrize("gained", [0, 1, 4, 5])
def test_paired_fraction_of_gains_only_is_the_fraction(gained: int) -> None:
    paired, single = paired_fraction_below(gained, 0, 24, 0.2), fraction_below(gained, 24, 0.2)
    assert paired == pytest.approx(single, abs=1e-9)


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.2, 0.9, 1.0])
def test_paired_fraction_bound_and_z_agree(margin: float) -> None:
    for n in (1, 2, 17, 60):
        for gained, lost in itertools.product(range(n + 1), repeat=2):
            if gained + lost <= n:
                got = paired_fraction_below(gained, lost, n, margin)
                assert (got.bound < margin) == (got.z > Z_95)
                assert math.isfinite(got.z)


def test_paired_fraction_rarely_passes_at_the_margin(rng: np.random.Generator) -> None:
    counts = rng.multinomial(30, [0.3, 0.1, 0.6], size=4000)
    passed = [paired_fraction_below(int(b), int(c), 30, 0.2).z > Z_95 for b, c, _ in counts]
    assert 0.03 < np.mean(passed) < 0.065


@pytest.mark.parametrize(
    ("gained", "lost", "n", "margin"),
    [(-1, 0, 3, 0.5), (0, -1, 3, 0.5), (2, 2, 3, 0.5), (0, 0, 0, 0.5), (0, 0, 3, 1.1)],
)
def test_paired_fraction_refuses(gained: int, lost: int, n: int, margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        paired_fraction_below(gained, lost, n, margin)


# Divergences


def test_divergences_are_scipys(rng: np.random.Generator) -> None:
    p, q = log_softmax(rng.normal(0, 3, (2, 5, 4, 300)))
    np.testing.assert_allclose(kl(p, q), oracle.entropy(np.exp(p), np.exp(q), axis=-1), rtol=1e-10)
    np.testing.assert_allclose(
        js(p, q), jensenshannon(np.exp(p), np.exp(q), axis=-1) ** 2, rtol=1e-10
    )


@pytest.mark.parametrize(
    ("p", "q", "js_nats", "kl_nats"),
    [
        pytest.param([0.5, 0.5], [0.5, 0.5], 0, 0, id="equal"),
        pytest.param([1, 0], [0, 1], LN2, math.inf, id="disjoint"),
        pytest.param([1, 0], [0.5, 0.5], 0.75 * math.log(4 / 3), LN2, id="point against half"),
        pytest.param([1, 0, 0], [1, 0, 0], 0, 0, id="the same zeros"),
        pytest.param(
            [0.5, 0.5], [1, 0], 0.75 * math.log(4 / 3), math.inf, id="zero where p has mass"
        ),
    ],
)
def test_divergences_with_zeros(
    p: list[float], q: list[float], js_nats: float, kl_nats: float
) -> None:
    with np.errstate(divide="ignore"):
        log_p, log_q = np.log(p), np.log(q)
    assert (float(js(log_p, log_q)), float(kl(log_p, log_q))) == pytest.approx(
        (js_nats, kl_nats), abs=1e-15
    )


def test_js_of_float32_stays_in_range(rng: np.random.Generator) -> None:
    p = log_softmax(rng.normal(0, 20, (200, 50)).astype(np.float32))
    got = js(p, p[::-1])
    assert got.dtype == np.float64
    assert got.shape == (200,)
    assert got.min() >= 0
    assert got.max() <= LN2


def test_divergences_of_float32_are_taken_in_float64(rng: np.random.Generator) -> None:
    p, q = log_softmax(rng.normal(size=(2, 500))).astype(np.float32)
    assert js(p, q) == pytest.approx(js(p.astype(float), q.astype(float)), rel=1e-12)
    assert kl(p, q) == pytest.approx(kl(p.astype(float), q.astype(float)), rel=1e-12)


def test_kl_of_rounding_is_not_negative(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(200, 50))
    assert kl(log_softmax(logits), log_softmax(logits + 1e-10 * logits)).min() >= 0


def test_js_of_a_small_change_keeps_its_digits(rng: np.random.Generator) -> None:
    logits, change = rng.normal(size=1000), rng.normal(size=1000)
    p, q = log_softmax(logits), log_softmax(logits + 1e-5 * change)
    variance = np.average((change - np.average(change, weights=np.exp(p))) ** 2, weights=np.exp(p))
    assert js(p, q) == pytest.approx(
        1e-10 * variance / 8, rel=1e-3
    )  # Fisher information, to second order


def test_no_scipy_at_run_time() -> None:
    assert "scipy" not in modules_after("import sway_gate.stats")


@pytest.mark.parametrize("n", one_fast(8, 4, 32))
def test_positive_mean_interval_covers_and_stays_above_zero(n: int) -> None:
    rng = np.random.default_rng(0)
    intervals = [positive_mean_ci(x) for x in rng.lognormal(0.0, 0.8, (2000, n))]
    mean = math.exp(0.8**2 / 2)
    covered = [low <= mean <= high for low, high in intervals if low > 0]
    assert len(covered) == 2000
    assert np.mean(covered) > 0.87


def test_positive_mean_interval_is_students_on_the_log() -> None:
    x = np.array([1.0, 2.0, 4.0, 3.0])
    half = oracle.t.ppf(0.975, 3) * x.std(ddof=1) / 2 / x.mean()
    assert positive_mean_ci(x) == pytest.approx(
        (x.mean() * math.exp(-half), x.mean() * math.exp(half))
    )
    assert positive_mean_ci([1.0]) is None
    assert positive_mean_ci([0.0, 0.0]) is None


@pytest.mark.parametrize("n", [1, 2, 8])
def test_positive_mean_above_is_students_test_on_the_log(n: int, rng: np.random.Generator) -> None:
    x, prior, margin = rng.lognormal(-2.0, 0.6, n), Prior(sd=0.7, df=4), 0.05
    df = prior.df + n - 1
    squares = float(np.square(x / x.mean() - 1).sum())
    se = math.sqrt((prior.df * prior.sd**2 + squares) / df / n)
    got = positive_mean_above(x, margin, 1e-5, prior)
    t = math.log(x.mean() / margin) / se
    assert got.z == pytest.approx(oracle.norm.isf(oracle.t.sf(t, df)), rel=1e-9)
    assert got.bound == pytest.approx(x.mean() * math.exp(-oracle.t.ppf(0.95, df) * se), rel=1e-9)
    assert got.estimate == pytest.approx(x.mean())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(1e-3, 1))
def test_positive_mean_above_bound_and_z_agree(items: list[float], margin: float) -> None:
    got = positive_mean_above(items, margin, 1e-5, Prior(sd=0.7, df=4))
    near = abs(got.z - Z_95) < 1e-9
    assert near or (got.bound > margin) == (got.z > Z_95)


def test_positive_mean_above_with_means_and_margins_of_zero() -> None:
    prior = Prior(sd=0.7, df=4)
    zero = positive_mean_above([0.0, 0.0], 0.02, 1e-5, prior)
    assert zero[:2] == positive_mean_above([1e-5, 1e-5], 0.02, 1e-5, prior)[:2]
    assert zero.estimate == 0.0
    assert zero.z < -Z_95
    least = positive_mean_above([0.1, 0.1], 0.0, 1e-5, prior)
    assert least == positive_mean_above([0.1, 0.1], 1e-5, 1e-5, prior)


@pytest.mark.parametrize("n", one_fast(16, 1, 2, 4, 64))
def test_a_positive_mean_at_its_limit_passes_in_at_most_one_case_of_twenty(n: int) -> None:
    """Log-normal items with the prior's relative spread; conservative for few of them.

    Skewed items miss the limit on the lower side more often than on the upper one.
    """
    rng, sigma = np.random.default_rng(n), math.sqrt(math.log(1 + 0.7**2))
    draws = rng.lognormal(-(sigma**2) / 2, sigma, (3000, n))  # of mean 1
    prior = Prior(sd=0.7, df=4)
    z = np.array([positive_mean_above(x, 1.0, 1e-5, prior).z for x in draws])
    assert np.mean(z > Z_95) < 0.06
    assert n < 16 or np.mean(z > Z_95) > 0.02
    assert np.mean(z < -Z_95) < 0.12


def test_holm_controls_the_family_wise_error_and_equals_its_definition() -> None:
    # Worked by hand: sorted .01, .02, .03, .04 times 4, 3, 2, 1, then the running maximum.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9]) == [0.9]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    draws = np.random.default_rng(0).random((4000, 6))
    refused = np.mean([min(holm(list(p))) <= 0.05 for p in draws])
    assert abs(refused - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_normal_sf_is_scipys() -> None:
    for z in (-3.0, 0.0, 1.6448536269514722, 6.0):
        assert normal_sf(z) == pytest.approx(oracle.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize("n", [3, 8, 40])
def test_a_prior_moderates_the_variance_like_smyth(n: int) -> None:
    x, prior = np.random.default_rng(n).normal(2.0, 0.5, n), Prior(sd=1.0, df=20)
    df = prior.df + n - 1
    s = math.sqrt((prior.df * prior.sd**2 + (n - 1) * x.var(ddof=1)) / df)
    t = (5.0 - x.mean()) / (s * math.sqrt(1 + 1 / n))
    assert z_score(5.0, x, 1e-9, prior).z == pytest.approx(
        oracle.norm.isf(oracle.t.sf(t, df)), rel=1e-9
    )


def test_a_true_prior_keeps_the_null_rate() -> None:
    rng, prior = np.random.default_rng(0), Prior(sd=1.0, df=20)
    zs = np.array([z_score(row[0], row[1:], 1e-9, prior).z for row in rng.normal(size=(20_000, 9))])
    for z in (1.0, 2.0):
        nominal = oracle.norm.sf(z)
        # Slightly conservative: the estimated variance is better than its degrees of freedom imply.
        assert np.mean(zs >= z) < nominal + 3 * math.sqrt(nominal / 20_000)
        assert np.mean(zs >= z) > 0.7 * nominal


def test_log_ratio_sd_is_linear_in_the_change_of_the_logits(rng: np.random.Generator) -> None:
    logits, change = rng.standard_normal((2, 5, 200))
    p = log_softmax(logits)
    weights = np.exp(p)
    mean = np.average(change, axis=-1, weights=weights)
    for row in range(5):
        sd = math.sqrt(np.average((change[row] - mean[row]) ** 2, weights=weights[row]))
        for scale in (1e-3, 1.0, 50.0):
            q = log_softmax(logits[row] + scale * change[row])
            assert float(log_ratio_sd(p[row], q)) == pytest.approx(scale * sd, rel=1e-6)


def test_log_ratio_sd_ignores_impossible_outcomes() -> None:
    p = np.log(np.array([0.5, 0.5, 0.0]), where=[True, True, False], out=np.full(3, -np.inf))
    assert float(log_ratio_sd(p, np.log([0.4, 0.4, 0.2]))) == pytest.approx(0.0)


# Shares of clustered items


def test_share_above_mirrors_fraction_below():
    for k, n, margin in ((3, 10, 0.4), (10, 10, 0.7), (0, 12, 0.15), (27, 40, 0.7)):
        above, below = share_above(k / n, n, margin), fraction_below(n - k, n, 1 - margin)
        assert above.z == pytest.approx(below.z)
        assert above.bound == pytest.approx(1 - below.bound)
        assert (above.bound > margin) == (above.z > Z_95)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 30), (3, 30), (30, 30), (5, 2000)])
def test_the_lower_bound_of_a_share_is_wilsons(k, n):
    expected = oracle.binomtest(k, n).proportion_ci(0.90, method="wilson").low
    assert share_above(k / n, n, 0.15).bound == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_z_of_a_share_is_the_score_test():
    chi2 = oracle.chisquare([12, 28], [6, 34]).statistic
    assert share_above(12 / 40, 40, 0.15).z == pytest.approx(math.sqrt(chi2))


@pytest.mark.parametrize("margin", [0.0, 0.15, 0.5, 0.97, 1.0])
def test_bound_and_z_of_a_share_agree(margin):
    cases = [share_above(k / n, n, margin) for n in (1, 2, 3, 17, 60) for k in range(n + 1)]
    assert all((got.bound > margin) == (got.z > Z_95) and math.isfinite(got.z) for got in cases)


@pytest.mark.parametrize("truth", [0.15, 0.5, 0.7])
@pytest.mark.parametrize("n", [20, 60, 400])
def test_a_share_at_its_limit_is_decided_wrongly_in_one_case_of_twenty_on_each_side(n, truth):
    """The level of the score test oscillates around 5% with n (Brown, Cai & DasGupta 2001)."""
    k = np.random.default_rng(n).binomial(n, truth, 4000)
    z = np.array([share_above(hits / n, n, truth).z for hits in k])
    assert np.mean(z > Z_95) == pytest.approx(0.05, abs=0.035)
    assert np.mean(z < -Z_95) == pytest.approx(0.05, abs=0.035)


def test_no_share_is_above_a_margin_above_1():
    assert share_above(1.0, 5000, 1.01).z < -Z_95


@pytest.mark.parametrize(("share", "n", "margin"), [(1.1, 5, 0.5), (0.5, 0, 0.5), (0.5, 5, -0.1)])
def test_share_above_refuses_impossible_numbers(share, n, margin):
    with pytest.raises(ValueError, match="invalid share"):
        share_above(share, n, margin)


def test_pooled_share_of_independent_items_has_their_number():
    rng = np.random.default_rng(0)
    found = pooled_share(rng.binomial(1, 0.6, 4000), np.ones(4000))
    assert found.effective_n == pytest.approx(4000, rel=0.01)


def test_pooled_share_of_equal_clusters_has_the_number_of_clusters():
    hits = np.repeat([5, 0], [60, 40])
    found = pooled_share(hits, np.full(100, 5))
    assert found.share == pytest.approx(0.6)
    assert found.effective_n == pytest.approx(100, rel=0.02)


def test_pooled_share_without_spread_counts_clusters():
    assert pooled_share([3, 4, 5], [3, 4, 5]) == (1.0, 3.0, 0.0)


@pytest.mark.parametrize("limit", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("rows", [1, 2, 20])
def test_a_share_without_a_hit_fails_if_its_exact_interval_is_outside(rows, limit):
    """The interval of Clopper and Pearson: 1 - .05^(1/n) for 0 of n."""
    for tokens in range(1, 30):
        found = pooled_share(np.zeros(rows), np.full(rows, tokens))
        assert found.effective_n == rows * tokens
        if oracle.beta.ppf(0.95, 1, rows * tokens) < limit:
            assert share_above(found.share, found.effective_n, limit).z < -Z_95


def test_a_single_hit_has_nearly_the_number_of_items():
    found = pooled_share([1, *[0] * 19], [20] * 20)
    assert found.effective_n == pytest.approx(399)


@pytest.mark.parametrize(("hits", "sizes"), [([], []), ([0], [0]), ([2], [1]), ([-1], [1])])
def test_pooled_share_refuses_impossible_counts(hits, sizes):
    with pytest.raises(ValueError, match="a share needs items"):
        pooled_share(hits, sizes)


@pytest.mark.parametrize("truth", [0.7, 0.15])
def test_a_clustered_share_at_its_limit_passes_in_one_case_of_twenty(truth):
    """Rows with beta-distributed shares and 1 to 6 tokens: the one-sided test has level 5%."""
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(3000):
        sizes = rng.integers(1, 7, 28)
        hits = rng.binomial(sizes, rng.beta(2 * truth, 2 * (1 - truth), 28))
        found = pooled_share(hits, sizes)
        passed += share_above(found.share, found.effective_n, truth).z > Z_95
    assert passed / 3000 == pytest.approx(0.05, abs=0.02)


def test_the_interval_of_a_difference_covers_it():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(2000):
        one = pooled_share(rng.binomial(1, 0.95, 60), np.ones(60))
        other = pooled_share(rng.binomial(1, 0.7, 30), np.ones(30))
        low, high = share_difference(one, other)
        covered += low <= 0.25 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_a_difference_matches_newcombe():
    """Newcombe 1998, table II: 56/70 - 48/80, method 10."""
    low, high = share_difference(PooledShare(56 / 70, 70, 0.0), PooledShare(48 / 80, 80, 0.0))
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


# Permutation of a pairing


def brute_force(blocks):
    """Share of all permutations within the blocks whose sum reaches the diagonals'."""
    sums = [
        [sum(b[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(n))]
        for n, b in ((len(b), b) for b in blocks)
    ]
    own = sum(np.trace(b) for b in blocks)
    totals = [sum(parts) for parts in itertools.product(*sums)]
    return sum(total >= own - 1e-9 for total in totals) / len(totals)


@pytest.mark.parametrize("sizes", [(3,), (5,), (6,), (3, 4), (4, 4), (2, 3, 4)])
@pytest.mark.parametrize("effect", [0.0, 0.5, 2.0, -1.0])
def test_the_pairing_p_is_the_share_of_all_permutations(sizes, effect):
    rng = np.random.default_rng(len(sizes))
    blocks = [rng.normal(size=(n, n)) + effect * np.eye(n) for n in sizes]
    found, exact = pairing_test(blocks), brute_force(blocks)
    assert exact - 1e-12 <= found.p <= exact * 1.02 + 2e-3
    if exact == 1 / math.prod(map(math.factorial, sizes)):
        assert found.p == pytest.approx(exact)
        assert found.z == pytest.approx(found.reachable)


def test_ties_of_repeated_answers_count():
    gain = np.array([[2.0, 0.0], [0.0, 2.0]])
    own = np.array([0, 0, 1, 1])
    block = gain[np.ix_(own, own)]
    assert pairing_test([block]).p == pytest.approx(4 / 24)
    assert brute_force([block]) == pytest.approx(4 / 24)
    assert pairing_test([np.ones((4, 4))]).z == 0


def test_constants_of_rows_and_columns_do_not_change_the_pairing():
    rng = np.random.default_rng(3)
    block = rng.normal(size=(5, 5)) + np.eye(5)
    shifted = 2 * block + rng.normal(size=(5, 1)) * 3 + rng.normal(size=5) * 3 + 7
    assert pairing_test([shifted]).p == pytest.approx(pairing_test([block]).p)


def test_twenty_rows_in_blocks_of_five_reach_five_sigma():
    found = pairing_test([np.eye(5)] * 4)
    assert found.p == pytest.approx(120.0**-4, rel=1e-6)
    assert found.z == pytest.approx(oracle.norm.isf(120.0**-4), abs=1e-6)


def test_a_worse_pairing_has_a_negative_z():
    rng = np.random.default_rng(4)
    blocks = [rng.normal(size=(5, 5)) * 0.3 for _ in range(4)]
    up = pairing_test([b + np.eye(5) for b in blocks]).z
    down = pairing_test([b - np.eye(5) for b in blocks]).z
    assert up > 3
    assert down < -3


@pytest.mark.slow
def test_without_a_pairing_three_sigma_has_its_probability():
    """One-sided tails of z under the null hypothesis, with effects of rows and columns."""
    rng = np.random.default_rng(5)
    zs = np.array(
        [
            pairing_test(
                [
                    rng.standard_t(4, (4, 4)) + rng.normal(size=(4, 1)) + 2 * rng.normal(size=4)
                    for _ in range(3)
                ]
            ).z
            for _ in range(4000)
        ]
    )
    for z in (1.0, 1.645, 2.326):
        assert (zs >= z).mean() == pytest.approx(oracle.norm.sf(z), abs=0.006)
    assert (zs >= 3).sum() <= 13  # 0.135% of 4,000 are 5.4


@pytest.mark.parametrize("shape", [(9, 9), (3, 4)])
def test_blocks_must_be_small_and_square(shape):
    with pytest.raises(ValueError, match="square"):
        pairing_test([np.zeros(shape)])


# Ratio of two means


@pytest.mark.parametrize("n", one_fast(12, 6, 30))
@pytest.mark.parametrize("ratio", [0.3, 0.75])
def test_a_ratio_at_its_margin_seldom_passes_or_fails(n: int, ratio: float) -> None:
    """Lifts that differ by 70% of their mean, with the residual of the prior."""
    rng = np.random.default_rng(0)
    y = rng.gamma(1 / 0.7**2, 0.7**2, (2000, n))
    x = ratio * y + rng.normal(0, 0.3, y.shape)
    prior = Prior(0.3, 4)
    zs = np.array([ratio_above(a, b, ratio, prior).z for a, b in zip(x, y, strict=True)])
    for is_decided in (zs > Z_95, zs < -Z_95):
        assert is_decided.mean() == pytest.approx(0.05, abs=0.02)


def test_the_bound_of_a_ratio_is_the_margin_that_is_just_met() -> None:
    x, y, prior = [0.5, 0.9, 0.2], [1.0, 1.2, 0.4], Prior(0.3, 4)
    found = ratio_above(x, y, 0.1, prior)
    assert found.estimate == pytest.approx(1.6 / 2.6)
    assert ratio_above(x, y, found.bound, prior).z == pytest.approx(Z_95)
    assert ratio_above([10 * a for a in x], y, 1.0, prior).z > 0
    same = ratio_above([7 * a for a in x], [7 * b for b in y], 0.1, prior)
    assert same == pytest.approx(found)


@pytest.mark.parametrize(("x", "y"), [([1.0], [0.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_a_ratio_needs_pairs_and_a_denominator(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="a ratio needs pairs"):
        ratio_above(x, y, 0.5, Prior(0.3, 4))


@pytest.mark.parametrize(
    "test", [fraction_below, lambda *a: paired_fraction_below(a[0], 0, *a[1:])]
)
def test_an_estimate_at_a_margin_above_zero_is_outside(test):
    assert test(6, 30, 0.2).z < 0 < test(5, 30, 0.2).z
    assert test(0, 30, 0.0).z == 0
