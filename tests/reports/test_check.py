"""The report of `sway check` for a terminal."""

from typing import Any

import pytest

from sway_gate.reports.check import render
from sway_gate.results import GateResult
from tests.helpers import results

BELOW = ("it moved", "changed clearly in plain text", "Not judged: the rest")


def shown(result: GateResult, **fields: Any) -> list[str]:
    options: dict[str, Any] = {"style": result.verdict, "color": False, **fields}
    return render(result, "MOVED", BELOW, **options).splitlines()


def test_the_answer_comes_first() -> None:
    lines = shown(results.healthy())
    assert lines[:3] == [
        "MOVED  it moved",
        "       changed clearly in plain text",
        "       Not judged: the rest",
    ]


def test_each_probe_has_its_verdict_and_its_message() -> None:
    result = results.sick()
    lines = shown(result, width=2000)
    for probe in result.probes:
        [line] = [line for line in lines if line[7:].split("  ")[0] == probe.name]
        assert line.startswith(probe.verdict.upper())
        assert line.endswith(" ".join(probe.message.split()))


def test_no_composite_is_shown() -> None:
    assert "composite" not in "\n".join(shown(results.healthy()))


def test_a_note_that_the_answer_contains_is_not_repeated() -> None:
    result = results.result(results.probe(), notes=("not judged: the rest", "another note"))
    notes = [line for line in shown(result) if line.startswith("note: ")]
    assert notes == ["note: another note"]


def test_quiet_is_the_answer_and_what_failed() -> None:
    result = results.sick()
    failed = [probe.name for probe in result.probes if probe.verdict in ("fail", "error")]
    lines = shown(result, quiet=True, width=2000)
    assert [line[7:].split("  ")[0] for line in lines[-len(failed) :]] == failed


@pytest.mark.parametrize("width", [10, 40, 80])
def test_lines_fit_the_width(width: int) -> None:
    assert all(len(line) <= max(width, 40) for line in shown(results.sick(), width=width)[:20])


def test_ascii_and_hostile_texts() -> None:
    text = render(results.hostile(), "FAIL", ["\x1b[31mred"], style="fail", color=False, ascii=True)
    assert text.isascii()
    assert "\x1b" not in text
