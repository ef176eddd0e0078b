"""Linters accept the action, the workflows, the hook files and the scripts."""

import re
import subprocess

import pytest
import yaml

from tests.helpers import ROOT
from tests.packaged import kit

EXAMPLES = sorted((ROOT / "examples" / "github-action").glob("*.yml"))
WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), *EXAMPLES]
SCHEMAS = {ROOT / "action.yml": "github-actions"} | dict.fromkeys(WORKFLOWS, "github-workflows")


def scripts():
    """(file and name of the step, its script) of each step with a script."""
    for path in SCHEMAS:
        page = yaml.safe_load(path.read_text(encoding="utf-8"))
        for job in page["jobs"].values() if "jobs" in page else [page["runs"]]:
            for number, step in enumerate(job["steps"]):
                if "run" in step:
                    yield f"{path.name} {step.get('name', number)}", step["run"]


@pytest.mark.parametrize(
    ("path", "schema"), SCHEMAS.items(), ids=lambda value: getattr(value, "name", value)
)
def test_actions_and_workflows_fit_their_schemas(world, path, schema):
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


CI = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / ".ci").iterdir()}
SCRIPTS = dict(scripts()) | CI


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_shellcheck_finds_nothing(world, script):
    command = ("shellcheck", "--shell", "bash", "--severity", "style", "-")
    done = subprocess.run(command, input=script, env=world, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_pre_commit_accepts_the_hook_files(world):
    config = "examples/precommit/.pre-commit-config.yaml"
    kit.run("pre-commit", "validate-manifest", ".pre-commit-hooks.yaml", cwd=ROOT, env=world)
    kit.run("pre-commit", "validate-config", config, cwd=ROOT, env=world)
