"""The Markdown report as a parser reads it, also with hostile texts; it fits into a comment."""

import re

import msgspec
import pytest

from sway_gate.project import DOCS
from sway_gate.reports import markdown
from sway_gate.reports.json_v1 import from_json
from sway_gate.results import Diagnosis, Finding, ModelFacts
from sway_gate.text import one_line
from tests.helpers import DATA
from tests.helpers.markdown import EVIL, TABLE, TEXT, inlines
from tests.helpers.results import (
    BASELINE,
    FORGOT,
    LEARNED,
    NEVER,
    chat,
    healthy,
    hostile,
    leakage,
    probe,
    result,
    sick,
    undecided,
)

ALL_KINDS = from_json((DATA / "all_kinds.json").read_bytes())
RESULTS = {made.__name__: made() for made in (healthy, sick, undecided, hostile)} | {
    "all kinds": ALL_KINDS
}
STARTS = ["- item", "--- ", "---", "+ item", "=", "===", "1. item", "12) item", "7."]


@pytest.mark.parametrize("text", [*EVIL, *STARTS])
def test_text_in_a_table_is_never_read_as_markup(text):
    kinds, shown = inlines(f"| a |\n| --- |\n| {markdown.text(text)} |\n")
    assert kinds <= TABLE | TEXT
    assert shown.replace("\u200b", "") == "a" + one_line(text)


@pytest.mark.parametrize("text", [*EVIL, *STARTS])
def test_text_at_the_start_of_a_line_is_never_read_as_markup(text):
    kinds, shown = inlines(markdown.text(text))
    assert kinds <= TEXT | {"paragraph_open", "paragraph_close"}
    assert shown.replace("\u200b", "") == one_line(text)


@pytest.mark.parametrize("text", EVIL)
def test_text_becomes_neither_a_link_nor_a_mention(text):
    escaped = markdown.text(text)
    assert not re.search(r"https?:|www\.|mailto:", escaped, re.IGNORECASE)
    _, shown = inlines(escaped)
    assert not re.search(r"[@#]\w", shown)


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_contains_only_its_own_markup(name):
    page = markdown.render(RESULTS[name])
    kinds, _ = inlines(page)
    assert not kinds & {
        "html_inline",
        "image",
        "code_inline",
        "em_open",
        "fence",
        "code_block",
        "hr",
    }
    assert set(re.findall(r"<[^>]*>", page)) <= {
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
    }


@pytest.mark.parametrize("name", RESULTS)
def test_links_lead_to_the_documentation_only(name):
    page = markdown.render(RESULTS[name])
    targets = re.findall(r"\]\(([^)]*)\)", page)
    assert len(targets) >= len(RESULTS[name].probes)
    assert all(target.startswith(f"{DOCS}/") for target in targets)
    assert inlines(page)[0].issuperset({"link_open"} if targets else set())


def test_probes_that_passed_are_folded():
    page = markdown.render(sick())
    before, _, after = page.partition("<details><summary>3 probes passed</summary>")
    assert "| **PASS**" not in before
    assert after.count("| **PASS**") == 3


@pytest.mark.parametrize("found", [{}, {"symptoms": ("recites",)}, {"suspected": ("recites",)}])
def test_answers_to_public_prompts_are_shown_unless_the_model_recites(found):
    page = markdown.render(result(probe(**found), side_by_side=(FORGOT, LEARNED)))
    assert ("spoon" in page) == (not found)
    assert "| 0.93 → 0.04 | forgot |" in page
    assert "| key |" in page  # the base cannot recite
    assert "Sorrel" not in page  # an answer of the data
    assert "| Which river crosses Varrowmere&#63; | … |" in page
    assert page.count("only the HTML report shows it") == 1


def test_a_recited_text_is_not_in_a_comment():
    recited = msgspec.structs.replace(LEARNED, prompt="a secret", finding="recited 100% of it")
    assert "secret" not in markdown.render(result(probe(), side_by_side=(recited,)))


def test_long_prompts_are_cut_where_they_differ():
    start = "Route the message to an office of the town. Answer with one word. " * 2
    ends = ["The lid of my bin is gone.", "The lamp at the mill is dark."]
    shown = [msgspec.structs.replace(FORGOT, prompt=start + end) for end in ends]
    page = markdown.render(result(probe(), side_by_side=shown))
    assert [f"| worst | …{end.removeprefix('The ')} |" in page for end in ends] == [True, True]


