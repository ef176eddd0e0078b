"""`sway hook`: each concerned spec is gated on its own; the worst one decides."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from sway_gate import cli, demo
from sway_gate.gate.deleted import deleted_files
from tests.helpers import ROOT

SPEC = """\
version: 1
models:
  base: {base: ../model, dtype: fp32, device: cpu}
  ft: {base: ../model, dtype: fp32, device: cpu, adapter: ./lora}
held_out: ./unseen.jsonl
suite:
- {name: moved, kind: delta_kl, prompts: [Marrowby is a village of, The keeper of the sand road is]}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A base, a package with an adapter, and one whose spec has a mistake."""
    shutil.copytree(demo.MODEL, tmp_path / "model")
    for name in ("good", "wrong"):
        shutil.copytree(demo.HEALTHY, tmp_path / name / "lora")
        (tmp_path / name / "unseen.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
        (tmp_path / name / "sway.yaml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "wrong" / "sway.yaml").write_text(SPEC.replace("delta_kl", "delta_lk"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_to_gate_is_said(repository, capsys):
    assert cli.main(["hook", "README.md", "notes.txt"]) == 0
    out = capsys.readouterr().out
    assert out == "nothing to gate: no spec names README.md, notes.txt\n"


def git(*words):
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *words], check=True)


@pytest.fixture
def committed(repository):
    """The repository with its files in a commit."""
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "all")
    return repository


def test_without_files_there_is_nothing_to_gate(committed, capsys):
    assert cli.main(["hook"]) == 0
    out = capsys.readouterr().out
    assert out == "nothing to gate: no file is given, and the commit deletes none\n"


def test_a_deleted_adapter_gates_its_spec(committed, capsys):
    git("rm", "-r", "--quiet", "good/lora")
    assert cli.main(["hook", "README.md"]) == 2
    assert "adapter './lora' does not exist" in capsys.readouterr().err


def test_a_push_that_deletes_an_adapter_gates_its_spec(committed, capsys, monkeypatch):
    git("rm", "-r", "--quiet", "good/lora")
    git("commit", "--quiet", "--message", "delete")
    assert cli.main(["hook"]) == 0
    monkeypatch.setenv("PRE_COMMIT_FROM_REF", "HEAD~")
    monkeypatch.setenv("PRE_COMMIT_TO_REF", "HEAD")
    assert cli.main(["hook"]) == 2


def test_an_adapter_that_is_deleted_with_its_spec_gates_nothing(committed, capsys):
    git("rm", "-r", "--quiet", "good")
    assert cli.main(["hook"]) == 0
    assert "nothing to gate: no spec names good/lora/adapter_config.json" in capsys.readouterr().out


def test_a_repository_that_git_cannot_read_is_noted(repository, capsys):
    (repository / ".git").mkdir()
    assert cli.main(["hook", "README.md"]) == 0
    assert "note: git cannot list the files that the commit deletes" in capsys.readouterr().err


def test_listing_deleted_files_runs_no_program_of_the_configuration(committed):
    for name in ("core.fsmonitor", "diff.external", "core.pager"):
        git("config", name, "touch ran; false")
    git("rm", "-r", "--quiet", "good/lora")
    for file in committed.glob("ran"):
        file.unlink()  # git rm itself asks the monitor
    assert deleted_files() == [
        "good/lora/adapter_config.json",
        "good/lora/adapter_model.safetensors",
    ]
    assert not (committed / "ran").exists()


def test_files_can_follow_the_options_of_args(repository, capsys):
    args = ["hook", "--timeout", "1h", "wrong/sway.yaml", "--confine", ".", "README.md"]
    assert cli.main([*args, "setup.txt"]) == 2
    assert "did you mean 'delta_kl'?" in capsys.readouterr().err


def test_an_unknown_option_is_an_error(repository, capsys):
    assert cli.main(["hook", "--bogus", "wrong/sway.yaml"]) == 2
    assert "unknown option --bogus" in capsys.readouterr().err


def test_a_file_whose_name_is_an_option_is_refused(repository, capsys):
    name = "--adapter=good/adapter_model.safetensors"
    (repository / "--adapter=good").mkdir()
    (repository / name).write_bytes(b"")
    assert cli.main(["hook", "wrong/lora/adapter_model.safetensors", name]) == 2
    assert "is an option and a file; rename the file" in capsys.readouterr().err


def test_a_path_that_cannot_exist_names_no_file(repository, capsys):
    (repository / "nul.sway.yaml").write_text('data: "a\\0b"', encoding="utf-8")
    assert cli.main(["hook", "notes.txt"]) == 0
    assert "nothing to gate" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="a path of this length needs dir_fd")
def test_a_deep_folder_hides_no_spec(repository, capsys):
    folder = os.open(repository, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("a", dir_fd=folder)
        deeper = os.open("a", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    code = cli.main(["hook", "wrong/unseen.jsonl"])
    subprocess.run(["rm", "-rf", "a"], check=True)  # too deep for pytest's own cleaning
    assert code == 2
    assert "did you mean 'delta_kl'?" in capsys.readouterr().err


def test_a_file_is_not_overwritten_by_a_report(repository, capsys):
    assert cli.main(["hook", "sway.yaml", "--junit", "README.md"]) == 2
    assert "--junit README.md: is not an .xml file" in capsys.readouterr().err


def test_a_report_of_several_specs_is_refused(repository, capsys):
    assert cli.main(["hook", "--json", "x.json", "good/sway.yaml", "wrong/sway.yaml"]) == 2
    assert "--json is for one spec" in capsys.readouterr().err


@pytest.mark.slow
def test_each_spec_is_gated_and_the_worst_decides(repository, capsys):
    shutil.copytree(demo.UNTRAINED, repository / "good" / "lora", dirs_exist_ok=True)
    args = ["hook", "good/lora/adapter_config.json", "wrong/unseen.jsonl", "--no-cache"]
    assert cli.main(args) == 2
    said = capsys.readouterr()
    assert said.out.endswith("\nFAIL  good/sway.yaml\nERROR (exit code 2)  wrong/sway.yaml\n")
    assert "did you mean 'delta_kl'?" in said.err
    assert cli.main(["hook", "good/unseen.jsonl", "--json", "x.json", "--no-cache"]) == 1
    assert json.loads((repository / "x.json").read_text())["verdict"] == "fail"


@pytest.mark.slow
def test_libraries_print_no_warning(repository):
    """An adapter that peft reads: the run imports transformers and peft."""
    from peft import LoHaConfig

    from tests.helpers import models

    targets = {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    shutil.rmtree(repository / "good" / "lora")
    config = LoHaConfig(r=2, **targets)
    models.save_adapter(repository / "good" / "lora", repository / "model", config=config)
    run = subprocess.run(
        [sys.executable, "-P", "-m", "sway_gate", "hook", "good/unseen.jsonl", "--no-cache"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "transformers" in run.stdout, run.stderr  # the versions: the model was run
    assert "Warning" not in run.stderr
