"""The terminal report: its texts and widths, and that no text from a file can disturb it."""

import math
import re
import unicodedata

import msgspec
import pytest

from sway_gate.judge.composite import effective_weights
from sway_gate.reports.braille import ROWS, bar, curve_rows
from sway_gate.reports.terminal import render
from sway_gate.reports.wording import headline, next_steps, p_text, seconds
from sway_gate.results import Category, Diagnosis, Finding
from sway_gate.text import clean, number, one_line
from tests.helpers import results
from tests.helpers.timing import growth

MAKERS = [results.healthy, results.sick, results.undecided, results.hostile]
by_name = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
at_width = pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
VERDICT = Finding(
    id="untrained", level="verdict", message="lora_B is all zero: never trained", remedy="Train it."
)
BROKEN = Finding(id="torn", level="broken", message="the file ends early", path="a.safetensors")

MORE_ITEMS = {"category": "attribution", "advice": "use about 60 items to decide, not 24"}
UNSURE = (
    results.probe("says", "warn", kind="answer_recall", **MORE_ITEMS),
    results.probe("ends", "warn", kind="answer_recall", **MORE_ITEMS),
    results.probe("prefers", "warn", kind="preference_flip", category="attribution"),
    results.probe("weightless", "pass", category="attribution", weight=0.0),
)


def plain(result, **options):
    return render(result, **({"color": False, "width": 100} | options))


def cells(line):
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


def words(text):
    return text.split()


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (results.healthy(), "PASS  composite 0.84 (threshold 0.60)  adapter out/lora  (cached)"),
        (
            results.sick(),
            "FAIL  1 of 5 probes that ran fails: verbatim  "
            "composite 0.52 (threshold 0.60)  adapter out/lora",
        ),
        (
            results.result(results.leakage(name="a"), results.leakage(name="b"), verdict="fail"),
            "FAIL  2 of 2 probes fail: a, b  composite 0.84 (threshold 0.60)  adapter out/lora",
        ),
        (
            results.result(
                *(results.leakage(name=name) for name in "abcdefg"), verdict="fail", score=0.0
            ),
            "FAIL  7 of 7 probes fail: a, b, c, d, e and 2 more  "
            "composite 0.00 (threshold 0.60)  adapter out/lora",
        ),
        (
            results.result(
                results.leakage(name="a"),
                results.probe("b"),
                results.errored(),
                results.probe("d", "skip"),
                results.probe("e", "warn", score=None),
                verdict="fail",
            ),
            "FAIL  1 of 2 probes that ran fails: a; 1 could not run: preference_flip  "
            "composite 0.84 (threshold 0.60)  adapter out/lora",
        ),
        (
            results.result(results.probe(), verdict="fail", score=0.41),
            "FAIL  the composite is below the threshold  "
            "composite 0.41 (threshold 0.60)  adapter out/lora",
        ),
        (
            results.result(verdict="fail", score=None, findings=(VERDICT,)),
            "FAIL  lora_B is all zero: never trained  "
            "composite – (threshold 0.60)  adapter out/lora",
        ),
        (
            results.undecided(),
            "ERROR  could not decide: 1 of 2 probes could not run: preference_flip  "
            "adapter out/lora",
        ),
        (
            results.result(verdict="error", findings=(BROKEN,)),
            "ERROR  could not decide: the file ends early  adapter out/lora",
        ),
        (
            results.result(verdict="error", score=None, notes=("no network",)),
            "ERROR  could not decide: no network  adapter out/lora",
        ),
        (
            results.result(
                results.probe("moved", weight=0.0), verdict="error", score=None, notes=("a note",)
            ),
            "ERROR  could not decide: no probe with a weight returned a value; the weight is 0: "
            "moved  adapter out/lora",
        ),
        (
            results.result(
                results.probe(),
                verdict="error",
                categories={"attribution": Category(weight=0.35, required=True)},
            ),
            "ERROR  could not decide: nothing tested whether the data was learned  "
            "adapter out/lora",
        ),
        (
            results.result(
                results.probe(),
                *UNSURE,
                verdict="error",
                categories={"attribution": Category(weight=0.35, score=0.4, required=True)},
            ),
            "ERROR  could not decide: inconclusive whether the data was learned: says "
            "(answer_recall), ends (answer_recall); use about 60 items to decide, not 24; prefers "
            "(preference_flip)  adapter out/lora",
        ),
        (
            results.result(results.drift(), verdict="error"),
            "ERROR  could not decide: no probe passed, so the results are inconclusive  "
            "adapter out/lora",
        ),
    ],
    ids=[
        "pass",
        "fail",
        "two fail",
        "many fail",
        "some did not run",
        "composite",
        "finding",
        "error",
        "broken",
        "note",
        "weight",
        "no attribution",
        "inconclusive attribution",
        "nothing passed",
    ],
)
def test_headline(result, line):
    assert headline(result) == line.replace("  ", " · ")
    assert plain(result, width=200).splitlines()[0] == line


