"""Run commands in forked children: python -m tests.hostile.runner [heavy]

Reads jobs as lines of JSON and answers each with a line. The libraries are imported once, so that
a command takes milliseconds. An audit hook records what no command may do.
"""

import gc
import importlib
import json
import os
import pkgutil
import platform
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import sway_gate
from sway_gate.cli import main

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
HUNG = -1


def preload(*, is_heavy: bool) -> None:
    for module in pkgutil.walk_packages(sway_gate.__path__, "sway_gate."):
        if is_heavy or not module.name.startswith(("sway_gate.backends", "sway_gate.__main__")):
            importlib.import_module(module.name)
    for name in ("jinja2", "rich.console", "yaml"):
        importlib.import_module(name)
    platform.platform()  # starts `uname`, once per process
    if is_heavy:
        for name in ("peft", "transformers.models.llama.modeling_llama", "transformers"):
            importlib.import_module(name)


def run(job: dict[str, Any]) -> int:
    """The exit code of the command, HUNG after LIMIT_S, or minus the signal that ended it."""
    pid = os.fork()
    if not pid:
        _child(job)
    end = time.monotonic() + LIMIT_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return HUNG
        time.sleep(0.002)


def _child(job: dict[str, Any]) -> None:
    gc.disable()
    code = 70
    try:
        _redirect(job)
        os.chdir(job["folder"])
        os.environ.update(job["env"])
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * os.sysconf("SC_PAGESIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES,) * 2)
        code = main(job["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _redirect(job: dict[str, Any]) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(os.open(job[name], os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  stays open
    events = os.open(job["events"], os.O_WRONLY | os.O_CREAT, 0o600)
    places = (job["folder"], job["env"]["SWAY_CACHE_DIR"], "/dev/null")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes) and (args[2] or 0) & _WRITE:
            is_foreign = not os.path.abspath(os.fsdecode(args[0])).startswith(places)
        elif event == "exec":
            is_foreign = getattr(args[0], "co_filename", "").startswith(job["folder"])
        else:
            is_foreign = event in FORBIDDEN
        if is_foreign:
            os.write(events, f"{event} {args}\n".encode(errors="replace"))

    sys.addaudithook(hook)


if __name__ == "__main__":
    preload(is_heavy="heavy" in sys.argv)
    gc.freeze()  # a collection in a child would copy the memory that it shares with this process
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{run(json.loads(line))}\n")
        sys.stdout.flush()
