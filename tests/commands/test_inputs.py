"""The order of a command line: --data does not take the adapter, diff takes two adapters."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from sway_gate import cli, demo
from sway_gate.commands import compare
from sway_gate.commands._common import given_adapter

HEALTHY = str(demo.HEALTHY)
FILE = f"{HEALTHY}/adapter_config.json"
ORDERS = {
    f"{HEALTHY} --data a b": (HEALTHY, ["a", "b"], []),
    f"--data a {HEALTHY}": (HEALTHY, ["a"], []),
    f"--data a b {HEALTHY}": (HEALTHY, ["a", "b"], []),
    f"--data a --data b {HEALTHY}": (HEALTHY, ["a", "b"], []),
    f"--data a --held-out h {HEALTHY}": (HEALTHY, ["a"], ["h"]),
    f"--data a {HEALTHY} --held-out h": (HEALTHY, ["a"], ["h"]),
    f"--data a {FILE}": (FILE, ["a"], []),
    "--data a org/adapter": ("org/adapter", ["a"], []),
    "--data a --base b org/adapter": ("org/adapter", ["a"], []),
    "--data a b": (None, ["a", "b"], []),
    f"--data {HEALTHY}": (None, [HEALTHY], []),
}


@pytest.mark.parametrize(("line", "expected"), ORDERS.items(), ids=range(len(ORDERS)))
@pytest.mark.parametrize("command", ["check", "init"])
def test_the_adapter_is_not_data(command: str, line: str, expected: Any) -> None:
    words = [command, *line.split()]
    args = cli._parser(words).parse_args(words)
    assert (given_adapter(args), args.data, args.held_out) == expected


def test_init_needs_an_adapter(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "--data", "train.jsonl"]) == 2
    assert "give an adapter: sway init runs/adapter --data" in capsys.readouterr().err


DIFFS = {
    "a b": ("sway.yaml", "a", "b"),
    "my.yaml a b": ("my.yaml", "a", "b"),
    "a b my.YML": ("my.YML", "a", "b"),
    "- a b": ("-", "a", "b"),
    "my.yaml --a a --b b": ("my.yaml", "a", "b"),
    "spec.json --a a --b b": ("spec.json", "a", "b"),
    "--a a --b b": ("sway.yaml", "a", "b"),
    "--a a b": ("sway.yaml", "a", "b"),
    "--b b my.yaml a": ("my.yaml", "a", "b"),
    "--a x.yaml --b b": ("sway.yaml", "x.yaml", "b"),
}


@pytest.mark.parametrize(("line", "expected"), DIFFS.items(), ids=DIFFS)
def test_diff_takes_two_adapters_and_a_spec(line: str, expected: tuple[str, ...]) -> None:
    words = ["diff", *line.split()]
    args = cli._parser(words).parse_args(words)
    compare._name_inputs(args)
    assert (args.spec, args.a, args.b) == expected


@pytest.mark.parametrize(
    "line", ["", "a", "a b c", "a.yaml b.yaml a b", "--a a", "--a a --b b c d"]
)
def test_diff_refuses_others(tmp_path: Path, monkeypatch: Any, capsys: Any, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diff", *line.split()]) == 2
    assert "give two adapters and at most one spec, got" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-o", "--out", "--output"])
def test_the_file_of_mine(option: str) -> None:
    words = ["mine", option, "weak.yaml"]
    assert cli._parser(words).parse_args(words).output == "weak.yaml"


@pytest.fixture
def untrained(tmp_path: Path, monkeypatch: Any) -> str:
    """The demo's adapter with B = 0, as before training; the current folder has a spec of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo.HEALTHY, tmp_path / "untrained")
    tensors = load_file(tmp_path / "untrained" / "adapter_model.safetensors")
    zero = {name: value * 0 if "lora_B" in name else value for name, value in tensors.items()}
    save_file(zero, tmp_path / "untrained" / "adapter_model.safetensors")
    models = {
        "base": {"base": str(demo.MODEL)},
        "ft": {"base": str(demo.MODEL), "adapter": "./untrained"},
    }
    suite = [{"name": "moved", "kind": "delta_kl", "prompts": ["The island"]}]
    document = {"version": 1, "models": models, "suite": suite}
    (tmp_path / "sway.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return "untrained"


UNTRAINED = "the A or B of all 28 modules is zero: the adapter was never trained"


@pytest.mark.parametrize("command", ["gate --dry-run", "init"])
def test_an_untrained_adapter_is_named_before_a_gate(
    untrained: str, capsys: Any, command: str
) -> None:
    base, data = str(demo.MODEL), str(demo.FOLDER / "document.md")
    init = ["init", untrained, "--base", base, "--data", data, "-o", "new.yaml"]
    assert cli.main(init if command == "init" else command.split()) == 0
    assert f"the gate fails without a measurement: {UNTRAINED}" in capsys.readouterr().out


def test_an_untrained_adapter_is_named_in_a_diff(untrained: str, capsys: Any) -> None:
    assert cli.main(["diff", untrained, untrained]) == 3
    err = capsys.readouterr().err
    assert err.count(f"note: {untrained}: {UNTRAINED}") == 2


def test_an_empty_adapter_is_not_the_one_of_the_spec(capsys: Any) -> None:
    """As in --adapter "$CHECKPOINT" with a variable that is not set."""
    spec = str(demo.HEALTHY.parent / "healthy.sway.yaml")
    assert cli.main(["gate", spec, "--dry-run", "--adapter", ""]) == 2
    assert "argument --adapter: is empty" in capsys.readouterr().err
