"""Without the plugin: one test that always measures everything; its failure prints the report."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_release(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        "-m",
        "sway_gate",
        "gate",
        "sway.yaml",
        "--threshold",
        "0.7",
        "--json",
        str(report),
    ]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    probes = {
        probe["name"]: probe for probe in json.loads(report.read_text(encoding="utf-8"))["probes"]
    }
    sections = probes["learned_the_document"]["details"]["sections"]
    assert all(section["passed"] for section in sections)
