"""The start and the end of a Ray on this machine, with a Ray that starts a process with a child."""

import logging
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sway_gate.errors import CannotDecide, Terminated
from sway_gate.fleet.ray_pool import ray_pool, reason_of_loss

psutil = pytest.importorskip("psutil")


class FakeRay(SimpleNamespace):
    """`broken`: the number of starts that end with `error`."""

    def __init__(self, broken: int = 0) -> None:
        self.error: BaseException = TimeoutError("timed out during startup")
        super().__init__(broken=broken, processes=[], workers=[], folders=[], ended=0)

    def init(self, _temp_dir: str, **options: Any) -> None:
        logging.getLogger("ray._private.services").error("the last 20 lines of dashboard.log")
        Path(_temp_dir).mkdir(exist_ok=True)
        Path(_temp_dir).chmod(0o777)  # as Ray does
        self.folders.append(Path(_temp_dir))
        wait = ["sh", "-c", "sleep 60 & wait", f"--dir={_temp_dir}/session"]
        self.processes.append(subprocess.Popen(wait))
        while not (workers := psutil.Process(self.processes[-1].pid).children()):
            time.sleep(0.01)
        self.workers += workers
        if len(self.processes) <= self.broken:
            raise self.error

    def shutdown(self) -> None:
        self.ended += 1

    def remote(self, kind: type) -> type:
        return kind


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)  # type: ignore[arg-type]
    yield fake
    for process in (*fake.processes, *fake.workers):
        with suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait()


def test_only_this_user_can_enter_the_folder_of_ray(ray: Any) -> None:
    with ray_pool(None, 1):
        [folder] = ray.folders
        assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert ray.ended == 1


def test_an_interrupted_fleet_ends_rays_processes_itself(ray: Any) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(KeyboardInterrupt), ray_pool(None, 1):
            raise KeyboardInterrupt
        assert ray.processes[0].wait(timeout=10) < 0
        assert psutil.wait_procs(ray.workers, timeout=10)[1] == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert ray.ended == 0  # it takes longer than an interrupted process has
    assert not ray.folders[0].exists()


def test_a_fleet_that_is_terminated_while_ray_starts_says_so(ray: Any) -> None:
    ray.broken, ray.error = 1, SystemExit(15)  # as Ray's own handler of SIGTERM ends
    with pytest.raises(Terminated), ray_pool(None, 1):
        raise AssertionError
    assert ray.processes[0].wait(timeout=10) < 0


def test_rays_own_log_is_not_printed(ray: Any, caplog: Any) -> None:
    with ray_pool(None, 1):
        pass
    assert caplog.text == ""


def test_a_start_that_fails_leaves_no_process_to_the_next_one(ray: Any) -> None:
    ray.broken = 2
    with ray_pool(None, 1):
        first, second, third = ray.processes
        assert first.wait(timeout=10) < 0
        assert second.wait(timeout=10) < 0
        assert third.poll() is None
    ray.broken = 6
    with (
        pytest.raises(
            CannotDecide, match="Ray did not start on this machine: timed out during startup;"
        ),
        ray_pool(None, 1),
    ):
        raise AssertionError
    assert [process.wait(timeout=10) < 0 for process in ray.processes[3:]] == [True] * 3


def is_running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_a_process_whose_parent_has_ended_is_ended_too(ray: Any) -> None:
    """As the agents of a node that did not start."""
    script = "sh -c 'sleep 60; :' agent \"$0\" > /dev/null 2>&1 & echo $!"
    with suppress(KeyboardInterrupt), ray_pool(None, 1):
        agent = ["sh", "-c", script, f"--dir={ray.folders[0]}/session"]
        pid = int(subprocess.run(agent, capture_output=True, check=True).stdout)
        assert is_running(pid)
        raise KeyboardInterrupt
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_running(pid)


REFUSED = """The actor died because of an error raised in its creation task, ray::_Actor.__init__()
sway_gate.errors.UsageError: a worker has sway-gate 1, and this machine 2"""
LOW = """Memory on the node where the actor was running was 15.6GB / 16.0GB (0.97).
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/."""
KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: _Actor
Worker exit type: SYSTEM_ERROR. Some common causes include: (1) the process was killed by the OOM \
killer due to high memory usage, (2) ray stop --force was called"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (REFUSED, "a worker has sway-gate 1, and this machine 2"),
        (LOW, "out of memory; run fewer workers (raise --cpus), or use a larger machine"),
        (KILLED, "its process ended, probably out of memory; run fewer workers"),
        ("The actor died.\nIts node ended.", "Its node ended."),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_of_a_lost_worker_is_one_line_of_rays_message(text: str, reason: str) -> None:
    found = reason_of_loss(RuntimeError(text))
    assert found.startswith(reason)
    assert "\n" not in found
