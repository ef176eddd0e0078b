"""`sway report --history`: the order of the files, each format, and files that are not reports."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli
from sway_gate.compare.history import Course, Stored, Value, history
from sway_gate.reports import history as reports
from sway_gate.reports.history_files import MAX_RESULTS
from sway_gate.reports.html import history as html
from sway_gate.reports.json_v1 import to_json
from tests.helpers import results as helper

INPUTS = {"probe_inputs": {"delta_kl": "a"}, "shared_inputs": "s"}


def write(folder: Path, name: str, raw: float = 0.1, **fields: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(helper.result(helper.probe(raw=raw), **(INPUTS | fields))))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """Four results: the second fails, and the last one has other settings."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "run/step-1000.json", 0.3)
    write(tmp_path, "run/step-200.json", 0.2, verdict="fail", exit_code=1)
    write(tmp_path, "run/step-50.json", 0.1)
    write(tmp_path, "run/step-1001.json", 0.9, probe_inputs={"delta_kl": "z"})
    return tmp_path


def labels(capsys: Any, *given: str) -> list[str]:
    assert cli.main(["report", "--history", *given, "--format", "json"]) == 0
    return [entry["label"] for entry in json.loads(capsys.readouterr().out)["results"]]


STEPS = ["step-50", "step-200", "step-1000", "step-1001"]


@pytest.mark.parametrize(
    "given",
    [["run"], ["run/*.json"], ["run", "./run/*.json", "run/step-50.json"]],
    ids=["a folder", "a pattern", "files several times"],
)
def test_results_are_ordered_by_the_numbers_in_their_names(folder, capsys, given):
    assert labels(capsys, *given) == STEPS


def test_the_label_is_what_distinguishes_the_files(folder, capsys):
    for step in (100, 20):
        write(folder, f"out/checkpoint-{step}/report.json")
    assert labels(capsys, "out/*/report.json") == ["checkpoint-20", "checkpoint-100"]
    assert labels(capsys, "out/*") == ["checkpoint-20", "checkpoint-100"]
    assert labels(capsys, "out/checkpoint-20/report.json") == ["report"]


def test_files_of_a_folder_that_are_not_read_are_listed(folder, capsys):
    (folder / "run/report.html").write_text("<p>")
    (folder / "run/older").mkdir()
    assert cli.main(["report", "--history", "run"]) == 0
    assert "only *.json is: older, report.html" in " ".join(capsys.readouterr().out.split())


REFUSED = {
    "another JSON": ("run/other.json", b"{}", "run/other.json: not a sway-gate JSON report"),
    "not JSON": ("run/other.json", b"\x00\xff", "run/other.json: not a sway-gate JSON report"),
    "too deep": ("run/other.json", b"[" * 99_999, "run/other.json: not a sway-gate"),
}


