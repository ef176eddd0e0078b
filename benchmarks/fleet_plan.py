"""A large fleet on paper: the driver of `sway fleet` on simulated machines.

    python -m benchmarks.fleet_plan

A discrete-event simulation: `sway_gate.fleet.driver` distributes the gates, and a pool with a
separate clock stands for the machines. They take time to start, to copy a base from the object
store and to measure, and a provider takes them back at random, by the seed. `Prices` and `Sizes`
hold every assumption; `--help` lists them as options. docs/fleet.md contains the table. No GPU was
measured: the seconds per gate follow from the counted tokens of the suite in `examples/real` and
from the rate of the GPU.
"""

import argparse
import heapq
import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sway_gate.fleet.driver import Answered, Driver, Event, Lost, Ready
from sway_gate.fleet.outcome import Outcome
from sway_gate.fleet.plan import Gate, Need, Planned, Task
from sway_gate.fleet.worker import Answer

GATES = 10_000


class Sizes(NamedTuple):
    """What is measured, and how fast: a base of 70 billion weights in 4 bits, one GPU of 80 GB."""

    tokens: int = 54_022
    """Tokens of a gate with 8 null adapters, by `sway gate --dry-run` in examples/real."""
    weights: float = 70e9
    operations_per_s: float = 2.5e14
    """A quarter of the arithmetic of an H100 in bfloat16."""
    written: int = 54
    """Texts of up to 64 tokens that the suite writes, one pass per token of 32 texts at once."""
    pass_s: float = 0.04
    """One pass that writes a token: all weights are read."""
    other_s: float = 15.0
    """Reading the adapter, null adapters, judgement."""
    base_share: float = 1.06
    """What the first gate of a base on a machine takes in addition: `sway check` of a second
    adapter took 18 s instead of 37 s, because the readings of the base are kept."""
    base_gb: float = 140.0
    """The checkpoint in 16 bits."""
    adapter_gb: float = 0.4
    """Rank 16 on all linear layers."""
    store_gb_per_s: float = 1.0
    """From the object store to one machine."""
    load_gb_per_s: float = 2.0
    """From the machine's disk to the GPU."""
    start_s: float = 240.0
    """Until a new machine has joined the cluster."""

    @property
    def gate_s(self) -> float:
        reading = 2 * self.weights * self.tokens / self.operations_per_s
        writing = -(-self.written // 32) * 64 * self.pass_s
        return reading + writing + self.other_s + self.adapter_gb / self.store_gb_per_s


class Prices(NamedTuple):
    """Dollars per hour for one machine with one GPU of 80 GB; they differ by provider."""

    on_demand: float = 4.0
    spot: float = 1.6


class Scenario(NamedTuple):
    name: str
    machines: int
    bases: int = 1
    hours: float = 0.0
    """Mean time until a spot machine is taken back; 0 for machines on demand."""


SCENARIOS = (
    Scenario("on demand", 16),
    Scenario("spot, taken back after 8 h", 16, hours=8),
    Scenario("spot, taken back after 1 h", 16, hours=1),
    Scenario("spot, taken back after 1 h", 64, hours=1),
    Scenario("spot, 8 h, 20 bases", 16, bases=20, hours=8),
)


class Totals(NamedTuple):
    """What a scenario takes."""

    hours: float
    machine_hours: float
    repeated: int
    """Gates that were begun again."""
    losses: int
    copies: int
    """Bases copied from the object store."""
    terabytes: float


class _Machine:
    """One machine, and its successor when it is taken back."""

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.bases = set[str]()
        """Copies on its disk."""


class SimulatedPool:
    """Machines with one place each, and a clock that only events advance."""

    def __init__(self, scenario: Scenario, sizes: Sizes, gates: list[Planned], seed: int) -> None:
        self.places = scenario.machines
        self.now, self.losses, self.copies, self.moved_gb, self.sent = 0.0, 0, 0, 0.0, 0
        self._scenario, self._sizes, self._random = scenario, sizes, random.Random(seed)
        self._of_content = {one.task.content: one for one in gates}
        self._free: list[tuple[float, int]] = []
        """When each free machine is ready, and its number."""
        self._machines = [self._new(sizes.start_s) for _ in range(scenario.machines)]
        for number in range(scenario.machines):
            heapq.heappush(self._free, (sizes.start_s, number))
        self._queue: list[tuple[float, int, Event]] = []
        self._pending: list[int] = []
        self._of_worker: dict[int, int] = {}
        self._loaded: dict[int, str] = {}
        self._count, self._order = 0, itertools.count()

    def _new(self, ready: float) -> _Machine:
        mean_s = 3600 * self._scenario.hours
        return _Machine(ready + self._random.expovariate(1 / mean_s) if mean_s else float("inf"))

    def refusal(self, need: Need) -> str:
        return ""

    def start(self, need: Need) -> int:
        self._count += 1
        self._pending.append(self._count)
        self._place()
        return self._count

    def send(self, worker: int, task: bytes) -> None:
        content = msgspec.json.decode(task, type=Task).content
        number, sizes = self._of_worker[worker], self._sizes
        machine, base = self._machines[number], self._of_content[content].base
        seconds = sizes.gate_s * self._random.uniform(0.8, 1.2)
        if base not in machine.bases:
            machine.bases.add(base)
            self.copies += 1
            self.moved_gb += sizes.base_gb
            seconds += sizes.base_gb / sizes.store_gb_per_s + sizes.base_share * sizes.gate_s
        if self._loaded.get(worker) != base:
            self._loaded[worker] = base
            seconds += sizes.base_gb / sizes.load_gb_per_s
        self.moved_gb += sizes.adapter_gb
        self.sent += 1
        # An error, because a report would be decoded and stored.
        answer = Answer(content=content, error="simulated", exit_code=3)
        self._later(worker, seconds, Answered(worker, msgspec.json.encode(answer)))

    def events(self, seconds: float) -> Iterator[Event]:
        if not self._queue:
            return
        self.now, _, event = heapq.heappop(self._queue)
        if isinstance(event, Lost) and event.worker in self._of_worker:
            self.losses += 1
            self._replace(event.worker)
        yield event

    def stop(self, worker: int) -> None:
        self._queue = [entry for entry in self._queue if entry[2].worker != worker]
        heapq.heapify(self._queue)
        if worker in self._pending:
            self._pending.remove(worker)
        elif worker in self._of_worker:
            heapq.heappush(self._free, (self.now, self._of_worker.pop(worker)))
        self._place()

    def _replace(self, worker: int) -> None:
        """A new machine, without copies of bases, takes the place of the lost one."""
        number, ready = self._of_worker.pop(worker), self.now + self._sizes.start_s
        self._machines[number] = self._new(ready)
        heapq.heappush(self._free, (ready, number))

    def _place(self) -> None:
        while self._pending and self._free:
            ready, number = heapq.heappop(self._free)
            worker = self._pending.pop(0)
            self._of_worker[worker] = number
            self._later(worker, max(ready, self.now) - self.now, Ready(worker, str(number)))

    def _later(self, worker: int, seconds: float, event: Event) -> None:
        """Queue the event, or the loss of the machine if that is earlier."""
        at, expires = self.now + seconds, self._machines[self._of_worker[worker]].expires
        if expires < at:
            at, event = max(expires, self.now), Lost(worker, "taken back")
        heapq.heappush(self._queue, (at, next(self._order), event))


def planned(number: int, bases: int) -> Planned:
    name, base = str(number), str(number % bases)
    task = Task(spec=name, adapter="", content=name, tier="full", budget=None, uses_cache=False)
    return Planned(Gate(name, ""), task, "", base, base, name, Need(0, "cuda"), None)


def simulate(scenario: Scenario, sizes: Sizes, gates: int = GATES, seed: int = 1) -> Totals:
    """The totals of a fleet. Raises AssertionError if a gate has no outcome, or two."""
    work = [planned(number, scenario.bases) for number in range(gates)]
    pool, found = SimulatedPool(scenario, sizes, work, seed), list[Outcome]()
    Driver(work, pool, found.append).run()
    assert sorted(int(outcome.gate.spec) for outcome in found) == list(range(gates))
    machine_hours = scenario.machines * pool.now / 3600
    return Totals(
        pool.now / 3600,
        machine_hours,
        pool.sent - gates,
        pool.losses,
        pool.copies,
        pool.moved_gb / 1000,
    )


def table(sizes: Sizes, prices: Prices, gates: int = GATES, seed: int = 1) -> str:
    rows = [
        "| machines | hours | GPU hours | lost machines | gates begun again | copies of a base "
        "| moved | cost |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for scenario in SCENARIOS:
        found = simulate(scenario, sizes, gates, seed)
        price = prices.spot if scenario.hours else prices.on_demand
        rows.append(
            f"| {scenario.machines} {scenario.name} | {found.hours:.1f} | "
            f"{found.machine_hours:,.0f} | {found.losses} | {found.repeated} | {found.copies} | "
            f"{found.terabytes:.1f} TB | ${found.machine_hours * price:,.0f} |"
        )
    rows.append(f"| {alone(sizes, prices, gates)} |")
    return "\n".join(rows)


def alone(sizes: Sizes, prices: Prices, gates: int) -> str:
    """The row of gates that each load the base and measure it, on one machine on demand."""
    load = sizes.base_gb / sizes.load_gb_per_s
    hours = gates * (load + (1 + sizes.base_share) * sizes.gate_s) / 3600
    moved = (sizes.base_gb + gates * sizes.adapter_gb) / 1000
    cells = ["1 on demand, one `sway gate` per process and an empty cache", f"{hours:,.0f}"]
    cells += [
        f"{hours:,.0f}",
        "0",
        "0",
        "1",
        f"{moved:.1f} TB",
        f"${hours * prices.on_demand:,.0f}",
    ]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description="A large fleet on paper.")
    parser.add_argument("--gates", type=int, default=GATES)
    parser.add_argument("--seed", type=int, default=1)
    defaults = {**Sizes()._asdict(), **Prices()._asdict()}
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = vars(parser.parse_args())
    sizes = Sizes(**{name: args[name] for name in Sizes._fields})
    prices = Prices(**{name: args[name] for name in Prices._fields})
    print(table(sizes, prices, args["gates"], args["seed"]))


if __name__ == "__main__":
    main()
