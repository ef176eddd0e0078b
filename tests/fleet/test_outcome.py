"""A worker's answer is believed only if it is a valid report on the planned files."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sway_gate.fleet.outcome import answered, stored
from sway_gate.reports import json_v1
from sway_gate.results import ModelFacts
from tests.fleet.pool import answer, on, planned
from tests.helpers import results

ONE = planned("one")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))


def report(**fields: Any) -> str:
    return json_v1.to_json(msgspec.structs.replace(on(ONE), **fields)).decode()


def test_a_report_is_stored_and_found_again_under_the_name_of_its_spec() -> None:
    first = answered(ONE, answer(ONE))
    again = stored(ONE)
    assert again is not None
    assert (first.exit_code, first.is_stored) == (0, False)
    assert again == first._replace(is_stored=True)
    assert again.result is not None
    assert again.result.spec == "one"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x04pickle", "malformed"),
        (b"{}", "missing required field"),
        (answer(ONE, report="{}"), "not a sway-gate JSON report"),
        (answer(ONE, content="other"), "it answers another task"),
        (answer(ONE, report=report(base=ModelFacts(path="", digest="x"))), "another base"),
        (answer(ONE, report=report(adapter=ModelFacts(path="", digest="x"))), "another adapter"),
        (answer(ONE, report=report(probes=(results.probe(verdict="fail"),))), "contradicts"),
        (answer(ONE, report=report(exit_code=1)), "inconsistent report"),
    ],
)
def test_anything_else_is_an_error_and_is_not_stored(data: bytes, reason: str) -> None:
    outcome = answered(ONE, data)
    assert (outcome.exit_code, outcome.result, stored(ONE)) == (3, None, None)
    assert reason in outcome.error


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (3, 3), (0, 2), (1, 2)])
def test_an_error_of_a_worker_is_never_a_verdict(code: int, expected: int) -> None:
    outcome = answered(ONE, answer(ONE, report="", error="no\x1b\nnor this", exit_code=code))
    assert (outcome.exit_code, outcome.error) == (expected, "no\\x1b; nor this")


def test_an_undecided_result_is_measured_again() -> None:
    assert answered(ONE, answer(ONE, results.undecided())).exit_code == 3
    assert stored(ONE) is None


def test_a_result_is_stored_only_for_its_own_key() -> None:
    answered(ONE, answer(ONE))
    assert stored(planned("two")) is None
    assert stored(ONE._replace(key="")) is None
    assert stored(ONE._replace(adapter_digest="changed")) is None
