"""--confine keeps all files of a run in one folder, --allow-code keeps code from running."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import sway_gate
from sway_gate import cli
from sway_gate.errors import SwayError, UsageError
from sway_gate.gate.resolve import Options, prepare
from sway_gate.results import GateResult
from sway_gate.spec.confine import check_files
from sway_gate.spec.load import load_spec
from tests.helpers.results import healthy

DEMO = Path(cli.__file__).parent / "demo"
ROWS = "".join(
    json.dumps({"prompt": f"question {i}", "completion": f"answer {i}"}) + "\n" for i in range(9)
)
OPTIONS = "--confine ."


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with files that a run could read, next to the repository."""
    outside = tmp_path / "outside"
    shutil.copytree(DEMO / "model", outside / "base")
    shutil.copytree(DEMO / "healthy", outside / "lora")
    for name in ("rows.jsonl", "document.dlm", "prompts.txt", "report.json"):
        (outside / name).write_text(ROWS, encoding="utf-8")
    return outside


@pytest.fixture
def folder(outside: Path, monkeypatch: Any) -> Path:
    """The repository: it has everything, and nothing in it can be measured."""
    folder = shutil.copytree(outside, outside.parent / "repository")
    (folder / ".git").mkdir()
    config = json.loads((folder / "lora/adapter_config.json").read_bytes())
    config["base_model_name_or_path"] = "base"
    (folder / "lora/adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    write(folder)
    monkeypatch.chdir(folder)

    def measured(*_: Any) -> None:
        raise SwayError("measured")

    for name in ("run_gate", "run_job"):
        monkeypatch.setattr(f"sway_gate.gate.run.{name}", measured)
    return folder


def write(folder: Path, **fields: Any) -> None:
    """sway.yaml with these fields; `models` may be a part of them."""
    models = {"base": {"base": "base"}, "ft": {"base": "base", "adapter": "lora"}}
    for name, given in fields.pop("models", {}).items():
        models[name] |= given
    suite = [{"name": "moved", "kind": "delta_kl", "prompts": ["a"]}]
    text = yaml.safe_dump({"models": models, "suite": suite} | fields)
    (folder / "sway.yaml").write_text(text, encoding="utf-8")


def link(folder: Path, name: str, target: str) -> None:
    """Replace a file of the repository by a link."""
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(target)


def spoil_behind_a_link(folder: Path) -> None:
    (folder / "rows").mkdir()
    (folder / "more").mkdir()
    link(folder, "rows/sub", "../more")
    link(folder, "more/rows.jsonl", "../../outside/rows.jsonl")
    write(folder, data="rows")


EMBEDDED = {
    "name": "reverts",
    "kind": "adapter_revert",
    "embedding_model": "../outside/base",
    "cases": [{"prompt": "a", "gold": "b", "paraphrases": ["c"]}],
}
BASE = {"base": {"base": "../outside/base"}, "ft": {"base": "../outside/base"}}
SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "base": (lambda f: write(f, models=BASE), "base: "),
    "adapter": (lambda f: write(f, models={"ft": {"adapter": "../outside/lora"}}), "adapter: "),
    "home": (lambda f: write(f, models={"ft": {"adapter": "~"}}), "adapter: "),
    "data": (lambda f: write(f, data=["rows.jsonl", "../outside/rows.jsonl"]), "data: "),
    "absolute": (lambda f: write(f, data="/etc/passwd"), "data: "),
    "held out": (lambda f: write(f, held_out="../outside/rows.jsonl"), "held_out: "),
    "document": (lambda f: write(f, dlm_source="../outside/document.dlm"), "dlm_source: "),
    "embedder": (lambda f: write(f, suite=[EMBEDDED]), "embedding_model: "),
    "git": (lambda f: write(f, data=".git/config"), "data: "),
    "a link": (lambda f: link(f, "lora", "../outside/lora"), "adapter: "),
    "a link in a folder": (
        lambda f: link(f, "base/config.json", "../../outside/base/config.json"),
        "base: ",
    ),
    "links behind a link": (spoil_behind_a_link, "data: "),
    "a link to a device": (lambda f: link(f, "lora/adapter_config.json", "/dev/zero"), "adapter: "),
    "the spec": (lambda f: link(f, "sway.yaml", "../outside/prompts.txt"), "SPEC: "),
}


