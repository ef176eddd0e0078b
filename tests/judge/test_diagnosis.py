import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sway_gate.details import OWN_FACTS
from sway_gate.judge.diagnosis import (
    BELOW,
    EXPIRED,
    HEALTHY,
    NO_FAULT,
    TABLE,
    UNDECIDED,
    about_full_model,
    advice,
    consistent,
    diagnose,
    ranked,
)
from sway_gate.results import AppliedWaiver, Finding, ProbeResult, Rule, Verdict
from tests.helpers import ROOT

KINDS = {
    "adherence": "delta_kl",
    "attribution": "answer_recall",
    "calibration": "calibration_drift",
    "ablation": "adapter_ablation",
}


def result(category: str, *symptoms: str, verdict: str = "") -> ProbeResult:
    found = ranked(symptoms)  # type: ignore[arg-type]
    return ProbeResult(
        name=category,
        kind=KINDS[category],
        category=category,
        verdict=Verdict(verdict or ("fail" if symptoms else "pass")),
        message="",
        symptoms=found,
        advice=advice(found),
    )


def diagnosed(*results: ProbeResult, verdict: str = "fail", finding: str = "") -> str:
    findings = [Finding(id=finding, level="verdict", message="")] if finding else []
    return diagnose(results, findings, verdict).name


def of_scale(best: float, source: str = "sections") -> ProbeResult:
    """The probe of the scale; the loss on the data is lowest at `best`."""
    at = {"lambdas": [], "loss": [], "control_loss": [], "best": best, "excess": 0.0}
    return structs.replace(result("ablation"), details={"target": {"source": source, **at}})


def of_content(gain: str, *symptoms: str, judged: str = "content") -> ProbeResult:
    """A probe of the content gain, which is significant if `gain` is "pass"."""
    rules = (Rule(name="z", verdict=Verdict(gain)), Rule(name="content gain", verdict=Verdict.FAIL))
    details = {"judged": judged, "content_gain": 0.02}
    return structs.replace(result("attribution", *symptoms), rules=rules, details=details)


MOVED, LEARNED, KEPT = result("adherence"), result("attribution"), result("calibration")
OTHER = "learned another thing"
DIAGNOSES = {
    "nothing moved": ([result("adherence", "never trained"), result("attribution", OTHER)],
                      "never trained"),
    "it moved too little": ([result("adherence", "barely trained"), result("attribution", OTHER)],
                            "barely trained"),
    "it moved elsewhere": ([MOVED, result("attribution", OTHER)], OTHER),
    "it moved, its gain is small, its content is wrong": (
        [MOVED, result("attribution", "barely trained", OTHER)], OTHER),
    "it moved, its gain is small": ([MOVED, result("attribution", "barely trained")],
                                    "barely trained"),
    "broken explains all others": (
        [result("adherence", "barely trained"), result("calibration", "broken", "forgot"),
         result("attribution", OTHER)], "diverged or broken"),
    "a foreign template explains what is not learned": (
        [MOVED, result("attribution", "template mismatch", OTHER)], "template mismatch"),
    "only the form": ([MOVED, result("attribution", "form, not content")], "form, not content"),
    "learned, but it forgot": ([MOVED, LEARNED, result("calibration", "forgot")], "forgot"),
    "learned, but it recites": ([MOVED, LEARNED, result("calibration", "recites")], "recites"),
    "an irregular curve": ([MOVED, LEARNED, KEPT, result("ablation", "irregular")],
                           "irregular response"),
    "recited text does not generalise": (
        [MOVED, LEARNED, result("attribution", "memorised, not generalised"),
         result("calibration", "recites")], "recites"),
    "it recites and forgot": (
        [MOVED, result("attribution", "memorised, not generalised"),
         result("calibration", "forgot", "recites")], "forgot"),
    "it refuses, and learned too little": (
        [MOVED, result("attribution", "barely trained"), result("calibration", "refuses more")],
        "refuses more"),
    "it refuses, and this is not its data": (
        [MOVED, of_content("fail", OTHER), result("calibration", "refuses more")], OTHER),
    "it refuses, learned too little, and not the held-out rows": (
        [MOVED, of_content("pass"), result("attribution", "barely trained", OTHER),
         of_scale(1.25), result("calibration", "refuses more")], "refuses more"),
    "answers run on until they loop": (
        [MOVED, result("attribution", "never ends"), result("calibration", "broken")],
        "never ends"),
    "more is wrong than the end": (
        [MOVED, result("attribution", "never ends"), result("calibration", "broken", "forgot")],
        "diverged or broken"),
    "no rule is violated": (
        [MOVED, LEARNED, result("calibration", verdict="warn")], "below the threshold"),
}  # fmt: skip


