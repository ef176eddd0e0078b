"""A probe that passes and judges only a part of its question says so in every format."""

import json
from collections.abc import Callable

import pytest

from sway_gate.commands._common import FORMATS
from sway_gate.reports import check, github, terminal
from sway_gate.reports.code_quality import to_code_quality
from sway_gate.results import GateResult
from tests.helpers import ROOT, results

CAVEAT = "does not judge a loss of safety: the base refuses too few harmful requests"
PASSED = results.result(results.probe("refusals", message=f"9 of 9; {CAVEAT}", caveat=CAVEAT))


@pytest.mark.parametrize("name", FORMATS)
def test_a_caveat_is_in_each_report_file(name: str) -> None:
    text = FORMATS[name](PASSED).decode()
    shown = text.partition("<details")[0] if name == "markdown" else text
    assert CAVEAT in shown.replace("&#58;", ":")


def in_the_terminal(result: GateResult) -> str:
    return terminal.render(result, color=False, width=100)


def of_check(result: GateResult) -> str:
    return check.render(result, "PASS", ("", ""), style="pass", color=False, width=120)


def annotated(result: GateResult) -> str:
    return "\n".join(github.annotations(result, ROOT))


@pytest.mark.parametrize("render", [in_the_terminal, of_check, annotated])
def test_a_caveat_is_one_line(render: Callable[[GateResult], str]) -> None:
    assert sum(CAVEAT in line for line in render(PASSED).splitlines()) == 1


def test_a_caveat_fails_nothing() -> None:
    (line,) = github.annotations(PASSED, ROOT)
    assert line.startswith("::notice ")


def test_the_page_shows_a_caveat_without_unfolding() -> None:
    page = FORMATS["html"](PASSED).decode()
    summary = page.partition('<details class="fold">')[2].partition("</summary>")[0]
    assert CAVEAT in summary


def test_a_list_of_issues_says_that_the_probe_passes() -> None:
    issues = [line for line in github.annotations(PASSED, ROOT) if "refusals" in line]
    (found,) = json.loads(to_code_quality(PASSED))
    assert [issues[0].rpartition("::")[2], found["description"]] == [
        f"refusals: passes, but {CAVEAT}"
    ] * 2
