"""A gate with waivers: exit code, every report, and the cached verdict after the expiry."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli
from sway_gate.gate.resolve import Options, prepare
from sway_gate.gate.run import run_job
from sway_gate.spec import WAIVERS
from sway_gate.spec.load import load_spec
from tests.gate.test_run import write_spec
from tests.helpers.models import save_adapter, save_base

LEARNED = "the old mill by the river grinds the corn of the whole valley"
SPEC = f"""\
models: {{base: {{kind: dummy, base: b}}, ft: {{kind: dummy, base: b, adapter: {LEARNED}}}}}
defaults: {{coverage_threshold: 0}}
suite:
  - {{name: moved, kind: delta_kl, prompts: [the old mill], assert_mean_gte: 0}}
  - {{name: strict, kind: delta_kl, prompts: [the old mill], assert_mean_gte: 9}}
"""
REASON = "known, <b>accepted</b> | for the [pilot](x)"
MOVED = {"kind": "delta_kl", "prompts": ["one"], "assert_z_gte": -100}
SUITE: list[dict[str, Any]] = [
    {"name": "moved", "assert_mean_gte": 0.0, **MOVED},
    {"name": "strict", "assert_mean_gte": 5.0, **MOVED},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sway.yaml").write_text(SPEC)
    return tmp_path


def waive(
    folder: Path, name: str = "strict", expires: str = "9999-12-31", of: str = "probe"
) -> None:
    entry = {of: name, "reason": REASON, "expires": expires, "by": "Ada"}
    (folder / WAIVERS).write_text(json.dumps({"waivers": [entry]}))


def test_a_waiver_turns_a_fail_into_a_pass(folder: Path, capsys: Any) -> None:
    assert cli.main(["gate"]) == 1
    waive(folder)
    capsys.readouterr()
    assert cli.main(["gate"]) == 0
    out = capsys.readouterr().out
    assert "1 finding waived" in out.splitlines()[0]
    assert "WAIVED" in out


def test_without_another_effect_the_gate_cannot_decide_and_says_why(
    folder: Path, capsys: Any
) -> None:
    (folder / "sway.yaml").write_text(SPEC.replace("assert_mean_gte: 0", "enabled: false"))
    waive(folder)
    assert cli.main(["gate", "--quiet"]) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "not sufficient without the waived findings: strict" in out


def test_an_expired_waiver_fails_and_the_first_line_says_so(folder: Path, capsys: Any) -> None:
    for probe in ("strict", "moved"):
        waive(folder, probe, expires="2026-01-31")
        assert cli.main(["gate", "--quiet"]) == 1
        out = capsys.readouterr().out
        assert f"the waiver of {probe} expired" in " ".join(out.split("composite")[0].split())
        assert "expired on 2026-01-31" in " ".join(out.split())


def test_a_waiver_of_an_unknown_probe_is_a_mistake_in_the_file(folder: Path, capsys: Any) -> None:
    waive(folder, "strickt")
    assert cli.main(["gate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {WAIVERS}:1:")
    assert error.count("\n") == 1


def test_every_report_shows_the_waiver(folder: Path, capsys: Any) -> None:
    waive(folder)
    formats = ("json", "markdown", "html", "junit", "sarif")
    assert cli.main(["gate", *(f"--{name}={name}" for name in formats)]) == 0
    texts = {name: (folder / name).read_text() for name in formats}
    for name in ("markdown", "html", "junit"):
        assert "1 finding waived" in texts[name], name
    texts["terminal"] = " ".join(capsys.readouterr().out.split())
    for name, text in texts.items():
        assert "Ada" in text, name
        assert "9999-12-31" in text, name
        assert "known" in text, name
    assert "<b>accepted" not in texts["html"] + texts["markdown"] + texts["junit"]
    probe = json.loads(texts["json"])["probes"][1]
    assert (probe["verdict"], probe["waiver"]["verdict"]) == ("waived", "fail")
    assert texts["junit"].count("<skipped") == 1
    assert 'failures="0"' in texts["junit"]
    [found] = json.loads(texts["sarif"])["runs"][0]["results"]
    assert found["suppressions"][0]["status"] == "accepted"
    assert found["level"] == "note"


def test_a_waived_regression_from_the_baseline_is_accepted(folder: Path, capsys: Any) -> None:
    (folder / "sway.yaml").write_text(SPEC.replace("assert_mean_gte: 9", "assert_mean_gte: 0"))
    assert cli.main(["gate", "--json", "baseline.json"]) == 0
    (folder / "sway.yaml").write_text(SPEC)
    waive(folder)
    assert cli.main(["gate", "--baseline", "baseline.json"]) == 0
    (folder / WAIVERS).unlink()
    assert cli.main(["gate", "--baseline", "baseline.json"]) == 1


def test_a_cached_pass_does_not_survive_the_expiry(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base)
    spec = write_spec(tmp_path, base, adapter, SUITE, sections=[])
    waive(tmp_path, expires="2027-01-31")
    job = prepare(load_spec(spec), Options(threshold=0.0))
    last, after = (job._replace(today=datetime.date(2027, *day)) for day in ((1, 31), (2, 1)))
    found = [run_job(own) for own in (last, last, after)]
    assert [(one.verdict, one.cached) for one in found] == [
        ("pass", False),
        ("pass", True),
        ("fail", False),
    ]
