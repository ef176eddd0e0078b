"""Rankings: the measure, the order, the best set, the chosen checkpoint, curves and exit codes."""

import numpy as np
import pytest

from sway_gate.compare.ranking import (
    Candidate,
    check_measure,
    choose_measure,
    is_worse,
    rank,
)
from sway_gate.errors import UsageError
from sway_gate.results import Finding
from sway_gate.spec.load import load_spec
from tests.compare.test_results import gated, reading
from tests.helpers.results import probe

RNG = np.random.default_rng(5)
ROWS = RNG.normal(0.0, 0.02, 24)
NOISE = RNG.normal(0.0, 0.02, (12, 24))
NOISE -= NOISE.mean(axis=1, keepdims=True)


def items(mean, seed=0):
    return (mean + ROWS + NOISE[seed]).tolist()


def candidate(step, mean, verdict="pass", seed=0, **fields):
    held_out = reading("generalization", items(mean, seed), verdict=verdict)
    learned = reading("answer_specificity", items(mean + step / 1000, seed))
    forgot = reading("external_perplexity", items(-step / 2000, seed), verdict=verdict)
    result = gated(learned, held_out, forgot, verdict=verdict, **fields)
    return Candidate(f"checkpoint-{step}", step, result)


def run():
    """Rises until step 30, stays, falls after step 50."""
    means = {10: 0.2, 20: 0.5, 30: 0.8, 40: 0.805, 50: 0.8, 60: 0.6}
    return [candidate(step, mean, seed=i) for i, (step, mean) in enumerate(means.items())]


def test_the_earliest_of_the_best_set_is_chosen():
    found = rank(run())
    assert found.chosen == "checkpoint-30"
    assert {e.label for e in found.entries if e.standing in ("best", "tied")} == {
        "checkpoint-30",
        "checkpoint-40",
        "checkpoint-50",
    }
    assert [e.standing for e in found.entries[3:]] == ["worse"] * 3
    assert [e.step for e in found.entries[3:]] == [60, 20, 10]
    assert found.exit_code == 0


def test_without_steps_the_best_value_is_chosen():
    found = rank([one._replace(step=None) for one in run()])
    assert found.chosen == found.entries[0].label
    assert found.entries[0].standing == "best"
    assert found.curves == ()


def test_an_adapter_that_fails_is_not_the_best_one():
    found = rank([*run(), candidate(70, 0.95, "fail")])
    assert found.chosen == "checkpoint-30"
    assert (found.entries[-1].label, found.entries[-1].standing) == ("checkpoint-70", "fail")
    assert found.entries[-1].p is None


def test_the_held_out_rows_order_before_what_was_learned():
    measure = choose_measure(run())
    assert measure is not None
    assert (measure.name, measure.better) == ("generalization", "more")
    named = choose_measure(run(), "external_perplexity")
    assert named is not None
    assert named.name == "external_perplexity"


ORDERS = {
    "learned before others": (["style_fingerprint", "answer_recall"], "answer_recall"),
    "effects before harms": (["external_perplexity", "style_fingerprint"], "style_fingerprint"),
    "the first of its sort": (["answer_specificity", "answer_recall"], "answer_specificity"),
    "harms if there is nothing else": (["delta_kl", "external_perplexity"], "external_perplexity"),
}


@pytest.mark.parametrize(("kinds", "expected"), ORDERS.values(), ids=ORDERS)
def test_the_default_measure(kinds, expected):
    result = gated(*(reading(kind, items(0.5)) for kind in kinds))
    measure = choose_measure([Candidate("a", None, result)])
    assert measure is not None
    assert measure.name == expected


def test_less_of_a_rate_is_better():
    results = {f"r{i}": gated(reading("leakage", items(mean))) for i, mean in enumerate((0.3, 0.1))}
    found = rank([Candidate(name, None, result) for name, result in results.items()])
    assert found.chosen == "r1"
    assert [e.standing for e in found.entries] == ["best", "worse"]


def test_without_a_common_measure_all_that_pass_tie():
    short = gated(reading("external_perplexity", items(0.9)[:9]))
    found = rank([candidate(10, 0.2), Candidate("other", None, short)], "external_perplexity")
    assert found.measure is None
    assert [e.standing for e in found.entries] == ["best", "tied"]