@pytest.mark.parametrize(("results", "name"), DIAGNOSES.values(), ids=DIAGNOSES)
def test_the_first_symptom_that_explains_the_others_is_the_diagnosis(results, name):
    assert diagnosed(*results) == name


BARELY = "barely trained"
GAINED, NOT_GAINED = "pass", "fail"


TOWARD = {
    # lowest loss at λ, significance of the gain, symptom of the attribution probe -> diagnosis
    "this data, too short": (of_scale(1.25), of_content(GAINED, OTHER), BARELY),
    "shuffled answers": (of_scale(1.25), of_content(NOT_GAINED, OTHER), OTHER),
    "few rows": (of_scale(1.25), of_content(NOT_GAINED, BARELY), BARELY),
    "another document": (of_scale(1.0), of_content(NOT_GAINED, BARELY), OTHER),
    "other data of the same kind": (of_scale(0.5), of_content(GAINED, BARELY), OTHER),
    "a gain that is open": (of_scale(1.0), of_content("warn", BARELY), OTHER),
    "open": (of_scale(1.0), of_content(GAINED, BARELY), BARELY),
    "open, other": (of_scale(1.0), of_content(GAINED, OTHER), OTHER),
    "held-out text": (of_scale(0.5, "held_out"), of_content(GAINED, BARELY), BARELY),
    "only the form": (of_scale(1.25), of_content(GAINED, OTHER, judged="form"), OTHER),
    "another fault": (of_scale(0.5), of_content(GAINED, "template mismatch"), "template mismatch"),
}


OVERSHOT = {
    # best scale, content gain, harm -> the diagnosis of contradicted answers
    "four times too large": (0.25, 1.0, "forgot", "diverged or broken"),
    "no harm": (0.25, 1.0, "", OTHER),
    "not toward this data": (0.25, None, "forgot", OTHER),
    "not too large": (0.75, 1.0, "forgot", OTHER),
}


@pytest.mark.parametrize(("best", "gain", "harm", "name"), OVERSHOT.values(), ids=OVERSHOT)
def test_a_change_that_is_much_too_large_is_named(best, gain, harm, name):
    scale = structs.replace(
        of_scale(best), verdict=Verdict.FAIL, symptoms=("irregular",), advice=advice(["irregular"])
    )
    content = structs.replace(
        LEARNED,
        rules=(Rule(name="z", verdict=Verdict.PASS if gain else Verdict.FAIL),),
        details={"judged": "content", "content_gain": gain or 0.0},
    )
    harms = result("calibration", *filter(None, [harm]))
    assert diagnosed(MOVED, scale, content, result("attribution", OTHER), harms) == name


@pytest.mark.parametrize(("scale", "content", "name"), TOWARD.values(), ids=TOWARD)
def test_the_loss_at_each_scale_shows_where_training_went(scale, content, name):
    found = diagnose([MOVED, scale, content], [], "fail")
    assert found.name == name
    assert all(r.advice in ("", found.advice) for r in consistent([scale, content], found))


@pytest.mark.parametrize(("rule", "name"), [(OWN_FACTS, OTHER), ("content gain", BARELY)])
def test_exchanged_facts_need_no_more_training(rule, name):
    content = of_content(GAINED, OTHER)
    failed = structs.replace(content.rules[0], name=rule, verdict=Verdict.FAIL)
    content = structs.replace(content, rules=(*content.rules, failed))
    assert diagnosed(MOVED, of_scale(1.25), content) == name


def test_suspected_facts_are_exchanged_too():
    content = structs.replace(of_content(GAINED), verdict=Verdict.WARN, suspected=(OTHER,))
    unsure = Rule(name=f"{OWN_FACTS} fact", verdict=Verdict.WARN, value=0.6, limit=0.7)
    for value, name in ((0.6, OTHER), (0.8, BARELY)):
        rules = (*content.rules[:1], structs.replace(unsure, value=value))
        found = [MOVED, of_scale(1.25), structs.replace(content, rules=rules)]
        assert diagnose(found, [], "error").suspected == name


