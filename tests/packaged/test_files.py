"""Linters accept the action, the workflows, the hook files and the scripts."""

import re
import subprocess

import pytest
import yaml

from tests.helpers import ROOT
from tests.packaged import kit

ACTIONS = [ROOT / "action.yml", *sorted((ROOT / "tests" / "packaged").rglob("action.yml"))]
EXAMPLES = sorted((ROOT / "examples" / "github-action").glob("*.yml"))
WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), *EXAMPLES]
SCHEMAS = (
    dict.fromkeys(ACTIONS, "github-actions")
    | dict.fromkeys(WORKFLOWS, "github-workflows")
    | {ROOT / ".github" / "dependabot.yml": "dependabot"}
)
SHELL = re.compile(r"#!.*\b(?:ba|da)?sh\n")


def name(path):
    return path.relative_to(ROOT).as_posix()


def steps():
    """(file, job and name of the step, its script) of each step with a script."""
    for path in (*ACTIONS, *WORKFLOWS):
        page = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, job in page.get("jobs", {"": page.get("runs")}).items():
            for number, step in enumerate(job["steps"]):
                if "run" in step:
                    yield f"{name(path)} {key} {step.get('name', number)}", step["run"]


def tracked():
    """The files of the repository that git lists, also new ones."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for each in listed.split("\0") if each and (path := ROOT / each).is_file()]


def shell_scripts():
    """(file, its text) of each file that begins with the name of a shell."""
    for path in tracked():
        if path.read_bytes()[:2] == b"#!" and SHELL.match(text := path.read_text("utf-8")):
            yield name(path), text


@pytest.mark.parametrize(("path", "schema"), SCHEMAS.items(), ids=map(name, SCHEMAS))
def test_actions_workflows_and_dependabot_fit_their_schemas(world, path, schema):
    command = ("check-jsonschema", "--builtin-schema", f"vendor.{schema}", str(path))
    kit.run(*command, cwd=ROOT, env=world)


def test_zizmor_finds_nothing(world, tmp_path):
    # The examples use a release that does not have a commit or a digest yet.
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    for example in EXAMPLES:
        pinned = example.read_text(encoding="utf-8").replace(
            "gate/sway-gate@v", f"gate/sway-gate@{'0' * 40} # v"
        )
        pinned = re.sub("(?m)(gate/sway-gate):.*", rf"\1@sha256:{'0' * 64}", pinned)
        (tmp_path / ".github" / "workflows" / example.name).write_text(pinned, encoding="utf-8")
    command = ("zizmor", "--offline", "--quiet", "action.yml", ".github", str(tmp_path))
    kit.run(*command, cwd=ROOT, env=world)


SCRIPTS = dict(steps()) | dict(shell_scripts())


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_shellcheck_finds_nothing(world, script):
    command = ("shellcheck", "--shell", "bash", "--severity", "style", "-")
    done = subprocess.run(command, input=script, env=world, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_hadolint_finds_nothing(world):
    dockerfiles = [str(path) for path in tracked() if "Dockerfile" in path.name]
    assert kit.run("hadolint", *dockerfiles, cwd=ROOT, env=world) == ""


def test_pre_commit_accepts_the_hook_files(world):
    config = "examples/precommit/.pre-commit-config.yaml"
    kit.run("pre-commit", "validate-manifest", ".pre-commit-hooks.yaml", cwd=ROOT, env=world)
    kit.run("pre-commit", "validate-config", config, cwd=ROOT, env=world)
