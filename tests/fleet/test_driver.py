"""The distribution of gates over workers, on a pool without machines."""

from collections import Counter

import pytest

from sway_gate.fleet import driver
from sway_gate.fleet.driver import TRIES, Driver
from sway_gate.fleet.outcome import Outcome
from sway_gate.fleet.plan import Need, Planned
from tests.fleet.pool import FakePool, answer, planned


def run(gates: list[Planned], pool: FakePool) -> dict[str, Outcome]:
    """The outcome of each gate by its spec, once."""
    found: list[Outcome] = []
    Driver(gates, pool, found.append).run()
    by_name = {outcome.gate.spec: outcome for outcome in found}
    assert len(by_name) == len(found) == len(gates)
    return by_name


def test_each_gate_is_measured_once_and_each_worker_serves_one_base() -> None:
    gates = [planned(f"{base}{i}", base) for base in "xyz" for i in range(4)]
    pool = FakePool(gates)
    found = run(gates, pool)
    assert {outcome.exit_code for outcome in found.values()} == {0}
    assert Counter(name for _, name in pool.sent) == Counter(one.gate.spec for one in gates)
    bases: dict[int, set[str]] = {}
    for worker, name in pool.sent:
        bases.setdefault(worker, set()).add(name[0])
    assert all(len(own) == 1 for own in bases.values())
    assert len(bases) <= 4  # two machines, three bases: at most one base is loaded twice


def test_one_base_is_served_by_all_machines() -> None:
    gates = [planned(f"g{i}") for i in range(8)]
    pool = FakePool(gates, places=3, room=3)
    run(gates, pool)
    assert Counter(worker for worker, _ in pool.sent).keys() == {1, 2, 3}


def test_no_more_workers_start_than_there_are_gates() -> None:
    gates = [planned("a"), planned("b")]
    pool = FakePool(gates, places=16, room=16)
    run(gates, pool)
    assert len(pool.started) == 2


def test_a_worker_needs_the_memory_of_the_largest_gate_of_its_base() -> None:
    gates = [planned("a", need=Need(5, "cpu")), planned("b", need=Need(7, "cpu"))]
    pool = FakePool(gates, places=1)
    run(gates, pool)
    assert pool.started[0] == Need(7, "cpu")


def test_the_gate_of_a_lost_worker_is_measured_again_and_no_other() -> None:
    gates = [planned(f"g{i}") for i in range(6)]
    pool = FakePool(gates, ends={"g1": ["its node died"]})
    assert {outcome.exit_code for outcome in run(gates, pool).values()} == {0}
    assert Counter(name for _, name in pool.sent) == Counter(["g1", *(g.gate.spec for g in gates)])


def test_a_gate_that_loses_every_worker_is_given_up() -> None:
    gates = [planned("poison"), planned("good")]
    pool = FakePool(gates, ends={"poison": ["out\nof memory"] * TRIES})
    found = run(gates, pool)
    assert (found["poison"].exit_code, found["good"].exit_code) == (3, 0)
    assert found["poison"].error == "3 workers were lost while they measured it: out of memory"


def test_workers_that_do_not_start_end_the_gates_of_their_base() -> None:
    gates = [planned("a"), planned("b")]
    found = run(gates, FakePool(gates, places=1, broken_starts=TRIES))
    assert {one.error for one in found.values()} == {
        "3 workers did not start: No module named 'torch'"
    }


def test_a_worker_that_starts_after_failures_is_used() -> None:
    gates = [planned("a"), planned("b")]
    found = run(gates, FakePool(gates, places=1, broken_starts=TRIES - 1))
    assert {one.exit_code for one in found.values()} == {0}


def test_a_base_without_a_machine_does_not_stop_the_others() -> None:
    gates = [planned("large", "l", need=Need(10**12, "cpu")), planned("small")]
    pool = FakePool(gates, refuse=lambda need: "no room" if need.memory_bytes > 10**9 else "")
    found = run(gates, pool)
    assert (found["large"].exit_code, found["large"].error) == (3, "no room")
    assert found["small"].exit_code == 0


def test_a_full_cluster_does_not_block_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "IDLE_S", 0)
    gates = [planned("a")]
    found = run(gates, FakePool(gates, room=0))
    assert found["a"].error.startswith("no machine had room for a worker for")


def test_a_gate_without_an_answer_ends_at_the_time_limit_of_its_spec() -> None:
    gates = [planned("stuck", limit=0), planned("good")]
    found = run(gates, FakePool(gates, places=1, room=1, ends={"stuck": [None]}))
    assert found["stuck"].error.endswith("the time limit of the spec")
    assert (found["stuck"].exit_code, found["good"].exit_code) == (3, 0)


def test_an_answer_to_another_task_is_not_believed() -> None:
    gates = [planned("a"), planned("b")]
    found = run(gates, FakePool(gates, places=1, ends={"a": [answer(gates[1])]}))
    assert (found["a"].exit_code, found["b"].exit_code) == (3, 0)
    assert "it answers another task" in found["a"].error
