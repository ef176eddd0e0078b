"""Measures and judges the probes of a job in stages.

Each stage judges its probes. A probe whose verdict more null adapters, more rows of the data or
more packaged items can change is measured again with more of them. A stage measures only what no
earlier stage has measured.

Without a time budget the first stage has all probes. With one each probe has its own stage,
the most telling probe first, and a stage that does not fit into the rest of the time is left out.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from sway_gate.backends.base import Backend
from sway_gate.engine.estimate import Estimate
from sway_gate.engine.observe import RunObserver
from sway_gate.engine.plan import ItemsLook, PlannedProbe, RowsLook, all_measurements
from sway_gate.engine.run import run_plan
from sway_gate.gate.open import Opened
from sway_gate.gate.readings import JobReadings
from sway_gate.gate.resolve import Job, accelerator, load_options
from sway_gate.judge.composite import leaves_harm_open
from sway_gate.judge.probe import (
    ProbeRun,
    is_open,
    is_open_to_rows,
    judge_probe,
    left_out_result,
    of_rows,
)
from sway_gate.judge.waivers import with_waivers
from sway_gate.measurements import Answers, Measurement
from sway_gate.output import Progress
from sway_gate.probes.base import Extensible, Growing
from sway_gate.results import ProbeResult, Verdict

_Needs = Mapping[str, tuple[str, Sequence[Measurement]]]
"""Kind and measurements of each probe, by its name."""
_RESERVE: Final = 1.25
"""Factor on the estimate: a probe that the deadline interrupts is not decided in this run."""


class Stages:
    """The stages of one job. `notes`: on texts that were cut, one note per reason."""

    def __init__(self, job: Job, opened: Opened, readings: JobReadings, progress: Progress) -> None:
        self.notes: tuple[str, ...] = ()
        self._opened, self._readings = opened, readings
        self._waivers, self._today = job.spec.waivers, job.today
        self._observer = RunObserver(job.observe, {}) if job.observe else None
        self._answers = Answers({}, {})
        self._progress = progress
        self._budget = _Budget(job) if job.deadline is not None else None

    def judge(self, planned: Sequence[PlannedProbe]) -> dict[str, ProbeResult]:
        """The results by name."""
        results = {p.spec.name: p.result for p in planned if p.result}
        waiting = [p for p in planned if not p.result]
        groups = [waiting]
        if self._budget:
            groups = [[p] for p in sorted(waiting, key=lambda p: p.spec.order)]
        for group in groups:
            results |= self._in_sequence([_first_look(p) for p in group])
        # More items decide only what all probes together leave open.
        for group in groups:
            judged = with_waivers(results.values(), self._waivers, self._today)
            if any(result.verdict is Verdict.FAIL for result in judged):
                break
            in_doubt = [
                p for p in group if _has_items(p) and leaves_harm_open(results[p.spec.name])
            ]
            found = {p.spec.name: results[p.spec.name] for p in in_doubt}
            results |= self._in_sequence([p.at_next_look() for p in in_doubt], found)
        return results

    def _in_sequence(
        self, waiting: Sequence[PlannedProbe], found: Mapping[str, ProbeResult] | None = None
    ) -> dict[str, ProbeResult]:
        """The results, with more null adapters or rows until they cannot change the verdict.

        found: the results of earlier looks. A probe that the time budget does not decide is left
        out.
        """
        results = dict(found or {})
        while waiting:
            try:
                notes = self._measure(waiting)
            except _OutOfTime:
                left_out = [p for p in waiting if not _has_result(p, results)]
                return results | {p.spec.name: _left_out(p) for p in left_out}
            # More null adapters read the same texts.
            if not results or any(isinstance(p.probe, (Growing, Extensible)) for p in waiting):
                self.notes = tuple(dict.fromkeys([*self.notes, *notes]))
            results |= {p.spec.name: self._judged(p) for p in waiting}
            waiting = [
                p.at_next_look() for p in waiting if p.later and _is_open(p, results[p.spec.name])
            ]
        return results

    def ask(self, probe: str, kind: str, wanted: Sequence[Measurement]) -> Answers | None:
        """The answers to `wanted` before any stage; None if the time budget does not suffice."""
        try:
            self._answer(wanted, {probe: (kind, wanted)})
        except _OutOfTime:
            return None
        return self._answers

    def _measure(self, planned: Sequence[PlannedProbe]) -> tuple[str, ...]:
        needs = {p.spec.name: (p.spec.kind, p.measurements) for p in planned if p.needs}
        return self._answer(all_measurements(planned), needs)

    def _answer(self, wanted: Sequence[Measurement], needs: _Needs) -> tuple[str, ...]:
        """Measure what is missing. Returns notes on texts that were cut."""
        missing = [m for m in wanted if m not in self._answers]
        if self._budget:
            self._budget.claim(self._readings.missing(missing))
        if self._observer:
            self._observer.plan(needs)
        names = {m: name for name, (_, own) in reversed([*needs.items()]) for m in own}
        measured = run_plan(
            missing, self._load, self._readings, self._report, self._observer, names
        )
        if self._budget:
            self._budget.settle()
        self._answers |= measured.answers
        return measured.notes

    def _load(self) -> Backend:
        backend = self._opened.load()
        if self._budget:
            self._budget.start()
        return backend

    def _report(self, phase: str, done: int, total: int) -> None:
        """Report the progress. Between two passes, end a stage that takes too long."""
        if self._budget and done < total:
            self._budget.check()
        self._progress(phase, done, total)

    def _judged(self, p: PlannedProbe) -> ProbeResult:
        run = ProbeRun(p.spec, p.probe, p.rows.context, p.requests, self._answers, p.rows.share)
        result = judge_probe(run, p.nulls)
        if isinstance(p.probe, Growing) and p.rows.share < 1:
            total = p.probe.reserve(p.rows.context).rows
            return of_rows(result, p.probe.rows(p.requests), total)
        return result


class _OutOfTime(Exception):
    """The stage does not fit into the time budget."""


class _Budget:
    """The time budget of a job: estimates each stage by the speed of those before."""

    def __init__(self, job: Job) -> None:
        self._deadline = job.deadline or 0.0
        folders, loading = job.folders and job.folders[:2], load_options(job.spec)
        self._estimate = Estimate(folders, loading.dtype, accelerator(loading.device))
        self._claimed: Sequence[Measurement] = ()
        self._started = 0.0

    def claim(self, measurements: Sequence[Measurement]) -> None:
        """Begin a stage. Raises _OutOfTime if it does not fit."""
        self.start()
        self._claimed = measurements
        if not measurements:
            return
        if self._started + _RESERVE * self._estimate.seconds(measurements) > self._deadline:
            raise _OutOfTime

    def start(self) -> None:
        """Measure the speed from here on: loading the model does not count."""
        self._started = time.monotonic()

    def check(self) -> None:
        """Raise _OutOfTime after the deadline."""
        if time.monotonic() > self._deadline:
            raise _OutOfTime

    def settle(self) -> None:
        """End the stage, which then corrects the estimate."""
        if self._claimed:
            self._estimate.learn(self._claimed, time.monotonic() - self._started)


def _has_items(p: PlannedProbe) -> bool:
    """Whether the probe has a look at more packaged items."""
    return any(isinstance(look, ItemsLook) for look in p.later)


def _first_look(p: PlannedProbe) -> PlannedProbe:
    """The probe without a look at more packaged items."""
    return p._replace(later=()) if _has_items(p) else p


def _is_open(p: PlannedProbe, result: ProbeResult) -> bool:
    """Whether the next look of the probe, at more nulls or rows, can change its verdict."""
    is_of_rows = isinstance(p.later[0], RowsLook)
    return is_open_to_rows(result) if is_of_rows else is_open(p.spec, result)


def _has_result(p: PlannedProbe, results: Mapping[str, ProbeResult]) -> bool:
    """Whether an earlier look is a result by itself: the first look at packaged items is."""
    return p.spec.name in results and isinstance(p.probe, Extensible)


def _left_out(p: PlannedProbe) -> ProbeResult:
    message = "not decided: the time budget ended before all of its measurements"
    return left_out_result(p.spec, p.probe, message)
