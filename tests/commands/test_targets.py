"""Outputs never overwrite what a run reads, and reports on standard output carry no commands."""

import importlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from sway_gate import cli, output
from sway_gate.commands._common import FORMATS
from sway_gate.compare.ranking import Candidate, rank
from sway_gate.compare.results import compare_results
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.fleet import report as fleet_report
from sway_gate.fleet.outcome import Outcome
from sway_gate.fleet.plan import Gate
from sway_gate.reports import comparison, ranking
from sway_gate.reports.html import ranking as html_ranking
from sway_gate.reports.json_v1 import to_json
from sway_gate.results import Finding
from tests.helpers import ROOT, results

FILES = {
    "base/config.json": "{}",
    "base/model.safetensors": "weights",
    "base/tokenizer.json": "{}",
    "base/chat_template.jinja": "x",
    "lora/adapter_config.json": '{"base_model_name_or_path": "base"}',
    "lora/adapter_model.safetensors": "weights",
    "lora/tokenizer_config.json": "{}",
    "embedder/config.json": "{}",
    "rows.jsonl": '{"prompt": "a question", "completion": "an answer"}\n',
    "unseen.jsonl": '{"prompt": "another one", "completion": "an answer"}\n',
    "prompts.txt": "a prompt\n",
}
SUITE = [
    {"name": "moved", "kind": "delta_kl", "prompts": ["a"]},
    {
        "name": "reverts",
        "kind": "adapter_revert",
        "embedding_model": "./embedder",
        "cases": [{"prompt": "a", "gold": "b", "paraphrases": ["c"]}],
    },
]
MODELS = {"base": {"base": "./base"}, "ft": {"base": "./base", "adapter": "./lora"}}
SPEC = {"models": MODELS, "suite": SUITE, "data": "rows.jsonl", "held_out": "unseen.jsonl"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder with a spec and the files that it names; nothing can be measured."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "sway.yaml").write_text(yaml.safe_dump({"version": 1} | SPEC), encoding="utf-8")
    # These keep the functions under their own names, and must not keep the replacements.
    for module in ("gate.diff", "gate.rank", "suites.mine", "fleet.worker"):
        importlib.import_module(f"sway_gate.{module}")
    for name in ("run_gate", "run_job"):
        monkeypatch.setattr(f"sway_gate.gate.run.{name}", lambda *_: pytest.fail("measured"))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


READ = [name for name in FILES if name not in ("prompts.txt", "lora/tokenizer_config.json")]


@pytest.mark.parametrize("option", ["--trace", "--json"])
@pytest.mark.parametrize("name", READ)
def test_gate_does_not_overwrite_what_it_reads(
    folder: Path, capsys: Any, name: str, option: str
) -> None:
    before = contents(folder)
    assert cli.main(["gate", "sway.yaml", option, name]) == 2
    said = capsys.readouterr().err
    assert re.search("would overwrite (the input|a file that is not)|adapter's file", said)
    assert contents(folder) == before


LINES = {
    "check, base": "check lora --base base --trace base/config.json",
    "check, model": "check --model tuned --base base --trace tuned/config.json",
    "check, data": "check lora --base base --data rows.jsonl --html rows.jsonl",
    "check, prompts": "check lora --base base --prompts prompts.txt --trace prompts.txt",
    "diff, base": "diff sway.yaml --a lora --b lora --json base/tokenizer.json",
    "baseline, base": "baseline update base/config.json sway.yaml",
    "mine, data": "mine sway.yaml -o rows.jsonl",
    "init, base": "init lora --base base --data rows.jsonl -o base/config.json --force",
    "a custom backend's code": "gate custom.yaml --trace my/backend.py",
    "run, base": "run sway.yaml --markdown base/model.safetensors",
    "symbolic link": "gate --trace symbolic",
    "hard link": "gate --trace hard",
    "another way": "gate --trace lora/../base/./config.json",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_no_command_overwrites_what_it_reads(folder: Path, capsys: Any, line: str) -> None:
    custom = {"kind": "custom", "base": "b", "entry_point": "my.backend:make"}
    models = {"models": {"base": custom, "ft": custom}, "suite": SUITE[:1]}
    (folder / "custom.yaml").write_text(yaml.safe_dump({"version": 1} | models), encoding="utf-8")
    (folder / "my").mkdir()
    shutil.copytree(folder / "base", folder / "tuned")
    (folder / "my/backend.py").write_text("make = None", encoding="utf-8")
    (folder / "symbolic").symlink_to(folder / "base" / "config.json")
    os.link(folder / "base" / "config.json", folder / "hard")
    before = contents(folder)
    assert cli.main(line.split()) == 2
    assert re.search("would overwrite (the input|a file that is not)", capsys.readouterr().err)
    assert contents(folder) == before


FOREIGN = {
    "rows.csv": "prompt,answer\n",
    "notes.ipynb": '{"cells": [], "nbformat": 4}',
    "train.PY": "print(1)\n",
    "other.safetensors": "weights",
    ".env": "TOKEN=x",
    "document.md": "# The mill\n\n**bold**\n",
    "notes.json": '{"version": 1, "schema_version": 1}',
    "page.html": "<!doctype html><title>A page</title>",
    "notes.txt": "PASS the salt\n",
    "link.html": "a link to rows.csv",
}


@pytest.mark.parametrize("option", ["--json", "--html", "--markdown", "--junit", "--trace"])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_report_is_not_overwritten(
    folder: Path, capsys: Any, name: str, option: str
) -> None:
    if name == "link.html":
        (folder / name).symlink_to("rows.csv")
    (folder / name).write_text(FOREIGN[name], encoding="utf-8")
    assert cli.main(["gate", "sway.yaml", option, name]) == 2
    assert f"{option} {name} would overwrite a file that is not a report; name another" in (
        capsys.readouterr().err
    )
    assert (folder / name).read_text(encoding="utf-8") == FOREIGN[name]


@pytest.mark.parametrize(
    "name", ["r.json", "r.HTML", "r.md", "r.xml", "r.txt", "summary", "run.v1"]
)
def test_a_report_is_overwritten_by_the_next_one(folder: Path, monkeypatch: Any, name: str) -> None:
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: results.sick())
    for earlier in (to_json(results.healthy()), FORMATS["markdown"](results.healthy()), b"\n"):
        (folder / name).write_bytes(earlier)
        assert cli.main(["gate", "--json", name]) == results.sick().exit_code
        assert (folder / name).read_text(encoding="utf-8").startswith("{")


TRACE = ROOT / "tests/recorded/inputs/demo.trace"
OUTPUTS = {
    "text": "report r.json -o out.txt",
    "model card": "report r.json --format modelcard -o out.md",
    "SARIF": "report r.json -o out.sarif",
    "Code Quality": "report r.json --format codequality -o out.json",
    "history": "report --history r.json r.json -o out.md",
    "history as text": "report --history r.json r.json -o out.txt",
    "history as JSON": "report --history r.json r.json -o out.json",
    "history as a page": "report --history r.json r.json -o out.html",
    "trace": f"trace {TRACE} -o out.md",
    "trace as text": f"trace {TRACE} -o out.txt",
    "trace as JSON": f"trace {TRACE} -o out.json",
    "doctor": "doctor --json out.json",
    "files": "static lora --json out.json",
}


@pytest.mark.parametrize("line", OUTPUTS.values(), ids=OUTPUTS)
def test_each_output_is_overwritten_by_the_next_one(folder: Path, line: str) -> None:
    (folder / "r.json").write_bytes(to_json(results.sick()))
    codes = [cli.main(line.split()) for _ in range(2)]
    assert codes[0] == codes[1]
    (target,) = folder.glob("out.*")
    target.write_text("# My notes\n", encoding="utf-8")
    assert cli.main(line.split()) == 2
    assert target.read_text(encoding="utf-8") == "# My notes\n"


STALE = {
    "gate": "gate sway.yaml",
    "gate, a wrong spec": "gate wrong.yaml",
    "gate, a missing spec": "gate absent.yaml",
    "check": "check lora --base base",
    "check, a missing adapter": "check ./absent --base base",
    "hook": "hook wrong.yaml",
}


@pytest.mark.parametrize("line", STALE.values(), ids=STALE)
def test_after_an_error_no_earlier_report_is_left(
    folder: Path, monkeypatch: Any, line: str
) -> None:
    def undecided(*_: Any) -> None:
        raise CannotDecide("the base cannot be read")

    monkeypatch.setattr("sway_gate.gate.run.run_gate", undecided)
    (folder / "wrong.yaml").write_text("models: 1\nsuite: 2\n", encoding="utf-8")
    for form, make in FORMATS.items():
        (folder / f"out.{form}").write_bytes(make(results.healthy()))
    options = [word for form in FORMATS for word in (f"--{form}", f"out.{form}")]
    options[options.index("out.junit")] = "out.xml"
    (folder / "out.junit").rename("out.xml")
    assert cli.main([*line.split(), *options]) in (2, 3)
    assert not list(folder.glob("out.*"))


def test_after_an_error_no_earlier_comparison_is_left(folder: Path) -> None:
    a, b = results.healthy(), results.sick()
    compared = [compare_results(a, b, labels=("a", "b"))]
    ranked = rank([Candidate("a", a), Candidate("b", b)])
    gates = [Outcome(Gate("a.yaml", "x"), a)]
    earlier = {
        "compare a b -o out.md": comparison.markdown(compared, comparison.COMPARED).encode(),
        "compare a b -o out.json": comparison.to_json(compared),
        "diff a b -o out.md": comparison.markdown(compared, comparison.DIFFERED).encode(),
        "rank a b wrong.yaml -o out.html": html_ranking.render(ranked).encode(),
        "rank a b wrong.yaml -o out.md": ranking.markdown(ranked).encode(),
        "rank a b wrong.yaml -o out.json": ranking.to_json(ranked),
        "fleet wrong.yaml -o out.md": fleet_report.to_markdown(gates),
        "fleet wrong.yaml -o out.json": fleet_report.to_json(gates),
        "fleet wrong.yaml -o out.xml": fleet_report.to_xml(gates),
        "report a.json -o out.html": FORMATS["html"](a),
    }
    (folder / "sway.yaml").unlink()
    for line, report in earlier.items():
        target = folder / line.split()[-1]
        target.write_bytes(report)
        assert cli.main(line.split()) == 2, line
        assert not target.exists(), line


NO_REPORTS = {
    "rows": '[{"prompt": "a question", "completion": "an answer"}]',
    "rows about reports": '[{"prompt": "p", "check_name": "x", "schema_version": 1, "a": 1}]',
    "notes": "# Gates\n\n### sway-gate: PASS\n\n|  | probe | verdict |\n",
    "tests": '<?xml version="1.0"?>\n<testsuites name="pytest tests"><testsuite name="pytest">',
}


@pytest.mark.parametrize("text", NO_REPORTS.values(), ids=NO_REPORTS)
def test_a_wrong_spec_removes_only_reports(folder: Path, text: str) -> None:
    (folder / "wrong.yaml").write_text("models: 1\nsuite: 2\n", encoding="utf-8")
    (folder / "rows.json").write_text(text, encoding="utf-8")
    assert cli.main(["gate", "wrong.yaml", "--json", "rows.json"]) == 2
    assert (folder / "rows.json").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("option", "text", "is_refused"),
    [
        ("--trace", TRACE.read_text("utf-8"), False),
        ("--trace", "{}\n", True),
        ("--json", "", False),
        ("--json", TRACE.read_text("utf-8"), True),
    ],
)
def test_rows_can_be_a_trace_but_no_report(
    folder: Path, option: str, text: str, is_refused: bool
) -> None:
    (folder / "old.jsonl").write_text(text, encoding="utf-8")
    targets = {option: str(folder / "old.jsonl")}
    if is_refused:
        with pytest.raises(UsageError, match="would overwrite a file that is not a report"):
            output.check_targets(targets, [])
    else:
        output.check_targets(targets, [])


