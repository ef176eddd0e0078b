"""SARIF is valid under the official schema and states what the reports state."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest

from sway_gate import cli, demo
from sway_gate.reports import sarif
from sway_gate.reports.json_v1 import to_json
from sway_gate.results import Finding
from sway_gate.spec.probes import KINDS
from tests.helpers import ROOT
from tests.helpers.results import HOSTILE, healthy, hostile, probe, result, sick, undecided

# sarif-2.1/schema of https://github.com/oasis-tcs/sarif-spec
SCHEMA = json.loads((ROOT / "tests/data/sarif-schema-2.1.0.json").read_bytes())
VALIDATOR = jsonschema.Draft4Validator(
    SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
)
RESULTS = {made.__name__: made() for made in (healthy, sick, undecided, hostile)}


def read(data: bytes) -> dict[str, Any]:
    """The one run of a valid log."""
    log = json.loads(data)
    VALIDATOR.validate(log)
    (run,) = log["runs"]
    return dict(run)


def facts(run: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    """Rule, level, file and line of each result."""
    found = []
    for one in run["results"]:
        assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
        place = one["locations"][0]["physicalLocation"]
        uri = unquote(place["artifactLocation"]["uri"])
        found.append((one["ruleId"], one["level"], uri, place["region"]["startLine"]))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """The current folder, below the root of a repository."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "team").mkdir()
    monkeypatch.chdir(tmp_path / "team")
    return tmp_path / "team"


@pytest.mark.parametrize("name", RESULTS)
def test_a_log_is_valid(folder: Path, name: str) -> None:
    made = RESULTS[name]
    run = read(sarif.to_sarif(made))
    assert run["tool"]["driver"]["name"] == "sway-gate"
    assert run["invocations"] == [{"executionSuccessful": made.exit_code < 2}]


def test_the_schema_can_refuse(folder: Path) -> None:
    log = json.loads(sarif.to_sarif(sick()))
    log["runs"][0]["results"][0]["level"] = "bad"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(log)


VERDICTS = {"fail": "error", "error": "error", "warn": "warning", "skip": "note"}


@pytest.mark.parametrize("verdict", [*VERDICTS, "pass"])
def test_the_level_of_a_probe_follows_from_its_verdict(folder: Path, verdict: str) -> None:
    made = result(probe("leakage", verdict, line=7, message="m", advice="a"))
    levels = [level for _, level, _, _ in facts(read(sarif.to_sarif(made)))]
    assert levels == ([VERDICTS[verdict]] if verdict in VERDICTS else [])


def test_a_probe_has_its_line_of_the_spec(folder: Path) -> None:
    made = result(probe("leakage", "fail", line=7), verdict="fail", exit_code=1)
    assert facts(read(sarif.to_sarif(made))) == [("leakage", "error", "team/sway.yaml", 7)]


def test_a_probe_without_a_spec_is_at_the_adapter(folder: Path) -> None:
    made = result(probe("leakage", "fail", line=None), verdict="fail", exit_code=1)
    (found,) = facts(read(sarif.to_sarif(made)))
    assert found == ("leakage", "error", "team/out/lora/adapter_config.json", 1)


def test_a_low_composite_is_a_result(folder: Path) -> None:
    made = result(probe(), verdict="fail", exit_code=1, score=0.1)
    assert facts(read(sarif.to_sarif(made))) == [("gate", "error", "team/sway.yaml", 1)]


PLACES = {
    "a/b.json": ("team/a/b.json", 1),
    "a/b.json:12": ("team/a/b.json", 12),
    "a/b.json:12:3": ("team/a/b.json", 12),
    "a b%#?é.json": ("team/a b%#?é.json", 1),
    "../c.json": ("c.json", 1),
    "/elsewhere/d.json": ("file:///elsewhere/d.json", 1),
}


