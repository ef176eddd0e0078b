"""Runs a command in a child process, so that every end of it has one line and an exit code.

The parent loads no library. It ends the child at its time limit, even if that is stuck in C code,
and reports a child that crashed or that the system killed. Neither may look like a verdict.
"""

import _thread
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

from sway_gate.errors import INTERRUPTED, TERMINATED, CannotDecide, Terminated
from sway_gate.watch import GRACE_S, PARENT, TICK_S, Watch, report

Run = Callable[[Watch], int]
_WORDS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_REMEDY: Final = "close other programs or use a larger machine"
_CLEAN_LINE: Final = b"\r\x1b[K\x1b[?25h"
"""Clears the progress bar of a killed run, and shows the cursor that it has hidden."""
_OUT_OF_MEMORY: Final = f"error: out of memory; {_REMEDY}\n".encode()
_EXPLAINED: Final = (2, CannotDecide.exit_code, INTERRUPTED, TERMINATED)
"""Exit codes whose reason the child has reported."""


def supervised(load: Callable[[], Run]) -> int:
    """The exit code of the command that `load` imports. No error can end as the 1 of a verdict."""
    try:
        _fill_closed_descriptors()
        _handle_signals(_quit)
        code = _run_supervised(load, Watch())
        if code != CannotDecide.exit_code:
            return code  # otherwise exit handlers of libraries might fail, too, and print
    except MemoryError:
        with suppress(OSError):
            os.write(2, _OUT_OF_MEMORY)
    except KeyboardInterrupt:
        _quit(signal.SIGINT, None)
    except BaseException as error:
        report(f"sway-gate does not start: {type(error).__name__}: {error}; install it again")
    os._exit(CannotDecide.exit_code)


def _run_supervised(load: Callable[[], Run], watch: Watch) -> int:
    alive, parent = os.pipe()
    child = _fork()
    if child:
        return _Supervisor(child, watch).wait()  # `parent` stays open until this process ends
    if child == 0:
        watch.is_supervised = True
        os.close(parent)
        with suppress(RuntimeError):  # the system allows no more threads
            _thread.start_new_thread(_end_with_parent, (alive,))
    run = load()
    _handle_signals(_stop_watched if watch.is_supervised else _stop)
    code = run(watch)
    _handle_signals(signal.SIG_DFL)
    watch.finish(code)
    return code


def _fork() -> int | None:
    """The child's process; 0 in the child, None if there is no child.

    In the parent, signals wait until the supervisor handles them.
    """
    # On macOS, frameworks such as Metal fail in a forked process.
    if sys.platform in ("win32", "darwin"):
        return None
    signal.pthread_sigmask(signal.SIG_BLOCK, _WORDS)
    try:
        child = os.fork()
    except OSError:  # no more processes or memory
        child = None
    if not child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORDS)
    return child


def _end_with_parent(alive: int) -> None:
    try:
        os.read(alive, 1)  # returns when the parent has ended
    except MemoryError:  # the run reports it
        return
    os._exit(CannotDecide.exit_code)


def _fill_closed_descriptors() -> None:
    """Open the null device for closed streams, so that no other file becomes one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


# --------------------------------------------------------------------------------------- signals


Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def _handle_signals(handler: Handler) -> None:
    for number in _WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _quit(number: int, frame: FrameType | None) -> NoReturn:
    """End at once: nothing is open yet."""
    report(_WORDS[signal.Signals(number)])
    os._exit(128 + number)


def _stop(number: int, frame: FrameType | None) -> None:
    """End in order; a second signal ends at once."""
    _handle_signals(_quit)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _stop_watched(number: int, frame: FrameType | None) -> None:
    """End in order. The supervisor repeats the signal of a terminal, and waits only briefly."""
    _handle_signals(_ignore)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _ignore(number: int, frame: FrameType | None) -> None:
    """Keep the handler, which SIG_IGN would pass on to programs that the child starts."""


# ---------------------------------------------------------------------------------------- parent


class _Supervisor:
    """Waits for the child, ends it in time, and passes signals on."""

    def __init__(self, child: int, watch: Watch) -> None:
        self._child, self._watch = child, watch
        self._signal: int | None = None
        self._next: int | None = None
        self._kill_at = math.inf
        self._parent = os.environ.get(PARENT, "")
        _handle_signals(self._pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORDS)
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)

    def wait(self) -> int:
        """The exit code of the child, or one for the way in which it ended."""
        _, status = os.waitpid(self._child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0 and os.isatty(2):
            os.write(2, _CLEAN_LINE)
        if self._watch.exit_code is not None:
            return self._watch.exit_code
        if code in _EXPLAINED:
            return code
        if self._signal:
            report(_WORDS[signal.Signals(self._signal)])
            return 128 + self._signal
        report(self._watch.overdue() or self._crash(code))
        return CannotDecide.exit_code

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self._end(number)

    def _end(self, number: int) -> None:
        """Ask the child to end; the second time, kill it.

        The signal is sent at the next look, because a terminal has sent it to the child too.
        """
        self._kill_at = time.monotonic() + GRACE_S if self._kill_at == math.inf else 0
        self._next = number

    def _look(self, number: int, frame: FrameType | None) -> None:
        is_orphan = self._parent not in ("", str(os.getppid()))
        if self._kill_at == math.inf and (is_orphan or self._watch.overdue()):
            self._end(signal.SIGTERM)
        due = signal.SIGKILL if time.monotonic() >= self._kill_at else self._next
        self._next = None
        if due:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self._child, due)

    def _crash(self, code: int) -> str:
        step = self._watch.current
        if code == -signal.SIGKILL:
            return f"killed while {step}, probably because the system ran out of memory; {_REMEDY}"
        how = signal.strsignal(-code) if code < 0 else f"exit code {code}"
        return f"a library crashed while {step} ({how}), perhaps out of memory; {_REMEDY}"