@pytest.mark.parametrize(("gains", "is_open"), [(GAINED, False), (NOT_GAINED, True)])
def test_without_a_gain_of_own_answers_the_data_can_be_another(gains, is_open):
    found = diagnose([MOVED, of_content(gains, BARELY)], [], "fail")
    assert found.name == BARELY
    assert ("or this is not its data" in found.sentence) == is_open


@pytest.mark.parametrize(("best", "name"), [(1.25, BARELY), (1.0, OTHER)])
def test_a_form_that_is_learned_too_little_needs_more_training(best, name):
    form = structs.replace(of_content(GAINED, judged="form"), verdict=Verdict.PASS)
    recalled = result("attribution", OTHER)
    assert diagnosed(MOVED, of_scale(best), form, recalled) == name


def test_a_change_that_is_too_small_stays_too_small():
    still = result("adherence", BARELY)
    assert diagnosed(still, of_scale(0.5), of_content(NOT_GAINED, OTHER)) == BARELY


def test_what_carries_over_to_held_out_rows_lacks_the_wording_only():
    learned = structs.replace(of_content(GAINED), verdict=Verdict.PASS)
    recalled, held_out = result("attribution", BARELY), result("attribution")
    carries = structs.replace(held_out, kind="generalization", verdict=Verdict.PASS)
    assert diagnosed(MOVED, learned, recalled, carries) == "form, not content"
    assert diagnosed(MOVED, learned, recalled) == BARELY
    failed = structs.replace(carries, verdict=Verdict.FAIL, symptoms=(BARELY,))
    assert diagnosed(MOVED, learned, recalled, failed) == BARELY
    assert diagnosed(MOVED, of_content(GAINED, BARELY), recalled, carries) == BARELY


CHANGES_TOO_LITTLE = {
    "nothing passes": ([result("adherence", BARELY), result("attribution", BARELY)], True),
    "no probe of the movement": ([result("attribution", BARELY)], True),
    "it moved": ([MOVED, result("attribution", BARELY)], False),
    "it moved and learned": ([MOVED, LEARNED, result("ablation", BARELY)], False),
}


@pytest.mark.parametrize(
    ("results", "expected"), CHANGES_TOO_LITTLE.values(), ids=CHANGES_TOO_LITTLE
)
def test_no_passing_probe_contradicts_the_sentence(results, expected):
    sentence = diagnose(results, [], "fail").sentence
    assert ("changes the model too little" in sentence) is expected
    is_learned = LEARNED in results
    assert ("has not learned its data" in sentence) is not is_learned
    about_model = about_full_model(sentence)
    assert "adapter" not in about_model
    assert about_model.startswith("Training changed the base")


def test_only_a_tested_adapter_is_healthy():
    assert diagnosed(MOVED, LEARNED, KEPT, verdict="pass") == "healthy"
    found = diagnose([MOVED], [], "pass")
    assert found.name == "no fault found"
    assert found.sentence.endswith(
        "Not tested: whether it learned its training data; whether it harms the model."
    )
    assert diagnosed(MOVED, LEARNED, verdict="pass") == "no fault found"
    assert diagnose([KEPT], [], "pass").sentence.endswith(
        "Not tested: whether it changes the model; whether it learned its training data."
    )


def test_a_lift_of_the_data_does_not_show_that_its_answers_are_right():
    lifted = structs.replace(LEARNED, kind="section_internalization")
    found = diagnose([MOVED, lifted, KEPT], [], "pass")
    assert found.name == "no fault found"
    assert found.sentence.endswith("Not tested: whether its answers are right.")
    assert diagnosed(MOVED, lifted, LEARNED, KEPT, verdict="pass") == "healthy"
    sections = [
        {"kind": kind, "effective": 0.5, "passed": True} for kind in ("prose", "prose", "i")
    ]
    of_prose = structs.replace(lifted, details={"sections": sections})
    assert diagnosed(MOVED, of_prose, KEPT, verdict="pass") == "healthy"


