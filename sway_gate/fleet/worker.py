"""A worker: judges one gate after another and keeps the base loaded. It knows nothing of Ray."""

import os

import msgspec

from sway_gate.errors import (
    CannotDecide,
    SwayError,
    UsageError,
    is_out_of_memory,
    unexpected_text,
)
from sway_gate.fleet.plan import Task
from sway_gate.gate.identity import content_key
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options, load_options, prepare
from sway_gate.gate.run import run_job
from sway_gate.reports import json_v1
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec
from sway_gate.version import __version__


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker returns, as JSON: a report or an error."""

    content: str
    """The task's."""
    report: str = ""
    error: str = ""
    exit_code: int = 0
    """The exit code of the error."""


class Worker:
    """Judges the gates of one base. `threads`: the number of threads of a forward pass."""

    def __init__(self, version: str, threads: int) -> None:
        if version != __version__:
            raise UsageError(
                f"a worker has sway-gate {__version__}, and this machine {version}; "
                "install the same version on every node"
            )
        # Libraries read these when the first gate imports them.
        os.environ.pop("SWAY_ONLINE", None)
        os.environ.update(
            HF_HUB_OFFLINE="1",
            TRANSFORMERS_OFFLINE="1",
            OMP_NUM_THREADS=str(threads),
            OPENBLAS_NUM_THREADS="1",
            GOMP_SPINCOUNT="3000",
        )
        self._base = OpenBase()

    def judge(self, data: bytes) -> bytes:
        """The `Answer` to a `Task`, both as JSON."""
        task = msgspec.json.decode(data, type=Task)
        try:
            report = json_v1.to_json(self._judged(task)).decode()
            answer = Answer(content=task.content, report=report)
        except SwayError as error:
            answer = Answer(content=task.content, error=str(error), exit_code=error.exit_code)
        except Exception as error:
            text = "out of memory" if is_out_of_memory(error) else unexpected_text(error)
            answer = Answer(content=task.content, error=text, exit_code=CannotDecide.exit_code)
        return msgspec.json.encode(answer)

    def _judged(self, task: Task) -> GateResult:
        spec = load_spec(task.spec, task.adapter or None)
        options = Options(cache=task.uses_cache, tier=task.tier, budget=task.budget)
        job = prepare(spec, options)
        if content_key(job, load_options(spec)) != task.content:
            raise CannotDecide(
                "the worker read other files than this machine; give both the same spec, data, "
                "base and adapter under the same paths"
            )
        return run_job(job, base=self._base)
