"""Each hostile input has its exit code and its line, and does nothing else."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT
from tests.hostile import (
    bases,
    caches,
    configs,
    data,
    environments,
    reports,
    runner,
    specs,
    weights,
)
from tests.hostile.case import SECRET, Case, filled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses fork and /proc")

FAMILIES = {
    "specs": specs.CASES,
    "configs": configs.CASES,
    "weights": weights.CASES,
    "bases": bases.CASES,
    "data": data.CASES,
    "reports": reports.CASES,
    "caches": caches.CASES,
    "environments": environments.CASES,
}
MAX_LINES, MAX_LINE = 51, 2000
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)


def cases(*, heavy: bool) -> list[Any]:
    return [
        pytest.param(
            case,
            id=f"{family}-{case.name}",
            marks=pytest.mark.skipif(bool(case.waits_for), reason=f"waits for {case.waits_for}"),
        )
        for family, table in FAMILIES.items()
        for case in table
        if case.heavy == heavy
    ]


class Runner:
    """A process that has loaded the libraries and runs one command after the other."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.runner", *argv],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def run(self, job: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def light() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def heavy() -> Iterator[Runner]:
    runner = Runner("heavy")
    yield runner
    runner.close()


def contents(folder: Path) -> dict[str, str]:
    """Each file below the folder with the hash of its bytes; links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = os.readlink(path)
        elif path.is_file():
            large = path.stat().st_size > 2**24
            found[str(path)] = "large" if large else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check(case: Case, runs: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / ".git-credentials").write_text(f"https://user:{SECRET}@host\n{SECRET}\n")
    case.build(folder)
    streams = {name: str(tmp_path / name) for name in ("stdin", "stdout", "stderr", "events")}
    Path(streams["stdin"]).write_bytes(case.stdin)
    settings = {"SWAY_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "200", "HF_TOKEN": SECRET}
    env = settings | {"HF_HUB_CACHE": str(tmp_path / "hub")}
    env |= {name: text.replace("{here}", str(folder)) for name, text in case.env.items()}
    before = contents(folder)

    argv = shlex.split(filled(case.command))
    code = runs.run({"argv": argv, "folder": str(folder), "env": env} | streams)

    out, err = (Path(streams[name]).read_bytes().decode() for name in ("stdout", "stderr"))
    shown = f"{out}\n--- stderr\n{err}"
    assert code != runner.HUNG, f"hung\n{shown}"
    assert code == case.code, shown
    assert any(case.words in line for line in shown.splitlines()), shown
    assert "Traceback" not in shown, shown
    assert "a bug in sway-gate" not in shown, shown
    assert len(err.splitlines()) <= MAX_LINES, shown
    assert all(len(line) <= MAX_LINE for line in err.splitlines()), shown
    assert not _CONTROL.search(shown), ascii(shown)
    assert not _COMMAND.search(shown), shown
    assert Path(streams["events"]).read_text() == ""
    after = contents(folder)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {str(folder / name) for name in case.writes}
    assert SECRET not in shown
    written = [folder / name for name in case.writes]
    written += (tmp_path / "cache").rglob("*")
    assert not [path for path in written if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("case", cases(heavy=False))
def test_light(case: Case, light: Runner, tmp_path: Path) -> None:
    check(case, light, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(heavy=True))
def test_heavy(case: Case, heavy: Runner, tmp_path: Path) -> None:
    check(case, heavy, tmp_path)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [(family, case.name) for family, table in FAMILIES.items() for case in table]
    assert len(names) == len(set(names)) >= 150
