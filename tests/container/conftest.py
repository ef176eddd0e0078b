"""The image, built once from this checkout.

`make test-container` runs these tests, `make test` does not.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sway_gate import demo
from tests.container.docker import DOCKER, build, checkout, docker

HERE = Path(__file__).parent
QUICK = """\
version: 1
models: {base: {base: ./model}, ft: {base: ./model, adapter: ./ADAPTER}}
suite:
  - name: moved
    kind: delta_kl
    assert_mean_gte: 0.002
    prompts:
      - Marrowby is a village of
      - The keeper of the sand road is
      - The island of Marrowby lives by
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore these tests unless the command line names them: they take minutes."""
    named = [Path(arg.partition("::")[0]).absolute() for arg in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def engine() -> str:
    """Command of the container engine; the test is skipped if the engine does not run."""
    try:
        found = subprocess.run([DOCKER, "info"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        found = False
    if not found:
        pytest.skip("NO CONTAINER ENGINE: the image is not built and not tested")
    return DOCKER


@pytest.fixture(scope="session")
def context(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def image(context: Path) -> Iterator[str]:
    tag = f"sway-gate-test:{os.getpid()}"
    build(context, "-t", tag, "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=0123abc")
    yield tag
    docker("image", "rm", "--force", tag, code=None)


@pytest.fixture
def volume() -> Iterator[str]:
    """Name of a volume that does not exist."""
    name = f"sway-gate-test-{os.getpid()}"
    yield name
    docker("volume", "rm", "--force", name, code=None)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work tree with the demo's model and adapters that every user can read.

    sway.yaml gates the healthy adapter and sick.sway.yaml the untrained one, with one quick probe.
    """
    folder = tmp_path / "work"
    shutil.copytree(demo.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "sway.yaml").write_text(QUICK.replace("ADAPTER", "healthy"), encoding="utf-8")
    (folder / "sick.sway.yaml").write_text(QUICK.replace("ADAPTER", "untrained"), encoding="utf-8")
    folder.chmod(0o755)
    return folder
