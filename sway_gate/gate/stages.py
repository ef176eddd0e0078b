"""Measures and judges the probes of a job in stages.

Each stage judges its probes. A probe whose verdict more null adapters can change is measured again
with more of them. A stage measures only what no earlier stage has measured.
"""

from collections.abc import Sequence

from sway_gate.engine.observe import RunObserver
from sway_gate.engine.plan import PlannedProbe, all_measurements
from sway_gate.engine.run import run_plan
from sway_gate.gate.open import Opened
from sway_gate.gate.readings import JobReadings
from sway_gate.gate.resolve import Job
from sway_gate.judge.probe import ProbeRun, is_open, judge_probe
from sway_gate.measurements import Answers
from sway_gate.output import Progress
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult


class Stages:
    """The stages of one job. `notes`: on texts that were cut, one note per reason."""

    def __init__(
        self, job: Job, context: Context, opened: Opened, readings: JobReadings, progress: Progress
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._context, self._opened, self._readings = context, opened, readings
        self._progress = progress
        self._observer = RunObserver(job.observe, {}) if job.observe else None
        self._answers = Answers({}, {})

    def judge(self, planned: Sequence[PlannedProbe]) -> dict[str, ProbeResult]:
        """The results by name. Each probe gets null adapters until they cannot change its verdict,
        or all that were requested."""
        results = {p.spec.name: p.result for p in planned if p.result}
        waiting = [p for p in planned if not p.result]
        while waiting:
            self._measure(waiting)
            results |= {p.spec.name: self._judged(p) for p in waiting}
            waiting = [
                p.with_more_nulls()
                for p in waiting
                if p.later_nulls and is_open(p.spec, results[p.spec.name])
            ]
        return results

    def _measure(self, planned: Sequence[PlannedProbe]) -> None:
        if self._observer:
            needs = {p.spec.name: (p.spec.kind, p.measurements) for p in planned if p.needs}
            self._observer.plan(needs)
        missing = [m for m in all_measurements(planned) if m not in self._answers]
        measured = run_plan(
            missing, self._opened.load, self._readings, self._progress, self._observer
        )
        self._answers |= measured.answers
        self.notes = tuple(dict.fromkeys([*self.notes, *measured.notes]))

    def _judged(self, p: PlannedProbe) -> ProbeResult:
        run = ProbeRun(p.spec, p.probe, self._context, p.requests, self._answers)
        return judge_probe(run, p.nulls)
