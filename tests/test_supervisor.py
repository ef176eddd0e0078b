"""Each end of a run has an exit code and one line: time limits, signals, crashes, full disks."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sway_gate.backends.base import error_text
from sway_gate.text import seconds
from sway_gate.watch import GRACE_S, Watch
from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="no child process")

PROGRAM = """\
import os, signal, sys, time
sys.platform = "{platform}"
from sway_gate.supervisor import supervised

def run(watch):
    {run}

def load():
    print("ready", os.getpid(), flush=True)
    {load}
    return run

sys.exit(supervised(load))
"""
CLI = """\
from sway_gate import cli
    from sway_gate.commands import gate
    {stub}
    return cli.main(["gate", *{argv}], watch)"""
MAIN = "from sway_gate import cli; run = lambda watch: cli.main(['schema'], watch)"
DEAF = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT]); "
REGEX = "import re; gate.load = lambda args: re.match('(a+)+$', 'a' * 40 + 'b')"
# The thread that waits for the parent must have started: it needs memory for that.
NO_ROOM = (
    "import resource, time; time.sleep(0.3); "
    "resource.setrlimit(resource.RLIMIT_AS, (2**26, 2**26)); bytes(2**26)"
)


def start(run="return 0", load="", platform=sys.platform, **options):
    code = PROGRAM.format(run=run, load=load, platform=platform)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-c", code], env=env, **options)


def ended(process):
    """(exit code, standard error) of a process."""
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def sway(stub, *argv):
    """The run of `sway gate` in which `stub` has replaced a part."""
    return CLI.format(stub=stub, argv=argv)


ENDS = {
    "pass": ("return 0", 0, ""),
    "fail": ("return 1", 1, ""),
    "a crash after the verdict": ("import atexit; atexit.register(os.abort); return 1", 1, ""),
    "an exit in a library": ("os._exit(1)", 3, "crashed while starting (exit code 1)"),
    "SystemExit": ("sys.exit(0)", 3, "SystemExit"),
    "a crash": ("watch.step('measuring', 1, 4); os.abort()", 3, "measuring (25% done) (Aborted)"),
    "killed for its memory": (
        "watch.step('judging'); os.kill(os.getpid(), signal.SIGKILL)",
        3,
        "killed while judging, probably because the system ran out of memory",
    ),
    "no memory": (NO_ROOM, 3, "out of memory"),
    "a broken module": ("import sway_gate.none", 3, "No module named 'sway_gate.none'"),
    "a time limit in C code": (
        DEAF + "watch.limit(1); watch.limit(60); watch.step('judging'); time.sleep(60)",
        3,
        "timed out after 1 s while judging; allow more with --timeout",
    ),
    "a time limit in a pattern": (sway(REGEX, "--timeout", "1"), 3, "while reading the inputs"),
}


@pytest.mark.parametrize(("run", "code", "text"), ENDS.values(), ids=ENDS)
def test_each_end_has_a_code_and_one_line(run, code, text):
    found, errors = ended(start(run))
    assert (found, len(errors.splitlines())) == (code, 1 if text else 0), errors
    assert text in errors


def test_a_broken_installation_is_not_a_verdict():
    assert ended(start(load="import sway_gate.none"))[0] == 3


@pytest.mark.slow
def test_a_time_limit_ends_code_that_holds_the_interpreter():
    spin = "from collections import deque; from itertools import repeat; watch.limit(1); "
    code, errors = ended(start(spin + "deque(repeat(0), maxlen=0)"))
    assert (code, errors.count("\n"), "timed out after 1 s" in errors) == (3, 1, True)


def test_a_time_limit_leaves_no_draft_and_no_report(tmp_path):
    stuck = "import pathlib; pathlib.Path.replace = lambda *_: time.sleep(60); "
    stuck += "from sway_gate import output; gate.load = lambda args: output.write('r.json', b'{}')"
    assert ended(start(sway(stuck, "--timeout", "1"), cwd=tmp_path))[0] == 3
    assert list(tmp_path.iterdir()) == []


WAIT = "print('now', flush=True); time.sleep(60)"
SIGNALS = {
    "Ctrl-C": (signal.SIGINT, "", 130, "interrupted"),
    "SIGTERM": (signal.SIGTERM, "", 143, "terminated"),
    "Ctrl-C in C code": (signal.SIGINT, DEAF, 130, "interrupted"),
    "SIGTERM in C code": (signal.SIGTERM, DEAF, 143, "terminated"),
}


@pytest.mark.parametrize(("number", "before", "code", "word"), SIGNALS.values(), ids=SIGNALS)
def test_signals(number, before, code, word):
    process = start(sway(f"gate.load = lambda args: exec({before + WAIT!r}, globals())"))
    wait_for("now", process)
    process.send_signal(number)
    assert ended(process) == (code, f"error: {word}\n")


def test_the_second_ctrl_c_ends_at_once():
    process = start(DEAF + WAIT)
    wait_for("now", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # equal signals that wait at the same time are one
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "error: interrupted\n")
    assert time.monotonic() - started < GRACE_S


def test_a_killed_run_leaves_a_clean_terminal():
    own, terminal = os.openpty()
    code = ended(start("os.kill(os.getpid(), signal.SIGKILL)", stderr=terminal))[0]
    assert (code, os.read(own, 100)[:10]) == (3, b"\r\x1b[K\x1b[?25h")


ALONE = {
    "the verdict": ("return 1", 1, ""),
    "no memory": (NO_ROOM, 3, "out of memory"),
    "a time limit": (
        sway("gate.load = lambda args: [time.sleep(0.1) for _ in range(600)]", "--timeout", "1"),
        3,
        "timed out after 1 s while reading the inputs",
    ),
    "a limit that is not reached": (
        "from sway_gate import cli; cli.main(['schema', '--timeout', '1']); time.sleep(4)"
        "\n    return 0",
        0,
        "",
    ),
    "a time limit in C code": (DEAF + "watch.limit(1); time.sleep(60)", 3, "timed out after 1 s"),
}


@pytest.mark.parametrize(("run", "code", "text"), ALONE.values(), ids=ALONE)
def test_ends_where_no_child_process_is_possible(run, code, text):
    found, errors = ended(start(run, platform="darwin"))
    assert (found, len(errors.splitlines())) == (code, 1 if text else 0), errors
    assert text in errors


def test_the_second_ctrl_c_ends_at_once_without_a_child_process():
    swallowed = "import contextlib\n    with contextlib.suppress(KeyboardInterrupt): "
    process = start(swallowed + WAIT + "\n    time.sleep(60)", platform="darwin")
    wait_for("now", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "error: interrupted\n")


def test_a_signal_to_the_whole_group_is_one_line():
    process = start(sway(f"gate.load = lambda args: exec({WAIT!r}, globals())"), process_group=0)
    wait_for("now", process)
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process) == (130, "error: interrupted\n")


@pytest.mark.parametrize("delay_ms", [0, 5, 10, 20, 40, 80])
def test_ctrl_c_during_the_imports_is_quiet(delay_ms):
    process = start(load=MAIN + "; return run")
    wait_for("ready", process)
    time.sleep(delay_ms / 1000)
    process.send_signal(signal.SIGINT)
    # The last one: after the run, while Python ends.
    assert ended(process) in [(130, "error: interrupted\n"), (0, ""), (-signal.SIGINT, "")]


def test_the_run_ends_with_its_supervisor():
    process = start("time.sleep(60)")
    child = int(wait_for("ready", process).split()[1])
    process.kill()
    process.wait()
    assert any(not is_running(child) or time.sleep(0.05) for _ in range(100))


STARTS = (
    "import os, subprocess, sys; "
    "env = {**os.environ, 'SWAY_PARENT': str(os.getpid())}; "
    "subprocess.run([sys.executable, '-c', sys.argv[1]], env=env)"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_gate_ends_with_the_training_that_starts_it(number):
    code = PROGRAM.format(run="time.sleep(60)", load="", platform=sys.platform)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STARTS, code]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    child = int(wait_for("ready", process).split()[1])
    time.sleep(0.5)
    assert is_running(child)
    process.send_signal(number)
    process.wait()
    assert any(not is_running(child) or time.sleep(0.05) for _ in range(100))


def wait_for(word, process):
    """The first line of the output that starts with `word`."""
    return next(line for line in process.stdout if line.startswith(word))


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


# ----------------------------------------------------------------------------- broken surroundings


def shell(line, cwd, **env):
    """(exit code, standard error) of a shell's line, in which `sway` is this package."""
    line = line.replace("sway", f'"{sys.executable}" -m sway_gate', 1)
    env = os.environ | {"PYTHONPATH": str(ROOT)} | env
    ran = subprocess.run(["sh", "-c", line], cwd=cwd, env=env, capture_output=True, text=True)
    return ran.returncode, ran.stderr