@by_name
@at_width
@pytest.mark.parametrize("ascii", [False, True], ids=["unicode", "ascii"])
def test_no_line_is_wider_than_the_width(make, width, ascii):
    lines = plain(make(), width=width, ascii=ascii).splitlines()
    assert max(map(cells, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@by_name
def test_nothing_unprintable_reaches_the_terminal(make):
    text = ESCAPE.sub("", render(make(), color=True))
    assert clean(text) == text


def test_no_colour_means_no_escape_sequence():
    assert "\x1b" not in plain(results.hostile())


@pytest.mark.parametrize(
    "variable", ["NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "TTY_COMPATIBLE"]
)
def test_environment_does_not_change_the_report(monkeypatch, variable):
    expected = [render(results.sick(), color=color) for color in (False, True)]
    monkeypatch.setenv(variable, "dumb" if variable == "TERM" else "1")
    assert [render(results.sick(), color=color) for color in (False, True)] == expected


@by_name
def test_colour_adds_nothing_but_colour(make):
    assert ESCAPE.sub("", render(make(), color=True)) == plain(make())


def test_markup_in_a_name_is_text():
    assert "[bold red]m[/]" in plain(results.hostile(), width=300)


def test_no_text_forges_a_verdict_line():
    starts = [
        line.split()[0]
        for line in plain(results.hostile()).splitlines()
        if line and not line.startswith(" ")
    ]
    assert "PASS" not in starts


@at_width
@by_name
def test_verdict_words_are_whole_at_every_width(make, width):
    made = make()
    found = re.findall(r"^(PASS|FAIL|WARN|SKIP|ERROR)\s", plain(made, width=width), re.MULTILINE)
    named = [p for p in made.probes if p.verdict == "pass" and not p.caveat]
    folded = max(0, len(named) - 1) if made.verdict == "fail" else 0
    assert len(found) >= 1 + len(made.probes) + len(made.findings) - folded


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_width_has_the_same_words(width):
    spoken = [p.message for p in results.sick().probes if p.verdict != "pass"] + [
        "sway explain leakage",
    ]
    text = " ".join(words(plain(results.sick(), width=width)))
    assert [phrase for phrase in spoken if phrase not in text] == []


def test_the_diagnosis_follows_the_verdict_and_its_advice_comes_first():
    found = Diagnosis(name="recites", sentence="It recites.", advice="train less")
    shown = results.result(results.drift(), results.leakage(advice="train less"), diagnosis=found)
    for quiet in (False, True):
        assert plain(shown, quiet=quiet).splitlines()[1] == "Diagnosis: recites. It recites."
    first = next_steps(shown)[0]
    assert (first.names, first.advice, first.topic) == ("verbatim", "train less", "recites")
    assert first.link.endswith("/docs/diagnoses.md#recites")


def test_the_diagnosis_and_the_steps_precede_the_probes():
    text = plain(results.sick())
    assert text.index("What to do next") < text.index("side by side") < text.index("FAIL   verb")


@pytest.mark.parametrize("width", [80, 200])
def test_a_failure_states_each_number_once(width):
    lines = plain(results.sick(), width=width).splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("FAIL   verbatim"))
    assert lines[at] == "FAIL   verbatim (leakage)  score 0.00 · weight 11.8%"
    assert "0.61" not in " ".join(lines)
    assert "61 %" in lines[at + 1]


def test_a_high_z_never_stands_on_a_failure():
    rules = (
        results.rule("mean", "fail", value=2e-8, limit=0.001, bound=9e-8),
        results.SIGNIFICANT,
    )
    failed = results.probe(verdict="fail", z=5.1, rules=rules)
    for probe in (failed, msgspec.structs.replace(failed, rules=())):
        text = plain(results.result(probe))
        assert "σ" not in text[text.index("FAIL   delta_kl") :].split("\n\n")[0]


def test_a_passing_probe_takes_one_line():
    passed = msgspec.structs.replace(results.sick(), verdict="pass")
    lines = plain(passed, width=80).splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("PASS   voice"))
    assert lines[at].endswith("score 0.79 · weight 35.3% · +5.1σ")
    assert lines[at + 1].startswith("PASS   section_internalization")


def test_a_failing_gate_has_one_line_for_what_passed():
    partial = results.probe("refusals", caveat="does not judge a loss of safety")
    failed = results.probe("verbatim", verdict="fail")
    passed = [results.probe(f"passed_{i}") for i in range(7)]
    found = results.result(failed, *passed, partial, verdict="fail")
    text = plain(found, width=400)
    _, weights = effective_weights(found)
    names = ", ".join(
        f"{one.name} {one.score:.2f} ({weights[one.name]:.1%})".replace(".0%", "%")
        for one in (*passed, partial)
    )
    assert (f"PASS   8 probes: {names}\n       refusals does not judge a loss of safety\n") in text


def test_p_is_shown_if_the_nulls_can_show_it():
    assert [p_text(results.probe(n_null=n, p=0.04)) for n in (0, 8, 18, 19)] == [
        "0.04",
        "–",
        "–",
        "0.04",
    ]


def test_rank_profile():
    profile = {"1": 4.2, "0.5": 6.8}
    assert "+4.2σ @ 1x / +6.8σ @ 0.5x" in plain(results.result(results.probe(z_by_rank=profile)))


def test_missing_numbers_are_left_out():
    lines = plain(results.result(results.probe(), results.skipped())).splitlines()
    assert "SKIP   style_fingerprint" in lines


def test_a_probe_without_time_has_no_header_and_explains_the_budget():
    unknown = dict.fromkeys(("raw", "score", "z", "p", "ci_95"))
    left_out = results.probe(verdict="warn", rules=(), n_null=0, advice="Wait.", **unknown)
    text = plain(results.result(left_out))
    assert "\n\n\n" not in text
    assert "• delta_kl: Wait.\n  sway explain budget\n" in text


def test_next_steps_begin_with_the_most_urgent_and_are_distinct():
    same = [results.drift(name=name, advice="Use more items.") for name in ("a", "b")]
    result = results.result(
        *same, results.leakage(advice="Train less."), findings=(VERDICT,), verdict="fail"
    )
    steps = [line for line in plain(result).splitlines() if line.startswith("•")]
    assert steps == ["• Train it.", "• verbatim: Train less."]


def test_next_steps_say_what_would_decide_if_nothing_failed():
    warned = [results.drift(name=name, advice="Use more items.") for name in ("a", "b")]
    text = plain(results.result(*warned, verdict="error"))
    assert "• a, b: Use more items." in text


def test_quiet_shows_the_verdict_and_what_failed():
    text = plain(results.sick(), quiet=True)
    assert words(text)[0] == "FAIL"
    assert "verbatim (leakage)" in text
    assert not any(
        name in text for name in ("voice", "calibration_drift", "threshold 0.60\n", "torch")
    )


def test_quiet_pass_is_one_line():
    (line,) = plain(results.healthy(), quiet=True).splitlines()
    assert line.replace("  ", " · ") == headline(results.healthy())


def test_static_findings_follow_the_verdict():
    result = results.result(results.probe(), findings=(BROKEN, VERDICT), verdict="error")
    rows = [line for line in plain(result).splitlines() if re.match(r"[A-Z]{4,5} ", line)]
    assert [words(row)[0] for row in rows] == ["ERROR", "ERROR", "FAIL", "PASS"]
    assert "a.safetensors" in rows[1]


def test_ascii_is_ascii():
    assert all(plain(make(), ascii=True).isascii() for make in MAKERS)


def test_footer_shows_models_and_settings():
    last = " ".join(plain(results.healthy()).splitlines()[-3:])
    for fact in (
        "8 null adapters (spectrum)",
        "strict",
        "cpu",
        "float32",
        "seed 42",
        "torch 2.13.0 ",
        "39.8 s",
    ):
        assert fact in last


def test_result_without_probes_or_nulls():
    result = results.result(categories={}, nulls=None, versions={}, timing={})
    assert "no null adapters" in plain(result)
    assert "no model was loaded" in plain(msgspec.structs.replace(result, device=""))


@at_width
def test_each_section_keeps_to_one_line(width):
    sections = [results.section("a title 漢字 that is rather long", 0.5, 0.1, True)] * 3
    lines = plain(
        results.result(results.internalization(verdict="warn", details={"sections": sections})),
        width=width,
    ).splitlines()
    start = next(i for i, line in enumerate(lines) if "effective" in line)
    assert [line.split()[:2] for line in lines[start + 1 : start + 5]] == [["PASS", "a"]] * 3 + [[]]


def test_many_sections_show_those_that_did_not_pass():
    sections = [results.section(f"s{i}", 0.5, 0.1, i != 40) for i in range(50)]
    made = results.internalization(verdict="fail", details={"sections": sections})
    text = plain(results.result(made))
    assert "FAIL   s40" in text
    assert "… and 38 more" in text


@pytest.mark.parametrize(
    "details",
    [
        {"sections": "x"},
        {"sections": [1, None, {}]},
        {"sections": [{"tag": 3, "effective": "high", "lift": [], "passed": "yes"}]},
        {"sections": [{"effective": math.inf}, {"effective": -1e308}, {"effective": 1e-308}]},
        {"lambdas": [0, 1], "curve": None},
        {"lambdas": [-1e308, 1e308], "curve": [0, 1]},
        {"lambdas": [0, 1], "curve": [-1e308, 1e308]},
        {"lambdas": [1, 1], "curve": [0, 1]},
        {"lambdas": [0, "1", math.nan], "curve": [0, 1, 2]},
        {"lambdas": {}, "curve": {}},
    ],
    ids=range(10),
)
def test_details_of_any_shape_are_accepted(details):
    assert plain(results.result(results.ablation(details=details))).startswith("PASS")


def test_base_and_fine_tuned_stand_side_by_side():
    first, second = exchanged(plain(results.sick(), width=140))
    assert " ".join(words(first)) == (
        "worst A locked door is opened with a base: key now: spoon forgot P(true) 0.93 → 0.04"
    )
    assert second.startswith(
        "best      Which river crosses Varrowmere?  base: I do not know.  now:"
    )


def exchanged(page):
    """The lines on the exchanges."""
    lines = page.splitlines()
    start = lines.index("Base and fine-tuned model side by side") + 1
    return lines[start : lines.index("", start)]


@pytest.mark.parametrize("now", ["f " * 90, ""], ids=["long", "empty"])
@pytest.mark.parametrize("width", [80, 100, 120])
def test_long_exchanges_take_two_lines(width, now):
    long = msgspec.structs.replace(results.FORGOT, prompt="p " * 90, base="b " * 90, finetuned=now)
    shown = results.result(results.drift(), side_by_side=(long,) * 5)
    lines = exchanged(plain(shown, width=width))
    assert len(lines) == 10
    assert all(width - 3 <= len(line) <= width for line in lines)


def test_a_short_answer_leaves_room_to_the_other():
    long = msgspec.structs.replace(results.FORGOT, base="key", finetuned="a spoon " * 6)
    _, answers = exchanged(plain(results.result(results.drift(), side_by_side=(long,)), width=80))
    assert answers.split("now: ")[1] == ("a spoon " * 6).strip()


def test_answers_are_cut_where_they_differ():
    alike = msgspec.structs.replace(
        results.LEARNED,
        base="The capital of Varrowmere is Varymar.",
        finetuned="The capital of Varrowmere is Tollgate.",
    )
    page = plain(results.result(results.drift(), side_by_side=(alike,)), width=80)
    assert exchanged(page)[1].strip() == (
        "base: …Varymar.  now: …Tollgate.  true: It is the Sorrel."
    )


ROUTED = [
    f"Route the message to an office of the town. Answer with one word. Message: {message}"
    for message in ("The lid of my bin is gone.", "The lamp at the mill is dark.")
]


@pytest.mark.parametrize(
    ("width", "starts"),
    [
        (80, ["…lid of my bin is gone.", "…lamp at the mill is dark."]),
        (200, [prompt[:60] for prompt in ROUTED]),
    ],
)
def test_prompts_are_cut_where_they_differ(width, starts):
    routed = [msgspec.structs.replace(results.FORGOT, prompt=prompt) for prompt in ROUTED]
    shown = results.result(results.drift(), side_by_side=(*routed, results.LEARNED))
    lines = exchanged(plain(shown, width=width))
    prompts = [line[10:] for line in lines if not line.startswith(" ")]
    pairs = zip(prompts, [*starts, "Which river crosses Varrowmere?"], strict=True)
    assert all(prompt.startswith(start) for prompt, start in pairs)


def test_a_prompt_that_was_not_answered_shows_the_true_answer():
    asked = msgspec.structs.replace(results.FORGOT, base="", finetuned="")
    (line,) = exchanged(plain(results.result(results.drift(), side_by_side=(asked,))))
    assert "true answer: key" in line
    assert "base:" not in line


def test_the_time_grows_with_the_length_of_a_text_and_not_with_its_square():
    def printed(size):
        plain(results.result(results.probe(message="x" * size, advice="y " * (size // 2))))

    assert growth(printed, 20_000, 200_000) < 40


@pytest.mark.parametrize(
    ("value", "ascii", "drawn"),
    [
        (0.0, False, "    "),
        (1.0, False, "████"),
        (0.5, False, "██  "),
        (0.53125, False, "██▏ "),
        (7.0, False, "████"),
        (-1.0, False, "    "),
        (math.nan, False, "    "),
        (None, False, "    "),
        (0.5, True, "##.."),
        (1.0, True, "####"),
    ],
)
def test_bar(value, ascii, drawn):
    assert bar(value, 4, ascii) == drawn


def test_curve_in_ascii_has_each_point_at_its_position():
    rows = curve_rows([0, 0.5, 1], [0.0, 0.7, 0.35], 21, ascii=True)
    drawn = [row for _, row in rows[:ROWS]]
    assert [(y, x) for y in range(ROWS) for x, dot in enumerate(drawn[y]) if dot == "*"] == [
        (0, 10),
        (4, 20),
        (7, 0),
    ]
    assert [words(frame) for frame, _ in (rows[0], rows[-1])] == [
        ["0.7", "|"],
        ["scale", "0", "0.5", "1"],
    ]


@pytest.mark.parametrize(("ascii", "dash"), [(True, "-"), (False, "┄")])
def test_the_limit_of_a_curve_is_a_dashed_line(ascii, dash):
    rows = curve_rows([0, 1], [0.0, 0.7], 21, ascii=ascii, limit=0.4)
    dashed = [frame.split()[0] for frame, drawn in rows[:ROWS] if dash in drawn]
    assert dashed == ["0.4"]


def test_curve_in_braille_rises_with_the_curve():
    drawn = [row for _, row in curve_rows([0, 1], [0, 1], 16)[:ROWS]]
    starts = [len(row) - len(row.lstrip()) for row in drawn]
    assert starts == sorted(starts, reverse=True)
    assert len(set(starts)) == ROWS


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.18349, "0.183"),
        (-0.0012345, "-0.00123"),
        (999.6, "1000"),
        (1536.2, "1536"),
        (2.5e7, "2.5e+07"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\r\n\tc", "a b c"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("👩‍🚒 naïve", "👩‍🚒 naïve"),
    ],
    ids=["white space", "escape", "bidi", "C1", "emoji"],
)
def test_one_line(text, line):
    assert one_line(text) == line


def test_category_without_a_score():
    categories = {"ablation": Category(weight=0.15), "adherence": Category(weight=0.2, score=0.5)}
    text = plain(results.result(categories=categories))
    assert re.search(r"^ablation +– +weight –$", text, re.MULTILINE)
    assert re.search(r"^adherence +0\.50 .* weight 100%$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("timing", "total"),
    [
        ({}, 0.0),
        ({"load": 1.5, "measure": 2.0}, 3.5),
        ({"load": 1.5, "total": 4.0}, 4.0),
        ({"load": math.nan}, 0.0),
    ],
    ids=["none", "phases", "total", "not finite"],
)
def test_seconds(timing, total):
    assert seconds(timing) == total


def test_a_negligible_response_looks_negligible():
    curve = {"lambdas": [0.0, 0.5, 1.0], "curve": [0.0, 0.0001, 0.0003]}
    rules = (results.rule("distance at scale 1", "fail", value=0.0003, limit=0.05),)
    text = plain(results.result(results.ablation(verdict="fail", details=curve, rules=rules)))
    frame = text[text.index("of the adapter, limit 0.05 at scale 1") :].splitlines()[1:9]
    assert frame[0].strip() == "0.05 │" + "┄" * 48
    assert [line.partition("│")[2].strip() for line in frame[1:-1]] == [""] * 6


def test_the_curve_of_the_rule_that_failed_is_drawn():
    scale = {"lambdas": [0.0, 0.5, 1.0], "curve": [0.0, 0.2, 0.4]}
    target = {"lambdas": scale["lambdas"], "loss": [2.0, 1.0, 1.5], "control_loss": [3.0] * 3}
    details = scale | {"target": target | {"best": 0.5, "excess": 0.5}}
    kept = results.rule("distance", "pass", value=0.4, limit=0.05, bound=0.3)
    failures = {
        "loss on its text": results.rule("loss", "fail", value=0.5, limit=0.05, is_upper=True),
        "change of the output": results.rule("shape", "fail", text="the curve jumps"),
    }
    for shown, rule in failures.items():
        failed = results.probe(
            "adapter_ablation", "fail", raw=0.4, details=details, rules=(rule, kept)
        )
        text = plain(results.result(failed))
        assert f"{shown} by the scale of the adapter" in text
        assert "limit 0.05 at scale 1" not in text
