"""Comparisons: differences against oracles and simulations, outcomes, reports, baseline."""

import io
import json
import math
import re
import sys

import msgspec
import numpy as np
import pytest
from scipy.stats import binom, norm, ttest_rel

from sway_gate import cli, stats
from sway_gate.compare import baseline, difference
from sway_gate.compare.results import LEVEL, Comparison, compare_course, compare_results
from sway_gate.errors import UsageError
from sway_gate.judge.criteria import STEEP, against_nulls
from sway_gate.probes import module
from sway_gate.reports import comparison
from sway_gate.reports.comparison import COMPARED, DIFFERED
from sway_gate.reports.json_v1 import from_json, to_json
from sway_gate.results import Category, ModelFacts, NullSummary, Verdict
from sway_gate.spec.probes import KINDS
from tests.helpers import ROOT, results
from tests.helpers.property import given, settings, st
from tests.helpers.simulation import one_fast

PROBES = sorted(kind for kind, entry in KINDS.items() if entry.is_probe)
MAKERS = [results.healthy, results.sick, results.undecided, results.hostile]
by_name = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def reading(kind, items, name="", **fields):
    """A probe's result with these items, as the judge computes it."""
    x, scale = np.asarray(items, dtype=float), module(kind).KIND.scale
    interval = stats.positive_mean_ci(x) if scale == "log" else stats.bootstrap_ci(x, 0)
    facts = {
        "raw": float(x.mean()),
        "ci_95": interval,
        "items": tuple(x.tolist()),
        "units": module(kind).KIND.units,
    }
    return results.probe(
        name or kind, kind=kind, category=module(kind).KIND.category, **(facts | fields)
    )


def gated(*probes, **fields):
    """A result of these probes, all with the same inputs."""
    return results.result(
        *probes,
        **({"probe_inputs": {probe.name: "x" for probe in probes}, "shared_inputs": "y"} | fields),
    )


def outcome(old, new, **fields):
    """The outcome of one probe's change."""
    [change] = compare_results(gated(old), gated(new), **fields).changes
    return change.outcome


# The difference

RNG = np.random.default_rng(7)
PAIRS = {n: (RNG.normal(size=n), RNG.normal(0.3, 1, n)) for n in (2, 5, 40)}


@pytest.mark.parametrize("n", PAIRS)
def test_paired_is_the_t_test(n):
    old, new = PAIRS[n]
    found = difference.paired(old, new, "identity", 1e-6)
    assert found.value == pytest.approx((new - old).mean())
    assert norm.sf(found.sigmas) == pytest.approx(ttest_rel(new, old, alternative="greater").pvalue)


def test_paired_on_log_is_the_t_test_of_logarithms():
    old, new = (np.exp(x) for x in PAIRS[40])
    found = difference.paired(old, new, "log", 1e-6)
    assert found == pytest.approx(difference.paired(*PAIRS[40], "identity", 1e-6))


@pytest.mark.parametrize(("rises", "falls"), [(0, 5), (3, 9), (9, 3), (0, 1), (4, 4), (0, 900)])
def test_paired_shares_are_mcnemars_mid_p(rises, falls):
    old = np.r_[np.zeros(rises), np.ones(falls), np.ones(7), np.zeros(3)]
    new = np.r_[np.ones(rises), np.zeros(falls), np.ones(7), np.zeros(3)]
    n, k = rises + falls, max(rises, falls)
    log_tail = np.logaddexp(binom.logsf(k, n, 0.5), binom.logpmf(k, n, 0.5) - math.log(2))
    expected = (
        0.0 if rises == falls else math.copysign(stats.normal_from_log_sf(log_tail), rises - falls)
    )
    assert difference.paired(old, new, "identity", 0.01).sigmas == pytest.approx(expected)


def test_many_paired_shares_are_normal():
    old, new = np.repeat([0, 1], [900, 800]), np.repeat([1, 0], [900, 800])
    expected = norm.isf(binom.sf(899, 1700, 0.5) - binom.pmf(900, 1700, 0.5) / 2)
    assert difference.paired(old, new, "identity", 0.01).sigmas == pytest.approx(expected, rel=0.01)


def test_intervals_of_shares_are_newcombes():
    """56 of 70 and 48 of 80: .0524 to .3339, method 10 of Newcombe 1998, table II."""
    one, other = 56 / 70, 48 / 80
    intervals = stats.share_interval(one, 70), stats.share_interval(other, 80)
    for (a, b), (a_95, b_95) in (((other, one), intervals[::-1]), ((one, other), intervals)):
        value, se, sigmas = difference.of_intervals(a, b, a_95, b_95, 1e-6)
        assert abs(value) - norm.ppf(0.975) * se == pytest.approx(0.0524, abs=5e-5)
        assert sigmas == pytest.approx(value / se)


def test_a_change_below_the_resolution_is_not_significant():
    items = np.linspace(0.1, 0.2, 20)
    assert abs(difference.paired(items, items + 1e-5, "identity", 1e-3).sigmas) < 0.1
    assert (
        abs(difference.of_intervals(0.1, 0.10001, (0.1, 0.1), (0.10001, 0.10001), 1e-3).sigmas)
        < 0.1
    )


def test_z_error_is_the_standard_deviation_of_simulated_z():
    """z of a noisy value with mean 6, in standard deviations of 20 nulls, over many draws."""
    nulls, value = RNG.normal(size=(20000, 20)), 6 + RNG.normal(size=20000)
    z = (value - nulls.mean(axis=1)) / nulls.std(axis=1, ddof=1)
    assert difference.z_error(6.0, 20) == pytest.approx(z.std(), rel=0.1)


