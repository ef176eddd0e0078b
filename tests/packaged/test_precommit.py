"""The hooks run by pre-commit and by git in a user's repository."""

import os
import re
import shutil
from pathlib import Path

import pytest

from sway_gate import __version__, demo, project
from tests.helpers import ROOT
from tests.packaged import kit

EXAMPLE = ROOT / "examples" / "precommit" / ".pre-commit-config.yaml"
REV = f"v{__version__}"
GATES = ("sway-gate", "sway-gate-isolated")
HOOKS = (*GATES, "sway-static")


def hook(name, consumer, world, *options, code=0):
    """Output of a hook that runs on the whole work tree."""
    kit.run("git", "add", "--all", cwd=consumer, env=world)
    return kit.run(
        "pre-commit", "run", name, "--verbose", *options, cwd=consumer, env=world, code=code
    )


def commit(consumer, world, code=0):
    kit.run("git", "add", "--all", cwd=consumer, env=world)
    return kit.run("git", "commit", "--message", "work", cwd=consumer, env=world, code=code)


@pytest.fixture
def gated(consumer, checkout):
    """A user's repository with the hook that runs the gate on the PATH."""
    kit.configure(consumer, "id: sway-gate", repo=checkout, rev=REV)
    return consumer


@pytest.mark.parametrize("name", HOOKS)
def test_try_repo(consumer, world, checkout, name):
    kit.run("git", "add", "--all", cwd=consumer, env=world)
    command = ("pre-commit", "try-repo", str(checkout), name, "--verbose")
    output = kit.run(*command, cwd=consumer, env=world)
    assert re.search(r"sway (gate|static).*Passed", output)
    assert "PASS  composite" in output or "ok: runs/lora\n" in output


@pytest.mark.parametrize("name", HOOKS)
def test_the_work_tree_stays_as_it_was(consumer, world, checkout, name):
    kit.configure(consumer, f"id: {name}", repo=checkout, rev=REV)
    assert "Passed" in hook(name, consumer, world)
    command = ("git", "status", "--porcelain", "--ignored", "--untracked-files=all")
    status = kit.run(*command, cwd=consumer, env=world)
    assert {line[:3] for line in status.splitlines()} == {"A  "}


@pytest.mark.parametrize("name", GATES)
def test_git_commit_itself_refuses_a_sick_adapter(consumer, world, checkout, name):
    kit.configure(consumer, f"id: {name}", repo=checkout, rev=REV)
    kit.run("pre-commit", "install", cwd=consumer, env=world)
    commit(consumer, world)
    healthy = kit.head(consumer, world)
    kit.make_sick(consumer)
    assert "FAIL  1 of 1 probe fails: moved" in commit(consumer, world, code=1)
    assert kit.head(consumer, world) == healthy != ""


def test_the_example_checks_files_at_commits_and_gates_pushes(consumer, world, checkout, tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8").replace(project.REPOSITORY, checkout.as_posix())
    (consumer / EXAMPLE.name).write_text(text, encoding="utf-8")
    kit.run("git", "init", "--quiet", "--bare", str(tmp_path / "remote"), cwd=tmp_path, env=world)
    kit.run("git", "remote", "add", "origin", str(tmp_path / "remote"), cwd=consumer, env=world)
    kit.run("pre-commit", "install", cwd=consumer, env=world)
    assert "sway static" in commit(consumer, world)
    kit.run("git", "push", "origin", "main", cwd=consumer, env=world)
    kit.make_sick(consumer)
    assert "sway gate" not in commit(consumer, world)
    assert "FAIL  1 of 1 probe fails: moved" in kit.run(
        "git", "push", "origin", "main", cwd=consumer, env=world, code=1
    )


def test_each_package_is_gated_by_its_own_spec(gated, world):
    for name in ("legal", "poems"):
        shutil.copytree(gated / "runs", gated / name / "runs")
        spec = kit.SPEC.replace("./model", "../model")
        (gated / name / "sway.yaml").write_text(f"{spec}held_out: rows.jsonl\n", encoding="utf-8")
        (gated / name / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    commit(gated, world)
    (gated / "poems" / "rows.jsonl").write_text('{"prompt": "a", "completion": "c"}\n')
    output = hook("sway-gate", gated, world)
    assert f"adapter {gated / 'poems' / 'runs'}" in output
    assert "legal" not in output
    shutil.copytree(demo.UNTRAINED, gated / "legal" / kit.ADAPTER, dirs_exist_ok=True)
    for file in (gated / "legal" / kit.ADAPTER).iterdir():
        file.touch()  # git compares sizes and times, which the copy took from the package
    output = hook("sway-gate", gated, world, code=1)
    assert "FAIL  legal/sway.yaml\nPASS  poems/sway.yaml\n" in output


REFUSED = {
    "a Git LFS pointer": (kit.make_pointer, 2, "git lfs pull"),
    "a base that is not on this machine": (kit.make_absent, 3, "hf download org/none"),
    "a broken spec": (kit.make_broken, 2, "did you mean 'delta_kl'?"),
}


@pytest.mark.parametrize(("spoil", "code", "remedy"), REFUSED.values(), ids=REFUSED)
def test_an_error_is_one_line_with_a_remedy(gated, world, spoil, code, remedy):
    spoil(gated)
    output = hook("sway-gate", gated, world, code=1)
    assert f"- exit code: {code}" in output
    assert sum("rror:" in line or "ERROR" in line for line in output.splitlines()) == 1
    assert remedy in output


def test_a_missing_extra_is_named(gated, world, checkout):
    kit.configure(gated, "id: sway-gate", "id: sway-static", repo=checkout, rev=REV)
    hook("sway-static", gated, world)
    bare = kit.without_torch(Path(world["PRE_COMMIT_HOME"]))
    path = {"PATH": os.pathsep.join([str(bare), world["PATH"]])}
    output = hook("sway-gate", gated, world | path, code=1)
    assert "- exit code: 3" in output
    assert "pip install 'sway-gate[hf]'" in output


def test_static_refuses_a_pointer_by_its_name(consumer, world, checkout):
    kit.configure(consumer, "id: sway-static", repo=checkout, rev=REV)
    kit.make_pointer(consumer)
    output = hook("sway-static", consumer, world, code=1)
    assert "- exit code: 2" in output
    assert "git lfs pull" in output


@pytest.mark.parametrize("name", ["sway-gate", "sway-static"])
def test_a_hook_is_skipped_for_other_files(consumer, world, checkout, name):
    kit.configure(consumer, f"id: {name}", repo=checkout, rev=REV)
    commit(consumer, world)
    (consumer / "setup.py").write_text("words", encoding="utf-8")
    assert "(no files to check)Skipped" in hook(name, consumer, world)


def test_a_cached_verdict_loads_no_numerical_library(gated, world):
    hook("sway-gate", gated, world, "--all-files")
    output = hook("sway-gate", gated, world | {"PYTHONPROFILEIMPORTTIME": "1"}, "--all-files")
    assert "(cached)" in output
    assert "sway_gate.cache" in output
    assert not re.search(r"\| +(numpy|torch|transformers|peft)\b", output)
