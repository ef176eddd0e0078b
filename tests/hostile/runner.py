"""Run commands in forked children: python -m tests.hostile.runner [heavy]

Reads jobs as lines of JSON and answers each with a line of exit codes. The libraries are imported
once, so that a command takes milliseconds. An audit hook records what no command may do.
"""

import gc
import importlib
import json
import os
import pkgutil
import platform
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import sway_gate
from sway_gate.cli import main

LIBRARIES = (
    "dlm.doc.parser",
    "dlm.store.paths",
    "encodings.utf_8_sig",
    "jinja2",
    "pyarrow.parquet",
    "rich.console",
    "yaml",
)
LIMIT_S = 20
MEMORY_BYTES = 3 * 2**30
"""Additional address space of a command."""
FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
}
_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STREAMS = ("stdin", "stdout", "stderr")


class Job(TypedDict):
    """One command."""

    argv: list[str]
    folder: str
    env: dict[str, str]
    stdin: str
    stdout: str
    stderr: str
    events: str
    together: NotRequired[int]
    """Number of processes that run it at the same time."""
    kill_after: NotRequired[float]
    """Seconds after which it is killed."""
    uid: NotRequired[int]
    memory: NotRequired[int]
    """Additional address space, instead of MEMORY_BYTES."""
    file_size: NotRequired[int]
    """Maximum size of a file that it writes."""
    is_deleted: NotRequired[bool]
    """Whether its folder is deleted when it starts."""
    closed: NotRequired[list[str]]
    """Names of its closed streams."""


def preload(*, is_heavy: bool) -> None:
    for module in pkgutil.walk_packages(sway_gate.__path__, "sway_gate."):
        if is_heavy or not module.name.startswith(("sway_gate.backends", "sway_gate.__main__")):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    platform.platform()  # starts `uname`, once per process
    if is_heavy:
        for name in ("peft", "transformers.models.llama.modeling_llama", "transformers"):
            importlib.import_module(name)


def run(job: Job) -> list[int]:
    """The exit codes of the commands, or minus the signals that ended them."""
    children = [_start(job) for _ in range(job.get("together", 1))]
    return [_wait(child, job.get("kill_after", LIMIT_S)) for child in children]


def _start(job: Job) -> int:
    pid = os.fork()
    if not pid:
        _child(job)
    return pid


def _wait(pid: int, seconds: float) -> int:
    """The exit code; the process is killed after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _child(job: Job) -> None:
    gc.disable()
    code = 70
    try:
        _redirect(job)
        os.chdir(job["folder"])
        if job.get("is_deleted"):
            shutil.rmtree(job["folder"])
        os.environ.update(job["env"])
        _limit(job)
        code = main(job["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _limit(job: Job) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * os.sysconf("SC_PAGESIZE") + job.get("memory", MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if size := job.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if uid := job.get("uid"):
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def _is_isolated(event: str, args: tuple[Any, ...]) -> bool:
    """Whether it starts an interpreter that reads no foreign file and no variable."""
    return event == "subprocess.Popen" and args[1][:3] == [sys.executable, "-I", "-S"]


def _redirect(job: Job) -> None:
    for number, name in enumerate(STREAMS):
        os.dup2(os.open(job[name], os.O_RDWR | os.O_APPEND), number)  # type: ignore[literal-required]
        if name in job.get("closed", []):
            os.close(number)
            setattr(sys, name, None)
    if sys.stdin is not None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  stays open
    events = os.open(job["events"], os.O_WRONLY | os.O_APPEND)
    places = (job["folder"], job["env"]["SWAY_CACHE_DIR"], "/dev/null")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes) and (args[2] or 0) & _WRITE:
            is_foreign = not os.path.abspath(os.fsdecode(args[0])).startswith(places)
        elif event == "exec":
            is_foreign = getattr(args[0], "co_filename", "").startswith(job["folder"])
        else:
            is_foreign = event in FORBIDDEN and not _is_isolated(event, args)
        if is_foreign:
            os.write(events, f"{event} {args}\n".encode(errors="replace"))

    sys.addaudithook(hook)


if __name__ == "__main__":
    preload(is_heavy="heavy" in sys.argv)
    gc.freeze()  # a collection in a child would copy the memory that it shares with this process
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        print(*run(json.loads(line)), flush=True)