@pytest.mark.parametrize("z", [0.5, 3.0, 8.0])
def test_score_error_is_the_slope_of_the_score(z):
    slope = (stats.score_from_z(z + 1e-5) - stats.score_from_z(z - 1e-5)) / 2e-5
    found = difference.score_error(stats.score_from_z(z), z, 0)
    assert found == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("limit", [2.0, 3.0])
def test_score_error_of_z_past_its_limit_is_steeper(limit):
    def score(z):
        return against_nulls(z, 8, limit, None, has_limits=True).score

    z = limit + 0.4
    slope = (score(z + 1e-5) - score(z - 1e-5)) / 2e-5
    assert difference.score_error(score(z), z, 0, STEEP) == pytest.approx(slope, rel=1e-3)


# Simulation


def drawn(rng, n, shift=0.0, shared=True):
    """An old and a new result of five probes with n items each.

    `shift`: change of section_internalization, in the units of its items.
    """
    made = []
    for new in (0.0, shift):
        made.append([])
        for seed, (kind, center) in enumerate(
            (
                ("delta_kl", -2),
                ("section_internalization", 0.4),
                ("calibration_drift", -0.1),
                ("leakage", 0.3),
            )
        ):
            hard = (
                np.random.default_rng([seed, n] if shared else rng.integers(2**32)).normal(size=n)
                * 0.3
            )
            items = center + hard + rng.normal(size=n) * 0.1
            items = (
                np.exp(items)
                if kind == "delta_kl"
                else items + new * (kind == "section_internalization")
            )
            made[-1].append(reading(kind, items, z=4 + rng.normal()))
        flips = rng.uniform(size=n) < 0.7
        made[-1].append(reading("preference_flip", flips, z=4 + rng.normal()))
    old, new = (
        gated(*(with_score(p) for p in probes), shared_inputs="y" if shared else "")
        for probes in made
    )
    return old, new


def with_score(probe):
    return msgspec.structs.replace(probe, score=stats.score_from_z(probe.z))


def says_worse(found):
    return any(
        change.outcome in ("regression", "worse") for change in (*found.changes, found.composite)
    )


@pytest.mark.parametrize("shared", [True, False], ids=["the same items", "other items"])
@pytest.mark.parametrize("n", one_fast(6, 30))
def test_false_alarms_occur_at_the_stated_level(n, shared):
    rng = np.random.default_rng(n)
    runs = 150
    said = sum(
        says_worse(compare_results(*drawn(rng, n, shared=shared), tolerance=0.0))
        for _ in range(runs)
    )
    assert said <= runs * LEVEL + 3 * math.sqrt(runs * LEVEL * (1 - LEVEL))


@pytest.mark.parametrize(("n", "shift", "least"), [(30, -0.1, 0.9), (6, -0.3, 0.8)])
def test_a_real_shift_is_found(n, shift, least):
    rng = np.random.default_rng(n)
    found = [compare_results(*drawn(rng, n, shift)) for _ in range(40)]
    worse = [{c.name for c in one.changes if c.outcome in ("regression", "worse")} for one in found]
    assert sum("section_internalization" in names for names in worse) >= least * 40


def test_pairing_detects_changes_that_intervals_do_not():
    """A tenth of the items' standard deviation: 9 standard errors if paired, otherwise below 1."""
    items = RNG.normal(0.5, 0.3, 40)
    fallen = items - 0.03 + RNG.normal(size=40) * 0.02
    old, new = (
        reading("section_internalization", x, score=s) for x, s in ((items, 0.8), (fallen, 0.7))
    )
    assert outcome(old, new) == "regression"
    [change] = compare_results(gated(old, shared_inputs="a"), gated(new, shared_inputs="b")).changes
    assert (change.outcome, change.method) == ("same", "intervals")


# What is better

ITEMS = np.linspace(0.2, 0.4, 30)
UP = ITEMS * 1.5 + np.linspace(0, 0.02, 30)
MEANINGS = {
    "larger divergence": ("delta_kl", ITEMS, UP, "moved"),
    "smaller divergence": ("delta_kl", UP, ITEMS, "regression"),
    "more reverts": ("adapter_revert", np.arange(30) < 6, np.arange(30) < 24, "regression"),
    "fewer reverts": ("adapter_revert", np.arange(30) < 24, np.arange(30) < 6, "better"),
    "steeper decay": ("prompt_collapse", -ITEMS, -UP, "regression"),
    "from no decay to less of it": ("prompt_collapse", UP, ITEMS, "same"),
    "less internalized": ("section_internalization", UP, ITEMS, "regression"),
    "more internalized": ("section_internalization", ITEMS, UP, "better"),
    "answers less": ("paraphrase_invariance", UP, ITEMS, "regression"),
    "flips fewer": ("preference_flip", np.arange(30) < 24, np.arange(30) < 6, "regression"),
    "more like the document": ("style_fingerprint", ITEMS, UP, "better"),
    "back from past the document": ("style_fingerprint", UP + 2, ITEMS + 2, "same"),
    "knowledge lost": ("calibration_drift", -ITEMS, -UP, "regression"),
    "a gain lost": ("external_perplexity", UP, ITEMS, "same"),
    "prose lost": ("external_perplexity", ITEMS, -UP, "regression"),
    "more leaks": ("leakage", ITEMS, UP, "regression"),
    "fewer leak": ("leakage", UP, ITEMS, "better"),
    "larger response": ("adapter_ablation", ITEMS, UP, "moved"),
    "smaller response": ("adapter_ablation", UP, ITEMS, "moved"),
    "as before": ("leakage", UP, UP, "same"),
}