@pytest.mark.parametrize(("path", "place"), PLACES.items(), ids=PLACES)
def test_files_are_relative_to_the_repository(
    folder: Path, path: str, place: tuple[str, int]
) -> None:
    finding = Finding(id="x", level="note", message="m", path=path)
    run = read(sarif.to_sarif(result(probe(), findings=(finding,))))
    assert facts(run) == [("x", "note", *place)]


def test_texts_are_one_line_without_links(folder: Path) -> None:
    text = f"[a](http://example.org) {HOSTILE}"
    finding = Finding(id=text, level="broken", message=text, path=text)
    run = read(sarif.to_sarif(result(probe(kind=text, verdict="fail"), findings=(finding,))))
    shown = [one["message"]["text"] for one in run["results"]]
    assert all("](" not in one and one.isprintable() for one in shown)
    assert all(rule["id"].isprintable() for rule in run["tool"]["driver"]["rules"])


def test_of_too_many_results_the_errors_are_kept(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sarif, "MAX_RESULTS", 3)
    levels = ["note", "note", "warning", "broken", "note", "broken"]
    found = tuple(
        Finding(id=f"f{i}", level=level, message="m", path="a") for i, level in enumerate(levels)
    )
    kept = facts(read(sarif.to_sarif(result(findings=found))))
    assert [rule for rule, *_ in kept] == ["f3", "f5", "f2"]


def test_the_help_of_each_probe_is_a_page(folder: Path) -> None:
    kinds = [kind for kind, entry in KINDS.items() if entry.is_probe]
    made = result(*(probe(kind, "fail") for kind in kinds))
    rules = read(sarif.to_sarif(made))["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == kinds
    pages = [urlsplit(rule["helpUri"]).path.rpartition("/docs/")[2] for rule in rules]
    assert all((ROOT / "docs" / page).is_file() for page in pages)
    assert all(rule["shortDescription"]["text"].endswith("?") for rule in rules)


def test_the_help_of_findings_is_a_heading() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert sarif._FINDINGS.endswith("docs/troubleshooting.md#the-adapters-files")
    assert "\n## The adapter's files\n" in page


@pytest.fixture
def broken(folder: Path) -> str:
    """An adapter with a wrong field in line 2."""
    shutil.copytree(demo.HEALTHY, "broken")
    config = '{"peft_type":\n"LORA", "r": "x"}'
    Path("broken/adapter_config.json").write_text(config, encoding="utf-8")
    return "broken"


def test_static_writes_the_findings_of_all_adapters(broken: str, capsys: Any) -> None:
    shutil.copytree(demo.HEALTHY, "healthy")
    assert cli.main(["static", "healthy", broken, "absent", "--sarif", "static.sarif"]) == 2
    assert "ok: healthy" in capsys.readouterr().out
    assert facts(read(Path("static.sarif").read_bytes())) == [
        ("config-field", "error", "team/broken/adapter_config.json", 2),
        ("folder-missing", "error", "team/absent", 1),
    ]


def test_static_writes_sarif_to_standard_output(broken: str, capsys: Any) -> None:
    assert cli.main(["static", broken, "--sarif", "-"]) == 2
    out, err = capsys.readouterr()
    assert len(facts(read(out.encode()))) == 1
    assert err.startswith("broken: broken")


WRONG = {
    "--sarif - --json": "--sarif - would overwrite the file of --json; name another file",
    "--sarif broken/adapter_config.json": "has the name of an adapter's file",
    "--sarif broken/new.sarif": "is in broken, an input",
}


@pytest.mark.parametrize(("options", "message"), WRONG.items(), ids=WRONG)
def test_static_refuses_targets(broken: str, capsys: Any, options: str, message: str) -> None:
    assert cli.main(["static", broken, *options.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_report_becomes_sarif(folder: Path) -> None:
    Path("r.json").write_bytes(to_json(sick()))
    assert cli.main(["report", "r.json", "--format", "sarif", "-o", "r.sarif"]) == 0
    assert Path("r.sarif").read_bytes() == sarif.to_sarif(sick())
