"""The stages of a gate: more null adapters only if they can decide, and nothing twice."""

from typing import Any

import pytest

from sway_gate.engine.run import Measured, run_plan
from sway_gate.gate import stages
from sway_gate.gate.run import run_gate
from sway_gate.measurements import View
from sway_gate.results import GateResult
from sway_gate.spec.load import parse_spec

SPEC = """\
version: 1
models:
  base: {kind: dummy, base: b}
  ft: {kind: dummy, base: b, adapter: the old mill by the river grinds the corn of the whole valley}
suite:
  - {name: nulls, kind: null_adapter, runs: RUNS}
  - {name: moved, kind: delta_kl, prompts: [the old mill, by the river]}
"""


@pytest.fixture
def views(monkeypatch: Any) -> list[set[View]]:
    """The views that each stage measures. Each stage has a note with its number."""
    found: list[set[View]] = []

    def run(plan: Any, *given: Any) -> Measured:
        measured = run_plan(plan, *given)
        found.append({m.view for m in plan if not m.is_reference})
        return measured._replace(notes=(f"note {len(found)}",))

    monkeypatch.setattr(stages, "run_plan", run)
    return found


def gate(runs: int) -> GateResult:
    return run_gate(parse_spec(SPEC.replace("RUNS", str(runs)), "s", "."))


def nulls(first: int, end: int) -> set[View]:
    return {View("null", i) for i in range(first, end)}


def test_a_clear_adapter_gets_4_nulls(views: list[set[View]]) -> None:
    result = gate(32)
    assert views == [{View("finetuned"), *nulls(0, 4)}]
    assert (result.probes[0].n_null, result.nulls and result.nulls.runs) == (4, 32)


def test_a_later_stage_measures_only_the_new_nulls(
    views: list[set[View]], monkeypatch: Any
) -> None:
    monkeypatch.setattr(stages, "is_open", lambda *_: True)
    result = gate(16)
    assert views == [{View("finetuned"), *nulls(0, 4)}, nulls(4, 8), nulls(8, 16)]
    assert result.probes[0].n_null == 16
    assert [note for note in result.notes if note.startswith("note")] == ["note 1"]


def test_few_nulls_are_drawn_at_once(views: list[set[View]]) -> None:
    assert gate(7).probes[0].n_null == 7
    assert len(views) == 1
