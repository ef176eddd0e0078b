"""The hooks, through pre-commit and through git itself, in a team's repository."""

import os
import re
import sys
from pathlib import Path

import pytest

from sway_gate import __version__
from tests.helpers import ROOT
from tests.packaged import kit

EXAMPLE = ROOT / "examples" / "precommit" / ".pre-commit-config.yaml"
REV = f"v{__version__}"
GATES = ("sway-gate", "sway-gate-isolated")
HOOKS = (*GATES, "sway-static")
NOOP = "- repo: local\n  hooks:\n  - {id: noop, name: noop, language: system, entry: git version, pass_filenames: false}\n"


def hook(name, consumer, world, *options, code=0):
    """What a hook says to all that lies in the work tree."""
    kit.run("git", "add", "--all", cwd=consumer, env=world)
    return kit.run(
        "pre-commit", "run", name, "--verbose", *options, cwd=consumer, env=world, code=code
    )


def commit(consumer, world, code=0):
    kit.run("git", "add", "--all", cwd=consumer, env=world)
    return kit.run("git", "commit", "--message", "work", cwd=consumer, env=world, code=code)


@pytest.fixture
def gated(consumer, checkout):
    """With the gate of the PATH."""
    kit.configure(consumer, "id: sway-gate", repo=checkout, rev=REV)
    return consumer


@pytest.mark.parametrize("name", HOOKS)
def test_try_repo(consumer, world, checkout, name):
    kit.run("git", "add", "--all", cwd=consumer, env=world)
    said = kit.run(
        "pre-commit", "try-repo", str(checkout), name, "--verbose", cwd=consumer, env=world
    )
    assert re.search(r"sway (gate|static).*Passed", said)
    assert "PASS  composite" in said or "ok: runs/lora\n" in said


@pytest.mark.parametrize("name", HOOKS)
def test_the_work_tree_stays_as_it_was(consumer, world, checkout, name):
    kit.configure(consumer, f"id: {name}", repo=checkout, rev=REV)
    assert "Passed" in hook(name, consumer, world)
    status = kit.run(
        "git",
        "status",
        "--porcelain",
        "--ignored",
        "--untracked-files=all",
        cwd=consumer,
        env=world,
    )
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
    text = EXAMPLE.read_text(encoding="utf-8").replace(
        "https://github.com/sway-gate/sway-gate", checkout.as_posix()
    )
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


REFUSED = {
    "a Git LFS pointer": (kit.make_pointer, 2, "git lfs pull"),
    "a base that is not here": (kit.make_absent, 3, "hf download org/none"),
    "a broken spec": (kit.make_broken, 2, "did you mean 'delta_kl'?"),
}


@pytest.mark.parametrize(("spoil", "code", "remedy"), REFUSED.values(), ids=REFUSED)
def test_one_line_tells_the_remedy(gated, world, spoil, code, remedy):
    spoil(gated)
    said = hook("sway-gate", gated, world, code=1)
    assert f"- exit code: {code}" in said
    assert sum("rror:" in line or "ERROR" in line for line in said.splitlines()) == 1
    assert remedy in said


def test_a_missing_extra_is_named(gated, world, checkout):
    kit.configure(gated, "id: sway-gate", "id: sway-static", repo=checkout, rev=REV)
    hook("sway-static", gated, world)
    bare = kit.without_torch(Path(world["PRE_COMMIT_HOME"]))
    said = hook(
        "sway-gate", gated, world | {"PATH": os.pathsep.join([str(bare), world["PATH"]])}, code=1
    )
    assert "- exit code: 3" in said
    assert "pip install 'sway-gate[hf]'" in said


def test_static_refuses_a_pointer_by_its_name(consumer, world, checkout):
    kit.configure(consumer, "id: sway-static", repo=checkout, rev=REV)
    kit.make_pointer(consumer)
    said = hook("sway-static", consumer, world, code=1)
    assert "- exit code: 2" in said
    assert "git lfs pull" in said


@pytest.mark.parametrize("name", ["sway-gate", "sway-static"])
def test_what_does_not_concern_it_costs_nothing(consumer, world, checkout, name):
    kit.configure(consumer, f"id: {name}", repo=checkout, rev=REV)
    commit(consumer, world)
    (consumer / "README.md").write_text("words", encoding="utf-8")
    assert "(no files to check)Skipped" in hook(name, consumer, world)


def seconds(name, consumer, world):
    """Of processor time, the least of five: waiting for other processes does not count."""
    spent = []
    for _ in range(5):
        before = os.times()
        said = hook(name, consumer, world, "--all-files")
        after = os.times()
        spent.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    return min(spent), said


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count the time of children")
def test_a_known_verdict_costs_a_fifth_of_a_second(gated, world, checkout):
    kit.configure(gated, "id: sway-gate", repo=checkout, rev=REV, extra=NOOP)
    hook("sway-gate", gated, world, "--all-files")
    (own, _), (known, said) = seconds("noop", gated, world), seconds("sway-gate", gated, world)
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert "(cached)" in said
    assert known - own <= 0.2 * crowd
