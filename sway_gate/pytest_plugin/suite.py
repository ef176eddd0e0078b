"""A spec in a session of pytest: measured once, also where the session has several processes."""

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
import pytest

from sway_gate import output
from sway_gate.errors import SwayError
from sway_gate.results import GateResult
from sway_gate.spec.schema import Spec
from sway_gate.text import clean


class Suite:
    """`shared`: where processes leave the outcome for each other; None where there is one alone."""

    def __init__(self, spec: Spec, shared: Path | None) -> None:
        self.spec = spec
        self.probes = tuple(probe for probe in spec.suite if probe.is_probe)
        self.wanted: set[str] = set()
        """Names of the probes that tests ask for."""
        self._shared = shared

    @functools.cached_property
    def outcome(self) -> GateResult | str:
        """The result of the wanted probes, or why there is none."""
        return once(self._shared, self._measure) if self._shared else self._measure()

    def _measure(self) -> GateResult | str:
        from sway_gate.gate.resolve import Options
        from sway_gate.gate.run import run_gate

        kept = tuple(p for p in self.spec.suite if p.name in self.wanted or not p.is_probe)
        online = os.environ.get("SWAY_ONLINE", "").strip().lower() in ("1", "true", "yes", "on")
        try:
            # Those of a library that is loaded are no concern of tests that make warnings errors.
            with warnings.catch_warnings(action="ignore"):
                return run_gate(
                    msgspec.structs.replace(self.spec, suite=kept), Options(online=online)
                )
        except SwayError as error:
            return clean(str(error))
        except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
            raise
        except (
            BaseException
        ) as error:  # kept, so that the other tests do not run into it again, for hours
            return _unexpected(error)


def _unexpected(error: BaseException) -> str:
    if os.environ.get("SWAY_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    said = clean(" ".join(str(error).split())[:500])
    return f"the suite broke off: {type(error).__name__}: {said} (SWAY_DEBUG=1 shows where)"


def once(place: Path, make: Callable[[], GateResult | str]) -> GateResult | str:
    """What `make` returns in the first process that asks for `place`, where it is kept for those that wait."""
    started = place.with_suffix(".started")
    with _locked(place.with_suffix(".lock")):
        if place.exists():
            return msgspec.json.decode(place.read_bytes(), type=GateResult | str)
        if started.exists():
            return "the worker that ran this suite left no result: it ran out of memory or died of something else"
        started.touch()
        made = make()
        with suppress(SwayError):  # a full disk is the others' loss
            output.write(str(place), msgspec.json.encode(made))
        return made


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its process, whatever ends that."""
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
