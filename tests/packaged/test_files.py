"""The action and the workflows under the tools that check such files."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.packaged import kit

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "github-action" / "gate.yml"
WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), EXAMPLE]
SCHEMAS = {ROOT / "action.yml": "github-actions"} | dict.fromkeys(WORKFLOWS, "github-workflows")


def scripts():
    """(file and name of the step, its script) of all steps that run one."""
    for path in SCHEMAS:
        page = yaml.safe_load(path.read_text(encoding="utf-8"))
        for job in page["jobs"].values() if "jobs" in page else [page["runs"]]:
            for number, step in enumerate(job["steps"]):
                if "run" in step:
                    yield f"{path.name} {step.get('name', number)}", step["run"]


@pytest.mark.parametrize(("path", "schema"), SCHEMAS.items(), ids=lambda value: getattr(value, "name", value))
def test_the_schema_holds(world, path, schema):
    kit.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", str(path), cwd=ROOT, env=world)


def test_zizmor_finds_nothing(world, tmp_path):
    # The example names a release, which has no commit yet.
    pinned = EXAMPLE.read_text(encoding="utf-8").replace("sway-gate/sway-gate@v", f"sway-gate/sway-gate@{'0' * 40} # v")
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "gate.yml").write_text(pinned, encoding="utf-8")
    kit.run("zizmor", "--offline", "--quiet", "action.yml", ".github", str(tmp_path), cwd=ROOT, env=world)


@pytest.mark.parametrize("script", [script for _, script in scripts()], ids=[name for name, _ in scripts()])
def test_shellcheck_finds_nothing(world, script):
    command = ("shellcheck", "--shell", "bash", "--severity", "style", "-")
    done = subprocess.run(command, input=script, env=world, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_hooks_are_hooks(world):
    kit.run("pre-commit", "validate-manifest", ".pre-commit-hooks.yaml", cwd=ROOT, env=world)
    kit.run("pre-commit", "validate-config", "examples/precommit/.pre-commit-config.yaml", cwd=ROOT, env=world)
