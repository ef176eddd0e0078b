"""The examples in `--help` run, in a folder with the files that they name."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli, demo
from sway_gate.model_files.hub import ADAPTER_CONFIG
from tests.commands.test_parser import EXAMPLES, PROGRAM
from tests.helpers import ROOT

NEEDS = {"completion": "shtab"}
MEASURES = (
    "gate",
    "run",
    "check",
    "hook",
    "parity",
    "demo",
    "diff",
    "rank",
    "mine",
    "baseline update baseline.json sway",
)
ELSEWHERE = {
    "sway autogen notes.dlm": "needs an adapter in the store of dlm",
    "sway parity runs/adapter --data train.jsonl --against model.gguf": "needs a GGUF file",
    "sway fleet sway.yaml --adapters runs/adapter runs/old": "tests/fleet/test_ray.py runs it",
    "sway fleet sway.yaml --results results": "tests/fleet/test_ray.py runs it",
    "sway doctor": "tests/test_cli.py runs it as its own process",
}
SPEC = """\
version: 1
models:
  base: {base: path/to/base, device: cpu}
  ft: {base: path/to/base, adapter: runs/adapter}
suite:
  - {name: nulls, kind: null_adapter, runs: 2}
  - name: moved_from_base
    kind: delta_kl
    prompts: [The island of Marrowby lives by, The ravens of Marrowby live in]
  - name: paraphrases
    kind: paraphrase_invariance
    cases:
      - {prompt: Who feeds the ravens?, gold: " the keeper", paraphrases: [By whom are they fed?]}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder with the demo's files, under the names in the examples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(demo.MODEL, "path/to/base")
    shutil.copytree(demo.MODEL, "merged")
    for name, source in {"adapter": demo.HEALTHY, "old": demo.FOLDER / "untrained"}.items():
        folder = Path(shutil.copytree(source, f"runs/{name}"))
        config = (folder / ADAPTER_CONFIG).read_text(encoding="utf-8")
        base = config.replace("../model", "path/to/base")
        (folder / ADAPTER_CONFIG).write_text(base, encoding="utf-8")
    Path("sway.yaml").write_text(SPEC, encoding="utf-8")
    text = (demo.FOLDER / "document.md").read_text(encoding="utf-8")
    pairs = re.findall(r"^(Question: .*\nAnswer:)( .*)$", text, re.MULTILINE)
    rows = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in pairs]
    Path("train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    Path("test.jsonl").write_text("\n".join(rows[:2]).replace("Who", "who"), encoding="utf-8")
    inputs = ROOT / "tests" / "recorded" / "inputs"
    for name in ("report", "old", "new"):
        shutil.copy(inputs / "healthy.json", f"{name}.json")
    shutil.copy(inputs / "demo.trace", "trace.jsonl")
    return tmp_path


def line_cases() -> list[Any]:
    """Each example; those that measure are slow."""
    found = []
    for line in dict.fromkeys([*EXAMPLES, *PROGRAM.examples]):
        measures = line.removeprefix("sway ").startswith(MEASURES) and "--dry-run" not in line
        found.append(pytest.param(line, marks=[pytest.mark.slow] if measures else [], id=line))
    return found


@pytest.mark.parametrize("line", line_cases())
def test_the_example_runs(files: Path, capsys: Any, line: str) -> None:
    if line in ELSEWHERE:
        pytest.skip(ELSEWHERE[line])
    words = shlex.split(line.partition(" > ")[0])[1:]
    if words[0] in NEEDS:
        pytest.importorskip(NEEDS[words[0]])
    if words[0] == "init":
        Path("sway.yaml").unlink()
    decides = words[0] in (
        "gate",
        "run",
        "check",
        "hook",
        "parity",
        "rank",
    )  # this adapter may fail
    assert cli.main(words) in ((0, 1, 3) if decides else (0,))
    assert "error: " not in capsys.readouterr().err