@pytest.mark.parametrize(("spoil", "field"), SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("command", ["gate", "run --dry-run", "mine", "baseline update b.json"])
def test_a_spec_cannot_lead_out_of_the_folder(
    folder: Path, capsys: Any, command: str, spoil: Callable[[Path], None], field: str
) -> None:
    (folder / ".git/config").write_text("token")
    spoil(folder)
    assert cli.main([*command.split(), "sway.yaml", *OPTIONS.split()]) == 2
    err = capsys.readouterr().err
    assert f"{field}" in err
    assert "leads out of . (--confine) or into its .git" in err
    assert len(err.splitlines()) == 1


LINES = {
    "check, adapter": "check ../outside/lora --base base",
    "check, base": "check lora --base ../outside/base",
    "check, model": "check --model ../outside/base --base base",
    "check, data": "check lora --data ../outside/rows.jsonl",
    "check, held out": "check lora --data rows.jsonl --held-out ../outside/rows.jsonl",
    "check, prompts": "check lora --prompts ../outside/prompts.txt",
    "init, adapter": "init ../outside/lora --data rows.jsonl -o -",
    "init, data": "init lora --data ../outside/rows.jsonl -o -",
    "gate, baseline": "gate --baseline ../outside/report.json",
    "diff": "diff --a lora --b ../outside/lora",
    "baseline": "baseline update b.json --from ../outside/report.json",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_command_cannot_lead_out_of_the_folder(folder: Path, capsys: Any, line: str) -> None:
    assert cli.main([*line.split(), *OPTIONS.split()]) == 2
    assert "leads out of ." in capsys.readouterr().err


def test_the_base_that_an_adapter_names_cannot_lead_out(folder: Path, capsys: Any) -> None:
    config = {"peft_type": "LORA", "base_model_name_or_path": "../outside/base"}
    (folder / "lora/adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    for line in ("check lora", "init lora --data rows.jsonl -o -"):
        assert cli.main([*line.split(), *OPTIONS.split()]) == 2
        assert "base: " in capsys.readouterr().err


TARGETS = {
    "gate": "gate --json report.json",
    "a link to a folder": "gate --trace out/trace.jsonl",
    "check": "check lora --base base --html report.json",
    "diff": "diff --a lora --b lora --json report.json",
    "baseline": "baseline update report.json sway.yaml",
    "mine": "mine -o report.json",
    "init": "init lora --data rows.jsonl --force -o report.json",
}


@pytest.mark.parametrize("line", TARGETS.values(), ids=TARGETS)
def test_no_report_is_written_through_a_link_out_of_the_folder(
    folder: Path, outside: Path, capsys: Any, line: str
) -> None:
    link(folder, "report.json", "../outside/report.json")
    link(folder, "out", "../outside")
    assert cli.main([*line.split(), *OPTIONS.split()]) == 2
    assert "leads out of ." in capsys.readouterr().err
    assert (outside / "report.json").read_text() == ROWS


def test_a_report_can_be_named_outside_of_the_folder(outside: Path, folder: Path) -> None:
    assert cli.main(["gate", "--json", str(outside / "new.json"), *OPTIONS.split()]) == 3


INSIDE = {
    "the spec's own files": lambda f: write(f, data="rows.jsonl", held_out="prompts.txt"),
    "a link inside": lambda f: link(f, "lora/README.md", "../prompts.txt"),
    "a hub id": lambda f: write(f, models={"ft": {"adapter": "org/absent"}}),
}


def test_a_hub_id_is_not_a_path(folder: Path) -> None:
    check_files({"base": ["org/absent"]}, "lora")
    with pytest.raises(UsageError, match="base: base leads out of lora"):
        check_files({"base": ["base"]}, "lora")


@pytest.mark.parametrize("change", INSIDE.values(), ids=INSIDE)
def test_files_in_the_folder_are_used(folder: Path, capsys: Any, change: Any) -> None:
    change(folder)
    assert cli.main(["gate", *OPTIONS.split()]) == 3
    assert capsys.readouterr().err == "error: measured\n"


def test_the_files_of_the_hub_cache_are_used(outside: Path, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(outside))
    check_files({"base": [str(outside / "base")]}, str(folder))
    with pytest.raises(UsageError, match=r"base: .* leads out"):
        check_files({"base": [str(outside.parent)]}, str(folder))


def test_an_adapter_can_be_the_folder_of_the_repository(folder: Path) -> None:
    check_files({"adapter": ["."]}, ".")


def test_the_folder_must_exist(folder: Path, capsys: Any) -> None:
    assert cli.main(["gate", "--confine", "absent"]) == 2
    assert "--confine absent: no such folder" in capsys.readouterr().err


CUSTOM = {"kind": "custom", "base": "b", "entry_point": "absent.module:make"}
CODE = {
    "kind: custom": {"base": CUSTOM, "ft": CUSTOM},
    "trust_remote_code: true": {"base": {"trust_remote_code": True}},
}


@pytest.mark.parametrize(("words", "models"), CODE.items(), ids=CODE)
def test_a_spec_runs_no_code_unless_it_is_allowed(
    folder: Path, words: str, models: dict[str, Any]
) -> None:
    write(folder, models=models)
    spec = load_spec("sway.yaml")
    with pytest.raises(UsageError, match=rf"\Asway\.yaml: {words} runs code; add --allow-code"):
        prepare(spec, Options())
    prepare(spec, Options(allow_code=True))


@pytest.mark.parametrize(
    "line", ["gate", "run", "mine --mode outliers", "diff --a lora --b lora", "baseline update b"]
)
def test_commands_pass_the_permission(folder: Path, monkeypatch: Any, line: str) -> None:
    given: list[bool] = []

    def measured(spec: Any, options: Options, *_: Any) -> None:
        given.append(options.allow_code)
        raise SwayError("measured")

    for name in ("gate.run.run_gate", "gate.diff.run_gate", "suites.mine.run_gate"):
        monkeypatch.setattr(f"sway_gate.{name}", measured)
    spec = ["sway.yaml"] if "baseline" in line else []
    for option in ([], ["--allow-code"]):
        cli.main([*line.split(), *spec, *option])
    assert given == [False, True]


def test_python_callers_allow_code(folder: Path, monkeypatch: Any) -> None:
    given: list[bool] = []

    def judged(_: Any, options: Options) -> GateResult:
        given.append(options.allow_code)
        return healthy()

    monkeypatch.setattr("sway_gate.gate.run.run_gate", judged)
    for allowed in (False, True):
        sway_gate.run("sway.yaml", allow_code=allowed)
    assert given == [False, True]
