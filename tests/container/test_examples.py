"""Every command of examples/docker/README.md runs as it stands."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.docker import DOCKER, ROOT, docker

README = (ROOT / "examples" / "docker" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (docker run .*)$", README, re.MULTILINE)
IMAGE = re.compile(r"ghcr\.io/sway-gate/sway-gate:\S+")


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"sway-gate-test-{os.getpid()}"
    yield name
    docker("volume", "rm", "--force", name, code=None)


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_the_command_passes(command: str, image: str, work: Path, volume: str) -> None:
    text = IMAGE.sub(image, command).replace("sway-gate:/cache", f"{volume}:/cache")
    text = re.sub("^docker", DOCKER, text)
    (work / "huggingface").mkdir()
    env = os.environ | {"HF_HOME": str(work / "huggingface")}
    done = subprocess.run(["bash", "-c", text], cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_are_found() -> None:
    assert len(COMMANDS) >= 6
    assert all(IMAGE.search(command) for command in COMMANDS)
