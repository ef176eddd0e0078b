"""Planned gates without files, and a pool without machines whose answers a test chooses."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import msgspec

from sway_gate.fleet.driver import Answered, Event, Lost, Ready
from sway_gate.fleet.plan import Gate, Need, Planned, Task
from sway_gate.fleet.worker import Answer
from sway_gate.reports import json_v1
from sway_gate.results import GateResult, ModelFacts
from tests.helpers import results

CPU = Need(10**9, "cpu")


def planned(name: str, base: str = "b", *, need: Need = CPU, limit: int | None = None) -> Planned:
    content, key = f"{name} on {base}", f"{sum(name.encode()):064x}"
    task = Task(
        spec=f"/specs/{name}",
        adapter="",
        content=content,
        tier="full",
        budget=None,
        uses_cache=True,
    )
    return Planned(Gate(name, ""), task, key, base, base, f"{name}'s", need, limit)


def on(one: Planned, result: GateResult | None = None) -> GateResult:
    """A result on the models of a gate."""
    return msgspec.structs.replace(
        result or results.healthy(),
        base=ModelFacts(path="/base", digest=one.base_digest),
        adapter=ModelFacts(path=f"/{one.gate.adapter or one.gate.spec}", digest=one.adapter_digest),
    )


def answer(one: Planned, result: GateResult | None = None, **fields: object) -> bytes:
    report = json_v1.to_json(on(one, result)).decode()
    return msgspec.json.encode(
        Answer(**{"content": one.task.content, "report": report} | fields)  # type: ignore[arg-type]
    )


class FakePool:
    """Workers that answer at once. `ends`: what happens to the tasks of a gate, one after another.

    An end is the data of an answer, or the reason why the worker is lost, or None: no answer.
    """

    def __init__(
        self,
        gates: Iterable[Planned],
        *,
        places: int = 2,
        room: int = 2,
        ends: dict[str, list[bytes | str | None]] | None = None,
        refuse: Callable[[Need], str] = lambda need: "",
        broken_starts: int = 0,
    ) -> None:
        self.places, self.refusal = places, refuse
        self.started: list[Need] = []
        self.sent: list[tuple[int, str]] = []
        """Worker and spec of each task."""
        self._by_content = {one.task.content: one for one in gates}
        self._ends = {name: deque(own) for name, own in (ends or {}).items()}
        self._room, self._broken = room, broken_starts
        self._alive, self._pending = set[int](), deque[int]()
        self._events = deque[Event]()

    def start(self, need: Need) -> int:
        self.started.append(need)
        self._pending.append(len(self.started))
        return len(self.started)

    def send(self, worker: int, task: bytes) -> None:
        assert worker in self._alive
        one = self._by_content[msgspec.json.decode(task, type=Task).content]
        self.sent.append((worker, one.gate.spec))
        ends = self._ends.get(one.gate.spec)
        match ends.popleft() if ends else answer(one):
            case bytes(data):
                self._events.append(Answered(worker, data))
            case str(reason):
                self._events.append(Lost(worker, reason))

    def events(self, seconds: float) -> Iterator[Event]:
        while self._pending and len(self._alive) < self._room:
            worker = self._pending.popleft()
            if self._broken:
                self._broken -= 1
                self._events.append(Lost(worker, "No module named 'torch'"))
            else:
                self._alive.add(worker)
                self._events.append(Ready(worker, f"node {worker}"))
        while self._events:
            yield self._events.popleft()

    def stop(self, worker: int) -> None:
        self._alive.discard(worker)
        if worker in self._pending:
            self._pending.remove(worker)