def test_adapters_whose_rows_grew_are_compared_on_the_first_rows():
    rows = {"few": items(0.9)[:9], "many": [*items(0.6)[:9], *np.full(27, 0.99)]}
    results = {name: gated(reading("generalization", own)) for name, own in rows.items()}
    found = rank([Candidate(name, None, result) for name, result in results.items()])
    assert found.measure is not None
    assert {e.label: e.p is not None and e.p < 0.05 for e in found.entries} == {
        "few": False,
        "many": True,
    }


def test_items_in_other_units_are_not_compared():
    results = [gated(reading("generalization", items(0.5), units=u)) for u in ("share", "lift")]
    assert choose_measure([Candidate(str(i), None, r) for i, r in enumerate(results)]) is None


CODES = {
    "one passes": ([candidate(1, 0.9), candidate(2, 0.9, "fail")], 0),
    "none passes": ([candidate(1, 0.9, "fail"), candidate(2, 0.9, "fail")], 1),
    "one is broken": ([candidate(1, 0.9), Candidate("x", None, None, "", "broken", 2)], 2),
    "one is not decided": (
        [candidate(1, 0.9), candidate(2, 0.9, "error")._replace(exit_code=3)],
        3,
    ),
    "both": ([Candidate("y", 1, None, "", "?", 3), Candidate("x", 2, None, "", "broken", 2)], 3),
}


@pytest.mark.parametrize(("candidates", "code"), CODES.values(), ids=CODES)
def test_the_exit_code(candidates, code):
    found = rank(candidates)
    assert found.exit_code == code
    assert len(found.entries) == len(candidates)


def test_the_reason_of_an_entry():
    finding = Finding(id="untrained", level="verdict", message="all B are zero")
    never = Candidate("never", 1, gated(verdict="fail", findings=(finding,)))
    bad = candidate(2, 0.4, "fail")
    broken = Candidate("broken", None, None, "", "adapter_config.json is missing", 2)
    by_label = {entry.label: entry for entry in rank([never, bad, broken]).entries}
    assert by_label["never"].why == "all B are zero"
    assert by_label["checkpoint-2"].failed == ("generalization", "external_perplexity")
    assert by_label["broken"].why == "adapter_config.json is missing"


def test_a_curve_shows_where_to_stop():
    curves = {curve.role: curve for curve in rank(run()).curves}
    assert curves.keys() == {"learned", "held-out", "forgotten"}
    held_out = curves["held-out"].points
    assert [point.step for point in held_out] == [10, 20, 30, 40, 50, 60]
    assert [point.is_best for point in held_out] == [False, False, True, True, True, False]
    assert curves["forgotten"].points[0].is_best


@pytest.mark.parametrize("steps", [(None, 2), (2, 2)])
def test_no_curve_without_different_steps(steps):
    first, second = (
        candidate(1, 0.5)._replace(step=step, label=str(i)) for i, step in enumerate(steps)
    )
    assert rank([first, second]).curves == ()


def test_dropped_candidates_are_worse_than_one_that_passes():
    candidates, measure = run(), choose_measure(run())
    assert measure is not None
    assert is_worse(candidates, measure, candidates[0], [candidates[2]])
    assert not is_worse(candidates, measure, candidates[2], [candidates[3]])
    assert not is_worse(candidates, measure, candidates[0], [])
    raced = rank([candidates[0]._replace(is_dropped=True), *candidates[1:]])
    whole = rank(candidates)
    assert [e.p for e in raced.entries if e.standing in ("best", "tied")] == [
        e.p for e in whole.entries if e.standing in ("best", "tied")
    ]
    [dropped] = [e for e in raced.entries if e.standing == "dropped"]
    assert (dropped.label, dropped.score) == ("checkpoint-10", None)


@pytest.mark.parametrize("name", ["nothing", "moved", "nulls"])
def test_a_measure_must_be_a_probe_with_an_order(tmp_path, name):
    spec = tmp_path / "sway.yaml"
    spec.write_text(
        "version: 1\nmodels: {base: {base: b}, ft: {base: b, adapter: a}}\nsuite:\n"
        "- {name: nulls, kind: null_adapter}\n"
        "- {name: moved, kind: delta_kl, prompts: [one]}\n"
        "- {name: prose, kind: external_perplexity}\n",
        encoding="utf-8",
    )
    loaded = load_spec(str(spec))
    check_measure(loaded, "prose")
    with pytest.raises(UsageError, match="must be a probe that orders adapters; here: prose"):
        check_measure(loaded, name)


def test_items_of_a_probe_without_a_value_do_not_order():
    silent = probe("generalization", "skip", raw=None, items=())
    assert choose_measure([Candidate("a", 1, gated(silent))]) is None
