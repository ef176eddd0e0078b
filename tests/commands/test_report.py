"""`sway report` and the reports of a run: each format, to a file and to standard output."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sway_gate import cli
from sway_gate.commands._common import FORMATS
from sway_gate.gate.resolve import Inputs
from sway_gate.reports.json_v1 import to_json
from tests.compare.test_results import write_spec
from tests.helpers import results

BEGINS = {
    "json": "{\n",
    "markdown": "###",
    "html": "<!doctype html>",
    "junit": "<?xml",
    "sarif": "{\n",
    "codequality": "[",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder with a report, hostile ones, and a spec that needs no files."""
    monkeypatch.chdir(tmp_path)
    for make in (results.sick, results.hostile):
        (tmp_path / f"{make.__name__}.json").write_bytes(to_json(make()))
    write_spec(tmp_path / "sway.yaml")
    return tmp_path


def test_every_format_is_looked_at() -> None:
    assert FORMATS.keys() == BEGINS.keys()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("result", ["sick", "hostile"])
def test_a_report_in_another_format(folder: Path, capsys: Any, form: str, result: str) -> None:
    assert cli.main(["report", f"{result}.json", "--format", form, "-o", "out"]) == 0
    assert cli.main(["report", f"{result}.json", "--format", form]) == 0
    written = (folder / "out").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written
    assert written.lstrip().lower().startswith(BEGINS[form])


def test_md_is_short_for_markdown(folder: Path, capsys: Any) -> None:
    assert cli.main(["report", "sick.json", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("### sway-gate: FAIL")


def test_json_of_a_report_is_the_report(folder: Path) -> None:
    cli.main(["report", "sick.json", "--format", "json", "-o", "out"])
    assert (folder / "out").read_bytes() == (folder / "sick.json").read_bytes()


def test_the_terminal_is_the_default(folder: Path, capsys: Any) -> None:
    assert cli.main(["report", "sick.json"]) == 0  # showing a FAIL succeeds
    assert capsys.readouterr().out.startswith("FAIL  1 of 5 probes that ran fails: verbatim")
    cli.main(["report", "sick.json", "-o", "out.txt"])
    assert (folder / "out.txt").read_text(encoding="utf-8").startswith("FAIL  1 of 5")


def test_one_result_is_written_in_several_formats(folder: Path, capsys: Any) -> None:
    assert cli.main(["report", "sick.json", "-o", "a.html", "-o", "b.md"]) == 0
    assert cli.main(["report", "--history", "sick.json", "-o", "c.html", "-o", "d.md"]) == 0
    for name, form in {"a.html": "html", "b.md": "markdown", "c.html": "html"}.items():
        written = (folder / name).read_text(encoding="utf-8")
        assert written.lstrip().lower().startswith(BEGINS[form])
    assert (folder / "d.md").exists()
    assert cli.main(["report", "sick.json", "-o", "e.md", "-o", "f.md"]) == 2
    assert "-o f.md: markdown is also written to e.md; give one file" in capsys.readouterr().err
    assert not (folder / "e.md").exists()


@pytest.mark.parametrize("command", ["gate", "run", "check x --base y"])
def test_one_run_writes_them_all(folder: Path, monkeypatch: Any, command: str) -> None:
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: results.sick())
    monkeypatch.setattr("sway_gate.suites.check.check_suite", lambda *_: None)
    monkeypatch.setattr("sway_gate.suites.check.early_notes", lambda _: [])
    monkeypatch.setattr("sway_gate.gate.resolve.inputs", lambda *_: Inputs([], []))
    options = [word for form in FORMATS for word in (f"--{form}", f"out.{form}")]
    assert cli.main([*command.split(), *options]) == results.sick().exit_code
    for form, begin in BEGINS.items():
        assert (
            (folder / f"out.{form}").read_text(encoding="utf-8").lstrip().lower().startswith(begin)
        )


@pytest.mark.parametrize("form", FORMATS)
def test_standard_output_has_only_one_report(folder: Path, capsys: Any, form: str) -> None:
    code = cli.main(["run", f"--{form}", "-"])
    out, err = capsys.readouterr()
    assert out.lstrip().lower().startswith(BEGINS[form])
    assert err.startswith("PASS" if code == 0 else "FAIL")


WRONG = {
    "two to standard output": "run --html - --markdown -",
    "two to one file": "run --html r --markdown r",
    "html over the spec": "run --html sway.yaml",
    "markdown into no folder": "run --markdown none/r.md",
    "html is a folder": "check x --html .",
    "report of no file": "report none.json",
    "report of a spec": "report sway.yaml",
    "report of nothing": "report",
    "unknown format": "report sick.json --format pdf",
}


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG)
def test_wrong_usage_is_2_before_anything_is_measured(
    folder: Path, monkeypatch: Any, capsys: Any, line: str
) -> None:
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: pytest.fail("measured"))
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err) == ("", False)
    assert "rror: " in err


