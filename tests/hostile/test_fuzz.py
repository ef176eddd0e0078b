"""The fuzzer reports foreign errors, unprintable messages and hangs, and finds none now."""

import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from sway_gate.errors import UsageError
from tools.fuzz import __main__ as fuzzer
from tools.fuzz.targets import Target

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")


def foreign(*_: Any) -> None:
    raise KeyError("x")


def unprintable(*_: Any) -> None:
    raise UsageError("a\x1b[2Jb")


def long(*_: Any) -> None:
    raise UsageError("a" * 5000)


def hang(*_: Any) -> None:
    while True:
        pass


def refuse(*_: Any) -> None:
    raise UsageError("train.jsonl:1: not JSON")


USES = {foreign: 1, unprintable: 1, long: 1, hang: 1, refuse: 0}


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: Any, tmp_path: Path) -> None:
    """Restore the variables that the fuzzer sets."""
    for name in ("HF_HUB_CACHE", "SWAY_CACHE_KEY"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize(("use", "code"), USES.items(), ids=[use.__name__ for use in USES])
def test_a_fault_is_reported(use: Any, code: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(fuzzer, "LIMIT_S", 0.05)
    monkeypatch.setattr(fuzzer, "BATCH", 3)
    target = Target(st.just({"file": b"x"}), use)
    monkeypatch.setitem(fuzzer.TARGETS, "one", target)
    assert fuzzer.main(["one", "--seconds", "0.01", "--seed", "0"]) == code


@pytest.mark.slow
def test_no_target_has_a_fault() -> None:
    assert fuzzer.main(["--seconds", "10", "--seed", "0"]) == 0
