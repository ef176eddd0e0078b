"""Faults of the machine: kills, full disks, other users, little memory, closed streams."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT
from tests.hostile.case import DEMO, filled, spec
from tests.hostile.running import KILLED, Outcome, Runner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="uses fork and /proc"),
]
is_root = hasattr(os, "geteuid") and os.geteuid() == 0
is_public = all(place.stat().st_mode & 0o005 == 0o005 for place in (DEMO, *DEMO.parents))
NOBODY = 65534
GATE = ("gate", "sway.yaml", "--json", "r.json")
QUIET = ("gate", "sway.yaml", "--quiet")
MEMORY_LIMITS = {
    "/sys/fs/cgroup/memory": "memory.limit_in_bytes",  # version 1
    "/sys/fs/cgroup": "memory.max",
}


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that every user can enter, with a gate that passes."""
    folder = Path(tempfile.mkdtemp(prefix="faults"))
    (folder / "case").mkdir()
    (folder / "case/sway.yaml").write_text(filled(str(spec()["sway.yaml"])))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def verdict(folder: Path) -> Any:
    """The report without times, and without whether it was cached."""
    found = json.loads((folder / "case/r.json").read_text())
    return {name: value for name, value in found.items() if name not in ("timing", "cached")}


def drafts(root: Path) -> list[Path]:
    """Files that a killed process left, or that a running one writes."""
    return [*root.rglob("*.tmp")]


def assert_passed(found: Outcome) -> None:
    assert (found.code, found.err, found.events) == (0, "", ""), found.text


def assert_refused(found: Outcome) -> None:
    """Neither a pass nor a fail, and one line."""
    assert found.code in (2, 3), found.text
    assert len(found.err.splitlines()) <= 1, found.text
    assert "Traceback" not in found.text
    assert "a bug in sway-gate" not in found.text


def forget(root: Path) -> None:
    """Remove what the cache knows of measurements."""
    for name in ("verdicts", "readings"):
        shutil.rmtree(root / "cache" / name, ignore_errors=True)


def test_kills_leave_nothing_wrong(heavy: Runner, root: Path) -> None:
    traced = (*GATE, "--trace", "t")
    assert_passed(heavy.run(root, traced))
    right = verdict(root)
    forget(root)
    start = time.monotonic()
    assert_passed(heavy.run(root, traced))
    seconds, draw, codes = time.monotonic() - start, random.Random(0), []
    for _ in range(12):
        forget(root)
        codes.append(heavy.run(root, traced, kill_after=seconds * draw.random()).code)
        # A run removes the earlier report when it starts.
        if (root / "case/r.json").exists() or codes[-1] == 0:
            assert verdict(root) == right
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= 4
    for path in drafts(root):
        os.utime(path, (0, 0))
    assert_passed(heavy.run(root, traced))
    assert verdict(root) == right
    assert drafts(root) == []


def test_parallel_gates_share_a_cache(heavy: Runner, root: Path) -> None:
    assert_passed(heavy.run(root, QUIET, together=8))
    assert drafts(root) == []
    found = heavy.run(root, GATE)
    assert_passed(found)
    assert "(cached)" in found.out
    cached = verdict(root)
    forget(root)
    assert_passed(heavy.run(root, GATE))
    assert verdict(root) == cached


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    place = root / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if not is_root or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted only by root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_cache_on_a_full_disk_changes_nothing(
    heavy: Runner, root: Path, small_disk: Path
) -> None:
    assert_passed(heavy.run(root, GATE))
    right = verdict(root)
    (small_disk / "filler").write_bytes(bytes(4096))
    assert_passed(heavy.run(root, GATE, env={"SWAY_CACHE_DIR": str(small_disk / "cache")}))
    assert verdict(root) == right
    assert drafts(small_disk) == []


def test_a_report_on_a_full_disk_is_an_error(heavy: Runner, root: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(12288))
    found = heavy.run(root, (*QUIET, "--html", str(small_disk / "r.html")))
    assert_refused(found)
    assert "cannot write" in found.err
    assert [*small_disk.iterdir()] == [filler]


def test_a_limit_of_file_sizes_is_an_error(heavy: Runner, root: Path) -> None:
    found = heavy.run(root, GATE, file_size=1024)
    assert_refused(found)
    assert "File too large" in found.err
    assert drafts(root) == []


