"""Tests of the hooks and the action as users install them: through pre-commit and act.

`make test-packaging` runs these tests, `make test` does not.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from sway_gate import demo
from tests.packaged import github, kit

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = (
    "sway_gate",
    ".pre-commit-hooks.yaml",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "action.yml",
)

GIT_CONFIG = """\
[user]
name = A
email = a@example.org
[init]
defaultBranch = main
[protocol.file]
allow = always
[advice]
detachedHead = false
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore these tests unless the command line names them: they install torch several times."""
    named = [Path(arg.partition("::")[0]).absolute() for arg in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of all commands.

    The scripts of this Python are first on the PATH, caches are separate, and pip installs the
    pinned versions, with the build of torch that is installed here.
    """
    home = tmp_path_factory.mktemp("home")
    torch = f"torch=={metadata.version('torch')}"
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    constraints = re.sub("(?m)^torch==.*", torch, pinned)
    (home / "constraints.txt").write_text(constraints, encoding="utf-8")
    (home / "gitconfig").write_text(GIT_CONFIG, encoding="utf-8")
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PRE_COMMIT_HOME": str(home / "pre-commit"),
        "PIP_CONSTRAINT": str(home / "constraints.txt"),
        # The hook's index of CPU builds is not reachable everywhere.
        "PIP_RETRIES": "0",
        # Modules are compiled when they are imported, not when they are installed.
        "PIP_NO_COMPILE": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path("~/.cache/pip").expanduser())),
        "SWAY_CACHE_DIR": str(home / "sway"),
        "HF_HUB_CACHE": str(home / "hub"),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "NO_COLOR": "1",
    }
    foreign = ("GIT_", "GITHUB_")
    return {key: os.environ[key] for key in os.environ if not key.startswith(foreign)} | own


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, world: dict[str, str]) -> Path:
    """A repository with one commit that contains this package and has the tag of its version."""
    from sway_gate import __version__

    folder = tmp_path_factory.mktemp("sway-gate")
    for name in PACKAGE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    kit.git_init(folder, world)
    kit.run("git", "tag", f"v{__version__}", cwd=folder, env=world)
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the data that the stand-ins keep between runs: caches, artifacts, comments."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def runner(
    tmp_path_factory: pytest.TempPathFactory, world: dict[str, str], checkout: Path, store: Path
) -> Callable[..., SimpleNamespace]:
    """Function that runs a workflow in a folder; it returns the log and the action's outputs."""
    return github.make(tmp_path_factory.mktemp("runner"), world, checkout, store)


@pytest.fixture
def consumer(tmp_path: Path, world: dict[str, str]) -> Path:
    """A user's repository with a base, a healthy adapter and a spec."""
    folder = tmp_path / "team"
    shutil.copytree(demo.MODEL, folder / "model")
    shutil.copytree(demo.HEALTHY, folder / "runs" / "lora")
    (folder / "sway.yaml").write_text(kit.SPEC, encoding="utf-8")
    kit.git_init(folder, world, commit=False)
    return folder
