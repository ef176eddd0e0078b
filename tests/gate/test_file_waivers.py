"""Waivers of findings of the check of the files: in the gate, in `sway static`, in every report."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from sway_gate import cli
from sway_gate.reports import github
from sway_gate.reports.json_v1 import from_json, to_json
from sway_gate.reports.modelcard import render
from tests.gate.test_run import write_spec
from tests.gate.test_waivers import SUITE, waive
from tests.helpers.models import save_adapter, save_base

FORMATS = ("json", "markdown", "html", "junit", "sarif", "codequality")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A spec of an adapter with a layer that was never trained: a warning."""
    monkeypatch.chdir(tmp_path)
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base)
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    for name in tensors:
        if "layers.0." in name and "lora_B" in name:
            tensors[name] *= 0
    save_file(tensors, file)
    write_spec(tmp_path, base, adapter, SUITE[:1], sections=[])
    return tmp_path


def gate(*options: str) -> int:
    return cli.main(["gate", "--threshold", "0", *options])


def test_a_waived_finding_is_in_every_report(folder: Path, capsys: Any) -> None:
    waive(folder, "dead-layers", of="finding")
    assert gate(*(f"--{name}={name}" for name in FORMATS)) == 0
    texts = {name: (folder / name).read_text() for name in FORMATS}
    result = from_json((folder / "json").read_bytes())
    texts["terminal"] = capsys.readouterr().out
    texts["model card"] = render(result)
    texts["annotations"] = "\n".join(github.annotations(result, folder))
    for name, text in texts.items():
        text = " ".join(text.split())
        assert "Ada" in text, name
        assert "9999-12-31" in text, name
    assert "1 finding waived" in texts["terminal"].splitlines()[0]
    assert "WAIVED" in texts["terminal"]
    assert "<b>accepted" not in texts["html"] + texts["markdown"] + texts["junit"]
    [found] = json.loads(texts["sarif"])["runs"][0]["results"]
    assert (found["level"], found["suppressions"][0]["status"]) == ("note", "accepted")
    assert texts["annotations"].startswith("::notice ")


def test_check_applies_the_waiver_of_a_finding(folder: Path, capsys: Any) -> None:
    line = {"finding": "dead-layers", "reason": "frozen", "expires": "9999-12-31", "by": "Ada"}
    (folder / ".sway-waivers.yaml").write_text(json.dumps({"waivers": [line]}), encoding="utf-8")
    cli.main(["check", "adapter", "--base", "base", "--json", "r.json"])
    [found] = from_json((folder / "r.json").read_bytes()).findings
    assert (found.id, found.level) == ("dead-layers", "waived")
    out = " ".join(capsys.readouterr().out.split())
    assert "WAIVED waived by Ada until 9999-12-31 (frozen): 7 of 14 modules" in out


def test_an_expired_waiver_of_a_warning_fails(folder: Path, capsys: Any) -> None:
    waive(folder, "dead-layers", "2026-01-31", of="finding")
    assert gate() == 1
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("FAIL the waiver by Ada expired on 2026-01-31")
    sentence = "waiver expired. No rule is violated, but a waiver expired: dead-layers."
    assert f"Diagnosis: {sentence}" in out
    assert cli.main(["static", "adapter"]) == 1
    assert capsys.readouterr().out.startswith("waiver expired: adapter\nFAIL dead-layers: ")


def test_a_waiver_without_its_finding_is_noted(folder: Path, capsys: Any) -> None:
    note = "note: the waiver of norm-outlier is not needed"
    waive(folder, "norm-outlier", of="finding")
    gate()
    assert note in capsys.readouterr().out
    assert cli.main(["static", "adapter"]) == 0
    assert note in capsys.readouterr().err


def test_a_waived_failure_of_the_files_does_not_replace_the_probes(
    folder: Path, capsys: Any
) -> None:
    file = folder / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: t * ("lora_A" in name) for name, t in tensors.items()}, file)
    assert cli.main(["static", "adapter"]) == 1
    waive(folder, "never-trained", of="finding")
    assert cli.main(["static", "adapter"]) == 0
    assert "\nWAIVED never-trained: " in capsys.readouterr().out
    spec = folder / "sway.yaml"
    spec.write_text(spec.read_text().replace("-100", "3"))
    assert gate() == 1
    out = capsys.readouterr().out
    assert "FAIL   moved" in out
    assert "WAIVED" in out


def test_a_forged_waived_finding_is_refused(folder: Path) -> None:
    waive(folder, "dead-layers", of="finding")
    assert gate("--json", "report.json") == 0
    report = json.loads((folder / "report.json").read_text())
    report["findings"][0]["waiver"]["is_expired"] = True
    (folder / "forged.json").write_text(json.dumps(report))
    assert cli.main(["report", "forged.json"]) == 2
    assert to_json(from_json((folder / "report.json").read_bytes()))