def test_an_undecided_gate_says_that_learning_was_not_tested():
    words = "Not tested: whether it learned its training data."
    skipped = result("attribution", verdict="skip")
    assert diagnose([MOVED, KEPT, skipped], [], "error").sentence.endswith(words)
    unsure = result("attribution", verdict="warn")
    assert words not in diagnose([MOVED, KEPT, skipped, unsure], [], "error").sentence


LAPSED = AppliedWaiver(
    reason="known", by="me", expires="2020-01-01", verdict=Verdict.WARN, is_expired=True
)
ACCEPTED = structs.replace(LAPSED, is_expired=False)
WITHOUT_SYMPTOM = {
    "low scores": (KEPT, "fail", BELOW, BELOW.sentence),
    "an expired waiver": (
        structs.replace(KEPT, waiver=LAPSED), "fail", EXPIRED,
        "No rule is violated, but a waiver expired: calibration."),
    "low scores beside a waived finding": (
        structs.replace(KEPT, verdict=Verdict.WAIVED, waiver=ACCEPTED), "fail", BELOW,
        "No rule is violated except in waived findings: calibration. The composite is below the "
        "threshold."),
    "an error": (result("calibration", verdict="error"), "error", UNDECIDED, UNDECIDED.sentence),
}  # fmt: skip


@pytest.mark.parametrize(
    ("last", "verdict", "entry", "sentence"), WITHOUT_SYMPTOM.values(), ids=WITHOUT_SYMPTOM
)
def test_a_gate_that_fails_without_a_violated_rule_is_not_undecided(last, verdict, entry, sentence):
    found = diagnose([MOVED, LEARNED, last], [], verdict)
    assert (found.name, found.sentence, found.advice) == (entry.name, sentence, entry.advice)
    assert bool(found.advice) == (verdict == "fail")


PROBES_OF = {
    "answers": ({"instruction"}, "answer_specificity and answer_recall"),
    "answers and prose": ({"instruction", "prose"}, "answer_specificity and answer_recall"),
    "preferences": ({"preference"}, "preference_flip"),
    "prose": ({"prose"}, "section_internalization"),
}


@pytest.mark.parametrize(("data", "names"), PROBES_OF.values(), ids=PROBES_OF)
def test_a_suite_without_a_test_of_learning_is_told_which_probes_test_it(data, names):
    found = diagnose([MOVED, result("ablation", verdict="warn")], [], "error", data)
    assert found.name == "undecided"
    assert found.sentence.endswith("Not tested: whether it learned its training data.")
    assert f"such as {names};" in found.advice
    assert diagnose([MOVED, KEPT], [], "fail", data).advice == BELOW.advice


def test_other_answers_do_not_contradict_a_content_gain():
    other = result("attribution", OTHER)
    assert "but did not learn this data" in diagnose([MOVED, other], [], "fail").sentence
    paired = structs.replace(
        LEARNED,
        details={"judged": "content", "content_gain": 0.5},
        rules=(Rule(name="z", verdict=Verdict.PASS),),
    )
    found = diagnose([MOVED, paired, other], [], "fail")
    assert (found.name, "toward this data" in found.sentence) == (OTHER, True)


@pytest.mark.parametrize("category", ["attribution", "calibration"])
@pytest.mark.parametrize(("z", "name"), [(-0.3, "no fault found"), (0.3, "healthy")])
def test_an_adapter_is_not_healthy_if_an_estimate_is_outside_its_limit(category, z, name):
    unsure = structs.replace(result(category, verdict="warn"), name="unsure", score=0.0, z=z)
    found = diagnose([MOVED, LEARNED, KEPT, unsure], [], "pass")
    assert found.name == name
    is_named = found.sentence.endswith("Inconclusive, with an estimate outside its limit: unsure.")
    assert is_named == (name == "no fault found")


def unsure(category: str, *suspected: str) -> ProbeResult:
    found = result(category, verdict="warn")
    return structs.replace(found, z=-0.3, suspected=ranked(suspected))  # type: ignore[arg-type]


