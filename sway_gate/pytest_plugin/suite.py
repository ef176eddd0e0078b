"""A spec in a pytest session, measured once even if the session has several processes."""

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
import pytest

from sway_gate import output
from sway_gate.errors import SwayError, unexpected_text
from sway_gate.model_files.online import is_online
from sway_gate.results import GateResult
from sway_gate.spec.schema import Spec
from sway_gate.text import clean


class Suite:
    """`shared`: path of the outcome that processes share; None if there is one process."""

    def __init__(self, spec: Spec, shared: Path | None) -> None:
        self.spec = spec
        self.probes = tuple(probe for probe in spec.suite if probe.is_probe)
        self.required: set[str] = set()
        """Names of the probes that the selected tests require."""
        self._shared = shared

    @functools.cached_property
    def outcome(self) -> GateResult | str:
        """The result of the required probes, or an error message."""
        return once(self._shared, self._measure) if self._shared else self._measure()

    def _measure(self) -> GateResult | str:
        from sway_gate.gate.resolve import Options
        from sway_gate.gate.run import run_gate

        kept = tuple(p for p in self.spec.suite if p.name in self.required or not p.is_probe)
        try:
            # Warnings of the loaded libraries must not fail tests that turn warnings into errors.
            with warnings.catch_warnings(action="ignore"):
                # The tests of a checkout are its code already.
                options = Options(online=is_online(), allow_code=True)
                return run_gate(msgspec.structs.replace(self.spec, suite=kept), options)
        except SwayError as error:
            return clean(str(error))
        except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
            raise
        # Kept as the outcome, so that other tests do not repeat the run.
        except BaseException as error:
            text = clean(unexpected_text(error))
            return f"the suite stopped: {text} (set SWAY_DEBUG=1 for the traceback)"


def once(place: Path, make: Callable[[], GateResult | str]) -> GateResult | str:
    """The value of `make`, computed by the first process and read from `place` by the others."""
    started = place.with_suffix(".started")
    with _locked(place.with_suffix(".lock")):
        if place.exists():
            return msgspec.json.decode(place.read_bytes(), type=GateResult | str)
        if started.exists():
            return (
                "the worker that ran this suite ended without a result (out of memory, for example)"
            )
        started.touch()
        made = make()
        with suppress(SwayError):  # on a full disk the other processes get an error
            output.write(str(place), msgspec.json.encode(made))
        return made


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the file. The lock ends with the process, even if it is killed."""
    with open(path, "ab") as file:
        _lock(file)
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        while True:
            with suppress(OSError):  # after ten seconds
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