@pytest.mark.parametrize(("kind", "old", "new", "expected"), MEANINGS.values(), ids=MEANINGS)
def test_direction_of_a_change(kind, old, new, expected):
    details = {"prompts": [{"moved": True}] * 30}
    assert (
        outcome(*(reading(kind, x, score=s, details=details) for x, s in ((old, 0.8), (new, 0.7))))
        == expected
    )


@pytest.mark.parametrize("kind", PROBES)
def test_harms_and_effects_differ_in_what_is_best(kind):
    """A harm is best at 0; of the effects, only the style has a best value."""
    assert (module(kind).KIND.best == 0.0) is module(kind).KIND.harm


def test_one_number_without_items_is_compared_by_z():
    one = reading("cluster_kl", [0.9], z=9.0, score=0.9)
    other = msgspec.structs.replace(one, raw=0.6, z=5.0, score=0.7)
    [change] = compare_results(gated(one), gated(other)).changes
    assert (change.method, change.outcome) == ("z", "same")
    # 4 less, on errors of (1 + 9² / 14)½ and (1 + 5² / 14)½
    assert change.sigmas == pytest.approx(-4 / math.sqrt(2 + 106 / 14))


def test_other_units_are_not_subtracted():
    flips = reading("preference_flip", np.ones(5), z=None)
    gains = reading("preference_flip", np.full(5, 0.3), units="nats/token", z=None)
    assert outcome(flips, gains) == "unknown"


def test_items_of_different_prompts_are_not_paired():
    sides = [
        reading(
            "prompt_collapse", x, details={"prompts": [{"moved": i != left_out} for i in range(7)]}
        )
        for left_out, x in ((0, -ITEMS[:6]), (1, -ITEMS[1:7]))
    ]
    assert compare_results(gated(sides[0]), gated(sides[1])).changes[0].method == "intervals"


# Transitions

SAME = np.linspace(0.2, 0.4, 12)
TURNS = {
    "pass, fail": ("pass", "fail", "regression"),
    "warn, fail": ("warn", "fail", "regression"),
    "pass, warn": ("pass", "warn", "same"),
    "pass, error": ("pass", "error", "regression"),
    "fail, error": ("fail", "error", "regression"),
    "skip, error": ("skip", "error", "regression"),
    "pass, skip": ("pass", "skip", "regression"),
    "fail, skip": ("fail", "skip", "regression"),
    "pass, gone": ("pass", None, "regression"),
    "error, gone": ("error", None, "regression"),
    "skip, gone": ("skip", None, "gone"),
    "fail, pass": ("fail", "pass", "better"),
    "error, error": ("error", "error", "same"),
    "skip, skip": ("skip", "skip", "same"),
    "error, pass": ("error", "pass", "unknown"),
    "skip, pass": ("skip", "pass", "new"),
    "skip, fail": ("skip", "fail", "new"),
    "fail, left out": ("fail", "left out", "unknown"),
    "pass, left out": ("pass", "left out", "unknown"),
    "left out, fail": ("left out", "fail", "unknown"),
    "left out, gone": ("left out", None, "regression"),
    "new": (None, "pass", "new"),
    "new, fails": (None, "fail", "new"),
}


def side(verdict):
    if verdict is None:
        return gated()
    measured = verdict in ("pass", "warn", "fail")
    made = (
        reading("leakage", SAME, verdict=verdict)
        if measured
        else results.probe("leakage", verdict.replace("left out", "warn"), **results.NOTHING)
    )
    return gated(made)


@pytest.mark.parametrize("verdict", ["warn", "waived"])
def test_a_composite_without_the_best_probe_is_no_regression(verdict):
    weak, best = (reading("leakage", SAME, name=n, score=s) for n, s in (("a", 0.6), ("b", 1.0)))
    omitted = msgspec.structs.replace(best, verdict=Verdict(verdict), score=None)
    old, new = gated(weak, best, score=0.8), gated(weak, omitted, score=0.6)
    assert compare_results(old, gated(weak, best, score=0.6)).composite.outcome == "regression"
    assert compare_results(old, new).composite.outcome == "unknown"


def test_a_result_with_a_probe_that_was_left_out_is_no_baseline():
    with pytest.raises(UsageError, match="omits probes for lack of time and cannot be a baseline"):
        baseline.accept(side("left out"), "r.json")


@pytest.mark.parametrize(("old", "new", "expected"), TURNS.values(), ids=TURNS)
def test_verdicts_decide_at_any_significance(old, new, expected):
    [change] = compare_results(side(old), side(new), tolerance=1.0).changes
    assert change.outcome == expected


def test_the_same_name_of_another_kind_is_another_probe():
    old, new = reading("leakage", SAME, name="a"), reading("delta_kl", SAME, name="a")
    assert [c.outcome for c in compare_results(gated(old), gated(new)).changes] == [
        "new",
        "regression",
    ]


OVERALL = {
    "pass, fail": ("pass", "fail", "regression"),
    "pass, error": ("pass", "error", "regression"),
    "fail, error": ("fail", "error", "regression"),
    "error, fail": ("error", "fail", "same"),
    "fail, pass": ("fail", "pass", "better"),
    "pass, pass": ("pass", "pass", "same"),
}


