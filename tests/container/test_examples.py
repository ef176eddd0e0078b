"""The commands in examples/docker/README.md and the workflow that uses the image run unchanged."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sway_gate import project
from tests.container.docker import DOCKER, ROOT, here
from tests.packaged.github import act, local, pins

WORKFLOW = (ROOT / "examples" / "github-action" / "docker.yml").read_text(encoding="utf-8")
README = (ROOT / "examples" / "docker" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (docker run .*)$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_the_command_passes(command: str, image: str, work: Path, volume: str) -> None:
    text = re.sub("^docker", DOCKER, here(command, image, volume))
    (work / "huggingface").mkdir()
    env = os.environ | {"HF_HOME": str(work / "huggingface")}
    done = subprocess.run(["bash", "-c", text], cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_are_found() -> None:
    assert len(COMMANDS) >= 6
    assert all(f"{project.IMAGE}:" in command for command in COMMANDS)


def test_the_workflow_passes(image: str, work: Path, volume: str) -> None:
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    own |= dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "A")
    own |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example.org")
    env = os.environ | own | {"XDG_CACHE_HOME": str(work.parent / "cache")}
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    # The folder is mounted into the runner's container. Any image with bash can be the runner.
    options = ("--bind", "--env=TEST_STORE=/tmp", *local(pins()))
    log = act(work, env, *options, workflow=here(WORKFLOW, image, volume), image=image)
    assert re.search(r"Summary - ### sway-gate: PASS", log), log
    assert json.loads((work / "sway.json").read_text(encoding="utf-8"))["verdict"] == "pass"
