"""The words and numbers that all reports share."""

import re

import pytest

from sway_gate.project import DOCS
from sway_gate.reports import links, markdown, terminal
from sway_gate.reports.html import page as html_page
from sway_gate.reports.wording import evidence, percent, sentence, verdict_word
from sway_gate.spec.probes import KINDS
from tests.helpers import ROOT
from tests.helpers.results import drift, probe, result, rule, skipped

SHARE = {"limit": 0.15, "is_upper": True}
EVIDENCE = {
    "effect": (probe(rules=(rule("z", "pass", value=5.12, limit=3),)), "+5.1σ"),
    "too small a z": (
        probe(verdict="fail", rules=(rule("z", "fail", value=1.04, limit=3),)),
        "+1.0σ < 3σ",
    ),
    "a limit of an effect": (
        probe(
            raw=2e-8,
            verdict="fail",
            rules=(rule("mean", "fail", value=2e-8, limit=1e-3), *probe().rules),
        ),
        "2e-08 < limit 0.001",
    ),
    "a limit of an effect without a significance": (
        probe(
            raw=0.9,
            category="attribution",
            rules=(rule("recall", "pass", value=0.9, bound=0.858, limit=0.7),),
        ),
        "≥ 0.858, limit 0.7",
    ),
    "a shape of an older version": (
        probe(verdict="fail", rules=(rule("shape", "fail"),)),
        "fixed rule",
    ),
    "a shape": (
        probe(verdict="fail", rules=(rule("shape", "fail", text="the curve jumps"),)),
        "the curve jumps",
    ),
    "nothing": (skipped(), "–"),
    "passing share": (
        drift(
            raw=0.02, verdict="pass", rules=(rule("x", "pass", value=0.02, bound=0.0713, **SHARE),)
        ),
        "≤ 0.0713, margin 0.15",
    ),
    "failing share": (
        drift(
            raw=0.31, verdict="fail", rules=(rule("x", "fail", value=0.31, bound=0.35, **SHARE),)
        ),
        "0.31 > margin 0.15",
    ),
    "passing change": (
        drift(
            raw=0.0, verdict="pass", rules=(rule("x", "pass", value=0.0, bound=-0.006, limit=-0.1),)
        ),
        "≥ -0.006, margin -0.1",
    ),
    "failing change": (
        drift(
            raw=-0.4, verdict="fail", rules=(rule("x", "fail", value=-0.4, bound=-0.5, limit=-0.1),)
        ),
        "-0.4 < margin -0.1",
    ),
    "another quantity than the value": (
        drift(raw=0.32, rules=(rule("mean gain", "fail", value=-1.24, limit=0.3),)),
        "mean gain: -1.24 < margin 0.3",
    ),
    "close": (
        drift(raw=0.1, rules=(rule("x", "warn", value=0.1, bound=0.150001, **SHARE),)),
        "≤ 0.150001, margin 0.15",
    ),
    "an item that gives no bound": (
        drift(raw=0.1, rules=(rule("x", "warn", value=0.1, **SHARE),)),
        "no bound, margin 0.15",
    ),
    "an older report": (drift(verdict="pass", z=2.9, rules=()), "≥ 0.17, margin 0.15"),
    "a failed effect in an older report": (probe(verdict="fail", rules=()), "–"),
}


@pytest.mark.parametrize(("found", "text"), EVIDENCE.values(), ids=EVIDENCE)
def test_the_evidence_argues_for_the_verdict(found, text):
    assert evidence(found) == text


def checked(category, verdict="pass", spec="sway check"):
    return result(probe(category=category), verdict=verdict, spec=spec)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (checked("adherence"), "MOVED"),
        (checked("attribution"), "PASS"),
        (checked("adherence", "fail"), "FAIL"),
        (checked("adherence", spec="sway.yaml"), "PASS"),
    ],
)
def test_a_check_without_data_is_never_called_a_pass(found, word):
    assert verdict_word(found) == word
    assert f"sway-gate: {word}\n" in markdown.render(found)
    assert f'<span class="word">{word}</span>' in html_page.render(found)
    assert terminal.render(found, color=False).startswith(word)


def test_pages_of_the_documentation_exist():
    from sway_gate.judge.diagnosis import TABLE

    pages = [links.diagnosis_page(entry.name) for entry in TABLE.values()]
    pages += [links.probe_page(kind) for kind in KINDS if links.topic(kind)]
    for page in [*pages, links.FINDINGS, links.probe_page("no such kind")]:
        name, _, anchor = page.removeprefix(f"{DOCS}/").partition("#")
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in slugs, page


def test_an_unknown_diagnosis_has_no_page():
    assert links.diagnosis_page("x](evil)") == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("train less", "Train less"),
        ("memorised, not generalised", "Memorised, not generalised"),
        ("held-out recall", "Held-out recall"),
        ("lora_B is zero", "lora_B is zero"),
    ],
)
def test_a_sentence_begins_with_a_capital_unless_with_a_name(text, shown):
    assert sentence(text) == shown


def test_weights_have_a_decimal_unless_they_are_whole():
    assert [percent(share) for share in (1 / 15, 0.3, 0.0667, 1, None)] == [
        *("6.7%", "30%", "6.7%", "100%", "–"),
    ]