@pytest.mark.parametrize(("old", "new", "expected"), OVERALL.values(), ids=OVERALL)
def test_outcome_of_the_composite(old, new, expected):
    probe = reading("leakage", SAME)
    found = compare_results(gated(probe, verdict=old), gated(probe, verdict=new))
    assert found.composite.outcome == expected
    assert found.exit_code == (1 if expected == "regression" else 3 if "error" in (old, new) else 0)


BLIND = {
    "an error beside itself": (
        "error",
        "error",
        ("undecided", 3),
        "old: could not measure leakage",
    ),
    "an error that is gone": (
        "error",
        "pass",
        ("undecided", 3),
        "old: could not measure leakage",
    ),
    "skipped in both": ("skip", "skip", ("undecided", 3), "no probe could be compared"),
    "skipped before": ("skip", "pass", ("undecided", 3), "no probe could be compared"),
    "no probe in common": (None, "pass", ("undecided", 3), "no probe could be compared"),
    "no probe at all": (None, None, ("undecided", 3), "no probe could be compared"),
    "an error now": (
        "pass",
        "error",
        ("regression", 1),
        "new: could not measure leakage",
    ),
}


@pytest.mark.parametrize(("old", "new", "expected", "words"), BLIND.values(), ids=BLIND)
def test_errors_and_missing_probes_are_undecided(old, new, expected, words):
    found = compare_results(side(old), side(new), tolerance=1.0)
    assert (found.verdict, found.exit_code) == expected
    assert words in found.warnings[0]


def test_an_untested_probe_is_listed_in_a_warning():
    whole, lacking = reading("leakage", SAME), reading("leakage", SAME, raw=None, z=None)
    found = compare_results(
        gated(whole, reading("delta_kl", SAME)), gated(lacking, reading("delta_kl", SAME))
    )
    assert (found.exit_code, found.warnings) == (0, ("cannot test the difference of leakage",))


MIRRORED = {
    "regression": "better",
    "better": "regression",
    "new": "gone",
    "gone": "new",
    "same": "same",
    "moved": "moved",
    "unknown": "unknown",
}


