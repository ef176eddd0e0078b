"""`-o`, `--format` and `--json` mean the same in every command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli, demo
from sway_gate.commands import _formats
from sway_gate.commands._common import FORMATS
from sway_gate.gate.resolve import Inputs
from sway_gate.reports.json_v1 import to_json
from tests.compare.test_results import write_spec
from tests.helpers import ROOT, results

BEGINS = {
    ".json": "{",
    ".md": "###",
    ".html": "<!doctype html>",
    ".xml": "<?xml",
    ".sarif": "{",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder with a report and a spec; a gate measures nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sick.json").write_bytes(to_json(results.sick()))
    write_spec(tmp_path / "sway.yaml")
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: results.sick())
    monkeypatch.setattr("sway_gate.suites.check.check_suite", lambda *_: None)
    monkeypatch.setattr("sway_gate.suites.check.early_notes", lambda _: [])
    monkeypatch.setattr("sway_gate.gate.resolve.inputs", lambda *_: Inputs([], []))
    return tmp_path


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8").lstrip().lower()


def test_each_format_has_an_ending() -> None:
    assert {*_formats.ENDINGS.values(), "codequality"} == FORMATS.keys()
    assert _formats.endings(FORMATS) == ".json, .md, .html, .xml (JUnit), .sarif"


@pytest.mark.parametrize("ending", BEGINS)
@pytest.mark.parametrize("command", ["gate", "check x --base y", "report sick.json"])
def test_the_ending_names_the_format(folder: Path, command: str, ending: str) -> None:
    cli.main([*command.split(), "-o", f"out{ending}"])
    assert text(folder / f"out{ending}").startswith(BEGINS[ending])


def test_several_files(folder: Path) -> None:
    cli.main(["gate", "-o", "a.json", "-o", "b.MD", "--output=c.htm"])
    begins = {"a.json": "{", "b.MD": "###", "c.htm": "<!doctype html>"}
    assert [n for n, begin in begins.items() if not text(folder / n).startswith(begin)] == []


@pytest.mark.parametrize("command", ["gate", "check x --base y", "report sick.json"])
def test_the_format_of_standard_output(folder: Path, capsys: Any, command: str) -> None:
    cli.main([*command.split(), "--format", "markdown"])
    assert capsys.readouterr().out.startswith("###")


def test_the_format_is_stronger_than_the_ending(folder: Path) -> None:
    cli.main(["gate", "--format", "html", "-o", "out.txt"])
    assert text(folder / "out.txt").startswith("<!doctype html>")


def json_of(command: str) -> Callable[[Path, Any], Any]:
    def printed(folder: Path, capsys: Any) -> Any:
        cli.main(command.split())
        return json.loads(capsys.readouterr().out)

    return printed


HEALTHY = str(demo.HEALTHY)
WITH_JSON = {
    "gate": "gate sway.yaml --json",
    "check": "check x --base y --json",
    "compare": "compare sick.json sick.json --json",
    "doctor": "doctor --json",
    "static": f"static {HEALTHY} --json",
    "static, before the adapter": f"static --json {HEALTHY}",
    "static, before its file": f"static --json {HEALTHY}/adapter_config.json",
    "static, by format": f"static {HEALTHY} --format json",
}


@pytest.mark.parametrize("line", WITH_JSON.values(), ids=WITH_JSON)
def test_json_is_printed_or_written(folder: Path, capsys: Any, monkeypatch: Any, line: str) -> None:
    monkeypatch.setattr("sway_gate.commands.doctor._devices", lambda: {"cpu_count": 1})
    cli.main(line.split())
    printed = json.loads(capsys.readouterr().out)
    cli.main([*line.replace(" --format json", "").replace(" --json", "").split(), "--json=r.json"])
    assert json.loads((folder / "r.json").read_bytes()) == printed


def test_static_checks_every_adapter_after_json(folder: Path, capsys: Any) -> None:
    assert cli.main(["static", "--json", "missing", HEALTHY]) == 2
    assert [found["path"] for found in json.loads(capsys.readouterr().out)] == ["missing", HEALTHY]


def test_a_trace_by_ending(folder: Path) -> None:
    trace = str(ROOT / "tests" / "recorded" / "inputs" / "demo.trace")
    assert cli.main(["trace", trace, "-o", "t.md", "-o", "t.json", "-o", "t.txt"]) == 0
    assert text(folder / "t.md").startswith("#")
    assert isinstance(json.loads((folder / "t.json").read_bytes()), dict)
    assert not text(folder / "t.txt").startswith(("#", "{"))


REFUSED = {
    "gate -o out.pdf": "-o out.pdf: its ending names no format; use .json, .md, .html, .xml "
    "(JUnit), .sarif or --format",
    "gate -o -": "-o -: its ending names no format; use",
    "gate -o a.json -o b.json": "-o b.json: json is also written to a.json; give one file",
    "gate -o a.json --json": "-o a.json: json is also written to -; give one file",
    "gate -o sway.yaml": "-o sway.yaml: its ending names no format",
    "compare sick.json sick.json -o c.html": "-o c.html: its ending names no format; use .json, "
    ".md or --format",
    "compare sick.json sick.json -o sick.json": "would overwrite",
    "static --json": "give the folder of an adapter",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=REFUSED)
def test_refused(folder: Path, capsys: Any, line: str, message: str) -> None:
    assert cli.main(line.split()) == 2
    assert message in capsys.readouterr().err
