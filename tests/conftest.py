"""Every test runs offline, with a cache of its own, and prints no colours."""

import os
import socket

import pytest

# Two test processes share two cores; more threads than cores make them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SETTINGS = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_COLOR": "1", "PYTHONUTF8": "1"}
FOREIGN = ("FORCE_COLOR", "SWAY_ONLINE", "SWAY_DEBUG", "COLUMNS")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "sway-cache"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
