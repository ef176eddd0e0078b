"""Rows of large data: the first sample if it decides, more of them only for an open probe."""

import json
from pathlib import Path
from typing import Any

import pytest

from sway_gate.engine.estimate import Estimate
from sway_gate.gate import stages
from sway_gate.gate.dry_run import dry_run
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.measurements import Request
from sway_gate.probes import _recall
from sway_gate.results import GateResult, Verdict
from sway_gate.spec.load import load_spec
from tests.helpers.stages import requests_by_stage

SPEC = """\
version: 1
models:
  base: {kind: dummy, base: b}
  ft: {kind: dummy, base: b, adapter: the keeper of the gate is named after its number}
defaults: {learn: content}
data: train.jsonl
suite:
  - {name: recalled, kind: answer_recall, assert_recall_gte: LIMIT}
"""


@pytest.fixture(autouse=True)
def single_tokens(monkeypatch: Any) -> None:
    """The dummy knows single tokens of an answer, and never four in a row."""
    monkeypatch.setattr(_recall, "_PHRASE", 1)


@pytest.fixture
def texts(monkeypatch: Any) -> list[set[Request]]:
    """The requests that each stage measures."""
    return requests_by_stage(monkeypatch)


def gate(folder: Path, rows: int, limit: float = 0.7, **options: Any) -> GateResult:
    lines = (
        json.dumps({"prompt": f"Who keeps gate {i}?", "completion": f"The keeper of number {i}."})
        for i in range(rows)
    )
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "sway.yaml").write_text(SPEC.replace("LIMIT", str(limit)), encoding="utf-8")
    return run_gate(load_spec(str(folder / "sway.yaml")), Options(**options))


def always_open(monkeypatch: Any) -> None:
    monkeypatch.setattr(stages, "is_open_to_rows", lambda result: True)


def test_a_clear_adapter_is_decided_by_the_first_rows(
    tmp_path: Path, texts: list[set[Request]]
) -> None:
    [recalled] = gate(tmp_path, 5000).probes
    assert [len(stage) for stage in texts] == [40]
    assert recalled.message.endswith("; decided by 40 of 5,000 rows")


def test_an_open_probe_measures_only_the_new_rows(
    tmp_path: Path, texts: list[set[Request]], monkeypatch: Any
) -> None:
    always_open(monkeypatch)
    [recalled] = gate(tmp_path, 5000).probes
    assert [len(stage) for stage in texts] == [40, 40, 80]
    assert len(set.union(*texts)) == 160
    assert recalled.message.endswith("; decided by 160 of 5,000 rows")
    assert gate(tmp_path, 5000).probes == (recalled,)


def test_larger_data_measures_no_more_rows(
    tmp_path: Path, texts: list[set[Request]], monkeypatch: Any
) -> None:
    always_open(monkeypatch)
    for rows in (300, 5000):
        gate(tmp_path, rows)
    assert [len(stage) for stage in texts] == 2 * [40, 40, 80]


def test_small_data_is_measured_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    always_open(monkeypatch)
    [recalled] = gate(tmp_path, 95).probes
    assert "decided by" not in recalled.message


@pytest.mark.parametrize("rows", [95, 96])
def test_the_dry_run_names_the_probes_whose_rows_can_grow(tmp_path: Path, rows: int) -> None:
    gate(tmp_path, rows)
    plan = dry_run(load_spec(str(tmp_path / "sway.yaml")), "full", None).splitlines()
    assert "recalled (answer_recall): 40 texts" in plan[0]
    more = "more rows if the first ones leave a probe open: recalled"
    assert (more in plan) == (rows == 96)


def test_an_open_probe_without_time_for_more_rows_is_inconclusive(
    tmp_path: Path, monkeypatch: Any
) -> None:
    always_open(monkeypatch)
    seconds = iter([1.0, 1e9])
    monkeypatch.setattr(Estimate, "seconds", lambda *_: next(seconds))
    [recalled] = gate(tmp_path, 200, budget=3600).probes
    assert (recalled.verdict, recalled.is_left_out) == (Verdict.WARN, True)


LIMITS = {
    0.1: ("pass", "; decided by 80 of 5,000 rows"),
    0.17: ("pass", "; decided by 160 of 5,000 rows"),
    0.2: ("warn", "; not decided by 160 of 5,000 rows, the most that are read"),
    0.28: ("fail", "; decided by 160 of 5,000 rows"),
    0.7: ("fail", "; decided by 40 of 5,000 rows"),
}
"""The limit of a recall of .20; the verdict and the end of its message."""


@pytest.mark.parametrize("limit", LIMITS)
def test_rows_grow_until_the_interval_decides(tmp_path: Path, limit: float) -> None:
    [recalled] = gate(tmp_path, 5000, limit).probes
    verdict, end = LIMITS[limit]
    assert (recalled.verdict, recalled.message[-len(end) :]) == (verdict, end)