def test_an_empty_file_is_written(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: results.sick())
    (folder / "made.by-mktemp").touch()
    assert cli.main(["gate", "--json", "made.by-mktemp"]) == results.sick().exit_code
    assert (folder / "made.by-mktemp").read_bytes()


NEW = {
    "adapter": "gate --json lora/report.json",
    "base": "gate --trace base/added_tokens.json",
    "embedder": "gate --html embedder/modules.json",
    "a link to the adapter": "gate --json link/report.json",
    "data folder": "gate folder.yaml --markdown rows/notes.md",
    "a folder of the data": "gate folder.yaml --markdown rows/more/notes.md",
    "check": "check lora --base base --junit base/junit.xml",
    "diff": "diff --a lora --b other --json other/report.json",
}


@pytest.mark.parametrize("line", NEW.values(), ids=NEW)
def test_no_report_is_added_to_an_input(folder: Path, capsys: Any, line: str) -> None:
    shutil.copytree(folder / "lora", folder / "other")
    (folder / "link").symlink_to("lora")
    (folder / "rows/more").mkdir(parents=True)
    text = yaml.safe_dump({"version": 1} | SPEC | {"data": "rows"})
    (folder / "folder.yaml").write_text(text, encoding="utf-8")
    before = contents(folder)
    assert cli.main(line.split()) == 2
    assert "an input; name a file elsewhere" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_report_below_the_folder_of_an_adapter_is_written(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: results.sick())
    (folder / "lora/reports").mkdir()
    for _ in range(2):
        assert cli.main(["gate", "--json", "lora/reports/r.json"]) == results.sick().exit_code
    assert json.loads((folder / "lora/reports/r.json").read_bytes())["verdict"] == "fail"