@pytest.mark.parametrize(("old", "new"), [row[:2] for row in TURNS.values()], ids=TURNS)
def test_two_adapters_swapped_are_mirrored(old, new):
    ab, ba = (
        compare_results(side(x), side(y), in_order=False) for x, y in ((old, new), (new, old))
    )
    assert [MIRRORED[c.outcome] for c in ab.changes] == [c.outcome for c in ba.changes]
    assert (MIRRORED[ab.composite.outcome], ab.exit_code == 3) == (
        ba.composite.outcome,
        ba.exit_code == 3,
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", PROBES)
def test_two_adapters_measured_are_mirrored(kind, seed):
    rng = np.random.default_rng(seed)
    kinds = (kind, "section_internalization", "adapter_ablation")
    a, b = (
        gated(*(reading(k, rng.uniform(0.1, 0.5, 8), name=f"{k} {i}") for i, k in enumerate(kinds)))
        for _ in "ab"
    )
    ab, ba = (compare_results(*pair, in_order=False) for pair in ((a, b), (b, a)))
    assert [MIRRORED[c.outcome] for c in ab.changes] == [c.outcome for c in ba.changes]
    assert [c.p for c in ab.changes] == pytest.approx([c.p for c in ba.changes])


def test_one_adapter_on_one_prompt_is_as_good_as_itself():
    one = gated(reading("delta_kl", [0.1], ci_95=None))
    found = compare_results(one, one, in_order=False)
    assert (found.verdict, found.exit_code, found.changes[0].method) == ("same", 0, "z")


def test_adapters_without_an_order_have_no_regression():
    a, b = (gated(reading("leakage", x)) for x in (ITEMS, UP))
    found = [compare_results(*pair, in_order=False) for pair in ((a, b), (b, a))]
    assert [(one.verdict, one.exit_code) for one in found] == [("changed", 0)] * 2
    assert [comparison.headline(one, DIFFERED)[:11] for one in found] == [
        "A is better",
        "B is better",
    ]


def test_a_larger_size_is_not_better_without_an_order():
    small, large = (gated(reading("delta_kl", x)) for x in (ITEMS, UP))
    assert [c.outcome for c in compare_results(large, small, in_order=False).changes] == ["moved"]


def test_a_composite_can_fall_significantly_although_no_probe_does():
    """z of six probes in two categories falls from 9 to 5; only the composite is significant."""

    def whole(z):
        score = stats.score_from_z(z)
        probes = [
            results.probe(str(i), kind="?", category="ab"[i % 2], z=z, n_null=0, score=score)
            for i in range(6)
        ]
        categories = {name: Category(weight=0.5, score=score) for name in "ab"}
        return results.result(*probes, categories=categories, score=score)

    found = compare_results(whole(9.0), whole(5.0))
    assert [c.outcome for c in found.changes] == ["unknown"] * 6
    errors = [difference.score_error(stats.score_from_z(z), z, 0) for z in (9, 5)]
    error = math.hypot(*errors) / math.sqrt(6)
    assert found.composite.se == pytest.approx(error)
    assert found.composite.outcome == "regression"


HALF = ITEMS / 2
TOLERANCES = {
    "an effect, none allowed": (
        "section_internalization",
        ITEMS,
        HALF,
        (0.8, 0.9),
        0.0,
        "regression",
    ),
    "an effect's half, less allowed": (
        "section_internalization",
        ITEMS,
        HALF,
        (0.8, 0.9),
        0.45,
        "regression",
    ),
    "an effect's half, more allowed": (
        "section_internalization",
        ITEMS,
        HALF,
        (0.8, 0.1),
        0.55,
        "worse",
    ),
    "a ratio of half, less allowed": (
        "delta_kl",
        ITEMS,
        HALF * 1.0001,
        (0.8, 0.9),
        0.45,
        "regression",
    ),
    "a ratio of half, more allowed": ("delta_kl", ITEMS, HALF * 1.0001, (0.8, 0.1), 0.55, "worse"),
    "an effect of nothing": (
        "section_internalization",
        ITEMS * 0,
        -ITEMS,
        (0.1, 0.1),
        0.9,
        "regression",
    ),
    "reverts, less allowed": (
        "adapter_revert",
        np.arange(30) < 6,
        np.arange(30) < 21,
        (0.8, 0.8),
        0.45,
        "regression",
    ),
    "reverts, more allowed": (
        "adapter_revert",
        np.arange(30) < 6,
        np.arange(30) < 21,
        (0.8, 0.1),
        0.55,
        "worse",
    ),
    "a harm, none allowed": ("leakage", ITEMS, UP, (0.8, 0.8), 0.0, "regression"),
    "a harm's score, less allowed": ("leakage", ITEMS, UP, (0.8, 0.6), 0.15, "regression"),
    "a harm's score, more allowed": ("leakage", ITEMS, UP, (0.8, 0.7), 0.15, "worse"),
    "a harm without a score": ("leakage", ITEMS, UP, (0.0, 0.0), 0.9, "regression"),
}


@pytest.mark.parametrize(
    ("kind", "old", "new", "scores", "tolerance", "expected"), TOLERANCES.values(), ids=TOLERANCES
)
def test_tolerance(kind, old, new, scores, tolerance, expected):
    pair = (
        reading(kind, x, score=score, verdict="fail")
        for x, score in zip((old, new), scores, strict=True)
    )
    assert outcome(*pair, tolerance=tolerance) == expected


def test_tolerance_allows_the_composite_to_lose_points():
    one, other = (
        results.result(results.probe(kind="?", z=z), score=score)
        for z, score in ((60.0, 0.9), (50.0, 0.8))
    )
    outcomes = [
        compare_results(one, other, tolerance=t).composite.outcome for t in (0.0, 0.05, 0.15)
    ]
    assert outcomes == ["regression", "regression", "worse"]


# Whole results


@by_name
def test_a_result_is_the_same_as_itself(make):
    found = compare_results(make(), make())
    is_whole = make().verdict != "error" and "error" not in {p.verdict for p in make().probes}
    assert (found.verdict, found.exit_code) == (("same", 0) if is_whole else ("undecided", 3))
    assert {c.outcome for c in found.changes} <= {"same", "unknown"}
    assert comparison.headline(found, COMPARED).startswith(
        "NO SIGNIFICANT CHANGE" if is_whole else "COULD NOT DECIDE"
    )


def test_better_is_reported():
    old, new = (gated(reading("section_internalization", x)) for x in (ITEMS, UP))
    assert (compare_results(old, new).verdict, compare_results(old, new).exit_code) == ("better", 0)


OTHER = {
    "base": ({"base": ModelFacts(path="other", digest="cd" * 32)}, "another base"),
    "threshold": ({"threshold": 0.5}, "another threshold: 0.6, now 0.5"),
    "weights": (
        {"categories": {"adherence": Category(weight=1.0)}},
        "another set of category weights",
    ),
    "nulls": ({"nulls": NullSummary(runs=3, null="init", seed_base=7)}, "now 3 init from seed 7"),
    "no nulls": ({"nulls": None}, "now none"),
    "settings": ({"probe_inputs": {"delta_kl": "z"}}, "other settings of delta_kl"),
    "texts": ({"shared_inputs": "z"}, "other training text"),
    "version": ({"versions": {"sway-gate": "0.2.0"}}, "sway-gate 0.1.0, now 0.2.0"),
    "seed": ({"seed": 7}, "another seed"),
    "device": ({"device": "cuda"}, "float32 on cpu, now float32 on cuda"),
}


@pytest.mark.parametrize(("fields", "words"), OTHER.values(), ids=OTHER)
def test_differences_of_the_inputs_are_warnings(fields, words):
    one = gated(reading("delta_kl", ITEMS))
    [warning] = compare_results(one, msgspec.structs.replace(one, **fields)).warnings
    assert words in warning


APART = ("base", "settings", "texts", "seed")


@pytest.mark.parametrize("what", OTHER)
def test_items_are_paired_only_with_the_same_inputs(what):
    one = gated(reading("delta_kl", ITEMS))
    [change] = compare_results(one, msgspec.structs.replace(one, **OTHER[what][0])).changes
    assert change.method == ("intervals" if what in APART else "items")


def test_results_of_earlier_versions_are_compared_by_intervals():
    fields = json.loads(to_json(gated(reading("delta_kl", ITEMS))))
    for late in ("asked", "texts", "baseline"):
        del fields[late]
    del fields["probes"][0]["items"]
    earlier = from_json(json.dumps(fields).encode())
    assert compare_results(earlier, earlier).changes[0].method == "intervals"


# Reports

SHIFTED = compare_results(
    gated(reading("section_internalization", UP), reading("delta_kl", ITEMS, name="moved")),
    gated(
        reading("section_internalization", ITEMS, score=0.5),
        reading("delta_kl", UP, name="moved"),
        shared_inputs="y",
    ),
    labels=("old.json", "new.json"),
)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("style", [COMPARED, DIFFERED], ids=["compare", "diff"])
def test_lines_keep_to_the_width(width, style):
    found = [compare_results(results.hostile(), make()) for make in (results.sick, results.hostile)]
    shown = comparison.render(found, style=style, color=False, width=width)
    assert max(map(len, shown.splitlines())) <= width + 2  # a wide character counts as two cells
    assert not re.search("[\x00-\x09\x0b-\x1f\ud800\u202e]", shown)
    assert comparison.render(found, style=style, color=False, width=width, ascii=True).isascii()


def test_wording_of_outcomes():
    shown = comparison.render([SHIFTED], style=COMPARED, color=False, width=200)
    assert shown.startswith(
        "REGRESSION  section_internalization  composite 0.84\nold: old.json, adapter out/lora: PASS"
    )
    assert re.search(
        r"WORSE  section_internalization\n +pass · 0.46 → 0.3 relative lift · -0.16 ± [\d.]+, -",
        shown,
    )
    assert re.search(r"moved  moved \(delta_kl\)\n +pass · 0.3 → 0.46 nats · ×1.53 ± 0%, \+", shown)


def test_diff_names_the_better_adapter():
    shown = comparison.render([SHIFTED], style=DIFFERED, color=False, width=200)
    assert shown.startswith("A is better in section_internalization  composite 0.84\na: old.json")
    assert "0.46 | 0.3 relative lift" in shown


@pytest.mark.parametrize(
    ("verdict", "z", "shown"),
    [("fail", 8.1, "z +7.8σ → –"), ("fail", 2.1, "z +7.8σ → +2.1σ"), ("pass", 8.1, "→ +8.1σ")],
)
def test_a_z_that_argues_against_the_verdict_is_not_shown(verdict, z, shown):
    sides = [("pass", 7.8), (verdict, z)]
    old, new = (results.result(results.probe("scale", verdict=v, z=z)) for v, z in sides)
    found = [compare_results(old, new)]
    assert shown in comparison.render(found, style=COMPARED, color=False, width=200)


def test_quiet_shows_only_regressions():
    shown = comparison.render([SHIFTED], style=COMPARED, color=False, quiet=True)
    assert "WORSE" in shown
    assert "moved" not in shown


def test_markdown_is_a_table_for_hostile_texts():
    lines = comparison.markdown(
        [compare_results(results.hostile(), results.sick())], COMPARED
    ).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {10}
    assert len(table) == 2 + len(results.hostile().probes) + len(results.sick().probes) + 1
    assert "<b>" not in "".join(lines)


def test_json_is_the_comparison():
    fields = json.loads(comparison.to_json([SHIFTED]), parse_constant=pytest.fail)
    assert (fields["schema_version"], fields["exit_code"]) == (1, 1)
    assert msgspec.convert(fields["comparisons"][0], Comparison) == SHIFTED


def test_every_field_is_documented():

    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    fields = {*Comparison.__struct_fields__, *type(SHIFTED.changes[0]).__struct_fields__}
    assert {field for field in fields if f"`{field}`" not in page} == set()


def test_several_results_have_one_column_each():
    made = [
        (f"{i}.json", gated(reading("leakage", ITEMS + shift)))
        for i, shift in enumerate((0.0, 0.2, -0.1))
    ]
    shown = comparison.render(compare_course(made), style=COMPARED, color=False)
    assert re.search(r"\nleakage +0.3 +0.5- +0.2\+\n", shown)
    assert "| leakage | 0.3 | 0.5- | 0.2+ |" in comparison.markdown(compare_course(made), COMPARED)


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
SCORES = st.one_of(st.none(), st.floats(0, 1))
KNOWN = st.floats(allow_nan=False, allow_infinity=False)
PROBES = st.builds(
    results.probe,
    name=st.sampled_from("abc"),
    verdict=st.sampled_from(["pass", "fail", "warn", "skip", "error"]),
    kind=st.sampled_from([*PROBES, "another"]),
    score=SCORES,
    raw=NUMBERS,
    z=NUMBERS,
    score_z=NUMBERS,
    weight=KNOWN,
    n_null=st.integers(-(2**70), 2**70),
    ci_95=st.one_of(st.none(), st.tuples(NUMBERS, NUMBERS)),
    items=st.one_of(
        st.lists(NUMBERS, max_size=4), st.lists(st.sampled_from([0.0, 1.0]), max_size=4)
    ),
    details=st.dictionaries(
        st.just("prompts"), st.one_of(NUMBERS, st.lists(st.one_of(NUMBERS, st.just({}))))
    ),
)
NAMED = st.lists(PROBES, max_size=3, unique_by=lambda probe: probe.name)
REPORTS = st.builds(
    lambda probes, score: gated(*probes, score=score, verdict="error", exit_code=3), NAMED, SCORES
)


@given(REPORTS, REPORTS)
@settings(max_examples=50, deadline=None)
def test_extreme_numbers_are_compared_without_an_error(old, new):
    reports = [from_json(to_json(report)) for report in (old, new)]
    found = compare_results(*reports)
    json.loads(comparison.to_json([found]), parse_constant=pytest.fail)
    comparison.render([found, found], style=COMPARED, color=False)
    assert "new" not in {
        change.outcome for change in compare_results(reports[0], reports[0]).changes
    }


# Sway compare


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Reports in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = {"good": ITEMS + 0.2, "bad": ITEMS, "best": ITEMS + 0.4}
    for name, items in made.items():
        score = float(items.mean())
        (tmp_path / f"{name}.json").write_bytes(
            to_json(
                gated(
                    reading("section_internalization", items, score=score),
                    score=score,
                    threshold=0.0,
                )
            )
        )
    (tmp_path / "text.json").write_text("{}", encoding="utf-8")
    (tmp_path / "stuck.json").write_bytes(to_json(results.undecided()))
    return tmp_path


LINES = {
    "the same": ("compare good.json good.json", 0),
    "better": ("compare bad.json good.json", 0),
    "worse": ("compare good.json bad.json", 1),
    "worse, tolerated": ("compare good.json bad.json --tolerance 0.5", 0),
    "any of several": ("compare good.json best.json bad.json best.json", 1),
    "none of several": ("compare bad.json good.json best.json", 0),
    "an error, beside itself": ("compare stuck.json stuck.json", 3),
    "a regression beside what is undecided": ("compare good.json bad.json stuck.json", 1),
    "no report": ("compare good.json text.json", 2),
    "no file": ("compare good.json none.json", 2),
    "a folder": ("compare good.json .", 2),
    "one file": ("compare good.json", 2),
    "standard input twice": ("compare - -", 2),
    "tolerance above 1": ("compare good.json bad.json --tolerance 2", 2),
    "tolerance nan": ("compare good.json bad.json --tolerance nan", 2),
    "over an input": ("compare good.json bad.json --json bad.json", 2),
    "two to stdout": ("compare good.json bad.json --json - --markdown -", 2),
    "report over its input": ("report good.json -o good.json", 2),
}


@pytest.mark.parametrize(("line", "code"), LINES.values(), ids=LINES)
def test_exit_codes(files, capsys, line, code):
    before = (files / "bad.json").read_bytes()
    assert cli.main(line.split()) == code
    err = capsys.readouterr().err
    assert ("error: " in err) == (code == 2)
    assert "Traceback" not in err
    assert (files / "bad.json").read_bytes() == before


def test_reports_of_a_comparison_are_written(files, capsys):
    assert cli.main(["compare", "good.json", "bad.json", "--json", "-", "--markdown", "c.md"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 1
    assert err.startswith("REGRESSION")
    assert (files / "c.md").read_text(encoding="utf-8").startswith("**REGRESSION")


def test_standard_input_is_a_report(files, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO((files / "bad.json").read_bytes()))
    )
    assert cli.main(["compare", "good.json", "-"]) == 1


def test_a_file_that_is_too_large_is_rejected(files, monkeypatch, capsys):
    monkeypatch.setattr("sway_gate.reports.json_v1.MAX_BYTES", 1000)
    assert cli.main(["compare", "good.json", "bad.json"]) == 2
    assert "good.json: larger than" in capsys.readouterr().err


# Baseline

GOOD, BAD = (
    gated(reading("section_internalization", x, score=s)) for x, s in ((UP, 0.9), (ITEMS, 0.8))
)
STUCK = gated(results.errored(), verdict="error", exit_code=3, score=None)
KNEW = gated(results.probe("preference_flip"))
FAILED = msgspec.structs.replace(BAD, verdict="fail", exit_code=1)
BESIDE = {
    "as good": (GOOD, GOOD, 0.0, ("pass", 0, [])),
    "better": (GOOD, BAD, 0.0, ("pass", 0, [])),
    "worse": (BAD, GOOD, 0.0, ("fail", 1, ["section_internalization"])),
    "worse, tolerated": (BAD, GOOD, 0.5, ("pass", 0, [])),
    "fails by itself": (FAILED, GOOD, 0.0, ("fail", 1, ["section_internalization", "composite"])),
    "gone": (gated(), GOOD, 0.0, ("fail", 1, ["section_internalization"])),
    "could not decide": (STUCK, KNEW, 0.0, ("error", 3, ["preference_flip", "composite"])),
}  # fmt: skip


@pytest.mark.parametrize(
    ("result", "accepted", "tolerance", "expected"), BESIDE.values(), ids=BESIDE
)
def test_a_regression_fails_the_gate(result, accepted, tolerance, expected):
    judged = baseline.judge(result, accepted, "b.json", tolerance)
    assert (
        judged.verdict,
        judged.exit_code,
        [r.name for r in judged.baseline.regressions],
    ) == expected
    assert baseline.without(judged) == result


def test_reports_list_the_probes_that_regressed():
    from sway_gate.reports.junit import to_junit
    from sway_gate.reports.terminal import render

    judged = baseline.judge(BAD, GOOD, "b.json")
    shown = render(judged, color=False, width=200)
    assert shown.startswith(
        "FAIL  worse than the baseline: section_internalization  composite 0.84"
    )
    assert "\nbaseline b.json  1 regression\nWORSE  section_internalization  worse by" in shown
    assert "WORSE" in render(judged, color=False, quiet=True)
    junit = to_junit(judged)
    assert re.search(
        r'name="__baseline__".*?<failure[^>]*message="worse than b.json">section_internal',
        junit,
        re.S,
    )
    assert from_json(to_json(judged)).baseline == judged.baseline


def test_junit_has_a_passed_case_for_a_baseline_without_regressions():
    from sway_gate.reports.junit import to_junit

    assert 'failures="0"' in to_junit(baseline.judge(GOOD, GOOD, "b.json"))


def test_a_baseline_of_another_base_is_rejected():
    other = ModelFacts(path="other/base", digest="ef" * 32)
    with pytest.raises(
        UsageError,
        match=r"b.json: was measured with base .*SmolLM2-135M .*, not other/base",
    ):
        baseline.check(GOOD, "b.json", other)


NO_BASELINES = {
    "errors": (STUCK, "could not measure"),
    "no probes": (gated(), "contains no measured probe"),
    "skips alone": (gated(results.skipped()), "contains no measured probe"),
    "no verdict": (gated(reading("leakage", SAME), verdict="error"), "could not decide"),
}


@pytest.mark.parametrize(("result", "words"), NO_BASELINES.values(), ids=NO_BASELINES)
def test_an_incomplete_result_cannot_be_a_baseline(result, words):
    with pytest.raises(UsageError, match=f"b.json: {words}.* and cannot be a baseline"):
        baseline.check(result, "b.json", result.base)
    with pytest.raises(UsageError, match=f"r.json: this result {words}"):
        baseline.accept(result, "r.json")


def test_messages_about_a_hostile_baseline_are_one_line():
    with pytest.raises(UsageError) as told:
        baseline.check(GOOD, "b.json", ModelFacts(path=results.HOSTILE, digest="ef" * 32))
    assert not re.search(r"[\n\x1b]", str(told.value))


def test_an_accepted_result_passes_its_own_baseline(files, capsys):
    judged = msgspec.structs.replace(baseline.judge(BAD, GOOD, "b.json"), cached=True)
    (files / "judged.json").write_bytes(to_json(judged))
    assert cli.main(["baseline", "update", "b.json", "--from", "judged.json"]) == 0
    assert capsys.readouterr().out.startswith("b.json: accepted: PASS · ")
    assert from_json((files / "b.json").read_bytes()) == BAD


REFUSED = {
    "error": "baseline update b.json --from stuck.json",
    "no report": "baseline update b.json --from text.json",
    "nothing to accept": "baseline update b.json",
    "two to accept": "baseline update b.json sway.yaml --from good.json",
    "a spec as baseline": "baseline update sway.yaml --from good.json",
    "another action": "baseline show b.json",
    "itself": "baseline update good.json --from good.json",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_invalid_baseline_commands_write_no_file(files, capsys, line):
    (files / "b.json").write_text("old", encoding="utf-8")
    assert cli.main(line.split()) == 2
    assert (files / "b.json").read_text(encoding="utf-8") == "old"


# Gate runs with a baseline

SPEC = """\
version: 1
models:
  base: {{kind: dummy, base: {base}}}
  ft: {{kind: dummy, base: {base}, adapter: "{adapter}"}}
suite:
  - {{name: learned, kind: section_internalization}}
  - {{name: moved, kind: delta_kl, assert_mean_gte: 0.001,
     prompts: [the lamp, the tide, a boat, salt and, the ravens]}}
sections:
  - {{kind: prose, content: "the lamp is lit when the tide turns and the boats come home"}}
  - {{kind: prose, content: "the ravens live in the tower and salt is sold in glass"}}
  - {{kind: prose, content: "every child learns to swim before the school on the island opens"}}
"""
LEARNED = "the lamp is lit when the tide turns and the boats come home the ravens live in the tower and salt is sold in glass every child learns to swim before the school on the island opens"  # noqa: E501
LITTLE = "the lamp is lit"


def write_spec(path, adapter=LEARNED, base="b"):
    path.write_text(SPEC.format(adapter=adapter, base=base), encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Current folder with a spec, its baseline, and the spec of an adapter that learned little."""
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path / "sway.yaml")
    write_spec(tmp_path / "little.yaml", LITTLE)
    write_spec(tmp_path / "other.yaml", base="c")
    assert cli.main(["baseline", "update", "b.json", "sway.yaml"]) == 0
    (tmp_path / "empty.json").write_bytes(to_json(gated(verdict="fail", exit_code=1)))
    return tmp_path


GATES = {
    "itself": ("gate sway.yaml --baseline b.json", 0, "no regression"),
    "one that learned little": ("gate little.yaml --baseline b.json --quiet", 1, "WORSE  learned"),
    "another base": ("gate other.yaml --baseline b.json", 2, "was measured with base"),
    "no baseline": ("gate sway.yaml --baseline none.json", 2, "none.json: no such file"),
    "a tolerance of nothing": ("gate sway.yaml --tolerance 0.1", 2, "add --baseline FILE"),
    "an empty baseline": ("gate sway.yaml --baseline empty.json", 2, "no measured probe"),
    "json over the baseline": (
        "gate sway.yaml --baseline b.json --json b.json",
        2,
        "overwrite the input b.json",
    ),
}


@pytest.mark.parametrize(("line", "code", "words"), GATES.values(), ids=GATES)
def test_gate_with_a_baseline(folder, capsys, line, code, words):
    capsys.readouterr()
    accepted = (folder / "b.json").read_bytes()
    assert cli.main([*line.split(), "--threshold", "0"]) == code
    assert words in "".join(capsys.readouterr())
    assert (folder / "b.json").read_bytes() == accepted