HEALTHY = ROOT / "sway_gate" / "demo" / "healthy.sway.yaml"
BROKEN = {
    "full output": ("sway schema >/dev/full", 3, "error: cannot write the output: No space left"),
    "full output of help": ("sway --help >/dev/full", 3, "error: cannot write the output"),
    "full output of the version": ("sway --version >/dev/full", 3, "error: cannot write the out"),
    "full output and error": ("sway schema >/dev/full 2>/dev/full", 3, ""),
    "full error": ("sway gate none.yaml 2>/dev/full", 2, ""),
    "full error, wrong option": ("sway gate --none 2>/dev/full", 2, ""),
    "no streams": ("sway gate none.yaml <&- >&- 2>&-", 2, ""),
    "no standard input": ("sway gate - <&-", 2, "error: <stdin>"),
    "no folder": ("rmdir $PWD && sway gate none.yaml", 2, "error: the current folder"),
    "no room": (f"ulimit -v 40000; sway gate {HEALTHY}", 3, "error: out of memory"),
}


@pytest.mark.parametrize(("line", "code", "text"), BROKEN.values(), ids=BROKEN)
def test_broken_surroundings(tmp_path, line, code, text):
    (tmp_path / "here").mkdir()
    found, errors = shell(line, tmp_path / "here")
    assert (found, errors.count("\n")) == (code, 1 if text else 0), errors
    assert errors.startswith(text)


