"""Verdicts and composites with waivers, against the same results without the waived probes."""

from datetime import date, timedelta

import pytest
from msgspec import structs

from sway_gate.judge.composite import CATEGORIES, compose, contradiction
from sway_gate.judge.diagnosis import diagnose
from sway_gate.judge.waivers import waiver_notes, with_waivers
from sway_gate.results import Category, ProbeResult, Verdict
from sway_gate.spec.schema import SCORE_WEIGHTS, Waiver
from tests.helpers import results as helper
from tests.helpers.property import given, settings, st

TODAY = date(2026, 11, 28)
EFFECT, HARM = "delta_kl", "external_perplexity"


def waiver(probe: str = "p", days: int = 30) -> Waiver:
    expires = TODAY + timedelta(days=days)
    return Waiver(probe=probe, reason="known loss", expires=expires, by="Ada")


def probe(verdict: str, name: str = "p", **fields: object) -> ProbeResult:
    defaults = {
        "kind": EFFECT,
        "category": "adherence",
        "message": "the result",
        "advice": "train more",
        "score": None if verdict in ("skip", "error") else 0.7,
    }
    return ProbeResult(name=name, verdict=Verdict(verdict), **(defaults | fields))


def waived(*results: ProbeResult, days: int = 30) -> tuple[ProbeResult, ...]:
    """The results; a waiver of "p" is applied."""
    return with_waivers(results, [waiver(days=days)], TODAY)


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_fail_or_an_inconclusive_result_is_waived(verdict: Verdict) -> None:
    if verdict is Verdict.WAIVED:
        return
    before = probe(verdict)
    [found] = waived(before)
    if verdict not in (Verdict.FAIL, Verdict.WARN):
        assert found == before
        return
    assert (found.verdict, found.score, found.advice) == (Verdict.WAIVED, None, "")
    assert found.waiver is not None
    assert found.waiver.verdict is verdict
    assert found.message == "waived by Ada until 2026-12-28 (known loss): the result"


DAYS = {"the day before": (1, False), "the last day": (0, False), "the day after": (-1, True)}


@pytest.mark.parametrize(("days", "is_expired"), DAYS.values(), ids=DAYS)
def test_a_waiver_holds_to_the_end_of_its_last_day(days: int, is_expired: bool) -> None:
    other = probe("pass", "other")
    results = waived(probe("fail", kind=HARM), other, days=days)
    assert compose(results, weights(), 0.6).verdict == ("fail" if is_expired else "pass")
    assert ("expired on 2026-11-27" in results[0].message) is is_expired


@pytest.mark.parametrize("verdict", ["pass", "fail", "warn", "skip", "error"])
def test_an_expired_waiver_fails_the_gate(verdict: str) -> None:
    results = waived(probe(verdict), probe("pass", "other"), days=-1)
    assert results[0].verdict == verdict
    assert compose(results, weights(), 0.6).verdict == "fail"


NOTES = {
    "pass": ["the waiver of p is not needed, because the probe passes: remove it"],
    "skip": ["the waiver of p has no effect, because the probe was skipped"],
    "error": ["the waiver of p has no effect, because the probe could not run"],
    "fail": [],
    "warn": [],
}


@pytest.mark.parametrize(("verdict", "notes"), NOTES.items(), ids=NOTES)
def test_a_waiver_without_effect_is_noted(verdict: str, notes: list[str]) -> None:
    assert list(waiver_notes([probe(verdict), probe("pass", "other")], [waiver()])) == notes


def weights() -> dict[str, float]:
    return {name: float(weight) for name, weight in SCORE_WEIGHTS.items()}  # type: ignore[arg-type]


GATES = {
    "a waived harm": ([probe("fail", kind=HARM), probe("pass", "b")], "pass"),
    "a waived inconclusive result": ([probe("warn", kind=HARM), probe("pass", "b")], "pass"),
    "the only effect": ([probe("fail"), probe("pass", "b", kind=HARM)], "error"),
    "the only probe": ([probe("fail")], "error"),
    "another failure": ([probe("fail"), probe("pass", "b"), probe("fail", "c")], "fail"),
    "another error": ([probe("fail"), probe("pass", "b"), probe("error", "c")], "error"),
    "a low composite": ([probe("fail"), probe("pass", "b", score=0.3)], "fail"),
}


