"""Reports of `sway rank`: their sentences, widths, hostile names, sizes and the JSON."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from sway_gate.compare.ranking import Candidate, Curve, Point, rank
from sway_gate.reports import ranking
from sway_gate.reports.html import ranking as html
from tests.compare.test_ranking import candidate, run
from tests.helpers import results
from tests.helpers.results import HOSTILE

WHOLE = rank(
    [*run(), candidate(70, 0.9, "fail", seed=6), Candidate("x", None, None, "", "broken", 2)]
)


def curve(best: list[int], failing: tuple[int, ...] = ()) -> Curve:
    points = tuple(
        Point(step=s, value=0.1, verdict="fail" if s in failing else "pass", is_best=s in best)
        for s in (10, 20, 30, 40)
    )
    return Curve(name="p", kind="k", role="held-out", units="share", points=points)


COURSES: dict[str, tuple[list[int], tuple[int, ...], str]] = {
    "flat": ([10, 20, 30, 40], (), "no significant difference between the steps"),
    "rises": ([30, 40], (), "no significant gain after step 30"),
    "still rises": ([40], (), "significantly better at the last step than before"),
    "falls": ([10, 20], (), "significantly worse after step 20"),
    "both": (
        [20, 30],
        (),
        "no significant gain after step 20; significantly worse after step 30",
    ),
    "a peak": ([20], (), "significantly better at step 20 than at the others"),
    "a dip": ([10, 40], (), "significantly worse at some steps between"),
    "fails": ([10], (30, 40), "significantly worse after step 10; fails at steps 30 to 40"),
    "fails once": ([10, 20, 30, 40], (20,), "no significant difference between the steps; "
                   "fails at step 20"),
}  # fmt: skip


@pytest.mark.parametrize(("best", "failing", "words"), COURSES.values(), ids=COURSES)
def test_the_course_says_where_to_stop(
    best: list[int], failing: tuple[int, ...], words: str
) -> None:
    assert ranking.course(curve(best, failing)) == words


def test_the_terminal_names_the_choice_the_ties_and_each_adapter() -> None:
    shown = ranking.render(WHOLE, color=False, width=120)
    assert shown.startswith("use checkpoint-30: the earliest of 3 that tie, of 8 adapters\n")
    assert "are not significantly worse\n" in shown
    assert "the others: 3 significantly worse, 1 failed, 1 ended in an error\n" in shown
    assert "not significantly worse; use this one\n" in shown
    assert "\nERROR  x  broken\n" in shown
    assert "held-out: generalization  significantly better at the last step than before; f" in shown
    assert "\n      step  10 " in shown


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("ascii", [False, True])
def test_lines_fit_the_width(width: int, ascii: bool) -> None:
    shown = ranking.render(WHOLE, color=False, width=width, ascii=ascii)
    assert max(map(len, shown.splitlines())) <= width
    assert not ascii or shown.isascii()


def test_quiet_is_the_choice_and_the_errors() -> None:
    first, *errors = ranking.render(WHOLE, color=False, quiet=True).splitlines()
    assert first.startswith("use checkpoint-30: ")
    assert errors == ["ERROR  x  broken"]


TITLES = {
    "one": (rank(run()[:2]), "use checkpoint-20: the best of 2 adapters"),
    "none": (rank([candidate(1, 0.5, "fail")] * 2), "none of 2 adapters passes"),
    "no measure": (
        rank([Candidate("a", None, results.result()), Candidate("x", None, None, "", "?", 2)]),
        "use a: the best of 2 adapters",
    ),
}


@pytest.mark.parametrize(("found", "title"), TITLES.values(), ids=TITLES)
def test_the_title(found: Any, title: str) -> None:
    assert ranking.title(found) == title


def test_all_reports_name_a_dropped_adapter_alike() -> None:
    worse = candidate(1, 0.2)._replace(is_dropped=True)
    found = rank([candidate(2, 0.9), worse])
    for shown in (
        ranking.render(found, color=False),
        ranking.markdown(found),
        html.render(found),
    ):
        assert "DROP" in shown
        assert "SKIP" not in shown


def hostile() -> Any:
    entries = [msgspec.structs.replace(e, label=HOSTILE, why=HOSTILE) for e in WHOLE.entries]
    curves = [msgspec.structs.replace(c, name=HOSTILE, units=HOSTILE) for c in WHOLE.curves]
    measure = msgspec.structs.replace(WHOLE.measure, name=HOSTILE, units=HOSTILE)
    fields = {"entries": tuple(entries), "curves": tuple(curves), "measure": measure}
    return msgspec.structs.replace(WHOLE, chosen=HOSTILE, **fields)


def test_hostile_names_are_escaped() -> None:
    found = hostile()
    terminal = ranking.render(found, color=False, width=200)
    assert not any(line.startswith("PASS  composite") for line in terminal.splitlines())
    assert "\x1b" not in terminal
    page, text = html.render(found), ranking.markdown(found)
    assert "<b>&" not in page.replace("&lt;b&gt;", "")
    assert "<b>" not in text
    assert "\n\nPASS" not in text
    for shown in (terminal, page, text, ranking.to_json(found).decode()):
        shown.encode()
        assert not {"\x00", "\u202e", "\ud800"} & set(shown)


def test_markdown_has_a_row_for_each_adapter_and_a_limit() -> None:
    shown = ranking.markdown(WHOLE)
    assert shown.count("\n| **PASS** |") == 6
    assert "\n| **ERROR** | x |" in shown
    assert "| step | 10 | 20 |" in shown
    long = [msgspec.structs.replace(WHOLE.entries[-1], why="y" * 5000)] * 500
    shown = ranking.markdown(msgspec.structs.replace(WHOLE, entries=tuple(long)))
    assert len(shown.encode()) <= ranking.MAX_BYTES
    assert "*Omitted for length: " in shown


def test_the_page_has_a_picture_of_each_curve() -> None:
    page = html.render(WHOLE)
    assert page.count("<svg") == len(WHOLE.curves) == 3
    assert page.count("<circle") == sum(len(curve.points) for curve in WHOLE.curves)
    assert "<script" not in page
    assert 'class="hero error"' in page
    assert "step 10<" in page


def test_the_json_has_all_entries_and_curves() -> None:
    written = json.loads(ranking.to_json(WHOLE))
    assert written["schema_version"] == 1
    assert written["chosen"] == "checkpoint-30"
    assert [entry["standing"] for entry in written["entries"]][-2:] == ["fail", "error"]
    assert {c["role"] for c in written["curves"]} == {"learned", "held-out", "forgotten"}
    assert np.isclose(written["level"], 0.05)
