"""Run workflows with act on this machine.

The folder `actions/` contains stand-ins for the published actions and for the command gh.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sway_gate import project
from tests.helpers import ROOT
from tests.packaged import kit

EXAMPLE = ROOT / "examples" / "github-action" / "gate.yml"
STANDINS = Path(__file__).with_name("actions")
NEEDS_BASH = pytest.mark.skipif(sys.platform == "win32", reason="act runs no bash on Windows")
OPTIONS = ("--action-offline-mode", "--pull=false", "--no-cache-server", "--eventpath=.event.json")


def act(folder, world, *options, workflow, image="-self-hosted", event="push", code=0):
    """Run a workflow over a repository; return its log without the job names.

    `image` is the container image of the runner; by default it is this machine.
    """
    (folder / ".github" / "workflows").mkdir(parents=True, exist_ok=True)
    (folder / ".github" / "workflows" / "gate.yml").write_text(workflow, encoding="utf-8")
    payload = {} if event == "push" else {"pull_request": {"number": 7}}
    (folder / ".event.json").write_text(json.dumps(payload))
    kit.run("git", "add", "--all", cwd=folder, env=world)
    kit.run("git", "commit", "--quiet", "--allow-empty", "--message", "x", cwd=folder, env=world)
    command = ("act", event, f"--platform=ubuntu-latest={image}", *OPTIONS, *options)
    log = kit.run(*command, cwd=folder, env=world, code=code)
    return re.sub(r"^\[[^]]*\] *", "", log, flags=re.MULTILINE)


def pins():
    """Folder of the stand-in for each owner/name@commit that action.yml uses."""
    text = (ROOT / "action.yml").read_text("utf-8")
    used = set(re.findall(r"uses: ((?:actions|github)/([\w-]+))[\w/-]*@([0-9a-f]{40})", text))
    return {f"{name}@{commit}": STANDINS / short for name, short, commit in used}


def local(standins):
    """Options that make act use these folders instead of the published actions."""
    return [f"--local-repository={name}={folder}" for name, folder in standins.items()]


def make(home, world, checkout, store):
    """Return a function that runs a workflow with this action."""
    (home / "bin").mkdir()
    shutil.copy(STANDINS / "gh", home / "bin" / "gh")
    path = os.pathsep.join([str(home / "bin"), world["PATH"]])
    own = {"TEST_STORE": str(store), "TEST_PYTHON": sys.executable, "PATH": path}
    # A run restores the installation of the first run, bytecode included, and has its own cache.
    left_out = ("PIP_NO_COMPILE", "SWAY_CACHE_DIR")
    env = {key: world[key] for key in world if key not in left_out}
    kept = {key: env[key] for key in env if key.startswith(("PIP_", "HF_", "SSL_"))}
    standins = pins() | {project.ACTION: checkout}
    options = [f"--action-cache-path={home / 'act'}", *local(standins)]
    env["XDG_CACHE_HOME"] = str(home / "cache")

    def run(folder, workflow, event="push", code=0, **variables):
        """Run the workflow; `code` is the expected exit code of act."""
        shutil.rmtree(store / "artifacts", ignore_errors=True)
        (store / "outputs.json").unlink(missing_ok=True)
        given = [f"--env={key}={value}" for key, value in (kept | own | variables).items()]
        log = act(folder, env, *options, *given, workflow=workflow, event=event, code=code)
        outputs = json.loads((store / "outputs.json").read_text(encoding="utf-8"))
        return SimpleNamespace(log=log, outputs=outputs)

    return run


def workflow(**inputs):
    """The example workflow with other inputs; its last step writes the outputs to the store."""
    page = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    page["on"] = page.pop(True)
    (job,) = page["jobs"].values()
    _, gate, last = job["steps"]
    gate["with"] |= {"online": False, **inputs}
    last["env"] = {"OUTPUTS": "${{ toJSON(steps.gate.outputs) }}"}
    last["run"] = 'printf %s "$OUTPUTS" >"$TEST_STORE/outputs.json"'
    return yaml.safe_dump(page)


def artifact(store, name="report.json"):
    return (store / "artifacts" / "sway-gate" / name).read_text(encoding="utf-8")
