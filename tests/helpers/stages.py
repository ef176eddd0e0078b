"""What the stages of a gate measure."""

from typing import Any

from sway_gate.engine.run import Measured, run_plan
from sway_gate.gate import stages
from sway_gate.measurements import Request


def requests_by_stage(monkeypatch: Any) -> list[set[Request]]:
    """A list that gets the requests of each stage."""
    found: list[set[Request]] = []

    def run(plan: Any, *given: Any) -> Measured:
        found.append({m.request for m in plan})
        return run_plan(plan, *given)

    monkeypatch.setattr(stages, "run_plan", run)
    return found