@pytest.mark.slow
@pytest.mark.parametrize("limit_mb", [200, 400, 600, 800, 1000])
def test_memory_that_ends_while_libraries_load_is_no_verdict(tmp_path, limit_mb):
    line = f"ulimit -v {limit_mb * 1000}; sway gate {HEALTHY} --no-cache --timeout 5m"
    code, errors = shell(line, tmp_path)
    last = errors.splitlines()[-1]
    assert (code, last.startswith("error: "), "out of memory" in last) == (3, True, True)


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/dev/null", ""], ids=["a file", "none"])
def test_a_home_in_which_nothing_can_be_written_changes_no_verdict(tmp_path, home):
    env = {"HOME": home, "XDG_CACHE_HOME": "/dev/null", "HF_HOME": "/dev/null/hub"}
    assert shell(f"sway gate {HEALTHY} --no-cache", tmp_path, **env) == (0, "")


@pytest.mark.slow
def test_a_time_limit_states_the_step(tmp_path):
    code, errors = shell(f"sway gate {HEALTHY} --no-cache --timeout 1 --json r.json", tmp_path)
    assert (code, errors.count("\n"), list(tmp_path.iterdir())) == (3, 1, [])
    assert errors.startswith("error: timed out after 1 s while ")


def test_the_longest_limit_fits():
    watch = Watch()
    watch.is_supervised = True
    watch.limit(seconds("999999h"))
    assert (watch.seconds, watch.overdue()) == (999_999 * 3600, "")


OUT_OF_MEMORY = {
    "python": MemoryError(),
    "the system": OSError(12, "Cannot allocate memory"),
    "the linker": ImportError("libtorch.so: failed to map segment from shared object"),
    "torch": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 B"),
    "a GPU": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "C++": RuntimeError("std::bad_alloc"),
}


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_files_are_not_blamed_if_memory_runs_out(error):
    with pytest.raises(MemoryError):
        error_text(error)
    assert error_text(ValueError("a broken file")) == "a broken file"