SUSPECTED = {
    "one": ([unsure("calibration", "forgot")], "forgot"),
    "by precedence": ([unsure("calibration", "forgot"), unsure("attribution", OTHER)], OTHER),
    "a probe of the data that passes": (
        [LEARNED, unsure("calibration", "recites"), KEPT], "recites"),
    "none": ([result("calibration", verdict="warn")], ""),
    "waived": ([structs.replace(unsure("calibration", "forgot"), verdict=Verdict.WAIVED)], ""),
}  # fmt: skip


@pytest.mark.parametrize(("results", "name"), SUSPECTED.values(), ids=SUSPECTED)
def test_an_undecided_diagnosis_states_what_the_estimates_suggest(results, name):
    found = diagnose([MOVED, *results], [], "error")
    assert (found.name, found.suspected) == ("undecided", name)
    assert found.sentence.endswith(
        f"If these estimates are right, the diagnosis is: {name}."
    ) == bool(name)
    assert diagnose([MOVED, *results], [], "pass").suspected == ""
    decided = diagnose([*results, result("adherence", "never trained")], [], "fail")
    assert (decided.name, decided.suspected) == ("never trained", "")


@pytest.mark.parametrize(
    ("finding", "name"),
    [
        ("never-trained", "never trained"),
        ("alpha-zero", "never trained"),
        ("non-finite", "diverged or broken"),
    ],
)
def test_the_files_decide_without_a_measurement(finding, name):
    assert diagnosed(finding=finding) == name


SYMPTOMS = st.lists(st.sampled_from(list(TABLE)), max_size=3)
RESULTS = st.lists(
    st.tuples(st.sampled_from(list(KINDS)), SYMPTOMS).map(lambda x: result(x[0], *x[1])), max_size=6
)


@given(RESULTS)
def test_no_two_pieces_of_advice_contradict_each_other(results):
    found = diagnose(results, [], "fail")
    shown = consistent(results, found)
    entries = {entry.advice: entry for entry in (*TABLE.values(), BELOW)}
    given_advice = {found.advice, *(r.advice for r in shown)} - {""}
    directions = {entries[text].direction for text in given_advice} - {"neither"}
    assert len(directions) <= 1
    # Advice is left out, never changed.
    assert all(new.advice in ("", old.advice) for new, old in zip(shown, results, strict=True))


@given(RESULTS)
def test_a_diagnosis_is_a_symptom_of_a_probe(results):
    symptoms = {TABLE[symptom].name for r in results for symptom in r.symptoms}
    name = diagnosed(*results)
    assert name in symptoms or (not symptoms and name == "below the threshold")


@pytest.mark.parametrize("symptom", ["broken", "template mismatch"])
def test_what_fails_every_probe_leaves_only_its_own_advice(symptom):
    results = [
        result("calibration", symptom),
        result("attribution", "learned another thing"),
        result("calibration", "forgot"),
    ]
    found = diagnose(results, [], "fail")
    assert [bool(shown.advice) for shown in consistent(results, found)] == [True, False, False]


def test_more_training_is_no_advice_for_an_adapter_of_other_data():
    results = [
        result("attribution", "barely trained"),
        result("calibration", "learned another thing"),
    ]
    found = diagnose(results, [], "fail")
    assert found.name == "learned another thing"
    assert [bool(shown.advice) for shown in consistent(results, found)] == [False, True]


def test_a_learning_rate_is_no_advice_for_an_adapter_of_other_data():
    results = [result("attribution", OTHER), result("ablation", "irregular")]
    shown = consistent(results, diagnose(results, [], "fail"))
    assert [bool(one.advice) for one in shown] == [True, False]


def test_advice_of_inconclusive_probes_stays():
    warned = result("calibration", verdict="warn")
    assert consistent([warned], diagnose([warned], [], "fail")) == (warned,)


def test_the_page_has_a_section_for_each_diagnosis():
    entries = [*TABLE.values(), HEALTHY, NO_FAULT, BELOW, EXPIRED, UNDECIDED]
    page = (ROOT / "docs" / "diagnoses.md").read_text(encoding="utf-8")
    sections = {
        part.partition("\n")[0].lower(): " ".join(part.split()) for part in page.split("\n## ")[1:]
    }
    assert list(sections) == [entry.name for entry in entries]
    for entry in entries:
        assert entry.sentence in sections[entry.name]
        for part in ("**What was seen.**", "**What to do.**", "**How to check.**"):
            assert part in sections[entry.name]