@pytest.mark.parametrize("argv", [QUIET, ("explain",), ("doctor",)], ids=lambda argv: argv[0])
def test_standard_output_on_a_full_disk_is_an_error(
    heavy: Runner, root: Path, argv: tuple[str, ...]
) -> None:
    found = heavy.run(root, argv, stdout="/dev/full")
    assert_refused(found)
    assert "No space left" in found.err


CLOSED = [("stdin",), ("stdout",), ("stderr",), ("stdin", "stdout", "stderr")]


@pytest.mark.parametrize("names", CLOSED, ids=" ".join)
def test_closed_streams_change_no_exit_code(
    heavy: Runner, root: Path, names: tuple[str, ...]
) -> None:
    assert_passed(heavy.run(root, GATE, closed=names))
    assert heavy.run(root, ("gate", "none.yaml"), closed=names).code == 2
    other = spec(ft="{base: '{demo}/model', adapter: '{demo}/untrained'}")
    (root / "case/sway.yaml").write_text(filled(str(other["sway.yaml"])))
    assert heavy.run(root, QUIET, closed=names).code == 1


@pytest.mark.parametrize("megabytes", [2, 4, 16, 64])
def test_little_memory_is_an_error(heavy: Runner, root: Path, megabytes: int) -> None:
    found = heavy.run(root, QUIET, memory=megabytes * 2**20)
    if found.code != 0:
        assert_refused(found)
        assert "memory" in found.err


@pytest.mark.skipif(not is_root, reason="only root can become another user")
@pytest.mark.skipif(not is_public, reason="other users cannot read the checkout")
def test_another_user_gets_the_verdict_and_writes_nothing(heavy: Runner, root: Path) -> None:
    """The cache, the suite and the current folder belong to root and are read-only."""
    assert_passed(heavy.run(root, QUIET))
    before = sorted(root.rglob("*"))
    found = heavy.run(root, QUIET, uid=NOBODY)
    assert_passed(found)
    assert "(cached)" not in found.out
    assert sorted(root.rglob("*")) == before
    refused = heavy.run(root, GATE, uid=NOBODY)
    assert_refused(refused)
    assert "is not writable" in refused.err


@pytest.mark.skipif(not is_root, reason="only root can give files to another user")
def test_a_cache_of_another_user_is_not_believed(heavy: Runner, root: Path) -> None:
    assert_passed(heavy.run(root, QUIET))
    for path in (root / "cache", *(root / "cache").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    found = heavy.run(root, QUIET)
    assert_passed(found)
    assert "(cached)" not in found.out


def test_a_clock_that_was_set_back_changes_nothing(heavy: Runner, root: Path) -> None:
    """The files of the cache are from the future."""
    assert_passed(heavy.run(root, GATE))
    right, future = verdict(root), time.time() + 10 * 365 * 86400
    (root / "cache/verdicts/draft.0123456789abcdef.tmp").write_bytes(b"")
    for path in root.rglob("*"):
        os.utime(path, (future, future))
    found = heavy.run(root, GATE)
    assert_passed(found)
    assert "(cached)" in found.out
    forget(root)
    assert_passed(heavy.run(root, GATE))
    assert verdict(root) == right


def test_a_deleted_folder_is_an_error(heavy: Runner, root: Path) -> None:
    assert_refused(heavy.run(root, ("gate", "sway.yaml"), is_deleted=True))
    assert not (root / "case").exists()


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A new control group of processes whose memory can be limited."""
    for parent, limit in MEMORY_LIMITS.items():
        group = Path(parent) / f"sway-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                yield group / limit
                return
        finally:
            group.rmdir()
    pytest.skip("control groups of memory cannot be made here")


@pytest.mark.parametrize("megabytes", [60, 250])
def test_a_run_that_the_system_kills_for_its_memory_is_an_error(
    root: Path, memory_group: Path, megabytes: int
) -> None:
    memory_group.write_text(str(megabytes * 2**20))
    enter = f'echo $$ > {memory_group.parent / "cgroup.procs"} && exec "$@"'
    command = [sys.executable, "-m", "sway_gate", "gate", "sway.yaml", "--no-cache", "--quiet"]
    found = subprocess.run(
        ["sh", "-c", enter, "sh", *command],
        cwd=root / "case",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, len(found.stderr.splitlines())) == (3, 1), found.stderr
    assert "memory" in found.stderr
