"""What users install, for real: hooks through pre-commit, the action through act. `make test-packaging` runs these."""

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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """They install torch several times over, so they run where they are named."""
    named = [Path(arg.partition("::")[0]).absolute() for arg in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of all commands: this Python's scripts first, caches of their own, and the
    project's versions, torch in the build that is installed here."""
    home = tmp_path_factory.mktemp("home")
    pins = re.sub(
        "(?m)^torch==.*",
        f"torch=={metadata.version('torch')}",
        (ROOT / "constraints.txt").read_text("utf-8"),
    )
    (home / "constraints.txt").write_text(pins, encoding="utf-8")
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PRE_COMMIT_HOME": str(home / "pre-commit"),
        "PIP_CONSTRAINT": str(home / "constraints.txt"),
        # What is imported is compiled as it is imported, and nothing else.
        "PIP_NO_COMPILE": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path("~/.cache/pip").expanduser())),
        "SWAY_CACHE_DIR": str(home / "sway"),
        "HF_HUB_CACHE": str(home / "hub"),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "NO_COLOR": "1",
    }
    (home / "gitconfig").write_text(
        "[user]\nname = A\nemail = a@example.org\n[init]\ndefaultBranch = main\n[protocol.file]\nallow = always\n"
        "[advice]\ndetachedHead = false\n",
        encoding="utf-8",
    )
    return {
        key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "GITHUB_"))
    } | own


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, world: dict[str, str]) -> Path:
    """A repository with this package as its one commit, tagged as the release that it would be."""
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
    """What outlives a run of the action: caches, artifacts, comments."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def runner(
    tmp_path_factory: pytest.TempPathFactory, world: dict[str, str], checkout: Path, store: Path
) -> Callable[..., SimpleNamespace]:
    """Runs a workflow in a folder: its log, its summary, the action's outputs, and whether it failed."""
    return github.make(tmp_path_factory.mktemp("runner"), world, checkout, store)


@pytest.fixture
def consumer(tmp_path: Path, world: dict[str, str]) -> Path:
    """A team's repository: a base, a healthy adapter and a spec."""
    folder = tmp_path / "team"
    shutil.copytree(demo.MODEL, folder / "model")
    shutil.copytree(demo.HEALTHY, folder / "runs" / "lora")
    (folder / "sway.yaml").write_text(kit.SPEC, encoding="utf-8")
    kit.git_init(folder, world, commit=False)
    return folder
