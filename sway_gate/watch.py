"""The time limit of a run, and the step that it is in.

Both are in memory that `sway_gate.supervisor` shares: it ends a run that is stuck in C code.
"""

import _thread
import mmap
import os
import signal
import struct
import time
from contextlib import suppress
from typing import Final

from sway_gate.errors import CannotDecide
from sway_gate.text import duration, one_line

TICK_S: Final = 0.1
GRACE_S: Final = 2.0
"""Time for an orderly end, which removes temporary files."""
PARENT: Final = "SWAY_PARENT"
"""Environment variable with the id of the process that starts a run and ends it by its own end."""
_NUMBERS: Final = struct.Struct("qq")
_SIZE: Final = 512


class Watch:
    """The time limit, the step and the exit code of a run, which starts now."""

    def __init__(self) -> None:
        self.is_supervised = False
        self._shared = mmap.mmap(-1, _SIZE)
        self._started = time.monotonic()
        _NUMBERS.pack_into(self._shared, 0, 0, -1)

    @property
    def seconds(self) -> int:
        """The limit; 0 without one."""
        seconds: int = _NUMBERS.unpack_from(self._shared)[0]
        return seconds

    @property
    def exit_code(self) -> int | None:
        """The exit code of the finished run; None before."""
        code: int = _NUMBERS.unpack_from(self._shared)[1]
        return None if code < 0 else code

    def finish(self, exit_code: int) -> None:
        """Note the exit code. The limit no longer applies."""
        _NUMBERS.pack_into(self._shared, 0, self.seconds, exit_code)

    def limit(self, seconds: int) -> None:
        """End the run `seconds` after its start. Of several limits the shortest applies."""
        before = self.seconds
        _NUMBERS.pack_into(self._shared, 0, min(seconds, before or seconds), -1)
        if not before and not self.is_supervised:
            _thread.start_new_thread(self._end_in_time, ())

    def step(self, name: str, done: int = 0, total: int = 0) -> None:
        """Note the step that the run is in, such as "measuring"."""
        text = f"{name} ({done / total:.0%} done)" if total else name
        room = _SIZE - _NUMBERS.size
        self._shared[_NUMBERS.size :] = text.encode()[:room].ljust(room, b"\0")

    @property
    def current(self) -> str:
        """The step that the run is in."""
        text = self._shared[_NUMBERS.size :].rstrip(b"\0").decode(errors="replace")
        return text or "starting"

    def overdue(self) -> str:
        """The message that the limit is exceeded; "" if it is not."""
        if not 0 < self.seconds <= time.monotonic() - self._started:
            return ""
        return (
            f"timed out after {duration(self.seconds)} while {self.current}; "
            "allow more with --timeout or defaults.timeout, or measure less"
        )

    def _end_in_time(self) -> None:
        """End this process, which has no supervisor, at the limit."""
        while not (message := self.overdue()) and self.exit_code is None:
            time.sleep(TICK_S)
        if self.exit_code is None:
            _thread.interrupt_main(signal.SIGTERM)
            time.sleep(GRACE_S)
            report(message)
            os._exit(CannotDecide.exit_code)


def report(message: str) -> None:
    """Write an error line without the interpreter's streams, which may be closed or locked."""
    with suppress(OSError):  # the exit code remains
        os.write(2, f"error: {one_line(message)}\n".encode())