@pytest.mark.parametrize(("results", "verdict"), GATES.values(), ids=GATES)
def test_a_waived_probe_neither_fails_the_gate_nor_is_evidence(
    results: list[ProbeResult], verdict: str
) -> None:
    assert compose(waived(*results), weights(), 0.6).verdict == verdict


def test_a_required_category_is_not_decided_by_a_waiver() -> None:
    results = waived(probe("fail", category="attribution"), probe("pass", "b"))
    assert compose(results, weights(), 0.6, ["attribution"]).verdict == "error"


PROBES = st.lists(
    st.tuples(
        st.sampled_from(["pass", "fail", "warn", "skip", "error"]),
        st.sampled_from(CATEGORIES),
        st.sampled_from([EFFECT, HARM]),
        st.floats(0, 1),
        st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(PROBES, st.sampled_from([0.0, 0.3, 0.6]), st.sets(st.sampled_from(CATEGORIES)))
def test_a_gate_with_waivers_passes_only_if_the_other_probes_pass_it(
    drawn: list[tuple[str, str, str, float, float, bool]], threshold: float, required: set[str]
) -> None:
    results = [
        probe(
            verdict,
            f"p{i}",
            category=category,
            kind=kind,
            score=None if verdict in ("skip", "error") else score,
            weight=weight,
        )
        for i, (verdict, category, kind, score, weight, _) in enumerate(drawn)
    ]
    waivers = [waiver(f"p{i}") for i, (*_, is_waived) in enumerate(drawn) if is_waived]
    applied = with_waivers(results, waivers, TODAY)
    rest = [result for result in applied if result.verdict is not Verdict.WAIVED]
    found, without = (compose(own, weights(), threshold, required) for own in (applied, rest))
    assert found.score == without.score
    assert found.categories == without.categories
    assert found.verdict in (without.verdict, "error")
    if any(result.verdict is Verdict.FAIL for result in rest):
        assert found.verdict == "fail"
    elif any(result.verdict is Verdict.ERROR for result in rest):
        assert found.verdict == "error"


def test_the_diagnosis_ignores_waived_findings_and_names_them() -> None:
    harm = probe("fail", kind=HARM, symptoms=("forgot",))
    results = waived(harm, probe("pass", "b"))
    found = diagnose(results, (), "pass")
    assert found.name == "no fault found"
    assert found.sentence == (
        "No rule is violated except in waived findings: p. "
        "Not tested: whether it learned its training data."
    )
    assert diagnose(waived(harm, probe("pass", "b"), days=-1), (), "fail").name == "forgot"


def test_the_diagnosis_names_an_expired_waiver_of_a_passing_probe() -> None:
    found = diagnose(waived(probe("pass"), days=-1), (), "fail")
    assert found.sentence == "No rule is violated, but a waiver expired: p."


def test_an_adapter_with_a_waived_finding_is_not_healthy() -> None:
    learned = probe("pass", "b", category="attribution")
    no_harm = probe("pass", "c", kind=HARM)
    assert diagnose([learned, no_harm], (), "pass").name == "healthy"
    assert diagnose(waived(probe("warn"), learned, no_harm), (), "pass").name == "no fault found"


FORGED = {
    "no waiver": {"waiver": None},
    "a score": {"score": 0.9},
    "an error": {"waiver": structs.replace(waived(probe("fail"))[0].waiver, verdict=Verdict.ERROR)},
    "expired": {"waiver": structs.replace(waived(probe("fail"))[0].waiver, is_expired=True)},
}


@pytest.mark.parametrize("fields", FORGED.values(), ids=FORGED)
def test_a_report_with_a_forged_waiver_contradicts_itself(fields: dict[str, object]) -> None:
    [harm, other] = waived(probe("fail", kind=HARM), probe("pass", "b"))
    categories = {"adherence": Category(weight=1.0, score=0.7)}
    sound = helper.result(harm, other, categories=categories, score=0.7)
    assert contradiction(sound) == ""
    assert contradiction(structs.replace(sound, probes=(structs.replace(harm, **fields), other)))
