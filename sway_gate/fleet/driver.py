"""Distributes the gates of a fleet over workers, and replaces workers that are lost.

A worker serves one base and ends after its last gate. If a worker is lost, only the gate that it
was measuring is measured again.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from sway_gate.errors import CannotDecide
from sway_gate.fleet.outcome import Outcome, answered, failed
from sway_gate.fleet.plan import Gate, Need, Planned
from sway_gate.text import duration, one_line

TRIES: Final = 3
"""Number of workers that a gate can lose before it is given up."""
TICK_S: Final = 1.0
IDLE_S: Final = 600
"""Time without a running worker after which the rest of the fleet is given up."""


class Ready(NamedTuple):
    """A worker has started on a machine."""

    worker: int
    node: str


class Answered(NamedTuple):
    """A worker has answered its task."""

    worker: int
    data: bytes


class Lost(NamedTuple):
    """A worker has ended."""

    worker: int
    reason: str


Event = Ready | Answered | Lost


class Pool(Protocol):
    """The machines."""

    @property
    def places(self) -> int:
        """The number of workers that can start at the same time."""

    def refusal(self, need: Need) -> str:
        """Why no machine can hold such a worker; "" if one can."""

    def start(self, need: Need) -> int:
        """Start a worker as soon as a machine has room. Returns its number."""

    def send(self, worker: int, task: bytes) -> None:
        """Give a task to a worker that is ready and idle."""

    def events(self, seconds: float) -> Iterable[Event]:
        """What has happened; waits up to `seconds` for it."""

    def stop(self, worker: int) -> None:
        """End a worker, also while it measures."""


class _Group:
    """The gates of one base."""

    def __init__(self, gates: Iterable[Planned]) -> None:
        self.waiting = deque(gates)
        self.workers = set[int]()
        self.starting = set[int]()
        self.failures = 0
        """Workers that were lost before they were ready, since the last one that was."""
        needs = [planned.need for planned in self.waiting]
        self.need = Need(max(need.memory_bytes for need in needs), needs[0].device)

    @property
    def is_short(self) -> bool:
        """Whether one more worker would have a gate to judge."""
        return len(self.waiting) > len(self.starting)

    @property
    def share(self) -> float:
        """Gates per worker, if it gets one more."""
        return len(self.waiting) / (len(self.workers) + 1)


class _Running(NamedTuple):
    planned: Planned
    started: float


class Driver:
    """Measures `gates` on `pool`; `report` receives each outcome."""

    def __init__(
        self, gates: Sequence[Planned], pool: Pool, report: Callable[[Outcome], None]
    ) -> None:
        by_base: dict[str, list[Planned]] = {}
        for planned in gates:
            by_base.setdefault(planned.base, []).append(planned)
        self._groups = [_Group(own) for own in by_base.values()]
        self._pool, self._report = pool, report
        self._of_worker = dict[int, _Group]()
        self._nodes = dict[int, str]()
        self._running = dict[int, _Running]()
        self._losses = dict[Gate, int]()
        self._idle_since = time.monotonic()

    @property
    def busy(self) -> int:
        """The number of workers that measure."""
        return len(self._running)

    def run(self, wait: Callable[[], None] = lambda: None) -> None:
        """Measure all gates. `wait` is called about every second."""
        for group in self._groups:
            if reason := self._pool.refusal(group.need):
                self._give_up(group, reason)
        while self._running or any(group.waiting for group in self._groups):
            self._start_workers()
            for event in self._pool.events(TICK_S):
                if event.worker in self._of_worker:  # otherwise it was stopped meanwhile
                    self._handle(event)
            self._check_limits()
            wait()

    def _start_workers(self) -> None:
        while sum(len(group.starting) for group in self._groups) < self._pool.places:
            short = [group for group in self._groups if group.is_short]
            if not short:
                return
            group = max(short, key=lambda group: group.share)
            worker = self._pool.start(group.need)
            self._of_worker[worker] = group
            group.workers.add(worker)
            group.starting.add(worker)

    def _handle(self, event: Event) -> None:
        group = self._of_worker[event.worker]
        match event:
            case Ready(worker, node):
                group.starting.discard(worker)
                group.failures, self._nodes[worker] = 0, node
                self._next(worker)
            case Answered(worker, data):
                running = self._running.pop(worker)
                self._finish(running, answered(running.planned, data), worker)
                self._next(worker)
            case Lost(worker, reason):
                self._lose(worker, one_line(reason))

    def _next(self, worker: int) -> None:
        """Give the worker its next gate, or end it and those that are no longer needed."""
        group = self._of_worker[worker]
        if not group.waiting:
            for idle in (worker, *group.starting):
                self._stop(idle)
            return
        planned = group.waiting.popleft()
        self._running[worker] = _Running(planned, time.monotonic())
        self._pool.send(worker, msgspec.json.encode(planned.task))

    def _finish(self, running: _Running, outcome: Outcome, worker: int) -> None:
        seconds = time.monotonic() - running.started
        self._report(outcome._replace(seconds=seconds, node=self._nodes[worker]))

    def _lose(self, worker: int, reason: str) -> None:
        group = self._of_worker[worker]
        is_starting = worker in group.starting
        self._stop(worker)
        if is_starting:
            group.failures += 1
            if group.failures >= TRIES:
                self._give_up(group, f"{TRIES} workers did not start: {reason}")
        elif running := self._running.pop(worker, None):
            gate = running.planned.gate
            self._losses[gate] = self._losses.get(gate, 0) + 1
            if self._losses[gate] < TRIES:
                group.waiting.appendleft(running.planned)
                return
            text = f"{TRIES} workers were lost while they measured it: {reason}"
            self._finish(running, failed(gate, CannotDecide(text)), worker)

    def _give_up(self, group: _Group, reason: str) -> None:
        for worker in list(group.starting):
            self._stop(worker)
        while group.waiting:
            self._report(failed(group.waiting.popleft().gate, CannotDecide(reason)))

    def _check_limits(self) -> None:
        now = time.monotonic()
        if self._running:
            self._idle_since = now
        elif now > self._idle_since + IDLE_S:
            for group in self._groups:
                self._give_up(group, f"no machine had room for a worker for {duration(IDLE_S)}")
        for worker, running in list(self._running.items()):
            limit = running.planned.limit
            if limit is not None and now > running.started + limit:
                del self._running[worker]
                self._stop(worker)
                text = f"no result after {duration(limit)}, the time limit of the spec"
                self._finish(running, failed(running.planned.gate, CannotDecide(text)), worker)

    def _stop(self, worker: int) -> None:
        group = self._of_worker.pop(worker)
        group.workers.discard(worker)
        group.starting.discard(worker)
        self._pool.stop(worker)