def test_machines_can_read_what_was_written(folder: Path) -> None:
    cli.main(["run", "--json", "r.json", "--junit", "r.xml", "--quiet"])
    told = json.loads((folder / "r.json").read_bytes())
    assert set(told["asked"]) == {"learned", "moved"}
    assert len(told["probes"][0]["items"]) == 3
    assert len(ElementTree.parse(folder / "r.xml").findall(".//testcase")) == 3


def without_its_failure(report: dict[str, Any]) -> None:
    """A FAIL whose verdict was edited."""
    report.update(verdict="pass", exit_code=0)


def without_threshold(report: dict[str, Any]) -> None:
    report.update(verdict="pass", exit_code=0, threshold=0.0)


def with_weightless_failures(report: dict[str, Any]) -> None:
    report.update(verdict="pass", exit_code=0, threshold=0.0)
    for probe in report["probes"]:
        probe["weight"] = 0.0


def with_skipped_probes(report: dict[str, Any]) -> None:
    report.update(verdict="pass", exit_code=0, threshold=0.0)
    for probe in report["probes"]:
        probe["verdict"] = "skip"


FORGERIES = [
    without_its_failure,
    without_threshold,
    with_weightless_failures,
    with_skipped_probes,
]


@pytest.mark.parametrize("form", ["terminal", *FORMATS])
@pytest.mark.parametrize("forge", FORGERIES)
def test_a_forged_pass_is_not_shown(folder: Path, capsys: Any, forge: Any, form: str) -> None:
    report = json.loads((folder / "sick.json").read_bytes())
    forge(report)
    (folder / "forged.json").write_text(json.dumps(report), encoding="utf-8")
    assert cli.main(["report", "forged.json", "--format", form]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "forged.json: inconsistent report: the verdict pass contradicts its probes" in err


@pytest.mark.parametrize("command", ["compare sick.json", "baseline update b.json --from"])
def test_a_forged_pass_is_no_input(folder: Path, capsys: Any, command: str) -> None:
    report = json.loads((folder / "sick.json").read_bytes())
    without_its_failure(report)
    (folder / "forged.json").write_text(json.dumps(report), encoding="utf-8")
    assert cli.main([*command.split(), "forged.json"]) == 2
    assert "inconsistent report" in capsys.readouterr().err


BEYOND = {
    "composite": lambda report: report.update(score=1e308),
    "threshold": lambda report: report.update(threshold=-0.5),
    "score of attribution": lambda report: report["categories"]["attribution"].update(score=1.5),
    "score of verbatim": lambda report: report["probes"][-1].update(name="verbatim", score=-1),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_score_beyond_its_range_is_not_shown(folder: Path, capsys: Any, name: str) -> None:
    report = json.loads((folder / "sick.json").read_bytes())
    report["probes"] = [probe for probe in report["probes"] if probe["name"] != "verbatim"]
    BEYOND[name](report)
    (folder / "forged.json").write_text(json.dumps(report), encoding="utf-8")
    assert cli.main(["report", "forged.json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"forged.json: inconsistent report: the {name} is " in err
    assert err.endswith(", not from 0 to 1; run the gate again\n")
