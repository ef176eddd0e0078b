"""The script that measures on a GPU, tried on a CPU with a tiny shape."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu

ROOT = Path(__file__).resolve().parent.parent
PASSES = {
    "seconds": 2.0, "tokens": 8000, "tflops": 300.0, "generation": 4.0, "digest": "a",
    "same": True, "determinism": "strict", "peak": 5.0, "weights": 2.5,
}  # fmt: skip


def run(part: str, work: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--shape", "tiny"]
    done = subprocess.run(
        [*command, "--part", part, "--work", str(work)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_every_part_runs_and_repeats_its_numbers(tmp_path: Path) -> None:
    first, second = run("passes", tmp_path), run("passes", tmp_path)
    assert first["same"]
    assert first["digest"] == second["digest"]
    assert first["tokens"] > 64 * 100
    assert run("toggled", tmp_path)["seconds"] > 0
    assert run("commands", tmp_path)["device"] == "cpu"


@pytest.mark.parametrize(("digest", "said"), [("a", "yes (strict)"), ("b", "no (strict)")])
def test_the_page_compares_two_processes(digest: str, said: str) -> None:
    found = {
        ("machine", ""): {"card": "card", "torch": "2", "tflops": 600.0},
        ("passes", "8B"): PASSES,
        ("repeated", "8B"): PASSES | {"digest": digest},
        ("nf4", "8B"): {"error": "no time was left"},
    }
    page = "\n".join(gpu.report(found))
    assert f"| 8B | 2.00 s | 4,000 | 0.50 | 4.0 s | 5.0 / 2.5 GB | {said} | – |" in page
    assert "Not measured: nf4 8B: no time was left" in page