COMMANDS = (
    "::error::x\r::set-output name=verdict::pass\n::add-mask::y\n ::stop-commands::z ##[error]w"
    " ##vso[task.setvariable]v"
)


def commands(text: str) -> list[str]:
    """The lines that GitHub's runner obeys."""
    lines = re.split(r"[\r\n]+", text)
    return [line for line in lines if re.search(r"^\s*::|##\w*\[", line)]


def commanding() -> Any:
    """A result in which every text of a file is a workflow command."""
    own = results.probe(
        "::error::name",
        "fail",
        kind="##[error]kind",
        message=COMMANDS,
        advice=COMMANDS,
        units=COMMANDS,
        details={COMMANDS: COMMANDS, "prompts": [{"prompt": COMMANDS}]},
    )
    finding = Finding(id="::x", level="warning", message=COMMANDS, remedy=COMMANDS, path=COMMANDS)
    return results.result(
        own, verdict="fail", exit_code=1, spec=COMMANDS, notes=(COMMANDS,), findings=(finding,)
    )


@pytest.mark.parametrize("form", ["terminal", *FORMATS])
def test_a_report_on_standard_output_carries_no_commands(
    folder: Path, capsys: Any, form: str
) -> None:
    (folder / "r.json").write_bytes(to_json(commanding()))
    assert cli.main(["report", "r.json", "--format", form]) == 0
    out = capsys.readouterr().out
    assert commands(out) == []
    if form == "json":
        assert json.loads(out) == json.loads((folder / "r.json").read_bytes())
    elif form == "junit":
        cli.main(["report", "r.json", "--format", form, "-o", "r.xml"])
        shown, written = ElementTree.fromstring(out), ElementTree.parse(folder / "r.xml").getroot()
        assert [e.attrib for e in shown.iter()] == [e.attrib for e in written.iter()]


