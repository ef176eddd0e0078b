"""Rates of the processor: measured once, kept in the cache, believed only if authentic."""

import sys

import pytest

from sway_gate import cache
from sway_gate.backends import processor
from sway_gate.backends.processor import Rates

FAST, SLOW = Rates(1e9, 2e9), Rates(1e9, 1.1e9)


@pytest.fixture
def measure(monkeypatch, tmp_path):
    """Let the processor have given rates. Returns a function that sets them; the cache is empty."""
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    return lambda rates: monkeypatch.setattr(processor, "_measured", lambda: rates)


def test_rates_are_measured_once(measure):
    measure(FAST)
    assert processor.rates() == FAST
    measure(SLOW)
    assert processor.rates() == FAST
    cache.clear()
    assert processor.rates() == SLOW


@pytest.mark.parametrize("other", ["processor", "machine", "version of torch"])
def test_rates_of_another_machine_or_version_are_not_used(measure, monkeypatch, other):
    measure(FAST)
    processor.rates()
    measure(SLOW)
    if other == "processor":
        monkeypatch.setattr(processor, "_described", lambda: ["model name : another"])
    elif other == "machine":
        monkeypatch.setattr(processor.platform, "machine", lambda: "riscv64")
    else:
        monkeypatch.setattr(processor, "version_of", lambda _: "9.9")
    assert processor.rates() == SLOW


def test_a_forged_entry_is_not_believed(measure, tmp_path):
    measure(SLOW)
    processor.rates()
    [entry] = (tmp_path / "cache" / "rates").iterdir()
    entry.write_bytes(entry.read_bytes().replace(b"1100000000", b"9100000000"))
    assert processor.rates() == SLOW


@pytest.mark.parametrize("stored", [b'{"float32": -1, "bfloat16": 1}', b"[]", b"\xff"])
def test_an_entry_of_another_form_is_measured_again(measure, stored):
    measure(FAST)
    cache.store_entry(f"rates/{processor._key()}", stored)
    assert processor.rates() == FAST


def test_without_torch_there_are_no_rates(monkeypatch, tmp_path):
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(processor, "_measured", processor._measured.__wrapped__)
    assert processor.rates() is None


def test_bfloat16_must_be_much_faster():
    assert FAST.prefers_bfloat16
    assert not SLOW.prefers_bfloat16


def test_the_rates_are_measured_in_both_dtypes():
    found = processor._measured.__wrapped__()
    assert found.float32 > 0 < found.bfloat16
