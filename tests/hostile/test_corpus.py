"""Each hostile input has its exit code and its line, and does nothing else."""

import hashlib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import (
    bases,
    caches,
    configs,
    data,
    embedders,
    environments,
    reports,
    specs,
    weights,
)
from tests.hostile.case import SECRET, Case, filled
from tests.hostile.running import KILLED, Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses fork and /proc")

FAMILIES = {
    "specs": specs.CASES,
    "configs": configs.CASES,
    "weights": weights.CASES,
    "bases": bases.CASES,
    "data": data.CASES,
    "embedders": embedders.CASES,
    "reports": reports.CASES,
    "caches": caches.CASES,
    "environments": environments.CASES,
}
MAX_LINES, MAX_LINE = 51, 2000
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)


def cases(*, heavy: bool) -> list[Any]:
    return [
        pytest.param(case, id=f"{family}-{case.name}")
        for family, table in FAMILIES.items()
        for case in table
        if case.heavy == heavy
    ]


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
    env = {name: text.replace("{here}", str(folder)) for name, text in case.env.items()}
    before = contents(folder)

    argv = shlex.split(filled(case.command))
    found = runs.run(tmp_path, argv, env=env, stdin=case.stdin)

    shown, err = found.text, found.err.splitlines()
    assert found.code != KILLED, f"hung\n{shown}"
    assert found.code == case.code, shown
    assert any(case.words in line for line in shown.splitlines()), shown
    assert "Traceback" not in shown, shown
    assert "a bug in sway-gate" not in shown, shown
    assert len(err) <= MAX_LINES, shown
    assert all(len(line) <= MAX_LINE for line in err), shown
    assert not _CONTROL.search(shown), ascii(shown)
    assert not _COMMAND.search(shown), shown
    assert found.events == ""
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