@pytest.mark.parametrize("form", ["--json", "--markdown"])
def test_a_comparison_on_standard_output_carries_no_commands(
    folder: Path, capsys: Any, form: str
) -> None:
    for name in ("::a", "b ##[x]"):
        (folder / name).write_bytes(to_json(commanding()))
    cli.main(["compare", "::a", "b ##[x]", form, "-"])
    out, err = capsys.readouterr()
    assert commands(out + "\n" + err) == []


def test_a_suite_on_standard_output_carries_no_commands(folder: Path, capsys: Any) -> None:
    words = "word " * 18  # a long text is folded at its spaces
    texts = [f"{words}{'x' * n} ::error::{n} ##[warning]x :: ##vso[y]" for n in range(40)]
    rows = [{"prompt": text, "completion": COMMANDS} for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert cli.main(["init", "lora", "--base", "base", "--data", "rows.jsonl", "-o", "-"]) == 0
    shown = capsys.readouterr().out
    assert commands(shown) == []
    assert (
        cli.main(["init", "lora", "--base", "base", "--data", "rows.jsonl", "-o", "written.yaml"])
        == 0
    )
    written = (folder / "written.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shown) == yaml.safe_load(written)
    assert "::error::" in str(yaml.safe_load(shown))


def test_wrong_arguments_carry_no_commands(folder: Path, capsys: Any) -> None:
    assert cli.main(["static", "--x\n::error::y"]) == 2
    assert commands(capsys.readouterr().err) == []


def test_json_of_a_command_stays_json(folder: Path, capsys: Any) -> None:
    (folder / "##[error]x").mkdir()
    cli.main(["static", "##[error]x", "--json"])
    out = capsys.readouterr().out
    assert commands(out) == []
    assert "##[error]x" in json.dumps(json.loads(out))


@pytest.mark.parametrize("option", ["--html r.html", "-o r.json", "--trace t", "--format json"])
def test_a_dry_run_has_no_report_to_write(folder: Path, capsys: Any, option: str) -> None:
    before = contents(folder)
    assert cli.main(["gate", "--dry-run", *option.split()]) == 2
    assert "--dry-run measures nothing, so there is no report" in capsys.readouterr().err
    assert contents(folder) == before
