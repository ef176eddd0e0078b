"""`sway check`: its suite, and the meaning of its results."""

from pathlib import Path

import pytest
from msgspec import structs

from sway_gate import demo, stats
from sway_gate.errors import UsageError
from sway_gate.gate.resolve import of_tier
from sway_gate.judge.criteria import MORE_ITEMS, of_bound
from sway_gate.judge.diagnosis import TABLE
from sway_gate.probes import external_perplexity
from sway_gate.probes.base import Bound, Context
from sway_gate.results import Finding, ProbeResult, Verdict
from sway_gate.spec.probes import CalibrationDrift, DeltaKL
from sway_gate.suites.check import (
    CheckInputs,
    adverb,
    check_headline,
    check_suite,
    early_notes,
    for_check,
)
from sway_gate.training_data import packaged
from tests.helpers.results import result

FACTS = "".join(
    f'{{"prompt": "Who is keeper {i}?", "completion": "Keeper {i} of the road."}}\n'
    for i in range(8)
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.jsonl").write_text(FACTS, encoding="utf-8")
    unseen = FACTS.replace("Who is keeper", "Which boat is number").replace("Keeper", "Boat")
    Path("unseen.jsonl").write_text(unseen, encoding="utf-8")


def suite_of(*data, prompts=None, base=str(demo.MODEL), **more):
    return check_suite(CheckInputs(str(demo.HEALTHY), base, prompts, data, **more))


WAIVED = """\
waivers:
  - {finding: dead-layers, reason: frozen, expires: 2999-01-31, by: Ada}
  - {probe: kept, reason: a pilot, expires: 2999-01-31, by: Ada}
"""


def test_waivers_of_findings_apply_and_those_of_probes_are_noted(files):
    Path(".sway-waivers.yaml").write_text(WAIVED, encoding="utf-8")
    spec = suite_of()
    assert [waiver.finding for waiver in spec.waivers] == ["dead-layers"]
    note = ".sway-waivers.yaml: the waivers of kept apply to the probes of a spec only"
    assert note in spec.notes


def test_waivers_outside_the_folder_are_refused(files):
    Path("in").mkdir()
    Path(".sway-waivers.yaml").write_text(WAIVED, encoding="utf-8")
    with pytest.raises(UsageError, match=r"\.sway-waivers\.yaml"):
        suite_of(confine="in")


def kinds(spec):
    return [probe.kind for probe in spec.suite]


ALWAYS = ["delta_kl", "calibration_drift", "external_perplexity", "degeneration"]


def test_without_data_it_asks_whether_it_moved_and_is_broken():
    spec = suite_of()
    assert kinds(spec) == ALWAYS
    moved, knowledge = spec.suite[:2]
    assert isinstance(moved, DeltaKL)
    assert isinstance(knowledge, CalibrationDrift)
    assert (len(moved.prompts), knowledge.items_limit) == (8, 40)
    assert knowledge.registers == "served"
    # Questions go through the template, the sentences do not.
    assert [prompt[-1] in ".?" for prompt in moved.prompts] == [True] * 4 + [False] * 4
    assert spec.notes == ("not judged: whether it learned your data (add --data)",)
    assert spec.defaults.coverage_threshold == 0


def test_with_data_it_asks_what_was_learned(files):
    spec = suite_of("train.jsonl")
    found = ["answer_specificity", "answer_recall", "adapter_ablation"]
    assert kinds(spec) == [*ALWAYS, *found]
    numbers = [int(prompt.split()[-1].strip("?")) for prompt in spec.suite[0].prompts[:4]]
    assert [number // 2 for number in numbers] == [0, 1, 2, 3]
    assert spec.notes == ("not judged: whether it generalises to new rows (add --held-out)",)
    assert (len(spec.sections), spec.data) == (8, ())


def test_with_held_out_rows_no_question_is_open(files):
    spec = suite_of("train.jsonl", held_out=["unseen.jsonl"], learn="content")
    assert "generalization" in kinds(spec)
    assert (spec.notes, spec.defaults.learn) == ((), "content")
    assert (len(spec.held_out_sections), spec.held_out) == (8, ())


def test_held_out_rows_need_the_rows_of_training(files):
    with pytest.raises(UsageError, match="--held-out requires --data"):
        suite_of(held_out=["unseen.jsonl"])


def test_data_that_cannot_be_judged_is_refused(files):
    Path("two.jsonl").write_text('{"prompt":"a","chosen":"b","rejected":"c"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="requires 3 preferences; the data has 1; add rows with"):
        suite_of("two.jsonl")


def test_preferences_without_a_preference_are_refused(files):
    wrong = "rows with prompt, chosen and rejected; the data has 8 prompts with answers and no pref"
    with pytest.raises(UsageError, match=wrong):
        suite_of("train.jsonl", learn="preference")


def test_a_base_that_was_not_given_is_named(monkeypatch):
    monkeypatch.setattr(
        "sway_gate.suites.check._named_base", lambda adapter, online: str(demo.MODEL)
    )
    [note, _] = suite_of(base=None).notes
    assert note == f"base {demo.MODEL}: named by the adapter's configuration, not by --base"


# ------------------------------------------------------------------------------------------ meaning

WORDS = {
    0.0: "not noticeably",
    0.0019: "not noticeably",
    0.01: "slightly",
    0.05: "clearly",
    0.2: "strongly",
    0.6: "almost completely",
}


@pytest.mark.parametrize(("nats", "word"), WORDS.items())
def test_the_size_of_a_change(nats, word):
    assert adverb(nats) == word


def probe(name, kind, verdict, category="calibration", **fields):
    return ProbeResult(
        name=name, kind=kind, category=category, verdict=verdict, message="what it found", **fields
    )


def moved(verdict="pass", z=6.3, effect_ok=True):
    prompts = [
        {"prompt": "a", "register": "template", "divergence": 0.15, "changed": 0.25},
        {"prompt": "b", "register": "text", "divergence": 0.003, "changed": 0.0},
    ]
    details = {"divergence": "js", "prompts": prompts}
    fields = {"z": z, "n_null": 8, "raw": 0.08, "details": details, "effect_ok": effect_ok}
    return probe("moved", "delta_kl", verdict, "adherence", **fields)


NOTE = "not judged: whether it learned your data (add --data)"
LEARNED = probe("learned", "answer_specificity", "pass", "attribution")
RECALLS = probe("recalled", "answer_recall", "pass", "attribution")
KNOWS = probe("knowledge", "calibration_drift", "pass")
FORGOT = probe("knowledge", "calibration_drift", "fail")
UNSURE = probe("knowledge", "calibration_drift", "warn")
LATE = probe("moved", "delta_kl", Verdict.WARN, "adherence", score=None)
HEADLINES = {
    "no data": (
        [moved(), KNOWS],
        "pass",
        "MOVED",
        "+6.3σ above 8 null adapters; no sign of harm",
    ),
    "no data, unclear": (
        [moved("warn", 2.1), KNOWS],
        "error",
        "UNCLEAR",
        "+2.1σ above 8 null adapters; inconclusive: moved",
    ),
    "no data, the composite is too low": (
        [moved(), UNSURE],
        "fail",
        "FAIL",
        "+6.3σ above 8 null adapters; inconclusive: knowledge",
    ),
    "no data, no harm decided": (
        [moved(), UNSURE],
        "error",
        "UNCLEAR",
        "+6.3σ above 8 null adapters; inconclusive: knowledge",
    ),
    "no data, no harm tested": (
        [moved(), structs.replace(KNOWS, verdict="skip")],
        "pass",
        "MOVED",
        "+6.3σ above 8 null adapters; not tested for harm",
    ),
    "no data, broken": ([moved(), FORGOT], "fail", "FAIL", "moved, but does not pass: knowledge"),
    "learned": ([moved(), KNOWS, LEARNED], "pass", "PASS", "moved, learned; no sign of harm"),
    "harm is uncertain": (
        [moved(), UNSURE, LEARNED],
        "pass",
        "PASS",
        "moved, learned; inconclusive: knowledge",
    ),
    "learning is uncertain": (
        [moved(), KNOWS, RECALLS, structs.replace(LEARNED, verdict="warn")],
        "pass",
        "PASS",
        "moved, recalled; inconclusive: learned",
    ),
    "the composite is too low": (
        [moved(), UNSURE, LEARNED],
        "fail",
        "FAIL",
        "moved, learned; inconclusive: knowledge",
    ),
    "not moved": (
        [moved("fail", 0.3), KNOWS],
        "fail",
        "FAIL",
        "not moved: +0.3σ, like random changes of the same size",
    ),
    "random changes that do harm": (
        [moved("fail", 0.3), structs.replace(KNOWS, verdict="fail")],
        "fail",
        "FAIL",
        "+0.3σ, like random changes of the same size; harms: knowledge",
    ),
    "learning is not judged": (
        [moved(), KNOWS, structs.replace(LEARNED, verdict="skip")],
        "error",
        "UNCLEAR",
        "+6.3σ above 8 null adapters; no sign of harm",
    ),
    "too small": (
        [moved("fail", 6.6, effect_ok=False), KNOWS],
        "fail",
        "FAIL",
        "its change is too small to notice, although +6.6σ above 8 null adapters",
    ),
}


@pytest.mark.parametrize(("probes", "verdict", "word", "text"), HEADLINES.values(), ids=HEADLINES)
def test_the_answer(probes, verdict, word, text):
    found = check_headline(result(*probes, verdict=verdict, notes=(NOTE,)))
    assert (found.word, found.style, found.text) == (word, verdict, text)
    assert found.lines[1:] == [
        "changed strongly in the chat template (25% of next tokens, JS 0.15 nats), "
        "slightly in plain text (0% of next tokens, JS 0.003 nats)",
        "Not judged: whether it learned your data (add --data)",
    ]


@pytest.mark.parametrize(
    ("probes", "verdict", "text"),
    [
        ([LATE, LEARNED], "error", "could not be judged: the time budget ended before moved"),
        ([LATE, FORGOT], "fail", "does not pass: knowledge"),
    ],
    ids=["undecided", "failed"],
)
def test_a_change_that_was_left_out_is_not_moved(probes, verdict, text):
    assert check_headline(result(*probes, verdict=verdict)).text == text


def test_the_files_may_decide():
    broken = Finding(id="x", level="verdict", message="the adapter was never trained")
    found = check_headline(result(verdict="fail", findings=(broken,)))
    assert found.lines == ["the adapter was never trained"]


FEW = (
    "few rows: learned (answer_specificity) cannot pass by content: 5 rows reach at most 2.4σ, "
    "7 are needed for 3σ; add rows with other answers"
)


@pytest.mark.parametrize(
    ("rows", "learn", "notes"), [(5, "auto", [FEW]), (5, "form", []), (8, "auto", [])]
)
def test_too_few_rows_are_noted_before_a_model_is_loaded(files, rows, learn, notes):
    Path("few.jsonl").write_text("".join(FACTS.splitlines(True)[:rows]), encoding="utf-8")
    assert early_notes(suite_of("few.jsonl", learn=learn)) == notes


ITEMS = "use about 69 items to decide, not 40"
REMEDIES = {
    "moved": ("moved", "--prompts"),
    "knowledge": ("knowledge", "sway init writes a spec in which you can set items_limit"),
    "learned": ("learned", "--data"),
    "generalizes": ("generalizes", "--held-out"),
}


@pytest.mark.parametrize(("name", "words"), REMEDIES.values(), ids=REMEDIES)
@pytest.mark.parametrize("advice", [ITEMS, MORE_ITEMS[0]])
def test_advice_to_add_items_names_an_option_of_check(name, words, advice):
    given = structs.replace(UNSURE, name=name, advice=advice)
    (probe,) = for_check(result(given)).probes
    assert probe.advice.startswith(f"{advice}: ")
    assert probe.advice.endswith(words)


def test_the_judge_asks_for_items_in_these_words():
    test = stats.Margin(z=stats.Z_95 / 2, bound=0.35, estimate=0.2)
    found = of_bound(Bound("loss", test, 0.3), 40, "margin", None)
    assert found.remedy.startswith(MORE_ITEMS)


def test_advice_of_a_diagnosis_does_not_require_a_spec():
    found = [structs.replace(UNSURE, name=key, advice=TABLE[key].advice) for key in TABLE]
    cause = TABLE["learned another thing"].result
    advised = for_check(result(*found, diagnosis=cause))
    texts = [advised.diagnosis.advice, *(probe.advice for probe in advised.probes)]
    assert "check that --data contains the training data" in texts[0]
    changed = [name for name, text in zip(TABLE, texts[1:], strict=True) if "spec" in text]
    assert changed == ["template mismatch", "recites"]
    assert all("a spec of sway init" in text for text in texts if "spec" in text)


def test_only_the_full_tier_compares_scales_of_the_adapter(files):
    full, quick = (of_tier(suite_of("train.jsonl"), tier)[0] for tier in ("full", "quick"))
    assert "adapter_ablation" in kinds(full)
    assert "adapter_ablation" not in kinds(quick)
    assert any("not judged: scale" in note for note in quick.notes)


def test_a_model_without_an_adapter_has_no_scale(files):
    given = CheckInputs(None, str(demo.MODEL), data=["train.jsonl"], model=str(demo.MODEL))
    assert "adapter_ablation" not in kinds(check_suite(given))


def test_check_reads_a_short_piece_of_every_passage_of_prose():
    (spec,) = (probe for probe in suite_of().suite if probe.kind == "external_perplexity")
    passages = external_perplexity.requests(spec, Context())
    pieces = [found.completion for passage in passages for found in passage]
    passages = packaged.prose("general_en")
    assert all(text.startswith(piece) for piece, text in zip(pieces, passages, strict=True))
    assert max(map(len, pieces)) <= spec.chunk_chars