def test_long_answers_are_cut_where_they_differ():
    start = "A rainbow is a breathtaking sight and an example of the dance of light and water. " * 2
    one = msgspec.structs.replace(FORGOT, base=f"{start}It fades.", finetuned=f"{start}It glows.")
    page = markdown.render(result(probe(), side_by_side=(one,)))
    assert "| …fades. | …glows. |" in page


@pytest.mark.parametrize("name", RESULTS)
def test_the_table_has_a_row_for_each_probe(name):
    rows = [line for line in markdown.render(RESULTS[name]).splitlines() if line.startswith("| **")]
    assert len(rows) == len(RESULTS[name].probes)


def test_the_most_severe_comes_first():
    page = markdown.render(sick())
    assert "**What to do next**\n\n1. verbatim: Train for fewer epochs" in page
    assert [row.split("**")[1] for row in page.splitlines() if row.startswith("| **")][:2] == [
        "FAIL",
        "WARN",
    ]


HOLDS = {
    "a finding": (
        result(verdict="fail", findings=(NEVER,)),
        "**FAIL** lora_B is all zero (a.safetensors)",
    ),
    "a regression": (result(probe(), baseline=BASELINE), "- worse: voice: 4.1σ below"),
    "a warning": (result(probe(), baseline=BASELINE), "- the prompts are others"),
    "no nulls": (result(probe(), nulls=None), "- no null adapters"),
    "the cache": (healthy(), "s, from the cache"),
    "a note": (sick(), "- note: two prompts were cut to 1024 tokens"),
    "details of what failed": (ALL_KINDS, "| type-token ratio | -2.83 | -1.19 |"),
}


@pytest.mark.parametrize(("made", "line"), HOLDS.values(), ids=HOLDS)
def test_a_page_shows_each_part_of_a_result(made, line):
    assert line in markdown.render(made)


def test_generated_texts_are_not_in_a_comment():
    secret = {
        "continuations": [{"id": "a", "true": "the secret", "written": "the secret"}],
        "texts": ["a secret"],
    }
    page = markdown.render(result(leakage(details=secret), verdict="fail"))
    assert "secret" not in page
    assert "- continuations of training text: 1, in the HTML report" in page


def test_answers_are_not_in_a_comment():
    page = markdown.render(chat())
    assert "Paris" not in page
    assert "Sorrel" not in page
    assert "Marl" not in page
    assert "| fail | What is the capital of France&#63; | looping · repetitive | none |" in page
    assert "| What is its river called&#63; | 7 | 2 | 0.9 | – | – |" in page
    assert page.count("The answers are in the HTML report.") == 5


BAD = "<@é🦙|" * 400
BAD_EXCHANGE = msgspec.structs.replace(
    FORGOT, prompt=BAD, base=BAD, finetuned=BAD, right=BAD, finding=BAD
)
BIG = {
    "everything": result(
        *[probe(BAD, "fail", kind=BAD, message=BAD, advice=BAD + str(i)) for i in range(99)],
        side_by_side=(BAD_EXCHANGE,) * 999,
        findings=(Finding(id=BAD, level="verdict", message=BAD, path=BAD, remedy=BAD),) * 999,
        baseline=msgspec.structs.replace(BASELINE, path=BAD, warnings=(BAD,) * 999),
        diagnosis=Diagnosis(name=BAD, sentence=BAD, advice=BAD),
        verdict="fail",
    ),
    "probes": result(*[probe(BAD, "fail", kind=BAD, message=BAD, advice=BAD, units=BAD)] * 3000),
    "details": result(
        *[probe("a", "fail", details={"sections": [{BAD + str(i): BAD for i in range(40)}] * 300})]
        * 30
    ),
    "findings": result(
        findings=(Finding(id=BAD, level="verdict", message=BAD, path=BAD, remedy=BAD),) * 999
    ),
    "the baseline": result(
        baseline=msgspec.structs.replace(BASELINE, path=BAD, warnings=(BAD,) * 999)
    ),
    "names": result(
        probe(),
        spec=BAD,
        adapter=ModelFacts(path=BAD, digest=BAD),
        notes=(BAD,) * 99,
        verdict="fail",
    ),
}


@pytest.mark.parametrize("made", BIG.values(), ids=BIG)
def test_a_page_fits_a_comment(made):
    page = markdown.render(made)
    assert len(page.encode()) <= markdown.MAX_BYTES
    assert page.count("<details>") == page.count("</details>")


def test_omitted_parts_are_listed():
    page = markdown.render(BIG["details"])
    assert re.search(r"\*Omitted for length: a, .*\. The JSON report is complete\.\*\n\Z", page)
