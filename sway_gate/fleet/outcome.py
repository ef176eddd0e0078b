"""The outcome of a gate of a fleet: believed only if it is a valid report on the planned files."""

import zlib
from typing import NamedTuple

import msgspec

from sway_gate import cache
from sway_gate.errors import CannotDecide, SwayError, UsageError
from sway_gate.fleet.plan import Gate, Planned
from sway_gate.fleet.worker import Answer
from sway_gate.judge.composite import is_final
from sway_gate.model_files.hub import without_online
from sway_gate.reports import json_v1
from sway_gate.results import GateResult
from sway_gate.text import joined_lines


class Outcome(NamedTuple):
    """A result, or the reason why there is none."""

    gate: Gate
    result: GateResult | None = None
    error: str = ""
    exit_code: int = 0
    seconds: float = 0.0
    """From the start of its measurement to its end, with the load of the base."""
    node: str = ""
    """The machine that measured it."""
    is_stored: bool = False
    """Whether an earlier fleet measured it."""


def _shown(error: str) -> str:
    """An error as one line, without the option `--online`, which a fleet lacks."""
    return joined_lines(without_online(error))


def failed(gate: Gate, error: SwayError) -> Outcome:
    return Outcome(gate, error=_shown(str(error)), exit_code=error.exit_code)


def answered(planned: Planned, data: bytes) -> Outcome:
    """The outcome in a worker's answer, which is stored if it is complete."""
    try:
        answer = msgspec.json.decode(data, type=Answer)
        if answer.content != planned.task.content:
            raise ValueError("it answers another task")
        if answer.error:
            code = max(UsageError.exit_code, answer.exit_code)
            return Outcome(planned.gate, error=_shown(answer.error), exit_code=code)
        result = _believed(planned, answer.report.encode())
    except (ValueError, SwayError) as error:
        text = f"the answer of the worker is refused: {error}; use the same version on every node"
        return failed(planned.gate, CannotDecide(text))
    if planned.key and is_final(result.probes, has_budget=planned.task.budget is not None):
        cache.store_verdict(planned.key, zlib.compress(answer.report.encode()))
    return Outcome(planned.gate, result, exit_code=result.exit_code)


def stored(planned: Planned) -> Outcome | None:
    """The outcome that an earlier fleet stored; None if there is none."""
    data = cache.load_verdict(planned.key) if planned.key else None
    if data is None:
        return None
    try:
        result = _believed(planned, zlib.decompress(data))
    except (zlib.error, ValueError, SwayError):  # of another version's form
        return None
    return Outcome(planned.gate, result, exit_code=result.exit_code, is_stored=True)


def _believed(planned: Planned, report: bytes) -> GateResult:
    """The result, under the name that the user gave its spec. Raises ValueError or UsageError."""
    result = json_v1.from_json(report)
    if result.base.digest != planned.base_digest:
        raise ValueError("it judges another base")
    if result.adapter.digest != planned.adapter_digest:
        raise ValueError("it judges another adapter")
    return msgspec.structs.replace(result, spec=planned.gate.spec)
