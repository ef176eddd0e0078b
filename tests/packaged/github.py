"""GitHub's runner in small: act on this machine, with `actions/` in the place of what GitHub and others publish."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sway_gate import __version__
from tests.helpers import ROOT
from tests.packaged import kit

EXAMPLE = ROOT / "examples" / "github-action" / "gate.yml"
STANDINS = Path(__file__).with_name("actions")
NEEDS_BASH = pytest.mark.skipif(sys.platform == "win32", reason="act runs no bash on Windows")
OPTIONS = ("--action-offline-mode", "--pull=false", "--no-cache-server", "--eventpath=.event.json")


def act(folder, world, *options, workflow, image="-self-hosted", event="push", code=0):
    """The log of a workflow that runs over a repository, on this machine or in an image, without the names of its jobs
    before each line."""
    (folder / ".github" / "workflows").mkdir(parents=True, exist_ok=True)
    (folder / ".github" / "workflows" / "gate.yml").write_text(workflow, encoding="utf-8")
    (folder / ".event.json").write_text(
        json.dumps({"pull_request": {"number": 7}} if event != "push" else {})
    )
    kit.run("git", "add", "--all", cwd=folder, env=world)
    kit.run("git", "commit", "--quiet", "--allow-empty", "--message", "x", cwd=folder, env=world)
    command = ("act", event, f"--platform=ubuntu-latest={image}", *OPTIONS, *options)
    log = kit.run(*command, cwd=folder, env=world, code=code)
    return re.sub(r"^\[[^]]*\] *", "", log, flags=re.MULTILINE)


def pins():
    """owner/name@commit of the actions that the action uses, with the folder that stands in for each."""
    used = set(
        re.findall(
            r"uses: (actions/([\w-]+))[\w/-]*@([0-9a-f]{40})",
            (ROOT / "action.yml").read_text("utf-8"),
        )
    )
    return {f"{name}@{commit}": STANDINS / short for name, short, commit in used}


def local(standins):
    """Options of act: for each owner/name@ref the folder that stands in for it."""
    return [f"--local-repository={name}={folder}" for name, folder in standins.items()]


def make(home, world, checkout, store):
    """What runs a workflow that uses this action: its log, and the action's outputs."""
    (home / "bin").mkdir()
    shutil.copy(STANDINS / "gh", home / "bin" / "gh")
    path = os.pathsep.join([str(home / "bin"), world["PATH"]])
    own = {"TEST_STORE": str(store), "TEST_PYTHON": sys.executable, "PATH": path}
    # Each run has its copy of what the first one installed, with the bytecode of then, and its own cache.
    env = {
        key: value
        for key, value in world.items()
        if key not in ("PIP_NO_COMPILE", "SWAY_CACHE_DIR")
    }
    kept = {key: env[key] for key in env if key.startswith(("PIP_", "HF_", "SSL_"))}
    standins = pins() | {f"sway-gate/sway-gate@v{__version__}": checkout}
    options = [f"--action-cache-path={home / 'act'}", *local(standins)]
    env["XDG_CACHE_HOME"] = str(home / "cache")

    def run(folder, workflow, event="push", code=0, **variables):
        shutil.rmtree(store / "artifacts", ignore_errors=True)
        (store / "outputs.json").unlink(missing_ok=True)
        given = [f"--env={key}={value}" for key, value in (kept | own | variables).items()]
        log = act(folder, env, *options, *given, workflow=workflow, event=event, code=code)
        return SimpleNamespace(
            log=log, outputs=json.loads((store / "outputs.json").read_text(encoding="utf-8"))
        )

    return run


def workflow(**inputs):
    """The example, with inputs of a test's own; afterwards a step tells the outputs."""
    page = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    page["on"] = page.pop(True)
    (job,) = page["jobs"].values()
    _, gate, tell = job["steps"]
    gate["with"] |= {"online": False, **inputs}
    tell["env"] = {"OUTPUTS": "${{ toJSON(steps.gate.outputs) }}"}
    tell["run"] = 'printf %s "$OUTPUTS" >"$TEST_STORE/outputs.json"'
    return yaml.safe_dump(page)


def artifact(store, name="report.json"):
    return (store / "artifacts" / "sway-gate" / name).read_text(encoding="utf-8")