@pytest.mark.parametrize(("name", "data", "problem"), REFUSED.values(), ids=REFUSED)
def test_files_that_are_no_reports_are_refused_by_name(folder, capsys, name, data, problem):
    (folder / name).write_bytes(data)
    (folder / "run/second.json").write_bytes(data)
    assert cli.main(["report", "--history", "run"]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert "run/second.json" in error
    assert "Traceback" not in error


USAGE = {
    "nothing": ([], "give either the JSON report RESULT"),
    "both": (["r.json", "--history", "run"], "give either the JSON report RESULT"),
    "another format": (["--history", "run", "--format", "junit"], "with --history use terminal"),
    "no match": (["--history", "none/*.json"], "no file matches this pattern"),
    "no such file": (["--history", "none.json"], "none.json: no such file"),
    "an empty folder": (["--history", "empty"], "contains no file *.json"),
    "the output is an input": (["--history", "run", "-o", "run/step-50.json"], "step-50.json"),
}


@pytest.mark.parametrize(("arguments", "problem"), USAGE.values(), ids=USAGE)
def test_wrong_arguments_are_refused_in_one_line(folder, capsys, arguments, problem):
    (folder / "empty").mkdir()
    assert cli.main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe")
def test_a_pipe_is_refused_without_waiting_for_it(folder, capsys):
    os.mkfifo(folder / "run/pipe.json")
    assert cli.main(["report", "--history", "run"]) == 2
    assert "run/pipe.json: cannot be read: not a regular file" in capsys.readouterr().err


def test_too_many_results_are_refused(folder, capsys):
    for i in range(MAX_RESULTS + 1):
        (folder / "run" / f"{i}.json").touch()
    assert cli.main(["report", "--history", "run"]) == 2
    assert f"give at most {MAX_RESULTS}" in capsys.readouterr().err


def test_the_terminal_marks_verdict_changes_and_other_inputs(folder, capsys):
    assert cli.main(["report", "--history", "run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("4 results, 3 passed; latest: step-1001 PASS\n")
    assert re.search(r"FAIL +step-200 .*verdict changed", out)
    assert "differs: other settings of delta_kl" in out
    assert re.search(r"PASS +delta_kl +▁▂▃│█  0.9 nats", out)


def test_ascii_has_no_other_characters():
    found = reports.render(_hostile(), color=False, ascii=True, width=60)
    assert found.isascii()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_fit_the_terminal(width):
    from rich.cells import cell_len

    stored = [Stored(label=f"r{i}", file=f"{i}.json", result=helper.healthy()) for i in range(200)]
    found = reports.render(history(stored), color=False, width=width)
    assert max(map(cell_len, found.splitlines())) <= width


SPARKS = {
    "rising": ([0.0, 0.5, 1.0], "▁▅█"),
    "constant": ([2.0, 2.0], "▅▅"),
    "a missing value": ([0.0, None, 1.0], "▁?█"),
    "not a number": ([0.0, float("nan"), 1.0], "▁?█"),
    "extremes": ([-1.7e308, 1.7e308], "▁█"),
    "nothing": ([None], "?"),
}


@pytest.mark.parametrize(("values", "drawn"), SPARKS.values(), ids=SPARKS)
def test_sparks(values, drawn):
    course = Course(
        name="p", kind="p", units="", values=tuple(Value(verdict="pass", value=v) for v in values)
    )
    assert "".join(spark for spark, _ in reports.sparks(course, 10)) == drawn


def _hostile():
    stored = [
        Stored(label=helper.HOSTILE, file="f", result=helper.hostile()),
        Stored(label="second", file="g", result=helper.sick()),
    ]
    return history(stored, [helper.HOSTILE])


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)


def test_hostile_text_is_escaped_in_every_format():
    found = _hostile()
    page, text = html.render(found), reports.markdown(found)
    parser = _Tags()
    parser.feed(page)
    assert "b" not in parser.tags
    assert "script" not in parser.tags
    assert "<b>" not in text
    for shown in (page, text, reports.render(found, color=False), reports.to_json(found).decode()):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert not any(line.startswith("PASS  composite 1.00") for line in text.splitlines())


def test_the_page_draws_every_value_the_breaks_and_the_threshold(folder, capsys):
    assert cli.main(["report", "--history", "run", "--format", "html", "-o", "h.html"]) == 0
    page = (folder / "h.html").read_text(encoding="utf-8")
    assert page.count("<circle") == 2 * len(STEPS)
    assert page.count('class="break"') == 2
    assert page.count('class="course"') == 2 * (len(STEPS) - 2)
    assert page.count('class="limit"') == 1
    heights = [float(y) for y in re.findall(r'cx="[^"]*" cy="([^"]*)"', page)][len(STEPS) :]
    assert heights == sorted(heights, reverse=True)


def test_markdown_has_a_limit():
    stored = [
        Stored(label=f"{i} " + "|" * 200, file="f", result=helper.hostile())
        for i in range(MAX_RESULTS)
    ]
    text = reports.markdown(history(stored))
    assert len(text.encode()) <= reports.MAX_BYTES
    assert "Omitted for length" in text
