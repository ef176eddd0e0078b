"""Tests run without network, without colors and with a separate cache."""

import os
import socket
from pathlib import Path

import pytest

# Tests run in parallel processes; more threads than cores would slow them down.
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

    def refuse(self: socket.socket, address: tuple[object, ...]) -> None:
        is_ip = self.family in (socket.AF_INET, socket.AF_INET6)
        if is_ip and address[0] != "127.0.0.1":  # where tests run their own servers
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base. No test changes its files or the files of `adapter`."""
    from tests.helpers.models import save_base

    return save_base(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def base(llama: Path) -> Path:
    return llama


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.helpers.models import save_adapter

    return save_adapter(tmp_path_factory.mktemp("adapter"), base)
